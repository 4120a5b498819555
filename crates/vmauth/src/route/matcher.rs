//! Selects the route of a request: the first `url_map` entry whose criteria all match (docs/reference/routing.md).
//!
//! Every entry is filed under one criterion, the most telling one it has: path, host, header or query argument. An
//! index answers which entries of that criterion match; the remaining criteria of those few are then checked. So a
//! table of hundreds of entries costs little more than one entry, and the result is that of the plain loop.

mod pattern_index;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::RandomState;
use vmkit::exchange::{HeaderId, RequestHead};

use crate::rewrite::percent;
use pattern_index::PatternIndex;
use vmkit::go_regex::{GoRegex, TooCostly};

/// One item of `src_query_args`: an argument of this exact name with a matching value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryArgMatcher {
    /// Decoded name, case-sensitive.
    pub name: String,
    /// Pattern of the decoded value; [`GoRegex::literal`] for `name=value`. `None` never matches (item without `=`).
    pub value: Option<GoRegex>,
}

/// Criteria of one `url_map` entry. An empty list is no criterion; a list matches if any of its items does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMatcher {
    /// `src_paths`: patterns of the normalised, decoded path.
    pub paths: Vec<GoRegex>,
    /// `src_hosts`: patterns of the host as sent, port included.
    pub hosts: Vec<GoRegex>,
    /// `src_query_args`.
    pub query_args: Vec<QueryArgMatcher>,
    /// `src_headers`: names in any letter case and exact, trimmed values.
    pub headers: Vec<(String, String)>,
}

/// What an entry may ask for, by the names of the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// `src_paths`
    Paths,
    /// `src_hosts`
    Hosts,
    /// `src_query_args`
    QueryArgs,
    /// `src_headers`
    Headers,
}

impl Criterion {
    /// Its field in the config.
    pub fn field(self) -> &'static str {
        match self {
            Self::Paths => "src_paths",
            Self::Hosts => "src_hosts",
            Self::QueryArgs => "src_query_args",
            Self::Headers => "src_headers",
        }
    }
}

/// What routes look at.
#[derive(Clone, Copy, Debug)]
pub struct RouteInput<'a> {
    /// Host as the client sent it.
    pub host: &'a [u8],
    /// Normalised and decoded path; empty for the root.
    pub path: &'a [u8],
    /// Raw query without the `?`.
    pub query: Option<&'a [u8]>,
    /// The head, for its header lines.
    pub head: &'a RequestHead,
}

/// The criterion an entry is filed under, and which therefore needs no second check.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filed {
    Path,
    Host,
    Header,
    QueryArg,
    Nowhere,
}

type Table<V> = HashMap<Box<[u8]>, V, RandomState>;

/// All entries of one `url_map` in file order.
#[derive(Debug, Default)]
pub struct RouteTable {
    entries: Box<[RouteMatcher]>,
    paths: PatternIndex,
    hosts: PatternIndex,
    /// Header value → (lower-case name, entry).
    headers: Table<Vec<(Box<str>, u32)>>,
    /// Argument name → patterns of its value.
    query_args: Table<PatternIndex>,
    /// Entries without any criterion.
    always: Vec<u32>,
}

impl RouteTable {
    /// Builds the indexes.
    pub fn new(entries: Vec<RouteMatcher>) -> Self {
        let mut table = Self::default();
        let (mut paths, mut hosts) = (Vec::new(), Vec::new());
        let mut query_args: Table<Vec<(u32, &GoRegex)>> = Table::default();
        for (at, entry) in (0u32..).zip(&entries) {
            match entry.filed() {
                Filed::Path => paths.extend(entry.paths.iter().map(|pattern| (at, pattern))),
                Filed::Host => hosts.extend(entry.hosts.iter().map(|pattern| (at, pattern))),
                Filed::Header => {
                    for (name, value) in &entry.headers {
                        let key = value.trim().as_bytes().into();
                        table.headers.entry(key).or_default().push((name.to_ascii_lowercase().into(), at));
                    }
                }
                Filed::QueryArg => {
                    for arg in &entry.query_args {
                        let Some(value) = &arg.value else { continue };
                        query_args.entry(arg.name.as_bytes().into()).or_default().push((at, value));
                    }
                }
                Filed::Nowhere => table.always.push(at),
            }
        }
        table.paths = PatternIndex::new(paths);
        table.hosts = PatternIndex::new(hosts);
        table.query_args = query_args.into_iter().map(|(name, list)| (name, PatternIndex::new(list))).collect();
        table.entries = entries.into();
        table
    }

    /// The criteria of all entries, in file order.
    pub fn entries(&self) -> &[RouteMatcher] {
        &self.entries
    }

    /// What an entry takes, in the words of the config; values of headers are not shown.
    pub fn criteria(&self, at: usize) -> String {
        let Some(entry) = self.entries.get(at) else { return String::new() };
        let patterns = |list: &[GoRegex]| list.iter().map(GoRegex::as_str).collect::<Vec<_>>().join(", ");
        let args = entry.query_args.iter().map(|arg| arg.name.as_str()).collect::<Vec<_>>().join(", ");
        let headers = entry.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let criteria = [
            ("src_paths", patterns(&entry.paths)),
            ("src_hosts", patterns(&entry.hosts)),
            ("src_query_args", args),
            ("src_headers", headers),
        ];
        let given = criteria.iter().filter(|(_, text)| !text.is_empty());
        given.map(|(name, text)| format!("{name}: {text}")).collect::<Vec<_>>().join("; ")
    }

