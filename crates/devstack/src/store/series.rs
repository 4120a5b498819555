//! One series: its labels and its newest samples, in the order of time.
//!
//! A sample of a time that is there already replaces it, so what is delivered twice counts once. Samples may come late:
//! they are put where they belong, unless they are older than everything a full series still keeps.

use std::collections::VecDeque;
use std::sync::Arc;

use vmagent::remote_write::Sample;

/// So many samples a series keeps: half an hour at one a second.
pub const SAMPLES: usize = 1_800;
/// The value that says a series has ended; another NaN is a value like any other.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Names and values, sorted by name.
pub type Labels = Arc<[(Box<str>, Box<str>)]>;

/// Value of a label; empty when there is none.
pub fn value_of<'l>(labels: &'l Labels, name: &str) -> &'l str {
    labels.binary_search_by(|(own, _)| (**own).cmp(name)).map_or("", |at| &labels[at].1)
}

/// Whether the sample says that the series has ended.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE
}

/// Samples of a series, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Samples(VecDeque<Sample>);

impl Samples {
    /// Takes a sample; false when it was there already.
    pub fn insert(&mut self, sample: Sample) -> bool {
        let at = self.0.partition_point(|own| own.timestamp_ms < sample.timestamp_ms);
        if let Some(own) = self.0.get_mut(at).filter(|own| own.timestamp_ms == sample.timestamp_ms) {
            *own = sample;
            return false;
        }
        if self.0.len() == SAMPLES {
            if at == 0 {
                return true;
            }
            self.0.pop_front();
            self.0.insert(at - 1, sample);
        } else {
            self.0.insert(at, sample);
        }
        true
    }

    /// Samples later than `after` and not later than `until`, in milliseconds, without marks of an end.
    pub fn between(&self, after: i64, until: i64) -> impl DoubleEndedIterator<Item = Sample> + '_ {
        let from = self.0.partition_point(|own| own.timestamp_ms <= after);
        let to = self.0.partition_point(|own| own.timestamp_ms <= until);
        self.0.range(from..to.max(from)).copied().filter(|sample| !is_stale(sample.value))
    }

    /// The newest sample not later than `until` and later than `after`; none when the series has ended there.
    pub fn last(&self, after: i64, until: i64) -> Option<Sample> {
        let to = self.0.partition_point(|own| own.timestamp_ms <= until);
        let newest = self.0.get(to.checked_sub(1)?)?;
        (newest.timestamp_ms > after && !is_stale(newest.value)).then_some(*newest)
    }

    /// Time of the newest sample.
    pub fn newest_ms(&self) -> Option<i64> {
        self.0.back().map(|sample| sample.timestamp_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(timestamp_ms: i64) -> Sample {
        Sample { timestamp_ms, value: timestamp_ms as f64 }
    }

    fn times(samples: &Samples) -> Vec<i64> {
        samples.between(i64::MIN, i64::MAX).map(|sample| sample.timestamp_ms).collect()
    }

    #[test]
    fn late_and_repeated_samples_fall_into_place() {
        let mut samples = Samples::default();
        let taken: Vec<_> = [5, 1, 3, 3, 9].into_iter().map(|time| samples.insert(at(time))).collect();
        assert_eq!(taken, [true, true, true, false, true]);
        assert_eq!(times(&samples), [1, 3, 5, 9]);
        assert_eq!(samples.between(1, 5).map(|sample| sample.timestamp_ms).collect::<Vec<_>>(), [3, 5]);
        assert_eq!(samples.last(0, 4).map(|sample| sample.timestamp_ms), Some(3));
        assert_eq!(samples.last(3, 4), None, "too old");
        assert_eq!(samples.between(9, 1).count(), 0);
    }

    #[test]
    fn a_full_series_forgets_its_oldest_samples_only() {
        let mut samples = Samples::default();
        (0..SAMPLES as i64 + 10).for_each(|time| assert!(samples.insert(at(time))));
        assert!(samples.insert(at(3)), "older than all: forgotten at once");
        let times = times(&samples);
        assert_eq!((times.len(), times.first(), samples.newest_ms()), (SAMPLES, Some(&10), Some(SAMPLES as i64 + 9)));
    }

    #[test]
    fn an_ended_series_has_no_value() {
        let mut samples = Samples::default();
        samples.insert(at(1));
        samples.insert(Sample { timestamp_ms: 2, value: f64::from_bits(STALE) });
        assert_eq!(samples.last(0, 5), None);
        assert_eq!(samples.last(0, 1), Some(at(1)));
        assert_eq!(times(&samples), [1]);
    }
}
