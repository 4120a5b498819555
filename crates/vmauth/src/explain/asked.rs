//! The request that is asked about, built from words instead of bytes of a connection.
//!
//! It becomes HTTP/1 text and passes the parser that reads clients, so that what no client could send cannot be
//! explained either.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vmkit::exchange::RequestHead;
use vmkit::http_server::Client;
use vmkit::tls::client_identity::Subject;

use super::{Settings, address};

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
pub enum AskedError {
    /// The URL is of another kind.
    #[error("{0:?} is no URL of a request; write /path, or http://host/path")]
    Url(String),
    /// A header has no colon or a line break.
    #[error("{0:?} is no header; write 'Name: value'")]
    Header(String),
    /// The server would refuse to read it.
    #[error("vmauth refuses to read such a request, with status {status}: {text}")]
    Malformed {
        /// Status of the answer.
        status: u16,
        /// What is wrong.
        text: String,
    },
}

/// Words that describe a request.
#[derive(Clone, Debug)]
pub struct Words {
    /// Such as `GET`; empty = `GET`, or `POST` with a body.
    pub method: String,
    /// `/path?query` or `http://host/path?query`.
    pub url: String,
    /// `Name: value` each.
    pub headers: Vec<String>,
    /// `user:password` of Basic credentials.
    pub basic: Option<String>,
    /// A token behind `Bearer`.
    pub bearer: Option<String>,
    /// Body.
    pub body: Option<String>,
    /// Address of the client; that of the machine itself by default.
    pub client: Option<IpAddr>,
    /// Subject of its certificate.
    pub certificate: Option<Subject>,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            method: String::new(),
            url: "/".to_owned(),
            headers: Vec::new(),
            basic: None,
            bearer: None,
            body: None,
            client: None,
            certificate: None,
        }
    }
}

/// A request as the server would have read it.
#[derive(Debug)]
pub struct Asked {
    head: RequestHead,
    client: Client,
}

impl Asked {
    /// Reads the words.
    ///
    /// # Errors
    /// They are no request.
    pub fn new(words: &Words) -> Result<Self, AskedError> {
        let text = words.head_text()?;
        let mut head = RequestHead::default();
        match head.parse(text.as_bytes()) {
            Ok(Some(_)) => {}
            Ok(None) => return Err(AskedError::Url(words.url.clone())),
            Err(error) => return Err(AskedError::Malformed { status: error.status(), text: error.to_string() }),
        }
        let ip = words.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut client = Client::new(address(ip));
        client.subject.clone_from(&words.certificate);
        client.tls = words.certificate.is_some();
        Ok(Self { head, client })
    }

    /// Whether any credential of the request looks like a token.
    pub fn brings_token(&self, settings: &Settings) -> bool {
        let token = |value: &[u8]| std::str::from_utf8(value).ok().and_then(jwt::bearer_jwt).map(|_| ());
        settings.auth_headers.find(&self.head, token).is_some()
    }

