//! The threads of a server: one per worker, each with its runtime, and the orders they take.
//!
//! The first worker accepts for all listeners. Orders come from the control plane (drain, cut, exit) and from the
//! accepting worker (serve); everything else happens inside a worker.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::connection::Context;
use super::connection_limits::ConnectionLimits;
use super::placement::Busy;
use super::worker::{Load, Order, Peers, Worker};
use super::{Handler, Listener, Shared, accept};

/// Where a worker stands among the others.
#[derive(Clone, Copy, Debug)]
pub struct WorkerPlan {
    /// 0 for the first worker.
    pub index: usize,
    /// Number of workers.
    pub count: usize,
}

/// How many connections each worker has.
#[derive(Clone, Debug, Default)]
pub struct WorkerLoads(pub(super) Vec<Arc<Load>>);

impl WorkerLoads {
    /// Open connections by worker.
    pub fn open(&self) -> Vec<usize> {
        self.0.iter().map(|load| load.open()).collect()
    }
}

/// A worker as the control plane sees it.
#[derive(Debug)]
pub(super) struct WorkerHandle {
    orders: mpsc::UnboundedSender<Order>,
    load: Arc<Load>,
}

impl WorkerHandle {
    fn order(&self, order: Order) {
        // A worker whose thread has ended has no connections either.
        let _ = self.orders.send(order);
    }

    pub(super) fn announce_end(&self) {
        self.order(Order::Announce);
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

    pub(super) fn load(&self) -> Arc<Load> {
        self.load.clone()
    }

    pub(super) fn open_connections(&self) -> usize {
        self.load.open()
    }

    /// Waits until the worker has no connections.
    pub(super) async fn drained(&self) {
        self.load.drained().await;
    }
}

/// Starts all workers; the first one accepts.
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
    let options = &shared.options;
    let limits = Arc::new(ConnectionLimits::new(options.max_connections, options.max_connections_per_address));
    let runtimes = (0..count).map(|_| tokio::runtime::Builder::new_current_thread().enable_all().build());
    let runtimes = runtimes.collect::<std::io::Result<Vec<_>>>()?;
    let busy: Vec<_> = runtimes.iter().map(|runtime| runtime.metrics()).collect();
    for (index, (receiver, runtime)) in receivers.into_iter().zip(runtimes).enumerate() {
        let peers = Peers {
            loads: handles.iter().map(|handle| handle.load.clone()).collect(),
            orders: handles.iter().map(|handle| handle.orders.clone()).collect(),
            limits: limits.clone(),
            busy: Busy::of(busy.clone()),
        };
        let (shared, make_handler) = (shared.clone(), make_handler.clone());
        let listeners = accepting.take().unwrap_or_default();
        let thread = std::thread::Builder::new().name(format!("worker-{index}"));
        thread.spawn(move || {
            let load = peers.loads[index].clone();
            let work = async move {
                let handler = make_handler(WorkerPlan { index, count });
                let worker = Worker::new(Rc::new(Context::new(shared, handler)), load);
                run(Rc::new(worker), receiver, listeners, peers).await;
            };
            LocalSet::new().block_on(&runtime, work);
        })?;
    }
    Ok(handles)
}

async fn run<H: Handler>(
    worker: Rc<Worker<H>>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    listeners: Vec<Listener>,
    peers: Peers,
) {
    let peers = Rc::new(peers);
    let mut accepting = Vec::new();
    for mut listener in listeners {
        let Some(socket) = listener.socket.take() else { continue };
        let accept = accept::run(worker.clone(), socket, Arc::new(listener), peers.clone());
        accepting.push(tokio::task::spawn_local(accept));
    }
    while let Some(order) = orders.recv().await {
        match order {
            Order::Serve(stream, addr, listener, guard) => worker.take_over(stream, addr, listener, guard),
            Order::Announce => worker.announce_end(),
            Order::Drain => {
                for task in accepting.drain(..) {
                    task.abort();
                }
                worker.drain();
            }
            Order::Cut => worker.cut(),
            Order::Exit => return,
        }
    }
}
