//! Typed, checked values of all flags, grouped by the part of the program that reads them.
//!
//! Stands between the flag table and everything else: behind this file nobody asks for a flag by its name. All
//! problems are reported at once. Paths, addresses and URLs stay texts; so does what only another parser can judge
//! (load balancing policy, TLS versions and cipher suites, push targets), because its error texts are part of the
//! product.
//!
//! Nothing here may open a file or a socket.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use vmkit::flags::{FlagSet, Password};
use vmkit::logger::LoggerOptions;
use vmkit::units::GoDuration;

#[cfg(test)]
mod tests;

const DNS_PORT: u16 = 53;

/// Everything that can be set on the command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the config comes from.
    pub config: ConfigOptions,
    /// Addresses, TLS and connections of clients.
    pub listeners: Listeners,
    /// Headers and pages of the own HTTP server.
    pub http: HttpOptions,
    /// Keys of internal pages and the gate in front of the server.
    pub access: AccessOptions,
    /// How many requests, how long, how much of them in memory.
    pub limits: Limits,
    /// How credentials are found.
    pub auth: AuthOptions,
    /// Connections to backends and defaults of routes.
    pub backends: Backends,
    /// Logger.
    pub logging: LoggerOptions,
    /// Metrics page and push.
    pub metrics: MetricsOptions,
    /// Threads that serve requests, at least 1.
    pub workers: usize,
}

/// Where the config comes from.
#[derive(Clone, Debug)]
pub struct ConfigOptions {
    /// `-auth.config`; empty when not given, which only the start may judge.
    pub auth_config: String,
    /// `-configCheckInterval`; `None` = only on demand.
    pub check_interval: Option<Duration>,
    /// `-dryRun`.
    pub dry_run: bool,
}

/// Listeners in the order of their flags, empty addresses left out.
#[derive(Clone, Debug)]
pub struct Listeners {
    /// `-httpListenAddr`.
    pub public: Vec<ListenerOptions>,
    /// `-httpInternalListenAddr`; when not empty, internal pages are served only there.
    pub internal: Vec<ListenerOptions>,
    /// `-enableTCP6`: also for connections to backends.
    pub enable_tcp6: bool,
    /// `-tlsCipherSuites`.
    pub tls_cipher_suites: Vec<String>,
    /// `-http.connTimeout`; `None` = no limit.
    pub conn_timeout: Option<Duration>,
    /// `-http.idleConnTimeout`; `None` = no limit.
    pub idle_timeout: Option<Duration>,
    /// `-http.disableKeepAlive`.
    pub disable_keep_alive: bool,
    /// `-http.shutdownDelay`.
    pub shutdown_delay: Duration,
    /// `-http.maxGracefulShutdownDuration`.
    pub max_graceful_shutdown: Duration,
}

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerOptions {
    /// As given: `:port`, `host:port` or `ip:port`.
    pub addr: String,
    /// Position in its flag, empty addresses counted.
    pub index: usize,
    /// Every connection begins with a PROXY header; never on internal listeners.
    pub use_proxy_protocol: bool,
    /// HTTPS instead of HTTP.
    pub tls: Option<ListenerTls>,
}

/// TLS of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// `-tlsCertFile` of the same position.
    pub cert_file: String,
    /// `-tlsKeyFile` of the same position.
    pub key_file: String,
    /// `-tlsMinVersion` of the same position, as given; empty = TLS12.
    pub min_version: String,
    /// `-mtls` with `-mtlsCAFile` of the same position.
    pub client_auth: Option<ClientAuth>,
}

/// Client certificates are demanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// `None` = authorities of the system.
    pub ca_file: Option<String>,
}

/// Headers and pages of the own HTTP server.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// `-http.pathPrefix` with one leading and no trailing slash; empty = none.
    pub path_prefix: String,
    /// `-http.disableCORS`.
    pub disable_cors: bool,
    /// `-http.disableResponseCompression`.
    pub disable_response_compression: bool,
    /// `-http.header.disableServerHostname`.
    pub disable_server_hostname: bool,
    /// `-http.header.csp`, empty = no header.
    pub csp: String,
    /// `-http.header.frameOptions`, empty = no header.
    pub frame_options: String,
    /// `-http.header.hsts`, empty = no header.
    pub hsts: String,
}

/// Keys of internal pages and the gate in front of the server.
#[derive(Clone, Debug)]
pub struct AccessOptions {
    /// `-httpAuth.username`, empty = no gate.
    pub http_auth_username: String,
    /// `-httpAuth.password`.
    pub http_auth_password: Password,
    /// `-flagsAuthKey`.
    pub flags_key: Password,
    /// `-metricsAuthKey`.
    pub metrics_key: Password,
    /// `-pprofAuthKey`.
    pub pprof_key: Password,
    /// `-reloadAuthKey`.
    pub reload_key: Password,
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
    /// `-removeXFFHTTPHeaderValue`.
    pub remove_xff: bool,
    /// `-oidc.tlsCAFile`.
    pub oidc_ca_file: Option<String>,
}

