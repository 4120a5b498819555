//! A store of many tenants that is kept in memory: remote write in, simple queries out.
//!
//! ```text
//! POST /insert/TENANT/prometheus/api/v1/write ─► write ─► Store ◄─ query ◄─ GET /select/TENANT/prometheus/api/v1/…
//! ```
//!
//! It stands where vminsert, vmstorage and vmselect stand in the guide, for trying things out and for tests: it forgets
//! everything at its end. Tenants, series, samples and what is remembered of writes are bounded; what does not fit is
//! refused and counted.

pub mod evaluate;
pub mod expression;
mod query;
pub mod series;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vmagent::relabel::Selector;
use vmagent::remote_write::{Encoding, Sample, SeriesBlock};
use vmkit::http_server::{AppRoute, Reply, Request};

use crate::tenant::Tenant;
pub use series::Labels;
use series::Samples;

/// Series of all tenants together; each takes about 30 KB when it is full.
const MAX_SERIES: usize = 5_000;
/// Tenants with samples.
const MAX_TENANTS: usize = 32;
/// Names and values of one series.
const MAX_LABEL_BYTES: usize = 8 << 10;
/// Writes that are remembered.
const MAX_WRITES: usize = 4_096;
/// A series without a new sample for so long makes room for others.
const FORGOTTEN_MS: i64 = 600_000;

/// All tenants. Shared by the workers that serve it.
#[derive(Debug, Default)]
pub struct Store(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    tenants: BTreeMap<Tenant, TenantData>,
    writes: VecDeque<Write>,
    refused_series: u64,
}

/// What one tenant has written.
#[derive(Debug, Default)]
pub struct TenantData {
    series: BTreeMap<Labels, Samples>,
    samples: u64,
    last_write: Option<Instant>,
}

/// A tenant in figures.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantFigures {
    /// Whose.
    pub tenant: Tenant,
    /// Series in memory.
    pub series: usize,
    /// Samples taken since the start.
    pub samples: u64,
    /// Time since the last write that had samples.
    pub last_write: Option<Duration>,
}

/// A request to write, as far as tests and pages want to know it.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Path as it came.
    pub path: String,
    /// Whose samples.
    pub tenant: Tenant,
    /// How the body was packed.
    pub encoding: &'static str,
    /// Samples in it.
    pub samples: usize,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// When it came.
    pub at: std::time::SystemTime,
}

impl Store {
    /// Routes of a server that writes and reads.
    pub fn route(self: &std::sync::Arc<Self>) -> AppRoute {
        let store = self.clone();
        AppRoute::prefix("/", move |request| {
            let store = store.clone();
            Box::pin(async move { store.answer(request).await })
        })
        .public()
    }

