//! A worker: one thread, one single-threaded runtime and its own connections.
//!
//! Nothing of a connection ever leaves its worker, so the request path needs no locks and no cross-thread wake-ups.
//! Only counters are shared. A new connection goes to the worker with the smallest share of the load (`placement.rs`);
//! that choice is made when it is accepted, and never again.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::connection::Context;
use super::connection_limits::{ConnectionLimits, Counted};
use super::connection_tasks::{Arrival, ConnectionTasks};
use super::load::{Load, OpenGuard};
use super::placement::{self, Busy};
use super::{Handler, Listener};

/// Orders to a worker.
pub(super) enum Order {
    Serve(std::net::TcpStream, SocketAddr, Arc<Listener>, OpenGuard),
    /// From now on no reply keeps its connection.
    Announce,
    /// Answered when nothing is accepted any more.
    Drain(oneshot::Sender<()>),
    Cut,
    Exit,
}

/// What the acceptor needs to hand a connection over.
pub(super) struct Peers {
    pub(super) loads: Vec<Arc<Load>>,
    pub(super) orders: Vec<mpsc::UnboundedSender<Order>>,
    pub(super) limits: Arc<ConnectionLimits>,
    pub(super) busy: Busy,
}

impl Peers {
    fn least_loaded(&self) -> usize {
        let busy = self.busy.now();
        placement::least_loaded(self.loads.iter().map(|load| load.open()).zip(busy.iter().copied()))
    }
}

/// A worker as its acceptor sees it.
pub(super) struct Worker<H> {
    context: Rc<Context<H>>,
    tasks: ConnectionTasks<H>,
    load: Arc<Load>,
    /// New connections are not served any more.
    stopping: Cell<bool>,
}

impl<H: Handler> Worker<H> {
    pub(super) fn new(context: Rc<Context<H>>, load: Arc<Load>) -> Self {
        Self { tasks: ConnectionTasks::new(context.clone()), context, load, stopping: Cell::new(false) }
    }

    /// No connection is kept after its current reply; clients are told so.
    pub(super) fn announce_end(&self) {
        self.context.draining.begin();
    }

    /// The same, and idle connections end now.
    pub(super) fn drain(&self) {
        self.announce_end();
        self.stopping.set(true);
        self.tasks.end_idle();
    }

    /// Ends all connections.
    pub(super) fn cut(&self) {
        self.tasks.cut();
    }

    /// Serves a new connection here or hands it to a less loaded worker.
    pub(super) fn place(
        &self,
        stream: TcpStream,
        addr: SocketAddr,
        listener: &Arc<Listener>,
        peers: &Peers,
        counted: Counted,
    ) {
        let chosen = peers.least_loaded();
        let (Some(load), Some(orders)) = (peers.loads.get(chosen), peers.orders.get(chosen)) else { return };
        let guard = load.claim(counted);
        if Arc::ptr_eq(load, &self.load) {
            return self.serve(stream, addr, listener.clone(), guard);
        }
        match stream.into_std() {
            // A worker whose thread has ended serves nobody: the order is dropped, and the connection closes.
            Ok(stream) => drop(orders.send(Order::Serve(stream, addr, listener.clone(), guard))),
            Err(error) => crate::error!("cannot hand a connection from {addr} over: {error}"),
        }
    }

    /// Serves a connection that another worker has accepted.
    pub(super) fn take_over(
        &self,
        stream: std::net::TcpStream,
        addr: SocketAddr,
        listener: Arc<Listener>,
        guard: OpenGuard,
    ) {
        match TcpStream::from_std(stream) {
            Ok(stream) => self.serve(stream, addr, listener, guard),
            Err(error) => crate::error!("cannot take over a connection from {addr}: {error}"),
        }
    }

    fn serve(&self, stream: TcpStream, addr: SocketAddr, listener: Arc<Listener>, open: OpenGuard) {
        self.tasks.begin(Arrival { stream, addr, listener, open }, self.stopping.get());
    }
}

#[cfg(test)]
mod tests;
