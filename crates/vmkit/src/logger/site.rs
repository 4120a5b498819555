//! Places in the source that log, with their counters.
//!
//! Each use of a log macro owns one static [`Site`], so counting and rate limiting need no lookup and no lock. Sites
//! register themselves on first use; `vm_log_messages_total` is read from that list.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::rate_limit::RateLimit;

static SITES: Mutex<Vec<&'static Site>> = Mutex::new(Vec::new());

/// Severity of a line, in the order of `-loggerLevel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing.
    Info,
    /// One request or target failed.
    Warn,
    /// Somebody must look at it.
    Error,
    /// The process ends.
    Fatal,
    /// A mistake in the program.
    Panic,
}

impl Level {
    /// From the least to the most severe.
    pub const ALL: [Self; 5] = [Self::Info, Self::Warn, Self::Error, Self::Fatal, Self::Panic];

    /// Word in the line and in the metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
            Self::Panic => "panic",
        }
    }

    /// By the upper-case word of `-loggerLevel`.
    pub fn from_flag(text: &str) -> Option<Self> {
        match text {
            "INFO" => Some(Self::Info),
            "WARN" => Some(Self::Warn),
            "ERROR" => Some(Self::Error),
            "FATAL" => Some(Self::Fatal),
            "PANIC" => Some(Self::Panic),
            _ => None,
        }
    }
}

/// A place in the source that logs.
#[derive(Debug)]
pub struct Site {
    level: Level,
    location: &'static str,
    printed: AtomicU64,
    suppressed: AtomicU64,
    registered: AtomicBool,
    rate: RateLimit,
}

impl Site {
    /// For the log macros; `location` is `path:line`.
    pub const fn new(level: Level, location: &'static str) -> Self {
        Self {
            level,
            location,
            printed: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
            registered: AtomicBool::new(false),
            rate: RateLimit::new(),
        }
    }

    /// Severity of everything logged here.
    pub fn level(&self) -> Level {
        self.level
    }

    /// `path:line`.
    pub fn location(&self) -> &'static str {
        self.location
    }

    pub(crate) fn rate(&self) -> &RateLimit {
        &self.rate
    }

    pub(crate) fn count(&'static self, is_printed: bool, messages: u64) {
        if !self.registered.load(Ordering::Relaxed) && !self.registered.swap(true, Ordering::Relaxed) {
            SITES.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        }
        let counter = if is_printed { &self.printed } else { &self.suppressed };
        counter.fetch_add(messages, Ordering::Relaxed);
    }
}

/// One series of `vm_log_messages_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageCount {
    /// Label `level`.
    pub level: &'static str,
    /// Label `location`.
    pub location: &'static str,
    /// Label `is_printed`; messages below the level or over a rate limit are not printed.
    pub is_printed: bool,
    /// Messages since the start of the process, never zero.
    pub count: u64,
}

/// Counters of all messages so far, sorted by level, location and `is_printed`.
pub fn message_counts() -> Vec<MessageCount> {
    let mut sums = BTreeMap::<_, u64>::new();
    for site in SITES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        for (is_printed, counter) in [(false, &site.suppressed), (true, &site.printed)] {
            let count = counter.load(Ordering::Relaxed);
            if count > 0 {
                // Two calls on one source line are one series.
                *sums.entry((site.level, site.location, is_printed)).or_default() += count;
            }
        }
    }
    let series = sums.into_iter();
    series
        .map(|((level, location, is_printed), count)| MessageCount { level: level.name(), location, is_printed, count })
        .collect()
}
