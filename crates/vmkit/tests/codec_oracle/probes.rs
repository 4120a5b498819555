//! A table of requests that two servers could read differently, and what ours makes of each.

use super::ours::{self, End};
use super::{oracle, run};

/// Follows every probe; must be served only behind a request whose end is beyond doubt.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

macro_rules! post {
    ($($part:literal),*) => { concat!("POST / HTTP/1.1\r\nHost: a\r\n", $($part),*) };
}
macro_rules! get {
    ($($part:literal),*) => { concat!("GET / HTTP/1.1\r\nHost: a\r\n", $($part),*) };
}
macro_rules! chunked {
    ($($part:literal),*) => { concat!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", $($part),*) };
}

/// Bytes, and the status of the refusal.
const REFUSED: &[(&str, u16)] = &[
    // Both framings, in either order and under disguise.
    (post!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
    (post!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"), 400),
    (post!("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
    (post!("content-length:5\r\ntransfer-encoding:chunked\r\n\r\n0\r\n\r\n"), 400),
    (get!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
    (post!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: Content-Length\r\n\r\n0\r\n\r\n"), 400),
    (post!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n\r\n0\r\n\r\n"), 400),
    // Lengths.
    (post!("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), 400),
    (post!("Content-Length: 6\r\nContent-Length: 5\r\n\r\nhello"), 400),
    (post!("Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello"), 400),
    (post!("Content-Length: 5, 5\r\n\r\nhello"), 400),
    (post!("Content-Length: 5,6\r\n\r\nhello"), 400),
    (post!("Content-Length: 5,\r\n\r\nhello"), 400),
    (post!("Content-Length: +5\r\n\r\nhello"), 400),
    (post!("Content-Length: -5\r\n\r\nhello"), 400),
    (post!("Content-Length: -0\r\n\r\n"), 400),
    (post!("Content-Length: 0x5\r\n\r\nhello"), 400),
    (post!("Content-Length: 5.0\r\n\r\nhello"), 400),
    (post!("Content-Length: 5e0\r\n\r\nhello"), 400),
    (post!("Content-Length: 5_0\r\n\r\nhello"), 400),
    (post!("Content-Length: 1 0\r\n\r\nhello"), 400),
    (post!("Content-Length: 5;\r\n\r\nhello"), 400),
    (post!("Content-Length: \"5\"\r\n\r\nhello"), 400),
    (post!("Content-Length:\r\n\r\nhello"), 400),
    (post!("Content-Length: \r\nContent-Length: 5\r\n\r\nhello"), 400),
    (post!("Content-Length: five\r\n\r\nhello"), 400),
    (post!("Content-Length: \u{665}\r\n\r\nhello"), 400),
    (post!("Content-Length: \u{ff15}\r\n\r\nhello"), 400),
    (post!("Content-Length: 18446744073709551616\r\n\r\nhello"), 400),
    (post!("Content-Length: 18446744073709551621\r\n\r\nhello"), 400),
    (post!("Content-Length: 9223372036854775808\r\n\r\nhello"), 400),
    (post!("Content-Length: 99999999999999999999999999\r\n\r\nhello"), 400),
    (post!("Content-Length: 5\x0b\r\n\r\nhello"), 400),
    (post!("Content-Length: 5\0\r\n\r\nhello"), 400),
    (post!("Content-Length: 5\r\r\n\r\nhello"), 400),
    (post!("Content-Length: 5 6\r\n\r\nhello"), 400),
    (post!("Content-Length : 5\r\n\r\nhello"), 400),
    (post!("Content-Length\t: 5\r\n\r\nhello"), 400),
    (post!(" Content-Length: 5\r\n\r\nhello"), 400),
    (post!("Content-Length: 5\r\n Content-Length: 6\r\n\r\nhello"), 400),
    (post!("Content-Length: 5\r\n\t6\r\n\r\nhello"), 400),
    (post!("Content-Length: \r\n 5\r\n\r\nhello"), 400),
    (post!("Content-Length\0: 5\r\n\r\nhello"), 400),
    // Codings.
    (post!("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: identity\r\n\r\n"), 501),
    (post!("Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello"), 501),
    (post!("Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: chunked chunked\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding:\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: chun\u{212a}ed\r\n\r\n0\r\n\r\n"), 501),
    (post!("Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"), 400),
    (post!("Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n"), 400),
    (post!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), 400),
    (post!("Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"), 400),
    (post!(" Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
    (post!("Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"), 400),
    (post!("X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
    (post!("X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
    (post!("X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
    (post!("Transfer\u{2010}Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
    (post!("Transfer Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
    (post!("\u{feff}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
    ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    // Chunks: the status is that of the handler, which has read a part of the body.
    (chunked!("x\r\n"), 400),
    (chunked!("\r\n0\r\n\r\n"), 400),
    (chunked!(" 0\r\n\r\n"), 400),
    (chunked!("\t0\r\n\r\n"), 400),
    (chunked!("+0\r\n\r\n"), 400),
    (chunked!("-1\r\n\r\n"), 400),
    (chunked!("0x0\r\n\r\n"), 400),
    (chunked!("0X5\r\nhello\r\n0\r\n\r\n"), 400),
    (chunked!("0_5\r\nhello\r\n0\r\n\r\n"), 400),
    (chunked!("5.\r\nhello\r\n0\r\n\r\n"), 400),
    (chunked!(";\r\n\r\n"), 400),
    (chunked!("5\nhello\r\n0\r\n\r\n"), 400),
    (chunked!("5\rhello\r\n0\r\n\r\n"), 400),
    (chunked!("5\r\nhello\n0\r\n\r\n"), 400),
    (chunked!("5\r\nhello\r0\r\n\r\n"), 400),
    (chunked!("5\r\nhello0\r\n\r\n"), 400),
    (chunked!("5\r\nhello!\r\n0\r\n\r\n"), 400),
    (chunked!("5\r\nhell\r\n0\r\n\r\n"), 400),
    (chunked!("5;a\nb\r\nhello\r\n0\r\n\r\n"), 400),
    (chunked!("5;a\rb\r\nhello\r\n0\r\n\r\n"), 400),
    (chunked!("5;\n\r\nhello\r\n0\r\n\r\n"), 400),
    (chunked!("5;a\r\r\nhello\r\n0\r\n\r\n"), 400),
    (chunked!("5 6\r\nhello\r\n0\r\n\r\n"), 400),
    (chunked!("5,5\r\nhello\r\n0\r\n\r\n"), 400),
    (chunked!("\u{665}\r\nhello\r\n0\r\n\r\n"), 400),
    (chunked!("10000000000000005\r\nhello\r\n0\r\n\r\n"), 400),
    (chunked!("ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), 400),
    (chunked!("8000000000000005\r\nhello\r\n0\r\n\r\n"), 400),
    (chunked!("0\n\n"), 400),
    (chunked!("0\r\n\n"), 400),
    (chunked!("0\n\r\n"), 400),
    (chunked!("0\r\nX: y\n\r\n"), 400),
    (chunked!("0\r\nX: y\r\n\n"), 400),
    (chunked!("0\r\nX : y\r\n\r\n"), 400),
    (chunked!("0\r\n X: y\r\n\r\n"), 400),
    (chunked!("0\r\nX: y\r\n z\r\n\r\n"), 400),
    (chunked!("0\r\nno field\r\n\r\n"), 400),
    (chunked!("0\r\nX: \0\r\n\r\n"), 400),
    (chunked!("0\r\nX: y\rZ: w\r\n\r\n"), 400),
    (chunked!("0\r\n"), 400),
    // Line ends and control bytes of the head.
    ("GET / HTTP/1.1\nHost: a\n\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    ("GET / HTTP/1.1\rHost: a\r\r", 400),
    ("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400),
    ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("\0GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("\u{feff}GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (get!("X: a\0b\r\n\r\n"), 400),
    (get!("X: a\x01b\r\n\r\n"), 400),
    (get!("X: a\x7fb\r\n\r\n"), 400),
    (get!("X: a\rb\r\n\r\n"), 400),
    (get!("X: a\r\n b\r\n\r\n"), 400),
    (get!("X: a\r\n\tb\r\n\r\n"), 400),
    (get!("X: a\r\n \r\n\r\n"), 400),
    (get!("X : a\r\n\r\n"), 400),
    (get!("X\0: a\r\n\r\n"), 400),
    (get!(": a\r\n\r\n"), 400),
    (get!("X\r\n\r\n"), 400),
    (get!("X y: a\r\n\r\n"), 400),
    (get!("X(y): a\r\n\r\n"), 400),
    (get!("X\u{e9}: a\r\n\r\n"), 400),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    // Hosts.
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET http://b/ HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400),
    ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: \u{e9}\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    // Request lines.
    ("GET /\r\n", 400),
    ("GET\r\n\r\n", 400),
    ("GET / \r\nHost: a\r\n\r\n", 505),
    ("GET / HTTP\r\nHost: a\r\n\r\n", 505),
    ("GET / HTTP/1\r\nHost: a\r\n\r\n", 505),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", 505),
    ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    ("GET / HTTP/01.1\r\nHost: a\r\n\r\n", 505),
    ("GET / HTTP/11.1\r\nHost: a\r\n\r\n", 505),
    ("GET / XTTP/1.1\r\nHost: a\r\n\r\n", 505),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\t\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 505),
    ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 505),
    ("GET /\x0b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET: / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("G\u{c9}T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET ? HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://u@/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://u\u{80}@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://a:80:80/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /% HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /%0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /%g0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (get!("Expect: 200-ok\r\n\r\n"), 417),
];

/// Method, target and body of a request.
type Want = (&'static str, &'static str, &'static str);

/// Bytes, and the requests they hold.
const SERVED: &[(&str, &[Want])] = &[
    (post!("Content-Length: 5\r\n\r\nhello"), &[("POST", "/", "hello")]),
    (post!("Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"), &[("POST", "/", "hello")]),
    (post!("Content-Length: 005\r\n\r\nhello"), &[("POST", "/", "hello")]),
    (post!("Content-Length:\t5 \t\r\n\r\nhello"), &[("POST", "/", "hello")]),
    (post!("Content-Length: 0\r\n\r\n"), &[("POST", "/", "")]),
    (post!("\r\n"), &[("POST", "/", "")]),
    (get!("Content-Length: 5\r\n\r\nhello"), &[("GET", "/", "hello")]),
    (post!("Content_Length: 5\r\n\r\n"), &[("POST", "/", "")]),
    (post!("X-Content-Length: 5\r\n\r\n"), &[("POST", "/", "")]),
    (post!("Content-Length: 5\r\nConnection: Content-Length\r\n\r\nhello"), &[("POST", "/", "hello")]),
    (post!("Transfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), &[("POST", "/", "hello")]),
    (post!("Transfer-Encoding:\tchunked \r\n\r\n5\r\nhello\r\n0\r\n\r\n"), &[("POST", "/", "hello")]),
    (post!("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"), &[("POST", "/", "0\r\n\r\n")]),
    (get!("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), &[("GET", "/", "")]),
    (chunked!("0\r\n\r\n"), &[("POST", "/", "")]),
    (chunked!("000\r\n\r\n"), &[("POST", "/", "")]),
    (chunked!("2\r\nhe\r\n003\r\nllo\r\n0\r\n\r\n"), &[("POST", "/", "hello")]),
    (chunked!("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"), &[("POST", "/", "01234567890123456789")]),
    (chunked!("5;\r\nhello\r\n0\r\n\r\n"), &[("POST", "/", "hello")]),
    (chunked!("5;a=\"b;c\"\r\nhello\r\n0;z\r\n\r\n"), &[("POST", "/", "hello")]),
    (chunked!("5 \t;a\r\nhello\r\n0\r\n\r\n"), &[("POST", "/", "hello")]),
    (chunked!("5\r\nhello\r\n0\r\nX: y\r\n\r\n"), &[("POST", "/", "hello")]),
    (chunked!("0\r\nContent-Length: 30\r\n\r\n"), &[("POST", "/", "")]),
    (chunked!("0\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\r\n"), &[("POST", "/", "")]),
    (chunked!("7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"), &[("POST", "/", "\r\n0\r\n\r\n")]),
    ("\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", &[("GET", "/x", "")]),
    (
        "GET /x HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n",
        &[("GET", "/x", ""), ("GET", "/y", "")],
    ),
    ("GET /x HTTP/1.1\r\nHost:\r\n\r\n", &[("GET", "/x", "")]),
    ("GET /x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", &[("GET", "/x", "")]),
    ("GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", &[("GET", "/x", "")]),
    ("GET //b/x HTTP/1.1\r\nHost: a\r\n\r\n", &[("GET", "//b/x", "")]),
    ("GET /../x HTTP/1.1\r\nHost: a\r\n\r\n", &[("GET", "/../x", "")]),
    ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &[("OPTIONS", "*", "")]),
    ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", &[("TRACE", "/", "")]),
    ("GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &[("GET", "/x", "")]),
    (get!("X: a\tb\r\nY:\r\nZ: \u{e9}\r\n\r\n"), &[("GET", "/", "")]),
    (get!("Expect: 100-Continue\r\n\r\n"), &[("GET", "/", "")]),
    (get!("Expect:\r\n\r\n"), &[("GET", "/", "")]),
    (chunked!("3 \r\nabc\r\n0 \t\r\n\r\n"), &[("POST", "/", "abc")]),
    (get!("Upgrade: websocket\r\n\r\n"), &[("GET", "/", "")]),
];

/// What is wrong with the refusal of a probe.
fn fault(pieces: &[&[u8]], status: u16) -> Option<String> {
    let served = run(ours::serve(pieces));
    let is_right = served.messages.is_empty()
        && matches!(served.end, End::Refused(_) | End::BadBody)
        && served.replies.starts_with(&format!("HTTP/1.1 {status} "))
        && served.replies.contains("\r\nConnection: close\r\n")
        && served.replies.matches("HTTP/1.1 ").count() == 1;
    (!is_right).then(|| format!("{served:?}"))
}

#[test]
fn table_of_refusals() {
    let mut wrong = Vec::new();
    for (bytes, status) in REFUSED {
        let at_once = fault(&[bytes.as_bytes(), NEXT.as_bytes()], *status);
        let byte_by_byte: Vec<_> = bytes.as_bytes().chunks(1).chain([NEXT.as_bytes()]).collect();
        if let Some(fault) = at_once.or_else(|| fault(&byte_by_byte, *status)) {
            wrong.push(format!("{bytes:?} (want {status}): {fault}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn table_of_what_is_served() {
    for (bytes, want) in SERVED {
        let pieces = [bytes.as_bytes(), NEXT.as_bytes()];
        let served = run(ours::serve(&pieces));
        let mut want: Vec<_> = want.iter().map(|(method, target, body)| (*method, *target, body.as_bytes())).collect();
        want.push(("GET", "/next", b""));
        let got: Vec<_> = served.messages.iter().map(|m| (m.method.as_str(), m.target.as_str(), &m.body[..])).collect();
        assert_eq!(got, want, "{bytes:?}: {:?}", served.end);
        assert_eq!(run(oracle::serve(&pieces)), served.messages, "{bytes:?}");
    }
}

/// Bytes that are no UTF-8 cannot stand in the table.
#[test]
fn bytes_above_ascii() {
    for (bytes, want) in [
        (&b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"[..], false),
        (b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", false),
        (b"GET / HTTP/1.1\r\nX\xff: y\r\nHost: a\r\n\r\n", false),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n", false),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \xb25\r\n\r\nhello", false),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\x85\r\n\r\nhello", false),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\xa0\x85\r\n\r\n", true),
    ] {
        let served = run(ours::serve(&[bytes, NEXT.as_bytes()]));
        assert_eq!(served.messages.len(), if want { 2 } else { 0 }, "{bytes:?}");
    }
}

#[test]
fn lines_of_great_length() {
    let long = "x".repeat(2 << 20);
    for bytes in [
        format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("{long} / HTTP/1.1\r\nHost: a\r\n\r\n"),
        get!("X: ").to_owned() + &long + "\r\n\r\n",
        get!().to_owned() + &long + ": x\r\n\r\n",
        get!().to_owned() + &"X: y\r\n".repeat(2000) + "\r\n",
        chunked!("5;").to_owned() + &long + "\r\nhello\r\n0\r\n\r\n",
        chunked!().to_owned() + &"0".repeat(2 << 20) + "\r\n\r\n",
        chunked!("0\r\nX: ").to_owned() + &long + "\r\n\r\n",
    ] {
        let served = run(ours::serve(&[bytes.as_bytes(), NEXT.as_bytes()]));
        let start = bytes.get(..60).unwrap_or_default();
        assert!(served.messages.is_empty(), "{start:?}");
        assert!(matches!(served.end, End::Refused(_) | End::BadBody), "{start:?}: {:?}", served.end);
    }
}
