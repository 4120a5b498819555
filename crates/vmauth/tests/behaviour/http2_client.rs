//! An HTTP/2 client for the tests: the client half of the `h2` crate, driven by a thread of its own, so that frames pass while
//! a test looks at backends.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use testkit::PATIENCE;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder as RuntimeBuilder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// Credentials of the user of `one_user`.
const AUTH: &str = "Basic dTpw";

/// One connection.
pub(crate) struct Http2 {
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    runtime: Handle,
    _stop: oneshot::Sender<()>,
}

/// A whole reply.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    /// Checks the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }
}

/// A request that has begun.
pub(crate) struct Begun {
    pub(crate) response: ResponseFuture,
    pub(crate) body: SendStream<Bytes>,
}

/// A request with the credentials of the user of `one_user`.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut builder =
        Request::builder().method(method).uri(format!("http://front{path}")).header("authorization", AUTH);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).expect("a request")
}

impl Http2 {
    /// Connects with prior knowledge.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &Builder::new())
    }

    /// As [`connect`](Self::connect), with other settings of the client.
    #[track_caller]
    pub(crate) fn connect_with(address: SocketAddr, settings: &Builder) -> Self {
        Self::over(settings, async move { TcpStream::connect(address).await.expect("a connection") })
    }

    /// As [`connect`](Self::connect), with these bytes in front of everything.
    #[track_caller]
    pub(crate) fn connect_after(address: SocketAddr, first: &'static [u8]) -> Self {
        Self::over(&Builder::new(), async move {
            let mut tcp = TcpStream::connect(address).await.expect("a connection");
            tcp.write_all(first).await.expect("written");
            tcp
        })
    }

    /// Connects by TLS; `config` must offer `h2`.
    #[track_caller]
    pub(crate) fn connect_tls(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        Self::over(&Builder::new(), async move {
            let tcp = TcpStream::connect(address).await.expect("a connection");
            let name = ServerName::try_from("127.0.0.1").expect("an address");
            let tls = TlsConnector::from(config).connect(name, tcp).await.expect("a handshake");
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            tls
        })
    }

    fn over<T>(settings: &Builder, io: impl Future<Output = T> + Send + 'static) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let runtime = RuntimeBuilder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::spawn(move || runtime.block_on(stopped));
        let settings = settings.clone();
        let (sender, connection) = wait(&handle, async move {
            let (sender, connection) = settings.handshake(io.await).await.expect("a handshake");
            (sender, tokio::spawn(connection))
        });
        Self { sender, connection, runtime: handle, _stop: stop }
    }

    /// Waits for what the connection brings.
    #[track_caller]
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        wait(&self.runtime, future)
    }

    /// Opens a stream; `ends` when the request has no body.
    #[track_caller]
    pub(crate) fn begin(&mut self, request: Request<()>, ends: bool) -> Begun {
        let sender = self.sender.clone();
        let mut ready = self.wait(sender.ready()).expect("a stream");
        let (response, body) = ready.send_request(request, ends).expect("a request");
        Begun { response, body }
    }

    /// Whether the server still takes requests.
    #[track_caller]
    pub(crate) fn takes_requests(&self) -> bool {
        self.wait(self.sender.clone().ready()).is_ok()
    }

    /// Asks for something without a body.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask(request("GET", path, &[]))
    }

    /// Sends a request without a body and waits for the whole answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: Request<()>) -> Answer {
        let begun = self.begin(request, true);
        self.answer(begun).expect("an answer")
    }

    /// The whole answer, or how the stream ended.
    #[track_caller]
    pub(crate) fn answer(&self, begun: Begun) -> Result<Answer, Reason> {
        self.wait(async {
            let response = begun.response.await.map_err(|error| reason(&error))?;
            whole(response).await
        })
    }

    /// How the connection ends: `None` in peace.
    #[track_caller]
    pub(crate) fn ended(self) -> Option<Reason> {
        let Self { sender, connection, runtime, _stop } = self;
        drop(sender);
        let ended = wait(&runtime, connection).expect("no panic");
        ended.err().map(|error| reason(&error))
    }

    /// Breaks the connection off.
    pub(crate) fn abort(self) {
        self.connection.abort();
    }
}

#[track_caller]
fn wait<T>(runtime: &Handle, future: impl Future<Output = T>) -> T {
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await }).expect("in time")
}

/// Why a stream or a connection has ended.
pub(crate) fn reason(error: &h2::Error) -> Reason {
    error.reason().unwrap_or_else(|| panic!("not ended by the other side: {error}"))
}

async fn whole(response: Response<RecvStream>) -> Result<Answer, Reason> {
    let (head, mut body) = response.into_parts();
    let mut text = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|error| reason(&error))?;
        body.flow_control().release_capacity(piece.len()).map_err(|error| reason(&error))?;
        text.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await.map_err(|error| reason(&error))?;
    let body = String::from_utf8_lossy(&text).into_owned();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body, trailers })
}
