//! Settings of the server: what the `-http.*`, `-httpAuth.*` and listener flags say, already typed.

use std::sync::Arc;
use std::time::Duration;

use super::app_route::AppRoute;
use crate::acme::HttpAnswers;
use crate::exchange::{HeaderList, ServerCodec, WireStats};
use crate::flags::Password;
use crate::metrics::{Counter, Set};
use crate::net::listener::ListenSocket;
use crate::secret::Secret;
use crate::tls::server_config::ServerTls;

/// A socket that is open and not accepting yet.
#[derive(Debug)]
pub struct Listener {
    /// The listening socket, non-blocking; taken by the accept loop, so that it closes when accepting ends.
    pub socket: Option<ListenSocket>,
    /// Whether its clients are at a unix socket and have no address.
    pub is_unix: bool,
    /// The address as given by the flag, for metric labels.
    pub flag_value: String,
    /// TLS of this listener.
    pub tls: Option<Arc<ServerTls>>,
    /// Whether every connection starts with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Whether the built-in routes are served here.
    pub internal: bool,
    /// Whether requests for the application are served here.
    pub public: bool,
    /// What its clients speak instead of HTTP/1.
    pub codec: Option<Arc<dyn ServerCodec>>,
    /// Byte and call counters of its connections.
    pub stats: Arc<WireStats>,
    /// Accepted connections.
    pub accepts: Arc<Counter>,
    /// Failed `accept` calls.
    pub accept_errors: Arc<Counter>,
    /// Connections closed at once because there were too many.
    pub rejected: Arc<Counter>,
}

impl Listener {
    /// A listener over an open socket, counted in `set` under `vm_tcplistener_*`.
    pub fn new(socket: impl Into<ListenSocket>, flag_value: &str, tls: Option<Arc<ServerTls>>, set: &Set) -> Self {
        let socket = socket.into();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let labels = format!("name=\"{scheme}\", addr={}", crate::go_text::quote(flag_value));
        let name = |suffix: &str| format!("vm_tcplistener_{suffix}{{{labels}}}");
        let error = |kind: &str| set.counter(&format!("vm_tcplistener_errors_total{{{labels}, type=\"{kind}\"}}"));
        // Ours never fail this way; the series exist because dashboards sum over them.
        let _ = (error("close"), set.counter(&name("read_timeouts_total")));
        let stats = WireStats {
            open: set.gauge(&name("conns")),
            read_bytes: set.counter(&name("read_bytes_total")),
            reads: set.counter(&name("read_calls_total")),
            read_errors: error("read"),
            written_bytes: set.counter(&name("written_bytes_total")),
            writes: set.counter(&name("write_calls_total")),
            write_errors: error("write"),
            write_timeouts: set.counter(&name("write_timeouts_total")),
        };
        Self {
            is_unix: matches!(socket, ListenSocket::Unix(_)),
            socket: Some(socket),
            flag_value: flag_value.to_owned(),
            tls,
            proxy_protocol: false,
            internal: true,
            public: true,
            codec: None,
            stats: Arc::new(stats),
            accepts: set.counter(&name("accepts_total")),
            accept_errors: error("accept"),
            rejected: set.counter(&name("rejected_conns_total")),
        }
    }
}

/// `-httpAuth.*`: Basic credentials for everything on listeners with internal routes.
#[derive(Clone, Debug)]
pub struct BasicGate {
    /// The only user name that passes.
    pub username: Secret,
    /// Its password.
    pub password: Password,
}

/// A page rendered on demand on the control plane.
pub type PageSource = Arc<dyn Fn() -> bytes::Bytes + Send + Sync>;

/// Where HTTP/2 is spoken.
#[derive(Clone, Copy, Debug)]
pub struct Http2Options {
    /// With clients of TLS listeners that have negotiated it: without `-http2.disable`.
    pub on_tls: bool,
    /// With clients of plain listeners that begin with its preface: `-http2.h2c`.
    pub on_plain: bool,
    /// `-http2.maxConcurrentStreams`: how many streams a client may have open at once.
    pub max_streams: u32,
}

impl Default for Http2Options {
    fn default() -> Self {
        Self { on_tls: true, on_plain: false, max_streams: 100 }
    }
}

/// Everything the server needs to know.
#[derive(Clone)]
pub struct ServerOptions {
    /// Number of workers, at least 1.
    pub workers: usize,
    /// `-http.pathPrefix` with one leading and no trailing slash; empty for none.
    pub path_prefix: String,
    /// `-http.disableCORS`
    pub disable_cors: bool,
    /// `-http.disableKeepAlive`
    pub disable_keep_alive: bool,
    /// `-http.disableResponseCompression`: applies to own pages, replies of backends are never recompressed.
    pub disable_compression: bool,
    /// Value of `X-Server-Hostname`, unless switched off.
    pub server_hostname: Option<String>,
    /// `-http.header.hsts`, `-http.header.frameOptions`, `-http.header.csp`; empty for none.
    pub security_headers: [String; 3],
    /// `-http.connTimeout`: age at which a client connection is closed after its current reply; 0 for never.
    pub conn_timeout: Duration,
    /// `-http.idleConnTimeout`
    pub idle_conn_timeout: Duration,
    /// `-http.writeTimeout`: how long a client may take nothing of a reply; `None` for ever.
    pub write_limit: Option<Duration>,
    /// `-http.maxHeaderBytes`: largest head of a request; all together may take 64 times as much.
    pub max_header_bytes: usize,
    /// `-http2.*`
    pub http2: Http2Options,
    /// `-http.maxConnections`; 0 for as many as there are descriptors, with some left.
    pub max_connections: usize,
    /// `-http.maxConnectionsPerIP`; 0 for no limit.
    pub max_connections_per_address: usize,
    /// `-http.maxGracefulShutdownDuration`
    pub max_graceful_shutdown: Duration,
    /// `-http.shutdownDelay`
    pub shutdown_delay: Duration,
    /// `-httpAuth.*`
    pub gate: Option<BasicGate>,
    /// `-metricsAuthKey`
    pub metrics_key: Password,
    /// `-flagsAuthKey`
    pub flags_key: Password,
    /// `-pprofAuthKey`
    pub pprof_key: Password,
    /// The `/metrics` page.
    pub metrics_page: PageSource,
    /// What threads and tasks there are, for `/debug/pprof/goroutine`; read on a blocking thread.
    pub tasks_page: PageSource,
    /// The `/flags` page.
    pub flags_page: String,
    /// Arguments of the process with secrets masked, for `/debug/pprof/cmdline`.
    pub cmdline: String,
    /// Routes of the application, in the order in which they are tried.
    pub app_routes: Arc<Vec<AppRoute>>,
    /// What listeners without TLS answer to validation servers of ACME, before anything else.
    pub acme_answers: Option<HttpAnswers>,
}

impl std::fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerOptions").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl ServerOptions {
    /// Header fields of every reply, in the order of the original.
    pub(super) fn common_lines(&self) -> HeaderList {
        let mut lines = HeaderList::default();
        let names = ["Strict-Transport-Security", "X-Frame-Options", "Content-Security-Policy"];
        for (name, value) in names.iter().zip(&self.security_headers) {
            if !value.is_empty() {
                lines.push(name, value.as_bytes());
            }
        }
        if let Some(hostname) = &self.server_hostname {
            lines.push("X-Server-Hostname", hostname.as_bytes());
        }
        lines
    }
}
