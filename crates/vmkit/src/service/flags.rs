//! The flags that every program of the family has: one row each, in groups.
//!
//! A program gives its own table beside these to [`FlagSet::parse`](crate::flags::FlagSet::parse); a row of its own
//! with the same name replaces the one here, and [`AppInfo::defaults`](crate::flags::AppInfo) replaces only a default.
//! What the values mean is decided in [`super::options`]. Texts may name the program as `{app}`.
//!
//! A flag that is listed here must either work, say why it has no effect, or refuse to start.

use crate::flags::FlagDef;
use crate::flags::Kind::{Bool, BoolList, Bytes, Duration, Float, Int, Password, Text, TextList};

const NO_CACHE: &str = "strings are not interned";
const NO_STORAGE: &str = "{app} keeps no data files";
const NO_LICENSE: &str = "all features are free to use";
/// Cores this process may use.
pub fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn default_workers() -> String {
    available_cores().to_string()
}

fn default_fs_concurrency() -> String {
    available_cores().saturating_mul(16).min(256).to_string()
}

/// All groups.
pub static COMMON: &[&[FlagDef]] = &[LISTENERS, HTTP, ACCESS, LOGGER, METRICS, PROCESS, IGNORED];

/// Addresses, TLS and connections of clients.
pub static LISTENERS: &[FlagDef] = &[
    FlagDef::new("enableTCP6", Bool, "", "Listen and connect over IPv6 too. By default only IPv4 is used"),
    FlagDef::new(
        "http.connTimeout",
        Duration,
        "2m",
        "Age from which connections of clients are closed after the next response, so that they spread anew over several {app}. Up to a tenth is added at random; 0 means no limit",
    ),
    FlagDef::new("http.disableKeepAlive", Bool, "", "Serve one request a connection only"),
    FlagDef::new(
        "http.idleConnTimeout",
        Duration,
        "1m",
        "How long a connection of a client may wait for its next request; 0 means no limit",
    ),
    FlagDef::new(
        "http.maxConnections",
        Int,
        "0",
        "Connections of clients that may be open; further ones are closed at once. 0 means three quarters of the descriptors that the process may open",
    ),
    FlagDef::new(
        "http.maxConnectionsPerIP",
        Int,
        "0",
        "Connections that may be open from one address, or from one /64 of IPv6; 0 means no limit",
    ),
    FlagDef::new(
        "http.maxGracefulShutdownDuration",
        Duration,
        "7s",
        "How long requests may take to finish after the stop signal",
    ),
    FlagDef::new(
        "http.maxHeaderBytes",
        Bytes,
        "1MiB",
        "Largest head of a request. Heads that need more than their first 64KiB may take 64 times as much together",
    ),
    FlagDef::new(
        "http.shutdownDelay",
        Duration,
        "",
        "How long to go on serving after the stop signal while /health says 503, so that balancers in front can switch over",
    ),
    FlagDef::new(
        "http.writeTimeout",
        Duration,
        "1m",
        "How long a client may take nothing of what is sent to it before its connection is closed; 0 means no limit",
    ),
    FlagDef::new(
        "http2.disable",
        Bool,
        "",
        "Speak HTTP/1 only with clients. By default TLS listeners offer HTTP/2, too. See also -http2.h2c",
    ),
    FlagDef::new(
        "http2.h2c",
        Bool,
        "",
        "Speak HTTP/2 on plain listeners with clients that begin with its preface (prior knowledge); the same port goes on serving HTTP/1",
    ),
    FlagDef::new(
        "http2.maxConcurrentStreams",
        Int,
        "100",
        "Requests that a client may have open at once over one HTTP/2 connection",
    ),
    FlagDef::new(
        "httpInternalListenAddr",
        TextList,
        "",
        "Addresses on which /health, /metrics, /flags, /-/reload and the like are served. When set, they are served there only. See also -httpListenAddr",
    ),
    FlagDef::new(
        "httpListenAddr",
        TextList,
        "",
        "TCP addresses, or paths as unix:/path, on which requests of users are served. See also -tls and -httpListenAddr.useProxyProtocol",
    ),
    FlagDef::new(
        "httpListenAddr.useProxyProtocol",
        BoolList,
        "",
        "Expect the PROXY protocol, version 1 or 2, on connections to the -httpListenAddr of the same position",
    ),
    FlagDef::new(
        "mtls",
        BoolList,
        "",
        "Demand a valid client certificate on the -httpListenAddr of the same position, which needs -tls",
    ),
    FlagDef::new(
        "mtlsCAFile",
        TextList,
        "",
        "Path of the certificate authorities for -mtls at the same position. Those of the system when empty",
    ),
    FlagDef::new(
        "tls",
        BoolList,
        "",
        "Serve HTTPS on the -httpListenAddr or -httpInternalListenAddr of the same position. Needs -tlsCertFile and -tlsKeyFile, or -tlsAutocertHosts",
    ),
    FlagDef::new(
        "tlsAutocertCAFile",
        Text,
        "",
        "Path of the certificate authorities that -tlsAutocertDirectoryURL itself is trusted by. Those of the system when empty",
    ),
    FlagDef::new(
        "tlsAutocertCacheDir",
        Text,
        "",
        "Folder that keeps the certificates of -tlsAutocertHosts over restarts. Without it they are requested anew at each start",
    ),
    FlagDef::new(
        "tlsAutocertDirectoryURL",
        Text,
        "https://acme-v02.api.letsencrypt.org/directory",
        "ACME directory of the authority that issues the certificates of -tlsAutocertHosts",
    ),
    FlagDef::new(
        "tlsAutocertEmail",
        Text,
        "",
        "Contact address of the account that the certificates of -tlsAutocertHosts are requested with",
    ),
    FlagDef::new(
        "tlsAutocertHosts",
        TextList,
        "",
        "Host names to request certificates for and to renew them, for all listeners with -tls; the authority must reach one of them on port 443, or one without -tls on port 80. Its terms of service count as accepted",
    ),
    FlagDef::new(
        "tlsAutocertProfile",
        Text,
        "",
        "Profile of the certificates of -tlsAutocertHosts, by the authority's name for it, such as shortlived. Its default when empty",
    ),
    FlagDef::new(
        "tlsCertFile",
        TextList,
        "",
        "Path of the certificate for -tls at the same position. Read again when it changes",
    ),
    FlagDef::new(
        "tlsCipherSuites",
        TextList,
        "",
        "Names or numbers of the cipher suites of TLS 1.2 that -tls offers, for all listeners",
    ),
    FlagDef::new(
        "tlsKeyFile",
        TextList,
        "",
        "Path of the private key for -tls at the same position. Read again when it changes",
    ),
    FlagDef::new(
        "tlsMinVersion",
        TextList,
        "",
        "Lowest TLS version for -tls at the same position: TLS10, TLS11, TLS12 or TLS13. TLS12 when empty; TLS10 and TLS11 mean TLS12, older ones are not offered",
    ),
    FlagDef::new("workers", Int, "available cores", "How many threads serve requests").computed(default_workers),
];

