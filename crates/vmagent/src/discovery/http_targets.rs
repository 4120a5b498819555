//! Targets that a server hands out: `http_sd_configs`.
//!
//! Asked twice an interval. An entry whose server fails or sends no list keeps its targets, whatever other entries
//! of the job do; an empty list removes them. Labels and metrics show the URL without credentials.

use super::group::Publisher;
use super::{Interner, target_groups};
use crate::config::HttpSd;
use crate::http_identity::{HttpIdentity, client_options};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vmkit::http_client::{Client, ConnectionCounts, FetchRequest};
use vmkit::metrics::{Counter, Set};

/// Largest list of targets.
const MAX_LIST: usize = 64 << 20;
const TIMEOUT: Duration = Duration::from_secs(30);

/// What asking needs.
pub(super) struct HttpContext {
    /// Twice the time between two requests.
    pub(super) interval: Duration,
    pub(super) metrics: Arc<Set>,
    pub(super) connections: Arc<ConnectionCounts>,
}

struct Errors {
    fetch: Arc<Counter>,
    parse: Arc<Counter>,
    requests: Arc<Counter>,
}

/// Asks for the targets of one entry until the task is dropped.
pub(super) async fn run(entry: HttpSd, context: HttpContext, publisher: Publisher) {
    let pause = (context.interval / 2).max(Duration::from_secs(1));
    let shown = shown_url(&entry.url);
    let counter = |kind: &str| {
        let url = vmkit::go_text::quote(shown.as_bytes());
        context.metrics.counter(&format!("promscrape_discovery_http_errors_total{{type=\"{kind}\",url={url}}}"))
    };
    let errors = Errors {
        fetch: counter("fetch"),
        parse: counter("parse"),
        requests: context.metrics.counter("vm_promscrape_discovery_requests_total"),
    };
    let client = Client::with_options(client_options(&entry.http, &context.connections));
    let identity = HttpIdentity::new(&Arc::new(entry.http.clone()), Duration::ZERO);
    let mut texts = Interner::default();
    let mut known = Vec::new();
    loop {
        let begun = Instant::now();
        errors.requests.inc();
        match fetch(&client, &identity, &entry.url, pause).await {
            Err(error) => {
                errors.fetch.inc();
                publisher.failed(error);
            }
            Ok(body) => match target_groups::from_json(&body) {
                Err(error) => {
                    errors.parse.inc();
                    publisher.failed(format!("cannot parse the list of targets from {shown:?}: {error}"));
                }
                Ok(groups) => {
                    let next = target_groups::targets(&groups, &[("__meta_url", &shown)], &mut texts);
                    known = target_groups::keep_known(&known, next);
                    publisher.complete(Arc::new(known.clone()), begun.elapsed());
                }
            },
        }
        tokio::time::sleep(pause).await;
    }
}

async fn fetch(client: &Client, identity: &HttpIdentity, url: &str, pause: Duration) -> Result<Vec<u8>, String> {
    let mut headers = vec![
        ("Accept".to_owned(), "application/json".to_owned()),
        ("Accept-Encoding".to_owned(), "gzip".to_owned()),
        ("X-Prometheus-Refresh-Interval-Seconds".to_owned(), pause.as_secs().to_string()),
    ];
    let own = &identity.options.headers;
    headers.extend(own.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())));
    if let Some(value) = identity.authorization().await? {
        headers.push(("Authorization".to_owned(), value));
    }
    let max_redirects = if identity.options.no_redirects { 0 } else { 10 };
    let request = FetchRequest {
        headers,
        proxy_headers: identity.proxy_headers().await?,
        timeout: TIMEOUT,
        max_body: MAX_LIST,
        max_redirects,
        ..FetchRequest::get(url)
    };
    let reply = client.fetch(request).await.map_err(|error| error.to_string())?;
    match reply.status.as_u16() {
        200 => Ok(reply.body),
        status => Err(format!("unexpected status code from {:?}: {status}; want 200", shown_url(url))),
    }
}

/// The URL as it is shown: user and secret args are masked, others tell lists apart.
fn shown_url(url: &str) -> String {
    let url = vmkit::redact::userinfo(url);
    let Some((base, args)) = url.split_once('?') else { return url.into_owned() };
    let mut shown = format!("{base}?").into_bytes();
    vmkit::redact::push_args(&mut shown, args.as_bytes());
    String::from_utf8_lossy(&shown).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_secrets() {
        let f = |url: &str, want: &str| assert_eq!(shown_url(url), want);
        f("http://h/sd?x=y", "http://h/sd?x=y");
        f("http://h/sd", "http://h/sd");
        let shown = shown_url("http://u:hidden@h/sd?x=y&token=hidden");
        assert!(!shown.contains("hidden") && shown.contains("x=y"), "{shown}");
    }
}
