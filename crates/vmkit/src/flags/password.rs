//! Values of password flags, which may live in a file or behind a URL so that they can be rotated.
//!
//! A value from outside is read by a task of the control plane ([`crate::service`]) and stored here; whoever checks a
//! password only reads what is stored and never waits. Before the first success it is a random text that nobody can
//! know: access is denied, never open. A failed read keeps what was known.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::go_text::quote;
use crate::redact;
use crate::secret::Secret;

const RANDOM_LEN: usize = 64;

/// Value of a password flag; clones share what was read.
#[derive(Clone)]
pub struct Password(Arc<Inner>);

struct Inner {
    flag: &'static str,
    source: Source,
    current: ArcSwap<Secret>,
}

/// Where a password comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// The value of the flag itself.
    Literal,
    /// A path behind `file://`.
    File(String),
    /// An `http(s)://` URL.
    Url(String),
}

impl Password {
    pub(super) fn unset(flag: &'static str) -> Self {
        Self::new(flag, "")
    }

    /// The password that the text of a flag means.
    pub fn new(flag: &'static str, text: &str) -> Self {
        let (source, current) = if let Some(path) = text.strip_prefix("file://") {
            (Source::File(path.to_string()), random_secret())
        } else if text.starts_with("http://") || text.starts_with("https://") {
            (Source::Url(text.to_string()), random_secret())
        } else {
            (Source::Literal, Secret::from(text))
        };
        Self(Arc::new(Inner { flag, source, current: ArcSwap::from_pointee(current) }))
    }

    /// Name of its flag.
    pub fn flag(&self) -> &'static str {
        self.0.flag
    }

    pub(super) fn is_from_outside(&self) -> bool {
        self.0.source != Source::Literal
    }

    /// Where it is read from.
    pub fn source(&self) -> &Source {
        &self.0.source
    }

    /// Whether there is a password to check at all.
    pub fn is_set(&self) -> bool {
        self.is_from_outside() || !self.0.current.load().is_empty()
    }

    /// The password as it was last read.
    pub fn secret(&self) -> Secret {
        self.0.current.load().as_ref().clone()
    }

    /// Stores what was read, without blanks at its end.
    ///
    /// # Errors
    /// The line to print when it could not be read; it names the place, never the content.
    pub fn store(&self, content: Result<Vec<u8>, String>) -> Result<(), String> {
        let content = content.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_string()));
        let cause = match content {
            Ok(text) => {
                self.0.current.store(Arc::new(Secret::from(text.trim_end())));
                return Ok(());
            }
            Err(cause) => cause,
        };
        let place = match &self.0.source {
            Source::Literal => "",
            Source::File(place) | Source::Url(place) => place,
        };
        let (flag, place) = (self.0.flag, quote(redact::url(place).as_bytes()));
        Err(format!(
            "flagutil: fall back to the previous password for -{flag}, since failed to re-read it from {place}: {cause}"
        ))
    }
}

fn random_secret() -> Secret {
    let mut bytes = [0; RANDOM_LEN];
    aws_lc_rs::rand::fill(&mut bytes).expect("BUG: the random source of the system does not fail");
    Secret::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new("reloadAuthKey", text)
    }

    #[test]
    fn literals_are_taken_as_they_are() {
        let f = |text: &str, is_set: bool| {
            let password = password(text);
            assert_eq!((password.secret().expose(), password.is_set()), (text, is_set));
        };
        f("", false);
        f("abc ", true);
        f("file:/x", true);
        f("ftp://x", true);
    }

    #[test]
    fn what_cannot_be_read_keeps_what_was_known() {
        let password = password("http://user:pw@host/key");
        assert!(password.is_set());
        assert_eq!(password.secret().expose().len(), 2 * RANDOM_LEN);
        assert_eq!(
            password.store(Err("refused".to_owned())).unwrap_err(),
            "flagutil: fall back to the previous password for -reloadAuthKey, since failed to re-read it from \
             \"http://xxxxx@host/key\": refused"
        );
        password.store(Ok(b" first \r\n\n".to_vec())).unwrap();
        assert_eq!(password.secret(), Secret::from(" first"));
        assert!(password.store(Ok(vec![0xff])).unwrap_err().ends_with(": it is not UTF-8"));
        assert_eq!(password.secret(), Secret::from(" first"));
    }

    #[test]
    fn unread_passwords_differ_from_each_other() {
        assert_ne!(password("file:///a").secret(), password("file:///a").secret());
        assert_eq!(format!("{:?}", password("abc")), "secret");
    }
}
