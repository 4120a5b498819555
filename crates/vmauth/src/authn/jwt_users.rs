//! Which user a token stands for (docs/reference/auth.md): claims choose, signatures confirm.
//!
//! Stage 5, after static credentials and the cache of [`super::verified_tokens`]. Users with more claims are asked
//! first, then in the order of the file. A user whose issuer, audience or signature does not fit is passed over, so
//! several issuers live side by side; the first user that fits in everything decides. If none does, the refusal
//! reports the cause that came closest. A signature is checked once a key set, however many users share it.

mod refusal;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jwt::{ClaimMatcher, ClaimPath, Claims, KeySet, Token, VmAccess};
use smallvec::SmallVec;

use super::trace::{Belief, Trace};
use crate::oidc::KeyLocation;
use refusal::{Miss, PassedOver, cut};

pub use crate::oidc::IssuerKeys;
pub use refusal::Refusal;

/// A refusal names so many users whose claims do not fit.
const MAX_NAMED_USERS: usize = 3;

/// Says whether a pattern of `match_claims` accepts the whole text of a value.
pub type ClaimPattern = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// `jwt` of one user.
pub struct JwtUserInput {
    /// The number that the outcome names the user by.
    pub user: u32,
    /// The user's display name, for the log.
    pub name: String,
    /// What signatures are checked with.
    pub keys: KeyInput,
    /// One of them must be in `aud`; empty = `aud` is not looked at.
    pub audience: Vec<String>,
    /// Tolerance for `exp` and `nbf`.
    pub clock_skew: Duration,
    /// Paths with patterns; all must match.
    pub match_claims: Vec<(String, ClaimPattern)>,
    /// Used as a whole when the token has no `vm_access`.
    pub default_claim: Option<VmAccess>,
}

/// What signatures of a user's tokens are checked with.
#[derive(Debug, Clone)]
pub enum KeyInput {
    /// Nothing: the token is believed.
    SkipVerify,
    /// Keys of the configuration.
    Static(Arc<KeySet>),
    /// Keys of a provider; if it has an issuer, tokens must name it byte for byte.
    Provider(Arc<IssuerKeys>),
    /// A provider that is not asked, for `explain -offline`: tokens must name its issuer and are believed then. No config
    /// file leads here.
    Unasked(KeyLocation),
}

/// A token that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedToken {
    /// [`JwtUserInput::user`].
    pub user: u32,
    /// What the token grants.
    pub placeholders: VmAccess,
    /// The last second at which it is valid, since 1970, the user's clock skew included.
    pub exp: u64,
    /// The first second at which it is valid, since 1970, the user's clock skew included; 0 if it does not say.
    pub nbf: u64,
}

impl AcceptedToken {
    /// Says whether the token is valid at `now`, in seconds since 1970.
    pub fn is_valid_at(&self, now: u64) -> bool {
        (self.nbf..=self.exp).contains(&now)
    }

    /// The memory that it owns beyond its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        let values = &self.placeholders;
        [
            &values.metrics_extra_labels,
            &values.metrics_extra_filters,
            &values.logs_extra_filters,
            &values.logs_extra_stream_filters,
        ]
        .into_iter()
        .flatten()
        .map(|text| size_of::<String>() + text.len())
        .sum()
    }
}

/// What became of a credential.
#[derive(Debug)]
pub enum JwtOutcome {
    /// It is another kind of credential.
    NotAToken,
    /// It is the token of a user.
    Accepted(Arc<AcceptedToken>),
    /// It is a token of nobody. Newer keys of these providers may change that.
    Refused(Box<Refusal>, Vec<Arc<IssuerKeys>>),
}

/// The users with `jwt` of a configuration.
pub struct JwtUsers {
    users: Vec<JwtUser>,
    issuers: Vec<Arc<IssuerKeys>>,
    max_skew: u64,
}

struct JwtUser {
    user: u32,
    name: String,
    keys: KeyInput,
    audience: Vec<String>,
    skew: u64,
    claims: Vec<ClaimMatcher<ClaimPattern>>,
    default_claim: Option<VmAccess>,
}

/// Verdicts on one token's signature by address of the key set.
type Verdicts = SmallVec<[(usize, Result<(), Miss>); 4]>;

impl fmt::Debug for JwtUsers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("JwtUsers").field("len", &self.len()).field("issuers", &self.issuers).finish_non_exhaustive()
    }
}

