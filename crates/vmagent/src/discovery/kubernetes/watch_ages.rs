//! How old the knowledge of each watch is, on the page of metrics as long as the URL is watched.
//!
//! Ages and not times, so that an alert needs no clock of the machine; they count from the start of a watch until
//! something comes, so a watch that never worked grows old like one that broke. A URL may be watched with several
//! credentials: the page, which must not tell credentials apart, then shows the oldest. The page is locked while ages
//! are read, so nothing that is locked here while a series is put on it may be needed for reading.

use super::objects::ObjectKind;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use vmkit::metrics::Set;

/// The ages of all watches.
#[derive(Debug)]
pub(super) struct WatchAges {
    set: Arc<Set>,
    prefix: &'static str,
    watched: Mutex<HashMap<WatchName, Arc<SameName>>>,
}

/// Kind and URL.
type WatchName = (ObjectKind, String);

/// The watches that share a name.
type SameName = Mutex<Vec<Arc<Moments>>>;

/// When one watch heard what, in milliseconds since it began.
#[derive(Debug)]
struct Moments {
    begun: Instant,
    event: AtomicU64,
    list: AtomicU64,
}

/// The age of one watch; its series go with the last one of their name.
#[derive(Debug)]
pub(super) struct WatchAge {
    ages: Arc<WatchAges>,
    name: WatchName,
    moments: Arc<Moments>,
}

/// Reads one of the moments.
type Moment = fn(&Moments) -> &AtomicU64;

const SERIES: [(&str, Moment); 2] =
    [("last_event_age_seconds", |moments| &moments.event), ("last_list_age_seconds", |moments| &moments.list)];

impl WatchAges {
    /// For series whose names begin with `prefix`.
    pub(super) fn new(set: &Arc<Set>, prefix: &'static str) -> Arc<Self> {
        Arc::new(Self { set: Arc::clone(set), prefix, watched: Mutex::default() })
    }

    /// A watch begins. `url` is without credentials.
    pub(super) fn watch(self: &Arc<Self>, kind: ObjectKind, url: &str) -> WatchAge {
        let moments = Arc::new(Moments { begun: Instant::now(), event: AtomicU64::new(0), list: AtomicU64::new(0) });
        let name = (kind, url.to_owned());
        let mut watched = lock(&self.watched);
        let same = watched.entry(name.clone()).or_insert_with(|| {
            let same = Arc::<SameName>::default();
            for (suffix, moment) in SERIES {
                let read = Arc::clone(&same);
                self.set.callback_gauge(&self.series(suffix, &name), move || {
                    lock(&read).iter().map(|moments| moments.age(moment)).fold(0.0, f64::max)
                });
            }
            same
        });
        lock(same).push(Arc::clone(&moments));
        WatchAge { ages: Arc::clone(self), name, moments }
    }

    fn series(&self, suffix: &str, (kind, url): &WatchName) -> String {
        let url = vmkit::go_text::quote(url.as_bytes());
        format!("{}_{suffix}{{role=\"{kind}\",url={url}}}", self.prefix)
    }
}

impl WatchAge {
    /// An event or bookmark came.
    pub(super) fn event(&self) {
        self.moments.note(|moments| &moments.event);
    }

    /// A list was complete, which says as much as an event.
    pub(super) fn list(&self) {
        self.moments.note(|moments| &moments.list);
        self.event();
    }
}

impl Drop for WatchAge {
    fn drop(&mut self) {
        let mut watched = lock(&self.ages.watched);
        let Some(same) = watched.get(&self.name) else { return };
        let mut left = lock(same);
        left.retain(|moments| !Arc::ptr_eq(moments, &self.moments));
        if left.is_empty() {
            drop(left);
            SERIES.iter().for_each(|(suffix, _)| {
                self.ages.set.unregister(&self.ages.series(suffix, &self.name));
            });
            watched.remove(&self.name);
        }
    }
}

impl Moments {
    fn note(&self, moment: Moment) {
        moment(self).store(self.elapsed_ms(), Ordering::Relaxed);
    }

    /// Seconds since a moment.
    fn age(&self, moment: Moment) -> f64 {
        // What was noted meanwhile may be later than the clock that was read.
        self.elapsed_ms().saturating_sub(moment(self).load(Ordering::Relaxed)) as f64 / 1e3
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
