//! What the process is doing, for people and scripts: `/vmauth/status` and what belongs to it (docs/reference/status.md).
//!
//! Stands on internal listeners; where requests of users are served its paths exist only with `-statusAuthKey`, since
//! they may be paths of users. State is collected on the control plane, on demand; requests pay nothing for it. Nothing
//! here changes how requests are served; what can be switched is logging alone.

mod backend_metrics;
mod collect;
mod logging;
mod model;
mod page;
mod token_check;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;
use vmkit::flags::Password;
use vmkit::http_server::{AppRoute, Reply, Request};
use vmkit::percent;

pub use backend_metrics::write as write_backend_metrics;
pub use collect::{Sources, Wanted};
pub use model::Status;
pub use token_check::{TokenCheck, check};

const HTML: &str = "text/html; charset=utf-8";
/// Longest body of a form.
const MAX_FORM: usize = 256 * 1024;

/// Paths of [`routes`], and of the explanations beside them.
pub const PATHS: [&str; 7] = [
    "/vmauth/status",
    "/vmauth/status-token",
    "/vmauth/status-logging",
    "/vmauth/status-config",
    "/vmauth/status.css",
    "/vmauth/status.js",
    "/vmauth/explain",
];

/// The routes. `control` runs what takes milliseconds.
pub fn routes(sources: &Arc<Sources>, key: &Password, control: &Handle) -> Vec<AppRoute> {
    let with_key = |route: AppRoute| route.with_key(key.clone(), "-statusAuthKey").guarded_by(key.clone());
    // Style and script tell nobody anything, and links to them have no key.
    let file = |path, content_type: &'static str, text: &'static str| {
        let file = AppRoute::new(path, move |_| Box::pin(async move { Reply::new(200, content_type, text) }));
        file.guarded_by(key.clone())
    };
    let (state, token, switches, config) = (sources.clone(), sources.clone(), sources.clone(), sources.clone());
    let (on_state, on_token, on_config) = (control.clone(), control.clone(), control.clone());
    vec![
        with_key(AppRoute::new("/vmauth/status", move |request| {
            let (sources, control) = (state.clone(), on_state.clone());
            Box::pin(async move { state_page(request, sources, &control).await })
        })),
        with_key(AppRoute::new("/vmauth/status-token", move |request| {
            let (sources, control) = (token.clone(), on_token.clone());
            Box::pin(async move { token_page(request, sources, &control).await })
        })),
        with_key(AppRoute::new("/vmauth/status-logging", move |request| {
            let sources = switches.clone();
            Box::pin(async move { logging_page(request, &sources).await })
        })),
        with_key(AppRoute::new("/vmauth/status-config", move |request| {
            let (sources, control) = (config.clone(), on_config.clone());
            Box::pin(async move { config_page(request, sources, &control).await })
        })),
        file("/vmauth/status.css", "text/css; charset=utf-8", include_str!("status/status.css")),
        file("/vmauth/status.js", "text/javascript; charset=utf-8", include_str!("status/status.js")),
    ]
}

async fn state_page(request: &Request<'_>, sources: Arc<Sources>, control: &Handle) -> Reply {
    let wanted = match wanted(request) {
        Ok(wanted) => wanted,
        Err(problem) => return Reply::error(400, &problem),
    };
    let (as_json, query) = (wants_json(request), query(request));
    let rendered = control.spawn(async move {
        let status = sources.collect(&wanted);
        if as_json { json(&status) } else { html(page::status(&status, &query)) }
    });
    rendered.await.unwrap_or_else(|_| Reply::error(503, "cannot collect the state"))
}

