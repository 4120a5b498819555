//! What must happen when a request ends, however it ends: duration, access log.
//!
//! A value of this type lives as long as the request does; also when the connection is cut, the client leaves or a
//! handler panics, its drop writes what is due exactly once.

use std::cell::{Cell, RefCell};

use tokio::time::Instant;
use vmkit::exchange::RequestHead;
use vmkit::http_server::Client;

use super::access_log::{self, Entry};
use crate::user::User;

/// The end of a request, waiting to happen.
pub struct RequestScope<'c> {
    user: &'c User,
    head: &'c RequestHead,
    client: &'c Client,
    started: Instant,
    status: Cell<u16>,
    form: RefCell<Option<Vec<u8>>>,
}

impl<'c> RequestScope<'c> {
    /// Begins the pipeline of a user.
    pub fn new(user: &'c User, head: &'c RequestHead, client: &'c Client, started: Instant) -> Self {
        user.metrics.requests.inc();
        Self { user, head, client, started, status: Cell::new(0), form: RefCell::new(None) }
    }

    /// The head of a reply with this status is being sent.
    pub fn set_status(&self, status: u16) {
        self.status.set(status);
    }

    /// What was read of a form body, for log lines.
    pub fn set_form(&self, form: &[u8]) {
        *self.form.borrow_mut() = Some(form.to_vec());
    }

    /// The line of a failed request.
    pub fn log_text(&self, message: &str) -> String {
        vmkit::http_server::log_text(self.head, self.client, self.form.borrow().as_deref(), message)
    }
}

impl Drop for RequestScope<'_> {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        self.user.metrics.duration.update_duration(duration);
        if let Some(spec) = &self.user.access_log {
            let form = self.form.borrow();
            let entry =
                Entry { status: self.status.get(), duration, username: self.user.name(), form: form.as_deref() };
            access_log::write(spec, self.head, self.client, &entry);
        }
    }
}
