//! How long a reply may be kept (RFC 9111), for key sets and discovery documents.
//!
//! It decides on the headers alone; callers put the result between bounds of their own.

use std::time::Duration;

/// Seconds that the reply stays fresh: `max-age` less `Age`; zero for `no-store` and `no-cache`; `None` when the
/// server says nothing that can be understood.
///
/// Of several `max-age` the smallest counts. Values too large for the clock are cut at 2^31 s.
pub fn cache_control_max_age(headers: &[(String, String)]) -> Option<Duration> {
    let named = |wanted: &'static str| {
        headers.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
    };
    let mut max_age: Option<u64> = None;
    for directive in named("cache-control").flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let name = name.trim();
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        if name.eq_ignore_ascii_case("max-age")
            && let Some(seconds) = seconds(value.trim().trim_matches('"'))
        {
            max_age = Some(max_age.map_or(seconds, |known| known.min(seconds)));
        }
    }
    let age = named("age").next().and_then(|value| seconds(value.trim())).unwrap_or(0);
    max_age.map(|max_age| Duration::from_secs(max_age.saturating_sub(age)))
}

fn seconds(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX).min(1 << 31))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness() {
        let f = |headers: &[(&str, &str)], want: Option<u64>| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            assert_eq!(cache_control_max_age(&headers), want.map(Duration::from_secs), "{headers:?}");
        };
        f(&[], None);
        f(&[("cache-control", "public")], None);
        f(&[("cache-control", "max-age=60")], Some(60));
        f(&[("Cache-Control", "public, MAX-AGE=\"60\" , must-revalidate")], Some(60));
        f(&[("cache-control", "max-age=60"), ("cache-control", "max-age=30")], Some(30));
        f(&[("cache-control", "max-age=60, no-store")], Some(0));
        f(&[("cache-control", "no-cache")], Some(0));
        f(&[("cache-control", "s-maxage=60, xmax-age=3")], None);
        f(&[("cache-control", "max-age=-1")], None);
        f(&[("cache-control", "max-age=")], None);
        f(&[("cache-control", "max-age=99999999999999999999999")], Some(1 << 31));
        f(&[("cache-control", "max-age=60"), ("age", "20")], Some(40));
        f(&[("cache-control", "max-age=60"), ("age", "70")], Some(0));
        f(&[("cache-control", "max-age=60"), ("age", "x")], Some(60));
    }
}
