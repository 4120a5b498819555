//! Which series the last page of a target had: for stale markers and for counting new series.
//!
//! Keeps the text of each series as it stands on the page, in the order of the page. Most pages list the same series
//! in the same order as before; then noting a series is one comparison with the expected text, and the layout that is
//! kept behind the text spares its parsing. Only a page that differs costs a table, and only while it is read.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::{FixedState, RandomState};

use crate::exposition::SeriesLayout;

/// The series of one target.
#[derive(Debug, Default)]
pub struct SeriesMemory {
    /// For each series its text, the layout of that, and the length of the layout in one byte.
    records: Vec<u8>,
    ends: Vec<u32>,
    /// Whether no stale markers were sent since the last success.
    live: bool,
}

/// The reading of one page.
#[derive(Debug, Default)]
pub struct PageSeries {
    /// Number of series before the page.
    known: usize,
    /// For each of them, whether the page has it.
    seen: Vec<bool>,
    /// The series that is expected next.
    next: usize,
    /// Series in order of the page, as soon as that differs from the order of the memory.
    order: Vec<u32>,
    reordered: bool,
    by_hash: HashMap<u64, u32, RandomState>,
    hashed: bool,
}

impl PageSeries {
    /// How many series the page has that the one before did not have; asked before the page is finished.
    pub fn added(&self, memory: &SeriesMemory) -> usize {
        memory.ends.len().saturating_sub(self.known)
    }

    fn saw(&mut self, index: usize) {
        let first = self.seen.get_mut(index).is_some_and(|seen| !std::mem::replace(seen, true));
        self.next = index + 1;
        if self.reordered && first {
            self.order.push(index as u32);
        }
    }

    fn clear(&mut self, known: usize) {
        self.known = known;
        self.seen.clear();
        self.seen.resize(known, false);
        self.next = 0;
        self.order.clear();
        self.reordered = false;
        self.by_hash.clear();
        self.by_hash.shrink_to(1 << 16);
        self.hashed = false;
    }
}

impl SeriesMemory {
    /// Begins a page.
    pub fn begin(&self, page: &mut PageSeries) {
        page.clear(self.ends.len());
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no series is known.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The layout of the series that is expected next, if `line` is a sample of it.
    pub fn expected(&self, page: &PageSeries, line: &[u8]) -> Option<SeriesLayout<'_>> {
        if page.next >= page.known {
            return None;
        }
        let (text, layout) = self.record(page.next);
        let layout = SeriesLayout::read(layout)?;
        let rest = line.strip_prefix(text)?;
        layout.ends_before(rest).then_some(layout)
    }

    /// Notes the series that was expected.
    pub fn note_expected(&self, page: &mut PageSeries) {
        page.saw(page.next);
    }

    /// Notes a series of the page. `write_layout` appends the layout of the text, or nothing.
    pub fn note(&mut self, page: &mut PageSeries, text: &[u8], write_layout: impl FnOnce(&mut Vec<u8>)) {
        if page.next < page.known && self.at(page.next) == text {
            page.saw(page.next);
            return;
        }
        self.note_unexpected(page, text, write_layout);
    }

    #[cold]
    fn note_unexpected(&mut self, page: &mut PageSeries, text: &[u8], write_layout: impl FnOnce(&mut Vec<u8>)) {
        if !page.hashed {
            page.hashed = true;
            for index in 0..self.ends.len() {
                page.by_hash.insert(hash(self.at(index)), index as u32);
            }
        }
        if !page.reordered {
            page.reordered = true;
            page.order.extend((0..page.known).filter(|&index| page.seen[index]).map(|index| index as u32));
        }
        let hash = hash(text);
        if let Some(&index) = page.by_hash.get(&hash) {
            let index = index as usize;
            if index < page.known {
                page.saw(index);
            }
            return;
        }
        let before = self.records.len();
        self.records.extend_from_slice(text);
        let layout_at = self.records.len();
        write_layout(&mut self.records);
        let layout_len = u8::try_from(self.records.len() - layout_at).unwrap_or_else(|_| {
            self.records.truncate(layout_at);
            0
        });
        self.records.push(layout_len);
        let (Ok(end), Ok(index)) = (u32::try_from(self.records.len()), u32::try_from(self.ends.len())) else {
            self.records.truncate(before);
            return;
        };
        self.ends.push(end);
        page.by_hash.insert(hash, index);
        page.order.push(index);
    }

