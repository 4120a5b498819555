//! Listeners' TLS through real handshakes.

use super::*;
use crate::tls::test_pki::{Authority, Pair, Seen, der, handshake};
use rustls::pki_types::ServerName;
use rustls::{CipherSuite, ClientConfig};
use std::io;
use std::path::PathBuf;

/// A folder with `server.crt`, `server.key` and `ca.crt`.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new(pair: &Pair) -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap() };
        files.write_pair(pair);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn write_pair(&self, pair: &Pair) {
        self.write("server.crt", &pair.cert);
        self.write("server.key", &pair.key);
    }

    fn options(&self) -> ServerTlsOptions {
        ServerTlsOptions {
            cert_file: self.path("server.crt").display().to_string(),
            key_file: self.path("server.key").display().to_string(),
            ..ServerTlsOptions::default()
        }
    }

    fn mtls_options(&self) -> ServerTlsOptions {
        ServerTlsOptions { client_ca: Some(Some(self.path("ca.crt").display().to_string())), ..self.options() }
    }
}

fn roots(ca: &Authority) -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der(&ca.cert()).into()).unwrap();
    roots
}

fn client(ca: &Authority, identity: Option<&Pair>) -> Arc<ClientConfig> {
    Arc::new(client_config(ca, identity, rustls::DEFAULT_VERSIONS))
}

fn client_config(
    ca: &Authority,
    identity: Option<&Pair>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(crate::tls::provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots(ca));
    match identity {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let pair = cert_store::certified_key(pair.cert.as_bytes(), pair.key.as_bytes()).unwrap();
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)))
        }
    }
}

async fn connect(client: &Arc<ClientConfig>, server: &ServerTls) -> (io::Result<Seen>, io::Result<Seen>) {
    handshake(Arc::clone(client), ServerName::try_from("localhost").unwrap(), server.current()).await
}

#[tokio::test]
async fn a_new_certificate_is_shown_even_to_resuming_clients() {
    let ca = Authority::new("ca");
    let (first, second) = (ca.server(&["localhost"]), ca.server(&["localhost"]));
    let files = Files::new(&first);
    let server = ServerTls::load(files.options()).unwrap();
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        files.write_pair(&first);
        server.refresh().unwrap();
        let client = Arc::new(client_config(&ca, None, versions));
        let seen = connect(&client, &server).await.0.unwrap();
        assert_eq!((seen.peer.unwrap(), seen.resumed), (der(&first.cert), false));
        let seen = connect(&client, &server).await.0.unwrap();
        assert_eq!((seen.peer.unwrap(), seen.resumed), (der(&first.cert), true));

        files.write_pair(&second);
        assert_eq!(server.refresh(), Ok(Refreshed::Replaced));
        let seen = connect(&client, &server).await.0.unwrap();
        assert_eq!((seen.peer.unwrap(), seen.resumed), (der(&second.cert), false));
    }
}

#[tokio::test]
async fn unusable_files_keep_the_last_certificate_and_are_reported_once() {
    let ca = Authority::new("ca");
    let (first, second) = (ca.server(&["localhost"]), ca.server(&["localhost"]));
    let files = Files::new(&first);
    let server = ServerTls::load(files.options()).unwrap();
    assert_eq!(server.refresh(), Ok(Refreshed::Unchanged));
    let client = client(&ca, None);
    let report = |want: &str| {
        let text = server.refresh().unwrap_err().to_string();
        assert!(text.ends_with(want), "{text:?} does not end with {want:?}");
        assert_eq!(server.refresh(), Ok(Refreshed::Unchanged), "reported twice");
    };

    files.write("server.crt", &second.cert[..second.cert.len() / 2]);
    report("cannot load TLS certificate and key files: tls: incomplete PEM block in certificate input");
    files.write("server.crt", &second.cert);
    report("cannot load TLS certificate and key files: tls: private key does not match public key");
    std::fs::remove_file(files.path("server.key")).unwrap();
    report(": no such file or directory");
    assert_eq!(connect(&client, &server).await.0.unwrap().peer.unwrap(), der(&first.cert));

    files.write("server.key", &second.key);
    assert_eq!(server.refresh(), Ok(Refreshed::Replaced));
    assert_eq!(connect(&client, &server).await.0.unwrap().peer.unwrap(), der(&second.cert));
    std::fs::remove_file(files.path("server.key")).unwrap();
    report(": no such file or directory");
}

