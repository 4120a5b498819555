//! Rules about what is written, not about what it means together.

use super::rule::Rule;
use super::source::{Scalar, Source};
use super::{Findings, Input};

/// Fields whose values are credentials.
pub(super) const SECRET_FIELDS: [&str; 3] = ["password", "bearer_token", "auth_token"];

/// The last name of a place.
pub(super) fn field_of(place: &str) -> &str {
    place.rsplit('.').next().unwrap_or(place)
}

pub(super) fn unset_variable(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    input.source.each_scalar(|place, Scalar { text, mark, .. }| {
        let is_secret = SECRET_FIELDS.contains(&field_of(place));
        let then = if is_secret { "; the text itself is the credential" } else { "" };
        for name in names(text, "%{") {
            let message = format!("there is no environment variable {name}: %{{{name}}} stands as text{then}");
            findings.push_at(rule, place, mark, message, format!("set {name} before the start"));
        }
        for name in names(text, "${").into_iter().filter(|name| name.bytes().all(|b| !b.is_ascii_lowercase())) {
            let message = format!("${{{name}}} is not replaced, it stands as text{then}");
            findings.push_at(rule, place, mark, message, format!("write %{{{name}}}"));
        }
    });
    empty_variable(rule, input, findings);
}

/// A credential that a variable without a value leaves empty.
fn empty_variable(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    input.written.each_scalar(|place, Scalar { text, mark, .. }| {
        let is_empty = || match input.source.scalar(place) {
            Some(now) => now.text.is_empty() || (now.is_plain && now.text == "~"),
            None => false,
        };
        if SECRET_FIELDS.contains(&field_of(place)) && text.starts_with("%{") && is_empty() {
            let name = text.trim_start_matches("%{").split('}').next().unwrap_or_default();
            let field = field_of(place);
            let message = format!("the environment variable {name} is empty, and with it {field}");
            findings.push_at(rule, place, mark, message, format!("set {name} before the start"));
        }
    });
}

/// Names of variables behind `mark`, as environments have them.
fn names<'t>(text: &'t str, mark: &str) -> Vec<&'t str> {
    let is_name = |name: &&str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let pieces = text.split(mark).skip(1);
    pieces.filter_map(|piece| piece.split_once('}').map(|(name, _)| name)).filter(is_name).collect()
}

pub(super) fn cut_by_comment(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    let source = input.source;
    source.each_scalar(|place, scalar| {
        if !SECRET_FIELDS.contains(&field_of(place)) {
            return;
        }
        let is_empty = scalar.text.is_empty();
        if let Some(taken_for) = is_empty.then(|| source.behind_name(field_of(place), scalar)).and_then(swallowed) {
            let message = format!("{} is empty: YAML takes what is written for {taken_for}", field_of(place));
            return findings.push_at(rule, place, scalar.mark, message, "put the whole value in quotes");
        }
        let rest = source.rest_of_line(scalar);
        let is_cut = scalar.is_plain
            && rest
                .trim_start()
                .strip_prefix('#')
                .is_some_and(|comment| rest.starts_with(' ') && comment.starts_with(|c: char| !c.is_whitespace()));
        if is_cut {
            let message =
                format!("the value of {} ends before ` #`; the rest of the line is a comment", field_of(place));
            findings.push_at(rule, place, scalar.mark, message, "put the whole value in quotes");
        }
    });
}

/// What YAML takes a text without quotes for, if that is all that stands there.
fn swallowed(text: &str) -> Option<&'static str> {
    let taken_for = match text.bytes().next()? {
        b'#' => {
            return text.get(1..).filter(|rest| rest.starts_with(|c: char| !c.is_whitespace())).map(|_| "a comment");
        }
        b'&' => "an anchor",
        b'!' => "a tag",
        _ => return None,
    };
    let rest = text.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start());
    (rest.is_empty() || rest.starts_with('#')).then_some(taken_for)
}

pub(super) fn empty_config(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    if input.config.users.is_empty() && input.config.unauthorized_user.is_none() {
        let message = "there are no users and no unauthorized_user: every request is denied";
        findings.push(rule, input.source, "", message, "");
    }
}

pub(super) fn empty_unauthorized_user(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    // `access_log` alone switches on the log of refused requests.
    if let Some(user) = &input.config.unauthorized_user
        && !user.has_url_fields
        && user.access_log.is_none()
    {
        let hint = "add `url_prefix` or remove it";
        findings.push(rule, input.source, &user.place, "unauthorized_user has no backends, so it serves nobody", hint);
    }
}

pub(super) fn limit_above_global(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    let global = input.flags.max_concurrent_requests;
    for user in input.config.users.iter().chain(&input.config.unauthorized_user) {
        let place = format!("{}.max_concurrent_requests", user.place);
        let is_own = input.source.scalar(&place).is_some();
        if is_own && user.max_concurrent_requests > global {
            let message = format!(
                "max_concurrent_requests: {} is above -maxConcurrentRequests={global}, so it is never reached",
                user.max_concurrent_requests
            );
            findings.push(rule, input.source, &place, message, "raise the flag or lower the limit");
        }
    }
}

pub(super) fn negative_limit(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    input.source.each_scalar(|place, Scalar { text, mark, .. }| {
        if field_of(place) == "max_concurrent_requests" && text.trim().starts_with('-') {
            let message = format!("max_concurrent_requests: {text} means -maxConcurrentPerUserRequests, not a limit");
            findings.push_at(rule, place, mark, message, "write a positive number or remove it");
        }
    });
}

pub(super) fn missing_file(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    let source: &Source<'_> = input.source;
    source.each_scalar(|place, Scalar { text, mark, .. }| {
        let is_file = ["tls_ca_file", "tls_cert_file", "tls_key_file"].contains(&field_of(place));
        let is_path = !text.is_empty() && !text.starts_with("http://") && !text.starts_with("https://");
        if is_file && is_path && !(input.is_readable)(text) {
            let message =
                format!("{}: the file {text:?} cannot be read; its backends answer 502 until it can", field_of(place));
            findings.push_at(rule, place, mark, message, "");
        }
    });
}
