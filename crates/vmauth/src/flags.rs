//! The flags of vmauth beside those that it shares with other programs ([`vmkit::service::flags`]).
//!
//! Names, types and defaults are those users have in their start scripts; the texts feed `-help` and the generated
//! page `docs/flags-vmauth.md`. What the values mean for the parts of the program is decided in [`crate::options`].
//!
//! A flag that is listed here must either work, say why it has no effect, or refuse to start.

use vmkit::flags::Kind::{Bool, Bytes, Duration, Int, IntList, Password, Text, TextList};
use vmkit::flags::{AppInfo, FlagDef};
use vmkit::service::flags::COMMON;

mod page;

pub use page::docs_page;

/// What `-help` and `-version` show.
pub fn app_info() -> AppInfo {
    AppInfo {
        name: "vmauth",
        banner: "vmauth checks who sends an HTTP request and passes it to VictoriaMetrics components or any other HTTP \
                 backends, balanced and limited as its config says.\n\nSee the docs at \
                 https://docs.victoriametrics.com/victoriametrics/vmauth/ .",
        version: vmkit::process::build_info::version("vmauth"),
        defaults: &[("httpListenAddr", ":8427")],
    }
}

/// All groups: the shared flags and vmauth's own.
pub fn groups() -> Vec<&'static [FlagDef]> {
    [COMMON, &[TABLE]].concat()
}

