//! Lists of targets that files and HTTP servers hand out: `[{targets: [...], labels: {...}}]`.
//!
//! Files are read as YAML, which JSON is, too; their labels may be numbers and booleans. Replies of servers are JSON
//! and strict about types, but members that nobody knows are ignored.

use super::{Interner, Piece, TargetLabels};
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;
use vmkit::yaml::{Decoder, NodeId, Place, Problems, Stage, Tree};

/// Targets with the same labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TargetGroup {
    /// Addresses as written; empty ones included.
    pub(super) targets: Vec<String>,
    pub(super) labels: Vec<(String, String)>,
}

/// In which order problems of a file are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FileStage {
    Syntax,
    Types,
}

impl Stage for FileStage {
    const SYNTAX: Self = Self::Syntax;
    const TYPES: Self = Self::Types;

    fn prefix(self) -> &'static str {
        ""
    }
}

/// Reads a file. An empty one has no groups.
///
/// # Errors
/// All that is wrong, with lines and columns.
pub(super) fn from_yaml(text: &str) -> Result<Vec<TargetGroup>, String> {
    let mut problems = Problems::<FileStage>::default();
    let groups = read_yaml(text, &mut problems).unwrap_or_default();
    if problems.is_empty() { Ok(groups) } else { Err(problems.into_list().to_string()) }
}

fn read_yaml(text: &str, problems: &mut Problems<FileStage>) -> Option<Vec<TargetGroup>> {
    let tree: Tree = vmkit::yaml::parse(text, problems)?;
    let root = tree.root()?;
    let mut decoder = Decoder { tree: &tree, problems };
    let place = Place::root();
    let items = decoder.items(root, &place, "[]promscrape.StaticConfig")?;
    let groups = items.iter().enumerate().filter_map(|(index, &id)| read_group(&mut decoder, id, &place.index(index)));
    Some(groups.collect())
}

fn read_group(decoder: &mut Decoder<'_, '_, FileStage>, id: NodeId, place: &Place<'_>) -> Option<TargetGroup> {
    let mut group = TargetGroup::default();
    for (name, value) in decoder.fields(id, place, "promscrape.StaticConfig", &["targets", "labels"])? {
        let place = place.field(name);
        if name == "targets" {
            let texts = decoder.texts(value, &place, "[]string").unwrap_or_default();
            group.targets = texts.items.into_iter().map(|(_, text)| text.value.to_owned()).collect();
        } else {
            let pairs = decoder.text_map(value, &place).unwrap_or_default();
            group.labels =
                pairs.into_iter().map(|(name, text)| (name.value.to_owned(), text.value.to_owned())).collect();
        }
    }
    Some(group)
}

/// Reads a reply of a server; `null` has no groups.
///
/// # Errors
/// No JSON, or another shape of it.
pub(super) fn from_json(body: &[u8]) -> Result<Vec<TargetGroup>, String> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Group<'a> {
        #[serde(borrow)]
        targets: Option<Vec<Cow<'a, str>>>,
        #[serde(borrow)]
        labels: Option<std::collections::BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
    }
    let groups: Option<Vec<Option<Group<'_>>>> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let own = |group: Option<Group<'_>>| {
        let group = group.unwrap_or_default();
        TargetGroup {
            targets: group.targets.into_iter().flatten().map(Cow::into_owned).collect(),
            labels: group
                .labels
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        }
    };
    Ok(groups.into_iter().flatten().map(own).collect())
}

/// Targets of groups. `meta` is added to all of them and wins over their labels, as the address does.
pub(super) fn targets(groups: &[TargetGroup], meta: &[(&str, &str)], texts: &mut Interner) -> Vec<Arc<TargetLabels>> {
    let mut found = Vec::with_capacity(groups.iter().map(|group| group.targets.len()).sum());
    for group in groups {
        let own = group.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let shared: Piece = own.chain(meta.iter().copied()).map(|(name, value)| texts.label(name, value)).collect();
        for target in &group.targets {
            let address = texts.unique("__address__", target);
            found.push(Arc::new(TargetLabels::new([Arc::clone(&shared)], [address])));
        }
    }
    found
}

