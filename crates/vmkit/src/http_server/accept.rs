//! The accept loop of one listener. It runs on the first worker and never gives up: when descriptors run out it
//! waits a little and goes on, so that the service recovers by itself.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::worker::{Peers, Worker};
use super::{Handler, Listener};

/// First pause after a failed accept; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run<H: Handler>(
    worker: Rc<Worker<H>>,
    socket: std::net::TcpListener,
    listener: Arc<Listener>,
    peers: Rc<Peers>,
) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return crate::error!("cannot accept connections at {}: {error}", listener.flag_value),
    };
    let mut pause = FIRST_PAUSE;
    loop {
        match socket.accept().await {
            Ok((stream, addr)) => {
                pause = FIRST_PAUSE;
                listener.accepts.inc();
                worker.place(stream, addr, &listener, &peers);
            }
            Err(error) if is_of_one_connection(&error) => listener.accept_errors.inc(),
            Err(error) => {
                listener.accept_errors.inc();
                crate::error!("cannot accept a connection at {}: {error}; retrying in {pause:?}", listener.flag_value);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Errors that concern the connection that was to be accepted, not the listener (accept(2)).
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
