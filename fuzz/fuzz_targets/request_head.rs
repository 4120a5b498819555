//! Request heads: no panic, the same verdict for a head in a longer stream, and no framing that two servers could read
//! differently.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmkit::exchange::{BodyKind, HeaderId, RequestHead};

fuzz_target!(|bytes: &[u8]| {
    let mut head = RequestHead::default();
    let Ok(Some(length)) = head.parse(bytes) else { return };
    let text = &bytes[..length];
    assert!(text.ends_with(b"\r\n\r\n") && !text.contains(&0));
    assert!(text.iter().enumerate().all(|(at, b)| *b != b'\n' || text[at - 1] == b'\r'));
    let count = |id| head.headers().filter(|line| line.id == id).count();
    assert!(count(HeaderId::Host) < 2);
    let (lengths, codings) = (count(HeaderId::ContentLength), count(HeaderId::TransferEncoding));
    match head.body() {
        BodyKind::None => assert_eq!((lengths, codings), (0, 0)),
        BodyKind::Length(n) => assert!(lengths > 0 && codings == 0 && i64::try_from(n).is_ok()),
        BodyKind::Stream => assert_eq!((lengths, codings), (0, 1)),
    }
    for line in head.headers() {
        assert!(!line.name.is_empty() && !line.value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
    }
    let path = head.path();
    assert!(path.is_empty() || path == b"*" || path.starts_with(b"/"), "{}", path.escape_ascii());
    let _ = (head.host(), head.userinfo(), head.query(), head.keep_alive(), head.expect_continue());
    let mut alone = RequestHead::default();
    assert_eq!(alone.parse(text), Ok(Some(length)), "what follows a head must not matter");
    for shorter in [length / 2, length - 1] {
        assert_eq!(alone.parse(&text[..shorter]), Ok(None), "a part of a head is no head");
    }
});
