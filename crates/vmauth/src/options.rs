//! Typed, checked values of the flags of [`crate::flags`], grouped by the part of the program that reads them.
//!
//! Stands between the flag table and everything else: behind this file nobody asks for a flag by its name. All
//! problems are reported at once. Paths, addresses and URLs stay texts; so does what only another parser can judge
//! (the load balancing policy), because its error texts are part of the product.
//!
//! Nothing here may open a file or a socket.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use vmkit::exchange::HeaderId;
use vmkit::flags::{FlagSet, Password};
use vmkit::tls::client_config::ClientTlsOptions;

#[cfg(test)]
mod tests;

const DNS_PORT: u16 = 53;

/// Everything that vmauth's own flags say.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the config comes from.
    pub config: ConfigOptions,
    /// How many requests, how long, how much of them in memory.
    pub limits: Limits,
    /// How credentials are found.
    pub auth: AuthOptions,
    /// Connections to backends and defaults of routes.
    pub backends: Backends,
}

/// Where the config comes from.
#[derive(Clone, Debug)]
pub struct ConfigOptions {
    /// `-auth.config`; empty when not given, which only the start may judge.
    pub auth_config: String,
    /// `-auth.allowedFileDirs`; empty = files anywhere.
    pub allowed_file_dirs: Vec<String>,
    /// `-configCheckInterval`; `None` = only on demand.
    pub check_interval: Option<Duration>,
    /// `-auth.strictVariables`.
    pub strict_variables: bool,
    /// `-dryRun`.
    pub dry_run: bool,
    /// `-dryRun.strict`
    pub dry_run_strict: bool,
}

/// How many requests, how long, how much of them in memory.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `-maxConcurrentRequests`; 0 refuses everything.
    pub max_concurrent_requests: usize,
    /// `-maxConcurrentPerUserRequests`; 0 refuses everything.
    pub max_concurrent_per_user: usize,
    /// `-maxQueueDuration`.
    pub max_queue_duration: Duration,
    /// `-tunnelIdleTimeout`; `None` = no limit.
    pub tunnel_idle: Option<Duration>,
    /// `-tunnelMaxDuration`; `None` = no limit.
    pub tunnel_age: Option<Duration>,
    /// `-requestBufferSize` in bytes; 0 = off.
    pub request_buffer_size: usize,
    /// `-maxRequestBodySizeToRetry` in bytes; 0 = bodies are never sent again.
    pub max_retry_body_size: usize,
}

/// How credentials are found.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// `-httpAuthHeader`, never empty.
    pub headers: Vec<String>,
    /// `-logInvalidAuthTokens`.
    pub log_invalid_tokens: bool,
    /// `-httpRealIPHeader`.
    pub real_ip_header: Option<String>,
    /// `-http.trustedProxies`.
    pub trusted_proxies: Vec<IpNet>,
    /// `-maxFailedLoginsPerIP`; 0 = no limit.
    pub max_failed_logins: usize,
    /// `-removeXFFHTTPHeaderValue`.
    pub remove_xff: bool,
    /// `-statusAuthKey`.
    pub status_key: Password,
    /// `-requestIDHeader`.
    pub request_id_header: Option<String>,
    /// `-oidc.tlsCAFile`.
    pub oidc_ca_file: Option<String>,
    /// `-oidc.bearerTokenFile`.
    pub oidc_token_file: Option<String>,
}