#[tokio::test]
async fn mtls_wants_a_certificate_of_the_ca() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let files = Files::new(&ca.server(&["localhost"]));
    files.write("ca.crt", &ca.cert());
    let server = ServerTls::load(files.mtls_options()).unwrap();
    let alice = ca.client("alice");

    let good = client(&ca, Some(&alice));
    for _ in 0..2 {
        let (_, seen) = connect(&good, &server).await;
        let seen = seen.unwrap();
        assert_eq!((seen.peer.unwrap(), seen.resumed), (der(&alice.cert), false), "each time in full");
    }
    let refused = async |client: Arc<ClientConfig>, want: &str| {
        let (asked, served) = connect(&client, &server).await;
        assert_eq!(super::super::handshake_error::text(&served.unwrap_err()), want);
        assert!(asked.is_err());
    };
    refused(client(&ca, None), "tls: client didn't provide a certificate").await;
    refused(
        client(&ca, Some(&other.client("mallory"))),
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    )
    .await;
    refused(
        client(&ca, Some(&ca.server(&["foo"]))),
        "tls: failed to verify certificate: x509: certificate specifies an incompatible key usage",
    )
    .await;

    // A new CA takes the old clients' access away.
    files.write("ca.crt", &other.cert());
    assert_eq!(server.refresh(), Ok(Refreshed::Replaced));
    assert!(connect(&good, &server).await.1.is_err());
    assert!(connect(&client(&ca, Some(&other.client("bob"))), &server).await.1.is_ok());
    // A cut one does not open the door.
    files.write("ca.crt", &ca.cert()[..100]);
    assert!(server.refresh().unwrap_err().to_string().contains("-mtlsCAFile="));
    assert!(connect(&good, &server).await.1.is_err());
}

#[tokio::test]
async fn versions_and_cipher_suites() {
    let ca = Authority::new("ca");
    let files = Files::new(&ca.server(&["localhost"]));
    let suite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".to_owned();
    let limited = ServerTlsOptions { cipher_suites: vec![suite], ..files.options() };
    let strict = ServerTlsOptions { min_version: "tls13".to_owned(), ..files.options() };
    let old = ServerTlsOptions { min_version: "TLS10".to_owned(), ..files.options() };
    let (tls12, tls13): (&[_], &[_]) = (&[&rustls::version::TLS12], &[&rustls::version::TLS13]);
    let negotiate = async |options: &ServerTlsOptions, versions: &[_], only: Option<CipherSuite>| {
        let mut config = client_config(&ca, None, versions);
        if let Some(only) = only {
            let mut provider = rustls::crypto::aws_lc_rs::default_provider();
            provider.cipher_suites.retain(|suite| suite.suite() == only);
            config = ClientConfig::builder_with_provider(Arc::new(provider))
                .with_protocol_versions(versions)
                .unwrap()
                .with_root_certificates(roots(&ca))
                .with_no_client_auth();
        }
        let server = ServerTls::load(options.clone()).unwrap();
        connect(&Arc::new(config), &server).await.0.map(|seen| seen.cipher_suite).ok()
    };
    let listed = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    assert_eq!(negotiate(&limited, tls12, None).await, Some(listed));
    assert_eq!(negotiate(&limited, tls12, Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)).await, None);
    assert_eq!(
        negotiate(&files.options(), tls12, Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)).await,
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)
    );
    assert!(negotiate(&limited, tls13, None).await.is_some());
    assert!(negotiate(&strict, tls13, None).await.is_some());
    assert_eq!(negotiate(&strict, tls12, None).await, None);
    assert!(negotiate(&old, tls12, None).await.is_some());
}

#[test]
fn fatal_texts() {
    let ca = Authority::new("ca");
    let (pair, other) = (ca.server(&["localhost"]), ca.server(&["localhost"]));
    let files = Files::new(&pair);
    files.write("other.key", &other.key);
    let (cert, key) = (files.options().cert_file, files.options().key_file);
    let f = |change: &dyn Fn(&mut ServerTlsOptions), flags: &str, cause: &str| {
        let mut options = files.options();
        change(&mut options);
        let text = ServerTls::load(options).unwrap_err().to_string();
        assert_eq!(text, format!("cannot load TLS cert from {flags}: {cause}"));
    };
    f(
        &|options| (options.cert_file, options.key_file) = Default::default(),
        "-tlsCertFile=\"\", -tlsKeyFile=\"\", -tlsMinVersion=\"\", -tlsCipherSuites=\"[]\"",
        "cannot load TLS certificate and key files: open : no such file or directory",
    );
    f(
        &|options| options.key_file = files.path("other.key").display().to_string(),
        &format!(
            "-tlsCertFile={cert:?}, -tlsKeyFile={:?}, -tlsMinVersion=\"\", -tlsCipherSuites=\"[]\"",
            files.path("other.key")
        ),
        "cannot load TLS certificate and key files: tls: private key does not match public key",
    );
    f(
        &|options| options.min_version = "TLS9".to_owned(),
        &format!("-tlsCertFile={cert:?}, -tlsKeyFile={key:?}, -tlsMinVersion=\"TLS9\", -tlsCipherSuites=\"[]\""),
        "cannot use TLS min version from tlsMinVersion=\"TLS9\". Supported TLS versions (TLS10, TLS11, TLS12, TLS13): \
         unsupported TLS version \"TLS9\"",
    );
    f(
        &|options| options.cipher_suites = vec!["FOO".to_owned(), "BAR".to_owned()],
        &format!("-tlsCertFile={cert:?}, -tlsKeyFile={key:?}, -tlsMinVersion=\"\", -tlsCipherSuites=\"[FOO BAR]\""),
        "cannot use TLS cipher suites from tlsCipherSuites=[\"FOO\" \"BAR\"]: unsupported TLS cipher suite name: FOO",
    );
    f(
        &|options| options.client_ca = Some(Some("/no/such/ca".to_owned())),
        &format!("-tlsCertFile={cert:?}, -tlsKeyFile={key:?}, -tlsMinVersion=\"\", -tlsCipherSuites=\"[]\""),
        "cannot load client CA from -mtlsCAFile=\"/no/such/ca\": open /no/such/ca: no such file or directory",
    );
}

