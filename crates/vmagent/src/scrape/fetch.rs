//! One request for a page: headers, redirects, compression, limits of size.
//!
//! Pieces of the page are handed on as they are decompressed, so memory does not follow the page. Status, size and
//! completeness are judged here; what a piece means is not.

use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use vmkit::exchange::{BodyError, BodyKind, HeaderId, HeaderList, ReplyError, RequestLine};

use super::connection::{Connection, Network, basic_of};
use super::target::{ScrapeUrl, Target};
use crate::http_identity::HttpIdentity;

/// Redirects that are followed in a row.
const MAX_REDIRECTS: usize = 10;
/// How much of the body of a refusal is shown.
const SHOWN_BODY: usize = 1024;
/// Compressed bytes that are unpacked before what they gave is passed on.
const COMPRESSED_PIECE: usize = 8 << 10;

/// Gets pages of one target.
#[derive(Debug)]
pub struct Fetcher {
    network: Rc<Network>,
    identity: Arc<HttpIdentity>,
    connection: Option<Connection>,
    /// `-promscrape.maxResponseHeadersSize` in bytes.
    max_head: usize,
}

/// What a page was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Size without compression.
    pub size: u64,
}

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// No answer, or a broken one.
    Request(String),
    /// Another status than 200.
    Status(u16, String),
    /// The page is too large.
    TooLarge {
        /// Whether it is too large only without compression.
        uncompressed: bool,
    },
    /// The page cannot be decompressed.
    Gunzip(String),
    /// Whoever takes the pieces has had enough.
    Stopped,
}

/// Takes pieces of a page. The second call is for moments at which it may wait.
pub trait PageSink {
    /// Takes a piece.
    fn piece(&mut self, piece: &[u8]);
    /// Passes on what has been put together; an error ends the page.
    fn pass_on(&mut self) -> impl Future<Output = Result<(), FetchError>>;
}

impl Fetcher {
    /// For targets with an identity.
    pub fn new(network: Rc<Network>, identity: Arc<HttpIdentity>, max_head: usize) -> Self {
        Self { network, identity, connection: None, max_head }
    }

    /// Closes the connection: what was read from it is unknown.
    pub fn reset(&mut self) {
        self.connection = None;
    }

