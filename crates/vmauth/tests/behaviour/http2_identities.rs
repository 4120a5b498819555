//! Many users and routes on one HTTP/2 connection: each request is its own, whatever came before it on the connection.

use testkit::{Backend, Reply};

use crate::bypasses::with_tokens;
use crate::http2_client::Http2;
use crate::minted::Signer;
use crate::vmauth::Vmauth;

const AUTH: &str = "Basic dTpw";

fn asks(target: &str, authorization: Option<&str>) -> http::Request<()> {
    let mut request = http::Request::get(format!("http://front{target}"));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    request.body(()).expect("a request")
}

/// A backend that says where a request came to and which tenant and cookies it has.
fn telling() -> Backend {
    Backend::with(|request| {
        let all = |name: &str| request.fields.all(name).join("|");
        Reply::ok(&format!("{} {} {}", request.target, all("X-Tenant"), all("Cookie")))
    })
}

#[test]
fn tokens_of_many_tenants_are_never_mixed() {
    let signer = Signer::new("k");
    let backend = telling();
    let users = "- jwt: {KEYS, match_claims: {role: admin}}\n  url_prefix: URL/admin/{{.MetricsTenant}}\n  headers: [\"X-Tenant: {{.MetricsTenant}}\"]\n- jwt: {KEYS}\n  url_prefix: URL/{{.MetricsTenant}}\n  headers: [\"X-Tenant: \
                 {{.MetricsTenant}}\"]\n";
    let (proxy, _provider) = with_tokens(&signer, &backend, users);
    let token = |n: usize, more: &str| {
        let line = signer.authorization(&format!(r#","vm_access":{{"metrics_account_id":{n}}}{more}"#));
        line.strip_prefix("Authorization: ").expect("a header").to_owned()
    };
    let tokens: Vec<_> = (0..50)
        .map(|n| match n % 2 {
            0 => (token(n, ""), format!("/{n}:0/q {n}:0 ")),
            _ => (token(n, r#","role":"admin""#), format!("/admin/{n}:0/q {n}:0 ")),
        })
        .collect();
    let mut client = Http2::connect(proxy.address);
    for _ in 0..4 {
        // All at once, with requests without or with spoiled tokens between them.
        let begun: Vec<_> =
            tokens.iter().map(|(token, want)| (client.begin(asks("/q", Some(token)), true), want)).collect();
        let nobody = client.begin(asks("/q", None), true);
        for (begun, want) in begun.into_iter().rev() {
            assert_eq!(client.answer(begun).expect("an answer").expect(200).body, *want);
        }
        assert_eq!(client.answer(nobody).expect("an answer").status, 401);
    }
    let mut spoiled = tokens[7].0.clone();
    spoiled.truncate(spoiled.len() - 4);
    assert_eq!(client.ask(asks("/q", Some(&spoiled))).status, 401);
    assert_eq!(client.ask(asks("/q", Some(&tokens[7].0))).expect(200).body, tokens[7].1);
}

/// Target, fields, and what the backend says.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);

#[test]
fn routes_see_repeated_fields_crumbs_and_queries_as_over_http1() {
    let backend = telling();
    let url = backend.url();
    let config = format!(
        "users:\n- username: u\n  password: p\n  url_map:\n  - src_headers: [\"X-Team: dev\"]\n    url_prefix: {url}/dev\n  - \
         src_headers: [\"Cookie: a=1; b=2\"]\n    url_prefix: {url}/cookie\n  - src_query_args: [\"db=~prod.*\"]\n    url_prefix: \
         {url}/prod\n  - src_hosts: [front]\n    src_paths: [/by-host]\n    url_prefix: {url}/host\n  url_prefix: {url}/else\n"
    );
    let proxy = Vmauth::start(&config, &["-http2.h2c"]);
    let mut http2 = Http2::connect(proxy.address);
    let cases: [Case; 9] = [
        ("/q", &[("x-team", "dev")], "/dev/q  "),
        ("/q", &[("x-team", "ops"), ("x-team", "dev")], "/dev/q  "),
        ("/q", &[("x-team", "dev"), ("x-team", "ops")], "/dev/q  "),
        ("/q", &[("x-team", "dev,ops")], "/else/q  "),
        ("/q", &[("cookie", "a=1"), ("cookie", "b=2")], "/cookie/q  a=1; b=2"),
        ("/q", &[("cookie", "b=2"), ("cookie", "a=1")], "/else/q  b=2; a=1"),
        ("/q?db=test&db=prod-1", &[], "/prod/q?db=test&db=prod-1  "),
        ("/q?db=%70rod", &[], "/prod/q?db=%70rod  "),
        ("/by-host", &[], "/host/by-host  "),
    ];
    for (target, fields, want) in cases {
        let mut request = http::Request::get(format!("http://front{target}")).header("authorization", AUTH);
        let mut lines = vec![format!("Authorization: {AUTH}")];
        for (name, value) in fields {
            request = request.header(*name, *value);
            lines.push(format!("{name}: {value}"));
        }
        let over_http2 = http2.ask(request.body(()).expect("a request")).expect(200).body;
        assert_eq!(over_http2, want, "{target} {fields:?}");
        // Crumbs are one header in HTTP/1.
        if !fields.iter().any(|(name, _)| *name == "cookie") {
            let mut client = proxy.client();
            let lines = lines.join("\r\n");
            client.send(format!("GET {target} HTTP/1.1\r\nHost: front\r\n{lines}\r\n\r\n"));
            assert_eq!(client.reply().expect(200).text(), want.trim_end(), "{target} {fields:?}");
        }
    }
}
