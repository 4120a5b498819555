//! Every field of the auth config in one table an object: name, type and meaning.
//!
//! Readers in [`super::raw`] match on the enums, so a row without a reader, or a reader without a row, does not compile
//! without a warning. Type names are those that messages show.

mod nested;

use std::sync::LazyLock;

use vmkit::yaml::ValueType::{
    Boolean, Integer, Integers, Object as Nested, Objects, Text, TextMap, TextOrItems, Texts,
};
use vmkit::yaml::{Elsewhere, FieldDef, Object, ValueType};

pub(super) use nested::{
    ACCESS_LOG, ACCESS_LOG_FILTERS, AccessLogField, AccessLogFiltersField, BACKEND, BUDGET, BackendField, BudgetField,
    HEALTH_CHECK, HealthCheckField, IP_FILTERS, IpFiltersField, JWT, JwtField, MTLS, MtlsField, OIDC, OUTLIERS,
    OidcField, OutliersField, VM_ACCESS, VmAccessField,
};

/// The top level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopField {
    Users,
    UnauthorizedUser,
    IpFilters,
}

pub(super) static TOP: Object<TopField> = Object::new(
    "main.AuthConfig",
    &[
        row(TopField::Users, "users", Objects("main.UserInfo"), "Who may send requests, and where they go."),
        row(
            TopField::UnauthorizedUser,
            "unauthorized_user",
            Nested("main.UserInfo"),
            "Serves requests without credentials, and those whose credentials belong to nobody.",
        ),
        row(TopField::IpFilters, "ip_filters", Nested("main.IPFilters"), "Addresses that may connect at all."),
    ],
)
.elsewhere(&[(
    &[
        "credentials",
        "username",
        "password",
        "password_file",
        "password_hash",
        "password_hash_file",
        "bearer_token",
        "bearer_token_file",
        "bearer_token_hash",
        "auth_token",
        "auth_token_file",
        "jwt",
        "mtls",
        "name",
        "url_map",
        "url_prefix",
        "default_url",
    ],
    "it belongs into an item of `users`, or into `unauthorized_user`",
)]);

/// Fields that users and entries of `url_map` share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    UrlPrefix,
    DiscoverBackendIps,
    Headers,
    HeaderFiles,
    ResponseHeaders,
    KeepOriginalHost,
    RetryStatusCodes,
    RetryOnlyIdempotent,
    LoadBalancingPolicy,
    HealthCheck,
    OutlierDetection,
    SlowStart,
    RetryBudget,
    MergeQueryArgs,
    DropSrcPathPrefixParts,
    ConnectTimeout,
    ResponseTimeout,
    RequestTimeout,
    IpFilters,
    DenyPaths,
}

const SETTINGS: &[FieldDef<Setting>] = &[
    row(
        Setting::UrlPrefix,
        "url_prefix",
        TextOrItems("main.Backend"),
        "URLs of the backends; the path of the request is added.",
    ),
    row(
        Setting::DiscoverBackendIps,
        "discover_backend_ips",
        Boolean,
        "Whether each address of a backend's name is a backend of its own.",
    ),
    row(Setting::Headers, "headers", Texts, "`Name: value` set on requests to backends; an empty value removes it."),
    row(Setting::HeaderFiles, "header_files", Texts, "`Name: file` whose content is set as that header."),
    row(Setting::ResponseHeaders, "response_headers", Texts, "`Name: value` set on replies to clients."),
    row(Setting::KeepOriginalHost, "keep_original_host", Boolean, "Whether backends see the client's `Host`."),
    row(Setting::RetryStatusCodes, "retry_status_codes", Integers, "Statuses after which another backend is tried."),
    row(
        Setting::RetryOnlyIdempotent,
        "retry_only_idempotent",
        Boolean,
        "Whether what a backend may have read is sent again only if its method is idempotent.",
    ),
    row(
        Setting::LoadBalancingPolicy,
        "load_balancing_policy",
        Text,
        "`least_loaded`, `first_available` or `hash_query`.",
    ),
    row(
        Setting::HealthCheck,
        "health_check",
        Nested("main.HealthCheck"),
        "How backends are asked by HTTP whether they can serve.",
    ),
    row(
        Setting::OutlierDetection,
        "outlier_detection",
        Nested("main.OutlierDetection"),
        "When backends that fail requests are left out for a while.",
    ),
    row(
        Setting::SlowStart,
        "slow_start",
        Text,
        "How long the share of a backend that has returned grows, such as `30s`.",
    ),
    row(Setting::RetryBudget, "retry_budget", Nested("main.RetryBudget"), "How many requests may be tried again."),
    row(
        Setting::MergeQueryArgs,
        "merge_query_args",
        Texts,
        "Args of the client that are added to equally named ones of the URL.",
    ),
    row(
        Setting::DropSrcPathPrefixParts,
        "drop_src_path_prefix_parts",
        Integer,
        "How many leading parts of the path are cut off.",
    ),
    row(
        Setting::ConnectTimeout,
        "connect_timeout",
        Text,
        "How long connecting to a backend may take, such as `2s`; in place of -dialTimeout.",
    ),
    row(
        Setting::ResponseTimeout,
        "response_timeout",
        Text,
        "How long a backend may take until its reply begins, such as `30s`; in place of -responseTimeout.",
    ),
    row(
        Setting::RequestTimeout,
        "request_timeout",
        Text,
        "How long a request may take from its head to the end of its reply, all attempts together.",
    ),
    row(Setting::IpFilters, "ip_filters", Nested("main.IPFilters"), "Addresses that may use it."),
    row(Setting::DenyPaths, "deny_paths", Texts, "Regexes of paths that are refused with 403."),
];

