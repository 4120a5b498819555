//! Users with more than one credential: both hold while one replaces the other, and they are one user.

use testkit::{Backend, Gate, Reply};

use crate::vmauth::{Vmauth, basic};

const LOADED: &str = "loaded information about";
/// `wonder`
const HASH: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQwMDAx$fDj5b1rNaysLztZt/TpcKXwfL5f94xjxvICVgeYvxdU";

fn config(backend: &Backend, credentials: &str) -> String {
    format!(
        "users:\n- username: alice\n  credentials: [{credentials}]\n  max_concurrent_requests: 1\n  url_prefix: '{}'\n",
        backend.url()
    )
}

#[test]
fn a_password_is_replaced_in_three_reloads_and_nobody_is_locked_out() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&config(&backend, "{password: old}"), &[]);
    proxy.client().get("/", &[&basic("alice:old")]).expect(200);
    proxy.expect_refused_login(&basic("alice:"));
    let both = format!("{{password: old}}, {{password_hash: '{HASH}'}}, {{bearer_token: token}}");
    proxy.reload(&config(&backend, &both), LOADED);
    for line in [basic("alice:old"), basic("alice:wonder"), "Authorization: Bearer token".to_owned()] {
        proxy.client().get("/", &[&line]).expect(200);
    }
    proxy.expect_refused_login(&basic("alice:"));
    proxy.reload(&config(&backend, &format!("{{password_hash: '{HASH}'}}")), LOADED);
    proxy.client().get("/", &[&basic("alice:wonder")]).expect(200);
    proxy.expect_refused_login(&basic("alice:old"));
    proxy.expect_refused_login("Authorization: Bearer token");
    // One user over all credentials and reloads.
    proxy.expect_metrics(&[("vmauth_user_requests_total{username=\"alice\"}", 5.0)]);
}

#[test]
fn all_credentials_of_a_user_share_its_limit() {
    let gate = Gate::new();
    let backend = Backend::script(vec![Reply::ok("held").after(&gate), Reply::ok("second")]);
    let proxy = Vmauth::start(&config(&backend, "{password: old}, {password: new}"), &["-maxQueueDuration=1ms"]);
    let mut held = proxy.client();
    held.request("GET", "/", &[&basic("alice:old")], None);
    proxy.expect_metrics(&[("vmauth_user_concurrent_requests_current{username=\"alice\"}", 1.0)]);
    proxy.client().get("/", &[&basic("alice:new")]).expect(429);
    gate.open();
    held.reply().expect(200);
    proxy.client().get("/", &[&basic("alice:new")]).expect(200);
}
