//! Stage 2: whether a request may start now.

pub mod concurrency;
