//! Why a certificate is not trusted, in Go's words with what an operator needs added.

use rustls::pki_types::ServerName;

/// The bytes are no certificate, or one that Go would not parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed certificate")]
pub(in crate::tls) struct Malformed;

/// The peer's certificate, or its chain, is at fault. Displays as the text behind `x509: ` in the original's log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::tls) enum Refusal {
    /// Not a certificate that can be read.
    #[error("malformed certificate")]
    Malformed,
    /// Before or after its period.
    #[error("certificate has expired or is not yet valid: current time {now} is {relation} {limit}")]
    Expired {
        /// RFC 3339.
        now: String,
        /// `before` or `after`.
        relation: &'static str,
        /// The end of the period that was passed, RFC 3339.
        limit: String,
    },
    /// An extension that must be understood is not.
    #[error("unhandled critical extension")]
    UnknownCriticalExtension,
    /// For other hosts than the one dialled.
    #[error("{}", name_text(.wanted, .presented))]
    WrongName {
        /// The host dialled.
        wanted: ServerName<'static>,
        /// What the certificate is for.
        presented: Vec<String>,
    },
    /// No path to a trusted authority.
    #[error("certificate signed by unknown authority{}", hint_text(.hint))]
    UnknownAuthority {
        /// Subject of the certificate.
        subject: String,
        /// Who signed it, by its own account.
        issuer: String,
        /// Why a candidate that seemed right was not, and its name.
        hint: Option<(Box<Self>, String)>,
    },
    /// The signer is no authority.
    #[error("certificate is not authorized to sign other certificates")]
    NotAnAuthority,
    /// The signer's constraints forbid that it signs certificates.
    #[error("invalid signature: parent certificate cannot sign this kind of certificate")]
    MayNotSign,
    /// More certificates below an authority than it allows.
    #[error("too many intermediates for path length constraint")]
    PathTooLong,
    /// Not for this end of a connection.
    #[error("certificate specifies an incompatible key usage")]
    WrongPurpose,
    /// A name outside what an authority may sign.
    #[error("a root or intermediate certificate is not authorized to sign for this name: {0}")]
    NameNotPermitted(String),
    /// Policies are required that the path does not have.
    #[error("no valid chains built: the certificate policies of the path exclude each other")]
    Policies,
    /// The signature does not fit.
    #[error("signature verification failure")]
    BadSignature,
    /// Signed with MD5 or SHA-1.
    #[error("cannot verify signature: insecure algorithm")]
    InsecureAlgorithm,
    /// Signed with an algorithm or a key that is not supported here.
    #[error("cannot verify signature: algorithm unimplemented")]
    UnsupportedAlgorithm,
    /// A handshake signed with RSA-PSS and an old, short key.
    #[error(
        "RSA key below 2048 bits: its signatures cannot be verified with TLS 1.3; the server needs a new key \
         (or set tls_insecure_skip_verify to do without verification)"
    )]
    SmallRsaKey,
    /// The chain asks for more work than a handshake is worth.
    #[error("signature check attempts limit reached while verifying certificate chain")]
    TooMuchWork,
}

/// More names would only fill the log.
const MAX_SHOWN: usize = 100;

fn name_text(wanted: &ServerName<'_>, presented: &[String]) -> String {
    let wanted_text = wanted.to_str();
    match (presented.is_empty(), wanted) {
        (true, ServerName::IpAddress(_)) => {
            format!("cannot validate certificate for {wanted_text} because it doesn't contain any IP SANs")
        }
        (true, _) => format!("certificate is not valid for any names, but wanted to match {wanted_text}"),
        (false, _) if presented.len() > MAX_SHOWN => {
            format!("certificate is valid for {} names, but none matched {wanted_text}", presented.len())
        }
        (false, _) => format!("certificate is valid for {}, not {wanted_text}", presented.join(", ")),
    }
}

fn hint_text(hint: &Option<(Box<Refusal>, String)>) -> String {
    match hint {
        None => String::new(),
        Some((cause, name)) => format!(
            " (possibly because of \"x509: {cause}\" while trying to verify candidate authority certificate {name:?})"
        ),
    }
}
