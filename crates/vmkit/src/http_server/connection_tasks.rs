//! The tasks that serve the connections of a worker.
//!
//! A task serves one connection after another, and a few wait for the next one: the future of a connection has
//! kilobytes, and to allocate, move and free it for a single request costs as much as a third of that request. What fails
//! in one connection ends its task and no other. Nothing here knows what a connection says; it must never end one that
//! is not idle, except when all of them are cut.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::connection::{self, Context};
use super::load::OpenGuard;
use super::{Handler, Listener};
use crate::exchange::handover::Handover;

/// How long a connection that was accepted just before the end may take for its first request.
pub(super) const NEW_CONNECTION_GRACE: Duration = Duration::from_secs(1);
/// Tasks that wait for a connection, at most.
const MOST_WAITING: usize = 64;

/// A new connection.
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) addr: SocketAddr,
    pub(super) listener: Arc<Listener>,
    /// Counts it as open.
    pub(super) open: OpenGuard,
}

/// The tasks of one worker.
pub(super) struct ConnectionTasks<H>(Rc<Shared<H>>);

struct Shared<H> {
    context: Rc<Context<H>>,
    seats: RefCell<HashMap<u64, Rc<Seat>>>,
    next_id: Cell<u64>,
    waiting: RefCell<Vec<Rc<Seat>>>,
}

/// A task as others see it: where it finds its next connection, and how it is ended.
#[derive(Default)]
struct Seat {
    next: Handover<Arrival>,
    task: OnceCell<AbortHandle>,
    /// Whether its connection may be closed at any time.
    idle: Rc<Cell<bool>>,
    /// When its connection was accepted; `None` while it waits for one.
    accepted: Cell<Option<Instant>>,
}

impl<H: Handler> ConnectionTasks<H> {
    /// No tasks yet.
    pub(super) fn new(context: Rc<Context<H>>) -> Self {
        let shared = Shared { context, seats: RefCell::default(), next_id: Cell::new(0), waiting: RefCell::default() };
        Self(Rc::new(shared))
    }

    /// Begins to serve a connection; one that is `late` must bring its request within a moment.
    pub(super) fn begin(&self, arrival: Arrival, late: bool) {
        let waiting = self.0.waiting.borrow_mut().pop();
        let seat = waiting.unwrap_or_else(|| self.add());
        seat.idle.set(true);
        seat.accepted.set(Some(Instant::now()));
        seat.next.leave(arrival);
        if late {
            seat.end_if_idle();
        }
    }

    fn add(&self) -> Rc<Seat> {
        let id = self.0.next_id.get();
        self.0.next_id.set(id.wrapping_add(1));
        let seat = Rc::<Seat>::default();
        let task = tokio::task::spawn_local(run(self.0.clone(), seat.clone(), id));
        seat.task.get_or_init(|| task.abort_handle());
        self.0.seats.borrow_mut().insert(id, seat.clone());
        seat
    }

    /// Ends idle connections, new ones after a moment.
    pub(super) fn end_idle(&self) {
        self.0.seats.borrow().values().for_each(Seat::end_if_idle);
    }

    /// Ends all connections.
    pub(super) fn cut(&self) {
        self.0.seats.borrow().values().filter(|seat| seat.accepted.get().is_some()).for_each(|seat| seat.end());
    }
}

async fn run<H: Handler>(shared: Rc<Shared<H>>, seat: Rc<Seat>, id: u64) {
    let _known = Known { shared: &shared, id };
    loop {
        let Arrival { stream, addr, listener, open } = seat.next.take().await;
        connection::serve(stream, addr, listener, shared.context.clone(), seat.idle.clone()).await;
        seat.accepted.set(None);
        drop(open);
        let mut waiting = shared.waiting.borrow_mut();
        if waiting.len() >= MOST_WAITING {
            return;
        }
        waiting.push(seat.clone());
    }
}

/// A task that is listed until it ends, however it ends.
struct Known<'s, H> {
    shared: &'s Shared<H>,
    id: u64,
}

impl<H> Drop for Known<'_, H> {
    fn drop(&mut self) {
        self.shared.seats.borrow_mut().remove(&self.id);
    }
}

impl Seat {
    /// Ends the connection if it is idle, a new one after a moment: its request may be on the way.
    fn end_if_idle(self: &Rc<Self>) {
        let Some(accepted) = self.accepted.get() else { return };
        let until = accepted + NEW_CONNECTION_GRACE;
        if Instant::now() < until {
            let seat = self.clone();
            tokio::task::spawn_local(async move {
                tokio::time::sleep_until(until).await;
                // The task may serve another connection by now.
                if seat.accepted.get() == Some(accepted) && seat.idle.get() {
                    seat.end();
                }
            });
        } else if self.idle.get() {
            self.end();
        }
    }

    fn end(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, spawn_blocking};

    use super::super::connection_limits::ConnectionLimits;
    use super::super::load::Load;
    use super::super::test_rig::{Told, connected, context, listener, options};
    use super::*;

    /// How many tasks there are, and how many of them wait, after connections that ask for these paths one after another.
    async fn tasks_after(paths: &[&'static str]) -> (usize, usize) {
        let (told, _waiting) = Told::new();
        let tasks = ConnectionTasks::new(Rc::new(context(options(), told)));
        let (load, limits, listener) =
            (Arc::new(Load::default()), Arc::new(ConnectionLimits::new(0, 0)), Arc::new(listener().0));
        for &path in paths {
            let (mut client, stream, addr) = connected();
            let stream = TcpStream::from_std(stream).unwrap();
            let open = load.claim(limits.claim(Some(addr.ip())).unwrap());
            tasks.begin(Arrival { stream, addr, listener: listener.clone(), open }, false);
            let asking = spawn_blocking(move || {
                client.request("GET", path, &["Connection: close"], None);
                client.reply().status
            });
            assert_eq!(asking.await.unwrap(), if path == "/panic" { 0 } else { 200 }, "{path}");
            load.drained().await;
        }
        (tasks.0.seats.borrow().len(), tasks.0.waiting.borrow().len())
    }

    #[tokio::test]
    async fn a_task_serves_one_connection_after_another_until_one_panics() {
        LocalSet::new()
            .run_until(async {
                assert_eq!(tasks_after(&["/", "/", "/"]).await, (1, 1));
                assert_eq!(tasks_after(&["/", "/panic"]).await, (0, 0));
                assert_eq!(tasks_after(&["/", "/panic", "/"]).await, (1, 1));
            })
            .await;
    }

    #[tokio::test]
    async fn tasks_that_wait_are_not_cut() {
        let serve = async {
            let (told, _waiting) = Told::new();
            let tasks = ConnectionTasks::new(Rc::new(context(options(), told)));
            let seat = tasks.add();
            tokio::task::yield_now().await;
            tasks.cut();
            tasks.end_idle();
            tokio::task::yield_now().await;
            assert!(!seat.task.get().unwrap().is_finished());
        };
        LocalSet::new().run_until(serve).await;
    }
}
