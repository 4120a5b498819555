//! One bounded request and its whole reply.
//!
//! A [`Client`] is one TLS identity with its pooled connections; it re-reads its CA and certificate files when they
//! are older than a second. Credentials go to the host that they were meant for and no further: a redirect to another
//! origin is followed without them.

use super::error::{FetchCause, FetchError, transport};
use super::redirect;
use super::url::{Url, UserInfo};
use crate::tls::cert_store::MAX_FILE_LEN;
use crate::tls::client_config::{ClientTls, ClientTlsOptions, LoadedClientTls};
use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// CA and certificate files are looked at again after this time.
const TLS_REFRESH: Duration = Duration::from_secs(1);
/// Idle connections are few here and not worth keeping for long.
const IDLE: Duration = Duration::from_secs(30);

/// A request. Its `Debug` shows neither headers nor body nor credentials.
#[derive(Clone)]
pub struct FetchRequest {
    /// Absolute http(s) URL; its userinfo is sent as Basic authentication.
    pub url: String,
    /// Any method; only GET and HEAD follow redirects.
    pub method: Method,
    /// Sent as they are; `Host` and framing are set by the client.
    pub headers: Vec<(String, String)>,
    /// Sent with `Content-Length` when not empty.
    pub body: Vec<u8>,
    /// For everything, redirects and body included.
    pub timeout: Duration,
    /// A longer reply is an error.
    pub max_body: usize,
    /// 0 returns the first redirect as the reply.
    pub max_redirects: u32,
    /// User name and password; beats the userinfo of the URL.
    pub basic_auth: Option<(String, String)>,
}

/// A whole reply of any status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchReply {
    /// As received.
    pub status: StatusCode,
    /// Names in lower case, in the order of arrival; values that are not UTF-8 are left out.
    pub headers: Vec<(String, String)>,
    /// At most `max_body` bytes.
    pub body: Vec<u8>,
}

/// Pooled connections under one TLS identity. Cheap to share behind an `Arc`.
pub struct Client {
    tls: ClientTls,
    /// Connections in the clear need no TLS files.
    plain: legacy::Client<HttpConnector, Full<Bytes>>,
    secure: Mutex<Option<Secure>>,
    /// For CA and certificate files that are URLs; only then present.
    files: Option<Box<Self>>,
}

/// Connections of one generation of the TLS files.
struct Secure {
    generation: u64,
    checked: Instant,
    client: SecureClient,
}

type SecureClient = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Credentials of the original request that another origin must not see.
const CREDENTIAL_HEADERS: [HeaderName; 2] = [AUTHORIZATION, COOKIE];

impl FetchRequest {
    /// GET with a timeout of 30 s, a body of at most 16 MiB and up to 10 redirects.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: Method::GET,
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Duration::from_secs(30),
            max_body: MAX_FILE_LEN,
            max_redirects: 10,
            basic_auth: None,
        }
    }

    /// POST of `body` with the limits of [`Self::get`].
    pub fn post(url: impl Into<String>, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { method: Method::POST, headers, body, ..Self::get(url) }
    }
}

impl fmt::Debug for FetchRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchRequest")
            .field("url", &crate::redact::url(&self.url))
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("tls", self.tls.options()).finish_non_exhaustive()
    }
}

impl FetchReply {
    /// The first header of that name, in any letter case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Client {
    /// Nothing is read or opened before the first fetch.
    pub fn new(options: ClientTlsOptions) -> Self {
        let files = options.has_urls().then(|| Box::new(Self::new(ClientTlsOptions::default())));
        let plain = builder().build(connector());
        Self { tls: ClientTls::new(options), plain, secure: Mutex::default(), files }
    }

