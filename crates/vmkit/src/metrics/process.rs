//! The `process_*` family: CPU, memory, page faults, I/O, pressure and file descriptors of this process.
//!
//! Everything is read from `/proc/self` and from the pressure files of the process's cgroup v2 when the page is
//! written. What the system does not tell is left out: a missing file costs its lines, never the page.

use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::prometheus_text::Page;
use super::resources::{SystemRoot, field};

/// Clock ticks a second in `/proc/self/stat`: USER_HZ, which is 100 on every architecture this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Appends all `process_*` metrics of this process.
pub fn write(page: &mut Page) {
    write_from(&SystemRoot::default(), page);
}

/// Appends all `process_*` metrics as told by the files under `root`.
pub fn write_from(root: &SystemRoot, page: &mut Page) {
    write_stat(root, page);
    write_memory(root, page);
    write_io(root, page);
    write_throttling(root, page);
    write_pressure(root, page);
    write_fds(root, page);
}

/// The fields of `/proc/self/stat` that are shown; numbers are those of proc(5).
struct Stat {
    minor_faults: u64,
    major_faults: u64,
    user: f64,
    system: f64,
    threads: u64,
    started: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The command in parentheses is field 2 and may hold anything, so count from behind it.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
        let seconds = |n: usize| number(n).map(|ticks| ticks as f64 / TICKS_PER_SECOND);
        Some(Self {
            minor_faults: number(10)?,
            major_faults: number(12)?,
            user: seconds(14)?,
            system: seconds(15)?,
            threads: number(20)?,
            started: seconds(22)?,
        })
    }
}

fn write_stat(root: &SystemRoot, page: &mut Page) {
    let Some(stat) = Stat::parse(&root.proc_text("self/stat")) else { return };
    // Rounded, or the sum of two ticks would show digits that nobody measured.
    let total = ((stat.user + stat.system) * TICKS_PER_SECOND).round() / TICKS_PER_SECOND;
    page.counter("process_cpu_seconds_system_total", stat.system);
    page.counter("process_cpu_seconds_total", total);
    page.counter("process_cpu_seconds_user_total", stat.user);
    page.counter("process_major_pagefaults_total", stat.major_faults as f64);
    page.counter("process_minor_pagefaults_total", stat.minor_faults as f64);
    page.gauge("process_num_threads", stat.threads as f64);
    page.gauge("process_start_time_seconds", start_time(root, stat.started));
}

/// Unix time of the start in whole seconds.
fn start_time(root: &SystemRoot, seconds_after_boot: f64) -> f64 {
    let stat = root.proc_text("stat");
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    boot.map_or_else(first_seen, |boot| (boot + seconds_after_boot).floor())
}

/// Where the boot time is hidden, the first page is the best guess.
fn first_seen() -> f64 {
    static FIRST: OnceLock<u64> = OnceLock::new();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    *FIRST.get_or_init(now) as f64
}

fn write_memory(root: &SystemRoot, page: &mut Page) {
    const NAMES: [(&str, &str); 7] = [
        ("VmRSS", "process_resident_memory_bytes"),
        ("VmHWM", "process_resident_memory_peak_bytes"),
        ("RssAnon", "process_resident_memory_anon_bytes"),
        ("RssFile", "process_resident_memory_file_bytes"),
        ("RssShmem", "process_resident_memory_shared_bytes"),
        ("VmSize", "process_virtual_memory_bytes"),
        ("VmPeak", "process_virtual_memory_peak_bytes"),
    ];
    let status = root.proc_text("self/status");
    for (key, name) in NAMES {
        if let Some(kib) = field(&status, key) {
            page.gauge(name, kib as f64 * 1024.0);
        }
    }
}

fn write_io(root: &SystemRoot, page: &mut Page) {
    const NAMES: [(&str, &str); 6] = [
        ("rchar", "process_io_read_bytes_total"),
        ("wchar", "process_io_written_bytes_total"),
        ("syscr", "process_io_read_syscalls_total"),
        ("syscw", "process_io_write_syscalls_total"),
        ("read_bytes", "process_io_storage_read_bytes_total"),
        ("write_bytes", "process_io_storage_written_bytes_total"),
    ];
    let io = root.proc_text("self/io");
    for (key, name) in NAMES {
        if let Some(value) = field(&io, key) {
            // Typed as gauges, like in the product this replaces.
            page.gauge(name, value as f64);
        }
    }
}

/// How long the quota of a cgroup kept threads from running that wanted to: of the innermost cgroup that counts it.
fn write_throttling(root: &SystemRoot, page: &mut Page) {
    // Version 2 counts microseconds, version 1 nanoseconds.
    let v2 = root.unified_folders().into_iter().map(|folder| (folder, "throttled_usec ", 1e6));
    let v1 = root.controller_folders("cpu").into_iter().map(|folder| (folder, "throttled_time ", 1e9));
    let throttled = v2.chain(v1).find_map(|(folder, name, unit)| {
        let text = fs::read_to_string(folder.join("cpu.stat")).ok()?;
        let count: u64 = text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()?;
        Some(count as f64 / unit)
    });
    if let Some(seconds) = throttled {
        page.counter("process_cpu_throttled_seconds_total", seconds);
    }
}

fn write_pressure(root: &SystemRoot, page: &mut Page) {
    let Some(folder) = root.unified_folders().into_iter().find(|folder| folder.join("cpu.pressure").exists()) else {
        return;
    };
    for resource in ["cpu", "io", "memory"] {
        let text = fs::read_to_string(folder.join(format!("{resource}.pressure"))).unwrap_or_default();
        for (kind, shown) in [("some ", "waiting"), ("full ", "stalled")] {
            let line = text.lines().find_map(|line| line.strip_prefix(kind));
            let micros = line.and_then(|line| line.rsplit_once("total=")?.1.trim().parse::<u64>().ok());
            if let Some(micros) = micros {
                page.counter(&format!("process_pressure_{resource}_{shown}_seconds_total"), micros as f64 / 1e6);
            }
        }
    }
}

