//! Why a request is allowed or denied, and where it goes: the answer of `vmauth explain` and `POST /vmauth/explain`.
//!
//! Every decision is made by the functions that serve: [`Login`], [`Subject::choose`], the rewrite stage, the
//! balancer. This room puts a request together, listens, and words what it heard; it decides nothing, sends nothing to
//! backends and changes no counter. What was found is shown without secrets unless they are asked for.

mod asked;
mod json;
mod listener;
mod rows;
mod text;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use vmkit::exchange::{HeaderList, HeaderWriter};
use vmkit::go_text::quote;
use vmkit::http_server::{BasicGate, own_answer, path_after_prefix};
use vmkit::metrics::Set;
use vmkit::percent::decode_strict;
use vmkit::units::GoDuration;

use crate::admission::client_address::TrustedProxies;
use crate::authn::Login;
use crate::authn::credentials::AuthHeaders;
use crate::authn::password_checks::Place;
use crate::authn::verified_tokens::VerifiedTokens;
use crate::ending::RequestError;
use crate::forward::{filters_form, query_key};
use crate::generation::Generation;
use crate::metrics::CacheMetrics;
use crate::options::Options;
use crate::proxy::decision::{Nobody, Principal, Selected, Subject};
use crate::proxy::request_id::of_client;
use crate::rewrite::client_headers::{ForwardContext, authority, write_request_headers};
use crate::rewrite::target_url::NormalPath;
use crate::upstream::backend::Mark;
use crate::upstream::balance::Policy;
use crate::upstream::timeouts::Timeouts;
use crate::user::{Backends, Target, User};
use listener::Listener;

pub use asked::{Asked, AskedError, Words, subject};
pub use rows::{Row, State};

/// What flags decide about requests.
#[derive(Debug)]
pub struct Settings {
    /// `-httpAuthHeader`
    pub auth_headers: AuthHeaders,
    /// `-http.trustedProxies`
    pub trusted_proxies: TrustedProxies,
    /// `-removeXFFHTTPHeaderValue`
    pub remove_xff: bool,
    /// `-requestIDHeader`
    pub request_id_header: Option<String>,
    /// `-http.pathPrefix` with one leading and no trailing slash; empty = none.
    pub path_prefix: String,
    /// Whether the listener of users has the built-in pages as well.
    pub has_pages: bool,
    /// Pages of the state that the listener of users has, because they have a key of their own.
    pub status_pages: &'static [&'static str],
    /// `-httpAuth.*`, if it stands in front of users.
    pub gate: Option<BasicGate>,
    /// Names are not looked up, and providers were not asked for keys.
    pub offline: bool,
}

impl Settings {
    /// What the flags of a process say; `status_pages` are all that stand behind `-statusAuthKey`.
    pub fn new(
        options: &Options,
        service: &vmkit::service::ServiceOptions,
        status_pages: &'static [&'static str],
        offline: bool,
    ) -> Self {
        Self {
            status_pages: if options.auth.status_key.is_set() { status_pages } else { &[] },
            auth_headers: AuthHeaders::new(options.auth.headers.clone()),
            trusted_proxies: TrustedProxies::new(options.auth.trusted_proxies.clone()),
            remove_xff: options.auth.remove_xff,
            request_id_header: options.auth.request_id_header.clone(),
            path_prefix: service.http.path_prefix.clone(),
            has_pages: service.listeners.internal.is_empty(),
            gate: service.access.gate().filter(|_| service.listeners.internal.is_empty()),
            offline,
        }
    }
}

/// How a request ends as far as the config decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes to a backend.
    Allowed,
    /// vmauth refuses it with this status.
    Denied(u16),
    /// vmauth answers it by itself with this status, or with one that depends on the page.
    Own(Option<u16>),
}

