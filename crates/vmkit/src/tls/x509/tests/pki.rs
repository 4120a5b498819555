//! Throw-away authorities of any shape, and the certificates of `testdata`.

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// A key with its certificate that signs others, whether it may or not.
pub(super) struct Signer {
    params: CertificateParams,
    key: KeyPair,
    der: CertificateDer<'static>,
}

/// Parameters with nothing but a name.
pub(super) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A server certificate for `web.test`.
pub(super) fn leaf_params() -> CertificateParams {
    let mut leaf = CertificateParams::new(vec!["web.test".to_owned()]).unwrap();
    leaf.distinguished_name = params("leaf").distinguished_name;
    leaf
}

fn authority(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    params
}

pub(super) fn extension(oid: &[u64], critical: bool, content: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
}

/// A certificate of `testdata` by its file name.
pub(super) fn fixture(name: &str) -> CertificateDer<'static> {
    let path = format!("{}/src/tls/x509/testdata/{name}.crt", env!("CARGO_MANIFEST_DIR"));
    CertificateDer::from_pem_file(&path).unwrap()
}

impl Signer {
    pub(super) fn root(name: &str) -> Self {
        Self::root_with(name, |_| {})
    }

    pub(super) fn root_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (params, key) = (authority(name, change), KeyPair::generate().unwrap());
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { params, key, der }
    }

    /// An intermediate, changed by `change`.
    pub(super) fn signer(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (params, key) = (authority(name, change), KeyPair::generate().unwrap());
        let der = params.signed_by(&key, &self.issuer()).unwrap().der().clone();
        Self { params, key, der }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        self.der.clone()
    }

    /// A certificate for a new key.
    pub(super) fn sign(&self, params: &CertificateParams) -> CertificateDer<'static> {
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer()).unwrap().der().clone()
    }

    /// Another certificate for the key and the name of `other`.
    pub(super) fn sign_key_of(&self, other: &Self) -> CertificateDer<'static> {
        other.params.signed_by(&other.key, &self.issuer()).unwrap().der().clone()
    }
}
