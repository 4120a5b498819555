//! The access log: one line per request, when its last byte has been sent or its client has left.
//!
//! The line is formatted only for users that want it, and goes to a writer thread without blocking the request.

use std::time::Duration;

use vmkit::exchange::{HeaderId, RequestHead, push_decimal};
use vmkit::go_text::push_quoted;
use vmkit::http_server::{Client, push_remote_addr, push_request_uri};
use vmkit::redact;

use crate::user::AccessLog;

/// What a line tells besides the request itself.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Status that was sent; 0 when nothing was.
    pub status: u16,
    /// From the complete head to the end.
    pub duration: Duration,
    /// Name of the user.
    pub username: &'a str,
    /// What was read of a form body.
    pub form: Option<&'a [u8]>,
}

/// Writes the line unless the user skips this status.
pub fn write(spec: &AccessLog, head: &RequestHead, client: &Client, entry: &Entry<'_>) {
    if spec.skip_status_codes.contains(&entry.status) {
        return;
    }
    let mut line = Vec::with_capacity(256);
    line.extend_from_slice(b"access_log request_host=");
    push_quoted(&mut line, head.host());
    line.extend_from_slice(b" request_uri=");
    let mut uri = Vec::with_capacity(head.target().len());
    push_request_uri(&mut uri, head, entry.form);
    push_quoted(&mut line, &uri);
    line.extend_from_slice(b" status_code=");
    push_decimal(&mut line, u64::from(entry.status));
    line.extend_from_slice(b" remote_addr=");
    push_remote_addr(&mut line, head, client);
    line.extend_from_slice(b" user_agent=");
    push_quoted(&mut line, head.first(HeaderId::UserAgent).unwrap_or_default());
    line.extend_from_slice(b" referer=");
    push_quoted(&mut line, &redact::url_args(head.first(HeaderId::Referer).unwrap_or_default()));
    line.extend_from_slice(b" duration_ms=");
    push_decimal(&mut line, u64::try_from(entry.duration.as_millis()).unwrap_or(u64::MAX));
    line.extend_from_slice(b" username=");
    push_quoted(&mut line, entry.username.as_bytes());
    vmkit::logger::access_line(vmkit::location!(), &line);
}
