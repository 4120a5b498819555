//! One watched URL: list, watch, and watch again from where it ended.
//!
//! ```text
//! list ──► watch ──(ends, cut, silent)──► watch from the last version ──► …
//!   ▲        │ 410, error event, version in doubt
//!   └────────┘
//! ```
//!
//! The version of every event and bookmark is taken, so an end of a watch costs nothing. A server that answers with
//! silence because it does not have our version yet is found out by a list of one object, asked after each connection
//! that was refused or cut. What is known stays in the store whatever happens here; waits are those of [`Backoff`].

use super::api_objects as api;
use super::api_server::{ApiServer, Reply};
use super::backoff::Backoff;
use super::json_pieces::{EventReader, ListReader, PieceError};
use super::objects::ObjectKind;
use super::store::{Counts, Listing, Store};
use super::watch_limits::WatchLimits;
use super::watch_status::{Failure, WatchState, WatchStatus};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// A watched URL with its objects. The task that fills it ends when the last entry lets go of it.
pub(super) struct Watcher {
    kind: ObjectKind,
    server: Arc<ApiServer>,
    /// Path, and selectors as a query without a question mark.
    path: String,
    selectors: String,
    store: Arc<Store>,
    status: WatchStatus,
}

/// What the task knows between two requests.
struct Progress {
    /// To watch from; `None`: list first.
    version: Option<String>,
    /// The server may be another one, or an older copy.
    doubt: bool,
    /// 410s without an event between them.
    gone_in_row: u32,
    relist_at: Option<Instant>,
    backoff: Backoff,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// What an event means for the watch.
enum Next {
    Continue,
    /// The initial events of a streaming list are complete.
    ListComplete,
}

impl Watcher {
    pub(super) fn new(kind: ObjectKind, server: Arc<ApiServer>, path: String, selectors: String) -> Arc<Self> {
        let shown = format!("{}{path}{}{selectors}", server.shown_url(), if selectors.is_empty() { "" } else { "?" });
        let status = WatchStatus::new(kind, shown, server.metrics());
        Arc::new(Self { kind, server, path, selectors, store: Arc::default(), status })
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(super) fn state(&self) -> WatchState {
        self.status.state()
    }

    /// Lists and watches for ever; dropped to end it.
    pub(super) async fn run(&self) {
        let mut progress = Progress {
            version: None,
            doubt: false,
            gone_in_row: 0,
            relist_at: None,
            backoff: Backoff::new(self.server.limits().retry),
        };
        loop {
            let begun = Instant::now();
            let wait = match self.step(&mut progress).await {
                Ok(()) => {
                    self.status.metrics().restarted("end");
                    // A server that ends each watch at once must not be asked in a loop.
                    self.server.limits().retry.saturating_sub(begun.elapsed())
                }
                Err(failure) => self.after(&mut progress, &failure),
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Decides what a failure means for what is known, and how long to wait.
    fn after(&self, progress: &mut Progress, failure: &Failure) -> Duration {
        self.status.failed(failure);
        let mut asked = None;
        match failure {
            Failure::Gone { .. } => {
                self.status.metrics().stale();
                self.status.metrics().restarted("gone");
                progress.version = None;
                progress.gone_in_row += 1;
                if progress.gone_in_row == 1 {
                    return Duration::ZERO;
                }
            }
            Failure::Parse { .. } => {
                self.status.metrics().restarted("error");
                progress.version = None;
            }
            Failure::Request { .. } | Failure::Cut { .. } => {
                self.status.metrics().restarted("cut");
                progress.doubt = true;
            }
            Failure::Status { retry_after, .. } => asked = *retry_after,
            Failure::NoStreamingLists { .. } => {}
        }
        progress.backoff.next(asked, fastrand::f64())
    }

    /// What is needed before a watch, and the watch until it ends.
    async fn step(&self, progress: &mut Progress) -> Result<(), Failure> {
        let due = progress.relist_at.is_some_and(|at| Instant::now() >= at);
        if progress.version.is_some() && !due && progress.doubt {
            self.probe(progress).await?;
        }
        if progress.version.is_none() || due {
            if self.server.has_streaming_lists() {
                match self.watch(progress, Some(Listing::default())).await {
                    Err(Failure::NoStreamingLists { .. }) => self.server.no_streaming_lists(),
                    other => return other,
                }
            }
            self.list(progress).await?;
        }
        self.watch(progress, None).await
    }

    /// Whether the server has at least the version that we have.
    async fn probe(&self, progress: &mut Progress) -> Result<(), Failure> {
        let reply = self.get("limit=1").await?;
        let (url, mut reply) = self.good(reply).await?;
        let mut reader = ListReader::default();
        let read = async {
            while let Some(piece) = reply.piece().await.map_err(|cause| cut(&url, cause))? {
                reader.feed(&piece, |_| {}).map_err(|error| parse(&url, error))?;
            }
            Ok::<(), Failure>(())
        };
        timeout(Duration::from_secs(30), read).await.map_err(|_| cut(&url, "timeout".to_owned()))??;
        let metadata = reader.finish().map_err(|error| parse(&url, error))?;
        let theirs = list_version(&metadata).unwrap_or_default();
        progress.doubt = false;
        if progress.version.as_deref().is_some_and(|ours| is_lower(&theirs, ours)) {
            progress.version = None;
        }
        Ok(())
    }

    /// Reads the whole list from the memory of the server.
    async fn list(&self, progress: &mut Progress) -> Result<(), Failure> {
        let begun = Instant::now();
        let reply = self.get("resourceVersion=0&resourceVersionMatch=NotOlderThan").await?;
        let (url, mut reply) = self.good(reply).await?;
        let (mut reader, mut listing) = (ListReader::default(), Listing::default());
        let end = begun + self.server.limits().list;
        let piece_limit = self.server.limits().list_piece;
        loop {
            let deadline = end.min(Instant::now() + piece_limit);
            let piece = timeout_at(deadline, reply.piece()).await.map_err(|_| cut(&url, "timeout".to_owned()))?;
            let Some(piece) = piece.map_err(|cause| cut(&url, cause))? else { break };
            reader.feed(&piece, |item| self.listed(&mut listing, item)).map_err(|error| match error {
                PieceError::Cut => cut(&url, error.to_string()),
                _ => parse(&url, error),
            })?;
        }
        let metadata = reader.finish().map_err(|error| cut(&url, error.to_string()))?;
        let version = list_version(&metadata).ok_or_else(|| parse(&url, "no resourceVersion"))?;
        self.complete(progress, listing, version, begun.elapsed());
        Ok(())
    }

    fn listed(&self, listing: &mut Listing, item: &[u8]) {
        match self.server.builder().read(self.kind, item) {
            Ok((key, object)) => self.store.listed(listing, key, object),
            Err(error) => self.unreadable(&error),
        }
    }

    /// One object that cannot be read must not cost all others.
    fn unreadable(&self, error: &serde_json::Error) {
        self.status.metrics().failed("object");
        vmkit::error!("cannot parse an object of {}: {error}; it gives no targets", self.path);
    }

    fn complete(&self, progress: &mut Progress, listing: Listing, version: String, took: Duration) {
        let counts = self.store.finish(listing);
        self.status.listed(counts, self.store.len(), took, &version);
        let relist = self.server.limits().relist;
        progress.relist_at = (!relist.is_zero()).then(|| Instant::now() + relist.mul_f64(1.0 + fastrand::f64()));
        progress.version = Some(version);
        progress.doubt = false;
        progress.backoff.reset();
    }

    /// Applies events until the watch ends. With a listing, the watch begins with all objects.
    async fn watch(&self, progress: &mut Progress, listing: Option<Listing>) -> Result<(), Failure> {
        let limits = self.server.limits();
        let seconds = limits.watch.as_secs().max(1);
        let from = match (&listing, &progress.version) {
            (Some(_), _) => "sendInitialEvents=true&resourceVersionMatch=NotOlderThan".to_owned(),
            (None, version) => format!("resourceVersion={}", version.as_deref().unwrap_or("0")),
        };
        let query = format!("watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&{from}");
        let begun = Instant::now();
        let reply = self.get(&query).await?;
        if listing.is_some() && matches!(reply.status, 400 | 422) {
            return Err(Failure::NoStreamingLists { url: self.url(&query) });
        }
        let (url, mut reply) = self.good(reply).await?;
        let mut session = Session { watcher: self, progress, listing, begun, url, started: false, failure: None };
        let mut reader = EventReader::default();
        loop {
            let piece = match timeout(session.patience(limits), reply.piece()).await {
                Ok(piece) => piece.map_err(|cause| cut(&session.url, cause))?,
                Err(_) if session.is_relist_due() => return Ok(()),
                Err(_) => return Err(session.silent()),
            };
            let Some(piece) = piece else { break };
            let fed = reader.feed(&piece, |event| session.event(event));
            if let Some(failure) = session.failure.take() {
                return Err(failure);
            }
            fed.map_err(|error| parse(&session.url, error))?;
            if session.is_relist_due() {
                return Ok(());
            }
        }
        if session.listing.is_some() || !reader.is_between_events() {
            return Err(cut(&session.url, PieceError::Cut.to_string()));
        }
        Ok(())
    }

    fn url(&self, query: &str) -> String {
        format!("{}{}?{}", self.server.shown_url(), self.path, self.query(query))
    }

    fn query(&self, query: &str) -> String {
        let and = if self.selectors.is_empty() { "" } else { "&" };
        format!("{}{and}{query}", self.selectors)
    }

    async fn get(&self, query: &str) -> Result<Reply, Failure> {
        let target = format!("{}?{}", self.path, self.query(query));
        self.server.get(&target).await.map_err(|cause| Failure::Request { url: self.url(query), cause })
    }

    /// The reply if it is a 200, with the URL for messages.
    async fn good(&self, reply: Reply) -> Result<(String, Reply), Failure> {
        let url = format!("{}{}", self.server.shown_url(), reply.target);
        if reply.status == 200 {
            return Ok((url, reply));
        }
        let (status, retry_after) = (reply.status, reply.retry_after);
        let message = reply.error_text().await;
        if status == 410 {
            return Err(Failure::Gone { url });
        }
        let hint = if status == 403 { self.missing_right() } else { String::new() };
        Err(Failure::Status { url, status, message, hint, retry_after })
    }

    fn missing_right(&self) -> String {
        let resource = self.path.rsplit('/').next().unwrap_or_default();
        let place = match self.path.split_once("/namespaces/").and_then(|(_, rest)| rest.split_once('/')) {
            Some((namespace, _)) => format!("in namespace {namespace:?}"),
            None => "in the whole cluster".to_owned(),
        };
        format!("; the account needs the verbs list and watch on {resource} {place}")
    }
}

/// One watch that is open.
struct Session<'a> {
    watcher: &'a Watcher,
    progress: &'a mut Progress,
    /// While the initial events of a streaming list come in.
    listing: Option<Listing>,
    begun: Instant,
    url: String,
    /// Whether any event came.
    started: bool,
    failure: Option<Failure>,
}

impl Session<'_> {
    /// How long to wait for the next byte.
    fn patience(&self, limits: &WatchLimits) -> Duration {
        let silence = match &self.listing {
            None => limits.silence,
            Some(_) if self.started => limits.list_piece,
            Some(_) => limits.list_start,
        };
        match self.progress.relist_at {
            Some(at) if self.listing.is_none() => silence.min(at.saturating_duration_since(Instant::now())),
            _ => silence,
        }
    }

    /// Whether the watch has to make way for a list. Not for the one it begins with.
    fn is_relist_due(&self) -> bool {
        self.listing.is_none() && self.progress.relist_at.is_some_and(|at| Instant::now() >= at)
    }

    /// What no byte within the patience means.
    fn silent(&self) -> Failure {
        if self.listing.is_some() && !self.started {
            return Failure::NoStreamingLists { url: self.url.clone() };
        }
        cut(&self.url, "timeout".to_owned())
    }

    fn event(&mut self, json: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        match self.apply(json) {
            Ok(Next::Continue) => self.started = true,
            Ok(Next::ListComplete) => {
                if let (Some(listing), Some(version)) = (self.listing.take(), self.progress.version.clone()) {
                    self.watcher.complete(self.progress, listing, version, self.begun.elapsed());
                }
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    fn apply(&mut self, json: &[u8]) -> Result<Next, Failure> {
        let event: Event<'_> = serde_json::from_slice(json).map_err(|error| parse(&self.url, error))?;
        let object = event.object.get();
        let watcher = self.watcher;
        let counts = match event.kind {
            "ADDED" | "MODIFIED" => {
                // Before the list is complete its versions are nothing to watch from.
                if let Some(listing) = &mut self.listing {
                    watcher.listed(listing, object.as_bytes());
                    return Ok(Next::Continue);
                }
                self.take_version(object)?;
                match watcher.server.builder().read(watcher.kind, object.as_bytes()) {
                    Ok((key, object)) => watcher.store.upsert(key, object),
                    Err(error) => {
                        watcher.unreadable(&error);
                        Counts::default()
                    }
                }
            }
            "DELETED" => {
                let meta = self.take_version(object)?;
                let key = watcher.server.builder().key(&meta.metadata);
                watcher.store.remove(&key)
            }
            "BOOKMARK" => {
                let before = self.progress.version.clone();
                let meta = self.take_version(object)?;
                if self.listing.is_some() && meta.metadata.annotations.get("k8s.io/initial-events-end") == Some("true")
                {
                    return Ok(Next::ListComplete);
                }
                let now = self.progress.version.as_deref().unwrap_or_default();
                if before.as_deref().is_some_and(|before| is_lower(now, before)) {
                    self.progress.version = before;
                    self.progress.doubt = true;
                    return Err(cut(&self.url, "the server went back to an older version".to_owned()));
                }
                Counts::default()
            }
            "ERROR" => return Err(self.error(object)),
            other => return Err(parse(&self.url, format!("unknown event type {other:?}"))),
        };
        self.progress.gone_in_row = 0;
        self.progress.backoff.reset();
        watcher.status.event(counts, watcher.store.len());
        Ok(Next::Continue)
    }

    fn take_version<'o>(&mut self, object: &'o str) -> Result<api::MetaOnly<'o>, Failure> {
        let meta: api::MetaOnly<'_> = serde_json::from_str(object).map_err(|error| parse(&self.url, error))?;
        if !meta.metadata.resource_version.is_empty() {
            self.progress.version = Some(meta.metadata.resource_version.as_str().to_owned());
        }
        Ok(meta)
    }

    fn error(&self, object: &str) -> Failure {
        let status: api::Status<'_> = serde_json::from_str(object).unwrap_or_default();
        match status.code {
            410 => Failure::Gone { url: self.url.clone() },
            500 | 504 if self.listing.is_some() => Failure::NoStreamingLists { url: self.url.clone() },
            code => parse(&self.url, format!("error event with code {code}: {}", status.message.as_str())),
        }
    }
}

fn list_version(metadata: &[u8]) -> Option<String> {
    let meta: api::ListMeta<'_> = serde_json::from_slice(metadata).ok()?;
    Some(meta.resource_version.as_str().to_owned()).filter(|version| !version.is_empty())
}

/// Versions are numbers in practice; others cannot be compared and are not in doubt.
fn is_lower(one: &str, other: &str) -> bool {
    match (one.parse::<u128>(), other.parse::<u128>()) {
        (Ok(one), Ok(other)) => one < other,
        _ => false,
    }
}

fn cut(url: &str, cause: String) -> Failure {
    Failure::Cut { url: url.to_owned(), cause }
}

fn parse(url: &str, cause: impl ToString) -> Failure {
    Failure::Parse { url: url.to_owned(), cause: cause.to_string() }
}
