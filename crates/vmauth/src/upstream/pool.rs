//! Connections to backends, kept by the worker that opened them.
//!
//! One pool per backend address and TLS identity a worker, shared by all users and kept over reloads: the key is a
//! [`Peer`], and two configs that name the same backend get the same peer. Idle connections are used last in, first
//! out, so that surplus ones age and are closed. Nothing here is shared between workers but counters.
//!
//! A backend that speaks HTTP/2 is spoken to over shared connections (`pool/shared.rs`): by prior knowledge, or because
//! TLS has negotiated it. Requests that want to leave HTTP go over HTTP/1 wherever there is a choice.

mod shared;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use tokio::time::Instant;
use vmkit::exchange::{ClientExchange, Wire};

use super::connect_error::ConnectError;
use super::dialer::{Dialer, Spoken};
use super::peer::Peer;
use shared::SharedConnections;

/// Which connection a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One that is there.
    Any,
    /// None that was idle; a stream of a shared one is as good as a new one.
    Fresh,
    /// A new one whose first request it is.
    Own,
    /// One that is there, for a request that cannot go over another protocol than HTTP/1.
    Http1,
    /// A new one for such a request.
    OwnHttp1,
}

impl Wanted {
    /// The same for a request that cannot go over another protocol than HTTP/1.
    pub fn over_http1(self) -> Self {
        match self {
            Self::Any | Self::Http1 => Self::Http1,
            Self::Fresh | Self::Own | Self::OwnHttp1 => Self::OwnHttp1,
        }
    }

    fn may_be_idle(self) -> bool {
        matches!(self, Self::Any | Self::Http1)
    }

    fn may_be_shared(self) -> bool {
        matches!(self, Self::Any | Self::Fresh)
    }

    fn only_http1(self) -> bool {
        matches!(self, Self::Http1 | Self::OwnHttp1)
    }
}

/// What all pools share.
pub struct PoolOptions {
    /// `-maxIdleConnsPerBackend`, divided among the workers.
    pub max_idle: usize,
    /// `-idleConnTimeout`
    pub idle_timeout: Duration,
    /// Opens them.
    pub dialer: Dialer,
    /// Where the pools tell what they hold.
    pub reports: Arc<PoolReports>,
}

/// The connections of one worker to one backend that wait for requests, or carry several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolFacts {
    /// Idle ones that carry one exchange after another.
    pub idle: usize,
    /// Those that carry many exchanges at once.
    pub shared: usize,
    /// Exchanges on those.
    pub streams: usize,
}

/// What the pools of all workers hold, as they have told within the last seconds.
#[derive(Debug, Default)]
pub struct PoolReports(Mutex<Vec<PoolReport>>);

/// One worker's, by the number of the peer.
type PoolReport = Arc<ArcSwap<HashMap<u64, PoolFacts>>>;

impl PoolReports {
    /// Where one more worker reports.
    fn worker(&self) -> PoolReport {
        let own = PoolReport::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(own.clone());
        own
    }

    /// Connections to a peer, of all workers together.
    pub fn of(&self, peer: &Peer) -> PoolFacts {
        let workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().filter_map(|worker| worker.load().get(&peer.id()).copied()).fold(
            PoolFacts::default(),
            |sum, one| PoolFacts {
                idle: sum.idle + one.idle,
                shared: sum.shared + one.shared,
                streams: sum.streams + one.streams,
            },
        )
    }
}

/// The backend connections of one worker.
pub struct Pool {
    report: PoolReport,
    options: PoolOptions,
    idle: RefCell<HashMap<u64, Vec<Idle>, RandomState>>,
    /// Connections that carry many exchanges at once.
    shared: SharedConnections,
}

#[derive(Debug)]
struct Idle {
    exchange: Box<ClientExchange>,
    tls_generation: u64,
    /// When a sweep first found it idle: putting a connection back is no reason to read the clock.
    since: Option<Instant>,
}

/// A connection, or one stream of a shared one, that is in use, with what is needed to give it back.
#[derive(Debug)]
pub struct Pooled {
    /// The exchange; boxed because it changes hands several times a request.
    pub exchange: Box<ClientExchange>,
    /// Whether its connection served a request before.
    pub reused: bool,
    /// Whether the connection may belong to who sent the request, by NTLM or Negotiate: then nobody else may have it.
    pub is_personal: bool,
    tls_generation: u64,
}

impl Pool {
    /// An empty pool.
    pub fn new(options: PoolOptions) -> Self {
        Self {
            report: options.reports.worker(),
            options,
            idle: RefCell::default(),
            shared: SharedConnections::default(),
        }
    }

    /// A connection that is open and may carry another exchange, or a stream of one, if there is one.
    pub fn take(&self, peer: &Peer, wanted: Wanted) -> Option<Pooled> {
        let generation = tls_generation(peer);
        if wanted.may_be_idle()
            && let Some(connections) = self.idle.borrow_mut().get_mut(&peer.id())
        {
            while let Some(mut found) = connections.pop() {
                if found.tls_generation == generation && found.exchange.is_idle_and_open() {
                    return Some(Pooled {
                        exchange: found.exchange,
                        reused: true,
                        is_personal: false,
                        tls_generation: generation,
                    });
                }
            }
        }
        if wanted.may_be_shared() { self.take_stream(peer, generation) } else { None }
    }

