//! Takes a token in compact form apart (RFC 7515 §3.1): three base64url parts, the first two JSON objects.
//!
//! First stage of authentication by token; bounds the size before anything is decoded. A parsed token is not a
//! verified one: see [`crate::KeySet`] and [`Claims::check_time`]. Tokens are credentials: neither `Debug` nor any
//! error shows one, logs name it by its [`fingerprint`].

use crate::base64url;
use crate::claims::Claims;
use crate::error::{PartError, TokenError};
use crate::header::Header;
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::{self, Write};

/// Longer tokens are refused, as is any head of a request that could hold one. Usual tokens have 0.5 to 4 KiB, those
/// with hundreds of groups and roles 30 and more.
pub const MAX_TOKEN_BYTES: usize = 1024 * 1024;

/// A token whose parts are well formed.
#[derive(Clone)]
pub struct Token {
    header: Header,
    claims: Claims,
    signing_input: Box<str>,
    signature: Box<[u8]>,
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Token").field("header", &self.header).field("claims", &self.claims).finish_non_exhaustive()
    }
}

impl Token {
    /// Parses `header.claims.signature`. The signature may be empty, which no key ever verifies.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong(text.len(), MAX_TOKEN_BYTES));
        }
        let (signing_input, signature) = text.rsplit_once('.').ok_or(TokenError::Parts)?;
        let (header, claims) = signing_input.split_once('.').ok_or(TokenError::Parts)?;
        if claims.contains('.') {
            return Err(TokenError::Parts);
        }
        let claims = decode(claims).and_then(|json| Claims::parse(&json)).map_err(TokenError::Body)?;
        let header = decode(header).and_then(|json| Header::parse(&json)).map_err(TokenError::Header)?;
        let signature = base64url::decode(signature).map_err(TokenError::Signature)?.into();
        Ok(Self { header, claims, signing_input: signing_input.into(), signature })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The signed bytes: the first two parts with the dot between them, as received.
    pub fn signing_input(&self) -> &[u8] {
        self.signing_input.as_bytes()
    }

    /// The decoded signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

fn decode(part: &str) -> Result<Vec<u8>, PartError> {
    if part.is_empty() {
        return Err(PartError::Empty);
    }
    Ok(base64url::decode(part)?)
}

/// The token in the value of an `Authorization` header that may carry one: `Bearer`, in any letter case, one space,
/// and a value with exactly two dots. Everything else belongs to other kinds of credentials.
pub fn bearer_jwt(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    let is_jwt = scheme.eq_ignore_ascii_case("Bearer ") && token.bytes().filter(|byte| *byte == b'.').count() == 2;
    is_jwt.then_some(token)
}

/// A short name of a token for logs: the first 12 hex digits of its SHA-256.
pub fn fingerprint(token: &str) -> String {
    let hash = digest(&SHA256, token.as_bytes());
    hash.as_ref().iter().take(6).fold(String::with_capacity(12), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn b64(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    #[test]
    fn splits_at_exactly_two_dots() {
        let (header, claims) = (b64(r#"{"alg":"RS256","kid":"k"}"#), b64(r#"{"exp":1}"#));
        let token = Token::parse(&format!("{header}.{claims}.-_+/")).unwrap();
        assert_eq!(token.signing_input(), format!("{header}.{claims}").as_bytes());
        assert_eq!(token.signature(), [0xfb, 0xff, 0xbf]);
        assert_eq!((token.header().kid(), token.claims().exp()), (Some("k"), Some(1)));
        assert_eq!(Token::parse(&format!("{header}.{claims}.")).unwrap().signature(), b"");

        let f = |text: &str, want: &str| {
            assert_eq!(
                Token::parse(text).unwrap_err().to_string(),
                format!("cannot parse jwt token: {want}"),
                "{text}"
            );
        };
        let parts = "it must consist of 3 parts separated by dots";
        for text in ["", ".", "abc", "a.b", "...", &format!("{header}.{claims}.a.b"), &format!("{header}.{claims}")] {
            f(text, parts);
        }
        f("..", "cannot parse token body: it is empty");
        f(&format!(".{claims}."), "cannot parse token header: it is empty");
        f(&format!("{header}.."), "cannot parse token body: it is empty");
        f(&format!("{header}.{claims}.Zg=="), "cannot parse token signature: not base64url without padding");
        f(&format!("{header}.{claims}=.Zg"), "cannot parse token body: not base64url without padding");
        f(&format!(" {header}.{claims}.Zg"), "cannot parse token header: not base64url without padding");
        f(
            &format!("{header}.{}.Zg", b64("[]")),
            "cannot parse token body: value doesn't contain object; it contains array",
        );
        let exp = b64(r#"{"exp":"x"}"#);
        let want =
            "cannot parse token body: cannot parse `exp` field: value doesn't contain number; it contains string";
        // The body is looked at before the header.
        f(&format!("!!.{exp}.Zg"), want);
    }

    #[test]
    fn bounds_the_size() {
        let token = |filler: usize| format!("{}.{}.", b64("{}"), b64(&format!("{{\"a\":\"{}\"}}", "x".repeat(filler))));
        assert!(Token::parse(&token(700_000)).is_ok());
        assert!(matches!(Token::parse(&token(800_000)), Err(TokenError::TooLong(..))));
    }

    #[test]
    fn finds_tokens_among_credentials() {
        let f = |value: &str, want: Option<&str>| assert_eq!(bearer_jwt(value), want, "{value:?}");
        f("Bearer a.b.c", Some("a.b.c"));
        f("bEARER a.b.c", Some("a.b.c"));
        f("Bearer ..", Some(".."));
        f("Bearer  a.b.c", Some(" a.b.c")); // refused later: whitespace is not base64url
        f("Bearer a.b", None);
        f("Bearer a.b.c.d", None);
        f("Basic a.b.c", None);
        f("a.b.c", None);
        f("Bearer", None);
        f("", None);
        f("Bearerüa.b.c", None);
    }

    #[test]
    fn shows_no_token() {
        let text = format!("{}.{}.c2VjcmV0", b64(r#"{"alg":"RS256"}"#), b64(r#"{"sub":"subject"}"#));
        let shown = format!("{:?}", Token::parse(&text).unwrap());
        assert!(!shown.contains("subject") && !shown.contains("c2VjcmV0") && !shown.contains("115"), "{shown}");
        assert_eq!(fingerprint("abc"), "ba7816bf8f01"); // FIPS 180-4, example of SHA-256
    }
}
