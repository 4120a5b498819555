//! Targets for backends. Lines of the input: `url_prefix`, path, query. No panic, and whatever the client sends, what is
//! written stays one token of a request line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmauth::rewrite::target_url::{NormalPath, TargetInput, TargetUrl};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(4, |b| *b == b'\n');
    let Some(Ok(prefix)) = parts.next().map(std::str::from_utf8) else { return };
    let drop_parts = usize::from(parts.next().and_then(|part| part.first().copied()).unwrap_or(0)) % 4;
    let path = parts.next().unwrap_or(b"/");
    let query = parts.next();
    let Ok(url) = TargetUrl::parse(prefix) else { return };
    let path = NormalPath::of(path);
    let merge_args = ["a".to_owned()];
    let input = TargetInput { path: &path, query, drop_parts, merge_args: &merge_args, placeholders: None };
    let mut out = Vec::new();
    url.write_request_target(&mut out, &input);
    let is_token = !out.is_empty() && out.iter().all(|b| *b > b' ' && *b != 0x7f);
    assert!(is_token, "{}", out.escape_ascii());
    let _ = (url.display(&out), url.port(), url.hostname(), url.decoded_query_args());
});
