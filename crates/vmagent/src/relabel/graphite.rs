//! The action `graphite`: dotted names taken apart by a pattern with stars, each of which spans no dot.
//!
//! A star takes as little as lets the text behind it match, as upstream does; the last star takes all up to the next
//! dot or the end.

/// A pattern such as `foo.*.bar-*`.
#[derive(Debug)]
pub(super) struct GraphitePattern {
    /// Texts between the stars; there is one more of them than stars.
    literals: Box<[Box<[u8]>]>,
}

/// A value with `$0`, `$1`, `${1}`: the whole name and what the stars stand for.
#[derive(Debug)]
pub(super) struct GraphiteTemplate {
    parts: Box<[Part]>,
}

#[derive(Debug)]
enum Part {
    Text(Box<[u8]>),
    Star(usize),
}

/// What the stars of one match stand for, as places in the name.
pub(super) type Stars = Vec<std::ops::Range<usize>>;

impl GraphitePattern {
    pub(super) fn new(text: &str) -> Self {
        Self { literals: text.split('*').map(|literal| literal.as_bytes().into()).collect() }
    }

    /// Whether the whole name matches; `stars` then has what each star stands for.
    pub(super) fn matches(&self, name: &[u8], stars: &mut Stars) -> bool {
        stars.clear();
        let Some((first, rest)) = self.literals.split_first() else { return false };
        if !name.starts_with(first) {
            return false;
        }
        let mut at = first.len();
        for (index, literal) in rest.iter().enumerate() {
            let tail = name.get(at..).unwrap_or_default();
            let dot = memchr::memchr(b'.', tail).unwrap_or(tail.len());
            let last = index + 1 == rest.len();
            let length = if last {
                match tail.len().checked_sub(literal.len()) {
                    Some(length) if length <= dot && tail.ends_with(literal) => length,
                    _ => return false,
                }
            } else {
                match memchr::memmem::find(tail, literal) {
                    Some(length) if literal.is_empty() || length <= dot => length,
                    _ => return false,
                }
            };
            stars.push(at..at + length);
            at += length + literal.len();
        }
        at == name.len()
    }
}

impl GraphiteTemplate {
    pub(super) fn new(text: &str) -> Self {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            let (digits, tail) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                Some((digits, tail)) => (digits, tail),
                None => after.split_at(after.bytes().take_while(u8::is_ascii_digit).count()),
            };
            let Ok(star) = digits.parse::<usize>() else {
                parts.push(Part::Text(format!("{before}$").into_bytes().into()));
                rest = after;
                continue;
            };
            parts.push(Part::Text(before.as_bytes().into()));
            parts.push(Part::Star(star));
            rest = tail;
        }
        parts.push(Part::Text(rest.as_bytes().into()));
        Self { parts: parts.into() }
    }

    pub(super) fn expand(&self, name: &[u8], stars: &Stars, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Star(0) => out.extend_from_slice(name),
                Part::Star(number) => {
                    let place = stars.get(number - 1).cloned().unwrap_or_default();
                    out.extend_from_slice(name.get(place).unwrap_or_default());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_span_no_dot() {
        let f = |pattern: &str, name: &str, want: Option<&[&str]>| {
            let mut stars = Stars::new();
            let found = GraphitePattern::new(pattern).matches(name.as_bytes(), &mut stars);
            let texts: Vec<_> = stars.into_iter().map(|place| &name[place]).collect();
            assert_eq!(found.then_some(&texts[..]), want, "{pattern} {name}");
        };
        f("*.*.c", "a.b.c", Some(&["a", "b"]));
        f("*.*.c", "a.b.d", None);
        f("*.*.c", "a.b.c.c", None);
        f("foo.*.*.bar.*", "foo.1.2.bar.3", Some(&["1", "2", "3"]));
        f("foo.*.*.bar.*", "foo.x..bar.", Some(&["x", "", ""]));
        f("app-*.x*y", "app-web.xoy", Some(&["web", "o"]));
        f("app-*.x*y", "app-web.xy", Some(&["web", ""]));
        f("app-*.x*y", "web.xoy", None);
        f("a", "a", Some(&[]));
        f("a", "ab", None);
        f("a*", "a.b", None);
        f("*", "abc", Some(&["abc"]));
    }

    #[test]
    fn values_are_put_together() {
        let f = |template: &str, want: &str| {
            let mut out = Vec::new();
            GraphiteTemplate::new(template).expand(b"a.b", &vec![0..1, 2..3], &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{template}");
        };
        f("$1", "a");
        f("${2}-x$1y", "b-xay");
        f("$0:$3:$", "a.b::$");
        f("$x$$", "$x$$");
    }
}
