//! Rules about routes and backends: what is never reached, and what is reached by more than meant.

use std::sync::Arc;

use vmkit::go_regex::{GoRegex, Simple, Tail};
use vmkit::go_text::quote;
use vmkit::units::GoDuration;

use crate::config::{QueryValue, RouteSpec, TargetSpec, UserSpec};

use super::rule::Rule;
use super::{Findings, Input};

fn users<'i>(input: &'i Input<'_>) -> impl Iterator<Item = &'i UserSpec> {
    input.config.users.iter().chain(&input.config.unauthorized_user)
}

/// All targets with the place of their URLs.
fn targets(user: &UserSpec) -> impl Iterator<Item = (String, &TargetSpec)> {
    let routes = user.routes.iter().map(|route| (format!("{}.url_prefix", route.place), &route.target));
    let own = user.url_prefix.as_deref().into_iter().map(|target| (format!("{}.url_prefix", user.place), target));
    let default = user.default_url.as_deref().into_iter().map(|target| (format!("{}.default_url", user.place), target));
    routes.chain(own).chain(default)
}

pub(super) fn bad_port(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    for (place, target) in users(input).flat_map(targets) {
        for (index, url) in target.urls.iter().enumerate() {
            let Some(port) = url.explicit_port().filter(|port| port.parse::<u16>().unwrap_or(0) == 0) else { continue };
            let item = format!("{place}[{index}]");
            let own = format!("{item}.url");
            let places = [&item, &own].into_iter().find(|place| input.source.scalar(place).is_some());
            let place = places.unwrap_or(&place);
            let message = format!("the port {port:?} of {:?} is no number from 1 to 65535", url.hostname());
            findings.push(rule, input.source, place, message, "write http://backend:8428/");
        }
    }
}

pub(super) fn merged_filter(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    for (place, target) in users(input).flat_map(targets) {
        for name in &target.merge_query_args {
            let is_set = |name: &String| {
                target.urls.iter().any(|url| url.decoded_query_args().iter().any(|(own, _)| own == name))
            };
            if is_set(name) {
                let message = format!("clients may add values of {name:?} to those of the URL, so it is not enforced");
                findings.push(
                    rule,
                    input.source,
                    &place,
                    message,
                    "take it out of merge_query_args, unless that is meant",
                );
            }
        }
    }
}

pub(super) fn narrow_pattern(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    for route in users(input).flat_map(|user| &user.routes) {
        for (index, pattern) in route.src_paths.iter().enumerate() {
            let text = pattern.as_str();
            let is_literal = matches!(pattern.simple(), Some([Simple { tail: Tail::Nothing, .. }]));
            let (folder, found) = match text.strip_suffix('*') {
                Some(folder) if is_plain(folder) => (folder, "matches a path and its slashes, not what is below it"),
                _ if is_literal && text.len() > 1 => (text, "matches this path only, not what is below it"),
                _ => continue,
            };
            let goes_on = |other: &Arc<GoRegex>| other.as_str() != text && other.as_str().starts_with(folder);
            if folder.ends_with('/') && !route.src_paths.iter().any(goes_on) {
                let place = format!("{}.src_paths[{index}]", route.place);
                let message = format!("{} {found}", quote(text));
                findings.push(rule, input.source, &place, message, format!("write {}", quote(format!("{folder}.*"))));
            }
        }
    }
}

/// Whether the beginning of a pattern means itself, as in the patterns of shells and of nginx. A dot counts as meant so.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte))
}

pub(super) fn never_matches(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    for user in users(input) {
        let written = input.source.len(&format!("{}.url_map", user.place)).unwrap_or(0);
        for number in (0..written).filter(|number| !user.routes.iter().any(|route| route.number == *number)) {
            let place = format!("{}.url_map[{number}]", user.place);
            let message = "no item of one of its lists can match, so the entry is never taken";
            findings.push(rule, input.source, &place, message, "write items such as `name=value` in src_query_args");
        }
        for route in &user.routes {
            for (index, pattern) in route.src_paths.iter().enumerate() {
                let Some((why, hint)) = impossible(pattern) else { continue };
                let place = format!("{}.src_paths[{index}]", route.place);
                findings.push(
                    rule,
                    input.source,
                    &place,
                    format!("{} matches no path: {why}", quote(pattern.as_str())),
                    hint,
                );
            }
        }
    }
}

