//! Stand-ins for the `go_*` series that public dashboards and alert rules read.
//!
//! There is no Go runtime here; each series shows the nearest thing that is true of this process:
//! `go_goroutines` — live async tasks plus operating system threads; `go_threads` — threads; `go_gomaxprocs` — worker
//! threads; `go_cpu_count` — cores the process may run on; `go_memstats_sys_bytes` — resident memory;
//! `go_memstats_heap_inuse_bytes` — anonymous memory without the main stack; `go_memstats_stack_inuse_bytes` — stack of
//! the main thread (other stacks are part of the anonymous memory); `go_sched_latencies_seconds` — how late a task ran
//! that was due. Everything else of that family is left out rather than invented.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::prometheus_text::{Kind, Page};
use super::resources::{SystemRoot, field};

/// Upper bounds of the delay buckets: seconds, and as printed.
const BOUNDS: [(f64, &str); 14] = [
    (1e-6, "1e-06"),
    (1e-5, "1e-05"),
    (5e-5, "5e-05"),
    (1e-4, "0.0001"),
    (5e-4, "0.0005"),
    (1e-3, "0.001"),
    (5e-3, "0.005"),
    (1e-2, "0.01"),
    (5e-2, "0.05"),
    (0.1, "0.1"),
    (0.5, "0.5"),
    (1.0, "1"),
    (5.0, "5"),
    (10.0, "10"),
];

/// The measured part of the stand-ins; share it as `Arc<GoRuntime>`.
#[derive(Debug)]
pub struct GoRuntime {
    workers: usize,
    compiler: String,
    buckets: [AtomicU64; BOUNDS.len() + 1],
    delay_nanos: AtomicU64,
}

impl GoRuntime {
    /// `workers` threads serve requests; `compiler` is shown as `go_info{version}`, for instance `rust1.95`.
    pub fn new(workers: usize, compiler: impl Into<String>) -> Self {
        Self { workers, compiler: compiler.into(), buckets: Default::default(), delay_nanos: AtomicU64::new(0) }
    }

    /// Records how late a worker ran a task that was due, for instance a timer; a sample now and then is enough.
    pub fn record_scheduling_delay(&self, delay: Duration) {
        let seconds = delay.as_secs_f64();
        let at = BOUNDS.iter().position(|(bound, _)| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.delay_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Appends the stand-ins; `live_tasks` is the number of async tasks of all runtimes.
    pub fn write(&self, page: &mut Page, live_tasks: u64, root: &SystemRoot) {
        let status = root.proc_text("self/status");
        let threads = field(&status, "Threads").unwrap_or(self.workers as u64);
        let bytes = |name| field(&status, name).unwrap_or(0).saturating_mul(1024);
        let stack = bytes("VmStk");

        page.gauge("go_goroutines", live_tasks.saturating_add(threads) as f64);
        page.gauge("go_threads", threads as f64);
        page.gauge("go_gomaxprocs", self.workers as f64);
        page.gauge("go_cpu_count", root.schedulable_cores() as f64);
        page.family("go_info", Kind::Gauge);
        page.labeled("go_info", &[("version", &self.compiler)], 1.0);
        page.gauge("go_memstats_sys_bytes", bytes("VmRSS") as f64);
        page.gauge("go_memstats_heap_inuse_bytes", bytes("RssAnon").saturating_sub(stack) as f64);
        page.gauge("go_memstats_stack_inuse_bytes", stack as f64);
        self.write_delays(page);
    }

    fn write_delays(&self, page: &mut Page) {
        const FAMILY: &str = "go_sched_latencies_seconds";
        page.family(FAMILY, Kind::Histogram);
        let mut total = 0_u64;
        let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        for (counter, bound) in self.buckets.iter().zip(bounds) {
            total = total.wrapping_add(counter.load(Ordering::Relaxed));
            page.labeled("go_sched_latencies_seconds_bucket", &[("le", bound)], total as f64);
        }
        page.sample("go_sched_latencies_seconds_sum", self.delay_nanos.load(Ordering::Relaxed) as f64 / 1e9);
        page.sample("go_sched_latencies_seconds_count", total as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::super::resources::tests::fake_root;
    use super::*;

    #[test]
    fn page_of_stand_ins() {
        let status = "VmRSS:\t100 kB\nRssAnon:\t60 kB\nVmStk:\t10 kB\nThreads:\t4\nCpus_allowed_list:\t0-1\n";
        let (_folder, root) = fake_root(&[("proc/self/status", status)]);
        let runtime = GoRuntime::new(2, "rust1.95");
        for micros in [1, 2, 60_000, 11_000_000] {
            runtime.record_scheduling_delay(Duration::from_micros(micros));
        }
        let mut page = Page::new(false);
        runtime.write(&mut page, 7, &root);
        let got = String::from_utf8(page.into_bytes()).unwrap();
        let f = |line: &str| assert_eq!(got.lines().filter(|shown| *shown == line).count(), 1, "{line} in\n{got}");
        f("go_goroutines 11");
        f("go_threads 4");
        f("go_gomaxprocs 2");
        f("go_cpu_count 2");
        f(r#"go_info{version="rust1.95"} 1"#);
        f("go_memstats_sys_bytes 102400");
        f("go_memstats_heap_inuse_bytes 51200");
        f("go_memstats_stack_inuse_bytes 10240");
        f(r#"go_sched_latencies_seconds_bucket{le="1e-06"} 1"#);
        f(r#"go_sched_latencies_seconds_bucket{le="1e-05"} 2"#);
        f(r#"go_sched_latencies_seconds_bucket{le="0.05"} 2"#);
        f(r#"go_sched_latencies_seconds_bucket{le="0.1"} 3"#);
        f(r#"go_sched_latencies_seconds_bucket{le="+Inf"} 4"#);
        f("go_sched_latencies_seconds_sum 11.060003");
        f("go_sched_latencies_seconds_count 4");
    }

    #[test]
    fn present_before_any_sample() {
        let mut page = Page::new(false);
        GoRuntime::new(1, "rust").write(&mut page, 0, &SystemRoot::default());
        let got = String::from_utf8(page.into_bytes()).unwrap();
        assert!(got.contains("go_sched_latencies_seconds_bucket{le=\"+Inf\"} 0\n"), "{got}");
    }
}