#[test]
fn suites_that_do_not_exist_here_are_named() {
    let files = Files::new(&Authority::new("ca").server(&["localhost"]));
    let suites = vec!["0xc013".to_owned()];
    let server = ServerTls::load(ServerTlsOptions { cipher_suites: suites, ..files.options() }).unwrap();
    assert_eq!(server.unavailable_cipher_suites(), ["TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"]);
}

fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!("{}/src/tls/x509/testdata/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn fixture_pair(name: &str) -> Pair {
    Pair { cert: fixture(&format!("{name}.crt")), key: fixture(&format!("{name}.key")) }
}

/// A client that takes any server and shows `identity`.
fn trusting_client(identity: &Pair) -> Arc<ClientConfig> {
    let provider = crate::tls::provider();
    let pair = cert_store::certified_key(identity.cert.as_bytes(), identity.key.as_bytes()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let verifier = Arc::new(crate::tls::peer_verifier::AcceptAny(provider));
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Arc::new(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair))))
}

#[tokio::test]
async fn mtls_takes_self_signed_and_old_certificates_of_its_ca_file() {
    let files = Files::new(&Authority::new("ca").server(&["localhost"]));
    let f = async |ca: &str, client: &Pair, want: bool| {
        files.write("ca.crt", ca);
        let server = ServerTls::load(files.mtls_options()).unwrap();
        assert_eq!(connect(&trusting_client(client), &server).await.1.is_ok(), want);
    };
    // `openssl req -x509` marks what it makes as an authority.
    let own = Authority::new("alice").pair();
    f(&own.cert, &own, true).await;
    f(&Authority::new("alice").cert(), &own, false).await;
    for old in ["v1-leaf", "rsa2048-v1-leaf"] {
        f(&fixture("root.crt"), &fixture_pair(old), true).await;
        f(&fixture(&format!("{old}.crt")), &fixture_pair(old), true).await;
        f(&fixture("rsa-root.crt"), &fixture_pair(old), false).await;
    }
}

#[tokio::test]
async fn a_listeners_own_certificate_is_not_judged() {
    for name in ["v1-leaf", "rsa2048-v1-leaf"] {
        let pair = fixture_pair(name);
        let server = ServerTls::load(Files::new(&pair).options()).unwrap();
        let seen = connect(&trusting_client(&pair), &server).await.0.unwrap();
        assert_eq!(seen.peer.unwrap(), der(&pair.cert));
    }
    let ca = Authority::new("ca");
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let mut policies = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    policies.set_criticality(true);
    params.custom_extensions = vec![policies];
    let pair = ca.issue(&params);
    let server = ServerTls::load(Files::new(&pair).options()).unwrap();
    assert!(connect(&trusting_client(&pair), &server).await.0.is_ok());
}

#[test]
fn pairs_that_cannot_be_used_say_why() {
    let good = fixture_pair("v1-leaf");
    let f = |cert: &str, key: &str, want: &str| {
        let pair = Pair { cert: cert.to_owned(), key: key.to_owned() };
        let text = ServerTls::load(Files::new(&pair).options()).unwrap_err().to_string();
        assert!(text.contains(want), "{text}");
    };
    f(&good.key, &good.cert, "PEM inputs may have been switched");
    f(&good.cert, &good.cert, "found a certificate rather than a key");
    f(&good.cert, &fixture("encrypted.key"), "the key is encrypted; decrypt it, for example with `openssl pkey");
    let old = format!(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAAAA\n-----END {}",
        "RSA PRIVATE KEY-----"
    );
    f(&good.cert, &old, "the key is encrypted");
    let small = fixture_pair("rsa1024-leaf");
    f(&small.cert, &small.key, "the RSA key has 1024 bits, at least 2048 are needed; create a new key");
    f(&good.cert, &small.key, "private key");
}

