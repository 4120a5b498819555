//! Writes one reply to a client: status line, header lines, framing, body.
//!
//! The head waits for the first piece of the body, so that a small reply leaves in one write; every later piece is
//! sent at once. Framing headers are written here and nowhere else.

use std::cell::Cell;
use std::io::{self, IoSlice, Write};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::request_head::{MAX_KEPT, RequestHead, Version};
use super::status::reason;
use super::wire::Wire;

/// How the body of a reply is delimited towards the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyBody {
    /// Exactly so many bytes.
    Length(u64),
    /// Length unknown: chunked for HTTP/1.1, until the end of the connection for HTTP/1.0.
    Stream,
    /// No body, and a `Content-Length` only if given: HEAD, 204, 304.
    None(Option<u64>),
    /// 101: raw bytes in both directions from here on.
    Tunnel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Idle,
    Length(u64),
    Chunked,
    UntilClose,
    Finished,
    Broken,
}

/// What the state of the request's body means for the reply.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BodyDuty {
    /// The client waits for `100 Continue`.
    pub(super) awaits_continue: bool,
    /// `100 Continue` was begun and perhaps not sent to its end: nothing may follow it.
    pub(super) interim_unfinished: bool,
    /// So much of the body is unread, or it is malformed, that no other request can follow.
    pub(super) ends_connection: bool,
}

/// The reply of one exchange.
#[derive(Debug)]
pub struct ReplyWriter {
    wire: Rc<Wire>,
    duty: Rc<Cell<BodyDuty>>,
    /// True once the process shuts down.
    draining: Rc<Cell<bool>>,
    /// Head, not sent yet.
    out: Vec<u8>,
    mode: Mode,
    status: u16,
    keep_alive: bool,
    http10: bool,
    to_head: bool,
    has_date: bool,
    sent: bool,
    /// Whether the end of the connection is the end of the body.
    ends_with_connection: bool,
}

impl ReplyWriter {
    pub(super) fn new(wire: Rc<Wire>, duty: Rc<Cell<BodyDuty>>, draining: Rc<Cell<bool>>) -> Self {
        Self {
            wire,
            duty,
            draining,
            out: Vec::new(),
            mode: Mode::Idle,
            status: 0,
            keep_alive: false,
            http10: false,
            to_head: false,
            has_date: false,
            sent: false,
            ends_with_connection: false,
        }
    }

    pub(super) fn start(&mut self, head: &RequestHead) {
        self.start_refusal();
        self.keep_alive = head.keep_alive();
        self.http10 = head.version() == Version::Http10;
        self.to_head = head.method() == "HEAD";
    }

    /// Prepares for the answer to something that is no request: nothing of the last exchange may shine through.
    pub(super) fn start_refusal(&mut self) {
        self.out.clear();
        self.mode = Mode::Idle;
        self.status = 0;
        self.keep_alive = false;
        self.http10 = false;
        self.to_head = false;
        self.ends_with_connection = false;
    }

    /// The reply has been sent: storage of a large head must not stay with an idle connection.
    pub(super) fn release(&mut self) {
        if self.out.capacity() > MAX_KEPT {
            self.out = Vec::new();
        }
    }

