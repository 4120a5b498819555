//! Requests whose end two servers could see at different places: refused, the connection closed, no backend asked.

use testkit::client::End;
use testkit::{Backend, Client, Reply};

use crate::vmauth::{AUTH, Vmauth, one_user};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\nAuthorization: Basic dTpw\r\n\r\n";

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /x HTTP/1.1\r\nHost: test\r\n{AUTH}\r\n{headers}\r\n{body}").into_bytes()
}

fn get(headers: &str) -> Vec<u8> {
    format!("GET /x HTTP/1.1\r\nHost: test\r\n{AUTH}\r\n{headers}\r\n").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// All statuses in a stream of replies, and how the stream ended.
fn statuses(client: &mut Client) -> (Vec<u16>, End) {
    let mut all = Vec::new();
    loop {
        let reply = client.reply();
        if reply.status == 0 {
            return (all, reply.end);
        }
        all.push(reply.status);
        if reply.end != End::Complete {
            return (all, reply.end);
        }
    }
}

/// Sends each request with a smuggled one behind it: one refusal with a wanted status, then the end; nothing at the backend.
fn refused(table: &[(&str, Vec<u8>, &[u16])]) {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-maxQueueDuration=3s"]);
    let mut wrong = Vec::new();
    for (name, bytes, want) in table {
        let mut client = proxy.client();
        let mut all = bytes.clone();
        all.extend_from_slice(SMUGGLED.as_bytes());
        // The refusal may come, and the connection be reset, before everything is written.
        let _ = client.try_send(&all);
        let (got, end) = statuses(&mut client);
        let seen: Vec<_> = backend.requests().into_iter().map(|r| (r.method, r.target)).collect();
        let right = matches!(got[..], [status] if want.contains(&status)) && matches!(end, End::Eof | End::Reset);
        if !right || !seen.is_empty() {
            wrong.push(format!("{name}: statuses {got:?} (want one of {want:?}), then {end:?}; backend saw {seen:?}"));
        }
        if !seen.is_empty() {
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    proxy.client().get("/after", &[AUTH]).expect(200);
    proxy.expect_metrics(&[("user.concurrent_requests_current", 0.0), ("user.request_errors_total", 0.0)]);
}

#[test]
fn lengths_that_disagree() {
    refused(&[
        ("CL then TE", post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400]),
        ("TE then CL", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), &[400]),
        ("TE with CL 0", post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400]),
        ("two CL", post("Content-Length: 0\r\nContent-Length: 5\r\n", "abcde"), &[400]),
        ("two CL, the longer first", post("Content-Length: 5\r\nContent-Length: 0\r\n", "abcde"), &[400]),
        ("list", post("Content-Length: 3, 3\r\n", "abc"), &[400]),
        ("list that differs", post("Content-Length: 0, 5\r\n", "abcde"), &[400]),
        ("plus", post("Content-Length: +3\r\n", "abc"), &[400]),
        ("minus", post("Content-Length: -0\r\n", ""), &[400]),
        ("hexadecimal", post("Content-Length: 0x3\r\n", "abc"), &[400]),
        ("empty", post("Content-Length:\r\n", ""), &[400]),
        ("more than 64 bits", post("Content-Length: 18446744073709551619\r\n", "abc"), &[400]),
        ("a vertical tab", post("Content-Length: \x0b3\r\n", "abc"), &[400]),
        ("a space inside", post("Content-Length: 1 3\r\n", "abc"), &[400]),
        ("a comma behind", post("Content-Length: 3,\r\n", "abc"), &[400]),
    ]);
}

#[test]
fn transfer_codings_that_are_not_exactly_chunked() {
    let coding = |value: &str| post(&format!("Transfer-Encoding: {value}\r\n"), "0\r\n\r\n");
    let http10 = format!("POST /x HTTP/1.0\r\nHost: test\r\n{AUTH}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    refused(&[
        ("gzip", coding("gzip"), &[400, 501]),
        ("gzip, chunked", coding("gzip, chunked"), &[400, 501]),
        ("chunked, gzip", coding("chunked, gzip"), &[400, 501]),
        ("identity", coding("identity"), &[400, 501]),
        ("chunked, identity", coding("chunked, identity"), &[400, 501]),
        ("chunked twice", coding("chunked, chunked"), &[400, 501]),
        ("two lines", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400, 501]),
        (
            "two lines, one odd",
            post("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            &[400, 501],
        ),
        ("xchunked", coding("xchunked"), &[400, 501]),
        ("chunked with a parameter", coding("chunked;a=b"), &[400, 501]),
        ("quoted", coding("\"chunked\""), &[400, 501]),
        ("a vertical tab", coding("\x0bchunked"), &[400, 501]),
        ("empty", coding(""), &[400, 501]),
        ("a comma in front", coding(",chunked"), &[400, 501]),
        ("on HTTP/1.0", http10.into_bytes(), &[400]),
    ]);
}