/// vmauth's own flags, by name.
pub static TABLE: &[FlagDef] = &[
    FlagDef::new("auth.allowedFileDirs", TextList, "", "Directories below which all files must be that -auth.config names: passwords, tokens, keys, certificates. Symbolic links count as what they lead to. When not set, the config may name any file"),
    FlagDef::new("auth.config", Text, "", "Path or http(s) URL of the file with users and routes; a directory or a pattern such as `conf.d/*.yml` for many files. Required"),
    FlagDef::new("auth.strictVariables", Bool, "", "Refuse an -auth.config that names an environment variable which is not set, or an empty one for a credential, instead of a warning"),
    FlagDef::new("backend.TLSCAFile", Text, "", "Path or URL of the certificate authorities that https backends are checked against, instead of those of the system. A user's tls_ca_file goes first").aliases(&["backend.tlsCAFile"]),
    FlagDef::new("backend.TLSCertFile", Text, "", "Path or URL of the client certificate shown to https backends. A user's tls_cert_file goes first").aliases(&["backend.tlsCertFile"]),
    FlagDef::new("backend.TLSKeyFile", Text, "", "Path or URL of the private key of -backend.TLSCertFile. A user's tls_key_file goes first").aliases(&["backend.tlsKeyFile"]),
    FlagDef::new("backend.TLSServerName", Text, "", "Host name to ask https backends for and to expect in their certificates. A user's tls_server_name goes first").aliases(&["backend.tlsServerName"]),
    FlagDef::new("backend.http2.disable", Bool, "", "Do not offer HTTP/2 to https backends. Backends whose URL begins with h2c:// or h2:// are spoken to in HTTP/2 all the same"),
    FlagDef::new("backend.http2.pingInterval", Duration, "15s", "After how much silence on an HTTP/2 connection with open requests the backend is asked whether it lives, and how long it may take to answer. 0 means never"),
    FlagDef::new("backend.tlsInsecureSkipVerify", Bool, "", "Accept any certificate of https backends. A user's tls_insecure_skip_verify goes first").aliases(&["backend.TLSInsecureSkipVerify"]),
    FlagDef::new("configCheckInterval", Duration, "", "How often -auth.config is read again. With 0 only SIGHUP and /-/reload do that"),
    FlagDef::new("dialTimeout", Duration, "5s", "How long opening a connection to a backend may take before the next backend is tried; the TLS handshake has as long again. Must be positive. An own connect_timeout of a user or route goes first"),
    FlagDef::new("discoverBackendIPs", Bool, "", "Resolve the host names of backends and balance over all their addresses. An own discover_backend_ips of a user or route goes first"),
    FlagDef::new("discoverBackendIPsInterval", Duration, "10s", "How long discovered addresses are used before they are resolved again. Rounded up to whole seconds"),
    FlagDef::new("dns.servers", TextList, "", "DNS servers to ask for backends, as host:port with an IP address as host. By default those of the system"),
    FlagDef::new("dryRun", Bool, "", "Only check -auth.config and exit"),
    FlagDef::new("dryRun.strict", Bool, "", "Let -dryRun fail when the config has warnings. See docs/reference/lint.md for what they are"),
    FlagDef::new("failTimeout", Duration, "3s", "How long a backend that failed is left out before it is tried again. Must be positive"),
    FlagDef::new("http.trustedProxies", TextList, "", "Addresses or networks (CIDR) of proxies that may name the client in -httpRealIPHeader or real_ip_header. They are passed over from the right; the header of others is ignored. When not set, the last address of the header counts, whoever sends it"),
    FlagDef::new("httpAuthHeader", TextList, "", "Request headers that may carry the credentials of users, tried in this order. Authorization when not set"),
    FlagDef::new("httpRealIPHeader", Text, "", "Request header with the address of the client, for ip_filters behind another proxy. Only useful when clients cannot set it themselves"),
    FlagDef::new("idleConnTimeout", Duration, "50s", "How long an unused connection to a backend is kept; shorter than what the backends allow, or requests may run into a closing connection. 0 means no limit"),
    FlagDef::new("loadBalancingPolicy", Text, "least_loaded", "How requests are spread over several backends of a route: least_loaded, first_available or hash_query. An own load_balancing_policy of a user or route goes first"),
    FlagDef::new("logInvalidAuthTokens", Bool, "", "Log why credentials were refused, and tell the client that they were; credentials are shown by fingerprint only"),
    FlagDef::new("maxConcurrentPerUserRequests", Int, "100", "How many requests of one user are served at once, unless the user has an own max_concurrent_requests. Further ones wait up to -maxQueueDuration; with 0, all are refused"),
    FlagDef::new("maxConcurrentRequests", Int, "1000", "How many requests are served at once in total. Further ones wait up to -maxQueueDuration; with 0, all are refused"),
    FlagDef::new("maxFailedLoginsPerIP", Int, "30", "How many logins may fail from one address (IPv6: one /64) within a minute before the answers to further ones are delayed by up to 12 seconds instead of 3, and with them the first valid login of a user who was not seen from there. 0 means no limit"),
    FlagDef::new("maxIdleConnsPerBackend", Int, "100", "How many unused connections are kept for each backend"),
    FlagDef::new("maxQueueDuration", Duration, "10s", "How long a request may wait for its turn and for its body to be read before it is refused"),
    FlagDef::new("maxRequestBodySizeToRetry", Bytes, "16384", "Largest request body that can be sent again to another backend after a failure. With 0 and less, requests with a body are never repeated"),
    FlagDef::new("mergeQueryArgs", TextList, "", "Query args that clients may add to args of the same name in url_prefix, instead of having theirs dropped. An own merge_query_args of a user or route goes first"),
    FlagDef::new("metrics.backends", Bool, "true", "Show metrics of each backend address, of at most 1000"),
    FlagDef::new("oidc.bearerTokenFile", Text, "", "File with a token for identity providers that want one for their keys, such as the API server of Kubernetes; read for each fetch and sent over https only. A token that names its issuer goes to that issuer alone"),
    FlagDef::new("oidc.tlsCAFile", Text, "", "CA bundle (path or URL) for identity providers of the config; default: the authorities of the system"),
    FlagDef::new("removeXFFHTTPHeaderValue", Bool, "", "Drop what clients send in X-Forwarded-For instead of appending to it"),
    FlagDef::new("requestBufferSize", Bytes, "32768", "How much of a request body is read before a backend is contacted, so that slow clients do not occupy backends. 0 turns it off"),
    FlagDef::new("requestIDHeader", Text, "", "Request header in which backends get the ID of each request, such as X-Request-ID. The ID of a client is taken over, a missing one is made up. When not set, clients' X-Request-ID passes as it is, and made-up IDs are only shown in the log"),
    FlagDef::new("responseTimeout", Duration, "5m", "How long a backend may take until its response begins; 0 means no limit. An own response_timeout of a user or route goes first"),
    FlagDef::new("retryOnlyIdempotent", Bool, "", "Send a request whose method is not idempotent (POST, PATCH and unknown ones) a second time only if no backend can have read it, that is when connecting has failed; its -retryStatusCodes responses are passed on. By default any request is repeated whose body is still at hand"),
    FlagDef::new("retryStatusCodes", IntList, "", "Response codes of a backend after which the request is sent to another one. An own retry_status_codes of a user or route goes first"),
    FlagDef::new("statusAuthKey", Password, "", "Key that /vmauth/status and the pages beside it ask for in the authKey arg. Goes before -httpAuth.*. Without it they are served by -httpInternalListenAddr only; with it by all listeners"),
    FlagDef::new("tunnelIdleTimeout", Duration, "1h", "How long a tunnel (WebSocket and other upgrades) may be silent in both directions before it is closed; 0 means no limit"),
    FlagDef::new("tunnelMaxDuration", Duration, "12h", "Age at which tunnels are closed; 0 means no limit. They also end when their token expires or their user is gone after a reload"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use vmkit::env_template::Environment;
    use vmkit::flags::{FlagExit, FlagSet, Support};

    use vmkit::flags::Kind::BoolList;
    use vmkit::service::flags::available_cores;

    use super::*;

    fn parse(words: &[&str]) -> Result<FlagSet, FlagExit> {
        FlagSet::parse(&groups(), &app_info(), std::iter::once(&"vmauth").chain(words), &Environment::default())
    }

    #[test]
    fn the_table_is_sorted_and_names_are_unique() {
        assert!(TABLE.is_sorted_by_key(|def| def.name));
        let table: Vec<FlagDef> = groups().concat();
        let names: Vec<_> = table.iter().flat_map(|def| std::iter::once(&def.name).chain(def.aliases)).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        for def in &table {
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
        f("httpListenAddr", ":8427");
        for masked in [
            "license",
            "pushmetrics.header",
            "pushmetrics.url",
            "secret.flags",
            "tlsKeyFile",
            "backend.TLSKeyFile",
            "metricsAuthKey",
        ] {
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
        for def in groups().concat() {
            assert!(help.stdout.contains(&format!("\n  -{}", def.name)), "{}", def.name);
        }
        assert!(help.stdout.contains("\n  -auth.config string\n"));
        assert!(help.stdout.contains("\n  -tls array\n"));
        assert!(parse(&["-version"]).unwrap_err().stdout.starts_with("vmauth-v"));
    }

    #[test]
    fn paid_features_are_known() {
        let table: Vec<FlagDef> = groups().concat();
        let support = |name: &str| table.iter().find(|def| def.name == name).map(|def| (def.kind, def.support));
        assert_eq!(support("mtls"), Some((BoolList, Support::Works)));
        assert_eq!(support("mtlsCAFile"), Some((TextList, Support::Works)));
        assert_eq!(support("httpRealIPHeader"), Some((Text, Support::Works)));
        for name in ["tlsAutocertHosts", "tlsAutocertEmail", "tlsAutocertCacheDir"] {
            assert!(matches!(support(name), Some((_, Support::Works))), "{name}");
        }
        for name in ["eula", "license", "licenseFile", "license.forceOffline", "licenseFile.reloadInterval"] {
            assert!(matches!(support(name), Some((_, Support::Ignored(_)))), "{name}");
        }
    }
}
