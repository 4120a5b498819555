//! Tests of the crate through its public interface: vectors of the RFCs, tokens signed on the spot, and hostile ones.
#![allow(clippy::unwrap_used)] // helpers of tests are outside the functions that clippy takes for tests

mod key_selection;
mod mint;
mod pem_keys;
mod rfc_vectors;
mod robustness;
mod signature_encodings;
