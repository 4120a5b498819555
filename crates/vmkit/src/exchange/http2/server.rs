//! A client's HTTP/2 connection: many exchanges at once, each in a task of the worker.
//!
//! The task of the connection reads frames, opens streams and decides when the connection ends: by its age or idleness,
//! when the worker drains, or because the client has done too much. It says so by GOAWAY, serves what was begun, and
//! closes. All that a client can make the server keep is bounded here: streams, heads, windows, unfinished frames, time.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream as H2Body};
use http::Request;
use tokio::time::{Instant, timeout};

use super::super::deadline::Deadline;
use super::super::head_budget::{HeadBudget, HeadClaim};
use super::super::head_error::HeadError;
use super::super::reply_writer::ReplyWriter;
use super::super::request_head::{RequestHead, RequestParts};
use super::super::server_codec::{Exchanges, ServerCodec, StreamExchange};
use super::super::stream::RecvStream;
use super::super::wire::Wire;
use super::exchange_tasks::{ExchangeTasks, Serve};
use super::fields::read_request;
use super::frame_meter::FrameMeter;
use super::held_heads::HeldHeads;
use super::metered_io::MeteredIo;
use super::server_stream::{Http2Body, Http2Reply, Link, split};
use super::small_frames::MOST_UNREAD;
use super::websocket::WebSocket;

/// Time for the preface and for each header block.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long streams are still taken after GOAWAY: those that the client had sent before it knew.
const LATE_STREAMS: Duration = Duration::from_secs(1);
/// How long the last frames may take.
const LINGER: Duration = Duration::from_secs(1);
/// How long exchanges of a connection that is gone may take to notice.
const EXCHANGES_END: Duration = Duration::from_secs(5);

/// Windows for bodies (RFC 9113 §5.2): of a stream, and of a connection before and after its first body.
const STREAM_WINDOW: u32 = 256 * 1024;
const FIRST_WINDOW: u32 = 65_535;
const WINDOW: u32 = 1024 * 1024;
/// What a stream may hand to the codec before the client has taken any of it.
const SEND_BUFFER: usize = 64 * 1024;
/// Largest list of fields: their names and values and 32 bytes for each (RFC 9113 §6.5.2).
const MAX_HEADER_LIST: usize = 64 * 1024;
/// Streams that the codec itself resets because the client breaks the rules, over the life of a connection
/// (CVE-2025-8671).
const MOST_BROKEN_STREAMS: usize = 500;
/// Streams that were reset and whose late frames are still known, and for how long.
const KNOWN_RESETS: usize = 100;
const KNOWN_RESET_TIME: Duration = Duration::from_secs(5);
/// Bytes of an unread body that are dropped before the stream is reset, and the time that may take.
const MAX_DRAINED: usize = 256 * 1024;
const DRAIN_TIME: Duration = Duration::from_millis(500);

/// What a server says about its connections.
#[derive(Clone, Debug)]
pub struct Http2Settings {
    /// Streams that a client may have open at once.
    pub max_streams: u32,
    /// Largest head in bytes; never more than 64 KiB.
    pub max_head: usize,
    /// How long a connection may be without a stream.
    pub idle: Duration,
    /// Age at which a connection takes no more streams; zero for never.
    pub max_age: Duration,
    /// Whether there may be more than one exchange.
    pub keep_alive: bool,
    /// Memory for heads, shared with all connections of the server.
    pub heads: HeadBudget,
    /// Memory for bodies beyond the first 64 KiB of each connection, shared in the same way.
    pub windows: HeadBudget,
}

/// The codec of clients that speak HTTP/2.
#[derive(Clone, Debug)]
pub struct Http2Server {
    settings: Http2Settings,
}

impl Http2Server {
    /// A codec with these limits.
    pub fn new(settings: Http2Settings) -> Self {
        Self { settings }
    }

    /// Serves a connection until it ends; `received` is what was read of it before.
    pub async fn serve(self, wire: Wire, received: Vec<u8>, exchanges: Rc<dyn Exchanges>) {
        let list = self.settings.max_head.min(MAX_HEADER_LIST);
        let meter = FrameMeter::new(self.settings.heads.clone(), self.settings.windows.clone(), 4 * list);
        let link = Rc::new(Link { meter, stats: wire.stats(), write_limit: wire.write_limit() });
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(self.settings.max_streams)
            .max_header_list_size(list as u32)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(FIRST_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .data_frame_budget(MOST_UNREAD)
            .max_local_error_reset_streams(Some(MOST_BROKEN_STREAMS))
            .max_concurrent_reset_streams(KNOWN_RESETS)
            .reset_stream_duration(KNOWN_RESET_TIME)
            .enable_connect_protocol();
        let handshake = builder.handshake(MeteredIo::new(wire, received, link.clone()));
        let Ok(Ok(connection)) = timeout(HEAD_TIMEOUT, handshake).await else { return };
        // From here on the connection ends itself, with GOAWAY.
        exchanges.set_idle(false);
        let now = Instant::now();
        let driver = Driver {
            settings: self.settings,
            connection,
            streams: ExchangeTasks::new(Serving(exchanges.clone())),
            exchanges,
            link,
            heads: HeldHeads::default(),
            window: None,
            phase: Phase::Open { accepted: now, idle_since: now },
            deadline: Deadline::new(now + HEAD_TIMEOUT),
        };
        driver.run().await;
    }
}

impl ServerCodec for Http2Server {
    fn serve(&self, wire: Wire, exchanges: Rc<dyn Exchanges>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(self.clone().serve(wire, Vec::new(), exchanges))
    }
}

/// How far a connection is from its end.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Open {
        accepted: Instant,
        idle_since: Instant,
    },
    /// GOAWAY was sent; what was begun is served.
    GoingAway {
        since: Instant,
    },
    /// Nothing is served any more.
    Closing {
        since: Instant,
    },
}

