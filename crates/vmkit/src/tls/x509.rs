//! Whether a peer's certificate is trusted, judged as Go's `crypto/x509` judges it.
//!
//! Private authorities sign what the web's rules forbid: wildcards below one label, servers marked as authorities,
//! X.509 v1, critical policies, long chains. The original serves them all, so rustls-webpki, which keeps the web's
//! rules, cannot stand in for it. This tree builds the path (RFC 5280, section 6) with Go's choices where the RFC
//! leaves one; DER is read by `x509-parser`, signatures are checked by aws-lc. The table of what is accepted and what
//! is refused stands in `x509/tests`, each row with the verdict that Go gave.
//!
//! It must never accept a path with an unknown critical extension, a signer that may not sign, a name outside a
//! constraint or a date outside the period, and never spend more than a bounded time on one handshake.

mod alt_names;
mod certificate;
mod chain;
mod name_constraints;
mod policies;
mod refusal;
mod signature;
#[cfg(test)]
mod tests;

pub(super) use certificate::Certificate;
pub(super) use chain::{Purpose, Trust, verify};
pub(super) use refusal::Refusal;
pub(super) use signature::{SignatureFault, verify_handshake};