    /// The page is complete: hands out the series that it lacks and forgets them.
    pub fn finish(&mut self, page: &PageSeries, mut missing: impl FnMut(&[u8])) {
        let was_live = std::mem::replace(&mut self.live, true);
        let lost = page.seen.iter().any(|seen| !seen);
        if lost && was_live {
            for index in (0..page.known).filter(|&index| !page.seen[index]) {
                missing(self.at(index));
            }
        }
        if !lost && !page.reordered {
            return;
        }
        let kept = |index: usize| index >= page.known || page.seen.get(index) == Some(&true);
        let order: Vec<usize> = if page.reordered {
            page.order.iter().map(|&index| index as usize).collect()
        } else {
            (0..self.ends.len()).filter(|&index| kept(index)).collect()
        };
        let (mut records, mut ends) = (Vec::with_capacity(self.records.len()), Vec::with_capacity(order.len()));
        for index in order {
            records.extend_from_slice(self.bytes(index));
            ends.push(records.len() as u32);
        }
        records.shrink_to_fit();
        (self.records, self.ends) = (records, ends);
    }

    /// The page failed: hands out the series that need a marker now. `passed_on` tells whether samples of the broken
    /// page went out already. The series before it stay in memory for comparison.
    pub fn fail(&mut self, page: &PageSeries, passed_on: bool, mut stale: impl FnMut(&[u8])) {
        let was_live = std::mem::replace(&mut self.live, false);
        for index in 0..page.known {
            if was_live || (passed_on && page.seen.get(index) == Some(&true)) {
                stale(self.at(index));
            }
        }
        if passed_on {
            (page.known..self.ends.len()).for_each(|index| stale(self.at(index)));
        }
        self.ends.truncate(page.known);
        self.records.truncate(self.ends.last().map_or(0, |&end| end as usize));
    }

    /// The target goes: hands out the series that need a marker.
    pub fn end(&mut self, mut stale: impl FnMut(&[u8])) {
        if std::mem::replace(&mut self.live, false) {
            (0..self.ends.len()).for_each(|index| stale(self.at(index)));
        }
    }

    fn at(&self, index: usize) -> &[u8] {
        self.record(index).0
    }

    /// Text and layout.
    fn record(&self, index: usize) -> (&[u8], &[u8]) {
        let Some((&layout_len, record)) = self.bytes(index).split_last() else { return (&[], &[]) };
        record.split_at(record.len().saturating_sub(usize::from(layout_len)))
    }

    fn bytes(&self, index: usize) -> &[u8] {
        let end = |index: usize| self.ends.get(index).map_or(0, |&end| end as usize);
        let start = index.checked_sub(1).map_or(0, end);
        self.records.get(start..end(index)).unwrap_or_default()
    }
}

