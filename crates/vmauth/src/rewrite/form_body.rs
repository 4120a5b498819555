//! Arguments that a route enforces in the query must not come in through a form body either.
//!
//! Backends read `application/x-www-form-urlencoded` bodies and queries alike, so a client could otherwise override
//! or extend `extra_filters=…` of a route by a POST. Everything else of the body keeps its order and its bytes.

use vmkit::exchange::{HeaderId, RequestHead};

use super::percent;

/// Names of the arguments a target enforces. `name` and `name[]` are one argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtectedArgs {
    /// Decoded, without a trailing `[]`.
    names: Vec<Box<[u8]>>,
    /// Decoded names that clients may add to (`merge_query_args`), exact.
    merged: Vec<Box<[u8]>>,
}

impl ProtectedArgs {
    /// Protects the argument of this decoded name.
    pub(super) fn add(&mut self, name: &[u8]) {
        let name = base_name(name);
        if !self.contains(name) {
            self.names.push(name.into());
        }
    }

    /// The same arguments, save for those that clients may add to.
    pub(super) fn with_merged(&self, merge_args: &[String]) -> Self {
        let merged = merge_args.iter().map(|name| name.as_bytes().into()).collect();
        Self { names: self.names.clone(), merged }
    }

    /// Protects what `other` protects as well. An argument that both protect stays mergeable only if both agree.
    pub fn extend(&mut self, other: &Self) {
        let agrees = |args: &Self, name: &[u8]| args.is_merged(name) || !args.contains(base_name(name));
        let mut merged: Vec<_> = self.merged.iter().filter(|name| agrees(other, name)).cloned().collect();
        merged.extend(other.merged.iter().filter(|name| agrees(self, name)).cloned());
        merged.sort();
        merged.dedup();
        for name in &other.names {
            self.add(name);
        }
        self.merged = merged;
    }

    /// Whether nothing is protected, so that there is nothing to filter.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn is_merged(&self, name: &[u8]) -> bool {
        self.merged.iter().any(|merged| **merged == *name)
    }

    fn contains(&self, base: &[u8]) -> bool {
        self.names.iter().any(|name| **name == *base)
    }

    /// Whether an argument of this encoded name clashes with an enforced one and is not among `merged`.
    pub(super) fn clashes(&self, encoded_name: &[u8], is_merged: impl Fn(&[u8]) -> bool) -> bool {
        let name = percent::decode_arg_leniently(encoded_name);
        self.contains(base_name(&name)) && !is_merged(&name)
    }

    /// Whether an argument of a form must be removed, given its encoded name.
    ///
    /// Some backends take `;` for a separator, so any name between them counts.
    pub fn protects(&self, encoded_name: &[u8]) -> bool {
        let is_merged = |name: &[u8]| self.is_merged(name);
        encoded_name.split(|b| *b == b';').any(|part| self.clashes(percent::split_arg(part).0, is_merged))
    }
}

/// The name without one trailing `[]`.
fn base_name(name: &[u8]) -> &[u8] {
    name.strip_suffix(b"[]").unwrap_or(name)
}

/// How backends will read the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyReading {
    /// As a form, all of them: it can be filtered.
    Form,
    /// Not as a form, whoever reads it.
    NoForm,
    /// Perhaps as a form, by some of them, or as one that cannot be filtered.
    Unclear,
}

/// Says how the body of a request will be read, going by its head.
///
/// Readers differ: Go trims and lowers media types by Unicode's rules, CGI cannot tell `Content_Type` from
/// `Content-Type`, some take the last of two lines, some decompress. So only what is exactly a form is taken for one,
/// and only what has nothing of one is certainly none.
pub fn reading(head: &RequestHead) -> BodyReading {
    let (mut content_type, mut is_coded) = (None, false);
    for line in head.headers() {
        if line.id == HeaderId::ContentType {
            if content_type.replace(line.value).is_some() {
                return BodyReading::Unclear;
            }
        } else if is_twin(line.name, b"content-type") || is_twin(line.name, b"content-encoding") {
            return BodyReading::Unclear;
        } else if line.name.eq_ignore_ascii_case(b"content-encoding") {
            is_coded |= !line.value.is_empty() && !line.value.eq_ignore_ascii_case(b"identity");
        }
    }
    match content_type.map_or(BodyReading::NoForm, of_type) {
        BodyReading::Form if is_coded => BodyReading::Unclear,
        reading => reading,
    }
}

