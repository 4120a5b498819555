//! Samples of one URL until they are a block.
//!
//! A batch is the body of a request in the making: series are appended as they will leave, and the limits of a block are
//! kept while it grows, so nothing has to be cut afterwards. A series with more samples than fit goes on in the next
//! block with the same labels.

use super::protobuf::{metadata_len, push_metadata, push_series, sample_len, series_head_len};
use super::{Metadata, Sample};
use std::time::Instant;

/// Limits of a block, each at least 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockLimits {
    /// `-remoteWrite.maxRowsPerBlock`.
    pub(crate) samples: usize,
    /// `-remoteWrite.maxMetadataPerBlock`.
    pub(crate) metadata: usize,
    /// `-remoteWrite.maxBlockSize`, uncompressed.
    pub(crate) bytes: usize,
}

/// What a finished block holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) samples: usize,
    pub(crate) series: usize,
    pub(crate) metadata: usize,
}

/// Takes finished request bodies, not packed yet.
pub(crate) trait Emit {
    fn block(&mut self, body: &[u8], counts: Counts);
    /// A sample that is larger than a block may be.
    fn too_large(&mut self, labels: [&[u8]; 2]);
}

/// A request body in the making.
#[derive(Debug)]
pub(crate) struct Batch {
    limits: BlockLimits,
    body: Vec<u8>,
    /// Metadata comes behind the series.
    metadata: Vec<u8>,
    labels: usize,
    counts: Counts,
    since: Option<Instant>,
}

impl Batch {
    pub(crate) fn new(limits: BlockLimits) -> Self {
        Self { limits, body: Vec::new(), metadata: Vec::new(), labels: 0, counts: Counts::default(), since: None }
    }

    /// Since when the oldest content waits.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Adds a series. `labels` are label messages, in two parts; `label_count` is their number.
    pub(crate) fn add(
        &mut self,
        labels: [&[u8]; 2],
        label_count: usize,
        mut samples: &[Sample],
        now: Instant,
        emit: &mut impl Emit,
    ) {
        let head = series_head_len(labels[0].len() + labels[1].len());
        while !samples.is_empty() {
            let mut fitting = self.fitting(head, samples);
            if fitting == 0 && (self.counts.series > 0 || self.counts.metadata > 0) {
                self.flush(emit);
                fitting = self.fitting(head, samples);
            }
            if fitting == 0 {
                emit.too_large(labels);
                samples = &samples[1..];
                continue;
            }
            let (now_sent, rest) = samples.split_at(fitting);
            push_series(&mut self.body, labels, now_sent);
            self.counts.samples += now_sent.len();
            self.counts.series += 1;
            self.labels += label_count;
            self.since.get_or_insert(now);
            samples = rest;
            if self.counts.samples >= self.limits.samples || self.labels >= self.limits.samples.saturating_mul(10) {
                self.flush(emit);
            }
        }
    }

    /// How many of the samples fit beside what is there.
    fn fitting(&self, head: usize, samples: &[Sample]) -> usize {
        let rows = self.limits.samples.saturating_sub(self.counts.samples);
        let mut room = self.limits.bytes.saturating_sub(self.body.len() + self.metadata.len());
        let Some(left) = room.checked_sub(head) else { return 0 };
        room = left;
        if let [only] = samples {
            return usize::from(rows > 0 && sample_len(only) <= room);
        }
        let fits = |sample: &&Sample| {
            let len = sample_len(sample);
            let fits = len <= room;
            room = room.saturating_sub(len);
            fits
        };
        samples.iter().take(rows).take_while(fits).count()
    }

    /// Adds what is known about a metric family. An entry that fits into no block is left out.
    pub(crate) fn add_metadata(&mut self, metadata: &Metadata<'_>, now: Instant, emit: &mut impl Emit) {
        let len = metadata_len(metadata);
        if len > self.limits.bytes {
            return;
        }
        if self.body.len() + self.metadata.len() + len > self.limits.bytes {
            self.flush(emit);
        }
        push_metadata(&mut self.metadata, metadata);
        self.counts.metadata += 1;
        self.since.get_or_insert(now);
        if self.counts.metadata >= self.limits.metadata {
            self.flush(emit);
        }
    }

