//! Backends' TLS through real handshakes.

use super::*;
use crate::tls::handshake_error;
use crate::tls::server_config::{ServerTls, ServerTlsOptions};
use crate::tls::test_pki::{Authority, Pair, Seen, der, handshake};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, date_time_ymd};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn server(&self, pair: &Pair, client_ca: Option<&Authority>) -> ServerTls {
        let client_ca = client_ca.map(|ca| Some(self.write("client-ca.crt", &ca.cert())));
        ServerTls::load(ServerTlsOptions {
            cert_file: self.write("server.crt", &pair.cert),
            key_file: self.write("server.key", &pair.key),
            client_ca,
            ..ServerTlsOptions::default()
        })
        .unwrap()
    }
}

/// A handshake of loaded options with `server` under the name `host`; what the server and the client say.
async fn connect(tls: &ClientTls, host: &str, server: &ServerTls) -> (Result<Seen, String>, io::Result<Seen>) {
    let config = Arc::clone(&tls.current().unwrap().config);
    let name = tls.options().server_name_for(host).unwrap();
    let (asked, served) = handshake(config, name, server.current()).await;
    (asked.map_err(|err| handshake_error::text(&err)), served)
}

fn loaded(options: ClientTlsOptions) -> ClientTls {
    let tls = ClientTls::new(options);
    assert_eq!(tls.refresh_files(), Ok(Refreshed::Replaced));
    tls
}

#[tokio::test]
async fn names_and_addresses_are_verified() {
    let (ca, folder) = (Authority::new("ca"), Folder::new());
    let server = folder.server(&ca.server(&["backend.example", "127.0.0.1", "::1"]), None);
    let ca_file = Some(folder.write("ca.crt", &ca.cert()));
    let f = async |host: &str, server_name: Option<&str>, want: Result<Option<&str>, &str>| {
        let server_name = server_name.map(str::to_owned);
        let tls = loaded(ClientTlsOptions { ca_file: ca_file.clone(), server_name, ..ClientTlsOptions::default() });
        let (asked, served) = connect(&tls, host, &server).await;
        let got = asked.map(|_| served.unwrap().sni);
        let want = want.map(|sni| sni.map(str::to_owned));
        assert_eq!(got, want.map_err(|text| format!("tls: failed to verify certificate: x509: {text}")), "{host}");
    };
    f("backend.example", None, Ok(Some("backend.example"))).await;
    f("backend.example.", None, Ok(Some("backend.example"))).await;
    f("127.0.0.1", None, Ok(None)).await;
    f("[::1]", None, Ok(None)).await;
    f("other.example", Some("backend.example"), Ok(Some("backend.example"))).await;
    f("127.0.0.1", Some(""), Ok(None)).await;
    let names = "certificate is valid for backend.example, not other.example";
    f("other.example", None, Err(names)).await;
    f("127.0.0.2", None, Err("certificate is valid for 127.0.0.1, ::1, not 127.0.0.2")).await;
    f("backend.example", Some("other.example"), Err(names)).await;
}

#[tokio::test]
async fn trust() {
    let (ca, other, folder) = (Authority::new("ca"), Authority::new("other"), Folder::new());
    let server = folder.server(&ca.server(&["localhost"]), None);
    let f = async |options: ClientTlsOptions, want: Result<(), &str>| {
        let got = connect(&loaded(options), "localhost", &server).await.0.map(drop);
        assert_eq!(got, want.map_err(str::to_owned));
    };
    let unknown = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    let with_ca = |ca: &Authority| ClientTlsOptions {
        ca_file: Some(folder.write("ca.crt", &ca.cert())),
        ..ClientTlsOptions::default()
    };
    f(with_ca(&ca), Ok(())).await;
    f(with_ca(&other), Err(unknown)).await;
    f(ClientTlsOptions::default(), Err(unknown)).await;
    f(ClientTlsOptions { insecure_skip_verify: true, ..ClientTlsOptions::default() }, Ok(())).await;
    f(ClientTlsOptions { insecure_skip_verify: true, ..with_ca(&other) }, Ok(())).await;
}

