//! Stub.

/// stub
pub fn flush() {}
