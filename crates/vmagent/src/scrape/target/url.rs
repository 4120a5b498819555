//! The URL of a target out of its labels: scheme, address, path and args.

use std::fmt;

use vmkit::net::address::HostPort;
use vmkit::percent;
use vmkit::secret::Secret;

use crate::labels::LabelBuf;

/// Where a page is; carries no credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScrapeUrl {
    /// Whether the target speaks TLS.
    pub tls: bool,
    /// Host and port as written.
    pub authority: String,
    /// Path and query as they go on the wire.
    pub target: String,
}

/// Name and password of an address.
type UserInfo = Option<(String, Secret)>;

impl ScrapeUrl {
    /// Reads the special labels. `None`: there is no address.
    ///
    /// # Errors
    /// The scheme or the address makes no sense.
    pub(super) fn build(labels: &LabelBuf, params: &str) -> Result<Option<(Self, UserInfo)>, String> {
        let text = |name: &str| labels.get(name.as_bytes()).map(String::from_utf8_lossy).unwrap_or_default();
        let address = text("__address__");
        let scheme = text("__scheme__").to_lowercase();
        let (scheme, rest) = match address.split_once("://") {
            Some((scheme, rest)) => (scheme.to_lowercase(), rest),
            None if scheme.is_empty() => ("http".to_owned(), &*address),
            None => (scheme, &*address),
        };
        let tls = match scheme.as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(format!("unsupported scheme {scheme:?}; write http or https")),
        };
        let (authority, own_path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() {
            return Ok(None);
        }
        let (user_info, authority) = split_user_info(authority);
        HostPort::parse(authority).map_err(|error| format!("cannot parse address {authority:?}: {error}"))?;
        let path = text("__metrics_path__");
        let path = match (own_path, &*path) {
            ("", "") => "/metrics",
            ("", path) => path,
            (own, _) => own,
        };
        let slash = if path.starts_with('/') { "" } else { "/" };
        let joint = match params {
            "" => "",
            _ if path.contains('?') => "&",
            _ => "?",
        };
        let mut target = Vec::with_capacity(path.len() + params.len() + 2);
        target.extend_from_slice(slash.as_bytes());
        percent::push_escaped(&mut target, path.as_bytes(), &percent::CONFIG_QUERY);
        target.extend_from_slice(joint.as_bytes());
        target.extend_from_slice(params.as_bytes());
        let target = String::from_utf8_lossy(&target).into_owned();
        Ok(Some((Self { tls, authority: authority.to_owned(), target }, user_info)))
    }

    /// The address with its port, which is the default of the label `instance`.
    pub fn instance(&self) -> String {
        match HostPort::parse(&self.authority) {
            Ok(HostPort { port: None, .. }) => {
                format!("{}:{}", self.authority.trim_end_matches(':'), if self.tls { 443 } else { 80 })
            }
            _ => self.authority.clone(),
        }
    }
}

impl fmt::Display for ScrapeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.target)
    }
}

fn split_user_info(authority: &str) -> (UserInfo, &str) {
    let Some((user_info, authority)) = authority.rsplit_once('@') else { return (None, authority) };
    let (name, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let decoded = |text: &str| String::from_utf8_lossy(&percent::decode_path(text.as_bytes())).into_owned();
    (Some((decoded(name), Secret::from(decoded(password)))), authority)
}

/// The args of a target, encoded as a form: those of the job with their first value from the label.
pub(super) fn params(of_job: &[(String, Vec<String>)], labels: &LabelBuf) -> String {
    let mut params: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, value) in labels.iter() {
        let (Ok(name), Ok(value)) = (str::from_utf8(name), str::from_utf8(value)) else { continue };
        let Some(name) = name.strip_prefix("__param_").filter(|name| !name.is_empty()) else { continue };
        let more = of_job.iter().find(|(known, _)| known == name).map_or(&[][..], |(_, values)| values);
        params.push((name, std::iter::once(value).chain(more.iter().skip(1).map(String::as_str)).collect()));
    }
    params.sort_by_key(|(name, _)| *name);
    let mut out = Vec::new();
    for (name, values) in params {
        for value in values {
            if !out.is_empty() {
                out.push(b'&');
            }
            percent::push_form(&mut out, name.as_bytes());
            out.push(b'=');
            percent::push_form(&mut out, value.as_bytes());
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl ScrapeUrl {
    /// The URL that a `Location` header means, seen from this one (RFC 3986 §5.2). `None` for other schemes.
    pub fn join(&self, location: &str) -> Option<Self> {
        let location = location.trim();
        let location = location.split('#').next().unwrap_or_default();
        let escaped = |target: &str| {
            let mut out = Vec::with_capacity(target.len());
            percent::push_escaped(&mut out, target.as_bytes(), &percent::CONFIG_QUERY);
            String::from_utf8_lossy(&out).into_owned()
        };
        let absolute = |tls: bool, rest: &str| {
            let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let (_, authority) = split_user_info(authority);
            HostPort::parse(authority).ok()?;
            let slash = if target.starts_with('/') { "" } else { "/" };
            Some(Self { tls, authority: authority.to_owned(), target: escaped(&format!("{slash}{target}")) })
        };
        if let Some((scheme, rest)) = location.split_once("://") {
            return match scheme.to_ascii_lowercase().as_str() {
                "http" => absolute(false, rest),
                "https" => absolute(true, rest),
                _ => None,
            };
        }
        if let Some(rest) = location.strip_prefix("//") {
            return absolute(self.tls, rest);
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let target = match location.chars().next()? {
            '/' => location.to_owned(),
            '?' => format!("{path}{location}"),
            _ => format!(
                "{}{location}",
                path.rsplit_once('/').map_or("/", |(folder, _)| path.get(..=folder.len()).unwrap_or("/"))
            ),
        };
        Some(Self { target: escaped(&target), ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects() {
        let url = ScrapeUrl { tls: false, authority: "h:1".to_owned(), target: "/a/b?c=d".to_owned() };
        let f = |location: &str, want: Option<&str>| {
            assert_eq!(url.join(location).map(|url| url.to_string()).as_deref(), want, "{location}");
        };
        f("/new", Some("http://h:1/new"));
        f("new?x=y", Some("http://h:1/a/new?x=y"));
        f("?x", Some("http://h:1/a/b?x"));
        f("https://o/p#f", Some("https://o/p"));
        f("HTTP://u:p@o", Some("http://o/"));
        f("//o:2/x", Some("http://o:2/x"));
        f("ftp://o", None);
        f("", None);
    }
}