impl JwtUsers {
    /// Orders the users. Does no I/O and starts nothing.
    pub fn build(inputs: Vec<JwtUserInput>) -> Self {
        let mut users: Vec<JwtUser> = inputs.into_iter().map(JwtUser::new).collect();
        // Stable, so users with equally many claims stay in the order of the file.
        users.sort_by_key(|user| std::cmp::Reverse(user.claims.len()));
        let max_skew = users.iter().map(|user| user.skew).max().unwrap_or(0);
        let mut known = HashSet::new();
        let providers = users.iter().filter_map(|user| match &user.keys {
            KeyInput::Provider(keys) => Some(keys),
            KeyInput::SkipVerify | KeyInput::Static(_) | KeyInput::Unasked(_) => None,
        });
        let issuers = providers.filter(|keys| known.insert(Arc::as_ptr(keys))).cloned().collect();
        Self { users, issuers, max_skew }
    }

    /// The users in the order in which they are asked.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.users.iter().map(|user| user.user)
    }

    /// The number of users.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is no user, so that no credential is a token.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The providers of all users, each once.
    pub fn issuers(&self) -> Vec<Arc<IssuerKeys>> {
        self.issuers.clone()
    }

    /// Grows with every change of any provider's keys: what was accepted under a smaller one may not be any more.
    pub fn key_epoch(&self) -> u64 {
        self.issuers.iter().fold(0, |sum, keys| sum.wrapping_add(keys.version()))
    }

    /// Decides on a header value (`Bearer …`) at `now`, in seconds since 1970. Never waits.
    pub fn accept(&self, header_value: &[u8], now: u64, trace: &mut impl Trace) -> JwtOutcome {
        let text = std::str::from_utf8(header_value).ok().and_then(jwt::bearer_jwt);
        let Some(text) = text.filter(|_| !self.is_empty()) else { return JwtOutcome::NotAToken };
        let token = match Token::parse(text) {
            Ok(token) => token,
            Err(error) => return JwtOutcome::Refused(Box::new(Refusal::malformed(text, &error, now)), Vec::new()),
        };
        match self.choose(&token, now, trace) {
            Ok(accepted) => JwtOutcome::Accepted(Arc::new(accepted)),
            Err(Rejection { miss, user, refetch }) => {
                let mut refusal = Refusal::new(text, &token, miss, user, now);
                if miss == Miss::Claims {
                    refusal.failed_claims = self.failed_claims(token.claims());
                }
                JwtOutcome::Refused(Box::new(refusal), refetch)
            }
        }
    }

    /// For the first few users, the path whose value does not fit; values are not shown.
    fn failed_claims(&self, claims: &Claims) -> Option<String> {
        let users = self.users.iter().take(MAX_NAMED_USERS);
        let failed = users.filter_map(|user| {
            let claim = user.claims.iter().find(|claim| !claim.matches(claims))?;
            Some(format!("{}: {}", cut(&user.name), cut(&claim.path().text())))
        });
        let failed: Vec<_> = failed.collect();
        (!failed.is_empty()).then(|| failed.join("; "))
    }

    fn choose(&self, token: &Token, now: u64, trace: &mut impl Trace) -> Result<AcceptedToken, Rejection<'_>> {
        let mut rejection = Rejection { miss: Miss::Claims, user: None, refetch: Vec::new() };
        // The most lenient user decides first: tokens that nobody accepts cost no more.
        if let Err(error) = token.claims().check_time(now, self.max_skew) {
            return Err(Rejection { miss: Miss::Time(error), ..rejection });
        }
        let mut verdicts = Verdicts::new();
        for user in &self.users {
            match user.check(token, now, &mut verdicts, &mut rejection.refetch) {
                Ok(values) => {
                    trace.token_user(user.user, Ok(user.belief()));
                    return Ok(user.accepted(token.claims(), values));
                }
                Err(miss) => {
                    trace.token_user(user.user, Err(&PassedOver { miss, user, token, now }));
                    if miss.rank() > rejection.miss.rank() {
                        rejection.miss = miss;
                        rejection.user = Some(user);
                    }
                }
            }
        }
        Err(rejection)
    }
}

/// The miss that came closest, and whose keys may have changed.
struct Rejection<'a> {
    miss: Miss,
    user: Option<&'a JwtUser>,
    refetch: Vec<Arc<IssuerKeys>>,
}