/// Pages and headers of the HTTP server.
pub static HTTP: &[FlagDef] = &[
    FlagDef::new(
        "http.disableCORS",
        Bool,
        "",
        "Answer OPTIONS requests without the headers that let web pages of any origin in",
    ),
    FlagDef::new("http.disableResponseCompression", Bool, "", "Never compress responses made by {app} itself"),
    FlagDef::new("http.header.csp", Text, "", "Value of the Content-Security-Policy header of all responses"),
    FlagDef::new("http.header.disableServerHostname", Bool, "", "Leave out the X-Server-Hostname header of responses"),
    FlagDef::new("http.header.frameOptions", Text, "", "Value of the X-Frame-Options header of all responses"),
    FlagDef::new("http.header.hsts", Text, "", "Value of the Strict-Transport-Security header of all responses"),
    FlagDef::new(
        "http.pathPrefix",
        Text,
        "",
        "Prefix that is expected in front of all request paths and removed from them",
    ),
];

/// Who may see internal pages.
pub static ACCESS: &[FlagDef] = &[
    FlagDef::new("flagsAuthKey", Password, "", "Key that /flags asks for in the authKey arg. Goes before -httpAuth.*"),
    FlagDef::new("httpAuth.password", Password, "", "Password that goes with -httpAuth.username"),
    FlagDef::new(
        "httpAuth.username",
        Text,
        "",
        "User name of the Basic auth in front of the whole HTTP server. Off when empty",
    ),
    FlagDef::new(
        "metricsAuthKey",
        Password,
        "",
        "Key that /metrics asks for in the authKey arg. Goes before -httpAuth.*",
    ),
    FlagDef::new(
        "pprofAuthKey",
        Password,
        "",
        "Key that /debug/pprof/* asks for in the authKey arg. Goes before -httpAuth.*",
    ),
    FlagDef::new(
        "reloadAuthKey",
        Password,
        "",
        "Key that /-/reload asks for in the authKey arg. Goes before -httpAuth.*",
    ),
];