#[test]
fn chunks_that_are_malformed() {
    refused(&[
        ("no size", chunked("\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("no digits", chunked("zz\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("0x", chunked("0x3\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("plus", chunked("+3\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("minus", chunked("-1\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("a space in front", chunked(" 3\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("65 bits", chunked("10000000000000003\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("wraps to 3", chunked("ffffffffffffffff0000000000000003\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("too long data", chunked("3\r\nabcd\r\n0\r\n\r\n"), &[400]),
        ("no line end behind data", chunked("3\r\nabc0\r\n\r\n"), &[400]),
        ("bare LF behind the size", chunked("3\nabc\r\n0\r\n\r\n"), &[400]),
        ("bare LF behind data", chunked("3\r\nabc\n0\r\n\r\n"), &[400]),
        ("bare CR behind the size", chunked("3\rabc\r\n0\r\n\r\n"), &[400]),
        ("bare LF behind the last chunk", chunked("3\r\nabc\r\n0\n\n"), &[400]),
        ("bare LF in an extension", chunked("3;a\nb\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("NUL in an extension", chunked("3;a\0b\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("a trailer without a colon", chunked("3\r\nabc\r\n0\r\nX-A\r\n\r\n"), &[400]),
        ("a folded trailer", chunked("3\r\nabc\r\n0\r\nX-A: b\r\n c\r\n\r\n"), &[400]),
        ("bare LF in trailers", chunked("3\r\nabc\r\n0\r\nX-A: b\n\r\n"), &[400]),
        ("a size line without end", chunked(&"0".repeat(100_000)), &[400]),
        ("an extension without end", chunked(&format!("3;{}", "e".repeat(100_000))), &[400]),
        ("trailers without end", chunked(&format!("0\r\n{}", "X-A: b\r\n".repeat(200_000))), &[400, 431]),
    ]);
}

#[test]
fn header_lines_that_are_malformed() {
    let bare_lf = format!("GET /x HTTP/1.1\nHost: test\n{AUTH}\n\n");
    let one_bare_lf = format!("GET /x HTTP/1.1\r\nHost: test\r\nX-A: b\n{AUTH}\r\n\r\n");
    let end_bare_lf = format!("GET /x HTTP/1.1\r\nHost: test\r\n{AUTH}\r\n\n");
    refused(&[
        ("bare LF everywhere", bare_lf.into_bytes(), &[400]),
        ("one bare LF", one_bare_lf.into_bytes(), &[400]),
        ("a bare LF as the end", end_bare_lf.into_bytes(), &[400]),
        ("a bare CR", get("X-A: b\rX-B: c\r\n"), &[400]),
        ("folded", get("X-A: b\r\n c\r\n"), &[400]),
        ("folded with a tab", get("X-A: b\r\n\tc\r\n"), &[400]),
        ("folded Transfer-Encoding", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"), &[400]),
        ("the first line indented", format!("GET /x HTTP/1.1\r\n {AUTH}\r\nHost: test\r\n\r\n").into_bytes(), &[400]),
        ("a space before the colon", get("X-A : b\r\n"), &[400]),
        ("a space before the colon of TE", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), &[400]),
        ("a tab before the colon of CL", post("Content-Length\t: 3\r\n", "abc"), &[400]),
        ("NUL in a value", get("X-A: b\0c\r\n"), &[400]),
        ("NUL in a name", get("X\0A: b\r\n"), &[400]),
        ("NUL in the target", format!("GET /\0 HTTP/1.1\r\nHost: test\r\n{AUTH}\r\n\r\n").into_bytes(), &[400]),
        ("no colon", get("X-A\r\n"), &[400]),
        ("no name", get(": b\r\n"), &[400]),
    ]);
}

#[test]
fn hosts_that_are_missing_or_ambiguous() {
    let with = |hosts: &str| format!("GET /x HTTP/1.1\r\n{hosts}{AUTH}\r\n\r\n").into_bytes();
    refused(&[
        ("none", with(""), &[400]),
        ("two", with("Host: a\r\nHost: b\r\n"), &[400]),
        ("two equal", with("Host: a\r\nHost: a\r\n"), &[400]),
        ("a list", with("Host: a, b\r\n"), &[400]),
        ("a space inside", with("Host: a b\r\n"), &[400]),
        ("a slash", with("Host: a/b\r\n"), &[400]),
        ("userinfo", with("Host: u@a\r\n"), &[400]),
    ]);
}

#[test]
fn request_lines_that_are_malformed() {
    let line = |line: &str| format!("{line}\r\nHost: test\r\n{AUTH}\r\n\r\n").into_bytes();
    refused(&[
        ("no version", line("GET /x"), &[400, 505]),
        ("HTTP/2.0", line("GET /x HTTP/2.0"), &[400, 505]),
        ("HTTP/1.2 with text", line("GET /x HTTP/1.1x"), &[400, 505]),
        ("lower case", line("GET /x http/1.1"), &[400, 505]),
        ("a space in the target", line("GET /x y HTTP/1.1"), &[400, 505]),
        ("two spaces", line("GET  /x HTTP/1.1"), &[400]),
        ("a tab", line("GET\t/x HTTP/1.1"), &[400]),
        ("a method with a bracket", line("G(T /x HTTP/1.1"), &[400]),
        ("a target without a slash", line("GET x HTTP/1.1"), &[400]),
        ("a bad escape", line("GET /%zz HTTP/1.1"), &[400]),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400, 505]),
        ("CONNECT", line("CONNECT test:80 HTTP/1.1"), &[400, 405, 501]),
    ]);
}

#[test]
fn heads_that_are_too_large() {
    refused(&[
        ("one long header", get(&format!("X-A: {}\r\n", "a".repeat(1_200_000))), &[431]),
        ("many headers", get(&"X-A: bbbbbbbb\r\n".repeat(100_000)), &[431]),
        ("a long target", format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1_200_000)).into_bytes(), &[414, 431]),
    ]);
}

#[test]
fn a_head_that_never_ends_costs_bounded_memory() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let before = proxy.program.rss_bytes();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nX-A: ");
    let mut sent = 0;
    while client.try_send([b'a'; 65536]).is_ok() {
        sent += 65536;
        assert!(sent < 64 << 20, "the proxy takes {sent} bytes of a head");
    }
    let grown = proxy.program.rss_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "memory grew by {grown} bytes");
    assert_eq!(backend.connections(), 0);
}

#[test]
fn a_broken_chunk_behind_the_buffer_cuts_the_request_to_the_backend() {
    let backend = Backend::replying(Reply::ok("ok"));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-requestBufferSize=10", "-maxRequestBodySizeToRetry=10"]);
    let mut client = proxy.client();
    client.send(chunked("14\r\n01234567890123456789\r\n"));
    backend.wait_request(1, "the part that is right", |r| r.body.len() == 20);
    let _ = client.try_send(format!("zz\r\nabc\r\n0\r\n\r\n{SMUGGLED}"));
    let (got, end) = statuses(&mut client);
    assert!(matches!(end, End::Eof | End::Reset), "{end:?}");
    assert!(got.len() <= 1 && got.iter().all(|s| (400..600).contains(s)), "statuses {got:?}");
    backend.wait_open(0);
    let seen = backend.requests();
    assert!(seen.len() == 1 && !seen[0].complete, "the backend must see a cut body, not an ended one: {seen:?}");
    assert_eq!(seen[0].body.len(), 20);
    proxy.expect_metrics(&[("user.concurrent_requests_current", 0.0), ("vmauth_backend_conns", 0.0)]);
}

#[test]
fn odd_but_unambiguous_framing_is_forwarded_in_plain_form() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    let cases = [
        chunked("0003;name=value;q=\"a b\"\r\nabc\r\n0;last\r\n\r\n"),
        post("transfer-encoding: CHUNKED\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        post("Transfer-Encoding:  chunked \t\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        post("Content-Length: 3 \r\n", "abc"),
        post("Content-Length: 0000000000000000000000003\r\n", "abc"),
    ];
    for (n, bytes) in cases.iter().enumerate() {
        client.send(bytes);
        client.reply().expect(200);
        let seen = backend.wait_request(n + 1, "the whole request", |r| r.complete);
        assert_eq!(seen.body, b"abc");
        let framing = (seen.fields.all("Content-Length"), seen.fields.all("Transfer-Encoding"));
        assert!(
            framing == (vec!["3"], vec![]) || framing == (vec![], vec!["chunked"]),
            "{:?} became {framing:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn refused_heads_are_counted_by_reason() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    for head in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"] {
        let mut client = proxy.client();
        client.send(head);
        client.reply().expect(400);
    }
    proxy.expect_metrics(&[
        ("vm_http_malformed_requests_total{reason=\"missing_host\"}", 1.0),
        ("vm_http_malformed_requests_total{reason=\"content_length\"}", 1.0),
        ("vm_http_malformed_requests_total{reason=\"bad_host\"}", 0.0),
    ]);
}
