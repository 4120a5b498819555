//! Targets and routes: URLs, patterns and the criteria of `url_map`.
//!
//! An entry that can never match (all items of a criterion are `null` or lack a `=`) is checked like any other and then
//! left out. Each distinct pattern is compiled once a config.

use super::builder::{Builder, Subject, UserContext};
use super::inherit::Level;
use super::ip_filters;
use super::model::{QueryValue, RouteSpec, SrcHeader, SrcQueryArg, TargetSpec};
use super::placeholders;
use super::raw::{RawRoute, RawSettings, RawUrls};
use super::redact;
use super::src_query_arg;
use super::stage::Stage;
use crate::rewrite::header_rules::split_header;
use crate::rewrite::target_url::TargetUrl;
use crate::upstream::shares::Share;
use std::sync::Arc;
use vmkit::go_regex::{GoRegex, GoRegexError};
use vmkit::go_text::quote;
use vmkit::yaml::Place;
use vmkit::yaml::{At, Text, TextList};

/// What to write instead of a pattern that is none.
fn regex_hint(text: &str) -> &'static str {
    match text {
        _ if text.starts_with('*') => "this is a regular expression: write `.*` for any text",
        _ if ["(?!", "(?=", "(?<!", "(?<="].iter().any(|look| text.contains(look)) => {
            "there are no look-arounds: list what is refused in `deny_paths`, or put a narrower entry first"
        }
        _ if text.matches('(').count() > text.matches(')').count() => "close the `(`, or write `\\(` for the character",
        _ if text.matches('[').count() > text.matches(']').count() => "close the `[`, or write `\\[` for the character",
        _ => "",
    }
}

