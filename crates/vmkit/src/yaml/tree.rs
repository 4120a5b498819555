//! From YAML text to a tree of nodes with lines and columns.
//!
//! Reads the events of the first document only, as yaml.v2 does. Aliases become shared nodes, never copies, and the
//! tree refuses what would hurt whoever walks it: an anchor that contains itself, deep nesting, and aliases that
//! multiply into more than a config can need. Every later walk may therefore recurse without counting.
//!
//! Nodes are kept small, because a config of ten thousand users has seventy thousand of them: texts, items and pairs stand
//! in one row each, of which a node has its part. [`Node`] is what readers see of it.

use super::place::Mark;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

/// How deep collections may nest; a config needs seven levels.
const MAX_DEPTH: usize = 64;
/// How many nodes all aliases may multiply into, beyond twenty times those written.
const MAX_EXPANDED_NODES: u64 = 4_000_000;
/// How much text all aliases may multiply into, beyond thirty times the file.
const MAX_EXPANDED_BYTES: u64 = 64 << 20;

/// Index of a node in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId(u32);

/// A value of the file.
#[derive(Clone, Copy, Debug)]
pub struct Node<'t> {
    /// Its content.
    pub kind: Kind<'t>,
    /// How its text is to be read.
    pub tag: ScalarTag,
    /// Where its first character stands.
    pub mark: Mark,
}

/// What a node is.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'t> {
    /// Text with all escapes resolved; `plain` = written without quotes.
    Scalar {
        /// The text.
        text: &'t str,
        /// Whether quotes are absent.
        plain: bool,
    },
    /// Items in order.
    Sequence(&'t [NodeId]),
    /// Keys and values in order, `<<` included.
    Mapping(&'t [(NodeId, NodeId)]),
}

/// A node as it is kept.
#[derive(Debug)]
struct Stored {
    shape: Shape,
    tag: ScalarTag,
    /// Levels below, aliases followed.
    depth: u8,
    mark: Mark,
    /// Its part of the row of its shape.
    start: u32,
    length: u32,
    /// Nodes and bytes of text in it, aliases followed.
    nodes: u32,
    bytes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Plain,
    Quoted,
    Sequence,
    Mapping,
}

/// An explicit tag, as far as it decides how a scalar is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarTag {
    /// None: plain scalars are resolved, quoted ones are text.
    Implicit,
    /// `!!str`, `!` and tags of applications: text.
    Text,
    /// `!!int`, `!!float`, `!!bool`, `!!null`: resolved even when quoted.
    Resolved,
}

/// Why a text is no config.
#[derive(Debug)]
pub struct TreeError {
    /// Where reading stopped.
    pub mark: Mark,
    /// What is wrong.
    pub message: String,
}

/// The first document of a text.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Stored>,
    rows: Rows,
    root: Option<NodeId>,
}

/// What nodes have parts of.
#[derive(Debug, Default)]
struct Rows {
    texts: String,
    items: Vec<NodeId>,
    pairs: Vec<(NodeId, NodeId)>,
}

impl Tree {
    /// Reads the first document of `text`.
    ///
    /// # Errors
    /// The text is no YAML up to the end of its first document, or over a limit.
    pub fn parse(text: &str) -> Result<Self, TreeError> {
        check_characters(text)?;
        let mut builder = Builder { text, ..Builder::default() };
        let mut parser = Parser::<StrInput<'_>>::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| {
                syntax_error(text, Mark::new(error.marker().line(), error.marker().col() + 1), error.info())
            })?;
            if matches!(event, Event::DocumentEnd) {
                break;
            }
            builder.event(event, span)?;
        }
        builder.check_expansion()?;
        Ok(Self { nodes: builder.nodes, rows: builder.rows, root: builder.root })
    }

    /// The document's value; `None` for an empty text.
    pub fn root(&self) -> Option<NodeId> {
        self.root
    }

    /// The node `id`, which must come from this tree.
    pub fn node(&self, id: NodeId) -> Node<'_> {
        let stored = self.nodes.get(id.0 as usize).expect("BUG: node ids come from this tree");
        let part = stored.start as usize..stored.start as usize + stored.length as usize;
        let kind = match stored.shape {
            Shape::Plain | Shape::Quoted => {
                let text = self.rows.texts.get(part).expect("BUG: a node's part is within the row");
                Kind::Scalar { text, plain: stored.shape == Shape::Plain }
            }
            Shape::Sequence => Kind::Sequence(self.rows.items.get(part).expect("BUG: a node's part is within the row")),
            Shape::Mapping => Kind::Mapping(self.rows.pairs.get(part).expect("BUG: a node's part is within the row")),
        };
        Node { kind, tag: stored.tag, mark: stored.mark }
    }
}

