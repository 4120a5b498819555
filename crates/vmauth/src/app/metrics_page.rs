//! What the process says about itself on its pages: metrics beyond the counters of requests, and its command line.

use std::sync::Arc;
use std::time::SystemTime;

use vmkit::flags::FlagSet;
use vmkit::logger::{dropped_access_lines, message_counts};
use vmkit::metrics::Registry;
use vmkit::metrics::app::{self, AppFacts, FlagFact, LogMessages};
use vmkit::metrics::go_runtime::GoRuntime;
use vmkit::metrics::process;
use vmkit::metrics::resources::SystemRoot;
use vmkit::process::build_info::{short_version, version};

use super::Start;
use crate::options::AllowedMemory;

/// Adds the writers of the page in the order of spec metrics-and-logs.md §1.
pub(super) fn add_writers(registry: &Arc<Registry>, start: &Start, go_runtime: &Arc<GoRuntime>) {
    let version = version("vmauth");
    let (memory_allowed_bytes, memory_allowed_percent) = match start.options.metrics.allowed_memory {
        AllowedMemory::Bytes(bytes) => (bytes, 60.0),
        AllowedMemory::Percent(percent) => (0, percent),
    };
    let facts = AppFacts {
        short_version: short_version(&version).to_owned(),
        version: version.clone(),
        start_time: SystemTime::now(),
        memory_allowed_bytes,
        memory_allowed_percent,
        prev_shutdown_unclean: false,
    };
    let flags = start.flags.all();
    if start.options.metrics.go_runtime {
        let (go_runtime, control) = (go_runtime.clone(), tokio::runtime::Handle::current());
        registry.add_writer(move |page| {
            let tasks = control.metrics().num_alive_tasks() as u64;
            go_runtime.write(page, tasks, &SystemRoot::default());
        });
    }
    registry.add_writer(process::write);
    registry.add_writer(move |page| {
        let counts = message_counts();
        let messages = counts.iter().map(|message| LogMessages {
            app_version: &version,
            level: message.level,
            location: message.location,
            is_printed: message.is_printed,
            count: message.count,
        });
        app::write_log_messages(page, messages);
        page.counter("vmauth_access_log_dropped_lines_total", dropped_access_lines() as f64);
    });
    registry.add_writer(move |page| {
        app::write(page, &facts, SystemTime::now(), &SystemRoot::default());
        let facts = flags.iter().map(|flag| FlagFact { name: flag.name, value: &flag.value, is_set: flag.is_set });
        app::write_flags(page, facts);
    });
}

/// Arguments of the process joined by NUL, every flag with its value as the flags page shows it.
pub(super) fn masked_cmdline(flags: &FlagSet) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "vmauth".to_owned());
    let mut parts = vec![program];
    parts.extend(flags.listing().iter().map(|line| format!("-{}={}", line.name, line.value)));
    parts.join("\0")
}
