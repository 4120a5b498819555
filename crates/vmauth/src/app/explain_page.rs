//! `POST /vmauth/explain`: explains a request under the config that serves (docs/reference/explain.md).
//!
//! Stands where the status page does, behind the same key: an explanation names users, routes and backends. Secrets are
//! always masked. It runs on the worker of the connection; what takes long in it waits for others (names, keys) and blocks nobody.

use std::sync::Arc;

use serde_json::Value;
use vmkit::flags::Password;
use vmkit::http_server::{AppRoute, Reply, Request};

use crate::explain::{Asked, Settings, Words, explain, subject};
use crate::generation::{Generation, Serving};

/// Largest description of a request.
const MAX_BODY: usize = 256 * 1024;

/// The route; `key` is `-statusAuthKey`.
pub(super) fn route(settings: Settings, serving: Arc<Serving<Generation>>, key: &Password) -> AppRoute {
    let settings = Arc::new(settings);
    let route = AppRoute::new("/vmauth/explain", move |request| {
        let (settings, serving) = (settings.clone(), serving.clone());
        Box::pin(async move { answer(request, &settings, &serving).await })
    });
    route.with_key(key.clone(), "-statusAuthKey").guarded_by(key.clone())
}

async fn answer(request: &mut Request<'_>, settings: &Settings, serving: &Serving<Generation>) -> Reply {
    if request.exchange.head.method() != "POST" {
        return Reply::error(405, "send a POST with a JSON object such as {\"url\": \"/api/v1/query\"}");
    }
    let body = match request.read_body(MAX_BODY).await {
        Ok(body) => body,
        Err(error) => return Reply::error(error.status(), &error.to_string()),
    };
    let asked = words(&body).and_then(|words| Asked::new(&words).map_err(|error| error.to_string()));
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => return Reply::error(400, &error),
    };
    let generation = serving.load();
    let answer = explain(settings, &generation, &asked).await;
    match request.query_arg("format").as_deref() {
        Some(b"text") => Reply::text(200, answer.text(false)),
        _ => Reply::json(200, format!("{:#}\n", answer.json(false))),
    }
}

/// Reads the description of a request.
fn words(body: &[u8]) -> Result<Words, String> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| format!("the body is no JSON object: {error}"))?;
    let mut words = Words::default();
    for (name, value) in object {
        let text = || value.as_str().map(str::to_owned).ok_or_else(|| format!("{name} must be a text"));
        match name.as_str() {
            "method" => words.method = text()?,
            "url" => words.url = text()?,
            "user" => words.basic = Some(text()?),
            "bearer" => words.bearer = Some(text()?),
            "data" => words.body = Some(text()?),
            "client" => words.client = Some(text()?.parse().map_err(|_| "client must be an IP address".to_owned())?),
            "cert" => words.certificate = Some(subject(&text()?)?),
            "headers" => {
                let list = value.as_array().map(|items| items.iter().map(|item| item.as_str().map(str::to_owned)));
                let list: Option<Option<Vec<String>>> = list.map(Iterator::collect);
                words.headers = list.flatten().ok_or("headers must be a list of texts: [\"Name: value\"]")?;
            }
            _ => {
                let known = "method, url, headers, user, bearer, data, client, cert";
                return Err(format!("there is no field {name:?}; known are {known}"));
            }
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions() {
        let words = words(br#"{"url": "/a", "headers": ["A: b"], "client": "10.0.0.1", "cert": "CN=x"}"#).unwrap();
        assert_eq!((words.url.as_str(), words.headers.as_slice()), ("/a", &["A: b".to_owned()][..]));
        assert_eq!(words.client, "10.0.0.1".parse().ok());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let f = |body: &str, want: &str| assert!(words(body.as_bytes()).unwrap_err().contains(want), "{body}");
        f("[]", "no JSON object");
        f(r#"{"url": 1}"#, "url must be a text");
        f(r#"{"headers": {"A": "b"}}"#, "headers must be a list");
        f(r#"{"client": "x"}"#, "client must be an IP address");
        f(r#"{"uri": "/"}"#, "there is no field \"uri\"");
    }
}
