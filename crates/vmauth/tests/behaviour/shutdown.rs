//! Graceful shutdown: what is in flight ends well, what is stuck is cut in time, and the exit code says which it was.

use std::time::{Duration, Instant};

use testkit::client::End;
use testkit::wire::chunk;
use testkit::{Backend, Client, Gate, PATIENCE, Reply, Signal, Step, eventually};

use crate::vmauth::{AUTH, Vmauth, one_user};

#[track_caller]
fn expect_exit(proxy: &mut Vmauth, code: i32) {
    let exit = proxy.program.wait_exit(PATIENCE);
    assert_eq!(exit, Some(code), "exit code; the log:\n{}", proxy.program.log_text());
}

#[test]
fn an_idle_process_stops_at_once() {
    let backend = Backend::saying("ok");
    let mut proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut idle = proxy.client();
    idle.get("/", &[AUTH]).expect(200);
    let _silent = proxy.client();
    let start = Instant::now();
    proxy.program.signal(Signal::Term);
    idle.expect_closed();
    expect_exit(&mut proxy, 0);
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
    let log = proxy.program.lines_since(0).join("\n");
    for line in [
        "received signal terminated",
        "gracefully shutting down webservice at",
        "successfully shut down the webservice in ",
        "successfully stopped vmauth in ",
    ] {
        assert!(log.contains(line), "no {line:?} in the log:\n{log}");
    }
    backend.wait_open(0);
}

#[test]
fn a_request_in_flight_is_finished() {
    let gate = Gate::new();
    let backend = Backend::replying(Reply::ok("finished").after(&gate));
    let mut proxy = Vmauth::start(&one_user(&[&backend], ""), &["-workers=2"]);
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH], None);
    backend.wait_for(1);
    proxy.program.signal(Signal::Int);
    proxy.program.wait_log(0, "received signal interrupt");
    eventually("new connections are refused", || match Client::try_connect(proxy.address) {
        Err(_) => Ok(()),
        Ok(_) => Err("still accepted"),
    });
    gate.open();
    let reply = client.reply().expect(200);
    assert_eq!(reply.text(), "finished");
    assert!(reply.fields.has_token("Connection", "close"), "{:?}", reply.fields);
    client.expect_closed();
    expect_exit(&mut proxy, 0);
    // The access log is written out before the end.
    let lines = proxy.program.matching(0, "access_log");
    assert!(lines.len() == 1 && lines[0].contains("status_code=200"), "{lines:#?}");
}

#[test]
fn a_streaming_body_is_finished() {
    let gate = Gate::new();
    let backend = Backend::replying(
        Reply::chunked_head(200, &[])
            .then(Step::Send(chunk(b"head")))
            .then(Step::Wait(gate.clone()))
            .then(Step::Send(chunk(b"tail")))
            .send("0\r\n\r\n"),
    );
    let mut proxy = Vmauth::start(&one_user(&[&backend], ""), &["-http.disableResponseCompression"]);
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH], None);
    let mut reply = client.reply_head();
    proxy.program.signal(Signal::Term);
    proxy.program.wait_log(0, "gracefully shutting down");
    gate.open();
    client.rest_of(&mut reply);
    assert_eq!((reply.text().as_str(), reply.end), ("headtail", End::Complete));
    client.expect_closed();
    expect_exit(&mut proxy, 0);
}

#[test]
fn a_stuck_request_is_cut_before_the_limit() {
    let backend = Backend::replying(Reply::nothing().then(Step::AwaitPeer));
    let flags = ["-http.maxGracefulShutdownDuration=4s"];
    let mut proxy = Vmauth::start(&one_user(&[&backend], ""), &flags);
    let mut client = proxy.client();
    client.request("GET", "/x", &[AUTH], None);
    backend.wait_for(1);
    let start = Instant::now();
    proxy.program.signal(Signal::Term);
    let reply = client.reply();
    let cut = start.elapsed();
    // Never an empty 200: that would tell the client that all is well.
    assert!(matches!(reply.status, 0 | 503), "{reply:?}");
    assert!(cut >= Duration::from_millis(2500) && cut < Duration::from_secs(20), "cut after {cut:?}");
    expect_exit(&mut proxy, 255);
    proxy.program.wait_log(0, "context deadline exceeded: 1 connection with an unfinished request was cut");
    backend.wait_open(0);
    assert_eq!(proxy.program.matching(0, "request_uri=\"/x\"").len(), 1, "{}", proxy.program.log_text());
}

