//! Throw-away certificates and handshakes for the tests of this tree.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    key: String,
}

/// A certificate with its key, both as PEM.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

fn params(name: &str, alt_names: &[&str]) -> CertificateParams {
    let names: Vec<String> = alt_names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self::with_names(name, &[])
    }

    /// Also a self-signed server certificate that calls itself an authority, as `openssl req -x509` makes them.
    pub(crate) fn with_names(name: &str, alt_names: &[&str]) -> Self {
        let mut params = params(name, alt_names);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let key_pem = key.serialize_pem();
        Self { issuer: Issuer::new(params, key), pem, key: key_pem }
    }

    pub(crate) fn cert(&self) -> String {
        self.pem.clone()
    }

    pub(crate) fn pair(&self) -> Pair {
        Pair { cert: self.pem.clone(), key: self.key.clone() }
    }

    pub(crate) fn issue(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    pub(crate) fn server(&self, alt_names: &[&str]) -> Pair {
        let mut params = params(alt_names.first().copied().unwrap_or("server"), alt_names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params)
    }

    pub(crate) fn client(&self, name: &str) -> Pair {
        let mut params = params(name, &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params)
    }
}

/// What one side saw: the first certificate of its peer and whether the session was resumed.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) peer: Option<Vec<u8>>,
    pub(crate) resumed: bool,
    pub(crate) cipher_suite: rustls::CipherSuite,
    pub(crate) sni: Option<String>,
}

macro_rules! seen {
    ($connection:expr, $sni:expr) => {
        Seen {
            peer: $connection.peer_certificates().and_then(|chain| chain.first()).map(|cert| cert.to_vec()),
            resumed: $connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            cipher_suite: $connection.negotiated_cipher_suite().unwrap().suite(),
            sni: $sni,
        }
    };
}

/// A handshake and one byte each way over a pipe; the results of client and server.
pub(crate) async fn handshake(
    client: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
    server: Arc<rustls::ServerConfig>,
) -> (io::Result<Seen>, io::Result<Seen>) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let serve = async {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        stream.read_u8().await?;
        stream.write_u8(2).await?;
        stream.flush().await?;
        let connection = stream.get_ref().1;
        Ok(seen!(connection, connection.server_name().map(str::to_owned)))
    };
    let ask = async {
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        stream.write_u8(1).await?;
        stream.flush().await?;
        stream.read_u8().await?;
        Ok(seen!(stream.get_ref().1, None))
    };
    tokio::join!(ask, serve)
}

/// The first certificate of a PEM text.
pub(crate) fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}
