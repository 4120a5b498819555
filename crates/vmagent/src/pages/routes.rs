//! The routes of the pages: which path is answered by which page, with what it needs.
//!
//! Pages of thousands of targets take milliseconds, so they are put together on a thread that may block and never on
//! the one that serves the connection.

use super::relabel_debug::{self, RemoteWriteRules};
use super::view::JobView;
use super::{Args, PageReply, api_targets, config_page, index, service_discovery, target_response, targets, view};
use crate::http_identity::Identities;
use crate::scrape::Scraping;
use crate::scrape::connection::Network;
use crate::scrape::fetch::{FetchError, Fetcher, PageSink};
use crate::scrape::state::ActiveTarget;
use arc_swap::ArcSwap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;
use vmkit::flags::Password;
use vmkit::http_server::{AppRoute, Reply, Request};
use vmkit::metrics::Set;

/// Longest form of a debug page.
const MAX_FORM: usize = 1 << 20;
/// How much of the page of a target is shown.
const MAX_PREVIEW: usize = 16 << 20;

/// What pages stand on.
pub struct PageParts {
    /// Jobs, targets, the config in force.
    pub scraping: Arc<Scraping>,
    /// Makes what connections of a thread stand on.
    pub network: Arc<dyn Fn() -> Network + Send + Sync>,
    /// Credentials and TLS of jobs.
    pub identities: Arc<Identities>,
    /// The rules of remote write that are in force; stored by whoever loads them.
    pub remote_rules: Arc<ArcSwap<RemoteWriteRules>>,
    /// `-promscrape.cluster.memberURLTemplate`.
    pub member_url: String,
    /// `-configAuthKey`.
    pub config_key: Password,
    /// Version of the program.
    pub version: String,
}

/// What a page is made of.
struct Asked {
    args: Vec<u8>,
    accepts_html: bool,
}

type Answer = fn(&PageParts, &Asked) -> PageReply;

