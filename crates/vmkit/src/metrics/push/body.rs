//! The body of a push: the page with labels added to each sample.
//!
//! Works on the finished text in one pass; comment and empty lines stay as they are.

use memchr::memchr2;

/// Puts `labels` (`a="b",c="d"`) in front of the labels of every sample; returns the page as it is if they are empty.
pub(super) fn add_labels(page: &[u8], labels: &str) -> Vec<u8> {
    if labels.is_empty() {
        return page.to_vec();
    }
    let mut out = Vec::with_capacity(page.len() + page.len() / 2);
    for line in page.split_inclusive(|&byte| byte == b'\n') {
        let name_end = if line.starts_with(b"#") { None } else { memchr2(b'{', b' ', line) };
        let Some((name, rest)) = name_end.and_then(|at| line.split_at_checked(at)) else {
            out.extend_from_slice(line);
            continue;
        };
        out.extend_from_slice(name);
        out.push(b'{');
        out.extend_from_slice(labels.as_bytes());
        match rest.strip_prefix(b"{") {
            Some(inner) => {
                if !inner.starts_with(b"}") {
                    out.push(b',');
                }
                out.extend_from_slice(inner);
            }
            None => {
                out.push(b'}');
                out.extend_from_slice(rest);
            }
        }
    }
    out
}

/// Checks a list of `label="value"` items joined by commas; the error says what is wrong. An empty list is fine.
pub(super) fn check_labels(labels: &str) -> Result<(), String> {
    let mut rest = labels;
    while !rest.is_empty() {
        let Some((name, behind)) = rest.split_once('=') else {
            return Err(format!("missing `=` after {rest:?}"));
        };
        if !is_label_name(name) {
            return Err(format!("invalid identifier {name:?}"));
        }
        let Some(value) = behind.strip_prefix('"') else {
            return Err(format!("missing starting `\"` for {name:?} value; tail={behind:?}"));
        };
        let Some(after) = closing_quote(value).and_then(|at| value.get(at + 1..)) else {
            return Err(format!("missing trailing `\"` for {name:?} value; tail={value:?}"));
        };
        rest = match after.strip_prefix(',') {
            Some(next) => next.trim_start_matches(' '),
            None if after.is_empty() => after,
            None => return Err(format!("missing `,` after {name:?} value; tail={after:?}")),
        };
    }
    Ok(())
}

fn is_label_name(name: &str) -> bool {
    let start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().enumerate().all(|(i, byte)| start(byte) || i > 0 && byte.is_ascii_digit()) && !name.is_empty()
}

/// Where the first quote without a backslash before it is.
fn closing_quote(value: &str) -> Option<usize> {
    let mut escaped = false;
    value.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_first() {
        let f = |page: &str, labels: &str, want: &str| {
            assert_eq!(String::from_utf8(add_labels(page.as_bytes(), labels)).unwrap(), want);
        };
        f("", r#"a="b""#, "");
        f("x 1\n", "", "x 1\n");
        f("x 1\n", r#"a="b""#, "x{a=\"b\"} 1\n");
        f("x{} 1\n", r#"a="b""#, "x{a=\"b\"} 1\n");
        f("x{c=\"d e{\"} 1\n", r#"a="b",k="v""#, "x{a=\"b\",k=\"v\",c=\"d e{\"} 1\n");
        f("# HELP x\n# TYPE x gauge\nx 1\n\ny 2", r#"a="b""#, "# HELP x\n# TYPE x gauge\nx{a=\"b\"} 1\n\ny{a=\"b\"} 2");
        f("odd\n", r#"a="b""#, "odd\n");
    }

    #[test]
    fn label_lists() {
        let f = |labels: &str, want: Result<(), &str>| {
            assert_eq!(check_labels(labels), want.map_err(str::to_owned), "{labels}");
        };
        f("", Ok(()));
        f(r#"a="b""#, Ok(()));
        f(r#"a="b",c="""#, Ok(()));
        f(r#"a="b", c_1="x\"y,\\""#, Ok(()));
        f("a", Err("missing `=` after \"a\""));
        f("1a=\"b\"", Err("invalid identifier \"1a\""));
        f("=\"b\"", Err("invalid identifier \"\""));
        f("a=b", Err("missing starting `\"` for \"a\" value; tail=\"b\""));
        f("a=\"b", Err("missing trailing `\"` for \"a\" value; tail=\"b\""));
        f("a=\"b\\\"", Err("missing trailing `\"` for \"a\" value; tail=\"b\\\\\\\"\""));
        f("a=\"b\"c=\"d\"", Err("missing `,` after \"a\" value; tail=\"c=\\\"d\\\"\""));
    }
}
