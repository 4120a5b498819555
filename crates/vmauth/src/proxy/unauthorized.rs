//! Answers to requests whose credentials are missing or belong to nobody (docs/reference/auth.md).
//!
//! Wrong credentials are answered late, so that guessing is slow, and later still when their address has failed often;
//! the waiting request holds no slot. Neither reply nor
//! log ever holds a credential: tokens are named by their fingerprint.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use vmkit::exchange::{HeaderList, ReplyWriter, RequestBody, RequestHead};
use vmkit::http_server::{Client, log_text, send_error};

use super::ProxyShared;
use super::access_log::{self, Entry};
use super::failed_login::{self, Report};
use crate::authn::jwt_users::Refusal;
use crate::generation::Generation;
use crate::user::User;

/// The request as far as a refusal needs it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'c> {
    /// What was asked for.
    pub head: &'c RequestHead,
    /// By whom.
    pub client: &'c Client,
    /// Header lines of every reply.
    pub common_lines: &'c HeaderList,
    /// When its head had come.
    pub started: Instant,
}

/// No credentials, and nothing is served without: asks for them at once.
pub async fn missing(shared: &ProxyShared, generation: &Generation, asked: Asked<'_>, reply: &mut ReplyWriter) {
    shared.metrics.missing_credentials.inc();
    let extra = [("WWW-Authenticate", "Basic realm=\"Restricted\"")];
    let text = "missing 'Authorization' request header";
    send_error(asked.head, reply, asked.common_lines, 401, text, &extra).await;
    log_refusal(generation, asked);
}

/// More logins than can be checked: whoever waits may come again.
pub async fn busy(shared: &ProxyShared, text: &str, asked: Asked<'_>, reply: &mut ReplyWriter) {
    if shared.login_lines.admit(unix_seconds()).is_some() {
        vmkit::warn!("{}", log_text(asked.head, asked.client, None, text));
    }
    send_error(asked.head, reply, asked.common_lines, 503, text, &[("Retry-After", "10")]).await;
}

/// Credentials that belong to nobody.
pub struct Refused<'a> {
    /// Settings and counters.
    pub shared: &'a ProxyShared,
    /// The config that refused.
    pub generation: &'a Generation,
    /// Why tokens were refused.
    pub refusals: Vec<Refusal>,
}

impl Refused<'_> {
    /// Waits, answers 401 and writes the access log.
    pub async fn answer(&self, asked: Asked<'_>, body: &mut RequestBody<'_>, reply: &mut ReplyWriter) {
        self.delay_and_answer(asked, body, reply).await;
        log_refusal(self.generation, asked);
    }

    /// The same for a request that has an access-log entry already.
    pub async fn delay_and_answer(&self, asked: Asked<'_>, body: &mut RequestBody<'_>, reply: &mut ReplyWriter) {
        self.shared.metrics.invalid_auth_token.inc();
        for refusal in &self.refusals {
            self.shared.metrics.tokens_refused.count(refusal.cause);
        }
        // Counted before the wait: a client that does not wait for its answer has failed, too.
        let ip = self.shared.login_ip(asked.head, asked.client);
        let factor = self.shared.failed_logins.count(ip, Instant::now());
        let has_details = self.report(asked);
        if !wait(self.shared, factor, body).await {
            return reply.set_close();
        }
        let mut text = "Unauthorized".to_owned();
        if has_details {
            text = format!("cannot authorize request with auth tokens [{}]", self.candidates(asked.head));
            vmkit::warn!("{}", log_text(asked.head, asked.client, None, &text));
            for refusal in &self.refusals {
                let line = refusal.log_text();
                vmkit::info!("{}", log_text(asked.head, asked.client, None, &line));
            }
        }
        send_error(asked.head, reply, asked.common_lines, 401, &text, &[]).await;
    }

    /// Counts the cause and says it in the log; whether all details are to be told.
    fn report(&self, asked: Asked<'_>) -> bool {
        let (shared, directory) = (self.shared, &self.generation.directory);
        let Report { cause, text, user } =
            failed_login::explain(asked.head, asked.client, &shared.auth_headers, directory, &self.refusals);
        shared.login_failures.count(cause);
        let has_details = shared.switches.logs_login_of(user.as_deref());
        if has_details {
            // The refusals of tokens follow behind the answer, as upstream logs them.
            if self.refusals.is_empty() {
                vmkit::info!("{}", log_text(asked.head, asked.client, None, &failed_login::message(&text, 0)));
            }
        } else if let Some(dropped) = shared.login_lines.admit(unix_seconds()) {
            vmkit::warn!("{}", log_text(asked.head, asked.client, None, &failed_login::message(&text, dropped)));
        }
        has_details
    }

    /// Scheme and fingerprint of every candidate.
    fn candidates(&self, head: &RequestHead) -> String {
        let mut names = Vec::new();
        self.shared.auth_headers.find(head, |value| {
            let text = String::from_utf8_lossy(value);
            let (scheme, secret) = text.split_once(' ').unwrap_or(("", &text));
            let scheme =
                if scheme.len() <= 16 && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) { scheme } else { "" };
            names.push(format!("\"http_auth:{scheme} sha256:{}\"", jwt::fingerprint(secret)));
            None::<()>
        });
        names.join(" ")
    }
}

/// Whether a user with valid credentials may go on: at once, unless many logins failed from the address and the user was
/// not seen there before; then after the time that a failure would take. `false` when the client has left.
pub async fn admit(shared: &ProxyShared, user: &User, asked: Asked<'_>, body: &mut RequestBody<'_>) -> bool {
    let ip = shared.login_ip(asked.head, asked.client);
    let Some(factor) = shared.failed_logins.admit(ip, user.name(), asked.started) else { return true };
    let has_waited = wait(shared, factor, body).await;
    if has_waited {
        shared.failed_logins.remember(ip, user.name());
    }
    has_waited
}

/// Waits two to three seconds times the factor; `false` when the client has left.
async fn wait(shared: &ProxyShared, factor: u32, body: &mut RequestBody<'_>) -> bool {
    if factor > 1 {
        shared.metrics.failed_logins_limited.inc();
    }
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(fastrand::u64(2000..3000)) * factor) => true,
        () = body.gone() => false,
    }
}

/// The access-log line of a request that was refused before it had a user.
fn log_refusal(generation: &Generation, asked: Asked<'_>) {
    let Some(spec) = generation.unauthorized_user.as_ref().and_then(|user| user.access_log.as_ref()) else { return };
    let entry = Entry {
        status: 401,
        duration: Duration::ZERO,
        username: "unauthorized",
        form: None,
        request_id: None,
        reason: "",
        record: None,
    };
    access_log::write(spec, asked.head, asked.client, &entry);
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
