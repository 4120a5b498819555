//! WebSockets over HTTP/2: an extended CONNECT stands for the upgrade of an HTTP/1 connection (RFC 8441).
//!
//! Stages see the request that an HTTP/1 client would have sent, a GET that wants to upgrade, and a backend gets it with
//! a key of ours; that the backend has understood it is checked here by its answer to the key (RFC 6455 §4.2.2), because
//! the client has no key. No other protocol may be asked for.
//!
//! A backend that speaks HTTP/2 gets an extended CONNECT without the key, and the key is answered here.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::head_error::HeadError;
use super::super::header_list::HeaderList;

const NAME: &str = "websocket";
const KEY: &[u8] = b"sec-websocket-key";
const ACCEPT: &[u8] = b"sec-websocket-accept";
/// What a server appends to the key (RFC 6455 §1.3).
const SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A handshake that is under way.
#[derive(Debug)]
pub(super) struct WebSocket {
    key: String,
}

impl WebSocket {
    /// The protocol in the words of HTTP/1.
    pub(super) const UPGRADE: &[u8] = NAME.as_bytes();

    /// Begins a handshake for the protocol that a client names.
    pub(super) fn begin(protocol: &str) -> Result<Self, HeadError> {
        let mut key = [0; 16];
        if !protocol.eq_ignore_ascii_case(NAME) || rand::fill(&mut key).is_err() {
            return Err(HeadError::UnknownProtocol);
        }
        Ok(Self { key: STANDARD.encode(key) })
    }

    /// The handshake of an HTTP/1 request for `upgrade`; `None` if that is no handshake for a WebSocket.
    pub(super) fn of_request(method: &str, upgrade: Option<&[u8]>, fields: &HeaderList) -> Option<Self> {
        if method != "GET" || !upgrade.is_some_and(|name| name.eq_ignore_ascii_case(Self::UPGRADE)) {
            return None;
        }
        let mut keys = fields.iter().filter(|line| line.name.eq_ignore_ascii_case(KEY));
        let key = String::from_utf8(keys.next()?.value.to_vec()).ok()?;
        keys.next().is_none().then_some(Self { key })
    }

    /// The field that the backend must answer.
    pub(super) fn field(&self) -> (&[u8], &[u8]) {
        (KEY, self.key.as_bytes())
    }

    /// Whether a field belongs to the handshake of HTTP/1, of which HTTP/2 knows nothing.
    pub(super) fn is_handshake(name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(KEY) || name.eq_ignore_ascii_case(ACCEPT)
    }

    /// Whether a backend that switches protocols with these fields has understood the handshake.
    pub(super) fn is_accepted_by(&self, fields: &HeaderList) -> bool {
        let want = self.answer();
        let mut answers = fields.iter().filter(|line| line.name.eq_ignore_ascii_case(ACCEPT));
        answers.next().is_some_and(|line| line.value == want.as_bytes()) && answers.next().is_none()
    }

    /// The answer to the key, and the name of the field that holds it.
    pub(super) fn accept(&self) -> (&[u8], String) {
        (ACCEPT, self.answer())
    }

    fn answer(&self) -> String {
        STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{}{SUFFIX}", self.key).as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_the_rfc() {
        let socket = WebSocket { key: "dGhlIHNhbXBsZSBub25jZQ==".to_owned() };
        let f = |name: &str, value: &str, want: bool| {
            let mut fields = HeaderList::default();
            fields.push(name, value.as_bytes());
            assert_eq!(socket.is_accepted_by(&fields), want, "{name}: {value}");
        };
        f("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", true);
        f("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOO=", false);
        f("Sec-WebSocket-Key", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", false);
    }

    #[test]
    fn handshakes_of_http1() {
        let f = |method: &str, upgrade: Option<&str>, keys: &[&str], want: Option<&str>| {
            let mut fields = HeaderList::default();
            keys.iter().for_each(|key| fields.push("Sec-WebSocket-Key", key.as_bytes()));
            let found = WebSocket::of_request(method, upgrade.map(str::as_bytes), &fields);
            assert_eq!(found.map(|socket| socket.accept().1).as_deref(), want, "{method} {upgrade:?} {keys:?}");
        };
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        f("GET", Some("WebSocket"), &[key], Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        f("POST", Some("websocket"), &[key], None);
        f("GET", Some("websocket, x"), &[key], None);
        f("GET", None, &[key], None);
        f("GET", Some("websocket"), &[], None);
        f("GET", Some("websocket"), &[key, key], None);
    }

    #[test]
    fn nothing_but_websockets() {
        let key = |protocol: &str| WebSocket::begin(protocol).map(|socket| socket.key.len()).ok();
        assert_eq!(["websocket", "WebSocket", "connect-udp", ""].map(key), [Some(24), Some(24), None, None]);
    }
}
