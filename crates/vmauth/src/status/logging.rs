//! Switches logging at run time: the level, details of refused credentials, and both kinds of lines for single users.
//!
//! A page of another site must not do that with the browser of an operator: requests that a browser marks as coming from
//! elsewhere are refused.

use std::time::Duration;

use vmkit::http_server::Request;
use vmkit::logger::{self, Level};
use vmkit::percent;
use vmkit::units::GoDuration;

use crate::proxy::switches::Switches;

/// How long a user is switched when the request does not say.
const DEFAULT_TIME: Duration = Duration::from_secs(600);
/// The longest time.
const MAX_TIME: Duration = Duration::from_secs(86_400);

/// What a request wants to switch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    level: Option<String>,
    log_invalid_tokens: Option<bool>,
    access_log: Option<bool>,
    user: Option<String>,
    time: Option<Duration>,
}

impl Wish {
    /// Reads args of a query, and lines or args of a body.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub(super) fn parse(args: &[u8]) -> Result<Self, String> {
        let mut wish = Self::default();
        for pair in args.split(|byte| matches!(byte, b'&' | b'\n' | b'\r')).filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut text = || {
                let half = percent::decode_arg_leniently(halves.next().unwrap_or_default());
                String::from_utf8_lossy(&half).trim().to_owned()
            };
            let (name, value) = (text(), text());
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                "level" => wish.level = Some(value),
                "logInvalidAuthTokens" => wish.log_invalid_tokens = Some(switch(&name, &value)?),
                "accessLog" => wish.access_log = Some(switch(&name, &value)?),
                "user" => wish.user = Some(value),
                "for" => {
                    let time = value.parse::<GoDuration>().map_err(|error| format!("for={value}: {error}"))?;
                    wish.time = Some(time.as_std().min(MAX_TIME));
                }
                "authKey" => {}
                other => {
                    return Err(format!(
                        "unknown arg {other:?}; known are level, logInvalidAuthTokens, user, accessLog, for"
                    ));
                }
            }
        }
        Ok(wish)
    }

    /// Does it.
    ///
    /// # Errors
    /// What is wrong, and what to write; then nothing was switched.
    pub(super) fn apply(self, switches: &Switches) -> Result<String, String> {
        let level = match &self.level {
            Some(name) => Some(
                Level::from_flag(&name.to_ascii_uppercase())
                    .ok_or_else(|| format!("unknown level {name:?}; write INFO, WARN, ERROR, FATAL or PANIC"))?,
            ),
            None => None,
        };
        let Some(user) = self.user else {
            if self.access_log.is_some() || self.time.is_some() {
                return Err("accessLog and for are for one user: add user=NAME".to_owned());
            }
            if level.is_none() && self.log_invalid_tokens.is_none() {
                return Err("nothing to switch: write level=WARN, or logInvalidAuthTokens=true".to_owned());
            }
            if let Some(level) = level {
                logger::set_level(Some(level));
            }
            if let Some(is_on) = self.log_invalid_tokens {
                switches.set_log_invalid_tokens(is_on);
            }
            let is_on = switches.log_invalid_tokens();
            return Ok(format!("level={} logInvalidAuthTokens={is_on}", logger::level().name()));
        };
        if level.is_some() {
            return Err("a level is that of the process, not of a user: leave out user or level".to_owned());
        }
        let (tokens, access) = (self.log_invalid_tokens.unwrap_or(false), self.access_log.unwrap_or(false));
        let time = self.time.unwrap_or(DEFAULT_TIME);
        switches.set_user(&user, tokens, access, time)?;
        Ok(format!("user={user:?} logInvalidAuthTokens={tokens} accessLog={access} for={}", GoDuration::from(time)))
    }
}

fn switch(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        other => Err(format!("{name}={other}: write true or false")),
    }
}

/// Whether a browser says that another site has made this request.
pub(super) fn is_from_elsewhere(request: &Request<'_>) -> bool {
    let is_foreign = |site: &str| !matches!(site, "same-origin" | "none");
    if request.header("Sec-Fetch-Site").is_some_and(is_foreign) {
        return true;
    }
    let host = request.header("Host").unwrap_or_default();
    request.header("Origin").is_some_and(|origin| origin.split_once("://").is_none_or(|(_, from)| from != host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes() {
        let f = |args: &str, want: &str| {
            let switches = Switches::new(false);
            let got = Wish::parse(args.as_bytes()).and_then(|wish| wish.apply(&switches));
            let got = got.unwrap_or_else(|problem| format!("! {problem}"));
            assert!(got.starts_with(want), "{args}: {got}");
            switches
        };
        assert!(f("logInvalidAuthTokens=true", "level=").log_invalid_tokens());
        assert!(!f("logInvalidAuthTokens=0", "level=").log_invalid_tokens());
        let switches =
            f("user=al%20ice&accessLog=on&for=1h", "user=\"al ice\" logInvalidAuthTokens=false accessLog=true");
        assert!(switches.logs_requests_of("al ice"));
        f("user=a\r\nlogInvalidAuthTokens=true\r\n", "user=\"a\" logInvalidAuthTokens=true accessLog=false for=10m0s");
        f("user=a", "user=\"a\" logInvalidAuthTokens=false accessLog=false");
        f("", "! nothing to switch");
        f("level=LOUD", "! unknown level \"LOUD\"");
        f("level=WARN&user=a", "! a level is that of the process");
        f("accessLog=true", "! accessLog and for are for one user");
        f("logInvalidAuthTokens=maybe", "! logInvalidAuthTokens=maybe: write true or false");
        f("colour=red", "! unknown arg \"colour\"");
        f("user=a&for=soon", "! for=soon: ");
    }
}
