//! The fields of the config as written.
//!
//! Turns tree nodes into structs of borrowed texts by the tables of [`super::fields`]; nothing is parsed, inherited or
//! checked here beyond types. The structs live only while one user is built and never leave this area.

use super::fields::{
    ACCESS_LOG, ACCESS_LOG_FILTERS, AccessLogField, AccessLogFiltersField, BACKEND, BUDGET, BackendField, BudgetField,
    CREDENTIAL, HEALTH_CHECK, HealthCheckField, IP_FILTERS, IpFiltersField, JWT, JwtField, LoginField, MTLS, MtlsField,
    OIDC, OUTLIERS, OidcField, OutliersField, ROUTE, RouteField, Setting, TOP, TopField, USER, UserField, VM_ACCESS,
    VmAccessField,
};
use super::stage::{Decoder, Stage};
use jwt::VmAccess;
use std::ops::{Deref, DerefMut};
use vmkit::yaml::tree::Kind;
use vmkit::yaml::{At, Mark, Member, NodeId, Place, Text, TextList};

/// The top level. Users are decoded one at a time.
#[derive(Default)]
pub(super) struct RawConfig<'t> {
    pub(super) users: &'t [NodeId],
    pub(super) unauthorized_user: Option<NodeId>,
    pub(super) ip_filters: Option<At<RawIpFilters<'t>>>,
}

/// `users[…]` or `unauthorized_user`.
#[derive(Default)]
pub(super) struct RawUser<'t> {
    pub(super) mark: Mark,
    /// Whether a field was unusable, so that "missing" would mislead.
    pub(super) damaged: bool,
    pub(super) name: Option<Text<'t>>,
    pub(super) login: RawLogin<'t>,
    /// `credentials`, when it is there.
    pub(super) credentials: Option<Vec<RawCredential<'t>>>,
    pub(super) jwt: Option<At<RawJwt<'t>>>,
    pub(super) mtls: Option<At<RawMtls<'t>>>,
    pub(super) settings: RawSettings<'t>,
    pub(super) url_map: Vec<RawRoute<'t>>,
    pub(super) default_url: Option<RawUrls<'t>>,
    pub(super) dump_request_on_errors: bool,
    pub(super) max_concurrent_requests: Option<i64>,
    pub(super) tls_ca_file: Option<Text<'t>>,
    pub(super) tls_cert_file: Option<Text<'t>>,
    pub(super) tls_key_file: Option<Text<'t>>,
    pub(super) tls_server_name: Option<Text<'t>>,
    pub(super) tls_insecure_skip_verify: Option<bool>,
    pub(super) metric_labels: Vec<(Text<'t>, Text<'t>)>,
    /// `skip_status_codes` of `access_log`.
    pub(super) access_log: Option<Vec<i64>>,
}

/// An item of `credentials`.
pub(super) struct RawCredential<'t> {
    pub(super) mark: Mark,
    pub(super) damaged: bool,
    pub(super) login: RawLogin<'t>,
}

/// Static credentials.
#[derive(Clone, Copy, Default)]
pub(super) struct RawLogin<'t> {
    pub(super) username: Option<Text<'t>>,
    pub(super) password: Option<Text<'t>>,
    pub(super) password_file: Option<Text<'t>>,
    pub(super) password_hash: Option<Text<'t>>,
    pub(super) password_hash_file: Option<Text<'t>>,
    pub(super) bearer_token: Option<Text<'t>>,
    pub(super) bearer_token_file: Option<Text<'t>>,
    pub(super) bearer_token_hash: Option<Text<'t>>,
    pub(super) auth_token: Option<Text<'t>>,
    pub(super) auth_token_file: Option<Text<'t>>,
}