/// Someone who copied the certificate but lacks its key.
#[tokio::test]
async fn skipped_verification_still_wants_the_key() {
    #[derive(Debug)]
    struct Stolen(Arc<CertifiedKey>);
    impl rustls::server::ResolvesServerCert for Stolen {
        fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }
    let ca = Authority::new("ca");
    let (victim, thief) = (ca.server(&["localhost"]), ca.server(&["localhost"]));
    let chain = vec![der(&victim.cert).into()];
    let key = Arc::clone(&cert_store::certified_key(thief.cert.as_bytes(), thief.key.as_bytes()).unwrap().key);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = rustls::ServerConfig::builder_with_provider(crate::tls::provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Stolen(Arc::new(CertifiedKey::new(chain.clone(), Arc::clone(&key))))));
        let tls = loaded(ClientTlsOptions { insecure_skip_verify: true, ..ClientTlsOptions::default() });
        let name = tls.options().server_name_for("localhost").unwrap();
        let config = Arc::clone(&tls.current().unwrap().config);
        let text = handshake_error::text(&handshake(config, name, Arc::new(server)).await.0.unwrap_err());
        assert!(text.contains("signature"), "{text}");
    }
}

#[tokio::test]
async fn a_self_signed_certificate_in_the_ca_file() {
    let folder = Folder::new();
    let (own, twin) = (Authority::with_names("own", &["localhost"]), Authority::with_names("own", &["localhost"]));
    let server = folder.server(&own.pair(), None);
    let with = |cert: String| {
        let ca_file = Some(folder.write("ca.crt", &cert));
        loaded(ClientTlsOptions { ca_file, ..ClientTlsOptions::default() })
    };
    assert!(connect(&with(own.cert()), "localhost", &server).await.0.is_ok());
    let wrong_name = connect(&with(own.cert()), "foo", &server).await.0.unwrap_err();
    assert!(wrong_name.ends_with("certificate is valid for localhost, not foo"), "{wrong_name}");
    assert!(connect(&with(twin.cert()), "localhost", &server).await.0.is_err());

    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let f = async |params: &CertificateParams, want: &str| {
        let pair = own.issue(params);
        let server = folder.server(&pair, None);
        let got = connect(&with(pair.cert), "localhost", &server).await.0.map(drop);
        let got = got.map_or_else(|text| text.split(": ").nth(3).unwrap_or_default().to_owned(), |()| String::new());
        assert_eq!(got, want);
    };
    f(&params, "").await;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    f(&params, "certificate specifies an incompatible key usage").await;
    params.extended_key_usages.clear();
    params.not_after = date_time_ymd(2001, 1, 1);
    f(&params, "certificate has expired or is not yet valid").await;
    params.not_after = date_time_ymd(4000, 1, 1);
    params.not_before = date_time_ymd(3000, 1, 1);
    f(&params, "certificate has expired or is not yet valid").await;
}

#[tokio::test]
async fn our_certificate_is_presented_and_replaced() {
    let (ca, folder) = (Authority::new("ca"), Folder::new());
    let server = folder.server(&ca.server(&["localhost"]), Some(&ca));
    let (first, second) = (ca.client("first"), ca.client("second"));
    let write = |pair: &Pair| (folder.write("client.crt", &pair.cert), folder.write("client.key", &pair.key));
    let (cert_file, key_file) = write(&first);
    let ca_file = Some(folder.write("ca.crt", &ca.cert()));
    let options = ClientTlsOptions { ca_file, ..ClientTlsOptions::default() };
    assert!(connect(&loaded(options.clone()), "localhost", &server).await.1.is_err());

    let tls = loaded(ClientTlsOptions { cert_file: Some(cert_file), key_file: Some(key_file), ..options });
    assert_eq!(connect(&tls, "localhost", &server).await.1.unwrap().peer.unwrap(), der(&first.cert));
    assert_eq!(tls.refresh_files(), Ok(Refreshed::Unchanged));
    assert_eq!(tls.current().unwrap().generation, 1);
    write(&second);
    assert_eq!(tls.refresh_files(), Ok(Refreshed::Replaced));
    assert_eq!(tls.current().unwrap().generation, 2);
    assert_eq!(connect(&tls, "localhost", &server).await.1.unwrap().peer.unwrap(), der(&second.cert));
}

