//! The finished config: inert, typed, with all inheritance resolved.
//!
//! What the generation builder starts from. Nothing here knows YAML, flags or sockets; every `Option` that is left means
//! "not configured", never "look it up elsewhere". Secrets cannot be printed. Every value is one that later
//! stages can use as it is: nothing is checked again.

use crate::oidc::KeyLocation;
use crate::password_hash::{Digest, PasswordHash};
use crate::rewrite::header_rules::HeaderRule;
use crate::rewrite::target_url::TargetUrl;
use crate::upstream::active_check::CheckSpec;
use crate::upstream::balance::Policy;
use crate::upstream::outliers::OutlierSpec;
use crate::upstream::retry_budget::BudgetSpec;
use crate::upstream::timeouts::Timeouts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use jwt::{KeySet, VmAccess};
use std::sync::Arc;
use std::time::Duration;
use vmkit::go_regex::GoRegex;
use vmkit::secret::Secret;
use vmkit::tls::client_config::ClientTlsOptions;

/// What command-line flags decide for users that say nothing.
#[derive(Clone, Debug)]
pub struct ConfigDefaults {
    /// `-loadBalancingPolicy`, checked when a target inherits it.
    pub load_balancing_policy: String,
    /// `-retryStatusCodes`.
    pub retry_status_codes: Vec<u16>,
    /// `-retryOnlyIdempotent`.
    pub retry_only_idempotent: bool,
    /// `-mergeQueryArgs`.
    pub merge_query_args: Vec<String>,
    /// `-discoverBackendIPs`.
    pub discover_backend_ips: bool,
    /// `-backend.TLS*` and `-backend.tlsInsecureSkipVerify`.
    pub backend_tls: Arc<ClientTlsOptions>,
    /// `-maxConcurrentPerUserRequests`.
    pub max_concurrent_requests_per_user: usize,
    /// `-httpRealIPHeader`; `None` = the address of the connection.
    pub real_ip_header: Option<String>,
    /// `-auth.strictVariables`.
    pub strict_variables: bool,
}

impl Default for ConfigDefaults {
    fn default() -> Self {
        Self {
            load_balancing_policy: "least_loaded".to_owned(),
            retry_status_codes: Vec::new(),
            retry_only_idempotent: false,
            merge_query_args: Vec::new(),
            discover_backend_ips: false,
            backend_tls: Arc::default(),
            max_concurrent_requests_per_user: 300,
            real_ip_header: None,
            strict_variables: false,
        }
    }
}

/// A checked config.
#[derive(Debug, Default)]
pub struct AuthConfig {
    /// `users`, in file order.
    pub users: Vec<UserSpec>,
    /// `unauthorized_user`, also when it has no URL (it may switch on the access log).
    pub unauthorized_user: Option<UserSpec>,
    /// Top-level `ip_filters`, checked before authentication.
    pub ip_filters: Option<IpFilterSpec>,
    /// The N of `loaded information about N users`: a bearer user counts twice, `unauthorized_user` not at all.
    pub lookup_keys: usize,
}

impl AuthConfig {
    /// The same config for explanations offline: no provider is asked for keys, its tokens are believed.
    #[must_use]
    pub fn without_providers(mut self) -> Self {
        for user in &mut self.users {
            if let Credential::Jwt(jwt) = &mut user.credential
                && let KeySource::Provider(location) = &jwt.keys
            {
                jwt.keys = KeySource::Unasked(location.clone());
            }
        }
        self
    }
}

/// One entry of `users`, or `unauthorized_user`. What most users lack is boxed: there may be ten thousand of them.
#[derive(Debug)]
pub struct UserSpec {
    /// Where it stands: `users[3]` or `unauthorized_user`.
    pub place: String,
    /// How requests prove to be this user's.
    pub credential: Credential,
    /// `credentials`: more of them, static ones.
    pub more_credentials: Vec<Credential>,
    /// Name for messages, logs and metrics (docs/reference/auth.md); empty for `unauthorized_user`.
    pub display_name: String,
    /// Labels of the user's metrics, sorted by their `name="value"` text. Holds `username=<display name>` unless
    /// `metric_labels` sets `username` itself; for `unauthorized_user` only `metric_labels`.
    pub metric_labels: Vec<(String, String)>,
    /// Limit of requests at a time.
    pub max_concurrent_requests: usize,
    /// `url_map`, in file order, without entries that can never match.
    pub routes: Vec<RouteSpec>,
    /// `url_prefix`: used when no route matches.
    pub url_prefix: Option<Box<TargetSpec>>,
    /// `default_url`: used when there is no `url_prefix` either.
    pub default_url: Option<Box<TargetSpec>>,
    /// Whether any of `url_prefix`, `url_map`, `default_url` is given; without, `unauthorized_user` serves nothing.
    pub has_url_fields: bool,
    /// Present = requests are logged.
    pub access_log: Option<AccessLogSpec>,
    /// Whether the 400 reply of a missing route shows the request.
    pub dump_request_on_errors: bool,
    /// Checked after the user is known.
    pub ip_filters: Option<Box<IpFilterSpec>>,
    /// Normalised paths that are refused before routing (full match).
    pub deny_paths: Vec<Arc<GoRegex>>,
    /// TLS options of connections to the user's backends.
    pub tls: Arc<ClientTlsOptions>,
}

