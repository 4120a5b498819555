//! The two forms of a line: fields separated by tabs, or one JSON object.
//!
//! Appends to a buffer of the caller. The time is rendered once a second; lines of the same second only add their
//! milliseconds.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::site::Site;
use crate::go_text::push_json_text;

/// Names of the fields of a JSON line.
#[derive(Clone, Debug)]
pub(crate) struct JsonKeys {
    pub(crate) ts: String,
    pub(crate) level: String,
    pub(crate) caller: String,
    pub(crate) msg: String,
}

impl Default for JsonKeys {
    fn default() -> Self {
        Self { ts: "ts".into(), level: "level".into(), caller: "caller".into(), msg: "msg".into() }
    }
}

/// How lines look.
#[derive(Clone, Debug)]
pub(crate) struct LineFormat {
    clock: Option<Clock>,
    json: Option<JsonKeys>,
}

impl LineFormat {
    /// Without a time zone there is no time; without keys the fields are separated by tabs.
    pub(crate) fn new(zone: Option<TimeZone>, json: Option<JsonKeys>) -> Self {
        let clock = |zone| Clock { zone, second: None, before: String::new(), after: String::new() };
        Self { clock: zone.map(clock), json }
    }

    /// Appends a line with its end; line ends behind the message are left out.
    pub(crate) fn push_line(&mut self, out: &mut Vec<u8>, millis: u64, site: &Site, message: &[u8]) {
        let end = message.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
        let message = &message[..end];
        let Some(keys) = &self.json else {
            if let Some(clock) = &mut self.clock {
                clock.push(out, millis);
                out.push(b'\t');
            }
            for field in [site.level().name(), site.location()] {
                out.extend_from_slice(field.as_bytes());
                out.push(b'\t');
            }
            out.extend_from_slice(message);
            return out.push(b'\n');
        };
        out.push(b'{');
        if let Some(clock) = &mut self.clock {
            push_json_text(out, keys.ts.as_bytes());
            out.extend_from_slice(b":\"");
            clock.push(out, millis);
            out.extend_from_slice(b"\",");
        }
        let fields = [
            (&keys.level, site.level().name().as_bytes()),
            (&keys.caller, site.location().as_bytes()),
            (&keys.msg, message),
        ];
        for (position, (key, value)) in fields.into_iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            push_json_text(out, key.as_bytes());
            out.push(b':');
            push_json_text(out, value);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Time of a line, `2026-11-21T17:02:33.855Z` or with the zone as `+0100`.
#[derive(Clone, Debug)]
struct Clock {
    zone: TimeZone,
    second: Option<u64>,
    before: String,
    after: String,
}

impl Clock {
    fn push(&mut self, out: &mut Vec<u8>, millis: u64) {
        let (second, fraction) = (millis / 1000, millis % 1000);
        if self.second != Some(second) {
            self.render(second);
        }
        out.extend_from_slice(self.before.as_bytes());
        let digit = |divisor: u64| b'0' + u8::try_from(fraction / divisor % 10).unwrap_or(0);
        out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
        out.extend_from_slice(self.after.as_bytes());
    }

    fn render(&mut self, second: u64) {
        let second_of_epoch = i64::try_from(second).unwrap_or(i64::MAX);
        let time = Timestamp::from_second(second_of_epoch).unwrap_or(Timestamp::MAX).to_zoned(self.zone.clone());
        self.second = Some(second);
        self.before = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        self.after = if time.offset().is_zero() { "Z".to_string() } else { time.strftime("%z").to_string() };
    }
}
