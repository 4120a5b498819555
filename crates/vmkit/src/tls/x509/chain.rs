//! From a peer's certificate over what it sent along to an authority that is trusted.
//!
//! Candidates are found by name, likely ones (equal key ids) first; roots come before what the peer sent. Each step
//! checks the signature, then the signer's own period, rights and path length; a whole path is then checked for
//! purpose, policies and name constraints, and the next one is tried if it fails. The number of signatures that are
//! tried is bounded, as is the depth, since each step costs one.

use super::certificate::Certificate;
use super::name_constraints::Budget;
use super::policies::{self, Step};
use super::refusal::Refusal;
use super::signature::{SignatureFault, verify_certificate};
use jiff::Timestamp;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

/// As Go's limit; honest chains need fewer than 15.
const MAX_SIGNATURES: usize = 100;

/// Which end of a connection the certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls) enum Purpose {
    Server,
    Client,
}

/// Whom a certificate is checked against.
#[derive(Debug, Clone, Copy)]
pub(in crate::tls) struct Trust<'a> {
    pub(in crate::tls) roots: &'a [Certificate],
    pub(in crate::tls) algorithms: &'a WebPkiSupportedAlgorithms,
}

/// Whether `leaf` with the certificates that came along is trusted for `purpose` and, if given, for `host`.
pub(in crate::tls) fn verify(
    trust: Trust<'_>,
    leaf: &Certificate,
    sent: &[CertificateDer<'_>],
    purpose: Purpose,
    host: Option<&ServerName<'_>>,
    now: UnixTime,
) -> Result<(), Refusal> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    check_alone(leaf, now)?;
    if let Some(host) = host.filter(|host| !leaf.extensions.names.include(host)) {
        return Err(wrong_name(leaf, host));
    }
    // What cannot be read cannot be a signer; the path may not need it.
    let sent: Vec<Certificate> =
        sent.iter().filter_map(|der| Certificate::parse(der.clone().into_owned()).ok()).collect();
    let mut search =
        Search { trust, sent: &sent, purpose, now, signatures: 0, budget: Budget::default(), refused: None };
    if trust.roots.iter().any(|root| root.der() == leaf.der()) {
        return search.check_path(&[leaf]);
    }
    search.extend(&mut vec![leaf])
}

/// What every certificate of a path must fulfil.
fn check_alone(certificate: &Certificate, now: i64) -> Result<(), Refusal> {
    if certificate.extensions.unknown_critical {
        return Err(Refusal::UnknownCriticalExtension);
    }
    let passed = if now < certificate.not_before {
        Some(("before", certificate.not_before))
    } else if now > certificate.not_after {
        Some(("after", certificate.not_after))
    } else {
        None
    };
    match passed {
        None => Ok(()),
        Some((relation, limit)) => Err(Refusal::Expired { now: shown_time(now), relation, limit: shown_time(limit) }),
    }
}

fn shown_time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

fn wrong_name(leaf: &Certificate, host: &ServerName<'_>) -> Refusal {
    let names = &leaf.extensions.names;
    let presented = match host {
        ServerName::IpAddress(_) => names.ips.iter().map(ToString::to_string).collect(),
        _ => names.dns.clone(),
    };
    Refusal::WrongName { wanted: host.to_owned(), presented }
}

/// One search for a path.
struct Search<'a> {
    trust: Trust<'a>,
    sent: &'a [Certificate],
    purpose: Purpose,
    now: i64,
    /// Signatures tried so far.
    signatures: usize,
    budget: Budget,
    /// Why the first whole path was refused.
    refused: Option<Refusal>,
}

impl<'a> Search<'a> {
    /// Looks for a way from the last certificate of `path` to a root.
    fn extend(&mut self, path: &mut Vec<&'a Certificate>) -> Result<(), Refusal> {
        let Some(last) = path.last().copied() else { return Err(Refusal::Malformed) };
        let (mut hint, mut missing) = (None, None);
        for (is_root, pool) in [(true, self.trust.roots), (false, self.sent)] {
            for candidate in candidates(pool, last) {
                self.signatures += 1;
                if self.signatures > MAX_SIGNATURES {
                    return Err(Refusal::TooMuchWork);
                }
                if path.iter().any(|known| candidate.is_same_party(known)) {
                    continue;
                }
                match self.step(path, last, candidate, is_root) {
                    Ok(()) => return Ok(()),
                    Err(Refusal::TooMuchWork) => return Err(Refusal::TooMuchWork),
                    Err(unknown @ Refusal::UnknownAuthority { .. }) => {
                        missing.get_or_insert(unknown);
                    }
                    Err(refusal) => {
                        hint.get_or_insert_with(|| (Box::new(refusal), candidate.shown_subject()));
                    }
                }
            }
        }
        // A path that was found and refused says more than one that was not found, and a long one more than a short one.
        Err(self.refused.clone().or(missing).unwrap_or_else(|| Refusal::UnknownAuthority {
            subject: last.shown_subject(),
            issuer: last.shown_issuer(),
            hint,
        }))
    }

