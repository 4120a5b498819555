//! A backend that speaks HTTP/2 frame by frame as a test says, so that it can do what no well-behaved server does.
//!
//! One thread a connection; the script is given the number of the connection, beginning with 0.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use testkit::{Backend, Gate, Reply, Step};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// `:status: 200` of the static table (RFC 7541 appendix A).
pub(crate) const STATUS_200: &[u8] = &[0x88];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// One connection of the proxy.
pub(crate) struct Peer(TcpStream);

impl Peer {
    /// The next frame of a stream, or `PING`; `None` when the proxy has closed. Others are read over, SETTINGS are
    /// acknowledged.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = self.frame()?;
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]),
                DATA | HEADERS | RST_STREAM | PING => return Some(frame),
                _ => {}
            }
        }
    }

    fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        match self.0.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => return None,
            Err(error) => panic!("no frame from the proxy: {error}"),
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The stream of the next request.
    pub(crate) fn request(&mut self) -> Option<u32> {
        loop {
            let frame = self.next()?;
            if frame.kind == HEADERS {
                return Some(frame.stream);
            }
        }
    }

    /// Sends a frame; that the proxy has gone shows when the next one is read.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        let _ = self.0.write_all(&[&head, payload].concat());
    }

    pub(crate) fn head(&mut self, stream: u32) {
        self.send(HEADERS, END_HEADERS, stream, STATUS_200);
    }

    pub(crate) fn reply(&mut self, stream: u32, body: &str) {
        self.head(stream);
        self.send(DATA, END_STREAM, stream, body.as_bytes());
    }

    pub(crate) fn reset(&mut self, stream: u32, code: u32) {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes());
    }

    pub(crate) fn go_away(&mut self, last: u32) {
        self.send(GOAWAY, 0, 0, &[last.to_be_bytes(), 0_u32.to_be_bytes()].concat());
    }

    /// Reads whole requests, giving windows back, and answers each.
    pub(crate) fn answer_whole(&mut self) {
        while let Some(frame) = self.next() {
            if frame.kind == DATA && !frame.payload.is_empty() {
                let more = (frame.payload.len() as u32).to_be_bytes();
                self.send(WINDOW_UPDATE, 0, 0, &more);
                self.send(WINDOW_UPDATE, 0, frame.stream, &more);
            }
            if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                self.reply(frame.stream, "whole");
            }
        }
    }

    /// Answers everything until the proxy closes.
    pub(crate) fn answer_all(&mut self, body: &str) {
        while let Some(stream) = self.request() {
            self.reply(stream, body);
        }
    }
}

/// The backend.
pub(crate) struct FrameServer {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl FrameServer {
    /// Starts it; `settings` are identifier and value of each setting.
    pub(crate) fn start(settings: &[(u16, u32)], script: impl Fn(usize, &mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (connections, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, counted_open, script) = (connections.clone(), open.clone(), Arc::new(script));
        let settings: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let (script, settings, open) = (script.clone(), settings.clone(), counted_open.clone());
                let number = counted.fetch_add(1, SeqCst);
                open.fetch_add(1, SeqCst);
                std::thread::spawn(move || {
                    serve(tcp, number, &settings, &*script);
                    open.fetch_sub(1, SeqCst);
                });
            }
        });
        Self { address, connections, open }
    }

    /// Connections that were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Connections whose script has not ended.
    pub(crate) fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    pub(crate) fn url(&self) -> String {
        format!("h2c://{}", self.address)
    }
}

fn serve(mut tcp: TcpStream, number: usize, settings: &[u8], script: &(dyn Fn(usize, &mut Peer) + Send + Sync)) {
    tcp.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    tcp.set_nodelay(true).expect("a socket");
    let mut preface = [0; 24];
    if tcp.read_exact(&mut preface).is_err() {
        return;
    }
    assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let mut peer = Peer(tcp);
    peer.send(SETTINGS, 0, 0, settings);
    script(number, &mut peer);
}

/// A backend of HTTP/1 and one of HTTP/2 that take nothing of a request but its head until the gate opens.
pub(crate) fn that_take_no_body(gate: &Gate) -> (Backend, FrameServer) {
    let http1 = Backend::replying(Reply::nothing().before_body().then(Step::Wait(gate.clone())));
    let until = gate.clone();
    let http2 = FrameServer::start(&[], move |_, peer| {
        peer.request();
        until.wait(Duration::from_secs(60));
    });
    (http1, http2)
}
