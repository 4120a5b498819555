//! The labels of a sample: those of the page, of the target, of the job's rules and the external ones.
//!
//! Order on the wire: name, labels of the page, of the target, external ones. Where a name occurs on the page and on the
//! target, the page's label is renamed to `exported_…`, or it wins with `honor_labels`. Most samples clash with nothing
//! and meet no rule: their labels go straight into the block.

use super::auto_metrics::is_automatic;
use super::target::Target;
use crate::exposition::SampleLine;
use crate::labels::{LabelBuf, Labels};
use crate::relabel::RelabelRules;
use crate::remote_write::SeriesBlock;

const NAME: &[u8] = b"__name__";
const EXPORTED: &[u8] = b"exported_";

/// What is done to the labels of all samples of a target.
#[derive(Debug)]
pub struct LabelAssembly {
    /// Labels of the target and external ones as they follow those of a page that clashes with none.
    common: SeriesBlock,
    common_names: Box<[Box<[u8]>]>,
    /// Bits of the lengths of these names: most labels of a page are no candidates for a clash.
    common_lengths: u64,
    honor_labels: bool,
    /// Whether samples without clash can be written directly.
    direct: bool,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assembled {
    /// It is written into the block as a series without samples; so many labels.
    Series(usize),
    /// A rule dropped it, or no label is left.
    Dropped,
}

impl LabelAssembly {
    /// For a target.
    pub fn new(target: &Target) -> Self {
        let settings = &target.settings;
        let mut labels = LabelBuf::new();
        labels.copy_from(&target.labels);
        add_external(&mut labels, &settings.external_labels, settings.honor_labels);
        labels.remove_empty();
        add_tenant(&mut labels, target.tenant);
        let mut common = SeriesBlock::new();
        common.begin_series();
        for (name, value) in labels.iter() {
            common.push_label(name, value);
        }
        // A series needs a sample to be kept.
        common.push_sample(0, 0.0);
        common.end_series();
        Self {
            common,
            common_lengths: labels.iter().fold(0, |bits, (name, _)| bits | length_bit(name)),
            common_names: labels.iter().map(|(name, _)| name.into()).collect(),
            honor_labels: settings.honor_labels,
            direct: settings.metric_relabel.is_empty(),
        }
    }

    /// A block whose first series has the labels of the automatic metrics.
    pub fn automatic_labels(&self) -> &SeriesBlock {
        &self.common
    }

    /// Begins a series in `block` and writes the labels of a sample.
    pub fn write(
        &self,
        target: &Target,
        line: &SampleLine<'_>,
        labels: &mut LabelBuf,
        block: &mut SeriesBlock,
    ) -> Assembled {
        if self.direct
            && let Some(count) = self.write_directly(line, block)
        {
            return Assembled::Series(count);
        }
        let settings = &target.settings;
        labels.clear();
        self.push_page_labels(line, labels);
        merge(labels, &target.labels, settings.honor_labels);
        if !apply(&settings.metric_relabel, labels) {
            return Assembled::Dropped;
        }
        add_external(labels, &settings.external_labels, settings.honor_labels);
        labels.remove_empty();
        add_tenant(labels, target.tenant);
        block.begin_series();
        for (name, value) in labels.iter() {
            block.push_label(name, value);
        }
        Assembled::Series(labels.len())
    }

    /// `None` when a label clashes with one of the target or the external ones.
    fn write_directly(&self, line: &SampleLine<'_>, block: &mut SeriesBlock) -> Option<usize> {
        block.begin_series();
        let name = line.name();
        let mut count = 1;
        if !self.honor_labels && is_automatic(name) && line.labels().len() == 0 {
            block.push_label(NAME, &exported(name));
        } else {
            block.push_label(NAME, name);
        }
        for (name, value) in line.labels() {
            if self.common_lengths & length_bit(name) != 0 && self.common_names.iter().any(|known| **known == *name) {
                block.cancel_series();
                return None;
            }
            if !(value.is_empty() || name.is_empty() || name.starts_with(b"__") && name != NAME) {
                block.push_label(name, value);
                count += 1;
            }
        }
        if let Some(common) = self.common.iter().next() {
            block.push_labels_of(&common);
            count += self.common_names.len();
        }
        Some(count)
    }

    fn push_page_labels(&self, line: &SampleLine<'_>, labels: &mut LabelBuf) {
        let name = line.name();
        if !self.honor_labels && is_automatic(name) && line.labels().len() == 0 {
            labels.push(NAME, &exported(name));
        } else {
            labels.push(NAME, name);
        }
        for (name, value) in line.labels() {
            labels.push(name, value);
        }
    }
}

/// One bit for each length; long names share the last.
fn length_bit(name: &[u8]) -> u64 {
    1 << name.len().min(63)
}

/// Applies the rules of the job and removes the labels that are none.
fn apply(rules: &RelabelRules, labels: &mut LabelBuf) -> bool {
    if rules.is_empty() {
        labels.remove_empty();
    } else if !rules.apply(labels) {
        return false;
    }
    labels.retain(|name, _| !name.starts_with(b"__") || name == NAME);
    !labels.is_empty()
}

/// Adds labels of the target behind those of the page.
fn merge(labels: &mut LabelBuf, added: &Labels, honor: bool) {
    let page_end = labels.len();
    for label in added.iter() {
        let name = label.name.as_bytes();
        let clash = labels.find(name).filter(|&index| index < page_end);
        match clash {
            None => labels.push(name, label.value.as_bytes()),
            Some(_) if honor => {}
            Some(index) => {
                rename(labels, index, name, page_end);
                labels.push(name, label.value.as_bytes());
            }
        }
    }
}

/// Renames a label to `exported_…`, and one that has that name already likewise.
fn rename(labels: &mut LabelBuf, index: usize, name: &[u8], end: usize) {
    let new = exported(name);
    if let Some(other) = labels.find(&new).filter(|&other| other != index && other < end) {
        rename(labels, other, &new, end);
    }
    labels.set_name(index, &new);
}

/// Adds external labels by the same rule of clashes.
fn add_external(labels: &mut LabelBuf, external: &Labels, honor: bool) {
    if !external.is_empty() {
        merge(labels, external, honor);
    }
}

fn add_tenant(labels: &mut LabelBuf, tenant: Option<(u32, u32)>) {
    if let Some((account, project)) = tenant {
        for (name, number) in [("vm_account_id", account), ("vm_project_id", project)] {
            labels.retain(|known, _| known != name.as_bytes());
            labels.push(name.as_bytes(), itoa::Buffer::new().format(number).as_bytes());
        }
    }
}

fn exported(name: &[u8]) -> Vec<u8> {
    [EXPORTED, name].concat()
}
