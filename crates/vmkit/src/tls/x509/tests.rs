//! The table of what is accepted and what is refused. Every verdict is Go's (1.26, `x509.Certificate.Verify`), except
//! the rows of [`stricter_than_go`].
//!
//! With `VMKIT_CERTIFICATE_CASES=folder` each case is also written there, one folder a case, for a look by another
//! implementation: `leaf`, `sent-N`, `root-N` in DER form, and `case` with purpose, host and our verdict.

mod pki;

use super::*;
use pki::{Signer, extension, fixture, leaf_params, params};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, ExtendedKeyUsagePurpose as Usage, GeneralSubtree, IsCa,
    KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::atomic::{AtomicUsize, Ordering};

type Der = CertificateDer<'static>;

/// What one handshake brings.
struct Case {
    leaf: Der,
    sent: Vec<Der>,
    roots: Vec<Der>,
    purpose: Purpose,
    host: Option<&'static str>,
}

impl Case {
    /// A server's certificate for `web.test`.
    fn server(leaf: Der, sent: Vec<Der>, root: Der) -> Self {
        Self { leaf, sent, roots: vec![root], purpose: Purpose::Server, host: Some("web.test") }
    }

    fn client(leaf: Der, sent: Vec<Der>, root: Der) -> Self {
        Self { purpose: Purpose::Client, host: None, ..Self::server(leaf, sent, root) }
    }

    fn host(self, host: &'static str) -> Self {
        Self { host: Some(host), ..self }
    }

    fn verdict(&self) -> Result<(), Refusal> {
        let provider = crate::tls::provider();
        let roots: Vec<_> = self.roots.iter().filter_map(|der| Certificate::parse(der.clone()).ok()).collect();
        let trust = Trust { roots: &roots, algorithms: &provider.signature_verification_algorithms };
        let leaf = Certificate::parse(self.leaf.clone()).map_err(|_| Refusal::Malformed)?;
        let host = self.host.map(|host| ServerName::try_from(host).unwrap());
        let verdict = verify(trust, &leaf, &self.sent, self.purpose, host.as_ref(), UnixTime::now());
        self.dump(&verdict);
        verdict
    }

    fn dump(&self, verdict: &Result<(), Refusal>) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let Some(folder) = std::env::var_os("VMKIT_CERTIFICATE_CASES") else { return };
        let folder = std::path::Path::new(&folder).join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: String, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
        write("leaf".to_owned(), &self.leaf);
        self.sent.iter().enumerate().for_each(|(i, der)| write(format!("sent-{i}"), der));
        self.roots.iter().enumerate().for_each(|(i, der)| write(format!("root-{i}"), der));
        let text = verdict.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned());
        let host = self.host.unwrap_or_default();
        write("case".to_owned(), format!("{:?}\n{host}\n{text}\n", self.purpose).as_bytes());
    }
}

#[track_caller]
fn accepted(case: &Case) {
    assert_eq!(case.verdict(), Ok(()));
}

#[track_caller]
fn refused(case: &Case, want: &str) {
    let text = case.verdict().expect_err(want).to_string();
    assert!(text.starts_with(want), "{text:?} is not {want:?}");
}

/// A leaf for `web.test` below one authority, changed by `change`.
fn changed(change: impl FnOnce(&mut CertificateParams)) -> Case {
    let root = Signer::root("root");
    let mut params = leaf_params();
    change(&mut params);
    Case::server(root.sign(&params), Vec::new(), root.der())
}

/// A leaf below an intermediate that `change` changed.
fn below(change: impl FnOnce(&mut CertificateParams)) -> Case {
    below_with_leaf(change, &leaf_params())
}

fn below_with_leaf(change: impl FnOnce(&mut CertificateParams), leaf: &CertificateParams) -> Case {
    let root = Signer::root("root");
    let middle = root.signer("middle", change);
    Case::server(middle.sign(leaf), vec![middle.der()], root.der())
}

fn with_names(names: &[&str]) -> CertificateParams {
    let mut params = leaf_params();
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.parse() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) if name.contains("://") => SanType::URI((*name).try_into().unwrap()),
            Err(_) if name.contains('@') => SanType::Rfc822Name((*name).try_into().unwrap()),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        })
        .collect();
    params
}

fn dns(names: &[&str]) -> Vec<GeneralSubtree> {
    names.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned())).collect()
}

