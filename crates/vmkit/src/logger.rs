//! The log of the process: `info!`, `warn!`, `error!`, `fatal!` and the lines of the access log.
//!
//! Lines have the form, levels, limits and counters users filter by. Ordinary lines are written by the thread that
//! logs, whole and at once; access-log lines go through a bounded queue to a thread of their own, so a slow terminal
//! never holds up a request. Before [`init`] everything goes to stderr with the default settings.
//!
//! A closed stderr or a full queue must never stop the process; nobody but the caller keeps secrets out of a message.

mod access_queue;
mod line_format;
mod options;
mod rate_limit;
mod shorten;
mod sink;
mod site;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use crate::flags::{FlagExit, FlagSet};
use access_queue::AccessQueue;
use options::Settings;
use rate_limit::Verdict;
use sink::{LineWriter, Sink};

pub use options::LoggerOptions;
pub use shorten::shorten;
pub use site::{Level, MessageCount, Site, message_counts};

/// The place of the call, for [`access_line`]: a `&'static Site` of level info.
#[macro_export]
macro_rules! location {
    () => {
        $crate::log_site!($crate::logger::Level::Info)
    };
}

/// The place of the call as a `&'static Site` of any level; what the log macros are made of.
#[macro_export]
macro_rules! log_site {
    ($level:expr) => {{
        static SITE: $crate::logger::Site =
            $crate::logger::Site::new($level, concat!("VictoriaMetrics/", file!(), ":", line!()));
        &SITE
    }};
}

/// Logs what operators may want to know; arguments as for `format!`.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => {
        $crate::logger::log($crate::log_site!($crate::logger::Level::Info), format_args!($($message)+))
    };
}

/// Logs what went wrong for one request or target; arguments as for `format!`.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => {
        $crate::logger::log($crate::log_site!($crate::logger::Level::Warn), format_args!($($message)+))
    };
}

/// Logs what operators must look at; arguments as for `format!`.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => {
        $crate::logger::log($crate::log_site!($crate::logger::Level::Error), format_args!($($message)+))
    };
}

/// Logs why the process cannot go on and ends it with code 255; arguments as for `format!`.
#[macro_export]
macro_rules! fatal {
    ($($message:tt)+) => {
        $crate::logger::fatal($crate::log_site!($crate::logger::Level::Fatal), format_args!($($message)+))
    };
}

/// One configured log; the process has one, tests have many.
struct Logger {
    settings: Settings,
    writer: Arc<LineWriter>,
    access: OnceLock<Option<AccessQueue>>,
}

static CURRENT: LazyLock<ArcSwap<Logger>> =
    LazyLock::new(|| ArcSwap::from_pointee(Logger::new(Settings::default(), Sink::Stderr)));

/// Checks the options and makes them those of the process. Called again, the newer options count.
///
/// # Errors
/// An option that cannot be used: the exit the process must make.
pub fn init(options: &LoggerOptions) -> Result<(), FlagExit> {
    let settings = options.settings()?;
    let sink = if settings.to_stdout { Sink::Stdout } else { Sink::Stderr };
    flush();
    CURRENT.store(Arc::new(Logger::new(settings, sink)));
    Ok(())
}

/// Writes the lines a start begins with: the version and the flags that are set.
pub fn log_start(version: &str, flags: &FlagSet) {
    crate::info!("build version: {version}");
    crate::info!("command-line flags");
    for line in flags.listing() {
        crate::info!("  {}", line.line());
    }
}

/// Writes one line; called by the macros.
pub fn log(site: &'static Site, message: fmt::Arguments<'_>) {
    CURRENT.load().log(site, message, now_millis());
}

/// Writes one line and everything that waits, and ends the process with code 255; called by `fatal!`.
pub fn fatal(site: &'static Site, message: fmt::Arguments<'_>) -> ! {
    flush();
    log(site, message);
    std::process::exit(255)
}

/// Queues one line of the access log, without a line end. Never waits for output: when the queue is full, the line is
/// dropped and counted.
pub fn access_line(site: &'static Site, message: &[u8]) {
    CURRENT.load().access_line(site, message, now_millis());
}

/// Number of access-log lines that were dropped since the start of the process.
pub fn dropped_access_lines() -> u64 {
    access_queue::dropped()
}

/// Writes all access-log lines queued so far.
pub fn flush() {
    CURRENT.load().flush();
}

/// Longest argument that is printed in full, `-loggerMaxArgLen`; for lines that are put together elsewhere.
pub fn max_arg_len() -> usize {
    CURRENT.load().settings.max_arg_len
}

/// Text that was logged since [`capture`].
#[derive(Clone, Debug)]
pub struct Captured(Sink);

impl Captured {
    /// All lines so far, access log included.
    pub fn text(&self) -> String {
        flush();
        self.0.text()
    }
}

/// For tests: redirects the log of the process into memory. Tests that run side by side see each other's lines.
pub fn capture() -> Captured {
    let sink = Sink::memory();
    CURRENT.store(Arc::new(Logger::new(Settings::default(), sink.clone())));
    Captured(sink)
}

fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Logger {
    fn new(settings: Settings, sink: Sink) -> Self {
        let writer = Arc::new(LineWriter::new(settings.format.clone(), sink));
        Self { settings, writer, access: OnceLock::new() }
    }

    fn log(&self, site: &'static Site, message: fmt::Arguments<'_>, millis: u64) {
        if site.level() < self.settings.threshold {
            return site.count(false, 1);
        }
        let limit = match site.level() {
            Level::Warn => self.settings.warns_per_second,
            Level::Error => self.settings.errors_per_second,
            Level::Info | Level::Fatal | Level::Panic => 0,
        };
        let verdict = site.rate().admit(limit, millis / 1000);
        site.count(verdict != Verdict::Drop, 1);
        // The message is rendered before any lock is taken: its arguments may log themselves.
        match verdict {
            Verdict::Drop => {}
            Verdict::Print => self.print(site, &shorten::render(message, self.settings.max_arg_len), millis),
            Verdict::PrintLast => {
                let text = shorten::render(message, self.settings.max_arg_len);
                let text = format!("suppressing log message with rate limit={limit}: {text}");
                self.print(site, &text, millis);
            }
        }
    }

    fn print(&self, site: &Site, message: &str, millis: u64) {
        self.writer.write(|format, out| format.push_line(out, millis, site, message.as_bytes()));
    }

    fn access_line(&self, site: &'static Site, message: &[u8], millis: u64) {
        if site.level() < self.settings.threshold {
            return site.count(false, 1);
        }
        match self.access.get_or_init(|| AccessQueue::start(self.writer.clone())) {
            Some(queue) => queue.push(site, message, millis),
            // There is no thread that could write without holding up requests.
            None => access_queue::count_drop(site),
        }
    }

    fn flush(&self) {
        if let Some(Some(queue)) = self.access.get() {
            queue.drain();
        }
    }
}
