//! HTTP/2 towards backends: one connection carries many exchanges of a worker.
//!
//! A connection is driven by a local task; it lives as long as the pool holds it or a stream is open, and takes no new
//! streams once its peer has said GOAWAY. Memory is bounded: what a backend may send unread is the window of a stream,
//! and the window of the connection has room for all its streams, so that a client that reads slowly stops its own
//! stream and no other.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;

use super::super::head_budget::HeadBudget;
use super::super::reply_error::ReplyError;
use super::super::stream::{ClientCodec, RecvReply, SendStream, SharedConnection};
use super::super::wire::Wire;
use super::client_stream;
use super::greeting::Greeted;
use super::life::{Http2Stats, Life, StreamClaim};
use super::ping;

/// Streams of one connection, if the backend does not set a lower limit; further ones go over another connection.
const MAX_STREAMS: usize = 100;
/// Bytes that a backend may send on a stream before the client has taken them.
const STREAM_WINDOW: u32 = 128 * 1024;
/// All streams of a connection together: one that is not read must not stop the others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS as u32;
/// What DATA frames of a few bytes may cost on all connections until clients have taken them: each takes 256 bytes. Beyond
/// that the largest reply is given up.
const SMALL_FRAMES: usize = 64 * 1024 * 1024;
/// What the codec lets one connection keep of them before it ends the connection with all its streams: more than there can
/// be.
const SMALL_FRAMES_OF_ONE: usize = 2 * SMALL_FRAMES;
/// Bytes of a request that wait for the socket.
const SEND_BUFFER: usize = 64 * 1024;
/// Names and values of a reply's head, with 32 bytes a field (RFC 9113 §6.5.2).
const MAX_HEADER_LIST: u32 = 256 * 1024;
/// Streams that were given up are remembered for a while, because frames for them may be on the way.
const REMEMBERED_RESETS: usize = 100;

/// HTTP/2 towards backends.
#[derive(Debug)]
pub struct Http2Client {
    /// After how much silence a backend is asked whether it lives, and how long it may take to answer; `None` for never.
    pub ping_interval: Option<Duration>,
    /// Counters.
    pub stats: Arc<Http2Stats>,
    /// Memory that all connections share.
    unread: HeadBudget,
}

impl Http2Client {
    /// One for all workers; it asks silent backends after `ping_interval`.
    pub fn new(ping_interval: Option<Duration>, stats: Arc<Http2Stats>) -> Self {
        Self { ping_interval, stats, unread: HeadBudget::new(0, SMALL_FRAMES) }
    }
}

impl ClientCodec for Http2Client {
    fn takes(&self, alpn: Option<&[u8]>) -> bool {
        alpn == Some(b"h2")
    }

    fn start(&self, wire: Wire) -> Rc<dyn SharedConnection> {
        let life = Rc::new(Life::new(self.stats.clone(), self.unread.clone()));
        let connection = Rc::new(Connection { is_tls: wire.is_tls(), sender: RefCell::default(), life: life.clone() });
        let driver = drive(wire, life, Rc::downgrade(&connection), self.ping_interval);
        tokio::task::spawn_local(driver);
        connection
    }
}

fn settings() -> h2::client::Builder {
    let mut settings = h2::client::Builder::new();
    settings
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAMES_OF_ONE)
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .reset_stream_duration(Duration::from_secs(1))
        // Every request that its client cancels counts as one when the backend answers it too late; the connection would
        // die after a thousand of them.
        .max_local_error_reset_streams(None);
    settings
}

/// Carries frames until the connection ends.
async fn drive(wire: Wire, life: Rc<Life>, connection: Weak<Connection>, ping_interval: Option<Duration>) {
    let (sender, mut work) = match settings().handshake::<_, Bytes>(Greeted::new(wire, life.clone())).await {
        Ok(parts) => parts,
        Err(error) => return life.end(error.to_string()),
    };
    let pings = work.ping_pong();
    match connection.upgrade() {
        Some(connection) => *connection.sender.borrow_mut() = Some(sender),
        None => return,
    }
    let watch = async {
        match (pings, ping_interval) {
            (Some(pings), Some(interval)) => ping::watch(pings, life.clone(), interval).await,
            _ => std::future::pending().await,
        }
    };
    let relief = poll_fn(|cx| -> Poll<Infallible> {
        life.frames.relieve(cx);
        Poll::Pending
    });
    let cause = tokio::select! {
        never = relief => match never {},
        ended = work => match ended {
            Ok(()) => "http2: the backend has closed the connection".to_owned(),
            Err(error) => match error.get_io() {
                Some(source) => source.to_string(),
                None => life.text(&error),
            }
        },
        cause = watch => {
            life.count_dead();
            cause
        }
    };
    life.end(cause);
}

/// The pool's handle of a connection.
#[derive(Debug)]
struct Connection {
    is_tls: bool,
    /// `None` until the handshake was sent.
    sender: RefCell<Option<SendRequest<Bytes>>>,
    life: Rc<Life>,
}

impl Connection {
    /// Whether it is to end, though its peer would take more streams.
    fn is_used_up(&self) -> bool {
        let frames = &self.life.frames;
        frames.is_worn_out() || self.life.streams() == 0 && frames.were_many()
    }
}

/// Whether the peer has not said GOAWAY and there are numbers left for streams.
fn takes_streams(sender: &mut SendRequest<Bytes>) -> bool {
    matches!(sender.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
}

impl SharedConnection for Connection {
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), ReplyError>> {
        self.life.poll_greeted(cx)
    }

    fn open(&self) -> Option<(Box<dyn SendStream>, Box<dyn RecvReply>)> {
        let mut sender = self.sender.borrow_mut();
        let sender = sender.as_mut()?;
        let has_room = self.life.streams() < sender.current_max_send_streams().min(MAX_STREAMS);
        if !has_room || !takes_streams(sender) || self.life.rests() || self.is_used_up() {
            return None;
        }
        Some(client_stream::new(sender.clone(), self.is_tls, StreamClaim::new(&self.life)))
    }

    fn is_open(&self) -> bool {
        if self.life.has_ended() || self.is_used_up() {
            return false;
        }
        self.sender.borrow_mut().as_mut().is_none_or(takes_streams)
    }

    fn streams(&self) -> usize {
        self.life.streams()
    }
}
