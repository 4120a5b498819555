//! A protocol for tests: any number of exchanges over one connection, in frames of `stream kind length payload`.
//!
//! It has what makes HTTP/2 different for the seam (streams that are independent, ends that are marked, trailers, resets)
//! and nothing of what makes it hard. Both sides of the proxy speak it, and the test's own client and backend too.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

/// Bytes that wait for the connection before writers have to wait.
const MAX_WAITING: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Fields; pseudo fields begin with `:`.
    Head,
    Data,
    /// Fields that end the message.
    Trailers,
    /// Nothing follows.
    End,
    /// The stream is given up.
    Reset,
}

const KINDS: [Kind; 5] = [Kind::Head, Kind::Data, Kind::Trailers, Kind::End, Kind::Reset];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) stream: u32,
    pub(super) kind: Kind,
    pub(super) payload: Vec<u8>,
}

pub(super) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

impl Frame {
    pub(super) fn of_fields<'f>(
        stream: u32,
        kind: Kind,
        fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Self {
        let mut payload = Vec::new();
        for (name, value) in fields {
            payload.extend_from_slice(&[name, b"\0", value, b"\0"].concat());
        }
        Self { stream, kind, payload }
    }

    pub(super) fn fields(&self) -> Fields {
        let mut parts = self.payload.split(|b| *b == 0).map(<[u8]>::to_vec);
        let mut fields = Vec::new();
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            fields.push((name, value));
        }
        fields
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let kind = KINDS.iter().position(|kind| *kind == self.kind).unwrap() as u8;
        let length = (self.payload.len() as u32).to_be_bytes();
        [&self.stream.to_be_bytes()[..], &[kind], &length, &self.payload].concat()
    }

    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let (stream, kind, length) = (from.read_u32().await?, from.read_u8().await?, from.read_u32().await?);
        let mut payload = vec![0; length as usize];
        from.read_exact(&mut payload).await?;
        Ok(Self { stream, kind: KINDS[usize::from(kind)], payload })
    }
}

/// Frames of one stream that nobody has taken yet.
#[derive(Debug, Default)]
struct Inbox {
    frames: VecDeque<Frame>,
    waker: Option<Waker>,
}

/// One connection, shared by its streams.
#[derive(Debug, Default)]
pub(super) struct Mux {
    inboxes: RefCell<BTreeMap<u32, Inbox>>,
    waiting: RefCell<Vec<u8>>,
    written: RefCell<Vec<Waker>>,
    wake_writer: Notify,
    closed: Cell<bool>,
    next: Cell<u32>,
}

impl Mux {
    /// A number for a stream that this side opens.
    pub(super) fn open(&self) -> u32 {
        let stream = self.next.get() + 1;
        self.next.set(stream);
        self.expect(stream);
        stream
    }

    pub(super) fn expect(&self, stream: u32) {
        self.inboxes.borrow_mut().entry(stream).or_default();
    }

    pub(super) fn forget(&self, stream: u32) {
        self.inboxes.borrow_mut().remove(&stream);
    }

    pub(super) fn streams(&self) -> usize {
        self.inboxes.borrow().len()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    pub(super) fn push(&self, frame: &Frame) {
        self.waiting.borrow_mut().extend_from_slice(&frame.to_bytes());
        self.wake_writer.notify_one();
    }

    /// Ready when another frame may be sent.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closed.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.waiting.borrow().len() < MAX_WAITING {
            return Poll::Ready(Ok(()));
        }
        self.written.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }

    /// The next frame of a stream; `None` when the connection has ended.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>, stream: u32) -> Poll<Option<Frame>> {
        let mut inboxes = self.inboxes.borrow_mut();
        let Some(inbox) = inboxes.get_mut(&stream) else { return Poll::Ready(None) };
        if let Some(frame) = inbox.frames.pop_front() {
            return Poll::Ready(Some(frame));
        }
        if self.closed.get() {
            return Poll::Ready(None);
        }
        inbox.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether the peer has given the stream up, without taking a frame.
    pub(super) fn poll_reset(&self, cx: &mut Context<'_>, stream: u32) -> Poll<()> {
        let mut inboxes = self.inboxes.borrow_mut();
        let Some(inbox) = inboxes.get_mut(&stream) else { return Poll::Ready(()) };
        if self.closed.get() || inbox.frames.iter().any(|frame| frame.kind == Kind::Reset) {
            return Poll::Ready(());
        }
        inbox.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Carries frames both ways until the connection ends; `on_new` is told the first frame of streams of the peer.
    pub(super) async fn drive(self: Rc<Self>, io: impl AsyncRead + AsyncWrite, on_new: impl Fn(&Rc<Self>, Frame)) {
        let (mut reader, mut writer) = tokio::io::split(io);
        let reading = async {
            while let Ok(frame) = Frame::read(&mut reader).await {
                let waker = match self.inboxes.borrow_mut().get_mut(&frame.stream) {
                    Some(inbox) => {
                        inbox.frames.push_back(frame.clone());
                        inbox.waker.take()
                    }
                    None => None,
                };
                match waker {
                    Some(waker) => waker.wake(),
                    None if frame.kind == Kind::Head && !self.inboxes.borrow().contains_key(&frame.stream) => {
                        on_new(&self, frame);
                    }
                    None => {}
                }
            }
        };
        let writing = async {
            loop {
                let bytes = std::mem::take(&mut *self.waiting.borrow_mut());
                if bytes.is_empty() {
                    self.wake_writer.notified().await;
                } else if writer.write_all(&bytes).await.is_err() {
                    return;
                }
                self.written.take().into_iter().for_each(Waker::wake);
            }
        };
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
        self.closed.set(true);
        self.written.take().into_iter().for_each(Waker::wake);
        for inbox in self.inboxes.borrow_mut().values_mut() {
            inbox.waker.take().into_iter().for_each(Waker::wake);
        }
    }
}
