//! An API server on loopback that replays recorded lists and does to watches what a test wants.
//!
//! Lists are chosen by path and selectors. A watch from the version of its list stays open: the test sends events, cuts
//! it or ends it. Requests are kept, so that a test can count them and wait for them.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};

/// What a request is answered with instead of the recording.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status, further header lines, a body.
    Status(u16, &'static str, String),
    /// Nothing, for ever.
    Silence,
    /// The head of a 200 and nothing more.
    SilentBody,
    /// This body, in pieces of so many bytes, then the connection is cut in mid-body.
    Cut(String),
    /// This body as a watch that ends in order.
    Stream(String),
    /// This body as a watch that stays open.
    Open(String),
}

/// What a test does to open watches.
#[derive(Clone, Debug)]
enum Command {
    /// To watches of this path: bytes.
    Send(String, Vec<u8>),
    /// To all: end of the body.
    End,
    /// To all: the connection is gone.
    Cut,
}

type Rule = Box<dyn FnMut(&Request) -> Option<Answer> + Send>;

/// A request as a test sees it.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub args: BTreeMap<String, String>,
    pub head: String,
}

impl Request {
    pub fn is_watch(&self) -> bool {
        self.args.contains_key("watch")
    }

    pub fn is_streaming_list(&self) -> bool {
        self.args.contains_key("sendInitialEvents")
    }

    pub fn is_list(&self) -> bool {
        !self.is_watch() && !self.args.contains_key("limit")
    }

    pub fn version(&self) -> Option<&str> {
        self.args.get("resourceVersion").map(String::as_str)
    }

    fn selectors(&self) -> (String, String) {
        let arg = |name: &str| self.args.get(name).cloned().unwrap_or_default();
        (arg("labelSelector"), arg("fieldSelector"))
    }
}

struct State {
    lists: Mutex<HashMap<(String, String, String), Vec<u8>>>,
    rule: Mutex<Option<Rule>>,
    requests: watch::Sender<Vec<Request>>,
    commands: broadcast::Sender<Command>,
    piece: usize,
}

pub struct ApiServer {
    pub address: SocketAddr,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/kube").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl ApiServer {
    /// All recorded lists; `piece` bytes of a body at a time.
    pub async fn recorded(piece: usize) -> Self {
        let index: serde_json::Value = serde_json::from_slice(&fixture("recorded/index.json")).unwrap();
        let server = Self::empty(piece).await;
        for entry in index.as_array().unwrap() {
            let file = entry["file"].as_str().unwrap();
            let target = entry["request"].as_str().unwrap().trim_start_matches("GET ");
            if file.starts_with("list-") {
                let request = parse_target(target, String::new());
                server.set_request(&request, fixture(&format!("recorded/{file}")));
            }
        }
        server
    }

    /// No lists: all of them are empty.
    pub async fn empty(piece: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            lists: Mutex::default(),
            rule: Mutex::default(),
            requests: watch::Sender::new(Vec::new()),
            commands: broadcast::Sender::new(1024),
            piece,
        });
        let accepting = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Arc::clone(&accepting)));
            }
        });
        Self { address, state, task }
    }

    /// What a path lists, without selectors.
    pub fn set(&self, path: &str, list: impl Into<Vec<u8>>) {
        self.set_request(&parse_target(path, String::new()), list.into());
    }

    fn set_request(&self, request: &Request, list: Vec<u8>) {
        let (labels, fields) = request.selectors();
        self.state.lists.lock().unwrap().insert((request.path.clone(), labels, fields), list);
    }

    /// Answers that beat the lists, as long as the rule gives one.
    pub fn rule(&self, rule: impl FnMut(&Request) -> Option<Answer> + Send + 'static) {
        *self.state.rule.lock().unwrap() = Some(Box::new(rule));
    }

    pub fn no_rule(&self) {
        *self.state.rule.lock().unwrap() = None;
    }

    /// Sends lines to open watches of a path.
    pub fn send(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let _ = self.state.commands.send(Command::Send(path.to_owned(), bytes.into()));
    }

    pub fn end_watches(&self) {
        let _ = self.state.commands.send(Command::End);
    }

    pub fn cut_watches(&self) {
        let _ = self.state.commands.send(Command::Cut);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.borrow().clone()
    }

    pub fn count(&self, what: impl Fn(&Request) -> bool) -> usize {
        self.state.requests.borrow().iter().filter(|request| what(request)).count()
    }

    /// Waits for the request number `n`, from 1, of those that `what` picks.
    pub async fn wait_for(&self, n: usize, what: impl Fn(&Request) -> bool) -> Request {
        let mut requests = self.state.requests.subscribe();
        let nth = |all: &Vec<Request>| all.iter().filter(|request| what(request)).nth(n - 1).cloned();
        let found = requests.wait_for(|all| nth(all).is_some());
        let found = tokio::time::timeout(Duration::from_secs(60), found).await;
        let Ok(found) = found else { panic!("no request number {n}; got {:#?}", self.requests()) };
        nth(&found.unwrap()).unwrap()
    }
}

