//! The proxy: every stage of a request in order, one line a stage.
//!
//! The outer function counts, logs and answers failures once; the inner one is `?`. Permits, in-flight counts and the
//! access-log entry are values that live until the last byte of the reply was sent or the client has left.

pub mod access_log;
pub mod decision;
pub mod failed_login;
pub mod request_id;
pub mod request_scope;
pub mod switches;
pub mod unauthorized;
mod watched;
pub mod worker_counters;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vmkit::exchange::{Deadline, Exchange, HeaderList, ReplyWriter, RequestBody, RequestHead};
use vmkit::go_text::quote;
use vmkit::http_server::{Client, Handler, Request, log_text, send_error};
use vmkit::redact;
use vmkit::units::GoDuration;

use crate::admission::body_buffer::{BufferError, buffer, buffer_ready};
use crate::admission::client_address::{ClientIp, TrustedProxies};
use crate::admission::concurrency::{Limiter, Permit};
use crate::admission::failed_logins::FailedLogins;
use crate::admission::grpc;
use crate::authn::credentials::AuthHeaders;
use crate::authn::hashed_users::Unchecked;
use crate::authn::password_checks::Place;
use crate::authn::trace::Silent;
use crate::authn::verified_tokens::VerifiedTokens;
use crate::authn::{Login, Verdict};
use crate::ending::{Counted, RequestError};
use crate::forward::{Forward, ForwardSettings, is_form};
use crate::generation::{Generation, Seen, Serving};
use crate::metrics::ProxyMetrics;
use crate::rewrite::target_url::NormalPath;
use crate::upstream::pool::Pool;
use crate::user::{AccessLog, User};
use decision::{Nobody, Principal, Subject};
use failed_login::{LineLimit, LoginFailureMetrics};
use request_scope::{RequestScope, ScopeSettings};
use switches::Switches;
use watched::Watched;
use worker_counters::{AllCounters, WorkerCounters};

/// The access log of users that were switched to have one.
static LOG_ALL: AccessLog = AccessLog { skip_status_codes: Vec::new() };

/// What all workers share.
pub struct ProxyShared {
    /// The config that serves.
    pub serving: Arc<Serving<Generation>>,
    /// Slots of `-maxConcurrentRequests`.
    pub limiter: Arc<Limiter>,
    /// Counters of the process.
    pub metrics: ProxyMetrics,
    /// Where credentials are looked for.
    pub auth_headers: AuthHeaders,
    /// `-http.trustedProxies`
    pub trusted_proxies: TrustedProxies,
    /// `-httpRealIPHeader`
    pub real_ip_header: Option<String>,
    /// Who has failed to log in from where, and who has not.
    pub failed_logins: FailedLogins,
    /// `-maxQueueDuration`
    pub max_queue: GoDuration,
    /// Failed logins by cause.
    pub login_failures: LoginFailureMetrics,
    /// Bounds the lines about failed logins.
    pub login_lines: LineLimit,
    /// Numbers that each worker keeps for itself.
    pub counters: AllCounters,
    /// `-requestIDHeader`
    pub request_id_header: Option<String>,
    /// `-logInvalidAuthTokens`, and what else of logging can be switched.
    pub switches: Switches,
    /// Sizes and timeouts of forwarding.
    pub forward: ForwardSettings,
}

/// The proxy of one worker.
pub struct Proxy {
    shared: Arc<ProxyShared>,
    pool: Rc<Pool>,
    counters: Arc<WorkerCounters>,
    /// Tokens this worker has verified.
    tokens: VerifiedTokens,
    /// The generation this worker has seen last.
    seen: Rc<Seen<Generation>>,
}

/// The parts of a request that are used up on its way.
struct Io<'a, 'c> {
    body: &'a mut RequestBody<'c>,
    reply: &'a mut ReplyWriter,
    deadline: &'a mut Deadline,
}

/// The parts that only say what the request is.
#[derive(Clone, Copy)]
struct Facts<'c> {
    head: &'c RequestHead,
    client: &'c Client,
    path: &'c [u8],
    started: Instant,
    common_lines: &'c HeaderList,
}

impl Handler for Proxy {
    /// The filter of the top level; built-in pages are behind it, too.
    fn admits(&self, request: &Request<'_>) -> bool {
        let generation = self.seen.current();
        let Some(filter) = &generation.ip_filter else { return true };
        let (head, client) = (request.exchange.head, request.client);
        if self.shared.subject(head, client).passes(filter) {
            return true;
        }
        self.shared.metrics.global_ip_denies.inc();
        vmkit::warn!("{}", log_text(head, client, None, "access denied for the client address"));
        false
    }

