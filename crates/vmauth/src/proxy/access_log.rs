//! The access log: one line per request, when its last byte has been sent or its client has left.
//!
//! The line begins with upstream's fields; what tells why a request took so long or ended as it did follows behind them.
//! It is formatted only for users that want it, and goes to a writer thread without blocking the request.

use std::time::Duration;

use vmkit::exchange::{HeaderId, RequestHead, Version, push_decimal};
use vmkit::go_text::push_quoted;
use vmkit::http_server::{Client, push_remote_addr, push_request_uri};
use vmkit::redact;

use super::request_id::trace_id;
use crate::forward::record::Record;
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
    /// Its id, in the log and perhaps at the backend.
    pub request_id: Option<&'a str>,
    /// Why it was refused or failed; empty when it was not.
    pub reason: &'a str,
    /// What was noted on its way; `None` when it was refused before it had a user: then there is nothing to add.
    pub record: Option<&'a Record>,
}

/// Writes the line unless the user skips this status.
pub fn write(spec: &AccessLog, head: &RequestHead, client: &Client, entry: &Entry<'_>) {
    if spec.skip_status_codes.contains(&entry.status) {
        return;
    }
    let mut line = Vec::with_capacity(512);
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
    // Upstream speaks HTTP/1 only, and those lines stay as they are.
    if head.version() == Version::Http2 {
        line.extend_from_slice(b" protocol=");
        push_quoted(&mut line, head.version().name().as_bytes());
    }
    if let Some(record) = entry.record {
        push_notes(&mut line, head, entry, record);
    }
    vmkit::logger::access_line(vmkit::location!(), &line);
}

/// The fields that upstream does not have.
fn push_notes(line: &mut Vec<u8>, head: &RequestHead, entry: &Entry<'_>, record: &Record) {
    line.extend_from_slice(b" ended=");
    push_quoted(line, record.end().name().as_bytes());
    if !entry.reason.is_empty() {
        line.extend_from_slice(b" reason=");
        push_quoted(line, entry.reason.as_bytes());
    }
    if record.attempts() > 0 {
        line.extend_from_slice(b" backend=");
        record.with_backend(|backend| push_quoted(line, backend.as_bytes()));
    }
    line.extend_from_slice(b" attempts=");
    push_decimal(line, u64::from(record.attempts()));
    record.with_failures(|failures| {
        if !failures.is_empty() {
            line.extend_from_slice(b" failures=");
            push_quoted(line, failures.as_bytes());
        }
    });
    let phases = record.phases();
    for (name, phase) in
        [(&b" queue_ms="[..], phases.queue), (b" connect_ms=", phases.connect), (b" first_byte_ms=", phases.first_byte)]
    {
        line.extend_from_slice(name);
        push_millis(line, phase);
    }
    for (name, bytes) in
        [(&b" request_bytes="[..], record.request_bytes()), (b" response_bytes=", record.reply_bytes())]
    {
        line.extend_from_slice(name);
        push_decimal(line, bytes);
    }
    if let Some(id) = entry.request_id {
        line.extend_from_slice(b" request_id=");
        push_quoted(line, id.as_bytes());
    }
    if let Some(id) = trace_id(head) {
        line.extend_from_slice(b" trace_id=");
        push_quoted(line, id);
    }
}

/// Milliseconds with three decimals: many phases are shorter than one.
fn push_millis(line: &mut Vec<u8>, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    push_decimal(line, micros / 1000);
    line.push(b'.');
    let rest = micros % 1000;
    line.extend([rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let f = |micros: u64, want: &str| {
            let mut line = Vec::new();
            push_millis(&mut line, Duration::from_micros(micros));
            assert_eq!(line, want.as_bytes());
        };
        f(0, "0.000");
        f(7, "0.007");
        f(1_250, "1.250");
        f(61_000_099, "61000.099");
    }
}