#[test]
fn keys_in_the_block_of_another_encoding_are_read() {
    let pair = fixture_pair("rsa2048-v1-leaf");
    let (key, relabelled) = (&pair.key, pair.key.replace("RSA PRIVATE KEY", "PRIVATE KEY"));
    assert_ne!(*key, relabelled);
    assert!(ServerTls::load(Files::new(&Pair { cert: pair.cert.clone(), key: relabelled }).options()).is_ok());
}

/// Handshake of a client that asks for `name` and offers `alpn`, with what the listener takes it for.
async fn accept(
    server: &ServerTls,
    mut client: ClientConfig,
    name: &str,
    alpn: &[&[u8]],
) -> (io::Result<Vec<u8>>, bool) {
    client.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let (near, far) = tokio::io::duplex(64 << 10);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let (client, server) = tokio::join!(connector.connect(name, near), server.accept(far));
    let shown = client.map(|stream| stream.get_ref().1.peer_certificates().unwrap()[0].to_vec());
    (shown, matches!(server, Ok(None)))
}

#[tokio::test]
async fn issued_certificates_are_chosen_by_name_and_go_before_the_file() {
    let ca = Authority::new("ca");
    let (file, one, two) = (ca.server(&["localhost"]), ca.server(&["one.example"]), ca.server(&["two.example"]));
    let hosts = vec!["one.example".to_owned(), "two.example".to_owned()];
    let issued = Arc::new(IssuedCertificates::new(hosts).unwrap());
    let files = Files::new(&file);
    let with_file = ServerTls::load_with(files.options(), Some(issued.clone())).unwrap();
    let without = ServerTls::load_with(ServerTlsOptions::default(), Some(issued.clone())).unwrap();
    let config = || client_config(&ca, None, rustls::DEFAULT_VERSIONS);
    assert!(accept(&without, config(), "one.example", &[]).await.0.is_err(), "nothing to show yet");
    for (host, pair) in [("one.example", &one), ("two.example", &two)] {
        let pem = format!("{}{}", pair.key, pair.cert);
        issued.put(host, crate::tls::issued::IssuedCertificate::parse(host, pem.as_bytes()).unwrap());
    }
    for server in [&with_file, &without] {
        assert_eq!(server.refresh(), Ok(Refreshed::Replaced));
        assert_eq!(server.refresh(), Ok(Refreshed::Unchanged));
        assert_eq!(accept(server, config(), "ONE.example", &[b"http/1.1"]).await.0.unwrap(), der(&one.cert));
        assert_eq!(accept(server, config(), "two.example", &[]).await.0.unwrap(), der(&two.cert));
    }
    assert_eq!(accept(&with_file, config(), "localhost", &[]).await.0.unwrap(), der(&file.cert));
    assert!(accept(&without, config(), "localhost", &[]).await.0.is_err(), "a name that is none of the hosts");
    let served = |server: &ServerTls| server.served().into_iter().map(|served| served.name).collect::<Vec<_>>();
    assert_eq!(served(&without), ["one.example", "two.example"]);
    assert_eq!(served(&with_file), [files.options().cert_file.as_str(), "one.example", "two.example"]);
    assert!(with_file.served().iter().all(|served| served.facts.not_after > 1_700_000_000));
}

#[tokio::test]
async fn a_validation_server_sees_its_answer_even_where_clients_need_certificates() {
    let ca = Authority::new("ca");
    let answer = ca.server(&["one.example"]);
    let files = Files::new(&ca.server(&["localhost"]));
    files.write("ca.crt", &ca.cert());
    let issued = Arc::new(IssuedCertificates::new(vec!["one.example".to_owned()]).unwrap());
    let server = ServerTls::load_with(files.mtls_options(), Some(issued.clone())).unwrap();
    let config = || client_config(&ca, None, rustls::DEFAULT_VERSIONS);
    let alpn: &[&[u8]] = &[b"acme-tls/1"];
    assert!(accept(&server, config(), "one.example", alpn).await.0.is_err(), "nobody is being validated");
    let key = {
        use rustls::pki_types::pem::PemObject;
        rustls::pki_types::PrivateKeyDer::from_pem_slice(answer.key.as_bytes()).unwrap()
    };
    issued.put_answer("one.example", der(&answer.cert).into(), key).unwrap();
    let (shown, is_validation) = accept(&server, config(), "one.example", alpn).await;
    assert_eq!(shown.unwrap(), der(&answer.cert));
    assert!(is_validation, "no request is served there");
    assert!(accept(&server, config(), "localhost", alpn).await.0.is_err());
    // With another protocol beside it, it is a client as any other, and this one needs a certificate.
    assert!(!accept(&server, config(), "one.example", &[b"acme-tls/1", b"http/1.1"]).await.1);
    issued.remove_answer("one.example");
    assert!(accept(&server, config(), "one.example", alpn).await.0.is_err());
}
