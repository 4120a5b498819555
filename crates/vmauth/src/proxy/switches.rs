//! What of logging can be switched while the process runs: details of refused credentials, and for single users also
//! their access log.
//!
//! A request looks at one flag that hardly ever changes; the list is read only while a user is switched. Users are few and
//! their switches end by themselves, so that nobody must remember to turn them off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

/// Users that may be switched at the same time.
pub const MAX_USERS: usize = 64;

/// What is switched for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSwitch {
    /// The user's name in messages.
    pub name: String,
    /// Its failed logins are logged with all details and without a limit.
    pub log_invalid_tokens: bool,
    /// Its requests are in the access log.
    pub access_log: bool,
    /// When it ends, in seconds since 1970.
    pub until: u64,
}

/// All switches.
#[derive(Debug)]
pub struct Switches {
    log_invalid_tokens: AtomicBool,
    has_users: AtomicBool,
    users: ArcSwap<Vec<UserSwitch>>,
}

impl Switches {
    /// As `-logInvalidAuthTokens` says, and no user.
    pub fn new(log_invalid_tokens: bool) -> Self {
        Self {
            log_invalid_tokens: AtomicBool::new(log_invalid_tokens),
            has_users: AtomicBool::new(false),
            users: ArcSwap::default(),
        }
    }

    /// Whether details of refused credentials are logged, whoever sends them.
    pub fn log_invalid_tokens(&self) -> bool {
        self.log_invalid_tokens.load(Relaxed)
    }

    /// Sets that.
    pub fn set_log_invalid_tokens(&self, is_on: bool) {
        self.log_invalid_tokens.store(is_on, Relaxed);
    }

    /// Whether details are logged for who claims to be this user.
    pub fn logs_login_of(&self, user: Option<&str>) -> bool {
        self.log_invalid_tokens() || user.is_some_and(|user| self.is_on(user, |switch| switch.log_invalid_tokens))
    }

    /// Whether the requests of this user are logged although its config does not say so.
    pub fn logs_requests_of(&self, user: &str) -> bool {
        self.has_users.load(Relaxed) && self.is_on(user, |switch| switch.access_log)
    }

    /// The users that are switched now.
    pub fn users(&self) -> Vec<UserSwitch> {
        let now = unix_seconds();
        self.users.load().iter().filter(|switch| switch.until > now).cloned().collect()
    }

    /// Switches a user for a time; with both off or no time it is as the config says.
    ///
    /// # Errors
    /// Too many users are switched.
    pub fn set_user(
        &self,
        name: &str,
        log_invalid_tokens: bool,
        access_log: bool,
        time: Duration,
    ) -> Result<(), String> {
        let mut users = self.users();
        users.retain(|switch| switch.name != name);
        if (log_invalid_tokens || access_log) && !time.is_zero() {
            if users.len() >= MAX_USERS {
                return Err(format!("at most {MAX_USERS} users can be switched at the same time"));
            }
            let until = unix_seconds().saturating_add(time.as_secs().max(1));
            users.push(UserSwitch { name: name.to_owned(), log_invalid_tokens, access_log, until });
        }
        self.has_users.store(!users.is_empty(), Relaxed);
        self.users.store(Arc::new(users));
        Ok(())
    }

    fn is_on(&self, user: &str, wanted: impl Fn(&UserSwitch) -> bool) -> bool {
        let users = self.users.load();
        users.iter().any(|switch| switch.name == user && wanted(switch) && switch.until > unix_seconds())
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_switched_one_by_one_and_bounded() {
        let switches = Switches::new(false);
        let minute = Duration::from_secs(60);
        assert!(!switches.logs_requests_of("a") && !switches.logs_login_of(Some("a")));
        switches.set_user("a", false, true, minute).unwrap();
        switches.set_user("b", true, false, minute).unwrap();
        assert!(switches.logs_requests_of("a") && !switches.logs_requests_of("b"));
        assert!(
            switches.logs_login_of(Some("b")) && !switches.logs_login_of(Some("a")) && !switches.logs_login_of(None)
        );
        switches.set_user("a", false, false, minute).unwrap();
        switches.set_user("b", true, true, Duration::ZERO).unwrap();
        assert!(switches.users().is_empty() && !switches.logs_requests_of("a"));
        for n in 0..MAX_USERS {
            switches.set_user(&n.to_string(), true, true, minute).unwrap();
        }
        switches.set_user("0", true, false, minute).unwrap();
        assert!(switches.set_user("one more", true, true, minute).is_err());
        switches.set_log_invalid_tokens(true);
        assert!(switches.logs_login_of(None));
    }
}
