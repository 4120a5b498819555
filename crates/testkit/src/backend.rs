//! A scripted HTTP/1.1 server on a loopback port: answers as a test says and remembers what it saw.
//!
//! Requests are recorded as soon as their head is there, their bodies grow while they arrive, so a test can look at a
//! request in the middle. Connections are numbered from 0 and counted while they are open: leaks and wrong reuse show.
//! The port stays reserved while the backend refuses connections, so nobody else can take it.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustls::{ServerConfig, ServerConnection};
use socket2::{Domain, SockRef, Socket, Type};

use crate::deadline::PATIENCE;
use crate::wire::{Connection, Fields, Framing, Head};

pub use reply::{Reply, Step};

mod reply;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Number of the connection it came by, from 0.
    pub connection: usize,
    /// Method.
    pub method: String,
    /// Target, byte for byte.
    pub target: String,
    /// Headers.
    pub fields: Fields,
    /// How the body is delimited.
    pub framing: Framing,
    /// What has come of the body so far, chunks joined.
    pub body: Vec<u8>,
    /// Trailers of a chunked body.
    pub trailers: Fields,
    /// Whether the whole body is there.
    pub complete: bool,
}

/// What happens to a new connection before anything is read from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Greeting {
    /// It is served.
    #[default]
    Serve,
    /// It is ended with FIN at once.
    Close,
    /// It is ended with RST at once.
    Reset,
}

type Handler = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

struct State {
    handler: Handler,
    greeting: Greeting,
    requests: Vec<Request>,
    accepted: usize,
    open: HashMap<usize, TcpStream>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    tls: Option<Arc<ServerConfig>>,
}

/// The server; dropping it ends its connections.
pub struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Mutex<Option<TcpListener>>,
    _reservation: Socket,
}

impl Backend {
    /// A backend that answers every request with 200 and this body.
    pub fn saying(body: &str) -> Self {
        Self::replying(Reply::ok(body))
    }

    /// A backend that gives every request the same reply.
    pub fn replying(reply: Reply) -> Self {
        Self::with(move |_| reply.clone())
    }

    /// A backend that gives the n-th request the n-th reply; the last one serves all that follow.
    pub fn script(replies: Vec<Reply>) -> Self {
        let backend = Self::saying("");
        backend.set_script(replies);
        backend
    }

    /// A backend whose replies are chosen by the head of the request.
    pub fn with(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::launch(loopback(0), None, Arc::new(handler))
    }

    /// A backend at this address, such as a second loopback address with a known port.
    pub fn at(address: SocketAddr, reply: Reply) -> Self {
        Self::launch(address, None, Arc::new(move |_: &Request| reply.clone()))
    }

    /// A backend that speaks TLS.
    pub fn tls(config: Arc<ServerConfig>, reply: Reply) -> Self {
        Self::launch(loopback(0), Some(config), Arc::new(move |_: &Request| reply.clone()))
    }

    /// A backend that listens nowhere yet: connections to its address are refused until [`resume`](Self::resume).
    pub fn refusing() -> Self {
        let backend = Self::saying("resumed");
        backend.refuse();
        backend
    }