async fn token_page(request: &mut Request<'_>, sources: Arc<Sources>, control: &Handle) -> Reply {
    if request.exchange.head.method() != "POST" {
        return Reply::error(405, "send the token in the body of a POST, so that it gets into no log")
            .with_header("Allow", "POST".to_owned());
    }
    let body = match request.read_body(MAX_FORM).await {
        Ok(body) => body,
        Err(error) => return Reply::error(error.status(), &error.to_string()),
    };
    let body = String::from_utf8_lossy(&body).trim().to_owned();
    let pasted = body.strip_prefix("token=").unwrap_or(&body).trim().to_owned();
    let (as_json, query) = (wants_json(request), query(request));
    let rendered = control.spawn(async move {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let found = check(&sources.shared.serving.load(), &pasted, now);
        if as_json { json(&found) } else { html(page::token(&found, &query)) }
    });
    rendered.await.unwrap_or_else(|_| Reply::error(503, "cannot check the token"))
}

async fn logging_page(request: &mut Request<'_>, sources: &Sources) -> Reply {
    if request.exchange.head.method() != "POST" {
        return Reply::error(405, "logging is switched by POST").with_header("Allow", "POST".to_owned());
    }
    if logging::is_from_elsewhere(request) {
        return Reply::error(403, "logging cannot be switched by pages of other sites");
    }
    let mut args = request.exchange.head.query().unwrap_or_default().to_vec();
    match request.read_body(MAX_FORM).await {
        Ok(body) => {
            args.push(b'&');
            args.extend_from_slice(&body);
        }
        Err(error) => return Reply::error(error.status(), &error.to_string()),
    }
    let switched = logging::Wish::parse(&args).and_then(|wish| wish.apply(&sources.shared.switches));
    match switched {
        Ok(text) => {
            vmkit::info!("logging was switched by {}: {text}", request.client.addr);
            Reply::text(200, format!("{text}\n"))
        }
        Err(problem) => Reply::error(400, &problem),
    }
}

async fn config_page(request: &Request<'_>, sources: Arc<Sources>, control: &Handle) -> Reply {
    let (as_text, query) = (query_has(request, "format", b"text"), query(request));
    let effective = control.spawn_blocking(move || sources.config.effective());
    match effective.await {
        Ok(Ok(text)) if as_text => Reply::text(200, text).with_header("Cache-Control", "no-store".to_owned()),
        Ok(Ok(text)) => html(page::config(&text, &query)),
        Ok(Err(problems)) => Reply::error(500, &problems),
        Err(_) => Reply::error(503, "cannot show the config"),
    }
}

fn html(page: String) -> Reply {
    Reply::new(200, HTML, page).with_header("Cache-Control", "no-store".to_owned())
}

fn json<T: serde::Serialize>(value: &T) -> Reply {
    match serde_json::to_vec(value) {
        Ok(text) => Reply::json(200, text).with_header("Cache-Control", "no-store".to_owned()),
        Err(error) => Reply::error(500, &error.to_string()),
    }
}

fn wants_json(request: &Request<'_>) -> bool {
    query_has(request, "format", b"json")
        || request.header("Accept").is_some_and(|accept| accept.starts_with("application/json"))
}

fn query_has(request: &Request<'_>, name: &str, value: &[u8]) -> bool {
    request.query_arg(name).is_some_and(|found| *found == *value)
}

fn query(request: &Request<'_>) -> String {
    String::from_utf8_lossy(request.exchange.head.query().unwrap_or_default()).into_owned()
}

fn wanted(request: &Request<'_>) -> Result<Wanted, String> {
    let text = |name: &str| {
        let found = request.exchange.head.query().and_then(|query| percent::arg(query, name));
        found.map(|found| String::from_utf8_lossy(&found).into_owned())
    };
    let number = |name: &str, usual: usize| match text(name) {
        Some(given) => given.parse().map_err(|_| format!("{name}={given} must be a number")),
        None => Ok(usual),
    };
    let usual = Wanted::default();
    Ok(Wanted {
        user: text("user").unwrap_or_default(),
        backend: text("backend").unwrap_or_default(),
        offset: number("offset", usual.offset)?,
        limit: number("limit", usual.limit)?,
    })
}
