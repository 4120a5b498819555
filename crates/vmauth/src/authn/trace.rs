//! What authentication tells those who ask why: which credentials it looked at, and whom it passed over.
//!
//! The serving path carries [`Silent`], whose calls compile to nothing; `vmauth explain` carries a listener. There is one
//! authentication, so the two cannot disagree: a listener is told, it is never asked, and nothing it does changes a verdict.

use std::fmt;

/// What makes a token believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// Its signature was checked.
    Signature,
    /// Nothing: signatures of this user are never checked.
    Nothing,
    /// Its signature would be checked; the keys were not asked for.
    Assumed,
}

/// Is told what authentication looks at, in its order. All methods do nothing unless they are overridden.
pub trait Trace {
    /// A value was looked up among the static credentials; `user` is whom it belongs to.
    fn credential(&mut self, _value: &[u8], _user: Option<u32>) {}

    /// A token was held against a user with `jwt`; an error says why it does not stand for the user.
    fn token_user(&mut self, _user: u32, _verdict: Result<Belief, &dyn fmt::Display>) {}

    /// A client certificate was held against a user with `mtls`.
    fn certificate_user(&mut self, _user: u32, _fits: bool) {}
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Trace for Silent {}
