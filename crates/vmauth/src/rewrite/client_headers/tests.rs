use super::*;
use crate::rewrite::header_rules::HeaderRule;
use jwt::VmAccess;

const USUAL: ForwardContext<'_> =
    ForwardContext { client_ip: "127.0.0.1", remove_xff: false, placeholders: None, request_id: None };

fn rules(headers: &[(&str, &str)], keep_original_host: bool) -> HeaderRules {
    let rule = |(name, value): &(&str, &str)| HeaderRule::parse(&format!("{name}: {value}")).unwrap();
    HeaderRules::new(&headers.iter().map(rule).collect::<Vec<_>>(), keep_original_host)
}

fn head(lines: &str) -> RequestHead {
    let mut head = RequestHead::default();
    let lines: String = lines.split('|').filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect();
    head.parse(format!("GET / HTTP/1.1\r\nHost: front:81\r\n{lines}\r\n").as_bytes()).unwrap();
    head
}

fn write(client: &str, rules: &HeaderRules, context: &ForwardContext<'_>) -> Result<String, PlaceholderError> {
    let (head, mut room, mut out) = (head(client), Vec::new(), Vec::new());
    let host = authority(&head, rules, "b1:80", context.placeholders, &mut room)?;
    let mut fields = HeaderWriter::Http1(&mut out);
    fields.line(b"Host", host);
    write_request_headers(&mut fields, &head, rules, context)?;
    Ok(String::from_utf8(out).unwrap().replace("\r\n", "|"))
}

/// Lines besides `Host`, `User-Agent` and `X-Forwarded-For` of a usual request.
fn others(client: &str, headers: &[(&str, &str)]) -> String {
    let text = write(client, &rules(headers, false), &USUAL).unwrap();
    let is_usual = |line: &str| {
        line.is_empty() || line == "Host: b1:80" || line == "User-Agent: vmauth" || line == "X-Forwarded-For: 127.0.0.1"
    };
    text.split('|').filter(|line| !is_usual(line)).collect::<Vec<_>>().join("|")
}

#[test]
fn plain_request() {
    let f = |client: &str, want: &str| assert_eq!(write(client, &rules(&[], false), &USUAL).unwrap(), want, "{client}");
    f("", "Host: b1:80|User-Agent: vmauth|X-Forwarded-For: 127.0.0.1|");
    f("user-agent: curl|X-a: 1|x-A: 2", "Host: b1:80|User-Agent: vmauth|X-a: 1|x-A: 2|X-Forwarded-For: 127.0.0.1|");
}

#[test]
fn configured_headers() {
    let list =
        [("TenantID", "foobar"), ("X-Secret", ""), ("X-Spaces", "   a  b  "), ("x-lower", "z"), ("X-Colon", "a:b:c")];
    let added = "TenantID: foobar|X-Spaces: a  b|x-lower: z|X-Colon: a:b:c";
    let f = |client: &str, want: &str| {
        let got = others(client, &list);
        assert_eq!(got.strip_prefix(added).map(|rest| rest.trim_start_matches('|')), Some(want), "{client}: {got}");
    };
    f("", "");
    f("TenantID: other|tenantid: more", "");
    f("X-Secret: 1|x-secret: 2|X-Secrets: 3", "X-Secrets: 3");
    f("X-Lower: client", "");
    f("Authorization: Basic x", "Authorization: Basic x");
}

#[test]
fn lists() {
    let f =
        |client: &str, list: &[(&str, &str)], want: &str| assert_eq!(others(client, list), want, "{client} {list:?}");
    f("", &[("X-A", "1"), ("x-a", "2"), ("X-B", "1"), ("X-B", "")], "x-a: 2");
    f("X-B: c", &[("X-B", ""), ("X-B", "1")], "X-B: 1");
    f("Authorization: Basic x", &[("Authorization", "Bearer t")], "Authorization: Bearer t");
    f("Authorization: Basic x", &[("authorization", "")], "");
    f("", &[("Proxy-Authorization", "Basic x")], "Proxy-Authorization: Basic x");
    f("Proxy-Authorization: Basic y", &[], "");
    f("", &[("Connection", "close"), ("Content-Length", "5"), ("transfer-encoding", "chunked"), ("Upgrade", "x")], "");
    f("", &[("User-Agent", "mine")], "User-Agent: mine");
    f("User-Agent: curl", &[("User-Agent", "")], "");
    f("Accept-Encoding: gzip", &[("Accept-Encoding", "")], "");
}

#[test]
fn hop_by_hop_headers() {
    let f = |client: &str, want: &str| assert_eq!(others(client, &[("X-Added", "configured")]), want, "{client}");
    f("Connection: X-Added, User-Agent|X-Added: 1", "X-Added: configured");
    f("Connection: X-Hop|X-Hop: 1|Connection: x-two|X-Two: 2|X-End: 3", "X-Added: configured|X-End: 3");
    f("Connection: X-Forwarded-For, Host|X-Forwarded-For: 1.2.3.4", "X-Added: configured");
    f(
        "Connection: keep-alive, Upgrade|Upgrade: websocket|Sec-WebSocket-Key: k",
        "X-Added: configured|Sec-WebSocket-Key: k",
    );
    f("Keep-Alive: 5|TE: trailers|Trailer: X-T|Proxy-Connection: x|Proxy-Authenticate: y", "X-Added: configured");
    f("Expect: 100-continue|Content-Length: 3|Content-Type: t", "X-Added: configured|Content-Type: t");
    f(
        "X-Real-IP: 9.9.9.9|Forwarded: for=1.1.1.1|X-Forwarded-Proto: https|Via: x",
        "X-Added: configured|X-Real-IP: 9.9.9.9|Forwarded: for=1.1.1.1|X-Forwarded-Proto: https|Via: x",
    );
}

