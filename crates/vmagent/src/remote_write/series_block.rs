//! Series in one arena: what producers fill and the encoder reads.
//!
//! A block is a few flat vectors, so filling one costs no allocation per sample once its capacity has grown. Labels are
//! stored as the protobuf message that leaves for the remote (docs/reference/vmagent-remote-write.md) and nothing
//! beside it, which makes the labels of an untouched series one copy for the encoder; who looks at single labels reads
//! the messages.
//!
//! Nothing here judges names or values; label order is kept, duplicates and empty values included.

/// One value at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// May be NaN; the bits are kept, so staleness markers survive.
    pub value: f64,
}

/// Type of a metric family as numbered in the remote write message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricKind(pub u32);

impl MetricKind {
    /// Not known, also `untyped`.
    pub const UNKNOWN: Self = Self(0);
    /// A counter.
    pub const COUNTER: Self = Self(1);
    /// A gauge.
    pub const GAUGE: Self = Self(2);
    /// A histogram.
    pub const HISTOGRAM: Self = Self(3);
    /// A gauge histogram.
    pub const GAUGE_HISTOGRAM: Self = Self(4);
    /// A summary.
    pub const SUMMARY: Self = Self(5);
    /// An info metric.
    pub const INFO: Self = Self(6);
    /// A state set.
    pub const STATE_SET: Self = Self(7);
}

/// What is said about a metric family, `# HELP` and `# TYPE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// Of the family.
    pub kind: MetricKind,
    /// Name of the family.
    pub family: &'a [u8],
    /// May be empty.
    pub help: &'a [u8],
    /// May be empty.
    pub unit: &'a [u8],
    /// Tenant, `(0, 0)` when there is none.
    pub tenant: (u32, u32),
}

#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    bytes: u32,
    labels: u32,
    samples: u32,
}

#[derive(Clone, Copy, Debug)]
struct MetadataAt {
    kind: MetricKind,
    /// Ends of family, help and unit in the bytes of metadata.
    ends: [u32; 3],
    tenant: (u32, u32),
}

/// Series with their labels and samples, and metadata beside them.
///
/// ```
/// use vmagent::remote_write::SeriesBlock;
/// let mut block = SeriesBlock::new();
/// block.begin_series();
/// block.push_label(b"__name__", b"up");
/// block.push_label(b"job", b"node");
/// block.push_sample(1_700_000_000_000, 1.0);
/// block.end_series();
/// let series = block.iter().next().unwrap();
/// assert_eq!(series.labels().next(), Some((&b"__name__"[..], &b"up"[..])));
/// assert_eq!(series.samples()[0].value, 1.0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct SeriesBlock {
    /// Label messages, back to back.
    bytes: Vec<u8>,
    /// Number of label messages.
    labels: u32,
    samples: Vec<Sample>,
    series: Vec<Ends>,
    metadata_bytes: Vec<u8>,
    metadata: Vec<MetadataAt>,
    /// The series that was begun does not fit.
    overflow: bool,
}

impl SeriesBlock {
    /// A producer should push its block on when it holds so many samples…
    pub const FULL_SAMPLES: usize = 10_000;
    /// …or so many bytes. Larger blocks are taken, but they are where the memory goes.
    pub const FULL_BYTES: usize = 1 << 20;
    /// Beyond this a block takes nothing more: [`Self::end_series`] says so. Offsets fit in 32 bits.
    const MAX_BYTES: usize = 1 << 30;

    /// An empty block without capacity.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a series; whatever was begun and not ended is forgotten.
    pub fn begin_series(&mut self) {
        self.cancel_series();
    }

    /// Forgets the series that was begun and not ended.
    pub fn cancel_series(&mut self) {
        self.overflow = false;
        let ends = self.series.last().copied().unwrap_or_default();
        self.bytes.truncate(ends.bytes as usize);
        self.labels = ends.labels;
        self.samples.truncate(ends.samples as usize);
    }

