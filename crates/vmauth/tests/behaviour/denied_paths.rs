//! `deny_paths` of users and of entries: what is denied stays denied, however the path is written.

use testkit::Backend;

use crate::vmauth::{AUTH, Vmauth, one_user};

const BASIC_V: &str = "Authorization: Basic djpw";

/// The user `u` is denied as a whole, the user `v` by an entry in front of others, and so is the anonymous user.
fn config(backend: &Backend) -> String {
    let map = format!(
        "  url_map:\n  - src_paths: [\"/api/.*\"]\n    deny_paths: [\"/api/admin\", \"/api/admin/.*\"]\n    \
         url_prefix: {url}/api/\n  - src_paths: [\"/.*\"]\n    url_prefix: {url}/other/\n  default_url: {url}/default/\n",
        url = backend.url()
    );
    let denied = one_user(&[backend], "deny_paths: [\"/api/admin\", \"/api/admin/.*\"]");
    format!("{denied}- username: v\n  password: p\n{map}unauthorized_user:\n{map}")
}

const DENIED: [&str; 10] = [
    "/api/admin",
    "/api/admin/",
    "/api/admin/users/7",
    "/api/admin/users/7%0A",
    "/api/admin/%0a",
    "/api/admin/%0Ausers",
    "/api/admin/users%0D%0A/7",
    "/api/%61dmin/x",
    "/api/x/..//admin/./x",
    "/api%2Fadmin%2Fx",
];

#[test]
fn a_denied_path_is_refused_however_it_is_written() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&config(&backend), &[]);
    for path in DENIED {
        for credentials in [AUTH, BASIC_V] {
            proxy.client().get(path, &[credentials]).expect(403);
        }
        let reply = proxy.client().get(path, &[]).expect(401);
        assert!(reply.fields.get("WWW-Authenticate").is_some(), "{path}");
    }
    assert_eq!(backend.request_count(), 0, "a denied request reached the backend");
    for path in ["/api/administrator", "/api/x", "/other"] {
        for credentials in [&[AUTH][..], &[BASIC_V], &[]] {
            proxy.client().get(path, credentials).expect(200);
        }
    }
}

#[test]
fn an_entry_denies_only_what_it_matches_and_nothing_falls_through() {
    let backend = Backend::saying("ok");
    let config = format!(
        "unauthorized_user:\n  url_map:\n  - src_paths: [\"/a/.*\"]\n    src_hosts: [\"one\"]\n    deny_paths: [\".*/x\"]\n    \
         url_prefix: {url}/one/\n  - src_paths: [\"/a/.*\"]\n    url_prefix: {url}/two/\n  url_prefix: {url}/default/\n",
        url = backend.url()
    );
    let proxy = Vmauth::start(&config, &[]);
    let get = |host: &str, path: &str| {
        let mut client = proxy.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.reply()
    };
    // Nobody could log in here, so nobody is asked to.
    get("one", "/a/x").expect(403);
    get("one", "/a/y").expect(200);
    get("two", "/a/x").expect(200);
    get("one", "/b/x").expect(200);
    let targets: Vec<_> = backend.requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(targets, ["/one/a/y", "/two/a/x", "/default/b/x"]);
}

#[test]
fn a_path_with_a_line_feed_takes_the_route_of_its_neighbours() {
    let backend = Backend::saying("ok");
    let config = format!(
        "unauthorized_user:\n  url_map:\n  - src_paths: [\"/tenant/.*\"]\n    url_prefix: {url}/tenant1/\n  \
         url_prefix: {url}/everything/\n",
        url = backend.url()
    );
    let proxy = Vmauth::start(&config, &[]);
    for path in ["/tenant/x%0A", "/tenant/%0Ax", "/tenant/a%0Ab"] {
        proxy.client().get(path, &[]).expect(200);
    }
    assert!(
        backend.requests().iter().all(|request| request.target.starts_with("/tenant1/")),
        "{:?}",
        backend.requests()
    );
}
