//! The fields of the config as written: which exist, of which type, under which Go name messages know their object.
//!
//! Turns tree nodes into structs of borrowed texts; nothing is parsed, inherited or checked here beyond types. The
//! structs live only while one user is built and never leave this area.

use super::stage::{Decoder, Stage};
use std::ops::{Deref, DerefMut};
use vmkit::yaml::tree::Kind;
use vmkit::yaml::{At, Field, Mark, NodeId, Place, Text, TextList};

const USER_FIELDS: &[&str] = &[
    "name",
    "username",
    "password",
    "bearer_token",
    "auth_token",
    "jwt",
    "mtls",
    "url_prefix",
    "url_map",
    "default_url",
    "discover_backend_ips",
    "dump_request_on_errors",
    "headers",
    "response_headers",
    "keep_original_host",
    "max_concurrent_requests",
    "retry_status_codes",
    "load_balancing_policy",
    "merge_query_args",
    "drop_src_path_prefix_parts",
    "tls_ca_file",
    "tls_cert_file",
    "tls_key_file",
    "tls_server_name",
    "tls_insecure_skip_verify",
    "metric_labels",
    "access_log",
    "ip_filters",
    "deny_paths",
];
const ROUTE_FIELDS: &[&str] = &[
    "src_paths",
    "src_hosts",
    "src_query_args",
    "src_headers",
    "url_prefix",
    "discover_backend_ips",
    "headers",
    "response_headers",
    "keep_original_host",
    "retry_status_codes",
    "load_balancing_policy",
    "merge_query_args",
    "drop_src_path_prefix_parts",
    "ip_filters",
];
const JWT_FIELDS: &[&str] = &[
    "public_keys",
    "public_key_files",
    "skip_verify",
    "oidc",
    "match_claims",
    "default_vm_access_claim",
    "audience",
    "jwks_url",
    "clock_skew",
];
const VM_ACCESS_FIELDS: &[&str] = &[
    "metrics_account_id",
    "metrics_project_id",
    "metrics_extra_labels",
    "metrics_extra_filters",
    "logs_account_id",
    "logs_project_id",
    "logs_extra_filters",
    "logs_extra_stream_filters",
];

/// The top level. Users are decoded one at a time.
#[derive(Default)]
pub(super) struct RawConfig<'t> {
    pub(super) users: &'t [NodeId],
    pub(super) unauthorized_user: Option<NodeId>,
    pub(super) ip_filters: Option<RawIpFilters<'t>>,
}

/// `users[…]` or `unauthorized_user`.
#[derive(Default)]
pub(super) struct RawUser<'t> {
    pub(super) mark: Mark,
    /// Whether a field was unusable, so that "missing" would mislead.
    pub(super) damaged: bool,
    pub(super) name: Option<Text<'t>>,
    pub(super) username: Option<Text<'t>>,
    pub(super) password: Option<Text<'t>>,
    pub(super) bearer_token: Option<Text<'t>>,
    pub(super) auth_token: Option<Text<'t>>,
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
    pub(super) deny_paths: Option<TextList<'t>>,
}

/// Fields that users and `url_map` entries share.
#[derive(Default)]
pub(super) struct RawSettings<'t> {
    pub(super) url_prefix: Option<RawUrls<'t>>,
    pub(super) discover_backend_ips: Option<bool>,
    pub(super) headers: Option<TextList<'t>>,
    pub(super) response_headers: Option<TextList<'t>>,
    pub(super) keep_original_host: Option<bool>,
    pub(super) retry_status_codes: Option<Vec<i64>>,
    pub(super) load_balancing_policy: Option<Text<'t>>,
    pub(super) merge_query_args: Option<TextList<'t>>,
    pub(super) drop_src_path_prefix_parts: Option<i64>,
    pub(super) ip_filters: Option<RawIpFilters<'t>>,
}

