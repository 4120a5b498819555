//! Typed reading of tree nodes: yaml.v2's strict decoding, with every mismatch collected instead of the first.
//!
//! Knows objects, lists, texts, numbers and booleans, and the literal wording of their errors; knows no field of any
//! config. Every reader returns nothing for `null` and for a mismatch, which it has reported then.

use super::place::{Mark, Place};
use super::problems::{Problems, Stage};
use super::scalar::Scalar;
use super::tree::{Kind, Node, NodeId, ScalarTag, Tree};
use crate::go_text::edit_distance;

/// A value and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where its first character stands.
    pub mark: Mark,
}

/// A text of the file.
pub type Text<'t> = At<&'t str>;

/// A list of texts; `null` items are dropped but remembered.
#[derive(Debug, Default)]
pub struct TextList<'t> {
    /// Where the list stands.
    pub mark: Mark,
    /// Number of items including `null`s.
    pub written: usize,
    /// Index and text of the others.
    pub items: Vec<(usize, Text<'t>)>,
    /// Where the first `null` item stands.
    pub null_at: Option<(usize, Mark)>,
}

/// A known field of an object and its value.
pub type Field = (&'static str, NodeId);

/// Reads nodes of one tree.
pub struct Decoder<'t, 'p, S> {
    /// What is read.
    pub tree: &'t Tree,
    /// Where mismatches go.
    pub problems: &'p mut Problems<S>,
}

impl<'t, S: Stage> Decoder<'t, '_, S> {
    /// Where a value stands.
    pub fn mark(&self, id: NodeId) -> Mark {
        self.tree.node(id).mark
    }

    /// Whether the value is `null`, `~` or empty.
    pub fn is_null(&self, id: NodeId) -> bool {
        let node = self.tree.node(id);
        matches!(node.kind, Kind::Scalar { .. }) && Scalar::of(node) == Scalar::Null
    }

    /// Reads an object with known fields, merge keys resolved. `type_name` is the name that messages show.
    pub fn fields(
        &mut self,
        id: NodeId,
        place: &Place<'_>,
        type_name: &str,
        known: &[&'static str],
    ) -> Option<Vec<Field>> {
        self.fields_here(id, place, type_name, known, &[])
    }

    /// The same; `elsewhere` says where fields belong that are no fields of this object.
    pub fn fields_here(
        &mut self,
        id: NodeId,
        place: &Place<'_>,
        type_name: &str,
        known: &[&'static str],
        elsewhere: &[Elsewhere],
    ) -> Option<Vec<Field>> {
        let entries = self.entries(id, place, type_name)?;
        let mut fields: Vec<Field> = Vec::with_capacity(entries.len());
        for entry in entries {
            let (key, mark) = (entry.key.value, entry.key.mark);
            let Some(&name) = known.iter().find(|&&name| name == key) else {
                let shown = shown_name(key, 64);
                let (plain, message) = (format!("there is no field {shown} here"), not_found(&shown, type_name));
                let hint = advised(key, known, elsewhere);
                self.problems.push_plain(S::TYPES, &place.field(&shown), mark, plain, message, hint);
                continue;
            };
            match (fields.iter_mut().find(|(field, _)| *field == name), entry.merged) {
                (None, _) => fields.push((name, entry.value)),
                (Some(_), true) => {}
                (Some(_), false) => {
                    let message = format!("field {name} already set in type {type_name}");
                    let plain = format!("{name} is set twice");
                    self.problems.push_plain(S::TYPES, &place.field(name), mark, plain, message, "remove one of them");
                }
            }
        }
        Some(fields)
    }

    /// Reads an object with free keys and text values, in file order.
    pub fn text_map(&mut self, id: NodeId, place: &Place<'_>) -> Option<Vec<(Text<'t>, Text<'t>)>> {
        let entries = self.entries(id, place, "map[string]string")?;
        let mut seen = std::collections::HashSet::with_capacity(entries.len());
        let mut pairs = Vec::with_capacity(entries.len());
        for entry in entries {
            let (key, mark) = (entry.key.value, entry.key.mark);
            if !seen.insert(key) {
                if !entry.merged {
                    let message = format!("key {} already set in map", crate::go_text::quote(key));
                    self.problems.push(S::TYPES, &place.field(key), mark, message, "remove one of them");
                }
                continue;
            }
            let empty = At { value: "", mark: self.mark(entry.value) };
            if self.is_null(entry.value) {
                pairs.push((entry.key, empty));
            } else if let Some(value) = self.text(entry.value, &place.field(key)) {
                pairs.push((entry.key, value));
            }
        }
        Some(pairs)
    }

    /// Reads an object with free keys and values of any kind, in file order. `type_name` is the name that messages show.
    pub fn map_entries(&mut self, id: NodeId, place: &Place<'_>, type_name: &str) -> Option<Vec<(Text<'t>, NodeId)>> {
        let mut seen = std::collections::HashSet::new();
        let entries = self.entries(id, place, type_name)?;
        Some(
            entries
                .into_iter()
                .filter(|entry| seen.insert(entry.key.value))
                .map(|entry| (entry.key, entry.value))
                .collect(),
        )
    }

    /// Keys and values of an object: own ones first, then those that `<<` adds.
    fn entries(&mut self, id: NodeId, place: &Place<'_>, type_name: &str) -> Option<Vec<Entry<'t>>> {
        let node = self.tree.node(id);
        if self.is_null(id) {
            return None;
        }
        let Kind::Mapping(pairs) = node.kind else {
            self.mismatch(id, place, type_name);
            return None;
        };
        let (mut entries, mut merges) = (Vec::with_capacity(pairs.len()), Vec::new());
        for &(key, value) in pairs {
            let key_node = self.tree.node(key);
            match key_node.kind {
                Kind::Scalar { .. } if Scalar::of(key_node) == Scalar::Merge => merges.push(value),
                Kind::Scalar { text, .. } => {
                    entries.push(Entry { key: At { value: text, mark: key_node.mark }, value, merged: false });
                }
                Kind::Sequence(_) | Kind::Mapping(_) => self.mismatch(key, place, "string"),
            }
        }
        for merge in merges {
            self.merge(merge, place, type_name, &mut entries);
        }
        Some(entries)
    }

    fn merge(&mut self, id: NodeId, place: &Place<'_>, type_name: &str, into: &mut Vec<Entry<'t>>) {
        let node = self.tree.node(id);
        let sources: &[NodeId] = match node.kind {
            Kind::Mapping(_) => &[id],
            Kind::Sequence(items) => items,
            Kind::Scalar { .. } => &[],
        };
        let all_maps = sources.iter().all(|&source| matches!(self.tree.node(source).kind, Kind::Mapping(_)));
        if sources.is_empty() || !all_maps {
            let message = "map merge requires map or sequence of maps as the value";
            self.problems.push(S::TYPES, &place.field("<<"), node.mark, message, "write `<<: *anchor`");
            return;
        }
        for &source in sources {
            let merged = self.entries(source, place, type_name).unwrap_or_default();
            into.extend(merged.into_iter().map(|entry| Entry { merged: true, ..entry }));
        }
    }

    /// Reads a list; single values are not promoted to lists.
    pub fn items(&mut self, id: NodeId, place: &Place<'_>, type_name: &str) -> Option<&'t [NodeId]> {
        match self.tree.node(id).kind {
            Kind::Sequence(items) => Some(items),
            _ if self.is_null(id) => None,
            _ => {
                self.mismatch(id, place, type_name);
                None
            }
        }
    }

    /// Reads a list of texts. `type_name` is that of the list.
    pub fn texts(&mut self, id: NodeId, place: &Place<'_>, type_name: &str) -> Option<TextList<'t>> {
        let ids = self.items(id, place, type_name)?;
        let items = Vec::with_capacity(ids.len());
        let mut list = TextList { mark: self.mark(id), written: ids.len(), items, null_at: None };
        for (index, &item) in ids.iter().enumerate() {
            if self.is_null(item) {
                list.null_at = list.null_at.or_else(|| Some((index, self.mark(item))));
            } else if let Some(text) = self.text(item, &place.index(index)) {
                list.items.push((index, text));
            }
        }
        Some(list)
    }

    /// Reads a text; numbers, booleans and dates keep their source text.
    pub fn text(&mut self, id: NodeId, place: &Place<'_>) -> Option<Text<'t>> {
        let node = self.tree.node(id);
        match node.kind {
            _ if self.is_null(id) => None,
            Kind::Scalar { text, .. } => Some(At { value: text, mark: node.mark }),
            Kind::Sequence(_) | Kind::Mapping(_) => {
                self.mismatch(id, place, "string");
                None
            }
        }
    }

    /// Reads a boolean.
    pub fn boolean(&mut self, id: NodeId, place: &Place<'_>) -> Option<bool> {
        let node = self.tree.node(id);
        match Scalar::of(node) {
            Scalar::Bool(value) => Some(value),
            Scalar::Null => None,
            _ => {
                self.mismatch(id, place, "bool");
                None
            }
        }
    }

    /// Reads an integer.
    pub fn integer(&mut self, id: NodeId, place: &Place<'_>) -> Option<i64> {
        if self.is_null(id) {
            return None;
        }
        let value = Scalar::of(self.tree.node(id)).as_i64();
        if value.is_none() {
            self.mismatch(id, place, "int");
        }
        value
    }

    /// Reads a number from 0 to 4294967295.
    pub fn uint32(&mut self, id: NodeId, place: &Place<'_>) -> Option<u32> {
        if self.is_null(id) {
            return None;
        }
        let value = Scalar::of(self.tree.node(id)).as_i64().and_then(|value| u32::try_from(value).ok());
        if value.is_none() {
            self.mismatch(id, place, "uint32");
        }
        value
    }

    /// Reads a list of integers; `null` items are ignored.
    pub fn integers(&mut self, id: NodeId, place: &Place<'_>) -> Option<Vec<i64>> {
        let ids = self.items(id, place, "[]int")?;
        Some(ids.iter().enumerate().filter_map(|(index, &item)| self.integer(item, &place.index(index))).collect())
    }

    /// The name of the Go type that a value decodes into when none is asked for.
    pub fn go_type(&self, id: NodeId) -> &'static str {
        let node = self.tree.node(id);
        match node.kind {
            Kind::Sequence(_) => "[]interface {}",
            Kind::Mapping(_) => "map[interface {}]interface {}",
            Kind::Scalar { .. } => Scalar::of(node).go_type(),
        }
    }

    /// Reports that a value is not of type `wanted`.
    pub fn mismatch(&mut self, id: NodeId, place: &Place<'_>, wanted: &str) {
        let node = self.tree.node(id);
        let message = format!("cannot unmarshal {} into {wanted}", shown(node));
        let plain = format!("want {}, got {}", wanted_words(wanted), got_words(node));
        self.problems.push_plain(S::TYPES, place, node.mark, plain, message, advice(node, wanted));
    }
}

struct Entry<'t> {
    key: Text<'t>,
    value: NodeId,
    merged: bool,
}

/// The part of `text` that can be a name, cut after `longest` characters: `password:s3cret` without a blank is a key, too.
pub fn shown_name(text: &str, longest: usize) -> String {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '<');
    let name: &str = text.split(|c| !is_name(c)).next().unwrap_or_default();
    let shown: String = if name.chars().count() > longest { name.chars().take(7).collect() } else { name.to_owned() };
    if shown.len() == text.len() { shown } else { shown + "..." }
}

/// Tag and value as yaml.v2 shows them: values longer than ten bytes by their first seven.
fn shown(node: Node<'_>) -> String {
    match node.kind {
        Kind::Sequence(_) => "!!seq".to_owned(),
        Kind::Mapping(_) => "!!map".to_owned(),
        Kind::Scalar { text, .. } if text.len() > 10 => {
            let cut = (0..=7).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            format!("{} `{}...`", Scalar::of(node).tag(), text.get(..cut).unwrap_or_default())
        }
        Kind::Scalar { text, .. } => format!("{} `{text}`", Scalar::of(node).tag()),
    }
}

fn not_found(name: &str, type_name: &str) -> String {
    format!("field {name} not found in type {type_name}")
}

fn wanted_words(wanted: &str) -> &'static str {
    match wanted {
        "string" => "a text",
        "int" => "a whole number",
        "uint32" => "a whole number from 0 to 4294967295",
        "bool" => "true or false",
        _ if wanted.starts_with("[]") => "a list",
        _ => "an object",
    }
}

fn got_words(node: Node<'_>) -> String {
    match node.kind {
        Kind::Sequence(_) => "a list".to_owned(),
        Kind::Mapping(_) => "an object".to_owned(),
        Kind::Scalar { plain, .. } => {
            let (_, value) =
                shown(node).split_once(' ').map(|(tag, value)| (tag.to_owned(), value.to_owned())).unwrap_or_default();
            format!("{}{value}", if plain { "" } else { "the quoted text " })
        }
    }
}

/// Fields that belong to another object, and where that is.
pub type Elsewhere = (&'static [&'static str], &'static str);

/// What to do about an unknown field.
fn advised(key: &str, known: &[&'static str], elsewhere: &[Elsewhere]) -> String {
    let place = elsewhere.iter().find(|(names, _)| names.contains(&key));
    place.map_or_else(|| suggestion(key, known), |(_, place)| (*place).to_owned())
}

fn advice(node: Node<'_>, wanted: &str) -> &'static str {
    let is_map = matches!(node.kind, Kind::Mapping(_));
    let quoted = matches!(node.kind, Kind::Scalar { plain: false, .. }) && node.tag == ScalarTag::Implicit;
    match wanted {
        "main.AccessLog" => "write `access_log: {}`, or `{filters: {skip_status_codes: [200]}}`",
        "[]*main.Header" => "write a list of texts: `- \"Name: value\"`",
        "string" if is_map => "put the text in quotes",
        "string" => "write a single text",
        "int" | "uint32" | "bool" if quoted => "remove the quotes",
        "int" => "write an integer",
        "uint32" => "write an integer from 0 to 4294967295",
        "bool" => "write true or false",
        "main.AuthConfig" if matches!(node.kind, Kind::Sequence(_)) => "put the list under `users:`",
        _ if wanted.starts_with("[]") && wanted.contains('.') && is_map => "write a list: begin each item with `- `",
        _ if wanted.starts_with("[]") => "write a list: `[item, …]`",
        _ => "write an object: `{field: value, …}`",
    }
}

/// The known name that `key` may have been meant to be.
fn suggestion(key: &str, known: &[&'static str]) -> String {
    // The same words in another order.
    let words = |name: &str| {
        let mut words: Vec<String> = name.split('_').map(str::to_owned).collect();
        words.sort();
        words
    };
    if let Some(name) = known.iter().find(|name| words(name) == words(key)) {
        return format!("did you mean `{name}`?");
    }
    let near = known.iter().map(|name| (edit_distance(key, name), name)).min_by_key(|(distance, _)| *distance);
    match near {
        Some((distance, name)) if distance <= 2.min(name.len() / 3) => format!("did you mean `{name}`?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct OneStage;

    impl Stage for OneStage {
        const SYNTAX: Self = Self;
        const TYPES: Self = Self;

        fn prefix(self) -> &'static str {
            ""
        }
    }

    #[test]
    fn names_stay_and_values_go() {
        let f = |text, want| assert_eq!(shown_name(text, 32), want);
        f("foobar", "foobar");
        f("password:hunter2", "password...");
        f("Authorization Bearer s3cret", "Authorization...");
        f("0123456789012345678901234567890123456789", "0123456...");
        f("", "");
    }

    #[test]
    fn unknown_fields_get_suggestions() {
        let known = ["url_prefix", "url_map", "name", "jwt"];
        let f = |key, want| assert_eq!(suggestion(key, &known), want);
        f("url_prefx", "did you mean `url_prefix`?");
        f("url_maps", "did you mean `url_map`?");
        f("jw", "did you mean `jwt`?");
        f("prefix_url", "did you mean `url_prefix`?");
        f("foo", "");
        f("", "");
    }

    #[test]
    fn merge_keys_add_what_is_not_set() {
        let text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 5}\n";
        let tree = Tree::parse(text).unwrap();
        let mut problems = Problems::<OneStage>::default();
        let mut decoder = Decoder { tree: &tree, problems: &mut problems };
        let place = Place::root();
        let top = decoder.fields(tree.root().unwrap(), &place, "T", &["a", "b", "c"]).unwrap();
        let fields = decoder.fields(top[2].1, &place, "T", &["x", "y", "z"]).unwrap();
        let values: Vec<_> = fields.iter().map(|&(name, id)| (name, decoder.integer(id, &place).unwrap())).collect();
        assert_eq!(values, [("x", 5), ("y", 2), ("z", 4)]);
        assert!(problems.is_empty());
    }
}
