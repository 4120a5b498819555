//! The URL of a backend and the request target it makes of a request (docs/reference/routing.md).
//!
//! Everything that depends on the config alone is worked out when the config is loaded, so that a request only
//! appends bytes. Arguments of the config come first and cannot be overridden; the client's own ones follow in their
//! order and with their bytes. What goes on the wire never holds a blank, a control byte or a byte above 0x7E.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use vmkit::exchange::RequestHead;
use vmkit::net::unix;
use vmkit::redact;

use super::client_url;
use super::form_body::ProtectedArgs;
use super::jwt_placeholders::{PathTemplate, Placeholder, QueryTemplate};
use super::percent;
use jwt::VmAccess;

pub use super::go_url::TargetUrlError;
pub use super::normal_path::NormalPath;

/// Argument in which `default_url` gets the URL of the client.
const REQUEST_PATH: &[u8] = b"request_path";

/// A URL of `url_prefix` or `default_url`. Cloning is cheap.
#[derive(Clone)]
pub struct TargetUrl {
    /// Authority as written, without userinfo; `localhost` for a unix socket.
    host: Arc<str>,
    shape: Arc<Shape>,
}

/// What stands before the path of a socket, whose slashes are escaped: `http+unix://%2Frun%2Fapp.sock/path`.
const UNIX: &str = "http+unix://";

/// Everything but the host, which discovery replaces. What most URLs lack is boxed: ten thousand users may have one each.
struct Shape {
    scheme: Box<str>,
    socket: Option<Box<Socket>>,
    /// As written.
    path_text: Box<str>,
    /// Encoded path, and its length without one trailing slash.
    path: Box<[u8]>,
    trimmed: usize,
    path_template: Option<Box<PathTemplate>>,
    query: Option<Box<QueryShape>>,
}

/// Where a backend listens that has no address.
#[derive(PartialEq, Eq)]
struct Socket {
    path: String,
    written: String,
}

/// A query of the config.
struct QueryShape {
    /// As written.
    text: Box<str>,
    /// All arguments encoded, placeholders as text.
    whole: Box<[u8]>,
    /// Encoded query of the arguments that are no placeholders, and those that are.
    literal: Query,
    templates: Vec<QueryTemplate>,
    /// The same without an argument `request_path`.
    default_literal: Query,
    default_templates: Vec<QueryTemplate>,
    protected: ProtectedArgs,
}

/// An encoded query; `None` if it has no argument.
type Query = Option<Box<[u8]>>;

/// What a request brings to its target.
#[derive(Clone, Copy, Debug)]
pub struct TargetInput<'a> {
    /// Path of the request.
    pub path: &'a NormalPath<'a>,
    /// Raw query of the request, without the `?`.
    pub query: Option<&'a [u8]>,
    /// `drop_src_path_prefix_parts`.
    pub drop_parts: usize,
    /// `merge_query_args`: exact names that the client may add to.
    pub merge_args: &'a [String],
    /// Values of the token. Without them placeholders stay text.
    pub placeholders: Option<&'a VmAccess>,
}

