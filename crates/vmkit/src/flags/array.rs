//! Splitting of list flags at commas, and the way back to one text.
//!
//! Commas inside quotes and brackets do not split, so that label filters and JSON fit into an item. An opening
//! character that is never closed is ordinary text. Pure and linear; any text is accepted.

use crate::go_text::{quote, unquote};

/// Items of one value of a list flag; the empty text is one empty item.
pub(super) fn split(text: &str) -> Vec<String> {
    let closings = closings(text.as_bytes());
    let mut items = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < text.len() {
        match closings[at] {
            Some(closing) => at = closing,
            None if text.as_bytes()[at] == b',' => {
                items.push(item(&text[start..at]));
                start = at + 1;
            }
            None => {}
        }
        at += 1;
    }
    items.push(item(&text[start..]));
    items
}

/// For each byte that opens quotes or brackets: where they close. One pass from the right would not know whether a
/// quote opens or closes, so brackets are kept on a stack from the left and quotes are looked up ahead.
fn closings(text: &[u8]) -> Vec<Option<usize>> {
    let mut closings = vec![None; text.len()];
    let mut open: Vec<(u8, usize)> = Vec::new();
    let mut unclosed_quote = [false; 2];
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            quote @ (b'"' | b'\'') => {
                let known_unclosed = &mut unclosed_quote[usize::from(quote == b'"')];
                // Once a quote has no partner, no later one has.
                if !*known_unclosed {
                    closings[at] = closing_quote(text, at);
                    *known_unclosed = closings[at].is_none();
                    at = closings[at].unwrap_or(at);
                }
            }
            b'[' => open.push((b']', at)),
            b'{' => open.push((b'}', at)),
            b'(' => open.push((b')', at)),
            closing @ (b']' | b'}' | b')') => {
                if let Some(depth) = open.iter().rposition(|(wanted, _)| *wanted == closing) {
                    closings[open[depth].1] = Some(at);
                    open.truncate(depth);
                }
            }
            _ => {}
        }
        at += 1;
    }
    closings
}

fn closing_quote(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            byte if byte == text[start] => return Some(at),
            _ => at += 1,
        }
    }
    None
}

fn item(text: &str) -> String {
    let wrapped = |quote: char| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (closing_quote(text.as_bytes(), 0) == Some(text.len() - 1)).then_some(inner)
    };
    if let Some(inner) = wrapped('"') {
        return unquote(text).unwrap_or_else(|| without_backslashes(inner, '"'));
    }
    wrapped('\'').map_or_else(|| text.to_string(), |inner| without_backslashes(inner, '\''))
}

fn without_backslashes(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let escaped = (c == '\\').then(|| rest.next_if(|next| *next == quote || *next == '\\')).flatten();
        out.push(escaped.unwrap_or(c));
    }
    out
}

/// Items in one line; items that would not come back by [`split`] as they are get quotes.
pub(super) fn join(items: &[String]) -> String {
    let special = |c: char| matches!(c, ',' | '\'' | '"' | '{' | '[' | '(' | '\n');
    let texts: Vec<_> =
        items.iter().map(|item| if item.contains(special) { quote(item) } else { item.clone() }).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn splits_outside_quotes_and_brackets() {
        let f = |text: &str, want: &[&str]| assert_eq!(split(text), want, "{text}");
        f("", &[""]);
        f("a", &["a"]);
        f("a,b", &["a", "b"]);
        f("a,", &["a", ""]);
        f(",", &["", ""]);
        f(",a", &["", "a"]);
        f(r#"a,"b,c""#, &["a", "b,c"]);
        f("a,'b,c'", &["a", "b,c"]);
        f("[a,b,c]", &["[a,b,c]"]);
        f("(a,b),c", &["(a,b)", "c"]);
        f(r#"{k="v,w"},z"#, &[r#"{k="v,w"}"#, "z"]);
        f("[a,(b,{c,d})],e", &["[a,(b,{c,d})]", "e"]);
        f("[a,b", &["[a", "b"]);
        f("[a,(b,c)", &["[a", "(b,c)"]);
        f("[a,(b,c]", &["[a,(b,c]"]);
        f("a],b", &["a]", "b"]);
        f(r#"["]",a],b"#, &[r#"["]",a]"#, "b"]);
        f("\"a,b", &["\"a", "b"]);
        f("don't,x", &["don't", "x"]);
        f("don't,won't", &["don't,won't"]);
        f(r#"a="b,c",d"#, &[r#"a="b,c""#, "d"]);
        f("é,\"日,本\"", &["é", "日,本"]);
    }

    #[test]
    fn unquotes_items_that_are_wrapped_as_a_whole() {
        let f = |text: &str, want: &[&str]| assert_eq!(split(text), want, "{text}");
        f(r#""a\"b\n""#, &["a\"b\n"]);
        f(r#""a\qb\"\\""#, &[r#"a\qb"\"#]);
        f(r"'a\'b\\c\n'", &[r"a'b\c\n"]);
        f("\"\"", &[""]);
        f("''", &[""]);
        f("'", &["'"]);
        f("\"", &["\""]);
        f(r#""a"b"c""#, &[r#""a"b"c""#]);
        f(r#""a\"#, &[r#""a\"#]);
    }

    #[test]
    fn joins_with_quotes_where_needed() {
        let f = |items: &[&str], want: &str| {
            assert_eq!(join(&items.iter().map(ToString::to_string).collect::<Vec<_>>()), want);
        };
        f(&[], "");
        f(&["a", "b"], "a,b");
        f(&["a,b", "c"], r#""a,b",c"#);
        f(&[r#"k="v""#, "(x", "it's", "a\nb"], r#""k=\"v\"","(x","it's","a\nb""#);
        f(&["a]b"], "a]b");
    }

    proptest! {
        #[test]
        fn joining_is_undone_by_splitting(items in proptest::collection::vec("[a-z,'\"{}()\\[\\]\\\\ \nż]{0,8}", 1..5)) {
            prop_assert_eq!(split(&join(&items)), items);
        }

        #[test]
        fn no_text_panics(text in "[a,'\"{}()\\[\\]\\\\ż]{0,40}") {
            prop_assert!(!split(&text).is_empty());
        }
    }
}
