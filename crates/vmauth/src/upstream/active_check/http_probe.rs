//! One probe: a connection of its own, `GET`, and the status of the reply.
//!
//! The connection is opened as for requests, over the same scheme, socket and TLS settings, and never kept: that a
//! backend takes new connections is a part of what is asked. The body of the reply is read as far as that is cheap, so
//! that backends do not log a client that broke off.

use tokio::time::{Instant, timeout_at};
use vmkit::exchange::{BodyKind, ClientExchange, RequestLine};

use super::{ProbeFailure, Question};
use crate::upstream::connect_error::ConnectError;
use crate::upstream::dialer::{Dialer, Spoken};
use crate::upstream::fault::Fault;

/// `User-Agent` of probes.
const USER_AGENT: &str = "vmauth-health-check";
/// Bytes of a reply's body that are read.
const MAX_BODY: usize = 64 * 1024;

/// Asks once. `None` when that could not be tried for reasons of the proxy's own.
pub(super) async fn ask(dialer: &Dialer, question: &Question) -> Option<Result<u16, ProbeFailure>> {
    let spec = &question.spec;
    let deadline = Instant::now() + spec.timeout;
    let mut connection = Connection::default();
    let status = match timeout_at(deadline, exchange(dialer, question, &mut connection)).await {
        Ok(Ok(status)) => status,
        Ok(Err(None)) => return None,
        Ok(Err(Some(failure))) => return Some(Err(failure)),
        Err(_) => {
            let text = format!("no reply within {:?}", spec.timeout);
            return Some(Err(ProbeFailure { fault: Fault::Timeout, text }));
        }
    };
    let _ = timeout_at(deadline, connection.drain()).await;
    if spec.expects(status) {
        return Some(Ok(status));
    }
    let text = format!("status {status}; expected {}", spec.shown_statuses());
    Some(Err(ProbeFailure { fault: Fault::Status, text }))
}

/// What must live until the reply was read.
#[derive(Default)]
struct Connection {
    exchange: Option<ClientExchange>,
    /// Carries the exchange, when it is a stream.
    shared: Option<std::rc::Rc<dyn vmkit::exchange::SharedConnection>>,
}

impl Connection {
    async fn drain(&mut self) {
        let Some(exchange) = &mut self.exchange else { return };
        let mut left = MAX_BODY;
        while let Ok(Some(chunk)) = exchange.reply.chunk().await {
            match left.checked_sub(chunk.data.len()) {
                Some(rest) if !chunk.last => left = rest,
                _ => return,
            }
        }
    }
}

/// The status of the reply. An error without a failure is no fault of the backend.
async fn exchange(
    dialer: &Dialer,
    question: &Question,
    connection: &mut Connection,
) -> Result<u16, Option<ProbeFailure>> {
    let of_connect = |error: ConnectError| {
        // Files of our own say nothing about the backend; after a reload they may not have been read yet.
        let is_our_own = error.is_our_own() || matches!(error, ConnectError::OwnTls(_));
        (!is_our_own).then(|| ProbeFailure { fault: error.fault(), text: error.to_string() })
    };
    let (wire, _) = dialer.open(&question.peer, false).await.map_err(of_connect)?;
    let exchange = match dialer.greet(&question.peer, wire).await.map_err(of_connect)? {
        Spoken::Http1(wire) => ClientExchange::http1(wire),
        Spoken::Shared(shared) => {
            let stream = shared.open().map(|(send, receive)| ClientExchange::stream(send, receive));
            connection.shared = Some(shared);
            stream.unwrap_or_else(ClientExchange::closed)
        }
    };
    let exchange = connection.exchange.insert(exchange);
    begin(exchange, question);
    let sent = exchange.request.send(b"", true).await;
    let cut = |text: String| Some(ProbeFailure { fault: Fault::Cut, text });
    match (exchange.reply.read_head().await, sent) {
        (Ok(()), _) => Ok(exchange.reply.head().status()),
        (Err(error), _) if error.is_malformed() => {
            Err(Some(ProbeFailure { fault: Fault::Malformed, text: error.to_string() }))
        }
        (Err(_), Err(error)) => Err(cut(error.to_string())),
        (Err(error), Ok(())) => Err(cut(error.to_string())),
    }
}

fn begin(exchange: &mut ClientExchange, question: &Question) {
    let spec = &question.spec;
    let own = |name: &str| spec.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
    let line = RequestLine {
        method: "GET",
        target: spec.path.as_bytes(),
        authority: own("Host").map_or(question.authority.as_bytes(), |(_, value)| value.expose().as_bytes()),
        upgrade: None,
        wants_trailers: false,
    };
    let is_stream = exchange.is_stream();
    let mut fields = exchange.begin(&line);
    if own("User-Agent").is_none() {
        fields.line(b"User-Agent", USER_AGENT.as_bytes());
    }
    if !is_stream {
        // RFC 9112 §9.6: no other request will follow.
        fields.line(b"Connection", b"close");
    }
    for (name, value) in spec.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("Host")) {
        fields.line(name.as_bytes(), value.expose().as_bytes());
    }
    exchange.request.end_head(BodyKind::None);
}
