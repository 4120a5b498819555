//! Series that share their labels and live together, such as all of one user: one entry of a set instead of one each.
//!
//! With ten thousand users the names of the series would else take more memory than the users. A [`Groups`] belongs to a
//! set, is locked with it, and only says what there is: order and text of the page are the set's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::prometheus_text::{Kind, Page};
use super::{Counter, Summary};

/// One of the families that every group of a kind has a series of.
#[derive(Clone, Copy, Debug)]
pub struct GroupFamily {
    /// Its name, without labels.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
}

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
    pub(super) families: &'static [GroupFamily],
    members: BTreeMap<Arc<str>, Box<dyn SeriesGroup>>,
}

impl Groups {
    /// Adds a group; false if there is one of its kind with these labels.
    pub(super) fn add(
        &mut self,
        families: &'static [GroupFamily],
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

    /// Each family of each kind, with its place in the list of its kind.
    pub(super) fn families(&self) -> impl Iterator<Item = (&GroupKind, usize, GroupFamily)> {
        self.kinds.iter().flat_map(|kind| kind.families.iter().enumerate().map(move |(at, family)| (kind, at, *family)))
    }

    /// Number of series.
    pub(super) fn len(&self) -> usize {
        self.kinds.iter().map(|kind| kind.families.len() * kind.members.len()).sum()
    }
}

impl GroupKind {
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