/// A leaf with `names` below an authority with these constraints.
fn constrained(permitted: Vec<GeneralSubtree>, excluded: Vec<GeneralSubtree>, names: &[&str]) -> Case {
    let change = |params: &mut CertificateParams| {
        params.name_constraints = Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded });
    };
    below_with_leaf(change, &with_names(names))
}

#[test]
fn chains_of_any_length_and_order() {
    accepted(&changed(|_| {}));
    accepted(&below(|_| {}));
    let root = Signer::root("root");
    let mut signers = vec![root.signer("1", |_| {})];
    for name in ["2", "3", "4", "5", "6", "7", "8"] {
        signers.push(signers.last().unwrap().signer(name, |_| {}));
    }
    let leaf = signers.last().unwrap().sign(&leaf_params());
    let mut sent: Vec<_> = signers.iter().map(Signer::der).collect();
    accepted(&Case::server(leaf.clone(), sent.clone(), root.der()));
    sent.reverse();
    sent.insert(3, Signer::root("stranger").der());
    accepted(&Case::server(leaf.clone(), sent.clone(), root.der()));
    sent.remove(0);
    refused(&Case::server(leaf, sent, root.der()), "certificate signed by unknown authority");
}

#[test]
fn private_authorities_sign_what_the_web_forbids() {
    accepted(&changed(|leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)));
    accepted(&changed(|leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))));
    accepted(&changed(|leaf| leaf.extended_key_usages = vec![Usage::Any]));
    accepted(&below(|middle| middle.extended_key_usages = vec![Usage::Any]));
    accepted(&below(|middle| middle.extended_key_usages = vec![Usage::ServerAuth, Usage::ClientAuth]));
    accepted(
        &changed(|leaf| leaf.subject_alt_names = with_names(&["*.monitoring"]).subject_alt_names)
            .host("web.monitoring"),
    );
    accepted(&changed(|leaf| {
        leaf.subject_alt_names = with_names(&["{svc}.example.com", "web.test"]).subject_alt_names;
    }));
    // keyCertSign is asked of signers only, whatever a leaf's key usage says.
    accepted(&changed(|leaf| leaf.key_usages = vec![KeyUsagePurpose::KeyAgreement]));
    accepted(&changed(|leaf| leaf.subject_alt_names = with_names(&["10.0.0.1"]).subject_alt_names).host("10.0.0.1"));
}

#[test]
fn certificates_that_are_trusted_themselves() {
    let root = Signer::root_with("web.test", |params| *params = with_names(&["web.test"]));
    accepted(&Case::server(root.der(), Vec::new(), root.der()));
    let pinned = Signer::root_with("web.test", |params| params.extended_key_usages = vec![Usage::ClientAuth]);
    refused(
        &Case::server(pinned.der(), Vec::new(), pinned.der()),
        "certificate is not valid for any names, but wanted to match web.test",
    );
    let mut by_address = Case::client(pinned.der(), Vec::new(), pinned.der());
    accepted(&by_address);
    by_address.purpose = Purpose::Server;
    refused(&by_address, "certificate specifies an incompatible key usage");
    // A leaf in the CA file is trusted without its issuer, and signs nothing.
    let issuer = Signer::root("issuer");
    let leaf = issuer.signer("leaf", |params| *params = leaf_params());
    accepted(&Case::server(leaf.der(), Vec::new(), leaf.der()));
    let below = leaf.sign(&leaf_params());
    refused(&Case::server(below, Vec::new(), leaf.der()), "certificate signed by unknown authority");
    let stranger = Signer::root_with("web.test", |params| *params = with_names(&["web.test"]));
    refused(&Case::server(stranger.der(), Vec::new(), root.der()), "certificate signed by unknown authority");
}

