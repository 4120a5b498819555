//! Series that share their labels and live together, such as all of one user: one entry of a set instead of one each.
//!
//! With ten thousand users the names of the series would else take more memory than the users. A [`Groups`] belongs to a
//! set, is locked with it, and only says what there is: order and text of the page are the set's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::prometheus_text::{Kind, Page};
use super::{Counter, Summary};

/// What a series of a group shows at the moment.
#[derive(Debug)]
pub enum Reading<'g> {
    /// A counter.
    Counter(&'g Counter),
    /// The value of a gauge.
    Gauge(f64),
    /// A summary.
    Summary(&'g Summary),
}

impl Reading<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Gauge(_) => Kind::Gauge,
            Self::Summary(_) => Kind::Summary,
        }
    }
}

/// The series of one label text.
pub trait SeriesGroup: Send + Sync {
    /// What the series of the family at this place shows. It must be quick and must not register metrics.
    fn read(&self, family: usize) -> Reading<'_>;
}

/// All groups of a set. Those with the same families are of one kind.
#[derive(Default)]
pub(super) struct Groups {
    kinds: Vec<GroupKind>,
}

/// The groups with the same families, by label text.
pub(super) struct GroupKind {
    /// Names of the families that each group has a series of.
    families: &'static [&'static str],
    members: BTreeMap<Arc<str>, Box<dyn SeriesGroup>>,
}

impl Groups {
    /// Adds a group; false if there is one of its kind with these labels.
    pub(super) fn add(
        &mut self,
        families: &'static [&'static str],
        labels: Arc<str>,
        group: impl SeriesGroup + 'static,
    ) -> bool {
        let place = self.kinds.iter().position(|kind| std::ptr::eq(kind.families, families)).unwrap_or_else(|| {
            self.kinds.push(GroupKind { families, members: BTreeMap::new() });
            self.kinds.len() - 1
        });
        let Some(kind) = self.kinds.get_mut(place) else { return false };
        let is_new = !kind.members.contains_key(&labels);
        if is_new {
            kind.members.insert(labels, Box::new(group));
        }
        is_new
    }

    /// The name of each family of each kind, with its place in the list of its kind.
    pub(super) fn families(&self) -> impl Iterator<Item = (&'static str, &GroupKind, usize)> {
        self.kinds.iter().flat_map(|kind| kind.families.iter().enumerate().map(move |(at, name)| (*name, kind, at)))
    }

    /// Number of series.
    pub(super) fn len(&self) -> usize {
        self.kinds.iter().map(|kind| kind.families.len() * kind.members.len()).sum()
    }
}

impl GroupKind {
    /// The type of a family; `None` without groups.
    pub(super) fn kind_of(&self, at: usize) -> Option<Kind> {
        self.members.values().next().map(|group| group.read(at).kind())
    }

    /// Appends the series of one family, by label text.
    pub(super) fn write(&self, at: usize, family: &str, page: &mut Page, scratch: &mut Vec<u64>) {
        for (labels, group) in &self.members {
            match group.read(at) {
                Reading::Summary(summary) => summary.write(page, family, labels, scratch),
                Reading::Counter(counter) => {
                    page.name(family, "", labels, "");
                    page.integer(counter.get());
                }
                Reading::Gauge(value) => {
                    page.name(family, "", labels, "");
                    page.value(value);
                }
            }
        }
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("series", &self.len()).finish_non_exhaustive()
    }
}