    fn launch(address: SocketAddr, tls: Option<Arc<ServerConfig>>, handler: Handler) -> Self {
        let (reservation, address) = reserve(address);
        let state =
            State { handler, greeting: Greeting::Serve, requests: Vec::new(), accepted: 0, open: HashMap::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), tls });
        let backend = Self { address, shared, listener: Mutex::new(None), _reservation: reservation };
        backend.resume();
        backend
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS` (or `https://` with TLS), without a slash at the end.
    pub fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Gives every request from now on the same reply.
    pub fn set_reply(&self, reply: Reply) {
        self.set_handler(move |_| reply.clone());
    }

    /// Starts a script anew, see [`script`](Self::script).
    pub fn set_script(&self, replies: Vec<Reply>) {
        let served = Mutex::new(0);
        self.set_handler(move |_| {
            let mut served = served.lock().unwrap_or_else(PoisonError::into_inner);
            let reply = replies.get(*served).or_else(|| replies.last()).cloned().unwrap_or_default();
            *served += 1;
            reply
        });
    }

    /// Chooses replies by the head of the request from now on.
    pub fn set_handler(&self, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        self.shared.lock().handler = Arc::new(handler);
    }

    /// What happens to new connections from now on.
    pub fn set_greeting(&self, greeting: Greeting) {
        self.shared.lock().greeting = greeting;
    }

    /// Stops listening and ends all connections; new ones are refused until [`resume`](Self::resume).
    pub fn refuse(&self) {
        if let Some(listener) = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
        }
        self.hang_up();
    }

    /// Listens again at the same address.
    pub fn resume(&self) {
        let mut slot = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            return;
        }
        let listener = TcpListener::bind(self.address).expect("the reserved port can be listened at");
        let accepting = listener.try_clone().expect("a listener can be cloned");
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || shared.accept(&accepting));
        *slot = Some(listener);
    }

    /// Ends all open connections (FIN), idle or not.
    pub fn hang_up(&self) {
        for tcp in self.shared.lock().open.values() {
            let _ = tcp.shutdown(Shutdown::Both);
        }
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// Number of requests so far.
    pub fn request_count(&self) -> usize {
        self.shared.lock().requests.len()
    }

    /// Number of connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.lock().accepted
    }

    /// Number of connections that neither side has ended.
    pub fn open_connections(&self) -> usize {
        self.shared.lock().open.len()
    }

    /// Waits until `n` requests have come; returns the n-th.
    pub fn wait_for(&self, n: usize) -> Request {
        let state = self.wait_until(&format!("{n} requests"), |state| state.requests.len() >= n);
        state.requests[n - 1].clone()
    }

    /// Waits until the n-th request (from 1) satisfies `ready`; returns it.
    pub fn wait_request(&self, n: usize, what: &str, ready: impl Fn(&Request) -> bool) -> Request {
        let state = self.wait_until(what, |state| state.requests.get(n - 1).is_some_and(&ready));
        state.requests[n - 1].clone()
    }

    /// Waits until exactly `n` connections are open.
    pub fn wait_open(&self, n: usize) {
        drop(self.wait_until(&format!("{n} open connections"), |state| state.open.len() == n));
    }

    fn wait_until(&self, what: &str, done: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.shared.lock();
        let wait = self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !done(state));
        let (state, timeout) = wait.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() && !done(&state) {
            let (open, accepted, requests) = (state.open.len(), state.accepted, state.requests.clone());
            drop(state);
            panic!(
                "backend {}: waited {PATIENCE:?} in vain for {what}; {open} of {accepted} connections are open, \
                 requests: {requests:#?}",
                self.address
            );
        }
        state
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.refuse();
    }
}

