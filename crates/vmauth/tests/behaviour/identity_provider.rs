//! Identity providers as attackers and clusters make them: redirects to strangers, doors that want a token.

use std::fs;

use testkit::certs::Authority;
use testkit::{Backend, Reply};

use crate::minted::Signer;
use crate::vmauth::Vmauth;

fn json(body: &str) -> Reply {
    Reply::message(200, &[("Content-Type", "application/json")], body)
}

fn redirect(to: &str) -> Reply {
    Reply::message(302, &[("Location", to)], "")
}

fn config(issuer: &str, backend: &Backend) -> String {
    format!("users:\n- jwt: {{oidc: {{issuer: \"{issuer}\"}}}}\n  url_prefix: {}\n", backend.url())
}

/// A provider whose discovery document names the keys at `keys` of its own host.
fn serve(provider: &Backend, keys: Reply) {
    let issuer = provider.url();
    provider.set_handler(move |request| match request.target.as_str() {
        "/.well-known/openid-configuration" => json(&format!(r#"{{"issuer":"{issuer}","jwks_uri":"{issuer}/keys"}}"#)),
        "/keys" => keys.clone(),
        _ => Reply::message(404, &[], ""),
    });
}

#[test]
fn keys_of_a_host_that_the_provider_redirects_to_are_not_taken() {
    let backend = Backend::saying("ok");
    let (genuine, forged) = (Signer::new("k"), Signer::new("k"));
    let stranger = Backend::replying(json(&forged.jwks()));
    let provider = Backend::saying("");
    serve(&provider, redirect(&format!("{}/keys", stranger.url())));
    let proxy = Vmauth::start(&config(&provider.url(), &backend), &[]);
    let token = |signer: &Signer| signer.authorization(&format!(r#","iss":"{}","vm_access":{{}}"#, provider.url()));
    proxy.program.wait_log(0, "redirects to another host or from https to http are refused");
    proxy.client().get("/", &[&token(&forged)]).expect(401);
    assert_eq!((stranger.request_count(), backend.request_count()), (0, 0));
    // Within the host a redirect is the provider's own business.
    let keys = genuine.jwks();
    let issuer = provider.url();
    provider.set_handler(move |request| match request.target.as_str() {
        "/.well-known/openid-configuration" => json(&format!(r#"{{"issuer":"{issuer}","jwks_uri":"{issuer}/old"}}"#)),
        "/old" => redirect("/new"),
        _ => json(&keys),
    });
    let mark = proxy.program.mark();
    proxy.program.wait_log(mark, "loaded 1 keys of issuer");
    proxy.client().get("/", &[&token(&genuine)]).expect(200);
    proxy.client().get("/", &[&token(&forged)]).expect(401);
}

#[test]
fn a_provider_that_wants_a_token_gets_it_over_tls_and_one_that_does_not_want_it_never() {
    let backend = Backend::saying("ok");
    let signer = Signer::new("k");
    let pki = Authority::new("idp");
    let provider = Backend::tls(pki.server_config(&pki.issue(&["127.0.0.1"]), None), Reply::ok(""));
    let (issuer, keys) = (provider.url(), signer.jwks());
    provider.set_handler(move |request| {
        if request.fields.get("Authorization") != Some("Bearer sa-token") {
            return Reply::message(403, &[], "forbidden");
        }
        match request.target.as_str() {
            "/keys" => json(&keys),
            _ => json(&format!(r#"{{"issuer":"{issuer}","jwks_uri":"{issuer}/keys"}}"#)),
        }
    });
    let token = signer.authorization(&format!(r#","iss":"{}","vm_access":{{}}"#, provider.url()));
    let ca = format!("-oidc.tlsCAFile={}", pki.ca_file().display());

    let without = Vmauth::start(&config(&provider.url(), &backend), &[&ca]);
    without.program.wait_log(0, "want 200; the provider wants a token: name a file with it by -oidc.bearerTokenFile");
    without.client().get("/", &[&token]).expect(401);

    let file = pki.dir().join("token");
    fs::write(&file, "sa-token\n").expect("the folder can be written");
    let flag = format!("-oidc.bearerTokenFile={}", file.display());
    let with = Vmauth::start(&config(&provider.url(), &backend), &[&ca, &flag]);
    with.client().get("/", &[&token]).expect(200);

    let plain = Backend::saying("");
    serve(&plain, json(&signer.jwks()));
    let proxy = Vmauth::start(&config(&plain.url(), &backend), &[&ca, &flag]);
    proxy.program.wait_log(0, "loaded 1 keys of issuer");
    assert!(plain.requests().iter().all(|request| request.fields.get("Authorization").is_none()));
    assert!(!proxy.program.log_text().contains("sa-token"));
}

#[test]
fn a_refused_token_is_not_taken_for_a_missing_route() {
    // All users have `jwt`, and nobody's routes do not hold the path: agents drop their data upon 400.
    let (backend, signer) = (Backend::saying("ok"), Signer::new("k"));
    let url = backend.url();
    let config = format!(
        "users:\n- jwt: {{skip_verify: true}}\n  url_prefix: {url}\nunauthorized_user:\n  url_map:\n  - src_paths: \
         [/public]\n    url_prefix: {url}\n"
    );
    let proxy = Vmauth::start(&config, &[]);
    let expired = signer.line(r#"{"alg":"EdDSA"}"#, r#"{"exp":1000,"vm_access":{}}"#);
    proxy.client().get("/api/v1/write", &[&expired]).expect(401);
    proxy.client().get("/api/v1/write", &[]).expect(401);
    proxy.expect_metrics(&[("reason.invalid_auth_token", 1.0), ("reason.missing_route", 0.0)]);
    proxy.client().get("/public", &[&expired]).expect(200);
    assert_eq!(backend.request_count(), 1);
}
