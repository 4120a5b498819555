//! The pause between fetches of keys that tokens ask for.
//!
//! Anybody can send a token with an unknown key, so the pause grows while fetches bring nothing new: from one second to
//! one minute. New keys, or five minutes without anybody asking, end it: a provider that rotates is heard at once.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
const FORGET_AFTER: Duration = Duration::from_secs(5 * 60);

/// When the next fetch may be asked for.
#[derive(Debug, Default)]
pub(super) struct AskedPause {
    asked: Option<Instant>,
    length: Duration,
}

impl AskedPause {
    /// The end of the pause; now if there is none.
    pub(super) fn ends(&self) -> Instant {
        self.asked.map_or_else(Instant::now, |asked| asked + self.length)
    }

    /// A fetch that was asked for begins.
    pub(super) fn begin(&mut self) {
        let now = Instant::now();
        let is_fresh = self.asked.is_some_and(|asked| now - asked < FORGET_AFTER);
        self.length = if is_fresh { (self.length * 2).clamp(FIRST, LONGEST) } else { FIRST };
        self.asked = Some(now);
    }

    /// There are new keys.
    pub(super) fn reset(&mut self) {
        self.length = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn grows_while_nothing_changes() {
        let mut pause = AskedPause::default();
        let length = |pause: &AskedPause| (pause.ends() - Instant::now()).as_secs();
        assert_eq!(length(&pause), 0);
        for want in [1, 2, 4, 8, 16, 32, 60, 60] {
            pause.begin();
            assert_eq!(length(&pause), want);
            tokio::time::sleep_until(pause.ends()).await;
        }
        pause.reset();
        pause.begin();
        assert_eq!(length(&pause), 2, "one second after the change, then longer again");
        tokio::time::sleep(FORGET_AFTER).await;
        pause.begin();
        assert_eq!(length(&pause), 1);
    }
}
