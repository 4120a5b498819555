//! The counts of a histogram at one moment: what came since an earlier moment, and quantiles of that.
//!
//! For pages that people read; the metrics page shows the buckets themselves. Copies are sparse, so that keeping some of
//! very many histograms costs what they hold.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::{BUCKETS, Histogram, MIN_EXPONENT, PER_DECADE};

/// Counts by bucket, in the order of their values: 0 is below all ranges, the last one above them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramCounts(BTreeMap<u16, u64>);

impl Histogram {
    /// The counts of this moment.
    pub fn counts(&self) -> HistogramCounts {
        let mut counts = BTreeMap::new();
        let mut add = |at: usize, counter: &std::sync::atomic::AtomicU64| {
            let count = counter.load(Ordering::Relaxed);
            if let (1.., Ok(at)) = (count, u16::try_from(at)) {
                counts.insert(at, count);
            }
        };
        add(0, &self.lower);
        for (d, decade) in self.decades.iter().enumerate() {
            let counters = decade.get().into_iter().flat_map(|decade| decade.iter());
            counters.enumerate().for_each(|(i, counter)| add(1 + d * PER_DECADE + i, counter));
        }
        add(1 + BUCKETS, &self.upper);
        HistogramCounts(counts)
    }
}

impl HistogramCounts {
    /// What was counted since an earlier moment of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let new = |(at, count): (&u16, &u64)| {
            let more = count.saturating_sub(earlier.0.get(at).copied().unwrap_or(0));
            (more > 0).then_some((*at, more))
        };
        Self(self.0.iter().filter_map(new).collect())
    }

    /// The same with the counts of another histogram.
    pub fn add(&mut self, other: &Self) {
        for (at, count) in &other.0 {
            *self.0.entry(*at).or_default() += count;
        }
    }

    /// Number of values.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The end of the bucket that holds the quantile `phi` of 0 to 1: at most 14 % too much. `None` without values.
    pub fn quantile(&self, phi: f64) -> Option<f64> {
        let rank = (phi * self.total() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.0.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        found.map(|(at, _)| 10_f64.powf(f64::from(MIN_EXPONENT) + f64::from(*at) / PER_DECADE as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_what_came_since() {
        let histogram = Histogram::new();
        assert_eq!(histogram.counts().quantile(0.5), None);
        (0..100).for_each(|_| histogram.update(5.0));
        let earlier = histogram.counts();
        (1..=100).for_each(|i| histogram.update(f64::from(i) / 1000.0));
        let new = histogram.counts().since(&earlier);
        assert_eq!(new.total(), 100);
        let f = |phi: f64, value: f64| {
            let got = new.quantile(phi).unwrap();
            assert!(got >= value * 0.999 && got <= value * 1.14, "{phi}: {got}");
        };
        f(0.0, 0.001);
        f(0.5, 0.050);
        f(0.9, 0.090);
        f(0.99, 0.099);
        f(1.0, 0.100);
        assert_eq!(histogram.counts().since(&histogram.counts()), HistogramCounts::default());
    }

    #[test]
    fn sums_and_ends() {
        let (a, b) = (Histogram::new(), Histogram::new());
        a.update(0.0);
        b.update(f64::MAX);
        let mut both = a.counts();
        both.add(&b.counts());
        assert_eq!((both.total(), both.quantile(0.5)), (2, Some(1e-9)));
        assert!(both.quantile(1.0).unwrap() > 1e18);
    }
}