    /// Gets the page of a target. Dropping the future closes the connection on the next call of [`Fetcher::reset`].
    ///
    /// # Errors
    /// Why there is no page, or none in full.
    pub async fn fetch(&mut self, target: &Target, sink: &mut impl PageSink) -> Result<Fetched, FetchError> {
        let mut url = target.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let first = url.tls == target.url.tls && url.authority == target.url.authority;
            let mut connection = self.exchange(target, &url, first).await?;
            let head = connection.exchange.reply.head();
            let head_size: usize = head.headers().map(|line| line.name.len() + line.value.len() + 4).sum();
            if head_size > self.max_head {
                return Err(FetchError::Request(format!(
                    "the headers are larger than -promscrape.maxResponseHeadersSize={}",
                    self.max_head
                )));
            }
            let status = head.status();
            if matches!(status, 301 | 302 | 303 | 307 | 308) && !self.identity.options.no_redirects {
                let location = head.headers().find(|line| line.name.eq_ignore_ascii_case(b"location"));
                let location = location.map(|line| String::from_utf8_lossy(line.value).into_owned());
                if let Some(next) = location.and_then(|location| url.join(&location)) {
                    url = next;
                    continue;
                }
            }
            self.network.metrics.answered(status);
            if status != 200 {
                return Err(refusal(status, &mut connection).await);
            }
            let fetched = read_body(target, &mut connection, sink).await?;
            if connection.exchange.is_reusable() && target.settings.keep_alive {
                connection.reused = true;
                self.connection = Some(connection);
            }
            return Ok(fetched);
        }
        Err(FetchError::Request(format!("stopped after {MAX_REDIRECTS} redirects")))
    }

    /// Sends the request and waits for the head of the answer.
    async fn exchange(&mut self, target: &Target, url: &ScrapeUrl, first: bool) -> Result<Connection, FetchError> {
        let request = self.request(target, url, first).await.map_err(FetchError::Request)?;
        let generation = match url.tls {
            true => self.identity.tls.current().await.map_err(FetchError::Request)?.generation,
            false => 0,
        };
        if let Some(mut kept) = self.connection.take()
            && kept.fits(url, generation)
        {
            match send(&mut kept, &request).await {
                Ok(()) => return Ok(kept),
                // The target has closed the connection in the meantime.
                Err(error) if error.is_before_reply() => {}
                Err(error) => return Err(FetchError::Request(error.to_string())),
            }
        }
        let mut fresh = self.network.connect(url, &self.identity).await.map_err(FetchError::Request)?;
        send(&mut fresh, &request).await.map_err(|error| FetchError::Request(error.to_string()))?;
        Ok(fresh)
    }

    async fn request(&self, target: &Target, url: &ScrapeUrl, first: bool) -> Result<Request, String> {
        let options = &self.identity.options;
        let own = |name: &str| options.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let proxy = self.identity.proxy.as_ref().ok().and_then(Option::as_ref);
        let through_proxy = proxy.is_some_and(|proxy| proxy.takes_requests(url.tls));
        let line = if through_proxy { format!("http://{}{}", url.authority, url.target) } else { url.target.clone() };
        let host = options.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = host.map(|(_, value)| value.expose()).or(options.tls.server_name.as_deref());
        let host = host.filter(|_| first).unwrap_or(&url.authority).to_owned();
        let mut headers = HeaderList::default();
        if !own("user-agent") {
            headers.push("User-Agent", b"vm_promscrape");
        }
        if !own("accept") {
            headers.push("Accept", b"text/plain;version=0.0.4;q=1,*/*;q=0.1");
        }
        if target.settings.compression {
            headers.push("Accept-Encoding", b"gzip");
        }
        let timeout = format!("{:.3}", target.timeout.as_secs_f64());
        headers.push("X-Prometheus-Scrape-Timeout-Seconds", timeout.as_bytes());
        if !target.settings.keep_alive {
            headers.push("Connection", b"close");
        }
        // Credentials do not follow a redirect to another server.
        let authorization = if first { self.authorization(target).await? } else { None };
        for (name, value) in &options.headers {
            let fixed = ["host", "accept-encoding", "connection", "content-length", "transfer-encoding"];
            let replaced = name.eq_ignore_ascii_case("authorization") && (authorization.is_some() || !first);
            if !replaced && !fixed.iter().any(|fixed| name.eq_ignore_ascii_case(fixed)) {
                headers.push(name, value.expose().as_bytes());
            }
        }
        if let Some(value) = authorization {
            headers.push("Authorization", value.as_bytes());
        }
        if through_proxy {
            for (name, value) in self.identity.proxy_headers().await? {
                headers.push(&name, value.as_bytes());
            }
        }
        Ok(Request { target: line, host, headers })
    }

    async fn authorization(&self, target: &Target) -> Result<Option<String>, String> {
        match &target.user_info {
            Some(user_info) => Ok(Some(basic_of(user_info))),
            None => self.identity.authorization().await,
        }
    }
}

/// A request before it is written.
#[derive(Debug)]
struct Request {
    target: String,
    host: String,
    headers: HeaderList,
}

async fn send(connection: &mut Connection, request: &Request) -> Result<(), ReplyError> {
    let line = RequestLine {
        method: "GET",
        target: request.target.as_bytes(),
        authority: request.host.as_bytes(),
        upgrade: None,
        wants_trailers: false,
    };
    let exchange = &mut *connection.exchange;
    exchange.begin(&line).list(&request.headers);
    exchange.request.end_head(BodyKind::None);
    let sent = exchange.request.send(&[], true).await;
    sent.map_err(|source| ReplyError::Io { begun: false, source })?;
    exchange.reply.read_head().await
}

/// The error for another status than 200, with the beginning of its body.
async fn refusal(status: u16, connection: &mut Connection) -> FetchError {
    let mut body = Vec::new();
    while body.len() < SHOWN_BODY {
        match connection.exchange.reply.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(chunk.data),
            Ok(None) | Err(_) => break,
        }
    }
    body.truncate(SHOWN_BODY);
    FetchError::Status(status, vmkit::go_text::quote(&body))
}

