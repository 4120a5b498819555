//! Writing the parts of a write request. Fields with the value zero are left out, as the format wants it.

use super::super::{Metadata, Sample};
use super::wire::{push_varint, varint_len};

/// Fields of `WriteRequest`, length-delimited.
const SERIES_TAG: u8 = 0x0a;
const METADATA_TAG: u8 = 0x1a;
/// Field 2 of `TimeSeries`.
const SAMPLE_TAG: u8 = 0x12;
/// Fields of `Sample`.
const VALUE_TAG: u8 = 0x09;
const TIMESTAMP_TAG: u8 = 0x10;

/// Numbers that take six bytes as a varint.
const SIX_BYTES: std::ops::Range<u64> = 1 << 35..1 << 42;

/// Length of one sample inside its series.
pub(crate) fn sample_len(sample: &Sample) -> usize {
    2 + sample_inner_len(sample)
}

fn sample_inner_len(sample: &Sample) -> usize {
    let value = if sample.value.to_bits() == 0 { 0 } else { 9 };
    let timestamp = if sample.timestamp_ms == 0 { 0 } else { 1 + varint_len(sample.timestamp_ms.cast_unsigned()) };
    value + timestamp
}

/// At most so long is everything of a series but its samples.
pub(crate) fn series_head_len(labels: usize) -> usize {
    // Tag and length; the length has five bytes at most below 32 GiB.
    labels + 6
}

/// Appends a series with some of its samples. `labels` are messages as [`Series::label_messages`] has them.
pub(crate) fn push_series(out: &mut Vec<u8>, labels: [&[u8]; 2], samples: &[Sample]) {
    let len = labels.iter().map(|part| part.len()).sum::<usize>() + samples.iter().map(sample_len).sum::<usize>();
    out.reserve(series_head_len(len));
    if (0x80..0x4000).contains(&len) {
        // Nearly all of them, in one piece.
        out.extend_from_slice(&[SERIES_TAG, len as u8 | 0x80, (len >> 7) as u8]);
    } else {
        out.push(SERIES_TAG);
        push_varint(out, len as u64);
    }
    out.extend_from_slice(labels[0]);
    if !labels[1].is_empty() {
        out.extend_from_slice(labels[1]);
    }
    for sample in samples {
        push_sample(out, sample);
    }
}

fn push_sample(out: &mut Vec<u8>, sample: &Sample) {
    let (value, timestamp) = (sample.value.to_bits(), sample.timestamp_ms.cast_unsigned());
    // A sample has at most 20 bytes.
    let inner_len = sample_inner_len(sample) as u8;
    if value != 0 && SIX_BYTES.contains(&timestamp) {
        // What nearly all samples look like, in one piece: a value, and a time between 1971 and 2109.
        let mut message = [0; 18];
        message[..3].copy_from_slice(&[SAMPLE_TAG, inner_len, VALUE_TAG]);
        message[3..11].copy_from_slice(&value.to_le_bytes());
        message[11] = TIMESTAMP_TAG;
        let septet = |index: u32| (timestamp >> (7 * index)) as u8 & 0x7f;
        let more = |index: u32| septet(index) | 0x80;
        message[12..].copy_from_slice(&[more(0), more(1), more(2), more(3), more(4), septet(5)]);
        out.extend_from_slice(&message);
        return;
    }
    out.extend_from_slice(&[SAMPLE_TAG, inner_len]);
    if value != 0 {
        out.push(VALUE_TAG);
        out.extend_from_slice(&value.to_le_bytes());
    }
    if timestamp != 0 {
        out.push(TIMESTAMP_TAG);
        push_varint(out, timestamp);
    }
}

/// Length of a metadata entry inside its request.
pub(crate) fn metadata_len(metadata: &Metadata<'_>) -> usize {
    let inner = metadata_inner_len(metadata);
    1 + varint_len(inner as u64) + inner
}

/// Fields with their tags.
type Numbers = [(u8, u32); 3];
type Texts<'a> = [(u8, &'a [u8]); 3];

fn numbers_and_texts<'a>(metadata: &Metadata<'a>) -> (Numbers, Texts<'a>) {
    // Numbers have fields 1, 11 and 12; texts have 2, 4 and 5.
    let numbers = [(0x08, metadata.kind.0), (0x58, metadata.tenant.0), (0x60, metadata.tenant.1)];
    (numbers, [(0x12, metadata.family), (0x22, metadata.help), (0x2a, metadata.unit)])
}

fn metadata_inner_len(metadata: &Metadata<'_>) -> usize {
    let (numbers, texts) = numbers_and_texts(metadata);
    let number = |(_, value): &(u8, u32)| if *value == 0 { 0 } else { 1 + varint_len(u64::from(*value)) };
    let text =
        |(_, text): &(u8, &[u8])| if text.is_empty() { 0 } else { 1 + varint_len(text.len() as u64) + text.len() };
    numbers.iter().map(number).sum::<usize>() + texts.iter().map(text).sum::<usize>()
}

