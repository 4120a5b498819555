//! Generators of byte streams: well-formed messages, and the same with faults that codecs read differently.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A stream that is shown as text.
#[derive(Clone)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

const REQUEST_LINES: &[&str] = &[
    "GET / HTTP/1.1",
    "GET /a/b?c=d&e HTTP/1.1",
    "GET /%2e%2E//x? HTTP/1.1",
    "POST /p;q=r HTTP/1.1",
    "PUT /~u/!$&'()*+,:@= HTTP/1.1",
    "HEAD /h HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "get /lower HTTP/1.1",
    "GET http://other:81/x?y HTTP/1.1",
    "GET http://other HTTP/1.1",
    "GET HTTP://u:p@other?q HTTP/1.1",
    "M-SEARCH /x HTTP/1.1",
    "GET /old HTTP/1.0",
    "POST /old HTTP/1.0",
];

const LINES: &[&str] = &[
    "Accept: */*",
    "X-Empty:",
    "X-Blanks: \t a b \t",
    "x-low:1",
    "X-Text: \u{e9}\u{20ac}",
    "Cookie: a=b; c=d",
    "Cookie: e=f",
    "Connection: keep-alive",
    "Connection: close",
    "Expect: 100-continue",
    "TE: trailers",
    "Trailer: X-T",
    "Content-Encoding: gzip",
];

const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200",
    "HTTP/1.1 206 Partial Content",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 404 Not  Found ",
    "HTTP/1.1 503 a: b",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created",
];

/// What a fault puts into a stream.
const POISON: &[&str] = &[
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    " ",
    "\t",
    "\0",
    "\x0b",
    "\x7f",
    "\u{80}",
    ":",
    ";",
    ",",
    "0",
    "5",
    "a",
    "f",
    "\r\n ",
    "chunked",
    "Content-Length: 3\r\n",
    "Content-Length: 0\r\n",
    "\r\nContent-Length: 5",
    "\r\nContent-Length: +1",
    "Transfer-Encoding: chunked\r\n",
    "\r\nTransfer-Encoding: identity",
    "\r\nTransfer-Encoding: chunked, gzip",
    "\r\nTransfer-Encoding:\tchunked ",
    "Host: b\r\n",
    "\r\nHost: c",
    "0\r\n\r\n",
    "1\r\nx\r\n",
    "HTTP/1.0",
    "HTTP/1.1",
    "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "Connection: close\r\n",
    "\r\nConnection: keep-alive",
];