fn hash(text: &[u8]) -> u64 {
    FixedState::default().hash_one(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// Reads a page; returns the number of new series and those that got markers.
    fn read(memory: &mut SeriesMemory, series: &str) -> (usize, String) {
        let mut page = PageSeries::default();
        memory.begin(&mut page);
        series.split_whitespace().for_each(|one| memory.note(&mut page, one.as_bytes(), |_| {}));
        let (added, mut stale) = (page.added(memory), Vec::new());
        memory.finish(&page, |one| stale.push(text(one)));
        (added, stale.join(" "))
    }

    fn fail(memory: &mut SeriesMemory, series: &str, passed_on: bool) -> String {
        let (mut page, mut stale) = (PageSeries::default(), Vec::new());
        memory.begin(&mut page);
        series.split_whitespace().for_each(|one| memory.note(&mut page, one.as_bytes(), |_| {}));
        memory.fail(&page, passed_on, |one| stale.push(text(one)));
        stale.join(" ")
    }

    #[test]
    fn pages_are_compared() {
        let mut memory = SeriesMemory::default();
        let mut f = |series: &str, added: usize, stale: &str| {
            assert_eq!(read(&mut memory, series), (added, stale.to_owned()), "{series}");
        };
        f("a b c", 3, "");
        f("a b c", 0, "");
        f("c a b", 0, "");
        f("a d b", 1, "c");
        f("a d b", 0, "");
        f("a a d e a b e", 1, "");
        f("b", 0, "a d e");
        f("", 0, "b");
        f("a", 1, "");
    }

    #[test]
    fn failures_mark_once_and_keep_the_base() {
        let mut memory = SeriesMemory::default();
        read(&mut memory, "a b");
        assert_eq!(fail(&mut memory, "", false), "a b");
        assert_eq!(fail(&mut memory, "a x", false), "");
        assert_eq!(read(&mut memory, "a b"), (0, String::new()));
        assert_eq!(fail(&mut memory, "", false), "a b");
        assert_eq!(read(&mut memory, "a c"), (1, String::new()));
        assert_eq!(fail(&mut memory, "a d", true), "a c d");
        assert_eq!(fail(&mut memory, "c e", true), "c e");
        assert_eq!(memory.len(), 2);
    }

    #[test]
    fn the_end_marks_what_is_alive() {
        let mut memory = SeriesMemory::default();
        read(&mut memory, "a b");
        let mut stale = Vec::new();
        memory.end(|one| stale.push(text(one)));
        memory.end(|one| stale.push(text(one)));
        assert_eq!(stale, ["a", "b"]);
    }

    #[test]
    fn layouts_stay_with_their_texts() {
        let mut memory = SeriesMemory::default();
        let mut page = PageSeries::default();
        for series in ["a b c", "c a d", "c a d"] {
            memory.begin(&mut page);
            for one in series.split_whitespace() {
                memory.note(&mut page, one.as_bytes(), |out| out.extend_from_slice(&[1, one.as_bytes()[0]]));
            }
            memory.finish(&page, |_| {});
        }
        memory.begin(&mut page);
        memory.note(&mut page, b"x", |out| out.extend_from_slice(&[1; 256]));
        memory.fail(&page, false, |_| {});
        let kept: Vec<_> = (0..memory.len()).map(|index| memory.record(index)).collect();
        assert_eq!(kept, [(&b"c"[..], &b"\x01c"[..]), (b"a", b"\x01a"), (b"d", b"\x01d")]);
    }

    #[test]
    fn what_is_expected_is_the_next_one() {
        let mut memory = SeriesMemory::default();
        let mut page = PageSeries::default();
        memory.begin(&mut page);
        memory.note(&mut page, b"a", |out| out.push(1));
        memory.note(&mut page, b"b", |_| {});
        assert!(memory.expected(&page, b"a 1").is_none(), "not while the page is read that has it first");
        memory.finish(&page, |_| {});
        memory.begin(&mut page);
        assert!(memory.expected(&page, b"b 1").is_none());
        assert!(memory.expected(&page, b"a 1").is_some());
        memory.note_expected(&mut page);
        assert!(memory.expected(&page, b"a 1").is_none());
        assert!(memory.expected(&page, b"b 1").is_none(), "no layout");
        memory.note(&mut page, b"b", |_| {});
        let mut lost = 0;
        memory.finish(&page, |_| lost += 1);
        assert_eq!(lost, 0);
    }

    proptest! {
        #[test]
        fn markers_are_the_difference(pages in prop::collection::vec(prop::collection::vec("[a-e]{1,2}", 0..8), 1..6)) {
            let (mut memory, mut before) = (SeriesMemory::default(), BTreeSet::new());
            for page in pages {
                let now: BTreeSet<String> = page.iter().cloned().collect();
                let (added, stale) = read(&mut memory, &page.join(" "));
                prop_assert_eq!(added, now.difference(&before).count());
                let stale: BTreeSet<String> = stale.split_whitespace().map(str::to_owned).collect();
                prop_assert_eq!(stale, before.difference(&now).cloned().collect::<BTreeSet<_>>());
                prop_assert_eq!(memory.len(), now.len());
                before = now;
            }
        }
    }
}
