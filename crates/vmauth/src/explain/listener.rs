//! Hears what authentication looks at.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::authn::trace::{Belief, Trace};

/// What was heard, in its order.
#[derive(Debug, Default)]
pub(super) struct Listener {
    /// Whether any value was looked up as a credential.
    pub(super) had_credential: bool,
    /// User names of Basic credentials.
    pub(super) user_names: Vec<String>,
    /// Users that a token was held against, and why it is not theirs. The last word counts.
    pub(super) token_users: Vec<(u32, Result<Belief, String>)>,
    /// Users that a certificate was held against.
    pub(super) certificate_users: Vec<(u32, bool)>,
}

impl Trace for Listener {
    fn credential(&mut self, value: &[u8], _user: Option<u32>) {
        self.had_credential = true;
        let pair = value.strip_prefix(b"Basic ").and_then(|encoded| STANDARD.decode(encoded).ok());
        let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
        if let Some((name, _)) = pair.as_deref().and_then(|pair| pair.split_once(':')) {
            self.user_names.push(name.to_owned());
        }
    }

    fn token_user(&mut self, user: u32, verdict: Result<Belief, &dyn fmt::Display>) {
        // Keys that were fetched meanwhile let all users be asked again.
        self.token_users.retain(|(known, _)| *known != user);
        self.token_users.push((user, verdict.map_err(ToString::to_string)));
    }

    fn certificate_user(&mut self, user: u32, fits: bool) {
        self.certificate_users.push((user, fits));
    }
}
