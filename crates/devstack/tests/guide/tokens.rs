//! Which tokens open which tenant, and which open nothing; the guide's check by hand.

use serde_json::{Value, json};
use testkit::{Client, Metrics};

use crate::rig::Rig;

const WRITE: &str = "/insert/api/v1/write";

fn header(rig: &Rig, claims: &Value) -> String {
    format!("Authorization: Bearer {}", rig.stack.provider.token_with(claims, false).unwrap())
}

/// A system that sends nothing by itself, whose proxy has its keys.
fn quiet() -> Rig {
    let rig = Rig::start(|options| {
        options.faults = vec![devstack::fault::Fault::AgentDown];
        options.setup.token_lifetime = std::time::Duration::from_secs(600);
    });
    rig.wait("the proxy listens", |rig| rig.proxy_metrics().ok_or("not yet"));
    rig
}

#[test]
fn the_claim_names_the_tenant() {
    let rig = quiet();
    let f = |access: Value, want: &str| {
        let (status, text) = rig.ask_proxy(WRITE, &[&header(&rig, &json!({"vm_access": access}))]);
        assert_eq!(status, 204, "{access}: {text}\n{}", rig.logs());
        let path = rig.stack.store.writes().pop().unwrap().path;
        assert_eq!(path, format!("/insert/{want}/prometheus/api/v1/write"), "{access}");
    };
    f(json!({}), "0:0");
    f(json!({"metrics_account_id": 3}), "3:0");
    f(json!({"metrics_project_id": 2}), "0:2");
    f(json!({"metrics_account_id": 1, "metrics_project_id": 2}), "1:2");
    f(json!("{\"metrics_account_id\": 5, \"metrics_project_id\": 6}"), "5:6");
    f(json!({"metrics_account_id": 4294967295_u32}), "4294967295:0");
    // The scheme is no matter of case.
    let lower = header(&rig, &json!({"vm_access": {}})).replace("Bearer", "bearer");
    assert_eq!(rig.ask_proxy(WRITE, &[&lower]).0, 204);
    // Args of the client stay.
    let (status, _) = rig.ask_proxy(&format!("{WRITE}?extra_label=a=b"), &[&lower]);
    assert_eq!(status, 204);
    let (status, text) = rig.ask_proxy("/foo", &[&lower]);
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("missing route for \"/foo\""), "{text}");
}

#[test]
fn what_is_no_token_of_the_provider_is_refused_and_reaches_no_store() {
    let rig = quiet();
    let issuer = rig.stack.provider.issuer().to_owned();
    let access = |access: Value| header(&rig, &json!({"vm_access": access}));
    let with = |name: &str, value: Value| {
        let mut claims = json!({"vm_access": {}});
        claims[name] = value;
        header(&rig, &claims)
    };
    let good = access(json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let turned: String = signature.chars().rev().collect();
    let by_encryption_key = rig.stack.provider.token_with(&json!({"vm_access": {}}), true).unwrap();
    let cases = [
        header(&rig, &json!({})),
        access(json!(null)),
        access(json!("no JSON")),
        access(json!("")),
        access(json!([1])),
        access(json!({"metrics_account_id": "1"})),
        access(json!({"metrics_account_id": -1})),
        access(json!({"metrics_account_id": 4294967296_u64})),
        with("exp", json!(1)),
        with("exp", json!(null)),
        with("iss", json!("http://other/realms/master")),
        with("iss", json!(format!("{issuer}/"))),
        with("iss", json!(null)),
        format!("{signed}.{turned}"),
        format!("Authorization: Bearer {by_encryption_key}"),
        "Authorization: Bearer garbage".to_owned(),
        "Authorization: Basic dTpw".to_owned(),
    ];
    // All at once, because each is answered late on purpose.
    let mut clients: Vec<_> = cases.iter().map(|_| Client::connect(rig.stack.addresses.proxy)).collect();
    for (client, case) in clients.iter_mut().zip(&cases) {
        client.request("GET", WRITE, &[case], None);
    }
    for (client, case) in clients.iter_mut().zip(&cases) {
        let reply = client.reply();
        assert_eq!((reply.status, reply.text().as_str()), (401, "Unauthorized"), "{case}");
    }
    let reply = Client::connect(rig.stack.addresses.proxy).get(WRITE, &[]).expect(401);
    assert_eq!(reply.text(), "missing 'Authorization' request header");
    assert_eq!(reply.fields.get("WWW-Authenticate"), Some("Basic realm=\"Restricted\""));
    assert_eq!(rig.stack.store.writes(), []);
    let metrics = Metrics::fresh(rig.stack.addresses.proxy);
    let refused = metrics.value("vmauth_http_request_errors_total{reason=\"invalid_auth_token\"}");
    assert_eq!(refused, Some(cases.len() as f64));
    assert_eq!(metrics.value("vmauth_invalid_auth_tokens_total{cause=\"expired\"}"), Some(2.0), "one without an end");
}

#[test]
fn the_check_by_hand_answers_204() {
    let rig = quiet();
    let mut client = Client::connect(rig.stack.addresses.provider);
    let secret = "s3cret%2Bof+the%2Fagent";
    let form = format!("client_id=vmagent&client_secret={secret}&grant_type=client_credentials");
    client.request("POST", "/realms/master/protocol/openid-connect/token", &[], Some(form.as_bytes()));
    let reply: Value = serde_json::from_slice(&client.reply().expect(200).body).unwrap();
    let token = reply["access_token"].as_str().unwrap();
    assert_eq!(rig.ask_proxy(WRITE, &[&format!("Authorization: Bearer {token}")]).0, 204, "{}", rig.logs());
}
