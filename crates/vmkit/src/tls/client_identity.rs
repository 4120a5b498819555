//! The subject of a client certificate, for users that are told apart by it (`docs/reference/auth.md`).
//!
//! Read once a connection, after the handshake has verified the chain and the client has proved that it owns the key.
//! It decides nothing about users. An attribute that occurs several times is a list; of several common names only the
//! last counts, as Go reads them, so that a certificate names one party and not several.

use x509_parser::asn1_rs::Tag;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate};

/// Organisation fields of a certificate's subject, each in the order of the certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    /// OU.
    pub organizational_units: Vec<String>,
    /// O.
    pub organizations: Vec<String>,
    /// CN, the last one if there are several.
    pub common_name: Option<String>,
}

/// The certificate is not valid DER of X.509.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed client certificate")]
pub struct MalformedCertificate;

impl Subject {
    /// The subject of one certificate in DER form.
    ///
    /// Attributes that are no text are left out. Never panics, whatever the bytes are.
    pub fn from_der(certificate: &[u8]) -> Result<Self, MalformedCertificate> {
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| MalformedCertificate)?;
        let subject = certificate.subject();
        Ok(Self {
            organizational_units: subject.iter_organizational_unit().filter_map(text).collect(),
            organizations: subject.iter_organization().filter_map(text).collect(),
            common_name: subject.iter_common_name().filter_map(text).last(),
        })
    }

    /// The subject of the certificate that the client of `connection` presented; `None` when it presented none.
    pub fn of_connection(connection: &rustls::ServerConnection) -> Option<Self> {
        let leaf = connection.peer_certificates()?.first()?;
        Self::from_der(leaf).ok()
    }
}

fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = attribute.attr_value();
    if value.header.tag() == Tag::BmpString {
        let (units, rest) = value.data.as_chunks::<2>();
        let decoded = char::decode_utf16(units.iter().map(|unit| u16::from_be_bytes(*unit)));
        return if rest.is_empty() { decoded.collect::<Result<_, _>>().ok() } else { None };
    }
    attribute.as_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::test_pki::{Authority, der};
    use proptest::prelude::*;
    use rcgen::string::{BmpString, PrintableString};
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue};

    fn subject(attributes: Vec<(DnType, DnValue)>) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind, value);
        }
        der(&Authority::new("ca").issue(&params).cert)
    }

    #[test]
    fn all_fields() {
        let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
        let der = subject(vec![
            (DnType::CommonName, utf8("alice")),
            (DnType::OrganizationName, DnValue::PrintableString(PrintableString::try_from("Acme").unwrap())),
            (DnType::OrganizationalUnitName, DnValue::BmpString(BmpString::try_from("фин").unwrap())),
            (DnType::CountryName, utf8("NL")),
        ]);
        let want = Subject {
            organizational_units: vec!["фин".to_owned()],
            organizations: vec!["Acme".to_owned()],
            common_name: Some("alice".to_owned()),
        };
        assert_eq!(Subject::from_der(&der), Ok(want));
        assert_eq!(Subject::from_der(&subject(Vec::new())), Ok(Subject::default()));
    }

    /// rcgen holds one value an attribute, so the CN of the certificate is renamed to a second OU in its DER.
    #[test]
    fn repeated_fields_are_a_list() {
        let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
        let mut der =
            subject(vec![(DnType::OrganizationalUnitName, utf8("finance")), (DnType::CommonName, utf8("devops"))]);
        let value = der.windows(6).rposition(|window| window == b"devops").unwrap();
        assert_eq!(der[value - 5..value], [0x55, 4, 3, 0x0c, 6]);
        der[value - 3] = 11;
        assert_eq!(Subject::from_der(&der).unwrap().organizational_units, ["finance", "devops"]);
    }

    #[test]
    fn of_several_common_names_the_last_counts() {
        let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
        let mut der = subject(vec![(DnType::OrganizationName, utf8("mallory")), (DnType::CommonName, utf8("devops"))]);
        let value = der.windows(7).rposition(|window| window == b"mallory").unwrap();
        assert_eq!(der[value - 5..value], [0x55, 4, 10, 0x0c, 7]);
        der[value - 3] = 3;
        assert_eq!(Subject::from_der(&der).unwrap().common_name.as_deref(), Some("devops"));
    }

    #[test]
    fn damaged_certificates() {
        let whole = subject(vec![(DnType::CommonName, DnValue::Utf8String("alice".to_owned()))]);
        for cut in 0..whole.len() {
            assert_eq!(Subject::from_der(&whole[..cut]), Err(MalformedCertificate), "{cut} bytes");
        }
    }

    proptest! {
        #[test]
        fn never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), noise in any::<Vec<u8>>()) {
            static WHOLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
            let whole = WHOLE.get_or_init(|| {
                subject(vec![(DnType::CommonName, DnValue::BmpString(BmpString::try_from("alice").unwrap()))])
            });
            let mut damaged = whole.clone();
            let at = at.index(damaged.len());
            damaged[at] = byte;
            let _ = Subject::from_der(&damaged);
            prop_assert_eq!(Subject::from_der(&noise), Err(MalformedCertificate));
        }
    }
}
