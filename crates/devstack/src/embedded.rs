//! A server inside this process that can be away and come back at the same address.
//!
//! The port stays reserved while nothing listens there, so that connections are refused and nobody else takes it. What
//! it serves lives elsewhere and outlasts it. All of it is on loopback only: nothing here is made for a network.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, Socket, Type};
use tokio::runtime::Handle;
use vmkit::flags::Password;
use vmkit::http_server::{AppRoute, Listener, OnlyRoutes, Server, ServerMetrics, ServerOptions};
use vmkit::metrics::Set;
use vmkit::net::listener::bind;

/// How long requests may still run when the server goes away.
const GRACE: Duration = Duration::from_millis(300);
/// How long closing the listener may take, and how often it is looked at.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);

/// An address on loopback that belongs to us.
#[derive(Debug)]
pub struct Reserved {
    /// Where it is, with the port that the kernel chose for port 0.
    pub address: SocketAddr,
    _socket: Socket,
}

impl Reserved {
    /// Takes an address; `flag` is named when that is impossible.
    ///
    /// # Errors
    /// It is none, not on loopback, or in use.
    pub fn take(address: &str, flag: &str) -> Result<Self, String> {
        let fault = |cause: String| format!("-{flag}={address}: {cause}");
        let wanted: SocketAddr =
            address.parse().map_err(|_| fault("write an address such as 127.0.0.1:8427".to_owned()))?;
        if !wanted.ip().is_loopback() {
            return Err(fault("devstack is for trying things out and serves loopback addresses only".to_owned()));
        }
        let open = || -> std::io::Result<(Socket, SocketAddr)> {
            let socket = Socket::new(Domain::for_address(wanted), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&wanted.into())?;
            let address = socket.local_addr()?.as_socket().unwrap_or(wanted);
            Ok((socket, address))
        };
        let (socket, address) =
            open().map_err(|error| fault(format!("{error}; -{flag}=127.0.0.1:0 takes a free port")))?;
        // Somebody who listens already shows only now.
        drop(listen(address).map_err(|error| fault(format!("{error}; -{flag}=127.0.0.1:0 takes a free port")))?);
        Ok(Self { address, _socket: socket })
    }

    /// `http://ADDRESS`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    bind(&address.to_string(), address.is_ipv6()).map_err(|error| error.to_string())
}

/// A server with one route at a reserved address.
#[derive(Debug)]
pub struct Embedded {
    reserved: Reserved,
    routes: Arc<Vec<AppRoute>>,
    server: Option<Server>,
}

impl Embedded {
    /// A server that is away until [`up`](Self::up).
    pub fn new(reserved: Reserved, route: AppRoute) -> Self {
        Self { reserved, routes: Arc::new(vec![route]), server: None }
    }

    /// `http://ADDRESS`.
    pub fn url(&self) -> String {
        self.reserved.url()
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.reserved.address
    }

    /// Whether it serves.
    pub fn is_up(&self) -> bool {
        self.server.is_some()
    }

    /// Listens and serves; nothing happens if it does already. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system gives no socket or thread.
    pub fn up(&mut self) -> Result<(), String> {
        if self.server.is_some() {
            return Ok(());
        }
        let set = Set::default();
        let socket = listen(self.reserved.address)?;
        let mut listener = Listener::new(socket, &self.reserved.address.to_string(), None, &set);
        listener.internal = false;
        let options = options(self.routes.clone());
        let metrics = ServerMetrics::register(&set);
        let server = Server::start(options, vec![listener], metrics, Handle::current(), |_| OnlyRoutes);
        self.server = Some(server.map_err(|error| format!("cannot serve {}: {error}", self.url()))?);
        Ok(())
    }

    /// Ends all connections and refuses new ones.
    pub async fn down(&mut self) {
        if let Some(server) = self.server.take() {
            // What even then goes on ends with the process.
            let _ = server.stop().await;
            self.closed().await;
        }
    }
}

impl Embedded {
    /// Waits until the worker has closed the listener, which it does when it comes to that.
    async fn closed(&self) {
        let free = async {
            while listen(self.reserved.address).is_err() {
                tokio::time::sleep(POLL).await;
            }
        };
        // Whoever starts it again is told if it is not free even then.
        let _ = tokio::time::timeout(CLOSE_LIMIT, free).await;
    }
}

fn options(app_routes: Arc<Vec<AppRoute>>) -> ServerOptions {
    ServerOptions {
        workers: 1,
        path_prefix: String::new(),
        disable_cors: true,
        disable_keep_alive: false,
        disable_compression: false,
        server_hostname: None,
        security_headers: Default::default(),
        conn_timeout: Duration::ZERO,
        idle_conn_timeout: Duration::from_secs(60),
        write_limit: Some(Duration::from_secs(30)),
        max_header_bytes: 64 << 10,
        http2: Default::default(),
        max_connections: 256,
        max_connections_per_address: 0,
        max_graceful_shutdown: GRACE,
        shutdown_delay: Duration::ZERO,
        gate: None,
        metrics_key: Password::new("metricsAuthKey", ""),
        flags_key: Password::new("flagsAuthKey", ""),
        pprof_key: Password::new("pprofAuthKey", ""),
        metrics_page: Arc::new(Bytes::new),
        tasks_page: Arc::new(Bytes::new),
        flags_page: String::new(),
        cmdline: String::new(),
        app_routes,
        acme_answers: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step ends the test")]

    use vmkit::http_server::Reply;

    use super::*;

    #[test]
    fn addresses_are_refused_with_the_flag_that_gave_them() {
        let f = |address: &str, want: &str| {
            let error = Reserved::take(address, "storeAddr").unwrap_err();
            assert!(error.starts_with("-storeAddr=") && error.contains(want), "{error}");
        };
        f("8480", "write an address");
        f("0.0.0.0:0", "loopback");
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        f(&taken.local_addr().unwrap().to_string(), "takes a free port");
    }

    #[test]
    fn it_goes_and_comes_back_at_the_same_address() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reserved = Reserved::take("127.0.0.1:0", "storeAddr").unwrap();
        let route = AppRoute::prefix("/", |_| Box::pin(async { Reply::text(200, "here") })).public();
        let mut server = Embedded::new(reserved, route);
        let address = server.address();
        for _ in 0..3 {
            assert!(testkit::Client::try_connect(address).is_err(), "nobody listens");
            runtime.block_on(async { server.up().unwrap() });
            assert_eq!(testkit::Client::connect(address).get("/x", &[]).expect(200).text(), "here");
            runtime.block_on(server.down());
        }
    }
}
