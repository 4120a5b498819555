//! Metrics that every scrape adds on its own: `up`, `scrape_duration_seconds` and so on.
//!
//! They carry the labels of the target and the external labels, whatever the page says; rules of the job do not touch
//! them. A page that has a series of one of these names without labels gives it up (`exported_up`).

use std::time::Duration;

use crate::remote_write::SeriesBlock;

/// The marker that ends a series: a NaN with these bits.
pub const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

const NAMES: &[&str] = &[
    "up",
    "scrape_duration_seconds",
    "scrape_timeout_seconds",
    "scrape_response_size_bytes",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_samples_limit",
    "scrape_labels_limit",
    "scrape_series_limit",
    "scrape_series_current",
    "scrape_series_limit_samples_dropped",
];

/// Whether a name belongs to a metric of ours.
pub fn is_automatic(name: &[u8]) -> bool {
    (name == b"up" || name.starts_with(b"scrape_")) && NAMES.iter().any(|known| known.as_bytes() == name)
}

/// What one scrape was like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScrapeResult {
    /// Whether it was a success.
    pub up: bool,
    /// From the request to the end of the page.
    pub duration: Duration,
    /// Limit of that time.
    pub timeout: Duration,
    /// Size of the page without compression; 0 after a failure.
    pub response_size: u64,
    /// Samples on the page.
    pub samples_scraped: u64,
    /// Samples left by the rules of the job.
    pub samples_post_relabeling: u64,
    /// Series that the page before did not have.
    pub series_added: u64,
    /// `sample_limit`, if there is one.
    pub sample_limit: Option<u64>,
    /// `label_limit`, if there is one.
    pub label_limit: Option<u64>,
    /// `series_limit`, if there is one, with the number of series and of the samples that it cost.
    pub series_limit: Option<(u64, u64, u64)>,
}

impl ScrapeResult {
    /// Adds the metrics to a block; the labels are those of the series `labels` of another block.
    pub fn write(&self, timestamp_ms: i64, labels: &SeriesBlock, block: &mut SeriesBlock) {
        self.each(|name, value| push(name, value, timestamp_ms, labels, block));
    }

    /// Adds markers that end the metrics.
    pub fn write_stale(&self, timestamp_ms: i64, labels: &SeriesBlock, block: &mut SeriesBlock) {
        self.each(|name, _| push(name, STALE_NAN, timestamp_ms, labels, block));
    }

    fn each(&self, mut metric: impl FnMut(&str, f64)) {
        #[allow(clippy::cast_precision_loss)]
        let count = |count: u64| count as f64;
        metric("up", f64::from(u8::from(self.up)));
        metric("scrape_duration_seconds", self.duration.as_millis() as f64 / 1e3);
        metric("scrape_timeout_seconds", self.timeout.as_secs_f64());
        metric("scrape_response_size_bytes", count(self.response_size));
        metric("scrape_samples_scraped", count(self.samples_scraped));
        metric("scrape_samples_post_metric_relabeling", count(self.samples_post_relabeling));
        metric("scrape_series_added", count(self.series_added));
        if let Some(limit) = self.sample_limit {
            metric("scrape_samples_limit", count(limit));
        }
        if let Some(limit) = self.label_limit {
            metric("scrape_labels_limit", count(limit));
        }
        if let Some((limit, current, dropped)) = self.series_limit {
            metric("scrape_series_limit", count(limit));
            metric("scrape_series_current", count(current));
            metric("scrape_series_limit_samples_dropped", count(dropped));
        }
    }
}

fn push(name: &str, value: f64, timestamp_ms: i64, labels: &SeriesBlock, block: &mut SeriesBlock) {
    block.begin_series();
    block.push_label(b"__name__", name.as_bytes());
    if let Some(series) = labels.iter().next() {
        block.push_labels_of(&series);
    }
    block.push_sample(timestamp_ms, value);
    block.end_series();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_are_ours() {
        for name in NAMES {
            assert!(is_automatic(name.as_bytes()));
        }
        assert!(!is_automatic(b"scrape_x") && !is_automatic(b"upx") && !is_automatic(b""));
    }

    #[test]
    fn limits_are_told_only_where_they_are() {
        let mut labels = SeriesBlock::new();
        labels.begin_series();
        labels.push_label(b"job", b"j");
        labels.push_sample(0, 0.0);
        labels.end_series();
        let names = |result: &ScrapeResult| {
            let mut block = SeriesBlock::new();
            result.write(5, &labels, &mut block);
            block
                .iter()
                .map(|series| series.labels().map(|(_, value)| value.to_vec()).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        let plain = names(&ScrapeResult::default());
        assert_eq!(plain.len(), 7);
        assert_eq!(plain[0], [b"up".to_vec(), b"j".to_vec()]);
        let limited = ScrapeResult {
            sample_limit: Some(1),
            label_limit: Some(2),
            series_limit: Some((3, 2, 1)),
            ..ScrapeResult::default()
        };
        assert_eq!(names(&limited).len(), 12);
        let mut block = SeriesBlock::new();
        limited.write_stale(5, &labels, &mut block);
        assert!(block.iter().all(|series| series.samples()[0].value.to_bits() == STALE_NAN.to_bits()));
    }
}
