//! Keys of a configuration: no panic, and errors never show a private key.
#![no_main]

use jwt::PublicKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = PublicKey::from_pem(text) {
        assert!(error.to_string().len() < 1024);
    }
});
