//! The part of the query language that the store answers.
//!
//! ```text
//! expression = selector | selector[5m] | rate(selector[1m]) | sum(expression) | sum by (label, …) (expression)
//! ```
//!
//! `by (…)` may stand behind the brackets too. Selectors are the agent's own. Everything else is refused, and the error
//! says what there is: a store for trying things out must not answer what it does not understand.

use std::time::Duration;

use vmagent::relabel::Selector;
use vmkit::units::GoDuration;

/// Nesting is for readers, not for stacks.
const MAX_DEPTH: usize = 8;
const KNOWN: &str = "this store knows selectors such as up{job=\"stat\"}, up[5m], rate(up[1m]), sum(…) and \
                     sum by (label) (…)";

/// What to compute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Newest value of each series.
    Instant(Selector),
    /// All samples of a span, as they came.
    Span(Selector, Duration),
    /// Increase a second over a span.
    Rate(Selector, Duration),
    /// Sums over groups that are equal in these labels.
    Sum(Vec<String>, Box<Self>),
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong, and what could stand there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, rest: text.trim() };
        let expression = reader.expression(0)?;
        if reader.rest.is_empty() { Ok(expression) } else { Err(reader.fault("nothing more")) }
    }
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn fault(&self, wanted: &str) -> String {
        format!("cannot parse {:?}: want {wanted} at {:?}; {KNOWN}", self.text, self.rest)
    }

    fn skip(&mut self, len: usize) {
        self.rest = self.rest.get(len..).unwrap_or_default().trim_start();
    }

    fn take(&mut self, mark: char) -> bool {
        let found = self.rest.starts_with(mark);
        if found {
            self.skip(mark.len_utf8());
        }
        found
    }

    fn want(&mut self, mark: char) -> Result<(), String> {
        if self.take(mark) { Ok(()) } else { Err(self.fault(&format!("{mark:?}"))) }
    }

    fn name(&self) -> &'t str {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        self.rest.get(..end).unwrap_or_default()
    }

    fn expression(&mut self, depth: usize) -> Result<Expression, String> {
        if depth > MAX_DEPTH {
            return Err(self.fault("fewer brackets"));
        }
        let name = self.name();
        let behind = self.rest.get(name.len()..).unwrap_or_default().trim_start();
        match name {
            "rate" if behind.starts_with('(') => {
                self.skip(name.len());
                self.want('(')?;
                let selector = self.selector()?;
                let span = self.span()?.ok_or_else(|| self.fault("a span such as [1m]"))?;
                self.want(')')?;
                Ok(Expression::Rate(selector, span))
            }
            "sum" if behind.starts_with('(') || behind.starts_with("by") => {
                self.skip(name.len());
                let before = self.by()?;
                self.want('(')?;
                let inner = self.expression(depth + 1)?;
                if let Expression::Span(..) = inner {
                    return Err(self.fault("no span"));
                }
                self.want(')')?;
                let behind = if before.is_none() { self.by()? } else { None };
                Ok(Expression::Sum(before.or(behind).unwrap_or_default(), Box::new(inner)))
            }
            _ if behind.starts_with('(') => Err(self.fault("a known function")),
            _ => {
                let selector = self.selector()?;
                Ok(match self.span()? {
                    Some(span) => Expression::Span(selector, span),
                    None => Expression::Instant(selector),
                })
            }
        }
    }

    /// `by (a, b)`.
    fn by(&mut self) -> Result<Option<Vec<String>>, String> {
        if self.name() != "by" {
            return Ok(None);
        }
        self.skip(2);
        self.want('(')?;
        let mut labels = Vec::new();
        while !self.take(')') {
            let name = self.name();
            if name.is_empty() {
                return Err(self.fault("the name of a label"));
            }
            labels.push(name.to_owned());
            self.skip(name.len());
            if !self.take(',') && !self.rest.starts_with(')') {
                return Err(self.fault("a comma"));
            }
        }
        Ok(Some(labels))
    }

    fn selector(&mut self) -> Result<Selector, String> {
        let len = selector_len(self.rest).ok_or_else(|| self.fault("a selector whose quotes and braces are closed"))?;
        let text = self.rest.get(..len).unwrap_or_default();
        if text.trim().is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.fault("a selector"));
        }
        let selector = Selector::parse(text.trim()).map_err(|error| error.to_string())?;
        self.skip(len);
        Ok(selector)
    }

    /// `[5m]`.
    fn span(&mut self) -> Result<Option<Duration>, String> {
        if !self.take('[') {
            return Ok(None);
        }
        let end = self.rest.find(']').ok_or_else(|| self.fault("a span such as [1m]"))?;
        let text = self.rest.get(..end).unwrap_or_default().trim();
        let span: GoDuration = text.parse().map_err(|error| format!("cannot parse {:?}: {error}", self.text))?;
        let span = span.positive().ok_or_else(|| self.fault("a span longer than zero"))?;
        self.skip(end + 1);
        Ok(Some(span))
    }
}

/// Bytes of the selector in front of `text`, braces and quotes included.
fn selector_len(text: &str) -> Option<usize> {
    let (mut in_braces, mut quote, mut escaped) = (false, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('"' | '\''), '\\') => escaped = true,
            (Some(open), _) => quote = (open != c).then_some(open),
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => in_braces = true,
            (None, '}') if in_braces => return Some(at + 1),
            (None, '[' | ']' | '(' | ')' | ',') if !in_braces => return Some(at),
            _ => {}
        }
    }
    (!in_braces && quote.is_none()).then_some(text.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step ends the test")]

    use super::*;

    #[test]
    fn expressions_are_read() {
        let selector = |text: &str| Selector::parse(text).unwrap();
        let f = |text: &str, want: Expression| assert_eq!(Expression::parse(text).unwrap(), want, "{text}");
        let minute = Duration::from_secs(60);
        f(" up ", Expression::Instant(selector("up")));
        f(r#"{a="}[",b=~"x\"}"}"#, Expression::Instant(selector(r#"{a="}[",b=~"x\"}"}"#)));
        f("sum", Expression::Instant(selector("sum")));
        f("rate{a=\"b\"}[1m]", Expression::Span(selector("rate{a=\"b\"}"), minute));
        f("rate( m{a=\"(\"} [60s] )", Expression::Rate(selector("m{a=\"(\"}"), minute));
        let rate = Expression::Rate(selector("m"), minute);
        let by = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
        f("sum(rate(m[1m]))", Expression::Sum(by(&[]), Box::new(rate.clone())));
        f("sum by (a, b) (rate(m[1m]))", Expression::Sum(by(&["a", "b"]), Box::new(rate.clone())));
        f("sum(rate(m[1m])) by (a)", Expression::Sum(by(&["a"]), Box::new(rate)));
        f("sum by()(m)", Expression::Sum(by(&[]), Box::new(Expression::Instant(selector("m")))));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_there_is() {
        let deep = format!("{}m{}", "sum(".repeat(40), ")".repeat(40));
        for text in [
            "",
            "1",
            "up + 1",
            "avg(up)",
            "rate(up)",
            "rate(up[1m]",
            "up[5m",
            "up[-1m]",
            "up[5]",
            "up{a=\"b\"",
            "up{a=\"b",
            "sum(up[1m])",
            "sum by a (up)",
            "sum by (a b) (up)",
            "up offset 5m",
            "sum(up) by (a) by (b)",
            &deep,
        ] {
            let error = Expression::parse(text).unwrap_err();
            assert!(error.contains("cannot parse"), "{text}: {error}");
        }
        assert!(Expression::parse("avg(up)").unwrap_err().contains("sum by (label)"));
    }
}