/// A backend in the order in which it would be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// The whole URL that is asked for.
    pub url: String,
    /// Whether it is avoided while others are sound.
    pub is_broken: bool,
    /// Why it is avoided while others are sound: `broken`, `unhealthy`, `ejected`; or `warming`, for a sound one that
    /// gets a growing share.
    pub marks: Vec<&'static str>,
    /// Requests on their way to it now.
    pub in_flight: u32,
    /// Its part of the route's load.
    pub weight: u16,
}

/// What the first backend gets.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Method of the request.
    pub method: String,
    /// `Host`
    pub host: String,
    /// All header lines but `Host` and those of framing.
    pub headers: Vec<(String, String)>,
    /// Those that the client did not send so.
    pub added: Vec<(String, String)>,
    /// Names of the client's headers that do not go along.
    pub removed: Vec<String>,
}

/// How long a password of an explanation waits for its turn to be checked.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// The whole answer.
#[derive(Debug)]
pub struct Explanation {
    /// How the request ends.
    pub outcome: Outcome,
    /// What the client is told when it is not allowed.
    pub message: String,
    /// Place of the user: `users[3]` or `unauthorized_user`.
    pub user_place: Option<String>,
    /// The user's name in messages.
    pub user: Option<String>,
    /// Route within the user: `url_map[2]`, `url_prefix` or `default_url`.
    pub route: Option<String>,
    /// Users that were looked at, up to the one that was found.
    pub users: Vec<Row>,
    /// Entries of the user's `url_map`, up to the one that was taken.
    pub routes: Vec<Row>,
    /// What is sent, if anything is.
    pub sent: Option<Sent>,
    /// Limits of time of the route itself.
    pub timeouts: Timeouts,
    /// How backends are chosen.
    pub policy: &'static str,
    /// Backends in the order in which they would be tried.
    pub tries: Vec<Try>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

impl Explanation {
    /// Whether the request goes to a backend, or is answered by vmauth itself without complaint.
    pub fn is_allowed(&self) -> bool {
        !matches!(self.outcome, Outcome::Denied(_))
    }

