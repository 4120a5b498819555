//! Stage 6: whether a request may start now.

pub mod body_buffer;
pub mod client_address;
pub mod concurrency;
pub mod failed_logins;
pub mod grpc;
pub mod ip_filter;
