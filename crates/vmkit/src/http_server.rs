//! The HTTP server of a process: listeners, workers, connections, and the routes every process of the family has.
//!
//! One worker a core, each a single-threaded runtime that owns its connections from the first byte to the last. The
//! first worker accepts and hands a connection to the worker with the fewest open ones. What is no built-in route
//! goes to the application's [`Handler`].
//!
//! ```text
//! accept ► (PROXY header) ► (TLS) ► connection ► builtin_routes │ Handler
//! ```

mod accept;
mod api_error;
mod app_route;
mod auth_key;
mod builtin_routes;
mod connection;
mod connection_limits;
mod connection_tasks;
mod load;
mod metrics;
mod options;
mod pages;
mod placement;
mod pprof_routes;
mod request_text;
mod reused_futures;
mod threads;
mod worker;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::exchange::{Deadline, Exchange, HeadBudget, HeaderList};
use crate::tls::client_identity::Subject;

pub use api_error::send_error;
pub use app_route::{AppRoute, PIECE_TIMEOUT, ReadBodyError, Reply, ReplyFuture};
pub use builtin_routes::{OnlyRoutes, OwnAnswer, own_answer, path_after_prefix};
pub use metrics::{MalformedMetrics, PprofMetrics, ServerMetrics};
pub use options::{BasicGate, Http2Options, Listener, PageSource, ServerOptions};
pub use pages::{Line, push_line, send_plain_error};
pub use request_text::{log_text, push_remote_addr, push_request_uri};
pub use threads::{WorkerLoads, WorkerPlan};

/// So many heads of the largest size may be in memory at once.
const HEADS_OF_FULL_SIZE: usize = 64;

/// Bodies of HTTP/2 connections may take so much memory beyond the first 64 KiB of each.
const HTTP2_WINDOWS: usize = 256 * 1024 * 1024;

/// What the application does with a request that no built-in route has taken.
pub trait Handler: Sized + 'static {
    /// Whether the client may use a public listener at all. Asked for each request, built-in pages included, but not
    /// for the probes among them; a refusal is answered with 403. Logging it is the application's business.
    fn admits(&self, _request: &Request<'_>) -> bool {
        true
    }

    /// Answers the request. The future is dropped when the connection is cut at shutdown.
    fn handle(&self, request: Request<'_>) -> impl Future<Output = ()>;
}

/// A request on its way to the application.
#[derive(Debug)]
pub struct Request<'c> {
    /// Head, body and reply.
    pub exchange: Exchange<'c>,
    /// Path of the target without `-http.pathPrefix`, still percent-encoded.
    pub path: &'c [u8],
    /// Who sent it.
    pub client: &'c Client,
    /// The timer of the connection, free to use until the reply ends.
    pub deadline: &'c mut Deadline,
    /// When the head was complete.
    pub started: Instant,
    /// Header fields that every reply of this process carries, such as `X-Server-Hostname`.
    pub common_lines: &'c HeaderList,
    /// What all workers share.
    pub(crate) shared: &'c Shared,
}

/// The peer of a connection.
#[derive(Debug)]
pub struct Client {
    /// Address of the TCP peer, or the one announced by the PROXY protocol; stands for nothing when `is_local`.
    pub addr: SocketAddr,
    /// `addr` without the port; empty when `is_local`.
    pub ip_text: String,
    /// Whether it is at a unix socket and has no address.
    pub is_local: bool,
    /// Subject of the verified client certificate, if there is one.
    pub subject: Option<Subject>,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

impl Client {
    /// A client in plain text at this address.
    pub fn new(addr: SocketAddr) -> Self {
        // An IPv4 client of a dual-stack socket is an IPv4 client.
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        Self { addr, ip_text: ip_text(addr.ip()), is_local: false, subject: None, tls: false }
    }

    /// A client in plain text at a unix socket.
    pub fn local() -> Self {
        let addr = SocketAddr::from(([0; 4], 0));
        Self { addr, ip_text: String::new(), is_local: true, subject: None, tls: false }
    }

    /// Its address and port as text; `unix:` for one at a unix socket.
    pub fn addr_text(&self) -> String {
        if self.is_local { crate::net::unix::PREFIX.to_owned() } else { self.addr.to_string() }
    }

    /// Its address, if it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        (!self.is_local).then(|| self.addr.ip())
    }
}

/// An address as text. Written by hand for IPv4: the formatter costs more than all else that is done here for a new
/// connection.
fn ip_text(ip: IpAddr) -> String {
    let IpAddr::V4(v4) = ip else { return ip.to_string() };
    let mut digits = itoa::Buffer::new();
    let mut text = String::with_capacity("255.255.255.255".len());
    for (at, octet) in v4.octets().into_iter().enumerate() {
        text.push_str(if at == 0 { "" } else { "." });
        text.push_str(digits.format(octet));
    }
    text
}

/// A running server. Dropping it leaves the workers to the process; call [`stop`](Self::stop).
#[derive(Debug)]
pub struct Server {
    workers: Vec<threads::WorkerHandle>,
    shared: Arc<Shared>,
    graceful_limit: Duration,
    shutdown_delay: Duration,
}

