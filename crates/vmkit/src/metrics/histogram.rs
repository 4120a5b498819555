//! Histograms with `vmrange` buckets: 18 a decade from 1e-9 to 1e18, only those that were hit are shown.
//!
//! A bucket holds values above its start up to and including its end, so powers of ten end a bucket. Smaller values,
//! zero included, fall into `0...1.000e-09`, larger ones into `1.000e+18...+Inf`. Counts of a decade are allocated when
//! the decade is first hit. Updates are atomic and lock-free.

mod counts;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::prometheus_text::{Page, push_labels};

pub use counts::HistogramCounts;

const MIN_EXPONENT: i32 = -9;
const MAX_EXPONENT: i32 = 18;
const PER_DECADE: usize = 18;
const DECADES: usize = (MAX_EXPONENT - MIN_EXPONENT) as usize;
const BUCKETS: usize = DECADES * PER_DECADE;

const LOWER: &str = r#"vmrange="0...1.000e-09""#;
const UPPER: &str = r#"vmrange="1.000e+18...+Inf""#;

/// A histogram of non-negative values; share it as `Arc<Histogram>`.
#[derive(Debug, Default)]
pub struct Histogram {
    decades: [OnceLock<Box<[AtomicU64; PER_DECADE]>>; DECADES],
    lower: AtomicU64,
    upper: AtomicU64,
    /// Bits of an `f64`.
    sum: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bucket {
    Lower,
    At(usize),
    Upper,
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a value; negative values and NaN are ignored.
    pub fn update(&self, value: f64) {
        if value.is_nan() || value < 0.0 {
            return;
        }
        let counter = match bucket_of(value) {
            Bucket::Lower => &self.lower,
            Bucket::Upper => &self.upper,
            Bucket::At(at) => {
                let decade = &self.decades[at / PER_DECADE];
                &decade.get_or_init(Box::default)[at % PER_DECADE]
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // Never fails: the closure always answers.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Records a duration in seconds.
    pub fn update_duration(&self, duration: Duration) {
        self.update(duration.as_secs_f64());
    }

    /// Appends the series of a histogram that no [`Set`](super::Set) holds, with these labels; nothing while it is empty.
    /// The family must have been announced as [`Kind::Untyped`](super::Kind::Untyped).
    pub fn write_labeled(&self, page: &mut Page, family: &str, labels: &[(&str, &str)]) {
        let mut text = Vec::new();
        push_labels(&mut text, labels);
        self.write(page, family, &String::from_utf8_lossy(&text));
    }

    /// Appends the non-empty buckets, then sum and count; nothing if all are empty.
    pub(crate) fn write(&self, page: &mut Page, family: &str, labels: &str) {
        let mut total = 0_u64;
        let mut bucket = |page: &mut Page, range: &dyn Fn() -> String, counter: &AtomicU64| {
            let count = counter.load(Ordering::Relaxed);
            if count > 0 {
                total = total.wrapping_add(count);
                page.name(family, "_bucket", labels, &range());
                page.integer(count);
            }
        };
        bucket(page, &|| LOWER.into(), &self.lower);
        for (d, decade) in self.decades.iter().enumerate() {
            for (i, counter) in decade.get().into_iter().flat_map(|decade| decade.iter()).enumerate() {
                bucket(page, &|| range_label(d * PER_DECADE + i), counter);
            }
        }
        bucket(page, &|| UPPER.into(), &self.upper);
        if total > 0 {
            page.name(family, "_sum", labels, "");
            page.value(f64::from_bits(self.sum.load(Ordering::Relaxed)));
            page.name(family, "_count", labels, "");
            page.integer(total);
        }
    }
}

fn bucket_of(value: f64) -> Bucket {
    let position = (value.log10() - f64::from(MIN_EXPONENT)) * PER_DECADE as f64;
    if position < 0.0 {
        return Bucket::Lower;
    }
    if position >= BUCKETS as f64 {
        return Bucket::Upper;
    }
    let at = position as usize;
    // A value on a boundary belongs to the bucket that ends there.
    Bucket::At(if at as f64 == position { at.saturating_sub(1) } else { at })
}

fn range_label(at: usize) -> String {
    let mut label = String::from(r#"vmrange=""#);
    push_boundary(&mut label, at);
    label.push_str("...");
    push_boundary(&mut label, at + 1);
    label.push('"');
    label
}

/// Appends the start of bucket `at` with four digits and at least two digits of exponent.
fn push_boundary(label: &mut String, at: usize) {
    let fraction = 10_f64.powf((at % PER_DECADE) as f64 / PER_DECADE as f64);
    let exponent = MIN_EXPONENT + (at / PER_DECADE) as i32;
    let sign = if exponent < 0 { '-' } else { '+' };
    label.push_str(&format!("{fraction:.3}e{sign}{:02}", exponent.unsigned_abs()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(values: &[f64], labels: &str) -> String {
        let histogram = Histogram::new();
        values.iter().for_each(|&value| histogram.update(value));
        let mut page = Page::new(false);
        histogram.write(&mut page, "h", labels);
        String::from_utf8(page.into_bytes()).unwrap()
    }

    #[test]
    fn ranges() {
        let f = |value: f64, range: &str| {
            let got = text(&[value], "");
            assert!(got.starts_with(&format!("h_bucket{{vmrange=\"{range}\"}} 1\n")), "{value:e}: {got}");
            assert!(got.ends_with("h_count 1\n"), "{got}");
        };
        f(0.0, "0...1.000e-09");
        f(9.9e-10, "0...1.000e-09");
        f(1e-9, "1.000e-09...1.136e-09");
        f(1.05e-9, "1.000e-09...1.136e-09");
        f(0.0042, "4.084e-03...4.642e-03");
        f(0.0999, "8.799e-02...1.000e-01");
        f(1.0, "8.799e-01...1.000e+00");
        f(1.01, "1.000e+00...1.136e+00");
        f(10.0, "8.799e+00...1.000e+01");
        f(1000.0, "8.799e+02...1.000e+03");
        f(1e12, "8.799e+11...1.000e+12");
        f(9.9e17, "8.799e+17...1.000e+18");
        f(1.1e18, "1.000e+18...+Inf");
        f(f64::INFINITY, "1.000e+18...+Inf");
    }

    #[test]
    fn every_bucket_holds_its_own_middle() {
        for at in 0..BUCKETS {
            let middle = 10_f64.powf(f64::from(MIN_EXPONENT) + (at as f64 + 0.5) / PER_DECADE as f64);
            assert_eq!(bucket_of(middle), Bucket::At(at));
        }
    }

    #[test]
    fn pages() {
        let f = |values: &[f64], labels: &str, want: &str| assert_eq!(text(values, labels), want, "{values:?}");
        f(&[], "", "");
        f(&[f64::NAN, -1.0], "", "");
        f(
            &[0.0042, 0.0, 0.0041, 2e18],
            r#"{path="/metrics"}"#,
            "h_bucket{path=\"/metrics\",vmrange=\"0...1.000e-09\"} 1\n\
             h_bucket{path=\"/metrics\",vmrange=\"4.084e-03...4.642e-03\"} 2\n\
             h_bucket{path=\"/metrics\",vmrange=\"1.000e+18...+Inf\"} 1\n\
             h_sum{path=\"/metrics\"} 2000000000000000000\nh_count{path=\"/metrics\"} 4\n",
        );
    }

    #[test]
    fn threads_lose_nothing() {
        let histogram = Histogram::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5000).for_each(|i| histogram.update(f64::from(i % 10))));
            }
        });
        let mut page = Page::new(false);
        histogram.write(&mut page, "h", "");
        let got = String::from_utf8(page.into_bytes()).unwrap();
        assert!(got.ends_with("h_sum 90000\nh_count 20000\n"), "{got}");
    }
}
