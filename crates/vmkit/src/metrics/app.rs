//! What the application says about itself: version, start, limits, operating system, flags, counted log lines.
//!
//! The application hands over plain facts; this file only knows names and layout. Secrets among the flag values must
//! have been replaced by the caller before they come here.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::prometheus_text::{Kind, Page};
use super::resources::SystemRoot;

/// Facts that do not change while the process runs.
#[derive(Clone, Debug)]
pub struct AppFacts {
    /// Full version; begins with the name of the application, which dashboards select jobs by.
    pub version: String,
    /// The `v1.2.3` part of the version; empty if there is none. See
    /// [`short_version`](crate::process::build_info::short_version).
    pub short_version: String,
    /// When the process started, by the clock on the wall.
    pub start_time: SystemTime,
    /// The same moment by a clock that never jumps.
    pub started: Instant,
    /// `-memory.allowedBytes`; 0 means that the percentage decides.
    pub memory_allowed_bytes: u64,
    /// `-memory.allowedPercent`, from 1 to 100.
    pub memory_allowed_percent: f64,
    /// Whether the run before ended without an orderly shutdown, as far as the application can know.
    pub prev_shutdown_unclean: bool,
}

/// One command-line flag as shown on the page.
#[derive(Clone, Copy, Debug)]
pub struct FlagFact<'a> {
    /// Name without the dash.
    pub name: &'a str,
    /// Canonical value; `secret` for secrets.
    pub value: &'a str,
    /// Whether it was given on the command line or in the environment.
    pub is_set: bool,
}

/// How many log lines came from one place.
#[derive(Clone, Copy, Debug)]
pub struct LogMessages<'a> {
    /// Version of the application.
    pub app_version: &'a str,
    /// `info`, `warn`, `error`, `fatal` or `panic`.
    pub level: &'a str,
    /// Source path and line.
    pub location: &'a str,
    /// False for lines that the level or the rate limit suppressed.
    pub is_printed: bool,
    /// Lines so far.
    pub count: u64,
}

/// Bytes of memory the application may use for caches: `allowed_bytes`, or if 0 that share of `limit`.
pub fn allowed_memory(limit: u64, allowed_bytes: u64, allowed_percent: f64) -> u64 {
    if allowed_bytes > 0 { allowed_bytes } else { (limit as f64 * allowed_percent / 100.0) as u64 }
}

/// Appends `vm_app_*`, the limits of CPU and memory, and `vm_os_info`.
pub fn write(page: &mut Page, facts: &AppFacts, root: &SystemRoot) {
    page.family("vm_app_version", Kind::Gauge);
    let labels = [("version", facts.version.as_str()), ("short_version", facts.short_version.as_str())];
    page.labeled("vm_app_version", &labels, 1.0);
    let start = facts.start_time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let uptime = facts.started.elapsed().as_secs();
    page.gauge("vm_app_start_timestamp", start as f64);
    page.gauge("vm_app_uptime_seconds", uptime as f64);
    page.gauge("vm_app_prev_shutdown_unclean", f64::from(u8::from(facts.prev_shutdown_unclean)));

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = root.memory_limit();
    let allowed = allowed_memory(memory, facts.memory_allowed_bytes, facts.memory_allowed_percent);
    page.gauge("vm_available_cpu_cores", cores as f64);
    page.gauge("vm_available_memory_bytes", memory as f64);
    page.gauge("vm_allowed_memory_bytes", allowed as f64);
    page.gauge("process_cpu_cores_available", root.cpu_cores());
    page.gauge("process_memory_limit_bytes", memory as f64);

    let uname = rustix::system::uname();
    page.family("vm_os_info", Kind::Gauge);
    let release = uname.release().to_string_lossy();
    page.labeled("vm_os_info", &[("os", std::env::consts::OS), ("release", &release)], 1.0);
}

/// Appends one `flag` line a flag, in the order given; callers sort by name.
pub fn write_flags<'a>(page: &mut Page, flags: impl IntoIterator<Item = FlagFact<'a>>) {
    page.family("flag", Kind::Gauge);
    for FlagFact { name, value, is_set } in flags {
        page.labeled("flag", &[("name", name), ("value", value), ("is_set", as_text(is_set))], 1.0);
    }
}