/// Whether some readers of headers cannot tell the name from `known`, although it differs.
fn is_twin(name: &[u8], known: &[u8]) -> bool {
    let dashed = |b: &u8| if *b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    name.len() == known.len() && name.contains(&b'_') && name.iter().map(dashed).eq(known.iter().copied())
}

fn of_type(content_type: &[u8]) -> BodyReading {
    let Ok(text) = str::from_utf8(content_type) else { return BodyReading::Unclear };
    if !text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) {
        return BodyReading::Unclear;
    }
    let text = text.trim_matches([' ', '\t']).to_ascii_lowercase();
    let (media_type, params) = text.split_once(';').unwrap_or((&text, ""));
    let params = params.trim_matches([' ', '\t']);
    if media_type.trim_end_matches([' ', '\t']) == "application/x-www-form-urlencoded" {
        let is_usual = matches!(params, "" | "charset=utf-8" | "charset=\"utf-8\"");
        return if is_usual { BodyReading::Form } else { BodyReading::Unclear };
    }
    let resembles = ["form-urlencoded", "multipart", "form-data"].iter().any(|part| text.contains(part));
    if resembles { BodyReading::Unclear } else { BodyReading::NoForm }
}

/// Removes the protected arguments from a form body; `None` when there are none in it.
pub fn filter(body: &[u8], protected: &ProtectedArgs) -> Option<Vec<u8>> {
    if protected.is_empty() {
        return None;
    }
    let first = body.split(|b| *b == b'&').position(|piece| is_protected(piece, protected))?;
    let mut kept = Vec::with_capacity(body.len());
    let pieces = body.split(|b| *b == b'&').enumerate();
    for (_, piece) in pieces.filter(|(at, piece)| *at < first || !is_protected(piece, protected)) {
        if !kept.is_empty() {
            kept.push(b'&');
        }
        kept.extend_from_slice(piece);
    }
    Some(kept)
}

fn is_protected(piece: &[u8], protected: &ProtectedArgs) -> bool {
    !piece.is_empty() && protected.protects(piece)
}

#[cfg(test)]
mod tests {
    use super::super::target_url::TargetUrl;
    use super::*;

    #[test]
    fn several_targets() {
        let args = |query: &str, merge: &[&str]| {
            let merge: Vec<String> = merge.iter().map(|name| (*name).to_owned()).collect();
            TargetUrl::parse(&format!("http://h/?{query}")).unwrap().protected_args(&merge)
        };
        let mut all = args("a=1&b=1", &["a", "b"]);
        all.extend(&args("b=1&c=1", &["a"]));
        let f = |name: &str, want: bool| assert_eq!(all.protects(name.as_bytes()), want, "{name}");
        f("a", false);
        f("b", true);
        f("c", true);
        f("%63[]", true);
        f("x;c=", true);
        f("d", false);
    }

