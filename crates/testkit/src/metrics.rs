//! Reads a `/metrics` page and looks up samples by the full text of their series.
//!
//! The page may be cached for a second by the server, so a scrape can be older than the request before it.
//! [`Metrics::fresh`] waits until the page changes and so is certainly newer than the call.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::client::Client;
use crate::deadline::eventually;

/// One scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(HashMap<String, f64>);

impl Metrics {
    /// Scrapes `http://ADDRESS/metrics`; the page may be up to a second old.
    #[track_caller]
    pub fn scrape(address: SocketAddr) -> Self {
        Self::parse(&page(address))
    }

    /// A scrape that was certainly made after this call.
    #[track_caller]
    pub fn fresh(address: SocketAddr) -> Self {
        let old = page(address);
        // Scrapes count themselves, so a newly made page always differs.
        let new = eventually("a newly made /metrics page", || {
            let new = page(address);
            if new == old { Err("the page does not change") } else { Ok(new) }
        });
        Self::parse(&new)
    }

    /// Parses the text format; panics on a line that is none.
    pub fn parse(text: &str) -> Self {
        let mut samples = HashMap::new();
        for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line:?}"));
            let value = value.parse().unwrap_or_else(|e| panic!("bad value in {line:?}: {e}"));
            samples.insert(series.to_owned(), value);
        }
        Self(samples)
    }

    /// Value of the series, written exactly as on the page, such as `up{job="a"}`.
    pub fn value(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    /// Sum over all series of a family, whatever their labels.
    pub fn sum(&self, family: &str) -> f64 {
        let in_family = |s: &str| s.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
        self.0.iter().filter(|(series, _)| in_family(series)).map(|(_, value)| value).sum()
    }

    /// All samples whose series contains `text`, sorted: for failure messages.
    pub fn containing(&self, text: &str) -> Vec<(String, f64)> {
        let mut found: Vec<_> = self.0.iter().filter(|(s, _)| s.contains(text)).map(|(s, v)| (s.clone(), *v)).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }
}

#[track_caller]
fn page(address: SocketAddr) -> String {
    Client::connect(address).get("/metrics", &["Connection: close"]).expect(200).text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_their_text() {
        let metrics = Metrics::parse("# TYPE a counter\na 1\nb{x=\"y z\"} 2.5\nb{x=\"q\"} 1e-03\nbc 7\n");
        assert_eq!(metrics.value("a"), Some(1.0));
        assert_eq!(metrics.value("b{x=\"y z\"}"), Some(2.5));
        assert_eq!(metrics.value("b"), None);
        assert_eq!(metrics.sum("b"), 2.501);
        assert_eq!(metrics.containing("bc"), [(String::from("bc"), 7.0)]);
    }
}
