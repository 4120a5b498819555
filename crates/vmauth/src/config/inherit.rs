//! What a target takes from its own entry, from its user and from the flags (`docs/reference/config.md`).
//!
//! A [`Level`] is the resolved state of all settings that a `url_prefix` depends on; each level is made from the one
//! around it. Differs from upstream on purpose: `headers`, `response_headers` and `keep_original_host` are inherited, too.

use super::header_lists::headers;
use super::model::{ConfigDefaults, TargetSpec, Watching};
use super::raw::RawSettings;
use super::stage::{Problems, Stage};
use super::timeouts;
use super::watching;
use crate::rewrite::header_rules::HeaderRule;
use crate::rewrite::target_url::TargetUrl;
use crate::upstream::balance::Policy;
use crate::upstream::timeouts::Timeouts;
use vmkit::go_text::quote;
use vmkit::yaml::{Mark, Place, TextList};

/// Resolved settings of the flags, of a user or of an entry of `url_map`.
#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    /// An error is the flag's unknown text, which only matters to a target that inherits it.
    policy: PolicyChoice,
    watching: Watching,
    retry_status_codes: Vec<u16>,
    retry_only_idempotent: bool,
    merge_query_args: Vec<String>,
    drop_src_path_prefix_parts: usize,
    timeouts: Timeouts,
    discover_backend_ips: bool,
    request_headers: Vec<HeaderRule>,
    response_headers: Vec<HeaderRule>,
    keep_original_host: bool,
}

#[derive(Clone, Debug)]
enum PolicyChoice {
    Known(Policy),
    UnknownFlag(String),
}

impl Default for PolicyChoice {
    fn default() -> Self {
        Self::Known(Policy::default())
    }
}

impl Level {
    /// What the flags say.
    pub(super) fn of_flags(defaults: &ConfigDefaults) -> Self {
        let text = &defaults.load_balancing_policy;
        Self {
            policy: Policy::from_name(text)
                .map_or_else(|| PolicyChoice::UnknownFlag(text.clone()), PolicyChoice::Known),
            retry_status_codes: defaults.retry_status_codes.clone(),
            retry_only_idempotent: defaults.retry_only_idempotent,
            merge_query_args: defaults.merge_query_args.clone(),
            discover_backend_ips: defaults.discover_backend_ips,
            ..Self::default()
        }
    }

    /// The level of an object inside this one; `from_files` are the rules of its `header_files`. Reports what cannot be read under `stage` or as a bad value.
    pub(super) fn inner(
        &self,
        raw: &RawSettings<'_>,
        from_files: Vec<HeaderRule>,
        place: &Place<'_>,
        stage: Stage,
        problems: &mut Problems,
    ) -> Self {
        // Without `..`: a new setting must be named here, or say that it is not inherited.
        let RawSettings {
            discover_backend_ips,
            headers: _,
            header_files: _,
            response_headers: _,
            keep_original_host: _,
            retry_status_codes,
            retry_only_idempotent,
            load_balancing_policy,
            watching,
            merge_query_args,
            drop_src_path_prefix_parts,
            timeouts,
            url_prefix: _,
            ip_filters: _,
            deny_paths: _,
        } = raw;
        let mut level = self.clone();
        if let Some(text) = load_balancing_policy.filter(|text| !text.value.is_empty()) {
            match Policy::from_name(text.value) {
                Some(policy) => level.policy = PolicyChoice::Known(policy),
                None => {
                    let place = place.field("load_balancing_policy");
                    problems.push(stage, &place, text.mark, unknown_policy(text.value), "");
                }
            }
        }
        watching::inner(&mut level.watching, watching, place, stage, problems);
        if let Some(codes) = retry_status_codes {
            level.retry_status_codes = statuses(codes);
        }
        if let Some(names) = merge_query_args.as_ref().filter(|names| !names.items.is_empty()) {
            level.merge_query_args = names.items.iter().map(|(_, name)| name.value.to_owned()).collect();
        }
        if let Some(parts) = *drop_src_path_prefix_parts {
            level.drop_src_path_prefix_parts = usize::try_from(parts.max(0)).unwrap_or(usize::MAX);
        }
        level.retry_only_idempotent = retry_only_idempotent.unwrap_or(self.retry_only_idempotent);
        level.timeouts = timeouts::inner(self.timeouts, timeouts, place, stage, problems);
        level.discover_backend_ips = discover_backend_ips.unwrap_or(self.discover_backend_ips);
        level.headers(raw, from_files, place, problems);
        level
    }