    fn take_stream(&self, peer: &Peer, tls_generation: u64) -> Option<Pooled> {
        let exchange = self.shared.take(peer.id(), tls_generation)?;
        Some(Pooled { exchange, reused: true, is_personal: false, tls_generation })
    }

    /// Opens a connection, or waits for one that is being opened and can be shared. `limit` goes before `-dialTimeout`; who
    /// waits for another request's connection has the limit of that one.
    pub async fn dial(&self, peer: &Peer, wanted: Wanted, limit: Option<Duration>) -> Result<Pooled, ConnectError> {
        while peer.shares_connections() && wanted.may_be_shared() {
            match self.shared.turn(peer.id()) {
                Ok(turn) => {
                    return self.open_within(peer, wanted, limit).await.inspect_err(|error| turn.fail(error));
                }
                Err(opening) => opening.wait().await?,
            }
            if let Some(pooled) = self.take_stream(peer, tls_generation(peer)) {
                return Ok(pooled);
            }
        }
        self.open_within(peer, wanted, limit).await
    }

    async fn open_within(&self, peer: &Peer, wanted: Wanted, limit: Option<Duration>) -> Result<Pooled, ConnectError> {
        let Some(limit) = limit else { return self.open(peer, wanted, &self.options.dialer).await };
        let dialer = self.options.dialer.within(limit);
        let opened = Box::pin(self.open(peer, wanted, &dialer)).await;
        opened.map_err(|error| error.within(limit.into()))
    }

    /// Opens a connection.
    async fn open(&self, peer: &Peer, wanted: Wanted, dialer: &Dialer) -> Result<Pooled, ConnectError> {
        let (wire, tls_generation) = dialer.open(peer, wanted.only_http1()).await?;
        if wanted.only_http1() {
            return Ok(http1(wire, tls_generation));
        }
        self.start(peer, wanted, wire, tls_generation, dialer).await
    }

    /// Begins to speak on a new connection.
    async fn start(
        &self,
        peer: &Peer,
        wanted: Wanted,
        wire: Wire,
        tls_generation: u64,
        dialer: &Dialer,
    ) -> Result<Pooled, ConnectError> {
        let connection = match dialer.greet(peer, wire).await? {
            Spoken::Http1(wire) => return Ok(http1(wire, tls_generation)),
            Spoken::Shared(connection) => connection,
        };
        // Another request may have dialled at the same time, not knowing what the backend speaks; one connection is enough.
        if wanted.may_be_shared()
            && let Some(pooled) = self.take_stream(peer, tls_generation)
        {
            return Ok(pooled);
        }
        // A new connection without room for one stream is broken; its first use says so.
        let exchange = connection.open().map(|(send, receive)| ClientExchange::stream(send, receive));
        self.shared.add(peer.id(), connection, tls_generation, self.options.max_idle);
        let exchange = Box::new(exchange.unwrap_or_else(ClientExchange::closed));
        Ok(Pooled { exchange, reused: false, is_personal: false, tls_generation })
    }

    /// Gives a connection back, if it can be used again.
    pub fn put(&self, peer: &Peer, mut pooled: Pooled) {
        if pooled.is_personal || !pooled.exchange.is_reusable() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(peer.id()).or_default();
        if connections.len() < self.options.max_idle {
            let Pooled { exchange, tls_generation, .. } = pooled;
            connections.push(Idle { exchange, tls_generation, since: None });
        }
    }

    /// Closes what was idle for too long or was closed by its backend. Runs about once a second.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain_mut(|idle| {
                let since = *idle.since.get_or_insert(now);
                now.saturating_duration_since(since) < self.options.idle_timeout && idle.exchange.is_idle_and_open()
            });
            connections.shrink_to(8);
            !connections.is_empty()
        });
        self.shared.sweep(now, self.options.idle_timeout, self.options.max_idle);
        self.tell();
    }

    /// Tells pages what is held; never waits for them.
    fn tell(&self) {
        let mut facts = HashMap::<_, PoolFacts>::new();
        for (peer, connections) in &*self.idle.borrow() {
            facts.entry(*peer).or_default().idle = connections.len();
        }
        self.shared.each(|peer, connections, streams| {
            let own = facts.entry(peer).or_default();
            own.shared = connections;
            own.streams = streams;
        });
        self.report.store(Arc::new(facts));
    }
}

/// A new connection that speaks HTTP/1.
fn http1(wire: Wire, tls_generation: u64) -> Pooled {
    let exchange = Box::new(ClientExchange::http1(wire));
    Pooled { exchange, reused: false, is_personal: false, tls_generation }
}

/// The generation of the TLS files that new connections to this peer use.
fn tls_generation(peer: &Peer) -> u64 {
    peer.tls.as_ref().map_or(0, |tls| tls.current().map_or(u64::MAX, |loaded| loaded.generation))
}