/// Static credentials of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginField {
    Username,
    Password,
    PasswordFile,
    PasswordHash,
    PasswordHashFile,
    BearerToken,
    BearerTokenFile,
    BearerTokenHash,
    AuthToken,
    AuthTokenFile,
}

const LOGIN: &[FieldDef<LoginField>] = &[
    row(LoginField::Username, "username", Text, "User name of Basic credentials."),
    row(LoginField::Password, "password", Text, "Password of Basic credentials."),
    row(LoginField::PasswordFile, "password_file", Text, "File with that password."),
    row(LoginField::PasswordHash, "password_hash", Text, "Hash of that password: argon2id, bcrypt or `sha256:…`."),
    row(LoginField::PasswordHashFile, "password_hash_file", Text, "File with that hash."),
    row(LoginField::BearerToken, "bearer_token", Text, "Token behind `Bearer`."),
    row(LoginField::BearerTokenFile, "bearer_token_file", Text, "File with that token."),
    row(LoginField::BearerTokenHash, "bearer_token_hash", Text, "Hash of that token: `sha256:…`."),
    row(LoginField::AuthToken, "auth_token", Text, "Whole value of the `Authorization` header."),
    row(LoginField::AuthTokenFile, "auth_token_file", Text, "File with that value."),
];

/// An item of `credentials`.
pub(super) static CREDENTIAL: Object<LoginField> = Object::new("main.Credential", LOGIN);

/// An entry of `users`, or `unauthorized_user`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserField {
    Name,
    Jwt,
    Mtls,
    UrlMap,
    DefaultUrl,
    DumpRequestOnErrors,
    MaxConcurrentRequests,
    TlsCaFile,
    TlsCertFile,
    TlsKeyFile,
    TlsServerName,
    TlsInsecureSkipVerify,
    MetricLabels,
    AccessLog,
    Credentials,
    Login(LoginField),
    Setting(Setting),
}

pub(super) static USER: LazyLock<Object<UserField>> = LazyLock::new(|| {
    let own = Object::with_shared("main.UserInfo", USER_OWN, LOGIN, UserField::Login);
    own.and(SETTINGS, UserField::Setting).elsewhere(OF_ROUTES)
});

const OF_ROUTES: &[Elsewhere] =
    &[(&["src_paths", "src_hosts", "src_query_args", "src_headers"], "it belongs into an entry of `url_map`")];

const USER_OWN: &[FieldDef<UserField>] = &[
    row(UserField::Name, "name", Text, "Name in messages, logs and metrics."),
    row(UserField::Jwt, "jwt", Nested("main.JWTConfig"), "Whose tokens are the user's."),
    row(UserField::Mtls, "mtls", Nested("main.MTLSConfig"), "Whose client certificates are the user's."),
    row(UserField::UrlMap, "url_map", Objects("main.URLMap"), "Routes; the first that matches decides."),
    row(
        UserField::DefaultUrl,
        "default_url",
        TextOrItems("main.Backend"),
        "URLs for requests that nothing else matches.",
    ),
    row(
        UserField::DumpRequestOnErrors,
        "dump_request_on_errors",
        Boolean,
        "Whether the error of a missing route shows the request.",
    ),
    row(UserField::MaxConcurrentRequests, "max_concurrent_requests", Integer, "Limit of requests at a time."),
    row(UserField::TlsCaFile, "tls_ca_file", Text, "File with the authorities of the backends' certificates."),
    row(UserField::TlsCertFile, "tls_cert_file", Text, "File with the client certificate for backends."),
    row(UserField::TlsKeyFile, "tls_key_file", Text, "File with the key of that certificate."),
    row(UserField::TlsServerName, "tls_server_name", Text, "Name that backends' certificates must have."),
    row(UserField::TlsInsecureSkipVerify, "tls_insecure_skip_verify", Boolean, "Whether any certificate will do."),
    row(UserField::MetricLabels, "metric_labels", TextMap, "Labels of the user's metrics."),
    row(UserField::AccessLog, "access_log", Nested("main.AccessLog"), "Logs the user's requests."),
    row(UserField::Credentials, "credentials", Objects("main.Credential"), "More credentials of the same user."),
];

