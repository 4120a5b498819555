//! A reply on a stream of another codec than HTTP/1.

use std::io;
use std::time::Duration;

use super::date;
use super::grpc;
use super::header_list::HeaderList;
use super::header_writer::HeaderWriter;
use super::message::{HeadOut, ReplyBody};
use super::request_head::RequestHead;
use super::stream::SendStream;
use super::stream_sender::StreamSender;

/// The reply of one stream.
#[derive(Debug)]
pub(super) struct StreamReply {
    sender: StreamSender,
    status: u16,
    to_head: bool,
    grpc_type: Option<&'static str>,
    has_date: bool,
    closes: bool,
}

impl StreamReply {
    pub(super) fn new(stream: Box<dyn SendStream>, head: &RequestHead, write_limit: Option<Duration>) -> Self {
        let sender = StreamSender::new(stream, write_limit);
        let (to_head, grpc_type) = (head.method() == "HEAD", grpc::reply_type(head));
        Self { sender, status: 0, to_head, grpc_type, has_date: false, closes: false }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.sender.is_finished()
    }

    pub(super) fn keeps_alive(&self) -> bool {
        !self.closes
    }

    pub(super) fn set_close(&mut self) {
        self.closes = true;
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn has_begun(&self) -> bool {
        self.sender.has_begun()
    }

    pub(super) fn is_to_head(&self) -> bool {
        self.to_head
    }

    pub(super) fn grpc_type(&self) -> Option<&'static str> {
        self.grpc_type
    }

    pub(super) fn begin(&mut self, status: u16) -> HeaderWriter<'_> {
        self.status = status;
        self.has_date = false;
        self.sender.fields.clear();
        HeaderWriter::List(&mut self.sender.fields)
    }

    pub(super) fn begin_tunnel(&mut self, protocol: &[u8]) -> HeaderWriter<'_> {
        self.begin(101).line(b"Upgrade", protocol);
        HeaderWriter::List(&mut self.sender.fields)
    }

    pub(super) fn set_has_date(&mut self) {
        self.has_date = true;
    }

    /// Protocols with streams have room for trailers behind any body that is not announced to be without.
    pub(super) fn takes_trailers(&self) -> bool {
        !self.to_head
    }

    pub(super) fn announce_trailer(&mut self, name: &[u8]) {
        self.sender.fields.push("Trailer", name);
    }

    pub(super) fn end_head(&mut self, body: ReplyBody) {
        if !self.has_date {
            self.sender.fields.push("Date", &date::now());
        }
        let length = match body {
            _ if self.to_head => Some(0),
            ReplyBody::Length(n) => Some(n),
            ReplyBody::None(_) => Some(0),
            ReplyBody::Stream | ReplyBody::Tunnel => None,
        };
        if let ReplyBody::Length(n) | ReplyBody::None(Some(n)) = body {
            self.sender.fields.push("Content-Length", itoa::Buffer::new().format(n).as_bytes());
        }
        self.sender.head(&HeadOut::Reply { status: self.status, body }, length);
    }

    pub(super) async fn send(&mut self, data: &[u8], last: bool) -> io::Result<()> {
        self.sender.send(data, last).await
    }

    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.sender.finish().await
    }

    pub(super) async fn finish_with(&mut self, trailers: &HeaderList) -> io::Result<()> {
        self.sender.finish_with(trailers).await
    }

    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.sender.shutdown().await
    }
}