impl TargetUrl {
    /// Parses a URL; errors have the wording of Go's `net/url`. Scheme and host are not judged.
    pub fn parse(text: &str) -> Result<Self, TargetUrlError> {
        let Some(rest) = text.strip_prefix(UNIX) else { return Self::build(text, None) };
        let (written, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let path = percent::decode_path(written.as_bytes());
        match str::from_utf8(&path) {
            Ok(path) if path.len() > unix::MAX_PATH => {
                let reason = format!("the path of a socket has {} bytes; {} are allowed", path.len(), unix::MAX_PATH);
                Err(TargetUrlError::new(text, reason))
            }
            Ok(path) if path.starts_with('/') && !path.contains('\0') => {
                let socket = Socket { path: path.to_owned(), written: written.to_owned() };
                Self::build(&format!("http://localhost{tail}"), Some(Box::new(socket)))
            }
            _ => Err(TargetUrlError::new(
                text,
                "the path of a socket must be absolute, with %2F for its slashes".to_owned(),
            )),
        }
    }

    fn build(text: &str, socket: Option<Box<Socket>>) -> Result<Self, TargetUrlError> {
        let url = super::go_url::parse(text)?;
        let mut path = Vec::new();
        percent::push_escaped(&mut path, url.path.as_bytes(), &percent::SHOWN_PATH);
        let shape = Shape {
            path_template: PathTemplate::new(url.path).map(Box::new),
            path_text: url.path.into(),
            trimmed: path.strip_suffix(b"/").unwrap_or(&path).len(),
            path: path.into(),
            scheme: if socket.is_some() { "http+unix".into() } else { url.scheme.into() },
            socket,
            query: url.query.map(|query| Box::new(QueryShape::new(query))),
        };
        Ok(Self { host: url.host.into(), shape: Arc::new(shape) })
    }

    /// Scheme in lower case; empty if the URL has none.
    pub fn scheme(&self) -> &str {
        &self.shape.scheme
    }

    /// Path of the unix socket at which the backend listens, if it does.
    pub fn socket(&self) -> Option<&str> {
        self.shape.socket.as_ref().map(|socket| socket.path.as_str())
    }

    /// The authority as users wrote it.
    pub fn shown_host(&self) -> &str {
        self.shape.socket.as_ref().map_or(&self.host, |socket| &socket.written)
    }

    /// Whether the backend is spoken to over TLS: `https` and `h2`.
    pub fn is_https(&self) -> bool {
        matches!(&*self.shape.scheme, "https" | "h2")
    }

    /// Whether the backend is spoken to in HTTP/2 without asking it: `h2c` and `h2`.
    pub fn is_http2(&self) -> bool {
        matches!(&*self.shape.scheme, "h2c" | "h2")
    }

    /// Authority as written, with the port if there is one: the default `Host` header.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Host without port and brackets.
    pub fn hostname(&self) -> &str {
        let name = self.split_port().0;
        name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name)
    }

    /// The port that is written in the URL. It may be too large to be dialled.
    pub fn explicit_port(&self) -> Option<&str> {
        self.split_port().1.filter(|port| !port.is_empty())
    }

    /// The port to dial: the written one, else that of the scheme. `None` if it is beyond 65535.
    pub fn port(&self) -> Option<u16> {
        match self.explicit_port() {
            Some(port) => port.parse().ok(),
            None if self.is_https() => Some(443),
            None => Some(80),
        }
    }

    fn split_port(&self) -> (&str, Option<&str>) {
        match self.host.rsplit_once(':') {
            Some((name, port))
                if port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
            {
                (name, Some(port))
            }
            _ => (&self.host, None),
        }
    }

    /// Whether the host is `srv+name`, found by SRV records (docs/reference/balancing.md).
    pub fn is_srv(&self) -> bool {
        self.host.starts_with("srv+")
    }

    /// Whether a token's values are inserted anywhere.
    pub fn has_placeholders(&self) -> bool {
        let query = self.shape.query.as_ref();
        self.shape.path_template.is_some() || query.is_some_and(|query| !query.templates.is_empty())
    }

    /// The same URL at another `host:port`, as found by discovery.
    pub fn with_host(&self, host_port: &str) -> Self {
        Self { host: host_port.into(), shape: Arc::clone(&self.shape) }
    }

    /// The path as written but decoded, for checks of placeholders.
    pub fn decoded_path(&self) -> String {
        String::from_utf8_lossy(&percent::decode_path(self.shape.path_text.as_bytes())).into_owned()
    }

    /// Decoded arguments of the query as written, for checks of placeholders. Invalid ones are left out.
    pub fn decoded_query_args(&self) -> Vec<(String, String)> {
        let text = self.shape.query.as_ref().map_or("", |query| &query.text);
        let pieces = text.split('&').filter(|piece| !piece.is_empty() && !piece.contains(';'));
        let decode = |part| Some(String::from_utf8_lossy(&percent::decode_arg(part)?).into_owned());
        pieces
            .filter_map(|piece| {
                let (name, value) = percent::split_arg(piece.as_bytes());
                Some((decode(name)?, decode(value)?))
            })
            .collect()
    }

