//! Asks providers through the HTTP client of the control plane.
//!
//! The client trusts its configured authorities and keeps credentials of URLs out of its error texts. Redirects lead to
//! no other host and never from https to http: whoever can make the issuer redirect could publish keys otherwise.
//! A token of `-oidc.bearerTokenFile` goes over https only, and one that names its issuer goes to that issuer alone.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use vmkit::http_client::{Client, FetchCause, FetchRequest, RedirectScope, cache_control_max_age};
use vmkit::secret::Secret;

use super::failure::{FailureReason, FetchFailure};
use super::location::KeyLocation;
use super::transport::{FetchFuture, FetchKeys, Fetched, MAX_DOCUMENT_BYTES, REQUEST_TIMEOUT};

/// A longer token file is none.
const MAX_TOKEN_FILE: u64 = 64 << 10;

/// [`FetchKeys`] over a [`Client`].
#[derive(Clone)]
pub struct HttpFetcher {
    client: Arc<Client>,
    /// Read for every fetch: such tokens are replaced hourly.
    token_file: Option<PathBuf>,
}

impl fmt::Debug for HttpFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFetcher").field("token_file", &self.token_file).finish_non_exhaustive()
    }
}

impl HttpFetcher {
    /// Fetches through `client`, whose TLS identity and authorities it uses, with the token of a file if there is one.
    pub fn new(client: Arc<Client>, token_file: Option<PathBuf>) -> Self {
        Self { client, token_file }
    }
}

impl FetchKeys for HttpFetcher {
    fn get(&self, url: String, location: &KeyLocation) -> FetchFuture {
        let (fetcher, location) = (self.clone(), location.clone());
        Box::pin(async move {
            let mut request = FetchRequest {
                timeout: REQUEST_TIMEOUT,
                max_body: MAX_DOCUMENT_BYTES,
                redirect_scope: RedirectScope::SameHost,
                ..FetchRequest::get(url)
            };
            if let Some(path) = fetcher.token_file.filter(|_| request.url.starts_with("https://")) {
                let token = read_token(path).await?;
                if may_have(&location, token.expose()) {
                    request.headers.push(("authorization".to_owned(), format!("Bearer {}", token.expose())));
                }
            }
            match fetcher.client.fetch(request).await {
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

/// Files may hang, so they are read on a thread of their own.
async fn read_token(path: PathBuf) -> Result<Secret, FetchFailure> {
    let failed = |path: &PathBuf, cause: String| {
        let text = format!("cannot read -oidc.bearerTokenFile={}: {cause}", path.display());
        FetchFailure::new(FailureReason::Connect, text)
    };
    let file = path.clone();
    let read = move || {
        let mut text = String::new();
        std::fs::File::open(file)?.take(MAX_TOKEN_FILE).read_to_string(&mut text).map(|_| text)
    };
    let text = match tokio::task::spawn_blocking(read).await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Err(failed(&path, vmkit::go_text::os_error(&error))),
        Err(_) => return Err(failed(&path, "the read was cut off".to_owned())),
    };
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(failed(&path, "it holds no token".to_owned()));
    }
    Ok(Secret::from(token))
}

/// Whether the provider may see the token: a token that names its issuer is for that issuer, another for all.
fn may_have(location: &KeyLocation, token: &str) -> bool {
    let Ok(token) = jwt::Token::parse(token) else { return true };
    match (token.claims().iss(), location) {
        (None, _) => true,
        (Some(iss), KeyLocation::Oidc { issuer }) => iss == issuer,
        (Some(iss), KeyLocation::JwksUrl(url)) => host_of(iss).is_some() && host_of(iss) == host_of(url),
    }
}

fn host_of(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(authority.rsplit('@').next()?.to_ascii_lowercase())
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
    use base64::Engine;
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
        let location = KeyLocation::JwksUrl(url.clone());
        let fetcher = HttpFetcher::new(Arc::new(Client::new(Default::default())), None);
        let want = Fetched { status: 200, body: b"{}".to_vec(), max_age: Some(Duration::from_secs(77)) };
        assert_eq!(fetcher.get(url.clone(), &location).await, Ok(want));
        assert!(server.await.unwrap().starts_with("GET /keys HTTP/1.1\r\n"));
        let failure = fetcher.get(url, &location).await.unwrap_err();
        assert_eq!(failure.reason, FailureReason::Connect);
        assert!(failure.text.starts_with("Get \"http://127.0.0.1:") && failure.text.ends_with("refused"), "{failure}");
    }

    #[test]
    fn a_token_goes_to_its_issuer_alone() {
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let token = |claims: &str| format!("{}.{}.", encode(r#"{"alg":"RS256"}"#), encode(claims));
        let account = token(r#"{"iss":"https://kube:6443","sub":"system:serviceaccount:a:b"}"#);
        let oidc = |issuer: &str| KeyLocation::Oidc { issuer: issuer.to_owned() };
        let f = |location: &KeyLocation, token: &str, want: bool| assert_eq!(may_have(location, token), want);
        f(&oidc("https://kube:6443"), &account, true);
        f(&oidc("https://kube:6443/"), &account, false);
        f(&oidc("https://idp"), &account, false);
        f(&KeyLocation::JwksUrl("https://KUBE:6443/openid/v1/jwks".to_owned()), &account, true);
        f(&KeyLocation::JwksUrl("https://kube/keys".to_owned()), &account, false);
        f(&oidc("https://idp"), "opaque", true);
        f(&oidc("https://idp"), &token("{}"), true);
    }
}
