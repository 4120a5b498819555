//! Asks: one task a check, on the control plane, at its interval.
//!
//! Probes are spread: the first one comes at a random moment soon after the start, each interval differs a little, and
//! only so many run at once, so that neither a start nor a hanging network costs thousands of connections at a time.
//! Tasks are local, because connections are; they end with the last backend that uses their check.

use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until};

use super::checks::{Order, Orders};
use super::http_probe::ask;
use super::{Checked, Probed, Question};
use crate::upstream::dialer::Dialer;
use crate::upstream::fault::unix_seconds;

/// Probes that run at once.
const MAX_PROBES: usize = 64;
/// The first probe comes within this time, or within the interval.
const FIRST_WITHIN: Duration = Duration::from_secs(1);
/// How much an interval may be shorter or longer.
const JITTER: f64 = 0.1;

/// Runs all checks.
pub struct Prober {
    dialer: Dialer,
    orders: Orders,
}

impl Prober {
    /// Asks for what `orders` hold. Its connections are opened by `dialer`, which should count them apart from those of
    /// requests.
    pub fn new(dialer: Dialer, orders: Orders) -> Self {
        Self { dialer, orders }
    }

    /// Begins checks as they are ordered. Never ends while checks may come; to be run where local tasks can run.
    pub async fn run(mut self) {
        let tools = Rc::new((self.dialer, Semaphore::new(MAX_PROBES)));
        while let Some(Order { question, check, end }) = self.orders.0.recv().await {
            let tools = tools.clone();
            spawn_local(async move {
                let watching = Box::pin(watch(&question, &check, &tools.0, &tools.1));
                end.run_until_cancelled(watching).await;
            });
        }
    }
}

async fn watch(question: &Arc<Question>, check: &Weak<Checked>, dialer: &Dialer, slots: &Semaphore) {
    let interval = question.spec.interval;
    sleep(interval.min(FIRST_WITHIN).mul_f64(fastrand::f64())).await;
    loop {
        let next = Instant::now() + interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * fastrand::f64());
        // Fails only when the semaphore is closed, which nobody does.
        let slot = slots.acquire().await;
        let began = Instant::now();
        let result = ask(dialer, question).await;
        drop(slot);
        let Some(check) = check.upgrade() else { return };
        if let Some(result) = result {
            check.note(Probed { at: unix_seconds(), took: began.elapsed(), result });
        }
        drop(check);
        sleep_until(next).await;
    }
}
