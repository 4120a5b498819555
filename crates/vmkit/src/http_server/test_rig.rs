//! What the tests of workers and connections share: a listener on a free port and an application that does what the
//! path says.
//!
//! A test waits for what the application reports and lets it go on with permits; nothing here sleeps.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::connection::Context;
use super::{Handler, Http2Options, Listener, Request, ServerMetrics, ServerOptions, Shared};
use crate::exchange::HeaderList;
use crate::flags::Password;
use crate::metrics::Set;

/// The application: `/wait` answers when there is a permit, `/panic` panics, all else says which worker serves it.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) worker: usize,
    pub(super) permits: Arc<Semaphore>,
    pub(super) waiting: mpsc::Sender<()>,
}

impl Told {
    /// With the end that hears of each request that begins to wait.
    pub(super) fn new() -> (Self, mpsc::Receiver<()>) {
        let (waiting, heard) = mpsc::channel();
        (Self { worker: 0, permits: Arc::new(Semaphore::new(0)), waiting }, heard)
    }
}

impl Handler for Told {
    async fn handle(&self, request: Request<'_>) {
        match request.path {
            b"/wait" => {
                self.waiting.send(()).unwrap();
                self.permits.acquire().await.unwrap().forget();
            }
            b"/panic" => panic!("as the test wants it"),
            _ => {}
        }
        let body = self.worker.to_string();
        // A client that has gone is what some tests are about.
        let _ = request.exchange.reply.send_all(200, &HeaderList::default(), body.as_bytes()).await;
    }
}

/// A listener on a free port, and its address.
pub(super) fn listener() -> (Listener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let addr = socket.local_addr().unwrap();
    (Listener::new(socket, "127.0.0.1:0", None, &Set::default()), addr)
}

/// Both ends of a new connection, and the address of its client.
pub(super) fn connected() -> (testkit::Client, TcpStream, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = testkit::Client::connect(socket.local_addr().unwrap());
    let (stream, addr) = socket.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    (client, stream, addr)
}

/// What a worker of this application shares among its connections.
pub(super) fn context(options: ServerOptions, handler: Told) -> Context<Told> {
    let shared = Shared::new(options, ServerMetrics::register(&Set::default()), Handle::current());
    Context::new(Arc::new(shared), handler)
}

pub(super) fn options() -> ServerOptions {
    ServerOptions {
        workers: 1,
        path_prefix: String::new(),
        disable_cors: false,
        disable_keep_alive: false,
        disable_compression: false,
        server_hostname: None,
        security_headers: <[String; 3]>::default(),
        conn_timeout: Duration::ZERO,
        idle_conn_timeout: Duration::from_secs(60),
        write_limit: None,
        max_header_bytes: 1 << 20,
        http2: Http2Options::default(),
        max_connections: 0,
        max_connections_per_address: 0,
        max_graceful_shutdown: Duration::from_secs(60),
        shutdown_delay: Duration::ZERO,
        gate: None,
        metrics_key: Password::new("metricsAuthKey", ""),
        flags_key: Password::new("flagsAuthKey", ""),
        pprof_key: Password::new("pprofAuthKey", ""),
        metrics_page: Arc::new(bytes::Bytes::new),
        tasks_page: Arc::new(bytes::Bytes::new),
        flags_page: String::new(),
        cmdline: String::new(),
        app_routes: Arc::default(),
        acme_answers: None,
    }
}
