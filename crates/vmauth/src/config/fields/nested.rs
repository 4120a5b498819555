//! The objects within users and entries of `url_map`, one table each; what holds for those of [`super`] holds here.

use vmkit::yaml::Object;
use vmkit::yaml::ValueType::{Boolean, Integer, Integers, Object as Nested, Text, TextMap, TextOrTexts, Texts};

use super::row;

/// An item of `url_prefix` or `default_url` that is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum BackendField {
    Url,
    Weight,
}

pub(in crate::config) static BACKEND: Object<BackendField> = Object::new(
    "main.Backend",
    &[
        row(BackendField::Url, "url", Text, "URL of the backend."),
        row(
            BackendField::Weight,
            "weight",
            Integer,
            "Its part of the load, 0 to 256, 1 when absent; 0 takes no requests.",
        ),
    ],
);

/// `jwt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum JwtField {
    PublicKeys,
    PublicKeyFiles,
    SkipVerify,
    Oidc,
    MatchClaims,
    DefaultVmAccessClaim,
    Audience,
    JwksUrl,
    ClockSkew,
}

pub(in crate::config) static JWT: Object<JwtField> = Object::new(
    "main.JWTConfig",
    &[
        row(JwtField::PublicKeys, "public_keys", Texts, "Public keys in PEM."),
        row(JwtField::PublicKeyFiles, "public_key_files", Texts, "Files with public keys in PEM."),
        row(JwtField::SkipVerify, "skip_verify", Boolean, "Whether signatures are not checked."),
        row(JwtField::Oidc, "oidc", Nested("main.oidcConfig"), "Provider whose keys are discovered."),
        row(JwtField::MatchClaims, "match_claims", TextMap, "Claims and the regexes that must match them."),
        row(
            JwtField::DefaultVmAccessClaim,
            "default_vm_access_claim",
            Nested("jwt.VMAccessClaim"),
            "Used for tokens without `vm_access`.",
        ),
        row(JwtField::Audience, "audience", TextOrTexts, "Audiences of which tokens must name one."),
        row(JwtField::JwksUrl, "jwks_url", Text, "URL of a key set, without discovery."),
        row(JwtField::ClockSkew, "clock_skew", Text, "Tolerance for the dates of tokens, at most 10m."),
    ],
);

/// `oidc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum OidcField {
    Issuer,
}

pub(in crate::config) static OIDC: Object<OidcField> = Object::new(
    "main.oidcConfig",
    &[row(OidcField::Issuer, "issuer", Text, "URL of the provider, which tokens must name byte for byte.")],
);

/// `default_vm_access_claim`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum VmAccessField {
    MetricsAccountId,
    MetricsProjectId,
    MetricsExtraLabels,
    MetricsExtraFilters,
    LogsAccountId,
    LogsProjectId,
    LogsExtraFilters,
    LogsExtraStreamFilters,
}

pub(in crate::config) static VM_ACCESS: Object<VmAccessField> = Object::new(
    "jwt.VMAccessClaim",
    &[
        row(VmAccessField::MetricsAccountId, "metrics_account_id", Integer, "Account of metrics."),
        row(VmAccessField::MetricsProjectId, "metrics_project_id", Integer, "Project of metrics."),
        row(VmAccessField::MetricsExtraLabels, "metrics_extra_labels", Texts, "Labels added to written metrics."),
        row(VmAccessField::MetricsExtraFilters, "metrics_extra_filters", Texts, "Filters added to queries of metrics."),
        row(VmAccessField::LogsAccountId, "logs_account_id", Integer, "Account of logs."),
        row(VmAccessField::LogsProjectId, "logs_project_id", Integer, "Project of logs."),
        row(VmAccessField::LogsExtraFilters, "logs_extra_filters", Texts, "Filters added to queries of logs."),
        row(
            VmAccessField::LogsExtraStreamFilters,
            "logs_extra_stream_filters",
            Texts,
            "Stream filters added to queries of logs.",
        ),
    ],
);

/// `mtls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum MtlsField {
    OrganizationalUnit,
    Organization,
    CommonName,
}

pub(in crate::config) static MTLS: Object<MtlsField> = Object::new(
    "main.MTLSConfig",
    &[
        row(MtlsField::OrganizationalUnit, "organizational_unit", Text, "OU of the certificate's subject."),
        row(MtlsField::Organization, "organization", Text, "O of the certificate's subject."),
        row(MtlsField::CommonName, "common_name", Text, "CN of the certificate's subject."),
    ],
);