#[tokio::test]
async fn a_new_ca_takes_effect_and_forgets_sessions() {
    let (ca, other, folder) = (Authority::new("ca"), Authority::new("other"), Folder::new());
    let server = folder.server(&ca.server(&["localhost"]), None);
    let ca_file = folder.write("ca.crt", &ca.cert());
    let tls = loaded(ClientTlsOptions { ca_file: Some(ca_file), ..ClientTlsOptions::default() });
    assert!(!connect(&tls, "localhost", &server).await.0.unwrap().resumed);
    assert!(connect(&tls, "localhost", &server).await.0.unwrap().resumed);
    // A half-written file changes nothing and is reported once.
    folder.write("ca.crt", &other.cert()[..100]);
    assert!(tls.refresh_files().unwrap_err().to_string().contains("incomplete PEM block"));
    assert_eq!(tls.refresh_files(), Ok(Refreshed::Unchanged));
    assert!(connect(&tls, "localhost", &server).await.0.unwrap().resumed);
    folder.write("ca.crt", &other.cert());
    assert_eq!(tls.refresh_files(), Ok(Refreshed::Replaced));
    assert!(connect(&tls, "localhost", &server).await.0.is_err());
    folder.write("ca.crt", &ca.cert());
    assert_eq!(tls.refresh_files(), Ok(Refreshed::Replaced));
    assert!(!connect(&tls, "localhost", &server).await.0.unwrap().resumed);
    assert_eq!(tls.current().unwrap().generation, 3);
}

#[test]
fn error_texts() {
    let folder = Folder::new();
    let pair = Authority::new("ca").client("foo");
    let (cert, key) = (folder.write("c.crt", &pair.cert), folder.write("c.key", &pair.key));
    let junk = folder.write("junk", "junk");
    let f = |ca: &str, cert: &str, key: &str, want: &str| {
        let [ca_file, cert_file, key_file] = [ca, cert, key].map(|file| Some(file.to_owned()));
        let tls = ClientTls::new(ClientTlsOptions { ca_file, cert_file, key_file, ..ClientTlsOptions::default() });
        assert!(tls.current().is_err());
        let text = tls.refresh_files().unwrap_err();
        assert_eq!(text.to_string(), format!("cannot initialize Transport: {want}"));
        assert_eq!(tls.current().unwrap_err(), text);
        assert_eq!(tls.refresh_files(), Ok(Refreshed::Unchanged), "reported twice");
    };
    let root_ca = "cannot initialize TLS config: cannot load root CAs: cannot read `ca_file`";
    f("/x", "", "", &format!("{root_ca}: cannot read \"/x\": open /x: no such file or directory"));
    f(&junk, "", "", &format!("{root_ca}: cannot parse {junk:?}: no usable certificates in the file"));
    let read = "cannot initialize TLS certificate: cannot read TLS";
    f("", "/x", &key, &format!("{read} certificate from \"/x\": open /x: no such file or directory"));
    f("", &cert, "/x", &format!("{read} key from \"/x\": open /x: no such file or directory"));
    f("", &cert, "", &format!("{read} key from \"\": open : no such file or directory"));
    f(
        "",
        &cert,
        &junk,
        &format!(
            "cannot initialize TLS certificate: cannot load TLS certificate from {cert:?} and key from {junk:?}: \
             tls: failed to find any PEM data in key input"
        ),
    );
    f(
        "http://u:secret@h/ca?t=secret",
        "",
        "",
        &format!("{root_ca}: cannot read \"http://xxxxx@h/ca?xxxxx\": URLs cannot be fetched yet"),
    );
}

#[tokio::test]
async fn files_may_be_urls() {
    let (ca, folder) = (Authority::new("ca"), Folder::new());
    let server = folder.server(&ca.server(&["localhost"]), None);
    let url = "http://user:secret@host/ca.crt";
    let tls = ClientTls::new(ClientTlsOptions { ca_file: Some(url.to_owned()), ..ClientTlsOptions::default() });
    assert!(tls.options().has_urls() && !format!("{tls:?}").contains("secret"));
    let asked = AtomicUsize::new(0);
    let fetch = |got: String| {
        assert_eq!(got, url);
        asked.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok::<_, String>(ca.cert().into_bytes()))
    };
    assert_eq!(tls.refresh(fetch).await, Ok(Refreshed::Replaced));
    assert_eq!(tls.refresh(fetch).await, Ok(Refreshed::Unchanged));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert!(connect(&tls, "localhost", &server).await.0.is_ok());
    // An unreachable host later on keeps the last CA.
    let failed = tls.refresh(|_| std::future::ready(Err::<Vec<u8>, _>("i/o timeout"))).await.unwrap_err().to_string();
    assert!(failed.ends_with("cannot read \"http://xxxxx@host/ca.crt\": i/o timeout"), "{failed}");
    assert!(connect(&tls, "localhost", &server).await.0.is_ok());
}