    fn begin() -> Self {
        Self {
            outcome: Outcome::Allowed,
            message: String::new(),
            user_place: None,
            user: None,
            route: None,
            users: Vec::new(),
            routes: Vec::new(),
            sent: None,
            timeouts: Timeouts::default(),
            policy: "",
            tries: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn deny(mut self, status: u16, message: impl Into<String>) -> Self {
        self.outcome = Outcome::Denied(status);
        self.message = message.into();
        self
    }

    fn deny_with(self, error: &RequestError, user: &User, subject: &Subject<'_>, path: &NormalPath<'_>) -> Self {
        let asked = || quote(subject.shown_url(path));
        let text = error.text(user.name(), user.is_anonymous, GoDuration::default(), asked);
        self.deny(error.meaning().status.unwrap_or(400), error.client_text(&text))
    }
}

/// Explains what would become of a request under this config.
pub async fn explain(settings: &Settings, generation: &Generation, asked: &Asked) -> Explanation {
    let mut answer = Explanation::begin();
    let (head, client) = (asked.head(), asked.client());
    let path = match path_after_prefix(head.path(), settings.path_prefix.as_bytes()) {
        Some([]) if !settings.path_prefix.is_empty() => {
            answer.outcome = Outcome::Own(Some(302));
            answer.message = format!("redirected to {}/", settings.path_prefix);
            return answer;
        }
        Some(path) if path.starts_with(b"/") || settings.path_prefix.is_empty() => path,
        Some(_) | None => {
            return answer.deny(400, format!("the path does not begin with -http.pathPrefix={}", settings.path_prefix));
        }
    };
    let subject = Subject { head, client, trusted_proxies: &settings.trusted_proxies };
    if generation.ip_filter.as_ref().is_some_and(|filter| !subject.passes(filter)) {
        answer.notes.push("ip_filters of the top level refuse the address before credentials are looked at".to_owned());
        return answer.deny(403, "access denied for the client address");
    }
    if let Some(page) = own_answer(head.method(), path).filter(|page| page.is_everywhere || settings.has_pages) {
        answer.outcome = Outcome::Own(page.status);
        answer.message = format!("answered by vmauth itself: {}", page.name);
        return answer;
    }
    let decoded = decode_strict(path, false);
    let is_path = |page: &&&str| decoded.as_deref() == Some(page.as_bytes());
    if let Some(page) = settings.status_pages.iter().find(is_path) {
        answer.outcome = Outcome::Own(None);
        answer.message = format!("answered by vmauth itself: {page}, behind -statusAuthKey");
        return answer;
    }
    if settings.gate.as_ref().is_some_and(|gate| gate.opens_for(head) != Some(true)) {
        answer.notes.push(
            "-httpAuth.username asks for its own credentials on this listener, before any user is known".to_owned(),
        );
        return answer.deny(401, "Unauthorized");
    }
    let (mut listener, unused) = (Listener::default(), CacheMetrics::register(&Set::new()));
    let (directory, tokens) = (&generation.directory, &VerifiedTokens::new(unused));
    let login = Login { directory, headers: &settings.auth_headers, tokens, head, client };
    let verdict = match login.authenticate(&mut listener).await {
        Ok(verdict) => verdict,
        Err(unchecked) => match directory.check(unchecked, Place::of(client.addr.ip()), CHECK_LIMIT).await {
            Ok(found) => login.authenticate_checked(found, &mut listener).await,
            Err(overloaded) => return answer.deny(503, overloaded.to_string()),
        },
    };
    let principal = Principal::of(generation, verdict);
    answer.users = rows::users(generation, &listener, principal.as_ref().ok(), client.subject.is_some());
    match principal {
        Ok(principal) => route(settings, generation, &subject, &principal, &NormalPath::of(path), answer).await,
        Err(Nobody::Missing) => {
            answer.notes.push(no_credentials(settings));
            answer.deny(401, "missing 'Authorization' request header")
        }
        Err(Nobody::Invalid(refusals)) => {
            answer.notes.extend(refusals.iter().map(|refusal| format!("token: {}", refusal.log_text())));
            answer.deny(401, "Unauthorized")
        }
    }
}

fn no_credentials(settings: &Settings) -> String {
    format!(
        "the request has no credentials; they are looked for in {}, and there is no unauthorized_user",
        settings.auth_headers.names().join(", ")
    )
}

/// The second half: a known user.
async fn route(
    settings: &Settings,
    generation: &Generation,
    subject: &Subject<'_>,
    principal: &Principal<'_>,
    path: &NormalPath<'_>,
    mut answer: Explanation,
) -> Explanation {
    let user = principal.user;
    answer.user_place = Some(user.place.to_string());
    answer.user = Some(user.name().to_owned());
    if let Err(error) = subject.check_address(user.ip_filter.as_deref()) {
        answer.notes.push("ip_filters of the user refuse the address".to_owned());
        return answer.deny_with(&error, user, subject, path);
    }
    let (selected, target) = subject.choose(generation, principal, path);
    answer.route = selected.map(|selected| match selected {
        Selected::Route(index) => rows::route_name(user, index),
        Selected::UrlPrefix => "url_prefix".to_owned(),
        Selected::DefaultUrl => "default_url".to_owned(),
    });
    if selected.is_none() && matches!(target, Err(RequestError::PathDenied { .. })) {
        answer.notes.push("deny_paths of the user match the path; routes were not looked at".to_owned());
    } else {
        answer.routes = rows::routes(user, selected, &subject.route_input(path));
    }
    let target = match target {
        Ok(target) => target,
        Err(error) => return answer.deny_with(&error, user, subject, path),
    };
    if answer.users.iter().any(|row| row.state == State::May) {
        let note = "the signature of the token was not checked: if it is wrong, the answer is 401";
        answer.notes.push(note.to_owned());
    }
    match filters_form(target, subject.head, subject.head.body()) {
        Ok(true) => answer.notes.push("args of the form that the route enforces are removed from the body".to_owned()),
        Ok(false) => {}
        Err(error) => return answer.deny_with(&error, user, subject, path),
    }
    send(settings, subject, principal, path, target, answer).await
}

async fn send(
    settings: &Settings,
    subject: &Subject<'_>,
    principal: &Principal<'_>,
    path: &NormalPath<'_>,
    target: &Target,
    mut answer: Explanation,
) -> Explanation {
    let (user, head, placeholders) = (principal.user, subject.head, principal.placeholders());
    let rules = &target.request_rules;
    if let Some(Err(error)) = placeholders.map(|values| rules.check_values(values)) {
        return answer.deny_with(&RequestError::BadHeaderValue(error), user, subject, path);
    }
    let backends = match (&target.backends, settings.offline) {
        (Backends::Configured(backends), _) => backends,
        (Backends::Discovered(discovery), true) => {
            answer.notes.push("names are not looked up with -offline; each address behind one is a backend".to_owned());
            discovery.backends()
        }
        (Backends::Discovered(_), false) => target.backends.fresh().await,
    };
    answer.policy = backends.policy().name();
    answer.timeouts = target.timeouts;
    let key = query_key::of(head, path, None, placeholders);
    if backends.policy() == Policy::HashQuery && head.method() == "POST" {
        answer.notes.push("hash_query goes by the args of a form as well, and an explanation has no body".to_owned());
    }
    let order = backends.preview(key);
    let mut written = Vec::new();
    for (backend, weight) in &order {
        written.clear();
        target.write_target(&backend.target().url, &mut written, head, path, placeholders);
        answer.tries.push(Try {
            url: backend.target().url.on_wire(&written),
            is_broken: backend.is_broken(),
            marks: backend.marks().map(Mark::name).collect(),
            in_flight: backend.in_flight(),
            weight: *weight,
        });
    }
    let Some((first, _)) = order.first() else { return answer.deny(502, "there is no backend") };
    let mut room = Vec::new();
    let (mut fields, url) = (HeaderList::default(), &first.target().url);
    let id_header = settings.request_id_header.as_deref();
    let context = ForwardContext {
        client_ip: &subject.client.ip_text,
        remove_xff: settings.remove_xff,
        placeholders,
        request_id: id_header.map(|name| (name, of_client(head, name).unwrap_or("(a new one)"))),
    };
    let result = write_request_headers(&mut HeaderWriter::List(&mut fields), head, rules, &context)
        .and_then(|()| authority(head, rules, url.host(), placeholders, &mut room));
    match result {
        Ok(host) => answer.sent = Some(Sent::new(subject, host, &fields)),
        Err(error) => return answer.deny_with(&RequestError::BadHeaderValue(error), user, subject, path),
    }
    answer
}

impl Sent {
    fn new(subject: &Subject<'_>, host: &[u8], fields: &HeaderList) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let head = subject.head;
        let is_same = |line: &vmkit::exchange::HeaderLine<'_>| {
            head.headers().any(|own| own.name.eq_ignore_ascii_case(line.name) && own.value == line.value)
        };
        let mut removed: Vec<String> = Vec::new();
        for line in head.headers().filter(|line| !line.name.eq_ignore_ascii_case(b"host")) {
            let is_gone = !fields.iter().any(|sent| sent.name.eq_ignore_ascii_case(line.name));
            if is_gone && !is_framing(line.name) {
                removed.push(text(line.name));
            }
        }
        Self {
            method: head.method().to_owned(),
            host: text(host),
            headers: fields.iter().map(|line| (text(line.name), text(line.value))).collect(),
            added: fields
                .iter()
                .filter(|line| !is_same(line))
                .map(|line| (text(line.name), text(line.value)))
                .collect(),
            removed,
        }
    }
}

/// Written by the codec of the backend as the body needs.
fn is_framing(name: &[u8]) -> bool {
    [&b"content-length"[..], b"transfer-encoding", b"connection"].iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// The client's address with a port that nobody looks at.
fn address(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 54321)
}