/// The task of one connection.
struct Driver {
    settings: Http2Settings,
    connection: Connection<MeteredIo, Bytes>,
    exchanges: Rc<dyn Exchanges>,
    streams: ExchangeTasks<Opened, Serving>,
    link: Rc<Link>,
    heads: HeldHeads,
    /// What is claimed for the window of bodies.
    window: Option<HeadClaim>,
    phase: Phase,
    deadline: Deadline,
}

impl Driver {
    async fn run(mut self) {
        let draining = self.exchanges.draining().clone();
        {
            let mut drain = pin!(draining.begun());
            let mut drains = false;
            poll_fn(|cx| {
                if !drains && drain.as_mut().poll(cx).is_ready() {
                    drains = true;
                    self.go_away();
                }
                self.poll(cx)
            })
            .await;
        }
        // Exchanges see that the connection has ended; what they count and log is theirs to do.
        let Self { mut streams, connection, .. } = self;
        drop(connection);
        let _ = timeout(EXCHANGES_END, streams.ended()).await;
    }

    /// Ready when the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut again = false;
            if self.streams.poll_ended(cx) {
                self.note_idle();
            }
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, response)))) => {
                    self.open(request, response);
                    again = true;
                }
                Poll::Ready(Some(Err(error))) => {
                    if error.is_library() {
                        self.exchanges.broken();
                    }
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if self.link.meter.excess().is_some() && !matches!(self.phase, Phase::Closing { .. }) {
                self.close(Reason::ENHANCE_YOUR_CALM);
                again = true;
            }
            if self.link.meter.is_worn_out() && matches!(self.phase, Phase::Open { .. }) {
                self.go_away();
                again = true;
            }
            if !again {
                self.deadline.set(self.next_look());
                if self.deadline.poll_passed(cx).is_pending() {
                    return Poll::Pending;
                }
                if self.look(Instant::now()) {
                    return Poll::Ready(());
                }
            }
        }
    }

    /// The last stream has ended.
    fn note_idle(&mut self) {
        if let Phase::Open { idle_since, .. } = &mut self.phase
            && self.streams.is_empty()
        {
            *idle_since = Instant::now();
        }
    }

    /// When something is due.
    fn next_look(&self) -> Option<Instant> {
        let block = self.link.meter.block_open_since().map(|since| since + HEAD_TIMEOUT);
        let has_age = !self.settings.max_age.is_zero();
        let next = match self.phase {
            Phase::Open { accepted, idle_since } => {
                let idle = self.streams.is_empty().then(|| idle_since + self.settings.idle);
                [has_age.then(|| accepted + self.settings.max_age), idle].into_iter().flatten().min()
            }
            Phase::GoingAway { since } => self.streams.is_empty().then(|| since + LATE_STREAMS),
            Phase::Closing { since } => return Some(since + LINGER),
        };
        [next, block].into_iter().flatten().min()
    }

    /// Does what is due; true when the connection must not be waited for any longer.
    fn look(&mut self, now: Instant) -> bool {
        if self.link.meter.block_open_since().is_some_and(|since| since + HEAD_TIMEOUT <= now) {
            self.close(Reason::ENHANCE_YOUR_CALM);
            return false;
        }
        match self.phase {
            Phase::Open { accepted, .. } => {
                if !self.settings.max_age.is_zero() && accepted + self.settings.max_age <= now {
                    self.exchanges.aged();
                }
                self.go_away();
                false
            }
            Phase::GoingAway { since } => {
                if self.streams.is_empty() && since + LATE_STREAMS <= now {
                    self.close(Reason::NO_ERROR);
                }
                false
            }
            Phase::Closing { since } => since + LINGER <= now,
        }
    }

    /// No more streams; those that were begun go on.
    fn go_away(&mut self) {
        if let Phase::Open { .. } = self.phase {
            self.phase = Phase::GoingAway { since: Instant::now() };
            self.connection.graceful_shutdown();
        }
    }

    fn close(&mut self, reason: Reason) {
        if reason != Reason::NO_ERROR {
            self.exchanges.broken();
        }
        self.phase = Phase::Closing { since: Instant::now() };
        self.connection.abrupt_shutdown(reason);
    }

    /// A client has opened a stream.
    fn open(&mut self, request: Request<H2Body>, mut response: SendResponse<Bytes>) {
        let (parts, body) = request.into_parts();
        let takes_it = self.takes_streams();
        let has_body = takes_it && !body.is_end_stream();
        self.link.meter.small.accepted(body.stream_id().as_u32(), has_body);
        if !takes_it {
            return response.send_reset(Reason::REFUSED_STREAM);
        }
        let (mut body, mut reply) = split(response, body, self.link.clone());
        if has_body {
            self.widen();
        }
        let mut head = RequestHead::default();
        let read = read_head(&mut head, &parts, &mut body, &mut reply);
        let held = read.and_then(|()| self.heads.hold(head.size(), &self.settings.heads));
        let refused = held.map(|held| body.hold(held)).err();
        let reply = ReplyWriter::stream(Box::new(reply), &head, self.link.write_limit);
        let exchange = Box::new(StreamExchange { head, reply, body });
        self.streams.begin(Opened { exchange, refused });
    }

    /// Whether a stream that a client has just opened is served.
    fn takes_streams(&mut self) -> bool {
        match self.phase {
            // The client goes on as if it had not been told.
            Phase::GoingAway { since } if since.elapsed() > LATE_STREAMS => return false,
            Phase::Closing { .. } => return false,
            Phase::Open { .. } if !self.settings.keep_alive => self.go_away(),
            Phase::Open { .. } | Phase::GoingAway { .. } => {}
        }
        // Streams that were reset may need a moment to end.
        (self.streams.len() as u64) < 2 * u64::from(self.settings.max_streams)
    }

    /// The first body of the connection: a larger window, if there is memory for it.
    fn widen(&mut self) {
        if self.window.is_none() {
            self.window = self.settings.windows.claim((WINDOW - FIRST_WINDOW) as usize);
            if self.window.is_some() {
                self.connection.set_target_window_size(WINDOW);
            }
        }
    }
}