/// Counts the bytes of a page and passes them on.
struct Limited<'s, S> {
    sink: &'s mut S,
    size: u64,
    limit: u64,
}

impl<S: PageSink> Limited<'_, S> {
    fn take(&mut self, piece: &[u8]) -> bool {
        self.size += piece.len() as u64;
        let fits = self.size <= self.limit;
        if fits {
            self.sink.piece(piece);
        }
        fits
    }
}

impl<S: PageSink> Write for Limited<'_, S> {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        if self.take(piece) { Ok(piece.len()) } else { Err(std::io::ErrorKind::FileTooLarge.into()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn read_body(
    target: &Target,
    connection: &mut Connection,
    sink: &mut impl PageSink,
) -> Result<Fetched, FetchError> {
    let encoding = connection.exchange.reply.head().headers().find(|line| line.id == HeaderId::ContentEncoding);
    let gzip = encoding.is_some_and(|line| line.value.trim_ascii().eq_ignore_ascii_case(b"gzip"));
    let mut limited = Limited { sink, size: 0, limit: target.max_scrape_size };
    if !gzip {
        while let Some(chunk) = connection.exchange.reply.chunk().await.map_err(body_error)? {
            if !limited.take(chunk.data) {
                return Err(FetchError::TooLarge { uncompressed: false });
            }
            limited.sink.pass_on().await?;
        }
        return Ok(Fetched { size: limited.size });
    }
    let mut received = 0;
    let mut decoder = MultiGzDecoder::new(limited);
    while let Some(chunk) = connection.exchange.reply.chunk().await.map_err(body_error)? {
        received += chunk.data.len() as u64;
        if received > target.max_scrape_size {
            return Err(FetchError::TooLarge { uncompressed: false });
        }
        for piece in chunk.data.chunks(COMPRESSED_PIECE) {
            decoder.write_all(piece).map_err(gunzip_error)?;
            decoder.get_mut().sink.pass_on().await?;
        }
    }
    if received > 0 {
        decoder.try_finish().map_err(gunzip_error)?;
    }
    let size = decoder.get_ref().size;
    decoder.get_mut().sink.pass_on().await?;
    Ok(Fetched { size })
}

fn body_error(error: BodyError) -> FetchError {
    FetchError::Request(format!("cannot read the response: {error}"))
}

fn gunzip_error(error: std::io::Error) -> FetchError {
    if error.kind() == std::io::ErrorKind::FileTooLarge {
        return FetchError::TooLarge { uncompressed: true };
    }
    FetchError::Gunzip(error.to_string())
}

impl FetchError {
    /// The text that users read at `/targets`.
    pub fn text(&self, target: &Target) -> String {
        let url = target.url.to_string();
        match self {
            Self::Request(cause) => format!("cannot perform request to {url:?}: {cause}"),
            Self::Status(status, body) => {
                format!(
                    "unexpected status code returned when scraping {url:?}: {status}; expecting 200; response body: {body}"
                )
            }
            Self::TooLarge { uncompressed } => {
                let what = if *uncompressed { "the uncompressed response" } else { "the response" };
                let limit = target.max_scrape_size;
                format!(
                    "{what} from {url:?} exceeds -promscrape.maxScrapeSize or max_scrape_size in the scrape config \
                     ({limit} bytes); possible solutions: reduce the size of the page, or raise the limit"
                )
            }
            Self::Gunzip(cause) => format!("cannot decompress the response from {url:?}: {cause}"),
            Self::Stopped => "the agent is stopping".to_owned(),
        }
    }
}

/// Time limit of a scrape, as an error text.
pub fn timeout_text(target: &Target) -> String {
    let timeout = vmkit::units::GoDuration::from(target.timeout.max(Duration::from_millis(1)));
    format!(
        "cannot perform request to {:?}: no complete response within scrape_timeout={timeout}",
        target.url.to_string()
    )
}
