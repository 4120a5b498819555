//! The files as text and tree: where values stand, and how they were written.

use vmkit::yaml::tree::Kind;
use vmkit::yaml::{Mark, NodeId, Tree};

/// All files of a config.
#[derive(Debug)]
pub struct Source<'t> {
    files: Vec<File<'t>>,
}

#[derive(Debug)]
struct File<'t> {
    /// Empty if it is the only one.
    name: &'t str,
    /// Once for the whole file: a rule that looks at each value asks for the line of each.
    lines: Vec<&'t str>,
    /// Ids of rules that its comments switch off.
    off: Vec<&'t str>,
    tree: Tree,
}

/// A scalar of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scalar<'s> {
    file: usize,
    pub(super) text: &'s str,
    pub(super) is_plain: bool,
    pub(super) mark: Mark,
}

impl<'t> Source<'t> {
    /// Reads files by name and text; those that are no YAML are left out.
    pub fn new(files: impl IntoIterator<Item = (&'t str, &'t str)>) -> Self {
        let read = |(name, text): (&'t str, &'t str)| {
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            let lines: Vec<_> = text.lines().collect();
            Some(File { name, off: switched_off(&lines), lines, tree: Tree::parse(text).ok()? })
        };
        Self { files: files.into_iter().filter_map(read).collect() }
    }

    /// Number and name of the file that a place is in; the first one for the whole config.
    pub(super) fn file_of(&self, place: &str) -> (usize, &'t str) {
        self.split(place).map_or((0, ""), |(number, file, _)| (number, file.name))
    }

    /// Where the value at a place stands, or else the nearest one around it.
    pub(super) fn mark(&self, place: &str) -> Mark {
        self.deepest(place).map_or(Mark { line: 1, column: 1 }, |found| found.tree().node(found.id).mark)
    }

    /// Whether there is a value at a place.
    pub(super) fn has(&self, place: &str) -> bool {
        self.deepest(place).is_some_and(|found| found.is_whole)
    }

    /// The scalar at a place.
    pub(super) fn scalar(&self, place: &str) -> Option<Scalar<'_>> {
        let found = self.deepest(place).filter(|found| found.is_whole)?;
        scalar_of(found.number, found.tree(), found.id)
    }

    /// Number of items of the list at a place.
    pub(super) fn len(&self, place: &str) -> Option<usize> {
        let found = self.deepest(place).filter(|found| found.is_whole)?;
        match found.tree().node(found.id).kind {
            Kind::Sequence(items) => Some(items.len()),
            Kind::Scalar { .. } | Kind::Mapping(_) => None,
        }
    }

    /// Calls `f` with the place of each scalar that is a value.
    pub(super) fn each_scalar(&self, mut f: impl FnMut(&str, Scalar<'_>)) {
        for (number, file) in self.files.iter().enumerate() {
            let mut place = file.name.to_owned();
            if let Some(root) = file.tree.root() {
                walk((number, &file.tree), root, &mut place, file.name.len(), &mut f);
            }
        }
    }

    /// What follows the scalar in its line.
    pub(super) fn rest_of_line(&self, scalar: Scalar<'_>) -> &str {
        let lines = self.lines(scalar.file);
        let line = lines.get(scalar.mark.line as usize - 1).copied().unwrap_or_default();
        let start = line.char_indices().nth(scalar.mark.column as usize - 1).map_or(line.len(), |(at, _)| at);
        line.get(start + scalar.text.len()..).unwrap_or_default()
    }

    /// What is written behind the name of the field whose value is this empty scalar. The parser puts an empty value where
    /// the next one begins, so the name may stand some lines above.
    pub(super) fn behind_name(&self, name: &str, scalar: Scalar<'_>) -> &str {
        let lines = self.lines(scalar.file).iter().take(scalar.mark.line as usize).rev();
        let behind = |line: &&'t str| {
            let (_, rest) = line.split_once(name)?;
            rest.strip_prefix(':').map(str::trim)
        };
        lines.filter_map(behind).next().unwrap_or_default()
    }

    fn lines(&self, file: usize) -> &[&'t str] {
        self.files.get(file).map_or(&[], |file| &file.lines)
    }

    /// Rules that comments of a file switch off for it.
    pub(super) fn switched_off(&self, file: usize) -> &[&'t str] {
        self.files.get(file).map_or(&[], |file| &file.off)
    }

    /// The file that a place is in, and what is left of the place within it.
    fn split<'p>(&self, place: &'p str) -> Option<(usize, &File<'t>, &'p str)> {
        let within = |(number, file): (usize, &'_ File<'t>)| {
            let rest = if file.name.is_empty() { place } else { place.strip_prefix(file.name)? };
            match rest.strip_prefix(':') {
                Some(rest) => Some((number, rest)),
                None if rest.is_empty() || file.name.is_empty() => Some((number, rest)),
                None => None,
            }
        };
        // Of `a` and `a:b` the longer name is meant.
        let found = self.files.iter().enumerate().filter_map(within).min_by_key(|(_, rest)| rest.len());
        let (number, rest) = found?;
        Some((number, self.files.get(number)?, rest))
    }

    /// The node at a place such as `users[3].url_map[0]`, or the deepest one on the way.
    fn deepest(&self, place: &str) -> Option<Found<'_, 't>> {
        let (number, file, rest) = self.split(place)?;
        let mut found = Found { number, file, id: file.tree.root()?, is_whole: true };
        for step in rest.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match (file.tree.node(found.id).kind, step.strip_suffix(']')) {
                (Kind::Sequence(items), Some(index)) => index.parse().ok().and_then(|index: usize| items.get(index)),
                (Kind::Mapping(pairs), None) => {
                    let is_named = |key: NodeId| scalar_of(number, &file.tree, key).is_some_and(|key| key.text == step);
                    pairs.iter().find(|(key, _)| is_named(*key)).map(|(_, value)| value)
                }
                _ => None,
            };
            match next {
                Some(next) => found.id = *next,
                None => return Some(Found { is_whole: false, ..found }),
            }
        }
        Some(found)
    }
}

