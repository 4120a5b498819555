//! Checks of `{{…}}` placeholders in URLs and headers (docs/reference/auth.md).
//!
//! Placeholders are allowed for JWT users only, in paths, whole query values and whole values of request headers. Only
//! checks: substitution happens per request in the rewrite stage. Messages are literal; prefixes are the caller's.

use super::redact;
use crate::rewrite::jwt_placeholders::PLACEHOLDERS;
use vmkit::go_text::quote;

/// What to write instead of a placeholder that is none.
pub(super) fn hint(text: &str) -> &'static str {
    if text.contains("{{ ") || text.contains(" }}") { "write it without blanks: {{.MetricsTenant}}" } else { "" }
}

/// Checks the path and the query of a URL; one message a problem.
pub(super) fn check_url(url: &str, is_jwt: bool) -> Vec<String> {
    let mut messages = Vec::new();
    // Braces may be escaped.
    if !url.contains(['{', '%']) {
        return messages;
    }
    let (path, query) = path_and_query(url);
    let path = decode(path, false).unwrap_or_else(|| path.to_owned());
    if path.contains("{{") {
        let rest = PLACEHOLDERS.iter().fold(path.clone(), |path, placeholder| path.replace(placeholder, ""));
        if !is_jwt {
            messages.push(format!("placeholder: {} is only allowed at JWT token context", quote(&path)));
        } else if rest.contains("{{") {
            messages.push(format!(
                "invalid placeholder found in URL request path: {}, supported values are: {}",
                quote(&path),
                PLACEHOLDERS.join(", ")
            ));
        }
    }
    for piece in query.split('&').filter(|piece| !piece.contains(';')) {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        let (Some(name), Some(value)) = (decode(name, true), decode(value, true)) else { continue };
        if value.contains("{{") {
            let shown = redact::named_value(&name, &value);
            if !is_jwt {
                messages.push(format!(
                    "query param: {} with placeholder: {shown} is only allowed at JWT token context",
                    quote(&name)
                ));
            } else if !PLACEHOLDERS.contains(&value.as_str()) {
                messages.push(format!(
                    "query param: {} has unsupported placeholder string: {shown}, supported values are: {}",
                    quote(&name),
                    PLACEHOLDERS.join(", ")
                ));
            }
        }
    }
    messages
}

/// Checks a request header.
pub(super) fn check_request_header(name: &str, value: &str, is_jwt: bool) -> Option<String> {
    if !value.contains("{{") {
        return None;
    }
    let (name, shown) = (quote(name), redact::named_value(name, value));
    if !is_jwt {
        return Some(format!("request header: {name} placeholder: {shown} is only supported at JWT context"));
    }
    (!PLACEHOLDERS.contains(&value)).then(|| {
        let supported = PLACEHOLDERS.join(", ");
        format!("request header: {name} has unsupported placeholder: {shown}, supported values are: {supported}")
    })
}

/// Checks a response header.
pub(super) fn check_response_header(name: &str, value: &str) -> Option<String> {
    value.contains("{{").then(|| {
        format!(
            "response header placeholders are not supported; found placeholder prefix at header: {} with value: {}",
            quote(name),
            redact::named_value(name, value)
        )
    })
}

fn path_and_query(url: &str) -> (&str, &str) {
    let url = url.split('#').next().unwrap_or_default();
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let path = match before.split_once("//") {
        Some((_, rest)) => rest.find('/').map_or("", |slash| rest.get(slash..).unwrap_or_default()),
        None => before,
    };
    (path, query)
}

/// Percent-decoding; `None` for a bad escape. Bytes that are no UTF-8 are replaced, they cannot be part of a placeholder.
fn decode(text: &str, is_query: bool) -> Option<String> {
    let decoded = vmkit::percent::decode_strict(text.as_bytes(), is_query)?;
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_users_without_tokens() {
        let f = |url, want: &[&str]| assert_eq!(check_url(url, false), want, "{url}");
        f("http://a/b?c=d", &[]);
        f("http://a/{b}?c={d}", &[]);
        f(
            "http://a/{{.MetricsTenant}}",
            &["placeholder: \"/{{.MetricsTenant}}\" is only allowed at JWT token context"],
        );
        f(
            "http://a/?x=%7B%7B.MetricsTenant}}&y=1",
            &["query param: \"x\" with placeholder: \"{{.MetricsTenant}}\" is only allowed at JWT token context"],
        );
        f("http://a/?{{x}}=1&b;{{=c&d=%zz{{", &[]);
        f("http://a/#{{x}}", &[]);
    }

    #[test]
    fn urls_of_jwt_users() {
        let f = |url, want: Option<&str>| {
            let got = check_url(url, true);
            let got = got.first().map(|message| message.split(", supported").next().unwrap());
            assert_eq!(got, want, "{url}");
        };
        f("http://a/{{.MetricsTenant}}/x/{{.LogsExtraFilters}}?y={{.MetricsExtraLabels}}", None);
        f("http://a/?x=%7B%7B.MetricsTenant%7D%7D", None);
        f("http://a/{{.Foo}}", Some("invalid placeholder found in URL request path: \"/{{.Foo}}\""));
        f(
            "http://a/{{ .MetricsTenant }}",
            Some("invalid placeholder found in URL request path: \"/{{ .MetricsTenant }}\""),
        );
        f(
            "http://a/?x=a{{.MetricsTenant}}",
            Some("query param: \"x\" has unsupported placeholder string: \"a{{.MetricsTenant}}\""),
        );
    }

    #[test]
    fn headers() {
        assert_eq!(check_request_header("A", "{{.MetricsTenant}}", true), None);
        assert_eq!(
            check_request_header("A", "{{.MetricsTenant}}", false).unwrap(),
            "request header: \"A\" placeholder: \"{{.MetricsTenant}}\" is only supported at JWT context"
        );
        let message = check_request_header("A", "x{{.MetricsTenant}}", true).unwrap();
        assert!(
            message.starts_with("request header: \"A\" has unsupported placeholder: \"x{{.MetricsTenant}}\", supp")
        );
        assert!(message.ends_with("{{.LogsExtraFilters}}, {{.LogsExtraStreamFilters}}"));
        assert_eq!(
            check_response_header("A", "{{x").unwrap(),
            "response header placeholders are not supported; \
             found placeholder prefix at header: \"A\" with value: \"{{x\""
        );
    }
}
