//! The second part of a token (RFC 7519 §4): who issued it, for whom, until when, and what it grants.
//!
//! Types are checked when the token is parsed, times when the caller says what time it is. Dates are numbers with an
//! optional fraction (RFC 7519 §2) and are compared in whole seconds, rounded down. Claims are worth nothing before
//! the signature is verified.

use crate::error::{FieldError, PartError, TimeError};
use crate::fields::optional_string;
use crate::json::{Json, Object};
use crate::vm_access::VmAccess;
use std::fmt;

/// How many seconds before its `nbf` a token is accepted at least.
pub const NBF_LEEWAY: u64 = 60;

/// Parsed claims. `Debug` shows no values, so that tokens cannot leak into logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims {
    /// All claims; a `vm_access` packed in a string is replaced by what it holds.
    root: Object,
    scope: Box<str>,
    exp: Option<i64>,
    nbf: Option<i64>,
    vm_access: Option<VmAccess>,
}

impl fmt::Debug for Claims {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Claims").field("exp", &self.exp).field("nbf", &self.nbf).finish_non_exhaustive()
    }
}

impl Claims {
    /// Parses the JSON text of a token's body; useful on its own for tests and tools.
    pub fn parse(json: &[u8]) -> Result<Self, PartError> {
        let mut root = match Json::parse(json)? {
            Json::Object(root) => root,
            other => return Err(PartError::NotAnObject(other.type_name())),
        };
        optional_string(&root, "iss")?;
        let exp = numeric_date(&root, "exp")?;
        let nbf = numeric_date(&root, "nbf")?;
        numeric_date(&root, "iat")?;
        let scope = joined_scope(&root)?;
        let (vm_access, unpacked) = VmAccess::from_claim(root.get("vm_access"))?;
        if let Some(tree) = unpacked {
            root.replace("vm_access", tree);
        }
        Ok(Self { root, scope, exp, nbf, vm_access })
    }

    /// Says whether the token is valid at `now` (seconds since 1970) when clocks differ by up to `skew` seconds.
    ///
    /// Valid while `now` ≤ `exp`; a token without `exp` is expired; `nbf` is optional.
    pub fn check_time(&self, now: u64, skew: u64) -> Result<(), TimeError> {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        match self.valid_until(skew) {
            Some(last) if now <= last => {}
            Some(_) | None => return Err(TimeError::Expired),
        }
        if now < self.valid_from(skew) { Err(TimeError::NotYetValid) } else { Ok(()) }
    }

    /// The last second at which the token is valid when clocks differ by up to `skew` seconds; `None` without `exp`.
    pub fn valid_until(&self, skew: u64) -> Option<i64> {
        let skew = i64::try_from(skew).unwrap_or(i64::MAX);
        self.exp.map(|exp| exp.saturating_add(skew))
    }

    /// The first second at which the token is valid. Fresh tokens meet clocks that are behind, so [`NBF_LEEWAY`] is
    /// allowed even where no difference of clocks is configured.
    pub fn valid_from(&self, skew: u64) -> i64 {
        let leeway = i64::try_from(skew.max(NBF_LEEWAY)).unwrap_or(i64::MAX);
        self.nbf.map_or(i64::MIN, |nbf| nbf.saturating_sub(leeway))
    }

    /// `exp`, in seconds since 1970, rounded down.
    pub fn exp(&self) -> Option<i64> {
        self.exp
    }

    /// `nbf`, in seconds since 1970, rounded down.
    pub fn nbf(&self) -> Option<i64> {
        self.nbf
    }

    /// `iss`.
    pub fn iss(&self) -> Option<&str> {
        self.string("iss")
    }

    /// `sub`, if it is a string.
    pub fn sub(&self) -> Option<&str> {
        self.string("sub")
    }

    /// `aud`: one string or the strings of a list; anything else counts as no audience (RFC 7519 §4.1.3).
    pub fn aud(&self) -> impl Iterator<Item = &str> {
        let items = match self.root.get("aud") {
            Some(Json::Array(items)) => &**items,
            Some(single) => std::slice::from_ref(single),
            None => &[],
        };
        items.iter().filter_map(Json::as_str)
    }

    /// `scope` as one string, list items joined by a space; empty if absent.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// What the token grants; `None` if it says nothing.
    pub fn vm_access(&self) -> Option<&VmAccess> {
        self.vm_access.as_ref()
    }

    pub(crate) fn root(&self) -> &Object {
        &self.root
    }

    fn string(&self, name: &str) -> Option<&str> {
        self.root.get(name).and_then(Json::as_str)
    }
}

fn numeric_date(root: &Object, field: &'static str) -> Result<Option<i64>, FieldError> {
    let text = match root.get(field) {
        None => return Ok(None),
        Some(Json::Number(text)) => text,
        Some(other) => return Err(FieldError::wrong_type(field, "number", other)),
    };
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(Some(seconds));
    }
    match text.parse::<f64>() {
        // The cast saturates, which is meant: such a date is past or never comes.
        Ok(seconds) if seconds.is_finite() => Ok(Some(seconds.floor() as i64)),
        Ok(_) | Err(_) => Err(FieldError::out_of_range(field, "a date")),
    }
}