/// `next` with the targets of `known` in place of equal ones, so that whoever runs them sees that they are the same.
pub(super) fn keep_known(known: &[Arc<TargetLabels>], next: Vec<Arc<TargetLabels>>) -> Vec<Arc<TargetLabels>> {
    use std::collections::HashSet;
    let known: HashSet<&Arc<TargetLabels>, foldhash::fast::RandomState> = known.iter().collect();
    next.into_iter().map(|target| known.get(&target).map_or(target, |known| Arc::clone(known))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(groups: &[TargetGroup]) -> String {
        let one = |group: &TargetGroup| {
            let labels: Vec<String> = group.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{}{{{}}}", group.targets.join(","), labels.join(","))
        };
        groups.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn files_are_yaml_or_json() {
        let f = |text: &str, want: &str| assert_eq!(shown(&from_yaml(text).unwrap()), want, "{text}");
        f("", "");
        f("[]", "");
        f("# nothing\n", "");
        f("- targets: [a:1, 'b']\n  labels: {x: 5, y: true, z: \"\"}\n- targets: [c]\n", "a:1,b{x=5,y=true,z=} c{}");
        f(r#"[{"targets": ["a"], "labels": {"b": "c"}}, {"labels": {"d": "e"}}]"#, "a{b=c} {d=e}");
        f("- targets:\n  labels:\n", "{}");
    }

    #[test]
    fn problems_of_files_have_their_place() {
        let f = |text: &str, want: &str| {
            let error = from_yaml(text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        };
        f("targets: [a]\n", "line 1: cannot unmarshal !!map into []promscrape.StaticConfig");
        f("- targets: [a]\n  lables: {}\n", "line 2: field lables not found");
        f("[{\"targets\": ", "yaml: line");
        f("- targets: a\n", "line 1: cannot unmarshal !!str `a` into []string ([0].targets, column 12");
    }

    #[test]
    fn replies_are_strict_json() {
        let f = |text: &str, want: Option<&str>| {
            assert_eq!(from_json(text.as_bytes()).ok().map(|groups| shown(&groups)).as_deref(), want, "{text}");
        };
        f("[]", Some(""));
        f("null", Some(""));
        f(r#"[{"targets":["a\u0062"],"labels":null,"new":[{}]},{}]"#, Some("ab{} {}"));
        f(r#"[{"targets":[""],"labels":{"__meta_x":"y"}}]"#, Some("{__meta_x=y}"));
        f("", None);
        f("{}", None);
        f("- targets: [a]", None);
        f(r#"[{"labels":{"a":5}}]"#, None);
        f(r#"[{"targets":"#, None);
    }

    #[test]
    fn own_labels_lose_against_meta_and_address() {
        let groups = from_yaml("- targets: [h:1]\n  labels: {a: b, __address__: x, __meta_url: y}\n").unwrap();
        let found = targets(&groups, &[("__meta_url", "http://u/")], &mut Interner::default());
        assert_eq!(found[0].to_pairs(&[]), [("__address__", "h:1"), ("__meta_url", "http://u/"), ("a", "b")]);
    }

    #[test]
    fn equal_targets_stay_the_same() {
        let read = |text: &str| targets(&from_yaml(text).unwrap(), &[], &mut Interner::default());
        let old = read("- targets: [a, b]\n");
        let new = keep_known(&old, read("- targets: [b, c]\n- targets: [a]\n  labels: {x: y}\n"));
        assert!(Arc::ptr_eq(&new[0], &old[1]));
        assert_eq!(new.len(), 3);
        assert!(!new[1..].iter().any(|target| old.iter().any(|known| Arc::ptr_eq(known, target))));
    }
}
