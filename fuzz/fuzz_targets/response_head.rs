//! Heads of backends' replies: no panic, and no framing that is ambiguous.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmkit::exchange::{BodyKind, HeaderId, ResponseHead};

fuzz_target!(|bytes: &[u8]| {
    for to_head in [false, true] {
        let mut head = ResponseHead::default();
        let Ok(Some(length)) = head.parse(bytes, to_head) else { continue };
        assert!(length <= bytes.len() && (100..1000).contains(&head.status()));
        let is_chunked = head.first(HeaderId::TransferEncoding).is_some();
        assert!(head.body() != BodyKind::Stream || is_chunked || !head.keep_alive(), "it ends with its connection");
        if to_head || head.is_interim() || matches!(head.status(), 204 | 304) {
            assert_eq!(head.body(), BodyKind::None);
        }
        for line in head.headers() {
            assert!(!line.name.is_empty() && !line.value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
        }
    }
});
