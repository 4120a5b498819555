//! Asks providers through the HTTP client of the control plane.
//!
//! Only translates: the client follows redirects within the host (keys are trusted because of it), trusts its configured authorities and keeps credentials of URLs out
//! of its error texts.

use std::sync::Arc;

use vmkit::http_client::{Client, FetchCause, FetchRequest, RedirectScope, cache_control_max_age};

use super::discovery::{MAX_DOCUMENT_BYTES, REQUEST_TIMEOUT};
use super::fetch::{FailureReason, FetchFailure, FetchFuture, FetchKeys, Fetched};

/// [`FetchKeys`] over a [`Client`].
#[derive(Debug, Clone)]
pub struct HttpFetcher(Arc<Client>);

impl HttpFetcher {
    /// Fetches through `client`, whose TLS identity and authorities it uses.
    pub fn new(client: Arc<Client>) -> Self {
        Self(client)
    }
}

impl FetchKeys for HttpFetcher {
    fn get(&self, url: String) -> FetchFuture {
        let client = self.0.clone();
        let request = FetchRequest {
            timeout: REQUEST_TIMEOUT,
            max_body: MAX_DOCUMENT_BYTES,
            redirect_scope: RedirectScope::SameHost,
            ..FetchRequest::get(url)
        };
        Box::pin(async move {
            match client.fetch(request).await {
                Ok(reply) => Ok(Fetched {
                    status: reply.status.as_u16(),
                    max_age: cache_control_max_age(&reply.headers),
                    body: reply.body,
                }),
                Err(error) => Err(FetchFailure::new(reason(&error.cause), error.to_string())),
            }
        })
    }
}

fn reason(cause: &FetchCause) -> FailureReason {
    match cause {
        FetchCause::Timeout(_) => FailureReason::Timeout,
        FetchCause::BodyTooLarge(_) => FailureReason::Body,
        FetchCause::TooManyRedirects(_) | FetchCause::RedirectRefused => FailureReason::Status,
        FetchCause::InvalidUrl(_) | FetchCause::InvalidHeader(_) | FetchCause::Transport(_) | FetchCause::Tls(_) => {
            FailureReason::Connect
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn asks_over_http() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = socket.read(&mut request).await.unwrap();
            let reply = "HTTP/1.1 200 OK\r\nCache-Control: max-age=77\r\nContent-Length: 2\r\n\r\n{}";
            socket.write_all(reply.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let fetcher = HttpFetcher::new(Arc::new(Client::new(Default::default())));
        let want = Fetched { status: 200, body: b"{}".to_vec(), max_age: Some(Duration::from_secs(77)) };
        assert_eq!(fetcher.get(url.clone()).await, Ok(want));
        assert!(server.await.unwrap().starts_with("GET /keys HTTP/1.1\r\n"));
        let failure = fetcher.get(url).await.unwrap_err();
        assert_eq!(failure.reason, FailureReason::Connect);
        assert!(failure.text.starts_with("Get \"http://127.0.0.1:") && failure.text.ends_with("refused"), "{failure}");
    }
}