    pub(super) fn head(&self) -> &RequestHead {
        &self.head
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

impl Words {
    fn head_text(&self) -> Result<String, AskedError> {
        let no_url = || AskedError::Url(self.url.clone());
        let (authority, target) = match self.url.split_once("://") {
            Some(("http" | "https", rest)) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                let (authority, target) = rest.split_at(end);
                let slash = if target.starts_with('/') { "" } else { "/" };
                (authority, format!("{slash}{target}"))
            }
            _ if self.url.starts_with('/') => ("", self.url.clone()),
            _ => return Err(no_url()),
        };
        let target = target.split('#').next().unwrap_or_default();
        if target.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(no_url());
        }
        let (userinfo, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let mut lines = Vec::new();
        let has = |name: &str| {
            let names = self.headers.iter().filter_map(|line| line.split_once(':'));
            names.into_iter().any(|(own, _)| own.trim().eq_ignore_ascii_case(name))
        };
        if !has("Host") {
            lines.push(format!("Host: {}", if host.is_empty() { "localhost" } else { host }));
        }
        for header in &self.headers {
            let pair = header.split_once(':').filter(|_| !header.contains(['\r', '\n']));
            let (name, value) = pair.ok_or_else(|| AskedError::Header(header.clone()))?;
            lines.push(format!("{}: {}", name.trim(), value.trim()));
        }
        let basic = self.basic.clone().or_else(|| (!userinfo.is_empty()).then(|| decoded(userinfo)));
        if let Some(pair) = basic {
            let pair = if pair.contains(':') { pair } else { pair + ":" };
            lines.push(format!("Authorization: Basic {}", STANDARD.encode(pair)));
        } else if let Some(token) = &self.bearer {
            lines.push(format!("Authorization: Bearer {token}"));
        }
        if let Some(body) = &self.body {
            lines.push(format!("Content-Length: {}", body.len()));
            if !has("Content-Type") {
                lines.push("Content-Type: application/x-www-form-urlencoded".to_owned());
            }
        }
        let method = match (self.method.as_str(), &self.body) {
            ("", None) => "GET",
            ("", Some(_)) => "POST",
            (method, _) => method,
        };
        Ok(format!("{method} {target} HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n")))
    }
}

fn decoded(userinfo: &str) -> String {
    let decoded = vmkit::percent::decode_strict(userinfo.as_bytes(), false);
    decoded.map_or_else(|| userinfo.to_owned(), |text| String::from_utf8_lossy(&text).into_owned())
}

/// Reads the subject of a certificate, `CN=bob,O=Acme,OU=finance`.
///
/// # Errors
/// A part is none of these.
pub fn subject(text: &str) -> Result<Subject, String> {
    let mut subject = Subject::default();
    for part in text.split(',') {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name.trim() {
            "CN" => subject.common_name = Some(value.to_owned()),
            "O" => subject.organizations.push(value.to_owned()),
            "OU" => subject.organizational_units.push(value.to_owned()),
            _ => return Err(format!("cert: {part:?} is none of CN=…, O=…, OU=…")),
        }
    }
    Ok(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(url: &str) -> Words {
        Words { url: url.to_owned(), ..Words::default() }
    }

    #[test]
    fn words_become_a_head() {
        let f = |words: &Words, want: &str| {
            assert_eq!(words.head_text().unwrap(), format!("{}\r\n\r\n", want.replace('|', "\r\n")));
            Asked::new(words).unwrap();
        };
        f(&words("/a?b=c#d"), "GET /a?b=c HTTP/1.1|Host: localhost");
        f(&words("https://h:1"), "GET / HTTP/1.1|Host: h:1");
        f(&words("http://u:p%40@h?x"), "GET /?x HTTP/1.1|Host: h|Authorization: Basic dTpwQA==");
        f(
            &Words { headers: vec!["host: x".into(), "A:b".into()], bearer: Some("t".into()), ..words("http://h/") },
            "GET / HTTP/1.1|host: x|A: b|Authorization: Bearer t",
        );
        f(
            &Words { body: Some("a=1".into()), ..words("/") },
            "POST / HTTP/1.1|Host: localhost|Content-Length: 3|Content-Type: application/x-www-form-urlencoded",
        );
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let f = |words: Words, want: &str| assert_eq!(Asked::new(&words).unwrap_err().to_string(), want);
        f(words("a/b"), "\"a/b\" is no URL of a request; write /path, or http://host/path");
        f(words("/a b"), "\"/a b\" is no URL of a request; write /path, or http://host/path");
        f(Words { headers: vec!["x".into()], ..words("/") }, "\"x\" is no header; write 'Name: value'");
        f(
            Words { headers: vec!["x: a\r\nb: c".into()], ..words("/") },
            "\"x: a\\r\\nb: c\" is no header; write 'Name: value'",
        );
        f(
            Words { headers: vec!["Transfer-Encoding: gzip".into()], ..words("/") },
            "vmauth refuses to read such a request, with status 501: Unsupported transfer encoding",
        );
    }
}
