//! Which trailers pass the proxy, in either direction (RFC 9110 §6.5).
//!
//! A receiver may merge trailers into the headers. So a trailer must not carry what decides about framing, routing,
//! credentials, conditions or content, nor anything that the config sets or the proxy writes itself, nor a name that
//! some server takes for one of these (`_` for `-`).

use vmkit::exchange::{HeaderId, HeaderLine, HeaderList, RequestHead, ResponseHead, same_or_twin, tokens};

use crate::rewrite::header_rules::{HeaderRules, ResponseRules};

/// Names that must come early and that the codec does not know.
const EARLY: &[&str] = &[
    "age",
    "authentication-info",
    "cache-control",
    "cookie",
    "expires",
    "forwarded",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "vary",
    "warning",
    "x-http-method-override",
    "x-real-ip",
];
const EARLY_PREFIXES: &[&str] = &["access-control-", "content-", "if-", "proxy-", "x-forwarded-"];

/// Names that count of all that a head announces: over HTTP/1 a section of trailers has no more fields, and a head has room for
/// hundreds of thousands of names.
const MOST_ANNOUNCED: usize = 64;

/// The names that the lines of a head announce.
fn announced<'a>(lines: impl Iterator<Item = HeaderLine<'a>>) -> impl Iterator<Item = &'a [u8]> {
    lines.filter(|line| line.id == HeaderId::Trailer).flat_map(|line| tokens(line.value)).take(MOST_ANNOUNCED)
}

/// The announced trailers of a request that may be sent; others are dropped, so that nobody is surprised by them.
pub(super) fn of_request(trailers: Option<&HeaderList>, head: &RequestHead, rules: &HeaderRules) -> HeaderList {
    if trailers.is_none() {
        return HeaderList::default();
    }
    let names: Vec<_> = announced(head.headers()).collect();
    let is_announced = |name: &[u8]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    passing(trailers, |name| is_announced(name) && !rules.touches_twin_of(name))
}

/// The names that a request announces and that may be sent.
pub(super) fn announced_by_request<'a>(
    head: &'a RequestHead,
    rules: &'a HeaderRules,
) -> impl Iterator<Item = &'a [u8]> {
    announced(head.headers()).filter(|name| may_come_late(name) && !rules.touches_twin_of(name))
}

/// The trailers of a reply that may be sent, announced or not. `own` are fields that the proxy adds to every reply.
pub(super) fn of_reply(trailers: Option<&HeaderList>, rules: &ResponseRules, own: &HeaderList) -> HeaderList {
    passing(trailers, |name| !rules.touches_twin_of(name) && !is_own(own, name))
}

/// The names that a reply announces and that may be sent.
pub(super) fn announced_by_reply<'a>(
    head: &'a ResponseHead,
    rules: &'a ResponseRules,
    own: &'a HeaderList,
) -> impl Iterator<Item = &'a [u8]> {
    announced(head.headers()).filter(|name| may_come_late(name) && !rules.touches_twin_of(name) && !is_own(own, name))
}

fn is_own(own: &HeaderList, name: &[u8]) -> bool {
    own.iter().any(|line| same_or_twin(line.name, name))
}

fn passing(trailers: Option<&HeaderList>, allowed: impl Fn(&[u8]) -> bool) -> HeaderList {
    let mut out = HeaderList::default();
    for line in trailers.into_iter().flat_map(HeaderList::iter) {
        if may_come_late(line.name) && allowed(line.name) {
            out.push(line.name, line.value);
        }
    }
    out
}

/// Whether a field may be sent behind a body (RFC 9110 §6.5.1).
fn may_come_late(name: &[u8]) -> bool {
    let starts = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| same_or_twin(start, prefix.as_bytes()));
    // Names the codec knows decide about framing, routing or credentials.
    HeaderId::of(name) == HeaderId::Other
        && HeaderId::of_twin(name) == HeaderId::Other
        && !EARLY.iter().any(|early| same_or_twin(name, early.as_bytes()))
        && !EARLY_PREFIXES.iter().any(|prefix| starts(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::header_rules::HeaderRule;

    fn list(text: &str) -> HeaderList {
        let mut list = HeaderList::default();
        for line in text.split('|').filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            list.push(name, value.as_bytes());
        }
        list
    }

    fn shown(list: &HeaderList) -> String {
        String::from_utf8_lossy(list.as_http1()).replace("\r\n", "|")
    }

    #[test]
    fn of_requests() {
        let rules = HeaderRules::new(&[HeaderRule::parse("Account-ID: 7").unwrap()], false);
        let f = |names: &str, lines: &str, want: &str| {
            let mut head = RequestHead::default();
            head.parse(format!("POST / HTTP/1.1\r\nHost: a\r\nTrailer: {names}\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(shown(&of_request(Some(&list(lines)), &head, &rules)), want, "{names:?} {lines:?}");
            let announced: Vec<_> = announced_by_request(&head, &rules).collect();
            assert!(list(want).iter().all(|line| announced.iter().any(|name| name.eq_ignore_ascii_case(line.name))));
        };
        f("X-Sum, grpc-status", "x-sum: 1|X-Other: 2|Grpc-Status: 0|", "x-sum: 1|Grpc-Status: 0|");
        f("", "x-sum: 1|", "");
        f("X-Sum\r\nTrailer: X-More, x-last", "x-sum: 1|X-More: 2|X-Last: 3|", "x-sum: 1|X-More: 2|X-Last: 3|");
        let many = |count: usize| format!("{}x-sum", "a, ".repeat(count));
        f(&many(MOST_ANNOUNCED - 1), "x-sum: 1|", "x-sum: 1|");
        f(&many(MOST_ANNOUNCED), "x-sum: 1|", "");
        f("account-id, account_id", "Account-ID: 8|Account_ID: 9|", "");
        f(
            "Host, Authorization, Content-Length, Transfer_Encoding",
            "Host: b|Authorization: x|Transfer_Encoding: y|",
            "",
        );
        f(
            "Content-Range, Cookie, X-Forwarded-Host, X_Forwarded_Host, If-Match, c",
            "Content-Range: b|Cookie: x|X-Forwarded-Host: y|X_Forwarded_Host: z|If-Match: z|C: d|",
            "C: d|",
        );
        assert!(of_request(None, &RequestHead::default(), &rules).is_empty());
    }

    #[test]
    fn of_replies() {
        let rules = ResponseRules::new(&[HeaderRule::parse("X-Tenant:").unwrap()]);
        let own = list("X-Server-Hostname: a|");
        let f = |lines: &str, want: &str| {
            assert_eq!(shown(&of_reply(Some(&list(lines)), &rules, &own)), want, "{lines:?}");
        };
        f("grpc-status: 0|X-Sum: 1|", "grpc-status: 0|X-Sum: 1|");
        f("X-Tenant: 1|X_Tenant: 2|X-Server_Hostname: 3|", "");
        f("Set-Cookie: a|Set_Cookie: b|WWW-Authenticate: c|Connection: d|Trailer: e|Date: f|Location: g|", "");
    }
}
