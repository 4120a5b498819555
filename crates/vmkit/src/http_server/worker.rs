//! Workers: one thread, one single-threaded runtime and its own connections each.
//!
//! Nothing of a connection ever leaves its worker, so the request path needs no locks and no cross-thread wake-ups.
//! Only counters are shared.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, LocalSet};

use super::{Handler, Listener, Shared, accept, connection};
use crate::metrics::{Counter, Histogram, Set};

/// Where a worker stands among the others.
#[derive(Clone, Copy, Debug)]
pub struct WorkerPlan {
    /// 0 for the first worker.
    pub index: usize,
    /// Number of workers.
    pub count: usize,
}

/// Counters of the server; names in spec metrics-and-logs.md §3.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields are the metrics' names")]
pub struct ServerMetrics {
    pub requests_all: Arc<Counter>,
    pub requests_metrics: Arc<Counter>,
    pub requests_favicon: Arc<Counter>,
    pub requests_pprof: PprofMetrics,
    pub unsupported: Arc<Counter>,
    pub wrong_auth_key: Arc<Counter>,
    pub wrong_basic_auth: Arc<Counter>,
    pub metrics_duration: Arc<Histogram>,
    pub conn_timeout_closed: Arc<Counter>,
    pub malformed_requests: Arc<Counter>,
}

/// `vm_http_requests_total` of the profiling pages.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields are the pages' names")]
pub struct PprofMetrics {
    pub index: Arc<Counter>,
    pub cmdline: Arc<Counter>,
    pub profile: Arc<Counter>,
    pub symbol: Arc<Counter>,
    pub trace: Arc<Counter>,
    pub mutex: Arc<Counter>,
    pub default: Arc<Counter>,
}

impl ServerMetrics {
    /// Registers the server's metrics in the set of the process.
    pub fn register(set: &Set) -> Arc<Self> {
        let path = |path: &str| set.counter(&format!("vm_http_requests_total{{path=\"{path}\"}}"));
        let error =
            |reason: &str| set.counter(&format!("vm_http_request_errors_total{{path=\"*\", reason=\"{reason}\"}}"));
        let metrics_duration = Arc::new(Histogram::new());
        set.register("vm_http_request_duration_seconds{path=\"/metrics\"}", metrics_duration.clone());
        Arc::new(Self {
            requests_all: set.counter("vm_http_requests_all_total"),
            requests_metrics: path("/metrics"),
            requests_favicon: path("*/favicon.ico"),
            requests_pprof: PprofMetrics {
                index: path("/debug/pprof/"),
                cmdline: path("/debug/pprof/cmdline"),
                profile: path("/debug/pprof/profile"),
                symbol: path("/debug/pprof/symbol"),
                trace: path("/debug/pprof/trace"),
                mutex: path("/debug/pprof/mutex"),
                default: path("/debug/pprof/default"),
            },
            unsupported: error("unsupported"),
            wrong_auth_key: error("wrong_auth_key"),
            wrong_basic_auth: error("wrong_basic_auth"),
            metrics_duration,
            conn_timeout_closed: set.counter("vm_http_conn_timeout_closed_conns_total"),
            malformed_requests: set.counter("vm_http_malformed_requests_total"),
        })
    }
}

/// Orders to a worker.
pub(super) enum Order {
    Serve(std::net::TcpStream, std::net::SocketAddr, Arc<Listener>),
    Drain,
    Cut,
    Exit,
}

/// A worker as others see it.
#[derive(Debug)]
pub(super) struct WorkerHandle {
    orders: mpsc::UnboundedSender<Order>,
    load: Arc<Load>,
}

/// Connections of a worker that count for draining, and for the choice of the next one.
#[derive(Debug, Default)]
pub(super) struct Load {
    open: AtomicUsize,
    closed: Notify,
}

impl WorkerHandle {
    fn order(&self, order: Order) {
        // A worker whose thread has ended has no connections either.
        let _ = self.orders.send(order);
    }

    pub(super) fn drain(&self) {
        self.order(Order::Drain);
    }

    pub(super) fn cut(&self) {
        self.order(Order::Cut);
    }

    pub(super) fn exit(&self) {
        self.order(Order::Exit);
    }

    /// Waits until the worker has no connections.
    pub(super) async fn drained(&self) {
        loop {
            let closed = self.load.closed.notified();
            if self.load.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            closed.await;
        }
    }
}

/// A worker as its own connections see it.
pub struct Worker<H> {
    pub(super) shared: Arc<Shared>,
    pub(super) handler: H,
    draining: Rc<Cell<bool>>,
    connections: RefCell<HashMap<u64, Tracked>>,
    next_id: Cell<u64>,
    load: Arc<Load>,
}

struct Tracked {
    task: AbortHandle,
    idle: Rc<Cell<bool>>,
}

impl<H> std::fmt::Debug for Worker<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("connections", &self.connections.borrow().len()).finish_non_exhaustive()
    }
}

/// Counts a connection as open, from the hand-over to its end.
pub(super) struct OpenGuard(Arc<Load>);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.closed.notify_waiters();
    }
}

/// What the acceptor needs to hand a connection over.
pub(super) struct Peers {
    loads: Vec<Arc<Load>>,
    orders: Vec<mpsc::UnboundedSender<Order>>,
}

