//! A place where one task of a thread leaves things for another, one at a time.
//!
//! For tasks that are used again: whoever has a connection or an exchange leaves it here, and the task that waits takes it.
//! No lock and no queue; the waker of the task that waits is kept, because it is nearly always the same.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Where a task finds what it works on next.
#[derive(Debug)]
pub(crate) struct Handover<T> {
    left: RefCell<Option<T>>,
    waker: RefCell<Option<Waker>>,
}

impl<T> Default for Handover<T> {
    fn default() -> Self {
        Self { left: RefCell::default(), waker: RefCell::default() }
    }
}

impl<T> Handover<T> {
    /// Leaves a thing, in place of one that nobody has taken.
    pub(crate) fn leave(&self, thing: T) {
        self.left.replace(Some(thing));
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Waits for a thing and takes it. One task may wait at a time.
    pub(crate) async fn take(&self) -> T {
        poll_fn(|cx| match self.left.take() {
            Some(thing) => Poll::Ready(thing),
            None => {
                let mut waker = self.waker.borrow_mut();
                if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    *waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        })
        .await
    }
}
