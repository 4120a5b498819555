//! Writes the header lines of a backend's reply for the client (RFC 9110 §7.6).
//!
//! Hop-by-hop headers go, the rules of the config are applied last. `Content-Length`, `Transfer-Encoding` and
//! `Connection` are not copied: the codec of the client writes them for the framing it chose.

use vmkit::exchange::{HeaderLine, HeaderWriter};

use super::header_rules::ResponseRules;
use super::hop_by_hop::{self, Nominated};

/// Writes all fields but those of framing.
pub fn write_response_headers<'a>(
    out: &mut HeaderWriter<'_>,
    lines: impl Iterator<Item = HeaderLine<'a>> + Clone,
    rules: &ResponseRules,
) {
    let names = Nominated::of(lines.clone());
    let is_nominated = |name: &[u8]| names.as_ref().is_some_and(|names| names.contains(name));
    for line in lines {
        let dropped =
            hop_by_hop::ends_here(line.id) || rules.overridden.contains(line.id, line.name) || is_nominated(line.name);
        if !dropped {
            out.copy(&line);
        }
    }
    out.list(&rules.lines);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::header_rules::HeaderRule;

    #[test]
    fn table() {
        let f = |lines: &[(&'static str, &'static str)], rules: &[(&str, &str)], want: &str| {
            let rule = |(name, value): &(&str, &str)| HeaderRule::parse(&format!("{name}: {value}")).unwrap();
            let rules = ResponseRules::new(&rules.iter().map(rule).collect::<Vec<_>>());
            let lines = lines.iter().map(|(name, value)| HeaderLine::new(name.as_bytes(), value.as_bytes()));
            let mut out = Vec::new();
            write_response_headers(&mut HeaderWriter::Http1(&mut out), lines, &rules);
            assert_eq!(String::from_utf8(out).unwrap().replace("\r\n", "|"), want);
        };
        let backend = [
            ("Server", "stub"),
            ("X-Multi", "a"),
            ("X-Multi", "b"),
            ("X-Kept", "yes"),
            ("Foo", "backend"),
            ("content-type", "text/plain"),
        ];
        let rules =
            [("Foo", "bar"), ("Server", ""), ("x-multi", "single"), ("X-Server-Hostname", ""), ("Content-Type", "t/k")];
        f(&backend, &rules, "X-Kept: yes|Foo: bar|x-multi: single|Content-Type: t/k|");
        f(&backend[..3], &[], "Server: stub|X-Multi: a|X-Multi: b|");
        f(&[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], &[], "Set-Cookie: a=1|Set-Cookie: b=2|");
        f(&[], &[("X-R", "1"), ("x-r", "2")], "x-r: 2|");
        f(
            &[
                ("Connection", "close, X-Hop"),
                ("X-Hop", "1"),
                ("Keep-Alive", "timeout=5"),
                ("Content-Length", "5"),
                ("Transfer-Encoding", "chunked"),
                ("Trailer", "X-T"),
                ("Upgrade", "h2c"),
                ("Proxy-Authenticate", "Basic"),
                ("WWW-Authenticate", "Bearer"),
                ("Date", "now"),
            ],
            &[("Content-Length", "7"), ("Connection", "keep-alive"), ("Transfer-Encoding", "")],
            "WWW-Authenticate: Bearer|Date: now|",
        );
    }
}