/// The parser's error in words that say what to look for.
fn syntax_error(text: &str, mark: Mark, message: &str) -> TreeError {
    // The parser blames the line before the tab, or takes both for one text.
    let near = text.lines().enumerate().skip(mark.line.saturating_sub(2) as usize).take(3);
    let tab = |line: &str| line.find('\t').filter(|at| line[..*at].trim().is_empty() && !line.trim().is_empty());
    if let Some((index, at)) = near.into_iter().find_map(|(index, line)| Some((index, tab(line)?))) {
        let message = "a tab indents the line; write blanks".to_owned();
        return TreeError { mark: Mark::new(index + 1, at + 1), message };
    }
    let meaning = |(part, meaning): &(&str, &str)| message.contains(part).then(|| format!("{meaning} ({message})"));
    let advice = |(part, advice): &(&str, &str)| message.contains(part).then(|| format!("{message}; {advice}"));
    let known = MEANINGS.iter().find_map(meaning).or_else(|| ADVICE.iter().find_map(advice));
    TreeError { mark, message: known.unwrap_or_else(|| message.to_owned()) }
}

/// Parts of the parser's errors that say what happened to it and not what is wrong with the text; the first one counts.
const MEANINGS: &[(&str, &str)] = &[
    ("trailing content after", "text follows a closing quote; one quote too many or too few stands before it"),
    ("unknown escape character", BACKSLASH),
    ("hexadecimal number", BACKSLASH),
    (
        "invalid indentation in quoted",
        "the quote that opens here is never closed, or a line of its text begins too far left: write a PEM as `|` with its lines below, indented",
    ),
    ("quoted scalar", "the quote that opens here is never closed"),
];

const BACKSLASH: &str =
    "in double quotes a backslash begins an escape: put the text in single quotes, or write two of them";

/// Parts of the parser's errors that leave open what to write.
const ADVICE: &[(&str, &str)] = &[
    (
        "unknown anchor",
        "an anchor stands before its aliases, in the same file; a text that begins with `*` needs quotes",
    ),
    ("unexpected character", "a text that begins with it needs quotes"),
    (
        "mapping values are not allowed",
        "a text with `: ` needs quotes; else look at the blanks that begin the line, and for a colon that is missing above",
    ),
    ("expected comment or line break", "a text that begins with `|` or `>` needs quotes"),
    ("are not allowed in this context", "put the text in quotes, or look at the blanks that begin the line"),
    ("simple key", "the line before is no `key: value` with a blank behind the colon"),
    ("did not find expected key", "the line begins with more or fewer blanks than its neighbours"),
    ("expected ',' or", "a bracket before it is not closed, or a text with brackets has no quotes"),
    ("illegal placement of ':'", "a bracket before it is not closed, or a text with brackets has no quotes"),
    ("misplaced bracket", "a text that begins with it needs quotes"),
    ("expected node content", "a bracket before it is not closed, or a text that begins so has no quotes"),
];

fn check_characters(text: &str) -> Result<(), TreeError> {
    let forbidden = |c: char| {
        matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}')
            || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    let Some(at) = text.find(forbidden) else { return Ok(()) };
    let (before, _) = text.split_at(at);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Err(TreeError { mark: Mark::new(line, column), message: "control characters are not allowed".to_owned() })
}

/// A collection whose end has not been read yet.
struct Open {
    id: NodeId,
    /// Where its children begin among those that wait.
    first: usize,
}

#[derive(Default)]
struct Builder<'t> {
    text: &'t str,
    nodes: Vec<Stored>,
    rows: Rows,
    open: Vec<Open>,
    /// Children of open collections.
    waiting: Vec<NodeId>,
    /// Indexed by the parser's anchor id.
    anchors: Vec<Option<NodeId>>,
    root: Option<NodeId>,
}