fn write_fds(root: &SystemRoot, page: &mut Page) {
    let limits = root.proc_text("self/limits");
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    match soft {
        Some("unlimited") => page.gauge("process_max_fds", f64::INFINITY),
        Some(text) => {
            if let Ok(count) = text.parse::<u64>() {
                page.gauge("process_max_fds", count as f64);
            }
        }
        None => {}
    }
    if let Ok(entries) = fs::read_dir(root.proc.join("self/fd")) {
        page.gauge("process_open_fds", entries.count() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::super::resources::tests::fake_root;
    use super::*;

    fn text(root: &SystemRoot, metadata: bool) -> String {
        let mut page = Page::new(metadata);
        write_from(root, &mut page);
        String::from_utf8(page.into_bytes()).unwrap()
    }

    const STAT: &str =
        "7 (odd ) name) S 1 7 7 0 -1 4194560 120 0 3 0 150 25 0 0 20 0 9 0 500 1000 390 18446744073709551615\n";

    #[test]
    fn lines() {
        let f = |files: &[(&str, &str)], want: &str| {
            let (_folder, root) = fake_root(files);
            assert_eq!(text(&root, false), want, "{files:?}");
        };
        f(&[], "");
        f(&[("proc/self/stat", "7 (x")], "");
        f(&[("proc/self/stat", "7 (x) S 1")], "");
        f(
            &[("proc/self/stat", STAT), ("proc/stat", "cpu 1 2\nbtime 1700000000\n")],
            "process_cpu_seconds_system_total 0.25\nprocess_cpu_seconds_total 1.75\nprocess_cpu_seconds_user_total 1.5\n\
             process_major_pagefaults_total 3\nprocess_minor_pagefaults_total 120\nprocess_num_threads 9\n\
             process_start_time_seconds 1700000005\n",
        );
        f(
            &[("proc/self/status", "VmPeak:\t 5 kB\nVmRSS:\t 2 kB\nRssAnon:\t1 kB\n")],
            "process_resident_memory_bytes 2048\nprocess_resident_memory_anon_bytes 1024\n\
             process_virtual_memory_peak_bytes 5120\n",
        );
        f(
            &[("proc/self/io", "rchar: 1\nread_bytes: 5\ncancelled_write_bytes: 6\n")],
            "process_io_read_bytes_total 1\nprocess_io_storage_read_bytes_total 5\n",
        );
        f(
            &[
                ("proc/self/cgroup", "0::/app\n"),
                ("cgroup/app/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n"),
                ("cgroup/app/io.pressure", "some avg10=0 total=1\nfull avg10=0 total=2000000\n"),
            ],
            "process_pressure_cpu_waiting_seconds_total 1.5\nprocess_pressure_io_waiting_seconds_total 1e-06\n\
             process_pressure_io_stalled_seconds_total 2\n",
        );
        f(
            &[
                ("proc/self/cgroup", "0::/pod/app\n"),
                ("cgroup/pod/app/cpu.stat", "usage_usec 5\n"),
                ("cgroup/pod/cpu.stat", "usage_usec 5\nnr_throttled 2\nthrottled_usec 2500000\n"),
            ],
            "process_cpu_throttled_seconds_total 2.5\n",
        );
        f(
            &[
                ("proc/self/cgroup", "3:cpu,cpuacct:/app\n"),
                ("cgroup/cpu/app/cpu.stat", "nr_periods 1\nthrottled_time 500000000\n"),
            ],
            "process_cpu_throttled_seconds_total 0.5\n",
        );
        f(&[("proc/self/limits", "Max open files            1024   4096   files \n")], "process_max_fds 1024\n");
        f(&[("proc/self/limits", "Max open files  unlimited  unlimited  files\n")], "process_max_fds +Inf\n");
        f(&[("proc/self/fd/0", ""), ("proc/self/fd/1", "")], "process_open_fds 2\n");
    }

    #[test]
    fn types() {
        let (_folder, root) = fake_root(&[("proc/self/io", "rchar: 1\n"), ("proc/self/stat", STAT)]);
        let got = text(&root, true);
        assert!(got.contains("# TYPE process_io_read_bytes_total gauge\n"), "{got}");
        assert!(got.contains("# TYPE process_cpu_seconds_total counter\n"), "{got}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn all_names_of_this_machine() {
        let mut page = Page::new(false);
        write(&mut page);
        let got = String::from_utf8(page.into_bytes()).unwrap();
        let names: Vec<&str> = got.lines().filter_map(|line| line.split(' ').next()).collect();
        let mut wanted: Vec<String> = "cpu_seconds_total cpu_seconds_system_total cpu_seconds_user_total \
            major_pagefaults_total minor_pagefaults_total num_threads resident_memory_bytes resident_memory_peak_bytes \
            resident_memory_anon_bytes resident_memory_file_bytes resident_memory_shared_bytes virtual_memory_bytes \
            virtual_memory_peak_bytes start_time_seconds max_fds open_fds"
            .split_whitespace()
            .map(|name| format!("process_{name}"))
            .collect();
        if std::path::Path::new("/proc/self/io").exists() {
            let io = "read_bytes written_bytes read_syscalls write_syscalls storage_read_bytes storage_written_bytes";
            wanted.extend(io.split(' ').map(|name| format!("process_io_{name}_total")));
        }
        for name in &wanted {
            assert_eq!(names.iter().filter(|shown| *shown == name).count(), 1, "{name} in\n{got}");
        }
    }
}
