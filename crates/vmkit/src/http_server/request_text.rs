//! How a request is named in log lines (docs/reference/metrics.md): where it came from and what it asked for.
//!
//! Secrets never get into a log: values of args that are called keys, tokens or passwords are replaced in the query and
//! in forms, and the credentials of an absolute-form target are left out.

use super::{Client, Request};
use crate::exchange::{HeaderId, RequestHead};
use crate::{go_text, redact};

impl Request<'_> {
    /// `remoteAddr: "…"; requestURI: …; message`
    pub fn log_text(&self, message: &str) -> String {
        log_text(self.exchange.head, self.client, None, message)
    }
}

/// The line of a failed request; `form` is what was read of a form body.
pub fn log_text(head: &RequestHead, client: &Client, form: Option<&[u8]>, message: &str) -> String {
    let mut line = b"remoteAddr: ".to_vec();
    push_remote_addr(&mut line, head, client);
    line.extend_from_slice(b"; requestURI: ");
    push_request_uri(&mut line, head, form);
    line.extend_from_slice(b"; ");
    line.extend_from_slice(message.as_bytes());
    String::from_utf8(line).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// A JSON string of the peer, with the first `X-Forwarded-For` line if there is one.
pub fn push_remote_addr(out: &mut Vec<u8>, head: &RequestHead, client: &Client) {
    match head.first(HeaderId::XForwardedFor) {
        None => go_text::push_json_string(out, client.addr_text().as_bytes()),
        Some(value) => {
            let mut text = client.addr_text().into_bytes();
            text.extend_from_slice(b", X-Forwarded-For: ");
            text.extend_from_slice(value);
            go_text::push_json_string(out, &text);
        }
    }
}

/// The request target with keys masked; the args of a form follow those of the query.
pub fn push_request_uri(out: &mut Vec<u8>, head: &RequestHead, form: Option<&[u8]>) {
    let target = head.target();
    let start = out.len();
    match head.userinfo() {
        [] => out.extend_from_slice(target),
        userinfo => match memchr::memmem::find(target, userinfo) {
            Some(at) => {
                out.extend_from_slice(&target[..at]);
                out.extend_from_slice(b"xxxxx");
                out.extend_from_slice(&target[at + userinfo.len()..]);
            }
            None => out.extend_from_slice(target),
        },
    }
    let had_query = head.query().is_some();
    if let Some(query) = head.query()
        && memchr::memmem::find(query, b"=").is_some()
    {
        out.truncate(out.len() - query.len());
        redact::push_args(out, query);
    }
    let form = form.unwrap_or_default();
    if !form.is_empty() {
        out.push(if had_query { b'&' } else { b'?' });
        redact::push_args(out, form);
    }
    for byte in &mut out[start..] {
        // A form may hold anything; a log line must stay one line.
        if byte.is_ascii_control() {
            *byte = b'.';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let f = |head: &str, form: Option<&str>, want: &str| {
            let mut parsed = RequestHead::default();
            parsed.parse(head.as_bytes()).unwrap();
            let client = Client::new("1.2.3.4:5".parse().unwrap());
            assert_eq!(log_text(&parsed, &client, form.map(str::as_bytes), "m"), want);
        };
        f("GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n", None, r#"remoteAddr: "1.2.3.4:5"; requestURI: /x?y; m"#);
        f(
            "GET /x?authKey=k&z HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: \"9\"\r\n\r\n",
            None,
            r#"remoteAddr: "1.2.3.4:5, X-Forwarded-For: \"9\""; requestURI: /x?authKey=secret&z; m"#,
        );
        f(
            "POST http://u:p@h/x?a HTTP/1.1\r\nHost: a\r\n\r\n",
            Some("auth%4bey=1&b=\n"),
            r#"remoteAddr: "1.2.3.4:5"; requestURI: http://xxxxx@h/x?a&auth%4bey=secret&b=.; m"#,
        );
    }
}