/// `url_prefix` or `default_url`.
pub(super) struct RawUrls<'t> {
    pub(super) mark: Mark,
    /// Index within the list, or nothing for a single text.
    pub(super) urls: Vec<(Option<usize>, Text<'t>)>,
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
    pub(super) default_vm_access_claim: Option<super::model::DefaultVmAccess>,
    /// `audience`; a single text is a list of one.
    pub(super) audience: Option<TextList<'t>>,
    pub(super) jwks_url: Option<Text<'t>>,
    pub(super) clock_skew: Option<Text<'t>>,
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
    /// Reads the top level.
    pub(super) fn config(&mut self) -> RawConfig<'t> {
        let mut raw = RawConfig::default();
        let Some(root) = self.tree.root() else { return raw };
        let place = &Place::root();
        let known = &["users", "unauthorized_user", "ip_filters"];
        for (field, id) in self.fields(root, place, "main.AuthConfig", known).unwrap_or_default() {
            let place = &place.field(field);
            match field {
                "users" => raw.users = self.items(id, place, "[]main.UserInfo").unwrap_or_default(),
                "unauthorized_user" => raw.unauthorized_user = (!self.is_null(id)).then_some(id),
                _ => raw.ip_filters = self.ip_filters(id, place),
            }
        }
        raw
    }

    /// Reads a user; `null` is an empty one.
    pub(super) fn user(&mut self, id: NodeId, place: &Place<'_>) -> RawUser<'t> {
        let before = self.problems.count();
        let mut raw = RawUser { mark: self.mark(id), ..RawUser::default() };
        for (field, id) in self.fields(id, place, "main.UserInfo", USER_FIELDS).unwrap_or_default() {
            let place = &place.field(field);
            if !self.credential(field, id, place, &mut raw) && !self.setting((field, id), place, &mut raw.settings) {
                self.user_field(field, id, place, &mut raw);
            }
        }
        raw.damaged = self.problems.count() > before;
        raw
    }

    fn credential(&mut self, field: &str, id: NodeId, place: &Place<'_>, raw: &mut RawUser<'t>) -> bool {
        match field {
            "name" => raw.name = self.text(id, place),
            "username" => raw.username = self.text(id, place),
            "password" => raw.password = self.text(id, place),
            "bearer_token" => raw.bearer_token = self.text(id, place),
            "auth_token" => raw.auth_token = self.text(id, place),
            "jwt" => raw.jwt = self.jwt(id, place),
            "mtls" => raw.mtls = self.mtls(id, place),
            _ => return false,
        }
        true
    }

    fn user_field(&mut self, field: &str, id: NodeId, place: &Place<'_>, raw: &mut RawUser<'t>) {
        match field {
            "url_map" => {
                let entries = self.items(id, place, "[]main.URLMap").unwrap_or_default();
                let entries = entries.iter().enumerate();
                raw.url_map = entries.map(|(index, &entry)| self.route(entry, &place.index(index))).collect();
            }
            "default_url" => raw.default_url = self.urls(id, place),
            "dump_request_on_errors" => raw.dump_request_on_errors = self.boolean(id, place).unwrap_or(false),
            "max_concurrent_requests" => raw.max_concurrent_requests = self.integer(id, place),
            "tls_ca_file" => raw.tls_ca_file = self.text(id, place),
            "tls_cert_file" => raw.tls_cert_file = self.text(id, place),
            "tls_key_file" => raw.tls_key_file = self.text(id, place),
            "tls_server_name" => raw.tls_server_name = self.text(id, place),
            "tls_insecure_skip_verify" => raw.tls_insecure_skip_verify = self.boolean(id, place),
            "metric_labels" => raw.metric_labels = self.text_map(id, place).unwrap_or_default(),
            "access_log" => raw.access_log = self.access_log(id, place),
            _ => raw.deny_paths = self.texts(id, place, "[]*main.Regex"),
        }
    }

    fn setting(&mut self, (field, id): Field, place: &Place<'_>, raw: &mut RawSettings<'t>) -> bool {
        match field {
            "url_prefix" => raw.url_prefix = self.urls(id, place),
            "discover_backend_ips" => raw.discover_backend_ips = self.boolean(id, place),
            "headers" => raw.headers = self.texts(id, place, "[]*main.Header"),
            "response_headers" => raw.response_headers = self.texts(id, place, "[]*main.Header"),
            "keep_original_host" => raw.keep_original_host = self.boolean(id, place),
            "retry_status_codes" => raw.retry_status_codes = self.integers(id, place),
            "load_balancing_policy" => raw.load_balancing_policy = self.text(id, place),
            "merge_query_args" => raw.merge_query_args = self.texts(id, place, "[]string"),
            "drop_src_path_prefix_parts" => raw.drop_src_path_prefix_parts = self.integer(id, place),
            "ip_filters" => raw.ip_filters = self.ip_filters(id, place),
            _ => return false,
        }
        true
    }

    fn route(&mut self, id: NodeId, place: &Place<'_>) -> RawRoute<'t> {
        let before = self.problems.count();
        let mut raw = RawRoute { mark: self.mark(id), ..RawRoute::default() };
        for (field, id) in self.fields(id, place, "main.URLMap", ROUTE_FIELDS).unwrap_or_default() {
            let place = &place.field(field);
            match field {
                "src_paths" => raw.src_paths = self.texts(id, place, "[]*main.Regex"),
                "src_hosts" => raw.src_hosts = self.texts(id, place, "[]*main.Regex"),
                "src_query_args" => raw.src_query_args = self.texts(id, place, "[]*main.QueryArg"),
                "src_headers" => raw.src_headers = self.texts(id, place, "[]*main.Header"),
                _ => drop(self.setting((field, id), place, &mut raw.settings)),
            }
        }
        raw.damaged = self.problems.count() > before;
        raw
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
                    "string" => self.text(id, place).map(|text| RawUrls { mark, urls: vec![(None, text)] }),
                    other => {
                        let message = format!("unexpected type for `url_prefix`: {other}; want string or []string");
                        fail(self, place, mark, message, "write a text or a list of texts");
                        None
                    }
                };
            }
        };
        if items.is_empty() {
            let message = "`url_prefix` must contain at least a single url".to_owned();
            fail(self, place, mark, message, "add a URL such as http://backend:8428/");
        }
        let mut urls = Vec::with_capacity(items.len());
        for (index, &item) in items.iter().enumerate() {
            let place = &place.index(index);
            match self.go_type(item) {
                "string" => urls.extend(self.text(item, place).map(|text| (Some(index), text))),
                other => {
                    let message = format!("`url_prefix` must contain array of strings; got {other}");
                    fail(self, place, tree.node(item).mark, message, "put the text in quotes");
                }
            }
        }
        Some(RawUrls { mark, urls })
    }

    fn access_log(&mut self, id: NodeId, place: &Place<'_>) -> Option<Vec<i64>> {
        let mut codes = Vec::new();
        for (_, filters) in self.fields(id, place, "main.AccessLog", &["filters"])? {
            let place = place.field("filters");
            let fields = self.fields(filters, &place, "main.AccessLogFilters", &["skip_status_codes"]);
            for (field, id) in fields.unwrap_or_default() {
                codes = self.integers(id, &place.field(field)).unwrap_or_default();
            }
        }
        Some(codes)
    }

    fn ip_filters(&mut self, id: NodeId, place: &Place<'_>) -> Option<RawIpFilters<'t>> {
        let known = &["allow_list", "deny_list", "real_ip_header"];
        let mut raw = RawIpFilters::default();
        for (field, id) in self.fields(id, place, "main.IPFilters", known)? {
            let place = &place.field(field);
            match field {
                "allow_list" => {
                    raw.allow_list = self.texts(id, place, "[]string").or_else(|| self.nothing(id));
                }
                "deny_list" => raw.deny_list = self.texts(id, place, "[]string"),
                _ => raw.real_ip_header = self.text(id, place),
            }
        }
        Some(raw)
    }

    fn mtls(&mut self, id: NodeId, place: &Place<'_>) -> Option<At<RawMtls<'t>>> {
        let known = &["organizational_unit", "organization", "common_name"];
        let mut raw = RawMtls::default();
        for (field, id) in self.fields(id, place, "main.MTLSConfig", known)? {
            let text = self.text(id, &place.field(field));
            match field {
                "organizational_unit" => raw.organizational_unit = text,
                "organization" => raw.organization = text,
                _ => raw.common_name = text,
            }
        }
        Some(At { value: raw, mark: self.mark(id) })
    }

    fn jwt(&mut self, id: NodeId, place: &Place<'_>) -> Option<At<RawJwt<'t>>> {
        let before = self.problems.count();
        let mut raw = RawJwt::default();
        for (field, id) in self.fields(id, place, "main.JWTConfig", JWT_FIELDS)? {
            let place = &place.field(field);
            match field {
                "public_keys" => raw.public_keys = self.texts(id, place, "[]string"),
                "public_key_files" => raw.public_key_files = self.texts(id, place, "[]string"),
                "skip_verify" => raw.skip_verify = self.boolean(id, place).unwrap_or(false),
                "oidc" => raw.oidc_issuer = self.oidc(id, place),
                "match_claims" => raw.match_claims = self.text_map(id, place).unwrap_or_default(),
                "default_vm_access_claim" => raw.default_vm_access_claim = self.vm_access(id, place),
                "audience" => raw.audience = self.text_or_texts(id, place).or_else(|| self.nothing(id)),
                "jwks_url" => raw.jwks_url = self.text(id, place),
                _ => raw.clock_skew = self.text(id, place),
            }
        }
        raw.damaged = self.problems.count() > before;
        Some(At { value: raw, mark: self.mark(id) })
    }

    fn oidc(&mut self, id: NodeId, place: &Place<'_>) -> Option<Text<'t>> {
        let mut issuer = At { value: "", mark: self.mark(id) };
        for (field, id) in self.fields(id, place, "main.oidcConfig", &["issuer"])? {
            issuer = self.text(id, &place.field(field)).unwrap_or(issuer);
        }
        Some(issuer)
    }

    fn vm_access(&mut self, id: NodeId, place: &Place<'_>) -> Option<super::model::DefaultVmAccess> {
        let mut claim = super::model::DefaultVmAccess::default();
        for (field, id) in self.fields(id, place, "jwt.VMAccessClaim", VM_ACCESS_FIELDS)? {
            let place = &place.field(field);
            let (number, list) = match field {
                "metrics_account_id" => (Some(&mut claim.metrics_account_id), None),
                "metrics_project_id" => (Some(&mut claim.metrics_project_id), None),
                "logs_account_id" => (Some(&mut claim.logs_account_id), None),
                "logs_project_id" => (Some(&mut claim.logs_project_id), None),
                "metrics_extra_labels" => (None, Some(&mut claim.metrics_extra_labels)),
                "metrics_extra_filters" => (None, Some(&mut claim.metrics_extra_filters)),
                "logs_extra_filters" => (None, Some(&mut claim.logs_extra_filters)),
                _ => (None, Some(&mut claim.logs_extra_stream_filters)),
            };
            if let Some(number) = number {
                *number = self.uint32(id, place).unwrap_or(0);
            }
            if let Some(list) = list {
                let texts = self.texts(id, place, "[]string").unwrap_or_default();
                *list = texts.items.into_iter().map(|(_, text)| text.value.to_owned()).collect();
            }
        }
        Some(claim)
    }
}