#[test]
fn old_versions_and_algorithms() {
    let server = |leaf: &str, sent: &[&str], root: &str| {
        Case::server(fixture(leaf), sent.iter().map(|name| fixture(name)).collect(), fixture(root))
    };
    accepted(&server("below-v1-root", &[], "v1-root"));
    accepted(&Case::client(fixture("v1-leaf"), Vec::new(), fixture("root")));
    accepted(&Case::client(fixture("v1-root"), Vec::new(), fixture("v1-root")));
    accepted(&server("below-rsa1024", &[], "rsa1024-root"));
    accepted(&server("below-rsa1024-sha512", &[], "rsa1024-root"));
    accepted(&server("rsa1024-leaf", &[], "root"));
    accepted(&server("pss", &[], "rsa-root"));
    refused(&server("v1-leaf", &[], "root"), "certificate is not valid for any names");
    refused(
        &server("below-v1-intermediate", &["v1-intermediate"], "root"),
        "certificate signed by unknown authority (possibly because of \"x509: certificate is not authorized to sign",
    );
    refused(
        &server("sha1", &[], "root"),
        "certificate signed by unknown authority (possibly because of \"x509: cannot verify signature: insecure",
    );
    refused(
        &server("md5", &[], "rsa-root"),
        "certificate signed by unknown authority (possibly because of \"x509: cannot verify signature: insecure",
    );
    refused(&server("below-rsa1000", &[], "rsa1000-root"), "certificate signed by unknown authority (possibly");
}

#[test]
fn periods() {
    let past = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let future = |params: &mut CertificateParams| params.not_before = rcgen::date_time_ymd(2200, 1, 1);
    let expired = "certificate has expired or is not yet valid: current time ";
    refused(&changed(past), expired);
    refused(&changed(future), expired);
    let signer = "certificate signed by unknown authority (possibly because of \"x509: certificate has expired";
    refused(&below(past), signer);
    refused(&below(future), signer);
    let root = Signer::root_with("root", past);
    refused(&Case::server(root.sign(&leaf_params()), Vec::new(), root.der()), signer);
    let text = changed(past).verdict().unwrap_err().to_string();
    assert!(text.ends_with(" is after 2020-01-01T00:00:00Z"), "{text}");
}

#[test]
fn signers_need_the_right_to_sign() {
    let no_ca = "certificate signed by unknown authority (possibly because of \"x509: invalid signature: parent";
    refused(&below(|middle| middle.is_ca = IsCa::NoCa), no_ca);
    refused(&below(|middle| middle.is_ca = IsCa::ExplicitNoCa), no_ca);
    refused(&below(|middle| middle.key_usages = vec![KeyUsagePurpose::DigitalSignature]), no_ca);
    accepted(&below(|middle| middle.key_usages = vec![KeyUsagePurpose::KeyCertSign]));
    let root = Signer::root_with("root", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    refused(&Case::server(root.sign(&leaf_params()), Vec::new(), root.der()), no_ca);
    let root = Signer::root_with("root", |params| params.is_ca = IsCa::NoCa);
    refused(&Case::server(root.sign(&leaf_params()), Vec::new(), root.der()), no_ca);
}

#[test]
fn path_lengths() {
    let limited = |limit: u8| {
        move |params: &mut CertificateParams| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(limit));
        }
    };
    let too_long = "certificate signed by unknown authority (possibly because of \"x509: too many intermediates";
    accepted(&below(limited(0)));
    let chain = |root: Signer, limit: u8| {
        let one = root.signer("one", limited(limit));
        let two = one.signer("two", |_| {});
        Case::server(two.sign(&leaf_params()), vec![two.der(), one.der()], root.der())
    };
    accepted(&chain(Signer::root("root"), 1));
    refused(&chain(Signer::root("root"), 0), too_long);
    refused(&chain(Signer::root_with("root", limited(1)), 5), too_long);
    accepted(&chain(Signer::root_with("root", limited(2)), 5));
}