    #[test]
    fn only_what_is_exactly_a_form_is_one_and_what_resembles_one_is_unclear() {
        use BodyReading::{Form, NoForm, Unclear};
        let f = |lines: &[&str], want: BodyReading| {
            let mut text = b"POST / HTTP/1.1\r\nHost: a\r\n".to_vec();
            for line in lines {
                // Latin-1 stands for any bytes.
                text.extend(line.chars().map(|c| u8::try_from(c).unwrap()));
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"\r\n");
            let mut head = RequestHead::default();
            head.parse(&text).unwrap();
            assert_eq!(reading(&head), want, "{lines:?}");
        };
        let utf8 = |text: &str| -> String { text.bytes().map(char::from).collect() };
        let one = |text: &str, want| f(&[&format!("Content-Type: {}", utf8(text))], want);
        one("application/x-www-form-urlencoded", Form);
        one("Application/X-WWW-Form-URLencoded ; charset=UTF-8", Form);
        one("application/x-www-form-urlencoded;charset=\"utf-8\"", Form);
        one("application/x-www-form-urlencoded;", Form);
        for odd in [
            "application/x-www-form-urlencoded\u{a0}",
            "application/x-www-form-urlencoded\u{85}",
            "application/x-www-form-urlencoded\u{2003}",
            "\u{3000}application/x-www-form-urlencoded",
            "appl\u{130}cation/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=utf-7",
            "application/x-www-form-urlencoded; charset=utf-16",
            "application/x-www-form-urlencoded; charset=utf-8; charset=utf-7",
            "application/x-www-form-urlencoded; a",
            "application/x-www-form-urlencoded, text/plain",
            "text/plain, application/x-www-form-urlencoded",
            "text/plain; x=application/x-www-form-urlencoded",
            "application / x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "Multipart/Mixed; boundary=x",
            "\"multipart/form-data\"; boundary=x",
            "text/plain; x=\u{e9}",
        ] {
            one(odd, Unclear);
        }
        for plain in [
            "text/plain",
            "",
            "application/json; charset=utf-8",
            "application/x-protobuf",
            "application/octet-stream",
            "x",
            "application/x-ndjson",
            "*/*",
        ] {
            one(plain, NoForm);
        }
        let form = "Content-Type: application/x-www-form-urlencoded";
        f(&[], NoForm);
        f(&[form, form], Unclear);
        f(&["Content-Type: text/plain", form], Unclear);
        f(&["Content-Type: text/plain", "Content_Type: application/x-www-form-urlencoded"], Unclear);
        f(&[form, "Content-Encoding: gzip"], Unclear);
        f(&[form, "Content-Encoding: identity"], Form);
        f(&[form, "Content_Encoding: gzip"], Unclear);
        f(&["Content-Type: application/x-protobuf", "Content-Encoding: snappy"], NoForm);
    }

    #[test]
    fn bodies() {
        let f = |query: &str, merge: &[&str], body: &str, want: Option<&str>| {
            let target = TargetUrl::parse(&format!("http://h/?{query}")).unwrap();
            let merge: Vec<String> = merge.iter().map(|name| (*name).to_owned()).collect();
            let got = filter(body.as_bytes(), &target.protected_args(&merge));
            assert_eq!(got.as_deref().map(|b| str::from_utf8(b).unwrap()), want, "{query} {body}");
        };
        let fixed = "extra_label=team=dev&extra_filters=";
        f(fixed, &[], "query=up&extra_label=team=ops&start=1", Some("query=up&start=1"));
        f(
            fixed,
            &[],
            "z=a%20b+c&extra_filters[]=x&extra_filters%5B%5D=y&extra_label[]=z&a=%zz&z=2&extra_labels=kept",
            Some("z=a%20b+c&a=%zz&z=2&extra_labels=kept"),
        );
        f(fixed, &[], "extra_label=a&extra_label=b", Some(""));
        f(fixed, &[], "b=1&a=%zz;&Extra_Label=x", None);
        f(fixed, &[], "", None);
        f(fixed, &[], "extra%5flabel", Some(""));
        f(fixed, &[], "a=1;extra_label=x&b=2", Some("b=2"));
        f(fixed, &["extra_label"], "extra_label=team=ops&a=1", None);
        f(fixed, &["extra_label"], "extra_label[]=team=ops&a=1", Some("a=1"));
        f("m[]=1", &[], "m=2&m[]=3&m[][]=4", Some("m[][]=4"));
        f("", &[], "a=1&=2", None);
        f("x={{.MetricsExtraLabels}}", &[], "x=1&y=2", Some("y=2"));
        f("a=1;b=2", &[], "b=1&a=2&c=3", Some("c=3"));
    }
}
