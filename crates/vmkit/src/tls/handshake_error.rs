//! Texts of failed handshakes and broken TLS streams, as users of the original search their logs for them.
//!
//! Both directions hand their `io::Error` to [`text`]. It decides wording only. The texts name certificates and
//! hosts but never key material or data of the stream.

use super::x509::Refusal;
use crate::go_text::os_error;
use rustls::{AlertDescription, CertificateError, InvalidMessage};
use std::io;
use std::net::IpAddr;

/// `tls: failed to verify certificate: x509: certificate signed by unknown authority`, `remote error: tls: bad
/// certificate`, `EOF`, `connection reset by peer`, …
pub fn text(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => tls_text(error),
        None => os_error(error),
    }
}

/// Port probes and vanished clients: not worth a log line.
pub fn is_silent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

const NOT_TLS: &str = "tls: first record does not look like a TLS handshake";

/// [`text`] for the side that opened the connection, with what usually lies behind the failure and what to set.
pub fn client_text(error: &io::Error) -> String {
    let hint = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "; the server does not speak TLS on this port: if it speaks plain HTTP write http:// in the URL".to_owned()
        }
        Some(rustls::Error::AlertReceived(alert)) => alert_hint(*alert).to_owned(),
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
            other.0.downcast_ref::<Refusal>().map(refusal_hint).unwrap_or_default()
        }
        _ => String::new(),
    };
    text(error) + &hint
}

fn alert_hint(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::HandshakeFailure => {
            "; the server may offer only cipher suites that are not supported here (CBC or RSA key exchange) \
             or want a client certificate (tls_cert_file, tls_key_file)"
        }
        AlertDescription::ProtocolVersion => {
            "; the server may speak only versions below TLS 1.2, which are not supported here"
        }
        AlertDescription::CertificateRequired | AlertDescription::BadCertificate | AlertDescription::UnknownCA => {
            "; the server wants another client certificate (tls_cert_file, tls_key_file)"
        }
        _ => "",
    }
}

fn refusal_hint(refusal: &Refusal) -> String {
    match refusal {
        Refusal::UnknownAuthority { subject, issuer, .. } => format!(
            "; the certificate of {subject:?} was signed by {issuer:?}, which is not trusted here: \
             put the certificate of that authority into the CA file (tls_ca_file)"
        ),
        Refusal::WrongName { presented, .. } if !presented.is_empty() => {
            "; set tls_server_name to verify another name than the host of the URL".to_owned()
        }
        _ => String::new(),
    }
}

fn tls_text(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(cause) => {
            format!("tls: failed to verify certificate: x509: {}", certificate_text(cause))
        }
        rustls::Error::AlertReceived(alert) => format!("remote error: tls: {}", alert_text(*alert)),
        rustls::Error::NoCertificatesPresented => "tls: client didn't provide a certificate".to_owned(),
        // Any other content type than TLS has: an HTTP reply, an SSH banner, garbage.
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => NOT_TLS.to_owned(),
        other => format!("tls: {other}"),
    }
}

fn certificate_text(cause: &CertificateError) -> String {
    match cause {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => "certificate has expired or is not yet valid".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<String> = presented.iter().map(|name| bare_name(name)).collect();
            let expected = expected.to_str();
            if names.is_empty() {
                format!("certificate is not valid for any names, but wanted to match {expected}")
            } else {
                format!("certificate is valid for {}, not {expected}", names.join(", "))
            }
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate specifies an incompatible key usage".to_owned()
        }
        CertificateError::BadSignature => "invalid signature".to_owned(),
        CertificateError::BadEncoding => "malformed certificate".to_owned(),
        CertificateError::Other(other) => match other.0.downcast_ref::<Refusal>() {
            Some(refusal) => refusal.to_string(),
            None => other.to_string(),
        },
        other => other.to_string(),
    }
}

/// `foo` of `DnsName("foo")`, `::1` of `IpAddress(0::1)`.
fn bare_name(presented: &str) -> String {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    let name = inner.map_or(presented, |inner| inner.trim_matches('"'));
    name.parse::<IpAddr>().map_or_else(|_| name.to_owned(), |ip| ip.to_string())
}

fn alert_text(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "unknown certificate authority".to_owned(),
        AlertDescription::ProtocolVersion => "protocol version not supported".to_owned(),
        AlertDescription::UnrecognisedName => "unrecognized name".to_owned(),
        AlertDescription::Unknown(code) => format!("alert({code})"),
        named => spaced(&format!("{named:?}")),
    }
}

/// `bad certificate` of `BadCertificate`.
fn spaced(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;

    #[test]
    fn texts() {
        let f = |error: rustls::Error, want: &str| assert_eq!(text(&io::Error::other(error)), want);
        let x509 = |cause: CertificateError| rustls::Error::InvalidCertificate(cause);
        f(
            x509(CertificateError::UnknownIssuer),
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        );
        f(
            x509(CertificateError::Expired),
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
        );
        f(
            x509(CertificateError::NotValidForNameContext {
                expected: ServerName::try_from("foo").unwrap(),
                presented: vec!["DnsName(\"bar\")".to_owned(), "IpAddress(127.0.0.1)".to_owned()],
            }),
            "tls: failed to verify certificate: x509: certificate is valid for bar, 127.0.0.1, not foo",
        );
        f(rustls::Error::AlertReceived(AlertDescription::BadCertificate), "remote error: tls: bad certificate");
        f(
            rustls::Error::AlertReceived(AlertDescription::UnknownCA),
            "remote error: tls: unknown certificate authority",
        );
        f(rustls::Error::NoCertificatesPresented, "tls: client didn't provide a certificate");
        assert_eq!(text(&io::ErrorKind::UnexpectedEof.into()), "EOF");
        assert_eq!(text(&io::Error::from_raw_os_error(104)), "connection reset by peer");
    }

    #[test]
    fn probes_are_silent() {
        let f = |error: io::Error, want: bool| assert_eq!(is_silent(&error), want, "{error}");
        f(io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof"), true);
        f(io::Error::from_raw_os_error(104), true);
        f(io::Error::other(rustls::Error::NoCertificatesPresented), false);
        f(io::ErrorKind::TimedOut.into(), false);
    }
}
