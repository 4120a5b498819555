use std::sync::mpsc::Receiver;
use std::time::Duration;

use testkit::client::{Client, End};
use testkit::deadline::{PATIENCE, eventually};
use tokio::runtime::{Handle, Runtime};
use tokio::task::{LocalSet, spawn_blocking};
use tokio::time::Instant;

use super::super::connection_tasks::NEW_CONNECTION_GRACE;
use super::super::test_rig::{Told, connected, context, listener, options};
use super::super::{Server, ServerMetrics, ServerOptions};
use super::*;
use crate::metrics::Set;

/// A server with real workers, and what its requests report.
struct Running {
    server: Server,
    addr: SocketAddr,
    told: Told,
    waiting: Receiver<()>,
    control: Runtime,
}

impl Running {
    fn start(options: ServerOptions) -> Self {
        let control = Runtime::new().unwrap();
        let ((told, waiting), (listener, addr)) = (Told::new(), listener());
        let metrics = ServerMetrics::register(&Set::default());
        let app = told.clone();
        let make_handler = move |plan: super::super::WorkerPlan| Told { worker: plan.index, ..app.clone() };
        let server = Server::start(options, vec![listener], metrics, control.handle().clone(), make_handler).unwrap();
        Self { server, addr, told, waiting, control }
    }

    /// A connection that has been served, and the worker that has done it.
    fn client(&self) -> (Client, String) {
        let mut client = Client::connect(self.addr);
        let worker = client.get("/", &[]).expect(200).text();
        (client, worker)
    }

    #[track_caller]
    fn expect_open(&self, want: &[usize]) {
        eventually("open connections", || {
            let open = self.server.open_connections();
            if open == want { Ok(()) } else { Err(open) }
        });
    }

    /// A connection whose request is being served.
    fn waiting_client(&self) -> Client {
        let mut client = Client::connect(self.addr);
        client.request("GET", "/wait", &[], None);
        self.waiting.recv_timeout(PATIENCE).unwrap();
        client
    }
}

#[test]
fn a_connection_goes_to_the_worker_with_the_fewest_open_ones() {
    let running = Running::start(ServerOptions { workers: 2, ..options() });
    let (_first, worker) = running.client();
    assert_eq!(worker, "0");
    let (second, worker) = running.client();
    assert_eq!(worker, "1");
    let (_third, worker) = running.client();
    assert_eq!(worker, "0", "the acceptor wins a tie");
    drop(second);
    running.expect_open(&[2, 0]);
    let more: Vec<_> = (0..3).map(|_| running.client()).collect();
    assert_eq!(more.iter().map(|(_, worker)| worker.as_str()).collect::<Vec<_>>(), ["1", "1", "0"]);
    running.expect_open(&[3, 2]);
}

#[test]
fn a_stop_ends_idle_connections_and_lets_a_running_request_finish() {
    let running = Running::start(options());
    let ((mut idle, _), mut busy) = (running.client(), running.waiting_client());
    let stopping = running.control.spawn(running.server.stop());
    idle.expect_closed();
    assert!(Client::try_connect(running.addr).is_err(), "a server that stops takes no connections");
    assert!(!stopping.is_finished());
    running.told.permits.add_permits(1);
    let reply = busy.reply().expect(200);
    assert_eq!(reply.fields.get("Connection"), Some("close"));
    busy.expect_closed();
    assert_eq!(running.control.block_on(stopping).unwrap(), Ok(0));
}

#[tokio::test]
async fn a_stop_waits_until_nothing_is_accepted_any_more() {
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = Arc::new(std::sync::Mutex::new(wait));
    let make_handler = move |_| {
        wait.lock().unwrap().recv().unwrap();
        Told::new().0
    };
    let metrics = ServerMetrics::register(&Set::default());
    let server = Server::start(options(), vec![listener().0], metrics, Handle::current(), make_handler).unwrap();
    let mut stop = Box::pin(server.stop());
    // Its worker is busy. There is no connection, but one may come.
    let is_waiting = std::future::poll_fn(|cx| std::task::Poll::Ready(stop.as_mut().poll(cx).is_pending()));
    assert!(is_waiting.await);
    go_on.send(()).unwrap();
    assert_eq!(stop.await, Ok(0));
}

