//! One coarse timer a connection, re-armed lazily.
//!
//! Phases come and go many times a second, timers are expensive to arm. The timer stays armed for the moment it was
//! armed for; when it fires too early it is armed again for the moment that is wanted now. Moving the deadline later
//! is therefore free; only an earlier one touches the timer.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// The deadline of the phase a connection is in.
#[derive(Debug)]
pub struct Deadline {
    timer: Pin<Box<Sleep>>,
    wanted: Option<Instant>,
}

impl Deadline {
    /// A deadline at `at`.
    pub fn new(at: Instant) -> Self {
        Self { timer: Box::pin(sleep_until(at)), wanted: Some(at) }
    }

    /// The current phase must end at `at`; `None` for no limit.
    pub fn set(&mut self, at: Option<Instant>) {
        self.wanted = at;
        if let Some(at) = at
            && at < self.timer.deadline()
        {
            self.timer.as_mut().reset(at);
        }
    }

    /// Ready once the deadline has passed.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(wanted) = self.wanted else { return Poll::Pending };
            ready!(self.timer.as_mut().poll_unpin(cx));
            if wanted <= self.timer.deadline() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(wanted);
        }
    }

    /// Waits for the deadline.
    pub async fn passed(&mut self) {
        poll_fn(|cx| self.poll_passed(cx)).await;
    }
}

trait PollUnpin {
    fn poll_unpin(self, cx: &mut Context<'_>) -> Poll<()>;
}

impl PollUnpin for Pin<&mut Sleep> {
    fn poll_unpin(self, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(self, cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
