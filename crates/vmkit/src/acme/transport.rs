//! HTTP for the ACME library, by the control plane's own client: its TLS, its limits, its error texts.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

use crate::http_client::{Client, FetchRequest, RedirectScope};

/// Answers of ACME are a few KiB.
const MAX_BODY: usize = 1 << 20;
const LIMIT: Duration = Duration::from_secs(30);

pub(super) struct Transport {
    client: Arc<Client>,
    /// When the authority that refused for now may be asked again.
    retry_after: Arc<Mutex<Option<SystemTime>>>,
}

impl Transport {
    pub(super) fn new(client: Arc<Client>, retry_after: Arc<Mutex<Option<SystemTime>>>) -> Self {
        Self { client, retry_after }
    }
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (client, retry_after) = (self.client.clone(), self.retry_after.clone());
        Box::pin(async move {
            let (head, body) = request.into_parts();
            // It cannot fail: the body is in memory.
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let text = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
                Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
            };
            let fetch = FetchRequest {
                method: head.method,
                headers: head.headers.iter().filter_map(text).collect(),
                body,
                timeout: LIMIT,
                max_body: MAX_BODY,
                redirect_scope: RedirectScope::SameHost,
                ..FetchRequest::get(head.uri.to_string())
            };
            let reply = client.fetch(fetch).await.map_err(|error| Error::Other(Box::new(error)))?;
            if matches!(reply.status.as_u16(), 429 | 503) {
                let until = reply.header("retry-after").and_then(|value| value.trim().parse().ok());
                let until = until.and_then(|seconds| SystemTime::now().checked_add(Duration::from_secs(seconds)));
                *retry_after.lock().unwrap_or_else(PoisonError::into_inner) = until;
            }
            let mut response = Response::builder().status(reply.status);
            for (name, value) in &reply.headers {
                response = response.header(name, value);
            }
            Ok(BytesResponse::from(response.body(Full::new(Bytes::from(reply.body)))?))
        })
    }
}
