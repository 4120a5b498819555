//! Whether a peer has hung up while what it has sent waits to be read.
//!
//! A read finds the end of a stream only behind all bytes before it, and nobody reads on while nobody takes what was read:
//! the peer's slots and counts would be held until some limit passes. The system tells of an end beside the bytes, and the
//! runtime remembers it (`EPOLLRDHUP`, epoll_ctl(2)), but wakes only who waits for bytes. So it is looked at from time to
//! time, and only while somebody waits for something else.

use std::cell::RefCell;
use std::fmt::Debug;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// Knows whether a peer has left, whatever else is going on with its stream.
pub trait PeerWatch: Debug {
    /// Resolves when the peer has left or reset the stream.
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()>;
}

/// How often it is looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks from time to time.
#[derive(Debug, Default)]
pub(super) struct HangUp(RefCell<Option<Pin<Box<Sleep>>>>);

impl HangUp {
    /// Resolves when `has_hung_up` has said yes. One task waits.
    pub(super) fn poll(&self, cx: &mut Context<'_>, has_hung_up: impl Fn() -> bool) -> Poll<()> {
        let mut timer = self.0.borrow_mut();
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(PAUSE)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if has_hung_up() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(Instant::now() + PAUSE);
        }
    }
}

/// Whether the peer has ended its side or reset the connection, as far as the system has said so.
pub(super) fn has_hung_up(tcp: &TcpStream) -> bool {
    // The end counts for this interest, unread bytes do not: with that for bytes it would not be clear who has answered.
    let ready = pin!(tcp.ready(Interest::PRIORITY)).poll(&mut Context::from_waker(Waker::noop()));
    matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> [TcpStream; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        [listener.accept().await.unwrap().0, peer]
    }

    #[tokio::test]
    async fn an_end_is_seen_beside_unread_bytes() {
        for aborts in [false, true] {
            let [mut tcp, mut peer] = pair().await;
            peer.write_all(b"unread").await.unwrap();
            tcp.readable().await.unwrap();
            assert!(!has_hung_up(&tcp));
            if aborts {
                peer.set_zero_linger().unwrap();
            }
            drop(peer);
            let watch = HangUp::default();
            poll_fn(|cx| watch.poll(cx, || has_hung_up(&tcp))).await;
            let mut bytes = Vec::new();
            assert_eq!(tcp.read_to_end(&mut bytes).await.is_ok(), !aborts);
        }
    }
}
