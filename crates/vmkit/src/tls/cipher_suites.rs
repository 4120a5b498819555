//! `-tlsCipherSuites` and `-tlsMinVersion`: texts of flags into what rustls can do.
//!
//! Names are those of IANA, as Go knows them; only Go's list of secure suites is accepted. Decided once at start. Of
//! that list rustls lacks the four CBC suites: they are accepted but select nothing, and the caller is told.

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, ProtocolVersion, SupportedProtocolVersion};
use std::sync::Arc;

/// Names and ids that the original accepts. The suites of TLS 1.3 cannot be switched off; naming them is harmless.
const KNOWN: [(&str, u16); 13] = [
    ("TLS_AES_128_GCM_SHA256", 0x1301),
    ("TLS_AES_256_GCM_SHA384", 0x1302),
    ("TLS_CHACHA20_POLY1305_SHA256", 0x1303),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", 0xc009),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", 0xc00a),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", 0xc013),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", 0xc014),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xc02b),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xc02c),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xc02f),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", 0xc030),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca8),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca9),
];

/// The outcome of `-tlsCipherSuites`.
#[derive(Debug, Clone)]
pub struct Selection {
    /// A provider that offers the wanted suites of TLS 1.2 and all of TLS 1.3.
    pub provider: Arc<CryptoProvider>,
    /// Accepted names without effect, because the suite is not available here. Worth a warning.
    pub unavailable: Vec<&'static str>,
}

/// An item of `-tlsCipherSuites` is none of Go's secure suites: the flag is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownSuite {
    /// A name.
    #[error("unsupported TLS cipher suite name: {0}")]
    Name(String),
    /// A number.
    #[error("unsupported TLS cipher suite id: {0}")]
    Id(String),
}

/// `-tlsMinVersion` names no version: the flag is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unsupported TLS version {0:?}")]
pub struct UnknownVersion(pub String);

/// Restricts the suites of TLS 1.2 to `names` (any letter case, or ids as `49199` or `0xc02f`); no names, all suites.
pub fn select(names: &[String]) -> Result<Selection, UnknownSuite> {
    let mut provider = CryptoProvider::clone(&super::provider());
    let mut unavailable = Vec::new();
    let names: Vec<&str> = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    if !names.is_empty() {
        let mut wanted = Vec::with_capacity(names.len());
        for name in names {
            let (name, id) = lookup(name)?;
            wanted.push(CipherSuite::from(id));
            if !provider.cipher_suites.iter().any(|suite| suite.suite() == CipherSuite::from(id)) {
                unavailable.push(name);
            }
        }
        provider
            .cipher_suites
            .retain(|suite| suite.version().version == ProtocolVersion::TLSv1_3 || wanted.contains(&suite.suite()));
    }
    Ok(Selection { provider: Arc::new(provider), unavailable })
}

fn lookup(text: &str) -> Result<(&'static str, u16), UnknownSuite> {
    if let Some(found) = KNOWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        return Ok(*found);
    }
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let id = match hex {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => text.parse(),
    };
    match id {
        Ok(id) => {
            KNOWN.iter().find(|(_, known)| *known == id).copied().ok_or_else(|| UnknownSuite::Id(text.to_owned()))
        }
        Err(_) => Err(UnknownSuite::Name(text.to_owned())),
    }
}

/// The versions from `min_version` (`TLS10` to `TLS13`, any letter case; empty = `TLS12`) on.
///
/// rustls speaks TLS 1.2 and 1.3 only, so `TLS10` and `TLS11` mean TLS 1.2.
pub fn versions(min_version: &str) -> Result<Vec<&'static SupportedProtocolVersion>, UnknownVersion> {
    match min_version.to_ascii_uppercase().as_str() {
        "" | "TLS10" | "TLS11" | "TLS12" => Ok(vec![&rustls::version::TLS13, &rustls::version::TLS12]),
        "TLS13" => Ok(vec![&rustls::version::TLS13]),
        _ => Err(UnknownVersion(min_version.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str]) -> Result<(Vec<u16>, Vec<&'static str>), String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        select(&names).map_err(|err| err.to_string()).map(|selection| {
            let suites = selection.provider.cipher_suites.iter();
            let mut ids: Vec<u16> = suites.map(|suite| u16::from(suite.suite())).filter(|id| *id > 0x1303).collect();
            ids.sort_unstable();
            assert_eq!(selection.provider.cipher_suites.len(), ids.len() + 3, "all suites of TLS 1.3");
            (ids, selection.unavailable)
        })
    }

    #[test]
    fn names_and_ids() {
        let f = |names: &[&str], want: &[u16], unavailable: &[&'static str]| {
            assert_eq!(selected(names), Ok((want.to_vec(), unavailable.to_vec())), "{names:?}");
        };
        let all = [0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9];
        f(&[], &all, &[]);
        f(&[""], &all, &[]);
        f(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"], &[0xc02f], &[]);
        f(&["tls_ecdhe_rsa_with_aes_128_gcm_sha256", "0xC02B", "49200"], &[0xc02b, 0xc02f, 0xc030], &[]);
        f(&["TLS_AES_128_GCM_SHA256"], &[], &[]);
        f(&["0xc013", "0xcca9"], &[0xcca9], &["TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"]);
    }

    #[test]
    fn unknown_suites() {
        let f = |name: &str, want: &str| assert_eq!(selected(&[name]), Err(want.to_owned()));
        f("FOO", "unsupported TLS cipher suite name: FOO");
        f("TLS_RSA_WITH_RC4_128_SHA", "unsupported TLS cipher suite name: TLS_RSA_WITH_RC4_128_SHA");
        f("5", "unsupported TLS cipher suite id: 5");
        f("0xfffff", "unsupported TLS cipher suite name: 0xfffff");
    }

    #[test]
    fn minimum_versions() {
        let f = |text: &str, want: Result<usize, &str>| {
            let got = versions(text).map(|versions| versions.len()).map_err(|err| err.to_string());
            assert_eq!(got, want.map_err(str::to_owned), "{text}");
        };
        f("", Ok(2));
        f("TLS10", Ok(2));
        f("tls11", Ok(2));
        f("TLS12", Ok(2));
        f("tls13", Ok(1));
        f("TLS9", Err("unsupported TLS version \"TLS9\""));
    }
}