/// Appends what is known about a metric family.
pub(crate) fn push_metadata(out: &mut Vec<u8>, metadata: &Metadata<'_>) {
    out.push(METADATA_TAG);
    push_varint(out, metadata_inner_len(metadata) as u64);
    let ([kind, account, project], texts) = numbers_and_texts(metadata);
    let number = |out: &mut Vec<u8>, (tag, value): (u8, u32)| {
        if value != 0 {
            out.push(tag);
            push_varint(out, u64::from(value));
        }
    };
    number(out, kind);
    for (tag, text) in texts {
        if !text.is_empty() {
            out.push(tag);
            push_varint(out, text.len() as u64);
            out.extend_from_slice(text);
        }
    }
    number(out, account);
    number(out, project);
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::{MetricKind, SeriesBlock};
    use super::*;
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        timeseries: Vec<TimeSeries>,
        #[prost(message, repeated, tag = "3")]
        metadata: Vec<MetricMetadata>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        labels: Vec<LabelMessage>,
        #[prost(message, repeated, tag = "2")]
        samples: Vec<SampleMessage>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct LabelMessage {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(string, tag = "2")]
        value: String,
    }

    #[derive(Clone, PartialEq, Message)]
    struct SampleMessage {
        #[prost(double, tag = "1")]
        value: f64,
        #[prost(int64, tag = "2")]
        timestamp: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    struct MetricMetadata {
        #[prost(uint32, tag = "1")]
        kind: u32,
        #[prost(string, tag = "2")]
        metric_family_name: String,
        #[prost(string, tag = "4")]
        help: String,
        #[prost(string, tag = "5")]
        unit: String,
        #[prost(uint32, tag = "11")]
        account_id: u32,
        #[prost(uint32, tag = "12")]
        project_id: u32,
    }

    pub(in super::super) fn request() -> WriteRequest {
        let label = |name: &str, value: &str| LabelMessage { name: name.into(), value: value.into() };
        let sample = |timestamp, value| SampleMessage { value, timestamp };
        let series = |labels, samples| TimeSeries { labels, samples };
        let metadata = |kind, name: &str, help: &str, unit: &str, tenant: (u32, u32)| MetricMetadata {
            kind,
            metric_family_name: name.into(),
            help: help.into(),
            unit: unit.into(),
            account_id: tenant.0,
            project_id: tenant.1,
        };
        WriteRequest {
            timeseries: vec![
                series(vec![label("__name__", "up"), label("job", "é")], vec![sample(1_700_000_000_000, 1.5)]),
                series(vec![], vec![sample(0, 0.0)]),
                series(vec![label("a", ""), label("", "x")], vec![sample(-1, -0.0), sample(i64::MAX, f64::INFINITY)]),
                series(vec![label("long", &"v".repeat(70_000))], vec![sample(i64::MIN, f64::MIN_POSITIVE); 300]),
            ],
            metadata: vec![
                metadata(1, "c", "Some\nhelp", "", (0, 0)),
                metadata(0, "", "", "", (0, 0)),
                metadata(4_000_000_000, "x", &"h".repeat(300), "bytes", (5, u32::MAX)),
            ],
        }
    }

    /// The block as the oracle sees it.
    pub(in super::super) fn oracle(block: &SeriesBlock) -> WriteRequest {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let timeseries = block.iter().map(|series| TimeSeries {
            labels: series
                .labels()
                .map(|(name, value)| LabelMessage { name: text(name), value: text(value) })
                .collect(),
            samples: series
                .samples()
                .iter()
                .map(|sample| SampleMessage { value: sample.value, timestamp: sample.timestamp_ms })
                .collect(),
        });
        let metadata = block.metadata().map(|metadata| MetricMetadata {
            kind: metadata.kind.0,
            metric_family_name: text(metadata.family),
            help: text(metadata.help),
            unit: text(metadata.unit),
            account_id: metadata.tenant.0,
            project_id: metadata.tenant.1,
        });
        WriteRequest { timeseries: timeseries.collect(), metadata: metadata.collect() }
    }

    #[test]
    fn others_read_what_is_written_byte_for_byte() {
        let mut block = SeriesBlock::new();
        super::super::decode(&request().encode_to_vec(), &mut block).unwrap();
        let mut body = Vec::new();
        block.iter().for_each(|series| push_series(&mut body, [series.label_messages(), b""], series.samples()));
        for metadata in block.metadata() {
            let before = body.len();
            push_metadata(&mut body, &metadata);
            assert_eq!(body.len() - before, metadata_len(&metadata));
        }
        assert_eq!(WriteRequest::decode(&body[..]).unwrap(), request());
        assert_eq!(body, request().encode_to_vec());
    }

    #[test]
    fn staleness_markers_keep_their_bits() {
        let marker = f64::from_bits(0x7ff0_0000_0000_0002);
        let mut block = SeriesBlock::new();
        block.begin_series();
        block.push_sample(1, marker);
        assert!(block.end_series());
        let mut body = Vec::new();
        block.iter().for_each(|series| push_series(&mut body, [series.label_messages(), b""], series.samples()));
        let mut again = SeriesBlock::new();
        super::super::decode(&body, &mut again).unwrap();
        assert_eq!(again.iter().next().unwrap().samples()[0].value.to_bits(), marker.to_bits());
        assert_eq!(MetricKind::UNKNOWN.0, 0);
    }
}
