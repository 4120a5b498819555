//! Labels of discovered targets, kept in pieces that targets share.
//!
//! Ten thousand pods have a few dozen labels each, and most of their texts repeat: names, namespaces, nodes, images.
//! A target therefore is a short list of pieces, each made once (the labels of its pod, of its service, of its node),
//! and a few labels of its own; texts are shared through an [`Interner`]. Whole sets are made only for those who look
//! at one target: relabeling and pages.
//!
//! Nothing here knows where targets come from; nothing is changed after it was made.

use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// One label of a discovered target, such as `__meta_kubernetes_pod_name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedLabel {
    /// Name; unique within a target after [`TargetLabels::to_pairs`].
    pub name: Arc<str>,
    /// Value; may be empty, which says the same as no label.
    pub value: Arc<str>,
}

/// Labels that several targets have in common.
pub type Piece = Arc<[SharedLabel]>;

/// What discovery found out about one target. Equal ones have equal labels.
#[derive(Clone)]
pub struct TargetLabels {
    /// Later pieces override earlier ones.
    pieces: Box<[Piece]>,
    /// Labels of this target alone; override all pieces.
    own: Box<[SharedLabel]>,
}

impl TargetLabels {
    /// A target of shared pieces and own labels; of several labels of one name the last counts, own ones after all
    /// pieces.
    pub fn new(pieces: impl Into<Box<[Piece]>>, own: impl Into<Box<[SharedLabel]>>) -> Self {
        Self { pieces: pieces.into(), own: own.into() }
    }

    /// The value of a label, if the target has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let of = |labels: &[SharedLabel]| labels.iter().rposition(|label| &*label.name == name);
        if let Some(found) = of(&self.own).and_then(|at| self.own.get(at)) {
            return Some(&found.value);
        }
        self.pieces.iter().rev().find_map(|piece| piece.get(of(piece)?)).map(|label| &*label.value)
    }

    /// All labels over those of `defaults`, sorted by name, each name once. Empty values are kept.
    ///
    /// `defaults` are what the job gives to each of its targets: `job`, `__scheme__`, `__metrics_path__` and so on.
    pub fn to_pairs<'a>(&'a self, defaults: &'a [SharedLabel]) -> Vec<(&'a str, &'a str)> {
        let parts = || std::iter::once(defaults).chain(self.pieces.iter().map(|piece| &**piece)).chain([&*self.own]);
        let mut pairs = Vec::with_capacity(parts().map(<[_]>::len).sum());
        pairs.extend(parts().flatten().map(|label| (&*label.name, &*label.value)));
        // Stable, so that the last of equal names is the last of its run.
        pairs.sort_by_key(|(name, _)| *name);
        pairs.reverse();
        pairs.dedup_by_key(|(name, _)| *name);
        pairs.reverse();
        pairs
    }
}

impl PartialEq for TargetLabels {
    fn eq(&self, other: &Self) -> bool {
        // Most comparisons are between a target and its next version, which shares what did not change.
        let same = |(one, other): (&Piece, &Piece)| Arc::ptr_eq(one, other) || one == other;
        let alike = self.pieces.len() == other.pieces.len() && self.pieces.iter().zip(&other.pieces).all(same);
        (alike && self.own == other.own) || self.to_pairs(&[]) == other.to_pairs(&[])
    }
}

impl Eq for TargetLabels {}

impl Hash for TargetLabels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_pairs(&[]).hash(state);
    }
}

impl fmt::Debug for TargetLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.to_pairs(&[])).finish()
    }
}

/// Hands out one shared text for equal texts.
///
/// Texts that nobody else holds are dropped each time the table has doubled, so it follows what is in use.
#[derive(Debug, Default)]
pub struct Interner {
    texts: HashSet<Arc<str>, foldhash::fast::RandomState>,
    /// Size at which unused texts are looked for.
    sweep_at: usize,
}

impl Interner {
    /// The shared text equal to `text`.
    pub fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        if self.texts.len() >= self.sweep_at.max(1024) {
            self.texts.retain(|known| Arc::strong_count(known) > 1);
            self.sweep_at = self.texts.len() * 2;
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&shared));
        shared
    }

    /// A label of shared texts.
    pub fn label(&mut self, name: &str, value: &str) -> SharedLabel {
        SharedLabel { name: self.text(name), value: self.text(value) }
    }

    /// A label whose value hardly occurs twice, such as an address: only its name is shared.
    pub fn unique(&mut self, name: &str, value: &str) -> SharedLabel {
        SharedLabel { name: self.text(name), value: value.into() }
    }
}

/// Appends a name to `name` with each character outside `[a-zA-Z0-9_]` replaced by an underscore.
pub fn push_sanitized(name: &mut String, part: &str) {
    name.extend(part.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(pairs: &[(&str, &str)]) -> Piece {
        let mut interner = Interner::default();
        pairs.iter().map(|(name, value)| interner.label(name, value)).collect()
    }

    #[test]
    fn later_pieces_and_own_labels_win() {
        let defaults = piece(&[("job", "j"), ("__scheme__", "http")]);
        let pieces = [piece(&[("a", "1"), ("b", "1"), ("b", "2")]), piece(&[("a", "2"), ("c", "")])];
        let target = TargetLabels::new(pieces, piece(&[("c", "3"), ("__address__", "h:1")]).to_vec());
        let pairs = target.to_pairs(&defaults);
        let want = [("__address__", "h:1"), ("__scheme__", "http"), ("a", "2"), ("b", "2"), ("c", "3"), ("job", "j")];
        assert_eq!(pairs, want);
        let f = |name: &str, want: Option<&str>| assert_eq!(target.get(name), want, "{name}");
        f("a", Some("2"));
        f("b", Some("2"));
        f("c", Some("3"));
        f("job", None);
    }

    #[test]
    fn equality_is_that_of_the_labels() {
        let one = TargetLabels::new([piece(&[("a", "1")]), piece(&[("b", "2")])], []);
        let other = TargetLabels::new([piece(&[("b", "2"), ("a", "0")])], piece(&[("a", "1")]).to_vec());
        let hash = |target: &TargetLabels| {
            let mut hasher = std::hash::DefaultHasher::new();
            target.hash(&mut hasher);
            hasher.finish()
        };
        assert_eq!(one, other);
        assert_eq!(hash(&one), hash(&other));
        assert_ne!(one, TargetLabels::new([piece(&[("a", "1")])], []));
    }

    #[test]
    fn equal_texts_are_kept_once_and_only_while_they_are_used() {
        let mut interner = Interner::default();
        let kept = interner.text("kept");
        assert!(Arc::ptr_eq(&kept, &interner.text("kept")));
        for number in 0..10_000 {
            drop(interner.text(&number.to_string()));
        }
        assert!(interner.texts.len() <= 1025, "{}", interner.texts.len());
        assert!(Arc::ptr_eq(&kept, &interner.text("kept")));
    }

    #[test]
    fn names_are_sanitized_character_by_character() {
        let f = |part: &str, want: &str| {
            let mut name = "p_".to_owned();
            push_sanitized(&mut name, part);
            assert_eq!(name, want);
        };
        f("app.kubernetes.io/Name", "p_app_kubernetes_io_Name");
        f("a-b_c9", "p_a_b_c9");
        f("größe", "p_gr__e");
    }
}
