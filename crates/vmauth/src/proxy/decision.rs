//! What a known request may do and where it goes: the part of the stages that neither waits nor counts.
//!
//! The stages of [`super::Proxy`] and `vmauth explain` both stand on these functions, so that an explanation is what
//! serving would do. Each decides from a generation and a head alone; answers, counters and log lines are the caller's.

use vmkit::exchange::RequestHead;
use vmkit::go_regex::TooCostly;
use vmkit::http_server::Client;
use vmkit::redact;

use crate::admission::client_address::TrustedProxies;
use crate::authn::Verdict;
use crate::authn::jwt_users::{AcceptedToken, Refusal};
use crate::ending::RequestError;
use crate::generation::Generation;
use crate::rewrite::client_url;
use crate::rewrite::target_url::NormalPath;
use crate::route::matcher::RouteInput;
use crate::user::{Target, User, UserIpFilter};
use jwt::VmAccess;
use std::sync::Arc;

/// Who sends a request.
pub struct Principal<'g> {
    /// The user of the config, or `unauthorized_user`.
    pub user: &'g User,
    /// Its place in `users`; `None` for `unauthorized_user`.
    pub number: Option<u32>,
    /// Whether the request has credentials, even if they belong to nobody.
    pub had_credentials: bool,
    /// The token that was accepted.
    pub token: Option<Arc<AcceptedToken>>,
}

impl std::fmt::Debug for Principal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Principal").field("user", &self.user.name()).finish_non_exhaustive()
    }
}

/// A request that is nobody's.
#[derive(Debug)]
pub enum Nobody {
    /// It has no credentials, and some are needed.
    Missing,
    /// Its credentials are no user's. Why tokens among them were refused is told for the log.
    Invalid(Vec<Refusal>),
}

impl<'g> Principal<'g> {
    /// Whom a verdict stands for.
    pub fn of(generation: &'g Generation, verdict: Verdict) -> Result<Self, Nobody> {
        let found = match verdict {
            Verdict::User { user: number, token } => {
                generation.user(number).map(|user| Self { user, number: Some(number), had_credentials: true, token })
            }
            Verdict::Anybody { had_credentials } => generation.unauthorized_user.as_deref().map(|user| Self {
                user,
                number: None,
                had_credentials,
                token: None,
            }),
            Verdict::Missing => None,
            Verdict::Invalid(refusals) => return Err(Nobody::Invalid(refusals)),
        };
        found.ok_or(Nobody::Missing)
    }

    /// Nobody guesses the signature of a token.
    pub(super) fn may_be_guessed(&self) -> bool {
        !self.user.is_anonymous && self.token.is_none()
    }

    /// Values of the token for URLs and headers.
    pub fn placeholders(&self) -> Option<&VmAccess> {
        self.token.as_deref().map(|token| &token.placeholders)
    }
}

/// What a user has for the requests it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// The entry of this index among [`User::routes`].
    Route(usize),
    /// `url_prefix`
    UrlPrefix,
    /// `default_url`
    DefaultUrl,
}

/// A request as routes see it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'c> {
    /// What is asked for.
    pub head: &'c RequestHead,
    /// By whom.
    pub client: &'c Client,
    /// `-http.trustedProxies`
    pub trusted_proxies: &'c TrustedProxies,
}

impl Subject<'_> {
    /// Whether a filter lets the client's address pass.
    pub fn passes(&self, filter: &UserIpFilter) -> bool {
        let header = filter.real_ip_header.as_deref();
        filter.filter.allows(self.trusted_proxies.client_ip(self.head, header, self.client.ip()))
    }

    /// The filter of the user, which is asked before anything of the request is read.
    pub fn check_address(&self, filter: Option<&UserIpFilter>) -> Result<(), RequestError> {
        match filter {
            Some(filter) if !self.passes(filter) => Err(RequestError::IpDenied),
            _ => Ok(()),
        }
    }

    /// The URL as answers and log lines show it, without secrets.
    pub fn shown_url(&self, path: &NormalPath<'_>) -> Vec<u8> {
        let mut url = Vec::new();
        client_url::push(&mut url, self.head, path);
        redact::url_args(&url).into_owned()
    }

    /// What the routes of a user are compared with.
    pub fn route_input<'a>(&'a self, path: &'a NormalPath<'_>) -> RouteInput<'a> {
        RouteInput { host: self.head.host(), path: path.decoded(), query: self.head.query(), head: self.head }
    }

    /// Where the request goes: the user's `deny_paths`, its routes in order, `url_prefix`, `default_url`. What was selected
    /// is told for refusals, too.
    pub fn choose<'u>(
        &self,
        generation: &Generation,
        principal: &Principal<'u>,
        path: &NormalPath<'_>,
    ) -> (Option<Selected>, Result<&'u Target, RequestError>) {
        let user = principal.user;
        // With users of whatever kind, nobody's request may lack nothing but credentials.
        let may_lack_credentials = user.is_anonymous && !generation.users.is_empty();
        let path_denied = || RequestError::PathDenied { ask: may_lack_credentials };
        if user.deny_paths.contains(path.decoded()) {
            return (None, Err(path_denied()));
        }
        let selected = match user.table.as_ref().map_or(Ok(None), |table| table.select(&self.route_input(path))) {
            Ok(selected) => selected,
            Err(TooCostly) => return (None, Err(RequestError::CostlyRequest)),
        };
        if let Some((index, route)) = selected.and_then(|index| Some((index, user.routes.get(index)?))) {
            let outcome = match self.check_address(route.ip_filter.as_deref()) {
                Err(error) => Err(error),
                Ok(()) if route.deny_paths.contains(path.decoded()) => Err(path_denied()),
                Ok(()) => Ok(&*route.target),
            };
            return (Some(Selected::Route(index)), outcome);
        }
        if let Some(target) = user.url_prefix.as_deref() {
            return (Some(Selected::UrlPrefix), Ok(target));
        }
        if let Some(target) = user.default_url.as_deref() {
            return (Some(Selected::DefaultUrl), Ok(target));
        }
        let error = match may_lack_credentials {
            true if principal.had_credentials => RequestError::InvalidCredentials,
            true => RequestError::CredentialsNeeded,
            false => RequestError::MissingRoute,
        };
        (None, Err(error))
    }
}
