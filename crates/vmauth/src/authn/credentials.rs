//! Which values of a request may be credentials (docs/reference/auth.md).
//!
//! The first line of each auth header, and the userinfo of an absolute-form target. Values are taken as they are: no
//! trimming, no decoding, no folding of the scheme's case. Only the word `Token ` stands for `Bearer `.

use base64::Engine;
use vmkit::exchange::{HeaderId, RequestHead};
use vmkit::percent::decode_strict;

/// `-httpAuthHeader`: the headers that are looked at, in order.
#[derive(Debug)]
pub struct AuthHeaders {
    names: Vec<String>,
    only_authorization: bool,
}

impl AuthHeaders {
    /// Empty means `Authorization`.
    pub fn new(names: Vec<String>) -> Self {
        let names = if names.is_empty() { vec!["Authorization".to_owned()] } else { names };
        let only_authorization = matches!(names.as_slice(), [one] if one.eq_ignore_ascii_case("authorization"));
        Self { names, only_authorization }
    }

    /// Names of the headers, for hiding their values.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Calls `f` with each candidate in order until it returns something.
    pub fn find<T>(&self, head: &RequestHead, mut f: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        let mut try_value = |value: &[u8]| match value.strip_prefix(b"Token ") {
            Some(token) => f(&[b"Bearer ", token].concat()),
            None if value.is_empty() => None,
            None => f(value),
        };
        if self.only_authorization {
            if let Some(found) = head.first(HeaderId::Authorization).and_then(&mut try_value) {
                return Some(found);
            }
        } else {
            for name in &self.names {
                let value = head.values(name).next();
                if let Some(found) = value.and_then(&mut try_value) {
                    return Some(found);
                }
            }
        }
        if head.userinfo().is_empty() { None } else { f(&basic_of(head.userinfo())?) }
    }

    /// Whether the request has any candidate.
    pub fn has_any(&self, head: &RequestHead) -> bool {
        self.find(head, |_| Some(())).is_some()
    }
}

/// The Basic value that stands for `user:password` of a target; `None` without a user name.
fn basic_of(userinfo: &[u8]) -> Option<Vec<u8>> {
    let (user, password) = match memchr::memchr(b':', userinfo) {
        Some(at) => (&userinfo[..at], &userinfo[at + 1..]),
        None => (userinfo, &b""[..]),
    };
    let mut pair = decode_strict(user, false).filter(|user| !user.is_empty())?.into_owned();
    pair.push(b':');
    pair.extend_from_slice(&decode_strict(password, false)?);
    Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates() {
        let f = |names: &[&str], rest: &str, want: &[&str]| {
            let mut head = RequestHead::default();
            let text = if rest.starts_with("GET") {
                rest.to_owned()
            } else {
                format!("GET / HTTP/1.1\r\nHost: a\r\n{rest}\r\n")
            };
            head.parse(text.as_bytes()).unwrap().unwrap();
            let headers = AuthHeaders::new(names.iter().map(|name| (*name).to_owned()).collect());
            let mut got = Vec::new();
            headers.find(&head, |value| {
                got.push(String::from_utf8(value.to_vec()).unwrap());
                None::<()>
            });
            assert_eq!(got, want, "{names:?} {rest:?}");
            assert_eq!(headers.has_any(&head), !want.is_empty());
        };
        f(&[], "Authorization: Token a\r\nAuthorization: b\r\n", &["Bearer a"]);
        f(&[], "Authorization: token a\r\n", &["token a"]);
        f(&[], "Authorization:\r\n", &[]);
        f(&["X-A", "authorization"], "Authorization: 1\r\nx-a: 2\r\n", &["2", "1"]);
        f(&["X-A"], "Authorization: 1\r\n", &[]);
        f(&[], "GET http://u%3A:p@h/ HTTP/1.1\r\nHost: a\r\n\r\n", &["Basic dTo6cA=="]);
        f(&[], "GET http://:p@h/ HTTP/1.1\r\nHost: a\r\n\r\n", &[]);
    }
}
