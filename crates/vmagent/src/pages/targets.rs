//! `/targets`: jobs with their targets, as text for people at a terminal and as HTML for browsers.

use super::html::{self, escape, push_code, push_escaped};
use super::view::{JobView, TargetView};
use super::{Args, Filter, HTML, PageReply, TEXT, ago, link_id, milliseconds, size};
use std::fmt::Write;
use std::time::SystemTime;

/// More targets than this are shown without their original labels, which are many times as long as all else.
const MAX_WITH_ORIGINAL: usize = 1000;

/// The page; HTML if the client asks for it.
pub fn answer(jobs: &[JobView], args: &Args<'_>, accepts_html: bool, now: SystemTime) -> PageReply {
    let filter = match Filter::of(args) {
        Ok(filter) => filter,
        Err(error) => return PageReply::new(TEXT, error),
    };
    let shown = jobs.iter().filter_map(|job| Some((job, filter.of_job(job)?)));
    if accepts_html {
        PageReply::new(HTML, page(&shown.collect::<Vec<_>>(), args, now))
    } else {
        PageReply::new(TEXT, text(shown, args.flag("show_original_labels"), now))
    }
}

fn up_count(job: &JobView) -> String {
    let up = job.targets.iter().filter(|target| target.up).count();
    format!("{up}/{} up", job.targets.len())
}

fn text<'j>(
    jobs: impl Iterator<Item = (&'j JobView, Vec<&'j TargetView>)>,
    with_original: bool,
    now: SystemTime,
) -> String {
    let mut text = String::new();
    for (job, targets) in jobs {
        let _ = writeln!(text, "job={} ({})", job.name, up_count(job));
        for target in targets {
            let state = if target.up { "up" } else { "down" };
            let _ = write!(text, "\tstate={state}, endpoint={}, labels={}, ", target.url, target.labels);
            if with_original {
                let _ = write!(text, "originalLabels={}, ", target.original.labels());
            }
            let _ = writeln!(
                text,
                "scrapes_total={}, scrapes_failed={}, last_scrape={}, scrape_duration={}, scrape_response_size={}, \
                 samples_scraped={}, error={}",
                target.scrapes,
                target.failed,
                ago(target.last_scrape, now),
                milliseconds(target.duration),
                size(target),
                target.samples,
                target.error
            );
        }
    }
    text
}

fn page(jobs: &[(&JobView, Vec<&TargetView>)], args: &Args<'_>, now: SystemTime) -> String {
    let mut content = form(args, "targets");
    let count: usize = jobs.iter().map(|(_, targets)| targets.len()).sum();
    let with_original = count <= MAX_WITH_ORIGINAL || args.flag("show_original_labels");
    if jobs.is_empty() {
        content.push_str("<p class=\"note\">No target fits.</p>\n");
    }
    for (job, targets) in jobs {
        let _ = writeln!(
            content,
            "<details open><summary><h2 class=\"{}\">{} ({})</h2></summary>",
            if job.targets.iter().all(|target| target.up) { "up" } else { "down" },
            escape(&job.name),
            up_count(job)
        );
        content.push_str(
            "<table><thead><tr><th>Endpoint</th><th>State</th><th>Labels</th><th>Debug relabeling</th><th>Scrapes</th>\
             <th>Errors</th><th>Last Scrape</th><th>Duration</th><th>Last Scrape Size</th><th>Samples</th>\
             <th>Last error</th></tr></thead>\n<tbody>\n",
        );
        for target in targets {
            row(&mut content, target, with_original, now);
        }
        content.push_str("</tbody></table></details>\n");
    }
    html::page("Active Targets", &html::tabs(&kept(args)), &content)
}

fn row(page: &mut String, target: &TargetView, with_original: bool, now: SystemTime) {
    let (id, url) = (link_id(target.id), escape(&target.url));
    let _ = write!(page, "<tr><td><a href=\"{url}\">{url}</a> (<a href=\"target_response?id={id}\">response</a>)</td>");
    let state = if target.up { "<td class=\"up\">UP</td>" } else { "<td class=\"down\">DOWN</td>" };
    page.push_str(state);
    page.push_str("<td>");
    push_code(page, &target.labels.to_string());
    if with_original {
        page.push_str("<details><summary class=\"note\">original labels</summary>");
        push_code(page, &target.original.labels().to_string());
        page.push_str("</details>");
    }
    let _ = write!(
        page,
        "</td><td><a href=\"target-relabel-debug?id={id}\">target</a> <a href=\"metric-relabel-debug?id={id}\">metrics</a>\
         </td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"error\">",
        target.scrapes,
        target.failed,
        ago(target.last_scrape, now),
        milliseconds(target.duration),
        size(target),
        target.samples
    );
    push_escaped(page, &target.error);
    page.push_str("</td></tr>\n");
}

/// Links to all and to unhealthy targets, and the search.
pub(super) fn form(args: &Args<'_>, path: &str) -> String {
    let search = |name: &str| args.text(name);
    let all = query(&[("endpoint_search", &search("endpoint_search")), ("label_search", &search("label_search"))]);
    let unhealthy = if all.is_empty() { String::new() } else { format!("&amp;{}", escape(&all)) };
    let mut form = format!(
        "<form method=\"get\" action=\"{path}\"><a href=\"{path}?{}\">All</a> \
         <a href=\"{path}?show_only_unhealthy=true{unhealthy}\">Unhealthy</a>\n",
        escape(&all)
    );
    html::push_field(&mut form, "endpoint_search", "scrape URL, a regular expression", &search("endpoint_search"));
    html::push_field(&mut form, "label_search", r#"labels: {job="x"}"#, &search("label_search"));
    html::push_hidden(&mut form, "show_only_unhealthy", &search("show_only_unhealthy"));
    html::push_hidden(&mut form, "show_original_labels", &search("show_original_labels"));
    form.push_str("<button type=\"submit\">Filter targets</button></form>\n");
    form
}

/// The args that both pages of targets understand, as a query.
pub(super) fn kept(args: &Args<'_>) -> String {
    let names = ["endpoint_search", "label_search", "show_only_unhealthy", "show_original_labels"];
    let values: Vec<(&str, String)> = names.into_iter().map(|name| (name, args.text(name))).collect();
    query(&values.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
}

fn query(args: &[(&str, &str)]) -> String {
    let mut query = Vec::new();
    for (name, value) in args.iter().filter(|(_, value)| !value.is_empty()) {
        if !query.is_empty() {
            query.push(b'&');
        }
        query.extend_from_slice(name.as_bytes());
        query.push(b'=');
        vmkit::percent::push_form(&mut query, value.as_bytes());
    }
    String::from_utf8(query).unwrap_or_default()
}
