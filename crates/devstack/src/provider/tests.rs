#![allow(clippy::unwrap_used, reason = "a failed step ends the test")]

use testkit::Client as HttpClient;

use super::*;
use crate::embedded::{Embedded, Reserved};
use crate::tenant::Tenant;
use vmkit::secret::Secret;

struct Rig {
    provider: Arc<Provider>,
    server: Embedded,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    fn new() -> Self {
        let reserved = Reserved::take("127.0.0.1:0", "providerAddr").unwrap();
        let tenant = Tenant { account: 1, project: 2 };
        let client = Client { id: "vmagent".to_owned(), secret: Secret::from("a:b"), tenant, claim: ClaimForm::Object };
        let provider = Provider::new(&reserved.url(), Duration::from_secs(15), vec![client]).unwrap();
        let mut server = Embedded::new(reserved, provider.route());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { server.up().unwrap() });
        Self { provider, server, runtime }
    }

    fn get(&self, path: &str) -> Value {
        let reply = HttpClient::connect(self.server.address()).get(&format!("{REALM}{path}"), &[]).expect(200);
        serde_json::from_slice(&reply.body).unwrap()
    }

    fn ask(&self, headers: &[&str], form: &str) -> (u16, Value) {
        let mut client = HttpClient::connect(self.server.address());
        let path = format!("{REALM}/protocol/openid-connect/token");
        client.request("POST", &path, headers, Some(form.as_bytes()));
        let reply = client.reply();
        (reply.status, serde_json::from_slice(&reply.body).unwrap())
    }
}

fn part(token: &str, index: usize) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn tokens_are_given_for_credentials_in_either_place() {
    let rig = Rig::new();
    let grant = "grant_type=client_credentials&scope=openid";
    let (status, by_header) = rig.ask(&["Authorization: Basic dm1hZ2VudDphJTNBYg=="], grant);
    assert_eq!((status, by_header["expires_in"].as_u64(), &by_header["token_type"]), (200, Some(15), &json!("Bearer")));
    let (status, _) = rig.ask(&[], &format!("{grant}&client_id=vmagent&client_secret=a%3Ab"));
    assert_eq!(status, 200);
    let token = by_header["access_token"].as_str().unwrap();
    let (header, claims) = (part(token, 0), part(token, 1));
    assert_eq!((&header["alg"], &header["kid"]), (&json!("RS256"), &json!(rig.provider.figures().key_id)));
    assert_eq!(claims["iss"], rig.provider.issuer());
    assert_eq!(claims["vm_access"], json!({"metrics_account_id": 1, "metrics_project_id": 2}));
    assert_eq!(claims["exp"].as_u64(), claims["iat"].as_u64().map(|at| at + 15));
    for (headers, form, want, status) in [
        (&["Authorization: Basic dm1hZ2VudDp4"][..], grant, "unauthorized_client", 401),
        (&[], grant, "unauthorized_client", 401),
        (&[], "client_id=vmagent&client_secret=a:b&grant_type=password", "unsupported_grant_type", 400),
    ] {
        let (got, refusal) = rig.ask(headers, form);
        assert_eq!((got, &refusal["error"]), (status, &json!(want)));
    }
    let figures = rig.provider.figures();
    assert_eq!((figures.granted, figures.refused), (2, 3));
    let by_header: Vec<_> = rig.provider.token_requests().iter().map(|request| request.by_header).collect();
    assert_eq!(by_header, [true, false, true, false, false]);
}

#[test]
fn keys_rotate_with_and_without_overlap() {
    let rig = Rig::new();
    let keys = || {
        let set = rig.get("/protocol/openid-connect/certs");
        let of = |key: &Value| (key["use"].as_str().unwrap().to_owned(), key["kid"].as_str().unwrap().to_owned());
        set["keys"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    let first = keys();
    assert_eq!(first.iter().map(|(usage, _)| usage.as_str()).collect::<Vec<_>>(), ["enc", "sig"]);
    rig.provider.rotate(true).unwrap();
    let second = keys();
    assert_eq!((second.len(), &second[2]), (3, &first[1]));
    rig.provider.rotate(false).unwrap();
    let third = keys();
    assert_eq!(third.len(), 2);
    assert!(!second.contains(&third[1]) && third[1].1 == rig.provider.figures().key_id);
    (0..MAX_KEYS + 1).for_each(|_| rig.provider.rotate(true).unwrap());
    assert_eq!(keys().len(), MAX_KEYS + 1);
}

#[test]
fn a_provider_that_hangs_takes_connections_and_answers_when_it_goes_on() {
    let mut rig = Rig::new();
    rig.provider.hang(true);
    let mut client = HttpClient::connect(rig.server.address());
    client.request("GET", &format!("{REALM}/.well-known/openid-configuration"), &[], None);
    assert!(!client.is_readable(Duration::from_millis(50)));
    rig.provider.hang(false);
    let configuration: Value = serde_json::from_slice(&client.reply().expect(200).body).unwrap();
    assert_eq!(configuration["issuer"], rig.provider.issuer());
    rig.provider.hang(true);
    client.request("GET", &format!("{REALM}/.well-known/openid-configuration"), &[], None);
    rig.runtime.block_on(rig.server.down());
    client.expect_closed();
}