    /// Answers a request of either side; for servers that have other routes too.
    pub async fn answer(&self, request: &mut Request<'_>) -> Reply {
        let path = String::from_utf8_lossy(request.path).into_owned();
        let parts: Vec<_> = path.split('/').skip(1).collect();
        match parts.as_slice() {
            ["insert", tenant, "prometheus", "api", "v1", "write"] => match tenant.parse() {
                Ok(tenant) => self.write(request, tenant, &path).await,
                Err(error) => Reply::error(400, &error.to_string()),
            },
            ["select", tenant, "prometheus", "api", "v1", asked @ ..] => match tenant.parse() {
                Ok(tenant) => self.query(request, tenant, asked).await,
                Err(error) => Reply::error(400, &error.to_string()),
            },
            ["health"] => Reply::text(200, "OK"),
            _ => Reply::error(
                400,
                &format!(
                    "unsupported path {path:?}; there are /insert/TENANT/prometheus/api/v1/write and \
                     /select/TENANT/prometheus/api/v1/{{query,query_range,series,labels,label/NAME/values}}"
                ),
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a message held.
    fn take(&self, block: &SeriesBlock, write: Write) {
        let mut state = self.lock();
        if write.samples > 0 {
            state.take(block, write.tenant);
        }
        if state.writes.len() == MAX_WRITES {
            state.writes.pop_front();
        }
        state.writes.push_back(write);
    }

    /// Figures of all tenants, by tenant.
    pub fn figures(&self) -> Vec<TenantFigures> {
        let of = |(tenant, data): (&Tenant, &TenantData)| TenantFigures {
            tenant: *tenant,
            series: data.series.len(),
            samples: data.samples,
            last_write: data.last_write.map(|at| at.elapsed()),
        };
        self.lock().tenants.iter().map(of).collect()
    }

    /// Series that found no room.
    pub fn refused_series(&self) -> u64 {
        self.lock().refused_series
    }

    /// The newest requests to write, those without samples too, oldest first.
    pub fn writes(&self) -> Vec<Write> {
        self.lock().writes.iter().cloned().collect()
    }

    /// All samples of the series that match, by labels.
    pub fn samples(&self, tenant: Tenant, selector: &Selector) -> Vec<(Labels, Vec<Sample>)> {
        let state = self.lock();
        let Some(data) = state.tenants.get(&tenant) else { return Vec::new() };
        let all =
            |(labels, samples): (&Labels, &Samples)| (labels.clone(), samples.between(i64::MIN, i64::MAX).collect());
        evaluate::series(data, selector).map(all).collect()
    }
}

impl State {
    fn take(&mut self, block: &SeriesBlock, tenant: Tenant) {
        let room = MAX_SERIES.saturating_sub(self.tenants.values().map(|data| data.series.len()).sum());
        if !self.tenants.contains_key(&tenant) && self.tenants.len() == MAX_TENANTS {
            self.refused_series += block.series_count() as u64;
            return;
        }
        let data = self.tenants.entry(tenant).or_default();
        data.last_write = Some(Instant::now());
        let refused = data.take(block, room);
        self.refused_series += refused;
        if refused > 0 {
            self.forget();
        }
    }

    /// Drops series that nobody writes any more.
    fn forget(&mut self) {
        let newest = |data: &TenantData| data.series.values().filter_map(Samples::newest_ms).max();
        let Some(newest) = self.tenants.values().filter_map(newest).max() else { return };
        for data in self.tenants.values_mut() {
            data.series.retain(|_, samples| samples.newest_ms().is_some_and(|time| time > newest - FORGOTTEN_MS));
        }
    }
}

impl TenantData {
    /// Takes all series but those that find no room; returns how many those are.
    fn take(&mut self, block: &SeriesBlock, mut room: usize) -> u64 {
        let mut refused = 0;
        for series in block.iter() {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
            let mut labels: Vec<_> = series.labels().map(|(name, value)| (text(name), text(value))).collect();
            labels.sort();
            let size: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
            let labels: Labels = labels.into();
            let is_new = !self.series.contains_key(&labels);
            if size > MAX_LABEL_BYTES || (is_new && room == 0) {
                refused += 1;
                continue;
            }
            room -= usize::from(is_new);
            let own = self.series.entry(labels).or_default();
            for sample in series.samples() {
                self.samples += u64::from(own.insert(*sample));
            }
        }
        refused
    }
}

/// The name of an encoding as requests give it.
fn encoding_name(body: &[u8]) -> &'static str {
    Encoding::of(body).name()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step ends the test")]

    use super::*;

    fn block(names: impl Iterator<Item = String>, timestamp_ms: i64) -> SeriesBlock {
        let mut block = SeriesBlock::new();
        for name in names {
            block.begin_series();
            block.push_label(b"__name__", name.as_bytes());
            block.push_sample(timestamp_ms, 1.0);
            assert!(block.end_series());
        }
        block
    }

    fn write(store: &Store, tenant: &str, block: &SeriesBlock) {
        let write = Write {
            path: String::new(),
            tenant: tenant.parse().unwrap(),
            encoding: "zstd",
            samples: block.sample_count(),
            authorization: None,
            at: std::time::SystemTime::now(),
        };
        store.take(block, write);
    }

    #[test]
    fn tenants_are_apart() {
        let store = Store::default();
        write(&store, "0:0", &block(["a", "b"].map(str::to_owned).into_iter(), 1));
        write(&store, "1:2", &block(std::iter::once("a".to_owned()), 2));
        let figures: Vec<_> = store.figures().iter().map(|tenant| (tenant.tenant.to_string(), tenant.series)).collect();
        assert_eq!(figures, [("0:0".to_owned(), 2), ("1:2".to_owned(), 1)]);
        let all = Selector::parse("a").unwrap();
        let times = |tenant: &str| -> Vec<i64> {
            let found = store.samples(tenant.parse().unwrap(), &all);
            found.into_iter().flat_map(|(_, samples)| samples).map(|sample| sample.timestamp_ms).collect()
        };
        assert_eq!((times("0:0"), times("1:2"), times("7:0")), (vec![1], vec![2], vec![]));
        assert_eq!(store.writes().len(), 2);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_silent_series_make_room() {
        let store = Store::default();
        write(&store, "0", &block((0..MAX_SERIES + 5).map(|number| format!("m{number}")), 1));
        assert_eq!((store.figures()[0].series, store.refused_series()), (MAX_SERIES, 5));
        write(&store, "0", &block(std::iter::once("x".repeat(MAX_LABEL_BYTES + 1)), 1));
        assert_eq!(store.refused_series(), 6, "too long");
        write(&store, "0", &block(["m0", "new"].map(str::to_owned).into_iter(), FORGOTTEN_MS + 2));
        assert_eq!((store.figures()[0].series, store.refused_series()), (1, 7), "the silent ones are gone");
        write(&store, "0", &block(std::iter::once("new".to_owned()), FORGOTTEN_MS + 3));
        assert_eq!(store.figures()[0].series, 2);
        for tenant in 1..=MAX_TENANTS {
            write(&store, &tenant.to_string(), &block(std::iter::once("m".to_owned()), FORGOTTEN_MS + 3));
        }
        assert_eq!((store.figures().len(), store.refused_series()), (MAX_TENANTS, 8));
    }
}