    /// Adds a label to the series that was begun.
    pub fn push_label(&mut self, name: &[u8], value: &[u8]) {
        if name.len() + value.len() + self.bytes.len() > Self::MAX_BYTES {
            self.overflow = true;
            return;
        }
        self.labels += 1;
        if (1..=SHORT).contains(&name.len()) && (1..=SHORT).contains(&value.len()) {
            let head = [LABEL_TAG, (name.len() + value.len() + 4) as u8, NAME_TAG, name.len() as u8];
            self.bytes.extend_from_slice(&head);
            self.bytes.extend_from_slice(name);
            self.bytes.extend_from_slice(&[VALUE_TAG, value.len() as u8]);
            self.bytes.extend_from_slice(value);
            return;
        }
        self.bytes.reserve(name.len() + value.len() + 17);
        self.bytes.push(LABEL_TAG);
        push_varint(&mut self.bytes, field_len(name.len() as u32) + field_len(value.len() as u32));
        push_field(&mut self.bytes, NAME_TAG, name);
        push_field(&mut self.bytes, VALUE_TAG, value);
    }

    /// Adds labels that another block holds in this form.
    pub fn push_labels_of(&mut self, series: &Series<'_>) {
        if series.bytes.len() + self.bytes.len() > Self::MAX_BYTES {
            self.overflow = true;
            return;
        }
        self.bytes.extend_from_slice(series.bytes);
        self.labels += series.labels;
    }

    /// Adds a sample to the series that was begun. `timestamp_ms` is in milliseconds since the Unix epoch.
    pub fn push_sample(&mut self, timestamp_ms: i64, value: f64) {
        self.samples.push(Sample { timestamp_ms, value });
    }

    /// Keeps the series that was begun. Without samples it is forgotten; without labels it is kept.
    ///
    /// False if the block holds so much (1 GiB) that the series was forgotten.
    pub fn end_series(&mut self) -> bool {
        let before = self.series.last().copied().unwrap_or_default();
        let full = self.overflow || self.samples.len() > Self::MAX_BYTES;
        if full || self.samples.len() == before.samples as usize {
            self.cancel_series();
            return !full;
        }
        self.series.push(Ends {
            bytes: self.bytes.len() as u32,
            labels: self.labels,
            samples: self.samples.len() as u32,
        });
        true
    }

    /// Takes the last series back.
    pub(crate) fn pop_series(&mut self) {
        self.series.pop();
        self.cancel_series();
    }

    /// Adds what is known about a metric family. Forgotten when the block holds 1 GiB of metadata.
    pub fn push_metadata(&mut self, metadata: Metadata<'_>) {
        let Metadata { kind, family, help, unit, tenant } = metadata;
        if self.metadata_bytes.len() + family.len() + help.len() + unit.len() > Self::MAX_BYTES {
            return;
        }
        let ends = [family, help, unit].map(|text| {
            self.metadata_bytes.extend_from_slice(text);
            self.metadata_bytes.len() as u32
        });
        self.metadata.push(MetadataAt { kind, ends, tenant });
    }

    /// The series in the order in which they were ended.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Series<'_>> + '_ {
        (0..self.series.len()).map(|index| self.series_at(index))
    }

    /// Metadata in the order in which it was added.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = Metadata<'_>> + '_ {
        (0..self.metadata.len()).map(|index| {
            let MetadataAt { kind, ends, tenant } = self.metadata[index];
            let start = index.checked_sub(1).map_or(0, |before| self.metadata[before].ends[2]);
            let text = |from: u32, to: u32| &self.metadata_bytes[from as usize..to as usize];
            Metadata {
                kind,
                family: text(start, ends[0]),
                help: text(ends[0], ends[1]),
                unit: text(ends[1], ends[2]),
                tenant,
            }
        })
    }

    /// Number of series.
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// Number of samples of all series.
    pub fn sample_count(&self) -> usize {
        self.series.last().map_or(0, |ends| ends.samples as usize)
    }

    /// Number of labels of all series.
    pub fn label_count(&self) -> usize {
        self.series.last().map_or(0, |ends| ends.labels as usize)
    }

    /// Number of metric families that are described.
    pub fn metadata_count(&self) -> usize {
        self.metadata.len()
    }

    /// Bytes in use, without spare capacity.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
            + self.metadata_bytes.len()
            + size_of_val(self.samples.as_slice())
            + size_of_val(self.series.as_slice())
            + size_of_val(self.metadata.as_slice())
    }

    /// Neither series nor metadata.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.metadata.is_empty()
    }

    /// Whether a producer should push the block on before it adds more.
    pub fn is_full(&self) -> bool {
        self.sample_count() >= Self::FULL_SAMPLES || self.size_bytes() >= Self::FULL_BYTES
    }

    /// Empties the block and keeps its capacity.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.labels = 0;
        self.samples.clear();
        self.series.clear();
        self.metadata_bytes.clear();
        self.metadata.clear();
    }

    /// Gives capacity back that one large block has left behind.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to(Self::FULL_BYTES);
        self.metadata_bytes.shrink_to(Self::FULL_BYTES / 4);
        self.samples.shrink_to(Self::FULL_SAMPLES * 2);
        self.series.shrink_to(Self::FULL_SAMPLES * 2);
        self.metadata.shrink_to(Self::FULL_SAMPLES);
    }

    fn series_at(&self, index: usize) -> Series<'_> {
        let from = index.checked_sub(1).map_or_else(Ends::default, |before| self.series[before]);
        let to = self.series[index];
        Series {
            bytes: &self.bytes[from.bytes as usize..to.bytes as usize],
            labels: to.labels - from.labels,
            samples: &self.samples[from.samples as usize..to.samples as usize],
        }
    }
}

