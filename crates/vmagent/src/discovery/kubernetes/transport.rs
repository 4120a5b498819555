//! Requests to an API server whose replies are read piece by piece.
//!
//! A connection for each request: lists are rare and watches keep theirs for half an hour. Token files are read for
//! every request, so each new one carries the newest token; the token goes to the server it is meant for and nowhere
//! else, because redirects are not followed.

use super::api_objects as api;
use super::backoff::retry_after;
use super::server_settings::ServerSettings;
use crate::discovery::credentials::{authorization, tls_options};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use vmkit::tls::client_config::ClientTls;

/// A refusal is read up to this size.
const MAX_ERROR: usize = 64 << 10;

/// How a server is reached.
pub(super) struct Transport {
    settings: ServerSettings,
    uri: Uri,
    tls: Option<ClientTls>,
}

/// A reply of any status.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// Path and query that were asked for.
    pub(super) target: String,
    body: Incoming,
}

impl Reply {
    /// The next piece of the body; `None` at its end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(innermost(&error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// What the server says about a failure: the message of its `Status`, or the beginning of the body.
    pub(super) async fn error_text(mut self) -> String {
        let mut body = Vec::new();
        while let Ok(Ok(Some(piece))) = tokio::time::timeout(Duration::from_secs(5), self.piece()).await {
            body.extend_from_slice(&piece);
            if body.len() > MAX_ERROR {
                break;
            }
        }
        match serde_json::from_slice::<api::Status<'_>>(&body) {
            Ok(status) if !status.message.is_empty() => status.message.as_str().to_owned(),
            _ => String::from_utf8_lossy(&body).chars().take(300).collect(),
        }
    }
}

impl Transport {
    pub(super) fn new(settings: &ServerSettings) -> Result<Self, String> {
        let uri: Uri = settings.url.parse().map_err(|error| format!("bad URL of the API server: {error}"))?;
        let is_https = uri.scheme_str() == Some("https");
        let tls = is_https.then(|| ClientTls::new(tls_options(&settings.http.tls)));
        Ok(Self { settings: settings.clone(), uri, tls })
    }

    pub(super) async fn get(&self, target: &str) -> Result<Reply, String> {
        let prefix = self.uri.path().trim_end_matches('/');
        let authority = self.uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let mut request = Request::get(format!("{prefix}{target}"))
            .header("host", authority)
            .header("user-agent", concat!("vmagent/", env!("CARGO_PKG_VERSION")))
            .header("accept", "application/json");
        if let Some(value) = authorization(&self.settings.http.credentials).await? {
            request = request.header("authorization", value);
        }
        for (name, value) in &self.settings.http.headers {
            request = request.header(name, value.expose());
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let stream = self.dial().await?;
        let response = match &self.tls {
            None => send(TokioIo::new(stream), request).await?,
            Some(tls) => {
                let _ = tls.refresh(|_| async { Err("URLs are not read here".to_owned()) }).await;
                let loaded = tls.current().map_err(|error| error.to_string())?;
                let name = tls
                    .options()
                    .server_name_for(self.uri.host().unwrap_or_default())
                    .map_err(|error| error.to_string())?;
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(&loaded.config));
                let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
                send(TokioIo::new(stream), request).await?
            }
        };
        let retry_after = response.headers().get("retry-after").and_then(|value| retry_after(value.to_str().ok()?));
        let status = response.status().as_u16();
        Ok(Reply { status, retry_after, target: target.to_owned(), body: response.into_body() })
    }

    async fn dial(&self) -> Result<TcpStream, String> {
        let default = if self.tls.is_some() { 443 } else { 80 };
        let host = self.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let connect = TcpStream::connect((host, self.uri.port_u16().unwrap_or(default)));
        let connected = tokio::time::timeout(Duration::from_secs(10), connect).await;
        connected.map_err(|_| "dial tcp: i/o timeout".to_owned())?.map_err(|error| format!("dial tcp: {error}"))
    }
}

async fn send<T>(io: TokioIo<T>, request: Request<Empty<Bytes>>) -> Result<hyper::Response<Incoming>, String>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(io).await.map_err(|error| innermost(&error))?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(|error| innermost(&error))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current.to_string()
}
