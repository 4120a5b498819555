//! Relabeling rules out of YAML.
//!
//! Types and unknown fields are mistakes of the file. What a rule means is judged by the caller: a wrong rule skips
//! its job, or refuses a file of rules.

use vmkit::yaml::{NodeId, Place};

use super::fields::{self, Reader, bad_value, field};
use crate::relabel::{RelabelRules, RuleSpec, Selector};

const FIELDS: &[&str] = &[
    "if",
    "action",
    "source_labels",
    "separator",
    "target_label",
    "regex",
    "modulus",
    "replacement",
    "match",
    "labels",
];

/// A rule as it is written, and where. The place is no part of the rule: jobs that only moved stay the same.
#[derive(Clone, Debug)]
pub(super) struct PlacedSpec {
    spec: RuleSpec,
    position: String,
}

/// Reads a list of rules.
pub(super) fn specs(reader: &mut Reader<'_, '_>, id: NodeId, place: &Place<'_>) -> Vec<PlacedSpec> {
    let ids = reader.items(id, place, "[]promrelabel.RelabelConfig").unwrap_or_default();
    ids.iter().enumerate().filter_map(|(index, &id)| spec(reader, id, &place.index(index))).collect()
}

fn spec(reader: &mut Reader<'_, '_>, id: NodeId, place: &Place<'_>) -> Option<PlacedSpec> {
    let fields = reader.fields(id, place, "promrelabel.RelabelConfig", FIELDS)?;
    let list = |reader: &mut Reader<'_, '_>, name: &'static str| {
        field(&fields, name).and_then(|id| fields::text_or_list(reader, id, &place.field(name)))
    };
    let conditions = list(reader, "if").unwrap_or_default();
    for condition in &conditions {
        if let (Err(error), Some(id)) = (Selector::parse(condition), field(&fields, "if")) {
            bad_value(reader, id, &place.field("if"), error.to_string(), "write a selector such as {job=\"x\"}");
        }
    }
    let modulus = fields::integer(reader, &fields, place, "modulus");
    let spec = RuleSpec {
        conditions,
        action: fields::text(reader, &fields, place, "action"),
        source_labels: fields::texts(reader, &fields, place, "source_labels"),
        separator: fields::text(reader, &fields, place, "separator"),
        target_label: fields::text(reader, &fields, place, "target_label"),
        regex: list(reader, "regex").map(|list| list.join("|")),
        modulus: modulus.and_then(|modulus| u64::try_from(modulus).ok()),
        replacement: fields::text(reader, &fields, place, "replacement"),
        graphite_match: fields::text(reader, &fields, place, "match"),
        graphite_labels: fields::text_map(reader, &fields, place, "labels"),
    };
    Some(PlacedSpec { spec, position: fields::position(reader, id, place) })
}

/// Compiles the rules of one field of a job, those of `global` before its own; the error names each wrong one with its
/// own place.
pub(super) fn build(name: &str, specs: &[PlacedSpec]) -> Result<RelabelRules, String> {
    RelabelRules::build(specs.iter().map(|placed| &placed.spec)).map_err(|errors| {
        let position = |index: usize| specs.get(index).map_or("", |placed| &placed.position);
        let texts: Vec<_> = errors.iter().map(|(index, error)| format!("{error} ({})", position(*index))).collect();
        format!("cannot parse `{name}`: {}", texts.join("; "))
    })
}
