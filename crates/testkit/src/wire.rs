//! HTTP/1.1 on the wire: just enough parsing to see exactly what was sent, in both directions.
//!
//! Header order, letter case, the raw target and repeated headers are kept as they arrived: these are what tests are
//! about. A line may end with a bare LF; whether it may is for the test to say. Text is decoded as Latin-1, byte for byte.
//! Every read has the deadline of the socket ([`Connection::set_deadline`]), so a silent peer is an error of kind
//! `WouldBlock` or `TimedOut`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, ServerConnection, StreamOwned};
use socket2::SockRef;

use crate::deadline::PATIENCE;

const READ_SIZE: usize = 64 * 1024;
const MAX_LINE: usize = 8 * 1024 * 1024;

/// Header or trailer lines in the order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// Value of the first line with this name, in any letter case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Values of all lines with this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// Whether the comma-separated values of `name` hold `token`, in any letter case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).iter().flat_map(|v| v.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
    }
}

/// Start line and headers of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Request line or status line without its line end.
    pub start: String,
    /// Header lines.
    pub fields: Fields,
}

/// How the body of a message is delimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Until the connection ends.
    UntilClose,
}

impl Framing {
    /// Framing of a request with these headers.
    pub fn of_request(fields: &Fields) -> Self {
        if fields.has_token("Transfer-Encoding", "chunked") {
            return Self::Chunked;
        }
        fields.get("Content-Length").and_then(|v| v.parse().ok()).map_or(Self::None, Self::Length)
    }

    /// Framing of a reply to `method` with this status and these headers (RFC 9112 §6.3).
    pub fn of_reply(method: &str, status: u16, fields: &Fields) -> Self {
        if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
            return Self::None;
        }
        match Self::of_request(fields) {
            Self::None => Self::UntilClose,
            other => other,
        }
    }
}

enum Transport {
    Plain(TcpStream),
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// One TCP or TLS connection with what has been read but not consumed.
pub struct Connection {
    transport: Transport,
    buffered: Vec<u8>,
}

impl Connection {
    /// A plain connection with the default deadline for every read and write.
    pub fn plain(tcp: TcpStream) -> Self {
        Self::over(Transport::Plain(tcp))
    }

    /// The client's side of a TLS connection; the handshake happens with the first read or write.
    pub fn tls_client(tls: ClientConnection, tcp: TcpStream) -> Self {
        Self::over(Transport::Client(Box::new(StreamOwned::new(tls, tcp))))
    }

    /// The server's side of a TLS connection.
    pub fn tls_server(tls: ServerConnection, tcp: TcpStream) -> Self {
        Self::over(Transport::Server(Box::new(StreamOwned::new(tls, tcp))))
    }

    fn over(transport: Transport) -> Self {
        let connection = Self { transport, buffered: Vec::new() };
        connection.set_deadline(PATIENCE);
        let _ = connection.tcp().set_nodelay(true);
        connection
    }

    /// The socket below.
    pub fn tcp(&self) -> &TcpStream {
        match &self.transport {
            Transport::Plain(tcp) => tcp,
            Transport::Client(tls) => &tls.sock,
            Transport::Server(tls) => &tls.sock,
        }
    }

    /// The leaf certificate of the server in DER; `None` on plain connections and before the handshake.
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        match &self.transport {
            Transport::Client(tls) => Some(tls.conn.peer_certificates()?.first()?.to_vec()),
            Transport::Plain(_) | Transport::Server(_) => None,
        }
    }

    /// Limits every single read and write from now on.
    pub fn set_deadline(&self, limit: Duration) {
        let _ = self.tcp().set_read_timeout(Some(limit));
        let _ = self.tcp().set_write_timeout(Some(limit));
    }

    /// Writes all the bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream: &mut dyn Write = match &mut self.transport {
            Transport::Plain(tcp) => tcp,
            Transport::Client(tls) => tls,
            Transport::Server(tls) => tls,
        };
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Reads more into the buffer; 0 means that the peer has ended its side.
    pub fn fill(&mut self) -> io::Result<usize> {
        let stream: &mut dyn Read = match &mut self.transport {
            Transport::Plain(tcp) => tcp,
            Transport::Client(tls) => tls,
            Transport::Server(tls) => tls,
        };
        let mut chunk = vec![0; READ_SIZE];
        loop {
            match stream.read(&mut chunk) {
                Ok(n) => {
                    self.buffered.extend_from_slice(&chunk[..n]);
                    return Ok(n);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Everything read so far and not consumed.
    pub fn take_buffered(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffered)
    }

    /// Exactly `n` bytes.
    pub fn exactly(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.buffered.len() < n {
            self.fill_more()?;
        }
        Ok(self.buffered.drain(..n).collect())
    }

    /// A line without its line end (CRLF or LF).
    pub fn line(&mut self) -> io::Result<String> {
        let mut scanned = 0;
        loop {
            if let Some(at) = self.buffered[scanned..].iter().position(|&b| b == b'\n') {
                let mut line: Vec<u8> = self.buffered.drain(..=scanned + at).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line.iter().map(|&b| char::from(b)).collect());
            }
            scanned = self.buffered.len();
            if scanned > MAX_LINE {
                return Err(malformed("a line without end"));
            }
            self.fill_more()?;
        }
    }

    /// A start line and headers; `None` when the peer ended before the first byte.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        if self.buffered.is_empty() && self.fill()? == 0 {
            return Ok(None);
        }
        Ok(Some(Head { start: self.line()?, fields: self.fields()? }))
    }

    fn fields(&mut self) -> io::Result<Fields> {
        let mut fields = Fields::default();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&format!("no colon in {line:?}")))?;
            fields.0.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    /// Reads a body, giving each piece to `sink` as it comes; returns the trailers of a chunked one.
    pub fn body(&mut self, framing: Framing, sink: &mut dyn FnMut(&[u8])) -> io::Result<Fields> {
        match framing {
            Framing::None => Ok(Fields::default()),
            Framing::Length(n) => self.sized(n, sink).map(|()| Fields::default()),
            Framing::Chunked => self.chunks(sink),
            Framing::UntilClose => loop {
                sink(&self.take_buffered());
                if self.fill()? == 0 {
                    return Ok(Fields::default());
                }
            },
        }
    }

    fn sized(&mut self, mut left: u64, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        while left > 0 {
            if self.buffered.is_empty() {
                self.fill_more()?;
            }
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffered.len());
            sink(&self.buffered[..n]);
            self.buffered.drain(..n);
            left -= n as u64;
        }
        Ok(())
    }

    fn chunks(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<Fields> {
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).map_err(|_| malformed(&format!("chunk size {line:?}")))?;
            if size == 0 {
                return self.fields();
            }
            self.sized(size, sink)?;
            let end = self.line()?;
            if !end.is_empty() {
                return Err(malformed(&format!("{end:?} after a chunk")));
            }
        }
    }

    fn fill_more(&mut self) -> io::Result<()> {
        match self.fill()? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Ends the sending side (FIN); the other side stays open.
    pub fn half_close(&mut self) {
        if let Transport::Client(tls) = &mut self.transport {
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
        let _ = self.tcp().shutdown(Shutdown::Write);
    }

    /// Ends the connection with RST instead of FIN.
    pub fn reset(self) {
        let _ = SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO));
    }
}

/// A chunk of the chunked coding.
pub fn chunk(data: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", data.len()).into_bytes();
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
    out
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.to_owned())
}
