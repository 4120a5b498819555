//! The threads of a server: one per worker, each with its runtime, and the orders they take.
//!
//! The first worker accepts for all listeners. Orders come from the control plane (drain, cut, exit) and from the
//! accepting worker (serve); everything else happens inside a worker.

use std::rc::Rc;
use std::sync::Arc;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime, RuntimeMetrics};
use tokio::sync::{mpsc, oneshot};

use super::connection::Context;
use super::connection_limits::ConnectionLimits;
use super::load::Load;
use super::placement::Busy;
use super::worker::{Order, Peers, Worker};
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

    /// Ends what is idle. The answer comes when nothing is accepted any more; until then [`drained`](Self::drained) says nothing.
    pub(super) fn drain(&self) -> oneshot::Receiver<()> {
        let (done, begun) = oneshot::channel();
        self.order(Order::Drain(done));
        begun
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
    let mut threads = Vec::with_capacity(count);
    for index in 0..count {
        threads.push(Thread::start(index)?);
    }
    let busy = threads.iter().map(Thread::metrics).collect::<std::io::Result<Vec<_>>>()?;
    for (index, (receiver, thread)) in receivers.into_iter().zip(threads).enumerate() {
        let peers = Peers {
            loads: handles.iter().map(|handle| handle.load.clone()).collect(),
            orders: handles.iter().map(|handle| handle.orders.clone()).collect(),
            limits: limits.clone(),
            busy: Busy::of(busy.clone()),
        };
        let (shared, make_handler) = (shared.clone(), make_handler.clone());
        let listeners = accepting.take().unwrap_or_default();
        thread.run(move |runtime| {
            let load = peers.loads[index].clone();
            runtime.block_on(async move {
                let handler = make_handler(WorkerPlan { index, count });
                let worker = Worker::new(Rc::new(Context::new(shared, handler)), load);
                run(Rc::new(worker), receiver, listeners, peers).await;
            });
        });
    }
    Ok(handles)
}

/// What a worker's thread does with its runtime.
type Job = Box<dyn FnOnce(&LocalRuntime) + Send>;

/// A thread with a runtime of its own, which waits for its job. The runtime is bound to its thread: tasks are woken by
/// a push to its queue, where a `LocalSet` would put a second scheduler on top of the first.
struct Thread {
    metrics: std::sync::mpsc::Receiver<std::io::Result<RuntimeMetrics>>,
    job: std::sync::mpsc::SyncSender<Job>,
}

impl Thread {
    fn start(index: usize) -> std::io::Result<Self> {
        let (built, metrics) = std::sync::mpsc::sync_channel(1);
        let (job, jobs) = std::sync::mpsc::sync_channel::<Job>(1);
        let body = move || match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => {
                let _ = built.send(Ok(runtime.metrics()));
                // Nobody has a job when another worker could not be started.
                if let Ok(job) = jobs.recv() {
                    job(&runtime);
                }
            }
            Err(error) => drop(built.send(Err(error))),
        };
        std::thread::Builder::new().name(format!("worker-{index}")).spawn(body)?;
        Ok(Self { metrics, job })
    }

    /// Waits for the runtime.
    fn metrics(&self) -> std::io::Result<RuntimeMetrics> {
        self.metrics.recv().unwrap_or_else(|_| Err(std::io::Error::other("a worker has ended at its start")))
    }

    fn run(self, job: impl FnOnce(&LocalRuntime) + Send + 'static) {
        // The thread waits for exactly this.
        let _ = self.job.send(Box::new(job));
    }
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
            Order::Drain(done) => {
                for task in accepting.drain(..) {
                    task.abort();
                }
                worker.drain();
                // Who waits may have run out of time.
                let _ = done.send(());
            }
            Order::Cut => worker.cut(),
            Order::Exit => return,
        }
    }
}
