//! The page and its API: figures to read, faults to switch, queries to draw.
//!
//! ```text
//! GET /   GET /api/state   POST /api/fault/NAME?on=1   GET /select/TENANT/prometheus/api/v1/…
//! ```
//!
//! Only pages of this very server may switch something: a request that names another origin or another host is refused,
//! so that no site in the same browser, by whatever name it reaches this address, can do it.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use vmkit::http_server::{AppRoute, Reply, Request};
use vmkit::service::Service;

use crate::fault::Fault;
use crate::figures::Figures;
use crate::store::Store;

const PAGE: &str = include_str!("console/page.html");

/// Asks the owner of the stack to switch a fault.
#[derive(Debug)]
pub struct Switch {
    /// Which.
    pub fault: Fault,
    /// `None` for the other way round.
    pub on: Option<bool>,
    /// Hears what came of it.
    pub done: oneshot::Sender<Result<(), String>>,
}

/// Adds the routes. Switches go to `switches`, figures come from `figures`.
pub fn add(
    service: &mut Service,
    store: Arc<Store>,
    figures: watch::Receiver<Arc<Figures>>,
    switches: mpsc::Sender<Switch>,
) {
    let page = AppRoute::new("/", |_| {
        let page = Reply::new(200, "text/html; charset=utf-8", PAGE);
        Box::pin(async { page.with_header("Cache-Control", "no-store".to_owned()) })
    });
    service.route(page.public());
    let state = AppRoute::new("/api/state", move |_| {
        let figures = figures.borrow().clone();
        Box::pin(async move { reply_of(&figures) })
    });
    service.route(state.public());
    let queries = AppRoute::prefix("/select/", move |request| {
        let store = store.clone();
        Box::pin(async move { store.answer(request).await })
    });
    service.route(queries.public());
    let faults = AppRoute::prefix("/api/fault/", move |request| {
        let switches = switches.clone();
        Box::pin(async move { switch(request, &switches).await })
    });
    service.route(faults.public());
}

fn reply_of(figures: &Figures) -> Reply {
    let faults: Vec<_> = Fault::ALL
        .iter()
        .map(|fault| json!({"name": fault.name(), "shows": fault.shows(), "momentary": fault.is_momentary()}))
        .collect();
    let all = json!({"figures": figures, "faults": faults});
    Reply::json(200, all.to_string()).with_header("Cache-Control", "no-store".to_owned())
}

async fn switch(request: &mut Request<'_>, switches: &mpsc::Sender<Switch>) -> Reply {
    if request.exchange.head.method() != "POST" {
        return Reply::error(405, "switch a fault by POST");
    }
    if !is_own(request.header("host"), request.header("origin")) {
        return Reply::error(403, "only this server's own page may switch faults");
    }
    let name = request.path.strip_prefix(b"/api/fault/").unwrap_or_default();
    let fault: Fault = match String::from_utf8_lossy(name).parse() {
        Ok(fault) => fault,
        Err(error) => return Reply::error(404, &error),
    };
    let on = request.query_arg("on").map(|value| *value == *b"1");
    let (done, heard) = oneshot::channel();
    if switches.try_send(Switch { fault, on, done }).is_err() {
        return Reply::error(503, "another fault is being switched");
    }
    match heard.await {
        Ok(Ok(())) => Reply::no_content(),
        Ok(Err(error)) => Reply::error(500, &error),
        Err(_) => Reply::error(503, "devstack is stopping"),
    }
}

/// Whether a request comes from our own page, or from a program that is no browser.
fn is_own(host: Option<&str>, origin: Option<&str>) -> bool {
    let Some(host) = host else { return false };
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    let ip = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let is_here = name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback());
    is_here
        && origin.is_none_or(|origin| origin.strip_prefix("http://").is_some_and(|own| own.eq_ignore_ascii_case(host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_page_may_switch() {
        let f = |host: &str, origin: Option<&str>, want: bool| {
            assert_eq!(is_own(Some(host), origin), want, "{host} {origin:?}")
        };
        f("127.0.0.1:8400", None, true);
        f("127.0.0.1:8400", Some("http://127.0.0.1:8400"), true);
        f("localhost:8400", Some("http://LOCALHOST:8400"), true);
        f("[::1]:8400", Some("http://[::1]:8400"), true);
        f("127.0.0.1:8400", Some("http://localhost:8400"), false);
        f("127.0.0.1:8400", Some("http://example.com"), false);
        f("127.0.0.1:8400", Some("null"), false);
        f("rebound.example.com:8400", Some("http://rebound.example.com:8400"), false);
        f("127.0.0.1.example.com", None, false);
        assert!(!is_own(None, None));
    }
}