#[test]
fn bad_server_names() {
    let f = |host: &str, want: &str| {
        let refused = ClientTlsOptions::default().server_name_for(host).unwrap_err();
        assert_eq!(refused.to_string(), want);
    };
    f("", "tls: invalid server name \"\"");
    f("foo bar", "tls: invalid server name \"foo bar\"");
}

/// `openssl s_server` with a key that rustls could not serve; it ends with the value.
struct OpensslServer {
    process: std::process::Child,
    address: String,
}

impl OpensslServer {
    fn start(certificate: &str, options: &[&str]) -> Self {
        use std::io::BufRead;
        let file =
            |ending: &str| format!("{}/src/tls/x509/testdata/{certificate}.{ending}", env!("CARGO_MANIFEST_DIR"));
        let mut process = std::process::Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", &file("crt"), "-key", &file("key")])
            .args(["-cipher", "DEFAULT@SECLEVEL=0"])
            .args(options)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the openssl program");
        let lines = io::BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned));
        Self { process, address: address.expect("an address") }
    }

    /// A handshake with the options of a user.
    async fn handshake(&self, options: ClientTlsOptions) -> io::Result<()> {
        let tls = ClientTls::new(options);
        tls.refresh_files().unwrap();
        let name = tls.options().server_name_for("web.test").unwrap();
        let stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(tls.current().unwrap().config.clone());
        connector.connect(name, stream).await.map(drop)
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn skip_verify_takes_any_certificate() {
    let any = ClientTlsOptions { insecure_skip_verify: true, ..ClientTlsOptions::default() };
    for certificate in ["v1-leaf", "rsa1024-leaf", "rsa1536-leaf", "rsa2048-v1-leaf"] {
        for version in ["-tls1_2", "-tls1_3"] {
            let server = OpensslServer::start(certificate, &[version]);
            let result = server.handshake(any.clone()).await;
            assert!(result.is_ok(), "{certificate} {version}: {result:?}");
        }
    }
}

#[tokio::test]
async fn small_rsa_keys_of_verified_backends() {
    let ca_file = Some(format!("{}/src/tls/x509/testdata/root.crt", env!("CARGO_MANIFEST_DIR")));
    let verified = ClientTlsOptions { ca_file, ..ClientTlsOptions::default() };
    let pkcs1 = OpensslServer::start("rsa1024-leaf", &["-tls1_2", "-sigalgs", "RSA+SHA256"]);
    assert!(pkcs1.handshake(verified.clone()).await.is_ok());
    let pss = OpensslServer::start("rsa1024-leaf", &["-tls1_3"]);
    let text = handshake_error::client_text(&pss.handshake(verified).await.unwrap_err());
    assert!(text.contains("RSA key below 2048 bits"), "{text}");
}

#[tokio::test]
async fn backends_that_offer_only_cbc_suites_say_what_is_missing() {
    let any = ClientTlsOptions { insecure_skip_verify: true, ..ClientTlsOptions::default() };
    let server = OpensslServer::start("rsa2048-v1-leaf", &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"]);
    let text = handshake_error::client_text(&server.handshake(any).await.unwrap_err());
    assert!(text.starts_with("remote error: tls: handshake failure; ") && text.contains("CBC"), "{text}");
}

#[tokio::test]
async fn an_untrusted_certificate_names_its_authority_and_the_setting() {
    let (ca, other, folder) = (Authority::new("ca"), Authority::new("other"), Folder::new());
    let server = folder.server(&ca.server(&["localhost"]), None);
    let ca_file = Some(folder.write("other.crt", &other.cert()));
    let tls = ClientTls::new(ClientTlsOptions { ca_file, ..ClientTlsOptions::default() });
    tls.refresh_files().unwrap();
    let name = tls.options().server_name_for("localhost").unwrap();
    let (asked, _) = handshake(Arc::clone(&tls.current().unwrap().config), name, server.current()).await;
    assert_eq!(
        handshake_error::client_text(&asked.unwrap_err()),
        "tls: failed to verify certificate: x509: certificate signed by unknown authority; the certificate of \
         \"CN=localhost\" was signed by \"CN=ca\", which is not trusted here: put the certificate of that authority \
         into the CA file (tls_ca_file)"
    );
}