/// An entry of `url_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RouteField {
    SrcPaths,
    SrcHosts,
    SrcQueryArgs,
    SrcHeaders,
    Setting(Setting),
}

pub(super) static ROUTE: LazyLock<Object<RouteField>> =
    LazyLock::new(|| Object::with_shared("main.URLMap", ROUTE_OWN, SETTINGS, RouteField::Setting).elsewhere(OF_USERS));

const OF_USERS: &[Elsewhere] = &[(
    &[
        "name",
        "jwt",
        "mtls",
        "url_map",
        "default_url",
        "dump_request_on_errors",
        "max_concurrent_requests",
        "tls_ca_file",
        "tls_cert_file",
        "tls_key_file",
        "tls_server_name",
        "tls_insecure_skip_verify",
        "metric_labels",
        "access_log",
        "credentials",
        "username",
        "password",
        "password_file",
        "password_hash",
        "password_hash_file",
        "bearer_token",
        "bearer_token_file",
        "bearer_token_hash",
        "auth_token",
        "auth_token_file",
    ],
    "it belongs one level up, to the user beside `url_map`",
)];

const ROUTE_OWN: &[FieldDef<RouteField>] = &[
    row(RouteField::SrcPaths, "src_paths", Texts, "Regexes of which one must match the whole path."),
    row(RouteField::SrcHosts, "src_hosts", Texts, "Regexes of which one must match the whole `Host`."),
    row(RouteField::SrcQueryArgs, "src_query_args", Texts, "`name=value` or `name=~regex`, of which one must match."),
    row(RouteField::SrcHeaders, "src_headers", Texts, "`Name: value`, of which one must be there."),
];

const fn row<F>(field: F, name: &'static str, value: ValueType, doc: &'static str) -> FieldDef<F> {
    FieldDef::new(field, name, value, doc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn check<F: Copy + std::fmt::Debug>(object: &Object<F>) {
        let names: HashSet<_> = object.fields.iter().map(|def| def.name).collect();
        let fields: HashSet<_> = object.fields.iter().map(|def| format!("{:?}", def.field)).collect();
        assert_eq!(names.len(), object.fields.len(), "{}", object.type_name);
        assert_eq!(fields.len(), object.fields.len(), "{}", object.type_name);
        for def in object.fields.iter() {
            let camel: String = def.name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
            let field = format!("{:?}", def.field);
            let shared = field.strip_suffix(')').and_then(|rest| Some(rest.split_once('(')?.1));
            let variant = shared.unwrap_or(&field);
            assert_eq!(variant, camel, "a row has the name of another field");
            assert!(def.doc.ends_with('.'), "{}", def.name);
        }
    }

    #[test]
    fn fields_elsewhere_are_those_of_users() {
        let own: Vec<_> = USER_OWN.iter().map(|def| def.name).chain(LOGIN.iter().map(|def| def.name)).collect();
        let elsewhere: Vec<_> = OF_USERS.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        assert_eq!(own, elsewhere);
        let routes: Vec<_> = OF_ROUTES.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        assert_eq!(routes, ROUTE_OWN.iter().map(|def| def.name).collect::<Vec<_>>());
    }

    #[test]
    fn each_field_has_one_row_and_its_own_name() {
        check(&TOP);
        check(&USER);
        check(&ROUTE);
        check(&BACKEND);
        check(&JWT);
        check(&OIDC);
        check(&VM_ACCESS);
        check(&MTLS);
        check(&IP_FILTERS);
        check(&HEALTH_CHECK);
        check(&OUTLIERS);
        check(&BUDGET);
        check(&ACCESS_LOG);
        check(&ACCESS_LOG_FILTERS);
        check(&CREDENTIAL);
    }
}
