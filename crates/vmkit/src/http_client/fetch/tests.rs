//! The client against scripted servers on loopback.

use super::*;
use crate::tls::client_config::ClientTls;
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
    let mut request = FetchRequest::post(format!("http://us%3Aer:p%40ss@{addr}/a?b=c"), "text/plain", &b"ping"[..]);
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
    let (_held, closed) = testkit::backend::reserve("127.0.0.1:0".parse().unwrap());
    let error = async |request: FetchRequest| client().fetch(request).await.unwrap_err().to_string();
    let mut silent = FetchRequest::get(format!("http://{addr}/"));
    silent.timeout = Duration::from_millis(50);
    assert_eq!(error(silent).await, format!("Get \"http://{addr}/\": timeout of 50ms exceeded"));
    let refused = FetchRequest::get(format!("http://u:secret@{closed}/?t=secret"));
    let want = format!("Get \"http://xxxxx@{closed}/?xxxxx\": dial tcp {closed}: connect: connection refused");
    assert_eq!(error(refused).await, want);
    for scheme in ["http", "https", "socks5"] {
        let proxy = Some(ProxyOptions { url: format!("{scheme}://u:secret@{closed}"), ..ProxyOptions::default() });
        let client = Client::with_options(ClientOptions { proxy, ..ClientOptions::default() });
        let text = client.fetch(FetchRequest::get("https://h/")).await.unwrap_err().to_string();
        assert_eq!(
            text,
            format!("Get \"https://h/\": proxyconnect tcp: dial tcp {closed}: connect: connection refused")
        );
    }
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

/// Answers the first request of its first connection and closes at the second; answers everything on later ones.
async fn closing_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut is_first = true;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answers = if std::mem::take(&mut is_first) { 1 } else { usize::MAX };
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                for _ in 0..answers {
                    if stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                    }
                }
                let _ = stream.read(&mut buffer).await;
            });
        }
    });
    addr
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_replaced() {
    let f = async |second: FetchRequest, want: Result<&[u8], ()>| {
        let (addr, client) = (closing_server().await, client());
        let url = format!("http://{addr}/");
        assert_eq!(client.fetch(FetchRequest::get(&url)).await.unwrap().body, b"ok");
        let got = client.fetch(FetchRequest { url, ..second }).await.map(|reply| reply.body);
        assert_eq!(got.as_deref().map_err(drop), want);
    };
    f(FetchRequest::get(""), Ok(b"ok")).await;
    f(FetchRequest::post("", "text/plain", &b"x"[..]), Err(())).await;
    f(FetchRequest { may_repeat: true, ..FetchRequest::post("", "text/plain", &b"x"[..]) }, Ok(b"ok")).await;
}

#[tokio::test]
async fn a_new_connection_that_fails_is_not_tried_again() {
    let (addr, received) = server(None, |_| "HTTP/1.1".to_owned()).await;
    assert!(client().fetch(FetchRequest::get(format!("http://{addr}/"))).await.is_err());
    assert_eq!(received.lock().unwrap().len(), 1);
}

/// A server that sends these bytes to whoever asks, and closes.
async fn raw_server(reply: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&reply).await;
        }
    });
    url
}

fn gzip_reply(body: &[u8], cut: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, body).unwrap();
    let mut packed = encoder.finish().unwrap();
    packed.truncate(packed.len() - cut);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        packed.len()
    );
    [head.as_bytes(), &packed].concat()
}

#[tokio::test]
async fn gzip_is_decoded_though_nobody_asked() {
    let body: Vec<u8> = (0..200_000u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
    let url = raw_server(gzip_reply(&body, 0)).await;
    let reply = client().fetch(FetchRequest::get(&url)).await.unwrap();
    assert!(reply.body == body && reply.header("content-encoding").is_none());
    let small = FetchRequest { max_body: body.len() - 1, ..FetchRequest::get(&url) };
    assert_eq!(client().fetch(small).await.unwrap_err().cause, FetchCause::BodyTooLarge(body.len() - 1));
    let url = raw_server(gzip_reply(&body, 9)).await;
    let error = client().fetch(FetchRequest::get(&url)).await.unwrap_err().to_string();
    assert!(error.contains("cannot decode gzip"), "{error}");
}

#[tokio::test]
async fn a_small_reply_cannot_become_a_large_one() {
    let url = raw_server(gzip_reply(&vec![0; 64 << 20], 0)).await;
    let request = FetchRequest { max_body: 1 << 20, ..FetchRequest::get(&url) };
    let mut reply = client().stream(request).await.unwrap();
    let mut largest = 0;
    let error = loop {
        match reply.next_piece().await {
            Ok(Some(piece)) => largest = largest.max(piece.len()),
            Ok(None) => panic!("no limit"),
            Err(error) => break error,
        }
    };
    assert!(error.cause == FetchCause::BodyTooLarge(1 << 20) && largest <= 1 << 20, "{largest}");
}

#[tokio::test]
async fn pieces_are_handed_on_before_the_reply_is_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut reply = {
        let client = client();
        let asking = tokio::spawn(async move { client.stream(FetchRequest::get(url)).await });
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await.unwrap();
        let mut reply = asking.await.unwrap().unwrap();
        assert_eq!(reply.next_piece().await.unwrap().as_deref(), Some(&b"one"[..]));
        stream.write_all(b"3\r\ntwo\r\n").await.unwrap();
        assert_eq!(reply.next_piece().await.unwrap().as_deref(), Some(&b"two"[..]));
        reply
    };
    // The server went away in the middle.
    assert!(reply.next_piece().await.is_err());
}