    async fn handle(&self, request: Request<'_>) {
        let generation = self.seen.current();
        let Request { exchange, path, client, deadline, started, common_lines, .. } = request;
        let Exchange { head, mut body, reply } = exchange;
        let facts = Facts { head, client, path, started, common_lines };
        let mut io = Io { body: &mut body, reply, deadline };
        let login = self.login(&generation, facts.head, facts.client);
        let verdict = match login.authenticate(&mut Silent).await {
            Ok(verdict) => verdict,
            // In a box, so that other requests need no room for it.
            Err(unchecked) => match Box::pin(self.check_password(&login, unchecked, facts, &mut io)).await {
                Some(verdict) => verdict,
                None => return,
            },
        };
        let principal = match Principal::of(&generation, verdict) {
            Ok(principal) => principal,
            Err(Nobody::Missing) => {
                self.counters.replied(401);
                return unauthorized::missing(&self.shared, &generation, facts.into(), io.reply).await;
            }
            Err(Nobody::Invalid(refusals)) => {
                self.counters.replied(401);
                let refused = unauthorized::Refused { shared: &self.shared, generation: &generation, refusals };
                return refused.answer(facts.into(), io.body, io.reply).await;
            }
        };
        if principal.may_be_guessed() && !unauthorized::admit(&self.shared, principal.user, facts.into(), io.body).await
        {
            return io.reply.set_close();
        }
        self.serve(&generation, &principal, facts, &mut io).await;
    }
}

impl<'c> From<Facts<'c>> for unauthorized::Asked<'c> {
    fn from(facts: Facts<'c>) -> Self {
        Self { head: facts.head, client: facts.client, common_lines: facts.common_lines, started: facts.started }
    }
}

impl Proxy {
    /// The proxy of a worker; called on it.
    pub fn new(shared: Arc<ProxyShared>, pool: Rc<Pool>) -> Self {
        let seen = Rc::new(Seen::new(shared.serving.clone()));
        tokio::task::spawn_local(seen.clone().follow());
        let tokens = VerifiedTokens::new(shared.metrics.token_cache.clone());
        let counters = shared.counters.worker();
        Self { shared, pool, counters, tokens, seen }
    }

    fn login<'a>(&'a self, generation: &'a Generation, head: &'a RequestHead, client: &'a Client) -> Login<'a> {
        let (directory, headers, tokens) = (&generation.directory, &self.shared.auth_headers, &self.tokens);
        Login { directory, headers, tokens, head, client }
    }

    /// Whose a request is whose password takes long to check; nothing when it was answered, or its client has left.
    async fn check_password(
        &self,
        login: &Login<'_>,
        unchecked: Unchecked,
        facts: Facts<'_>,
        io: &mut Io<'_, '_>,
    ) -> Option<Verdict> {
        let shared = &self.shared;
        let place = Place::of(shared.login_ip(facts.head, facts.client));
        let checked = tokio::select! {
            checked = login.directory.check(unchecked, place, shared.max_queue.as_std()) => checked,
            () = io.body.gone() => {
                io.reply.set_close();
                return None;
            }
        };
        match checked {
            Ok(found) => Some(login.authenticate_checked(found, &mut Silent).await),
            Err(overloaded) => {
                self.counters.replied(503);
                unauthorized::busy(shared, &overloaded.to_string(), facts.into(), io.reply).await;
                None
            }
        }
    }

    /// Outer: counts, logs and answers what the inner one refuses.
    async fn serve(&self, generation: &Generation, principal: &Principal<'_>, facts: Facts<'_>, io: &mut Io<'_, '_>) {
        let user = principal.user;
        let shared = &self.shared;
        let log =
            user.access_log.as_ref().or_else(|| shared.switches.logs_requests_of(user.name()).then_some(&LOG_ALL));
        let settings = ScopeSettings { log, id_header: shared.request_id_header.as_deref(), counters: &self.counters };
        let scope = RequestScope::new(user, facts.head, facts.client, facts.started, settings);
        match self.stages(generation, principal, facts, io, &scope).await {
            Ok(()) => {}
            Err(RequestError::InvalidCredentials) => {
                let refused = unauthorized::Refused { shared: &self.shared, generation, refusals: Vec::new() };
                scope.set_own_status(401);
                scope.set_error(RequestError::InvalidCredentials.meaning());
                refused.delay_and_answer(facts.into(), io.body, io.reply).await;
            }
            Err(error) => self.fail(error, user, facts, io, &scope).await,
        }
    }

