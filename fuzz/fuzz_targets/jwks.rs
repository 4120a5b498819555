//! Key sets: no panic, and bounded results.
#![no_main]

use jwt::{Algorithm, Jwks, MAX_JWKS_KEYS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(set) = Jwks::parse(bytes) else { return };
    assert!(set.keys.len() <= MAX_JWKS_KEYS && set.skipped.len() <= MAX_JWKS_KEYS);
    for key in &set.keys {
        for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| key.fits(*algorithm)) {
            let _ = key.key.verify(algorithm, b"message", bytes);
        }
    }
});
