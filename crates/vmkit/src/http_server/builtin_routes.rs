//! Steps 7 to 9 of the request pipeline (docs/request-path.md): path prefix, `OPTIONS`, built-in routes, the gate.
//!
//! Paths are compared decoded but not normalised, so `//health` is an application path. What is left goes to the
//! handler; on a listener that is internal only, it is an error instead.

use super::api_error::send_error;
use super::app_route::AppRoute;
use super::auth_key::{pass_gate, pass_key};
use super::{Handler, Listener, Request, Shared, pprof_routes};
use crate::percent::{arg, decode_strict, escape_at};

const PLAIN: &str = "text/plain; charset=utf-8";
/// A 16×16 icon of a single colour: 62 bytes of ICO header and bitmap header, then the pixels.
const FAVICON: &[u8] = include_bytes!("favicon.ico");

/// Built-in pages that tell nobody anything.
const PROBES: [&[u8]; 4] = [b"/health", b"/-/healthy", b"/-/ready", b"/ping"];

/// Serves one request.
pub(super) async fn serve<H: Handler>(mut request: Request<'_>, listener: &Listener, shared: &Shared, handler: &H) {
    if let Some(answers) = &shared.options.acme_answers
        && listener.tls.is_none()
        && let Some(answer) = answers.answer(request.path).await
    {
        return request.page(shared, 200, "application/octet-stream", &answer).await;
    }
    if !strip_prefix(&mut request, shared).await {
        return;
    }
    // Probes say nothing but that the process lives; who watches it need not be one of its clients.
    let is_probe = listener.internal && PROBES.contains(&request.path);
    if listener.public && !is_probe && !handler.admits(&request) {
        let (exchange, lines) = (&mut request.exchange, request.common_lines);
        let message = "access denied for the client address";
        return send_error(exchange.head, exchange.reply, lines, 403, message, &[]).await;
    }
    if request.exchange.head.method() == "OPTIONS" {
        return answer_options(&mut request, shared).await;
    }
    if listener.internal || shared.has_public_routes {
        let Some(path) = decode_strict(request.path, false) else {
            return request.plain_error(400, "malformed request path", &[]).await;
        };
        if listener.internal && builtin(&mut request, shared, &path).await {
            return;
        }
        let is_asked = |route: &&AppRoute| route.takes(&path) && route.is_served(listener.internal, listener.public);
        if let Some(route) = shared.options.app_routes.iter().find(is_asked) {
            return answer(&mut request, shared, route, listener.internal).await;
        }
        if listener.internal && !pass_gate(&mut request, shared).await {
            return;
        }
        if !listener.public {
            return request.unsupported().await;
        }
    }
    handler.handle(request).await;
}

/// Serves a route of the application. The gate stands in front of listeners with internal routes only.
async fn answer(request: &mut Request<'_>, shared: &Shared, route: &AppRoute, has_gate: bool) {
    let may_pass = match &route.key {
        Some((key, flag)) => pass_key(request, shared, key, flag).await,
        None => !has_gate || pass_gate(request, shared).await,
    };
    if may_pass {
        if let Some(requests) = &route.requests {
            requests.inc();
        }
        let reply = (route.answer)(request).await;
        request.reply(&reply).await;
    }
}

/// Removes `-http.pathPrefix`; answers and returns false when the path lacks it.
async fn strip_prefix(request: &mut Request<'_>, shared: &Shared) -> bool {
    let prefix = &shared.options.path_prefix;
    if prefix.is_empty() {
        return true;
    }
    let path = request.path;
    match after_prefix(path, prefix.as_bytes()) {
        Some([]) => {
            let mut lines = request.common_lines.clone();
            super::push_line(&mut lines, "Location", format!("{prefix}/").as_bytes());
            let _ = request.exchange.reply.send_all(302, &lines, b"").await;
            false
        }
        Some(rest) if rest.starts_with(b"/") => {
            request.path = rest;
            true
        }
        Some(_) | None => {
            shared.metrics.unsupported.inc();
            let message = format!(
                "missing -http.pathPrefix={} in the requested path {}",
                crate::go_text::quote(prefix),
                crate::go_text::quote(decode_strict(path, false).unwrap_or_default())
            );
            crate::warn!("{}", request.log_text(&message));
            request.plain_error(400, &message, &[]).await;
            false
        }
    }
}