#[test]
fn a_request_that_does_not_end_is_cut_off() {
    let running = Running::start(ServerOptions { max_graceful_shutdown: Duration::from_millis(100), ..options() });
    let mut busy = running.waiting_client();
    // Its future is dropped, so that the permit is still there afterwards.
    let stopped = running.control.block_on(running.server.stop());
    running.told.permits.add_permits(1);
    assert!(matches!(stopped, Ok(1) | Err(_)), "{stopped:?}");
    let reply = busy.reply();
    assert!(reply.status == 0 && matches!(reply.end, End::Eof | End::Reset), "{reply:?}");
    assert_eq!(running.told.permits.available_permits(), 1);
}

#[test]
fn a_panic_ends_one_connection_and_not_its_worker() {
    let running = Running::start(options());
    let (mut other, _) = running.client();
    let mut unlucky = Client::connect(running.addr);
    unlucky.request("GET", "/panic", &[], None);
    let reply = unlucky.reply();
    assert!(reply.status == 0 && matches!(reply.end, End::Eof | End::Reset), "{reply:?}");
    other.get("/", &[]).expect(200);
    let (_next, worker) = running.client();
    assert_eq!(worker, "0");
    running.expect_open(&[2]);
}

/// A worker on this thread, whose clock stands still while a client acts.
fn worker() -> (Worker<Told>, Arc<Load>, Arc<Listener>) {
    let load = Arc::new(Load::default());
    let worker = Worker::new(Rc::new(context(options(), Told::new().0)), load.clone());
    (worker, load, Arc::new(listener().0))
}

fn guard(load: &Arc<Load>, addr: SocketAddr) -> OpenGuard {
    load.claim(Arc::new(ConnectionLimits::new(0, 0)).claim(Some(addr.ip())).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_new_at_the_end_has_a_moment_for_its_request() {
    let serve = async {
        let (worker, load, listener) = worker();
        let (mut client, stream, addr) = connected();
        let (mut silent, silent_stream, silent_addr) = connected();
        let started = Instant::now();
        worker.take_over(stream, addr, listener.clone(), guard(&load, addr));
        worker.take_over(silent_stream, silent_addr, listener, guard(&load, silent_addr));
        worker.drain();
        let reply = spawn_blocking(move || {
            let reply = client.get("/", &[]).expect(200);
            client.expect_closed();
            reply
        });
        assert_eq!(reply.await.unwrap().fields.get("Connection"), Some("close"));
        load.drained().await;
        let took = started.elapsed();
        assert!(took >= NEW_CONNECTION_GRACE && took < 2 * NEW_CONNECTION_GRACE, "{took:?}");
        silent.expect_closed();
    };
    LocalSet::new().run_until(serve).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_accepted_long_ago_ends_at_once_when_it_is_idle() {
    let serve = async {
        let (worker, load, listener) = worker();
        let (mut client, stream, addr) = connected();
        worker.take_over(stream, addr, listener, guard(&load, addr));
        let mut client = spawn_blocking(move || {
            client.get("/", &[]).expect(200);
            client
        })
        .await
        .unwrap();
        tokio::time::advance(2 * NEW_CONNECTION_GRACE).await;
        let stopped = Instant::now();
        worker.drain();
        load.drained().await;
        assert_eq!(stopped.elapsed(), Duration::ZERO);
        client.expect_closed();
    };
    LocalSet::new().run_until(serve).await;
}

#[tokio::test]
async fn a_connection_counts_until_its_guard_is_dropped_on_any_thread() {
    let load = Arc::new(Load::default());
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let (here, there) = (guard(&load, addr), guard(&load, addr));
    assert_eq!(load.open(), 2);
    Handle::current().spawn_blocking(move || drop(there)).await.unwrap();
    assert_eq!(load.open(), 1);
    drop(here);
    load.drained().await;
}