/// One series of a block.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    bytes: &'a [u8],
    labels: u32,
    samples: &'a [Sample],
}

impl<'a> Series<'a> {
    /// Names and values in the order in which they were added.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        LabelMessages { rest: self.bytes, left: self.labels as usize }
    }

    /// At least one.
    pub fn samples(&self) -> &'a [Sample] {
        self.samples
    }

    /// All labels as field 1 of the `TimeSeries` message.
    pub fn label_messages(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Reads messages as [`SeriesBlock::push_label`] writes them.
#[derive(Clone, Debug)]
struct LabelMessages<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for LabelMessages<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut message = take_field(&mut self.rest, LABEL_TAG);
        let name = take_field(&mut message, NAME_TAG);
        Some((name, take_field(&mut message, VALUE_TAG)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for LabelMessages<'_> {}

/// Field 1 of `TimeSeries`, length-delimited.
const LABEL_TAG: u8 = 0x0a;
/// Fields of `Label`, length-delimited.
const NAME_TAG: u8 = 0x0a;
const VALUE_TAG: u8 = 0x12;

/// Texts of at most this size have lengths of one byte, and so has the message of two of them.
const SHORT: usize = 61;

/// Length of a field with so many bytes; an empty one is left out, as the format wants it.
fn field_len(len: u32) -> u32 {
    let header = match len {
        0 => return 0,
        1..0x80 => 2,
        0x80..0x4000 => 3,
        0x4000..0x20_0000 => 4,
        0x20_0000..0x1000_0000 => 5,
        _ => 6,
    };
    header + len
}

fn push_field(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    if !content.is_empty() {
        out.push(tag);
        push_varint(out, content.len() as u32);
        out.extend_from_slice(content);
    }
}

/// The content of the field at the beginning, moving behind it; nothing if another field stands there.
fn take_field<'a>(from: &mut &'a [u8], tag: u8) -> &'a [u8] {
    let Some((_, field)) = from.split_first().filter(|(found, _)| **found == tag) else { return &[] };
    let (mut len, mut used) = (0, 0);
    for byte in field.iter().take(5) {
        len |= usize::from(byte & 0x7f) << (7 * used);
        used += 1;
        if *byte < 0x80 {
            break;
        }
    }
    let (content, rest) = field.get(used..).and_then(|text| text.split_at_checked(len)).unwrap_or_default();
    *from = rest;
    content
}

fn push_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(block: &SeriesBlock) -> Vec<String> {
        let show = |series: Series<'_>| {
            let labels = series
                .labels()
                .map(|(name, value)| format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
            let labels = labels.collect::<Vec<_>>().join(",");
            let samples =
                series.samples().iter().map(|s| format!(" {}@{}", s.value, s.timestamp_ms)).collect::<String>();
            labels + &samples
        };
        block.iter().map(show).collect()
    }

    fn add(block: &mut SeriesBlock, labels: &[(&str, &str)], samples: &[(i64, f64)]) {
        block.begin_series();
        labels.iter().for_each(|(name, value)| block.push_label(name.as_bytes(), value.as_bytes()));
        samples.iter().for_each(|&(at, value)| block.push_sample(at, value));
        assert!(block.end_series());
    }

    #[test]
    fn what_was_added_comes_back_in_order() {
        let mut block = SeriesBlock::new();
        add(&mut block, &[("__name__", "up"), ("job", "j")], &[(1, 1.0)]);
        add(&mut block, &[], &[(2, 2.0), (3, -0.5)]);
        add(&mut block, &[("a", ""), ("a", "x")], &[(-4, 4.0)]);
        assert_eq!(text(&block), ["__name__=up,job=j 1@1", " 2@2 -0.5@3", "a=,a=x 4@-4"]);
        assert_eq!((block.series_count(), block.sample_count(), block.label_count()), (3, 4, 4));
    }

    #[test]
    fn a_series_without_samples_or_not_ended_is_forgotten() {
        let mut block = SeriesBlock::new();
        add(&mut block, &[("a", "1")], &[]);
        assert!(block.is_empty());
        block.begin_series();
        block.push_label(b"b", b"2");
        block.push_sample(1, 1.0);
        block.begin_series();
        block.push_label(b"c", b"3");
        block.push_sample(2, 2.0);
        assert!(block.end_series());
        block.push_label(b"d", b"4");
        block.push_sample(3, 3.0);
        block.cancel_series();
        assert_eq!(text(&block), ["c=3 2@2"]);
    }

    #[test]
    fn long_labels_keep_their_places() {
        let mut block = SeriesBlock::new();
        let long = "v".repeat(20_000);
        let middle = "w".repeat(200);
        add(&mut block, &[(&middle, &long), ("x", "y")], &[(1, 1.0)]);
        add(&mut block, &[("x", &middle)], &[(1, 1.0)]);
        assert_eq!(text(&block), [format!("{middle}={long},x=y 1@1"), format!("x={middle} 1@1")]);
    }

    #[test]
    fn labels_are_copied_between_blocks() {
        let mut from = SeriesBlock::new();
        add(&mut from, &[("a", "1")], &[(1, 1.0)]);
        add(&mut from, &[("b", "2"), ("c", "3")], &[(1, 1.0)]);
        let mut to = SeriesBlock::new();
        add(&mut to, &[("z", "0")], &[(1, 1.0)]);
        for series in from.iter() {
            to.begin_series();
            to.push_labels_of(&series);
            to.push_label(b"d", b"4");
            to.push_sample(5, 5.0);
            assert!(to.end_series());
        }
        assert_eq!(text(&to), ["z=0 1@1", "a=1,d=4 5@5", "b=2,c=3,d=4 5@5"]);
    }

    proptest! {
        #[test]
        fn labels_of_any_length_come_back(
            labels in prop::collection::vec((any::<u8>(), 0..300_usize, any::<u8>(), 0..300_usize), 0..5)
        ) {
            let text = |byte: u8, len: usize| vec![byte; len];
            let want: Vec<_> = labels.iter().map(|&(n, nl, v, vl)| (text(n, nl), text(v, vl))).collect();
            let mut block = SeriesBlock::new();
            for _ in 0..2 {
                block.begin_series();
                want.iter().for_each(|(name, value)| block.push_label(name, value));
                block.push_sample(1, 1.0);
                prop_assert!(block.end_series());
            }
            for series in block.iter() {
                prop_assert_eq!(series.labels().len(), want.len());
                let got: Vec<_> = series.labels().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
                prop_assert_eq!(&got, &want);
            }
        }
    }

    #[test]
    fn metadata_comes_back() {
        let mut block = SeriesBlock::new();
        let up = Metadata { kind: MetricKind::GAUGE, family: b"up", help: b"Is it?", unit: b"", tenant: (0, 0) };
        let size = Metadata { kind: MetricKind(99), family: b"size", help: b"", unit: b"bytes", tenant: (5, 6) };
        block.push_metadata(up);
        block.push_metadata(size);
        assert_eq!(block.metadata().collect::<Vec<_>>(), [up, size]);
        assert!(!block.is_empty());
        block.clear();
        assert!(block.is_empty());
        assert_eq!((block.metadata_count(), block.size_bytes()), (0, 0));
    }

    #[test]
    fn full_by_samples_or_bytes() {
        let mut block = SeriesBlock::new();
        block.begin_series();
        (0..SeriesBlock::FULL_SAMPLES as i64).for_each(|at| block.push_sample(at, 0.0));
        assert!(!block.is_full());
        assert!(block.end_series());
        assert!(block.is_full());
        block.clear();
        add(&mut block, &[("a", &"x".repeat(SeriesBlock::FULL_BYTES))], &[(1, 1.0)]);
        assert!(block.is_full());
    }
}
