//! The access log: one line a request, with the status the client got, whatever way the request ended.

use testkit::{Backend, Reply, Step, eventually};

use crate::vmauth::{AUTH, Vmauth, one_user};

#[test]
fn each_kind_of_end_leaves_exactly_one_line() {
    let backend = Backend::with(|request| match request.target.as_str() {
        "/404" => Reply::message(404, &[], "none"),
        "/503" => Reply::message(503, &[], "busy"),
        "/eof" => Reply::nothing().then(Step::Close),
        "/retried" if request.connection % 2 == 0 => Reply::nothing().then(Step::Reset),
        _ => Reply::ok("ok"),
    });
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    for (target, status) in [("/200?a=b", 200), ("/404", 404), ("/503", 503), ("/eof", 502), ("/retried", 200)] {
        let got = proxy.client().get(target, &[AUTH, "User-Agent: ua \"q\"", "Referer: http://r/"]);
        assert_eq!(got.status, status, "{target}: {got:?}");
        proxy.expect_access(target, status);
    }
    let line = proxy.program.matching(0, "request_uri=\"/200?a=b\"").remove(0);
    for field in [
        "access_log request_host=\"test\" request_uri=\"/200?a=b\" status_code=200 remote_addr=\"127.0.0.1:",
        " user_agent=\"ua \\\"q\\\"\" referer=\"http://r/\" duration_ms=",
        " username=\"u\"",
    ] {
        assert!(line.contains(field), "no {field:?} in {line:?}");
    }
}

#[test]
fn a_missing_route_leaves_one_line() {
    let backend = Backend::saying("ok");
    let config = format!(
        "users:\n- username: u\n  password: p\n  access_log: {{}}\n  url_map:\n  - src_paths: [\"/sentinel\"]\n    url_prefix: \"{}\"\n",
        backend.url()
    );
    let proxy = Vmauth::start(&config, &[]);
    let reply = proxy.client().get("/nowhere", &[AUTH]).expect(400);
    assert!(reply.text().starts_with("user u missing route for \""), "{:?}", reply.text());
    proxy.expect_access("/nowhere", 400);
    proxy.expect_metrics(&[("reason.missing_route", 1.0), ("user.request_errors_total", 0.0)]);
    assert_eq!(backend.requests().iter().filter(|r| r.target == "/nowhere").count(), 0);
}

#[test]
fn broken_http_leaves_none() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.send("GET /bad HTTP/1.1\r\n\r\n");
    client.reply().expect(400);
    proxy.client().get("/good", &[AUTH]).expect(200);
    proxy.program.wait_log(0, "request_uri=\"/good\"");
    assert_eq!(proxy.program.matching(0, "/bad").len(), 0, "{}", proxy.program.log_text());
}

#[test]
fn what_a_client_sends_cannot_forge_a_line() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let agent = "User-Agent: a\" status_code=200 username=\"root\x7f\u{80}";
    let mut client = proxy.client();
    let _ = client.get("/x", &[AUTH, agent]);
    let mut client = proxy.client();
    client.get("/x%0aaccess_log%20forged", &[AUTH, "Referer: \"\\"]).expect(200);
    proxy.program.wait_log(0, "forged");
    let forged = |line: &String| line.starts_with("access_log") || line.contains(" username=\"root");
    assert_eq!(proxy.program.lines_since(0).iter().filter(|line| forged(line)).count(), 0);
}

#[test]
fn a_busy_proxy_loses_none_of_few_lines() {
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &["-workers=2"]);
    let address = proxy.address;
    let clients: Vec<_> = (0..8)
        .map(|n| {
            std::thread::spawn(move || {
                let mut client = testkit::Client::connect(address);
                for i in 0..25 {
                    client.get(&format!("/c{n}-{i}."), &[AUTH]).expect(200);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|c| c.join().expect("a client"));
    eventually("200 lines", || {
        let lines = proxy.program.matching(0, "access_log ").len();
        if lines == 200 { Ok(()) } else { Err(lines) }
    });
    for n in 0..8 {
        for i in 0..25 {
            assert_eq!(proxy.program.matching(0, &format!("\"/c{n}-{i}.\"")).len(), 1);
        }
    }
}

#[test]
fn in_json_each_message_is_one_record() {
    let backend = Backend::saying("ok");
    let good = one_user(&[&backend], "");
    let proxy = Vmauth::start(&good, &["-loggerFormat=json"]);
    proxy.client().get("/x?a=\"", &[AUTH, "User-Agent: \"\\"]).expect(200);
    proxy.client().get("/y", &["Authorization: Basic dTp3cm9uZw=="]).expect(401);
    proxy.reload("users:\n- username: u\n- nonsense: 1\n", "failed to load auth config");
    proxy.reload(&format!("{good}#\n"), "loaded information about");
    let mut messages = Vec::new();
    for line in proxy.program.lines_since(0) {
        let record: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let fields: Vec<_> = record.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(fields, ["caller", "level", "msg", "ts"], "{line}");
        messages.push(record["msg"].as_str().expect("a text").to_owned());
    }
    for part in ["access_log request_host=", "login failed: wrong password", "users[1]"] {
        assert!(messages.iter().any(|message| message.contains(part)), "{part}: {messages:#?}");
    }
    let problems: Vec<_> = messages.iter().filter(|message| message.contains("users[")).collect();
    assert!(
        problems.len() >= 2 && problems.iter().all(|problem| !problem.contains('\n')),
        "a record each: {problems:#?}"
    );
}
