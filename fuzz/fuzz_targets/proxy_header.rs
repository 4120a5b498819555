//! PROXY protocol headers: no panic, and more bytes never change a verdict.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmkit::net::proxy_protocol::{Parsed, parse};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    if let Ok(Parsed::Complete { length, .. }) = &whole {
        assert!(*length <= bytes.len());
        assert_eq!(parse(&bytes[..*length]), whole, "what follows must not matter");
        assert_eq!(parse(&bytes[..*length - 1]), Ok(Parsed::Incomplete));
    }
    for length in 0..bytes.len().min(64) {
        match parse(&bytes[..length]) {
            Ok(Parsed::Incomplete) => {}
            decided => assert_eq!(decided, whole, "decided after {length} bytes"),
        }
    }
});