/// Connections to backends and defaults of routes.
#[derive(Clone, Debug)]
pub struct Backends {
    /// `-dialTimeout`, positive.
    pub dial_timeout: Duration,
    /// `-failTimeout`, positive.
    pub fail_timeout: Duration,
    /// `-responseTimeout`; `None` = no limit.
    pub response_timeout: Option<Duration>,
    /// `-idleConnTimeout`; `None` = no limit.
    pub idle_timeout: Option<Duration>,
    /// `-maxIdleConnsPerBackend`; 0 = connections are not kept.
    pub max_idle_conns: usize,
    /// `-discoverBackendIPs`.
    pub discover_ips: bool,
    /// `-discoverBackendIPsInterval` in whole seconds, at least one.
    pub discover_interval: Duration,
    /// `-dns.servers`; empty = those of the system.
    pub dns_servers: Vec<SocketAddr>,
    /// `-loadBalancingPolicy` as given; judged together with the config.
    pub load_balancing_policy: String,
    /// `-mergeQueryArgs` without empty items.
    pub merge_query_args: Vec<String>,
    /// `-retryStatusCodes`.
    pub retry_status_codes: Vec<u16>,
    /// `-retryOnlyIdempotent`.
    pub retry_only_idempotent: bool,
    /// `-backend.http2.disable`.
    pub http2_disabled: bool,
    /// `-backend.http2.pingInterval`; `None` = never.
    pub http2_ping_interval: Option<Duration>,
    /// `-metrics.backends`.
    pub metrics: bool,
    /// `-backend.TLS*`.
    pub tls: ClientTlsOptions,
}

impl Options {
    /// Checks and groups the values of [`crate::flags::TABLE`].
    ///
    /// # Errors
    /// One message for each value that makes no sense.
    pub fn from_flags(flags: &FlagSet) -> Result<Self, Vec<String>> {
        let mut check = Check { flags, problems: Vec::new() };
        let options = Self {
            config: ConfigOptions {
                auth_config: flags.text("auth.config").to_string(),
                allowed_file_dirs: non_empty(flags.texts("auth.allowedFileDirs")),
                check_interval: flags.duration("configCheckInterval").positive(),
                strict_variables: flags.bool("auth.strictVariables"),
                dry_run: flags.bool("dryRun"),
                dry_run_strict: flags.bool("dryRun.strict"),
            },
            limits: check.limits(),
            auth: check.auth(),
            backends: check.backends(),
        };
        if check.problems.is_empty() { Ok(options) } else { Err(check.problems) }
    }
}

/// The value of a text flag, unless it is empty.
fn given(flags: &FlagSet, name: &str) -> Option<String> {
    Some(flags.text(name).to_string()).filter(|text| !text.is_empty())
}

fn non_empty(items: &[String]) -> Vec<String> {
    items.iter().filter(|item| !item.is_empty()).cloned().collect()
}

/// Collects what is wrong while the groups are built.
struct Check<'a> {
    flags: &'a FlagSet,
    problems: Vec<String>,
}

