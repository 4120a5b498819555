//! The log of the process: `info!`, `warn!`, `error!`, `fatal!` and the lines of the access log.
//!
//! Lines have the form, levels, limits and counters users filter by. All of them go through bounded buffers to a thread
//! of their own, so a slow or stalled reader of the log never holds up a request or a signal; what does not fit is lost
//! and counted. Before [`init`] everything goes to stderr with the default settings.
//!
//! A closed stderr or a full buffer must never stop the process; nobody but the caller keeps secrets out of a message.

mod line_format;
mod line_queue;
mod options;
mod rate_limit;
mod shorten;
mod sink;
mod site;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use crate::flags::{FlagExit, FlagSet};
use line_queue::LineQueue;
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

/// How long the end of the process waits for a reader of the log.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// One configured log; the process has one, tests have many.
struct Logger {
    settings: Settings,
    writer: Arc<LineWriter>,
    queue: OnceLock<Option<LineQueue>>,
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

/// Queues one line; called by the macros. Never waits for output: when the buffer is full, the line is lost and counted.
pub fn log(site: &'static Site, message: fmt::Arguments<'_>) {
    CURRENT.load().log(site, message, now_millis());
}

/// Writes one line and everything that waits, and ends the process with code 255; called by `fatal!`.
pub fn fatal(site: &'static Site, message: fmt::Arguments<'_>) -> ! {
    log(site, message);
    flush();
    std::process::exit(255)
}

/// Queues one line of the access log, without a line end. Never waits for output: when the queue is full, the line is
/// dropped and counted.
pub fn access_line(site: &'static Site, message: &[u8]) {
    CURRENT.load().access_line(site, message, now_millis());
}

/// Queues a line for stderr that has its form and its line end already, whatever `-loggerOutput` and the level say.
pub fn stderr_line(line: &str) {
    match CURRENT.load().queue() {
        Some(queue) => queue.push_raw(line.as_bytes()),
        None => drop(std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes())),
    }
}

/// Number of access-log lines that were lost since the start of the process.
pub fn dropped_access_lines() -> u64 {
    line_queue::dropped_access()
}

/// Number of ordinary log lines that were lost since the start of the process.
pub fn dropped_lines() -> u64 {
    line_queue::dropped_log()
}

/// Writes all lines queued so far; gives up after two seconds when nobody reads them.
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

/// Level set at run time, as its place in [`Level::ALL`] plus one; 0: that of the flag.
static LEVEL: AtomicU8 = AtomicU8::new(0);

/// Lets lines pass from this level on until the end of the process or the next call; `None`: as `-loggerLevel` says.
pub fn set_level(level: Option<Level>) {
    let place = level.and_then(|level| Level::ALL.iter().position(|known| *known == level));
    LEVEL.store(place.map_or(0, |place| place as u8 + 1), Ordering::Relaxed);
}

/// From which level on lines pass now.
pub fn level() -> Level {
    CURRENT.load().threshold()
}

impl Logger {
    fn threshold(&self) -> Level {
        let set = usize::from(LEVEL.load(Ordering::Relaxed)).checked_sub(1);
        set.and_then(|place| Level::ALL.get(place)).copied().unwrap_or(self.settings.threshold)
    }

    fn new(settings: Settings, sink: Sink) -> Self {
        let writer = Arc::new(LineWriter::new(settings.format.clone(), sink));
        Self { settings, writer, queue: OnceLock::new() }
    }

    fn log(&self, site: &'static Site, message: fmt::Arguments<'_>, millis: u64) {
        if site.level() < self.threshold() {
            return site.count(false, 1);
        }
        let limit = match site.level() {
            Level::Warn => self.settings.warns_per_second,
            Level::Error => self.settings.errors_per_second,
            Level::Info | Level::Fatal | Level::Panic => 0,
        };
        let verdict = site.rate().admit(limit, millis / 1000);
        // The message is rendered before any lock is taken: its arguments may log themselves.
        match verdict {
            Verdict::Drop => site.count(false, 1),
            Verdict::Print => self.print(site, &shorten::render(message, self.settings.max_arg_len), millis),
            Verdict::PrintLast => {
                let text = shorten::render(message, self.settings.max_arg_len);
                let text = format!("suppressing log message with rate limit={limit}: {text}");
                self.print(site, &text, millis);
            }
        }
    }

    fn print(&self, site: &'static Site, message: &str, millis: u64) {
        match self.queue() {
            Some(queue) => queue.push_log(site, message.as_bytes(), millis),
            None => {
                site.count(true, 1);
                self.writer.write(|format, out, _| format.push_line(out, millis, site, message.as_bytes()));
            }
        }
    }

    fn access_line(&self, site: &'static Site, message: &[u8], millis: u64) {
        if site.level() < self.threshold() {
            return site.count(false, 1);
        }
        // Without a thread that writes there is no way that holds up nobody.
        if let Some(queue) = self.queue() {
            queue.push_access(site, message, millis);
        }
    }

    /// Started by the first line; `None` when the system gives no thread.
    fn queue(&self) -> Option<&LineQueue> {
        self.queue.get_or_init(|| LineQueue::start(self.writer.clone())).as_ref()
    }

    fn flush(&self) {
        if let Some(Some(queue)) = self.queue.get() {
            queue.flush(FLUSH_LIMIT);
        }
    }
}