impl<'t> Builder<'t> {
    fn event(&mut self, event: Event<'t>, span: Span) -> Result<(), TreeError> {
        let mark = Mark::new(span.start.line(), span.start.col() + 1);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let shape = if style == ScalarStyle::Plain { Shape::Plain } else { Shape::Quoted };
                let id = self.add(shape, scalar_tag(tag.as_deref()), &text, mark)?;
                self.set_anchor(anchor, id);
                self.attach(id, mark)?;
            }
            Event::SequenceStart(anchor, _) => self.start(Shape::Sequence, anchor, mark)?,
            Event::MappingStart(anchor, _) => self.start(Shape::Mapping, anchor, mark)?,
            Event::SequenceEnd | Event::MappingEnd => self.end(mark)?,
            Event::Alias(anchor) => {
                let target = self.anchors.get(anchor).copied().flatten();
                let target = target.ok_or_else(|| error(mark, "unknown anchor referenced"))?;
                if self.open.iter().any(|open| open.id == target) {
                    return Err(error(mark, "anchor value contains itself"));
                }
                self.attach(target, mark)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn start(&mut self, shape: Shape, anchor: usize, mark: Mark) -> Result<(), TreeError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(mark));
        }
        let id = self.add(shape, ScalarTag::Implicit, "", mark)?;
        self.set_anchor(anchor, id);
        self.open.push(Open { id, first: self.waiting.len() });
        Ok(())
    }

    /// Ends the innermost open collection: its children leave for the row.
    fn end(&mut self, mark: Mark) -> Result<(), TreeError> {
        let Some(Open { id, first }) = self.open.pop() else { return Ok(()) };
        let node = self.nodes.get_mut(id.0 as usize).expect("BUG: open collections are nodes");
        let children = self.waiting.get(first..).unwrap_or_default();
        let Rows { items, pairs, .. } = &mut self.rows;
        let (before, after) = if node.shape == Shape::Mapping {
            let before = pairs.len();
            pairs.extend(children.as_chunks::<2>().0.iter().map(|&[key, value]| (key, value)));
            (before, pairs.len())
        } else {
            let before = items.len();
            items.extend_from_slice(children);
            (before, items.len())
        };
        self.waiting.truncate(first);
        (node.start, node.length) = (in_row(before, mark)?, in_row(after - before, mark)?);
        self.attach(id, mark)
    }

    fn add(&mut self, shape: Shape, tag: ScalarTag, text: &str, mark: Mark) -> Result<NodeId, TreeError> {
        let index = in_row(self.nodes.len(), mark)?;
        let (start, length) = (in_row(self.rows.texts.len(), mark)?, in_row(text.len(), mark)?);
        self.rows.texts.push_str(text);
        in_row(self.rows.texts.len(), mark)?;
        self.nodes.push(Stored { shape, tag, depth: 0, mark, start, length, nodes: 1, bytes: length });
        Ok(NodeId(index))
    }

    fn set_anchor(&mut self, anchor: usize, id: NodeId) {
        if anchor > 0 {
            if self.anchors.len() <= anchor {
                self.anchors.resize(anchor + 1, None);
            }
            if let Some(slot) = self.anchors.get_mut(anchor) {
                *slot = Some(id);
            }
        }
    }

    /// Makes a finished node the child of the innermost open collection.
    fn attach(&mut self, child: NodeId, mark: Mark) -> Result<(), TreeError> {
        let Some(open) = self.open.last() else {
            self.root = Some(child);
            return Ok(());
        };
        let child_node = self.nodes.get(child.0 as usize).expect("BUG: children are added before they are attached");
        let (depth, nodes, bytes) = (child_node.depth + 1, child_node.nodes, child_node.bytes);
        if usize::from(depth) > MAX_DEPTH {
            return Err(too_deep(mark));
        }
        let parent = self.nodes.get_mut(open.id.0 as usize).expect("BUG: open collections are nodes");
        parent.depth = parent.depth.max(depth);
        parent.nodes = parent.nodes.saturating_add(nodes);
        parent.bytes = parent.bytes.saturating_add(bytes);
        self.waiting.push(child);
        Ok(())
    }

    fn check_expansion(&self) -> Result<(), TreeError> {
        let Some(root) = self.root.and_then(|root| self.nodes.get(root.0 as usize)) else { return Ok(()) };
        let max_nodes = MAX_EXPANDED_NODES + 20 * self.nodes.len() as u64;
        let max_bytes = MAX_EXPANDED_BYTES + 30 * self.text.len() as u64;
        // A count that has reached the end of its numbers may be any.
        let is_over = |count: u32, max: u64| count == u32::MAX || u64::from(count) > max;
        if is_over(root.nodes, max_nodes) || is_over(root.bytes, max_bytes) {
            return Err(error(root.mark, "document contains excessive aliasing"));
        }
        Ok(())
    }
}

