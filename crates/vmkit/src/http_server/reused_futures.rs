//! Memory for the futures of one function, used again for one call after another.
//!
//! The future of all stages of a request takes several kilobytes. HTTP/1 has one a connection, in the connection's task;
//! streams come and go, and to take and give back such a piece for each of them costs more than to read the head of a
//! request. A worker keeps what a few dozen streams at once have needed and no more. Nothing of a call is kept: its
//! future is dropped when it has ended, or when whoever waits for it is.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Pieces that are kept while nobody needs them.
const MOST_FREE: usize = 64;

/// Calls of a function of `A` whose future resolves with `T`.
pub(super) struct ReusedFutures<A, T> {
    new_place: Box<dyn Fn() -> Box<dyn Place<A, T>>>,
    free: RefCell<Vec<Box<dyn Place<A, T>>>>,
}

impl<A: 'static, T: 'static> ReusedFutures<A, T> {
    /// Nothing is kept yet.
    pub(super) fn new<F: Future<Output = T> + 'static>(function: fn(A) -> F) -> Self {
        let new_place = move || -> Box<dyn Place<A, T>> { Box::new(Room { function, future: Box::pin(None) }) };
        Self { new_place: Box::new(new_place), free: RefCell::default() }
    }

    /// Calls the function.
    pub(super) fn call(self: &Rc<Self>, args: A) -> Call<A, T> {
        let free = self.free.borrow_mut().pop();
        let mut place = free.unwrap_or_else(|| (self.new_place)());
        place.begin(args);
        Call { place: Some(place), futures: self.clone() }
    }
}

impl<A, T> fmt::Debug for ReusedFutures<A, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReusedFutures").field("free", &self.free.borrow().len()).finish_non_exhaustive()
    }
}

/// Where one future after another lives.
trait Place<A, T> {
    fn begin(&mut self, args: A);
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T>;
    fn end(&mut self);
}

struct Room<A, F> {
    function: fn(A) -> F,
    future: Pin<Box<Option<F>>>,
}

impl<A, F: Future> Place<A, F::Output> for Room<A, F> {
    fn begin(&mut self, args: A) {
        self.future.set(Some((self.function)(args)));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.future.as_mut().as_pin_mut().map_or(Poll::Pending, |future| future.poll(cx))
    }

    fn end(&mut self) {
        self.future.set(None);
    }
}

/// A call that has begun.
pub(super) struct Call<A, T> {
    place: Option<Box<dyn Place<A, T>>>,
    futures: Rc<ReusedFutures<A, T>>,
}

impl<A, T> Future for Call<A, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.place.as_mut().map_or(Poll::Pending, |place| place.poll(cx))
    }
}

impl<A, T> Drop for Call<A, T> {
    fn drop(&mut self) {
        let Some(mut place) = self.place.take() else { return };
        // What the future holds may begin another call when it is dropped.
        place.end();
        let mut free = self.futures.free.borrow_mut();
        if free.len() < MOST_FREE {
            free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    type Args = (Rc<()>, oneshot::Receiver<u32>);

    async fn answer((_held, answer): Args) -> u32 {
        answer.await.unwrap()
    }

    #[tokio::test]
    async fn places_are_used_again_and_hold_nothing() {
        let futures = Rc::new(ReusedFutures::new(answer));
        let held = Rc::new(());
        for round in 0..3 {
            let (senders, calls): (Vec<_>, Vec<_>) = (0..2 * MOST_FREE)
                .map(|_| oneshot::channel())
                .map(|(sender, receiver)| (sender, futures.call((held.clone(), receiver))))
                .unzip();
            assert_eq!((futures.free.borrow().len(), Rc::strong_count(&held)), (0, 1 + 2 * MOST_FREE));
            for (sender, call) in senders.into_iter().zip(calls) {
                sender.send(round).unwrap();
                assert_eq!(call.await, round);
            }
            assert_eq!((futures.free.borrow().len(), Rc::strong_count(&held)), (MOST_FREE, 1));
        }
    }

    #[tokio::test]
    async fn a_dropped_call_ends() {
        let futures = Rc::new(ReusedFutures::new(answer));
        let (mut sender, receiver) = oneshot::channel();
        let mut call = Box::pin(futures.call((Rc::default(), receiver)));
        assert!(std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await);
        drop(call);
        sender.closed().await;
        assert_eq!(futures.free.borrow().len(), 1);
    }
}
