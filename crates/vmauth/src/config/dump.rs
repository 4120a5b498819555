//! The config as it took effect: all inheritance resolved, secrets masked, in a form that people can compare.
//!
//! Looks like YAML and is only written, never read. A field that has no effect is left out, so that two configs with the
//! same dump do the same. Header values, passwords and tokens are shown as `***`, URLs without userinfo and secrets.

use super::model::{
    AuthConfig, Credential, IpFilterSpec, JwtSpec, KeySource, QueryValue, RouteSpec, TargetSpec, UserSpec, Watching,
};
use crate::rewrite::header_rules::HeaderRule;
use crate::rewrite::jwt_placeholders::Placeholder;
use crate::upstream::active_check::CheckSpec;
use crate::upstream::outliers::OutlierSpec;
use jwt::VmAccess;
use std::fmt::Write as _;
use vmkit::go_text::quote;
use vmkit::redact;
use vmkit::tls::client_config::ClientTlsOptions;
use vmkit::units::GoDuration;

const MASK: &str = "***";

/// The whole config as text.
pub fn dump(config: &AuthConfig) -> String {
    let mut out = Writer::default();
    if let Some(filter) = &config.ip_filters {
        out.ip_filters(filter);
    }
    if let Some(user) = &config.unauthorized_user {
        out.file_of(user);
        out.section("unauthorized_user");
        out.nested(|out| out.user(user));
    }
    if !config.users.is_empty() {
        out.section("users");
    }
    for user in &config.users {
        out.file_of(user);
        out.item(|out| out.user(user));
    }
    out.text
}

/// Collects lines; knows the depth.
#[derive(Default)]
struct Writer {
    text: String,
    depth: usize,
    /// Whether the next line begins an item of a list.
    is_item: bool,
}

impl Writer {
    fn line(&mut self, line: &str) {
        let dash = if std::mem::take(&mut self.is_item) { "- " } else { "  " };
        // The dash stands in the indentation of the item's fields.
        let indent = "  ".repeat(self.depth.saturating_sub(1));
        let dash = if self.depth == 0 { "" } else { dash };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{indent}{dash}{line}");
    }

    /// Where a user stands, when there are several files.
    fn file_of(&mut self, user: &UserSpec) {
        if !user.place.starts_with("users[") && user.place != "unauthorized_user" {
            self.line(&format!("# {}", user.place));
        }
    }

    fn section(&mut self, name: &str) {
        self.line(&format!("{name}:"));
    }

    fn nested(&mut self, write: impl FnOnce(&mut Self)) {
        self.depth += 1;
        write(self);
        self.depth -= 1;
    }

    fn item(&mut self, write: impl FnOnce(&mut Self)) {
        self.is_item = true;
        self.nested(write);
        self.is_item = false;
    }

    fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        self.line(&format!("{name}: {value}"));
    }

    fn flag(&mut self, name: &str, is_set: bool) {
        if is_set {
            self.field(name, true);
        }
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.field(name, quote(value));
        }
    }

    fn list<T>(&mut self, name: &str, items: &[T], shown: impl Fn(&T) -> String) {
        if !items.is_empty() {
            let items: Vec<_> = items.iter().map(shown).collect();
            self.field(name, format!("[{}]", items.join(", ")));
        }
    }

    fn user(&mut self, user: &UserSpec) {
        let UserSpec {
            place: _,
            credential,
            more_credentials,
            display_name,
            metric_labels,
            max_concurrent_requests,
            routes,
            url_prefix,
            default_url,
            has_url_fields: _,
            access_log,
            dump_request_on_errors,
            ip_filters,
            deny_paths,
            tls,
        } = user;
        self.field("name", quote(display_name));
        self.credential(credential);
        if !more_credentials.is_empty() {
            self.section("credentials");
        }
        for credential in more_credentials {
            self.item(|out| out.credential(credential));
        }
        self.list("metric_labels", metric_labels, |(name, value)| format!("{name}={}", quote(value)));
        self.field("max_concurrent_requests", max_concurrent_requests);
        if let Some(log) = access_log {
            self.section("access_log");
            self.nested(|out| out.list("skip_status_codes", &log.skip_status_codes, ToString::to_string));
        }
        self.flag("dump_request_on_errors", *dump_request_on_errors);
        if let Some(filter) = ip_filters {
            self.ip_filters(filter);
        }
        self.list("deny_paths", deny_paths, |pattern| quote(pattern.as_str()));
        self.tls(tls);
        if !routes.is_empty() {
            self.section("url_map");
        }
        for route in routes {
            self.item(|out| out.route(route));
        }
        for (name, target) in [("url_prefix", url_prefix), ("default_url", default_url)] {
            if let Some(target) = target {
                self.section(name);
                self.nested(|out| out.target(target));
            }
        }
    }

    fn credential(&mut self, credential: &Credential) {
        match credential {
            Credential::Basic { username, .. } => {
                self.field("username", quote(username));
                self.field("password", MASK);
            }
            Credential::PasswordHash { username, hash } => {
                self.field("username", quote(username));
                self.field("password_hash", format_args!("{MASK} ({})", hash.kind()));
            }
            Credential::BearerHash(_) => self.field("bearer_token_hash", MASK),
            Credential::Bearer(_) => self.field("bearer_token", MASK),
            Credential::AuthToken(_) => self.field("auth_token", MASK),
            Credential::Jwt(jwt) => {
                self.section("jwt");
                self.nested(|out| out.jwt(jwt));
            }
            Credential::Mtls(mtls) => {
                self.section("mtls");
                self.nested(|out| {
                    out.optional("organizational_unit", mtls.organizational_unit.as_deref());
                    out.optional("organization", mtls.organization.as_deref());
                    out.optional("common_name", mtls.common_name.as_deref());
                });
            }
            Credential::None => {}
        }
    }

    fn jwt(&mut self, jwt: &JwtSpec) {
        let JwtSpec { keys, audience, clock_skew, match_claims, default_vm_access_claim } = jwt;
        match keys {
            KeySource::SkipVerify => self.field("skip_verify", true),
            KeySource::Static(keys) => {
                let kinds: Vec<_> = keys.kinds().map(|kind| kind.name()).collect();
                self.field("public_keys", format!("[{}]", kinds.join(", ")));
            }
            KeySource::Provider(location) | KeySource::Unasked(location) => {
                let name = if location.issuer().is_some() { "issuer" } else { "jwks_url" };
                self.field(name, quote(location.shown()));
            }
        }
        self.list("audience", audience, |text| quote(text));
        if !clock_skew.is_zero() {
            self.field("clock_skew", format_args!("{clock_skew:?}"));
        }
        self.list("match_claims", match_claims, |claim| {
            format!("{}: {}", quote(&claim.path), quote(claim.value.as_str()))
        });
        if let Some(access) = default_vm_access_claim {
            self.section("default_vm_access_claim");
            self.nested(|out| out.vm_access(access));
        }
    }

    fn vm_access(&mut self, access: &VmAccess) {
        let VmAccess {
            metrics_account_id,
            metrics_project_id,
            logs_account_id,
            logs_project_id,
            metrics_extra_labels,
            metrics_extra_filters,
            logs_extra_filters,
            logs_extra_stream_filters,
        } = access;
        self.field("metrics_tenant", format_args!("{metrics_account_id}:{metrics_project_id}"));
        self.field("logs_tenant", format_args!("{logs_account_id}:{logs_project_id}"));
        self.list("metrics_extra_labels", metrics_extra_labels, |text| quote(text));
        self.list("metrics_extra_filters", metrics_extra_filters, |text| quote(text));
        self.list("logs_extra_filters", logs_extra_filters, |text| quote(text));
        self.list("logs_extra_stream_filters", logs_extra_stream_filters, |text| quote(text));
    }

    fn route(&mut self, route: &RouteSpec) {
        let RouteSpec {
            place: _,
            number: _,
            src_paths,
            src_hosts,
            src_query_args,
            src_headers,
            deny_paths,
            target,
            ip_filters,
        } = route;
        self.list("src_paths", src_paths, |pattern| quote(pattern.as_str()));
        self.list("src_hosts", src_hosts, |pattern| quote(pattern.as_str()));
        self.list("src_query_args", src_query_args, |arg| match &arg.value {
            QueryValue::Exact(value) => format!("{}={}", quote(&arg.name), quote(value)),
            QueryValue::Regex(pattern) => format!("{}=~{}", quote(&arg.name), quote(pattern.as_str())),
        });
        self.list("src_headers", src_headers, |header| {
            let value = if redact::is_secret_header(&header.name) { MASK } else { &header.value };
            quote(format!("{}: {value}", header.name))
        });
        self.list("deny_paths", deny_paths, |pattern| quote(pattern.as_str()));
        if let Some(filter) = ip_filters {
            self.ip_filters(filter);
        }
        self.target(target);
    }

    fn target(&mut self, target: &TargetSpec) {
        let TargetSpec {
            urls,
            weights,
            load_balancing_policy,
            watching: Watching { check, outliers, slow_start, retry_budget },
            retry_status_codes,
            retry_only_idempotent,
            merge_query_args,
            drop_src_path_prefix_parts,
            timeouts,
            discover_backend_ips,
            request_headers,
            response_headers,
            keep_original_host,
        } = target;
        self.list("urls", urls, |url| quote(shown_url(&url.to_string())));
        self.list("weights", weights, ToString::to_string);
        self.field("load_balancing_policy", load_balancing_policy.name());
        if let Some(check) = check {
            self.health_check(check);
        }
        if let Some(outliers) = outliers {
            self.outliers(outliers);
        }
        if let Some(time) = slow_start {
            self.field("slow_start", GoDuration::from(*time));
        }
        if let Some(budget) = retry_budget {
            self.section("retry_budget");
            self.nested(|out| {
                out.field("percent", budget.percent);
                out.field("min_per_second", budget.min_per_second);
            });
        }
        self.list("retry_status_codes", retry_status_codes, ToString::to_string);
        self.flag("retry_only_idempotent", *retry_only_idempotent);
        self.list("merge_query_args", merge_query_args, |text| quote(text));
        if *drop_src_path_prefix_parts > 0 {
            self.field("drop_src_path_prefix_parts", drop_src_path_prefix_parts);
        }
        timeouts.named().for_each(|(name, limit)| self.field(name, limit));
        self.flag("discover_backend_ips", *discover_backend_ips);
        self.list("headers", request_headers, header);
        self.list("response_headers", response_headers, header);
        self.flag("keep_original_host", *keep_original_host);
    }

    fn health_check(&mut self, check: &CheckSpec) {
        let CheckSpec { path: _, interval, timeout, expected_status: _, rise, fall, headers } = check;
        self.section("health_check");
        self.nested(|out| {
            out.field("path", quote(check.shown_path()));
            out.field("interval", GoDuration::from(*interval));
            out.field("timeout", GoDuration::from(*timeout));
            out.field("expected_status", format_args!("[{}]", check.shown_statuses()));
            out.field("rise", rise);
            out.field("fall", fall);
            out.list("headers", headers, |(name, _)| quote(format!("{name}: {MASK}")));
        });
    }

    fn outliers(&mut self, outliers: &OutlierSpec) {
        let OutlierSpec {
            consecutive_errors,
            error_percent,
            min_requests,
            interval,
            ejection_time,
            max_ejection_time,
            max_ejection_percent,
        } = outliers;
        self.section("outlier_detection");
        self.nested(|out| {
            out.field("consecutive_errors", consecutive_errors);
            out.field("error_percent", error_percent);
            if *error_percent > 0 {
                out.field("min_requests", min_requests);
                out.field("interval", GoDuration::from(*interval));
            }
            out.field("ejection_time", GoDuration::from(*ejection_time));
            out.field("max_ejection_time", GoDuration::from(*max_ejection_time));
            out.field("max_ejection_percent", max_ejection_percent);
        });
    }

    fn ip_filters(&mut self, filter: &IpFilterSpec) {
        self.section("ip_filters");
        self.nested(|out| {
            out.list("allow_list", &filter.allow_list, ToString::to_string);
            out.list("deny_list", &filter.deny_list, ToString::to_string);
            out.optional("real_ip_header", filter.real_ip_header.as_deref());
        });
    }

    fn tls(&mut self, tls: &ClientTlsOptions) {
        // The lowest version is no key of the file.
        let ClientTlsOptions { ca_file, cert_file, key_file, server_name, insecure_skip_verify, min_version: _ } = tls;
        let files = [("tls_ca_file", ca_file), ("tls_cert_file", cert_file), ("tls_key_file", key_file)];
        for (name, file) in files {
            self.optional(name, file.as_deref().map(redact::url).as_deref());
        }
        self.optional("tls_server_name", server_name.as_deref());
        self.flag("tls_insecure_skip_verify", *insecure_skip_verify);
    }
}

/// A backend's URL with its args, of which only secrets are hidden.
fn shown_url(url: &str) -> Vec<u8> {
    let shown = redact::userinfo(url);
    let (head, query) = shown.split_once('?').unwrap_or((&shown, ""));
    let mut out = head.as_bytes().to_vec();
    if !query.is_empty() {
        out.push(b'?');
        redact::push_args(&mut out, query.as_bytes());
    }
    out
}

/// A header rule: values may be secrets, but that a header is deleted or comes from a token may be shown.
fn header(rule: &HeaderRule) -> String {
    let value = match rule.value() {
        "" => "",
        value if Placeholder::of(value).is_some() => value,
        value if matches!(rule.name().to_ascii_lowercase().as_str(), "host" | "accountid" | "projectid") => value,
        _ => MASK,
    };
    quote(format!("{}: {value}", rule.name()))
}
