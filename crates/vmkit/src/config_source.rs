//! Where the bytes of a config come from: a file or an http(s) URL.
//!
//! Reads happen off the thread that asks and have a time limit, so a file that hangs never stops the control plane.

use std::sync::Arc;
use std::time::Duration;

use crate::blocking::FileReader;
use crate::go_text::quote;
use crate::http_client::{Client, FetchRequest};
use crate::redact;

/// Largest config that is accepted.
const MAX_CONFIG: usize = 256 * 1024 * 1024;
/// Time for fetching it from a URL.
const URL_LIMIT: Duration = Duration::from_secs(60);
/// Time for reading it from a file.
const FILE_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of an error page that are shown.
const SHOWN: usize = 4096;

/// One config that is read again and again.
#[derive(Debug)]
pub struct ConfigSource {
    path: String,
    way: Way,
}

#[derive(Debug)]
enum Way {
    File(FileReader),
    Url(Arc<Client>),
}

impl ConfigSource {
    /// A path, or an http(s) URL that `client` fetches.
    pub fn new(path: &str, client: &Arc<Client>) -> Self {
        let way = if is_url(path) { Way::Url(client.clone()) } else { Way::File(FileReader::new(path)) };
        Self { path: path.to_owned(), way }
    }

    /// The path or URL as it may be shown, in quotes.
    pub fn shown(&self) -> String {
        quote(redact::url(&self.path).as_bytes())
    }

    /// The bytes as they are now.
    ///
    /// # Errors
    /// A text that names the place, without credentials.
    pub async fn read(&mut self) -> Result<Vec<u8>, String> {
        let shown = self.shown();
        match &mut self.way {
            Way::File(file) => file.read(FILE_LIMIT).await.map_err(|cause| format!("cannot read {shown}: {cause}")),
            Way::Url(client) => fetch(&self.path, &shown, client).await,
        }
    }
}

/// Whether the path is a URL rather than a file.
pub fn is_url(path: &str) -> bool {
    let rest = path.strip_prefix("http://").or_else(|| path.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
}

async fn fetch(url: &str, shown: &str, client: &Client) -> Result<Vec<u8>, String> {
    let mut request = FetchRequest::get(url);
    request.timeout = URL_LIMIT;
    request.max_body = MAX_CONFIG;
    let reply = client.fetch(request).await.map_err(|error| format!("cannot fetch {shown}: {error}"))?;
    let status = reply.status.as_u16();
    if status != 200 {
        let body = &reply.body[..reply.body.len().min(SHOWN)];
        return Err(format!(
            "unexpected status code when fetching {shown}: {status}, expecting 200; response: {}",
            quote(body)
        ));
    }
    Ok(reply.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let f = |path: &str, want: bool| assert_eq!(is_url(path), want, "{path:?}");
        f("http://h/x.yml", true);
        f("https://h", true);
        f("http:///x", false);
        f("ftp://h/x", false);
        f("auth.yml", false);
    }

    #[tokio::test]
    async fn errors_name_the_place_without_credentials() {
        let client = Arc::new(Client::new(crate::tls::client_config::ClientTlsOptions::default()));
        let error = async |path: &str| ConfigSource::new(path, &client).read().await.unwrap_err();
        assert_eq!(
            error("missing.yml").await,
            "cannot read \"missing.yml\": open missing.yml: no such file or directory"
        );
        let (_held, closed) = testkit::backend::reserve("127.0.0.1:0".parse().unwrap());
        let text = error(&format!("http://u:hunter@{closed}/x?sig=hunter")).await;
        assert!(text.starts_with("cannot fetch \"http://xxxxx@") && !text.contains("hunter"), "{text}");
    }
}
