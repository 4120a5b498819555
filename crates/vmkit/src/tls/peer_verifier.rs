//! How rustls asks whether a peer is to be trusted: backends' certificates, and clients' under `-mtls`.
//!
//! The judgement is [`super::x509`]'s; this file fits it into rustls' traits, for both ends of a connection. With
//! `tls_insecure_skip_verify` any certificate passes. In every other case the peer must also prove that it owns the
//! key of its certificate.

use super::cert_store::Roots;
use super::x509::{Certificate, Purpose, Refusal, SignatureFault, Trust, verify, verify_handshake};
use rustls::SignatureScheme;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved};
use std::sync::Arc;

/// Accepts any certificate.
///
/// A signature that could be checked and is wrong still ends the handshake. One that cannot be checked here (small
/// RSA keys, unknown kinds of keys) passes: who accepts every key learns nothing from the proof that it is owned.
#[derive(Debug)]
pub(super) struct AcceptAny(pub(super) Arc<CryptoProvider>);

/// Trusts what the roots have signed, and the roots themselves.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    roots: Arc<Roots>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Names of authorities that clients are told to choose a certificate by.
    hints: Vec<DistinguishedName>,
}

impl PeerVerifier {
    pub(super) fn new(roots: Arc<Roots>, provider: &CryptoProvider) -> Self {
        Self { roots, algorithms: provider.signature_verification_algorithms, hints: Vec::new() }
    }

    /// Names the roots to clients that have to choose among certificates.
    pub(super) fn with_hints(mut self) -> Self {
        self.hints = self.roots.subjects().map(|name| name.to_vec().into()).collect();
        self
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        purpose: Purpose,
        host: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let leaf = Certificate::parse(leaf.clone().into_owned()).map_err(|_| Refusal::Malformed)?;
        let trust = Trust { roots: self.roots.certificates(), algorithms: &self.algorithms };
        verify(trust, &leaf, sent, purpose, host, now)
    }
}

fn signature(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    is_tls13: bool,
) -> Result<(), SignatureFault> {
    let certificate = Certificate::parse(certificate.clone().into_owned()).map_err(|_| SignatureFault::Unsupported)?;
    verify_handshake(algorithms, &certificate, signed.scheme, message, signed.signature(), is_tls13)
}

fn signature_error(fault: SignatureFault) -> Error {
    match fault {
        SignatureFault::Invalid => CertificateError::BadSignature.into(),
        SignatureFault::Insecure => other(Refusal::InsecureAlgorithm),
        SignatureFault::Unsupported => PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into(),
        SignatureFault::SmallKey => other(Refusal::SmallRsaKey),
    }
}

fn other(refusal: Refusal) -> Error {
    CertificateError::Other(OtherError(Arc::new(refusal))).into()
}

/// The text keeps its details; the alert is always `certificate_unknown`.
fn server_error(refusal: Refusal) -> Error {
    other(refusal)
}

/// The alert tells the client what to look for, as the original's does.
fn client_error(refusal: Refusal) -> Error {
    match refusal {
        Refusal::UnknownAuthority { .. } => CertificateError::UnknownIssuer.into(),
        Refusal::Expired { .. } => CertificateError::Expired.into(),
        Refusal::Malformed => CertificateError::BadEncoding.into(),
        Refusal::WrongPurpose => CertificateError::InvalidPurpose.into(),
        refusal => other(refusal),
    }
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check(message, cert, dss, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check(message, cert, dss, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl AcceptAny {
    fn check(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        is_tls13: bool,
    ) -> Result<HandshakeSignatureValid, Error> {
        match signature(&self.0.signature_verification_algorithms, message, certificate, signed, is_tls13) {
            Err(fault @ SignatureFault::Invalid) => Err(signature_error(fault)),
            _ => Ok(HandshakeSignatureValid::assertion()),
        }
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates, Purpose::Server, Some(server_name), now).map_err(server_error)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature(&self.algorithms, message, cert, dss, false).map_err(signature_error)?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature(&self.algorithms, message, cert, dss, true).map_err(signature_error)?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates, Purpose::Client, None, now).map_err(client_error)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
