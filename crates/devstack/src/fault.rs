//! What a person can break while watching, by key, by flag or from the page, and what can be seen then.

use std::str::FromStr;
use std::time::Duration;

use vmkit::units::GoDuration;

/// Something that is switched on and off, or happens at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The provider refuses connections.
    ProviderDown,
    /// The provider accepts connections and answers nothing.
    ProviderHangs,
    /// A new key signs; the old one stays published.
    RotateKey,
    /// A new key signs; the old one is withdrawn.
    ReplaceKey,
    /// Tokens name another tenant.
    WrongTenant,
    /// Tokens name no tenant.
    NoTenant,
    /// The provider knows another secret than the agent.
    WrongSecret,
    /// The store refuses connections.
    StoreDown,
    /// The proxy is stopped.
    ProxyDown,
    /// The agent is stopped.
    AgentDown,
}

impl Fault {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 10] = [
        Self::ProviderDown,
        Self::ProviderHangs,
        Self::RotateKey,
        Self::ReplaceKey,
        Self::WrongTenant,
        Self::NoTenant,
        Self::WrongSecret,
        Self::StoreDown,
        Self::ProxyDown,
        Self::AgentDown,
    ];

    /// Name in flags, on the page and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProviderDown => "provider-down",
            Self::ProviderHangs => "provider-hangs",
            Self::RotateKey => "rotate-key",
            Self::ReplaceKey => "replace-key",
            Self::WrongTenant => "wrong-tenant",
            Self::NoTenant => "no-tenant",
            Self::WrongSecret => "wrong-secret",
            Self::StoreDown => "store-down",
            Self::ProxyDown => "proxy-down",
            Self::AgentDown => "agent-down",
        }
    }

    /// Its key in a terminal.
    pub fn key(self) -> char {
        match self {
            Self::ProviderDown => 'p',
            Self::ProviderHangs => 'h',
            Self::RotateKey => 'k',
            Self::ReplaceKey => 'K',
            Self::WrongTenant => 't',
            Self::NoTenant => 'n',
            Self::WrongSecret => 'w',
            Self::StoreDown => 's',
            Self::ProxyDown => 'x',
            Self::AgentDown => 'a',
        }
    }

    /// What is to be seen.
    pub fn shows(self) -> &'static str {
        match self {
            Self::ProviderDown => "pushes go on until the token ends; then the agent queues",
            Self::ProviderHangs => "the agent gives up waiting and queues",
            Self::RotateKey => "the proxy asks for the new key by itself",
            Self::ReplaceKey => "tokens of the old key end with the old key",
            Self::WrongTenant => "the next token writes to another tenant",
            Self::NoTenant => "the proxy refuses, the agent queues",
            Self::WrongSecret => "the provider refuses, the agent queues",
            Self::StoreDown => "the proxy answers 502 or 503, the agent queues",
            Self::ProxyDown => "the agent queues",
            Self::AgentDown => "what was queued is on disk and arrives after the restart",
        }
    }

    /// Whether it happens at once instead of lasting.
    pub fn is_momentary(self) -> bool {
        matches!(self, Self::RotateKey | Self::ReplaceKey)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|fault| fault.name() == text)
            .ok_or_else(|| format!("there is no fault {text:?}; there are {}", names()))
    }
}

/// A fault at a time: `store-down@10s+15s` begins ten seconds after the start and ends after fifteen more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What.
    pub fault: Fault,
    /// After the start.
    pub begins: Duration,
    /// After the start; a fault without an end stays.
    pub ends: Option<Duration>,
}

impl FromStr for Planned {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = |why: String| {
            format!("cannot read the fault {text:?}: {why}; write NAME@START+LENGTH such as store-down@10s+15s")
        };
        let (name, times) = text.split_once('@').ok_or_else(|| fault("the time is missing".to_owned()))?;
        let (start, length) = times.split_once('+').map_or((times, None), |(start, length)| (start, Some(length)));
        let time =
            |text: &str| text.parse::<GoDuration>().map(GoDuration::as_std).map_err(|error| fault(error.to_string()));
        let planned: Fault = name.parse().map_err(fault)?;
        let begins = time(start)?;
        let ends = length.map(time).transpose()?.map(|length| begins + length);
        if planned.is_momentary() && ends.is_some() {
            return Err(fault(format!("{name} has no length")));
        }
        Ok(Self { fault: planned, begins, ends })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step ends the test")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_keys_are_found_and_told_apart() {
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse(), Ok(fault));
        }
        assert_eq!(Fault::ALL.map(Fault::key).into_iter().collect::<BTreeSet<_>>().len(), Fault::ALL.len());
    }

    #[test]
    fn plans() {
        let f = |text: &str, fault: Fault, begins: u64, ends: Option<u64>| {
            let want = Planned { fault, begins: Duration::from_secs(begins), ends: ends.map(Duration::from_secs) };
            assert_eq!(text.parse(), Ok(want), "{text}");
        };
        f("store-down@10s+15s", Fault::StoreDown, 10, Some(25));
        f("rotate-key@1m", Fault::RotateKey, 60, None);
        f("no-tenant@0s", Fault::NoTenant, 0, None);
        for (wrong, want) in [
            ("store-down", "time is missing"),
            ("store@1s", "there is no fault \"store\""),
            ("store-down@10", "missing unit"),
            ("store-down@1s+x", "invalid duration"),
            ("rotate-key@1s+1s", "has no length"),
        ] {
            let error = wrong.parse::<Planned>().unwrap_err();
            assert!(error.contains(want) && error.contains("write NAME@START"), "{error}");
        }
    }
}
