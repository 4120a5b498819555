//! An address that never answers: nothing there accepts connections, and nothing refuses them.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// How long a connection that goes through at once may take.
const AT_ONCE: Duration = Duration::from_millis(200);

/// A listening socket whose queue is full, so that the kernel drops what asks for a connection (listen(2)).
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _listening: Socket,
    _queued: Vec<Socket>,
}

impl BlackHole {
    /// One on a free port of 127.0.0.1.
    #[expect(clippy::new_without_default, reason = "it opens sockets")]
    pub fn new() -> Self {
        let listening = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listening.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        listening.listen(0).expect("a listening socket");
        let address = listening.local_addr().ok().and_then(|a| a.as_socket()).expect("an address");
        let connect = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.connect_timeout(&address.into(), AT_ONCE).map(|()| socket)
        };
        let queued = std::iter::from_fn(|| connect().ok()).collect();
        Self { address, _listening: listening, _queued: queued }
    }

    /// `http://ADDRESS`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
