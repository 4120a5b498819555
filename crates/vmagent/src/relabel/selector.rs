//! Series selectors: `name{label="value",other=~"regex" or third!=""}`, in rules (`if`) and in searches of pages.
//!
//! A missing label counts as an empty one. Regular expressions have to match the whole value. Groups of matchers may
//! be joined by `or`; a name in front of the braces belongs to each of them.

mod scanner;

use vmkit::go_regex::GoRegex;

use crate::labels::{LabelBuf, Labels};

use scanner::Scanner;

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot parse series selector {}: {reason}", vmkit::go_text::quote(.text))]
pub struct SelectorError {
    text: String,
    reason: String,
}

/// A parsed selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// All matchers of one of these groups have to match.
    groups: Box<[Box<[Matcher]>]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Matcher {
    name: Box<[u8]>,
    negative: bool,
    value: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Text(Box<[u8]>),
    Regex(GoRegex),
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// The text is none, or one of its regular expressions is wrong.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let error = |reason: String| SelectorError { text: text.to_owned(), reason };
        let groups = parse_groups(&mut Scanner::new(text)).map_err(error)?;
        Ok(Self { groups: groups.into_iter().map(Into::into).collect() })
    }

    /// Whether labels match, which `get` looks up by name.
    pub fn matches<'l>(&self, get: impl Fn(&[u8]) -> Option<&'l [u8]>) -> bool {
        let matches = |matcher: &Matcher| {
            let value = get(&matcher.name).unwrap_or_default();
            let found = match &matcher.value {
                Wanted::Text(text) => **text == *value,
                Wanted::Regex(regex) => regex.is_match(value),
            };
            found != matcher.negative
        };
        self.groups.iter().any(|group| group.iter().all(matches))
    }

    /// Whether the labels of a sample match.
    pub fn matches_buf(&self, labels: &LabelBuf) -> bool {
        self.matches(|name| labels.get(name))
    }

    /// Whether the labels of a target match.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(|name| str::from_utf8(name).ok().and_then(|name| labels.get(name)).map(str::as_bytes))
    }
}

fn parse_groups(scanner: &mut Scanner<'_>) -> Result<Vec<Vec<Matcher>>, String> {
    let name = scanner.name();
    let mut groups = vec![Vec::new()];
    if scanner.take('{') {
        while !scanner.take('}') {
            let group = groups.last_mut().expect("BUG: there is one from the start");
            group.push(parse_matcher(scanner)?);
            if scanner.take(',') || scanner.comes('}') {
                continue;
            }
            if scanner.take_word("or") {
                groups.push(Vec::new());
                continue;
            }
            return Err(format!("write a comma, `or` or `}}` at {}", scanner.rest_quoted()));
        }
    } else if name.is_none() {
        return Err("write a metric name or `{`".to_owned());
    }
    if !scanner.at_end() {
        return Err(format!("nothing may follow, but there is {}", scanner.rest_quoted()));
    }
    if groups.len() > 1 && groups.iter().any(Vec::is_empty) {
        return Err("there is nothing beside `or`".to_owned());
    }
    if let Some(name) = name {
        for group in &mut groups {
            group.insert(0, named(&name));
        }
    }
    Ok(groups)
}

fn named(name: &str) -> Matcher {
    Matcher { name: (*b"__name__").into(), negative: false, value: Wanted::Text(name.as_bytes().into()) }
}

fn parse_matcher(scanner: &mut Scanner<'_>) -> Result<Matcher, String> {
    let quoted = scanner.comes('"') || scanner.comes('\'');
    let name =
        if quoted { scanner.string()? } else { scanner.name().ok_or_else(|| scanner.expected("a label name"))? };
    let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| scanner.take_text(operator));
    let Some(operator) = operator else {
        if quoted {
            return Ok(named(&name));
        }
        return Err(scanner.expected("one of = != =~ !~"));
    };
    let value = scanner.string()?;
    let value = if operator.ends_with('~') {
        Wanted::Regex(GoRegex::new(&value).map_err(|error| error.to_string())?)
    } else {
        Wanted::Text(value.into_bytes().into())
    };
    Ok(Matcher { name: name.into_bytes().into(), negative: operator.starts_with('!'), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_match_labels() {
        let set = Labels::from_pairs([("__name__", "m"), ("a", "x"), ("b", "y\"z"), ("c d", "1")]);
        let f = |text: &str, want: bool| {
            let selector = Selector::parse(text).unwrap();
            assert_eq!(selector.matches_labels(&set), want, "{text}");
            let mut labels = LabelBuf::new();
            labels.copy_from(&set);
            assert_eq!(selector.matches_buf(&labels), want, "{text}");
        };
        f("m", true);
        f("n", false);
        f("m{}", true);
        f("{}", true);
        f(r#"{a="x"}"#, true);
        f(r#" m { a = "x" , } "#, true);
        f(r#"{a='x'}"#, true);
        f("{a=`x`}", true);
        f(r#"{a!="x"}"#, false);
        f(r#"{a=~"x|y"}"#, true);
        f(r#"{a=~"xx"}"#, false);
        f(r#"{a!~"x.+"}"#, true);
        f(r#"{b="y\"z"}"#, true);
        f(r#"{zz=""}"#, true);
        f(r#"{zz!=""}"#, false);
        f(r#"{a="q",b="y" or a="x"}"#, true);
        f(r#"m{a="q" or a="x"}"#, true);
        f(r#"n{a="q" or a="x"}"#, false);
        f(r#"{"m",a="x"}"#, true);
        f(r#"{"c d"="1"}"#, true);
        f(r#"{or="",a="x"}"#, true);
    }

    #[test]
    fn other_texts_are_refused() {
        let f = |text: &str, want: &str| {
            let error = Selector::parse(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        };
        f("", "metric name");
        f("{a=", "string");
        f("{a", "one of");
        f("{a=x}", "string");
        f("{a=\"x\"", "comma");
        f("{a=\"x\" b=\"y\"}", "comma");
        f("{a=\"x\"} b", "follow");
        f("{a=\"x\" or}", "or");
        f("{=\"x\"}", "label name");
        f("{a=~\"(\"}", "missing closing");
        f("{a=\"x}", "never closed");
        f("a b", "follow");
    }
}
