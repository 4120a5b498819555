//! Pure token logic: bytes in, claims out; no I/O and no clock of its own.
