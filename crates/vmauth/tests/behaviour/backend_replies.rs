//! Replies that are right but not plain: interim ones, early ones, and those without a body.

use testkit::client::End;
use testkit::wire::chunk;
use testkit::{Backend, Gate, Reply, Step};

use crate::vmauth::{AUTH, Vmauth, one_user};

#[test]
fn interim_replies_are_swallowed() {
    let backend = Backend::replying(Reply::raw(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal",
    ));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    for _ in 0..2 {
        let reply = client.get("/", &[AUTH]).expect(200);
        assert_eq!((reply.text().as_str(), &reply.interim[..], reply.fields.get("Link")), ("final", &[][..], None));
    }
    assert_eq!(backend.connections(), 1, "the connection is in step and reused");
    proxy.expect_metrics(&[("user.request_errors_total", 0.0)]);
}

#[test]
fn interim_replies_in_front_of_nothing_are_no_reply() {
    let backend = Backend::replying(Reply::raw("HTTP/1.1 103 Early Hints\r\n\r\n").then(Step::Close));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let reply = proxy.client().get("/", &[AUTH]).expect(502);
    assert_eq!(reply.interim, [0_u16; 0]);
    proxy.expect_metrics(&[("user.request_errors_total", 1.0)]);
}

#[test]
fn an_early_reply_reaches_a_client_that_still_uploads() {
    let done = Gate::new();
    let backend = Backend::replying(Reply::message(413, &[], "too large").before_body().then(Step::Wait(done.clone())));
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.send(format!("POST /x HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nContent-Length: 100000000\r\n\r\n"));
    client.send(vec![b'x'; 100_000]);
    let reply = client.reply().expect(413);
    assert_eq!(reply.text(), "too large");
    // The rest of the body can never be told apart from a next request: the connection must end.
    let uploader = std::thread::spawn(move || {
        while client.try_send([b'x'; 65536]).is_ok() {}
        client.read_to_end().1
    });
    backend.wait_request(1, "the request", |r| r.method == "POST");
    done.open();
    let end = uploader.join().expect("the uploader");
    assert!(matches!(end, End::Eof | End::Reset), "{end:?}");
    proxy.expect_metrics(&[
        ("user.request_errors_total", 0.0),
        ("user.request_backend_errors_total", 0.0),
        ("user.concurrent_requests_current", 0.0),
    ]);
    // An exchange whose request was cut is over for its backend connection as well.
    backend.wait_open(0);
    proxy.expect_access("/x", 413);
}

#[test]
fn replies_without_a_body_leave_both_connections_in_step() {
    let backend = Backend::with(|request| match request.target.as_str() {
        "/head" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"),
        "/chunked-head" => Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "/204" => Reply::message(204, &[("X-A", "1")], ""),
        "/304" => Reply::raw("HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nContent-Length: 99\r\n\r\n"),
        _ => Reply::ok("body"),
    });
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.request("HEAD", "/head", &[AUTH], None);
    let reply = client.reply().expect(200);
    assert_eq!((reply.fields.get("Content-Length"), reply.body.len()), (Some("1234"), 0));
    client.get("/", &[AUTH]).expect(200);
    client.request("HEAD", "/chunked-head", &[AUTH], None);
    client.reply().expect(200);
    assert_eq!(client.get("/", &[AUTH]).expect(200).text(), "body");
    let reply = client.get("/204", &[AUTH]).expect(204);
    assert_eq!((reply.fields.get("Transfer-Encoding"), reply.fields.get("X-A")), (None, Some("1")));
    assert!(matches!(reply.fields.get("Content-Length"), None | Some("0")), "{:?}", reply.fields);
    assert_eq!(client.get("/", &[AUTH]).expect(200).text(), "body");
    let reply = client.get("/304", &[AUTH]).expect(304);
    assert_eq!((reply.fields.get("ETag"), reply.fields.get("Transfer-Encoding")), (Some("\"e\""), None));
    assert_eq!(client.get("/", &[AUTH]).expect(200).text(), "body");
    assert_eq!(backend.connections(), 1, "none of them costs the backend connection");
}

#[test]
fn trailers_of_the_client_reach_the_backend() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    let mut bytes = format!(
        "POST / HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nTrailer: X-Sum, X-More\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(&chunk(b"data"));
    bytes.extend_from_slice(b"0\r\nX-Sum: 42\r\nX-More: yes\r\n\r\n");
    client.send(bytes);
    client.reply().expect(200);
    let seen = backend.wait_request(1, "the whole request", |r| r.complete);
    assert_eq!(
        (&seen.body[..], seen.trailers.get("X-Sum"), seen.trailers.get("X-More")),
        (&b"data"[..], Some("42"), Some("yes"))
    );
    assert!(seen.fields.has_token("Trailer", "X-Sum"), "{:?}", seen.fields);
    client.get("/", &[AUTH]).expect(200);
    assert_eq!(backend.connections(), 1);
}

#[test]
fn trailers_cannot_become_framing() {
    // RFC 9110 §6.5.1: such fields must not be taken from trailers; forwarding them invites the next hop to.
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\n{AUTH}\r\nTrailer: Content-Length, Host\r\nTransfer-Encoding: chunked\r\n\r\n\
         4\r\ndata\r\n0\r\nContent-Length: 99\r\nHost: evil\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    let status = client.reply().status;
    assert!(matches!(status, 200 | 400), "status {status}");
    for seen in backend.requests() {
        for name in ["Content-Length", "Host", "Transfer-Encoding"] {
            assert_eq!(seen.trailers.get(name), None, "trailer {name} was forwarded");
        }
    }
}

#[test]
fn a_trailing_part_of_a_reply_is_never_taken_for_the_next_one() {
    // The backend sends more than it promised; the extra bytes must poison only their own connection.
    let extra = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let backend = Backend::with(move |request| match request.target.as_str() {
        "/long" => Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood{extra}")),
        _ => Reply::ok("next"),
    });
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    assert_eq!(client.get("/long", &[AUTH]).expect(200).text(), "good");
    for _ in 0..3 {
        assert_eq!(client.get("/", &[AUTH]).expect(200).text(), "next");
    }
}
