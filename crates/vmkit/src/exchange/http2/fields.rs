//! Heads and trailers between the seam and the types of the `h2` crate, for both sides of the proxy.
//!
//! What comes in passes the same checks as an HTTP/1 head ([`RequestHead::build`], [`ResponseHead::build`]); crumbs of
//! `Cookie` become one field again (RFC 9113 §8.2.3) after each of them was counted. What goes out loses the fields that
//! belong to an HTTP/1 connection (§8.2.2). Nothing here knows a connection or a stream.

use std::io;

use bytes::Bytes;
use http::header::{self, AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};

use super::super::head_error::HeadError;
use super::super::head_lines::{HeaderId, HeaderLine};
use super::super::head_syntax::check_field;
use super::super::header_list::HeaderList;
use super::super::message::RequestLine;
use super::super::request_head::{MAX_HEADERS, RequestHead, RequestParts};
use super::super::response_head::{ResponseHead, ResponseParts};

/// Fields of a head as they came, with one `Cookie` at most.
#[derive(Debug)]
pub(in super::super) struct ReceivedFields<'m> {
    map: &'m HeaderMap,
    /// The crumbs of a cookie that came in several fields.
    cookie: Option<Vec<u8>>,
}

impl<'m> ReceivedFields<'m> {
    /// Counts the fields, crumbs included; too many are an error.
    pub(in super::super) fn new(map: &'m HeaderMap) -> Result<Self, HeadError> {
        if map.len() > MAX_HEADERS {
            return Err(HeadError::TooManyHeaders);
        }
        let mut crumbs = map.get_all(COOKIE).iter();
        let cookie = match (crumbs.next(), crumbs.next()) {
            (Some(first), Some(second)) => {
                let mut cookie = first.as_bytes().to_vec();
                for crumb in std::iter::once(second).chain(crumbs) {
                    cookie.extend_from_slice(b"; ");
                    cookie.extend_from_slice(crumb.as_bytes());
                }
                Some(cookie)
            }
            _ => None,
        };
        Ok(Self { map, cookie })
    }

    /// Names in lower case, and values.
    pub(in super::super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let is_crumb = |name: &HeaderName| self.cookie.is_some() && *name == COOKIE;
        let plain = self.map.iter().filter(move |(name, _)| !is_crumb(name));
        let joined = self.cookie.as_deref().map(|cookie| (COOKIE.as_str().as_bytes(), cookie));
        plain.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).chain(joined)
    }
}

/// Fills `head` with a request that `h2` has read; `parts.method`, `upgrade` and `has_body` are the codec's to decide.
///
/// `more` are fields that the codec adds.
pub(in super::super) fn read_request(
    head: &mut RequestHead,
    uri: &Uri,
    fields: &HeaderMap,
    parts: RequestParts<'_>,
    more: &[(&[u8], &[u8])],
) -> Result<(), HeadError> {
    let fields = ReceivedFields::new(fields)?;
    let parts = RequestParts {
        authority: uri.authority().map_or(&b""[..], |authority| authority.as_str().as_bytes()),
        target: uri.path_and_query().map_or(&b""[..], |target| target.as_str().as_bytes()),
        ..parts
    };
    head.build(&parts, fields.iter().chain(more.iter().copied()))
}

/// Fills `head` with a reply that `h2` has read; `parts.status` is taken from it. `more` are fields that the codec adds.
pub(in super::super) fn read_reply(
    head: &mut ResponseHead,
    status: StatusCode,
    fields: &HeaderMap,
    parts: ResponseParts,
    more: &[(&[u8], &[u8])],
) -> Result<(), HeadError> {
    let fields = ReceivedFields::new(fields)?;
    let all = fields.iter().map(trimmed).chain(more.iter().copied());
    head.build(ResponseParts { status: status.as_u16(), ..parts }, all)
}