/// Why no normalised path can match, and what to write.
fn impossible(pattern: &GoRegex) -> Option<(&'static str, String)> {
    let all = |is: fn(&[u8]) -> bool| pattern.simple().is_some_and(|list| list.iter().all(|simple| is(&simple.text)));
    let text = pattern.as_str();
    if all(|text| !text.is_empty() && !text.starts_with(b"/")) {
        Some(("paths begin with /", format!("write {}", quote(format!("/{text}")))))
    } else if all(|text| text.windows(2).any(|pair| pair == b"//")) {
        Some(("repeated slashes become one before paths are compared", String::new()))
    } else if all(|text| text.contains(&b'?')) {
        Some(("the query is no part of the path", "use src_query_args".to_owned()))
    } else {
        None
    }
}

pub(super) fn open_to_all(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    let Some(user) = input.config.unauthorized_user.as_ref().filter(|_| !input.config.users.is_empty()) else { return };
    let is_open = |route: &&RouteSpec| {
        route.src_hosts.is_empty()
            && route.src_query_args.is_empty()
            && route.src_headers.is_empty()
            && route.ip_filters.is_none()
            && route.src_paths.iter().any(|pattern| pattern.as_str() == ".*" || pattern.as_str() == "/.*")
    };
    let place = match user.routes.iter().find(is_open) {
        Some(route) => route.place.clone(),
        None if user.url_prefix.is_some() => format!("{}.url_prefix", user.place),
        None if user.default_url.is_some() => format!("{}.default_url", user.place),
        None => return,
    };
    if user.ip_filters.is_none() && input.config.ip_filters.is_none() {
        let message = "requests without credentials, or with wrong ones, reach a backend whatever their path is";
        findings.push(rule, input.source, &place, message, "list the public paths in url_map, or add ip_filters");
    }
}

pub(super) fn shadowed_route(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    for user in users(input) {
        for (index, route) in user.routes.iter().enumerate() {
            let earlier = user.routes.iter().take(index).find(|earlier| takes_all(earlier, route));
            if let Some(earlier) = earlier {
                let message = format!("{} takes every request that this entry matches", earlier.place);
                let hint = format!("put it before {}", earlier.place);
                findings.push(rule, input.source, &route.place, message, hint);
            }
        }
        if user.url_prefix.is_some() && user.default_url.is_some() {
            let place = format!("{}.default_url", user.place);
            let message = "url_prefix takes every request that url_map leaves, so default_url is never used";
            findings.push(rule, input.source, &place, message, "remove one of them");
        }
    }
}

/// Where a user and its entries have an object of this name, each with the targets that it holds for.
fn holders<'u>(input: &Input<'_>, user: &'u UserSpec, name: &str) -> Vec<(String, Vec<&'u TargetSpec>)> {
    let own = |object: &str| Some(format!("{object}.{name}")).filter(|place| input.source.has(place));
    let mut found = Vec::new();
    let mut inheriting: Vec<_> = user.url_prefix.as_deref().into_iter().collect();
    for route in &user.routes {
        match own(&route.place) {
            Some(place) => found.push((place, vec![&route.target])),
            None => inheriting.push(&route.target),
        }
    }
    found.extend(own(&user.place).map(|place| (place, inheriting)));
    found
}

pub(super) fn never_ejects(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    for (place, targets) in users(input).flat_map(|user| holders(input, user, "outlier_detection")) {
        if !targets.is_empty() && targets.iter().all(|target| is_too_small_to_eject(target)) {
            let message = "max_ejection_percent lets none of so few backends be left out, so none ever is";
            let hint = "give url_prefix more backends, or raise max_ejection_percent, or take it out";
            findings.push(rule, input.source, &place, message, hint);
        }
    }
}

/// How many backends are discovered is not known.
fn is_too_small_to_eject(target: &TargetSpec) -> bool {
    let most = target.watching.outliers.as_ref().map(|spec| spec.most_of(target.urls.len()));
    most == Some(0) && !target.discover_backend_ips
}

pub(super) fn unreached_timeout(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    for (place, target) in users(input).flat_map(targets) {
        let Some(request) = target.timeouts.request else { continue };
        for (name, limit) in target.timeouts.named().filter(|(name, _)| *name != "request_timeout") {
            if limit.as_std() <= request && limit.0 != 0 {
                continue;
            }
            let own = place.rsplit_once('.').map_or(String::new(), |(object, _)| format!("{object}.{name}"));
            let place = if input.source.scalar(&own).is_some() { &own } else { &place };
            let message = format!(
                "{name}={limit} is never reached, because request_timeout={} ends the request before: another backend is \
                 never tried",
                GoDuration::from(request)
            );
            findings.push(rule, input.source, place, message, "make it shorter than request_timeout");
        }
    }
}

