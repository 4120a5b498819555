//! What CPU time and memory the process may use: the machine's, or less where a cgroup (v1 or v2) says so.
//!
//! Read from `/proc` and `/sys/fs/cgroup` at start and at scrape time. Limits of all ancestors count, the smallest
//! wins; paths that do not exist inside a container are skipped. Files that are missing or odd mean "no limit", never
//! an error.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel's files are mounted; tests put a folder of their own here.
#[derive(Clone, Debug)]
pub struct SystemRoot {
    /// Usually `/proc`.
    pub proc: PathBuf,
    /// Usually `/sys/fs/cgroup`.
    pub cgroup: PathBuf,
}

impl Default for SystemRoot {
    fn default() -> Self {
        Self { proc: "/proc".into(), cgroup: "/sys/fs/cgroup".into() }
    }
}

impl SystemRoot {
    /// Text of a file under `/proc`, empty if unreadable.
    pub(crate) fn proc_text(&self, path: &str) -> String {
        text(&self.proc.join(path))
    }

    /// Memory in bytes the process can have: the cgroup limit or the memory of the machine, whichever is less.
    /// 0 if neither is known.
    pub fn memory_limit(&self) -> u64 {
        let machine = field(&self.proc_text("meminfo"), "MemTotal").map(|kib| kib.saturating_mul(1024));
        [machine, self.cgroup_memory_limit()].into_iter().flatten().min().unwrap_or(0)
    }

    /// CPU cores the process can have, possibly a fraction: the cgroup quota or the cores it may run on.
    pub fn cpu_cores(&self) -> f64 {
        let cores = self.schedulable_cores() as f64;
        self.cgroup_cpu_quota().map_or(cores, |quota| quota.min(cores))
    }

    /// Cores the scheduler may place the process on, quotas aside.
    pub fn schedulable_cores(&self) -> usize {
        let status = self.proc_text("self/status");
        let listed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).and_then(cpu_list_len);
        listed.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    fn cgroup_memory_limit(&self) -> Option<u64> {
        let read = |path: PathBuf| text(&path).trim().parse::<u64>().ok();
        let v2 = self.unified_folders().into_iter().map(|folder| read(folder.join("memory.max")));
        let v1 = self.controller_folders("memory").into_iter().map(|folder| read(folder.join("memory.limit_in_bytes")));
        v2.chain(v1).flatten().filter(|&limit| limit > 0).min()
    }

    fn cgroup_cpu_quota(&self) -> Option<f64> {
        let v2 = self.unified_folders().into_iter().filter_map(|folder| {
            let text = text(&folder.join("cpu.max"));
            let (quota, period) = text.trim().split_once(' ')?;
            ratio(quota, period)
        });
        let v1 = self.controller_folders("cpu").into_iter().filter_map(|folder| {
            ratio(text(&folder.join("cpu.cfs_quota_us")).trim(), text(&folder.join("cpu.cfs_period_us")).trim())
        });
        v2.chain(v1).reduce(f64::min)
    }

    /// Folders of the process's cgroup v2 and its ancestors, own one first.
    pub(crate) fn unified_folders(&self) -> Vec<PathBuf> {
        self.proc_text("self/cgroup")
            .lines()
            .find_map(|line| line.strip_prefix("0::"))
            .map(|path| with_ancestors(&self.cgroup, path))
            .unwrap_or_default()
    }

    /// The same of a controller of version 1.
    pub(crate) fn controller_folders(&self, controller: &str) -> Vec<PathBuf> {
        let cgroups = self.proc_text("self/cgroup");
        let path = cgroups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|name| name == controller).then_some(path)
        });
        path.map(|path| with_ancestors(&self.cgroup.join(controller), path)).unwrap_or_default()
    }
}

/// Number in a `Name:  123 kB` line.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn with_ancestors(mount: &Path, path: &str) -> Vec<PathBuf> {
    let inside = Path::new(path.trim_start_matches('/'));
    // A cgroup outside the namespace is shown as `/../..`; only the mount itself is visible then.
    if path.contains("..") {
        return vec![mount.to_owned()];
    }
    inside.ancestors().map(|ancestor| mount.join(ancestor)).collect()
}

