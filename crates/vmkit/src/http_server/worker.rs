//! A worker: one thread, one single-threaded runtime and its own connections.
//!
//! Nothing of a connection ever leaves its worker, so the request path needs no locks and no cross-thread wake-ups.
//! Only counters are shared. A new connection goes to the worker with the smallest share of the load (`placement.rs`);
//! that choice is made when it is accepted, and never again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::connection::{self, Context};
use super::connection_limits::{ConnectionLimits, Counted};
use super::placement::{self, Busy};
use super::{Handler, Listener};

/// How long a connection that was accepted just before the end may take for its first request.
const NEW_CONNECTION_GRACE: Duration = Duration::from_secs(1);

/// Orders to a worker.
pub(super) enum Order {
    Serve(std::net::TcpStream, SocketAddr, Arc<Listener>, OpenGuard),
    /// From now on no reply keeps its connection.
    Announce,
    Drain,
    Cut,
    Exit,
}

/// Connections of a worker that count for draining, and for the choice of the next one.
#[derive(Debug, Default)]
pub(super) struct Load {
    open: AtomicUsize,
    closed: Notify,
}

impl Load {
    /// Counts a connection from now until the guard is dropped, on whatever thread that happens.
    fn claim(self: &Arc<Self>, counted: Counted) -> OpenGuard {
        self.open.fetch_add(1, Ordering::SeqCst);
        OpenGuard { load: self.clone(), _counted: counted }
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Waits until there are no connections.
    pub(super) async fn drained(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open() == 0 {
                return;
            }
            closed.await;
        }
    }
}

/// A connection that is counted as open.
pub(super) struct OpenGuard {
    load: Arc<Load>,
    _counted: Counted,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.load.open.fetch_sub(1, Ordering::SeqCst);
        self.load.closed.notify_waiters();
    }
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
    connections: Connections,
    next_id: Cell<u64>,
    load: Arc<Load>,
    /// New connections are not served any more.
    stopping: Cell<bool>,
}

/// The connections of a worker, so that they can be ended.
type Connections = Rc<RefCell<HashMap<u64, Tracked>>>;

struct Tracked {
    task: AbortHandle,
    idle: Rc<Cell<bool>>,
    accepted: Instant,
}

impl Tracked {
    /// Ends the connection if it is idle, a new one after a moment: its request may be on the way.
    fn end_if_idle(&self) {
        let until = self.accepted + NEW_CONNECTION_GRACE;
        if Instant::now() < until {
            let (task, idle) = (self.task.clone(), self.idle.clone());
            tokio::task::spawn_local(async move {
                tokio::time::sleep_until(until).await;
                if idle.get() {
                    task.abort();
                }
            });
        } else if self.idle.get() {
            self.task.abort();
        }
    }
}

impl<H: Handler> Worker<H> {
    pub(super) fn new(context: Rc<Context<H>>, load: Arc<Load>) -> Self {
        Self { context, connections: Rc::default(), next_id: Cell::new(0), load, stopping: Cell::new(false) }
    }

    /// No connection is kept after its current reply; clients are told so.
    pub(super) fn announce_end(&self) {
        self.context.draining.begin();
    }

    /// The same, and idle connections end now.
    pub(super) fn drain(&self) {
        self.announce_end();
        self.stopping.set(true);
        self.connections.borrow().values().for_each(Tracked::end_if_idle);
    }

    /// Ends all connections.
    pub(super) fn cut(&self) {
        self.connections.borrow().values().for_each(|tracked| tracked.task.abort());
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

    fn serve(&self, stream: TcpStream, addr: SocketAddr, listener: Arc<Listener>, guard: OpenGuard) {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        let idle = Rc::new(Cell::new(true));
        let untrack = Untrack { connections: self.connections.clone(), id, _open: guard };
        // Boxed: the runtime moves a task's future five times, and this one has kilobytes.
        let serving = Box::pin(connection::serve(stream, addr, listener, self.context.clone(), idle.clone()));
        let task = tokio::task::spawn_local(async move {
            let _untrack = untrack;
            serving.await;
        });
        let tracked = Tracked { task: task.abort_handle(), idle, accepted: Instant::now() };
        if self.stopping.get() {
            tracked.end_if_idle();
        }
        self.connections.borrow_mut().insert(id, tracked);
    }
}

/// Forgets a connection when its task ends, however it ends.
struct Untrack {
    connections: Connections,
    id: u64,
    _open: OpenGuard,
}

impl Drop for Untrack {
    fn drop(&mut self) {
        self.connections.borrow_mut().remove(&self.id);
    }
}

#[cfg(test)]
mod tests;
