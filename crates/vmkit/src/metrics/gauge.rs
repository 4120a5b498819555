//! A number that goes up and down, kept or computed when the page is written.
//!
//! [`Gauge`] is an atomic integer for the request path. [`CallbackGauge`] asks a function at scrape time; that function
//! must be quick and must not register metrics in the set that is being written.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

/// An integer gauge; share it as `Arc<Gauge>`.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// A gauge at 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds one.
    pub fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one away.
    pub fn dec(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A gauge whose value is computed at scrape time; share it as `Arc<CallbackGauge>`.
pub struct CallbackGauge(Box<dyn Fn() -> f64 + Send + Sync>);

impl CallbackGauge {
    /// A gauge that shows what `read` returns.
    pub fn new(read: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Box::new(read))
    }

    /// Calls the function.
    pub fn get(&self) -> f64 {
        (self.0)()
    }
}

impl fmt::Debug for CallbackGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackGauge")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_up_and_down() {
        let gauge = Gauge::new();
        gauge.inc();
        gauge.inc();
        gauge.dec();
        assert_eq!(gauge.get(), 1);
        gauge.dec();
        gauge.dec();
        assert_eq!(gauge.get(), -1);
        gauge.set(9);
        assert_eq!(gauge.get(), 9);
    }

    #[test]
    fn callback_is_asked_each_time() {
        let calls = std::sync::Arc::new(Gauge::new());
        let shown = calls.clone();
        let gauge = CallbackGauge::new(move || {
            shown.inc();
            shown.get() as f64 / 2.0
        });
        assert_eq!((gauge.get(), gauge.get(), calls.get()), (0.5, 1.0, 2));
    }
}