/// `ip_filters`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum IpFiltersField {
    AllowList,
    DenyList,
    RealIpHeader,
}

pub(in crate::config) static IP_FILTERS: Object<IpFiltersField> = Object::new(
    "main.IPFilters",
    &[
        row(IpFiltersField::AllowList, "allow_list", Texts, "Addresses and networks that are let in."),
        row(IpFiltersField::DenyList, "deny_list", Texts, "Addresses and networks that are refused."),
        row(IpFiltersField::RealIpHeader, "real_ip_header", Text, "Header with the client's address."),
    ],
);

/// `health_check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum HealthCheckField {
    Path,
    Interval,
    Timeout,
    ExpectedStatus,
    Rise,
    Fall,
    Headers,
}

pub(in crate::config) static HEALTH_CHECK: Object<HealthCheckField> = Object::new(
    "main.HealthCheck",
    &[
        row(HealthCheckField::Path, "path", Text, "Path that is asked for, in place of the URL's; empty for no check."),
        row(HealthCheckField::Interval, "interval", Text, "Time between two probes, 5s."),
        row(HealthCheckField::Timeout, "timeout", Text, "Longest time of a probe, connecting included, 2s."),
        row(
            HealthCheckField::ExpectedStatus,
            "expected_status",
            TextOrTexts,
            "Statuses such as `200` or `200-399` that are good.",
        ),
        row(HealthCheckField::Rise, "rise", Integer, "Good probes in a row that bring a backend back, 2."),
        row(HealthCheckField::Fall, "fall", Integer, "Failed probes in a row that take a backend out, 3."),
        row(HealthCheckField::Headers, "headers", Texts, "`Name: value` of the probes."),
    ],
);

/// `outlier_detection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum OutliersField {
    ConsecutiveErrors,
    ErrorPercent,
    MinRequests,
    Interval,
    EjectionTime,
    MaxEjectionTime,
    MaxEjectionPercent,
}

pub(in crate::config) static OUTLIERS: Object<OutliersField> = Object::new(
    "main.OutlierDetection",
    &[
        row(
            OutliersField::ConsecutiveErrors,
            "consecutive_errors",
            Integer,
            "Failures in a row that eject, 5; 0: none.",
        ),
        row(
            OutliersField::ErrorPercent,
            "error_percent",
            Integer,
            "Share of failures that ejects; 0, the default: none.",
        ),
        row(OutliersField::MinRequests, "min_requests", Integer, "Requests below which the share says nothing, 20."),
        row(OutliersField::Interval, "interval", Text, "Time over which the share is taken, 10s."),
        row(OutliersField::EjectionTime, "ejection_time", Text, "How long the first ejection takes, 30s."),
        row(OutliersField::MaxEjectionTime, "max_ejection_time", Text, "How long an ejection takes at most, 5m."),
        row(
            OutliersField::MaxEjectionPercent,
            "max_ejection_percent",
            Integer,
            "Share of the backends that may be ejected at a time, 50.",
        ),
    ],
);

/// `retry_budget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum BudgetField {
    Percent,
    MinPerSecond,
}

pub(in crate::config) static BUDGET: Object<BudgetField> = Object::new(
    "main.RetryBudget",
    &[
        row(BudgetField::Percent, "percent", Integer, "Retries in percent of the route's requests, 20."),
        row(BudgetField::MinPerSecond, "min_per_second", Integer, "Retries a second that are allowed besides, 10."),
    ],
);

/// `access_log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum AccessLogField {
    Filters,
}

pub(in crate::config) static ACCESS_LOG: Object<AccessLogField> = Object::new(
    "main.AccessLog",
    &[row(AccessLogField::Filters, "filters", Nested("main.AccessLogFilters"), "What is not logged.")],
);

/// `filters` of `access_log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum AccessLogFiltersField {
    SkipStatusCodes,
}

pub(in crate::config) static ACCESS_LOG_FILTERS: Object<AccessLogFiltersField> = Object::new(
    "main.AccessLogFilters",
    &[row(AccessLogFiltersField::SkipStatusCodes, "skip_status_codes", Integers, "Statuses that are not logged.")],
);
