//! `/service-discovery`: everything that was discovered, scraped or not and why, and how discovery itself fares.

use super::html::{self, escape, push_code, push_escaped};
use super::view::{DroppedView, JobView};
use super::{Args, Filter, HTML, PageReply, TEXT, link_id, targets};
use crate::discovery::EntryStatus;
use std::fmt::Write;
use std::time::SystemTime;

/// The page. `member_url` is `-promscrape.cluster.memberURLTemplate`.
pub fn answer(
    jobs: &[JobView],
    entries: &[EntryStatus],
    member_url: &str,
    args: &Args<'_>,
    now: SystemTime,
) -> PageReply {
    let filter = match Filter::of(args) {
        Ok(filter) => filter,
        Err(error) => return PageReply::new(TEXT, error),
    };
    let mut content = targets::form(args, "service-discovery");
    for job in jobs {
        let Some(active) = filter.of_job(job) else { continue };
        let _ = writeln!(
            content,
            "<details open><summary><h2>{} ({}/{} active)</h2></summary>",
            escape(&job.name),
            job.targets.len(),
            job.targets.len() + job.dropped_total
        );
        sources(&mut content, entries.iter().filter(|entry| *entry.job == *job.name), now);
        content.push_str(
            "<table><thead><tr><th>Status</th><th>Discovered Labels</th><th>Target Labels</th>\
             <th>Debug relabeling</th></tr></thead>\n<tbody>\n",
        );
        for target in active {
            let (class, state) = if target.up { ("up", "UP") } else { ("down", "DOWN") };
            let _ = write!(content, "<tr><td class=\"{class}\">{state}</td><td>");
            push_code(&mut content, &target.original.labels().to_string());
            content.push_str("</td><td>");
            push_code(&mut content, &target.labels.to_string());
            let _ = writeln!(
                content,
                "</td><td><a href=\"target-relabel-debug?id={}\">debug</a></td></tr>",
                link_id(target.id)
            );
        }
        // A search is about targets, which those are not.
        if !filter.is_set() {
            job.dropped.iter().for_each(|target| dropped(&mut content, target, member_url));
        }
        content.push_str("</tbody></table>");
        if job.dropped.len() < job.dropped_total && !filter.is_set() {
            let hidden = job.dropped_total - job.dropped.len();
            let _ = write!(content, "<p class=\"note\">{hidden} more dropped targets are not kept.</p>");
        }
        content.push_str("</details>\n");
    }
    PageReply::new(HTML, html::page("Discovered Targets", &html::tabs(&targets::kept(args)), &content))
}

fn dropped(page: &mut String, target: &DroppedView, member_url: &str) {
    let _ = write!(page, "<tr><td class=\"off\">DROPPED ({})</td><td>", escape(&target.reason));
    push_code(page, &target.original.labels().to_string());
    page.push_str("</td><td>");
    if !target.members.is_empty() {
        page.push_str("exists at ");
        for (index, member) in target.members.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            if member_url.is_empty() {
                let _ = write!(page, "{comma}shard-{member}");
            } else {
                let url = escape(&member_url.replace("%d", &member.to_string()));
                let _ = write!(page, "{comma}<a href=\"{url}\">shard-{member}</a>");
            }
        }
    }
    let _ = writeln!(page, "</td><td><a href=\"target-relabel-debug?id={}\">debug</a></td></tr>", link_id(target.id));
}

/// Where the targets of a job come from, and since when that does not work.
fn sources<'e>(page: &mut String, entries: impl Iterator<Item = &'e EntryStatus>, now: SystemTime) {
    let mut rows = String::new();
    let ago = |time: Option<SystemTime>| match time {
        Some(time) => format!("{}s ago", now.duration_since(time).unwrap_or_default().as_secs()),
        None => "never".to_owned(),
    };
    let error = |rows: &mut String, error: &Option<(SystemTime, String)>| {
        rows.push_str("<td class=\"error\">");
        if let Some((since, text)) = error {
            push_escaped(rows, text);
            let _ = write!(rows, " <span class=\"note\">(first seen {})</span>", ago(Some(*since)));
        }
        rows.push_str("</td></tr>\n");
    };
    for entry in entries {
        let _ = write!(
            rows,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td></td>",
            entry.kind,
            escape(&entry.source),
            entry.state.targets,
            ago(entry.state.updated)
        );
        error(&mut rows, &entry.state.error);
        for (what, watch) in &entry.watches {
            let _ = write!(
                rows,
                "<tr><td></td><td>{}</td><td class=\"n\">{} objects</td><td class=\"n\">{}</td><td class=\"n\">{}</td>",
                escape(what),
                watch.objects,
                ago(watch.last_list),
                ago(watch.last_event)
            );
            error(&mut rows, &watch.error);
        }
    }
    if !rows.is_empty() {
        let _ = write!(
            page,
            "<details><summary class=\"note\">sources</summary><table><thead><tr><th>Kind</th><th>Source</th>\
             <th>Found</th><th>Last list</th><th>Last event</th><th>Last error</th></tr></thead>\n<tbody>\n{rows}\
             </tbody></table></details>\n"
        );
    }
}
