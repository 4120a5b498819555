//! One bounded request and its reply, whole or piece by piece.
//!
//! A [`Client`] is one TLS identity, and perhaps a proxy, with its pooled connections; it re-reads its CA and
//! certificate files when they are older than a second. Credentials go to the host that they were meant for and no
//! further: a redirect to another origin is followed without them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connector::{Connector, Used};
use super::counted::ConnectionCounts;
use super::error::{FetchCause, FetchError, transport};
use super::proxy_route::{ProxyOptions, ProxyRoute};
use super::redirect;
use super::reply_body::ReplyBody;
use super::request::{FetchRequest, RedirectScope};
use super::target::{Target, UserInfo};
use super::tls_files::{FetchUrl, TlsFiles};
use crate::tls::client_config::{ClientTlsOptions, LoadedClientTls};

/// Idle connections are few here and not worth keeping for long.
const IDLE: Duration = Duration::from_secs(30);
/// Idle connections a host.
const MAX_IDLE: usize = 4;

/// What connections are opened with.
#[derive(Clone, Default)]
pub struct ClientOptions {
    /// Authorities, own certificate, name of the server.
    pub tls: ClientTlsOptions,
    /// A proxy for all requests.
    pub proxy: Option<ProxyOptions>,
    /// Where connections are counted.
    pub counts: Option<Arc<ConnectionCounts>>,
}

/// A whole reply of any status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchReply {
    /// As received.
    pub status: StatusCode,
    /// Names in lower case, in the order of arrival; values that are not UTF-8 are left out.
    pub headers: Vec<(String, String)>,
    /// At most `max_body` bytes, decoded.
    pub body: Vec<u8>,
}

/// A reply whose body is read as it arrives. Dropping it early closes the connection.
pub struct StreamedReply {
    /// As received.
    pub status: StatusCode,
    /// Names in lower case, in the order of arrival; values that are not UTF-8 are left out.
    pub headers: Vec<(String, String)>,
    body: ReplyBody,
    until: tokio::time::Instant,
    /// For errors.
    method: Method,
    url: String,
    timeout: Duration,
}

/// Pooled connections under one TLS identity. Cheap to share behind an `Arc`.
pub struct Client {
    tls: TlsFiles,
    /// The error says why the proxy cannot be used.
    proxy: Result<Option<Arc<ProxyRoute>>, String>,
    connector: Connector,
    /// Connections in the clear need no TLS files.
    plain: legacy::Client<Connector, Full<Bytes>>,
    secure: Mutex<Option<Secure>>,
}

/// Connections of one generation of the TLS files.
struct Secure {
    generation: u64,
    client: SecureClient,
}

type SecureClient = legacy::Client<HttpsConnector<Connector>, Full<Bytes>>;

/// Credentials of the original request that another origin must not see.
const CREDENTIAL_HEADERS: [HeaderName; 2] = [AUTHORIZATION, COOKIE];

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("tls", self.tls.options()).finish_non_exhaustive()
    }
}

impl fmt::Debug for StreamedReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedReply").field("status", &self.status).finish_non_exhaustive()
    }
}

impl FetchReply {
    /// The first header of that name, in any letter case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

impl StreamedReply {
    /// The first header of that name, in any letter case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The next piece of the decoded body, never empty; `None` at the end. The limits are those of the request.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, FetchError> {
        let cause = match tokio::time::timeout_at(self.until, self.body.next()).await {
            Ok(Ok(piece)) => return Ok(piece),
            Ok(Err(cause)) => cause,
            Err(_) => FetchCause::Timeout(self.timeout),
        };
        Err(FetchError::new(&self.method, &self.url, cause))
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

impl Client {
    /// Direct connections. Nothing is read or opened before the first fetch.
    pub fn new(tls: ClientTlsOptions) -> Self {
        Self::with_options(ClientOptions { tls, ..ClientOptions::default() })
    }

    /// Nothing is read or opened before the first fetch. A proxy URL that cannot be used fails each fetch.
    pub fn with_options(options: ClientOptions) -> Self {
        let ClientOptions { tls, proxy, counts } = options;
        let route = |options: ProxyOptions| {
            let urls = urls_of(&options.tls);
            ProxyRoute::new(options, urls).map(Arc::new)
        };
        let proxy = proxy.map(route).transpose();
        let connector = Connector::new(proxy.clone().ok().flatten(), counts);
        let plain = builder().build(connector.clone());
        Self { tls: TlsFiles::of(tls), proxy, connector, plain, secure: Mutex::default() }
    }

