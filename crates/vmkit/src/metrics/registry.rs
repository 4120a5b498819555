//! Everything that goes on the page, and the page kept for a second.
//!
//! Order of the page: the common set, the set of the serving configuration, then the writers in the order they were
//! added. A reload swaps the second set as a whole, so users that are gone leave no series behind. Rendering happens on
//! the control thread: it may take milliseconds with many users and must not run on a thread that serves requests.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::clock;
use super::prometheus_text::Page;
use super::set::Set;

type Writer = Arc<dyn Fn(&mut Page) + Send + Sync>;

/// The metrics root of one instance of the application.
#[derive(Default)]
pub struct Registry {
    common: Arc<Set>,
    generation: ArcSwapOption<Set>,
    writers: RwLock<Vec<Writer>>,
}

impl Registry {
    /// A registry with an empty common set, no generation and no writers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The set that lives as long as the process.
    pub fn common(&self) -> &Arc<Set> {
        &self.common
    }

    /// Shows the set of a newly applied configuration in place of the one before.
    pub fn replace_generation(&self, set: Option<Arc<Set>>) {
        self.generation.store(set);
    }

    /// Adds a function that appends its lines at each rendering.
    pub fn add_writer(&self, writer: impl Fn(&mut Page) + Send + Sync + 'static) {
        self.writers.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(writer));
    }

    /// Renders the page now. Serve it through [`CachedPage`].
    pub fn render(&self, expose_metadata: bool) -> Vec<u8> {
        clock::refresh();
        let mut page = Page::new(expose_metadata);
        self.common.write(&mut page);
        if let Some(set) = self.generation.load_full() {
            set.write(&mut page);
        }
        // Cloned, so that a writer may take its time and may add writers.
        let writers = self.writers.read().unwrap_or_else(PoisonError::into_inner).clone();
        for writer in writers {
            writer(&mut page);
        }
        page.into_bytes()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("common", &self.common.len()).finish_non_exhaustive()
    }
}

/// The rendered page, at most a second old.
#[derive(Debug)]
pub struct CachedPage {
    registry: Arc<Registry>,
    expose_metadata: bool,
    last: Mutex<Option<(Instant, Bytes)>>,
}

impl CachedPage {
    /// How long a rendered page is served.
    pub const LIFETIME: Duration = Duration::from_secs(1);

    /// A cache over the registry's page.
    pub fn new(registry: Arc<Registry>, expose_metadata: bool) -> Self {
        Self { registry, expose_metadata, last: Mutex::new(None) }
    }

    /// The page; rendered by one caller at a time, the others wait and get the same bytes.
    pub fn get(&self) -> Bytes {
        self.get_at(Instant::now())
    }

    fn get_at(&self, now: Instant) -> Bytes {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((rendered, page)) if now.saturating_duration_since(*rendered) < Self::LIFETIME => page.clone(),
            _ => {
                let page = Bytes::from(self.registry.render(self.expose_metadata));
                *last = Some((now, page.clone()));
                page
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_generations() {
        let registry = Registry::new();
        registry.common().counter("z_common").inc();
        registry.add_writer(|page| page.gauge("a_written", 2.0));
        let f = |generation: Option<&str>, want: &str| {
            registry.replace_generation(generation.map(|name| {
                let set = Set::new();
                set.counter(name);
                Arc::new(set)
            }));
            assert_eq!(String::from_utf8(registry.render(false)).unwrap(), want);
        };
        f(None, "z_common 1\na_written 2\n");
        f(Some("m_old"), "z_common 1\nm_old 0\na_written 2\n");
        f(Some("m_new"), "z_common 1\nm_new 0\na_written 2\n");
    }

    #[test]
    fn a_family_of_two_sets_is_described_once() {
        let registry = Registry::new();
        registry.common().counter("c");
        let set = Set::new();
        set.counter(r#"c{a="1"}"#);
        registry.replace_generation(Some(Arc::new(set)));
        assert_eq!(
            String::from_utf8(registry.render(true)).unwrap(),
            "# HELP c\n# TYPE c counter\nc 0\nc{a=\"1\"} 0\n"
        );
    }

    #[test]
    fn the_page_lives_a_second() {
        let registry = Arc::new(Registry::new());
        let cache = CachedPage::new(registry.clone(), false);
        let start = Instant::now();
        let f = |millis: u64, want: &str| {
            registry.common().counter("scrapes").inc();
            assert_eq!(cache.get_at(start + Duration::from_millis(millis)), want.as_bytes(), "at {millis} ms");
        };
        f(0, "scrapes 1\n");
        f(500, "scrapes 1\n");
        f(999, "scrapes 1\n");
        f(1000, "scrapes 4\n");
        f(1999, "scrapes 4\n");
        f(2000, "scrapes 6\n");
    }
}
