//! Where the config's bytes come from: a file or an http(s) URL (spec config.md §1).

use std::time::Duration;

use vmkit::go_text::{os_error, quote};
use vmkit::http_client::{Client, FetchRequest};

/// Largest config that is accepted.
const MAX_CONFIG: usize = 256 * 1024 * 1024;
/// Time for fetching it from a URL.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an error page that are shown.
const SHOWN: usize = 4096;

/// Whether the path is a URL rather than a file.
pub fn is_url(path: &str) -> bool {
    let rest = path.strip_prefix("http://").or_else(|| path.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
}

/// Reads the bytes.
pub async fn read(path: &str, client: &Client) -> Result<Vec<u8>, String> {
    if !is_url(path) {
        return std::fs::read(path)
            .map_err(|error| format!("cannot read {}: open {path}: {}", quote(path), os_error(&error)));
    }
    let shown = quote(vmkit::redact::url(path).as_bytes());
    let mut request = FetchRequest::get(path);
    request.timeout = TIMEOUT;
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
}
