//! Who a request comes from: IP filters behind proxies, and on built-in pages.

use testkit::{Backend, Client};

use crate::vmauth::{AUTH, Vmauth, one_user};

#[track_caller]
fn status(client: &mut Client, path: &str, lines: &[&str]) -> u16 {
    client.get(path, lines).status
}

#[test]
fn headers_that_hide_the_address_do_not_pass_the_filters() {
    let backend = Backend::saying("x");
    let config = one_user(&[&backend], "ip_filters: {deny_list: [6.6.6.6]}");
    let proxy = Vmauth::start(&config, &["-httpRealIPHeader=X-Forwarded-For"]);
    let mut client = proxy.client();
    let mut f = |header: &str, want: u16| {
        let lines: Vec<&str> = std::iter::once(AUTH).chain(header.lines()).collect();
        assert_eq!(status(&mut client, "/", &lines), want, "{header}");
    };
    f("X-Forwarded-For: 1.1.1.1", 200);
    for hidden in [
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-For: 1.1.1.1, 6.6.6.6",
        "X-Forwarded-For: x, 6.6.6.6",
        "X-Forwarded-For: , 6.6.6.6",
        "X-Forwarded-For: \"6.6.6.6\"",
        "X-Forwarded-For: ::ffff:6.6.6.6",
        "X-Forwarded-For: 6.6.6.6:80",
        "X-Forwarded-For: 1.1.1.1\nX-Forwarded-For: 6.6.6.6",
        "X-Forwarded-For: 6.6.6.6%1",
        "X-Forwarded-For: unknown",
        "X-Forwarded-For:",
    ] {
        f(hidden, 403);
    }
    assert_eq!(backend.request_count(), 1);
}

#[test]
fn only_trusted_proxies_name_the_client() {
    let backend = Backend::saying("x");
    let config = one_user(&[&backend], "ip_filters: {allow_list: [1.1.1.1]}");
    let header = "-httpRealIPHeader=X-Forwarded-For";
    let proxy = Vmauth::start(&config, &[header, "-http.trustedProxies=127.0.0.1,10.0.0.0/8"]);
    let mut client = proxy.client();
    assert_eq!(status(&mut client, "/", &[AUTH, "X-Forwarded-For: 9.9.9.9, 1.1.1.1, 10.1.2.3"]), 200);
    assert_eq!(status(&mut client, "/", &[AUTH, "X-Forwarded-For: 1.1.1.1, 9.9.9.9, 10.1.2.3"]), 403);
    let proxy = Vmauth::start(&config, &[header, "-http.trustedProxies=10.0.0.0/8"]);
    assert_eq!(status(&mut proxy.client(), "/", &[AUTH, "X-Forwarded-For: 1.1.1.1"]), 403);
}

#[test]
fn filters_of_the_top_level_guard_built_in_pages_but_not_probes() {
    let backend = Backend::saying("x");
    let config = format!("{}ip_filters: {{deny_list: [127.0.0.1]}}\n", one_user(&[&backend], ""));
    let proxy = Vmauth::start(&config, &[]);
    for path in ["/metrics", "/flags", "/debug/pprof/cmdline", "/-/reload", "/", "/healthx"] {
        assert_eq!(status(&mut proxy.client(), path, &[AUTH]), 403, "{path}");
    }
    assert_eq!(status(&mut proxy.client(), "/health", &[]), 200);
    assert_eq!(status(&mut proxy.client(), "/-/ready", &[]), 200);
    // A listener of its own for operators is not the clients' business.
    let proxy = Vmauth::start(&config, &["-httpInternalListenAddr=127.0.0.1:0"]);
    assert_eq!(status(&mut proxy.client(), "/health", &[]), 403, "proxied on the public listener");
}
