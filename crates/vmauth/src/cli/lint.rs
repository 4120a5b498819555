//! `vmauth lint`.

use std::fmt::Write as _;

use serde_json::{Value, json};
use vmkit::redact;
use vmkit::units::counted;

use super::words::Words;
use super::{CommandError, Output};
use crate::app::{Start, inspection};
use crate::lint::{Finding, RULES, Rule, Severity};

/// The rules, for `-rules`.
pub(super) fn list() -> Output {
    let mut stdout = String::new();
    for rule in RULES {
        // Writing to a string cannot fail.
        let _ = writeln!(stdout, "{:<24} {:<8} {}", rule.id, rule.severity.name(), rule.summary);
    }
    Output { code: 0, stdout }
}

pub(super) async fn run(start: &Start, words: &Words) -> Result<Output, CommandError> {
    let named = |option: &str| -> Result<Vec<String>, CommandError> {
        let ids: Vec<_> = words.values(option).iter().flat_map(|list| list.split(',')).map(str::to_owned).collect();
        match ids.iter().find(|id| !RULES.iter().any(|rule| rule.id == **id)) {
            Some(id) => {
                Err(CommandError::Usage(format!("-{option}: there is no rule {id:?}; -rules lists them"), "lint"))
            }
            None => Ok(ids),
        }
    };
    let (off, only) = (named("off")?, named("only")?);
    let files = inspection::read(start).await?;
    let config = inspection::parsed(start, &files)?;
    let is_named = |list: &[String], rule: &Rule| list.iter().any(|id| id == rule.id);
    let wants = |rule: &Rule| !is_named(&off, rule) && (only.is_empty() || is_named(&only, rule));
    let findings = inspection::findings(start, &files, &config, wants);
    let path = redact::url(&start.options.config.auth_config).into_owned();
    let stdout = match words.is_set("json") {
        true => format!("{:#}\n", Value::from(findings.iter().map(object).collect::<Vec<_>>())),
        false => text(&path, &findings),
    };
    let has_warnings = findings.iter().any(|finding| finding.rule.severity == Severity::Warning);
    let fails = has_warnings || (words.is_set("strict") && !findings.is_empty());
    Ok(Output { code: i32::from(fails), stdout })
}

fn text(path: &str, findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let Finding { file, mark, rule, .. } = finding;
        let path = match file.as_str() {
            "" => path.to_owned(),
            file => format!("{}{file}", vmkit::config_files::prefix(path)),
        };
        let _ = writeln!(out, "{path}:{}:{}: {}: {finding}", mark.line, mark.column, rule.severity.name());
    }
    let warnings = findings.iter().filter(|finding| finding.rule.severity == Severity::Warning).count();
    let _ = writeln!(out, "{}, {}", counted(warnings, "warning"), counted(findings.len() - warnings, "note"));
    out
}

fn object(finding: &Finding) -> Value {
    json!({
        "rule": finding.rule.id,
        "file": finding.file,
        "severity": finding.rule.severity.name(),
        "place": finding.place,
        "line": finding.mark.line,
        "column": finding.mark.column,
        "message": finding.message,
        "hint": finding.hint,
    })
}
