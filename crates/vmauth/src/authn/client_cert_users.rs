//! Users that are known by the subject of their client certificate.
//!
//! The certificate was verified by the handshake; here only its names are compared. All fields of an entry must fit;
//! a certificate with several units fits if one of them does. The first entry of the file that fits decides.

use vmkit::tls::client_identity::Subject;

use super::trace::Trace;

/// Names that the subject of a certificate must have; `None` = any.
#[derive(Clone, Debug, Default)]
pub struct CertificateNames {
    /// One of its units.
    pub organizational_unit: Option<String>,
    /// One of its organizations.
    pub organization: Option<String>,
    /// Its common name.
    pub common_name: Option<String>,
}

/// `mtls` users in file order.
#[derive(Debug, Default)]
pub struct ClientCertUsers(Vec<(CertificateNames, u32)>);

impl ClientCertUsers {
    /// Adds the user with this index.
    pub fn add(&mut self, names: CertificateNames, user: u32) {
        self.0.push((names, user));
    }

    /// The users in this order.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().map(|(_, user)| *user)
    }

    /// The first user whose names fit.
    pub fn find(&self, subject: &Subject, trace: &mut impl Trace) -> Option<u32> {
        let fits = |wanted: &Option<String>, names: &[String]| match wanted {
            Some(wanted) => names.iter().any(|name| name == wanted),
            None => true,
        };
        self.0
            .iter()
            .find(|(spec, user)| {
                let fits = fits(&spec.organizational_unit, &subject.organizational_units)
                    && fits(&spec.organization, &subject.organizations)
                    && fits(&spec.common_name, subject.common_name.as_slice());
                trace.certificate_user(*user, fits);
                fits
            })
            .map(|(_, user)| *user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::trace::Silent;

    #[test]
    fn all_fields_must_fit() {
        let text = |text: &str| Some(text.to_owned());
        let mut users = ClientCertUsers::default();
        users.add(
            CertificateNames { organizational_unit: text("finance"), organization: text("Acme"), common_name: None },
            0,
        );
        users.add(CertificateNames { organizational_unit: None, organization: None, common_name: text("bob") }, 1);
        let f = |units: &[&str], organizations: &[&str], name: Option<&str>, want: Option<u32>| {
            let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
            let subject = Subject {
                organizational_units: list(units),
                organizations: list(organizations),
                common_name: name.map(str::to_owned),
            };
            assert_eq!(users.find(&subject, &mut Silent), want);
        };
        f(&["x", "finance"], &["Acme"], Some("alice"), Some(0));
        f(&["finance"], &["Globex"], Some("bob"), Some(1));
        f(&["finance"], &[], None, None);
    }
}