impl UserSpec {
    /// All credentials of the user.
    pub fn credentials(&self) -> impl Iterator<Item = &Credential> {
        std::iter::once(&self.credential).chain(&self.more_credentials)
    }

    /// All its targets.
    pub fn targets(&self) -> impl Iterator<Item = &TargetSpec> {
        let routes = self.routes.iter().map(|route| &route.target);
        routes.chain(self.url_prefix.as_deref()).chain(self.default_url.as_deref())
    }
}

/// How a request proves whose it is.
#[derive(Debug)]
pub enum Credential {
    /// `username` and `password`.
    Basic {
        /// Never empty.
        username: String,
        /// May be empty.
        password: Secret,
    },
    /// `username` and `password_hash`.
    PasswordHash {
        /// Never empty.
        username: String,
        /// What the password must fit.
        hash: Box<PasswordHash>,
    },
    /// `bearer_token`: as `Bearer T`, and as the user name of Basic auth with an empty password.
    Bearer(Secret),
    /// `bearer_token_hash`: the SHA-256 of a token that is used as `bearer_token`.
    BearerHash(Digest),
    /// `auth_token`: the whole header value.
    AuthToken(Secret),
    /// `jwt`.
    Jwt(Box<JwtSpec>),
    /// `mtls`.
    Mtls(Box<MtlsSpec>),
    /// `unauthorized_user`.
    None,
}

impl Credential {
    /// The header values that belong to this credential: what it is found by. Empty for hashes, tokens and certificates.
    pub fn lookup_values(&self) -> Vec<Secret> {
        let basic =
            |user: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))).into();
        match self {
            Self::Basic { username, password } => vec![basic(username, password.expose())],
            Self::Bearer(token) => vec![format!("Bearer {}", token.expose()).into(), basic(token.expose(), "")],
            Self::AuthToken(value) => vec![value.clone()],
            Self::PasswordHash { .. } | Self::BearerHash(_) | Self::Jwt(_) | Self::Mtls(_) | Self::None => Vec::new(),
        }
    }

    /// What no other user may have.
    pub(super) fn identities(&self) -> Vec<String> {
        let hex = |digest: &Digest| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match self {
            Self::PasswordHash { username, hash } => vec![format!("hash: {} {username}", hex(hash.id()))],
            Self::BearerHash(digest) => vec![format!("token: {}", hex(digest))],
            Self::Basic { .. } | Self::Bearer(_) | Self::AuthToken(_) | Self::Jwt(_) | Self::Mtls(_) | Self::None => {
                self.lookup_values().iter().map(|value| format!("header: {}", value.expose())).collect()
            }
        }
    }

    /// How many keys the line about loaded users counts for it.
    pub fn lookup_keys(&self) -> usize {
        match self {
            Self::None => 0,
            Self::PasswordHash { .. } | Self::Jwt(_) | Self::Mtls(_) => 1,
            Self::BearerHash(_) => 2,
            Self::Basic { .. } | Self::Bearer(_) | Self::AuthToken(_) => self.lookup_values().len(),
        }
    }
}

/// Fields of a client certificate's subject; all that are given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MtlsSpec {
    /// OU; matches if any of the certificate's units is equal.
    pub organizational_unit: Option<String>,
    /// O; matches if any of the certificate's organizations is equal.
    pub organization: Option<String>,
    /// CN.
    pub common_name: Option<String>,
}

/// One entry of `url_map`. Criteria that are not empty must all match; a criterion matches by any of its items.
#[derive(Debug)]
pub struct RouteSpec {
    /// Where it stands: `users[3].url_map[0]`.
    pub place: String,
    /// Its place in `url_map`, from 0.
    pub number: usize,
    /// Full match with the normalised path.
    pub src_paths: Vec<Arc<GoRegex>>,
    /// Full match with the Host header.
    pub src_hosts: Vec<Arc<GoRegex>>,
    /// Decoded args of the URL.
    pub src_query_args: Vec<SrcQueryArg>,
    /// Header lines, compared for equality.
    pub src_headers: Vec<SrcHeader>,
    /// Normalised paths of matching requests that are refused (full match).
    pub deny_paths: Vec<Arc<GoRegex>>,
    /// Where matching requests go.
    pub target: TargetSpec,
    /// Checked after the user's own filters, when the route is chosen.
    pub ip_filters: Option<IpFilterSpec>,
}