/// A place in a row, or a length of one.
fn in_row(place: usize, mark: Mark) -> Result<u32, TreeError> {
    u32::try_from(place).map_err(|_| error(mark, "the file is too big"))
}

fn error(mark: Mark, message: &str) -> TreeError {
    TreeError { mark, message: message.to_owned() }
}

fn too_deep(mark: Mark) -> TreeError {
    error(mark, "exceeded max depth; nest less deeply")
}

fn scalar_tag(tag: Option<&Tag>) -> ScalarTag {
    match tag {
        None => ScalarTag::Implicit,
        Some(tag) if tag.is_yaml_core_schema() && matches!(&*tag.suffix, "int" | "float" | "bool" | "null") => {
            ScalarTag::Resolved
        }
        Some(_) => ScalarTag::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(tree: &Tree, id: NodeId) -> String {
        match tree.node(id).kind {
            Kind::Scalar { text, plain: true } => text.to_owned(),
            Kind::Scalar { text, plain: false } => format!("'{text}'"),
            Kind::Sequence(items) => {
                format!("[{}]", items.iter().map(|&item| shape(tree, item)).collect::<Vec<_>>().join(","))
            }
            Kind::Mapping(pairs) => {
                let pairs = pairs.iter().map(|&(key, value)| format!("{}:{}", shape(tree, key), shape(tree, value)));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
            }
        }
    }

    #[test]
    fn documents_become_trees() {
        let f = |text: &str, want: &str| {
            let tree = Tree::parse(text).unwrap();
            assert_eq!(tree.root().map_or_else(String::new, |root| shape(&tree, root)), want, "{text:?}");
        };
        f("", "");
        f("# nothing\n", "");
        f("a: [b, 'c']\r\nd:\r\n", "{a:[b,'c'],d:}");
        f("- &x {k: v}\n- *x\n- [*x]\n", "[{k:v},{k:v},[{k:v}]]");
        f("{\"a\": 1}", "{'a':1}");
        f("a: 1\n---\nb: [\n", "{a:1}");
        f("a: &x 1\nb: &x 2\nc: *x\n", "{a:1,b:2,c:2}");
    }

    #[test]
    fn what_cannot_be_walked_is_refused() {
        let f = |text: &str, want: &str| {
            let error = Tree::parse(text).map(|_| ()).unwrap_err();
            assert!(error.message.contains(want), "{}", error.message);
            assert!(error.mark.line > 0);
        };
        f("&a [*a]", "contains itself");
        f("x: &a {b: {c: *a}}", "contains itself");
        f("[*nobody]", "anchor");
        f(&"[".repeat(100_000), "exceeded");
        f(&"- ".repeat(100_000), "exceeded");
        let chain: String = (1..1_000).map(|i| format!("- &a{i} {{<<: *a{}}}\n", i - 1)).collect();
        f(&format!("- &a0 {{x: 1}}\n{chain}"), "depth");
        f("a: \u{1}", "control characters");
        f("a:\n\t- b\n", "");
        let mut bomb = "- &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..30 {
            let alias = format!("*a{}", level - 1);
            bomb += &format!("- &a{level} [{}]\n", vec![alias; 9].join(","));
        }
        f(&bomb, "excessive aliasing");
        let text = format!("- &a {}\n- &b [{}]\n- [{}]\n", "x".repeat(1_000_000), "*a,".repeat(50), "*b,".repeat(50));
        f(&text, "excessive aliasing");
    }

    #[test]
    fn marks_are_lines_and_columns_from_one() {
        let tree = Tree::parse("a:\n  - é: x\n").unwrap();
        let Kind::Mapping(pairs) = tree.node(tree.root().unwrap()).kind else { panic!() };
        let Kind::Sequence(items) = tree.node(pairs[0].1).kind else { panic!() };
        let Kind::Mapping(inner) = tree.node(items[0]).kind else { panic!() };
        assert_eq!(tree.node(items[0]).mark, Mark::new(2, 5));
        assert_eq!(tree.node(inner[0].1).mark, Mark::new(2, 8));
    }
}