/// Appends `vm_log_messages_total`; nothing at all before the first log line.
pub fn write_log_messages<'a>(page: &mut Page, messages: impl IntoIterator<Item = LogMessages<'a>>) {
    const FAMILY: &str = "vm_log_messages_total";
    for line in messages {
        page.family(FAMILY, Kind::Counter);
        let labels = [
            ("app_version", line.app_version),
            ("level", line.level),
            ("location", line.location),
            ("is_printed", as_text(line.is_printed)),
        ];
        page.labeled(FAMILY, &labels, line.count as f64);
    }
}

fn as_text(truth: bool) -> &'static str {
    if truth { "true" } else { "false" }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::resources::tests::fake_root;
    use super::*;

    #[test]
    fn memory_share() {
        let f = |bytes: u64, percent: f64, want: u64| assert_eq!(allowed_memory(1000, bytes, percent), want);
        f(0, 60.0, 600);
        f(0, 12.5, 125);
        f(300, 60.0, 300);
        f(0, -5.0, 0);
        f(0, f64::NAN, 0);
    }

    #[test]
    fn page_of_facts() {
        let (_folder, root) = fake_root(&[
            ("proc/meminfo", "MemTotal: 1000 kB\n"),
            ("proc/self/status", "Cpus_allowed_list:\t0-1\n"),
            ("proc/self/cgroup", "0::/\n"),
            ("cgroup/cpu.max", "50000 100000\n"),
        ]);
        let start = UNIX_EPOCH + Duration::from_millis(1_700_000_000_900);
        let facts = AppFacts {
            version: "vmauth-v1.2.3".into(),
            short_version: "v1.2.3".into(),
            start_time: start,
            started: Instant::now() - Duration::from_millis(61_500),
            memory_allowed_bytes: 0,
            memory_allowed_percent: 50.0,
            prev_shutdown_unclean: false,
        };
        let mut page = Page::new(false);
        write(&mut page, &facts, &root);
        let got = String::from_utf8(page.into_bytes()).unwrap();
        let cores = std::thread::available_parallelism().unwrap();
        let head = format!(
            "vm_app_version{{version=\"vmauth-v1.2.3\", short_version=\"v1.2.3\"}} 1\nvm_app_start_timestamp 1700000000\n\
             vm_app_uptime_seconds 61\nvm_app_prev_shutdown_unclean 0\nvm_available_cpu_cores {cores}\n\
             vm_available_memory_bytes 1024000\nvm_allowed_memory_bytes 512000\nprocess_cpu_cores_available 0.5\n\
             process_memory_limit_bytes 1024000\nvm_os_info{{os=\"{}\", release=\"",
            std::env::consts::OS
        );
        assert!(got.starts_with(&head), "{got}");
        assert!(got.ends_with("\"} 1\n"), "{got}");
    }

    #[test]
    fn flags_and_log_lines() {
        let mut page = Page::new(true);
        write_flags(
            &mut page,
            [
                FlagFact { name: "auth.config", value: "a \"b\"", is_set: true },
                FlagFact { name: "maxConcurrentRequests", value: "1000", is_set: false },
            ],
        );
        let line = LogMessages { app_version: "v", level: "info", location: "main:1", is_printed: true, count: 3 };
        write_log_messages(&mut page, [line, LogMessages { is_printed: false, count: 1, ..line }]);
        write_log_messages(&mut page, []);
        assert_eq!(
            String::from_utf8(page.into_bytes()).unwrap(),
            "# HELP flag\n# TYPE flag gauge\nflag{name=\"auth.config\", value=\"a \\\"b\\\"\", is_set=\"true\"} 1\n\
             flag{name=\"maxConcurrentRequests\", value=\"1000\", is_set=\"false\"} 1\n\
             # HELP vm_log_messages_total\n# TYPE vm_log_messages_total counter\n\
             vm_log_messages_total{app_version=\"v\", level=\"info\", location=\"main:1\", is_printed=\"true\"} 3\n\
             vm_log_messages_total{app_version=\"v\", level=\"info\", location=\"main:1\", is_printed=\"false\"} 1\n"
        );
    }
}
