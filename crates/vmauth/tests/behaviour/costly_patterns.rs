//! Patterns that need much time a byte: no request can hold a worker with them, and none takes a route by mistake.

use testkit::Backend;

use crate::vmauth::Vmauth;

/// Letters in no order, so that a lazy automaton meets a new state at each.
fn letters(length: usize) -> String {
    let mut seed = 1u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b"abcdefgh"[(seed >> 29) as usize])
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn a_long_path_against_a_costly_pattern_is_refused_with_414() {
    let backend = Backend::saying("ok");
    let config = format!(
        "unauthorized_user:\n  url_map:\n  - src_paths: [\"/[a-z]+/.*[ab][a-z/]{{0,250}}/[0-9]+\"]\n    url_prefix: {url}/costly/\n  \
         - src_query_args: [\"q=~.*[ab][a-z]{{0,250}}1\"]\n    url_prefix: {url}/arg/\n  \
         - src_paths: [\"/plain/.*\"]\n    url_prefix: {url}/plain/\n",
        url = backend.url()
    );
    let proxy = Vmauth::start(&config, &[]);
    for target in [format!("/x/{}/5", letters(900_000)), format!("/plain/?q={}1", letters(900_000))] {
        let reply = proxy.client().get(&target, &[]).expect(414);
        assert!(reply.text().contains("too long for the patterns"), "{}", reply.text());
    }
    assert_eq!(backend.request_count(), 0);
    for (target, want) in [
        (format!("/x/{}/5", letters(100)), "/costly/"),
        (format!("/plain/?q={}1", letters(100)), "/arg/"),
        (format!("/plain/{}", "long/".repeat(10_000)), "/plain/"),
    ] {
        let before = backend.request_count();
        proxy.client().get(&target, &[]).expect(200);
        assert!(backend.wait_for(before + 1).target.starts_with(want), "{want}");
    }
}

#[test]
fn a_path_that_cannot_be_decided_is_denied() {
    let backend = Backend::saying("ok");
    let config = format!(
        "unauthorized_user:\n  deny_paths: [\"/[a-z]+/.*[ab][a-z/]{{0,250}}/[0-9]+\"]\n  url_prefix: {}\n",
        backend.url()
    );
    let proxy = Vmauth::start(&config, &[]);
    proxy.client().get(&format!("/x/{}/5", letters(900_000)), &[]).expect(403);
    proxy.client().get(&format!("/x/{}/5", letters(100)), &[]).expect(403);
    proxy.client().get(&format!("/x/{}/", letters(100)), &[]).expect(200);
    assert_eq!(backend.request_count(), 1);
}
