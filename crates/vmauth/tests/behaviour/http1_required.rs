//! A backend that offers HTTP/2 and wants HTTP/1.1 for some requests (RFC 9113 §7), as IIS does for those that it knows by
//! their connection: it gets them so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::Response;
use testkit::PATIENCE;
use testkit::certs::Authority;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::http2_client::{Http2, request};
use crate::vmauth::{AUTH, Vmauth, user_of_urls};

/// What has come: the protocol and the path.
type Seen = (&'static str, String);

struct Choosy {
    address: SocketAddr,
    seen: Receiver<Seen>,
    _stop: oneshot::Sender<()>,
}

impl Choosy {
    fn start(ca: &Authority) -> Self {
        let (tell, seen) = channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut config = (*ca.server_config(&ca.issue(&["127.0.0.1"]), None)).clone();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let accept = async {
                    loop {
                        let (tcp, _) = listener.accept().await.expect("a connection");
                        let tls = acceptor.accept(tcp).await.expect("a handshake");
                        let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
                        let tell = tell.clone();
                        match is_http2 {
                            true => tokio::spawn(http2(tls, tell)),
                            false => tokio::spawn(http1(tls, tell)),
                        };
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        });
        Self { address, seen, _stop: stop }
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("a request")
    }
}

async fn http2(tls: impl AsyncRead + AsyncWrite + Unpin, tell: Sender<Seen>) {
    let mut connection = h2::server::handshake(tls).await.expect("a handshake");
    let mut has_served = false;
    while let Some(Ok((request, mut response))) = connection.accept().await {
        let _ = tell.send(("h2", request.uri().path().to_owned()));
        match request.uri().path() {
            "/busy-login" if has_served => response.send_reset(Reason::REFUSED_STREAM),
            "/busy-login" | "/login" => response.send_reset(Reason::HTTP_1_1_REQUIRED),
            _ => answer(response),
        }
        has_served = true;
    }
}

fn answer(mut response: SendResponse<Bytes>) {
    let mut body = response.send_response(Response::new(()), false).expect("sent");
    body.send_data(Bytes::from("in HTTP/2"), true).expect("sent");
}

async fn http1(mut tls: impl AsyncRead + AsyncWrite + Unpin, tell: Sender<Seen>) {
    let mut received = Vec::new();
    loop {
        while !received.ends_with(b"\r\n\r\n") && !received.ends_with(b"\r\n\r\nbody") {
            if tls.read_buf(&mut received).await.unwrap_or_default() == 0 {
                return;
            }
        }
        let path = String::from_utf8_lossy(&received).split(' ').nth(1).unwrap_or_default().to_owned();
        let _ = tell.send(("http/1.1", path));
        received.clear();
        tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nin HTTP/1").await.expect("written");
    }
}

#[test]
fn requests_that_want_http1_get_it() {
    let ca = Authority::new("backend");
    let backend = Choosy::start(&ca);
    let config = user_of_urls(
        &format!("\"https://{}\"", backend.address),
        &format!("retry_only_idempotent: true\ntls_ca_file: {}", ca.ca_file().display()),
    );
    let proxy = Vmauth::start(&config, &["-http2.h2c"]);
    let mut http1 = proxy.client();
    let mut http2 = Http2::connect(proxy.address);
    assert_eq!(http1.get("/other", &[AUTH]).expect(200).text(), "in HTTP/2");
    assert_eq!(backend.next(), ("h2", "/other".to_owned()));
    http1.request("POST", "/login", &[AUTH], Some(b"body"));
    assert_eq!(http1.reply().expect(200).text(), "in HTTP/1");
    assert_eq!([backend.next(), backend.next()], ["h2", "http/1.1"].map(|protocol| (protocol, "/login".to_owned())));
    // Whether the kept connection of HTTP/1 is used or another one.
    for _ in 0..3 {
        assert_eq!(http2.ask(request("GET", "/login", &[])).expect(200).body, "in HTTP/1");
        let begun: Vec<_> = (0..5).map(|_| http2.begin(request("GET", "/login", &[]), true)).collect();
        for begun in begun {
            assert_eq!(http2.answer(begun).expect("an answer").expect(200).body, "in HTTP/1");
        }
    }
    proxy.expect_metrics(&[("user.request_errors_total", 0.0), ("user.request_backend_errors_total", 0.0)]);
}

/// What was refused is sent again over HTTP/2 at first.
#[test]
fn requests_that_want_http1_get_it_after_a_refusal() {
    let ca = Authority::new("backend");
    let backend = Choosy::start(&ca);
    let url = format!("\"https://{}\"", backend.address);
    let proxy = Vmauth::start(&user_of_urls(&url, &format!("tls_ca_file: {}", ca.ca_file().display())), &[]);
    let mut client = proxy.client();
    assert_eq!(client.get("/other", &[AUTH]).expect(200).text(), "in HTTP/2");
    client.request("POST", "/busy-login", &[AUTH], Some(b"body"));
    assert_eq!(client.reply().expect(200).text(), "in HTTP/1");
    let seen = [(); 4].map(|()| backend.next().0);
    assert_eq!(seen, ["h2", "h2", "h2", "http/1.1"]);
}
