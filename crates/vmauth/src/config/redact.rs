//! Removes secrets from what problems quote.
//!
//! Every text of the file that ends in a message passes here unless its field cannot hold a secret. When in doubt more
//! is hidden than needed: the place, line and column tell the reader where to look.

use vmkit::go_text::quote;

/// A URL without userinfo.
pub(super) use vmkit::redact::userinfo as url;

/// What a URL parser complains about, without pieces of a password.
pub(super) fn url_cause(text: &str, cause: &str) -> String {
    match (cause.find('"'), cause.rfind('"')) {
        (Some(first), Some(last)) if text.contains('@') && first < last => {
            format!("{}\"...\"{}", &cause[..first], &cause[last + 1..])
        }
        _ => cause.to_owned(),
    }
}

/// A PEM text, quoted: short ones whole, others by their kind, private keys never.
pub(super) fn pem(text: &str) -> String {
    if text.len() <= 64 && !text.contains("PRIVATE") {
        return quote(text);
    }
    let label = text.strip_prefix("-----BEGIN ").and_then(|rest| rest.split_once("-----")).map(|(label, _)| label);
    match label.filter(|label| label.bytes().all(|b| b.is_ascii_uppercase() || b == b' ')) {
        Some(label) => quote(format!("-----BEGIN {label}-----...")),
        None => "\"...\"".to_owned(),
    }
}

/// The value of a header or query arg that holds a placeholder; whole unless the name tells that it is a secret.
pub(super) fn named_value(name: &str, value: &str) -> String {
    const WORDS: [&str; 6] = ["auth", "cookie", "token", "key", "secret", "password"];
    let lower = name.to_ascii_lowercase();
    if !WORDS.iter().any(|word| lower.contains(word)) {
        return quote(value);
    }
    let start = value.find("{{").unwrap_or(value.len());
    let end = value.rfind("}}").map_or(start, |at| at + 2).max(start);
    let (before, after) = (if start > 0 { "..." } else { "" }, if end < value.len() { "..." } else { "" });
    quote(format!("{before}{}{after}", &value[start..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_lose_pieces_of_passwords() {
        let f = |text, message, want| assert_eq!(url_cause(text, message), want);
        f("http://a:b", "invalid port \":b\" after host", "invalid port \":b\" after host");
        f("http://u:p/w@a", "invalid port \":p\" after host", "invalid port \"...\" after host");
    }

    #[test]
    fn keys_are_cut() {
        let f = |text: &str, want| assert_eq!(pem(text), want);
        f("foo\n", r#""foo\n""#);
        f("-----BEGIN RSA PRIVATE KEY-----\nMII", "\"-----BEGIN RSA PRIVATE KEY-----...\"");
        f("-----BEGIN PRIVATE KEY----- MII", "\"-----BEGIN PRIVATE KEY-----...\"");
        f(&"x".repeat(100), "\"...\"");
    }

    #[test]
    fn values_of_secret_names_are_cut() {
        let f = |name, value, want| assert_eq!(named_value(name, value), want);
        f("AccountID", "foo {{.X}}", "\"foo {{.X}}\"");
        f("Authorization", "Bearer s3cret {{.X}} more", "\"...{{.X}}...\"");
        f("Cookie", "}}{{", "\"......\"");
    }
}