/// Log lines; read by [`LoggerOptions`](crate::logger::LoggerOptions).
pub static LOGGER: &[FlagDef] = &[
    FlagDef::new("loggerDisableTimestamps", Bool, "", "Leave the time out of log lines"),
    FlagDef::new(
        "loggerErrorsPerSecondLimit",
        Int,
        "0",
        "How many error lines a second one place in the source may log; 0 means no limit",
    ),
    FlagDef::new("loggerFormat", Text, "default", "Form of log lines: default or json"),
    FlagDef::new(
        "loggerJSONFields",
        Text,
        "",
        "New names for the fields of JSON log lines, such as ts:timestamp,msg:message. The fields are ts, level, caller and msg",
    ),
    FlagDef::new("loggerLevel", Text, "INFO", "Least severity that is logged: INFO, WARN, ERROR, FATAL or PANIC"),
    FlagDef::new("loggerMaxArgLen", Int, "5000", "Length from which arguments of log messages are cut in the middle"),
    FlagDef::new("loggerOutput", Text, "stderr", "Where log lines go: stderr or stdout"),
    FlagDef::new(
        "loggerTimezone",
        Text,
        "UTC",
        "Time zone of log lines: an IANA name such as Europe/Berlin, UTC or Local",
    ),
    FlagDef::new(
        "loggerWarnsPerSecondLimit",
        Int,
        "0",
        "How many warning lines a second one place in the source may log; 0 means no limit",
    ),
];

/// The metrics page and pushes of it.
pub static METRICS: &[FlagDef] = &[
    FlagDef::new(
        "memory.allowedBytes",
        Bytes,
        "0",
        "Value of the vm_allowed_memory_bytes metric. Goes before -memory.allowedPercent when positive",
    ),
    FlagDef::new(
        "memory.allowedPercent",
        Float,
        "60",
        "Part of the memory of the machine that the vm_allowed_memory_bytes metric shows, 1 to 100",
    ),
    FlagDef::new("metrics.exposeMetadata", Bool, "", "Put HELP and TYPE lines in front of metrics"),
    FlagDef::new(
        "metrics.goRuntime",
        Bool,
        "true",
        "Export the nearest equivalents of the Go runtime metrics that public dashboards read",
    ),
    FlagDef::new("pushmetrics.disableCompression", Bool, "", "Push metrics without compressing them"),
    FlagDef::new(
        "pushmetrics.extraLabel",
        TextList,
        "",
        "Labels that are added to all pushed metrics, each as name=\"value\"",
    ),
    FlagDef::new(
        "pushmetrics.header",
        TextList,
        "",
        "HTTP headers that are sent along with pushed metrics, each as Name: value",
    )
    .secret(),
    FlagDef::new("pushmetrics.interval", Duration, "10s", "How often metrics are pushed"),
    FlagDef::new("pushmetrics.url", TextList, "", "URLs that the metrics of this process are pushed to").secret(),
];

/// How flags are read, and the version.
pub static PROCESS: &[FlagDef] = &[
    FlagDef::new(
        "envflag.enable",
        Bool,
        "",
        "Read flags that are not on the command line from environment variables, dots in names replaced by underscores. See also -envflag.prefix",
    ),
    FlagDef::new("envflag.prefix", Text, "", "What the names of environment variables for -envflag.enable begin with"),
    FlagDef::new(
        "secret.flags",
        TextList,
        "",
        "Names of further flags whose values are not shown in the log, on /flags and in metrics",
    ),
    FlagDef::new("version", Bool, "", "Show the version and exit"),
];

/// Flags of the original that start scripts may pass and that have nothing to do here.
pub static IGNORED: &[FlagDef] = &[
    FlagDef::new("eula", Bool, "", "Agreement to an end-user license").ignored(NO_LICENSE),
    FlagDef::new("filestream.disableFadvise", Bool, "", "Skip fadvise() on large files").ignored(NO_STORAGE),
    FlagDef::new("fs.disableMincore", Bool, "", "Skip mincore() on mapped files").ignored(NO_STORAGE),
    FlagDef::new("fs.disableMmap", Bool, "", "Read files instead of mapping them").ignored(NO_STORAGE),
    FlagDef::new(
        "fs.maxConcurrency",
        Int,
        "min(16 * available cores, 256)",
        "How many threads may work with files at once",
    )
    .computed(default_fs_concurrency)
    .ignored(NO_STORAGE),
    FlagDef::new("internStringCacheExpireDuration", Duration, "6m", "How long strings are interned").ignored(NO_CACHE),
    FlagDef::new("internStringDisableCache", Bool, "", "Do not intern strings").ignored(NO_CACHE),
    FlagDef::new("internStringMaxLen", Int, "500", "Longest string that is interned").ignored(NO_CACHE),
    FlagDef::new("license", Text, "", "License key").ignored(NO_LICENSE).secret(),
    FlagDef::new("license.forceOffline", Bool, "", "Check the license without a license server").ignored(NO_LICENSE),
    FlagDef::new("licenseFile", Text, "", "Path of a license key").ignored(NO_LICENSE),
    FlagDef::new("licenseFile.reloadInterval", Duration, "1h", "How often -licenseFile is read again")
        .ignored(NO_LICENSE),
];
