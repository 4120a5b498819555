//! Stage 9: what a backend gets to see of a request.

pub mod client_headers;
pub mod client_url;
pub mod form_body;
mod go_url;
pub mod header_rules;
mod hop_by_hop;
pub mod jwt_placeholders;
mod normal_path;
pub mod response_headers;
pub mod target_url;

pub(crate) use vmkit::percent;
