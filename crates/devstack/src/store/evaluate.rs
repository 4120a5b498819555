//! Values of an expression at points in time.
//!
//! A series has a value for five minutes after its newest sample, unless it was said to have ended. A rate is the
//! increase between the first and the last sample of its span, with resets of counters, over the time between them;
//! nothing is extrapolated, so it is a little different at the edges from what Prometheus shows.

use std::collections::BTreeMap;
use std::time::Duration;

use vmagent::relabel::Selector;

use super::TenantData;
use super::expression::Expression;
use super::series::{Labels, Samples, value_of};

/// How long the newest sample of a series is its value.
const LOOK_BACK_MS: i64 = 300_000;

/// A value of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Labels of the result.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

/// An expression with the series that its selectors find, so that they are looked for once and not for each point.
#[derive(Debug)]
pub enum Found<'d> {
    /// Newest values.
    Instant(Vec<(&'d Labels, &'d Samples)>),
    /// Rates over a span in milliseconds, with the labels of the results.
    Rate(Vec<(Labels, &'d Samples)>, i64),
    /// Sums over groups that are equal in these labels.
    Sum(&'d [String], Box<Self>),
}

impl<'d> Found<'d> {
    /// Looks the series up; `None` for a span, which has no value at a time.
    pub fn new(expression: &'d Expression, data: &'d TenantData) -> Option<Self> {
        Some(match expression {
            Expression::Instant(selector) => Self::Instant(series(data, selector).collect()),
            Expression::Span(..) => return None,
            Expression::Rate(selector, span) => {
                let own = |labels: &Labels| labels.iter().filter(|(name, _)| &**name != "__name__").cloned().collect();
                let found = series(data, selector).map(|(labels, samples)| (own(labels), samples));
                Self::Rate(found.collect(), millis(*span))
            }
            Expression::Sum(by, inner) => Self::Sum(by, Box::new(Self::new(inner, data)?)),
        })
    }

    /// Series that are looked at for each point.
    pub fn series(&self) -> usize {
        match self {
            Self::Instant(found) => found.len(),
            Self::Rate(found, _) => found.len(),
            Self::Sum(_, inner) => inner.series(),
        }
    }

    /// Values at a time, by labels.
    pub fn at(&self, time_ms: i64) -> Vec<Value> {
        match self {
            Self::Instant(found) => {
                let after = time_ms.saturating_sub(LOOK_BACK_MS);
                let newest = found.iter().filter_map(|(labels, own)| Some((*labels, own.last(after, time_ms)?.value)));
                newest.map(|(labels, value)| Value { labels: labels.clone(), value }).collect()
            }
            Self::Rate(found, span) => {
                let after = time_ms.saturating_sub(*span);
                let rates = found.iter().filter_map(|(labels, own)| Some((labels, rate(own, after, time_ms)?)));
                rates.map(|(labels, value)| Value { labels: labels.clone(), value }).collect()
            }
            Self::Sum(by, inner) => {
                let mut sums: BTreeMap<Labels, f64> = BTreeMap::new();
                for value in inner.at(time_ms) {
                    *sums.entry(group(&value.labels, by)).or_default() += value.value;
                }
                sums.into_iter().map(|(labels, value)| Value { labels, value }).collect()
            }
        }
    }
}

/// Series that match, by labels.
pub fn series<'d>(
    data: &'d TenantData,
    selector: &'d Selector,
) -> impl Iterator<Item = (&'d Labels, &'d Samples)> + 'd {
    data.series.iter().filter(|(labels, _)| {
        selector.matches(|name| {
            let name = str::from_utf8(name).ok()?;
            Some(value_of(labels, name).as_bytes())
        })
    })
}

/// Length of a span in milliseconds.
pub fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn group(labels: &Labels, by: &[String]) -> Labels {
    labels.iter().filter(|(name, _)| by.iter().any(|wanted| **wanted == **name)).cloned().collect()
}

fn rate(samples: &Samples, after: i64, until: i64) -> Option<f64> {
    let mut samples = samples.between(after, until);
    let first = samples.next()?;
    let (mut increase, mut last) = (0.0, first);
    for sample in samples {
        increase += if sample.value < last.value { sample.value } else { sample.value - last.value };
        last = sample;
    }
    let seconds = (last.timestamp_ms - first.timestamp_ms) as f64 / 1e3;
    (seconds > 0.0).then(|| increase / seconds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step ends the test")]

    use super::*;
    use vmagent::remote_write::Sample;

    fn data() -> TenantData {
        let mut data = TenantData::default();
        let mut put = |name: &str, job: &str, samples: &[(i64, f64)]| {
            let labels = [("__name__", name), ("job", job)].map(|(name, value)| (name.into(), value.into()));
            let own = data.series.entry(labels.into()).or_default();
            samples.iter().for_each(|(seconds, value)| {
                own.insert(Sample { timestamp_ms: seconds * 1000, value: *value });
            });
        };
        put("hits", "a", &[(0, 0.0), (10, 20.0), (20, 5.0)]);
        put("hits", "b", &[(0, 100.0), (20, 140.0)]);
        put("up", "a", &[(0, 1.0)]);
        data
    }

    #[test]
    fn values_at_a_time() {
        let data = data();
        let f = |text: &str, seconds: i64, want: &[(&str, f64)]| {
            let expression = Expression::parse(text).unwrap();
            let values = Found::new(&expression, &data).unwrap().at(seconds * 1000);
            let shown: Vec<_> = values
                .iter()
                .map(|value| {
                    let labels: Vec<_> = value.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    (labels.join(","), value.value)
                })
                .collect();
            let want: Vec<_> = want.iter().map(|(labels, value)| ((*labels).to_owned(), *value)).collect();
            assert_eq!(shown, want, "{text} at {seconds}");
        };
        f("up", 0, &[("__name__=up,job=a", 1.0)]);
        f("up", -1, &[]);
        f("up", 299, &[("__name__=up,job=a", 1.0)]);
        f("up", 300, &[]);
        f("{job=\"a\"}", 15, &[("__name__=hits,job=a", 20.0), ("__name__=up,job=a", 1.0)]);
        f("rate(hits[30s])", 20, &[("job=a", 1.25), ("job=b", 2.0)]);
        f("rate(hits[5s])", 20, &[]);
        f("sum(rate(hits[30s]))", 20, &[("", 3.25)]);
        f("sum by (job, none) (hits)", 20, &[("job=a", 5.0), ("job=b", 140.0)]);
        f("sum(hits) by (__name__)", 20, &[("__name__=hits", 145.0)]);
        f("sum(none)", 20, &[]);
    }
}
