//! Who sends a request: credentials in, a user out.

pub mod jwt_users;
pub mod verified_tokens;