/// Fields that users and `url_map` entries share.
#[derive(Default)]
pub(super) struct RawSettings<'t> {
    pub(super) url_prefix: Option<RawUrls<'t>>,
    pub(super) discover_backend_ips: Option<bool>,
    pub(super) headers: Option<TextList<'t>>,
    pub(super) header_files: Option<TextList<'t>>,
    pub(super) response_headers: Option<TextList<'t>>,
    pub(super) keep_original_host: Option<bool>,
    pub(super) retry_status_codes: Option<Vec<i64>>,
    pub(super) retry_only_idempotent: Option<bool>,
    pub(super) load_balancing_policy: Option<Text<'t>>,
    pub(super) watching: RawWatching<'t>,
    pub(super) merge_query_args: Option<TextList<'t>>,
    pub(super) drop_src_path_prefix_parts: Option<i64>,
    pub(super) timeouts: RawTimeouts<'t>,
    pub(super) ip_filters: Option<RawIpFilters<'t>>,
    pub(super) deny_paths: Option<TextList<'t>>,
}

/// Limits of time among the settings.
#[derive(Default)]
pub(super) struct RawTimeouts<'t> {
    pub(super) connect: Option<Text<'t>>,
    pub(super) response: Option<Text<'t>>,
    pub(super) request: Option<Text<'t>>,
}

/// `url_prefix` or `default_url`.
pub(super) struct RawUrls<'t> {
    pub(super) mark: Mark,
    /// Index within the list, or nothing for a single text.
    pub(super) urls: Vec<(Option<usize>, Text<'t>)>,
    /// Weights of items that have one, by index within the list.
    pub(super) weights: Vec<(usize, At<i64>)>,
}

/// An entry of `url_map`.
#[derive(Default)]
pub(super) struct RawRoute<'t> {
    pub(super) mark: Mark,
    pub(super) damaged: bool,
    pub(super) src_paths: Option<TextList<'t>>,
    pub(super) src_hosts: Option<TextList<'t>>,
    pub(super) src_query_args: Option<TextList<'t>>,
    pub(super) src_headers: Option<TextList<'t>>,
    pub(super) settings: RawSettings<'t>,
}

/// How backends are watched.
#[derive(Default)]
pub(super) struct RawWatching<'t> {
    pub(super) health_check: Option<At<RawHealthCheck<'t>>>,
    pub(super) outlier_detection: Option<At<RawOutliers<'t>>>,
    pub(super) retry_budget: Option<At<RawBudget>>,
    pub(super) slow_start: Option<Text<'t>>,
}

/// `retry_budget`.
#[derive(Default)]
pub(super) struct RawBudget {
    pub(super) percent: Option<At<i64>>,
    pub(super) min_per_second: Option<At<i64>>,
}

/// `outlier_detection`.
#[derive(Default)]
pub(super) struct RawOutliers<'t> {
    pub(super) consecutive_errors: Option<At<i64>>,
    pub(super) error_percent: Option<At<i64>>,
    pub(super) min_requests: Option<At<i64>>,
    pub(super) interval: Option<Text<'t>>,
    pub(super) ejection_time: Option<Text<'t>>,
    pub(super) max_ejection_time: Option<Text<'t>>,
    pub(super) max_ejection_percent: Option<At<i64>>,
}

/// `health_check`.
#[derive(Default)]
pub(super) struct RawHealthCheck<'t> {
    pub(super) damaged: bool,
    pub(super) path: Option<Text<'t>>,
    pub(super) interval: Option<Text<'t>>,
    pub(super) timeout: Option<Text<'t>>,
    pub(super) expected_status: Option<TextList<'t>>,
    pub(super) rise: Option<At<i64>>,
    pub(super) fall: Option<At<i64>>,
    pub(super) headers: Option<TextList<'t>>,
}

/// `ip_filters`.
#[derive(Default)]
pub(super) struct RawIpFilters<'t> {
    pub(super) allow_list: Option<TextList<'t>>,
    pub(super) deny_list: Option<TextList<'t>>,
    pub(super) real_ip_header: Option<Text<'t>>,
}

/// `mtls`.
#[derive(Default)]
pub(super) struct RawMtls<'t> {
    pub(super) organizational_unit: Option<Text<'t>>,
    pub(super) organization: Option<Text<'t>>,
    pub(super) common_name: Option<Text<'t>>,
}

