//! The process itself: what was built, which signals it gets, how it ends.
//!
//! Only facts and mechanisms; what a signal means and when to end is decided by the applications.

pub mod build_info;
pub mod descriptors;
pub mod exit;
pub mod signals;
pub mod threads;
