//! The tasks that serve the exchanges of one connection.
//!
//! A task serves one exchange after another, and a few wait for the next stream: to make one anew for each stream would
//! cost about as much as reading its head. What fails in one exchange ends its task and no other. Who asks whether
//! anything is being served is woken when nothing is any more; waiting tasks do not count and end with the connection.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::task::JoinSet;

use super::super::handover::Handover;

/// Tasks that wait for a stream; each holds what one exchange needs on its stack, not what its stages need.
const MOST_WAITING: usize = 8;

/// Serves one exchange of the connection.
pub(super) trait Serve<E>: 'static {
    /// Serves it to its end.
    fn serve(&self, exchange: E) -> impl Future<Output = ()>;
}

/// The tasks of one connection, whose exchanges are each an `E`.
#[derive(Debug)]
pub(super) struct ExchangeTasks<E, S> {
    tasks: JoinSet<()>,
    shared: Rc<Shared<E, S>>,
}

#[derive(Debug)]
struct Shared<E, S> {
    serve: S,
    waiting: RefCell<Vec<Rc<Seat<E>>>>,
    live: Rc<Live>,
}

/// Where a task finds its next exchange.
type Seat<E> = Handover<(E, Counted)>;

/// How many exchanges are being served.
#[derive(Debug, Default)]
struct Live {
    count: Cell<usize>,
    has_ended: Cell<bool>,
    observer: RefCell<Option<Waker>>,
}

/// An exchange that is counted until this is dropped.
#[derive(Debug)]
struct Counted(Rc<Live>);

impl Counted {
    fn new(live: &Rc<Live>) -> Self {
        live.count.set(live.count.get() + 1);
        Self(live.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let left = self.0.count.get() - 1;
        self.0.count.set(left);
        if left == 0 {
            self.0.has_ended.set(true);
            if let Some(observer) = self.0.observer.take() {
                observer.wake();
            }
        }
    }
}

impl<E: 'static, S: Serve<E>> ExchangeTasks<E, S> {
    /// No tasks yet.
    pub(super) fn new(serve: S) -> Self {
        let shared = Shared { serve, waiting: RefCell::default(), live: Rc::default() };
        Self { tasks: JoinSet::new(), shared: Rc::new(shared) }
    }

    /// Exchanges that are being served.
    pub(super) fn len(&self) -> usize {
        self.shared.live.count.get()
    }

    /// Whether nothing is being served.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins an exchange.
    pub(super) fn begin(&mut self, exchange: E) {
        let counted = Counted::new(&self.shared.live);
        let waiting = self.shared.waiting.borrow_mut().pop();
        let seat = waiting.unwrap_or_else(|| {
            let seat = Rc::<Seat<E>>::default();
            self.tasks.spawn_local(run(self.shared.clone(), seat.clone()));
            seat
        });
        seat.leave((exchange, counted));
    }

    /// Whether the last exchange has ended since the last call; the caller is woken when one does.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        // Tasks end when enough others wait, and when they panic.
        while let Poll::Ready(Some(_)) = self.tasks.poll_join_next(cx) {}
        let mut observer = self.shared.live.observer.borrow_mut();
        if !observer.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *observer = Some(cx.waker().clone());
        }
        self.shared.live.has_ended.take()
    }

    /// Waits until nothing is being served.
    pub(super) async fn ended(&mut self) {
        poll_fn(|cx| {
            self.poll_ended(cx);
            if self.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

async fn run<E, S: Serve<E>>(shared: Rc<Shared<E, S>>, seat: Rc<Seat<E>>) {
    loop {
        let (exchange, counted) = seat.take().await;
        shared.serve.serve(exchange).await;
        drop(counted);
        let mut waiting = shared.waiting.borrow_mut();
        if waiting.len() >= MOST_WAITING {
            return;
        }
        waiting.push(seat.clone());
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;
    use tokio::task::{LocalSet, yield_now};

    use super::*;

    /// Exchanges that wait for a permit, and note which task has served them.
    struct Noting {
        permits: Rc<Semaphore>,
        served: Rc<RefCell<Vec<tokio::task::Id>>>,
    }

    impl Default for Noting {
        fn default() -> Self {
            Self { permits: Rc::new(Semaphore::new(0)), served: Rc::default() }
        }
    }

    impl Serve<usize> for Noting {
        async fn serve(&self, exchange: usize) {
            self.permits.acquire().await.unwrap().forget();
            assert_ne!(exchange, usize::MAX, "the panic of a test");
            self.served.borrow_mut().push(tokio::task::id());
        }
    }

    #[tokio::test]
    async fn tasks_serve_again() {
        let test = async {
            let serve = Noting::default();
            let (permits, served) = (serve.permits.clone(), serve.served.clone());
            let mut tasks = ExchangeTasks::new(serve);
            for round in 1..=3 {
                (0..20).for_each(|exchange| tasks.begin(exchange));
                yield_now().await;
                assert_eq!(tasks.len(), 20);
                permits.add_permits(20);
                tasks.ended().await;
                assert_eq!((served.borrow().len(), tasks.shared.waiting.borrow().len()), (20 * round, MOST_WAITING));
            }
            let mut ids = served.take();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 20 + 2 * (20 - MOST_WAITING));
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_panic_ends_one_exchange() {
        let test = async {
            let serve = Noting::default();
            let (permits, served) = (serve.permits.clone(), serve.served.clone());
            let mut tasks = ExchangeTasks::new(serve);
            [1, usize::MAX, 2].into_iter().for_each(|exchange| tasks.begin(exchange));
            permits.add_permits(3);
            tasks.ended().await;
            assert_eq!((served.borrow().len(), tasks.len()), (2, 0));
        };
        LocalSet::new().run_until(test).await;
    }
}
