//! The URL of a remote, taken apart once.
//!
//! Path and query go on the wire as they were written; a fragment never does, and user information becomes credentials.

use vmkit::net::address::HostPort;

/// A URL of `-remoteWrite.url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteUrl {
    pub(crate) is_https: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) has_port: bool,
    pub(crate) lookup: Lookup,
    /// Value of `Host`.
    pub(crate) authority: String,
    /// Path and query for the request line.
    pub(crate) target: String,
}

/// How a connection finds the remote, by the prefix of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// None: the addresses of the host, in their order.
    Addresses,
    /// `dns+`: any of its addresses.
    AnyAddress,
    /// `srv+`: any of its SRV records, whose port counts where the URL has none.
    Services,
}

/// Name and password of a URL.
pub(crate) type UserInfo = (String, String);

impl RemoteUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// What is wrong with it, without showing it.
    pub(crate) fn parse(text: &str) -> Result<(Self, Option<UserInfo>), String> {
        let (scheme, rest) = text.split_once("://").ok_or("missing scheme; want http:// or https://")?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            other => return Err(format!("unsupported scheme {other:?}; want http or https")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user_info, authority) = match authority.rsplit_once('@') {
            Some((user_info, authority)) => {
                let (name, password) = user_info.split_once(':').unwrap_or((user_info, ""));
                (Some((unescape(name)?, unescape(password)?)), authority)
            }
            None => (None, authority),
        };
        let (lookup, authority) = match (authority.strip_prefix("srv+"), authority.strip_prefix("dns+")) {
            (Some(rest), _) => (Lookup::Services, rest),
            (None, Some(rest)) => (Lookup::AnyAddress, rest),
            (None, None) => (Lookup::Addresses, authority),
        };
        let parsed = HostPort::parse(authority).map_err(|_| "bad host or port".to_owned())?;
        if parsed.host.is_empty() {
            return Err("missing host".to_owned());
        }
        let port = parsed.port_or_default(if is_https { "https" } else { "http" });
        let slash = if tail.starts_with('/') { "" } else { "/" };
        let url = Self {
            is_https,
            has_port: parsed.port.is_some(),
            host: parsed.host,
            port,
            lookup,
            authority: authority.to_owned(),
            target: escape_forbidden(&format!("{slash}{tail}")),
        };
        // A broken escape would be refused by every server.
        unescape(tail.split('?').next().unwrap_or_default())?;
        Ok((url, user_info))
    }
}

/// Blanks and bytes beyond ASCII are common in hand-written URLs.
fn escape_forbidden(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn unescape(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err("invalid URL escape".to_owned()) };
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).map_err(|_| "an escape that is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let f = |text: &str, host: &str, port: u16, target: &str, user: Option<(&str, &str)>| {
            let (url, user_info) = RemoteUrl::parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port, url.target.as_str()), (host, port, target), "{text}");
            assert_eq!(user_info, user.map(|(name, password)| (name.to_owned(), password.to_owned())), "{text}");
        };
        f("http://h:1/a%2Fb/c//d?x=y&e=a%3Db,c&&z#frag", "h", 1, "/a%2Fb/c//d?x=y&e=a%3Db,c&&z", None);
        f("HTTPS://h", "h", 443, "/", None);
        f("http://h?db=x", "h", 80, "/?db=x", None);
        f("http://us%40er:p%3Aw%2Fd@h:2/w", "h", 2, "/w", Some(("us@er", "p:w/d")));
        f("http://h/ä b", "h", 80, "/%C3%A4%20b", None);
    }

    #[test]
    fn prefixes_of_hosts() {
        let f = |text: &str, lookup: Lookup, host: &str, has_port: bool| {
            let url = RemoteUrl::parse(text).unwrap().0;
            assert_eq!((url.lookup, url.host.as_str(), url.has_port), (lookup, host, has_port), "{text}");
            assert!(!url.authority.contains('+'), "{text}");
        };
        f("http://h/w", Lookup::Addresses, "h", false);
        f("http://u:p@srv+insert.svc/w", Lookup::Services, "insert.svc", false);
        f("https://srv+insert.svc:8480/w", Lookup::Services, "insert.svc", true);
        f("http://dns+insert.svc:8480/w", Lookup::AnyAddress, "insert.svc", true);
    }

    #[test]
    fn refused() {
        for text in ["h/w", "ftp://h/", "http://", "http:///w", "http://h:x/", "http://h/%zz", "http://srv+/"] {
            assert!(RemoteUrl::parse(text).is_err(), "{text}");
        }
    }
}