/// What follows `-http.pathPrefix` in an encoded path; `None` when the path does not begin with it.
pub fn path_after_prefix<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    if prefix.is_empty() { Some(path) } else { after_prefix(path, prefix) }
}

/// What the server answers by itself, before the application sees the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnAnswer {
    /// What it is.
    pub name: &'static str,
    /// Its status, unless that depends on keys and on the state of the process.
    pub status: Option<u16>,
    /// Whether every listener answers so; pages are where internal requests are served only.
    pub is_everywhere: bool,
}

/// Whether a request never reaches the application. `path` is that behind `-http.pathPrefix`, still percent-encoded.
pub fn own_answer(method: &str, path: &[u8]) -> Option<OwnAnswer> {
    if method == "OPTIONS" {
        return Some(OwnAnswer { name: "OPTIONS", status: Some(204), is_everywhere: true });
    }
    let path = decode_strict(path, false)?;
    let (name, status) = match BuiltIn::of(&path) {
        Some(page) => (page.name(), page.status()),
        None if *path == *b"/-/reload" => ("/-/reload", None),
        None => return None,
    };
    Some(OwnAnswer { name, status, is_everywhere: false })
}

/// The pages that every program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BuiltIn {
    Health,
    Healthy,
    Ready,
    Ping,
    Robots,
    Metrics,
    Flags,
    Favicon,
    Pprof,
}

impl BuiltIn {
    /// The page at a decoded path.
    fn of(path: &[u8]) -> Option<Self> {
        Some(match path {
            b"/health" => Self::Health,
            b"/-/healthy" => Self::Healthy,
            b"/-/ready" => Self::Ready,
            b"/ping" => Self::Ping,
            b"/robots.txt" => Self::Robots,
            b"/metrics" => Self::Metrics,
            b"/flags" => Self::Flags,
            path if path.ends_with(b"/favicon.ico") => Self::Favicon,
            path if path.starts_with(b"/debug/pprof/") => Self::Pprof,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::Healthy => "/-/healthy",
            Self::Ready => "/-/ready",
            Self::Ping => "/ping",
            Self::Robots => "/robots.txt",
            Self::Metrics => "/metrics",
            Self::Flags => "/flags",
            Self::Favicon => "/favicon.ico",
            Self::Pprof => "/debug/pprof/",
        }
    }

    /// The status, unless it depends on more than the path.
    fn status(self) -> Option<u16> {
        match self {
            Self::Healthy | Self::Ready | Self::Robots | Self::Favicon => Some(200),
            Self::Health | Self::Ping | Self::Metrics | Self::Flags | Self::Pprof => None,
        }
    }
}

/// What follows the prefix in an encoded path, comparing decoded bytes; an encoded slash ends the prefix too.
fn after_prefix<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let mut rest = path;
    for want in prefix {
        let (got, len) = first_decoded(rest)?;
        if got != *want {
            return None;
        }
        rest = &rest[len..];
    }
    match first_decoded(rest) {
        // An encoded slash after the prefix counts as a slash; the rest must begin with a plain one to be routed.
        Some((b'/', 3)) => None,
        _ => Some(rest),
    }
}

fn first_decoded(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [b'%', ..] => Some((escape_at(text)?, 3)),
        [b, ..] => Some((*b, 1)),
        [] => None,
    }
}

async fn answer_options(request: &mut Request<'_>, shared: &Shared) {
    let mut lines = request.common_lines.clone();
    if !shared.options.disable_cors {
        for name in ["Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers"] {
            super::push_line(&mut lines, name, b"*");
        }
    }
    let _ = request.exchange.reply.send_all(204, &lines, b"").await;
}

