//! Replies the process makes itself: pages, plain errors, and the texts they are made of.

use super::app_route::Reply;
use super::{Request, Shared};
use crate::exchange::{HeaderId, HeaderList, ReplyBody, ReplyWriter, RequestHead, grpc, tokens};
use crate::gzip;

/// Own pages below this size are not worth compressing.
const MIN_COMPRESSED: usize = 1024;

/// A header line to add to a reply.
pub type Line<'a> = (&'a str, &'a str);

/// Appends a field. Bytes that could end the line are left out.
pub fn push_line(out: &mut HeaderList, name: &str, value: &[u8]) {
    out.push(name, value);
}

impl Request<'_> {
    /// Answers with the message as a plain text (docs/reference/proxying.md).
    pub async fn plain_error(&mut self, status: u16, message: &str, extra: &[Line<'_>]) {
        send_plain_error(self.exchange.reply, self.common_lines, status, message, extra).await;
    }

    /// Answers with a page of the process.
    pub(super) async fn page(&mut self, shared: &Shared, status: u16, content_type: &str, body: &[u8]) {
        self.send_page(shared, status, content_type, body, |_| {}).await;
    }

    /// Answers with what a route of the application says.
    pub(super) async fn reply(&mut self, reply: &Reply) {
        let headers = |lines: &mut HeaderList| {
            for (name, value) in &reply.headers {
                push_line(lines, name, value.as_bytes());
            }
        };
        self.send_page(self.shared, reply.status, &reply.content_type, &reply.body, headers).await;
    }

    async fn send_page(
        &mut self,
        shared: &Shared,
        status: u16,
        content_type: &str,
        body: &[u8],
        push_headers: impl FnOnce(&mut HeaderList),
    ) {
        let mut lines = self.common_lines.clone();
        push_headers(&mut lines);
        let mut compressed = None;
        if !shared.options.disable_compression {
            push_line(&mut lines, "Vary", b"Accept-Encoding");
            if body.len() >= MIN_COMPRESSED && !self.exchange.reply.is_to_head() && accepts_gzip(self.exchange.head) {
                compressed = Some(gzip::compress(body));
            }
        }
        if !content_type.is_empty() {
            push_line(&mut lines, "Content-Type", content_type.as_bytes());
        }
        if compressed.is_some() {
            push_line(&mut lines, "Content-Encoding", b"gzip");
        }
        let body = compressed.as_deref().unwrap_or(body);
        let _ = self.exchange.reply.send_all(status, &lines, body).await;
    }
}

/// Answers with the message as a plain text, or as the status of a gRPC call; for handlers that have taken the request
/// apart.
pub async fn send_plain_error(
    reply: &mut ReplyWriter,
    common_lines: &HeaderList,
    status: u16,
    message: &str,
    extra: &[Line<'_>],
) {
    let mut lines = common_lines.clone();
    for (name, value) in extra {
        push_line(&mut lines, name, value.as_bytes());
    }
    if let Some(content_type) = reply.grpc_type() {
        push_line(&mut lines, "Content-Type", content_type.as_bytes());
        grpc::push_status(&mut lines, grpc::code_of(status), message);
        reply.begin(200).list(&lines);
        reply.end_head(ReplyBody::None(None));
        let _ = reply.finish().await;
        return;
    }
    push_line(&mut lines, "Content-Type", b"text/plain; charset=utf-8");
    push_line(&mut lines, "X-Content-Type-Options", b"nosniff");
    let body = format!("{message}\n");
    // A failed write leaves the reply unfinished, which closes the connection.
    let _ = reply.send_all(status, &lines, body.as_bytes()).await;
}

/// Whether the first `Accept-Encoding` line names gzip with a weight above 0.
fn accepts_gzip(head: &RequestHead) -> bool {
    let Some(value) = head.first(HeaderId::AcceptEncoding) else { return false };
    tokens(value).any(|item| {
        let mut parts = item.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"gzip"));
        let refused = parts.any(|part| {
            let weight = part.strip_prefix(b"q=").and_then(|q| str::from_utf8(q).ok()).and_then(|q| q.parse().ok());
            weight == Some(0.0_f32)
        });
        is_gzip && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_negotiation() {
        let f = |value: &str, want: bool| {
            let mut head = RequestHead::default();
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {value}\r\n\r\n");
            head.parse(text.as_bytes()).unwrap();
            assert_eq!(accepts_gzip(&head), want, "{value:?}");
        };
        f("gzip", true);
        f("br, GZIP;q=0.5", true);
        f("gzip;q=0", false);
        f("*", false);
        f("zstd", false);
    }
}
