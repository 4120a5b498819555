//! The client against scripted servers on loopback.

use super::*;
use crate::tls::server_config::{ServerTls, ServerTlsOptions};
use crate::tls::test_pki::{Authority, Pair};
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// Requests that a server received, in order.
type Received = Arc<Mutex<Vec<String>>>;

/// Reads one request with its body and answers with what `answer` makes of it; closes after each.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, received: &Received, answer: &impl Fn(&str) -> String) {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                break;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => text.push_str(std::str::from_utf8(&buffer[..count]).unwrap()),
            _ => return,
        }
    }
    let reply = answer(&text);
    received.lock().unwrap().push(text);
    if reply.is_empty() {
        std::future::pending::<()>().await;
    }
    let _ = stream.write_all(reply.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn server(
    tls: Option<ServerTls>,
    answer: impl Fn(&str) -> String + Send + Sync + Clone + 'static,
) -> (SocketAddr, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let received = Received::default();
    let log = Arc::clone(&received);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let config = tls.as_ref().map(ServerTls::current);
            let (log, answer) = (Arc::clone(&log), answer.clone());
            tokio::spawn(async move {
                match config {
                    None => serve(stream, &log, &answer).await,
                    Some(config) => {
                        if let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await {
                            serve(stream, &log, &answer).await;
                        }
                    }
                }
            });
        }
    });
    (addr, received)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-A: b\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn redirect_to(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn client() -> Client {
    Client::new(ClientTlsOptions::default())
}

#[tokio::test]
async fn a_request_goes_out_as_asked() {
    let (addr, received) = server(None, |_| ok("pong")).await;
    let mut request = FetchRequest::post(format!("http://us%3Aer:p%40ss@{addr}/a?b=c"), "text/plain", b"ping".into());
    request.headers.push(("X-Key".to_owned(), "value".to_owned()));
    let reply = client().fetch(request.clone()).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.body.as_slice()), (200, &b"pong"[..]));
    assert_eq!((reply.header("x-a"), reply.header("X-A"), reply.header("x-b")), (Some("b"), Some("b"), None));
    request.basic_auth = Some(("foo".to_owned(), "bar".to_owned()));
    client().fetch(request).await.unwrap();
    let received = received.lock().unwrap();
    let f = |index: usize, want: &str| assert!(received[index].contains(want), "{want:?} in {:?}", received[index]);
    f(0, "POST /a?b=c HTTP/1.1\r\n");
    f(0, &format!("host: {addr}\r\n"));
    f(0, "authorization: Basic dXM6ZXI6cEBzcw==\r\n");
    f(0, "x-key: value\r\n");
    f(0, "content-type: text/plain\r\n");
    f(0, "\r\n\r\nping");
    f(1, "authorization: Basic Zm9vOmJhcg==\r\n");
}

#[tokio::test]
async fn redirects() {
    let (other, seen_by_other) = server(None, |_| ok("other")).await;
    let (addr, seen) = server(None, move |request| match request.split(' ').nth(1).unwrap() {
        "/near" => redirect_to("/end"),
        "/far" => redirect_to(&format!("http://{other}/end")),
        "/loop" => redirect_to("loop"),
        "/bad" => redirect_to("ftp://foo"),
        _ => ok("here"),
    })
    .await;
    let get = |path: &str| {
        let mut request = FetchRequest::get(format!("http://user:secret@{addr}{path}"));
        request.headers.push(("Cookie".to_owned(), "secret".to_owned()));
        request.headers.push(("Accept".to_owned(), "x/y".to_owned()));
        request
    };
    let fetch = async |request| client().fetch(request).await;
    assert_eq!(fetch(get("/near")).await.unwrap().body, b"here");
    assert!(seen.lock().unwrap()[1].contains("authorization: ") && seen.lock().unwrap()[1].contains("cookie: "));
    assert_eq!(fetch(get("/far")).await.unwrap().body, b"other");
    assert!(!seen_by_other.lock().unwrap()[0].contains("authorization: "));
    assert!(!seen_by_other.lock().unwrap()[0].contains("cookie: "));
    assert!(seen_by_other.lock().unwrap()[0].contains("accept: x/y"));
    let f = |got: Result<FetchReply, FetchError>, want: &str| {
        assert_eq!(got.unwrap_err().to_string(), format!("Get \"http://xxxxx@{addr}{want}"));
    };
    f(fetch(FetchRequest { max_redirects: 3, ..get("/loop") }).await, "/loop\": stopped after 3 redirects");
    f(fetch(get("/bad")).await, "/bad\": invalid URL: unsupported scheme; want http or https");
    assert_eq!(fetch(FetchRequest { max_redirects: 0, ..get("/near") }).await.unwrap().status.as_u16(), 302);
    assert_eq!(fetch(FetchRequest { method: Method::POST, ..get("/near") }).await.unwrap().status.as_u16(), 302);
}

