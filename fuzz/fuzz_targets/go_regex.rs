//! Patterns in Go's dialect, the text they are tried on behind a line feed: no panic, bounded memory, and a literal
//! matches itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmkit::go_regex::GoRegex;

fuzz_target!(|input: &str| {
    let (pattern, text) = input.split_once('\n').unwrap_or((input, input));
    if pattern.len() > 1000 {
        return;
    }
    if let Ok(regex) = GoRegex::new(pattern) {
        let bare = GoRegex::new_bare(pattern);
        assert_eq!(bare.map(|bare| bare.is_match(text.as_bytes())).ok(), Some(regex.is_match(text.as_bytes())));
        if pattern.bytes().all(|b| b.is_ascii_alphanumeric()) {
            assert_eq!(regex.is_match(text.as_bytes()), pattern == text);
        }
    }
    assert!(GoRegex::literal(pattern).is_match(pattern.as_bytes()));
});