fn chunks() -> impl Strategy<Value = Vec<u8>> {
    let chunk =
        (prop::collection::vec(any::<u8>(), 1..40), select(vec!["", ";e", ";e=\"f;g\"", "\t;e", " ;e=f"]), 0..3usize);
    let trailers = select(vec!["", "X-T: 1\r\n", "X-T: 1\r\nX-U:\r\n"]);
    (prop::collection::vec(chunk, 0..4), trailers, any::<bool>()).prop_map(|(chunks, trailers, upper)| {
        let mut out = Vec::new();
        for (data, extension, zeros) in chunks {
            let size = if upper { format!("{:X}", data.len()) } else { format!("{:x}", data.len()) };
            out.extend_from_slice(format!("{}{size}{extension}\r\n", "0".repeat(zeros)).as_bytes());
            out.extend_from_slice(&data);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
        out
    })
}

/// Framing lines and the body they announce.
fn body() -> impl Strategy<Value = (String, Vec<u8>)> {
    prop_oneof![
        2 => Just((String::new(), Vec::new())),
        2 => prop::collection::vec(any::<u8>(), 0..60).prop_map(|data| (format!("Content-Length: {}\r\n", data.len()), data)),
        1 => prop::collection::vec(any::<u8>(), 0..9).prop_map(|data| {
            (format!("content-length: 00{0}\r\nContent-Length: {0}\r\n", data.len()), data)
        }),
        3 => chunks().prop_map(|data| ("Transfer-Encoding: chunked\r\n".to_owned(), data)),
        1 => chunks().prop_map(|data| ("TRANSFER-ENCODING:Chunked \r\n".to_owned(), data)),
    ]
}

fn lines() -> impl Strategy<Value = String> {
    prop::collection::vec(select(LINES), 0..4)
        .prop_map(|lines| lines.iter().map(|line| format!("{line}\r\n")).collect())
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    (select(REQUEST_LINES), lines(), body()).prop_map(|(first, lines, (framing, body))| {
        let framing = if first.ends_with("1.0") && framing.to_ascii_lowercase().starts_with("transfer") {
            format!("Content-Length: {}\r\n", body.len())
        } else {
            framing
        };
        let mut out = format!("{first}\r\nHost: a\r\n{lines}{framing}\r\n").into_bytes();
        out.extend_from_slice(&body);
        out
    })
}

/// One to four requests behind each other.
pub(crate) fn requests() -> impl Strategy<Value = Raw> {
    (prop::collection::vec(request(), 1..5), any::<bool>()).prop_map(|(requests, leading)| {
        let mut out = if leading { b"\r\n".to_vec() } else { Vec::new() };
        out.extend(requests.concat());
        Raw(out)
    })
}

/// A reply, interim ones before it, and perhaps more bytes behind it.
pub(crate) fn reply() -> impl Strategy<Value = Raw> {
    (select(STATUS_LINES), lines(), body(), select(vec!["", "", "HTTP/1.1 200 OK\r\n\r\n", "x"])).prop_map(
        |(first, lines, (framing, body), rest)| {
            let mut out = format!("{first}\r\n{lines}{framing}\r\n").into_bytes();
            out.extend_from_slice(&body);
            out.extend_from_slice(rest.as_bytes());
            Raw(out)
        },
    )
}

#[derive(Clone, Debug)]
enum Fault {
    Insert(Index, &'static str),
    Delete(Index, usize),
    Replace(Index, &'static str),
    Repeat(Index, Index),
    Truncate(Index),
}

/// The stream with one to three faults, most of them near line ends, where codecs differ.
pub(crate) fn faulty(stream: impl Strategy<Value = Raw>) -> impl Strategy<Value = Raw> {
    let fault = prop_oneof![
        6 => (any::<Index>(), select(POISON)).prop_map(|(at, what)| Fault::Insert(at, what)),
        3 => (any::<Index>(), 1..4usize).prop_map(|(at, n)| Fault::Delete(at, n)),
        3 => (any::<Index>(), select(POISON)).prop_map(|(at, what)| Fault::Replace(at, what)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Fault::Repeat(from, to)),
        1 => any::<Index>().prop_map(Fault::Truncate),
    ];
    (stream, prop::collection::vec((fault, any::<bool>()), 1..4)).prop_map(|(mut stream, faults)| {
        for (fault, at_line_end) in faults {
            apply(&mut stream.0, &fault, at_line_end);
        }
        stream
    })
}

fn apply(stream: &mut Vec<u8>, fault: &Fault, at_line_end: bool) {
    let ends: Vec<_> = (0..stream.len()).filter(|at| matches!(stream[*at], b'\r' | b'\n' | b':' | b' ')).collect();
    let place = |index: &Index| match at_line_end && !ends.is_empty() {
        true => ends[index.index(ends.len())],
        false => index.index(stream.len() + 1),
    };
    match fault {
        Fault::Insert(at, what) => {
            let at = place(at);
            stream.splice(at..at, what.bytes());
        }
        Fault::Delete(at, n) => {
            let at = place(at);
            stream.drain(at..(at + n).min(stream.len()));
        }
        Fault::Replace(at, what) => {
            let at = place(at);
            stream.splice(at..(at + 1).min(stream.len()), what.bytes());
        }
        Fault::Repeat(from, to) => {
            let (from, to) = (place(from), place(to));
            let part = stream[from.min(to)..from.max(to)].to_vec();
            stream.splice(from..from, part);
        }
        Fault::Truncate(at) => {
            let at = place(at);
            stream.truncate(at);
        }
    }
}
