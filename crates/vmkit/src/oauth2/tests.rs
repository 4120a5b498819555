//! Tokens from a scripted provider behind a real socket.

use super::request::{Style, token_request};
use super::response;
use super::*;
use crate::http_client::{FetchReply, StatusCode};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers each request with the next reply of the script, the last one again and again.
struct Provider {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

const JSON: &str = "application/json";

fn reply(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Type: {JSON}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn token(name: &str, expires_in: u64) -> String {
    reply(200, &format!(r#"{{"access_token":"{name}","expires_in":{expires_in}}}"#))
}

impl Provider {
    async fn start(script: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (seen, script) = (Arc::clone(&seen), script.clone());
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut stream).await {
                        let index = {
                            let mut seen = seen.lock().unwrap();
                            seen.push(request);
                            seen.len() - 1
                        };
                        let answer = &script[index.min(script.len() - 1)];
                        if answer.is_empty() {
                            return std::future::pending().await;
                        }
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn options(&self) -> OAuth2Options {
        let mut options = OAuth2Options::new("my id", Some("s3 cr/et".into()), "", &self.url).unwrap();
        options.scopes = vec!["openid".into()];
        options
    }

    fn source(&self) -> TokenSource {
        TokenSource::new(self.options())
    }
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> Option<String> {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let len = stream.read(&mut buffer).await.ok().filter(|len| *len > 0)?;
        text.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(text);
        }
    }
}

fn value(authorization: &Authorization) -> &str {
    authorization.value.expose()
}

#[tokio::test]
async fn one_token_serves_many_requests() {
    let provider = Provider::start(vec![token("T1", 3600)]).await;
    let source = Arc::new(provider.source());
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let source = Arc::clone(&source);
            tokio::spawn(async move { source.authorization().await.unwrap() })
        })
        .collect();
    for caller in callers {
        assert_eq!(value(&caller.await.unwrap()), "Bearer T1");
    }
    let requests = provider.requests();
    assert_eq!(requests.len(), 1);
    let head = requests[0].to_ascii_lowercase();
    assert!(head.starts_with("post /token http/1.1\r\n"), "{head}");
    assert!(requests[0].contains("Basic bXkraWQ6czMrY3IlMkZldA=="), "{head}");
    assert!(requests[0].ends_with("\r\n\r\ngrant_type=client_credentials&scope=openid"));
}

#[tokio::test]
async fn basic_first_then_the_body_and_what_worked_is_remembered() {
    let refusal = reply(401, r#"{"error":"invalid_client"}"#);
    let provider = Provider::start(vec![refusal, token("T1", 3600), token("T2", 3600)]).await;
    let source = provider.source();
    let first = source.authorization().await.unwrap();
    assert_eq!(value(&first), "Bearer T1");
    source.refuse(&first);
    assert_eq!(value(&source.authorization().await.unwrap()), "Bearer T2");
    let requests = provider.requests();
    let body = "client_id=my+id&client_secret=s3+cr%2Fet&grant_type=client_credentials&scope=openid";
    assert_eq!(requests.len(), 3);
    for request in &requests[1..] {
        assert!(request.ends_with(body) && !request.to_ascii_lowercase().contains("authorization"), "{request}");
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let provider = Provider::start(vec![token("T1", 3600), token("T2", 3600), token("T3", 3600)]).await;
    let source = provider.source();
    let first = source.authorization().await.unwrap();
    source.refuse(&first);
    let second = source.authorization().await.unwrap();
    assert_eq!(value(&second), "Bearer T2");
    // Late answers to the first token, and a remote that refuses the second one too.
    source.refuse(&first);
    source.refuse(&second);
    assert_eq!(value(&source.authorization().await.unwrap()), "Bearer T2");
    assert_eq!(provider.requests().len(), 2);
}

#[tokio::test]
async fn a_token_is_replaced_before_its_end() {
    let provider = Provider::start(vec![token("T1", 12), token("T2", 0)]).await;
    let source = provider.source();
    let start = std::time::Instant::now();
    assert_eq!(value(&source.authorization().await.unwrap()), "Bearer T1");
    let mut last = start.elapsed();
    while value(&source.authorization().await.unwrap()) == "Bearer T1" {
        // Ten of twelve seconds before its end; a machine that stalls has asked late.
        let now = start.elapsed();
        assert!(now < Duration::from_secs(8) || now - last > Duration::from_secs(1), "{now:?}");
        last = now;
        tokio::task::yield_now().await;
    }
    assert!(start.elapsed() > Duration::from_secs(1));
    assert_eq!(provider.requests().len(), 2);
}

#[tokio::test]
async fn while_there_is_no_new_token_the_old_one_serves_until_its_end() {
    let provider = Provider::start(vec![token("T1", 5), reply(503, "down")]).await;
    let source = provider.source();
    let issued = std::time::Instant::now();
    assert_eq!(value(&source.authorization().await.unwrap()), "Bearer T1");
    let (mut failed_under_way, mut last, mut longest) = (0, issued, Duration::ZERO);
    let error = loop {
        longest = longest.max(last.elapsed());
        last = std::time::Instant::now();
        match source.authorization().await {
            Ok(authorization) => assert_eq!(value(&authorization), "Bearer T1"),
            Err(error) => break error.to_string(),
        }
        failed_under_way = provider.requests().len() - 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(issued.elapsed().as_secs() >= 5, "given up after {:?}", issued.elapsed());
    // A machine that slept from the time of the new token to the end of the old one proves nothing.
    assert!(failed_under_way > 0 || longest > Duration::from_secs(2), "no new token was asked for");
    assert!(error.contains("503"), "{error}");
}

#[tokio::test]
async fn a_provider_that_hangs_leaves_time_for_the_old_token() {
    let provider = Provider::start(vec![token("T1", 6), String::new()]).await;
    let source = provider.source();
    let issued = std::time::Instant::now();
    source.authorization().await.unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let served = source.authorization().await;
    // A machine that slept past the end of the token proves nothing.
    assert!(served.is_ok() || issued.elapsed().as_secs() >= 6, "{served:?}");
    assert!(provider.requests().len() > 1);
}

#[tokio::test]
async fn failures_name_the_reason_and_no_secret() {
    let quoted = reply(400, r#"{"error":"invalid_client","error_description":"s3 cr/et is wrong"}"#);
    let provider = Provider::start(vec![quoted]).await;
    let source = provider.source();
    let begun = std::time::Instant::now();
    let failure = source.authorization().await.unwrap_err();
    assert_eq!(failure.to_string(), "cannot get OAuth2 token: \"invalid_client\" \"<secret> is wrong\"");
    assert_eq!(source.authorization().await.unwrap_err(), failure);
    let requests = provider.requests().len();
    let is_late = begun.elapsed() > Duration::from_secs(1);
    assert!(requests == 2 || is_late, "both styles once; then the failure is remembered: {requests} requests");
    assert!(!format!("{source:?}").contains("s3 cr/et"));
}

#[tokio::test]
async fn a_provider_that_hangs_does_not_hang_its_callers() {
    let provider = Provider::start(vec![String::new()]).await;
    let source = TokenSource::new(OAuth2Options { timeout: Duration::from_millis(50), ..provider.options() });
    let failure = source.authorization().await.unwrap_err().to_string();
    assert!(failure.contains("timeout"), "{failure}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let away = "HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_owned();
    let provider = Provider::start(vec![away]).await;
    let failure = provider.source().authorization().await.unwrap_err().to_string();
    assert!(failure.contains("307"), "{failure}");
}

#[tokio::test]
async fn the_secret_file_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    let provider = Provider::start(vec![token("T1", 3600), token("T2", 3600)]).await;
    let file = path.to_str().unwrap().to_owned();
    let source = TokenSource::new(OAuth2Options { client_secret: ClientSecret::File(file), ..provider.options() });
    let missing = source.authorization().await.unwrap_err().to_string();
    assert!(missing.contains("secret") && provider.requests().is_empty(), "{missing}");
    std::fs::write(&path, "first \n").unwrap();
    let start = std::time::Instant::now();
    let wait_for = async |wanted: &str| {
        while source.authorization().await.map_or(String::new(), |got| value(&got).to_owned()) != wanted {
            assert!(start.elapsed() < Duration::from_secs(60), "{wanted}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    wait_for("Bearer T1").await;
    std::fs::write(&path, "second").unwrap();
    wait_for("Bearer T2").await;
    std::fs::remove_file(&path).unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(value(&source.authorization().await.unwrap()), "Bearer T2", "the token is still good");
    assert_eq!(provider.requests().len(), 2);
}

#[test]
fn requests() {
    let mut options = OAuth2Options::new("id", Some("x".into()), "", "http://h/t").unwrap();
    let body =
        |options: &OAuth2Options, style| String::from_utf8(token_request(options, "s&", style).body.to_vec()).unwrap();
    assert_eq!(body(&options, Style::Basic), "grant_type=client_credentials");
    options.scopes = vec!["a".into(), "b".into()];
    options.endpoint_params = [("resource", "x y&z"), ("audience", "https://a/")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let want = "audience=https%3A%2F%2Fa%2F&grant_type=client_credentials&resource=x+y%26z&scope=a+b";
    assert_eq!(body(&options, Style::Basic), want);
    options.endpoint_params = [("grant_type".to_owned(), "password".to_owned())].into();
    assert_eq!(body(&options, Style::Body), "client_id=id&client_secret=s%26&grant_type=password&scope=a+b");
}

#[test]
fn replies() {
    let f = |kind: &str, status: u16, body: &str, want: Result<(&str, Option<u64>), &str>| {
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        let reply = FetchReply { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() };
        match (response::parse(&reply), want) {
            (Ok(token), Ok((header, seconds))) => {
                assert_eq!((token.header.as_str(), token.lifetime.map(|l| l.as_secs())), (header, seconds), "{body}");
            }
            (Err(got), Err(want)) => assert!(got.contains(want), "{body}: {got}"),
            (Ok(_), Err(want)) => panic!("{body}: a token instead of {want}"),
            (Err(got), Ok(_)) => panic!("{body}: {got}"),
        }
    };
    f(JSON, 200, r#"{"access_token":"A","token_type":"bearer","expires_in":"300"}"#, Ok(("Bearer A", Some(300))));
    f("", 201, r#"{"access_token":"A"}"#, Ok(("Bearer A", None)));
    f(
        "text/html",
        200,
        r#"{"access_token":"A","token_type":"BASIC","expires_in":99999999999}"#,
        Ok(("Basic A", Some(99_999_999_999))),
    );
    f(JSON, 200, r#"{"access_token":"A","token_type":"DPoP","expires_in":null}"#, Ok(("DPoP A", None)));
    f(JSON, 200, r#"{"access_token":"A","expires_in":-5}"#, Ok(("Bearer A", None)));
    f(JSON, 200, r#"{"access_token":"A","expires_in":299.5}"#, Ok(("Bearer A", Some(299))));
    f(
        "application/x-www-form-urlencoded",
        200,
        "access_token=A%203&token_type=MAC&expires_in=300",
        Ok(("MAC A 3", Some(300))),
    );
    f("text/plain; charset=x", 200, "access_token=A4&expires_in=300", Ok(("Bearer A4", Some(300))));
    f(JSON, 200, r#"{"access_token":"A","error":"invalid_scope"}"#, Err("invalid_scope"));
    f(JSON, 200, r#"{"token_type":"Bearer"}"#, Err("no access_token"));
    f(JSON, 200, r#"["access_token"]"#, Err("no JSON object"));
    f("text/html", 200, "<html>", Err("no JSON object"));
    f(JSON, 500, r#"{"access_token":"TOKEN"}"#, Err("unexpected status code 500"));
    f(JSON, 200, r#"{"access_token":"A","expires_in":"soon"}"#, Err("expires_in"));
    f(JSON, 200, "{\"access_token\":\"A\\r\\nX: 1\"}", Err("characters"));
    f(JSON, 401, r#"{"error":"a","error_description":"b"}"#, Err(r#""a" "b""#));
}

#[test]
fn options() {
    let f = |id: &str, secret: &str, file: &str, url: &str, want: Option<OAuth2OptionsError>| {
        let secret = (!secret.is_empty()).then(|| Secret::from(secret));
        assert_eq!(OAuth2Options::new(id, secret, file, url).err(), want);
    };
    f("id", "s", "", "http://h", None);
    f("id", "", "/f", "http://h", None);
    f("id", "s", "/f", "http://h", Some(OAuth2OptionsError::TwoSecrets));
    f("id", "", "", "http://h", Some(OAuth2OptionsError::Secret));
    f("", "s", "", "http://h", Some(OAuth2OptionsError::ClientId));
    f("id", "s", "", "", Some(OAuth2OptionsError::TokenUrl));
}
