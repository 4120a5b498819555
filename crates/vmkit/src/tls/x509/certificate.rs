//! One certificate in a form that can be kept: its DER with the places of what verification reads.
//!
//! Extensions are read with the strictness of Go: one that is understood but malformed, stands twice or is wrongly
//! marked critical makes the whole certificate unusable; an unknown critical one is remembered for the chain's
//! verdict. Versions below 3 have no extensions, whatever the bytes behind them say.

use super::alt_names::AltNames;
use super::name_constraints::NameConstraints;
use super::policies::Policies;
use super::refusal::Malformed;
use rustls::pki_types::CertificateDer;
use std::ops::Range;
use x509_parser::asn1_rs::Any;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name, X509Version};

/// A parsed certificate. Names and dates stay as they are encoded; equality of names is equality of bytes.
#[derive(Debug)]
pub(in crate::tls) struct Certificate {
    der: CertificateDer<'static>,
    tbs: Range<usize>,
    issuer: Range<usize>,
    subject: Range<usize>,
    key: KeyPlaces,
    signature_algorithm: Range<usize>,
    signature: Range<usize>,
    /// Seconds since 1970; both ends belong to the period.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    pub(super) is_v3: bool,
    pub(super) extensions: Extensions,
}

#[derive(Debug)]
struct KeyPlaces {
    /// The whole SubjectPublicKeyInfo.
    info: Range<usize>,
    /// Content of its AlgorithmIdentifier.
    algorithm: Range<usize>,
    /// Content of its bit string.
    bits: Range<usize>,
}

/// What the extensions say.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) basic_constraints: Option<BasicConstraints>,
    /// `Some(false)`: key usage is limited, and not to signing certificates.
    pub(super) may_sign: Option<bool>,
    /// `None`: any purpose.
    pub(super) purposes: Option<Purposes>,
    pub(super) names: AltNames,
    alt_names_value: Option<Box<[u8]>>,
    pub(super) name_constraints: Option<Box<NameConstraints>>,
    pub(super) policies: Policies,
    pub(super) subject_key_id: Option<Box<[u8]>>,
    pub(super) authority_key_id: Option<Box<[u8]>>,
    pub(super) unknown_critical: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct BasicConstraints {
    pub(super) is_ca: bool,
    pub(super) max_path_len: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Purposes {
    pub(super) any: bool,
    pub(super) server: bool,
    pub(super) client: bool,
}

impl Certificate {
    /// Reads one certificate in DER form. Never panics, whatever the bytes are.
    pub(in crate::tls) fn parse(der: CertificateDer<'static>) -> Result<Self, Malformed> {
        let (rest, parsed) = X509Certificate::from_der(&der).map_err(|_| Malformed)?;
        let outer = Outer::split(&der).ok_or(Malformed)?;
        let tbs = &parsed.tbs_certificate;
        let (_, info) = sequence(tbs.subject_pki.raw).ok_or(Malformed)?;
        let (_, algorithm) = sequence(info).ok_or(Malformed)?;
        let is_negative = tbs.raw_serial().first().is_some_and(|byte| byte & 0x80 != 0);
        // Keys and signatures are whole bytes; an odd end could be read in two ways.
        let is_odd = parsed.signature_value.unused_bits != 0 || tbs.subject_pki.subject_public_key.unused_bits != 0;
        if !rest.is_empty() || is_negative || is_odd || parsed.signature_algorithm != tbs.signature {
            return Err(Malformed);
        }
        let at = |part: &[u8]| place(&der, part).ok_or(Malformed);
        let is_v3 = tbs.version == X509Version::V3;
        if tbs.version.0 > X509Version::V3.0 {
            return Err(Malformed);
        }
        Ok(Self {
            tbs: at(outer.tbs)?,
            issuer: at(tbs.issuer.as_raw())?,
            subject: at(tbs.subject.as_raw())?,
            key: KeyPlaces {
                info: at(tbs.subject_pki.raw)?,
                algorithm: at(algorithm)?,
                bits: at(tbs.subject_pki.subject_public_key.data.as_ref())?,
            },
            signature_algorithm: at(outer.signature_algorithm)?,
            signature: at(parsed.signature_value.data.as_ref())?,
            not_before: tbs.validity.not_before.timestamp(),
            not_after: tbs.validity.not_after.timestamp(),
            is_v3,
            extensions: if is_v3 { Extensions::read(tbs.extensions())? } else { Extensions::default() },
            der: der.clone(),
        })
    }

    fn part(&self, range: &Range<usize>) -> &[u8] {
        self.der.get(range.clone()).unwrap_or_default()
    }

    /// The whole certificate.
    pub(in crate::tls) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(super) fn to_be_signed(&self) -> &[u8] {
        self.part(&self.tbs)
    }

    pub(super) fn issuer(&self) -> &[u8] {
        self.part(&self.issuer)
    }

    /// First and last moment of its validity, in seconds since 1970.
    pub(in crate::tls) fn validity(&self) -> (i64, i64) {
        (self.not_before, self.not_after)
    }

    /// The encoded name of the subject.
    pub(in crate::tls) fn subject(&self) -> &[u8] {
        self.part(&self.subject)
    }

    /// SubjectPublicKeyInfo in DER form.
    pub(in crate::tls) fn public_key_info(&self) -> &[u8] {
        self.part(&self.key.info)
    }

    pub(super) fn key_algorithm(&self) -> &[u8] {
        self.part(&self.key.algorithm)
    }

    pub(in crate::tls) fn key_bits(&self) -> &[u8] {
        self.part(&self.key.bits)
    }

    pub(super) fn signature_algorithm(&self) -> &[u8] {
        self.part(&self.signature_algorithm)
    }

    pub(super) fn signature(&self) -> &[u8] {
        self.part(&self.signature)
    }

    pub(super) fn has_alt_names(&self) -> bool {
        self.extensions.alt_names_value.is_some()
    }

    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer() == self.subject()
    }

    /// Whether both are the same party for a path: equal subject, key and alternative names.
    pub(super) fn is_same_party(&self, other: &Self) -> bool {
        self.subject() == other.subject()
            && self.public_key_info() == other.public_key_info()
            && self.extensions.alt_names_value == other.extensions.alt_names_value
    }

    /// First second of its life, since 1970.
    pub(in crate::tls) fn not_before(&self) -> i64 {
        self.not_before
    }

    /// Last second of its life, since 1970.
    pub(in crate::tls) fn not_after(&self) -> i64 {
        self.not_after
    }

    /// `CN=foo, O=bar` as log lines show it.
    pub(in crate::tls) fn shown_subject(&self) -> String {
        shown_name(self.subject())
    }

    pub(super) fn shown_issuer(&self) -> String {
        shown_name(self.issuer())
    }
}

