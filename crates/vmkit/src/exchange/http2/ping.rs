//! Finds peers that are dead behind an open connection: asks by PING when streams wait and nothing was read for a while.
//!
//! Servers defend themselves against pings: gRPC's close a connection on the third ping that comes less than five
//! minutes after the one before, unless they have sent a head or a piece of a body in between. So the first two pings of
//! a silence come soon and further ones rarely, and a connection without streams is never asked.

use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::life::Life;

/// Pings of one silence before they get rare.
const SOON: u32 = 2;
/// Time between rare pings; a little more than the five minutes of gRPC.
const RARELY: Duration = Duration::from_secs(301);

/// When the peer was asked.
#[derive(Debug, Default)]
struct Pings {
    /// Since a head or a piece of a body came.
    count: u32,
    last: Option<Instant>,
    /// Whether an answer is owed.
    owed: bool,
}

impl Pings {
    fn may_ask(&self, now: Instant) -> bool {
        self.count < SOON || self.last.is_none_or(|last| now.saturating_duration_since(last) >= RARELY)
    }
}

/// Resolves with the cause when the peer is dead: silent for an interval, then silent for another after a ping.
pub(super) async fn watch(mut ping_pong: h2::PingPong, life: Rc<Life>, interval: Duration) -> String {
    let mut pings = Pings::default();
    let mut read = life.read();
    loop {
        sleep(interval).await;
        if life.was_heard() {
            pings.count = 0;
        }
        if pings.owed && ping_pong.poll_pong(&mut Context::from_waker(Waker::noop())).is_ready() {
            pings.owed = false;
        }
        let was_silent = std::mem::replace(&mut read, life.read()) == read;
        if !was_silent || life.streams() == 0 {
            continue;
        }
        if pings.owed {
            return format!("http2: the backend is silent and has not answered a ping for {interval:?}");
        }
        let now = Instant::now();
        if pings.may_ask(now) && ping_pong.send_ping(h2::Ping::opaque()).is_ok() {
            pings = Pings { count: pings.count + 1, last: Some(now), owed: true };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pings_get_rare() {
        let mut pings = Pings::default();
        let f = |pings: &Pings, want: bool| assert_eq!(pings.may_ask(Instant::now()), want, "{pings:?}");
        f(&pings, true);
        pings = Pings { count: 1, last: Some(Instant::now()), owed: false };
        f(&pings, true);
        pings.count = 2;
        f(&pings, false);
        tokio::time::advance(RARELY).await;
        f(&pings, true);
    }
}