/// An item of `src_query_args`.
#[derive(Debug)]
pub struct SrcQueryArg {
    /// Name of the arg, case sensitive.
    pub name: String,
    /// What any value of the arg must be.
    pub value: QueryValue,
}

/// The right side of an item of `src_query_args`.
#[derive(Debug)]
pub enum QueryValue {
    /// `name=value`
    Exact(String),
    /// `name=~regex`, full match
    Regex(Arc<GoRegex>),
}

/// An item of `src_headers`: the name is case-insensitive, the value compared byte by byte after trimming.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrcHeader {
    /// Name of the header as written.
    pub name: String,
    /// Value; empty matches a header that is present and empty.
    pub value: String,
}

/// Backends and everything that decides how requests reach them.
#[derive(Debug)]
pub struct TargetSpec {
    /// Never empty; `http` or `https` with a host each.
    pub urls: Vec<TargetUrl>,
    /// Their parts of the load, in the same order; empty when all are 1.
    pub weights: Vec<u16>,
    /// How to choose among `urls`.
    pub load_balancing_policy: Policy,
    /// How backends are watched.
    pub watching: Watching,
    /// Statuses after which another backend is tried. Numbers that are no HTTP status are left out.
    pub retry_status_codes: Vec<u16>,
    /// Whether what a backend may have read is sent again only if its method is idempotent (RFC 9110 §9.2.2).
    pub retry_only_idempotent: bool,
    /// Args of the client that are added to equally named args of the URL.
    pub merge_query_args: Vec<String>,
    /// How many leading parts of the path are cut off.
    pub drop_src_path_prefix_parts: usize,
    /// Limits of time that go before those of the flags.
    pub timeouts: Timeouts,
    /// Whether hosts are resolved to single backends.
    pub discover_backend_ips: bool,
    /// Edits of the request's headers; of equal names the last one wins.
    pub request_headers: Vec<HeaderRule>,
    /// Edits of the response's headers; of equal names the last one wins.
    pub response_headers: Vec<HeaderRule>,
    /// Whether the backend sees the client's Host.
    pub keep_original_host: bool,
}

/// How the backends of a target are watched, and spared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watching {
    /// How they are asked whether they can serve; `None` = not at all.
    pub check: Option<Arc<CheckSpec>>,
    /// When those that fail are ejected; `None` = never.
    pub outliers: Option<Arc<OutlierSpec>>,
    /// How long backends that return warm up; `None` = not at all.
    pub slow_start: Option<Duration>,
    /// How many requests may be tried again; `None` = all.
    pub retry_budget: Option<BudgetSpec>,
}

impl TargetSpec {
    /// Part of the load of a URL.
    pub fn weight(&self, index: usize) -> u16 {
        self.weights.get(index).copied().unwrap_or(1)
    }
}

/// `access_log` of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLogSpec {
    /// Statuses that are not logged. Numbers that are no HTTP status are left out.
    pub skip_status_codes: Vec<u16>,
}

/// `ip_filters`. An address passes when it is in no denied network and the allow list is empty or holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpFilterSpec {
    /// Empty = everyone who is not denied.
    pub allow_list: Vec<IpNet>,
    /// Wins over `allow_list`.
    pub deny_list: Vec<IpNet>,
    /// Header with the client's address: the filter's own, else the enclosing one's, else `-httpRealIPHeader`.
    pub real_ip_header: Option<String>,
}

/// `jwt` of a user.
#[derive(Debug)]
pub struct JwtSpec {
    /// What signatures are checked with.
    pub keys: KeySource,
    /// Accepted values of `aud`; empty = `aud` is not looked at.
    pub audience: Vec<String>,
    /// Tolerance for `exp` and `nbf`, at most ten minutes.
    pub clock_skew: Duration,
    /// All must match; sorted by path.
    pub match_claims: Vec<MatchClaim>,
    /// Used as a whole when the token has no `vm_access`.
    pub default_vm_access_claim: Option<VmAccess>,
}

/// Where the keys of a JWT user come from.
#[derive(Debug)]
pub enum KeySource {
    /// `skip_verify: true`: signatures are not checked.
    SkipVerify,
    /// `public_keys`, then `public_key_files`; never empty. Users with equal keys share one set.
    Static(Arc<KeySet>),
    /// `oidc` or `jwks_url`.
    Provider(KeyLocation),
    /// A provider that is not asked: what [`AuthConfig::without_providers`] makes of it.
    Unasked(KeyLocation),
}

/// One pair of `match_claims`.
#[derive(Debug)]
pub struct MatchClaim {
    /// Path of the claim as written; dots split it, `\.` is a literal dot.
    pub path: String,
    /// Full match with the claim's text.
    pub value: Arc<GoRegex>,
}
