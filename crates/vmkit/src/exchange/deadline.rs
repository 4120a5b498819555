//! One coarse timer a connection, re-armed lazily.
//!
//! Phases come and go many times a second, timers are expensive to arm. The timer stays armed for the moment it was
//! armed for; when it fires too early it is armed again for the moment that is wanted now. Moving the deadline later
//! is therefore free; only an earlier one touches the timer. Nor is it asked again by a task that it will wake anyway.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// The deadline of the phase a connection is in.
#[derive(Debug)]
pub struct Deadline {
    timer: Pin<Box<Sleep>>,
    wanted: Option<Instant>,
    /// Who is woken when the timer fires; `None` while nobody is for sure.
    waker: Option<Waker>,
}

impl Deadline {
    /// A deadline at `at`.
    pub fn new(at: Instant) -> Self {
        Self { timer: Box::pin(sleep_until(at)), wanted: Some(at), waker: None }
    }

    /// The current phase must end at `at`; `None` for no limit.
    pub fn set(&mut self, at: Option<Instant>) {
        self.wanted = at;
        if let Some(at) = at
            && at < self.timer.deadline()
        {
            self.reset(at);
        }
    }

    fn reset(&mut self, at: Instant) {
        self.timer.as_mut().reset(at);
        self.waker = None;
    }

    /// Ready once the deadline has passed.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(wanted) = self.wanted else { return Poll::Pending };
            let is_waiting = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if is_waiting && !self.timer.is_elapsed() {
                return Poll::Pending;
            }
            // Without a budget: a timer that has none left is pending without having noted who waits.
            if pin!(unconstrained(self.timer.as_mut())).poll(cx).is_pending() {
                self.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if wanted <= self.timer.deadline() {
                return Poll::Ready(());
            }
            self.reset(wanted);
        }
    }

    /// Waits for the deadline.
    pub async fn passed(&mut self) {
        poll_fn(|cx| self.poll_passed(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_asked_last_is_woken_however_often_it_has_asked() {
        let mut deadline = Deadline::new(Instant::now() + Duration::from_secs(2));
        let (first, last) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        for woken in [&first, &last, &first, &last, &last] {
            let waker = Waker::from(woken.clone());
            assert!(deadline.poll_passed(&mut Context::from_waker(&waker)).is_pending());
        }
        // An earlier one counts, too.
        deadline.set(Some(Instant::now() + Duration::from_secs(1)));
        let waker = Waker::from(last.clone());
        assert!(deadline.poll_passed(&mut Context::from_waker(&waker)).is_pending());
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!((first.0.load(Relaxed), last.0.load(Relaxed)), (0, 1));
        assert!(deadline.poll_passed(&mut Context::from_waker(&waker)).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn moves_later_and_earlier() {
        let start = Instant::now();
        let mut deadline = Deadline::new(start + Duration::from_secs(1));
        deadline.set(Some(start + Duration::from_secs(5)));
        deadline.passed().await;
        assert_eq!(start.elapsed().as_secs(), 5);
        deadline.set(Some(Instant::now() + Duration::from_secs(60)));
        deadline.set(Some(Instant::now() + Duration::from_secs(2)));
        deadline.passed().await;
        assert_eq!(start.elapsed().as_secs(), 7);
    }
}
