//! Pages and JSON about targets: what is scraped, what is not and why, what relabeling does, the config in force.
//!
//! Each page is a function from the query of a request and a picture of the state ([`view`]) to a [`PageReply`], so it
//! can be served by any route and tested without a server. HTML is written by hand, works without JavaScript and
//! under a path prefix (all links are relative); whatever comes from a config, a target or a client is escaped.
//! Nothing here changes anything, and nothing shows a secret of the config.

pub mod api_targets;
pub mod config_page;
mod html;
pub mod index;
pub mod relabel_debug;
pub mod routes;
pub mod service_discovery;
pub mod target_response;
pub mod targets;
pub mod view;

use std::time::{Duration, SystemTime};
use view::{JobView, TargetView};
use vmkit::go_regex::GoRegex;
use vmkit::percent;

use crate::relabel::Selector;

/// What a page answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageReply {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// UTF-8, or what a target sent.
    pub body: Vec<u8>,
}

/// Plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// HTML.
pub const HTML: &str = "text/html; charset=utf-8";
/// JSON.
pub const JSON: &str = "application/json";

impl PageReply {
    fn new(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, content_type, body: body.into() }
    }

    /// An error as plain text.
    fn bad_request(message: &str) -> Self {
        Self { status: 400, content_type: TEXT, body: format!("{message}\n").into_bytes() }
    }
}

/// The args of a request: its raw query, joined with a form body by `&` where there is one.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a>(pub &'a [u8]);

impl Args<'_> {
    /// The first value of an arg; empty if it is missing.
    pub fn text(&self, name: &str) -> String {
        percent::arg(self.0, name).map(|value| String::from_utf8_lossy(&value).into_owned()).unwrap_or_default()
    }

    /// Whether a flag is set; anything that is no boolean is false.
    pub fn flag(&self, name: &str) -> bool {
        matches!(&*self.text(name), "1" | "t" | "T" | "true" | "TRUE" | "True")
    }

    /// The target that a link of ours names.
    pub fn id(&self) -> Option<u64> {
        let text = self.text("id");
        if text.len() == 16 { u64::from_str_radix(&text, 16).ok() } else { None }
    }
}

/// Which targets a page shows.
struct Filter {
    only_unhealthy: bool,
    endpoint: Option<GoRegex>,
    labels: Option<Selector>,
}

impl Filter {
    /// From the args of a page; the error is a text to show.
    fn of(args: &Args<'_>) -> Result<Self, String> {
        let (endpoint, labels) = (args.text("endpoint_search"), args.text("label_search"));
        let endpoint = match &*endpoint {
            "" => None,
            text => {
                // The text is looked for anywhere in the URL; alone it says best what is wrong with it.
                let regex = GoRegex::new_bare(text).and_then(|_| GoRegex::new_dot_all(&format!(".*(?:{text}).*")));
                Some(regex.map_err(|error| format!("cannot parse {text}: error parsing regexp: {error}"))?)
            }
        };
        let labels = match &*labels {
            "" => None,
            text => Some(Selector::parse(text).map_err(|error| format!("cannot parse {text}: {error}"))?),
        };
        Ok(Self { only_unhealthy: args.flag("show_only_unhealthy"), endpoint, labels })
    }

    fn takes(&self, target: &TargetView) -> bool {
        !(self.only_unhealthy && target.up)
            && self.endpoint.as_ref().is_none_or(|regex| regex.is_match(target.url.as_bytes()))
            && self.labels.as_ref().is_none_or(|selector| selector.matches_labels(&target.labels))
    }

    fn is_set(&self) -> bool {
        self.only_unhealthy || self.endpoint.is_some() || self.labels.is_some()
    }

    /// The targets of a job that are shown; `None`: the job is left out.
    fn of_job<'j>(&self, job: &'j JobView) -> Option<Vec<&'j TargetView>> {
        let shown: Vec<&TargetView> = job.targets.iter().filter(|target| self.takes(target)).collect();
        (!shown.is_empty() || !self.is_set()).then_some(shown)
    }
}

/// How long ago a scrape was.
fn ago(time: Option<SystemTime>, now: SystemTime) -> String {
    match time {
        None => "never scraped".to_owned(),
        Some(time) => format!("{:.3}s ago", now.duration_since(time).unwrap_or_default().as_secs_f64()),
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

fn size(target: &TargetView) -> String {
    if target.last_scrape.is_none() {
        return "never scraped".to_owned();
    }
    match target.response_size {
        bytes if bytes < 1024 => format!("{bytes}B"),
        bytes => format!("{}KiB", bytes / 1024),
    }
}

/// The number of a target in links.
fn link_id(id: u64) -> String {
    format!("{id:016x}")
}

#[cfg(test)]
mod tests;
