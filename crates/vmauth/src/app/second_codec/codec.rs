//! The test protocol behind the seam: the traits of `vmkit::exchange` for clients and for backends.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use vmkit::exchange::{
    BodyError, ClientCodec, Exchanges, HeadOut, HeaderList, RecvReply, RecvStream, ReplyError, ReplyWriter,
    RequestHead, RequestParts, ResponseHead, ResponseParts, SendStream, ServerCodec, SharedConnection, StreamExchange,
    Wire,
};

use super::frames::{Fields, Frame, Kind, Mux};

/// Both sides of the protocol.
#[derive(Debug)]
pub(super) struct Frames;

fn field<'f>(fields: &'f Fields, name: &str) -> &'f [u8] {
    fields.iter().find(|(known, _)| known == name.as_bytes()).map_or(&[], |(_, value)| value)
}

fn plain(fields: &Fields) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields.iter().filter(|(name, _)| !name.starts_with(b":")).map(|(name, value)| (&name[..], &value[..]))
}

fn list(fields: &Fields) -> HeaderList {
    let mut list = HeaderList::default();
    plain(fields).for_each(|(name, value)| list.push(name, value));
    list
}

/// The sending side of a stream.
#[derive(Debug)]
struct Send {
    mux: Rc<Mux>,
    stream: u32,
    ended: bool,
}

impl Drop for Send {
    fn drop(&mut self) {
        if !self.ended {
            self.mux.push(&Frame { stream: self.stream, kind: Kind::Reset, payload: Vec::new() });
        }
    }
}

impl SendStream for Send {
    fn head(&mut self, head: &HeadOut<'_>, fields: &HeaderList) -> io::Result<()> {
        let status;
        let pseudo: Vec<(&[u8], &[u8])> = match head {
            HeadOut::Request { line, .. } => {
                vec![(b":method", line.method.as_bytes()), (b":target", line.target), (b":authority", line.authority)]
            }
            HeadOut::Reply { status: code, .. } => {
                status = code.to_string();
                vec![(b":status", status.as_bytes())]
            }
        };
        let fields = fields.iter().map(|line| (line.name, line.value));
        self.mux.push(&Frame::of_fields(self.stream, Kind::Head, pseudo.into_iter().chain(fields)));
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8], last: bool) -> Poll<io::Result<usize>> {
        ready!(self.mux.poll_room(cx))?;
        if !data.is_empty() {
            self.mux.push(&Frame { stream: self.stream, kind: Kind::Data, payload: data.to_vec() });
        }
        if last {
            self.ended = true;
            self.mux.push(&Frame { stream: self.stream, kind: Kind::End, payload: Vec::new() });
        }
        Poll::Ready(Ok(data.len()))
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>, fields: &HeaderList) -> Poll<io::Result<()>> {
        ready!(self.mux.poll_room(cx))?;
        self.ended = true;
        let fields = fields.iter().map(|line| (line.name, line.value));
        self.mux.push(&Frame::of_fields(self.stream, Kind::Trailers, fields));
        Poll::Ready(Ok(()))
    }
}

/// The receiving side of a stream.
#[derive(Debug)]
struct Receive {
    mux: Rc<Mux>,
    stream: u32,
    piece: Vec<u8>,
    trailers: Option<HeaderList>,
    done: bool,
}

impl Receive {
    fn new(mux: &Rc<Mux>, stream: u32) -> Self {
        Self { mux: mux.clone(), stream, piece: Vec::new(), trailers: None, done: false }
    }
}

impl Drop for Receive {
    fn drop(&mut self) {
        self.mux.forget(self.stream);
    }
}

impl RecvStream for Receive {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<bool>, BodyError>> {
        if self.done {
            return Poll::Ready(Ok(None));
        }
        let frame = ready!(self.mux.poll_next(cx, self.stream)).ok_or(BodyError::UnexpectedEof)?;
        match frame.kind {
            Kind::Data => {
                self.piece = frame.payload;
                return Poll::Ready(Ok(Some(false)));
            }
            Kind::End => {}
            Kind::Trailers => self.trailers = Some(list(&frame.fields())),
            Kind::Head | Kind::Reset => return Poll::Ready(Err(BodyError::UnexpectedEof)),
        }
        self.done = true;
        Poll::Ready(Ok(None))
    }

    fn piece(&self) -> &[u8] {
        &self.piece
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn trailers(&self) -> Option<&HeaderList> {
        self.trailers.as_ref()
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.done { self.mux.poll_reset(cx, self.stream) } else { Poll::Pending }
    }
}

impl RecvReply for Receive {
    fn poll_head(&mut self, cx: &mut Context<'_>, head: &mut ResponseHead) -> Poll<Result<(), ReplyError>> {
        let frame = ready!(self.mux.poll_next(cx, self.stream)).ok_or(ReplyError::Eof { begun: false })?;
        let fields = frame.fields();
        let status = str::from_utf8(field(&fields, ":status")).ok().and_then(|text| text.parse().ok());
        let parts = ResponseParts { status: status.unwrap_or(0), has_body: true, ..ResponseParts::default() };
        Poll::Ready(head.build(parts, plain(&fields)).map_err(ReplyError::Malformed))
    }
}

/// A connection to a backend.
#[derive(Debug)]
struct Shared(Rc<Mux>);

impl SharedConnection for Shared {
    fn open(&self) -> Option<(Box<dyn SendStream>, Box<dyn RecvReply>)> {
        if self.0.is_closed() {
            return None;
        }
        let stream = self.0.open();
        let send = Send { mux: self.0.clone(), stream, ended: false };
        Some((Box::new(send), Box::new(Receive::new(&self.0, stream))))
    }

    fn is_open(&self) -> bool {
        !self.0.is_closed()
    }

    fn streams(&self) -> usize {
        self.0.streams()
    }
}

impl ClientCodec for Frames {
    fn takes(&self, _: Option<&[u8]>) -> bool {
        true
    }

    fn start(&self, wire: Wire) -> Rc<dyn SharedConnection> {
        let mux = Rc::new(Mux::default());
        tokio::task::spawn_local(mux.clone().drive(wire, |_, _| {}));
        Rc::new(Shared(mux))
    }
}

impl ServerCodec for Frames {
    fn serve(&self, wire: Wire, exchanges: Rc<dyn Exchanges>) -> Pin<Box<dyn Future<Output = ()>>> {
        let limit = wire.write_limit();
        Box::pin(Rc::new(Mux::default()).drive(wire, move |mux, frame| {
            let stream = frame.stream;
            mux.expect(stream);
            let (mux, exchanges) = (mux.clone(), exchanges.clone());
            tokio::task::spawn_local(async move {
                let (fields, mut head) = (frame.fields(), RequestHead::default());
                let parts = RequestParts {
                    method: str::from_utf8(field(&fields, ":method")).unwrap_or_default(),
                    authority: field(&fields, ":authority"),
                    target: field(&fields, ":target"),
                    has_body: true,
                    upgrade: None,
                };
                let send = Box::new(Send { mux: mux.clone(), stream, ended: false });
                let built = head.build(&parts, plain(&fields));
                let mut reply = ReplyWriter::stream(send, &head, limit);
                if let Err(error) = built {
                    return exchanges.refuse(error, &mut reply).await;
                }
                let body = Receive::new(&mux, stream);
                exchanges.serve(Box::new(StreamExchange { head, reply, body })).await;
            });
        }))
    }
}