/// All routes, with their counters in `metrics`.
pub fn routes(parts: PageParts, metrics: &Set) -> Vec<AppRoute> {
    let parts = Arc::new(parts);
    let pages: [([&'static str; 2], Answer); 6] = [
        (["/targets", "/prometheus/targets"], |parts, asked| {
            let jobs = jobs(parts);
            targets::answer(&jobs, &Args(&asked.args), asked.accepts_html, SystemTime::now())
        }),
        (["/service-discovery", "/prometheus/service-discovery"], |parts, asked| {
            let (jobs, entries) = (jobs(parts), parts.scraping.discovery.status());
            service_discovery::answer(&jobs, &entries, &parts.member_url, &Args(&asked.args), SystemTime::now())
        }),
        (["/api/v1/targets", "/prometheus/api/v1/targets"], |parts, asked| {
            api_targets::answer(&jobs(parts), &Args(&asked.args))
        }),
        (["/metric-relabel-debug", "/prometheus/metric-relabel-debug"], |parts, asked| {
            let find = |id| relabel_debug::rules_of(&parts.scraping.state, id);
            relabel_debug::metric(&Args(&asked.args), &parts.remote_rules.load(), find)
        }),
        (["/target-relabel-debug", "/prometheus/target-relabel-debug"], |parts, asked| {
            relabel_debug::target(&Args(&asked.args), |id| relabel_debug::rules_of(&parts.scraping.state, id))
        }),
        (["/config", "/prometheus/config"], |parts, _| config_page::answer(&parts.scraping.config.load().sources)),
    ];
    let counter = |path: &str| metrics.counter(&format!("vmagent_http_requests_total{{path=\"{path}\"}}"));
    let mut routes = Vec::new();
    let mut add = |paths: [&'static str; 2], answer: Answer, counted: &str, key: Option<&Password>| {
        for path in paths {
            let route = page_route(path, Arc::clone(&parts), answer).counted(counter(counted));
            routes.push(match key {
                Some(key) => route.with_key(key.clone(), "-configAuthKey"),
                None => route,
            });
        }
    };
    for (paths, answer) in pages {
        let key = paths[0].ends_with("/config").then_some(&parts.config_key);
        add(paths, answer, paths[0], key);
    }
    let api_config: Answer = |parts, _| config_page::api_answer(&parts.scraping.config.load().sources);
    let paths = ["/api/v1/status/config", "/prometheus/api/v1/status/config"];
    add(paths, api_config, paths[0], Some(&parts.config_key));
    for path in ["/target_response", "/prometheus/target_response"] {
        let errors = metrics.counter("vmagent_http_request_errors_total{path=\"/target_response\"}");
        let parts = Arc::clone(&parts);
        let route = AppRoute::new(path, move |request| {
            let (parts, errors) = (Arc::clone(&parts), Arc::clone(&errors));
            Box::pin(async move {
                let reply = preview(&parts, &asked(request).await).await;
                if reply.status != 200 {
                    errors.inc();
                }
                to_reply(reply)
            })
        });
        routes.push(route.counted(counter("/target_response")));
    }
    let parts = Arc::clone(&parts);
    routes.push(AppRoute::new("/", move |request| {
        let is_get = matches!(request.exchange.head.method(), "GET" | "HEAD");
        let page = index::answer(&parts.version);
        Box::pin(
            async move { if is_get { to_reply(page) } else { Reply::error(400, "unsupported path requested: \"/\"") } },
        )
    }));
    routes
}

/// The jobs; without what was dropped where nothing is kept of it.
fn jobs(parts: &PageParts) -> Vec<JobView> {
    let mut jobs = view::jobs(&parts.scraping.state);
    if parts.scraping.options.drop_original_labels {
        jobs.iter_mut().for_each(|job| job.dropped.clear());
    }
    jobs
}

fn page_route(path: &'static str, parts: Arc<PageParts>, answer: Answer) -> AppRoute {
    AppRoute::new(path, move |request| {
        let parts = Arc::clone(&parts);
        Box::pin(async move {
            let asked = asked(request).await;
            match tokio::task::spawn_blocking(move || answer(&parts, &asked)).await {
                Ok(reply) => to_reply(reply),
                Err(error) => Reply::error(500, &format!("cannot make the page: {error}")),
            }
        })
    })
}

/// Query and, for forms, body; a body that cannot be read counts as none.
async fn asked(request: &mut Request<'_>) -> Asked {
    let mut args = request.exchange.head.query().map(<[u8]>::to_vec).unwrap_or_default();
    let is_form =
        request.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let accepts_html = request.header("accept").is_some_and(|kinds| kinds.contains("text/html"));
    if is_form && let Ok(form) = request.read_body(MAX_FORM).await {
        // What a form says comes first: its action may carry the args of the page before.
        args = if args.is_empty() { form } else { [form, args].join(&b'&') };
    }
    Asked { args, accepts_html }
}

fn to_reply(page: PageReply) -> Reply {
    let reply = Reply::new(page.status, page.content_type, page.body);
    let reply = reply.with_header("X-Content-Type-Options", "nosniff".to_owned());
    if page.content_type == super::JSON {
        return reply.with_header("Access-Control-Allow-Origin", "*".to_owned());
    }
    reply
}

/// Asks the target of a link for its page.
async fn preview(parts: &PageParts, asked: &Asked) -> PageReply {
    let args = Args(&asked.args);
    match args.id().and_then(|id| parts.scraping.state.find_active(id)) {
        None => target_response::not_found(&args),
        Some((_, target)) => target_response::fetched(&args, fetch(parts, &target).await),
    }
}

async fn fetch(parts: &PageParts, active: &ActiveTarget) -> Result<Vec<u8>, String> {
    let target = &active.target;
    let identity = parts.identities.get(&target.settings.http);
    let mut fetcher = Fetcher::new(Rc::new((parts.network)()), identity, parts.scraping.options.max_head);
    let mut page = Preview::default();
    match tokio::time::timeout(target.timeout, fetcher.fetch(target, &mut page)).await {
        Err(_) => Err(crate::scrape::fetch::timeout_text(target)),
        Ok(Ok(_) | Err(FetchError::Stopped)) => Ok(page.text),
        Ok(Err(error)) => Err(error.text(target)),
    }
}

/// Collects a page up to a size.
#[derive(Default)]
struct Preview {
    text: Vec<u8>,
}

impl PageSink for Preview {
    fn piece(&mut self, piece: &[u8]) {
        let room = MAX_PREVIEW.saturating_sub(self.text.len());
        self.text.extend_from_slice(piece.get(..piece.len().min(room)).unwrap_or_default());
    }

    async fn pass_on(&mut self) -> Result<(), FetchError> {
        if self.text.len() < MAX_PREVIEW { Ok(()) } else { Err(FetchError::Stopped) }
    }
}
