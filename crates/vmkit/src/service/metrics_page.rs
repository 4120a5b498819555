//! What the process says about itself on its pages: metrics beyond the counters of requests, its flags, its command line.

use std::time::{Instant, SystemTime};

use super::Service;
use super::options::AllowedMemory;
use crate::flags::{FlagLine, FlagSet};
use crate::logger::{dropped_access_lines, dropped_lines, message_counts};
use crate::metrics::app::{self, AppFacts, FlagFact, LogMessages};
use crate::metrics::process;
use crate::metrics::resources::SystemRoot;
use crate::process::build_info::short_version;

/// The flags as pages show them, secrets masked.
pub(super) struct ShownFlags {
    /// All of them, for the `flag` metric.
    all: Vec<FlagLine>,
    /// The `/flags` page.
    pub(super) page: String,
    /// Arguments of the process joined by NUL, every flag with its value as the flags page shows it.
    pub(super) cmdline: String,
}

impl ShownFlags {
    pub(super) fn new(flags: &FlagSet) -> Self {
        let listing = flags.listing();
        let mut words = vec![std::env::args().next().unwrap_or_default()];
        words.extend(listing.iter().map(|line| format!("-{}={}", line.name, line.value)));
        Self {
            all: flags.all(),
            page: listing.iter().map(|line| line.line() + "\n").collect(),
            cmdline: words.join("\0"),
        }
    }
}

impl Service {
    /// Adds the writers of the page in the order of the original's page.
    pub(super) fn add_page_writers(&self) {
        let (registry, version) = (&self.registry, self.app.version.clone());
        let (memory_allowed_bytes, memory_allowed_percent) = match self.options.metrics.allowed_memory {
            AllowedMemory::Bytes(bytes) => (bytes, 60.0),
            AllowedMemory::Percent(percent) => (0, percent),
        };
        let facts = AppFacts {
            short_version: short_version(&version).to_owned(),
            version: version.clone(),
            start_time: SystemTime::now(),
            started: Instant::now(),
            memory_allowed_bytes,
            memory_allowed_percent,
            prev_shutdown_unclean: self.prev_shutdown_unclean,
        };
        if self.options.metrics.go_runtime {
            let (go_runtime, control) = (self.go_runtime.clone(), tokio::runtime::Handle::current());
            registry.add_writer(move |page| {
                let tasks = control.metrics().num_alive_tasks() as u64;
                go_runtime.write(page, tasks, &SystemRoot::default());
            });
        }
        registry.add_writer(process::write);
        let access_drops = format!("{}_access_log_dropped_lines_total", self.app.name);
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
            page.counter("vm_log_dropped_lines_total", dropped_lines() as f64);
            page.counter(&access_drops, dropped_access_lines() as f64);
        });
        let flags = self.shown.all.clone();
        registry.add_writer(move |page| {
            app::write(page, &facts, &SystemRoot::default());
            let facts = flags.iter().map(|flag| FlagFact { name: flag.name, value: &flag.value, is_set: flag.is_set });
            app::write_flags(page, facts);
        });
    }
}
