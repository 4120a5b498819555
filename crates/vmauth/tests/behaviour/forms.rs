//! Routes that enforce query args: no body that some backend may read as a form brings others in.

use testkit::{Backend, Client};

use crate::vmauth::{AUTH, Vmauth};

fn config(backend: &Backend, query: &str) -> String {
    format!("users:\n- username: u\n  password: p\n  url_prefix: \"{}/?{query}\"\n", backend.url())
}

/// Sends a POST with these header lines, whose letters are bytes, and this body.
fn post(mut client: Client, lines: &[&[u8]], body: &[u8]) -> testkit::client::Reply {
    let mut head =
        format!("POST /api/v1/query HTTP/1.1\r\nHost: a\r\n{AUTH}\r\nContent-Length: {}\r\n", body.len()).into_bytes();
    for line in lines {
        head.extend_from_slice(line);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(body);
    client.send(head);
    client.reply()
}

const FORM: &[u8] = b"Content-Type: application/x-www-form-urlencoded";
const BODY: &[u8] = b"query=up&extra_filters=%7B__name__!%3D%22%22%7D&extra_filters[]=x&a=b";

#[test]
fn what_some_backend_may_read_as_a_form_is_refused_with_403() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&config(&backend, "extra_filters={team=1}"), &[]);
    let odd: [&[&[u8]]; 12] = [
        &[b"Content-Type: application/x-www-form-urlencoded\xc2\xa0"],
        &[b"Content-Type: application/x-www-form-urlencoded\xc2\x85"],
        &[b"Content-Type: application/x-www-form-urlencoded\xe2\x80\x83"],
        &[b"Content-Type: \xe3\x80\x80application/x-www-form-urlencoded"],
        &[b"Content-Type: appl\xc4\xb0cation/x-www-form-urlencoded"],
        &[b"Content-Type: multipart/form-data; boundary=x"],
        &[b"Content-Type: application/x-www-form-urlencoded; charset=utf-7"],
        &[b"Content-Type: text/plain", FORM],
        &[FORM, b"Content-Type: text/plain"],
        &[b"Content-Type: text/plain", b"Content_Type: application/x-www-form-urlencoded"],
        &[FORM, b"Content-Encoding: gzip"],
        &[b"Content-Type: text/plain, application/x-www-form-urlencoded"],
    ];
    for lines in odd {
        let reply = post(proxy.client(), lines, BODY);
        assert_eq!(reply.status, 403, "{lines:?}: {reply:?}");
        assert!(reply.text().contains("its route enforces query args; send forms as"), "{}", reply.text());
    }
    assert_eq!(backend.request_count(), 0);
}

#[test]
fn exact_forms_are_filtered_and_writers_pass() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&config(&backend, "extra_filters={team=1}"), &[]);
    for form in [FORM, b"Content-Type: Application/X-www-form-urlencoded; Charset=UTF-8"] {
        post(proxy.client(), &[form], BODY).expect(200);
        let seen = backend.wait_for(backend.request_count());
        assert_eq!(seen.body, b"query=up&a=b");
    }
    let writers: [&[&[u8]]; 6] = [
        &[],
        &[b"Content-Type: application/x-protobuf", b"Content-Encoding: snappy"],
        &[b"Content-Type: application/json; charset=utf-8", b"Content-Encoding: gzip"],
        &[b"Content-Type: application/x-ndjson"],
        &[b"Content-Type: application/octet-stream"],
        &[b"Content-Type: text/plain"],
    ];
    for lines in writers {
        post(proxy.client(), lines, BODY).expect(200);
        assert_eq!(backend.wait_for(backend.request_count()).body, BODY, "{lines:?}");
    }
}

#[test]
fn without_enforced_args_any_body_passes() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&config(&backend, ""), &[]);
    let odd: [&[&[u8]]; 3] = [
        &[b"Content-Type: multipart/form-data; boundary=x"],
        &[b"Content-Type: application/x-www-form-urlencoded\xc2\xa0"],
        &[FORM, b"Content-Encoding: gzip"],
    ];
    for lines in odd {
        post(proxy.client(), lines, BODY).expect(200);
        assert_eq!(backend.wait_for(backend.request_count()).body, BODY);
    }
}
