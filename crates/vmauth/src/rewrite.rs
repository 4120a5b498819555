//! Stage 4: what a backend gets to see of a request.

pub mod client_headers;
pub mod form_body;
pub mod header_rules;
pub mod jwt_placeholders;
pub mod target_url;