/// Connections to backends and defaults of routes.
#[derive(Clone, Debug)]
pub struct Backends {
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
    /// `-backend.TLS*`.
    pub tls: BackendTls,
}

/// `-backend.TLS*`; empty texts = not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// `-backend.TLSCAFile`.
    pub ca_file: String,
    /// `-backend.TLSCertFile`.
    pub cert_file: String,
    /// `-backend.TLSKeyFile`.
    pub key_file: String,
    /// `-backend.TLSServerName`.
    pub server_name: String,
    /// `-backend.tlsInsecureSkipVerify`.
    pub insecure_skip_verify: bool,
}

/// Metrics page and push.
#[derive(Clone, Debug)]
pub struct MetricsOptions {
    /// `-metrics.exposeMetadata`.
    pub expose_metadata: bool,
    /// `-metrics.goRuntime`.
    pub go_runtime: bool,
    /// What `vm_allowed_memory_bytes` shows.
    pub allowed_memory: AllowedMemory,
    /// `-pushmetrics.*`.
    pub push: PushOptions,
}

/// `-memory.allowedBytes`, or else `-memory.allowedPercent`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AllowedMemory {
    /// An absolute size.
    Bytes(u64),
    /// Part of the memory of the machine, 1 to 100.
    Percent(f64),
}

/// `-pushmetrics.*`, as given.
#[derive(Clone)]
pub struct PushOptions {
    /// May hold credentials.
    pub urls: Vec<String>,
    /// Must be positive when there are URLs.
    pub interval: GoDuration,
    /// Items of the form `label="value"`.
    pub extra_labels: Vec<String>,
    /// Items of the form `Name: value`; may hold credentials.
    pub headers: Vec<String>,
    /// Plain text instead of gzip.
    pub disable_compression: bool,
}

impl std::fmt::Debug for PushOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (urls, headers) = (self.urls.len(), self.headers.len());
        write!(f, "PushOptions({urls} secret urls, {headers} secret headers, every {})", self.interval)
    }
}

impl Options {
    /// Checks and groups the values of [`crate::flags::TABLE`].
    ///
    /// # Errors
    /// One message for each value that makes no sense, and for each flag that the product refuses.
    pub fn from_flags(flags: &FlagSet) -> Result<Self, Vec<String>> {
        let mut check = Check { flags, problems: flags.refusals() };
        let options = Self {
            config: ConfigOptions {
                auth_config: flags.text("auth.config").to_string(),
                check_interval: flags.duration("configCheckInterval").positive(),
                dry_run: flags.bool("dryRun"),
            },
            listeners: check.listeners(),
            http: http_options(flags),
            access: access_options(flags),
            limits: check.limits(),
            auth: auth_options(flags),
            backends: check.backends(),
            logging: LoggerOptions::from_flags(flags),
            metrics: check.metrics(),
            workers: check.at_least_one("workers"),
        };
        if check.problems.is_empty() { Ok(options) } else { Err(check.problems) }
    }
}

fn http_options(flags: &FlagSet) -> HttpOptions {
    let prefix = flags.text("http.pathPrefix").trim_matches('/');
    HttpOptions {
        path_prefix: if prefix.is_empty() { String::new() } else { format!("/{prefix}") },
        disable_cors: flags.bool("http.disableCORS"),
        disable_response_compression: flags.bool("http.disableResponseCompression"),
        disable_server_hostname: flags.bool("http.header.disableServerHostname"),
        csp: flags.text("http.header.csp").to_string(),
        frame_options: flags.text("http.header.frameOptions").to_string(),
        hsts: flags.text("http.header.hsts").to_string(),
    }
}

fn access_options(flags: &FlagSet) -> AccessOptions {
    AccessOptions {
        http_auth_username: flags.text("httpAuth.username").to_string(),
        http_auth_password: flags.password("httpAuth.password"),
        flags_key: flags.password("flagsAuthKey"),
        metrics_key: flags.password("metricsAuthKey"),
        pprof_key: flags.password("pprofAuthKey"),
        reload_key: flags.password("reloadAuthKey"),
    }
}