impl Debug for Backend {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.address)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((tcp, _)) = listener.accept() {
            let Ok(clone) = tcp.try_clone() else { continue };
            let mut state = self.lock();
            let number = state.accepted;
            state.accepted += 1;
            state.open.insert(number, clone);
            let greeting = state.greeting;
            drop(state);
            self.changed.notify_all();
            let shared = Arc::clone(self);
            thread::spawn(move || shared.serve(number, tcp, greeting));
        }
    }

    fn serve(&self, number: usize, tcp: TcpStream, greeting: Greeting) {
        let connection = match &self.tls {
            None => Some(Connection::plain(tcp)),
            Some(config) => ServerConnection::new(Arc::clone(config)).ok().map(|tls| Connection::tls_server(tls, tcp)),
        };
        if let Some(mut connection) = connection {
            let reset = match greeting {
                Greeting::Serve => matches!(self.exchanges(number, &mut connection), Ok(Last::Reset)),
                Greeting::Close => false,
                Greeting::Reset => true,
            };
            // The registry's clone must be gone first: RST is sent when the last handle is closed.
            let clone = self.lock().open.remove(&number);
            if reset {
                drop(clone);
                connection.reset();
            } else if !reset {
                let _ = connection.tcp().shutdown(Shutdown::Both);
            }
        } else {
            self.lock().open.remove(&number);
        }
        self.changed.notify_all();
    }

    fn exchanges(&self, number: usize, connection: &mut Connection) -> io::Result<Last> {
        loop {
            // An idle pooled connection may wait longer than a test is patient.
            let _ = connection.tcp().set_read_timeout(None);
            let Some(head) = connection.head()? else { return Ok(Last::Close) };
            connection.set_deadline(PATIENCE);
            match self.exchange(number, connection, head)? {
                Last::KeepAlive => {}
                last => return Ok(last),
            }
        }
    }

    fn exchange(&self, number: usize, connection: &mut Connection, head: Head) -> io::Result<Last> {
        let (index, request, handler) = self.record(number, head);
        let reply = handler(&request);
        if !reply.before_body {
            if request.fields.has_token("Expect", "100-continue") {
                connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            self.read_body(index, request.framing, connection)?;
        }
        for step in &reply.steps {
            match step {
                Step::Send(bytes) => connection.write(bytes)?,
                Step::ReadBody => self.read_body(index, request.framing, connection)?,
                Step::Wait(gate) => {
                    if !gate.wait(PATIENCE * 2) {
                        return Ok(Last::Reset);
                    }
                }
                Step::Flood(bytes) => loop {
                    connection.write(bytes)?;
                },
                Step::AwaitPeer => {
                    let _ = connection.tcp().set_read_timeout(None);
                    while connection.fill()? > 0 {}
                    return Ok(Last::Close);
                }
                Step::Echo(last_words) => {
                    let early = connection.take_buffered();
                    connection.write(&early)?;
                    while connection.fill()? > 0 {
                        let bytes = connection.take_buffered();
                        connection.write(&bytes)?;
                    }
                    connection.write(last_words)?;
                    return Ok(Last::Close);
                }
                Step::Close => return Ok(Last::Close),
                Step::Reset => return Ok(Last::Reset),
            }
        }
        Ok(Last::KeepAlive)
    }

    fn record(&self, number: usize, head: Head) -> (usize, Request, Handler) {
        let mut words = head.start.splitn(3, ' ').map(str::to_owned);
        let request = Request {
            connection: number,
            method: words.next().unwrap_or_default(),
            target: words.next().unwrap_or_default(),
            framing: Framing::of_request(&head.fields),
            fields: head.fields,
            ..Request::default()
        };
        let mut state = self.lock();
        let index = state.requests.len();
        state.requests.push(request.clone());
        let handler = Arc::clone(&state.handler);
        drop(state);
        self.changed.notify_all();
        (index, request, handler)
    }

    fn read_body(&self, index: usize, framing: Framing, connection: &mut Connection) -> io::Result<()> {
        let trailers = connection.body(framing, &mut |piece| {
            self.lock().requests[index].body.extend_from_slice(piece);
            self.changed.notify_all();
        })?;
        let mut state = self.lock();
        state.requests[index].trailers = trailers;
        state.requests[index].complete = true;
        drop(state);
        self.changed.notify_all();
        Ok(())
    }
}

/// How an exchange leaves its connection.
enum Last {
    KeepAlive,
    Close,
    Reset,
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Binds without listening: connections are refused, nobody else can take the port, and `SO_REUSEADDR` lets a listener of
/// ours join.
pub fn reserve(address: SocketAddr) -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    socket.bind(&address.into()).unwrap_or_else(|e| panic!("cannot bind {address}: {e}"));
    let bound = socket.local_addr().ok().and_then(|a| a.as_socket()).expect("an address of the internet family");
    (socket, bound)
}