    /// Inner: the stages in the order of `docs/reference/proxying.md`.
    async fn stages<'c>(
        &self,
        generation: &Generation,
        principal: &Principal<'_>,
        facts: Facts<'c>,
        io: &mut Io<'_, '_>,
        scope: &RequestScope<'c>,
    ) -> Result<(), RequestError> {
        let user = principal.user;
        let deadline = facts.started + self.shared.max_queue.as_std();
        let subject = self.shared.subject(facts.head, facts.client);
        subject.check_address(user.ip_filter.as_deref())?;
        // Who sends slowly holds no slot, and who waits for a slot of the user none that others need. A client that
        // waits for 100 Continue is asked for its body once it is admitted.
        let early = match facts.head.expect_continue() {
            true => None,
            false => Some(self.read_ahead(facts, io.body, deadline, scope).await?),
        };
        let _slot = user_slot(user, io.body, deadline).await?;
        let _global = self.global_slot(io.body, deadline).await?;
        let buffered = match early {
            Some(buffered) => buffered,
            None => self.read_ahead(facts, io.body, deadline, scope).await?,
        };
        scope.record().received(buffered.data.len());
        let path = NormalPath::of(facts.path);
        let target = subject.choose(generation, principal, &path).1?;
        let watched = Watched { proxy: self, scope, generation, principal, head: facts.head, client: facts.client };
        let forward = Forward {
            settings: &self.shared.forward,
            pool: &self.pool,
            health: &generation.health,
            user,
            target,
            head: facts.head,
            client: facts.client,
            path: &path,
            placeholders: principal.placeholders(),
            buffered,
            kept: None,
            limited: None,
            common_lines: facts.common_lines,
            observer: &watched,
            record: scope.record(),
            request_id: scope.id_for_backend(),
            waited_since: facts.started,
        };
        forward.run(io.body, io.reply, io.deadline).await
    }

    async fn global_slot(&self, body: &mut RequestBody<'_>, deadline: Instant) -> Result<Permit, RequestError> {
        let limiter = &self.shared.limiter;
        slot(limiter, body, deadline).await?.ok_or_else(|| RequestError::GlobalLimit { capacity: limiter.capacity() })
    }

    async fn read_ahead(
        &self,
        facts: Facts<'_>,
        body: &mut RequestBody<'_>,
        deadline: Instant,
        scope: &RequestScope<'_>,
    ) -> Result<crate::admission::body_buffer::BufferedBody, RequestError> {
        let limits = self.shared.forward.limits;
        if !body.is_done() && grpc::is_call(facts.head) {
            return buffer_ready(body, limits).await.map_err(|error| self.buffer_error(error));
        }
        if limits.buffer == 0 && limits.retry == 0 {
            return buffer(body, limits, deadline).await.map_err(|error| self.buffer_error(error));
        }
        if body.is_done() {
            self.shared.metrics.buffer_duration.update(0.0);
        }
        let started = (!body.is_done()).then(Instant::now);
        let result = buffer(body, limits, deadline).await;
        let is_empty = result.as_ref().is_ok_and(|body| body.complete && body.data.is_empty());
        if let (Some(started), false) = (started, is_empty) {
            self.shared.metrics.buffer_duration.update_duration(started.elapsed());
        }
        let buffered = result.map_err(|error| self.buffer_error(error))?;
        if facts.head.method() == "POST" && is_form(facts.head) {
            scope.set_form(&buffered.data);
        }
        Ok(buffered)
    }

    fn buffer_error(&self, error: BufferError) -> RequestError {
        match error {
            BufferError::TooSlow { read } => {
                RequestError::SlowBody { read, seconds: self.shared.max_queue.as_std().as_secs() }
            }
            BufferError::Broken(error) => RequestError::BadBody(error),
        }
    }

    /// What was asked for, in the text about a missing route.
    fn shown(&self, user: &User, facts: Facts<'_>) -> String {
        let path = NormalPath::of(facts.path);
        let url = quote(self.shared.subject(facts.head, facts.client).shown_url(&path));
        if user.dump_request_on_errors { format!("{url}{}", self.dump(facts.head, &path)) } else { url }
    }

    /// The request for people who look for the reason of a missing route; credentials are left out.
    fn dump(&self, head: &RequestHead, path: &NormalPath<'_>) -> String {
        let mut lines: Vec<_> = head.headers().filter(|line| !line.name.eq_ignore_ascii_case(b"host")).collect();
        lines.sort_by(|a, b| a.name.cmp(b.name));
        let mut headers = String::new();
        for line in lines {
            let secret =
                self.shared.auth_headers.names().iter().any(|name| name.as_bytes().eq_ignore_ascii_case(line.name))
                    || redact::is_secret_header(&String::from_utf8_lossy(line.name));
            // Other headers, such as Referer, hold URLs.
            let value = redact::url_args(line.value);
            let value = if secret { "secret".into() } else { String::from_utf8_lossy(&value) };
            headers.push_str(&format!("{}: {value}\r\n", String::from_utf8_lossy(line.name)));
        }
        let mut args = Vec::new();
        redact::push_args(&mut args, head.query().unwrap_or_default());
        format!(
            " (host: {}; path: {}; args: {}; headers:{headers})",
            quote(head.host()),
            quote(path.decoded()),
            quote(args),
        )
    }

    /// Answers a refused or failed request.
    async fn fail(
        &self,
        error: RequestError,
        user: &User,
        facts: Facts<'_>,
        io: &mut Io<'_, '_>,
        scope: &RequestScope<'_>,
    ) {
        let metrics = &self.shared.metrics;
        let meaning = error.meaning();
        scope.set_error(meaning);
        if meaning.is_request_error() {
            user.metrics.request_errors.inc();
        }
        match meaning.counter {
            Some(Counted::ClientCanceled) => metrics.client_canceled.inc(),
            Some(Counted::MissingRoute) => metrics.missing_route.inc(),
            Some(Counted::SlowClient) => metrics.slow_client.inc(),
            Some(Counted::GlobalLimit) => metrics.global_limit_reached.inc(),
            Some(Counted::UserLimit) => user.metrics.limit_reached.inc(),
            Some(Counted::IpDenies) => user.metrics.ip_denies.inc(),
            Some(Counted::PathDenies) => user.metrics.path_denies.inc(),
            None => {}
        }
        let text = error.text(user.name(), user.is_anonymous, self.shared.max_queue, || self.shown(user, facts));
        if meaning.is_logged {
            vmkit::warn!("{}", scope.log_text(&text));
        }
        let Some(status) = meaning.status else {
            // Nothing that makes sense can follow what was sent.
            return io.reply.set_close();
        };
        if io.reply.has_begun() {
            return io.reply.set_close();
        }
        let extra: &[_] = match status {
            401 => &[("WWW-Authenticate", "Basic realm=\"Restricted\"")],
            429 => &[("Retry-After", "10")],
            _ => &[],
        };
        if status == 408 {
            io.reply.set_close();
        }
        scope.set_own_status(status);
        let text = error.client_text(&text);
        // In gRPC a path without a route is a method that is not there.
        let is_unknown_method = matches!(error, RequestError::MissingRoute) && io.reply.grpc_type().is_some();
        let status = if is_unknown_method { 404 } else { status };
        let sending = send_error(facts.head, io.reply, facts.common_lines, status, &text, extra);
        // A client that does not take its refusal must not hold a connection for ever.
        let _ = tokio::time::timeout(Duration::from_secs(30), sending).await;
    }
}

