//! `/config` and `/api/v1/status/config`: the config in force as YAML, without comments, defaults and secrets.
//!
//! It is printed from the tree of the text, so it has what was written and nothing else: placeholders are resolved,
//! aliases expanded. Values below keys that are called like secrets are masked, and credentials in URLs and headers;
//! when in doubt more is masked than needed.

use super::{JSON, PageReply, TEXT, api_targets};
use crate::config::Source;
use vmkit::redact;
use vmkit::yaml::scalar::Scalar;
use vmkit::yaml::tree::Kind;
use vmkit::yaml::{NodeId, Tree};

const MASK: &str = "<secret>";

/// `/config`. `sources` are the texts that the config was read from, the main file first.
pub fn answer(sources: &[Source]) -> PageReply {
    PageReply::new(TEXT, yaml(sources))
}

/// `/api/v1/status/config`.
pub fn api_answer(sources: &[Source]) -> PageReply {
    api_yaml(&yaml(sources))
}

/// The JSON around a YAML text, for this and the other config pages.
pub fn api_yaml(yaml: &str) -> PageReply {
    let body = serde_json::json!({ "status": "success", "data": { "yaml": yaml } }).to_string();
    PageReply::new(JSON, api_targets::escaped(&body))
}

/// The config as YAML; jobs of other files stand behind those of the main file.
pub fn yaml(sources: &[Source]) -> String {
    let trees: Vec<Tree> = sources.iter().filter_map(|source| Tree::parse(&source.text).ok()).collect();
    let Some((main, others)) = trees.split_first() else { return String::new() };
    let mut out = String::new();
    let mut more: Vec<(&Tree, NodeId)> = Vec::new();
    for tree in others {
        if let Some(Kind::Sequence(items)) = tree.root().map(|root| tree.node(root).kind) {
            more.extend(items.iter().map(|&item| (tree, item)));
        }
    }
    if let Some(Kind::Mapping(pairs)) = main.root().map(|root| main.node(root).kind) {
        let mut printer = Printer { tree: main, out: &mut out };
        for &(key, value) in pairs {
            if printer.key_text(key) == "scrape_configs" && !more.is_empty() {
                if let Kind::Sequence(items) = main.node(value).kind {
                    more.splice(0..0, items.iter().map(|&item| (main, item)));
                }
                continue;
            }
            printer.pair(key, value, 0, Context::default());
        }
    }
    if !more.is_empty() {
        out.push_str("scrape_configs:\n");
        for (tree, item) in more {
            Printer { tree, out: &mut out }.item(item, 0, Context::default());
        }
    }
    out
}

/// What the keys above a value say about it.
#[derive(Clone, Copy, Default)]
struct Context {
    secret: bool,
    /// An item of `headers`.
    header: bool,
}

struct Printer<'p> {
    tree: &'p Tree,
    out: &'p mut String,
}