#[test]
fn critical_extensions() {
    let unknown = || extension(&[1, 2, 3, 4], true, &[5, 0]);
    let harmless = || extension(&[1, 2, 3, 4], false, &[5, 0]);
    accepted(&changed(|leaf| leaf.custom_extensions = vec![harmless()]));
    accepted(&below(|middle| middle.custom_extensions = vec![harmless()]));
    refused(&changed(|leaf| leaf.custom_extensions = vec![unknown()]), "unhandled critical extension");
    let signer = "certificate signed by unknown authority (possibly because of \"x509: unhandled critical extension\"";
    refused(&below(|middle| middle.custom_extensions = vec![unknown()]), signer);
    let root = Signer::root_with("root", |params| params.custom_extensions = vec![unknown()]);
    refused(&Case::server(root.sign(&leaf_params()), Vec::new(), root.der()), signer);
    // Twice the same, a critical key id, and values that cannot be read make no certificate at all.
    let malformed = |list: Vec<rcgen::CustomExtension>| {
        refused(&changed(|leaf| leaf.custom_extensions = list), "malformed certificate");
    };
    malformed(vec![harmless(), harmless()]);
    malformed(vec![extension(&[2, 5, 29, 14], true, &[4, 1, 1])]);
    malformed(vec![extension(&[2, 5, 29, 37], false, &[1, 1, 255])]);
    malformed(vec![extension(&[2, 5, 29, 15], false, &[1, 1, 255])]);
    malformed(vec![extension(&[2, 5, 29, 30], true, &[0x30, 0])]);
    let odd_address = [0x30, 5, 0x87, 3, 1, 2, 3];
    refused(
        &changed(|leaf| {
            leaf.subject_alt_names.clear();
            leaf.custom_extensions = vec![extension(&[2, 5, 29, 17], false, &odd_address)];
        }),
        "malformed certificate",
    );
    // Names of other kinds only, marked critical, are names that nobody looked at.
    let other_name = [0x30, 4, 0x88, 2, 0x2a, 3];
    let mut case = changed(|leaf| {
        leaf.subject_alt_names.clear();
        leaf.custom_extensions = vec![extension(&[2, 5, 29, 17], true, &other_name)];
    });
    case.host = None;
    refused(&case, "unhandled critical extension");
}

#[test]
fn purposes_nest() {
    let wrong = "certificate specifies an incompatible key usage";
    refused(&changed(|leaf| leaf.extended_key_usages = vec![Usage::ClientAuth]), wrong);
    refused(&changed(|leaf| leaf.extended_key_usages = vec![Usage::CodeSigning]), wrong);
    refused(&below(|middle| middle.extended_key_usages = vec![Usage::ClientAuth]), wrong);
    let root = Signer::root_with("root", |params| params.extended_key_usages = vec![Usage::EmailProtection]);
    refused(&Case::server(root.sign(&leaf_params()), Vec::new(), root.der()), wrong);
    let mut client = changed(|leaf| leaf.extended_key_usages = vec![Usage::ServerAuth]);
    (client.purpose, client.host) = (Purpose::Client, None);
    refused(&client, wrong);
    let mut client = changed(|leaf| leaf.extended_key_usages = vec![Usage::ServerAuth, Usage::ClientAuth]);
    (client.purpose, client.host) = (Purpose::Client, None);
    accepted(&client);
}

#[test]
fn name_constraints_of_hosts() {
    let outside = "a root or intermediate certificate is not authorized to sign for this name: ";
    let f = |permitted: &[&str], excluded: &[&str], names: &[&str], want: bool| {
        let case = constrained(dns(permitted), dns(excluded), names);
        if want { accepted(&case) } else { refused(&case, outside) }
    };
    f(&["test"], &[], &["web.test"], true);
    f(&["web.test"], &[], &["web.test"], true);
    f(&["WEB.Test"], &[], &["web.test"], true);
    f(&[".test"], &[], &["web.test"], true);
    f(&[".web.test"], &[], &["web.test"], false);
    f(&["example.com"], &[], &["web.test"], false);
    f(&["eb.test"], &[], &["web.test"], false);
    f(&["web.test"], &[], &["web.test", "other.example"], false);
    f(&["web.test", "other.example"], &[], &["web.test", "other.example"], true);
    f(&[""], &[], &["web.test"], true);
    f(&[], &["test"], &["web.test"], false);
    f(&[], &[""], &["web.test"], false);
    f(&[], &["example.com"], &["web.test"], true);
    f(&["test"], &["web.test"], &["web.test"], false);
    f(&[], &["secret.test"], &["web.test", "*.test"], false);
    f(&[], &["a.secret.test"], &["web.test", "*.test"], true);
    f(&["test"], &[], &["web.test", "*.test"], true);
    f(&["secret.test"], &[], &["web.test", "*.test"], false);
    // A constraint on hosts says nothing of addresses.
    f(&["test"], &[], &["web.test", "10.0.0.1"], true);
    f(&["test"], &[], &["web.test", "spiffe://cluster.local/ns"], true);
    f(&["test"], &[], &["web.test", "urn://"], false);
    f(&["test"], &[], &["web.test", "http://10.0.0.1/"], false);
}

