//! A group of named metrics that appears on the page as a whole.
//!
//! The full name, labels included, is printed exactly as registered. Families come out sorted by name and series
//! within a family by label text. Registration is for start-up, reload and the rare first use; the request path keeps
//! the `Arc` it got. A set is locked while it is written, so gauge callbacks must not register into it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::group::{GroupKind, Groups, SeriesGroup};
use super::prometheus_text::{Kind, Page, split_name};
use super::{CallbackGauge, Counter, Gauge, Histogram, Summary};

/// One registered series or group of series.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "named after what they hold")]
pub enum Metric {
    Counter(Arc<Counter>),
    Gauge(Arc<Gauge>),
    CallbackGauge(Arc<CallbackGauge>),
    Summary(Arc<Summary>),
    Histogram(Arc<Histogram>),
}

impl Metric {
    fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Gauge(_) | Self::CallbackGauge(_) => Kind::Gauge,
            Self::Summary(_) => Kind::Summary,
            Self::Histogram(_) => Kind::Untyped,
        }
    }

    fn write(&self, page: &mut Page, family: &str, labels: &str, scratch: &mut Vec<u64>) {
        match self {
            Self::Summary(summary) => return summary.write(page, family, labels, scratch),
            Self::Histogram(histogram) => return histogram.write(page, family, labels),
            Self::Counter(_) | Self::Gauge(_) | Self::CallbackGauge(_) => page.name(family, "", labels, ""),
        }
        match self {
            Self::Counter(counter) => page.integer(counter.get()),
            Self::Gauge(gauge) => page.integer(gauge.get()),
            Self::CallbackGauge(gauge) => page.value(gauge.get()),
            Self::Summary(_) | Self::Histogram(_) => {}
        }
    }
}

macro_rules! metric_from {
    ($($type:ident),*) => {$(
        impl From<Arc<$type>> for Metric {
            fn from(metric: Arc<$type>) -> Self {
                Self::$type(metric)
            }
        }
    )*};
}
metric_from!(Counter, Gauge, CallbackGauge, Summary, Histogram);

type Families = BTreeMap<Box<str>, Family>;
type Family = BTreeMap<Box<str>, Metric>;

/// A set of named metrics.
#[derive(Debug, Default)]
pub struct Set {
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    families: Families,
    groups: Groups,
}