    /// Sends the request, follows redirects and reads the whole reply. Any status is a reply, not an error.
    pub async fn fetch(&self, request: FetchRequest) -> Result<FetchReply, FetchError> {
        let cause = match tokio::time::timeout(request.timeout, self.follow(&request)).await {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(cause)) => cause,
            Err(_) => FetchCause::Timeout(request.timeout),
        };
        Err(FetchError::new(&request.method, &request.url, cause))
    }

    /// For [`ClientTls::refresh`]: the content of a file that is a URL. Any status other than 200 is an error.
    pub async fn fetch_file(&self, url: String) -> Result<Vec<u8>, String> {
        let request = FetchRequest { timeout: Duration::from_secs(10), ..FetchRequest::get(url) };
        let reply = self.fetch(request).await.map_err(|err| err.to_string())?;
        if reply.status == StatusCode::OK {
            Ok(reply.body)
        } else {
            Err(format!("unexpected status code: {}", reply.status.as_u16()))
        }
    }

    async fn follow(&self, request: &FetchRequest) -> Result<FetchReply, FetchCause> {
        let (mut url, mut user_info) = Url::parse(&request.url).map_err(FetchCause::InvalidUrl)?;
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
                _ => return Ok(FetchReply { status, headers: shown(&received), body }),
            };
            redirects += 1;
            if redirects > request.max_redirects {
                return Err(FetchCause::TooManyRedirects(request.max_redirects));
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
        url: &Url,
        headers: HeaderMap,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), FetchCause> {
        let mut message = Request::new(Full::new(Bytes::from(request.body.clone())));
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = url.to_uri().map_err(FetchCause::InvalidUrl)?;
        *message.headers_mut() = headers;
        let reply = if url.scheme == "https" {
            self.secure_client().await?.request(message).await
        } else {
            self.plain.request(message).await
        };
        let (head, body) = reply.map_err(|err| transport(&err))?.into_parts();
        let too_large = || FetchCause::BodyTooLarge(request.max_body);
        // A HEAD reply announces a length that never comes.
        let announced = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if request.method != Method::HEAD
            && announced.is_some_and(|len| usize::try_from(len).is_ok_and(|len| len > request.max_body))
        {
            return Err(too_large());
        }
        let body = Limited::new(body, request.max_body)
            .collect()
            .await
            .map_err(|err| if err.is::<LengthLimitError>() { too_large() } else { transport(err.as_ref()) })?;
        Ok((head.status, head.headers, body.to_bytes().into()))
    }

    /// The client of the TLS files as they are now. Boxed, because it may fetch one of them.
    fn secure_client(&self) -> Pin<Box<dyn Future<Output = Result<SecureClient, FetchCause>> + Send + '_>> {
        Box::pin(async move {
            if let Some(client) = self.fresh_client() {
                return Ok(client);
            }
            // Files that broke later on leave the last good ones in force, so only what is in force matters here.
            let _ = self
                .tls
                .refresh(|url| async move {
                    match &self.files {
                        Some(files) => files.fetch_file(url).await,
                        None => Err("no client for URLs".to_owned()),
                    }
                })
                .await;
            let loaded = self.tls.current().map_err(|error| FetchCause::Tls(error.to_string()))?;
            Ok(self.client_of(&loaded))
        })
    }

    fn fresh_client(&self) -> Option<SecureClient> {
        let secure = self.secure.lock().unwrap_or_else(PoisonError::into_inner);
        let secure = secure.as_ref()?;
        let fresh = self.tls.options().is_static() || secure.checked.elapsed() < TLS_REFRESH;
        fresh.then(|| secure.client.clone())
    }

    fn client_of(&self, loaded: &LoadedClientTls) -> SecureClient {
        let mut slot = self.secure.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = slot.take().filter(|secure| secure.generation == loaded.generation).map(|secure| secure.client);
        let client = kept.unwrap_or_else(|| {
            let options = self.tls.options().clone();
            let name = move |uri: &Uri| options.server_name_for(uri.host().unwrap_or_default());
            builder().build(HttpsConnector::new(connector(), Arc::clone(&loaded.config), true, Arc::new(name)))
        });
        *slot = Some(Secure { generation: loaded.generation, checked: Instant::now(), client: client.clone() });
        client
    }
}

/// [`Client::fetch`] for the time before any runtime exists, on a private one.
///
/// Must not be called from within a runtime.
pub fn fetch_blocking(options: ClientTlsOptions, request: FetchRequest) -> Result<FetchReply, FetchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|err| {
        let cause = FetchCause::Transport(format!("cannot start a runtime: {err}"));
        FetchError::new(&request.method, &request.url, cause)
    })?;
    let client = Client::new(options);
    let reply = runtime.block_on(client.fetch(request));
    // The system's resolver may still be busy with a name; nobody waits for it.
    runtime.shutdown_background();
    reply
}

fn builder() -> legacy::Builder {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(4);
    builder
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector
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
