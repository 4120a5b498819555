//! What devstack says on its standard output.
//!
//! A thread of its own writes, because a pipe that nobody reads must hold up neither signals nor the system that is
//! watched: what does not fit is dropped.

use std::io::{Write, stdout};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Texts that may wait.
const MAX_WAITING: usize = 64;

enum Order {
    Text(String),
    /// Tells when everything before is written.
    Flush(SyncSender<()>),
}

/// The way to standard output. Clones are the same.
#[derive(Clone)]
pub struct Output(SyncSender<Order>);

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Output")
    }
}

impl Output {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start() -> std::io::Result<Self> {
        let (sender, orders) = sync_channel(MAX_WAITING);
        std::thread::Builder::new().name("output".to_owned()).spawn(move || write_all(&orders))?;
        Ok(Self(sender))
    }

    /// Writes a text as it is, soon.
    pub fn print(&self, text: impl Into<String>) {
        let _ = self.0.try_send(Order::Text(text.into()));
    }

    /// Waits a moment for what was printed.
    pub fn flush(&self, patience: Duration) {
        let (done, written) = sync_channel(1);
        if self.0.try_send(Order::Flush(done)).is_ok() {
            let _ = written.recv_timeout(patience);
        }
    }
}

fn write_all(orders: &Receiver<Order>) {
    let mut out = stdout();
    for order in orders {
        match order {
            // Nobody may read any more.
            Order::Text(text) => drop(out.write_all(text.as_bytes()).and_then(|()| out.flush())),
            Order::Flush(done) => drop(done.send(())),
        }
    }
}
