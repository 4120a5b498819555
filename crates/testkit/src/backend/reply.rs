//! What a backend does with a request: a list of steps, from sending bytes to breaking the connection.
//!
//! A reply that ends without [`Step::Close`], [`Step::Reset`] or another last step leaves the connection open for the next
//! request, whatever its headers say: to lie about that is the point of some tests.

use crate::deadline::Gate;
use crate::wire::chunk;

/// One thing a backend does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Reads the rest of the request body; needed only after [`Reply::before_body`].
    ReadBody,
    /// Waits until the test opens the gate; reads nothing meanwhile.
    Wait(Gate),
    /// Sends these bytes again and again until the peer is gone.
    Flood(Vec<u8>),
    /// Says nothing more and reads until the peer ends the connection.
    AwaitPeer,
    /// Sends back whatever comes until the peer ends its side, then sends these last words and closes.
    Echo(Vec<u8>),
    /// Ends the connection (FIN).
    Close,
    /// Ends the connection with RST.
    Reset,
}

/// The answer to one request.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub(super) before_body: bool,
    pub(super) steps: Vec<Step>,
}

impl Reply {
    /// 200 with this body and a `Content-Length`.
    pub fn ok(body: &str) -> Self {
        Self::message(200, &[], body)
    }

    /// A message with a `Content-Length`; none for 204 and 304, whose body is left out.
    pub fn message(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        if matches!(status, 204 | 304) {
            return Self::raw(head(status, headers, None));
        }
        let length = format!("Content-Length: {}\r\n", body.len());
        Self::raw(head(status, headers, Some(&length))).then(Step::Send(body.as_bytes().to_vec()))
    }

    /// A chunked message, one chunk a piece, with trailers.
    pub fn chunked(status: u16, headers: &[(&str, &str)], pieces: &[&str], trailers: &[(&str, &str)]) -> Self {
        let mut reply = Self::chunked_head(status, headers);
        for piece in pieces {
            reply = reply.then(Step::Send(chunk(piece.as_bytes())));
        }
        let trailers: String = trailers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        reply.send(&format!("0\r\n{trailers}\r\n"))
    }

    /// Only the head of a chunked message; the chunks are for further steps.
    pub fn chunked_head(status: u16, headers: &[(&str, &str)]) -> Self {
        Self::raw(head(status, headers, Some("Transfer-Encoding: chunked\r\n")))
    }

    /// Exactly these bytes.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { before_body: false, steps: vec![Step::Send(bytes.into())] }
    }

    /// Nothing but further steps.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Adds a step.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds bytes to send.
    #[must_use]
    pub fn send(self, text: &str) -> Self {
        self.then(Step::Send(text.as_bytes().to_vec()))
    }

    /// Puts a wait for `gate` in front of everything else.
    #[must_use]
    pub fn after(mut self, gate: &Gate) -> Self {
        self.steps.insert(0, Step::Wait(gate.clone()));
        self
    }

    /// Answers as soon as the head is there, without reading the body.
    #[must_use]
    pub fn before_body(mut self) -> Self {
        self.before_body = true;
        self
    }
}

fn head(status: u16, headers: &[(&str, &str)], framing: Option<&str>) -> Vec<u8> {
    let reason = match status {
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        304 => "Not Modified",
        413 => "Content Too Large",
        503 => "Service Unavailable",
        _ => "Status",
    };
    let headers: String = headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    format!("HTTP/1.1 {status} {reason}\r\n{headers}{}\r\n", framing.unwrap_or_default()).into_bytes()
}