impl Peers {
    /// The worker with the fewest open connections; the acceptor's own (index 0) wins a tie.
    fn least_loaded(&self) -> usize {
        self.loads.iter().enumerate().min_by_key(|(_, load)| load.open.load(Ordering::Relaxed)).map_or(0, |(i, _)| i)
    }
}

pub(super) fn start<H: Handler>(
    shared: &Arc<Shared>,
    listeners: Vec<Listener>,
    make_handler: impl Fn(WorkerPlan) -> H + Clone + Send + 'static,
) -> std::io::Result<Vec<WorkerHandle>> {
    let count = shared.options.workers.max(1);
    let mut handles = Vec::with_capacity(count);
    let mut receivers = Vec::with_capacity(count);
    for _ in 0..count {
        let (orders, receiver) = mpsc::unbounded_channel();
        handles.push(WorkerHandle { orders, load: Arc::new(Load::default()) });
        receivers.push(receiver);
    }
    let mut accepting = Some(listeners);
    for (index, receiver) in receivers.into_iter().enumerate() {
        let peers = Peers {
            loads: handles.iter().map(|handle| handle.load.clone()).collect(),
            orders: handles.iter().map(|handle| handle.orders.clone()).collect(),
        };
        let (shared, make_handler) = (shared.clone(), make_handler.clone());
        let listeners = accepting.take().unwrap_or_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(format!("worker-{index}"));
        thread.spawn(move || {
            let load = peers.loads[index].clone();
            let work = async move {
                let handler = make_handler(WorkerPlan { index, count });
                let worker = Rc::new(Worker {
                    shared,
                    handler,
                    draining: Rc::default(),
                    connections: RefCell::default(),
                    next_id: Cell::new(0),
                    load,
                });
                worker.run(receiver, listeners, peers).await;
            };
            LocalSet::new().block_on(&runtime, work);
        })?;
    }
    Ok(handles)
}

impl<H: Handler> Worker<H> {
    async fn run(self: Rc<Self>, mut orders: mpsc::UnboundedReceiver<Order>, listeners: Vec<Listener>, peers: Peers) {
        let peers = Rc::new(peers);
        let mut accepting = Vec::new();
        for mut listener in listeners {
            let Some(socket) = listener.socket.take() else { continue };
            let accept = accept::run(self.clone(), socket, Arc::new(listener), peers.clone());
            accepting.push(tokio::task::spawn_local(accept));
        }
        while let Some(order) = orders.recv().await {
            match order {
                Order::Serve(stream, addr, listener) => match TcpStream::from_std(stream) {
                    Ok(stream) => self.serve(stream, addr, listener, OpenGuard(self.load.clone())),
                    Err(error) => {
                        drop(OpenGuard(self.load.clone()));
                        crate::error!("cannot take over a connection from {addr}: {error}");
                    }
                },
                Order::Drain => {
                    for task in accepting.drain(..) {
                        task.abort();
                    }
                    self.draining.set(true);
                    self.abort(|tracked| tracked.idle.get());
                }
                Order::Cut => self.abort(|_| true),
                Order::Exit => return,
            }
        }
    }

    fn abort(&self, which: impl Fn(&Tracked) -> bool) {
        for tracked in self.connections.borrow().values().filter(|tracked| which(tracked)) {
            tracked.task.abort();
        }
    }

    /// Serves a new connection here or hands it to a less loaded worker.
    pub(super) fn place(
        self: &Rc<Self>,
        stream: TcpStream,
        addr: std::net::SocketAddr,
        listener: &Arc<Listener>,
        peers: &Peers,
    ) {
        let chosen = peers.least_loaded();
        let Some(load) = peers.loads.get(chosen) else { return };
        load.open.fetch_add(1, Ordering::SeqCst);
        let guard = OpenGuard(load.clone());
        if Arc::ptr_eq(load, &self.load) {
            return self.serve(stream, addr, listener.clone(), guard);
        }
        match stream.into_std() {
            Ok(stream) => {
                if peers.orders[chosen].send(Order::Serve(stream, addr, listener.clone())).is_ok() {
                    // The other worker makes a guard of its own for the same count.
                    std::mem::forget(guard);
                }
            }
            Err(error) => crate::error!("cannot hand a connection from {addr} over: {error}"),
        }
    }

    fn serve(
        self: &Rc<Self>,
        stream: TcpStream,
        addr: std::net::SocketAddr,
        listener: Arc<Listener>,
        guard: OpenGuard,
    ) {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        let idle = Rc::new(Cell::new(true));
        let (worker, idle_too) = (self.clone(), idle.clone());
        let task = tokio::task::spawn_local(async move {
            let _tracked = Untrack { worker: worker.clone(), id, _open: guard };
            connection::serve(stream, addr, listener, &worker, &idle_too).await;
        });
        self.connections.borrow_mut().insert(id, Tracked { task: task.abort_handle(), idle });
        if self.draining.get() {
            task.abort();
        }
    }

    /// True when connections are to be closed after their current reply.
    pub(super) fn draining(&self) -> &Rc<Cell<bool>> {
        &self.draining
    }
}

/// Forgets a connection when its task ends, however it ends.
struct Untrack<H> {
    worker: Rc<Worker<H>>,
    id: u64,
    _open: OpenGuard,
}

impl<H> Drop for Untrack<H> {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(&self.id);
    }
}