impl ProxyShared {
    fn subject<'c>(&'c self, head: &'c RequestHead, client: &'c Client) -> Subject<'c> {
        Subject { head, client, trusted_proxies: &self.trusted_proxies }
    }

    /// The address that failed logins are counted for.
    fn login_ip(&self, head: &RequestHead, client: &Client) -> IpAddr {
        match self.trusted_proxies.client_ip(head, self.real_ip_header.as_deref(), client.ip()) {
            ClientIp::Known(ip) => ip,
            // All clients of unix sockets count as one.
            ClientIp::Unknown => client.addr.ip(),
        }
    }
}

async fn user_slot(user: &User, body: &mut RequestBody<'_>, deadline: Instant) -> Result<Permit, RequestError> {
    let found = slot(&user.limiter, body, deadline).await?;
    found.ok_or_else(|| RequestError::UserLimit { capacity: user.limiter.capacity() })
}

/// Waits for a slot; `None` at the deadline.
async fn slot(
    limiter: &Arc<Limiter>,
    body: &mut RequestBody<'_>,
    deadline: Instant,
) -> Result<Option<Permit>, RequestError> {
    tokio::select! {
        biased;
        permit = limiter.acquire(deadline) => Ok(permit.ok()),
        () = body.gone() => Err(RequestError::ClientGone),
    }
}
