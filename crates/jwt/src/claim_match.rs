//! Reads the values that a path of `match_claims` leads to, as text for a regex.
//!
//! Strings are matched by their decoded value, numbers and booleans by their source text, a list by any of its
//! scalars; objects, `null` and absent claims never match. The regex is the caller's: this crate has none.

use crate::claims::Claims;
use crate::json::{Json, Object};

/// A parsed key of `match_claims`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimPath(Box<[Box<str>]>);

impl ClaimPath {
    /// Splits `key` at its dots; `\.` is a dot that does not split.
    ///
    /// A key without a dot, or with its first dot in front, is one segment as it stands.
    pub fn parse(key: &str) -> Self {
        if matches!(key.find('.'), None | Some(0)) {
            return Self(Box::new([key.into()]));
        }
        let mut segments = Vec::new();
        let mut segment = String::new();
        let mut letters = key.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' if letters.next_if_eq(&'.').is_some() => segment.push('.'),
                '.' => segments.push(std::mem::take(&mut segment).into()),
                other => segment.push(other),
            }
        }
        segments.push(segment.into());
        Self(segments.into())
    }

    /// Its segments, joined by dots.
    pub fn text(&self) -> String {
        self.0.join(".")
    }

    /// Says whether `matches` accepts one of the values at this path.
    pub fn any_value(&self, claims: &Claims, mut matches: impl FnMut(&[u8]) -> bool) -> bool {
        let Some((first, rest)) = self.0.split_first() else { return false };
        if &**first == "scope" {
            return matches(claims.scope().as_bytes());
        }
        if &**first == "vm_access" && rest.is_empty() {
            return false;
        }
        match descend(claims.root(), first, rest) {
            Some(Json::Array(items)) => items.iter().filter_map(scalar_text).any(matches),
            Some(value) => scalar_text(value).is_some_and(matches),
            None => false,
        }
    }
}

/// The segments, joined by dots.
impl std::fmt::Display for ClaimPath {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str(".")?;
            }
            out.write_str(segment)?;
        }
        Ok(())
    }
}

/// A path with the pattern that its value must match.
#[derive(Debug, Clone)]
pub struct ClaimMatcher<F> {
    path: ClaimPath,
    pattern: F,
}

impl<F: Fn(&[u8]) -> bool> ClaimMatcher<F> {
    /// Matches when `pattern` accepts a value at `path`; the pattern must match whole values.
    pub fn new(path: ClaimPath, pattern: F) -> Self {
        Self { path, pattern }
    }

    /// Where it looks.
    pub fn path(&self) -> &ClaimPath {
        &self.path
    }

    /// Says whether the claims have such a value.
    pub fn matches(&self, claims: &Claims) -> bool {
        self.path.any_value(claims, &self.pattern)
    }
}

fn descend<'a>(root: &'a Object, first: &str, rest: &[Box<str>]) -> Option<&'a Json> {
    rest.iter().try_fold(root.get(first)?, |value, segment| match value {
        Json::Object(object) => object.get(segment),
        Json::Array(items) => items.get(segment.parse::<usize>().ok()?),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
    })
}

fn scalar_text(value: &Json) -> Option<&[u8]> {
    match value {
        Json::String(text) | Json::Number(text) => Some(text.as_bytes()),
        Json::Bool(true) => Some(b"true"),
        Json::Bool(false) => Some(b"false"),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_paths() {
        let f = |key: &str, want: &[&str]| {
            assert_eq!(ClaimPath::parse(key).0.iter().map(|segment| &**segment).collect::<Vec<_>>(), want, "{key:?}");
        };
        f("", &[""]);
        f("a", &["a"]);
        f("a.b", &["a", "b"]);
        f("a\\.b.c", &["a.b", "c"]);
        f("a\\.b", &["a.b"]);
        f("a.b\\.c\\.d.e", &["a", "b.c.d", "e"]);
        f(".a.b", &[".a.b"]);
        f(".a\\.b", &[".a\\.b"]);
        f("a.", &["a", ""]);
        f("a..b", &["a", "", "b"]);
        f("a\\b.c", &["a\\b", "c"]);
        f("a\\b", &["a\\b"]);
        f("perm.0.read", &["perm", "0", "read"]);
        f("ü.ß", &["ü", "ß"]);
    }

    #[test]
    fn gives_values_as_text() {
        let json = r#"{"role":"adm\u0069n","n":1.50,"big":1E+2,"yes":true,"no":false,"nil":null,"o":{"a":"b","a":"c"},
            "list":["x",7,true,null,["y"],{"z":"z"}],"empty":[],"perm":[{"read":"r"},{"read":["a","b"]}],
            "a.b":{"c":"dotted"},".x.y":"front","":"nameless","":"second"}"#;
        let claims = Claims::parse(json.as_bytes()).unwrap();
        let f = |key: &str, want: &[&str]| {
            let mut seen = Vec::new();
            let found = ClaimPath::parse(key).any_value(&claims, |value| {
                seen.push(String::from_utf8(value.to_vec()).unwrap());
                false
            });
            assert!(!found);
            assert_eq!(seen, want, "{key:?}");
        };
        f("role", &["admin"]);
        f("n", &["1.50"]);
        f("big", &["1E+2"]);
        f("yes", &["true"]);
        f("no", &["false"]);
        f("nil", &[]);
        f("o", &[]);
        f("o.a", &["b"]);
        f("o.a.x", &[]);
        f("missing", &[]);
        f("role.0", &[]);
        f("list", &["x", "7", "true"]);
        f("list.1", &["7"]);
        f("list.4", &["y"]);
        f("list.5.z", &["z"]);
        f("list.6", &[]);
        f("list.-1", &[]);
        f("list.99999999999999999999", &[]);
        f("empty", &[]);
        f("perm.0.read", &["r"]);
        f("perm.1.read", &["a", "b"]);
        f("perm.read", &[]);
        f("a\\.b.c", &["dotted"]);
        f("a.b.c", &[]);
        f(".x.y", &["front"]);
        f("", &["nameless"]);
        f("scope", &[""]);
        f("vm_access", &[]);
    }

    #[test]
    fn vm_access_works_in_both_forms() {
        let f = |json: &str, key: &str, want: bool| {
            let claims = Claims::parse(json.as_bytes()).unwrap();
            let matcher = ClaimMatcher::new(ClaimPath::parse(key), |value: &[u8]| value == b"7");
            assert_eq!(matcher.matches(&claims), want, "{key} in {json}");
        };
        let object = r#"{"vm_access":{"metrics_account_id":7,"team":["6","7"]}}"#;
        let string = r#"{"vm_access":"{\"metrics_account_id\":7,\"team\":[\"6\",\"7\"]}"}"#;
        for json in [object, string] {
            f(json, "vm_access.metrics_account_id", true);
            f(json, "vm_access.team", true);
            f(json, "vm_access.team.1", true);
            f(json, "vm_access.team.0", false);
            f(json, "vm_access.metrics_project_id", false);
            f(json, "vm_access", false);
        }
        f(r#"{"vm_access":"7"}"#, "vm_access", false);
        f(r#"{"vm_access":null}"#, "vm_access.metrics_account_id", false);
    }

    #[test]
    fn scope_is_one_string() {
        let f = |json: &str, want: &[u8]| {
            let claims = Claims::parse(json.as_bytes()).unwrap();
            assert!(ClaimPath::parse("scope").any_value(&claims, |value| value == want), "{json}");
        };
        f("{}", b"");
        f(r#"{"scope":"openid metrics"}"#, b"openid metrics");
        f(r#"{"scope":["openid","metrics"]}"#, b"openid metrics");
    }
}