impl JwtUser {
    fn new(input: JwtUserInput) -> Self {
        let claims = input.match_claims.into_iter();
        Self {
            user: input.user,
            name: input.name,
            keys: input.keys,
            audience: input.audience,
            skew: input.clock_skew.as_secs(),
            claims: claims.map(|(path, pattern)| ClaimMatcher::new(ClaimPath::parse(&path), pattern)).collect(),
            default_claim: input.default_claim,
        }
    }

    /// Checks what is cheap first; the signature comes before `vm_access`, whose absence is worth a word only in
    /// genuine tokens.
    fn check(
        &self,
        token: &Token,
        now: u64,
        verdicts: &mut Verdicts,
        refetch: &mut Vec<Arc<IssuerKeys>>,
    ) -> Result<VmAccess, Miss> {
        let claims = token.claims();
        if !self.claims.iter().all(|claim| claim.matches(claims)) {
            return Err(Miss::Claims);
        }
        self.check_issuer(claims)?;
        if !self.audience.is_empty() && !claims.aud().any(|aud| self.audience.iter().any(|known| known == aud)) {
            return Err(Miss::Audience);
        }
        claims.check_time(now, self.skew).map_err(Miss::Time)?;
        self.check_signature(token, verdicts, refetch)?;
        match claims.vm_access() {
            Some(access) => Ok(access.clone()),
            None => self.default_claim.clone().ok_or(Miss::VmAccess),
        }
    }

    fn location(&self) -> Option<&KeyLocation> {
        match &self.keys {
            KeyInput::Provider(keys) => Some(keys.location()),
            KeyInput::Unasked(location) => Some(location),
            KeyInput::SkipVerify | KeyInput::Static(_) => None,
        }
    }

    fn belief(&self) -> Belief {
        match &self.keys {
            KeyInput::SkipVerify => Belief::Nothing,
            KeyInput::Unasked(_) => Belief::Assumed,
            KeyInput::Static(_) | KeyInput::Provider(_) => Belief::Signature,
        }
    }

    fn check_issuer(&self, claims: &Claims) -> Result<(), Miss> {
        let Some(issuer) = self.location().and_then(KeyLocation::issuer) else { return Ok(()) };
        match claims.iss().filter(|iss| !iss.is_empty()) {
            Some(iss) if iss == issuer => Ok(()),
            Some(_) => Err(Miss::OtherIssuer),
            None => Err(Miss::NoIssuer),
        }
    }

    fn check_signature(
        &self,
        token: &Token,
        verdicts: &mut Verdicts,
        refetch: &mut Vec<Arc<IssuerKeys>>,
    ) -> Result<(), Miss> {
        let address = match &self.keys {
            KeyInput::SkipVerify | KeyInput::Unasked(_) => return Ok(()),
            KeyInput::Static(keys) => Arc::as_ptr(keys).addr(),
            KeyInput::Provider(keys) => Arc::as_ptr(keys).addr(),
        };
        if let Some((_, verdict)) = verdicts.iter().find(|(known, _)| *known == address) {
            return *verdict;
        }
        let verdict = match &self.keys {
            KeyInput::SkipVerify | KeyInput::Unasked(_) => Ok(()),
            KeyInput::Static(keys) => keys.verify(token).map_err(|error| Miss::Signature { error, is_provider: false }),
            KeyInput::Provider(issuer) => check_provider(issuer, token, refetch),
        };
        verdicts.push((address, verdict));
        verdict
    }

    fn accepted(&self, claims: &Claims, placeholders: VmAccess) -> AcceptedToken {
        let seconds = |date: i64| u64::try_from(date).unwrap_or(0);
        AcceptedToken {
            user: self.user,
            placeholders,
            exp: claims.valid_until(self.skew).map_or(0, seconds),
            nbf: seconds(claims.valid_from(self.skew)),
        }
    }
}

fn check_provider(issuer: &Arc<IssuerKeys>, token: &Token, refetch: &mut Vec<Arc<IssuerKeys>>) -> Result<(), Miss> {
    let Some(keys) = issuer.keys() else {
        refetch.push(issuer.clone());
        return Err(Miss::KeysNotLoaded);
    };
    keys.verify(token).map_err(|error| {
        // Without a name of the key, any forged token would make the provider be asked.
        if token.header().kid().is_some() && keys.refetch_may_help(token, error) {
            refetch.push(issuer.clone());
        }
        Miss::Signature { error, is_provider: issuer.location().issuer().is_some() }
    })
}
