//! Typed, checked values of the flags that all programs share ([`super::flags`]).
//!
//! Behind this file nobody asks for one of those flags by its name. All problems are reported at once. Paths, addresses
//! and URLs stay texts; so does what only another parser can judge (TLS versions, cipher suites, push targets), because
//! its error texts are part of the product. Nothing here may open a file or a socket.

use std::time::Duration;

use crate::acme::{AcmeOptions, check_host};
use crate::flags::{FlagSet, Password};
use crate::http_server::{BasicGate, Http2Options};
use crate::metrics::push::PushOptions;
use crate::secret::Secret;

#[cfg(test)]
mod tests;

/// Everything that the shared flags say.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Addresses, TLS and connections of clients.
    pub listeners: Listeners,
    /// Headers and pages of the own HTTP server.
    pub http: HttpOptions,
    /// Keys of internal pages and the gate in front of the server.
    pub access: AccessOptions,
    /// Metrics page and push.
    pub metrics: MetricsOptions,
    /// Threads that serve requests, at least 1.
    pub workers: usize,
}

/// Listeners in the order of their flags, empty addresses left out.
#[derive(Clone, Debug)]
pub struct Listeners {
    /// `-httpListenAddr`.
    pub public: Vec<ListenerOptions>,
    /// `-httpInternalListenAddr`; when not empty, internal pages are served only there.
    pub internal: Vec<ListenerOptions>,
    /// `-enableTCP6`: also for connections that the program opens.
    pub enable_tcp6: bool,
    /// `-tlsAutocertHosts` and its companions; `None` without hosts.
    pub acme: Option<AcmeOptions>,
    /// `-tlsCipherSuites`.
    pub tls_cipher_suites: Vec<String>,
    /// `-http.connTimeout`; `None` = no limit.
    pub conn_timeout: Option<Duration>,
    /// `-http.idleConnTimeout`; `None` = no limit.
    pub idle_timeout: Option<Duration>,
    /// `-http.writeTimeout`; `None` = no limit.
    pub write_timeout: Option<Duration>,
    /// `-http.maxHeaderBytes`
    pub max_header_bytes: usize,
    /// `-http2.*`
    pub http2: Http2Options,
    /// `-http.maxConnections`; 0 = by the limit of descriptors.
    pub max_connections: usize,
    /// `-http.maxConnectionsPerIP`; 0 = no limit.
    pub max_connections_per_address: usize,
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

impl AccessOptions {
    /// The gate of `-httpAuth.*`, if there is one.
    pub fn gate(&self) -> Option<BasicGate> {
        let username = Some(self.http_auth_username.as_str()).filter(|name| !name.is_empty())?;
        Some(BasicGate { username: Secret::from(username), password: self.http_auth_password.clone() })
    }
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

impl ServiceOptions {
    /// Checks and groups the values of [`super::flags::COMMON`].
    ///
    /// # Errors
    /// One message for each value that makes no sense, and for each flag that the product refuses.
    pub fn from_flags(flags: &FlagSet) -> Result<Self, Vec<String>> {
        let mut problems = flags.refusals();
        let options = Self {
            listeners: listeners(flags, &mut problems),
            http: http_options(flags),
            access: access_options(flags),
            metrics: metrics_options(flags, &mut problems),
            workers: at_least_one(flags, "workers", &mut problems),
        };
        if problems.is_empty() { Ok(options) } else { Err(problems) }
    }
}

/// Files of certificates for listeners that speak no TLS.
pub(super) fn unused_tls_files(flags: &FlagSet) -> Option<String> {
    let given: Vec<_> = ["tlsCertFile", "tlsKeyFile", "mtlsCAFile"]
        .into_iter()
        .filter(|name| flags.texts(name).iter().any(|path| !path.is_empty()))
        .map(|name| format!("-{name}"))
        .collect();
    let has_tls = flags.bools("tls").contains(&true);
    (!has_tls && !given.is_empty())
        .then(|| format!("{} without -tls: all addresses are served as plain HTTP", given.join(", ")))
}

fn listeners(flags: &FlagSet, problems: &mut Vec<String>) -> Listeners {
    let public = listeners_of(flags, "httpListenAddr", true, problems);
    let internal = listeners_of(flags, "httpInternalListenAddr", false, problems);
    let has_tls = public.iter().chain(&internal).any(|listener| listener.tls.is_some());
    Listeners {
        public,
        internal,
        acme: acme_options(flags, has_tls, problems),
        enable_tcp6: flags.bool("enableTCP6"),
        tls_cipher_suites: flags.texts("tlsCipherSuites").to_vec(),
        conn_timeout: flags.duration("http.connTimeout").positive(),
        idle_timeout: flags.duration("http.idleConnTimeout").positive(),
        write_timeout: flags.duration("http.writeTimeout").positive(),
        max_header_bytes: flags.bytes("http.maxHeaderBytes").as_usize(),
        http2: Http2Options {
            on_tls: !flags.bool("http2.disable"),
            on_plain: flags.bool("http2.h2c") && !flags.bool("http2.disable"),
            max_streams: u32::try_from(at_least_one(flags, "http2.maxConcurrentStreams", problems)).unwrap_or(u32::MAX),
        },
        max_connections: usize::try_from(flags.int("http.maxConnections")).unwrap_or(0),
        max_connections_per_address: usize::try_from(flags.int("http.maxConnectionsPerIP")).unwrap_or(0),
        disable_keep_alive: flags.bool("http.disableKeepAlive"),
        shutdown_delay: flags.duration("http.shutdownDelay").as_std(),
        max_graceful_shutdown: flags.duration("http.maxGracefulShutdownDuration").as_std(),
    }
}

fn listeners_of(flags: &FlagSet, name: &str, public: bool, problems: &mut Vec<String>) -> Vec<ListenerOptions> {
    let mut listeners = Vec::new();
    for (index, addr) in flags.texts(name).iter().enumerate().filter(|(_, addr)| !addr.is_empty()) {
        let is_mtls = public && flags.bool_at("mtls", index);
        let is_tls = flags.bool_at("tls", index);
        if is_mtls && !is_tls {
            problems.push(format!("-mtls for -{name}={addr} needs -tls for the same address"));
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

fn acme_options(flags: &FlagSet, has_tls: bool, problems: &mut Vec<String>) -> Option<AcmeOptions> {
    let mut hosts: Vec<String> = Vec::new();
    for host in flags.texts("tlsAutocertHosts").iter().map(|host| host.to_ascii_lowercase()) {
        match check_host(&host) {
            _ if host.is_empty() || hosts.contains(&host) => {}
            Some(problem) => problems.push(format!("-tlsAutocertHosts={host}: {problem}")),
            None => hosts.push(host),
        }
    }
    if hosts.is_empty() {
        return None;
    }
    if !has_tls {
        problems.push("-tlsAutocertHosts needs -tls for one of the listening addresses".to_owned());
    }
    let directory_url = flags.text("tlsAutocertDirectoryURL").to_string();
    if !directory_url.starts_with("https://") {
        problems.push(format!("-tlsAutocertDirectoryURL={directory_url}: ACME needs an https URL (RFC 8555 §6.1)"));
    }
    Some(AcmeOptions {
        hosts,
        email: flags.text("tlsAutocertEmail").to_string(),
        cache_dir: flags.text("tlsAutocertCacheDir").to_string(),
        directory_url,
        ca_file: flags.text("tlsAutocertCAFile").to_string(),
        profile: flags.text("tlsAutocertProfile").to_string(),
    })
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

fn metrics_options(flags: &FlagSet, problems: &mut Vec<String>) -> MetricsOptions {
    let percent = flags.float("memory.allowedPercent");
    let allowed_memory = match u64::try_from(flags.bytes("memory.allowedBytes").bytes()) {
        Ok(bytes @ 1..) => AllowedMemory::Bytes(bytes),
        _ => AllowedMemory::Percent(percent),
    };
    if matches!(allowed_memory, AllowedMemory::Percent(_)) && !(1.0..=100.0).contains(&percent) {
        problems.push(format!("-memory.allowedPercent must be between 1 and 100; got {percent}"));
    }
    MetricsOptions {
        expose_metadata: flags.bool("metrics.exposeMetadata"),
        go_runtime: flags.bool("metrics.goRuntime"),
        allowed_memory,
        push: PushOptions::from_flags(flags),
    }
}

/// The value of a whole-number flag that must be positive; 1 beside the problem otherwise.
fn at_least_one(flags: &FlagSet, name: &str, problems: &mut Vec<String>) -> usize {
    let value = flags.int(name);
    usize::try_from(value).ok().filter(|value| *value > 0).unwrap_or_else(|| {
        problems.push(format!("-{name} must be at least 1; got {value}"));
        1
    })
}