/// Number of CPUs in a list such as `0-3,8`.
fn cpu_list_len(list: &str) -> Option<usize> {
    let mut total = 0_usize;
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        total = total.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(total)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A folder with the given files, as if it were the kernel's.
    pub(crate) fn fake_root(files: &[(&str, &str)]) -> (tempfile::TempDir, SystemRoot) {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let root = SystemRoot { proc: folder.path().join("proc"), cgroup: folder.path().join("cgroup") };
        (folder, root)
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        2000 kB\nMemFree:  1 kB\n");
    const CPUS: (&str, &str) = ("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-3\n");

    #[test]
    fn memory() {
        let f = |files: &[(&str, &str)], want: u64| {
            let (_folder, root) = fake_root(files);
            assert_eq!(root.memory_limit(), want, "{files:?}");
        };
        let v2 = ("proc/self/cgroup", "0::/pod/app\n");
        let v1 = ("proc/self/cgroup", "4:memory,x:/pod\n0::/\n");
        f(&[], 0);
        f(&[MEMINFO], 2_048_000);
        f(&[MEMINFO, v2, ("cgroup/pod/app/memory.max", "max\n")], 2_048_000);
        f(&[MEMINFO, v2, ("cgroup/pod/app/memory.max", "1000000\n")], 1_000_000);
        f(&[MEMINFO, v2, ("cgroup/pod/app/memory.max", "1000000\n"), ("cgroup/pod/memory.max", "500\n")], 500);
        f(&[MEMINFO, v2, ("cgroup/memory.max", "700\n")], 700);
        f(&[MEMINFO, v1, ("cgroup/memory/pod/memory.limit_in_bytes", "900\n")], 900);
        f(&[MEMINFO, v1, ("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")], 2_048_000);
        f(&[MEMINFO, ("proc/self/cgroup", "0::/../..\n"), ("cgroup/memory.max", "5\n")], 5);
        f(&[MEMINFO, v2, ("cgroup/memory.max", "junk")], 2_048_000);
    }

    #[test]
    fn cpu() {
        let f = |files: &[(&str, &str)], want: f64| {
            let (_folder, root) = fake_root(files);
            assert_eq!(root.cpu_cores(), want, "{files:?}");
        };
        let v2 = ("proc/self/cgroup", "0::/app\n");
        let v1 = ("proc/self/cgroup", "1:cpu,cpuacct:/app\n");
        f(&[CPUS], 4.0);
        f(&[CPUS, v2, ("cgroup/app/cpu.max", "max 100000\n")], 4.0);
        f(&[CPUS, v2, ("cgroup/app/cpu.max", "150000 100000\n")], 1.5);
        f(&[CPUS, v2, ("cgroup/app/cpu.max", "900000 100000\n")], 4.0);
        f(&[CPUS, v2, ("cgroup/app/cpu.max", "1 0\n")], 4.0);
        let quota = ("cgroup/cpu/app/cpu.cfs_quota_us", "50000\n");
        f(&[CPUS, v1, quota, ("cgroup/cpu/app/cpu.cfs_period_us", "100000\n")], 0.5);
        f(
            &[CPUS, v1, ("cgroup/cpu/app/cpu.cfs_quota_us", "-1\n"), ("cgroup/cpu/app/cpu.cfs_period_us", "100000\n")],
            4.0,
        );
    }

    #[test]
    fn cpu_lists() {
        let f = |list: &str, want: Option<usize>| assert_eq!(cpu_list_len(list), want, "{list}");
        f("\t0-1\n", Some(2));
        f("0", Some(1));
        f("0-3,8,10-11", Some(7));
        f("", None);
        f("3-1", None);
        f("0-18446744073709551615", None);
    }

    #[test]
    fn this_machine_has_something() {
        let root = SystemRoot::default();
        assert!(root.cpu_cores() > 0.0);
        assert!(root.memory_limit() > 0 || !cfg!(target_os = "linux"));
    }
}