/// Trailers that `h2` has read.
pub(in super::super) fn read_trailers(fields: &HeaderMap) -> Result<HeaderList, HeadError> {
    let fields = ReceivedFields::new(fields)?;
    let mut list = HeaderList::default();
    for (name, value) in fields.iter().map(trimmed) {
        check_field(name, value)?;
        list.push(name, value);
    }
    Ok(list)
}

/// Blanks around a value are no part of it. They must not be sent (RFC 9113 §8.2.1), but servers of gRPC put the text of
/// an error into a field as it is.
fn trimmed<'f>((name, value): (&'f [u8], &'f [u8])) -> (&'f [u8], &'f [u8]) {
    (name, value.trim_ascii())
}

/// Whether a field belongs to an HTTP/1 connection, or is said by a pseudo field.
fn belongs_to_http1(line: &HeaderLine<'_>) -> bool {
    match line.id {
        HeaderId::Connection
        | HeaderId::Host
        | HeaderId::Http2Settings
        | HeaderId::KeepAlive
        | HeaderId::ProxyConnection
        | HeaderId::TransferEncoding
        | HeaderId::Upgrade => true,
        HeaderId::Te => !line.value.eq_ignore_ascii_case(b"trailers"),
        _ => false,
    }
}

/// Fields on their way out. What HTTP/2 cannot carry is left out: fields of an HTTP/1 connection, control bytes.
pub(in super::super) fn write_fields(fields: &HeaderList) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for line in fields.iter().filter(|line| !belongs_to_http1(line)) {
        let (Some(name), Ok(mut value)) = (name_of(&line), HeaderValue::from_bytes(line.value)) else { continue };
        // Credentials must not get into a table that other requests of the connection are compressed with
        // (RFC 7541 §7.1.3): many users may share it.
        if name == AUTHORIZATION || name == PROXY_AUTHORIZATION || name == COOKIE {
            value.set_sensitive(true);
        }
        let _ = map.try_append(name, value);
    }
    map
}

/// The name as `h2` takes it. Known ones are not looked for among all those that the `http` crate knows.
fn name_of(line: &HeaderLine<'_>) -> Option<HeaderName> {
    Some(match line.id {
        HeaderId::AcceptEncoding => header::ACCEPT_ENCODING,
        HeaderId::Authorization => AUTHORIZATION,
        HeaderId::ContentEncoding => header::CONTENT_ENCODING,
        HeaderId::ContentLength => header::CONTENT_LENGTH,
        HeaderId::ContentType => header::CONTENT_TYPE,
        HeaderId::Date => header::DATE,
        HeaderId::ProxyAuthenticate => header::PROXY_AUTHENTICATE,
        HeaderId::ProxyAuthorization => PROXY_AUTHORIZATION,
        HeaderId::Referer => header::REFERER,
        HeaderId::UserAgent => header::USER_AGENT,
        HeaderId::WwwAuthenticate => header::WWW_AUTHENTICATE,
        _ => return HeaderName::from_bytes(line.name).ok(),
    })
}

/// The head of a reply on its way out.
pub(in super::super) fn write_reply(status: u16, fields: &HeaderList) -> io::Result<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
    *response.headers_mut() = write_fields(fields);
    Ok(response)
}

