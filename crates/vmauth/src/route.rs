//! Stage 7: which route of a user serves a request.

pub mod matcher;