/// An exchange that a client has begun.
#[derive(Debug)]
struct Opened {
    exchange: Box<StreamExchange>,
    /// Why it is refused.
    refused: Option<HeadError>,
}

/// Where exchanges are brought.
struct Serving(Rc<dyn Exchanges>);

impl Serve<Opened> for Serving {
    async fn serve(&self, opened: Opened) {
        let Opened { exchange, refused } = opened;
        if let Some(error) = refused {
            return refuse(&*self.0, error, exchange).await;
        }
        let mut exchange = self.0.clone().serve(exchange).await;
        if exchange.reply.is_finished() {
            drain(&mut exchange.body).await;
        }
    }
}

/// Reads the head of a stream, and prepares body and reply for what it asks.
fn read_head(
    head: &mut RequestHead,
    parts: &http::request::Parts,
    body: &mut Http2Body,
    reply: &mut Http2Reply,
) -> Result<(), HeadError> {
    let mut asked = RequestParts {
        method: parts.method.as_str(),
        authority: b"",
        target: b"",
        has_body: !body.is_done(),
        upgrade: None,
    };
    let Some(protocol) = parts.extensions.get::<h2::ext::Protocol>() else {
        read_request(head, &parts.uri, &parts.headers, asked, &[])?;
        if head.expect_continue() {
            body.set_awaits_continue();
        }
        return Ok(());
    };
    let socket = WebSocket::begin(protocol.as_str())?;
    asked = RequestParts { method: "GET", has_body: false, upgrade: Some(WebSocket::UPGRADE), ..asked };
    let mut fields = parts.headers.clone();
    fields.remove("sec-websocket-key");
    read_request(head, &parts.uri, &fields, asked, &[socket.field()])?;
    body.set_before_tunnel();
    reply.set_websocket(socket);
    Ok(())
}

/// Answers a malformed request. What it may have said about its body is not to be believed.
async fn refuse(exchanges: &dyn Exchanges, error: HeadError, mut exchange: Box<StreamExchange>) {
    // A client that does not take its refusal must not hold a stream for ever.
    let _ = timeout(HEAD_TIMEOUT, exchanges.refuse(error, &mut exchange.reply)).await;
    drain(&mut exchange.body).await;
}

/// Drops what is left of a small body: some clients take the reset of a stream that was answered for a failure.
async fn drain(body: &mut dyn RecvStream) {
    if body.is_done() {
        return;
    }
    let dropping = async {
        let mut dropped = 0;
        while let Ok(Some(_)) = poll_fn(|cx| body.poll_piece(cx)).await {
            dropped += body.piece().len();
            if dropped > MAX_DRAINED {
                return;
            }
        }
    };
    let _ = timeout(DRAIN_TIME, dropping).await;
}
