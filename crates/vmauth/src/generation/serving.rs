//! The generation that serves: swapped by the control plane, read by the workers, freed where nobody waits.
//!
//! A worker looks for a newer generation by a plain load and holds it by a plain count. It is told of every swap, so an
//! idle worker lets an old generation go as well. The last reference is always that of a thread of its own: freeing ten
//! thousand users takes a tenth of a second, which no request shall wait for.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use tokio::sync::watch;

/// How often retired values are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A value that serves and is replaced as a whole.
#[derive(Debug)]
pub struct Serving<T> {
    current: Arc<ArcSwap<T>>,
    changes: watch::Sender<()>,
    retired: Sender<Arc<T>>,
}

impl<T: Send + Sync + 'static> Serving<T> {
    /// Lets `first` serve. Starts the thread that frees old values.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn new(first: Arc<T>) -> std::io::Result<Self> {
        let (retired, old) = channel();
        std::thread::Builder::new().name("retired".to_owned()).spawn(move || free(&old))?;
        Ok(Self { current: Arc::new(ArcSwap::new(first)), changes: watch::Sender::new(()), retired })
    }

    /// The value that serves now.
    pub fn load(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Lets `next` serve. The old value is freed when nobody holds it any more.
    pub fn replace(&self, next: Arc<T>) {
        let old = self.current.swap(next);
        self.changes.send_replace(());
        // Without the thread the process ends, and the value with it.
        let _ = self.retired.send(old);
    }
}

/// Holds old values until nobody else does.
fn free<T>(retired: &Receiver<Arc<T>>) {
    let mut held: Vec<Arc<T>> = Vec::new();
    loop {
        let next = match held.is_empty() {
            true => retired.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => retired.recv_timeout(LOOK_EVERY),
        };
        match next {
            Ok(old) => held.push(old),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        held.retain(|old| Arc::strong_count(old) > 1);
    }
}

/// Counted without atomics: requests of one worker hold it.
#[allow(clippy::redundant_allocation, reason = "the outer count is plain, the inner one would be atomic per request")]
pub type Held<T> = Rc<Arc<T>>;

/// The serving value as one worker holds it.
pub struct Seen<T> {
    serving: Arc<Serving<T>>,
    state: RefCell<State<T>>,
}

struct State<T> {
    cache: Cache<Arc<ArcSwap<T>>, Arc<T>>,
    held: Held<T>,
}

impl<T: Send + Sync + 'static> Seen<T> {
    /// The view of a worker.
    pub fn new(serving: Arc<Serving<T>>) -> Self {
        let mut cache = Cache::new(serving.current.clone());
        let held = Rc::new(cache.load().clone());
        Self { serving, state: RefCell::new(State { cache, held }) }
    }

    /// The value that serves now.
    pub fn current(&self) -> Held<T> {
        let mut state = self.state.borrow_mut();
        let State { cache, held } = &mut *state;
        let current = cache.load();
        if !Arc::ptr_eq(current, held) {
            *held = Rc::new(current.clone());
        }
        held.clone()
    }

    /// Lets old values go although no request comes. Never ends; spawn it on the worker.
    pub async fn follow(self: Rc<Self>) {
        let mut changes = self.serving.changes.subscribe();
        loop {
            drop(self.current());
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::task::LocalSet;

    /// Notes the name of the thread that frees it.
    struct Large(&'static str, Arc<Mutex<Vec<(&'static str, String)>>>);

    impl Drop for Large {
        fn drop(&mut self) {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            self.1.lock().unwrap().push((self.0, thread));
        }
    }

    #[tokio::test]
    async fn idle_workers_let_go_and_nobody_frees_on_a_worker() {
        let freed = Arc::new(Mutex::new(Vec::new()));
        let large = |name| Arc::new(Large(name, freed.clone()));
        let serving = Arc::new(Serving::new(large("first")).unwrap());
        let (idle, busy) = (Rc::new(Seen::new(serving.clone())), Rc::new(Seen::new(serving.clone())));
        let workers = LocalSet::new();
        workers.spawn_local(idle.clone().follow());
        workers.spawn_local(busy.clone().follow());
        workers
            .run_until(async {
                let request = busy.current();
                serving.replace(large("second"));
                serving.replace(large("third"));
                wait_for(&freed, &[("second", "retired")]).await;
                assert_eq!((request.0, idle.current().0, busy.current().0), ("first", "third", "third"));
                drop(request);
                wait_for(&freed, &[("second", "retired"), ("first", "retired")]).await;
            })
            .await;
    }

    /// The condition has no event to wait on: the thread looks ten times a second.
    async fn wait_for(freed: &Mutex<Vec<(&'static str, String)>>, want: &[(&str, &str)]) {
        let waiting = async {
            loop {
                let now = freed.lock().unwrap().clone();
                if now.iter().map(|(name, thread)| (*name, thread.as_str())).eq(want.iter().copied()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("freed in time");
    }
}
