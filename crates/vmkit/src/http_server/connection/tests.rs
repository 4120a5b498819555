use testkit::client::Client;
use tokio::task::{LocalSet, spawn_blocking};

use super::super::ServerOptions;
use super::super::test_rig::{Told, connected, context, listener, options};
use super::*;

/// What a test does as the client. The clock of the server stands still meanwhile.
type Act = fn(&mut Client);

/// Serves one connection until it ends; returns its client, how long it took by the clock of the server, and what the
/// connections share.
async fn serve_one(options: ServerOptions, listener: Listener, act: Act) -> (Client, Duration, Rc<Context<Told>>) {
    let context = Rc::new(context(options, Told::new().0));
    let (mut client, stream, addr) = connected();
    let stream = TcpStream::from_std(stream).unwrap();
    let serving = serve(stream, addr, Arc::new(listener), context.clone(), Rc::default());
    let acting = spawn_blocking(move || {
        act(&mut client);
        client
    });
    let started = Instant::now();
    let local = LocalSet::new();
    let (acted, ()) = local.run_until(async { tokio::join!(acting, serving) }).await;
    (acted.unwrap(), started.elapsed(), context)
}

async fn serve_plain(options: ServerOptions, act: Act) -> (Client, Duration, Rc<Context<Told>>) {
    serve_one(options, listener().0, act).await
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_in_time_ends_the_connection() {
    let acts: [Act; 2] = [|_| {}, |client| client.send("GET / HTTP/1.1\r\nHost: te")];
    for act in acts {
        let (mut client, took, context) = serve_plain(options(), act).await;
        client.expect_closed();
        assert!(took >= HEAD_TIMEOUT && took < 2 * HEAD_TIMEOUT, "{took:?}");
        assert_eq!(context.shared.metrics.requests_all.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_after_its_time() {
    let limit = Duration::from_secs(20);
    let options = ServerOptions { idle_conn_timeout: limit, ..options() };
    let (mut client, took, _) = serve_plain(options, |client| drop(client.get("/", &[]).expect(200))).await;
    client.expect_closed();
    assert!(took >= limit && took < limit + HEAD_TIMEOUT, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_later_head_that_has_begun_has_the_time_of_a_head_and_not_of_an_idle_connection() {
    let act: Act = |client| {
        client.get("/", &[]).expect(200);
        client.send("G");
    };
    let (mut client, took, _) = serve_plain(options(), act).await;
    client.expect_closed();
    assert!(took >= HEAD_TIMEOUT && took < 2 * HEAD_TIMEOUT, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_after_its_reply_when_keep_alive_is_off() {
    let act: Act = |client| {
        let reply = client.get("/", &[]).expect(200);
        assert_eq!(reply.fields.get("Connection"), Some("close"));
        client.expect_closed();
    };
    serve_plain(ServerOptions { disable_keep_alive: true, ..options() }, act).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_one_request_after_another() {
    let act: Act = |client| {
        for _ in 0..3 {
            assert_eq!(client.get("/", &[]).expect(200).fields.get("Connection"), None);
        }
        client.half_close();
        client.expect_closed();
    };
    let (_, _, context) = serve_plain(options(), act).await;
    assert_eq!(context.shared.metrics.requests_all.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_closed_after_its_reply() {
    let context = Rc::new(context(ServerOptions { conn_timeout: Duration::from_secs(10), ..options() }, Told::new().0));
    let (mut client, stream, addr) = connected();
    let stream = TcpStream::from_std(stream).unwrap();
    let serving = serve(stream, addr, Arc::new(listener().0), context.clone(), Rc::default());
    let acting = async {
        let act = spawn_blocking(move || {
            assert_eq!(client.get("/", &[]).expect(200).fields.get("Connection"), None);
            client
        });
        let mut client = act.await.unwrap();
        // Ten seconds and a tenth at most.
        tokio::time::advance(Duration::from_secs(12)).await;
        let act = spawn_blocking(move || {
            assert_eq!(client.get("/", &[]).expect(200).fields.get("Connection"), Some("close"));
            client.expect_closed();
        });
        act.await.unwrap();
    };
    LocalSet::new().run_until(async { tokio::join!(serving, acting) }).await;
    assert_eq!(context.shared.metrics.conn_timeout_closed.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_malformed_request_is_refused_and_ends_the_connection() {
    let act: Act = |client| {
        client.send("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n");
        let reply = client.reply().expect(400);
        assert_eq!(reply.text(), "400 Bad Request: missing required Host header");
        client.expect_closed();
    };
    let (_, _, context) = serve_plain(options(), act).await;
    let metrics = &context.shared.metrics;
    assert_eq!((metrics.malformed_requests.total(), metrics.requests_all.get()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_header_comes_first_and_in_time_or_not_at_all() {
    let serve = async |act: Act| {
        let listener = Listener { proxy_protocol: true, ..listener().0 };
        serve_one(options(), listener, act).await
    };
    let (_, _, context) = serve(|client| {
        client.send("PROXY TCP4 192.0.2.7 192.0.2.1 7 80\r\n");
        client.get("/", &[]).expect(200);
        client.half_close();
    })
    .await;
    assert_eq!(context.shared.metrics.requests_all.get(), 1);
    let (_, _, context) = serve(|client| {
        // As many bytes as tell the versions apart: what is left unread would reset the connection.
        client.send("GET / HTTP/1");
        assert_eq!(client.reply().expect(400).text(), "400 Bad Request");
        client.expect_closed();
    })
    .await;
    assert_eq!(context.shared.metrics.requests_all.get(), 0);
    let (mut client, took, _) = serve(|client| client.send("PROXY TCP4 192.0")).await;
    client.expect_closed();
    assert!(took >= HEAD_TIMEOUT && took < 2 * HEAD_TIMEOUT, "{took:?}");
}

#[test]
fn jitter_adds_at_most_a_tenth() {
    for _ in 0..100 {
        let age = with_jitter(Duration::from_secs(30));
        assert!(age >= Duration::from_secs(30) && age <= Duration::from_secs(33), "{age:?}");
    }
    assert_eq!(with_jitter(Duration::ZERO), Duration::ZERO);
}