/// A name without control characters, of bounded length.
fn shown_name(raw: &[u8]) -> String {
    const LIMIT: usize = 200;
    let name = X509Name::from_der(raw).map(|(_, name)| name.to_string()).unwrap_or_default();
    name.chars().filter(|letter| !letter.is_control()).take(LIMIT).collect()
}

/// The three parts of the outer sequence; of the algorithm the content only.
struct Outer<'a> {
    tbs: &'a [u8],
    signature_algorithm: &'a [u8],
}

impl<'a> Outer<'a> {
    fn split(der: &'a [u8]) -> Option<Self> {
        let (_, content) = sequence(der)?;
        let (rest, _) = sequence(content)?;
        let tbs = content.get(..content.len() - rest.len())?;
        let (rest, signature_algorithm) = sequence(rest)?;
        // The parser looks at the tag's number only.
        const BIT_STRING: u8 = 0x03;
        if rest.first() != Some(&BIT_STRING) {
            return None;
        }
        Some(Self { tbs, signature_algorithm })
    }
}

/// The sequence that `input` begins with: what is behind it, and its content.
fn sequence(input: &[u8]) -> Option<(&[u8], &[u8])> {
    const SEQUENCE: u8 = 0x30;
    let (rest, any) = Any::from_der(input).ok()?;
    (input.first() == Some(&SEQUENCE)).then_some((rest, any.data))
}

/// Where `part`, a piece of `whole`, lies in it.
fn place(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

impl Extensions {
    fn read(list: &[X509Extension<'_>]) -> Result<Self, Malformed> {
        let mut read = Self::default();
        for (i, extension) in list.iter().enumerate() {
            if list.iter().take(i).any(|before| before.oid == extension.oid) {
                return Err(Malformed);
            }
            let is_known = read.take(extension)?;
            read.unknown_critical |= extension.critical && !is_known;
        }
        Ok(read)
    }

    /// Takes in one extension; `false` when nothing here acts on it.
    fn take(&mut self, extension: &X509Extension<'_>) -> Result<bool, Malformed> {
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(value) => {
                let max_path_len = value.path_len_constraint;
                self.basic_constraints = Some(BasicConstraints { is_ca: value.ca, max_path_len });
            }
            // An all-zero usage says nothing.
            ParsedExtension::KeyUsage(value) => {
                self.may_sign = (value.flags != 0).then(|| value.key_cert_sign());
            }
            ParsedExtension::ExtendedKeyUsage(value) => {
                let others = value.code_signing || value.email_protection || value.time_stamping || value.ocsp_signing;
                let (any, server, client) = (value.any, value.server_auth, value.client_auth);
                let is_limited = any || server || client || others || !value.other.is_empty();
                self.purposes = is_limited.then_some(Purposes { any, server, client });
            }
            ParsedExtension::SubjectAlternativeName(value) => {
                self.names = AltNames::read(&value.general_names)?;
                self.alt_names_value = Some(extension.value.into());
                return Ok(!self.names.is_empty());
            }
            ParsedExtension::NameConstraints(value) => {
                let (constraints, is_understood) = NameConstraints::read(value)?;
                self.name_constraints = Some(Box::new(constraints));
                return Ok(is_understood);
            }
            ParsedExtension::CertificatePolicies(value) => self.policies.take_list(value)?,
            ParsedExtension::PolicyMappings(value) => self.policies.take_mappings(value),
            ParsedExtension::PolicyConstraints(value) => self.policies.take_constraints(value),
            ParsedExtension::InhibitAnyPolicy(value) => self.policies.inhibit_any = Some(value.skip_certs),
            ParsedExtension::SubjectKeyIdentifier(_) | ParsedExtension::AuthorityInfoAccess(_)
                if extension.critical =>
            {
                return Err(Malformed);
            }
            ParsedExtension::SubjectKeyIdentifier(value) => self.subject_key_id = Some(value.0.into()),
            ParsedExtension::AuthorityKeyIdentifier(value) => {
                self.authority_key_id = value.key_identifier.as_ref().map(|id| id.0.into());
            }
            ParsedExtension::CRLDistributionPoints(_) | ParsedExtension::AuthorityInfoAccess(_) => {}
            ParsedExtension::ParseError { .. } => return unread(extension),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// An extension whose value could not be read: fatal where verification needs it.
fn unread(extension: &X509Extension<'_>) -> Result<bool, Malformed> {
    const ID_CE: &str = "2.5.29.";
    let oid = extension.oid.to_id_string();
    match oid.strip_prefix(ID_CE) {
        Some("15" | "17" | "19" | "30" | "32" | "33" | "36" | "37" | "54") => Err(Malformed),
        _ => Ok(false),
    }
}