    /// Arguments that a form body must not hold either, `merge_args` excepted.
    pub fn protected_args(&self, merge_args: &[String]) -> ProtectedArgs {
        let none = ProtectedArgs::default();
        self.shape.query.as_ref().map_or(&none, |query| &query.protected).with_merged(merge_args)
    }

    /// Appends path and query for the request line.
    pub fn write_request_target(&self, out: &mut Vec<u8>, input: &TargetInput<'_>) {
        let offset = input.path.offset_without(input.drop_parts);
        let is_root = offset >= input.path.decoded().len();
        self.write_path(out, input.placeholders, !is_root);
        if !is_root {
            input.path.push_from(out, offset, &percent::CLIENT_PATH);
        }
        let query_at = out.len();
        match (&self.shape.query, input.placeholders) {
            (None, _) => {}
            (Some(query), Some(values)) => {
                write_config_query(out, query.literal.as_deref(), &query.templates, Some(values));
            }
            (Some(query), None) => write_config_query(out, Some(&query.whole), &[], None),
        }
        if let Some(query) = input.query {
            self.write_client_query(out, query_at, query, input.merge_args);
        }
    }

    /// Appends path and query of a `default_url`, with the client's URL in the argument `request_path`.
    pub fn write_default_url_target(
        &self,
        out: &mut Vec<u8>,
        head: &RequestHead,
        path: &NormalPath<'_>,
        placeholders: Option<&VmAccess>,
    ) {
        self.write_path(out, placeholders, false);
        let query_at = out.len();
        if let Some(query) = &self.shape.query {
            write_config_query(out, query.default_literal.as_deref(), &query.default_templates, placeholders);
        }
        separate(out, query_at);
        out.extend_from_slice(REQUEST_PATH);
        out.push(b'=');
        let mut url = Vec::new();
        client_url::push(&mut url, head, path);
        percent::push_form(out, &url);
    }

    /// The URL for log lines, given the target that was written for the request; secret args are masked.
    pub fn display(&self, target: &[u8]) -> String {
        let target = redact::url_args(target);
        let target = String::from_utf8_lossy(&target);
        // A URL without a path is shown without one, although the request line needs a slash.
        let shown = match target.strip_prefix('/') {
            Some(rest) if self.shape.path.is_empty() && (rest.is_empty() || rest.starts_with('?')) => rest,
            _ => &target,
        };
        format!("{}://{}{shown}", self.shape.scheme, self.shown_host())
    }

    /// The whole URL as it is asked for, secrets included, given the target that was written for the request.
    pub fn on_wire(&self, target: &[u8]) -> String {
        format!("{}://{}{}", self.shape.scheme, self.shown_host(), String::from_utf8_lossy(target))
    }

    fn write_path(&self, out: &mut Vec<u8>, placeholders: Option<&VmAccess>, path_follows: bool) {
        let shape = &*self.shape;
        match (&shape.path_template, placeholders) {
            (Some(template), Some(values)) => template.push(out, values, path_follows),
            _ if path_follows => out.extend_from_slice(shape.path.get(..shape.trimmed).unwrap_or_default()),
            _ if shape.path.is_empty() => out.push(b'/'),
            _ => out.extend_from_slice(&shape.path),
        }
    }

    fn write_client_query(&self, out: &mut Vec<u8>, query_at: usize, query: &[u8], merge_args: &[String]) {
        let protected = self.shape.query.as_ref().map(|query| &query.protected);
        let is_merged = |name: &[u8]| merge_args.iter().any(|merged| merged.as_bytes() == name);
        for piece in query.split(|b| *b == b'&') {
            if piece.is_empty() || !percent::is_valid(piece) {
                continue;
            }
            let clashes = |protected: &ProtectedArgs| {
                !protected.is_empty() && protected.clashes(percent::split_arg(piece).0, is_merged)
            };
            if protected.is_some_and(clashes) {
                continue;
            }
            separate(out, query_at);
            percent::push_escaped(out, piece, &percent::CLIENT_QUERY);
        }
    }
}