impl Builder<'_, '_> {
    /// Builds `url_map`.
    pub(super) fn routes(
        &mut self,
        raw: &[RawRoute<'_>],
        user: &Level,
        real_ip_header: Option<&str>,
        context: UserContext<'_>,
    ) -> Vec<RouteSpec> {
        let map = context.place.field("url_map");
        let entries = raw.iter().enumerate();
        entries
            .filter_map(|(index, raw)| {
                let place = map.index(index);
                self.route(index, raw, user, real_ip_header, UserContext { place: &place, ..context })
            })
            .collect()
    }

    fn route(
        &mut self,
        number: usize,
        raw: &RawRoute<'_>,
        user: &Level,
        real_ip_header: Option<&str>,
        context: UserContext<'_>,
    ) -> Option<RouteSpec> {
        let UserContext { place, stage, .. } = context;
        let lists = [&raw.src_paths, &raw.src_hosts, &raw.src_query_args, &raw.src_headers];
        let has_criteria = lists.iter().any(|list| list.as_ref().is_some_and(|list| list.written > 0));
        if !has_criteria && !raw.damaged {
            let message = "missing `src_paths`, `src_hosts`, `src_query_args` and `src_headers` in `url_map`";
            let hint = "add one of them, or move the target to the user's `url_prefix`";
            self.problems.push(stage, place, raw.mark, message, hint);
        }
        if raw.settings.url_prefix.is_none() && !raw.damaged {
            self.problems.push(stage, place, raw.mark, "missing `url_prefix` in `url_map`", "");
        }
        self.check_placeholders(&raw.settings, "url_map", context);
        let from_files = self.header_files(raw.settings.header_files.as_ref(), place);
        let level = user.inner(&raw.settings, from_files, place, stage, self.problems);
        let (src_paths, never_path) =
            self.criterion(raw.src_paths.as_ref(), &place.field("src_paths"), Self::path_patterns);
        let (src_hosts, never_host) =
            self.criterion(raw.src_hosts.as_ref(), &place.field("src_hosts"), Self::host_patterns);
        let query_place = place.field("src_query_args");
        let (src_query_args, never_query) = self.criterion(raw.src_query_args.as_ref(), &query_place, Self::query_args);
        let header_place = place.field("src_headers");
        let (src_headers, never_header) = self.criterion(raw.src_headers.as_ref(), &header_place, Self::src_headers);
        let ip_filters = raw.settings.ip_filters.as_ref();
        let ip_filters =
            ip_filters.map(|raw| ip_filters::build(raw, &place.field("ip_filters"), real_ip_header, self.problems));
        let deny_paths = self.deny_paths(raw.settings.deny_paths.as_ref(), place);
        let target = self.target(raw.settings.url_prefix.as_ref()?, "url_prefix", place, level, stage)?;
        if never_path || never_host || never_query || never_header {
            return None;
        }
        let place = place.to_string();
        Some(RouteSpec {
            place,
            number,
            src_paths,
            src_hosts,
            src_query_args,
            src_headers,
            deny_paths,
            target,
            ip_filters,
        })
    }

    /// Builds a criterion; true = it was written but no item can match.
    fn criterion<'l, 't, T>(
        &mut self,
        list: Option<&'l TextList<'t>>,
        place: &Place<'_>,
        build: impl FnOnce(&mut Self, &'l TextList<'t>, &Place<'_>) -> Vec<T>,
    ) -> (Vec<T>, bool) {
        let Some(list) = list else { return (Vec::new(), false) };
        let items = build(self, list, place);
        let never = items.is_empty() && list.written > 0;
        (items, never)
    }

    fn host_patterns(&mut self, list: &TextList<'_>, place: &Place<'_>) -> Vec<Arc<GoRegex>> {
        self.patterns(list, place, Subject::Text)
    }

    /// Compiles patterns of paths.
    pub(super) fn path_patterns(&mut self, list: &TextList<'_>, place: &Place<'_>) -> Vec<Arc<GoRegex>> {
        self.patterns(list, place, Subject::Path)
    }

    fn patterns(&mut self, list: &TextList<'_>, place: &Place<'_>, subject: Subject) -> Vec<Arc<GoRegex>> {
        let mut patterns = Vec::with_capacity(list.items.len());
        for &(index, Text { value, mark }) in &list.items {
            match self.pattern(value, subject) {
                Ok(pattern) => patterns.push(pattern),
                Err(cause) => {
                    let message = format!("cannot build regexp from {}: {cause}", quote(value));
                    self.problems.push(Stage::Values, &place.index(index), mark, message, regex_hint(value));
                }
            }
        }
        patterns
    }

    /// Compiles a regex, or finds it among those compiled before.
    pub(super) fn pattern(&mut self, text: &str, subject: Subject) -> Result<Arc<GoRegex>, GoRegexError> {
        let known = self.regexes.entry(subject).or_default();
        if let Some(known) = known.get(text) {
            return known.clone();
        }
        let compiled = match subject {
            Subject::Path => GoRegex::new_dot_all(text),
            Subject::Text => GoRegex::new(text),
        };
        let result = compiled.map(Arc::new);
        known.insert(text.to_owned(), result.clone());
        result
    }

    fn query_args(&mut self, list: &TextList<'_>, place: &Place<'_>) -> Vec<SrcQueryArg> {
        let mut args = Vec::with_capacity(list.items.len());
        for &(index, Text { value: item, mark }) in &list.items {
            // Without `=` an item never matches.
            let Some(arg) = src_query_arg::split(item) else { continue };
            let value = if arg.is_regex {
                match self.pattern(&arg.value, Subject::Text) {
                    Ok(pattern) => QueryValue::Regex(pattern),
                    Err(cause) => {
                        let (name, value) = (quote(arg.name), quote(arg.value.as_ref()));
                        let message = format!(
                            "cannot unmarshal regex for {name} query arg: cannot build regexp from {value}: {cause}"
                        );
                        self.problems.push(Stage::Values, &place.index(index), mark, message, "");
                        continue;
                    }
                }
            } else {
                QueryValue::Exact(arg.value.into_owned())
            };
            args.push(SrcQueryArg { name: arg.name.to_owned(), value });
        }
        args
    }

    fn src_headers(&mut self, list: &TextList<'_>, place: &Place<'_>) -> Vec<SrcHeader> {
        let mut headers = Vec::with_capacity(list.items.len());
        for &(index, Text { value: item, mark }) in &list.items {
            match split_header(item) {
                Ok((name, value)) => headers.push(SrcHeader { name: name.to_owned(), value: value.to_owned() }),
                Err(error) => {
                    self.problems.push(Stage::Values, &place.index(index), mark, error.to_string(), error.hint());
                }
            }
        }
        headers
    }

    /// Builds the target of the field `name` of the object at `place`.
    pub(super) fn target(
        &mut self,
        raw: &RawUrls<'_>,
        name: &str,
        place: &Place<'_>,
        level: Level,
        stage: Stage,
    ) -> Option<TargetSpec> {
        let place = place.field(name);
        let mut urls = Vec::with_capacity(raw.urls.len());
        let mut weights = Vec::with_capacity(raw.urls.len());
        for &(index, text) in &raw.urls {
            let item = index.map(|index| place.index(index));
            let item = item.as_ref().unwrap_or(&place);
            let own = index.and_then(|index| raw.weights.iter().find(|(at, _)| *at == index));
            let weight = own.map_or(1, |(_, weight)| self.weight(*weight, item, stage));
            if let Some(url) = self.url(text, item, stage) {
                urls.push(url);
                weights.push(weight);
            }
        }
        if !weights.is_empty() && weights.iter().all(|weight| *weight == 0) {
            let message = format!("no URL of `{name}` has a weight above 0");
            self.problems.push(
                stage,
                &place,
                raw.mark,
                message,
                "leave one of them a weight, so that requests go somewhere",
            );
        }
        if weights.iter().all(|weight| *weight == 1) {
            weights.clear();
        }
        let target = level.target((urls, weights), &place, (stage, raw.mark), self.problems);
        if target.discover_backend_ips && target.urls.iter().any(|url| url.socket().is_some()) {
            let message = "a unix socket has no addresses that `discover_backend_ips` could find";
            self.problems.push(stage, &place, raw.mark, message, "set `discover_backend_ips: false` here");
        }
        (!target.urls.is_empty()).then_some(target)
    }

    fn weight(&mut self, At { value, mark }: At<i64>, place: &Place<'_>, stage: Stage) -> u16 {
        let weight = u16::try_from(value).ok().filter(|weight| *weight <= Share::MAX_WEIGHT);
        weight.unwrap_or_else(|| {
            let message = format!("weight is {value} and must be from 0 to {}", Share::MAX_WEIGHT);
            let hint = "only the proportion of weights counts";
            self.problems.push(stage, &place.field("weight"), mark, message, hint);
            1
        })
    }

    fn url(&mut self, Text { value: text, mark }: Text<'_>, place: &Place<'_>, stage: Stage) -> Option<TargetUrl> {
        let hint = if has_bare_ipv6(text) {
            "write an IPv6 address in brackets, such as http://[::1]:8428/"
        } else {
            "write a URL such as http://backend:8428/"
        };
        let shown = quote(redact::url(text).as_bytes());
        let url = match TargetUrl::parse(text) {
            Ok(url) => url,
            Err(error) => {
                let cause = redact::url_cause(text, error.reason());
                let message = format!("cannot unmarshal {shown} into url: parse {shown}: {cause}");
                self.problems.push(Stage::Values, place, mark, message, hint);
                return None;
            }
        };
        if !matches!(url.scheme(), "http" | "https" | "h2c" | "h2" | "http+unix") {
            let scheme = quote(url.scheme());
            let message = format!("unsupported scheme for `url_prefix: {shown}`: {scheme}; must be `http` or `https`");
            self.problems.push(stage, place, mark, message, hint);
        } else if url.host().is_empty() {
            self.problems.push(stage, place, mark, format!("missing hostname in `url_prefix {shown}`"), hint);
        } else {
            return Some(url);
        }
        None
    }

    /// Checks `{{…}}` in `url_prefix`, `headers` and `response_headers` of a user (`scope` empty) or of an entry.
    pub(super) fn check_placeholders(&mut self, raw: &RawSettings<'_>, scope: &str, context: UserContext<'_>) {
        let (url_prefix, header_prefix) = match scope {
            "" => ("", ""),
            _ => ("invalid `url_map` `url_prefix` placeholders: ", "invalid `url_map` headers placeholders: "),
        };
        if let Some(urls) = &raw.url_prefix {
            self.check_url_placeholders(urls, "url_prefix", url_prefix, context);
        }
        let mut check = |list: Option<&TextList<'_>>, field: &str, check: &dyn Fn(&str, &str) -> Option<String>| {
            let place = context.place.field(field);
            for &(index, Text { value: item, mark }) in list.map_or(&[][..], |list| &list.items) {
                let pair = item.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
                if let Some(message) = pair.and_then(|(name, value)| check(name, value)) {
                    let message = format!("{header_prefix}{message}");
                    self.problems.push(context.stage, &place.index(index), mark, message, placeholders::hint(item));
                }
            }
        };
        let is_jwt = context.is_jwt;
        check(raw.headers.as_ref(), "headers", &|name, value| placeholders::check_request_header(name, value, is_jwt));
        check(raw.response_headers.as_ref(), "response_headers", &placeholders::check_response_header);
    }

    /// Checks `{{…}}` in the URLs of the field `name`.
    pub(super) fn check_url_placeholders(
        &mut self,
        raw: &RawUrls<'_>,
        name: &str,
        prefix: &str,
        context: UserContext<'_>,
    ) {
        let place = context.place.field(name);
        for &(index, Text { value, mark }) in &raw.urls {
            let item = index.map(|index| place.index(index));
            for message in placeholders::check_url(value, context.is_jwt) {
                let place = item.as_ref().unwrap_or(&place);
                self.problems.push(context.stage, place, mark, format!("{prefix}{message}"), placeholders::hint(value));
            }
        }
    }
}

/// Whether the host of the URL is an IPv6 address without its brackets.
fn has_bare_ipv6(url: &str) -> bool {
    let authority = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    let host = authority.and_then(|authority| authority.rsplit('@').next()).unwrap_or_default();
    let address = host.split('%').next().unwrap_or_default();
    address.matches(':').count() > 1 && address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))
}
