//! Connections of a worker that carry many exchanges at once, and who opens the next one.
//!
//! The fullest connection with room is used, so that surplus ones age and are closed. While one is being opened, everybody
//! else who needs one waits for it: a burst of requests must not become a burst of connections. When it fails, it fails
//! for all who waited.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::sync::Notify;
use tokio::time::Instant;
use vmkit::exchange::{ClientExchange, SharedConnection};

use super::super::connect_error::ConnectError;

/// All shared connections of a worker, by the number of their peer.
#[derive(Debug, Default)]
pub(super) struct SharedConnections {
    open: RefCell<HashMap<u64, Vec<Shared>, RandomState>>,
    opening: RefCell<HashMap<u64, Rc<Opening>, RandomState>>,
}

#[derive(Debug)]
struct Shared {
    connection: Rc<dyn SharedConnection>,
    tls_generation: u64,
    last_used: Instant,
}

/// A connection that is being opened.
#[derive(Debug, Default)]
pub(super) struct Opening {
    failure: RefCell<Option<ConnectError>>,
    done: Notify,
}

impl Opening {
    /// Waits until it is open, has failed or was given up; the connection may be used up again by then.
    pub(super) async fn wait(&self) -> Result<(), ConnectError> {
        self.done.notified().await;
        match &*self.failure.borrow() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

/// The right to open a connection; others wait until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'p> {
    all: &'p SharedConnections,
    peer: u64,
    opening: Rc<Opening>,
}

impl Turn<'_> {
    /// Tells the others why there is no connection.
    pub(super) fn fail(&self, error: &ConnectError) {
        *self.opening.failure.borrow_mut() = Some(error.clone());
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.all.opening.borrow_mut().remove(&self.peer);
        self.opening.done.notify_waiters();
    }
}

impl SharedConnections {
    /// Whose turn it is to open a connection: the caller's, or somebody's whose end is to be waited for.
    pub(super) fn turn(&self, peer: u64) -> Result<Turn<'_>, Rc<Opening>> {
        let mut all = self.opening.borrow_mut();
        if let Some(opening) = all.get(&peer) {
            return Err(opening.clone());
        }
        let opening = Rc::new(Opening::default());
        all.insert(peer, opening.clone());
        Ok(Turn { all: self, peer, opening })
    }

    /// A stream of the fullest connection that has room.
    pub(super) fn take(&self, peer: u64, tls_generation: u64) -> Option<Box<ClientExchange>> {
        let mut all = self.open.borrow_mut();
        let connections = all.get_mut(&peer)?;
        connections.sort_by_key(|shared| std::cmp::Reverse(shared.connection.streams()));
        for found in connections.iter_mut().filter(|shared| shared.tls_generation == tls_generation) {
            if let Some((send, receive)) = found.connection.open() {
                found.last_used = Instant::now();
                return Some(Box::new(ClientExchange::stream(send, receive)));
            }
        }
        None
    }

    /// Adds a connection; of those without streams at most `max_idle` are kept.
    pub(super) fn add(&self, peer: u64, connection: Rc<dyn SharedConnection>, tls_generation: u64, max_idle: usize) {
        let mut all = self.open.borrow_mut();
        let connections = all.entry(peer).or_default();
        keep(connections, max_idle);
        connections.push(Shared { connection, tls_generation, last_used: Instant::now() });
    }

    /// Tells peer, connections and streams of each backend.
    pub(super) fn each(&self, mut tell: impl FnMut(u64, usize, usize)) {
        for (peer, connections) in &*self.open.borrow() {
            let streams = connections.iter().map(|shared| shared.connection.streams()).sum();
            tell(*peer, connections.len(), streams);
        }
    }

    /// Lets go of connections that have ended or were idle for too long.
    pub(super) fn sweep(&self, now: Instant, idle_timeout: Duration, max_idle: usize) {
        self.open.borrow_mut().retain(|_, connections| {
            connections.retain_mut(|shared| {
                if shared.connection.streams() > 0 {
                    shared.last_used = now;
                }
                now.saturating_duration_since(shared.last_used) < idle_timeout
            });
            keep(connections, max_idle);
            !connections.is_empty()
        });
    }
}

/// Drops what has ended, and idle connections beyond `max_idle`.
fn keep(connections: &mut Vec<Shared>, max_idle: usize) {
    let mut idle = 0;
    connections.retain(|shared| {
        idle += usize::from(shared.connection.streams() == 0);
        shared.connection.is_open() && (shared.connection.streams() > 0 || idle <= max_idle)
    });
}
