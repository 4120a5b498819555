//! Waiting with a deadline: gates that a test opens, and polling of what cannot tell by itself.
//!
//! A gate joins two threads without a pause of guessed length. Polling is for what lies in another process (a metric, the
//! number of open files). Neither may ever wait for ever.

use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the kit waits for what must happen soon; long enough for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A door that is closed until somebody opens it, then stays open. Clones are the same door.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits for [`open`](Self::open); false when `limit` has passed first.
    pub fn wait(&self, limit: Duration) -> bool {
        let guard = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) =
            self.0.1.wait_timeout_while(guard, limit, |open| !*open).unwrap_or_else(PoisonError::into_inner);
        *guard
    }
}

/// Repeats `attempt` until it is `Ok`; panics with `what` and the last error after [`PATIENCE`].
pub fn eventually<T, E: Debug>(what: &str, attempt: impl FnMut() -> Result<T, E>) -> T {
    within(PATIENCE, what, attempt)
}

/// As [`eventually`], with a limit of its own.
pub fn within<T, E: Debug>(limit: Duration, what: &str, mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) if start.elapsed() > limit => panic!("{what}: not within {limit:?}; at last: {error:?}"),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_opens_for_all_its_clones() {
        let gate = Gate::new();
        assert!(!gate.wait(Duration::from_millis(1)));
        let other = gate.clone();
        let waiter = thread::spawn(move || other.wait(PATIENCE));
        gate.open();
        assert!(waiter.join().unwrap());
    }

    #[test]
    fn polling_ends_with_the_first_success() {
        let mut n = 0;
        let got = eventually("three", || {
            n += 1;
            if n == 3 { Ok(n) } else { Err(n) }
        });
        assert_eq!(got, 3);
    }

    #[test]
    #[should_panic(expected = "never: not within 1ms; at last: \"no\"")]
    fn polling_says_what_was_missing() {
        within::<(), _>(Duration::from_millis(1), "never", || Err("no"));
    }
}
