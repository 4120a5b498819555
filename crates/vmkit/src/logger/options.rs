//! The logger's flags and their check.
//!
//! Texts come in as on the command line, settings come out typed, or the exit that start scripts know.

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::line_format::{JsonKeys, LineFormat};
use super::site::Level;
use crate::flags::{FlagExit, FlagSet};
use crate::go_text::quote;

/// Values of the `-logger*` flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggerOptions {
    /// `-loggerLevel`: `INFO`, `WARN`, `ERROR`, `FATAL` or `PANIC`.
    pub level: String,
    /// `-loggerFormat`: `default` or `json`.
    pub format: String,
    /// `-loggerOutput`: `stderr` or `stdout`.
    pub output: String,
    /// `-loggerTimezone`: IANA name, `UTC` or `Local`.
    pub timezone: String,
    /// `-loggerJSONFields`: new names of fields, `ts:timestamp,msg:message`.
    pub json_fields: String,
    /// `-loggerDisableTimestamps`.
    pub disable_timestamps: bool,
    /// `-loggerErrorsPerSecondLimit`; 0 and less mean no limit.
    pub errors_per_second: i64,
    /// `-loggerWarnsPerSecondLimit`; 0 and less mean no limit.
    pub warns_per_second: i64,
    /// `-loggerMaxArgLen`.
    pub max_arg_len: i64,
}

impl Default for LoggerOptions {
    fn default() -> Self {
        Self {
            level: "INFO".to_string(),
            format: "default".to_string(),
            output: "stderr".to_string(),
            timezone: "UTC".to_string(),
            json_fields: String::new(),
            disable_timestamps: false,
            errors_per_second: 0,
            warns_per_second: 0,
            max_arg_len: 5000,
        }
    }
}

/// Checked options.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) threshold: Level,
    pub(crate) to_stdout: bool,
    pub(crate) errors_per_second: u32,
    pub(crate) warns_per_second: u32,
    pub(crate) max_arg_len: usize,
    pub(crate) format: LineFormat,
}

impl Default for Settings {
    fn default() -> Self {
        LoggerOptions::default().settings().expect("BUG: the defaults are valid")
    }
}

impl LoggerOptions {
    /// Reads the flags; all applications call them the same.
    pub fn from_flags(flags: &FlagSet) -> Self {
        Self {
            level: flags.text("loggerLevel").to_string(),
            format: flags.text("loggerFormat").to_string(),
            output: flags.text("loggerOutput").to_string(),
            timezone: flags.text("loggerTimezone").to_string(),
            json_fields: flags.text("loggerJSONFields").to_string(),
            disable_timestamps: flags.bool("loggerDisableTimestamps"),
            errors_per_second: flags.int("loggerErrorsPerSecondLimit"),
            warns_per_second: flags.int("loggerWarnsPerSecondLimit"),
            max_arg_len: flags.int("loggerMaxArgLen"),
        }
    }

    pub(crate) fn settings(&self) -> Result<Settings, FlagExit> {
        let per_second = |limit: i64| u32::try_from(limit.max(0)).unwrap_or(u32::MAX);
        let keys = json_keys(&self.json_fields)?;
        let threshold = Level::from_flag(&self.level)
            .ok_or_else(|| unsupported("`-loggerLevel`", &self.level, "INFO, WARN, ERROR, FATAL, PANIC"))?;
        let to_stdout = match self.output.as_str() {
            "stderr" => false,
            "stdout" => true,
            other => return Err(unsupported("`loggerOutput`", other, "stderr, stdout")),
        };
        let keys = match self.format.as_str() {
            "default" => None,
            "json" => Some(keys),
            other => return Err(unsupported("`-loggerFormat`", other, "default, json")),
        };
        let zone = time_zone(&self.timezone)?;
        let zone = (!self.disable_timestamps).then_some(zone);
        Ok(Settings {
            threshold,
            to_stdout,
            errors_per_second: per_second(self.errors_per_second),
            warns_per_second: per_second(self.warns_per_second),
            max_arg_len: usize::try_from(self.max_arg_len).unwrap_or(0),
            format: LineFormat::new(zone, keys),
        })
    }
}

fn unsupported(flag: &str, value: &str, supported: &str) -> FlagExit {
    let value = quote(value);
    FlagExit::panic(&format!("unsupported {flag} value: {value}; supported values are: {supported}"))
}

fn time_zone(name: &str) -> Result<TimeZone, FlagExit> {
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        "Local" => Ok(TimeZone::system()),
        // Images without time zone files have the bundled copy.
        name => TimeZone::get(name)
            .or_else(|_| TimeZoneDatabase::bundled().get(name))
            .map_err(|_| FlagExit::failure(&format!("cannot load timezone {}: unknown time zone {name}", quote(name)))),
    }
}

fn json_keys(text: &str) -> Result<JsonKeys, FlagExit> {
    let mut keys = JsonKeys::default();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (whole, shown) = (quote(text), quote(item));
        let Some((field, name)) = item.split_once(':') else {
            return Err(FlagExit::failure(&format!(
                "missing ':' delimiter in -loggerJSONFields={whole} for {shown} item"
            )));
        };
        let key = match field {
            "ts" => &mut keys.ts,
            "level" => &mut keys.level,
            "caller" => &mut keys.caller,
            "msg" => &mut keys.msg,
            other => {
                let other = quote(other);
                return Err(FlagExit::failure(&format!(
                    "unexpected json field name in -loggerJSONFields={whole}: {other}; supported values: ts, level, caller, msg"
                )));
            }
        };
        *key = name.to_string();
    }
    Ok(keys)
}
