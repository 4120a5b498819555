//! The token response (RFC 6749, section 5), in the forms that providers send.

use crate::http_client::FetchReply;
use serde_json::{Map, Value};
use std::time::Duration;

/// A token as it was issued.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// Value of `Authorization`.
    pub(super) header: String,
    /// `None` if it never ends.
    pub(super) lifetime: Option<Duration>,
}

/// Characters of a reply that an error shows.
const SHOWN: usize = 300;

/// The token in a reply.
///
/// # Errors
/// Why there is none, in a text that holds no token.
pub(super) fn parse(reply: &FetchReply) -> Result<Token, String> {
    let members = members(reply);
    if !reply.status.is_success() {
        return Err(failure(reply, members.as_ref()));
    }
    let Some(members) = members else { return Err("the reply of the token endpoint is no JSON object".to_owned()) };
    if text(&members, "error").is_some_and(|error| !error.is_empty()) {
        return Err(failure(reply, Some(&members)));
    }
    let token = text(&members, "access_token").filter(|token| !token.is_empty());
    let token = token.ok_or("the reply of the token endpoint has no access_token")?;
    if !token.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err("the access_token has characters that no header may have".to_owned());
    }
    let kind = text(&members, "token_type").unwrap_or_default();
    let kind = match kind.to_ascii_lowercase().as_str() {
        "" | "bearer" => "Bearer",
        "basic" => "Basic",
        "mac" => "MAC",
        _ if kind.bytes().all(|byte| byte.is_ascii_graphic()) => kind,
        _ => return Err("the token_type has characters that no header may have".to_owned()),
    };
    let seconds = seconds(members.get("expires_in"))?;
    let lifetime = (seconds > 0).then(|| Duration::from_secs(seconds));
    Ok(Token { header: format!("{kind} {token}"), lifetime })
}

fn members(reply: &FetchReply) -> Option<Map<String, Value>> {
    let kind = reply.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") || kind.eq_ignore_ascii_case("text/plain") {
        let body = std::str::from_utf8(&reply.body).ok()?;
        let pairs = body.trim().split('&').filter_map(|pair| pair.split_once('='));
        return Some(pairs.map(|(name, value)| (form_decode(name), Value::from(form_decode(value)))).collect());
    }
    match serde_json::from_slice(&reply.body) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name)?.as_str()
}

/// Seconds as a number or a text; absent or not positive means for ever.
fn seconds(value: Option<&Value>) -> Result<u64, String> {
    let wrong = || "expires_in in the reply of the token endpoint is no number of seconds".to_owned();
    match value {
        None | Some(Value::Null) => Ok(0),
        Some(Value::String(text)) if text.is_empty() => Ok(0),
        Some(Value::String(text)) => {
            text.trim().parse::<i64>().map(|n| u64::try_from(n).unwrap_or(0)).map_err(|_| wrong())
        }
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(seconds), _) => Ok(seconds),
            // A fraction of a second does not matter, and the cast saturates.
            (None, Some(seconds)) => Ok(seconds as u64),
            (None, None) => Err(wrong()),
        },
        Some(_) => Err(wrong()),
    }
}

/// What the provider says about its refusal.
fn failure(reply: &FetchReply, members: Option<&Map<String, Value>>) -> String {
    let status = reply.status.as_u16();
    let part = |name| members.and_then(|members| text(members, name)).filter(|text| !text.is_empty());
    match (part("error"), part("error_description")) {
        (Some(error), Some(description)) => format!("{:?} {:?}", shorten(error), shorten(description)),
        (Some(error), None) => format!("{:?}", shorten(error)),
        // A body that may hold a token is not shown.
        (None, _) if part("access_token").is_some() => format!("unexpected status code {status}"),
        (None, _) => {
            let body = String::from_utf8_lossy(&reply.body);
            format!("unexpected status code {status}; response body: {:?}", shorten(body.trim()))
        }
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

fn form_decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => {
                let mut ahead = bytes.clone();
                let mut digit = || ahead.next().and_then(|byte| char::from(byte).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => {
                        decoded.push((high * 16 + low) as u8);
                        bytes = ahead;
                    }
                    _ => decoded.push(b'%'),
                }
            }
            byte => decoded.push(byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