fn parse_target(target: &str, head: String) -> Request {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let decode = |text: &str| {
        let decoded = vmkit::percent::decode_arg(text.as_bytes()).unwrap().into_owned();
        String::from_utf8(decoded).unwrap()
    };
    let args = query.split('&').filter(|arg| !arg.is_empty()).map(|arg| {
        let (name, value) = arg.split_once('=').unwrap_or((arg, ""));
        (decode(name), decode(value))
    });
    Request { path: path.to_owned(), args: args.collect(), head }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    let request = parse_target(&target, head);
    let mut commands = state.commands.subscribe();
    let answer = state.rule.lock().unwrap().as_mut().and_then(|rule| rule(&request));
    state.requests.send_modify(|all| all.push(request.clone()));
    match answer {
        Some(answer) => say(&mut stream, answer, &state, &request, &mut commands).await,
        None if request.is_streaming_list() => {
            let refusal = String::from_utf8(fixture("recorded/watch-list-error-422.json")).unwrap();
            say(&mut stream, Answer::Status(422, "", refusal), &state, &request, &mut commands).await;
        }
        None if request.is_watch() => {
            say(&mut stream, Answer::Open(String::new()), &state, &request, &mut commands).await;
        }
        None => {
            let list = list_of(&state, &request);
            let _ = head_of(&mut stream, 200, "").await;
            pieces(&mut stream, &list, state.piece).await;
            let _ = stream.write_all(b"0\r\n\r\n").await;
        }
    }
}

fn list_of(state: &State, request: &Request) -> Vec<u8> {
    let (labels, fields) = request.selectors();
    let plain = |text: &str| text.replace(' ', "");
    let lists = state.lists.lock().unwrap();
    let found = lists.iter().find(|((path, known_labels, known_fields), _)| {
        *path == request.path && plain(known_labels) == plain(&labels) && plain(known_fields) == plain(&fields)
    });
    found.map_or_else(
        || br#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1000"},"items":[]}"#.to_vec(),
        |(_, list)| list.clone(),
    )
}

async fn say(
    stream: &mut TcpStream,
    answer: Answer,
    state: &State,
    request: &Request,
    commands: &mut broadcast::Receiver<Command>,
) {
    match answer {
        Answer::Status(status, headers, body) => {
            let _ = head_of(stream, status, headers).await;
            pieces(stream, body.as_bytes(), state.piece).await;
            let _ = stream.write_all(b"0\r\n\r\n").await;
        }
        Answer::Silence => std::future::pending().await,
        Answer::SilentBody => {
            let _ = head_of(stream, 200, "").await;
            std::future::pending().await
        }
        Answer::Cut(body) => {
            let _ = head_of(stream, 200, "").await;
            pieces(stream, body.as_bytes(), state.piece).await;
        }
        Answer::Stream(body) => {
            let _ = head_of(stream, 200, "").await;
            pieces(stream, body.as_bytes(), state.piece).await;
            let _ = stream.write_all(b"0\r\n\r\n").await;
        }
        Answer::Open(body) => {
            let _ = head_of(stream, 200, "").await;
            pieces(stream, body.as_bytes(), state.piece).await;
            loop {
                match commands.recv().await {
                    Ok(Command::Send(path, bytes)) if path == request.path => {
                        pieces(stream, &bytes, state.piece).await;
                    }
                    Ok(Command::Send(..)) => {}
                    Ok(Command::End) => {
                        let _ = stream.write_all(b"0\r\n\r\n").await;
                        return;
                    }
                    Ok(Command::Cut) | Err(_) => return,
                }
            }
        }
    }
}

async fn head_of(stream: &mut TcpStream, status: u16, headers: &str) -> std::io::Result<()> {
    let head =
        format!("HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await
}

async fn pieces(stream: &mut TcpStream, body: &[u8], size: usize) {
    for piece in body.chunks(size) {
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        chunk.extend_from_slice(piece);
        chunk.extend_from_slice(b"\r\n");
        if stream.write_all(&chunk).await.is_err() {
            return;
        }
    }
}
