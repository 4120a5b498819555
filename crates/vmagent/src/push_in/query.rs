//! Paths and query args as pushes have them.

use std::borrow::Cow;

/// The path, decoded, runs of slashes made one.
pub(super) fn decoded_path(path: &[u8]) -> String {
    let decoded = decode(path, false);
    let mut collapsed = String::with_capacity(decoded.len());
    for letter in String::from_utf8_lossy(&decoded).chars() {
        if letter != '/' || !collapsed.ends_with('/') {
            collapsed.push(letter);
        }
    }
    collapsed
}

/// All values of an arg, decoded.
pub(super) fn args<'q>(query: &'q [u8], name: &'q str) -> impl Iterator<Item = Vec<u8>> + 'q {
    query.split(|byte| *byte == b'&').filter_map(move |pair| {
        let (key, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        (*decode(key, true) == *name.as_bytes()).then(|| decode(value, true).into_owned())
    })
}

/// Percent escapes resolved; with `form`, a plus is a blank. An escape that is none stays as it is.
fn decode(text: &[u8], form: bool) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| *byte == b'%' || (form && *byte == b'+')) {
        return Cow::Borrowed(text);
    }
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match (byte, digit(text.get(at)), digit(text.get(at + 1))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) if form => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let f = |path: &str, want: &str| assert_eq!(decoded_path(path.as_bytes()), want);
        f("//api//v1/write", "/api/v1/write");
        f("/a%2Fb/%zz", "/a/b/%zz");
        f("/a+b", "/a+b");
    }

    #[test]
    fn all_args_of_a_name() {
        let f = |query: &str, want: &[&str]| {
            let got: Vec<Vec<u8>> = args(query.as_bytes(), "extra_label").collect();
            assert_eq!(got, want.iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>(), "{query}");
        };
        f("extra_label=a%3Db&x=1&extra_label=k=v%20w=z&extra_label=p+q", &["a=b", "k=v w=z", "p q"]);
        f("extra_label", &[""]);
        f("", &[]);
        f("extra%5Flabel=1", &["1"]);
    }
}