#[tokio::test]
async fn redirects_stay_with_the_host_where_the_caller_says_so() {
    let (other, _) = server(None, |_| ok("other")).await;
    let (addr, _) = server(None, move |request| match request.split(' ').nth(1).unwrap() {
        "/near" => redirect_to("/end"),
        "/far" => redirect_to(&format!("http://{other}/end")),
        _ => ok("here"),
    })
    .await;
    let fetch = async |path: &str| {
        let url = format!("http://{addr}{path}");
        let request = FetchRequest { redirect_scope: RedirectScope::SameHost, ..FetchRequest::get(url) };
        client().fetch(request).await.map(|reply| reply.body).map_err(|error| error.cause)
    };
    assert_eq!(fetch("/near").await, Ok(b"here".to_vec()));
    assert_eq!(fetch("/far").await, Err(FetchCause::RedirectRefused));
}

/// Serves one connection to a proxy that answers requests itself and opens tunnels to wherever it is asked.
async fn serve_proxy(mut stream: impl AsyncRead + AsyncWrite + Unpin, log: Received) {
    let mut buffer = vec![0; 4096];
    let count = stream.read(&mut buffer).await.unwrap();
    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
    log.lock().unwrap().push(text.clone());
    let Some(target) = text.strip_prefix("CONNECT ") else {
        stream.write_all(ok("by proxy").as_bytes()).await.unwrap();
        return stream.shutdown().await.unwrap();
    };
    let mut far = tokio::net::TcpStream::connect(target.split(' ').next().unwrap()).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
}

async fn proxy(tls: Option<ServerTls>) -> (SocketAddr, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, received) = (listener.local_addr().unwrap(), Received::default());
    let log = received.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (log, config) = (log.clone(), tls.as_ref().map(ServerTls::current));
            tokio::spawn(async move {
                match config {
                    None => serve_proxy(stream, log).await,
                    Some(config) => {
                        if let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await {
                            serve_proxy(stream, log).await;
                        }
                    }
                }
            });
        }
    });
    (addr, received)
}

/// A SOCKS5 proxy behind TLS, for one connection after another.
async fn socks_proxy(tls: ServerTls) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = tokio_rustls::TlsAcceptor::from(tls.current()).accept(stream).await.unwrap();
            let mut hello = [0; 3];
            stream.read_exact(&mut hello).await.unwrap();
            stream.write_all(&[5, 0]).await.unwrap();
            let mut head = [0; 5];
            stream.read_exact(&mut head).await.unwrap();
            let mut rest = vec![0; usize::from(head[4]) + 2];
            stream.read_exact(&mut rest).await.unwrap();
            let (host, port) = rest.split_at(usize::from(head[4]));
            let far = (std::str::from_utf8(host).unwrap(), u16::from_be_bytes([port[0], port[1]]));
            let mut far = tokio::net::TcpStream::connect(far).await.unwrap();
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut stream, &mut far).await });
        }
    });
    addr
}

/// Trusts an authority.
fn trusting(dir: &tempfile::TempDir, ca: &Authority, name: &str) -> ClientTlsOptions {
    let path = dir.path().join(name);
    std::fs::write(&path, ca.cert()).unwrap();
    ClientTlsOptions { ca_file: Some(path.display().to_string()), ..ClientTlsOptions::default() }
}

