//! The file as text and tree: where values stand, and how they were written.

use vmkit::yaml::tree::Kind;
use vmkit::yaml::{Mark, NodeId, Tree};

/// A file.
#[derive(Debug)]
pub struct Source<'t> {
    text: &'t str,
    tree: Tree<'t>,
}

/// A scalar of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scalar<'s> {
    pub(super) text: &'s str,
    pub(super) is_plain: bool,
    pub(super) mark: Mark,
}

impl<'t> Source<'t> {
    /// Reads a text; nothing if it is no YAML.
    pub fn new(text: &'t str) -> Option<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Some(Self { text, tree: Tree::parse(text).ok()? })
    }

    /// Where the value at a place stands, or else the nearest one around it.
    pub(super) fn mark(&self, place: &str) -> Mark {
        self.deepest(place).map_or(Mark { line: 1, column: 1 }, |(id, _)| self.tree.node(id).mark)
    }

    /// The scalar at a place.
    pub(super) fn scalar(&self, place: &str) -> Option<Scalar<'_>> {
        let (id, is_whole) = self.deepest(place)?;
        self.scalar_of(id).filter(|_| is_whole)
    }

    /// Number of items of the list at a place.
    pub(super) fn len(&self, place: &str) -> Option<usize> {
        match self.deepest(place)? {
            (id, true) => match &self.tree.node(id).kind {
                Kind::Sequence(items) => Some(items.len()),
                Kind::Scalar { .. } | Kind::Mapping(_) => None,
            },
            _ => None,
        }
    }

    /// Calls `f` with the place of each scalar that is a value.
    pub(super) fn each_scalar(&self, mut f: impl FnMut(&str, Scalar<'_>)) {
        if let Some(root) = self.tree.root() {
            self.walk(root, &mut String::new(), &mut f);
        }
    }

    /// What follows the scalar in its line.
    pub(super) fn rest_of_line(&self, scalar: Scalar<'_>) -> &str {
        let line = self.text.lines().nth(scalar.mark.line as usize - 1).unwrap_or_default();
        let start = line.char_indices().nth(scalar.mark.column as usize - 1).map_or(line.len(), |(at, _)| at);
        line.get(start + scalar.text.len()..).unwrap_or_default()
    }

    /// Rules that comments of the file switch off: `# lint-off: narrow-pattern open-to-all`.
    pub(super) fn switched_off(&self) -> Vec<&str> {
        let comments = self.text.lines().filter_map(|line| line.trim_start().strip_prefix('#'));
        let lists = comments.filter_map(|comment| comment.trim_start().strip_prefix("lint-off:"));
        lists.flat_map(str::split_whitespace).collect()
    }

    fn walk(&self, id: NodeId, place: &mut String, f: &mut impl FnMut(&str, Scalar<'_>)) {
        let length = place.len();
        match &self.tree.node(id).kind {
            Kind::Scalar { .. } => {
                if let Some(scalar) = self.scalar_of(id) {
                    f(place, scalar);
                }
            }
            Kind::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    place.push_str(&format!("[{index}]"));
                    self.walk(*item, place, f);
                    place.truncate(length);
                }
            }
            Kind::Mapping(pairs) => {
                for (key, value) in pairs {
                    let name = self.scalar_of(*key).map_or("", |key| key.text);
                    place.push_str(if length == 0 { "" } else { "." });
                    place.push_str(name);
                    self.walk(*value, place, f);
                    place.truncate(length);
                }
            }
        }
    }

    fn scalar_of(&self, id: NodeId) -> Option<Scalar<'_>> {
        let node = self.tree.node(id);
        match &node.kind {
            Kind::Scalar { text, plain } => Some(Scalar { text, is_plain: *plain, mark: node.mark }),
            Kind::Sequence(_) | Kind::Mapping(_) => None,
        }
    }

    /// The node at a place such as `users[3].url_map[0]`, or the deepest one on the way, and whether it is the place.
    fn deepest(&self, place: &str) -> Option<(NodeId, bool)> {
        let mut at = self.tree.root()?;
        for step in place.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match (&self.tree.node(at).kind, step.strip_suffix(']')) {
                (Kind::Sequence(items), Some(index)) => index.parse().ok().and_then(|index: usize| items.get(index)),
                (Kind::Mapping(pairs), None) => {
                    let is_named = |key: NodeId| self.scalar_of(key).is_some_and(|key| key.text == step);
                    pairs.iter().find(|(key, _)| is_named(*key)).map(|(_, value)| value)
                }
                _ => None,
            };
            match next {
                Some(next) => at = *next,
                None => return Some((at, false)),
            }
        }
        Some((at, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found() {
        let text = "users:\n- username: a # x\n  url_prefix: [\"http://a\", b]\n# lint-off: x y\n";
        let source = Source::new(text).unwrap();
        let f = |place: &str, line, column| assert_eq!(source.mark(place), Mark { line, column }, "{place}");
        f("users[0].username", 2, 13);
        f("users[0].url_prefix[1]", 3, 28);
        f("users[0].url_prefix[7].x", 3, 15);
        f("", 1, 1);
        let scalar = source.scalar("users[0].username").unwrap();
        assert_eq!((scalar.text, source.rest_of_line(scalar)), ("a", " # x"));
        assert!(source.scalar("users[0].nothing").is_none());
        assert_eq!((source.len("users"), source.len("users[0]")), (Some(1), None));
        assert_eq!(source.switched_off(), ["x", "y"]);
        let mut places = Vec::new();
        source.each_scalar(|place, _| places.push(place.to_owned()));
        assert_eq!(places, ["users[0].username", "users[0].url_prefix[0]", "users[0].url_prefix[1]"]);
    }
}