    fn step(
        &mut self,
        path: &mut Vec<&'a Certificate>,
        child: &Certificate,
        signer: &'a Certificate,
        is_root: bool,
    ) -> Result<(), Refusal> {
        self.check_signature(child, signer)?;
        check_alone(signer, self.now)?;
        let constraints = signer.extensions.basic_constraints;
        if !is_root && !constraints.is_some_and(|constraints| constraints.is_ca) {
            return Err(Refusal::NotAnAuthority);
        }
        let below = path.len().saturating_sub(1);
        let limit = constraints.and_then(|constraints| constraints.max_path_len);
        if limit.is_some_and(|limit| u32::try_from(below).is_ok_and(|below| below > limit)) {
            return Err(Refusal::PathTooLong);
        }
        path.push(signer);
        let result = if is_root { self.check_path(path) } else { self.extend(path) };
        path.pop();
        result
    }

    /// RFC 5280, section 4.2.1.9 and 4.2.1.3: who may sign, and whether this one did.
    fn check_signature(&self, child: &Certificate, signer: &Certificate) -> Result<(), Refusal> {
        let is_authority = match signer.extensions.basic_constraints {
            Some(constraints) => constraints.is_ca,
            None => !signer.is_v3,
        };
        if !is_authority || signer.extensions.may_sign == Some(false) {
            return Err(Refusal::MayNotSign);
        }
        verify_certificate(self.trust.algorithms, child, signer).map_err(|fault| match fault {
            SignatureFault::Invalid => Refusal::BadSignature,
            SignatureFault::Insecure => Refusal::InsecureAlgorithm,
            SignatureFault::Unsupported | SignatureFault::SmallKey => Refusal::UnsupportedAlgorithm,
        })
    }

    /// What concerns a path as a whole, from leaf to root.
    fn check_path(&mut self, path: &[&Certificate]) -> Result<(), Refusal> {
        let (_, below_root) = path.split_last().ok_or(Refusal::Malformed)?;
        let steps: Vec<_> = below_root
            .iter()
            .map(|certificate| Step {
                policies: &certificate.extensions.policies,
                is_self_issued: certificate.is_self_issued(),
            })
            .collect();
        let result = if !policies::are_valid(&steps) {
            Err(Refusal::Policies)
        } else if !path.iter().all(|certificate| self.allows_purpose(certificate)) {
            Err(Refusal::WrongPurpose)
        } else {
            self.check_names(path).map_err(Refusal::NameNotPermitted)
        };
        if let Err(refusal) = &result {
            self.refused.get_or_insert_with(|| refusal.clone());
        }
        result
    }

    /// Constraints bind the names of everything below.
    fn check_names(&mut self, path: &[&Certificate]) -> Result<(), String> {
        for (i, signer) in path.iter().enumerate() {
            let Some(constraints) = &signer.extensions.name_constraints else { continue };
            for below in path.iter().take(i).filter(|below| below.has_alt_names()) {
                constraints.check(&below.extensions.names, &mut self.budget)?;
            }
        }
        Ok(())
    }

    /// Extended key usage nests: an authority that lists purposes signs for these only.
    fn allows_purpose(&self, certificate: &Certificate) -> bool {
        certificate.extensions.purposes.is_none_or(|purposes| {
            let wanted = match self.purpose {
                Purpose::Server => purposes.server,
                Purpose::Client => purposes.client,
            };
            purposes.any || wanted
        })
    }
}

/// Who could have signed `child`: its issuer by name, best matches of the key ids first.
fn candidates<'a>(pool: &'a [Certificate], child: &Certificate) -> Vec<&'a Certificate> {
    let mut found: Vec<_> = pool.iter().filter(|candidate| candidate.subject() == child.issuer()).collect();
    found.sort_by_key(|candidate| match (&candidate.extensions.subject_key_id, &child.extensions.authority_key_id) {
        (subject, authority) if subject == authority => 0,
        (None, Some(_)) | (Some(_), None) => 1,
        _ => 2,
    });
    found
}