fn auth_options(flags: &FlagSet) -> AuthOptions {
    let mut headers = non_empty(flags.texts("httpAuthHeader"));
    if headers.is_empty() {
        headers.push("Authorization".to_string());
    }
    let real_ip_header = flags.text("httpRealIPHeader");
    AuthOptions {
        headers,
        log_invalid_tokens: flags.bool("logInvalidAuthTokens"),
        real_ip_header: (!real_ip_header.is_empty()).then(|| real_ip_header.to_string()),
        remove_xff: flags.bool("removeXFFHTTPHeaderValue"),
        oidc_ca_file: Some(flags.text("oidc.tlsCAFile").to_string()).filter(|path| !path.is_empty()),
    }
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
    fn listeners(&mut self) -> Listeners {
        let flags = self.flags;
        Listeners {
            public: self.listeners_of("httpListenAddr", true),
            internal: self.listeners_of("httpInternalListenAddr", false),
            enable_tcp6: flags.bool("enableTCP6"),
            tls_cipher_suites: flags.texts("tlsCipherSuites").to_vec(),
            conn_timeout: flags.duration("http.connTimeout").positive(),
            idle_timeout: flags.duration("http.idleConnTimeout").positive(),
            disable_keep_alive: flags.bool("http.disableKeepAlive"),
            shutdown_delay: flags.duration("http.shutdownDelay").as_std(),
            max_graceful_shutdown: flags.duration("http.maxGracefulShutdownDuration").as_std(),
        }
    }

    fn listeners_of(&mut self, name: &str, public: bool) -> Vec<ListenerOptions> {
        let flags = self.flags;
        let mut listeners = Vec::new();
        for (index, addr) in flags.texts(name).iter().enumerate().filter(|(_, addr)| !addr.is_empty()) {
            let is_mtls = public && flags.bool_at("mtls", index);
            let is_tls = flags.bool_at("tls", index);
            if is_mtls && !is_tls {
                self.problems.push(format!("-mtls for -{name}={addr} needs -tls for the same address"));
            }
            listeners.push(ListenerOptions {
                addr: addr.clone(),
                index,
                use_proxy_protocol: public && flags.bool_at("httpListenAddr.useProxyProtocol", index),
                tls: is_tls.then(|| ListenerTls {
                    cert_file: flags.text_at("tlsCertFile", index).to_string(),
                    key_file: flags.text_at("tlsKeyFile", index).to_string(),
                    min_version: flags.text_at("tlsMinVersion", index).to_string(),
                    client_auth: is_mtls.then(|| ClientAuth {
                        ca_file: Some(flags.text_at("mtlsCAFile", index).to_string()).filter(|path| !path.is_empty()),
                    }),
                }),
            });
        }
        listeners
    }

    fn limits(&mut self) -> Limits {
        Limits {
            max_concurrent_requests: self.not_negative("maxConcurrentRequests"),
            max_concurrent_per_user: self.not_negative("maxConcurrentPerUserRequests"),
            max_queue_duration: self.flags.duration("maxQueueDuration").as_std(),
            request_buffer_size: self.flags.bytes("requestBufferSize").as_usize(),
            max_retry_body_size: self.flags.bytes("maxRequestBodySizeToRetry").as_usize(),
        }
    }

    fn backends(&mut self) -> Backends {
        let flags = self.flags;
        let interval = flags.duration("discoverBackendIPsInterval").as_std();
        let whole_seconds = interval.as_secs() + u64::from(interval.subsec_nanos() > 0);
        Backends {
            fail_timeout: self.positive_duration("failTimeout"),
            response_timeout: flags.duration("responseTimeout").positive(),
            idle_timeout: flags.duration("idleConnTimeout").positive(),
            max_idle_conns: self.not_negative("maxIdleConnsPerBackend"),
            discover_ips: flags.bool("discoverBackendIPs"),
            discover_interval: Duration::from_secs(whole_seconds.max(1)),
            dns_servers: self.dns_servers(),
            load_balancing_policy: flags.text("loadBalancingPolicy").to_string(),
            merge_query_args: non_empty(flags.texts("mergeQueryArgs")),
            retry_status_codes: self.retry_status_codes(),
            tls: BackendTls {
                ca_file: flags.text("backend.TLSCAFile").to_string(),
                cert_file: flags.text("backend.TLSCertFile").to_string(),
                key_file: flags.text("backend.TLSKeyFile").to_string(),
                server_name: flags.text("backend.TLSServerName").to_string(),
                insecure_skip_verify: flags.bool("backend.tlsInsecureSkipVerify"),
            },
        }
    }

    fn metrics(&mut self) -> MetricsOptions {
        let flags = self.flags;
        let percent = flags.float("memory.allowedPercent");
        let allowed_memory = match u64::try_from(flags.bytes("memory.allowedBytes").bytes()) {
            Ok(bytes @ 1..) => AllowedMemory::Bytes(bytes),
            _ => AllowedMemory::Percent(percent),
        };
        if matches!(allowed_memory, AllowedMemory::Percent(_)) && !(1.0..=100.0).contains(&percent) {
            self.problems.push(format!("-memory.allowedPercent must be between 1 and 100; got {percent}"));
        }
        MetricsOptions {
            expose_metadata: flags.bool("metrics.exposeMetadata"),
            go_runtime: flags.bool("metrics.goRuntime"),
            allowed_memory,
            push: PushOptions {
                urls: non_empty(flags.texts("pushmetrics.url")),
                interval: flags.duration("pushmetrics.interval"),
                extra_labels: non_empty(flags.texts("pushmetrics.extraLabel")),
                headers: non_empty(flags.texts("pushmetrics.header")),
                disable_compression: flags.bool("pushmetrics.disableCompression"),
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

    fn at_least_one(&mut self, name: &str) -> usize {
        let value = self.flags.int(name);
        usize::try_from(value).ok().filter(|value| *value > 0).unwrap_or_else(|| {
            self.problems.push(format!("-{name} must be at least 1; got {value}"));
            1
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
