//! `/metric-relabel-debug` and `/target-relabel-debug`: rules applied one by one, with what each of them changed.
//!
//! A form with the labels and the rules, filled in from a target when a link names one; the same as JSON for tools.
//! The rules are compiled and run by the code that runs them in earnest.

mod series;

use super::html::{self, escape, push_code};
use super::{Args, HTML, JSON, PageReply, api_targets};
use crate::config::parse_rules;
use crate::labels::{LabelBuf, Labels};
use crate::scrape::state::ScrapeState;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use vmkit::env_template::Environment;

/// What a target page or link fills in.
#[derive(Clone, Debug, Default)]
pub struct TargetRules {
    /// Labels before relabeling.
    pub original: Labels,
    /// Labels after it; none for a dropped target.
    pub labels: Labels,
    /// `relabel_configs` of its job as YAML.
    pub relabel: String,
    /// `metric_relabel_configs` of its job as YAML.
    pub metric_relabel: String,
}

/// The rules of remote write as they are in force.
#[derive(Clone, Debug, Default)]
pub struct RemoteWriteRules {
    /// Text of `-remoteWrite.relabelConfig`.
    pub global: String,
    /// For each remote its shown name and the text of its `-remoteWrite.urlRelabelConfig`.
    pub by_url: Vec<(String, String)>,
}

