//! Whose samples: `account:project`, as it stands in the paths of a cluster store.

use std::fmt;
use std::str::FromStr;

/// A tenant of the store. `7` in a path is `7:0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant {
    /// `metrics_account_id` of the claim.
    pub account: u32,
    /// `metrics_project_id` of the claim.
    pub project: u32,
}

/// The text is no tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no tenant; write accountID:projectID with numbers below 4294967296, such as 0:0")]
pub struct NoTenant(String);

impl FromStr for Tenant {
    type Err = NoTenant;

    fn from_str(text: &str) -> Result<Self, NoTenant> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|_| digits).ok_or_else(|| NoTenant(text.to_owned()))
        };
        let (account, project) = text.split_once(':').unwrap_or((text, "0"));
        Ok(Self { account: number(account)?, project: number(project)? })
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.account, self.project)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step ends the test")]

    use super::*;

    #[test]
    fn texts() {
        let f = |text: &str, want: &str| assert_eq!(text.parse::<Tenant>().unwrap().to_string(), want);
        f("0", "0:0");
        f("7", "7:0");
        f("4294967295:12", "4294967295:12");
        for wrong in ["", ":", "1:", ":1", "-1", "+1", "1:2:3", "4294967296", "a", "multitenant"] {
            assert!(wrong.parse::<Tenant>().is_err(), "{wrong}");
        }
    }
}
