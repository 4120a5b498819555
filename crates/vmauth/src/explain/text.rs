//! An explanation for people: the verdict in the first line, then the tables.

use std::fmt::Write as _;

use vmkit::go_text::quote;
use vmkit::redact;

use super::{Explanation, Outcome, Row, Sent};

impl Explanation {
    /// The first line: the verdict in one sentence.
    pub fn headline(&self, with_secrets: bool) -> String {
        let who = match (&self.user, self.user_place.as_deref()) {
            (_, Some(place)) if place.ends_with("unauthorized_user") => Some(place.to_owned()),
            (Some(name), _) => Some(format!("user {}", quote(name))),
            (None, _) => None,
        };
        let mut steps: Vec<String> = who.into_iter().chain(self.route.clone()).collect();
        match self.outcome {
            Outcome::Allowed => {
                steps.extend(self.tries.first().map(|first| shown_url(&first.url, with_secrets)));
                format!("allowed: {}", steps.join(" → "))
            }
            Outcome::Denied(status) if steps.is_empty() => format!("denied {status}: {}", self.message),
            Outcome::Denied(status) => format!("denied {status}: {} ({})", self.message, steps.join(" → ")),
            Outcome::Own(_) => format!("own page: {}", self.message),
        }
    }

    /// The whole answer as text.
    pub fn text(&self, with_secrets: bool) -> String {
        let mut out = self.headline(with_secrets) + "\n";
        table(&mut out, "Users", &self.users);
        let title = format!("Routes of {}", self.user.as_deref().unwrap_or("nobody"));
        table(&mut out, &title, &self.routes);
        if let Some(sent) = &self.sent {
            sent.write(&mut out, with_secrets);
        }
        if !self.tries.is_empty() {
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(out, "\nBackends in the order of attempts ({})", self.policy);
            for (number, attempt) in (1..).zip(&self.tries) {
                let _ = write!(out, "  {number}. {}", shown_url(&attempt.url, with_secrets));
                let marks: String = attempt.marks.iter().map(|mark| format!(", {mark}")).collect();
                let weight = if attempt.weight == 1 { String::new() } else { format!(", weight {}", attempt.weight) };
                let _ = match attempt.in_flight {
                    0 if marks.is_empty() && weight.is_empty() => writeln!(out),
                    in_flight => writeln!(out, "  ({in_flight} in flight{weight}{marks})"),
                };
            }
        }
        let limits: Vec<_> = self.timeouts.named().map(|(name, limit)| format!("{name}={limit}")).collect();
        if !limits.is_empty() {
            let _ = writeln!(out, "\nLimits of the route\n  {}", limits.join(", "));
        }
        if !self.notes.is_empty() {
            out.push_str("\nNotes\n");
            for note in &self.notes {
                let _ = writeln!(out, "  {note}");
            }
        }
        out
    }
}

impl Sent {
    fn write(&self, out: &mut String, with_secrets: bool) {
        let _ = writeln!(out, "\nRequest to the backend\n  {} with Host: {}", self.method, self.host);
        for (name, value) in &self.added {
            let _ = writeln!(out, "  + {name}: {}", shown_value(name, value, with_secrets));
        }
        for name in &self.removed {
            let _ = writeln!(out, "  - {name}");
        }
    }
}

fn table(out: &mut String, title: &str, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
    let (places, names) = (width(|row| &row.place), width(|row| &row.name));
    let _ = writeln!(out, "\n{title}");
    for row in rows {
        let gap = if names == 0 { "" } else { "  " };
        let _ =
            writeln!(out, "  {:<4}  {:<places$}{gap}{:<names$}  {}", row.state.name(), row.place, row.name, row.why);
    }
}

/// A URL as it may be shown.
pub(super) fn shown_url(url: &str, with_secrets: bool) -> String {
    match with_secrets {
        true => url.to_owned(),
        false => String::from_utf8_lossy(&redact::url_args(url.as_bytes())).into_owned(),
    }
}

/// A header's value as it may be shown.
pub(super) fn shown_value(name: &str, value: &str, with_secrets: bool) -> String {
    if with_secrets || !redact::is_secret_header(name) { value.to_owned() } else { "secret".to_owned() }
}
