//! What is noted of a request on its way: how it ended, how much was sent, and for its access-log line by which backend,
//! after which failures and how long each phase took.
//!
//! Lives as long as the request and is read when it ends, however it ends. How it ends and the bytes are plain cells;
//! times are taken and texts kept only when a line will be written, so that requests without one cost no look at a
//! clock and no allocation.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::Instant;

use crate::ending::End;

/// Longest text about failed attempts; what follows is cut.
const MAX_FAILURES: usize = 1024;

/// How long the phases of a request took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Phases {
    /// From the head of the request to its first attempt: waiting for slots and for the body.
    pub queue: Duration,
    /// Opening connections, of all attempts together.
    pub connect: Duration,
    /// From sending to the head of the reply, for the attempt that was answered.
    pub first_byte: Duration,
}

/// Notes on one request.
#[derive(Debug, Default)]
pub struct Record {
    is_kept: bool,
    end: Cell<End>,
    attempts: Cell<u32>,
    request_bytes: Cell<u64>,
    reply_bytes: Cell<u64>,
    phases: Cell<Phases>,
    /// When the request had been sent whole, by the attempt that runs or was answered.
    sent_whole: Cell<Option<Instant>>,
    /// When the whole reply had been passed on.
    finished: Cell<Option<Instant>>,
    backend: RefCell<String>,
    failures: RefCell<String>,
}

impl Record {
    /// Nothing yet. `is_kept`: whether times and texts will be read.
    pub fn new(is_kept: bool) -> Self {
        Self { is_kept, ..Self::default() }
    }

    /// The time, if anybody wants to know.
    pub fn now(&self) -> Option<Instant> {
        self.is_kept.then(Instant::now)
    }

    /// How the request ended, as far as is known.
    pub fn end(&self) -> End {
        self.end.get()
    }

    /// Notes how the request ended.
    pub fn set_end(&self, end: End) {
        self.end.set(end);
    }

    /// Attempts at backends.
    pub fn attempts(&self) -> u32 {
        self.attempts.get()
    }

    /// Bytes of the body that came from the client.
    pub fn request_bytes(&self) -> u64 {
        self.request_bytes.get()
    }

    /// Bytes of the body that were sent to the client.
    pub fn reply_bytes(&self) -> u64 {
        self.reply_bytes.get()
    }

    /// Times of the phases; zero where a phase was not reached.
    pub fn phases(&self) -> Phases {
        self.phases.get()
    }

    /// `host:port` of the last backend that was tried.
    pub fn with_backend<T>(&self, read: impl FnOnce(&str) -> T) -> T {
        read(&self.backend.borrow())
    }

    /// `host:port: cause` of each failed attempt.
    pub fn with_failures<T>(&self, read: impl FnOnce(&str) -> T) -> T {
        read(&self.failures.borrow())
    }

    /// More of the request's body has arrived.
    pub(crate) fn received(&self, bytes: usize) {
        self.request_bytes.set(self.request_bytes.get() + bytes as u64);
    }

    /// More of the reply's body was sent.
    pub(crate) fn sent(&self, bytes: usize) {
        self.reply_bytes.set(self.reply_bytes.get() + bytes as u64);
    }

    /// Waiting is over.
    pub(super) fn begin(&self, waited_since: Instant) {
        self.time(Some(waited_since), |phases, waited| phases.queue = waited);
    }

    /// When the whole reply had been passed on, if somebody has looked at the clock then.
    pub fn finished(&self) -> Option<Instant> {
        self.finished.get()
    }

    /// The request has been sent whole, and its reply has not begun.
    pub(super) fn sent_whole(&self, at: Option<Instant>) {
        self.sent_whole.set(at);
    }

    /// Since when only the backend is waited for, if somebody has looked at the clock then.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.sent_whole.get()
    }

    /// The whole reply has been passed on; how long after the request was sent, unless it had begun before. Looks at the
    /// clock in place of who would do so at the end of the request.
    pub(super) fn finish(&self) -> Option<Duration> {
        let sent = self.sent_whole.get()?;
        let now = Instant::now();
        self.finished.set(Some(now));
        Some(now.saturating_duration_since(sent))
    }

    /// An attempt at this backend begins.
    pub(super) fn attempt(&self, backend: &str) {
        self.sent_whole.set(None);
        self.attempts.set(self.attempts.get() + 1);
        if self.is_kept {
            let mut kept = self.backend.borrow_mut();
            kept.clear();
            kept.push_str(backend);
        }
    }

    /// A connection was opened, or could not be.
    pub(super) fn connected(&self, since: Option<Instant>) {
        self.time(since, |phases, took| phases.connect += took);
    }

    /// The head of a reply is there.
    pub(super) fn answered(&self, since: Option<Instant>) {
        self.time(since, |phases, took| phases.first_byte = took);
    }

    /// The attempt has failed.
    pub(super) fn failed(&self, cause: &str) {
        if !self.is_kept {
            return;
        }
        let mut failures = self.failures.borrow_mut();
        if !failures.is_empty() {
            failures.push_str("; ");
        }
        failures.push_str(&self.backend.borrow());
        failures.push_str(": ");
        failures.push_str(cause);
        let end = failures.floor_char_boundary(MAX_FAILURES);
        failures.truncate(end);
    }

    fn time(&self, since: Option<Instant>, note: impl FnOnce(&mut Phases, Duration)) {
        if let Some(since) = since.filter(|_| self.is_kept) {
            let mut phases = self.phases.get();
            note(&mut phases, since.elapsed());
            self.phases.set(phases);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_listed_and_bounded() {
        let record = Record::new(true);
        record.attempt("a:1");
        record.failed("no route to host");
        record.attempt("b:2");
        record.failed("reset");
        assert_eq!(record.with_failures(str::to_owned), "a:1: no route to host; b:2: reset");
        for _ in 0..1000 {
            record.failed("żółw");
        }
        assert!(record.with_failures(str::len) <= MAX_FAILURES);
        assert_eq!((record.attempts(), record.with_backend(str::to_owned)), (2, "b:2".to_owned()));
    }

    #[test]
    fn without_a_line_only_numbers_are_kept() {
        let record = Record::new(false);
        record.begin(Instant::now());
        record.attempt("a:1");
        record.failed("x");
        record.sent(3);
        assert!(record.now().is_none() && record.with_failures(str::is_empty) && record.with_backend(str::is_empty));
        assert_eq!((record.attempts(), record.reply_bytes(), record.end()), (1, 3, End::Cut));
    }
}
