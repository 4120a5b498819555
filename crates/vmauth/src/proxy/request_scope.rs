//! What must happen when a request ends, however it ends: duration, counters, access log.
//!
//! A value of this type lives as long as the request does; also when the connection is cut, the client leaves or a
//! handler panics, its drop writes what is due exactly once.

use std::cell::{Cell, OnceCell, RefCell};

use tokio::time::Instant;
use vmkit::exchange::RequestHead;
use vmkit::http_server::Client;

use super::access_log::{self, Entry};
use super::request_id;
use super::worker_counters::WorkerCounters;
use crate::ending::Meaning;
use crate::forward::record::Record;
use crate::user::{AccessLog, User};

/// What is done at the end of a request.
#[derive(Clone, Copy, Debug)]
pub struct ScopeSettings<'c> {
    /// The access log it goes to.
    pub log: Option<&'c AccessLog>,
    /// `-requestIDHeader`: ids are passed on in it.
    pub id_header: Option<&'c str>,
    /// Where it is counted.
    pub counters: &'c WorkerCounters,
}

/// The end of a request, waiting to happen.
pub struct RequestScope<'c> {
    user: &'c User,
    head: &'c RequestHead,
    client: &'c Client,
    started: Instant,
    settings: ScopeSettings<'c>,
    id: OnceCell<Option<String>>,
    status: Cell<u16>,
    is_own: Cell<bool>,
    reason: Cell<&'static str>,
    form: RefCell<Option<Vec<u8>>>,
    record: Record,
}

impl<'c> RequestScope<'c> {
    /// Begins the pipeline of a user.
    pub fn new(
        user: &'c User,
        head: &'c RequestHead,
        client: &'c Client,
        started: Instant,
        settings: ScopeSettings<'c>,
    ) -> Self {
        user.metrics.requests.inc();
        Self {
            user,
            head,
            client,
            started,
            settings,
            id: OnceCell::new(),
            status: Cell::new(0),
            is_own: Cell::new(false),
            reason: Cell::new(""),
            form: RefCell::new(None),
            record: Record::new(settings.log.is_some()),
        }
    }

    /// The head of an own reply with this status is being sent.
    pub fn set_own_status(&self, status: u16) {
        self.status.set(status);
        self.is_own.set(true);
    }

    /// The head of a backend's reply with this status is being sent.
    pub fn set_status(&self, status: u16) {
        self.status.set(status);
    }

    /// The request was refused or has failed.
    pub fn set_error(&self, meaning: Meaning) {
        self.reason.set(meaning.reason);
        self.record.set_end(meaning.end);
    }

    /// What was read of a form body, for log lines.
    pub fn set_form(&self, form: &[u8]) {
        *self.form.borrow_mut() = Some(form.to_vec());
    }

    /// Notes on its way.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Name and value of the header that tells the backend the id, if it is to be told.
    pub fn id_for_backend(&self) -> Option<(&str, &str)> {
        self.settings.id_header.and_then(|name| Some((name, self.id()?)))
    }

    /// The client's id; a new one if somebody will see it.
    fn id(&self) -> Option<&str> {
        let find = || {
            let header = self.settings.id_header.unwrap_or(request_id::USUAL_HEADER);
            let given = request_id::of_client(self.head, header).map(str::to_owned);
            let is_wanted = self.settings.log.is_some() || self.settings.id_header.is_some();
            given.or_else(|| is_wanted.then(request_id::made_up))
        };
        self.id.get_or_init(find).as_deref()
    }

    /// The line of a failed request.
    pub fn log_text(&self, message: &str) -> String {
        let mut line = vmkit::http_server::log_text(self.head, self.client, self.form.borrow().as_deref(), message);
        if let Some(id) = self.id() {
            line.push_str("; request_id=");
            line.push_str(&vmkit::go_text::quote(id));
        }
        line
    }
}

impl Drop for RequestScope<'_> {
    fn drop(&mut self) {
        let duration = match self.record.finished() {
            Some(at) => at.saturating_duration_since(self.started),
            None => self.started.elapsed(),
        };
        self.user.metrics.duration.update_duration(duration);
        self.settings.counters.ended(self.status.get(), self.record.end(), self.is_own.get());
        if let Some(spec) = self.settings.log {
            let form = self.form.borrow();
            let entry = Entry {
                status: self.status.get(),
                duration,
                username: self.user.name(),
                form: form.as_deref(),
                request_id: self.id(),
                reason: self.reason.get(),
                record: Some(&self.record),
            };
            access_log::write(spec, self.head, self.client, &entry);
        }
    }
}
