//! The texts of the guide with this stack's addresses: the config of the proxy, the scrapes of the agent, the flags of
//! both, and the commands to try.

use std::net::SocketAddr;
use std::path::Path;

use crate::provider::REALM;
use crate::tenant::Tenant;

/// The agent's client at the provider.
pub const CLIENT_ID: &str = "vmagent";

/// Where what is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The page and its API.
    pub console: SocketAddr,
    /// The identity provider.
    pub provider: SocketAddr,
    /// vmauth.
    pub proxy: SocketAddr,
    /// vmagent.
    pub agent: SocketAddr,
    /// The store, for writes and reads.
    pub store: SocketAddr,
}

/// `-auth.config` of the proxy.
pub fn auth_config(addresses: &Addresses) -> String {
    let (provider, store) = (addresses.provider, addresses.store);
    format!(
        "users:\n\
         - jwt:\n\
         \x20   oidc:\n\
         \x20     issuer: 'http://{provider}{REALM}'\n\
         \x20 url_map:\n\
         \x20   - src_paths:\n\
         \x20       - \"/insert/.*\"\n\
         \x20     drop_src_path_prefix_parts: 1\n\
         \x20     url_prefix: \"http://{store}/insert/{{{{.MetricsTenant}}}}/prometheus/\"\n"
    )
}

/// `-promscrape.config` of the agent. The guide leaves the interval at a minute.
pub fn scrape_config(addresses: &Addresses, interval: &str) -> String {
    let (agent, proxy) = (addresses.agent, addresses.proxy);
    format!(
        "global:\n\
         \x20 scrape_interval: {interval}\n\
         scrape_configs:\n\
         \x20 - job_name: stat\n\
         \x20   static_configs:\n\
         \x20     - targets:\n\
         \x20         - {agent}\n\
         \x20         - {proxy}\n"
    )
}

/// Flags of the proxy.
pub fn proxy_flags(addresses: &Addresses, config: &Path) -> Vec<String> {
    vec![format!("-auth.config={}", config.display()), format!("-httpListenAddr={}", addresses.proxy)]
}

/// Flags of the agent.
pub fn agent_flags(addresses: &Addresses, config: &Path, secret: &Path, queue: &Path) -> Vec<String> {
    let Addresses { agent, proxy, provider, .. } = addresses;
    vec![
        format!("-httpListenAddr={agent}"),
        format!("-promscrape.config={}", config.display()),
        format!("-remoteWrite.url=http://{proxy}/insert/api/v1/write"),
        format!("-remoteWrite.oauth2.clientID={CLIENT_ID}"),
        format!("-remoteWrite.oauth2.clientSecretFile={}", secret.display()),
        format!("-remoteWrite.oauth2.tokenUrl=http://{provider}{REALM}/protocol/openid-connect/token"),
        "-remoteWrite.oauth2.scopes=openid".to_owned(),
        format!("-remoteWrite.tmpDataPath={}", queue.display()),
    ]
}

/// Flags that only our own agent is sure to know: it tries again soon, so that a person sees it recover.
pub fn own_agent_flags() -> Vec<String> {
    vec!["-remoteWrite.retryMaxInterval=2s".to_owned()]
}

/// Commands for another terminal; behind each `#` the status of its answer.
pub fn commands(addresses: &Addresses, secret: &str, tenant: Tenant) -> Vec<String> {
    let Addresses { agent, proxy, provider, store, .. } = addresses;
    let token = format!("http://{provider}{REALM}/protocol/openid-connect/token");
    let read = format!("http://{store}/select/{tenant}/prometheus/api/v1");
    vec![
        format!(
            "TOKEN=$(curl -s {token} -d client_id={CLIENT_ID} -d client_secret={secret} \
             -d grant_type=client_credentials | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')"
        ),
        format!("curl -i http://{proxy}/insert/api/v1/write -H \"Authorization: Bearer $TOKEN\"   # 204"),
        format!("curl -i http://{proxy}/insert/api/v1/write   # 401"),
        format!("curl '{read}/query?query=vm_app_version'   # 200"),
        format!("curl -g '{read}/query?query=sum(rate(vmauth_user_requests_total[30s]))'   # 200"),
        format!("curl http://{agent}/targets   # 200"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configs_are_those_of_the_guide() {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let addresses =
            Addresses { console: at(8400), provider: at(3001), proxy: at(8427), agent: at(8429), store: at(8480) };
        let want = "users:\n- jwt:\n    oidc:\n      issuer: 'http://127.0.0.1:3001/realms/master'\n  url_map:\n    \
                    - src_paths:\n        - \"/insert/.*\"\n      drop_src_path_prefix_parts: 1\n      url_prefix: \
                    \"http://127.0.0.1:8480/insert/{{.MetricsTenant}}/prometheus/\"\n";
        assert_eq!(auth_config(&addresses), want);
        assert!(scrape_config(&addresses, "1s").ends_with("          - 127.0.0.1:8429\n          - 127.0.0.1:8427\n"));
    }
}
