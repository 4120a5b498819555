//! Which path is answered by which page. Paths of pages are served under `/prometheus` as well.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use vmkit::http_server::{AppRoute, Reply, ReplyFuture, Request};
use vmkit::service::Service;

use super::Start;
use super::rules::RuleTexts;
use crate::pages::{
    Args, PageReply, api_targets, config_page, index, relabel_debug, service_discovery, target_response, targets, view,
};
use crate::push_in::{PushIn, PushOptions};
use crate::remote_write::Sink;
use crate::scrape::Scraping;

/// Largest form that is read.
const MAX_FORM: usize = 1 << 20;

/// What pages look at.
pub(super) struct Shown {
    pub(super) scraping: Arc<Scraping>,
    pub(super) rules: Arc<RuleTexts>,
}

impl Shown {
    /// The jobs; without what was dropped where nothing is kept of it.
    fn jobs(&self) -> Vec<view::JobView> {
        let mut jobs = view::jobs(&self.scraping.state);
        if self.scraping.options.drop_original_labels {
            jobs.iter_mut().for_each(|job| job.dropped.clear());
        }
        jobs
    }
}

/// Adds all routes; the one for pushes goes last, because it takes every path.
pub(super) fn add(service: &mut Service, start: &Start, shown: Shown, sink: &Sink) {
    let shown = Arc::new(shown);
    index(service, start);
    ready(service, &shown);
    pages(service, &shown);
    configs(service, start, &shown);
    let flags = &start.flags;
    let options = PushOptions {
        max_request_size: flags.bytes("maxInsertRequestSize").as_usize(),
        max_concurrent: usize::try_from(flags.int("maxConcurrentInserts")).unwrap_or(1),
        max_queue_duration: flags.duration("insert.maxQueueDuration").as_std(),
        metadata: flags.bool("enableMetadata"),
        tenants: flags.bool("enableMultitenantHandlers"),
        tenants_in_headers: flags.bool("enableMultitenancyViaHeaders"),
    };
    service.route(PushIn::new(options, sink.clone(), service.registry.common()).route());
}

/// `GET /`.
fn index(service: &mut Service, start: &Start) {
    let page = index::answer(&start.app.version);
    service.route(AppRoute::new("/", move |request| {
        let is_get = matches!(request.exchange.head.method(), "GET" | "HEAD");
        let page = page.clone();
        Box::pin(async move {
            if is_get {
                reply(page)
            } else {
                Reply::error(400, "unsupported path requested: \"/\"")
            }
        })
    }));
}

