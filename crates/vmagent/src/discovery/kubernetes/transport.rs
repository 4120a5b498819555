//! Requests to an API server whose replies are read piece by piece.
//!
//! Token files are read for every request, so each new one carries the newest token; the token goes to the server it is
//! meant for and nowhere else, because redirects are not followed. Large lists come compressed where the server does that.

use super::api_objects as api;
use super::backoff::retry_after;
use super::server_address::ServerSettings;
use crate::http_identity::{HttpIdentity, client_options};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use vmkit::http_client::{Client, ConnectionCounts, FetchRequest, StreamedReply};

/// A refusal is read up to this size.
const MAX_ERROR: usize = 64 << 10;
/// No watch lasts longer; the limits that matter are those of lists and watches.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How a server is reached.
pub(super) struct Transport {
    /// Without a slash at the end.
    url: String,
    identity: HttpIdentity,
    client: Client,
}

/// A reply of any status.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// Path and query that were asked for.
    pub(super) target: String,
    body: StreamedReply,
}

impl Reply {
    /// The next piece of the body; `None` at its end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        self.body.next_piece().await.map_err(|error| error.cause.to_string())
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
    pub(super) fn new(settings: &ServerSettings, connections: &Arc<ConnectionCounts>) -> Self {
        let client = Client::with_options(client_options(&settings.http, connections));
        let identity = HttpIdentity::new(&Arc::new(settings.http.clone()), Duration::ZERO);
        Self { url: settings.url.clone(), identity, client }
    }

    pub(super) async fn get(&self, target: &str) -> Result<Reply, String> {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut headers = vec![
            header("user-agent", concat!("vmagent/", env!("CARGO_PKG_VERSION"))),
            header("accept", "application/json"),
            header("accept-encoding", "gzip"),
        ];
        if let Some(value) = self.identity.authorization().await? {
            headers.push(header("authorization", &value));
        }
        headers.extend(self.identity.options.headers.iter().map(|(name, value)| header(name, value.expose())));
        let request = FetchRequest {
            headers,
            proxy_headers: self.identity.proxy_headers().await?,
            timeout: LONGEST,
            max_body: usize::MAX,
            max_redirects: 0,
            ..FetchRequest::get(format!("{}{target}", self.url))
        };
        let body = self.client.stream(request).await.map_err(|error| error.cause.to_string())?;
        let retry_after = body.header("retry-after").and_then(retry_after);
        Ok(Reply { status: body.status.as_u16(), retry_after, target: target.to_owned(), body })
    }
}