impl Check<'_> {
    fn auth(&mut self) -> AuthOptions {
        let flags = self.flags;
        let mut headers = non_empty(flags.texts("httpAuthHeader"));
        if headers.is_empty() {
            headers.push("Authorization".to_string());
        }
        AuthOptions {
            headers,
            log_invalid_tokens: flags.bool("logInvalidAuthTokens"),
            real_ip_header: given(flags, "httpRealIPHeader"),
            trusted_proxies: self.trusted_proxies(),
            max_failed_logins: self.not_negative("maxFailedLoginsPerIP"),
            remove_xff: flags.bool("removeXFFHTTPHeaderValue"),
            status_key: flags.password("statusAuthKey"),
            request_id_header: self.header_name("requestIDHeader"),
            oidc_ca_file: given(flags, "oidc.tlsCAFile"),
            oidc_token_file: given(flags, "oidc.bearerTokenFile"),
        }
    }

    /// A header that requests may carry; not one whose meaning is settled.
    fn header_name(&mut self, flag: &str) -> Option<String> {
        let name = given(self.flags, flag)?;
        let is_token = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_token || HeaderId::of(name.as_bytes()) != HeaderId::Other {
            self.problems
                .push(format!("-{flag} must be the name of a header of its own, such as X-Request-ID; got {name:?}"));
        }
        Some(name)
    }

    fn trusted_proxies(&mut self) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for text in non_empty(self.flags.texts("http.trustedProxies")) {
            match text.parse().or_else(|_| text.parse().map(|ip: IpAddr| IpNet::from(ip))) {
                Ok(network) => networks.push(network),
                Err(_) => {
                    self.problems.push(format!("-http.trustedProxies must be IP addresses or networks; got {text:?}"))
                }
            }
        }
        networks
    }

    fn limits(&mut self) -> Limits {
        Limits {
            max_concurrent_requests: self.not_negative("maxConcurrentRequests"),
            max_concurrent_per_user: self.not_negative("maxConcurrentPerUserRequests"),
            max_queue_duration: self.flags.duration("maxQueueDuration").as_std(),
            tunnel_idle: self.flags.duration("tunnelIdleTimeout").positive(),
            tunnel_age: self.flags.duration("tunnelMaxDuration").positive(),
            request_buffer_size: self.flags.bytes("requestBufferSize").as_usize(),
            max_retry_body_size: self.flags.bytes("maxRequestBodySizeToRetry").as_usize(),
        }
    }

    fn backends(&mut self) -> Backends {
        let flags = self.flags;
        let interval = flags.duration("discoverBackendIPsInterval").as_std();
        let whole_seconds = interval.as_secs() + u64::from(interval.subsec_nanos() > 0);
        Backends {
            metrics: flags.bool("metrics.backends"),
            dial_timeout: self.positive_duration("dialTimeout"),
            fail_timeout: self.positive_duration("failTimeout"),
            response_timeout: flags.duration("responseTimeout").positive(),
            idle_timeout: flags.duration("idleConnTimeout").positive(),
            max_idle_conns: self.not_negative("maxIdleConnsPerBackend"),
            discover_ips: flags.bool("discoverBackendIPs"),
            discover_interval: Duration::from_secs(whole_seconds.max(1)),
            dns_servers: self.dns_servers(),
            load_balancing_policy: flags.text("loadBalancingPolicy").to_string(),
            merge_query_args: non_empty(flags.texts("mergeQueryArgs")),
            retry_only_idempotent: flags.bool("retryOnlyIdempotent"),
            retry_status_codes: self.retry_status_codes(),
            http2_disabled: flags.bool("backend.http2.disable"),
            http2_ping_interval: flags.duration("backend.http2.pingInterval").positive(),
            tls: ClientTlsOptions {
                ca_file: given(flags, "backend.TLSCAFile"),
                cert_file: given(flags, "backend.TLSCertFile"),
                key_file: given(flags, "backend.TLSKeyFile"),
                server_name: given(flags, "backend.TLSServerName"),
                insecure_skip_verify: flags.bool("backend.tlsInsecureSkipVerify"),
                min_version: None,
            },
        }
    }

    /// Empty items stand for no code; codes that no backend can send are most likely typing errors.
    fn retry_status_codes(&mut self) -> Vec<u16> {
        let mut codes = Vec::new();
        for &code in self.flags.ints("retryStatusCodes").iter().filter(|code| **code != 0) {
            match u16::try_from(code) {
                Ok(code @ 100..=999) => codes.push(code),
                _ => self.problems.push(format!("-retryStatusCodes must be HTTP status codes; got {code}")),
            }
        }
        codes
    }

    fn dns_servers(&mut self) -> Vec<SocketAddr> {
        let mut servers = Vec::new();
        for text in self.flags.texts("dns.servers").iter().filter(|text| !text.is_empty()) {
            let with_port = text.parse::<SocketAddr>().ok();
            match with_port.or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, DNS_PORT))) {
                Some(server) => servers.push(server),
                None => self.problems.push(format!("-dns.servers must be IP addresses with ports; got {text:?}")),
            }
        }
        servers
    }

    fn not_negative(&mut self, name: &str) -> usize {
        let value = self.flags.int(name);
        usize::try_from(value).unwrap_or_else(|_| {
            self.problems.push(format!("-{name} cannot be negative; got {value}"));
            0
        })
    }

    fn positive_duration(&mut self, name: &str) -> Duration {
        let value = self.flags.duration(name);
        value.positive().unwrap_or_else(|| {
            self.problems.push(format!("-{name} must be greater than zero; got {value}"));
            Duration::ZERO
        })
    }
}