/// A node, and whether it is what was asked for.
struct Found<'s, 't> {
    number: usize,
    file: &'s File<'t>,
    id: NodeId,
    is_whole: bool,
}

impl<'s, 't> Found<'s, 't> {
    fn tree(&self) -> &'s Tree {
        &self.file.tree
    }
}

/// What comments name: `# lint-off: narrow-pattern open-to-all`.
fn switched_off<'t>(lines: &[&'t str]) -> Vec<&'t str> {
    let comments = lines.iter().filter_map(|line| line.trim_start().strip_prefix('#'));
    let lists = comments.filter_map(|comment| comment.trim_start().strip_prefix("lint-off:"));
    lists.flat_map(str::split_whitespace).collect()
}

/// `top` is how much of the place is the name of the file.
fn walk(
    (number, tree): (usize, &Tree),
    id: NodeId,
    place: &mut String,
    top: usize,
    f: &mut impl FnMut(&str, Scalar<'_>),
) {
    let length = place.len();
    match tree.node(id).kind {
        Kind::Scalar { .. } => {
            if let Some(scalar) = scalar_of(number, tree, id) {
                f(place, scalar);
            }
        }
        Kind::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                place.push_str(&format!("[{index}]"));
                walk((number, tree), *item, place, top, f);
                place.truncate(length);
            }
        }
        Kind::Mapping(pairs) => {
            for (key, value) in pairs {
                let name = scalar_of(number, tree, *key).map_or("", |key| key.text);
                place.push_str(match length {
                    0 => "",
                    _ if length == top => ":",
                    _ => ".",
                });
                place.push_str(name);
                walk((number, tree), *value, place, top, f);
                place.truncate(length);
            }
        }
    }
}

fn scalar_of<'s>(file: usize, tree: &'s Tree, id: NodeId) -> Option<Scalar<'s>> {
    let node = tree.node(id);
    match node.kind {
        Kind::Scalar { text, plain } => Some(Scalar { file, text, is_plain: plain, mark: node.mark }),
        Kind::Sequence(_) | Kind::Mapping(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found() {
        let text = "users:\n- username: a # x\n  url_prefix: [\"http://a\", b]\n# lint-off: x y\n";
        let source = Source::new([("", text)]);
        let f = |place: &str, line, column| assert_eq!(source.mark(place), Mark { line, column }, "{place}");
        f("users[0].username", 2, 13);
        f("users[0].url_prefix[1]", 3, 28);
        f("users[0].url_prefix[7].x", 3, 15);
        f("", 1, 1);
        let scalar = source.scalar("users[0].username").unwrap();
        assert_eq!((scalar.text, source.rest_of_line(scalar)), ("a", " # x"));
        assert!(source.scalar("users[0].nothing").is_none());
        assert_eq!((source.len("users"), source.len("users[0]")), (Some(1), None));
        assert_eq!(source.switched_off(0), ["x", "y"]);
        let mut places = Vec::new();
        source.each_scalar(|place, _| places.push(place.to_owned()));
        assert_eq!(places, ["users[0].username", "users[0].url_prefix[0]", "users[0].url_prefix[1]"]);
    }

    #[test]
    fn places_name_their_file() {
        let source =
            Source::new([("a", "users: [{username: u}]"), ("a:b", "\nusers: [{username: v # w\n}]"), ("c", "[")]);
        let f = |place: &str, file, line| {
            assert_eq!((source.file_of(place), source.mark(place).line), (file, line), "{place}");
        };
        f("a:users[0].username", (0, "a"), 1);
        f("a:b:users[0].username", (1, "a:b"), 2);
        f("a:b", (1, "a:b"), 2);
        f("", (0, ""), 1);
        let scalar = source.scalar("a:b:users[0].username").unwrap();
        assert_eq!((scalar.text, source.rest_of_line(scalar)), ("v", " # w"));
        let mut places = Vec::new();
        source.each_scalar(|place, _| places.push(place.to_owned()));
        assert_eq!(places, ["a:users[0].username", "a:b:users[0].username"]);
    }
}