    /// Whether the client would take the end of the connection for the end of a body that is not complete.
    pub(super) fn end_would_deceive(&self) -> bool {
        self.ends_with_connection && !self.is_finished()
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Whether anything of any reply was sent on this connection.
    pub(super) fn has_sent(&self) -> bool {
        self.sent
    }

    /// Whether the reply has been sent to its end.
    pub fn is_finished(&self) -> bool {
        self.mode == Mode::Finished
    }

    /// Whether the connection stays open after this reply.
    pub fn keeps_alive(&self) -> bool {
        self.keep_alive
    }

    /// Closes the connection after this reply.
    pub fn set_close(&mut self) {
        self.keep_alive = false;
    }

    /// Status of the reply, 0 while no head was begun.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether a head was begun: after that the status cannot change any more.
    pub fn has_begun(&self) -> bool {
        self.mode != Mode::Idle
    }

    /// Whether the request was HEAD: the reply has no body whatever its headers say.
    pub fn is_to_head(&self) -> bool {
        self.to_head
    }

    /// Begins a reply and returns the buffer for its header lines, each `Name: value CRLF`.
    ///
    /// Framing headers, `Connection` and the empty line are added by [`end_head`](Self::end_head).
    pub fn begin(&mut self, status: u16) -> &mut Vec<u8> {
        self.status = status;
        self.has_date = false;
        self.out.clear();
        self.out.extend_from_slice(b"HTTP/1.1 ");
        push_decimal(&mut self.out, u64::from(status));
        self.out.push(b' ');
        match reason(status) {
            "" => {
                self.out.extend_from_slice(b"status code ");
                push_decimal(&mut self.out, u64::from(status));
            }
            text => self.out.extend_from_slice(text.as_bytes()),
        }
        self.out.extend_from_slice(b"\r\n");
        &mut self.out
    }

    /// The header lines hold a `Date` already.
    pub fn set_has_date(&mut self) {
        self.has_date = true;
    }

    /// Ends the head; `body` says how the body is delimited.
    pub fn end_head(&mut self, body: ReplyBody) {
        if !self.has_date {
            push_date(&mut self.out);
        }
        self.ends_with_connection = body == ReplyBody::Stream && self.http10 && !self.to_head;
        let mut duty = self.duty.get();
        if duty.awaits_continue || duty.ends_connection || self.draining.get() || self.ends_with_connection {
            self.keep_alive = false;
        }
        // The final reply answers the expectation; an interim one must not come into its middle.
        duty.awaits_continue = false;
        self.duty.set(duty);
        let mut length = |n: u64| {
            self.out.extend_from_slice(b"Content-Length: ");
            push_decimal(&mut self.out, n);
            self.out.extend_from_slice(b"\r\n");
        };
        self.mode = match body {
            ReplyBody::Length(n) => {
                length(n);
                Mode::Length(if self.to_head { 0 } else { n })
            }
            ReplyBody::None(n) => {
                if let Some(n) = n {
                    length(n);
                }
                Mode::Length(0)
            }
            ReplyBody::Stream if self.to_head => Mode::Length(0),
            ReplyBody::Stream if self.http10 => Mode::UntilClose,
            ReplyBody::Stream => {
                self.out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                Mode::Chunked
            }
            ReplyBody::Tunnel => Mode::UntilClose,
        };
        if body == ReplyBody::Tunnel {
            self.keep_alive = false;
        } else if !self.keep_alive {
            self.out.extend_from_slice(b"Connection: close\r\n");
        } else if self.http10 {
            self.out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Sends a piece of the body, and the head before the first one; `last` ends the reply with it.
    ///
    /// Bytes beyond an announced length are not sent.
    pub async fn send(&mut self, data: &[u8], last: bool) -> io::Result<()> {
        let head = std::mem::take(&mut self.out);
        let result = self.send_after(&head, data, last).await;
        self.out = head;
        self.out.clear();
        if result.is_err() {
            self.mode = Mode::Broken;
        }
        result
    }

    async fn send_after(&mut self, head: &[u8], data: &[u8], last: bool) -> io::Result<()> {
        // Until the write is complete the reply is broken: the future may be dropped in its middle.
        let mode = std::mem::replace(&mut self.mode, Mode::Broken);
        self.sent = true;
        match mode {
            Mode::Idle | Mode::Broken => return Err(io::ErrorKind::BrokenPipe.into()),
            _ if self.duty.get().interim_unfinished => return Err(io::ErrorKind::BrokenPipe.into()),
            Mode::Finished => {}
            Mode::Length(left) => {
                let data = &data[..data.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
                self.wire.write_all(&mut [IoSlice::new(head), IoSlice::new(data)]).await?;
                let left = left - data.len() as u64;
                self.mode = if left == 0 { Mode::Finished } else { Mode::Length(left) };
                return Ok(());
            }
            Mode::UntilClose => {
                self.wire.write_all(&mut [IoSlice::new(head), IoSlice::new(data)]).await?;
                self.mode = if last { Mode::Finished } else { mode };
                return Ok(());
            }
            Mode::Chunked if data.is_empty() && !last => {
                self.wire.write_all(&mut [IoSlice::new(head)]).await?;
            }
            Mode::Chunked => {
                let mut size = [0; 18];
                let size = chunk_size(&mut size, data.len());
                let end: &[u8] = match (data.is_empty(), last) {
                    (true, _) => b"0\r\n\r\n",
                    (false, true) => b"\r\n0\r\n\r\n",
                    (false, false) => b"\r\n",
                };
                let size = if data.is_empty() { &[] } else { size };
                self.wire
                    .write_all(&mut [IoSlice::new(head), IoSlice::new(size), IoSlice::new(data), IoSlice::new(end)])
                    .await?;
                self.mode = if last { Mode::Finished } else { Mode::Chunked };
                return Ok(());
            }
        }
        self.mode = mode;
        Ok(())
    }

    /// Sends what is left of the head and ends the reply. A body shorter than announced leaves the reply unfinished.
    pub async fn finish(&mut self) -> io::Result<()> {
        if self.mode == Mode::Finished {
            return Ok(());
        }
        self.send(&[], true).await?;
        if self.mode == Mode::Finished { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Sends a complete reply: header lines and body.
    pub async fn send_all(&mut self, status: u16, lines: &[u8], body: &[u8]) -> io::Result<()> {
        self.begin(status).extend_from_slice(lines);
        let empty = matches!(status, 204 | 304);
        self.end_head(if empty { ReplyBody::None(None) } else { ReplyBody::Length(body.len() as u64) });
        self.send(if empty || self.to_head { &[] } else { body }, true).await
    }

    /// Ends a tunnel: the client sees the end of the stream.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.wire.shutdown().await
    }
}

/// Appends decimal digits.
pub fn push_decimal(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// Writes `hex CRLF` into `buffer`.
pub(super) fn chunk_size(buffer: &mut [u8; 18], len: usize) -> &[u8] {
    let mut rest = &mut buffer[..];
    // Sixteen digits and a line end always fit.
    let _ = write!(rest, "{len:x}\r\n");
    let left = rest.len();
    &buffer[..18 - left]
}

/// Appends a `Date` line, rendered once a second a thread (RFC 9110 §5.6.7).
fn push_date(out: &mut Vec<u8>) {
    thread_local! {
        static DATE: Cell<(u64, [u8; 37])> = const { Cell::new((u64::MAX, [0; 37])) };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (at, mut line) = DATE.get();
    if at != now {
        line = date_line(now);
        DATE.set((now, line));
    }
    out.extend_from_slice(&line);
}

fn date_line(seconds: u64) -> [u8; 37] {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = seconds / 86_400;
    let (year, month, day) = civil_date(days);
    let mut line = [b' '; 37];
    let _ = write!(
        &mut line[..],
        "Date: {}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT\r\n",
        DAYS[(days % 7) as usize],
        MONTHS[(month - 1) as usize % 12],
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    );
    line
}

/// Year, month and day of a number of days since 1970-01-01, by counting years of the Gregorian calendar.
fn civil_date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length || year > 9998 {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        if days < length {
            return (year, month, days + 1);
        }
        days -= length;
    }
    (year, 12, 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(&date_line(0), b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
        assert_eq!(&date_line(1_709_210_096), b"Date: Thu, 29 Feb 2024 12:34:56 GMT\r\n");
        assert_eq!(&date_line(1_795_284_488), b"Date: Sat, 21 Nov 2026 18:08:08 GMT\r\n");
    }

    #[test]
    fn chunk_sizes() {
        assert_eq!(chunk_size(&mut [0; 18], 0), b"0\r\n");
        assert_eq!(chunk_size(&mut [0; 18], usize::MAX), b"ffffffffffffffff\r\n");
    }
}