#[test]
fn name_constraints_of_addresses_and_others() {
    let outside = "a root or intermediate certificate is not authorized to sign for this name: ";
    let ten = || GeneralSubtree::IpAddress(CidrSubnet::V4([10, 0, 0, 0], [255, 0, 0, 0]));
    accepted(&constrained(vec![ten()], Vec::new(), &["web.test", "10.1.2.3"]));
    refused(&constrained(vec![ten()], Vec::new(), &["web.test", "11.1.2.3"]), outside);
    refused(&constrained(vec![ten()], Vec::new(), &["web.test", "fd00::1"]), outside);
    refused(&constrained(Vec::new(), vec![ten()], &["web.test", "10.1.2.3"]), outside);
    accepted(&constrained(Vec::new(), vec![ten()], &["web.test", "11.1.2.3", "fd00::1"]));
    let mail = |text: &str| vec![GeneralSubtree::Rfc822Name(text.to_owned())];
    accepted(&constrained(mail("test"), Vec::new(), &["web.test", "me@mail.test"]));
    accepted(&constrained(mail("me@mail.test"), Vec::new(), &["web.test", "me@MAIL.test"]));
    refused(&constrained(mail("me@mail.test"), Vec::new(), &["web.test", "you@mail.test"]), outside);
    refused(&constrained(Vec::new(), mail("mail.test"), &["web.test", "you@mail.test"]), outside);
    // An intermediate's own names are bound too, and what is above the constraint is not.
    let root = Signer::root("root");
    let one = root.signer("one", |params| {
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: dns(&["test"]), excluded_subtrees: Vec::new() });
        params.subject_alt_names = with_names(&["outside.example"]).subject_alt_names;
    });
    accepted(&Case::server(one.sign(&leaf_params()), vec![one.der()], root.der()));
    let two = one.signer("two", |params| {
        params.subject_alt_names = with_names(&["outside.example"]).subject_alt_names;
    });
    refused(&Case::server(two.sign(&leaf_params()), vec![two.der(), one.der()], root.der()), outside);
    // A kind of constraint that is not understood: fatal only if critical (rcgen marks it so).
    let directory = || vec![GeneralSubtree::DirectoryName(params("any").distinguished_name)];
    refused(
        &constrained(directory(), Vec::new(), &["web.test"]),
        "certificate signed by unknown authority (possibly because of \"x509: unhandled critical extension\"",
    );
}

/// Contents of the extensions: certificatePolicies, policyMappings, policyConstraints.
const ANY_POLICY: &[u8] = &[0x30, 8, 0x30, 6, 6, 4, 0x55, 0x1d, 0x20, 0];
const POLICY_A: &[u8] = &[0x30, 7, 0x30, 5, 6, 3, 0x2a, 3, 1];
const POLICY_B: &[u8] = &[0x30, 7, 0x30, 5, 6, 3, 0x2a, 3, 2];
const A_IS_B: &[u8] = &[0x30, 12, 0x30, 10, 6, 3, 0x2a, 3, 1, 6, 3, 0x2a, 3, 2];
const A_IS_ANY: &[u8] = &[0x30, 13, 0x30, 11, 6, 3, 0x2a, 3, 1, 6, 4, 0x55, 0x1d, 0x20, 0];
const EXPLICIT: &[u8] = &[0x30, 3, 0x80, 1, 0];
const EXPLICIT_AND_NO_MAPPING: &[u8] = &[0x30, 6, 0x80, 1, 0, 0x81, 1, 0];
const NO_MAPPING: &[u8] = &[0x30, 3, 0x81, 1, 0];
const ZERO: &[u8] = &[2, 1, 0];

