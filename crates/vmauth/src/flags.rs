//! Every flag of vmauth, as one table.
//!
//! Names, types and defaults are those users have in their start scripts; the texts feed `-help` and the generated
//! page `docs/flags-vmauth.md`. What the values mean for the parts of the program is decided in [`crate::options`].
//!
//! A flag that is listed here must either work, say why it has no effect, or refuse to start.

use vmkit::flags::Kind::{Bool, BoolList, Bytes, Duration, Float, Int, IntList, Password, Text, TextList};
use vmkit::flags::{AppInfo, FlagDef};

mod page;

pub use page::docs_page;

const NO_CACHE: &str = "strings are not interned";
const NO_STORAGE: &str = "vmauth keeps no data files";
const NO_LICENSE: &str = "all features are free to use";
const NO_AUTOCERT: &str = "certificates are not requested automatically; let an ACME client write the files named by \
                           -tlsCertFile and -tlsKeyFile, which are reloaded when they change";

/// What `-help` and `-version` show.
pub fn app_info() -> AppInfo {
    AppInfo {
        name: "vmauth",
        banner: "vmauth checks who sends an HTTP request and passes it to VictoriaMetrics components or any other HTTP \
                 backends, balanced and limited as its config says.\n\nSee the docs at \
                 https://docs.victoriametrics.com/victoriametrics/vmauth/ .",
        version: vmkit::process::build_info::version("vmauth"),
    }
}

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