fn joined_scope(root: &Object) -> Result<Box<str>, FieldError> {
    match root.get("scope") {
        None => Ok("".into()),
        Some(Json::String(scope)) => Ok(scope.clone()),
        Some(Json::Array(items)) => {
            let words: Vec<&str> = items.iter().filter_map(Json::as_str).collect();
            Ok(words.join(" ").into())
        }
        Some(other) => Err(FieldError::wrong_type("scope", "string", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_dates_of_rfc_7519() {
        let f = |date: &str, want: i64| {
            let claims = Claims::parse(format!("{{\"exp\":{date},\"nbf\":{date},\"iat\":{date}}}").as_bytes()).unwrap();
            assert_eq!((claims.exp(), claims.nbf()), (Some(want), Some(want)), "{date}");
        };
        f("0", 0);
        f("1300819380", 1_300_819_380);
        f("1300819380.9", 1_300_819_380);
        f("1300819380.0", 1_300_819_380);
        f("1.5e9", 1_500_000_000);
        f("1E9", 1_000_000_000);
        f("-1", -1);
        f("-1.5", -2);
        f("9223372036854775807", i64::MAX);
        f("9223372036854775808", i64::MAX);
        f("1e300", i64::MAX);
        f("-1e300", i64::MIN);
        f("1e-400", 0);
    }

    #[test]
    fn refuses_wrong_types() {
        let f = |json: &str, want: &str| {
            assert_eq!(Claims::parse(json.as_bytes()).unwrap_err().to_string(), want, "{json}")
        };
        f(r#"{"exp":"1"}"#, "cannot parse `exp` field: value doesn't contain number; it contains string");
        f(r#"{"exp":null}"#, "cannot parse `exp` field: value doesn't contain number; it contains null");
        f(r#"{"exp":1e999}"#, "cannot parse `exp` field: the number is not a date");
        f(r#"{"nbf":true}"#, "cannot parse `nbf` field: value doesn't contain number; it contains true");
        f(r#"{"iat":"x"}"#, "cannot parse `iat` field: value doesn't contain number; it contains string");
        f(r#"{"iss":5}"#, "cannot parse `iss` field: value doesn't contain string; it contains number");
        f(r#"{"iss":null}"#, "cannot parse `iss` field: value doesn't contain string; it contains null");
        f(r#"{"scope":5}"#, "cannot parse `scope` field: value doesn't contain string; it contains number");
        f(r#"{"scope":{}}"#, "cannot parse `scope` field: value doesn't contain string; it contains object");
        f("[]", "value doesn't contain object; it contains array");
        f("\"{}\"", "value doesn't contain object; it contains string");
        assert!(Claims::parse(br#"{"exp":NaN}"#).is_err());
        assert!(Claims::parse(br#"{"jti":5,"aud":7,"sub":[],"typ":1,"exp":1}"#).is_ok());
    }

    #[test]
    fn compares_times() {
        let f = |json: &str, now: u64, skew: u64, want: Result<(), TimeError>| {
            assert_eq!(Claims::parse(json.as_bytes()).unwrap().check_time(now, skew), want, "{json} at {now} ± {skew}");
        };
        let (expired, early) = (Err(TimeError::Expired), Err(TimeError::NotYetValid));
        f("{}", 0, 0, expired);
        f("{}", 0, u64::MAX, expired);
        f(r#"{"exp":100}"#, 99, 0, Ok(()));
        f(r#"{"exp":100}"#, 100, 0, Ok(()));
        f(r#"{"exp":100}"#, 101, 0, expired);
        f(r#"{"exp":100.9}"#, 100, 0, Ok(()));
        f(r#"{"exp":100.9}"#, 101, 0, expired);
        f(r#"{"exp":100}"#, 105, 5, Ok(()));
        f(r#"{"exp":100}"#, 106, 5, expired);
        f(r#"{"exp":-1}"#, 0, 0, expired);
        f(r#"{"exp":0}"#, u64::MAX, u64::MAX, Ok(()));
        f(r#"{"exp":0}"#, u64::MAX, 0, expired);
        f(r#"{"exp":1e300}"#, u64::MAX, 0, Ok(()));
        f(r#"{"exp":200,"nbf":100}"#, 39, 0, early);
        f(r#"{"exp":200,"nbf":100}"#, 40, 0, Ok(()));
        f(r#"{"exp":200,"nbf":100.5}"#, 40, 0, Ok(()));
        f(r#"{"exp":200,"nbf":100}"#, 40, 5, Ok(()));
        f(r#"{"exp":200,"nbf":100}"#, 39, 5, early);
        f(r#"{"exp":200,"nbf":100}"#, 10, 90, Ok(()));
        f(r#"{"exp":200,"nbf":100}"#, 9, 90, early);
        f(r#"{"exp":200,"nbf":400}"#, 250, 0, expired);
        f(r#"{"exp":200,"iat":300}"#, 100, 0, Ok(()));
    }

    #[test]
    fn reads_names() {
        let claims = |json: &str| Claims::parse(json.as_bytes()).unwrap();
        let joe = claims(r#"{"iss":"joe","sub":"me","iss":"eve","scope":["a",1,"b",null]}"#);
        assert_eq!((joe.iss(), joe.sub(), joe.scope()), (Some("joe"), Some("me"), "a b"));
        assert_eq!(claims(r#"{"scope":"x y"}"#).scope(), "x y");
        assert_eq!((claims("{}").scope(), claims("{}").iss(), claims(r#"{"sub":5}"#).sub()), ("", None, None));
        let f = |json: &str, want: &[&str]| assert_eq!(claims(json).aud().collect::<Vec<_>>(), want, "{json}");
        f("{}", &[]);
        f(r#"{"aud":"a"}"#, &["a"]);
        f(r#"{"aud":["a",5,"b"]}"#, &["a", "b"]);
        f(r#"{"aud":5}"#, &[]);
        f(r#"{"aud":null}"#, &[]);
        f(r#"{"aud":{"a":"a"}}"#, &[]);
    }

    #[test]
    fn debug_shows_no_values() {
        let claims = Claims::parse(br#"{"exp":1,"sub":"secret-subject","vm_access":"{}"}"#).unwrap();
        assert!(!format!("{claims:?}").contains("secret"));
    }
}