/// What all workers of a server see.
#[derive(Debug)]
pub(crate) struct Shared {
    options: ServerOptions,
    metrics: Arc<ServerMetrics>,
    control: Handle,
    common_lines: HeaderList,
    /// Memory for the heads of requests.
    heads: HeadBudget,
    /// Memory for bodies of HTTP/2 connections, beyond what each of them may always send.
    windows: HeadBudget,
    /// Whether paths of public requests must be compared with routes.
    has_public_routes: bool,
    started: Instant,
    /// Milliseconds after `started` at which a delayed shutdown ends; 0 while there is none.
    shutdown_ends_ms: AtomicU64,
}

impl Shared {
    fn new(options: ServerOptions, metrics: Arc<ServerMetrics>, control: Handle) -> Self {
        let heads = options.max_header_bytes.saturating_mul(HEADS_OF_FULL_SIZE);
        Self {
            common_lines: options.common_lines(),
            heads: HeadBudget::new(options.max_header_bytes, heads),
            windows: HeadBudget::new(0, HTTP2_WINDOWS),
            has_public_routes: options.app_routes.iter().any(AppRoute::is_for_users),
            options,
            metrics,
            control,
            started: Instant::now(),
            shutdown_ends_ms: AtomicU64::new(0),
        }
    }

    fn delayed_shutdown_left(&self) -> Option<Duration> {
        let ends = self.shutdown_ends_ms.load(Ordering::Relaxed);
        if ends == 0 {
            return None;
        }
        Some(Duration::from_millis(ends).saturating_sub(self.started.elapsed()))
    }
}

impl Server {
    /// Starts the workers and begins to accept. `make_handler` runs once in every worker.
    pub fn start<H: Handler>(
        options: ServerOptions,
        listeners: Vec<Listener>,
        metrics: Arc<ServerMetrics>,
        control: Handle,
        make_handler: impl Fn(WorkerPlan) -> H + Clone + Send + 'static,
    ) -> std::io::Result<Self> {
        let (graceful_limit, shutdown_delay) = (options.max_graceful_shutdown, options.shutdown_delay);
        let shared = Arc::new(Shared::new(options, metrics, control));
        let workers = threads::start(&shared, listeners, make_handler)?;
        Ok(Self { workers, shared, graceful_limit, shutdown_delay })
    }

    /// Waits for `-http.shutdownDelay` with `/health` failing, so that load balancers look elsewhere. Replies close
    /// their connections meanwhile, so that clients come back through the balancer.
    pub async fn delay_shutdown(&self) {
        if !self.shutdown_delay.is_zero() {
            self.workers.iter().for_each(threads::WorkerHandle::announce_end);
            let ends = self.shared.started.elapsed() + self.shutdown_delay;
            self.shared.shutdown_ends_ms.store(ends.as_millis().max(1) as u64, Ordering::Relaxed);
            tokio::time::sleep(self.shutdown_delay).await;
        }
    }

    /// Stops: no new connections, then a bounded wait for requests.
    ///
    /// Connections whose requests are still running shortly before the limit are cut off; returns how many. An error
    /// means that even that did not end them in time.
    pub async fn stop(self) -> Result<usize, Duration> {
        let limit = self.graceful_limit;
        let cut_after = limit - (limit / 5).min(Duration::from_secs(2));
        let started = Instant::now();
        let draining: Vec<_> = self.workers.iter().map(threads::WorkerHandle::drain).collect();
        for begun in draining {
            // A worker that has not come to its order yet may still accept.
            let _ = tokio::time::timeout_at(started + cut_after, begun).await;
        }
        let mut cut = 0;
        if self.drained(started + cut_after).await.is_err() {
            cut = self.open_connections().iter().sum();
            for worker in &self.workers {
                worker.cut();
            }
            self.drained(started + limit).await.map_err(|()| limit)?;
        }
        for worker in self.workers {
            worker.exit();
        }
        Ok(cut)
    }

    /// Open connections of each worker, for pages that outlive this value.
    pub fn loads(&self) -> WorkerLoads {
        WorkerLoads(self.workers.iter().map(threads::WorkerHandle::load).collect())
    }

    /// Open connections of each worker.
    pub fn open_connections(&self) -> Vec<usize> {
        self.workers.iter().map(threads::WorkerHandle::open_connections).collect()
    }

    async fn drained(&self, until: Instant) -> Result<(), ()> {
        let all = async {
            for worker in &self.workers {
                worker.drained().await;
            }
        };
        tokio::time::timeout_at(until, all).await.map_err(|_| ())
    }
}

#[cfg(test)]
mod test_rig;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_addresses_are_those_of_the_formatter() {
        for addr in ["0.0.0.0:0", "255.255.255.255:65535", "10.0.20.3:8427", "[::1]:80", "[2001:db8::a]:443"] {
            let addr: SocketAddr = addr.parse().unwrap();
            assert_eq!(ip_text(addr.ip()), addr.ip().to_string());
        }
        assert_eq!(Client::new("[::ffff:1.2.3.4]:5".parse().unwrap()).addr_text(), "1.2.3.4:5");
    }
}