/// The head of a request on its way out, apart from `:protocol`.
pub(in super::super) fn write_request(
    line: &RequestLine<'_>,
    is_tls: bool,
    fields: &HeaderList,
) -> io::Result<Request<()>> {
    let scheme = if is_tls { Scheme::HTTPS } else { Scheme::HTTP };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(Authority::try_from(line.authority).map_err(io::Error::other)?)
        .path_and_query(PathAndQuery::from_maybe_shared(Bytes::copy_from_slice(line.target)).map_err(io::Error::other)?)
        .build()
        .map_err(io::Error::other)?;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(line.method.as_bytes()).map_err(io::Error::other)?;
    *request.uri_mut() = uri;
    *request.headers_mut() = write_fields(fields);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
        fields.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
    }

    fn shown<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields.map(|(name, value)| format!("{}={}|", text(name), text(value))).collect()
    }

    #[test]
    fn crumbs_are_counted_and_joined() {
        let f = |fields: &[(&'static str, &str)], want: &str| {
            let map = map(fields);
            assert_eq!(shown(ReceivedFields::new(&map).unwrap().iter()), want);
        };
        f(&[("x-a", "1"), ("cookie", "a=b"), ("x-b", "2")], "x-a=1|cookie=a=b|x-b=2|");
        f(&[("cookie", "a=b"), ("x-a", "1"), ("cookie", "c=d"), ("cookie", "e=f")], "x-a=1|cookie=a=b; c=d; e=f|");
        f(&[("x-a", "1"), ("x-a", "2")], "x-a=1|x-a=2|");
        let crumbs = vec![("cookie", ""); MAX_HEADERS + 1];
        assert_eq!(ReceivedFields::new(&map(&crumbs)).err(), Some(HeadError::TooManyHeaders));
    }

    #[test]
    fn requests_are_checked_like_those_of_http1() {
        let f = |uri: &str, fields: &[(&'static str, &str)], want: Result<&str, HeadError>| {
            let mut head = RequestHead::default();
            let parts = RequestParts { method: "GET", authority: b"", target: b"", has_body: false, upgrade: None };
            let read = read_request(&mut head, &uri.parse().unwrap(), &map(fields), parts, &[(b"x-more", b"m")]);
            let got = read.map(|()| {
                assert_eq!(head.values("x-more").next(), Some(&b"m"[..]));
                format!("{} {}", String::from_utf8_lossy(head.host()), String::from_utf8_lossy(head.target()))
            });
            assert_eq!(got.as_deref().map_err(|error| *error), want, "{uri}");
        };
        f("http://a:1/x?y", &[], Ok("a:1 /x?y"));
        f("http://a/x", &[("host", "A")], Ok("a /x"));
        f("/x", &[("host", "b")], Ok("b /x"));
        f("http://a/x", &[("host", "b")], Err(HeadError::BadHost));
        f("http://u@a/x", &[], Err(HeadError::BadHost));
        f("/x", &[], Err(HeadError::MissingHost));
        f("http://a/", &[("connection", "close")], Err(HeadError::ConnectionHeader));
        f("http://a/", &[("te", "gzip")], Err(HeadError::ConnectionHeader));
        f("http://a/", &[("content-length", "1")], Err(HeadError::BadContentLength));
    }

    #[test]
    fn fields_of_http1_connections_do_not_go_out() {
        let mut list = HeaderList::default();
        for (name, value) in [
            ("X-A", "1"),
            ("Connection", "x"),
            ("Upgrade", "h2c"),
            ("TE", "trailers"),
            ("Keep-Alive", "1"),
            ("x-a", "2"),
            ("X-Control", "\x01"),
            ("Host", "a"),
            ("Authorization", "s"),
        ] {
            list.push(name, value.as_bytes());
        }
        let map = write_fields(&list);
        let fields = map.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        assert_eq!(shown(fields), "x-a=1|x-a=2|te=trailers|authorization=s|");
        assert!(map.get(AUTHORIZATION).is_some_and(HeaderValue::is_sensitive));
    }

    #[test]
    fn requests_go_out() {
        let line = RequestLine {
            method: "REPORT",
            target: b"/a?b=%20",
            authority: b"h:1",
            upgrade: None,
            wants_trailers: false,
        };
        let request = write_request(&line, true, &HeaderList::default()).unwrap();
        assert_eq!((request.method().as_str(), request.uri().to_string()), ("REPORT", "https://h:1/a?b=%20".into()));
        assert!(write_request(&RequestLine { authority: b"a b", ..line }, true, &HeaderList::default()).is_err());
        assert_eq!(write_reply(207, &HeaderList::default()).unwrap().status().as_u16(), 207);
    }

    #[test]
    fn trailers() {
        assert_eq!(read_trailers(&map(&[("x-sum", " 1 ")])).unwrap().as_http1(), b"x-sum: 1\r\n");
        assert!(read_trailers(&map(&[("connection", "x")])).is_err());
    }
}