#[test]
fn policies_of_a_path() {
    let with = |list: &[(u64, &[u8])]| -> Vec<_> {
        list.iter().map(|(id, content)| extension(&[2, 5, 29, *id], true, content)).collect()
    };
    let f = |middle: &[(u64, &[u8])], leaf: &[(u64, &[u8])], want: bool| {
        let mut leaf_of = leaf_params();
        leaf_of.custom_extensions = with(leaf);
        let case = below_with_leaf(|params| params.custom_extensions = with(middle), &leaf_of);
        if want { accepted(&case) } else { refused(&case, "no valid chains built") }
    };
    f(&[], &[(32, ANY_POLICY)], true);
    f(&[(32, POLICY_A)], &[(32, POLICY_B)], true);
    f(&[(32, POLICY_A), (54, ZERO)], &[(32, ANY_POLICY)], true);
    f(&[(36, NO_MAPPING)], &[], true);
    f(&[(32, POLICY_A), (36, EXPLICIT)], &[(32, POLICY_A)], true);
    f(&[(32, ANY_POLICY), (36, EXPLICIT)], &[(32, POLICY_A)], true);
    f(&[(32, POLICY_A), (36, EXPLICIT)], &[(32, ANY_POLICY)], true);
    f(&[(32, POLICY_A), (36, EXPLICIT)], &[(32, POLICY_B)], false);
    f(&[(32, POLICY_A), (36, EXPLICIT)], &[], false);
    f(&[(36, EXPLICIT)], &[(32, POLICY_A)], false);
    f(&[(32, POLICY_A), (36, EXPLICIT), (54, ZERO)], &[(32, ANY_POLICY)], false);
    f(&[(32, POLICY_A), (33, A_IS_B), (36, EXPLICIT)], &[(32, POLICY_B)], true);
    f(&[(32, POLICY_A), (33, A_IS_B), (36, EXPLICIT)], &[(32, POLICY_A)], false);
    f(&[(32, POLICY_A), (33, A_IS_B), (36, EXPLICIT_AND_NO_MAPPING)], &[(32, POLICY_B)], true);
    f(&[(32, POLICY_A), (33, A_IS_ANY)], &[(32, POLICY_B)], false);
    f(&[], &[(36, EXPLICIT)], false);
    f(&[(32, ANY_POLICY)], &[(32, POLICY_A), (36, EXPLICIT)], true);
}

#[test]
fn forged_signatures() {
    let (root, impostor) = (Signer::root("root"), Signer::root("root"));
    refused(
        &Case::server(impostor.sign(&leaf_params()), vec![impostor.der()], root.der()),
        "certificate signed by unknown authority (possibly because of \"x509: signature verification failure\"",
    );
    let mut changed = root.sign(&leaf_params()).to_vec();
    let name = changed.windows(8).position(|window| window == b"web.test").unwrap();
    changed[name..name + 8].copy_from_slice(b"abc.test");
    refused(
        &Case::server(changed.into(), Vec::new(), root.der()).host("abc.test"),
        "certificate signed by unknown authority (possibly because of \"x509: signature verification failure\"",
    );
}

#[test]
fn work_on_one_handshake_is_bounded() {
    let root = Signer::root("root");
    let impostors = (0..101).map(|_| Signer::root("root").der()).collect();
    let mut case = Case::server(root.sign(&leaf_params()), impostors, Signer::root("another").der());
    refused(&case, "signature check attempts limit reached");
    case.sent.truncate(99);
    refused(&case, "certificate signed by unknown authority");
    // Authorities that signed each other lead round in circles.
    let (a, b) = (Signer::root("a"), Signer::root("b"));
    let (a_by_b, b_by_a) = (b.sign_key_of(&a), a.sign_key_of(&b));
    let sent = vec![a_by_b, b_by_a];
    refused(&Case::server(a.sign(&leaf_params()), sent.clone(), root.der()), "certificate signed by unknown authority");
    accepted(&Case::server(a.sign(&leaf_params()), sent, b.der()));
}

/// Go accepts these; see `docs/parity.md`.
#[test]
fn stricter_than_go() {
    // Names and constraints whose comparison is not worth code: quoted mail addresses.
    let mail = vec![GeneralSubtree::Rfc822Name("mail.test".to_owned())];
    refused(
        &constrained(mail, Vec::new(), &["web.test", "\"me\"@mail.test"]),
        "a root or intermediate certificate is not authorized to sign for this name: cannot parse rfc822Name",
    );
}

#[test]
fn damaged_certificates_are_never_trusted() {
    let root = Signer::root("root");
    let whole = root.sign(&leaf_params());
    for cut in 0..whole.len() {
        assert!(Certificate::parse(whole[..cut].to_vec().into()).is_err(), "{cut} bytes");
    }
    for at in 0..whole.len() {
        for flip in [1, 0x80, 0xff] {
            let mut damaged = whole.to_vec();
            damaged[at] ^= flip;
            let case = Case::server(damaged.into(), Vec::new(), root.der());
            assert!(case.verdict().is_err(), "byte {at}");
        }
    }
}
