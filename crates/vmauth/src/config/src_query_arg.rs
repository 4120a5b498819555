//! One item of `src_query_args`: `name=value` or `name=~regex`.
//!
//! Upstream reads the text behind `=` as YAML once more, so quotes around it and a comment after it vanish; this is
//! kept for scalars. What is no scalar (`[a-c].*`, `{b}`, `*x`) or would mean "nothing" (`null`, `~`, an empty text) is
//! taken literally instead of failing at load or at the first request.

use std::borrow::Cow;
use vmkit::yaml::tree::{Kind, ScalarTag, Tree};

/// An item taken apart.
#[derive(Debug, PartialEq)]
pub(super) struct QueryArgText<'a> {
    pub(super) name: &'a str,
    pub(super) value: Cow<'a, str>,
    /// Whether `value` is a regex.
    pub(super) is_regex: bool,
}

/// Takes `item` apart; `None` without `=`: such an item matches nothing.
pub(super) fn split(item: &str) -> Option<QueryArgText<'_>> {
    let (name, value) = item.split_once('=')?;
    Some(match value.strip_prefix('~') {
        Some(regex) => QueryArgText { name, value: scalar(regex), is_regex: true },
        None => QueryArgText { name, value: scalar(value), is_regex: false },
    })
}

fn scalar(text: &str) -> Cow<'_, str> {
    // Most values are plain words, and a config may have thousands.
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'*' | b'/' | b'+' | b'-'))
        && !text.starts_with(['*', '-'])
    {
        return Cow::Borrowed(text);
    }
    let Ok(tree) = Tree::parse(text) else { return Cow::Borrowed(text) };
    match tree.root().map(|root| tree.node(root)) {
        Some(node) if node.tag == ScalarTag::Implicit => match &node.kind {
            Kind::Scalar { text: inner, plain } if !plain || !inner.is_empty() => Cow::Owned(inner.to_string()),
            _ => Cow::Borrowed(text),
        },
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_taken_apart() {
        let f = |item: &str, want: Option<(&str, &str, bool)>| {
            let got = split(item);
            let got = got.as_ref().map(|arg| (arg.name, arg.value.as_ref(), arg.is_regex));
            assert_eq!(got, want, "{item}");
        };
        f("db=foo", Some(("db", "foo", false)));
        f("a=\"x\"", Some(("a", "x", false)));
        f("a='x'", Some(("a", "x", false)));
        f("a=b #c", Some(("a", "b", false)));
        f("a= b ", Some(("a", "b", false)));
        f("a=b: c", Some(("a", "b: c", false)));
        f("a=[b]", Some(("a", "[b]", false)));
        f("a=*x", Some(("a", "*x", false)));
        f("a=!x", Some(("a", "!x", false)));
        f("a=", Some(("a", "", false)));
        f("a=null", Some(("a", "null", false)));
        f("a=#c", Some(("a", "#c", false)));
        f("a=010", Some(("a", "010", false)));
        f("a=b=c", Some(("a", "b=c", false)));
        f("a=~", Some(("a", "", true)));
        f("a=~~", Some(("a", "~", true)));
        f("a=~null", Some(("a", "null", true)));
        f("a=~[bc].*", Some(("a", "[bc].*", true)));
        f("a=~{b}", Some(("a", "{b}", true)));
        f("a=~- x", Some(("a", "- x", true)));
        f("a=~bar.*", Some(("a", "bar.*", true)));
        f("query=~.*{.*env=\"dev\".*}.*", Some(("query", ".*{.*env=\"dev\".*}.*", true)));
        f("=x", Some(("", "x", false)));
        f("abc", None);
        f("", None);
    }
}
