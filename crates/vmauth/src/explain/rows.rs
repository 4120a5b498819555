//! The tables of an explanation: who was looked at, which routes were, and why each was passed over.

use crate::authn::trace::Belief;
use crate::generation::Generation;
use crate::proxy::decision::{Principal, Selected};
use crate::route::matcher::{Criterion, RouteInput, RouteMatcher};
use crate::user::User;
use vmkit::go_regex::GoRegex;
use vmkit::go_text::quote;

use super::listener::Listener;

/// With more users than this, those with passwords and tokens that have nothing to do with the request are counted only.
const LISTED_USERS: usize = 20;
/// Patterns of a criterion that are shown.
const SHOWN_PATTERNS: usize = 4;

/// What became of a user or route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The request is its.
    Hit,
    /// It is not.
    Miss,
    /// It is, if what was not checked is as it should be.
    May,
}

impl State {
    /// `hit`, `miss` or `may`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::May => "may",
        }
    }
}

/// A line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Place in the config.
    pub place: String,
    /// The user's name; empty for routes.
    pub name: String,
    /// What became of it.
    pub state: State,
    /// Why.
    pub why: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Static,
    Token,
    Certificate,
}

/// Users in the order in which they are looked at, up to the one that was found.
pub(super) fn users(
    generation: &Generation,
    heard: &Listener,
    found: Option<&Principal<'_>>,
    has_certificate: bool,
) -> Vec<Row> {
    let hit = found.and_then(|found| found.number);
    let directory = &generation.directory;
    let mut kinds = vec![Kind::Static; generation.users.len()];
    let mut set = |number: u32, kind| {
        if let Some(own) = kinds.get_mut(number as usize) {
            *own = kind;
        }
    };
    directory.jwt_users.iter().flat_map(|users| users.numbers()).for_each(|number| set(number, Kind::Token));
    directory.client_cert_users.numbers().for_each(|number| set(number, Kind::Certificate));
    let kind_of = |number: u32| kinds.get(number as usize).copied();
    let row = |number: u32, state, why: &str| Row {
        place: generation.user(number).map_or("", |user| &*user.place).to_owned(),
        name: generation.user(number).map_or("", |user| user.name()).to_owned(),
        state,
        why: why.to_owned(),
    };
    let mut rows = static_rows(generation, heard, hit, &kinds, &row);
    if hit.is_some_and(|hit| kind_of(hit) == Some(Kind::Static)) {
        return rows;
    }
    for number in directory.jwt_users.iter().flat_map(|users| users.numbers()) {
        match heard.token_users.iter().find(|(user, _)| *user == number) {
            Some((_, Ok(Belief::Signature))) => rows.push(row(number, State::Hit, "claims and signature fit")),
            Some((_, Ok(Belief::Nothing))) => {
                rows.push(row(number, State::Hit, "claims fit; skip_verify: signatures are not checked"));
            }
            Some((_, Ok(Belief::Assumed))) => {
                rows.push(row(number, State::May, "claims fit, the signature was not checked"));
            }
            Some((_, Err(why))) => rows.push(row(number, State::Miss, why)),
            None if hit.is_some_and(|hit| kind_of(hit) == Some(Kind::Token)) => {}
            None => rows.push(row(number, State::Miss, "no token that could be read and is valid now")),
        }
    }
    if hit.is_some_and(|hit| kind_of(hit) == Some(Kind::Token)) {
        return rows;
    }
    for number in directory.client_cert_users.numbers() {
        match heard.certificate_users.iter().find(|(user, _)| *user == number) {
            Some((_, true)) => rows.push(row(number, State::Hit, "the certificate's subject fits")),
            Some((_, false)) => rows.push(row(number, State::Miss, "the certificate's subject is another")),
            None if has_certificate => {}
            None => rows.push(row(number, State::Miss, "no client certificate")),
        }
    }
    if let Some(found) = found.filter(|found| found.number.is_none()) {
        let why = if found.had_credentials { "credentials that belong to nobody" } else { "no credentials" };
        rows.push(Row { place: found.user.place.to_string(), name: String::new(), state: State::Hit, why: why.into() });
    }
    rows
}

