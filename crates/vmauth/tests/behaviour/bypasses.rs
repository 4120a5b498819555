//! Ways past the checks of other proxies: what a client says about itself is believed nowhere.

use testkit::{Backend, Reply};

use crate::minted::Signer;
use crate::vmauth::{AUTH, Vmauth, one_user};

/// What gateways put into requests, and clients, too.
const CLAIMS: [&str; 12] = [
    "X-Forwarded-Uri: /public",
    "X-Forwarded-Path: /public",
    "X-Forwarded-Prefix: /public",
    "X-Forwarded-Host: public",
    "X-Forwarded-Method: OPTIONS",
    "X-Original-URL: /public",
    "X-Original-URI: /public",
    "X-Rewrite-URL: /public",
    "X-HTTP-Method-Override: OPTIONS",
    "X-Forwarded-User: u",
    "X-Remote-User: u",
    "X-Forwarded-For: 127.0.0.1",
];

#[test]
fn headers_of_gateways_change_no_route() {
    let backend = Backend::saying("ok");
    let map = format!(
        "unauthorized_user:\n  url_map:\n  - src_paths: [/public]\n    url_prefix: {url}/p/\n  - src_hosts: [public]\n    \
         url_prefix: {url}/h/\n",
        url = backend.url()
    );
    let proxy = Vmauth::start(&format!("{}{map}", one_user(&[&backend], "deny_paths: [/private]")), &[]);
    let mut client = proxy.client();
    for line in CLAIMS {
        client.get("/private", &[line]).expect(401);
        client.get("/private", &[AUTH, line]).expect(403);
    }
    assert_eq!(backend.request_count(), 0);
    for line in CLAIMS {
        client.get("/public", &[&line.replace("public", "private")]).expect(200);
    }
    assert!(backend.requests().iter().all(|request| request.target == "/p/public"), "{:?}", backend.requests());
}

#[test]
fn nobody_gets_in_by_name_of_program_or_proxy() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    let agents = [
        "ELB-HealthChecker/2.0",
        "GoogleHC/1.0",
        "kube-probe/1.31",
        "Prometheus/3.0.0",
        "vmagent",
        "Consul Health Check",
    ];
    for agent in agents {
        client.get("/", &[&format!("User-Agent: {agent}")]).expect(401);
    }
    for line in CLAIMS {
        client.get("/", &[line]).expect(401);
    }
    assert_eq!(backend.request_count(), 0);
}

#[test]
fn malformed_credentials_are_wrong_ones_and_not_none() {
    let backend = Backend::saying("ok");
    let public =
        format!("unauthorized_user:\n  url_map:\n  - src_paths: [/public]\n    url_prefix: {}\n", backend.url());
    let proxy = Vmauth::start(&format!("{}{public}", one_user(&[&backend], "")), &["-maxFailedLoginsPerIP=0"]);
    let lines = [
        "Authorization: Basic",
        "Authorization: Basic dTpw!",
        "Authorization: Basic dTpw dTpw",
        "Authorization: basic dTpw",
        "Authorization: Basic  dTpw",
        "Authorization: Bearer",
        "Authorization: Bearer a.b.c",
        "Authorization: Bearer ..",
        "Authorization: dTpw",
        "Authorization: ,",
    ];
    // All at once, since each of them waits.
    let clients: Vec<_> = lines
        .iter()
        .map(|line| {
            let mut client = proxy.client();
            client.request("GET", "/private", &[line], None);
            client
        })
        .collect();
    for mut client in clients {
        client.reply().expect(401);
    }
    assert_eq!(backend.request_count(), 0);
    proxy.expect_metrics(&[("reason.invalid_auth_token", lines.len() as f64)]);
}

/// A proxy with the provider of the keys of this signer; users are entries below `users:` in which `KEYS` and `URL` are replaced.
pub(crate) fn with_tokens(signer: &Signer, backend: &Backend, users: &str) -> (Vmauth, Backend) {
    let provider = Backend::replying(Reply::message(200, &[("Content-Type", "application/json")], &signer.jwks()));
    let keys = format!("jwks_url: \"{}/keys\"", provider.url());
    let config = format!("users:\n{}", users.replace("KEYS", &keys).replace("URL", &backend.url()));
    (Vmauth::start(&config, &["-http2.h2c"]), provider)
}

#[test]
fn a_header_of_claims_is_never_the_clients() {
    let (backend, signer) = (Backend::saying("ok"), Signer::new("k"));
    let users = "- jwt: {KEYS, default_vm_access_claim: {}}\n  url_prefix: URL\n  headers:\n  - \"X-Filters: {{.MetricsExtraFilters}}\"\n";
    let (proxy, _provider) = with_tokens(&signer, &backend, users);
    let claims = ["", r#","vm_access":{}"#, r#","vm_access":null"#, r#","vm_access":{"metrics_extra_filters":[]}"#];
    for claims in claims {
        let token = signer.authorization(claims);
        for own in ["X-Filters: mine", "x-filters: mine", "X_Filters: mine", "X-Filters: a\r\nX-Filters: b"] {
            proxy.client().get("/", &[&token, own]).expect(200);
        }
    }
    let requests = backend.requests();
    assert_eq!(requests.len(), 16);
    for request in requests {
        assert_eq!((request.fields.get("X-Filters"), request.fields.get("X_Filters")), (None, None), "{request:?}");
    }
}

#[test]
fn claims_have_one_name_and_one_value() {
    let (backend, signer) = (Backend::saying("ok"), Signer::new("k"));
    let users = "- jwt: {KEYS, match_claims: {role: admin}}\n  url_prefix: URL/admin\n\
                 - jwt: {KEYS}\n  url_prefix: URL/{{.MetricsTenant}}\n";
    let (proxy, _provider) = with_tokens(&signer, &backend, users);
    let f = |claims: &str, want: &str| {
        proxy.client().get("/x", &[&signer.authorization(claims)]).expect(200);
        let requests = backend.requests();
        assert_eq!(requests.last().map(|request| request.target.as_str()), Some(want), "{claims}");
    };
    f(r#","vm_access":{"metrics_account_id":1}"#, "/1:0/x");
    f(r#","vm_access":{"metrics_account_id":1,"METRICS_ACCOUNT_ID":2}"#, "/1:0/x");
    f(r#","vm_access":{"metrics_account_id":1,"metrics_account_id":2}"#, "/1:0/x");
    f(r#","vm_access":{"metrics_account_id":1},"vm_access":{"metrics_account_id":2}"#, "/1:0/x");
    f(r#","VM_ACCESS":{"metrics_account_id":2},"vm_access":{"metrics_account_id":1}"#, "/1:0/x");
    f(r#","vm_access":{},"role":"admin""#, "/admin/x");
    f(r#","vm_access":{},"Role":"admin","ROLE":"admin""#, "/0:0/x");
    f(r#","vm_access":{},"role":"reader","role":"admin""#, "/0:0/x");
    f(r#","vm_access":{},"r\u006fle":"reader","role":"admin""#, "/0:0/x");
    // The first of two dates counts, and a token without `vm_access` has none in another spelling.
    f(r#","vm_access":{},"exp":1"#, "/0:0/x");
    proxy.client().get("/x", &[&signer.authorization(r#","Vm_Access":{"metrics_account_id":2}"#)]).expect(401);
}