fn ready(service: &mut Service, shown: &Arc<Shown>) {
    let discovery = Arc::clone(&shown.scraping.discovery);
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

type Page = fn(&Shown, &Args<'_>, bool) -> PageReply;

/// Pages about targets and relabeling.
fn pages(service: &mut Service, shown: &Arc<Shown>) {
    let table: [(&'static str, &'static str, Page); 5] = [
        ("/targets", "/prometheus/targets", |shown, args, html| {
            targets::answer(&shown.jobs(), args, html, SystemTime::now())
        }),
        ("/service-discovery", "/prometheus/service-discovery", |shown, args, _| {
            let jobs = shown.jobs();
            let template = &shown.scraping.options.cluster.member_url_template;
            service_discovery::answer(&jobs, &shown.scraping.discovery.status(), template, args, SystemTime::now())
        }),
        ("/api/v1/targets", "/prometheus/api/v1/targets", |shown, args, _| {
            api_targets::answer(&shown.jobs(), args)
        }),
        ("/metric-relabel-debug", "/prometheus/metric-relabel-debug", |shown, args, _| {
            let find = |id| relabel_debug::rules_of(&shown.scraping.state, id);
            relabel_debug::metric(args, &shown.rules.for_pages(), find)
        }),
        ("/target-relabel-debug", "/prometheus/target-relabel-debug", |shown, args, _| {
            relabel_debug::target(args, |id| relabel_debug::rules_of(&shown.scraping.state, id))
        }),
    ];
    for (path, alias, page) in table {
        let requests = service.registry.common().counter(&counter_name(path));
        for path in [path, alias] {
            let shown = Arc::clone(shown);
            let route = AppRoute::new(path, move |request| answer(request, Arc::clone(&shown), page));
            service.route(route.counted(Arc::clone(&requests)));
        }
    }
    let requests = service.registry.common().counter(&counter_name("/target_response"));
    let errors = service.registry.common().counter("vmagent_http_request_errors_total{path=\"/target_response\"}");
    for path in ["/target_response", "/prometheus/target_response"] {
        let (shown, errors) = (Arc::clone(shown), Arc::clone(&errors));
        let route = AppRoute::new(path, move |request| {
            let (shown, errors) = (Arc::clone(&shown), Arc::clone(&errors));
            Box::pin(async move {
                let text = arg_text(request).await;
                let args = Args(&text);
                let Some((_, target)) = args.id().and_then(|id| shown.scraping.state.find_active(id)) else {
                    errors.inc();
                    return reply(target_response::not_found(&args));
                };
                let page = shown.scraping.fetch_page(&target).await;
                if page.is_err() {
                    errors.inc();
                }
                reply(target_response::fetched(&args, page))
            })
        });
        service.route(route.counted(Arc::clone(&requests)));
    }
}

/// Pages about configs, behind `-configAuthKey`.
fn configs(service: &mut Service, start: &Start, shown: &Arc<Shown>) {
    let table: [(&'static str, Option<&'static str>, Page); 6] = [
        ("/config", Some("/prometheus/config"), |shown, _, _| {
            config_page::answer(&shown.scraping.config.load().sources)
        }),
        ("/api/v1/status/config", Some("/prometheus/api/v1/status/config"), |shown, _, _| {
            config_page::api_answer(&shown.scraping.config.load().sources)
        }),
        ("/remotewrite-relabel-config", None, |shown, _, _| text_page(shown.rules.global())),
        ("/api/v1/status/remotewrite-relabel-config", None, |shown, _, _| config_page::api_yaml(&shown.rules.global())),
        ("/remotewrite-url-relabel-config", None, |shown, _, _| text_page(shown.rules.by_url_yaml())),
        ("/api/v1/status/remotewrite-url-relabel-config", None, |shown, _, _| {
            config_page::api_yaml(&shown.rules.by_url_yaml())
        }),
    ];
    for (path, alias, page) in table {
        let requests = service.registry.common().counter(&counter_name(path));
        for path in std::iter::once(path).chain(alias) {
            let shown = Arc::clone(shown);
            let route = AppRoute::new(path, move |request| answer(request, Arc::clone(&shown), page));
            let route =
                route.counted(Arc::clone(&requests)).with_key(start.options.config_key.clone(), "-configAuthKey");
            service.route(route);
        }
    }
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
        service.route(route.with_key(start.service.access.reload_key.clone(), "-reloadAuthKey"));
    }
}

fn answer<'r>(request: &'r mut Request<'_>, shown: Arc<Shown>, page: Page) -> ReplyFuture<'r> {
    let html = request.exchange.head.values("accept").any(|value| memchr::memmem::find(value, b"text/html").is_some());
    Box::pin(async move {
        let text = arg_text(request).await;
        // A page of thousands of targets takes milliseconds, which the connections of this worker must not wait for.
        match tokio::task::spawn_blocking(move || page(&shown, &Args(&text), html)).await {
            Ok(page) => reply(page),
            Err(error) => Reply::error(500, &format!("cannot make the page: {error}")),
        }
    })
}

/// The query, and behind it a form body.
async fn arg_text(request: &mut Request<'_>) -> Vec<u8> {
    let mut text = request.exchange.head.query().unwrap_or_default().to_vec();
    let is_form = |value: &[u8]| value.to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded");
    if request.exchange.head.values("content-type").any(is_form)
        && let Ok(body) = request.read_body(MAX_FORM).await
    {
        text.push(b'&');
        text.extend_from_slice(&body);
    }
    text
}

fn text_page(text: String) -> PageReply {
    PageReply { status: 200, content_type: crate::pages::TEXT, body: text.into_bytes() }
}

fn reply(page: PageReply) -> Reply {
    let reply = Reply::new(page.status, page.content_type, page.body);
    if page.content_type == crate::pages::JSON {
        return reply.with_header(Cow::Borrowed("Access-Control-Allow-Origin"), "*".to_owned());
    }
    reply
}

fn counter_name(path: &str) -> String {
    format!("vmagent_http_requests_total{{path=\"{path}\"}}")
}
