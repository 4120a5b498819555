//! WebSockets towards backends that speak HTTP/2: an extended CONNECT, whatever protocol the client speaks (RFC 8441).

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::{Builder, SendResponse};
use http::{Request, Response};
use testkit::PATIENCE;
use testkit::client::End;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::frames::FrameServer;
use crate::http2_client::{Http2, request};
use crate::vmauth::{AUTH, Vmauth, user_of_urls};

/// Key and answer of RFC 6455 §1.3.
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const UPGRADE: [&str; 5] = [AUTH, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY];

/// A backend whose WebSockets, below any path but `/refused`, send back what they get and say goodbye.
struct Echo {
    address: SocketAddr,
    /// Requests: method, protocol, path, names of fields.
    seen: Receiver<[String; 4]>,
    _stop: oneshot::Sender<()>,
}

impl Echo {
    fn start() -> Self {
        let (tell, seen) = channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let accept = async {
                    loop {
                        let (tcp, _) = listener.accept().await.expect("a connection");
                        tokio::spawn(serve(tcp, tell.clone()));
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        });
        Self { address, seen, _stop: stop }
    }

    /// The next request for this path: looking at the log sends requests, too.
    #[track_caller]
    fn request(&self, path: &str) -> [String; 4] {
        let next = || self.seen.recv_timeout(PATIENCE).expect("a request");
        std::iter::from_fn(|| Some(next())).find(|request| request[2] == path).expect("a request")
    }

    fn proxy(&self, flags: &[&str]) -> Vmauth {
        Vmauth::start(&user_of_urls(&format!("\"h2c://{}\"", self.address), ""), flags)
    }
}

async fn serve(tcp: TcpStream, tell: Sender<[String; 4]>) {
    let mut connection = Builder::new().enable_connect_protocol().handshake(tcp).await.expect("a handshake");
    while let Some(Ok((request, response))) = connection.accept().await {
        let protocol = request.extensions().get::<Protocol>().map_or("", Protocol::as_str).to_owned();
        let mut names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        let path = request.uri().path().to_owned();
        let _ = tell.send([request.method().to_string(), protocol, path, names.join(",")]);
        tokio::spawn(answer(request, response));
    }
}

async fn answer(request: Request<h2::RecvStream>, mut response: SendResponse<Bytes>) {
    if request.uri().path() == "/refused" || request.extensions().get::<Protocol>().is_none() {
        let refusal = Response::builder().status(403).body(()).expect("a reply");
        let mut body = response.send_response(refusal, false).expect("sent");
        return body.send_data(Bytes::from("not you"), true).expect("sent");
    }
    let mut body = request.into_body();
    let mut echo = response.send_response(Response::new(()), false).expect("sent");
    while let Some(piece) = body.data().await {
        let Ok(piece) = piece else { return };
        body.flow_control().release_capacity(piece.len()).expect("a window");
        echo.send_data(piece, false).expect("sent");
    }
    echo.send_data(Bytes::from("goodbye"), true).expect("sent");
}

#[test]
fn a_client_of_http1() {
    let backend = Echo::start();
    let proxy = backend.proxy(&[]);
    let mut client = proxy.client();
    client.request("GET", "/chat", &UPGRADE, None);
    let reply = client.reply_head();
    assert_eq!(reply.status, 101, "{reply:?}");
    assert!(reply.fields.has_token("Connection", "Upgrade") && reply.fields.has_token("Upgrade", "websocket"));
    assert_eq!(reply.fields.all("Sec-WebSocket-Accept"), [ACCEPT]);
    let [method, protocol, _, names] = backend.request("/chat");
    assert_eq!((&method[..], &protocol[..]), ("CONNECT", "websocket"));
    assert_eq!(names, "authorization,sec-websocket-version,user-agent,x-forwarded-for");
    client.send("ping");
    assert_eq!(client.read_exactly(4), b"ping");
    // More than the windows of a stream hold.
    let piece = vec![b'z'; 50_000];
    for _ in 0..20 {
        client.send(&piece);
        assert_eq!(client.read_exactly(piece.len()), piece);
    }
    client.half_close();
    assert_eq!(client.read_to_end(), (b"goodbye".to_vec(), End::Eof));
    proxy.expect_access("/chat", 101);
    proxy.expect_metrics(&[("user.request_errors_total", 0.0), ("user.request_backend_errors_total", 0.0)]);

    // The connection to the backend carries on.
    let mut client = proxy.client();
    client.request("GET", "/refused", &UPGRADE, None);
    assert_eq!(client.reply().expect(403).text(), "not you");
    assert_eq!(&backend.request("/refused")[..2], ["CONNECT", "websocket"]);
    proxy.expect_metrics(&[("user.request_backend_errors_total", 0.0)]);
}