    fn headers(
        &mut self,
        raw: &RawSettings<'_>,
        from_files: Vec<HeaderRule>,
        place: &Place<'_>,
        problems: &mut Problems,
    ) {
        let mut own = |list: Option<&TextList<'_>>, field: &str| match list {
            Some(list) => headers(list, &place.field(field), problems),
            None => Vec::new(),
        };
        let mut request = own(raw.headers.as_ref(), "headers");
        request.extend(from_files);
        let response = own(raw.response_headers.as_ref(), "response_headers");
        match raw.keep_original_host {
            Some(keep) => self.keep_original_host = keep,
            None if request.iter().any(|rule| rule.is_named("Host")) => self.keep_original_host = false,
            None => {}
        }
        override_by_name(&mut self.request_headers, request);
        override_by_name(&mut self.response_headers, response);
    }

    /// The level of `default_url`: only the user's headers count, what must not be done twice, and limits of time.
    pub(super) fn of_default_url(user: &Self) -> Self {
        Self {
            request_headers: user.request_headers.clone(),
            response_headers: user.response_headers.clone(),
            keep_original_host: user.keep_original_host,
            retry_only_idempotent: user.retry_only_idempotent,
            timeouts: user.timeouts,
            ..Self::default()
        }
    }

    /// A target with these settings.
    pub(super) fn target(
        self,
        (urls, weights): (Vec<TargetUrl>, Vec<u16>),
        place: &Place<'_>,
        (stage, mark): (Stage, Mark),
        problems: &mut Problems,
    ) -> TargetSpec {
        let load_balancing_policy = match self.policy {
            PolicyChoice::Known(policy) => policy,
            PolicyChoice::UnknownFlag(text) => {
                problems.push(stage, place, mark, unknown_policy(&text), "it comes from -loadBalancingPolicy");
                Policy::default()
            }
        };
        TargetSpec {
            urls,
            weights,
            load_balancing_policy,
            watching: self.watching,
            retry_status_codes: self.retry_status_codes,
            retry_only_idempotent: self.retry_only_idempotent,
            merge_query_args: self.merge_query_args,
            drop_src_path_prefix_parts: self.drop_src_path_prefix_parts,
            timeouts: timeouts::of_target(self.timeouts),
            discover_backend_ips: self.discover_backend_ips,
            request_headers: self.request_headers,
            response_headers: self.response_headers,
            keep_original_host: self.keep_original_host,
        }
    }
}

fn unknown_policy(text: &str) -> String {
    format!("unexpected load_balancing_policy: {}; want least_loaded or first_available, or hash_query", quote(text))
}

/// Numbers that can be a status.
pub(super) fn statuses(codes: &[i64]) -> Vec<u16> {
    codes.iter().filter_map(|&code| u16::try_from(code).ok()).collect()
}

/// The outer rules whose names the own list does not mention, then the own list.
fn override_by_name(outer: &mut Vec<HeaderRule>, own: Vec<HeaderRule>) {
    outer.retain(|rule| !own.iter().any(|own| own.is_named(rule.name())));
    outer.extend(own);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_headers_win_name_by_name() {
        let rules = |list: &[&str]| -> Vec<_> { list.iter().map(|item| HeaderRule::parse(item).unwrap()).collect() };
        let f = |outer: &[&str], own: &[&str], want: &[&str]| {
            let mut got = rules(outer);
            override_by_name(&mut got, rules(own));
            assert_eq!(got, rules(want));
        };
        f(&["A: 1", "B: 2"], &[], &["A: 1", "B: 2"]);
        f(&["A: 1", "B: 2", "a: 3"], &["a:"], &["B: 2", "a:"]);
        f(&["A: 1", "A: 2"], &["C: 1", "C: 2"], &["A: 1", "A: 2", "C: 1", "C: 2"]);
    }

    #[test]
    fn statuses_out_of_range_are_left_out() {
        assert_eq!(statuses(&[500, -1, 70_000, 0]), [500, 0]);
    }
}
