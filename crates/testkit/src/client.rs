//! A raw HTTP/1.1 client: writes the bytes it is told to and says exactly what came back and how it ended.
//!
//! It never repeats, never normalises and never closes by itself. A reply that breaks off is no error here but a value
//! ([`End`]), because most tests are about how replies break off.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::deadline::PATIENCE;
use crate::wire::{Connection, Fields, Framing};

/// How a reply ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By its own framing.
    Complete,
    /// The server ended the connection too early.
    Eof,
    /// The server reset the connection.
    Reset,
    /// Nothing came until the deadline.
    Deadline,
    /// What came is no HTTP.
    Malformed(String),
}

impl End {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::Eof,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => Self::Reset,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Deadline,
            _ => Self::Malformed(error.to_string()),
        }
    }
}

/// What came back for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Statuses of interim replies (1xx).
    pub interim: Vec<u16>,
    /// Status; 0 when the connection ended before a whole head.
    pub status: u16,
    /// Reason phrase.
    pub reason: String,
    /// Headers.
    pub fields: Fields,
    /// Body, as far as it came.
    pub body: Vec<u8>,
    /// Trailers of a chunked body.
    pub trailers: Fields,
    /// How it ended.
    pub end: End,
}

impl Reply {
    fn none(interim: Vec<u16>, end: End) -> Self {
        let (reason, fields) = (String::new(), Fields::default());
        Self { interim, status: 0, reason, fields, body: Vec::new(), trailers: Fields::default(), end }
    }

    /// Body as text, without the line ends at its end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end().to_owned()
    }

    /// Panics unless the reply is whole and has this status; returns it for more checks.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert!(
            self.status == status && self.end == End::Complete,
            "want a complete reply with status {status}, got {} ({:?}), headers {:?}, body {:?}",
            self.status,
            self.end,
            self.fields.0,
            self.text()
        );
        self
    }
}

/// One connection to the server under test.
pub struct Client {
    connection: Connection,
    method: String,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"))
    }

    /// Connects if it can.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
        Ok(Self { connection: Connection::plain(tcp), method: String::from("GET") })
    }

    /// Connects and finishes a TLS handshake for `name`.
    pub fn try_connect_tls(address: SocketAddr, config: Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        let mut tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(Self { connection: Connection::tls_client(tls, tcp), method: String::from("GET") })
    }

    /// The leaf certificate of the server in DER, on TLS connections.
    pub fn server_certificate(&self) -> Option<Vec<u8>> {
        self.connection.peer_certificate()
    }

    /// Limits every single read and write from now on; [`PATIENCE`] at first.
    pub fn set_deadline(&mut self, limit: Duration) {
        self.connection.set_deadline(limit);
    }

    /// Writes these bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap_or_else(|e| panic!("cannot send: {e}"));
    }

    /// Writes these bytes if the server takes them.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.connection.write(bytes.as_ref())
    }

    /// Writes a request; `Host: test` and, for a body, `Content-Length` are added.
    #[track_caller]
    pub fn request(&mut self, method: &str, target: &str, headers: &[&str], body: Option<&[u8]>) {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
        for line in headers {
            text.push_str(line);
            text.push_str("\r\n");
        }
        if let Some(body) = body {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        method.clone_into(&mut self.method);
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body.unwrap_or_default());
        self.send(bytes);
    }

    /// Sends a GET and reads its reply.
    #[track_caller]
    pub fn get(&mut self, target: &str, headers: &[&str]) -> Reply {
        self.request("GET", target, headers, None);
        self.reply()
    }

    /// Reads the reply to the last [`request`](Self::request).
    pub fn reply(&mut self) -> Reply {
        let mut reply = self.reply_head();
        if reply.status != 0 {
            self.rest_of(&mut reply);
        }
        reply
    }

    /// Reads a reply up to the end of its head; interim replies are passed over.
    pub fn reply_head(&mut self) -> Reply {
        let mut interim = Vec::new();
        loop {
            let head = match self.connection.head() {
                Ok(Some(head)) => head,
                Ok(None) => return Reply::none(interim, End::Eof),
                Err(e) => return Reply::none(interim, End::of(&e)),
            };
            let mut words = head.start.splitn(3, ' ');
            let version = words.next().unwrap_or_default();
            let status = words.next().and_then(|s| s.parse().ok()).unwrap_or(0);
            if !version.starts_with("HTTP/1.") || status < 100 {
                return Reply::none(interim, End::Malformed(head.start));
            }
            if status < 200 && status != 101 {
                interim.push(status);
                continue;
            }
            let reason = words.next().unwrap_or_default().to_owned();
            let mut reply = Reply::none(interim, End::Complete);
            (reply.status, reply.reason, reply.fields) = (status, reason, head.fields);
            return reply;
        }
    }

    /// Reads the next interim reply (1xx) and returns its status; panics on anything else.
    #[track_caller]
    pub fn interim(&mut self) -> u16 {
        match self.connection.head() {
            Ok(Some(head)) if head.start.starts_with("HTTP/1.1 1") => {
                head.start.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
            }
            other => panic!("want an interim reply, got {other:?}"),
        }
    }

    /// Reads the body of a reply that [`reply_head`](Self::reply_head) began.
    pub fn rest_of(&mut self, reply: &mut Reply) {
        let framing = Framing::of_reply(&self.method, reply.status, &reply.fields);
        let body = &mut reply.body;
        match self.connection.body(framing, &mut |piece| body.extend_from_slice(piece)) {
            Ok(trailers) => reply.trailers = trailers,
            Err(e) => reply.end = End::of(&e),
        }
    }

    /// Exactly `n` bytes of whatever comes.
    #[track_caller]
    pub fn read_exactly(&mut self, n: usize) -> Vec<u8> {
        self.connection.exactly(n).unwrap_or_else(|e| panic!("want {n} more bytes: {e}"))
    }

    /// Everything until the server ends the connection, and how it did.
    pub fn read_to_end(&mut self) -> (Vec<u8>, End) {
        let mut all = Vec::new();
        let result = self.connection.body(Framing::UntilClose, &mut |piece| all.extend_from_slice(piece));
        (all, result.map_or_else(|e| End::of(&e), |_| End::Eof))
    }

    /// Panics unless the server ends the connection without another byte.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let (bytes, end) = self.read_to_end();
        assert!(
            bytes.is_empty() && matches!(end, End::Eof | End::Reset),
            "want the connection closed, got {end:?} after {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }

    /// Whether anything comes, or the connection ends, within `time`; nothing is lost for later reads.
    pub fn is_readable(&mut self, time: Duration) -> bool {
        self.set_deadline(time);
        let result = self.connection.fill();
        self.set_deadline(PATIENCE);
        !matches!(&result, Err(e) if End::of(e) == End::Deadline)
    }

    /// Panics when anything comes, or the connection ends, within `time`.
    #[track_caller]
    pub fn expect_silence(&mut self, time: Duration) {
        let start = Instant::now();
        assert!(
            !self.is_readable(time),
            "want silence for {time:?}, but after {:?} the connection ended or sent {:?}",
            start.elapsed(),
            String::from_utf8_lossy(&self.connection.take_buffered())
        );
    }

    /// Ends the sending side only.
    pub fn half_close(&mut self) {
        self.connection.half_close();
    }

    /// Leaves with RST. Dropping the client leaves with FIN instead.
    pub fn abort(self) {
        self.connection.reset();
    }
}