    /// Index of the first entry that matches.
    ///
    /// # Errors
    /// A pattern cannot be decided within the bound: no route may be taken, since another might have been meant.
    pub fn select(&self, input: &RouteInput<'_>) -> Result<Option<usize>, TooCostly> {
        let mut best = u32::MAX;
        let accepts = |filed| {
            move |at: u32| match self.entries.get(at as usize) {
                Some(entry) => entry.matches_besides(filed, input),
                None => Ok(false),
            }
        };
        self.paths.first(input.path, &mut best, accepts(Filed::Path))?;
        self.hosts.first(input.host, &mut best, accepts(Filed::Host))?;
        if !self.headers.is_empty() {
            self.first_by_header(input, &mut best)?;
        }
        if !self.query_args.is_empty() {
            for (name, value) in args(input.query) {
                if let Some(index) = self.query_args.get(&*name) {
                    index.first(&value, &mut best, accepts(Filed::QueryArg))?;
                }
            }
        }
        if let Some(&at) = self.always.first() {
            best = best.min(at);
        }
        Ok((best != u32::MAX).then_some(best as usize))
    }

    fn first_by_header(&self, input: &RouteInput<'_>, best: &mut u32) -> Result<(), TooCostly> {
        for line in input.head.headers().filter(|line| line.id != HeaderId::Host) {
            let Some(list) = self.headers.get(line.value) else { continue };
            for (name, at) in list.iter().take_while(|(_, at)| at < best) {
                if !line.name.eq_ignore_ascii_case(name.as_bytes()) {
                    continue;
                }
                let Some(entry) = self.entries.get(*at as usize) else { continue };
                if entry.matches_besides(Filed::Header, input)? {
                    *best = *at;
                    break;
                }
            }
        }
        Ok(())
    }
}

impl RouteMatcher {
    /// Whether all criteria match.
    ///
    /// # Errors
    /// A pattern cannot be decided within the bound.
    pub fn matches(&self, input: &RouteInput<'_>) -> Result<bool, TooCostly> {
        self.matches_besides(Filed::Nowhere, input)
    }

    fn filed(&self) -> Filed {
        if !self.paths.is_empty() {
            Filed::Path
        } else if !self.hosts.is_empty() {
            Filed::Host
        } else if !self.headers.is_empty() {
            Filed::Header
        } else if !self.query_args.is_empty() {
            Filed::QueryArg
        } else {
            Filed::Nowhere
        }
    }

    fn matches_besides(&self, known: Filed, input: &RouteInput<'_>) -> Result<bool, TooCostly> {
        Ok(self.miss_besides(known, input)?.is_none())
    }

    /// The criterion that does not match; `None` if all do.
    ///
    /// # Errors
    /// A pattern cannot be decided within the bound.
    pub fn miss(&self, input: &RouteInput<'_>) -> Result<Option<Criterion>, TooCostly> {
        self.miss_besides(Filed::Nowhere, input)
    }

    fn miss_besides(&self, known: Filed, input: &RouteInput<'_>) -> Result<Option<Criterion>, TooCostly> {
        Ok(if known != Filed::Header && !self.headers.is_empty() && !self.has_header(input.head) {
            Some(Criterion::Headers)
        } else if known != Filed::Host && !any(&self.hosts, input.host)? {
            Some(Criterion::Hosts)
        } else if known != Filed::QueryArg && !self.query_args.is_empty() && !self.has_query_arg(input.query)? {
            Some(Criterion::QueryArgs)
        } else if known != Filed::Path && !any(&self.paths, input.path)? {
            Some(Criterion::Paths)
        } else {
            None
        })
    }

    fn has_header(&self, head: &RequestHead) -> bool {
        self.headers.iter().any(|(name, value)| {
            // Host is not a header for routes: `src_hosts` is.
            !name.eq_ignore_ascii_case("host") && head.values(name).any(|found| found == value.trim().as_bytes())
        })
    }

    fn has_query_arg(&self, query: Option<&[u8]>) -> Result<bool, TooCostly> {
        for (name, value) in args(query) {
            for arg in self.query_args.iter().filter(|arg| arg.name.as_bytes() == &*name) {
                if let Some(pattern) = &arg.value
                    && pattern.matches(&value)?
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Whether any pattern matches, or there is none.
fn any(list: &[GoRegex], text: &[u8]) -> Result<bool, TooCostly> {
    for pattern in list {
        if pattern.matches(text)? {
            return Ok(true);
        }
    }
    Ok(list.is_empty())
}

/// Decoded names and values of a query. Arguments with a bad escape are left out, as they are not forwarded either.
fn args(query: Option<&[u8]>) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query.unwrap_or_default().split(|b| *b == b'&').filter(|piece| !piece.is_empty()).filter_map(|piece| {
        let (name, value) = percent::split_arg(piece);
        Some((percent::decode_arg(name)?, percent::decode_arg(value)?))
    })
}
