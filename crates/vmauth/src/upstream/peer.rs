//! A backend address with its TLS identity: what connections, pools and health checks belong to.
//!
//! Two configs that name the same backend get the same peer, so that what belongs to it lives on over reloads. The
//! registry holds no peer alive.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use vmkit::tls::client_config::ClientTls;

use super::reply_stats::{AllReplyStats, ReplyStats};

/// Where connections go to and how they are secured: the identity of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerKey {
    /// Host name or IP literal to dial; for `srv` the name of the SRV record; absolute path of a unix socket.
    pub host: String,
    /// Port to dial; unused for `srv`.
    pub port: u16,
    /// Whether the address comes from an SRV record at every new connection.
    pub srv: bool,
    /// Whether HTTP/2 is spoken without asking: `h2c` and `h2`.
    pub http2: bool,
    /// Number of the TLS identity, 0 for plain TCP. See [`PeerRegistry`].
    tls: u64,
}

impl PeerKey {
    /// Path of the unix socket, if it is one: no host begins with a slash.
    pub fn socket(&self) -> Option<&str> {
        self.host.starts_with('/').then_some(self.host.as_str())
    }

    /// `host:port` as users see it in logs and metrics.
    pub fn shown(&self) -> String {
        match self.socket() {
            Some(path) => format!("unix:{path}"),
            None if self.srv => format!("srv+{}", self.host),
            None => format!("{}:{}", self.host, self.port),
        }
    }
}

/// A backend address with its TLS identity.
#[derive(Debug)]
pub struct Peer {
    id: u64,
    /// What makes it what it is.
    pub key: PeerKey,
    pub(super) tls: Option<Arc<ClientTls>>,
    /// What its backends answer, if that is counted.
    pub replies: Option<Arc<ReplyStats>>,
    /// Whether the last connection has negotiated HTTP/2.
    pub(super) chose_http2: AtomicBool,
}

impl Peer {
    /// Whether a request may change to this protocol. HTTP/2 knows no change but to a WebSocket (RFC 8441).
    pub fn takes_upgrade(&self, protocol: &[u8]) -> bool {
        !self.key.http2 || protocol.eq_ignore_ascii_case(b"websocket")
    }

    /// Whether requests that want to change the protocol go over HTTP/1.
    pub fn upgrades_over_http1(&self) -> bool {
        !self.key.http2
    }

    /// Its number, the same for the same key.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn shares_connections(&self) -> bool {
        self.key.http2 || self.chose_http2.load(Relaxed)
    }
}

/// All peers in use; the same key is the same peer, also across configs.
#[derive(Debug, Default)]
pub struct PeerRegistry {
    peers: Mutex<HashMap<PeerKey, Weak<Peer>>>,
    tls: Mutex<Vec<(u64, Weak<ClientTls>)>>,
    next: AtomicU64,
    replies: Option<AllReplyStats>,
}

impl PeerRegistry {
    /// No peers yet, whose replies will be counted.
    pub fn counting() -> Self {
        Self { replies: Some(AllReplyStats::default()), ..Self::default() }
    }

    /// What all peers answer, if that is counted.
    pub fn replies(&self) -> Option<&AllReplyStats> {
        self.replies.as_ref()
    }

    /// The peer for an address; `tls` must be an identity shared by all that use it.
    pub fn peer(&self, host: &str, port: u16, srv: bool, http2: bool, tls: Option<&Arc<ClientTls>>) -> Arc<Peer> {
        let tls_id = tls.map_or(0, |tls| self.tls_id(tls));
        let key = PeerKey { host: host.to_owned(), port, srv, http2, tls: tls_id };
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = peers.get(&key).and_then(Weak::upgrade) {
            return peer;
        }
        if peers.len() >= 64 && peers.len().is_power_of_two() {
            peers.retain(|_, peer| peer.strong_count() > 0);
        }
        let id = self.next.fetch_add(1, Relaxed);
        let replies = self.replies.as_ref().map(|replies| replies.of(&key.shown()));
        let chose_http2 = AtomicBool::new(false);
        let peer = Arc::new(Peer { id, key: key.clone(), tls: tls.cloned(), replies, chose_http2 });
        peers.insert(key, Arc::downgrade(&peer));
        peer
    }

    fn tls_id(&self, tls: &Arc<ClientTls>) -> u64 {
        let mut known = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, weak)| weak.strong_count() > 0);
        if let Some((id, _)) = known.iter().find(|(_, weak)| std::ptr::eq(weak.as_ptr(), Arc::as_ptr(tls))) {
            return *id;
        }
        let id = self.next.fetch_add(1, Relaxed) + 1;
        known.push((id, Arc::downgrade(tls)));
        id
    }
}