#[tokio::test]
async fn large_bodies() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nabcd\r\n0\r\n\r\n";
    let (addr, _) = server(None, move |request| match request.split(' ').next().unwrap() {
        "PUT" => chunked.to_owned(),
        "HEAD" => ok("").replace("Length: 0", "Length: 1000"),
        _ => ok("abcd"),
    })
    .await;
    let f = async |method: Method, max_body: usize, want: Result<&str, ()>| {
        let request = FetchRequest { method: method.clone(), max_body, ..FetchRequest::get(format!("http://{addr}/")) };
        let got = client().fetch(request).await.map(|reply| String::from_utf8(reply.body).unwrap());
        let got = got.map_err(|err| assert_eq!(err.cause, FetchCause::BodyTooLarge(max_body)));
        assert_eq!(got.as_deref(), want.as_ref().copied(), "{method} {max_body}");
    };
    f(Method::GET, 4, Ok("abcd")).await;
    f(Method::GET, 3, Err(())).await;
    f(Method::PUT, 4, Ok("abcd")).await;
    f(Method::PUT, 3, Err(())).await;
    f(Method::HEAD, 3, Ok("")).await;
}

#[tokio::test]
async fn failures() {
    let (addr, _) =
        server(
            None,
            |request| {
                if request.starts_with("GET /garbage") { "garbage\r\n\r\n".to_owned() } else { String::new() }
            },
        )
        .await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = async |request: FetchRequest| client().fetch(request).await.unwrap_err().to_string();
    let mut silent = FetchRequest::get(format!("http://{addr}/"));
    silent.timeout = Duration::from_millis(50);
    assert_eq!(error(silent).await, format!("Get \"http://{addr}/\": timeout of 50ms exceeded"));
    let refused = FetchRequest::get(format!("http://u:secret@{closed}/?t=secret"));
    let want = format!("Get \"http://xxxxx@{closed}/?xxxxx\": dial tcp: connection refused");
    assert_eq!(error(refused).await, want);
    let text = error(FetchRequest::get(format!("http://{addr}/garbage"))).await;
    assert!(text.contains("HTTP version"), "{text}");
    assert_eq!(error(FetchRequest::get("foo")).await, "Get \"foo\": invalid URL: missing scheme");
    let mut request = FetchRequest::get(format!("http://{addr}/"));
    request.headers.push(("a b".to_owned(), "secret".to_owned()));
    assert!(!format!("{request:?}").contains("secret"));
    assert_eq!(error(request).await, format!("Get \"http://{addr}/\": invalid request header \"a b\""));
}

fn server_tls(dir: &tempfile::TempDir, pair: &Pair) -> ServerTls {
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (cert_file, key_file) = (write("server.crt", &pair.cert), write("server.key", &pair.key));
    ServerTls::load(ServerTlsOptions { cert_file, key_file, ..ServerTlsOptions::default() }).unwrap()
}

#[tokio::test]
async fn tls_with_ca_from_a_url_or_none() {
    let (ca, other, dir) = (Authority::new("ca"), Authority::new("other"), tempfile::tempdir().unwrap());
    let tls = server_tls(&dir, &ca.server(&["127.0.0.1"]));
    let (addr, _) = server(Some(tls), |_| ok("secure")).await;
    let (good, bad) = (ca.cert(), other.cert());
    let (files, seen) = server(None, move |request| match request.split(' ').nth(1).unwrap() {
        "/good" => ok(&good),
        "/bad" => ok(&bad),
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
    })
    .await;
    let fetch = async |options: ClientTlsOptions| {
        let client = Client::new(options);
        let reply = client.fetch(FetchRequest::get(format!("https://{addr}/"))).await;
        reply.map(|reply| String::from_utf8(reply.body).unwrap()).map_err(|err| err.cause.to_string())
    };
    let ca = |path: &str| ClientTlsOptions {
        ca_file: Some(format!("http://user:secret@{files}{path}")),
        ..ClientTlsOptions::default()
    };
    assert_eq!(fetch(ca("/good")).await, Ok("secure".to_owned()));
    assert!(seen.lock().unwrap()[0].contains("authorization: Basic "));
    let unknown = "tls: failed to verify certificate: x509: certificate signed by unknown authority; the certificate \
                   of \"CN=127.0.0.1\" was signed by \"CN=ca\", which is not trusted here: put the certificate of that \
                   authority into the CA file (tls_ca_file)";
    assert_eq!(fetch(ca("/bad")).await, Err(unknown.to_owned()));
    assert_eq!(fetch(ClientTlsOptions::default()).await, Err(unknown.to_owned()));
    let skip = ClientTlsOptions { insecure_skip_verify: true, ..ClientTlsOptions::default() };
    assert_eq!(fetch(skip).await, Ok("secure".to_owned()));
    let missing = fetch(ca("/missing")).await.unwrap_err();
    assert!(missing.ends_with(&format!("cannot read \"http://xxxxx@{files}/missing\": unexpected status code: 404")));
}

#[test]
fn without_a_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (addr, _) = runtime.block_on(server(None, |_| ok("pong")));
    let reply = fetch_blocking(ClientTlsOptions::default(), FetchRequest::get(format!("http://{addr}/"))).unwrap();
    assert_eq!(reply.body, b"pong");
}

#[test]
fn futures_can_be_spawned() {
    fn spawnable<T: Send>(_: &T) {}
    let client = client();
    spawnable(&client.fetch(FetchRequest::get("http://foo/")));
    let tls = ClientTls::new(ClientTlsOptions::default());
    spawnable(&tls.refresh(|url| client.fetch_file(url)));
}
