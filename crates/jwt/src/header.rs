//! The first part of a token (RFC 7515 §4): the algorithm and which key.
//!
//! Nothing of it is trusted before the signature is verified, and key material in it (`jwk`, `jku`, `x5c`, `x5u`) is
//! never read. A header with `crit` is refused, because no extension is supported.

use crate::algorithm::Algorithm;
use crate::error::PartError;
use crate::fields::optional_string;
use crate::json::Json;

/// A parsed header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    algorithm: Option<Algorithm>,
    kid: Option<Box<str>>,
}

impl Header {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, PartError> {
        let root = match Json::parse(json)? {
            Json::Object(root) => root,
            other => return Err(PartError::NotAnObject(other.type_name())),
        };
        if root.get("crit").is_some() {
            return Err(PartError::Critical);
        }
        let algorithm = optional_string(&root, "alg")?.and_then(Algorithm::from_name);
        optional_string(&root, "typ")?;
        let kid = optional_string(&root, "kid")?.filter(|kid| !kid.is_empty()).map(Into::into);
        Ok(Self { algorithm, kid })
    }

    /// The algorithm; `None` if `alg` is absent, `none` or not supported.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// The id of the key; `None` if `kid` is absent or empty.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_alg_and_kid() {
        let f = |json: &str, alg: Option<Algorithm>, kid: Option<&str>| {
            let header = Header::parse(json.as_bytes()).unwrap();
            assert_eq!((header.algorithm(), header.kid()), (alg, kid), "{json}");
        };
        f("{}", None, None);
        f(r#"{"alg":"RS256","typ":"JWT","kid":"a"}"#, Some(Algorithm::Rs256), Some("a"));
        f(r#"{"alg":"RS256","kid":""}"#, Some(Algorithm::Rs256), None);
        f(r#"{"alg":"rs256"}"#, None, None);
        f(r#"{"alg":"none"}"#, None, None);
        f(r#"{"alg":"HS256"}"#, None, None);
        f(r#"{"alg":"ES256","alg":"none"}"#, Some(Algorithm::Es256), None);
        f(r#"{"alg":"none","alg":"ES256"}"#, None, None);
        f(r#"{"alg":"EdDSA","jwk":{"kty":"oct"},"jku":7,"x5u":[],"x5c":null}"#, Some(Algorithm::EdDsa), None);
    }

    #[test]
    fn refuses_wrong_types() {
        let f = |json: &str, want: &str| {
            assert_eq!(Header::parse(json.as_bytes()).unwrap_err().to_string(), want, "{json}")
        };
        f("[]", "value doesn't contain object; it contains array");
        f("null", "value doesn't contain object; it contains null");
        f(r#"{"alg":1}"#, "cannot parse `alg` field: value doesn't contain string; it contains number");
        f(r#"{"alg":null}"#, "cannot parse `alg` field: value doesn't contain string; it contains null");
        f(r#"{"typ":{}}"#, "cannot parse `typ` field: value doesn't contain string; it contains object");
        f(r#"{"kid":["a"]}"#, "cannot parse `kid` field: value doesn't contain string; it contains array");
        f(r#"{"alg":"RS256","crit":["exp"]}"#, "`crit` extensions aren't supported");
        f(r#"{"alg":"RS256","crit":null}"#, "`crit` extensions aren't supported");
        f(r#"{"alg":"RS256","crit":[],"b64":false}"#, "`crit` extensions aren't supported");
    }
}
