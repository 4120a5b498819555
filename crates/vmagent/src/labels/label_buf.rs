//! The labels of one sample while they are put together and relabeled.
//!
//! Texts live in an arena that only grows until [`LabelBuf::clear`]; labels are ranges of it, in the order in which
//! they were added. Nothing is sorted: the order is what goes on the wire. A name may occur twice when the page had
//! it twice; lookups and changes then mean the first.

use std::ops::Range;

use super::{Labels, offset};

/// Texts of one entry beyond this count as empty, so that rules which double a value again and again end.
const MAX_BYTES: usize = 64 << 20;
/// Memory above this is given back when the buffer is cleared.
const KEPT_BYTES: usize = 1 << 20;

/// A reusable list of labels.
#[derive(Clone, Debug, Default)]
pub struct LabelBuf {
    text: Vec<u8>,
    labels: Vec<Span>,
}

/// Places of a name and its value in the arena.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    name: Place,
    value: Place,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    start: u32,
    end: u32,
}

impl Place {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl LabelBuf {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes all labels and keeps the memory.
    pub fn clear(&mut self) {
        self.labels.clear();
        self.text.clear();
        if self.text.capacity() > KEPT_BYTES {
            self.text.shrink_to(KEPT_BYTES);
        }
    }

    /// Replaces the content by that of a target's set.
    pub fn copy_from(&mut self, labels: &Labels) {
        self.clear();
        for label in labels.iter() {
            self.push(label.name.as_bytes(), label.value.as_bytes());
        }
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Appends a label without looking for its name.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = self.append(name);
        let value = self.append(value);
        self.labels.push(Span { name, value });
    }

    /// Value of the first label with that name.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.find(name).map(|index| self.value(index))
    }

    /// Gives the first label with that name a value, or appends the label.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        match self.find(name) {
            Some(index) => self.set_value(index, value),
            None => self.push(name, value),
        }
    }

    /// Position of the first label with that name.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        self.labels.iter().position(|label| self.at(label.name) == name)
    }

    /// Name of the label at a position below [`LabelBuf::len`].
    pub fn name(&self, index: usize) -> &[u8] {
        self.labels.get(index).map_or(&[], |label| self.at(label.name))
    }

    /// Value of the label at a position below [`LabelBuf::len`].
    pub fn value(&self, index: usize) -> &[u8] {
        self.labels.get(index).map_or(&[], |label| self.at(label.value))
    }

    /// Changes the value at a position.
    pub fn set_value(&mut self, index: usize, value: &[u8]) {
        let place = self.append(value);
        if let Some(label) = self.labels.get_mut(index) {
            label.value = place;
        }
    }

    /// Changes the name at a position; another label may have it already.
    pub fn set_name(&mut self, index: usize, name: &[u8]) {
        let place = self.append(name);
        if let Some(label) = self.labels.get_mut(index) {
            label.name = place;
        }
    }

    /// Appends a label with the value of the one at `index`.
    pub fn push_copy(&mut self, name: &[u8], index: usize) {
        let Some(&Span { value, .. }) = self.labels.get(index) else { return };
        let name = self.append(name);
        self.labels.push(Span { name, value });
    }

    /// Gives the label at `to` the value of the one at `from`.
    pub fn copy_value(&mut self, from: usize, to: usize) {
        let Some(&Span { value, .. }) = self.labels.get(from) else { return };
        if let Some(label) = self.labels.get_mut(to) {
            label.value = value;
        }
    }

    /// Keeps the labels for which the answer is true, in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let Self { text, labels } = self;
        let at = |place: Place| text.get(place.range()).unwrap_or_default();
        labels.retain(|label| keep(at(label.name), at(label.value)));
    }

    /// Removes labels without name or value: they are the same as no label.
    pub fn remove_empty(&mut self) {
        self.retain(|name, value| !name.is_empty() && !value.is_empty());
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        self.labels.iter().map(|label| (self.at(label.name), self.at(label.value)))
    }

    /// Sorts by name; equal names stay in their order.
    pub fn sort(&mut self) {
        let Self { text, labels } = self;
        let at = |place: Place| text.get(place.range()).unwrap_or_default();
        labels.sort_by(|a, b| at(a.name).cmp(at(b.name)));
    }

    /// An owned, sorted copy. Bytes that are no UTF-8 become replacement characters.
    pub fn to_labels(&self) -> Labels {
        Labels::from_pairs(
            self.iter().map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value))),
        )
    }

    fn at(&self, place: Place) -> &[u8] {
        self.text.get(place.range()).unwrap_or_default()
    }

    fn append(&mut self, bytes: &[u8]) -> Place {
        let bytes = if self.text.len().saturating_add(bytes.len()) > MAX_BYTES { &[] } else { bytes };
        let start = offset(self.text.len());
        self.text.extend_from_slice(bytes);
        Place { start, end: offset(self.text.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(labels: &LabelBuf) -> String {
        let pair = |(name, value): (&[u8], &[u8])| {
            format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        };
        labels.iter().map(pair).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn labels_keep_their_order() {
        let mut labels = LabelBuf::new();
        labels.push(b"b", b"1");
        labels.push(b"a", b"2");
        labels.push(b"b", b"3");
        labels.set(b"b", b"new");
        labels.set(b"c", b"4");
        assert_eq!(shown(&labels), "b=new,a=2,b=3,c=4");
        assert_eq!(labels.get(b"b"), Some(&b"new"[..]));
        assert_eq!(labels.get(b"x"), None);
        labels.set_name(1, b"z");
        labels.push_copy(b"d", 2);
        labels.copy_value(1, 0);
        assert_eq!(shown(&labels), "b=2,z=2,b=3,c=4,d=3");
        labels.sort();
        assert_eq!(shown(&labels), "b=2,b=3,c=4,d=3,z=2");
        labels.retain(|name, _| name != b"b");
        assert_eq!(shown(&labels), "c=4,d=3,z=2");
        labels.clear();
        assert!(labels.is_empty());
    }

    #[test]
    fn empty_labels_go() {
        let mut labels = LabelBuf::new();
        for (name, value) in [("a", ""), ("", "x"), ("b", "y"), ("", "")] {
            labels.push(name.as_bytes(), value.as_bytes());
        }
        labels.remove_empty();
        assert_eq!(shown(&labels), "b=y");
    }

    #[test]
    fn a_set_comes_back_sorted_and_readable() {
        let set = Labels::from_pairs([("b", "1"), ("a", "2")]);
        let mut labels = LabelBuf::new();
        labels.copy_from(&set);
        labels.push(b"0", b"\xff");
        assert_eq!(labels.to_labels().to_string(), "{0=\"\u{FFFD}\",a=\"2\",b=\"1\"}");
    }
}