#[test]
fn a_client_that_leaves_ends_the_stream() {
    let backend = Echo::start();
    let proxy = backend.proxy(&[]);
    let mut client = proxy.client();
    client.request("GET", "/chat", &UPGRADE, None);
    assert_eq!(client.reply_head().status, 101);
    proxy.expect_metrics(&[("user.concurrent_requests_current", 1.0)]);
    drop(client);
    proxy.expect_metrics(&[("user.concurrent_requests_current", 0.0)]);
}

#[test]
fn a_client_of_http2() {
    let backend = Echo::start();
    let proxy = backend.proxy(&["-http2.h2c"]);
    let mut client = Http2::connect(proxy.address);
    client.get("/plain").expect(403);
    assert_eq!(&backend.request("/plain")[..2], ["GET", ""]);
    let mut asked = request("CONNECT", "/chat", &[("sec-websocket-version", "13")]);
    asked.extensions_mut().insert(Protocol::from_static("websocket"));
    let mut begun = client.begin(asked, false);
    let response = client.wait(begun.response).expect("a reply");
    assert_eq!((response.status().as_u16(), response.headers().get("sec-websocket-accept")), (200, None));
    assert_eq!(&backend.request("/chat")[..2], ["CONNECT", "websocket"]);
    let mut echo = response.into_body();
    begun.body.send_data(Bytes::from("ping"), false).expect("sent");
    assert_eq!(client.wait(echo.data()).expect("a piece").expect("whole"), "ping");
    begun.body.send_data(Bytes::new(), true).expect("sent");
    assert_eq!(client.wait(echo.data()).expect("a piece").expect("whole"), "goodbye");
    assert!(client.wait(echo.data()).is_none_or(|end| end.expect("the end").is_empty()));
}

#[test]
fn what_is_no_websocket_is_sent_without_the_upgrade() {
    let backend = Echo::start();
    let proxy = backend.proxy(&[]);
    let ask = |headers: &[&str]| {
        let mut client = proxy.client();
        client.request("GET", "/chat", headers, None);
        client.reply().expect(403);
        assert_eq!(&backend.request("/chat")[..2], ["GET", ""], "{headers:?}");
    };
    ask(&[AUTH, "Connection: Upgrade", "Upgrade: other", KEY]);
    ask(&[AUTH, "Connection: Upgrade", "Upgrade: websocket"]);
    ask(&[AUTH, "Connection: Upgrade", "Upgrade: websocket", KEY, KEY]);
}

#[test]
fn a_backend_without_extended_connect_gets_the_request_as_it_is() {
    let server = FrameServer::start(&[], |_, peer| peer.answer_all("no WebSockets here"));
    let proxy = Vmauth::start(&user_of_urls(&format!("\"{}\"", server.url()), ""), &[]);
    let mut client = proxy.client();
    client.request("GET", "/chat", &UPGRADE, None);
    assert_eq!(client.reply().expect(200).text(), "no WebSockets here");
    proxy.expect_metrics(&[("user.request_backend_errors_total", 0.0)]);
}