/// `jwt`.
#[derive(Default)]
pub(super) struct RawJwt<'t> {
    pub(super) damaged: bool,
    pub(super) public_keys: Option<TextList<'t>>,
    pub(super) public_key_files: Option<TextList<'t>>,
    pub(super) skip_verify: bool,
    /// `issuer` of `oidc`, with the place of the object if it is missing.
    pub(super) oidc_issuer: Option<Text<'t>>,
    pub(super) match_claims: Vec<(Text<'t>, Text<'t>)>,
    pub(super) default_vm_access_claim: Option<VmAccess>,
    /// `audience`; a single text is a list of one.
    pub(super) audience: Option<TextList<'t>>,
    pub(super) jwks_url: Option<Text<'t>>,
    pub(super) clock_skew: Option<Text<'t>>,
}

/// The text, or an empty one.
pub(super) fn text_of(text: Option<Text<'_>>) -> &str {
    text.map_or("", |text| text.value)
}

/// A decoder that knows the fields of this config.
pub(super) struct Reader<'t, 'p>(pub(super) Decoder<'t, 'p>);

impl<'t, 'p> Deref for Reader<'t, 'p> {
    type Target = Decoder<'t, 'p>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Reader<'_, '_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<'t> Reader<'t, '_> {
    /// Reads the top level of a file.
    pub(super) fn config(&mut self, top: &Place<'_>) -> RawConfig<'t> {
        let mut raw = RawConfig::default();
        let Some(root) = self.tree.root() else { return raw };
        for Member { field, name, value } in self.members(root, top, &TOP).unwrap_or_default() {
            let place = &top.field(name);
            match field {
                TopField::Users => raw.users = self.items(value, place, "[]main.UserInfo").unwrap_or_default(),
                TopField::UnauthorizedUser => raw.unauthorized_user = (!self.is_null(value)).then_some(value),
                TopField::IpFilters => {
                    let mark = self.mark(value);
                    raw.ip_filters = self.ip_filters(value, place).map(|value| At { value, mark });
                }
            }
        }
        raw
    }

    /// Reads a user; `null` is an empty one.
    pub(super) fn user(&mut self, id: NodeId, place: &Place<'_>) -> RawUser<'t> {
        let before = self.problems.count();
        let mut raw = RawUser { mark: self.mark(id), ..RawUser::default() };
        for Member { field, name, value } in self.members(id, place, &USER).unwrap_or_default() {
            self.user_field(field, value, &place.field(name), &mut raw);
        }
        raw.damaged = self.problems.count() > before;
        raw
    }

    fn user_field(&mut self, field: UserField, id: NodeId, place: &Place<'_>, raw: &mut RawUser<'t>) {
        match field {
            UserField::Name => raw.name = self.text(id, place),
            UserField::Jwt => raw.jwt = self.jwt(id, place),
            UserField::Mtls => raw.mtls = self.mtls(id, place),
            UserField::UrlMap => {
                let entries = self.items(id, place, "[]main.URLMap").unwrap_or_default();
                let entries = entries.iter().enumerate();
                raw.url_map = entries.map(|(index, &entry)| self.route(entry, &place.index(index))).collect();
            }
            UserField::DefaultUrl => raw.default_url = self.urls(id, place),
            UserField::DumpRequestOnErrors => raw.dump_request_on_errors = self.boolean(id, place).unwrap_or(false),
            UserField::MaxConcurrentRequests => raw.max_concurrent_requests = self.integer(id, place),
            UserField::TlsCaFile => raw.tls_ca_file = self.text(id, place),
            UserField::TlsCertFile => raw.tls_cert_file = self.text(id, place),
            UserField::TlsKeyFile => raw.tls_key_file = self.text(id, place),
            UserField::TlsServerName => raw.tls_server_name = self.text(id, place),
            UserField::TlsInsecureSkipVerify => raw.tls_insecure_skip_verify = self.boolean(id, place),
            UserField::MetricLabels => raw.metric_labels = self.text_map(id, place).unwrap_or_default(),
            UserField::AccessLog => raw.access_log = self.access_log(id, place),
            UserField::Credentials => {
                let items = self.items(id, place, "[]main.Credential");
                let item = |(index, &item)| self.credential(item, &place.index(index));
                raw.credentials = items.map(|items| items.iter().enumerate().map(item).collect());
            }
            UserField::Login(field) => self.login(field, id, place, &mut raw.login),
            UserField::Setting(setting) => self.setting(setting, id, place, &mut raw.settings),
        }
    }

    fn credential(&mut self, id: NodeId, place: &Place<'_>) -> RawCredential<'t> {
        let before = self.problems.count();
        let mut login = RawLogin::default();
        for Member { field, name, value } in self.members(id, place, &CREDENTIAL).unwrap_or_default() {
            self.login(field, value, &place.field(name), &mut login);
        }
        RawCredential { mark: self.mark(id), damaged: self.problems.count() > before, login }
    }

    fn login(&mut self, field: LoginField, id: NodeId, place: &Place<'_>, raw: &mut RawLogin<'t>) {
        let text = self.text(id, place);
        match field {
            LoginField::Username => raw.username = text,
            LoginField::Password => raw.password = text,
            LoginField::PasswordFile => raw.password_file = text,
            LoginField::PasswordHash => raw.password_hash = text,
            LoginField::PasswordHashFile => raw.password_hash_file = text,
            LoginField::BearerToken => raw.bearer_token = text,
            LoginField::BearerTokenFile => raw.bearer_token_file = text,
            LoginField::BearerTokenHash => raw.bearer_token_hash = text,
            LoginField::AuthToken => raw.auth_token = text,
            LoginField::AuthTokenFile => raw.auth_token_file = text,
        }
    }

    fn setting(&mut self, field: Setting, id: NodeId, place: &Place<'_>, raw: &mut RawSettings<'t>) {
        match field {
            Setting::UrlPrefix => raw.url_prefix = self.urls(id, place),
            Setting::DiscoverBackendIps => raw.discover_backend_ips = self.boolean(id, place),
            Setting::Headers => raw.headers = self.texts(id, place, "[]*main.Header"),
            Setting::HeaderFiles => raw.header_files = self.texts(id, place, "[]string"),
            Setting::ResponseHeaders => raw.response_headers = self.texts(id, place, "[]*main.Header"),
            Setting::KeepOriginalHost => raw.keep_original_host = self.boolean(id, place),
            Setting::RetryStatusCodes => raw.retry_status_codes = self.integers(id, place),
            Setting::RetryOnlyIdempotent => raw.retry_only_idempotent = self.boolean(id, place),
            Setting::LoadBalancingPolicy => raw.load_balancing_policy = self.text(id, place),
            Setting::HealthCheck => raw.watching.health_check = self.health_check(id, place),
            Setting::SlowStart => raw.watching.slow_start = self.text(id, place),
            Setting::RetryBudget => raw.watching.retry_budget = self.budget(id, place),
            Setting::OutlierDetection => raw.watching.outlier_detection = self.outliers(id, place),
            Setting::MergeQueryArgs => raw.merge_query_args = self.texts(id, place, "[]string"),
            Setting::DropSrcPathPrefixParts => raw.drop_src_path_prefix_parts = self.integer(id, place),
            Setting::ConnectTimeout => raw.timeouts.connect = self.text(id, place),
            Setting::ResponseTimeout => raw.timeouts.response = self.text(id, place),
            Setting::RequestTimeout => raw.timeouts.request = self.text(id, place),
            Setting::IpFilters => raw.ip_filters = self.ip_filters(id, place),
            Setting::DenyPaths => raw.deny_paths = self.texts(id, place, "[]*main.Regex"),
        }
    }

    fn route(&mut self, id: NodeId, place: &Place<'_>) -> RawRoute<'t> {
        let before = self.problems.count();
        let mut raw = RawRoute { mark: self.mark(id), ..RawRoute::default() };
        for Member { field, name, value } in self.members(id, place, &ROUTE).unwrap_or_default() {
            let place = &place.field(name);
            match field {
                RouteField::SrcPaths => raw.src_paths = self.texts(value, place, "[]*main.Regex"),
                RouteField::SrcHosts => raw.src_hosts = self.texts(value, place, "[]*main.Regex"),
                RouteField::SrcQueryArgs => raw.src_query_args = self.texts(value, place, "[]*main.QueryArg"),
                RouteField::SrcHeaders => raw.src_headers = self.texts(value, place, "[]*main.Header"),
                RouteField::Setting(setting) => self.setting(setting, value, place, &mut raw.settings),
            }
        }
        raw.damaged = self.problems.count() > before;
        raw
    }

    /// An integer and where it stands.
    fn number(&mut self, id: NodeId, place: &Place<'_>) -> Option<At<i64>> {
        let mark = self.mark(id);
        self.integer(id, place).map(|value| At { value, mark })
    }

    /// An empty list for a `null` that must not count as absence.
    fn nothing(&self, id: NodeId) -> Option<TextList<'t>> {
        self.is_null(id).then(|| TextList { mark: self.mark(id), ..TextList::default() })
    }

    fn text_or_texts(&mut self, id: NodeId, place: &Place<'_>) -> Option<TextList<'t>> {
        match self.tree.node(id).kind {
            Kind::Scalar { .. } => {
                let text = self.text(id, place)?;
                Some(TextList { mark: text.mark, written: 1, items: vec![(0, text)], null_at: None })
            }
            Kind::Sequence(_) | Kind::Mapping(_) => self.texts(id, place, "[]string"),
        }
    }

    /// Reads a text or a list of texts. Messages speak of `url_prefix` for `default_url`, too.
    fn urls(&mut self, id: NodeId, place: &Place<'_>) -> Option<RawUrls<'t>> {
        let node = self.tree.node(id);
        let (tree, mark) = (self.tree, node.mark);
        let fail = |decoder: &mut Self, place: &Place<'_>, mark: Mark, message: String, hint: &'static str| {
            decoder.problems.push(Stage::Values, place, mark, message, hint);
        };
        let items = match &node.kind {
            Kind::Sequence(items) => items,
            Kind::Scalar { .. } | Kind::Mapping(_) => {
                return match self.go_type(id) {
                    "<nil>" => None,
                    "string" => {
                        self.text(id, place).map(|text| RawUrls { mark, urls: vec![(None, text)], weights: Vec::new() })
                    }
                    other => {
                        let message = format!("unexpected type for `url_prefix`: {other}; want string or []string");
                        let hint = if other.starts_with("map[") {
                            "write it as an item of a list: `- {url: …}`"
                        } else {
                            "write a text or a list of texts"
                        };
                        fail(self, place, mark, message, hint);
                        None
                    }
                };
            }
        };
        if items.is_empty() {
            let message = "`url_prefix` must contain at least a single url".to_owned();
            fail(self, place, mark, message, "add a URL such as http://backend:8428/");
        }
        let (mut urls, mut weights) = (Vec::with_capacity(items.len()), Vec::new());
        for (index, &item) in items.iter().enumerate() {
            let place = &place.index(index);
            match self.go_type(item) {
                _ if matches!(tree.node(item).kind, Kind::Mapping(_)) => {
                    let (url, weight) = self.backend(item, place);
                    urls.extend(url.map(|url| (Some(index), url)));
                    weights.extend(weight.map(|weight| (index, weight)));
                }
                "string" => urls.extend(self.text(item, place).map(|text| (Some(index), text))),
                other => {
                    let message = format!("`url_prefix` must contain array of strings; got {other}");
                    fail(self, place, tree.node(item).mark, message, "put the text in quotes");
                }
            }
        }
        Some(RawUrls { mark, urls, weights })
    }

    /// An item of a list of URLs that is an object: URL and weight.
    fn backend(&mut self, id: NodeId, place: &Place<'_>) -> (Option<Text<'t>>, Option<At<i64>>) {
        let (mark, before) = (self.mark(id), self.problems.count());
        let (mut url, mut weight) = (None, None);
        for Member { field, name, value } in self.members(id, place, &BACKEND).unwrap_or_default() {
            let place = &place.field(name);
            match field {
                BackendField::Url => url = self.text(value, place),
                BackendField::Weight => weight = self.number(value, place),
            }
        }
        if url.is_none() && self.problems.count() == before {
            let message = "an item of `url_prefix` without `url`";
            self.problems.push(Stage::Values, place, mark, message, "write `{url: http://backend:8428/, weight: 2}`");
        }
        (url, weight)
    }

    fn access_log(&mut self, id: NodeId, place: &Place<'_>) -> Option<Vec<i64>> {
        let mut codes = Vec::new();
        for Member { field: AccessLogField::Filters, name, value } in self.members(id, place, &ACCESS_LOG)? {
            let place = &place.field(name);
            let filters = self.members(value, place, &ACCESS_LOG_FILTERS).unwrap_or_default();
            for Member { field: AccessLogFiltersField::SkipStatusCodes, name, value } in filters {
                codes = self.integers(value, &place.field(name)).unwrap_or_default();
            }
        }
        Some(codes)
    }

    fn ip_filters(&mut self, id: NodeId, place: &Place<'_>) -> Option<RawIpFilters<'t>> {
        let mut raw = RawIpFilters::default();
        for Member { field, name, value } in self.members(id, place, &IP_FILTERS)? {
            let place = &place.field(name);
            match field {
                IpFiltersField::AllowList => {
                    raw.allow_list = self.texts(value, place, "[]string").or_else(|| self.nothing(value));
                }
                IpFiltersField::DenyList => raw.deny_list = self.texts(value, place, "[]string"),
                IpFiltersField::RealIpHeader => raw.real_ip_header = self.text(value, place),
            }
        }
        Some(raw)
    }

    fn health_check(&mut self, id: NodeId, place: &Place<'_>) -> Option<At<RawHealthCheck<'t>>> {
        let before = self.problems.count();
        let mut raw = RawHealthCheck::default();
        for Member { field, name, value } in self.members(id, place, &HEALTH_CHECK)? {
            let place = &place.field(name);
            match field {
                HealthCheckField::Path => raw.path = self.text(value, place),
                HealthCheckField::Interval => raw.interval = self.text(value, place),
                HealthCheckField::Timeout => raw.timeout = self.text(value, place),
                HealthCheckField::ExpectedStatus => raw.expected_status = self.text_or_texts(value, place),
                HealthCheckField::Rise => raw.rise = self.number(value, place),
                HealthCheckField::Fall => raw.fall = self.number(value, place),
                HealthCheckField::Headers => raw.headers = self.texts(value, place, "[]*main.Header"),
            }
        }
        raw.damaged = self.problems.count() > before;
        Some(At { value: raw, mark: self.mark(id) })
    }

    fn outliers(&mut self, id: NodeId, place: &Place<'_>) -> Option<At<RawOutliers<'t>>> {
        let mut raw = RawOutliers::default();
        for Member { field, name, value } in self.members(id, place, &OUTLIERS)? {
            let place = &place.field(name);
            match field {
                OutliersField::ConsecutiveErrors => raw.consecutive_errors = self.number(value, place),
                OutliersField::ErrorPercent => raw.error_percent = self.number(value, place),
                OutliersField::MinRequests => raw.min_requests = self.number(value, place),
                OutliersField::Interval => raw.interval = self.text(value, place),
                OutliersField::EjectionTime => raw.ejection_time = self.text(value, place),
                OutliersField::MaxEjectionTime => raw.max_ejection_time = self.text(value, place),
                OutliersField::MaxEjectionPercent => raw.max_ejection_percent = self.number(value, place),
            }
        }
        Some(At { value: raw, mark: self.mark(id) })
    }

    fn budget(&mut self, id: NodeId, place: &Place<'_>) -> Option<At<RawBudget>> {
        let mut raw = RawBudget::default();
        for Member { field, name, value } in self.members(id, place, &BUDGET)? {
            let number = self.number(value, &place.field(name));
            match field {
                BudgetField::Percent => raw.percent = number,
                BudgetField::MinPerSecond => raw.min_per_second = number,
            }
        }
        Some(At { value: raw, mark: self.mark(id) })
    }

    fn mtls(&mut self, id: NodeId, place: &Place<'_>) -> Option<At<RawMtls<'t>>> {
        let mut raw = RawMtls::default();
        for Member { field, name, value } in self.members(id, place, &MTLS)? {
            let text = self.text(value, &place.field(name));
            match field {
                MtlsField::OrganizationalUnit => raw.organizational_unit = text,
                MtlsField::Organization => raw.organization = text,
                MtlsField::CommonName => raw.common_name = text,
            }
        }
        Some(At { value: raw, mark: self.mark(id) })
    }

    fn jwt(&mut self, id: NodeId, place: &Place<'_>) -> Option<At<RawJwt<'t>>> {
        let before = self.problems.count();
        let mut raw = RawJwt::default();
        for Member { field, name, value } in self.members(id, place, &JWT)? {
            let place = &place.field(name);
            match field {
                JwtField::PublicKeys => raw.public_keys = self.texts(value, place, "[]string"),
                JwtField::PublicKeyFiles => raw.public_key_files = self.texts(value, place, "[]string"),
                JwtField::SkipVerify => raw.skip_verify = self.boolean(value, place).unwrap_or(false),
                JwtField::Oidc => raw.oidc_issuer = self.oidc(value, place),
                JwtField::MatchClaims => raw.match_claims = self.text_map(value, place).unwrap_or_default(),
                JwtField::DefaultVmAccessClaim => raw.default_vm_access_claim = self.vm_access(value, place),
                JwtField::Audience => {
                    raw.audience = self.text_or_texts(value, place).or_else(|| self.nothing(value));
                }
                JwtField::JwksUrl => raw.jwks_url = self.text(value, place),
                JwtField::ClockSkew => raw.clock_skew = self.text(value, place),
            }
        }
        raw.damaged = self.problems.count() > before;
        Some(At { value: raw, mark: self.mark(id) })
    }

    fn oidc(&mut self, id: NodeId, place: &Place<'_>) -> Option<Text<'t>> {
        let mut issuer = At { value: "", mark: self.mark(id) };
        for Member { field: OidcField::Issuer, name, value } in self.members(id, place, &OIDC)? {
            issuer = self.text(value, &place.field(name)).unwrap_or(issuer);
        }
        Some(issuer)
    }

    fn vm_access(&mut self, id: NodeId, place: &Place<'_>) -> Option<VmAccess> {
        let mut claim = VmAccess::default();
        for Member { field, name, value } in self.members(id, place, &VM_ACCESS)? {
            let place = &place.field(name);
            let number = |decoder: &mut Self| decoder.uint32(value, place).unwrap_or(0);
            let list = |decoder: &mut Self| {
                let texts = decoder.texts(value, place, "[]string").unwrap_or_default();
                texts.items.into_iter().map(|(_, text)| text.value.to_owned()).collect()
            };
            match field {
                VmAccessField::MetricsAccountId => claim.metrics_account_id = number(self),
                VmAccessField::MetricsProjectId => claim.metrics_project_id = number(self),
                VmAccessField::MetricsExtraLabels => claim.metrics_extra_labels = list(self),
                VmAccessField::MetricsExtraFilters => claim.metrics_extra_filters = list(self),
                VmAccessField::LogsAccountId => claim.logs_account_id = number(self),
                VmAccessField::LogsProjectId => claim.logs_project_id = number(self),
                VmAccessField::LogsExtraFilters => claim.logs_extra_filters = list(self),
                VmAccessField::LogsExtraStreamFilters => claim.logs_extra_stream_filters = list(self),
            }
        }
        Some(claim)
    }
}
