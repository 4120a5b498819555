//! The section `global`: defaults of all jobs.

use std::time::Duration;

use vmkit::yaml::{NodeId, Place};

use super::fields::{self, Reader, field};
use super::relabel_rules::{self, PlacedSpec};
use crate::labels::Labels;

const FIELDS: &[&str] = &[
    "label_limit",
    "sample_limit",
    "scrape_interval",
    "scrape_timeout",
    "external_labels",
    "relabel_configs",
    "metric_relabel_configs",
];

/// What jobs inherit.
#[derive(Debug, Default)]
pub(super) struct Global {
    pub(super) scrape_interval: Option<Duration>,
    pub(super) scrape_timeout: Option<Duration>,
    pub(super) external_labels: Labels,
    pub(super) relabel: Vec<PlacedSpec>,
    pub(super) metric_relabel: Vec<PlacedSpec>,
    pub(super) sample_limit: Option<u64>,
    pub(super) label_limit: Option<u64>,
}

impl Global {
    pub(super) fn read(reader: &mut Reader<'_, '_>, id: NodeId, place: &Place<'_>) -> Self {
        let Some(fields) = reader.fields(id, place, "promscrape.GlobalConfig", FIELDS) else { return Self::default() };
        let rules = |reader: &mut Reader<'_, '_>, name: &'static str| {
            field(&fields, name).map(|id| relabel_rules::specs(reader, id, &place.field(name))).unwrap_or_default()
        };
        Self {
            scrape_interval: fields::duration(reader, &fields, place, "scrape_interval"),
            scrape_timeout: fields::duration(reader, &fields, place, "scrape_timeout"),
            external_labels: Labels::from_pairs(fields::text_map(reader, &fields, place, "external_labels")),
            relabel: rules(reader, "relabel_configs"),
            metric_relabel: rules(reader, "metric_relabel_configs"),
            sample_limit: fields::limit(reader, &fields, place, "sample_limit"),
            label_limit: fields::limit(reader, &fields, place, "label_limit"),
        }
    }
}
