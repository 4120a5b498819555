//! One series as people type it: `up{a="b"}`, `{a="b"}` or `a="b",c="d"`.

/// Names and values in order of the text, the metric name as `__name__` first.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let text = text.trim();
    if text.lines().filter(|line| !line.trim().is_empty()).count() > 1 {
        return Err("only one time series is allowed; got multiple lines".to_owned());
    }
    let mut labels = Vec::new();
    let inside = match text.find('{') {
        // A brace behind the first equals sign belongs to a value.
        Some(at) if text.find('=').is_none_or(|equals| at < equals) => {
            let (name, rest) = text.split_at(at);
            push_name(&mut labels, name.trim());
            rest.strip_prefix('{').and_then(|rest| rest.trim_end().strip_suffix('}')).ok_or("missing `}` at the end")?
        }
        _ if text.contains('=') => text,
        _ => {
            push_name(&mut labels, text);
            ""
        }
    };
    let mut rest = inside.trim_start();
    while !rest.is_empty() {
        let (name, tail) = rest.split_once('=').ok_or_else(|| format!("missing `=` in {rest:?}"))?;
        let name = name.trim();
        if name.is_empty() {
            return Err(format!("missing label name in {rest:?}"));
        }
        let name = if name.starts_with('"') { quoted(name)?.0 } else { name.to_owned() };
        let (value, tail) = quoted(tail.trim_start()).map_err(|error| format!("label {name:?}: {error}"))?;
        labels.push((name, value));
        rest = tail.trim_start();
        match rest.strip_prefix(',') {
            Some(tail) => rest = tail.trim_start(),
            None if rest.is_empty() => {}
            None => return Err(format!("missing `,` before {rest:?}")),
        }
    }
    Ok(labels)
}

fn push_name(labels: &mut Vec<(String, String)>, name: &str) {
    if !name.is_empty() {
        labels.push(("__name__".to_owned(), name.to_owned()));
    }
}

/// A quoted text and what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or("the value needs quotes")?;
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, c)) if c == '\\' || c == quote => value.push(c),
                Some((_, c)) => value.extend(['\\', c]),
                None => break,
            },
            c if c == quote => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            c => value.push(c),
        }
    }
    Err("a quote is never closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_series() {
        let f = |text: &str, want: &[(&str, &str)]| {
            let got = parse(text).unwrap();
            assert_eq!(got.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(), want, "{text}");
        };
        f("up", &[("__name__", "up")]);
        f(" up { a = \"b\" , } \n", &[("__name__", "up"), ("a", "b")]);
        f("{a=\"b\",\"x.y\"='c'}", &[("a", "b"), ("x.y", "c")]);
        f("a=\"b{\",c=\"d\"", &[("a", "b{"), ("c", "d")]);
        f(r#"{a="x\"y\\z\n\d"}"#, &[("a", "x\"y\\z\n\\d")]);
        f("{}", &[]);
        f("", &[]);
    }

    #[test]
    fn what_is_no_series() {
        let f = |text: &str, want: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        };
        f("m{a", "missing `}`");
        f("m{a}", "missing `=`");
        f("m{a=b}", "needs quotes");
        f("m{a=\"b}", "never closed");
        f("m{a=\"b\" c=\"d\"}", "missing `,`");
        f("m{=\"b\"}", "missing label name");
        f("a\nb", "multiple lines");
    }
}
