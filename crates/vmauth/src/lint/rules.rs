//! All rules in one table: the page `docs/reference/lint.md` and the option `-off` are checked against it.

use super::rule::{Rule, Severity};
use super::{Findings, Input, credentials, routes, texts};

type Check = fn(&'static Rule, &Input<'_>, &mut Findings);

const fn warning(id: &'static str, summary: &'static str, check: Check) -> Rule {
    Rule { id, severity: Severity::Warning, summary, at_load: false, check }
}

/// A warning that a (re)load logs.
const fn mistake(id: &'static str, summary: &'static str, check: Check) -> Rule {
    Rule { id, severity: Severity::Warning, summary, at_load: true, check }
}

const fn note(id: &'static str, summary: &'static str, check: Check) -> Rule {
    Rule { id, severity: Severity::Note, summary, at_load: false, check }
}

/// The rules by id.
pub static RULES: &[Rule] = &[
    mistake(
        "bad-port",
        "A backend's port is no number from 1 to 65535, so no connection can be made.",
        routes::bad_port,
    ),
    mistake(
        "cut-by-comment",
        "A credential without quotes ends at ` #`, or begins with `#`, `&` or `!` and is empty for YAML.",
        texts::cut_by_comment,
    ),
    warning(
        "empty-config",
        "There are no users and no `unauthorized_user`: every request is denied.",
        texts::empty_config,
    ),
    warning(
        "empty-password",
        "A user has a name and no password: the name alone lets in.",
        credentials::empty_password,
    ),
    mistake(
        "empty-unauthorized-user",
        "`unauthorized_user` has no backends, so it serves nobody.",
        texts::empty_unauthorized_user,
    ),
    warning("http-issuer", "Keys of an identity provider are fetched over plain HTTP.", credentials::http_issuer),
    warning(
        "limit-above-global",
        "The limit of a user is above `-maxConcurrentRequests`, so it is never reached.",
        texts::limit_above_global,
    ),
    warning(
        "merged-filter",
        "`merge_query_args` lets clients add to an arg that the URL sets, so it is not enforced.",
        routes::merged_filter,
    ),
    warning("missing-file", "A TLS file cannot be read; its backends answer 502 until it can.", texts::missing_file),
    warning(
        "mtls-off",
        "Users with `mtls` are never found, because no listener asks for certificates.",
        credentials::mtls_off,
    ),
    mistake(
        "narrow-pattern",
        "A pattern that ends with `/` or `/*` does not match what is below.",
        routes::narrow_pattern,
    ),
    mistake("negative-limit", "A negative limit is the same as none given.", texts::negative_limit),
    warning("never-ejects", "`outlier_detection` of so few backends that none may be left out.", routes::never_ejects),
    mistake("never-matches", "An entry or pattern of `url_map` that no request can match.", routes::never_matches),
    note(
        "no-audience",
        "Tokens of a user with `jwt` are taken whatever service they were made for.",
        credentials::no_audience,
    ),
    warning(
        "open-to-all",
        "`unauthorized_user` sends every path to a backend, although there are users with credentials.",
        routes::open_to_all,
    ),
    note("plain-secret", "A secret stands in the file as text.", credentials::plain_secret),
    warning("shadowed-route", "Earlier routes take every request that a route would match.", routes::shadowed_route),
    warning("skip-verify", "Tokens are believed without a look at their signature.", credentials::skip_verify),
    note("slow-probe", "The timeout of a `health_check` is longer than its interval.", routes::slow_probe),
    warning(
        "unreached-timeout",
        "`request_timeout` of a route ends before a longer timeout of its backends can.",
        routes::unreached_timeout,
    ),
    mistake(
        "unset-variable",
        "`%{NAME}` names no environment variable, or an empty one for a credential; or `${NAME}` is written, which is not replaced.",
        texts::unset_variable,
    ),
    warning("unused-user", "An earlier user takes every certificate of a user with `mtls`.", credentials::unused_user),
    warning("unused-weight", "Weights above 1 say nothing with `first_available`.", routes::unused_weight),
];