/// A backend that puts headers into variables takes `_` for `-`.
#[test]
fn twins_of_configured_headers_and_of_framing_are_dropped() {
    let list = [("X-Scope-OrgID", "7"), ("Under_Score", "1"), ("X-Deleted", "")];
    let f = |client: &str, want: &str| {
        let got = others(client, &list);
        assert_eq!(got.strip_prefix("X-Scope-OrgID: 7|Under_Score: 1").unwrap().trim_start_matches('|'), want);
    };
    f("X_Scope_OrgID: 8|x-scope_orgid: 9|X-Scope-Org_ID: kept", "X-Scope-Org_ID: kept");
    f("Under-Score: 2|X_Deleted: 3", "");
    f("Transfer_Encoding: chunked|Content_Length: 7|X_Forwarded_For: 1.1.1.1|User_Agent: x|Proxy_Connection: y", "");
    f("X_Own: kept", "X_Own: kept");
}

#[test]
fn forwarded_for() {
    let f = |client: &str, list: &[(&str, &str)], remove_xff: bool, want: Option<&str>| {
        let text = write(client, &rules(list, false), &ForwardContext { remove_xff, ..USUAL }).unwrap();
        let found: Vec<_> = text.split('|').filter_map(|line| line.strip_prefix("X-Forwarded-For: ")).collect();
        assert_eq!(found, want.into_iter().collect::<Vec<_>>(), "{client}");
    };
    f("", &[], false, Some("127.0.0.1"));
    f("X-Forwarded-For: 1.2.3.4", &[], false, Some("1.2.3.4, 127.0.0.1"));
    f(
        "X-Forwarded-For: 1.2.3.4|x-forwarded-for: 5.6.7.8, 9.9.9.9",
        &[],
        false,
        Some("1.2.3.4, 5.6.7.8, 9.9.9.9, 127.0.0.1"),
    );
    f("X-Forwarded-For: 1.2.3.4", &[], true, Some("127.0.0.1"));
    f("X-Forwarded-For:", &[], false, Some("127.0.0.1"));
    f("X-Forwarded-For: 1.2.3.4", &[("X-Forwarded-For", "")], false, None);
    f("X-Forwarded-For: 1.2.3.4", &[("X-Forwarded-For", "x")], false, Some("x"));
    f("Connection: X-Forwarded-For|X-Forwarded-For: 1.2.3.4", &[], false, Some("127.0.0.1"));
}

#[test]
fn host_line() {
    let f = |list: &[(&str, &str)], keep: bool, want: &str| {
        let text = write("", &rules(list, keep), &USUAL).unwrap();
        let found: Vec<_> = text.split('|').filter(|line| line.to_ascii_lowercase().starts_with("host:")).collect();
        assert_eq!(found, [want], "{list:?}");
    };
    f(&[], false, "Host: b1:80");
    f(&[], true, "Host: front:81");
    f(&[("Host", "x")], false, "Host: x");
    f(&[("Host", "x")], true, "Host: front:81");
    f(&[("host", "x")], false, "Host: b1:80");
    let values = VmAccess { metrics_account_id: 7, ..VmAccess::default() };
    let from_token = |placeholder: &str, values| {
        let rules = rules(&[("Host", placeholder)], false);
        write("", &rules, &ForwardContext { placeholders: values, ..USUAL }).unwrap()
    };
    assert!(from_token("{{.MetricsTenant}}", Some(&values)).starts_with("Host: 7:0|"));
    assert!(from_token("{{.MetricsExtraLabels}}", Some(&values)).starts_with("Host: b1:80|"));
    assert!(from_token("{{.MetricsTenant}}", None).starts_with("Host: b1:80|"));
    let mut old = RequestHead::default();
    old.parse(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(authority(&old, &rules(&[], true), "b1:80", None, &mut Vec::new()).unwrap(), b"b1:80");
}

#[test]
fn placeholders() {
    let list = [
        ("AccountID", "{{.LogsAccountID}}"),
        ("X-Tenant", " {{.MetricsTenant}} "),
        ("X-Filters", "{{.LogsExtraFilters}}"),
        ("X-Static", "static"),
    ];
    let rules = rules(&list, false);
    assert!(rules.has_placeholders());
    let f = |filters: &[&str], client: &str, want: &str| {
        let values = VmAccess {
            logs_account_id: 345,
            metrics_project_id: 7,
            logs_extra_filters: filters.iter().map(|text| (*text).to_owned()).collect(),
            ..VmAccess::default()
        };
        let got = write(client, &rules, &ForwardContext { placeholders: Some(&values), ..USUAL });
        let wrap = |lines: &str| {
            format!("Host: b1:80|X-Static: static|User-Agent: vmauth|{lines}|X-Forwarded-For: 127.0.0.1|")
        };
        match got {
            Ok(lines) => assert_eq!(lines, wrap(want)),
            Err(error) => assert_eq!(error.to_string(), want),
        }
    };
    f(&["a=1", "b=2"], "accountid: 1|X-Filters: c", "AccountID: 345|X-Tenant: 0:7|X-Filters: a=1,b=2");
    f(&[], "X-Filters: c", "AccountID: 345|X-Tenant: 0:7");
    f(&[""], "", "AccountID: 345|X-Tenant: 0:7");
    f(&["{{.MetricsTenant}}"], "", "AccountID: 345|X-Tenant: 0:7|X-Filters: {{.MetricsTenant}}");
    f(&["é"], "", "AccountID: 345|X-Tenant: 0:7|X-Filters: é");
    let bad = r#"invalid header field value for "X-Filters" from the token's vm_access claim"#;
    f(&["a\r\nX-Evil: 1"], "", bad);
    f(&["a\0"], "", bad);
    f(&["ok", "\u{7f}"], "", bad);
}
