//! Which backend gets what: weights, and the policy for caches.

use std::collections::BTreeSet;

use testkit::Backend;

use crate::status::{internal, state};
use crate::vmauth::{AUTH, Vmauth, user_of_urls};

fn weighted(backends: &[(&Backend, u16)], extra: &str) -> String {
    let items: Vec<_> =
        backends.iter().map(|(backend, weight)| format!("{{url: \"{}\", weight: {weight}}}", backend.url())).collect();
    user_of_urls(&items.join(", "), extra)
}

fn seen(backends: &[&Backend]) -> Vec<usize> {
    backends.iter().map(|backend| backend.request_count()).collect()
}

#[test]
fn requests_go_round_by_weight_and_not_to_who_is_drained() {
    let (big, small, drained) = (Backend::saying("big"), Backend::saying("small"), Backend::saying("drained"));
    let config = weighted(&[(&drained, 0), (&big, 3), (&small, 1)], "");
    let proxy = Vmauth::start(&config, &["-httpInternalListenAddr=127.0.0.1:0", "-failTimeout=1h"]);
    let mut client = proxy.client();
    (0..8).for_each(|_| drop(client.get("/", &[AUTH]).expect(200)));
    assert_eq!(seen(&[&drained, &big, &small]), [0, 6, 2]);
    let shown = state(internal(&proxy));
    let weights: Vec<_> = (0..3).map(|at| &shown["users"]["items"][0]["routes"][0]["backends"][at]["weight"]).collect();
    assert_eq!(weights, [0, 3, 1], "{shown}");
    // It is no last resort: who is drained may be gone at any time.
    big.refuse();
    small.refuse();
    proxy.client().get("/", &[AUTH]).expect(502);
    assert_eq!(drained.request_count(), 0);
    // A reload lets it in, and keeps what is not changed.
    proxy.reload(&weighted(&[(&drained, 1), (&big, 0), (&small, 0)], ""), "loaded information about 1 users");
    testkit::eventually("the new weights", || {
        let reply = proxy.client().get("/", &[AUTH]);
        if reply.status == 200 { Ok(()) } else { Err(reply.status) }
    });
    assert!(drained.request_count() > 0);
}

/// Which of the backends has got one more request than before.
fn taker(backends: &[&Backend], ask: impl FnOnce()) -> usize {
    let before = seen(backends);
    ask();
    let after = seen(backends);
    let grown: Vec<_> = (0..backends.len()).filter(|at| after[*at] > before[*at]).collect();
    assert_eq!(grown.len(), 1, "{before:?} {after:?}");
    grown[0]
}

#[test]
fn equal_queries_go_to_the_same_backend_whatever_time_they_are_for() {
    let (a, b, c) = (Backend::saying("a"), Backend::saying("b"), Backend::saying("c"));
    let all = [&a, &b, &c];
    let urls = |order: [usize; 3]| order.map(|at| format!("\"{}\"", all[at].url())).join(", ");
    let policy = "load_balancing_policy: hash_query";
    let proxy = Vmauth::start(&user_of_urls(&urls([0, 1, 2]), policy), &["-failTimeout=1h"]);
    let get = |proxy: &Vmauth, query: &str, time: u32| {
        let target = format!("/api/v1/query_range?query={query}&start={time}&end={}&step=15", time + 60);
        taker(&all, || drop(proxy.client().get(&target, &[AUTH]).expect(200)))
    };
    let post = |query: &str, time: u32| {
        let form = format!("start={time}&step=15&query={query}");
        let headers = [AUTH, "Content-Type: application/x-www-form-urlencoded"];
        taker(&all, || {
            let mut client = proxy.client();
            client.request("POST", "/api/v1/query_range", &headers, Some(form.as_bytes()));
            client.reply().expect(200);
        })
    };
    let queries: Vec<_> = (0..12).map(|n| format!("metric_{n}")).collect();
    let homes: Vec<_> = queries.iter().map(|query| get(&proxy, query, 1000)).collect();
    let used: BTreeSet<_> = homes.iter().collect();
    assert!(used.len() > 1, "all queries at one backend: {homes:?}");
    for (query, home) in queries.iter().zip(&homes) {
        assert_eq!((get(&proxy, query, 2000), post(query, 3000)), (*home, *home), "{query}");
    }
    // Another process with another order of the list agrees.
    let other = Vmauth::start(&user_of_urls(&urls([2, 0, 1]), policy), &[]);
    queries.iter().zip(&homes).for_each(|(query, home)| assert_eq!(get(&other, query, 4000), *home, "{query}"));
    // What one backend had goes to others while it is away, and nothing else moves.
    let away = homes[0];
    all[away].refuse();
    for (query, home) in queries.iter().zip(&homes) {
        let now = get(&proxy, query, 5000);
        assert!(if *home == away { now != away } else { now == *home }, "{query}: {home} {now}");
    }
}
