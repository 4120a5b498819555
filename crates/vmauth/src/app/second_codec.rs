//! The proof of the seam: a protocol that no stage has heard of, on both sides of the real proxy.
//!
//! Client and backend multiplex exchanges over one connection each; server, workers, authentication, routing, rewriting
//! and pool are those of the program.

mod codec;
mod frames;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use vmkit::env_template::Environment as Variables;
use vmkit::flags::FlagSet;
use vmkit::http_server::{Listener, Server, ServerMetrics, ServerOptions};
use vmkit::service::{Service, ServiceOptions};

use super::{App, Start};
use crate::options::Options;
use codec::Frames;
use frames::{Fields, Frame, Kind};

/// A message as the test's client or backend sees it.
#[derive(Debug, Default)]
struct Message {
    head: BTreeMap<String, String>,
    body: String,
    trailers: BTreeMap<String, String>,
}

fn texts(fields: Fields) -> BTreeMap<String, String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    fields.into_iter().map(|(name, value)| (text(name).to_ascii_lowercase(), text(value))).collect()
}

/// Reads frames until a message is whole; returns its stream.
async fn next_message(from: &mut OwnedReadHalf, begun: &mut BTreeMap<u32, Message>) -> (u32, Message) {
    loop {
        let frame = Frame::read(from).await.unwrap();
        let message = begun.entry(frame.stream).or_default();
        match frame.kind {
            Kind::Head => message.head = texts(frame.fields()),
            Kind::Data => message.body.push_str(str::from_utf8(&frame.payload).unwrap()),
            Kind::Trailers => message.trailers = texts(frame.fields()),
            Kind::End => {}
            Kind::Reset => panic!("stream {} was reset", frame.stream),
        }
        if matches!(frame.kind, Kind::Trailers | Kind::End) {
            return (frame.stream, begun.remove(&frame.stream).unwrap());
        }
    }
}

fn fields(stream: u32, kind: Kind, list: &[(&str, &str)]) -> Vec<u8> {
    Frame::of_fields(stream, kind, list.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))).to_bytes()
}

fn data(stream: u32, text: &str) -> Vec<u8> {
    Frame { stream, kind: Kind::Data, payload: text.as_bytes().to_vec() }.to_bytes()
}

fn options() -> ServerOptions {
    ServerOptions {
        workers: 1,
        path_prefix: String::new(),
        disable_cors: false,
        disable_keep_alive: false,
        disable_compression: false,
        server_hostname: Some("front".to_owned()),
        security_headers: Default::default(),
        conn_timeout: Duration::ZERO,
        idle_conn_timeout: Duration::from_secs(60),
        write_limit: None,
        max_header_bytes: 1 << 20,
        http2: Default::default(),
        max_connections: 0,
        max_connections_per_address: 0,
        max_graceful_shutdown: Duration::from_secs(7),
        shutdown_delay: Duration::ZERO,
        gate: None,
        metrics_key: vmkit::flags::Password::new("metricsAuthKey", ""),
        flags_key: vmkit::flags::Password::new("flagsAuthKey", ""),
        pprof_key: vmkit::flags::Password::new("pprofAuthKey", ""),
        metrics_page: Arc::new(bytes::Bytes::new),
        tasks_page: Arc::new(bytes::Bytes::new),
        flags_page: String::new(),
        cmdline: String::new(),
        app_routes: Arc::default(),
        acme_answers: None,
    }
}

/// Starts the proxy with this config between clients and backends that speak frames.
async fn start(config: &str) -> (Server, SocketAddr, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.yml");
    std::fs::write(&path, config).unwrap();
    let app = crate::flags::app_info();
    let variables = Variables::from_process();
    let args = ["vmauth".to_owned(), format!("-auth.config={}", path.display())];
    let own: [&[vmkit::flags::FlagDef]; 1] = [crate::flags::TABLE];
    let table = [vmkit::service::flags::COMMON, &own].concat();
    let flags = FlagSet::parse(&table, &app, args, &variables).unwrap();
    let (service, options_) = (ServiceOptions::from_flags(&flags).unwrap(), Options::from_flags(&flags).unwrap());
    let start = Start { app, flags, service, options: options_, variables };
    let service = Service::open(&start).await.unwrap();
    let (app, _controller, _prober) = App::load(&start, &service).await.unwrap();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let addr = socket.local_addr().unwrap();
    let mut listener = Listener::new(socket, "127.0.0.1:0", None, service.registry.common());
    listener.codec = Some(Arc::new(Frames));
    let metrics = ServerMetrics::register(service.registry.common());
    let make_proxy = app.proxies(&start, &service, Some(Arc::new(Frames)));
    let server = Server::start(options(), vec![listener], metrics, Handle::current(), make_proxy).unwrap();
    (server, addr, dir)
}

