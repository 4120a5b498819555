//! Rules written back as YAML, for pages and for telling whether they changed.

use super::rule_spec::RuleSpec;

/// The rule as lines `field: value`.
pub(super) fn of_rule(spec: &RuleSpec) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, value: String| lines += &format!("{name}: {value}\n");
    match &*spec.conditions {
        [] => {}
        [only] => line("if", scalar(only)),
        list => line("if", flow(list)),
    }
    if let Some(action) = &spec.action {
        line("action", scalar(action));
    }
    if !spec.source_labels.is_empty() {
        line("source_labels", flow(&spec.source_labels));
    }
    let texts = [
        ("separator", &spec.separator),
        ("target_label", &spec.target_label),
        ("regex", &spec.regex),
        ("replacement", &spec.replacement),
        ("match", &spec.graphite_match),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            line(name, scalar(value));
        }
    }
    if let Some(modulus) = spec.modulus {
        line("modulus", modulus.to_string());
    }
    if !spec.graphite_labels.is_empty() {
        let pair = |(name, value): &(String, String)| format!("{}: {}", scalar(name), scalar(value));
        line("labels", format!("{{{}}}", spec.graphite_labels.iter().map(pair).collect::<Vec<_>>().join(", ")));
    }
    lines
}

/// The lines as an item of a list.
pub(super) fn list_item(lines: &str) -> String {
    let indent = |(index, line): (usize, &str)| format!("{}{line}\n", if index == 0 { "- " } else { "  " });
    lines.lines().enumerate().map(indent).collect()
}

fn flow(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| scalar(item)).collect::<Vec<_>>().join(", "))
}

/// A plain word where that is unambiguous, otherwise a quoted text.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '$' | '(' | ')' | '+');
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == '(' || c == '$');
    let words = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    if first && text.chars().all(plain) && !words.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return text.to_owned();
    }
    let mut out = Vec::new();
    vmkit::go_text::push_json_string(&mut out, text.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}
