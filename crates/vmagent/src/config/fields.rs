//! Reading typed values of the scrape config: the decoder of YAML with what this config adds to it.
//!
//! A value that is missing, `null` or wrong is `None`; what is wrong has been reported then.

use std::time::Duration;

use vmkit::units::ByteSize;
use vmkit::yaml::scalar::Scalar;
use vmkit::yaml::tree::Kind;
use vmkit::yaml::{Decoder, Field, NodeId, Place};

use super::ConfigStage;
use super::duration::parse_duration;

pub(super) type Reader<'t, 'p> = Decoder<'t, 'p, ConfigStage>;

/// The value of a field.
pub(super) fn field(fields: &[Field], name: &str) -> Option<NodeId> {
    fields.iter().find(|(known, _)| *known == name).map(|&(_, id)| id)
}

/// Where `id` stands, for messages about jobs that are skipped: place, line and column.
pub(super) fn position(reader: &Reader<'_, '_>, id: NodeId, place: &Place<'_>) -> String {
    let mark = reader.mark(id);
    format!("{place}, line {}, column {}", mark.line, mark.column)
}

/// Reports a value that makes no sense.
pub(super) fn bad_value(
    reader: &mut Reader<'_, '_>,
    id: NodeId,
    place: &Place<'_>,
    message: String,
    hint: &'static str,
) {
    let mark = reader.mark(id);
    reader.problems.push(ConfigStage::Values, place, mark, message, hint);
}

pub(super) fn text(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    name: &'static str,
) -> Option<String> {
    let id = field(fields, name)?;
    reader.text(id, &place.field(name)).map(|text| text.value.to_owned())
}

pub(super) fn boolean(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    name: &'static str,
) -> Option<bool> {
    let id = field(fields, name)?;
    reader.boolean(id, &place.field(name))
}

pub(super) fn integer(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    name: &'static str,
) -> Option<i64> {
    let id = field(fields, name)?;
    reader.integer(id, &place.field(name))
}

/// A number that is a limit: zero and less mean that there is none.
pub(super) fn limit(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    name: &'static str,
) -> Option<u64> {
    integer(reader, fields, place, name).and_then(|limit| u64::try_from(limit).ok()).filter(|&limit| limit > 0)
}

/// A duration longer than zero.
pub(super) fn duration(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    name: &'static str,
) -> Option<Duration> {
    zero_or_duration(reader, fields, place, name).filter(|duration| !duration.is_zero())
}

/// A duration.
pub(super) fn zero_or_duration(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    name: &'static str,
) -> Option<Duration> {
    let id = field(fields, name)?;
    let place = place.field(name);
    let value = reader.text(id, &place)?.value;
    match parse_duration(value) {
        Ok(duration) => Some(duration),
        Err(error) => {
            bad_value(reader, id, &place, error.to_string(), "");
            None
        }
    }
}

/// A size in bytes, such as `16MiB`.
pub(super) fn size(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    name: &'static str,
) -> Option<u64> {
    let id = field(fields, name)?;
    let place = place.field(name);
    let value = reader.text(id, &place)?.value;
    match value.parse::<ByteSize>() {
        Ok(size) => u64::try_from(size.bytes()).ok().filter(|&size| size > 0),
        Err(error) => {
            let message = format!("cannot parse size {}: {error}", vmkit::go_text::quote(value));
            bad_value(reader, id, &place, message, "write a number of bytes, or one with KiB, MiB, KB, MB");
            None
        }
    }
}

pub(super) fn texts(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    name: &'static str,
) -> Vec<String> {
    let Some(id) = field(fields, name) else { return Vec::new() };
    let list = reader.texts(id, &place.field(name), "[]string").unwrap_or_default();
    list.items.into_iter().map(|(_, text)| text.value.to_owned()).collect()
}

/// A map of texts; numbers and booleans keep their source text.
pub(super) fn text_map(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    name: &'static str,
) -> Vec<(String, String)> {
    let Some(id) = field(fields, name) else { return Vec::new() };
    let pairs = reader.text_map(id, &place.field(name)).unwrap_or_default();
    pairs.into_iter().map(|(key, value)| (key.value.to_owned(), value.value.to_owned())).collect()
}

/// A text, or a list of texts of any scalar type.
pub(super) fn text_or_list(reader: &mut Reader<'_, '_>, id: NodeId, place: &Place<'_>) -> Option<Vec<String>> {
    if matches!(reader.tree.node(id).kind, Kind::Sequence(_)) {
        let list = reader.texts(id, place, "[]string")?;
        return Some(list.items.into_iter().map(|(_, text)| text.value.to_owned()).collect());
    }
    reader.text(id, place).map(|text| vec![scalar_text(reader, id).unwrap_or_else(|| text.value.to_owned())])
}

/// How Go prints a scalar that is no text: `yes` is `true`.
fn scalar_text(reader: &Reader<'_, '_>, id: NodeId) -> Option<String> {
    match Scalar::of(reader.tree.node(id)) {
        Scalar::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// The items of a list.
pub(super) fn items<'t>(
    reader: &mut Reader<'t, '_>,
    fields: &[Field],
    place: &Place<'_>,
    name: &'static str,
    type_name: &str,
) -> &'t [NodeId] {
    let Some(id) = field(fields, name) else { return &[] };
    reader.items(id, &place.field(name), type_name).unwrap_or_default()
}

/// A list of texts in which `null` is an empty text.
pub(super) fn texts_with_empty(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    name: &'static str,
) -> Vec<String> {
    let ids = items(reader, fields, place, name, "[]string");
    let place = place.field(name);
    let text =
        |(index, &id): (usize, &NodeId)| reader.text(id, &place.index(index)).map_or("", |text| text.value).to_owned();
    ids.iter().enumerate().map(text).collect()
}