    /// Sends the request, follows redirects and reads the whole reply. Any status is a reply, not an error.
    pub async fn fetch(&self, request: FetchRequest) -> Result<FetchReply, FetchError> {
        let mut reply = self.stream(request).await?;
        let mut body = Vec::new();
        while let Some(piece) = reply.next_piece().await? {
            body.extend_from_slice(&piece);
        }
        Ok(FetchReply { status: reply.status, headers: reply.headers, body })
    }

    /// Sends the request and follows redirects; the body of the reply is read piece by piece.
    pub async fn stream(&self, request: FetchRequest) -> Result<StreamedReply, FetchError> {
        let until = tokio::time::Instant::now() + request.timeout;
        let cause = match tokio::time::timeout_at(until, self.follow(&request)).await {
            Ok(Ok((status, headers, body))) => {
                let headers = shown(&headers);
                let FetchRequest { method, url, timeout, .. } = request;
                return Ok(StreamedReply { status, headers, body, until, method, url, timeout });
            }
            Ok(Err(cause)) => cause,
            Err(_) => FetchCause::Timeout(request.timeout),
        };
        Err(FetchError::new(&request.method, &request.url, cause))
    }

    /// For [`ClientTls::refresh`](crate::tls::client_config::ClientTls::refresh): the content of a file that is a URL. Any status other than 200 is an error.
    pub async fn fetch_file(&self, url: String) -> Result<Vec<u8>, String> {
        let request = FetchRequest { timeout: Duration::from_secs(10), ..FetchRequest::get(url) };
        let reply = self.fetch(request).await.map_err(|err| err.to_string())?;
        if reply.status == StatusCode::OK {
            Ok(reply.body)
        } else {
            Err(format!("unexpected status code: {}", reply.status.as_u16()))
        }
    }

    async fn follow(&self, request: &FetchRequest) -> Result<(StatusCode, HeaderMap, ReplyBody), FetchCause> {
        let (mut url, mut user_info) = Target::parse(&request.url).map_err(FetchCause::InvalidUrl)?;
        let mut headers = parse_headers(&request.headers)?;
        let mut basic_auth = request.basic_auth.clone();
        let mut redirects = 0;
        loop {
            let mut sent = headers.clone();
            if let Some(pair) = basic_auth.as_ref().or(user_info.as_ref()) {
                sent.insert(AUTHORIZATION, basic(pair)?);
            }
            let (status, received, body) = self.exchange(request, &url, sent).await?;
            let location = received.get(LOCATION).and_then(|value| value.to_str().ok());
            let (next, next_user_info) = match redirect::target(&request.method, status, location, &url) {
                Some(target) if request.max_redirects > 0 => target.map_err(FetchCause::InvalidUrl)?,
                _ => return Ok((status, received, body)),
            };
            redirects += 1;
            if redirects > request.max_redirects {
                return Err(FetchCause::TooManyRedirects(request.max_redirects));
            }
            if request.redirect_scope == RedirectScope::SameHost && !url.stays_with(&next) {
                return Err(FetchCause::RedirectRefused);
            }
            if next.same_origin(&url) {
                user_info = next_user_info.or(user_info);
            } else {
                CREDENTIAL_HEADERS.iter().for_each(|name| drop(headers.remove(name)));
                basic_auth = None;
                user_info = next_user_info;
            }
            url = next;
        }
    }

    async fn exchange(
        &self,
        request: &FetchRequest,
        url: &Target,
        mut headers: HeaderMap,
    ) -> Result<(StatusCode, HeaderMap, ReplyBody), FetchCause> {
        let proxy = self.proxy.as_ref().map_err(|cause| FetchCause::Transport(format!("proxy URL: {cause}")))?;
        if let Some(proxy) = proxy {
            proxy.set_headers(&request.proxy_headers);
            if proxy.takes_requests(url.is_https()) {
                headers.extend(parse_headers(&proxy.headers())?);
            }
        }
        let (head, body) = self.send(request, url, headers).await?.into_parts();
        let mut headers = head.headers;
        let body = ReplyBody::new(body, &mut headers, request.max_body);
        // A HEAD reply announces a length that never comes.
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let is_too_large = announced.is_some_and(|len| usize::try_from(len).is_ok_and(|len| len > request.max_body));
        if request.method != Method::HEAD && body.is_plain() && is_too_large {
            return Err(FetchCause::BodyTooLarge(request.max_body));
        }
        Ok((head.status, headers, body))
    }

