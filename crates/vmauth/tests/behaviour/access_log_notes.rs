//! What the access log tells beyond upstream's fields: which backend, after which failures, how long, how it ended.

use testkit::{Backend, Reply, Step, eventually};

use crate::vmauth::{AUTH, Vmauth, one_user};

/// The value of a field of the one line of this target.
#[track_caller]
fn field(proxy: &Vmauth, target: &str, name: &str) -> Option<String> {
    let mark = format!("request_uri=\"{target}\"");
    proxy.program.wait_log(0, &mark);
    let lines: Vec<_> =
        proxy.program.matching(0, &mark).into_iter().filter(|line| line.contains("access_log")).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let rest = lines[0].split_once(&format!(" {name}="))?.1.to_owned();
    let value = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').map(|(value, _)| value.to_owned()),
        None => rest.split(' ').next().map(str::to_owned),
    };
    value.map(|value| value.trim_end().to_owned())
}

#[track_caller]
fn expect(proxy: &Vmauth, target: &str, want: &[(&str, &str)]) {
    for (name, want) in want {
        assert_eq!(field(proxy, target, name).as_deref(), Some(*want), "{name} of {target}");
    }
}

fn millis(proxy: &Vmauth, target: &str, name: &str) -> f64 {
    field(proxy, target, name).expect("the field").parse().expect("a number")
}

#[test]
fn a_plain_reply_names_backend_bytes_and_phases() {
    let backend = Backend::saying("hello");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.request("POST", "/x", &[AUTH], Some(b"1234567"));
    client.reply().expect(200);
    let address = backend.address().to_string();
    expect(&proxy, "/x", &[("ended", "complete"), ("backend", &address), ("attempts", "1")]);
    expect(&proxy, "/x", &[("request_bytes", "7"), ("response_bytes", "5")]);
    assert!(field(&proxy, "/x", "reason").is_none() && field(&proxy, "/x", "failures").is_none());
    let sum: f64 = ["queue_ms", "connect_ms", "first_byte_ms"].map(|name| millis(&proxy, "/x", name)).iter().sum();
    assert!(millis(&proxy, "/x", "connect_ms") > 0.0 && sum < 60_000.0);
    client.get("/again", &[AUTH]).expect(200);
    assert_eq!(millis(&proxy, "/again", "connect_ms"), 0.0, "the connection was there");
}

#[test]
fn failed_attempts_are_named_one_by_one() {
    let dead = Backend::saying("never");
    let slow = Backend::with(|_| Reply::nothing().then(Step::Close));
    let good = Backend::saying("ok");
    dead.refuse();
    let proxy = Vmauth::start(&one_user(&[&dead, &slow, &good], "load_balancing_policy: first_available"), &[]);
    proxy.client().get("/x", &[AUTH]).expect(200);
    expect(&proxy, "/x", &[("attempts", "3"), ("backend", &good.address().to_string()), ("ended", "complete")]);
    let failures = field(&proxy, "/x", "failures").expect("failures");
    let (first, second) = failures.split_once("; ").expect("two failures");
    assert!(first.starts_with(&format!("{}: dial tcp4 ", dead.address())) && first.contains("connection refused"));
    assert!(second.starts_with(&format!("{}: ", slow.address())), "{second}");
    // Warnings and line of one request have the same id.
    let id = field(&proxy, "/x", "request_id").expect("an id");
    assert_eq!(id.len(), 32);
    let warnings = format!("; request_id=\"{id}\"");
    // They come through another queue than the access log.
    eventually("both warnings", || {
        let found = proxy.program.matching(0, &warnings).len();
        if found == 2 { Ok(()) } else { Err(found) }
    });
}

#[test]
fn ends_are_told_apart() {
    let backend = Backend::with(|request| match request.target.as_str() {
        "/cut" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").then(Step::Close),
        "/none" => Reply::nothing().then(Step::Close),
        _ => Reply::ok("ok"),
    });
    let config = format!(
        "users:\n- username: u\n  password: p\n  access_log: {{}}\n  deny_paths: [/denied]\n  url_map:\n  - src_paths: [/cut, \
         /none, /denied]\n    url_prefix: \"{}\"\n",
        backend.url()
    );
    let proxy = Vmauth::start(&config, &[]);
    let mut client = proxy.client();
    client.request("GET", "/cut", &[AUTH], None);
    client.read_to_end();
    proxy.client().get("/none", &[AUTH]).expect(502);
    proxy.client().get("/denied", &[AUTH]).expect(403);
    proxy.client().get("/nowhere", &[AUTH]).expect(400);
    expect(&proxy, "/cut", &[("ended", "backend"), ("reason", "broken_reply"), ("response_bytes", "4")]);
    expect(&proxy, "/none", &[("ended", "failed"), ("reason", "all_backends_failed"), ("attempts", "1")]);
    expect(&proxy, "/denied", &[("ended", "refused"), ("reason", "path_denied"), ("attempts", "0")]);
    expect(&proxy, "/nowhere", &[("ended", "refused"), ("reason", "missing_route")]);
    proxy.expect_metrics(&[
        ("vmauth_http_cut_responses_total{by=\"backend\"}", 1.0),
        ("vmauth_http_responses_total{code=\"502\"}", 1.0),
        ("user.path_denies_total", 1.0),
    ]);
}

#[test]
fn ids_of_clients_are_taken_over_and_passed_on_if_wanted() {
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let seen = |backend: &Backend, nth: usize| {
        backend.requests()[nth].fields.all("X-Request-ID").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    proxy.client().get("/given", &[AUTH, "X-Request-ID: abc-1", trace]).expect(200);
    proxy.client().get("/none", &[AUTH]).expect(200);
    expect(&proxy, "/given", &[("request_id", "abc-1"), ("trace_id", "0af7651916cd43dd8448eb211c80319c")]);
    assert_eq!(backend.requests()[0].fields.all("traceparent").len(), 1);
    assert_eq!((seen(&backend, 0), seen(&backend, 1)), (vec!["abc-1".to_owned()], vec![]));

    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-requestIDHeader=X-Request-ID"]);
    proxy.client().get("/given", &[AUTH, "X-Request-ID: abc-1"]).expect(200);
    proxy.client().get("/none", &[AUTH]).expect(200);
    proxy.client().get("/odd", &[AUTH, "X-Request-ID: a b"]).expect(200);
    assert_eq!(seen(&backend, 0), ["abc-1"]);
    for (nth, target) in [(1, "/none"), (2, "/odd")] {
        let id = field(&proxy, target, "request_id").expect("an id");
        assert_eq!((id.len(), seen(&backend, nth)), (32, vec![id]));
    }
}