/// All flags, by name.
pub static TABLE: &[FlagDef] = &[
    FlagDef::new("auth.config", Text, "", "Path or http(s) URL of the file with users and routes. Required"),
    FlagDef::new("backend.TLSCAFile", Text, "", "Path or URL of the certificate authorities that https backends are checked against, instead of those of the system. A user's tls_ca_file goes first").aliases(&["backend.tlsCAFile"]),
    FlagDef::new("backend.TLSCertFile", Text, "", "Path or URL of the client certificate shown to https backends. A user's tls_cert_file goes first").aliases(&["backend.tlsCertFile"]),
    FlagDef::new("backend.TLSKeyFile", Text, "", "Path or URL of the private key of -backend.TLSCertFile. A user's tls_key_file goes first").aliases(&["backend.tlsKeyFile"]),
    FlagDef::new("backend.TLSServerName", Text, "", "Host name to ask https backends for and to expect in their certificates. A user's tls_server_name goes first").aliases(&["backend.tlsServerName"]),
    FlagDef::new("backend.tlsInsecureSkipVerify", Bool, "", "Accept any certificate of https backends. A user's tls_insecure_skip_verify goes first").aliases(&["backend.TLSInsecureSkipVerify"]),
    FlagDef::new("configCheckInterval", Duration, "", "How often -auth.config is read again. With 0 only SIGHUP and /-/reload do that"),
    FlagDef::new("discoverBackendIPs", Bool, "", "Resolve the host names of backends and balance over all their addresses. An own discover_backend_ips of a user or route goes first"),
    FlagDef::new("discoverBackendIPsInterval", Duration, "10s", "How long discovered addresses are used before they are resolved again. Rounded up to whole seconds"),
    FlagDef::new("dns.servers", TextList, "", "DNS servers to ask for backends, as host:port with an IP address as host. By default those of the system"),
    FlagDef::new("dryRun", Bool, "", "Only check -auth.config and exit"),
    FlagDef::new("enableTCP6", Bool, "", "Listen and connect over IPv6 too. By default only IPv4 is used"),
    FlagDef::new("envflag.enable", Bool, "", "Read flags that are not on the command line from environment variables, dots in names replaced by underscores. See also -envflag.prefix"),
    FlagDef::new("envflag.prefix", Text, "", "What the names of environment variables for -envflag.enable begin with"),
    FlagDef::new("eula", Bool, "", "Agreement to an end-user license").ignored(NO_LICENSE),
    FlagDef::new("failTimeout", Duration, "3s", "How long a backend that failed is left out before it is tried again. Must be positive"),
    FlagDef::new("filestream.disableFadvise", Bool, "", "Skip fadvise() on large files").ignored(NO_STORAGE),
    FlagDef::new("flagsAuthKey", Password, "", "Key that /flags asks for in the authKey arg. Goes before -httpAuth.*"),
    FlagDef::new("fs.disableMincore", Bool, "", "Skip mincore() on mapped files").ignored(NO_STORAGE),
    FlagDef::new("fs.disableMmap", Bool, "", "Read files instead of mapping them").ignored(NO_STORAGE),
    FlagDef::new("fs.maxConcurrency", Int, "min(16 * available cores, 256)", "How many threads may work with files at once").computed(default_fs_concurrency).ignored(NO_STORAGE),
    FlagDef::new("http.connTimeout", Duration, "2m", "Age from which connections of clients are closed after the next response, so that they spread anew over several vmauth. Up to a tenth is added at random; 0 means no limit"),
    FlagDef::new("http.disableCORS", Bool, "", "Answer OPTIONS requests without the headers that let web pages of any origin in"),
    FlagDef::new("http.disableKeepAlive", Bool, "", "Serve one request a connection only"),
    FlagDef::new("http.disableResponseCompression", Bool, "", "Never compress responses made by vmauth itself"),
    FlagDef::new("http.header.csp", Text, "", "Value of the Content-Security-Policy header of all responses"),
    FlagDef::new("http.header.disableServerHostname", Bool, "", "Leave out the X-Server-Hostname header of responses"),
    FlagDef::new("http.header.frameOptions", Text, "", "Value of the X-Frame-Options header of all responses"),
    FlagDef::new("http.header.hsts", Text, "", "Value of the Strict-Transport-Security header of all responses"),
    FlagDef::new("http.idleConnTimeout", Duration, "1m", "How long a connection of a client may wait for its next request; 0 means no limit"),
    FlagDef::new("http.maxGracefulShutdownDuration", Duration, "7s", "How long requests may take to finish after the stop signal"),
    FlagDef::new("http.pathPrefix", Text, "", "Prefix that is expected in front of all request paths and removed from them"),
    FlagDef::new("http.shutdownDelay", Duration, "", "How long to go on serving after the stop signal while /health says 503, so that balancers in front can switch over"),
    FlagDef::new("httpAuth.password", Password, "", "Password that goes with -httpAuth.username"),
    FlagDef::new("httpAuth.username", Text, "", "User name of the Basic auth in front of the whole HTTP server. Off when empty"),
    FlagDef::new("httpAuthHeader", TextList, "", "Request headers that may carry the credentials of users, tried in this order. Authorization when not set"),
    FlagDef::new("httpInternalListenAddr", TextList, "", "Addresses on which /health, /metrics, /flags, /-/reload and the like are served. When set, they are served there only. See also -httpListenAddr"),
    FlagDef::new("httpListenAddr", TextList, ":8427", "TCP addresses on which requests of users are served. See also -tls and -httpListenAddr.useProxyProtocol"),
    FlagDef::new("httpListenAddr.useProxyProtocol", BoolList, "", "Expect the PROXY protocol, version 1 or 2, on connections to the -httpListenAddr of the same position"),
    FlagDef::new("httpRealIPHeader", Text, "", "Request header with the address of the client, for ip_filters behind another proxy. Only useful when clients cannot set it themselves"),
    FlagDef::new("idleConnTimeout", Duration, "50s", "How long an unused connection to a backend is kept; shorter than what the backends allow, or requests may run into a closing connection. 0 means no limit"),
    FlagDef::new("internStringCacheExpireDuration", Duration, "6m", "How long strings are interned").ignored(NO_CACHE),
    FlagDef::new("internStringDisableCache", Bool, "", "Do not intern strings").ignored(NO_CACHE),
    FlagDef::new("internStringMaxLen", Int, "500", "Longest string that is interned").ignored(NO_CACHE),
    FlagDef::new("license", Text, "", "License key").ignored(NO_LICENSE).secret(),
    FlagDef::new("license.forceOffline", Bool, "", "Check the license without a license server").ignored(NO_LICENSE),
    FlagDef::new("licenseFile", Text, "", "Path of a license key").ignored(NO_LICENSE),
    FlagDef::new("licenseFile.reloadInterval", Duration, "1h", "How often -licenseFile is read again").ignored(NO_LICENSE),
    FlagDef::new("loadBalancingPolicy", Text, "least_loaded", "How requests are spread over several backends of a route: least_loaded or first_available. An own load_balancing_policy of a user or route goes first"),
    FlagDef::new("logInvalidAuthTokens", Bool, "", "Log why credentials were refused, and tell the client that they were; credentials are shown by fingerprint only"),
    FlagDef::new("loggerDisableTimestamps", Bool, "", "Leave the time out of log lines"),
    FlagDef::new("loggerErrorsPerSecondLimit", Int, "0", "How many error lines a second one place in the source may log; 0 means no limit"),
    FlagDef::new("loggerFormat", Text, "default", "Form of log lines: default or json"),
    FlagDef::new("loggerJSONFields", Text, "", "New names for the fields of JSON log lines, such as ts:timestamp,msg:message. The fields are ts, level, caller and msg"),
    FlagDef::new("loggerLevel", Text, "INFO", "Least severity that is logged: INFO, WARN, ERROR, FATAL or PANIC"),
    FlagDef::new("loggerMaxArgLen", Int, "5000", "Length from which arguments of log messages are cut in the middle"),
    FlagDef::new("loggerOutput", Text, "stderr", "Where log lines go: stderr or stdout"),
    FlagDef::new("loggerTimezone", Text, "UTC", "Time zone of log lines: an IANA name such as Europe/Berlin, UTC or Local"),
    FlagDef::new("loggerWarnsPerSecondLimit", Int, "0", "How many warning lines a second one place in the source may log; 0 means no limit"),
    FlagDef::new("maxConcurrentPerUserRequests", Int, "100", "How many requests of one user are served at once, unless the user has an own max_concurrent_requests. Further ones wait up to -maxQueueDuration; with 0, all are refused"),
    FlagDef::new("maxConcurrentRequests", Int, "1000", "How many requests are served at once in total. Further ones wait up to -maxQueueDuration; with 0, all are refused"),
    FlagDef::new("maxIdleConnsPerBackend", Int, "100", "How many unused connections are kept for each backend"),
    FlagDef::new("maxQueueDuration", Duration, "10s", "How long a request may wait for its turn and for its body to be read before it is refused"),
    FlagDef::new("maxRequestBodySizeToRetry", Bytes, "16384", "Largest request body that can be sent again to another backend after a failure. With 0 and less, requests with a body are never repeated"),
    FlagDef::new("memory.allowedBytes", Bytes, "0", "Value of the vm_allowed_memory_bytes metric. Goes before -memory.allowedPercent when positive"),
    FlagDef::new("memory.allowedPercent", Float, "60", "Part of the memory of the machine that the vm_allowed_memory_bytes metric shows, 1 to 100"),
    FlagDef::new("mergeQueryArgs", TextList, "", "Query args that clients may add to args of the same name in url_prefix, instead of having theirs dropped. An own merge_query_args of a user or route goes first"),
    FlagDef::new("metrics.exposeMetadata", Bool, "", "Put HELP and TYPE lines in front of metrics"),
    FlagDef::new("metrics.goRuntime", Bool, "true", "Export the nearest equivalents of the Go runtime metrics that public dashboards read"),
    FlagDef::new("metricsAuthKey", Password, "", "Key that /metrics asks for in the authKey arg. Goes before -httpAuth.*"),
    FlagDef::new("mtls", BoolList, "", "Demand a valid client certificate on the -httpListenAddr of the same position, which needs -tls"),
    FlagDef::new("mtlsCAFile", TextList, "", "Path of the certificate authorities for -mtls at the same position. Those of the system when empty"),
    FlagDef::new("oidc.tlsCAFile", Text, "", "CA bundle (path or URL) for identity providers of the config; default: the authorities of the system"),
    FlagDef::new("pprofAuthKey", Password, "", "Key that /debug/pprof/* asks for in the authKey arg. Goes before -httpAuth.*"),
    FlagDef::new("pushmetrics.disableCompression", Bool, "", "Push metrics without compressing them"),
    FlagDef::new("pushmetrics.extraLabel", TextList, "", "Labels that are added to all pushed metrics, each as name=\"value\""),
    FlagDef::new("pushmetrics.header", TextList, "", "HTTP headers that are sent along with pushed metrics, each as Name: value").secret(),
    FlagDef::new("pushmetrics.interval", Duration, "10s", "How often metrics are pushed"),
    FlagDef::new("pushmetrics.url", TextList, "", "URLs that the metrics of this process are pushed to").secret(),
    FlagDef::new("reloadAuthKey", Password, "", "Key that /-/reload asks for in the authKey arg. Goes before -httpAuth.*"),
    FlagDef::new("removeXFFHTTPHeaderValue", Bool, "", "Drop what clients send in X-Forwarded-For instead of appending to it"),
    FlagDef::new("requestBufferSize", Bytes, "32768", "How much of a request body is read before a backend is contacted, so that slow clients do not occupy backends. 0 turns it off"),
    FlagDef::new("responseTimeout", Duration, "5m", "How long a backend may take until its response begins; 0 means no limit"),
    FlagDef::new("retryStatusCodes", IntList, "", "Response codes of a backend after which the request is sent to another one. An own retry_status_codes of a user or route goes first"),
    FlagDef::new("secret.flags", TextList, "", "Names of further flags whose values are not shown in the log, on /flags and in metrics"),
    FlagDef::new("tls", BoolList, "", "Serve HTTPS on the -httpListenAddr or -httpInternalListenAddr of the same position. Needs -tlsCertFile and -tlsKeyFile"),
    FlagDef::new("tlsAutocertCacheDir", Text, "", "Folder for certificates that were requested automatically").refused(NO_AUTOCERT),
    FlagDef::new("tlsAutocertEmail", Text, "", "Contact address for certificates that are requested automatically").refused(NO_AUTOCERT),
    FlagDef::new("tlsAutocertHosts", TextList, "", "Host names to request certificates for automatically").refused(NO_AUTOCERT),
    FlagDef::new("tlsCertFile", TextList, "", "Path of the certificate for -tls at the same position. Read again when it changes"),
    FlagDef::new("tlsCipherSuites", TextList, "", "Names or numbers of the cipher suites of TLS 1.2 that -tls offers, for all listeners"),
    FlagDef::new("tlsKeyFile", TextList, "", "Path of the private key for -tls at the same position. Read again when it changes"),
    FlagDef::new("tlsMinVersion", TextList, "", "Lowest TLS version for -tls at the same position: TLS10, TLS11, TLS12 or TLS13. TLS12 when empty; TLS10 and TLS11 mean TLS12, older ones are not offered"),
    FlagDef::new("version", Bool, "", "Show the version and exit"),
    FlagDef::new("workers", Int, "available cores", "How many threads serve requests").computed(default_workers),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use vmkit::env_template::Environment;
    use vmkit::flags::{FlagExit, FlagSet, Support};

    use super::*;

    fn parse(words: &[&str]) -> Result<FlagSet, FlagExit> {
        FlagSet::parse(TABLE, &app_info(), std::iter::once(&"vmauth").chain(words), &Environment::default())
    }

    #[test]
    fn the_table_is_sorted_and_names_are_unique() {
        assert!(TABLE.is_sorted_by_key(|def| def.name));
        let names: Vec<_> = TABLE.iter().flat_map(|def| std::iter::once(&def.name).chain(def.aliases)).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        for def in TABLE {
            assert!(!def.help.is_empty() && !def.help.ends_with('.'), "{}", def.name);
            assert!(def.name.is_ascii() && !def.name.contains(['=', ' ']), "{}", def.name);
        }
    }

    #[test]
    fn defaults_are_canonical() {
        let flags = parse(&[]).unwrap();
        let all = flags.all();
        let f = |name: &str, want: &str| {
            let value = all.iter().find(|line| line.name == name).map(|line| line.value.as_str());
            assert_eq!(value, Some(want), "{name}");
        };
        f("configCheckInterval", "0s");
        f("failTimeout", "3s");
        f("http.connTimeout", "2m0s");
        f("http.idleConnTimeout", "1m0s");
        f("internStringCacheExpireDuration", "6m0s");
        f("licenseFile.reloadInterval", "1h0m0s");
        f("loggerMaxArgLen", "5000");
        f("maxConcurrentRequests", "1000");
        f("maxRequestBodySizeToRetry", "16384");
        f("memory.allowedBytes", "0");
        f("memory.allowedPercent", "60");
        f("metrics.goRuntime", "true");
        f("requestBufferSize", "32768");
        f("responseTimeout", "5m0s");
        f("retryStatusCodes", "");
        f("tls", "");
        f("workers", &available_cores().to_string());
        f("fs.maxConcurrency", &default_fs_concurrency());
        for masked in
            ["license", "pushmetrics.url", "secret.flags", "tlsKeyFile", "backend.TLSKeyFile", "metricsAuthKey"]
        {
            f(masked, "secret");
        }
        f("logInvalidAuthTokens", "secret");
    }

    #[test]
    fn both_spellings_of_backend_tls_flags() {
        for part in ["CAFile", "CertFile", "KeyFile", "ServerName"] {
            let flags = parse(&[&format!("-backend.tls{part}=x")]).unwrap();
            assert_eq!(flags.text(&format!("backend.TLS{part}")), "x");
        }
        assert!(parse(&["-backend.TLSInsecureSkipVerify"]).unwrap().bool("backend.tlsInsecureSkipVerify"));
    }

    #[test]
    fn help_begins_with_the_banner_and_version_with_the_name() {
        let help = parse(&["-help"]).unwrap_err();
        assert!(help.stdout.starts_with("\nvmauth checks who"), "{}", help.stdout);
        for def in TABLE {
            assert!(help.stdout.contains(&format!("\n  -{}", def.name)), "{}", def.name);
        }
        assert!(help.stdout.contains("\n  -auth.config string\n"));
        assert!(help.stdout.contains("\n  -tls array\n"));
        assert!(parse(&["-version"]).unwrap_err().stdout.starts_with("vmauth-v"));
    }

    #[test]
    fn paid_features_are_known() {
        let support = |name: &str| TABLE.iter().find(|def| def.name == name).map(|def| (def.kind, def.support));
        assert_eq!(support("mtls"), Some((BoolList, Support::Works)));
        assert_eq!(support("mtlsCAFile"), Some((TextList, Support::Works)));
        assert_eq!(support("httpRealIPHeader"), Some((Text, Support::Works)));
        for name in ["tlsAutocertHosts", "tlsAutocertEmail", "tlsAutocertCacheDir"] {
            assert!(matches!(support(name), Some((_, Support::Refused(_)))), "{name}");
        }
        for name in ["eula", "license", "licenseFile", "license.forceOffline", "licenseFile.reloadInterval"] {
            assert!(matches!(support(name), Some((_, Support::Ignored(_)))), "{name}");
        }
    }
}