#[tokio::test]
async fn a_proxy_by_tls_has_its_own_identity_and_headers() {
    let (near, far, dir) = (Authority::new("near"), Authority::new("far"), tempfile::tempdir().unwrap());
    let (secure, _) = server(Some(server_tls(&dir, &far.server(&["127.0.0.1"]))), |_| ok("secure")).await;
    let proxy_dir = tempfile::tempdir().unwrap();
    let (addr, received) = proxy(Some(server_tls(&proxy_dir, &near.server(&["127.0.0.1"])))).await;
    let options = |proxy_tls: &ClientTlsOptions, counts: &Arc<ConnectionCounts>| ClientOptions {
        tls: trusting(&dir, &far, "far.crt"),
        proxy: Some(ProxyOptions { url: format!("https://user:pw@{addr}"), tls: proxy_tls.clone() }),
        counts: Some(Arc::clone(counts)),
    };
    let counts = Arc::<ConnectionCounts>::default();
    let client = Client::with_options(options(&trusting(&dir, &near, "near.crt"), &counts));
    let get = async |url: &str, headers: &[(&str, &str)]| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = FetchRequest { proxy_headers: headers, ..FetchRequest::get(url) };
        client.fetch(request).await.unwrap().body
    };
    assert_eq!(get("http://some.host.invalid/x", &[("X-Proxy", "1")]).await, b"by proxy");
    assert_eq!(
        get(&format!("https://{secure}/"), &[("Proxy-Authorization", "Bearer t"), ("X-Proxy", "2")]).await,
        b"secure"
    );
    let received = received.lock().unwrap().clone();
    let has = |index: usize, want: &str| assert!(received[index].contains(want), "{want:?} in {:?}", received[index]);
    has(0, "GET http://some.host.invalid/x HTTP/1.1\r\n");
    has(0, "proxy-authorization: Basic dXNlcjpwdw==\r\n");
    has(0, "x-proxy: 1\r\n");
    has(1, &format!("CONNECT {secure} HTTP/1.1\r\n"));
    has(1, "Proxy-Authorization: Bearer t\r\nX-Proxy: 2\r\n");
    assert!(!received[1].contains("Basic"), "{}", received[1]);
    assert_eq!((counts.dials.get(), counts.dial_errors.get()), (2, 0));
    let stranger = Client::with_options(options(&trusting(&dir, &far, "far.crt"), &counts));
    let error = stranger.fetch(FetchRequest::get("http://h/")).await.unwrap_err().to_string();
    assert!(error.contains("proxyconnect: ") && error.contains("certificate"), "{error}");
    assert_eq!((counts.dials.get(), counts.dial_errors.get()), (3, 1));
}

#[tokio::test]
async fn socks_proxies_by_tls() {
    let (ca, dir, far_dir) = (Authority::new("ca"), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (plain, _) = server(None, |_| ok("plain")).await;
    let (secure, _) = server(Some(server_tls(&far_dir, &ca.server(&["127.0.0.1"]))), |_| ok("secure")).await;
    let addr = socks_proxy(server_tls(&dir, &ca.server(&["127.0.0.1"]))).await;
    let tls = trusting(&dir, &ca, "ca.crt");
    let proxy = ProxyOptions { url: format!("tls+socks5://{addr}"), tls: tls.clone() };
    let client = Client::with_options(ClientOptions { tls, proxy: Some(proxy), counts: None });
    let get = async |url: String| client.fetch(FetchRequest::get(url)).await.unwrap().body;
    assert_eq!(get(format!("http://{plain}/")).await, b"plain");
    assert_eq!(get(format!("https://{secure}/")).await, b"secure");
}

#[tokio::test]
async fn a_proxy_gets_whole_requests_and_tunnels() {
    let (ca, dir) = (Authority::new("ca"), tempfile::tempdir().unwrap());
    let (secure, _) = server(Some(server_tls(&dir, &ca.server(&["127.0.0.1"]))), |_| ok("secure")).await;
    let (addr, received) = proxy(None).await;
    let path = dir.path().join("ca.crt");
    std::fs::write(&path, ca.cert()).unwrap();
    let tls = ClientTlsOptions { ca_file: Some(path.display().to_string()), ..ClientTlsOptions::default() };
    let proxy = ProxyOptions { url: format!("http://us%65r:pw@{addr}"), ..ProxyOptions::default() };
    let client = Client::with_options(ClientOptions { tls, proxy: Some(proxy), counts: None });
    let get = async |url: &str| client.fetch(FetchRequest::get(url)).await.unwrap().body;
    assert_eq!(get("http://some.host.invalid/x?y").await, b"by proxy");
    assert_eq!(get(&format!("https://{secure}/")).await, b"secure");
    let received = received.lock().unwrap().clone();
    let has = |index: usize, want: &str| assert!(received[index].contains(want), "{want:?} in {:?}", received[index]);
    has(0, "GET http://some.host.invalid/x?y HTTP/1.1\r\n");
    has(0, "proxy-authorization: Basic dXNlcjpwdw==\r\n");
    has(1, &format!("CONNECT {secure} HTTP/1.1\r\n"));
    assert!(
        received[1].to_ascii_lowercase().contains("proxy-authorization: basic dxnlcjpwdw==\r\n"),
        "{}",
        received[1]
    );
    let proxy = ProxyOptions { url: "socks4://h".to_owned(), ..ProxyOptions::default() };
    let other = Client::with_options(ClientOptions { proxy: Some(proxy), ..ClientOptions::default() });
    let error = other.fetch(FetchRequest::get("http://h/")).await.unwrap_err().to_string();
    assert!(error.contains("proxy URL: unsupported scheme"), "{error}");
}

#[test]
fn futures_can_be_spawned() {
    fn spawnable<T: Send>(_: &T) {}
    let client = client();
    spawnable(&client.fetch(FetchRequest::get("http://foo/")));
    let tls = ClientTls::new(ClientTlsOptions::default());
    spawnable(&tls.refresh(|url| client.fetch_file(url)));
}
