//! Reading a write request.

use super::super::{Metadata, MetricKind, SeriesBlock};
use super::wire::{DecodeError, Fields, Value};

/// Is told what a write request holds, in order of occurrence: a series may have labels behind its samples.
pub trait Visitor {
    /// A series begins.
    fn begin_series(&mut self);
    /// A label of the series.
    fn label(&mut self, name: &[u8], value: &[u8]);
    /// A sample of the series; milliseconds since the Unix epoch.
    fn sample(&mut self, timestamp_ms: i64, value: f64);
    /// The series has a native histogram, which remote write 1.0 senders add as an extension.
    fn histogram(&mut self);
    /// The series is complete.
    fn end_series(&mut self);
    /// A metric family is described.
    fn metadata(&mut self, metadata: Metadata<'_>);
}

/// Only checks.
impl Visitor for () {
    fn begin_series(&mut self) {}
    fn label(&mut self, _name: &[u8], _value: &[u8]) {}
    fn sample(&mut self, _timestamp_ms: i64, _value: f64) {}
    fn histogram(&mut self) {}
    fn end_series(&mut self) {}
    fn metadata(&mut self, _metadata: Metadata<'_>) {}
}

impl Visitor for SeriesBlock {
    fn begin_series(&mut self) {
        Self::begin_series(self);
    }

    fn label(&mut self, name: &[u8], value: &[u8]) {
        self.push_label(name, value);
    }

    fn sample(&mut self, timestamp_ms: i64, value: f64) {
        self.push_sample(timestamp_ms, value);
    }

    fn histogram(&mut self) {}

    fn end_series(&mut self) {
        Self::end_series(self);
    }

    fn metadata(&mut self, metadata: Metadata<'_>) {
        self.push_metadata(metadata);
    }
}

/// Walks a whole, uncompressed write request.
///
/// # Errors
/// The bytes are none. The visitor has then been told a part of it.
pub fn decode(body: &[u8], visitor: &mut impl Visitor) -> Result<(), DecodeError> {
    let mut fields = Fields(body);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => series(value.bytes()?, visitor)?,
            3 => metadata(value.bytes()?, visitor)?,
            _ => {}
        }
    }
    Ok(())
}

fn series(message: &[u8], visitor: &mut impl Visitor) -> Result<(), DecodeError> {
    visitor.begin_series();
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => {
                let [name, text] = texts(value.bytes()?)?;
                visitor.label(name, text);
            }
            2 => sample(value.bytes()?, visitor)?,
            4 => {
                value.bytes()?;
                visitor.histogram();
            }
            // 3 are exemplars.
            _ => {}
        }
    }
    visitor.end_series();
    Ok(())
}

/// Fields 1 and 2 of a message; a missing one is empty, of a repeated one the last counts.
fn texts(message: &[u8]) -> Result<[&[u8]; 2], DecodeError> {
    let mut texts: [&[u8]; 2] = [b"", b""];
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        if let 1 | 2 = number {
            texts[number as usize - 1] = value.bytes()?;
        }
    }
    Ok(texts)
}

fn sample(message: &[u8], visitor: &mut impl Visitor) -> Result<(), DecodeError> {
    let (mut bits, mut timestamp) = (0, 0);
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => bits = value.fixed64()?,
            2 => timestamp = value.varint()?,
            _ => {}
        }
    }
    visitor.sample(timestamp.cast_signed(), f64::from_bits(bits));
    Ok(())
}

fn metadata(message: &[u8], visitor: &mut impl Visitor) -> Result<(), DecodeError> {
    let mut metadata = Metadata { kind: MetricKind::UNKNOWN, family: b"", help: b"", unit: b"", tenant: (0, 0) };
    let number_of = |value: Value<'_>| value.varint().map(|value| value as u32);
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => metadata.kind = MetricKind(number_of(value)?),
            2 => metadata.family = value.bytes()?,
            4 => metadata.help = value.bytes()?,
            5 => metadata.unit = value.bytes()?,
            11 => metadata.tenant.0 = number_of(value)?,
            12 => metadata.tenant.1 = number_of(value)?,
            _ => {}
        }
    }
    visitor.metadata(metadata);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::encode::tests::{oracle, request};
    use super::*;
    use prost::Message;

    #[test]
    fn what_others_write_is_read() {
        let body = request().encode_to_vec();
        let mut block = SeriesBlock::new();
        decode(&body, &mut block).unwrap();
        assert_eq!(oracle(&block), request());
        for cut in 0..body.len() {
            // A cut between two fields is a shorter message; anywhere else it is an error. Never a panic.
            let _ = decode(&body[..cut], &mut SeriesBlock::new());
        }
    }

    #[test]
    fn labels_behind_samples_and_unknown_fields() {
        let sample = [0x12, 2, 0x10, 7];
        let label = [0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b'];
        let unknown = [0x7a, 1, 0];
        let mut body = vec![0x0a, (sample.len() + label.len() + unknown.len()) as u8];
        [&sample[..], &unknown, &label].iter().for_each(|part| body.extend_from_slice(part));
        body.extend_from_slice(&unknown);
        let mut block = SeriesBlock::new();
        decode(&body, &mut block).unwrap();
        let series = block.iter().next().unwrap();
        assert_eq!(series.labels().collect::<Vec<_>>(), [(&b"a"[..], &b"b"[..])]);
        assert_eq!((series.samples()[0].timestamp_ms, series.samples()[0].value), (7, 0.0));
    }

    #[test]
    fn wrong_messages() {
        let f = |body: &[u8], want| assert_eq!(decode(body, &mut ()), Err(want), "{body:?}");
        f(b"hello", DecodeError::WireType);
        f(&[0x10, 1, 0x0a, 5], DecodeError::Truncated);
        f(&[0x08, 1], DecodeError::WireType);
        f(&[0x0a, 2, 0x08, 1], DecodeError::WireType);
        f(&[0x0a, 4, 0x12, 2, 0x08, 1], DecodeError::WireType);
        f(&[0x0d, 0, 0, 0, 0], DecodeError::WireType);
        assert_eq!(decode(b"", &mut ()), Ok(()));
    }
}