#[test]
fn a_stuck_body_is_cut_visibly() {
    let backend =
        Backend::replying(Reply::chunked_head(200, &[]).then(Step::Send(chunk(b"part"))).then(Step::AwaitPeer));
    let flags = ["-http.maxGracefulShutdownDuration=3s", "-http.disableResponseCompression"];
    let mut proxy = Vmauth::start(&one_user(&[&backend], ""), &flags);
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH], None);
    let mut reply = client.reply_head();
    proxy.program.signal(Signal::Term);
    client.rest_of(&mut reply);
    assert!(matches!(reply.end, End::Eof | End::Reset), "a cut body must not look complete: {reply:?}");
    let code = proxy.program.wait_exit(PATIENCE);
    assert_eq!(code, Some(255), "{}", proxy.program.log_text());
    backend.wait_open(0);
}

#[test]
fn a_second_signal_stops_at_once() {
    let backend = Backend::replying(Reply::nothing().then(Step::AwaitPeer));
    let flags = ["-http.maxGracefulShutdownDuration=1m"];
    let mut proxy = Vmauth::start(&one_user(&[&backend], ""), &flags);
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH], None);
    backend.wait_for(1);
    proxy.program.signal(Signal::Term);
    proxy.program.wait_log(0, "received signal terminated");
    proxy.program.signal(Signal::Term);
    let exit = proxy.program.wait_exit(PATIENCE / 2);
    assert!(exit.is_some_and(|code| code != 0), "exit {exit:?}; the log:\n{}", proxy.program.log_text());
}

#[test]
fn the_delay_lets_balancers_turn_away() {
    let backend = Backend::saying("ok");
    let mut proxy = Vmauth::start(&one_user(&[&backend], ""), &["-http.shutdownDelay=5s"]);
    let mut client = proxy.client();
    assert_eq!(client.get("/health", &[]).expect(200).text(), "OK");
    proxy.program.signal(Signal::Term);
    eventually("/health says so", || {
        let reply = proxy.client().get("/health", &[]);
        let text = reply.text();
        if reply.status == 503 && text.starts_with("The server is in delayed shutdown mode, which will end in ") {
            Ok(())
        } else {
            Err((reply.status, text))
        }
    });
    client.get("/", &[AUTH]).expect(200);
    proxy.client().get("/", &[AUTH]).expect(200);
    expect_exit(&mut proxy, 0);
}

#[test]
fn a_reload_signal_during_the_shutdown_is_harmless() {
    let gate = Gate::new();
    let backend = Backend::replying(Reply::ok("finished").after(&gate));
    let mut proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    let mut client = proxy.client();
    client.request("GET", "/", &[AUTH], None);
    backend.wait_for(1);
    proxy.program.signal(Signal::Term);
    proxy.program.wait_log(0, "received signal terminated");
    proxy.program.signal(Signal::Hup);
    gate.open();
    client.reply().expect(200);
    expect_exit(&mut proxy, 0);
}

/// A client that is told comes back through the balancer, instead of losing its next request.
#[test]
fn clients_are_told_that_the_end_is_near_during_the_shutdown_delay() {
    let backend = Backend::saying("ok");
    let mut proxy = Vmauth::start(&one_user(&[&backend], ""), &["-http.shutdownDelay=5s"]);
    let mut kept = proxy.client();
    let reply = kept.get("/", &[AUTH]).expect(200);
    assert!(!reply.fields.has_token("Connection", "close"), "{:?}", reply.fields);
    proxy.program.signal(Signal::Term);
    proxy.program.wait_log(0, "before shutdown of http server");
    for mut client in [kept, proxy.client()] {
        let reply = client.get("/", &[AUTH]).expect(200);
        assert!(reply.fields.has_token("Connection", "close"), "{:?}", reply.fields);
        client.expect_closed();
    }
    expect_exit(&mut proxy, 0);
}