#[tokio::test]
async fn two_exchanges_share_one_connection_on_both_sides() {
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!(
        "users:\n- username: u\n  password: p\n  url_prefix: http://{}/base\n  headers: ['X-Tenant: 7']\n",
        backend.local_addr().unwrap()
    );
    let (server, addr, _dir) = start(&config).await;
    let backend = tokio::spawn(async move {
        let (stream, _) = backend.accept().await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let mut begun = BTreeMap::new();
        let (stream, _) = next_message(&mut reader, &mut begun).await;
        let end = Frame { stream, kind: Kind::End, payload: Vec::new() }.to_bytes();
        writer.write_all(&[fields(stream, Kind::Head, &[(":status", "204")]), end].concat()).await.unwrap();
        // Nothing is answered before both requests are here, and then the second one first.
        let mut seen = [next_message(&mut reader, &mut begun).await, next_message(&mut reader, &mut begun).await];
        seen.sort_by_key(|(_, request)| request.body.clone());
        for (stream, request) in seen.iter().rev() {
            let trailers = [("x-sum", "9"), ("x-server_hostname", "evil"), ("content-type", "evil")];
            let reply = [
                fields(*stream, Kind::Head, &[(":status", "207"), ("x-echo", &request.body)]),
                data(*stream, "answer to "),
                data(*stream, &request.body),
                fields(*stream, Kind::Trailers, &trailers),
            ];
            writer.write_all(&reply.concat()).await.unwrap();
        }
        seen.map(|(_, request)| request)
    });
    let (mut reader, mut writer) = TcpStream::connect(addr).await.unwrap().into_split();
    let head = |stream: u32, auth: &str| {
        let target = format!("/path?n={stream}");
        let list = [
            (":method", "POST"),
            (":target", &target),
            (":authority", "front"),
            ("authorization", auth),
            ("x_tenant", "8"),
            ("trailer", "x-client, x-tenant"),
        ];
        fields(stream, Kind::Head, &list)
    };
    let user = "Basic dTpw";
    let mut begun = BTreeMap::new();
    let end = |stream: u32| Frame { stream, kind: Kind::End, payload: Vec::new() }.to_bytes();
    writer.write_all(&[head(9, user), end(9)].concat()).await.unwrap();
    assert_eq!(next_message(&mut reader, &mut begun).await.1.head.get(":status"), Some(&"204".to_owned()));
    let trailers = fields(1, Kind::Trailers, &[("x-client", "t"), ("x-tenant", "9"), ("x-unannounced", "u")]);
    for part in [head(1, user), head(2, user), data(1, "o"), data(2, "two"), end(2), data(1, "ne"), trailers] {
        writer.write_all(&part).await.unwrap();
    }
    for (want_stream, want_body) in [(2, "two"), (1, "one")] {
        let (stream, reply) = next_message(&mut reader, &mut begun).await;
        assert_eq!((stream, &reply.body[..]), (want_stream, &format!("answer to {want_body}")[..]));
        let found = |name: &str| reply.head.get(name).map(String::as_str);
        assert_eq!((found(":status"), found("x-echo")), (Some("207"), Some(want_body)));
        assert_eq!((found("x-server-hostname"), found("date").is_some()), (Some("front"), true));
        assert_eq!(reply.trailers, BTreeMap::from([("x-sum".to_owned(), "9".to_owned())]));
    }
    let requests = backend.await.unwrap();
    for (request, n) in requests.iter().zip([1, 2]) {
        let found = |name: &str| request.head.get(name).map(String::as_str);
        assert_eq!(found(":target"), Some(&format!("/base/path?n={n}")[..]));
        assert_eq!((found("x-tenant"), found("x_tenant"), found("user-agent")), (Some("7"), None, Some("vmauth")));
        assert_eq!(found("x-forwarded-for"), Some("127.0.0.1"));
        assert!(found("connection").is_none() && found("transfer-encoding").is_none() && found("host").is_none());
    }
    assert_eq!(requests[0].trailers, BTreeMap::from([("x-client".to_owned(), "t".to_owned())]));

    // A refusal on the same connection does not disturb it.
    writer.write_all(&head(3, "Basic")).await.unwrap();
    writer.write_all(&Frame { stream: 3, kind: Kind::Reset, payload: Vec::new() }.to_bytes()).await.unwrap();
    let health = [(":method", "GET"), (":target", "/health"), (":authority", "front")];
    writer.write_all(&[fields(4, Kind::Head, &health), end(4)].concat()).await.unwrap();
    loop {
        let frame = Frame::read(&mut reader).await.unwrap();
        if frame.stream == 4 && frame.kind == Kind::Data {
            assert_eq!(frame.payload, b"OK");
            break;
        }
    }
    drop((reader, writer));
    server.stop().await.unwrap();
}