fn static_rows(
    generation: &Generation,
    heard: &Listener,
    hit: Option<u32>,
    kinds: &[Kind],
    row: &impl Fn(u32, State, &str) -> Row,
) -> Vec<Row> {
    let (mut rows, mut others) = (Vec::new(), 0);
    let is_short = kinds.len() <= LISTED_USERS;
    for (number, user) in (0u32..).zip(&generation.users) {
        if kinds.get(number as usize) != Some(&Kind::Static) {
            continue;
        }
        let is_named = heard.user_names.iter().any(|name| *name == user.display_name);
        match (hit == Some(number), heard.had_credential) {
            (true, _) => rows.push(row(number, State::Hit, "credentials fit")),
            (false, _) if is_named => rows.push(row(number, State::Miss, "the name fits, the password does not")),
            (false, true) if is_short => rows.push(row(number, State::Miss, "other credentials")),
            (false, false) if is_short => rows.push(row(number, State::Miss, "the request has no credentials")),
            (false, _) => others += 1,
        }
    }
    if others > 0 {
        let why = format!("{others} more users with other credentials");
        rows.push(Row { place: "users[…]".into(), name: String::new(), state: State::Miss, why });
    }
    rows
}

/// The entry's name within its user.
pub(super) fn route_name(user: &User, index: usize) -> String {
    format!("url_map[{}]", user.routes.get(index).map_or(index, |route| route.number))
}

/// Entries of `url_map` up to the one that was taken.
pub(super) fn routes(user: &User, selected: Option<Selected>, input: &RouteInput<'_>) -> Vec<Row> {
    let last = match selected {
        Some(Selected::Route(index)) => index + 1,
        Some(Selected::UrlPrefix | Selected::DefaultUrl) | None => user.routes.len(),
    };
    let mut rows: Vec<_> = user
        .table
        .iter()
        .flat_map(|table| table.entries())
        .take(last)
        .enumerate()
        .map(|(index, entry)| {
            let (state, why) = match entry.miss(input) {
                Ok(None) => (State::Hit, "all criteria match".to_owned()),
                Ok(Some(criterion)) => (State::Miss, miss(entry, criterion, input)),
                Err(_) => (State::May, "cannot be decided in the time that patterns have".to_owned()),
            };
            Row { place: route_name(user, index), name: String::new(), state, why }
        })
        .collect();
    let fallback = match selected {
        Some(Selected::UrlPrefix) => Some("url_prefix"),
        Some(Selected::DefaultUrl) => Some("default_url"),
        Some(Selected::Route(_)) | None => None,
    };
    if let Some(place) = fallback {
        let why = if rows.is_empty() { "the user has no url_map" } else { "no entry of url_map matches" };
        rows.push(Row { place: place.into(), name: String::new(), state: State::Hit, why: why.into() });
    }
    rows
}

/// What an entry asks for and what the request has.
fn miss(entry: &RouteMatcher, criterion: Criterion, input: &RouteInput<'_>) -> String {
    let patterns = |list: &[GoRegex]| list.iter().map(|pattern| quote(pattern.as_str())).collect();
    let (wanted, got): (Vec<String>, Option<String>) = match criterion {
        Criterion::Paths => (patterns(&entry.paths), Some(quote(input.path))),
        Criterion::Hosts => (patterns(&entry.hosts), Some(quote(input.host))),
        Criterion::QueryArgs => {
            let shown = |arg: &crate::route::matcher::QueryArgMatcher| {
                quote(format!("{}=~{}", arg.name, arg.value.as_ref().map_or("", |value| value.as_str())))
            };
            (entry.query_args.iter().map(shown).collect(), None)
        }
        // Values may be keys.
        Criterion::Headers => (entry.headers.iter().map(|(name, _)| quote(name)).collect(), None),
    };
    let rest = wanted.len().saturating_sub(SHOWN_PATTERNS);
    let mut text = format!("{}: ", criterion.field());
    match &got {
        Some(got) => text.push_str(&format!("{got} does not match ")),
        None => text.push_str("the request has none of "),
    }
    text.push_str(&wanted[..wanted.len() - rest].join(", "));
    if rest > 0 {
        text.push_str(&format!(" and {rest} more"));
    }
    text
}
