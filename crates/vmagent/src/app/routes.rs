//! Routes beside those of the pages: readiness, the rules of remote write, reloads, pushes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use vmkit::http_server::{AppRoute, Reply};
use vmkit::service::Service;

use super::Start;
use crate::discovery::Discovery;
use crate::pages::relabel_debug::RemoteWriteRules;
use crate::pages::routes::PageParts;
use crate::pages::{JSON, TEXT, config_page};
use crate::push_in::{PushIn, PushOptions};
use crate::remote_write::Sink;

/// Adds all routes; the one for pushes goes last, because it takes every path.
pub(super) fn add(service: &mut Service, start: &Start, pages: PageParts, sink: &Sink) {
    ready(service, &pages.scraping.discovery);
    rules(service, start, &pages.remote_rules);
    let metrics = Arc::clone(service.registry.common());
    for route in crate::pages::routes::routes(pages, &metrics) {
        service.route(route.folding_slashes());
    }
    let flags = &start.flags;
    let options = PushOptions {
        max_request_size: flags.bytes("maxInsertRequestSize").as_usize(),
        max_concurrent: usize::try_from(flags.int("maxConcurrentInserts")).unwrap_or(1),
        max_queue_duration: flags.duration("insert.maxQueueDuration").as_std(),
        metadata: flags.bool("enableMetadata"),
        tenants: flags.bool("enableMultitenantHandlers"),
        tenants_in_headers: flags.bool("enableMultitenancyViaHeaders"),
    };
    service.route(PushIn::new(options, sink.clone(), &metrics).route());
}

/// `/-/reload`: answers at once, whatever comes of it; the log and metrics tell. Goes before the route of the kit.
pub(super) fn add_reload(service: &mut Service, start: &Start) {
    let requests = service.registry.common().counter(&counter_name("/-/reload"));
    for path in ["/-/reload", "/prometheus/-/reload"] {
        let reload = service.reload_handle();
        let route = AppRoute::new(path, move |_| {
            reload.request();
            Box::pin(async { Reply::new(200, "", "") })
        });
        let route = route.counted(Arc::clone(&requests));
        service.route(route.with_key(start.service.access.reload_key.clone(), "-reloadAuthKey").folding_slashes());
    }
}

/// `/ready`: whether all kinds of discovery have had their first pass.
fn ready(service: &mut Service, discovery: &Arc<Discovery>) {
    let discovery = Arc::clone(discovery);
    service.route(AppRoute::new("/ready", move |_| {
        let pending = discovery.pending_kinds();
        Box::pin(async move {
            match pending {
                0 => Reply::text(200, "OK"),
                left => Reply::error(425, &format!("waiting for scrapes to init, left: {left}")),
            }
        })
    }));
}

/// The rules of remote write as text and as JSON, behind `-configAuthKey`.
fn rules(service: &mut Service, start: &Start, shown: &Arc<ArcSwap<RemoteWriteRules>>) {
    type Text = fn(&RemoteWriteRules) -> String;
    let global: Text = |rules| rules.global.clone();
    let table: [(&'static str, bool, Text); 4] = [
        ("/remotewrite-relabel-config", false, global),
        ("/api/v1/status/remotewrite-relabel-config", true, global),
        ("/remotewrite-url-relabel-config", false, by_url_yaml),
        ("/api/v1/status/remotewrite-url-relabel-config", true, by_url_yaml),
    ];
    for (path, json, text) in table {
        let shown = Arc::clone(shown);
        let route = AppRoute::new(path, move |_| {
            let text = text(&shown.load());
            Box::pin(async move {
                if json {
                    Reply::new(200, JSON, config_page::api_yaml(&text).body)
                } else {
                    Reply::new(200, TEXT, text)
                }
            })
        });
        let route = route.counted(service.registry.common().counter(&counter_name(path)));
        service.route(route.with_key(start.options.config_key.clone(), "-configAuthKey").folding_slashes());
    }
}

/// The files of each remote as a YAML list.
fn by_url_yaml(rules: &RemoteWriteRules) -> String {
    let mut page = String::new();
    for (name, text) in &rules.by_url {
        let text = text.trim_end();
        page += &format!("- url: {name}\n");
        if text.is_empty() {
            page += "  relabel_config: null\n";
        } else {
            page += "  relabel_config:\n";
            text.lines().for_each(|line| page += &format!("  {line}\n"));
        }
    }
    page
}

fn counter_name(path: &str) -> String {
    format!("vmagent_http_requests_total{{path=\"{path}\"}}")
}