/// Starts an argument: with `?` if the query is to begin, else with `&`.
fn separate(out: &mut Vec<u8>, query_at: usize) {
    match out.len() - query_at {
        0 => out.push(b'?'),
        1 => {}
        _ => out.push(b'&'),
    }
}

/// Appends the query of the config with its `?`; a bare `?` is kept.
fn write_config_query(
    out: &mut Vec<u8>,
    literal: Option<&[u8]>,
    templates: &[QueryTemplate],
    placeholders: Option<&VmAccess>,
) {
    let query_at = out.len();
    if let Some(literal) = literal
        && (!literal.is_empty() || templates.is_empty())
    {
        out.push(b'?');
        out.extend_from_slice(literal);
    }
    for template in templates {
        match placeholders {
            Some(values) => template.push(out, values, |out| separate(out, query_at)),
            None => template.push_text(out, |out| separate(out, query_at)),
        }
    }
}

impl QueryShape {
    fn new(text: &str) -> Self {
        let (mut literal, mut templates) = (Vec::new(), Vec::new());
        let mut protected = ProtectedArgs::default();
        let encode = |text: &[u8]| {
            let mut out = Vec::new();
            percent::push_escaped(&mut out, text, &percent::CONFIG_QUERY);
            out
        };
        for piece in text.as_bytes().split(|b| *b == b'&') {
            // Some backends take `;` for a separator: what they would read behind it is protected as well.
            for part in piece.split(|b| *b == b';').filter(|part| !part.is_empty()) {
                protected.add(&percent::decode_arg_leniently(percent::split_arg(part).0));
            }
            let (name, value) = percent::split_arg(piece);
            let decoded = percent::decode_arg(value).unwrap_or_default();
            match str::from_utf8(&decoded).ok().and_then(Placeholder::of) {
                Some(placeholder) => templates.push(QueryTemplate { name: encode(name).into(), placeholder }),
                None => literal.push(encode(piece)),
            }
        }
        let literal: Query = if literal.is_empty() { None } else { Some(literal.join(&b'&').into()) };
        let is_request_path = |name: &[u8]| *percent::decode_arg_leniently(name) == *REQUEST_PATH;
        let default_literal = literal.as_ref().map(|query| {
            let pieces = query.split(|b| *b == b'&').filter(|piece| !is_request_path(percent::split_arg(piece).0));
            pieces.collect::<Vec<_>>().join(&b'&').into()
        });
        Self {
            text: text.into(),
            whole: encode(text.as_bytes()).into(),
            default_templates: templates.iter().filter(|arg| !is_request_path(&arg.name)).cloned().collect(),
            literal,
            templates,
            default_literal,
            protected,
        }
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = &*self.shape;
        if !shape.scheme.is_empty() {
            write!(f, "{}:", shape.scheme)?;
        }
        if !shape.scheme.is_empty() || !self.host.is_empty() {
            write!(f, "//{}", self.shown_host())?;
        }
        f.write_str(&shape.path_text)?;
        match &shape.query {
            Some(query) => write!(f, "?{}", query.text),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetUrl({self})")
    }
}

impl PartialEq for TargetUrl {
    /// Same scheme, host, path and query; userinfo and fragment do not count.
    fn eq(&self, other: &Self) -> bool {
        self.host == other.host
            && self.shape.socket == other.shape.socket
            && self.shape.scheme == other.shape.scheme
            && self.shape.path_text == other.shape.path_text
            && self.shape.query.as_ref().map(|query| &query.text) == other.shape.query.as_ref().map(|query| &query.text)
    }
}

impl Eq for TargetUrl {}