    /// Gives away what is there. An empty batch is no block.
    pub(crate) fn flush(&mut self, emit: &mut impl Emit) {
        if self.counts == Counts::default() {
            return;
        }
        self.body.extend_from_slice(&self.metadata);
        emit.block(&self.body, self.counts);
        self.body.clear();
        self.metadata.clear();
        (self.labels, self.counts, self.since) = (0, Counts::default(), None);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MetricKind, SeriesBlock, decode};
    use super::*;

    #[derive(Default)]
    struct Blocks {
        blocks: Vec<(SeriesBlock, Counts, usize)>,
        too_large: usize,
    }

    impl Emit for Blocks {
        fn block(&mut self, body: &[u8], counts: Counts) {
            let mut block = SeriesBlock::new();
            decode(body, &mut block).unwrap();
            assert_eq!(block.sample_count(), counts.samples);
            assert_eq!(block.series_count(), counts.series);
            assert_eq!(block.metadata_count(), counts.metadata);
            self.blocks.push((block, counts, body.len()));
        }

        fn too_large(&mut self, _labels: [&[u8]; 2]) {
            self.too_large += 1;
        }
    }

    fn series(labels: usize, value_len: usize, samples: usize) -> SeriesBlock {
        let mut block = SeriesBlock::new();
        block.begin_series();
        (0..labels).for_each(|n| block.push_label(format!("l{n}").as_bytes(), "v".repeat(value_len).as_bytes()));
        (0..samples).for_each(|at| block.push_sample(at as i64 + 1_700_000_000_000, at as f64));
        assert!(block.end_series());
        block
    }

    fn batch(limits: BlockLimits, added: &[&SeriesBlock]) -> Blocks {
        let mut blocks = Blocks::default();
        let mut batch = Batch::new(limits);
        for block in added {
            for series in block.iter() {
                let labels = [series.label_messages(), b""];
                batch.add(labels, series.labels().len(), series.samples(), Instant::now(), &mut blocks);
            }
        }
        assert_eq!(batch.since().is_some(), batch.counts != Counts::default());
        batch.flush(&mut blocks);
        batch.flush(&mut blocks);
        blocks
    }

    const WIDE: BlockLimits = BlockLimits { samples: 10_000, metadata: 5000, bytes: 8 << 20 };

    #[test]
    fn blocks_end_at_the_number_of_samples() {
        let limits = BlockLimits { samples: 10, ..WIDE };
        let one = series(1, 1, 1);
        let counts = |blocks: &Blocks| blocks.blocks.iter().map(|(_, counts, _)| counts.samples).collect::<Vec<_>>();
        assert_eq!(counts(&batch(limits, &[&one; 25])), [10, 10, 5]);
        assert_eq!(counts(&batch(limits, &[&one, &series(1, 1, 25)])), [10, 10, 6]);
        assert_eq!(counts(&batch(limits, &[&series(20, 1, 1); 6])), [5, 1]);
    }

    #[test]
    fn blocks_end_at_their_size() {
        let limits = BlockLimits { bytes: 1024, ..WIDE };
        let blocks = batch(limits, &[&series(1, 500, 44), &series(1, 100, 3), &series(1, 2000, 2), &series(1, 1, 1)]);
        assert!(blocks.blocks.iter().all(|(_, _, len)| *len <= 1024));
        assert_eq!(blocks.blocks.iter().map(|(_, counts, _)| counts.samples).sum::<usize>(), 44 + 3 + 1);
        assert_eq!(blocks.too_large, 2);
        assert!(blocks.blocks.len() < 5, "{}", blocks.blocks.len());
    }

    #[test]
    fn metadata_has_its_own_limit() {
        let limits = BlockLimits { metadata: 2, bytes: 200, ..WIDE };
        let mut blocks = Blocks::default();
        let mut batch = Batch::new(limits);
        let help = [b'h'; 250];
        for help in [&b"a"[..], b"b", &help, b"c"] {
            let metadata = Metadata { kind: MetricKind::GAUGE, family: b"m", help, unit: b"", tenant: (0, 0) };
            batch.add_metadata(&metadata, Instant::now(), &mut blocks);
        }
        batch.flush(&mut blocks);
        let counts: Vec<usize> = blocks.blocks.iter().map(|(_, counts, _)| counts.metadata).collect();
        assert_eq!(counts, [2, 1]);
    }
}