impl Printer<'_> {
    fn key_text(&self, key: NodeId) -> String {
        match self.tree.node(key).kind {
            Kind::Scalar { text, .. } => text.to_owned(),
            Kind::Sequence(_) | Kind::Mapping(_) => String::new(),
        }
    }

    fn pair(&mut self, key: NodeId, value: NodeId, indent: usize, context: Context) {
        self.pad(indent);
        self.pair_here(key, value, indent, context);
    }

    /// A key and its value where the cursor stands.
    fn pair_here(&mut self, key: NodeId, value: NodeId, indent: usize, context: Context) {
        let name = self.key_text(key);
        let context = Context {
            secret: context.secret || is_secret_key(&name),
            header: name == "headers" || name == "proxy_headers",
        };
        self.out.push_str(&scalar(&name, false));
        self.out.push(':');
        self.value(value, indent, context);
    }

    /// A value behind its key.
    fn value(&mut self, value: NodeId, indent: usize, context: Context) {
        match self.tree.node(value).kind {
            Kind::Scalar { .. } => {
                self.out.push(' ');
                self.push_scalar(value, context);
                self.out.push('\n');
            }
            Kind::Sequence([]) => self.out.push_str(" []\n"),
            Kind::Mapping([]) => self.out.push_str(" {}\n"),
            Kind::Sequence(items) => {
                self.out.push('\n');
                items.iter().for_each(|&item| self.item(item, indent, context));
            }
            Kind::Mapping(pairs) => {
                self.out.push('\n');
                pairs.iter().for_each(|&(key, value)| self.pair(key, value, indent + 2, context));
            }
        }
    }

    fn item(&mut self, item: NodeId, indent: usize, context: Context) {
        self.pad(indent);
        self.out.push('-');
        match self.tree.node(item).kind {
            Kind::Mapping(pairs) if !pairs.is_empty() => {
                self.out.push(' ');
                for (at, &(key, value)) in pairs.iter().enumerate() {
                    if at > 0 {
                        self.pad(indent + 2);
                    }
                    self.pair_here(key, value, indent + 2, context);
                }
            }
            _ => self.value(item, indent + 2, context),
        }
    }

    fn push_scalar(&mut self, id: NodeId, context: Context) {
        let node = self.tree.node(id);
        let Kind::Scalar { text, plain } = &node.kind else { return };
        let is_null = *plain && Scalar::of(node) == Scalar::Null;
        let shown = match () {
            () if is_null => "null".to_owned(),
            () if context.secret && !text.is_empty() => MASK.to_owned(),
            () if context.header => header(text),
            () => url(text),
        };
        // Numbers and booleans stay what they are; texts that look like them get quotes.
        let typed = *plain && !matches!(Scalar::of(node), Scalar::Text);
        self.out.push_str(&if is_null || shown == MASK { shown } else { scalar(&shown, typed) });
    }

    fn pad(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }
}

/// Names whose values are masked. Paths of files and URLs are told, what is in them is not.
fn is_secret_key(name: &str) -> bool {
    !name.ends_with("_file")
        && !name.ends_with("_url")
        && (name == "credentials" || redact::is_secret_name(name) || redact::is_secret_arg(name.as_bytes()))
}

/// `Name: value` without the value of a header that carries credentials.
fn header(text: &str) -> String {
    match text.split_once(':') {
        Some((name, _)) if redact::is_secret_header(name.trim()) => format!("{name}: {MASK}"),
        _ => text.to_owned(),
    }
}

/// A URL without user and secret args; anything else as it is.
fn url(text: &str) -> String {
    if !text.contains("://") {
        return text.to_owned();
    }
    let text = redact::userinfo(text);
    let Some((base, args)) = text.split_once('?') else { return text.into_owned() };
    let mut shown = format!("{base}?").into_bytes();
    redact::push_args(&mut shown, args.as_bytes());
    String::from_utf8_lossy(&shown).into_owned()
}

/// A text as a YAML scalar, in quotes where it needs them.
fn scalar(text: &str, typed: bool) -> String {
    let first_is_safe =
        text.chars().next().is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | '_' | '.' | '(' | '$'));
    let is_safe = |c: char| c.is_alphanumeric() || "/_.-+*()=^$~;,<>&|\\?@% ".contains(c);
    let colon_is_safe = !text.contains(": ") && !text.ends_with(':') && !text.contains(" #");
    let plain = first_is_safe
        && colon_is_safe
        && !text.ends_with(' ')
        && text.chars().all(|c| is_safe(c) || c == ':')
        && (typed || reads_as_text(text));
    if plain { text.to_owned() } else { vmkit::go_text::quote(text) }
}

/// Whether a plain scalar of this text is a text again.
fn reads_as_text(text: &str) -> bool {
    match Tree::parse(text) {
        Ok(tree) => tree.root().is_some_and(|root| matches!(Scalar::of(tree.node(root)), Scalar::Text)),
        Err(_) => false,
    }
}
