//! The limit for a write that makes no progress, because the peer does not read.
//!
//! A slow reader may take as long as it likes as long as it takes something; one that takes nothing must not hold a
//! connection, its slots and its buffers for ever. The timer exists only while a write waits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// Watches one write or several in a row.
#[derive(Debug)]
pub(super) struct Stall {
    /// `None` for no limit.
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { limit, timer: None }
    }

    /// Passes on what a write says; `TimedOut` when it waits for longer than the limit.
    #[inline]
    pub(super) fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let (Poll::Pending, Some(limit)) = (&written, self.limit) else {
            self.timer = None;
            return written;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn progress_begins_the_limit_anew() {
        let start = Instant::now();
        let mut stall = Stall::new(Some(Duration::from_secs(5)));
        let mut pause = Box::pin(sleep(Duration::from_secs(4)));
        poll_fn(|cx| {
            let written = pause.as_mut().poll(cx).map(Ok);
            stall.watch(cx, written)
        })
        .await
        .unwrap();
        let stuck: io::Result<()> = poll_fn(|cx| stall.watch(cx, Poll::Pending)).await;
        assert_eq!(stuck.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 9);
    }
}