/// The labels and rules of the target that a link names.
pub fn rules_of(state: &ScrapeState, id: u64) -> Option<TargetRules> {
    if let Some((job, target)) = state.find_active(id) {
        let config = job.factory.job();
        return Some(TargetRules {
            original: target.original_labels(&job),
            labels: target.target.labels.clone(),
            relabel: config.relabel.to_yaml(),
            metric_relabel: config.metric_relabel.to_yaml(),
        });
    }
    let (job, target) = state.find_dropped(id)?;
    let config = job.factory.job();
    Some(TargetRules {
        original: target.original_labels(&job),
        labels: Labels::default(),
        relabel: config.relabel.to_yaml(),
        metric_relabel: config.metric_relabel.to_yaml(),
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Metric,
    Target,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    in_labels: String,
    out_labels: String,
    rule: String,
    errors: BTreeMap<String, String>,
    #[serde(skip)]
    change: (Labels, Labels),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    status: &'static str,
    steps: Vec<Step>,
    original_labels: String,
    resulting_labels: String,
}

#[derive(Serialize)]
struct Failure<'e> {
    status: &'static str,
    error: &'e str,
}

/// `/metric-relabel-debug`. `find` looks up the target that a link names.
pub fn metric(args: &Args<'_>, remote: &RemoteWriteRules, find: impl Fn(u64) -> Option<TargetRules>) -> PageReply {
    let target = match named(args, find) {
        Ok(target) => target,
        Err(error) => return failed(args, Subject::Metric, "", "", remote, &error),
    };
    let (mut text, mut rules) = (args.text("metric"), args.text("relabel_configs"));
    if text.is_empty() && rules.is_empty() {
        let of_job = target.as_ref().map_or("", |target| target.metric_relabel.as_str());
        rules = joined(of_job, remote, index(args));
        text = target.map(|target| format!("up{}", target.labels)).unwrap_or_default();
    } else if args.flag("reload_url_relabel_configs") {
        rules = joined("", remote, index(args));
    }
    answer(args, Subject::Metric, &text, &rules, remote)
}

/// `/target-relabel-debug`. `find` looks up the target that a link names.
pub fn target(args: &Args<'_>, find: impl Fn(u64) -> Option<TargetRules>) -> PageReply {
    let remote = RemoteWriteRules::default();
    let target = match named(args, find) {
        Ok(target) => target,
        Err(error) => return failed(args, Subject::Target, "", "", &remote, &error),
    };
    let (mut text, mut rules) = (args.text("metric"), args.text("relabel_configs"));
    if let (true, Some(target)) = (text.is_empty() && rules.is_empty(), target) {
        (text, rules) = (target.original.to_string(), target.relabel);
    }
    answer(args, Subject::Target, &text, &rules, &remote)
}

fn named(args: &Args<'_>, find: impl Fn(u64) -> Option<TargetRules>) -> Result<Option<TargetRules>, String> {
    let id = args.text("id");
    if id.is_empty() {
        return Ok(None);
    }
    args.id().and_then(find).map(Some).ok_or_else(|| format!("cannot find target for id={id}"))
}

fn index(args: &Args<'_>) -> usize {
    args.text("url_relabel_configs_index").parse().unwrap_or(0)
}

/// The rules that samples pass, each list under a comment that names it.
fn joined(of_job: &str, remote: &RemoteWriteRules, index: usize) -> String {
    let mut text = String::new();
    let mut push = |name: &str, rules: &str| {
        if !rules.trim().is_empty() {
            let _ = writeln!(text, "# {name}\n{}", rules.trim_end());
        }
    };
    push("metric_relabel_configs", of_job);
    push("-remoteWrite.relabelConfig", &remote.global);
    if let Some((name, rules)) = remote.by_url.get(index) {
        push(&format!("-remoteWrite.urlRelabelConfig of {name}"), rules);
    }
    text
}

fn answer(args: &Args<'_>, subject: Subject, text: &str, rules: &str, remote: &RemoteWriteRules) -> PageReply {
    match trace(subject, text, rules) {
        Err(error) => failed(args, subject, text, rules, remote, &error),
        Ok(trace) if args.text("format") == "json" => {
            let body = serde_json::to_string(&trace).unwrap_or_default();
            PageReply::new(JSON, api_targets::escaped(&body))
        }
        Ok(trace) => PageReply::new(HTML, page(args, subject, text, rules, remote, Ok(&trace))),
    }
}

fn failed(
    args: &Args<'_>,
    subject: Subject,
    text: &str,
    rules: &str,
    remote: &RemoteWriteRules,
    error: &str,
) -> PageReply {
    let error = format!("Error: {error}");
    if args.text("format") == "json" {
        let body = serde_json::to_string(&Failure { status: "error", error: &error }).unwrap_or_default();
        return PageReply::new(JSON, api_targets::escaped(&body));
    }
    PageReply::new(HTML, page(args, subject, text, rules, remote, Err(&error)))
}

fn trace(subject: Subject, text: &str, rules: &str) -> Result<Trace, String> {
    let pairs = series::parse(text).map_err(|error| format!("cannot parse metric: {error}"))?;
    let rules = parse_rules("relabel_configs", rules.as_bytes(), &Environment::default())
        .map_err(|error| format!("cannot parse relabel configs: {error}"))?;
    let mut labels = LabelBuf::new();
    labels.copy_from(&Labels::from_pairs(pairs));
    let original = labels.to_labels();
    let mut steps: Vec<Step> =
        rules.trace(&mut labels).into_iter().map(|step| self::step(step.rule, step.before, step.after)).collect();
    if !labels.is_empty() {
        more_steps(subject, &mut labels, &mut steps);
    }
    Ok(Trace {
        status: "success",
        steps,
        original_labels: shown(&original),
        resulting_labels: shown(&labels.to_labels()),
    })
}

/// What happens behind the rules, as far as it changes anything.
fn more_steps(subject: Subject, labels: &mut LabelBuf, steps: &mut Vec<Step>) {
    if subject == Subject::Target && labels.get(b"instance").unwrap_or_default().is_empty() {
        let address = labels.get(b"__address__").unwrap_or_default().to_vec();
        if !address.is_empty() {
            let before = labels.to_labels();
            labels.set(b"instance", &address);
            let rule = "add missing instance label from __address__ label";
            steps.push(step(rule.to_owned(), before, labels.to_labels()));
        }
    }
    let before = labels.to_labels();
    labels.retain(|name, _| !name.starts_with(b"__") || (subject == Subject::Metric && name == b"__name__"));
    let after = labels.to_labels();
    if before != after {
        let rule = match subject {
            Subject::Metric => "remove labels with __ prefix except of __name__",
            Subject::Target => "remove labels with __ prefix",
        };
        steps.push(step(rule.to_owned(), before, after));
    }
}

fn step(rule: String, before: Labels, after: Labels) -> Step {
    Step {
        in_labels: shown(&before),
        out_labels: shown(&after),
        rule,
        errors: BTreeMap::new(),
        change: (before, after),
    }
}

/// The metric name in front of the braces, labels sorted.
fn shown(labels: &Labels) -> String {
    let name = labels.get("__name__").unwrap_or_default();
    let others = labels.iter().filter(|label| label.name != "__name__");
    let others = Labels::from_pairs(others.map(|label| (label.name, label.value)));
    if !name.is_empty() && others.is_empty() { name.to_owned() } else { format!("{name}{others}") }
}

fn page(
    args: &Args<'_>,
    subject: Subject,
    text: &str,
    rules: &str,
    remote: &RemoteWriteRules,
    result: Result<&Trace, &str>,
) -> String {
    let (title, path, label) = match subject {
        Subject::Metric => ("Metric relabel debug", "metric-relabel-debug", "Labels or metric"),
        Subject::Target => ("Target relabel debug", "target-relabel-debug", "Labels of the target"),
    };
    let rows = rules.lines().count().clamp(8, 30);
    let mut content = format!(
        "<form method=\"post\" action=\"{path}\">\n<label for=\"relabel_configs\">Relabel configs</label>\n\
         <textarea id=\"relabel_configs\" name=\"relabel_configs\" rows=\"{rows}\">\n{}</textarea>\n\
         <label for=\"metric\">{label}</label>\n\
         <textarea id=\"metric\" name=\"metric\" rows=\"4\">\n{}</textarea>\n",
        escape(rules),
        escape(text)
    );
    html::push_hidden(&mut content, "id", &args.text("id"));
    if !remote.by_url.is_empty() {
        content.push_str("<label for=\"url\">Rules of remote write to</label>\n<select id=\"url\" name=\"url_relabel_configs_index\">");
        for (at, (name, _)) in remote.by_url.iter().enumerate() {
            let selected = if at == index(args) { " selected" } else { "" };
            let _ = write!(content, "<option value=\"{at}\"{selected}>{}</option>", escape(name));
        }
        content.push_str(
            "</select><button type=\"submit\" name=\"reload_url_relabel_configs\" value=\"true\">Load its rules</button>\n",
        );
    }
    content.push_str("<button type=\"submit\">Apply</button></form>\n");
    match result {
        Err(error) => {
            let _ = writeln!(content, "<p class=\"error\">{}</p>", escape(error));
        }
        Ok(trace) => steps(&mut content, trace),
    }
    html::page(title, &html::tabs(""), &content)
}

fn steps(content: &mut String, trace: &Trace) {
    if trace.steps.is_empty() {
        return;
    }
    content.push_str("<table><thead><tr><th>Step</th><th>Rule</th><th>Labels before</th><th>Labels after</th></tr></thead>\n<tbody>\n");
    for (number, step) in trace.steps.iter().enumerate() {
        let _ = write!(content, "<tr><td class=\"n\">{number}</td><td>");
        push_code(content, step.rule.trim_end());
        content.push_str("</td><td>");
        compared(content, &step.change.0, &step.change.1, "del");
        content.push_str("</td><td>");
        compared(content, &step.change.1, &step.change.0, "ins");
        content.push_str("</td></tr>\n");
    }
    content.push_str("</tbody></table>\n<p>Resulting labels: ");
    push_code(content, &trace.resulting_labels);
    content.push_str("</p>\n");
}

/// Labels with those marked that the other side does not have.
fn compared(content: &mut String, labels: &Labels, other: &Labels, mark: &str) {
    content.push_str("<code>{");
    for (at, label) in labels.iter().enumerate() {
        let text = escape(&format!("{}={}", label.name, vmkit::go_text::quote(label.value)));
        let comma = if at == 0 { "" } else { ", " };
        if other.get(label.name) == Some(label.value) {
            let _ = write!(content, "{comma}{text}");
        } else {
            let _ = write!(content, "{comma}<{mark}>{text}</{mark}>");
        }
    }
    content.push_str("}</code>");
}