impl Request<'_> {
    /// Answers a request for a path that nobody serves.
    pub async fn unsupported(&mut self) {
        self.shared.metrics.unsupported.inc();
        let path = decode_strict(self.path, false).unwrap_or_default();
        let message = format!("unsupported path requested: {}", crate::go_text::quote(path));
        crate::warn!("{}", self.log_text(&message));
        self.plain_error(400, &message, &[]).await;
    }
}

/// The handler of programs that serve nothing but routes.
#[derive(Clone, Copy, Debug)]
pub struct OnlyRoutes;

impl Handler for OnlyRoutes {
    async fn handle(&self, mut request: Request<'_>) {
        request.unsupported().await;
    }
}

/// Serves a built-in route; false when the path is none.
async fn builtin(request: &mut Request<'_>, shared: &Shared, path: &[u8]) -> bool {
    let metrics = &shared.metrics;
    let Some(page) = BuiltIn::of(path) else { return false };
    match page {
        BuiltIn::Health => match shared.delayed_shutdown_left() {
            None => request.page(shared, 200, PLAIN, b"OK").await,
            Some(left) => {
                let text =
                    format!("The server is in delayed shutdown mode, which will end in {:.3}s", left.as_secs_f64());
                request.plain_error(503, &text, &[]).await;
            }
        },
        BuiltIn::Healthy => request.page(shared, 200, PLAIN, b"VictoriaMetrics is Healthy.\n").await,
        BuiltIn::Ready => request.page(shared, 200, PLAIN, b"VictoriaMetrics is Ready.\n").await,
        BuiltIn::Ping => {
            let verbose = request
                .exchange
                .head
                .query()
                .is_some_and(|query| arg(query, "verbose").is_some_and(|value| *value == *b"true"));
            let status = if verbose { 200 } else { 204 };
            request.page(shared, status, "", b"").await;
        }
        BuiltIn::Robots => request.page(shared, 200, PLAIN, b"User-agent: *\nDisallow: /\n").await,
        BuiltIn::Metrics => {
            metrics.requests_metrics.inc();
            if pass_key(request, shared, &shared.options.metrics_key, "-metricsAuthKey").await {
                metrics_page(request, shared).await;
            }
        }
        BuiltIn::Flags => {
            if pass_key(request, shared, &shared.options.flags_key, "-flagsAuthKey").await {
                request.page(shared, 200, PLAIN, shared.options.flags_page.as_bytes()).await;
            }
        }
        BuiltIn::Favicon => {
            metrics.requests_favicon.inc();
            let mut lines = request.common_lines.clone();
            super::push_line(&mut lines, "Content-Type", b"image/x-icon");
            super::push_line(&mut lines, "Cache-Control", b"max-age=3600");
            let _ = request.exchange.reply.send_all(200, &lines, FAVICON).await;
        }
        BuiltIn::Pprof => {
            if pass_key(request, shared, &shared.options.pprof_key, "-pprofAuthKey").await {
                pprof_routes::serve(request, shared, path).await;
            }
        }
    }
    true
}

/// Renders on the control plane: a page of ten thousand users must not stop the requests of this worker.
async fn metrics_page(request: &mut Request<'_>, shared: &Shared) {
    let started = std::time::Instant::now();
    let render = shared.options.metrics_page.clone();
    let page = shared.control.spawn(async move { render() }).await;
    match page {
        Ok(page) => request.page(shared, 200, PLAIN, &page).await,
        Err(_) => request.plain_error(503, "cannot render metrics", &[]).await,
    }
    shared.metrics.metrics_duration.update(started.elapsed().as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let f = |path: &str, want: Option<&str>| {
            assert_eq!(after_prefix(path.as_bytes(), b"/foo/bar"), want.map(str::as_bytes), "{path:?}");
        };
        f("/foo/bar", Some(""));
        f("/foo/bar/", Some("/"));
        f("/foo%2Fbar/x", Some("/x"));
        f("/%66oo/bar/../x", Some("/../x"));
        f("/foo/barx", Some("x"));
        f("/foo", None);
        f("/foo/ba", None);
    }
}