/// Where the series of a family are.
enum Series<'s> {
    Single(&'s Family),
    /// And its place among the families of the groups.
    OfGroups(&'s GroupKind, usize),
}

macro_rules! get_or_create {
    ($(#[doc = $doc:literal])* $method:ident, $type:ident) => {
        $(#[doc = $doc])*
        ///
        /// If the name is taken by a metric of another kind, that one stays on the page and the caller gets one that
        /// is not shown.
        pub fn $method(&self, name: &str) -> Arc<$type> {
            match self.get_or_insert(name, || Metric::$type(Arc::default())) {
                Metric::$type(metric) => metric,
                _ => Arc::default(),
            }
        }
    };
}

impl Set {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    get_or_create!(
        /// The counter of this full name, created at 0 if there is none.
        counter, Counter
    );
    get_or_create!(
        /// The gauge of this full name, created at 0 if there is none.
        gauge, Gauge
    );
    get_or_create!(
        /// The summary of this full name, created empty if there is none.
        summary, Summary
    );
    get_or_create!(
        /// The histogram of this full name, created empty if there is none.
        histogram, Histogram
    );

    /// Registers a gauge that is computed at scrape time; false if the name is taken.
    pub fn callback_gauge(&self, name: &str, read: impl Fn() -> f64 + Send + Sync + 'static) -> bool {
        self.register(name, Arc::new(CallbackGauge::new(read)))
    }

    /// Puts an existing metric under a full name. The first one registered wins: false if the name is taken.
    pub fn register(&self, name: &str, metric: impl Into<Metric>) -> bool {
        let (family, labels) = split_name(name);
        let mut content = self.lock();
        match family_of(&mut content.families, family).entry(labels.into()) {
            Entry::Vacant(place) => {
                place.insert(metric.into());
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// Puts the series of a group on the page, one of each family; false if the same families have these labels already.
    /// The labels have their braces, or are empty. No other series may have the name of such a family.
    pub fn register_group(
        &self,
        families: &'static [&'static str],
        labels: Arc<str>,
        group: impl SeriesGroup + 'static,
    ) -> bool {
        self.lock().groups.add(families, labels, group)
    }

    /// Takes a series off the page; true if it was there.
    pub fn unregister(&self, name: &str) -> bool {
        let (family, labels) = split_name(name);
        let families = &mut self.lock().families;
        let Some(series) = families.get_mut(family) else { return false };
        let removed = series.remove(labels).is_some();
        if series.is_empty() {
            families.remove(family);
        }
        removed
    }

    /// The metric of a full name, if any: lets the next generation keep what it counted.
    pub fn get(&self, name: &str) -> Option<Metric> {
        let (family, labels) = split_name(name);
        self.lock().families.get(family)?.get(labels).cloned()
    }

    /// Number of registered metrics.
    pub fn len(&self) -> usize {
        let content = self.lock();
        content.families.values().map(BTreeMap::len).sum::<usize>() + content.groups.len()
    }

    /// Whether nothing is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends all metrics to the page.
    pub fn write(&self, page: &mut Page) {
        let mut scratch = Vec::new();
        let content = self.lock();
        let single = content
            .families
            .iter()
            .filter_map(|(name, series)| Some((&**name, series.values().next()?.kind(), Series::Single(series))));
        let of_groups = content.groups.families();
        let of_groups =
            of_groups.filter_map(|(name, group, at)| Some((name, group.kind_of(at)?, Series::OfGroups(group, at))));
        let mut families: Vec<_> = single.chain(of_groups).collect();
        families.sort_by_key(|(name, ..)| *name);
        for (family, kind, series) in families {
            page.family(family, kind);
            match series {
                Series::OfGroups(kind, at) => kind.write(at, family, page, &mut scratch),
                Series::Single(series) => {
                    for (labels, metric) in series {
                        metric.write(page, family, labels, &mut scratch);
                    }
                }
            }
        }
    }

    fn get_or_insert(&self, name: &str, create: impl FnOnce() -> Metric) -> Metric {
        let (family, labels) = split_name(name);
        let mut content = self.lock();
        let series = family_of(&mut content.families, family);
        if let Some(metric) = series.get(labels) {
            return metric.clone();
        }
        series.entry(labels.into()).or_insert_with(create).clone()
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn family_of<'a>(families: &'a mut Families, family: &str) -> &'a mut Family {
    if !families.contains_key(family) {
        families.insert(family.into(), BTreeMap::new());
    }
    families.get_mut(family).expect("BUG: inserted above")
}

#[cfg(test)]
mod tests {
    use super::super::Reading;
    use super::*;

    fn text(set: &Set, metadata: bool) -> String {
        let mut page = Page::new(metadata);
        set.write(&mut page);
        String::from_utf8(page.into_bytes()).unwrap()
    }

    #[test]
    fn families_stay_together_and_are_sorted() {
        let set = Set::new();
        set.counter("foo_bar").inc();
        set.counter(r#"foo{b="2"}"#).add(2);
        set.gauge("zoo").set(-1);
        set.counter(r#"foo{a="1", b="x y"}"#).inc();
        set.counter("foo");
        assert!(set.callback_gauge("half", || 0.5));
        assert_eq!(
            text(&set, false),
            "foo 0\nfoo{a=\"1\", b=\"x y\"} 1\nfoo{b=\"2\"} 2\nfoo_bar 1\nhalf 0.5\nzoo -1\n"
        );
        assert_eq!(set.len(), 6);
    }

    #[test]
    fn create_or_get() {
        let set = Set::new();
        set.counter("a").inc();
        set.counter("a").inc();
        assert_eq!(set.counter("a").get(), 2);
        set.gauge("a").set(9);
        assert_eq!(text(&set, false), "a 2\n");
    }

    #[test]
    fn the_first_registered_wins() {
        let set = Set::new();
        let first = Arc::new(Counter::new());
        first.inc();
        assert!(set.register("a", first.clone()));
        assert!(!set.register("a", Arc::new(Gauge::new())));
        assert!(matches!(set.get("a"), Some(Metric::Counter(same)) if Arc::ptr_eq(&same, &first)));
        assert_eq!(text(&set, false), "a 1\n");
    }

    #[test]
    fn groups_stand_among_the_other_families() {
        static PETS: &[&str] = &["pets_fed_total", "pets", "pets_nap_seconds"];
        struct Pets(Counter, f64, Summary);
        impl SeriesGroup for Pets {
            fn read(&self, family: usize) -> Reading<'_> {
                match family {
                    0 => Reading::Counter(&self.0),
                    1 => Reading::Gauge(self.1),
                    _ => Reading::Summary(&self.2),
                }
            }
        }
        let set = Set::new();
        let add = |labels: &str, number| {
            let pets = Pets(Counter::new(), number, Summary::new());
            pets.0.inc();
            set.register_group(PETS, labels.into(), pets)
        };
        set.counter("pets_bought");
        assert!(add(r#"{kind="dog"}"#, 2.0));
        assert!(add("", 7.0));
        assert!(add(r#"{kind="cat"}"#, 0.5));
        assert!(!add(r#"{kind="dog"}"#, 3.0));
        assert_eq!((set.len(), set.is_empty()), (10, false));
        assert_eq!(
            text(&set, true),
            "# HELP pets\n# TYPE pets gauge\npets 7\npets{kind=\"cat\"} 0.5\npets{kind=\"dog\"} 2\n\
             # HELP pets_bought\n# TYPE pets_bought counter\npets_bought 0\n\
             # HELP pets_fed_total\n# TYPE pets_fed_total counter\n\
             pets_fed_total 1\npets_fed_total{kind=\"cat\"} 1\npets_fed_total{kind=\"dog\"} 1\n\
             # HELP pets_nap_seconds\n# TYPE pets_nap_seconds summary\n"
        );
    }

    #[test]
    fn unregistered_series_disappear() {
        let set = Set::new();
        set.counter("a");
        assert!(set.unregister("a"));
        assert!(!set.unregister("a"));
        assert!(set.is_empty());
        assert_eq!(text(&set, true), "");
    }

    #[test]
    fn metadata_of_every_kind() {
        let set = Set::new();
        set.counter("c_total");
        set.counter(r#"c_total{a="1"}"#);
        set.gauge("g");
        set.histogram("h").update(0.0);
        set.summary("s").update(2.0);
        assert_eq!(
            text(&set, true),
            "# HELP c_total\n# TYPE c_total counter\nc_total 0\nc_total{a=\"1\"} 0\n# HELP g\n# TYPE g gauge\ng 0\n\
             # HELP h\n# TYPE h untyped\nh_bucket{vmrange=\"0...1.000e-09\"} 1\nh_sum 0\nh_count 1\n\
             # HELP s\n# TYPE s summary\ns{quantile=\"0.5\"} 2\ns{quantile=\"0.9\"} 2\ns{quantile=\"0.97\"} 2\n\
             s{quantile=\"0.99\"} 2\ns{quantile=\"1\"} 2\ns_sum 2\ns_count 1\n"
        );
    }

    #[test]
    fn integers_are_exact() {
        let set = Set::new();
        set.counter("c").set(u64::MAX);
        set.gauge("g").set(i64::MIN);
        assert_eq!(text(&set, false), "c 18446744073709551615\ng -9223372036854775808\n");
    }

    #[test]
    fn ten_thousand_users_are_all_there() {
        let set = Set::new();
        for user in 0..10_000 {
            for suffix in ["requests_total", "request_errors_total", "backend_requests_total", "backend_errors_total"] {
                set.counter(&format!("vmauth_user_{suffix}{{username=\"user-{user}\"}}"));
            }
            for suffix in ["limit_reached_total", "capacity", "current"] {
                set.gauge(&format!("vmauth_user_{suffix}{{username=\"user-{user}\"}}"));
            }
            set.summary(&format!("vmauth_user_request_duration_seconds{{username=\"user-{user}\"}}")).update(0.001);
        }
        assert_eq!(text(&set, false).lines().count(), 10_000 * (7 + 7));
    }
}