    /// Sends until there is a reply: a server may close a kept connection at any time (RFC 9112 §9.3.1), which says
    /// nothing against the request.
    async fn send(
        &self,
        request: &FetchRequest,
        url: &Target,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, FetchCause> {
        // Each failed connection leaves the pool; behind the last kept one comes a new one.
        for _ in 0..=MAX_IDLE {
            let mut message = Request::new(Full::new(request.body.clone()));
            *message.method_mut() = request.method.clone();
            *message.uri_mut() = url.to_uri().map_err(FetchCause::InvalidUrl)?;
            *message.headers_mut() = headers.clone();
            let sent = if url.is_https() {
                self.secure_client().await?.request(message).await
            } else {
                self.plain.request(message).await
            };
            match sent {
                Ok(reply) => {
                    if let Some(used) = reply.extensions().get::<Used>() {
                        used.mark();
                    }
                    return Ok(reply);
                }
                Err(error) if request.is_repeatable() && was_kept(&error) => {}
                Err(error) => return Err(transport(&error)),
            }
        }
        Err(FetchCause::Transport("the server keeps closing its connections".to_owned()))
    }

    /// The client of the TLS files as they are now.
    async fn secure_client(&self) -> Result<SecureClient, FetchCause> {
        if let Some(client) = self.fresh_client() {
            return Ok(client);
        }
        let loaded = self.tls.current().await.map_err(FetchCause::Tls)?;
        Ok(self.client_of(&loaded))
    }

    fn fresh_client(&self) -> Option<SecureClient> {
        let secure = self.secure.lock().unwrap_or_else(PoisonError::into_inner);
        secure.as_ref().filter(|_| self.tls.is_fresh()).map(|secure| secure.client.clone())
    }

    fn client_of(&self, loaded: &LoadedClientTls) -> SecureClient {
        let mut slot = self.secure.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = slot.take().filter(|secure| secure.generation == loaded.generation).map(|secure| secure.client);
        let client = kept.unwrap_or_else(|| {
            let options = self.tls.options().clone();
            let name = move |uri: &Uri| options.server_name_for(uri.host().unwrap_or_default());
            let connector = self.connector.clone();
            builder().build(HttpsConnector::new(connector, Arc::clone(&loaded.config), true, Arc::new(name)))
        });
        *slot = Some(Secure { generation: loaded.generation, client: client.clone() });
        client
    }
}

impl TlsFiles {
    /// Nothing is read before the first use.
    pub fn of(options: ClientTlsOptions) -> Self {
        let urls = urls_of(&options);
        Self::new(options, urls)
    }
}

/// A client of its own for files of an identity that are URLs.
fn urls_of(tls: &ClientTlsOptions) -> Option<FetchUrl> {
    let client = tls.has_urls().then(|| Arc::new(Client::new(ClientTlsOptions::default())))?;
    Some(Arc::new(move |url| {
        let client = Arc::clone(&client);
        Box::pin(async move { client.fetch_file(url).await })
    }))
}

/// Whether the request failed on a connection that had served others before, and not by the reply to it.
fn was_kept(error: &legacy::Error) -> bool {
    let mut extensions = http::Extensions::new();
    if let Some(connected) = error.connect_info() {
        connected.get_extras(&mut extensions);
    }
    extensions.get::<Used>().is_some_and(Used::get) && has_no_reply(error)
}

fn has_no_reply(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, UnexpectedEof};
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && (error.is_incomplete_message() || error.is_canceled() || error.is_closed())
        {
            return true;
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected | UnexpectedEof)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

fn builder() -> legacy::Builder {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(MAX_IDLE);
    builder
}

fn parse_headers(headers: &[(String, String)]) -> Result<HeaderMap, FetchCause> {
    let mut parsed = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let invalid = || FetchCause::InvalidHeader(name.clone());
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| invalid())?;
        value.set_sensitive(true);
        parsed.append(key, value);
    }
    Ok(parsed)
}

fn basic((name, password): &UserInfo) -> Result<HeaderValue, FetchCause> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    let invalid = |_| FetchCause::InvalidHeader("authorization".to_owned());
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).map_err(invalid)?;
    value.set_sensitive(true);
    Ok(value)
}

fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.as_str().to_owned(), std::str::from_utf8(value.as_bytes()).ok()?.to_owned()))
    };
    headers.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests;