pub(super) fn slow_probe(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    for (check, targets) in users(input).flat_map(|user| holders(input, user, "health_check")) {
        let spec = targets.first().and_then(|target| target.watching.check.as_ref());
        let Some(spec) = spec.filter(|spec| spec.timeout > spec.interval) else { continue };
        let own = [format!("{check}.timeout"), format!("{check}.interval")];
        let place = own.iter().find(|place| input.source.scalar(place).is_some()).unwrap_or(&check);
        let (timeout, interval) = (GoDuration::from(spec.timeout), GoDuration::from(spec.interval));
        let message = format!(
            "timeout={timeout} is longer than interval={interval}: a backend that hangs is asked once in {timeout}, \
             so it takes longer to be left out"
        );
        findings.push(rule, input.source, place, message, "make the timeout shorter than the interval");
    }
}

pub(super) fn unused_weight(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    for (place, target) in users(input).flat_map(targets) {
        let weighted = target.weights.iter().position(|weight| *weight > 1);
        if let ("first_available", Some(index)) = (target.load_balancing_policy.name(), weighted) {
            let place = format!("{place}[{index}].weight");
            let message = "first_available takes the first backend that can serve, whatever its weight is above 0";
            findings.push(
                rule,
                input.source,
                &place,
                message,
                "order the list, or choose another load_balancing_policy",
            );
        }
    }
}

/// Whether `wide` matches all that `narrow` does; `false` when that cannot be told.
fn takes_all(wide: &RouteSpec, narrow: &RouteSpec) -> bool {
    let patterns = |wide: &[Arc<GoRegex>], narrow: &[Arc<GoRegex>]| {
        wide.is_empty()
            || (!narrow.is_empty() && narrow.iter().all(|narrow| wide.iter().any(|wide| covers(wide, narrow))))
    };
    let args = wide.src_query_args.is_empty()
        || (!narrow.src_query_args.is_empty()
            && narrow.src_query_args.iter().all(|narrow| {
                wide.src_query_args
                    .iter()
                    .any(|wide| wide.name == narrow.name && value_covers(&wide.value, &narrow.value))
            }));
    let same = |a: &crate::config::SrcHeader, b: &crate::config::SrcHeader| {
        a.name.eq_ignore_ascii_case(&b.name) && a.value.trim() == b.value.trim()
    };
    let headers = wide.src_headers.is_empty()
        || (!narrow.src_headers.is_empty()
            && narrow.src_headers.iter().all(|narrow| wide.src_headers.iter().any(|wide| same(wide, narrow))));
    patterns(&wide.src_paths, &narrow.src_paths) && patterns(&wide.src_hosts, &narrow.src_hosts) && args && headers
}

fn value_covers(wide: &QueryValue, narrow: &QueryValue) -> bool {
    match (wide, narrow) {
        (QueryValue::Exact(wide), QueryValue::Exact(narrow)) => wide == narrow,
        (QueryValue::Regex(wide), QueryValue::Exact(narrow)) => wide.is_match(narrow.as_bytes()),
        (QueryValue::Regex(wide), QueryValue::Regex(narrow)) => covers(wide, narrow),
        (QueryValue::Exact(_), QueryValue::Regex(_)) => false,
    }
}

/// Whether all texts of `narrow` match `wide`, as far as that can be seen.
fn covers(wide: &GoRegex, narrow: &GoRegex) -> bool {
    if wide == narrow || wide.as_str() == ".*" {
        return true;
    }
    let Some(list) = narrow.simple() else { return false };
    list.iter().all(|one| match one.tail {
        Tail::Nothing => wide.is_match(&one.text),
        Tail::Any { non_empty, .. } => wide.simple().is_some_and(|wide| {
            wide.iter().any(|wide| match wide.tail {
                Tail::Nothing => false,
                Tail::Any { non_empty: needs_more, .. } => {
                    let is_longer = non_empty || one.text.len() > wide.text.len();
                    one.text.starts_with(&wide.text) && (is_longer || !needs_more)
                }
            })
        }),
    })
}
