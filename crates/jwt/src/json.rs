//! A small JSON tree for the header, the claims and key sets: numbers keep their source text, the first of two equal
//! keys wins, depth is bounded.
//!
//! Syntax is serde_json's business (UTF-8, escapes, trailing bytes); this file only shapes the tree, because
//! serde_json's own `Value` turns `1.50` into 1.5 and lets the last key win. Size limits are the caller's.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Arrays and objects may nest this deep; also bounds how often a byte is scanned.
pub const MAX_DEPTH: usize = 32;

/// Why bytes are not acceptable JSON.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8.
    #[error("invalid utf-8")]
    Utf8,
    /// A syntax error with its place, or bytes after the value.
    #[error("invalid json: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("json is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// The number as it was written.
    Number(Box<str>),
    String(Box<str>),
    Array(Box<[Self]>),
    Object(Object),
}

/// Members of an object, sorted by key, each key once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Object(Vec<(Box<str>, Json)>);

impl Object {
    /// The value of the first member called `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Json> {
        self.position(key).ok().and_then(|index| self.0.get(index)).map(|(_, value)| value)
    }

    /// Replaces the value of an existing member.
    pub(crate) fn replace(&mut self, key: &str, value: Json) {
        if let Ok(index) = self.position(key)
            && let Some(member) = self.0.get_mut(index)
        {
            member.1 = value;
        }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Json> {
        self.0.iter().map(|(_, value)| value)
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| name.as_ref().cmp(key))
    }
}

impl Json {
    /// Parses one JSON value that fills all of `bytes` but for whitespace.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(bytes).map_err(|_| JsonError::Utf8)?;
        let raw: &RawValue = serde_json::from_str(text)?;
        Self::build(raw.get(), 0)
    }

    fn build(raw: &str, depth: usize) -> Result<Self, JsonError> {
        Ok(match raw.as_bytes().first() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => return Err(JsonError::TooDeep),
            Some(b'{') => Self::Object(build_object(raw, depth)?),
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(raw)?;
                let items: Result<Vec<Self>, _> =
                    items.into_iter().map(|item| Self::build(item.get(), depth + 1)).collect();
                Self::Array(items?.into_boxed_slice())
            }
            Some(b'"') => Self::String(serde_json::from_str(raw)?),
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') => Self::Null,
            _ => Self::Number(raw.into()),
        })
    }

    /// The text of a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// The type's name in error texts.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

fn build_object(raw: &str, depth: usize) -> Result<Object, JsonError> {
    let Members(members) = serde_json::from_str(raw)?;
    let mut built = Vec::with_capacity(members.len());
    for (key, value) in members {
        built.push((key.into_boxed_str(), Json::build(value.get(), depth + 1)?));
    }
    // The sort is stable and dedup keeps the first of equals: the first key of the source wins.
    built.sort_by(|left, right| left.0.cmp(&right.0));
    built.dedup_by(|later, first| later.0 == first.0);
    Ok(Object(built))
}

/// All members of an object in source order, repeated keys included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Json {
        Json::Number(text.into())
    }

    #[test]
    fn keeps_the_text_of_numbers_and_the_first_key() {
        let Json::Object(root) =
            Json::parse(br#" {"n":1.50,"e":1E+2,"a":[0,-0.0,"x\u0041"],"n":2,"\u006e":3} "#).unwrap()
        else {
            panic!("not an object")
        };
        assert_eq!(root.get("n"), Some(&number("1.50")));
        assert_eq!(root.get("e"), Some(&number("1E+2")));
        let items = vec![number("0"), number("-0.0"), Json::String("xA".into())];
        assert_eq!(root.get("a"), Some(&Json::Array(items.into())));
        assert_eq!(root.get("missing"), None);
        assert_eq!(root.values().count(), 3);
    }

    #[test]
    fn refuses_what_is_not_json() {
        let f = |text: &[u8]| assert!(Json::parse(text).is_err(), "{}", String::from_utf8_lossy(text));
        f(b"");
        f(b" ");
        f(b"{}{}");
        f(b"{} x");
        f(b"{\"a\":1,}");
        f(b"{'a':1}");
        f(b"{\"a\":01}");
        f(b"{\"a\":NaN}");
        f(b"{\"a\":+1}");
        f(b"{\"a\":\"\\ud800\"}");
        f(b"{\"\\ud800\":1}");
        f(b"{\"a\":\"\n\"}");
        f(b"{\"a\":\"\xff\"}");
        f(b"\xef\xbb\xbf{}");
        f(b"[1 2]");
        f(b"tru");
    }

    #[test]
    fn bounds_the_depth() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(matches!(Json::parse(nested(MAX_DEPTH + 1).as_bytes()), Err(JsonError::TooDeep)));
        assert!(Json::parse(nested(100_000).as_bytes()).is_err());
    }
}
