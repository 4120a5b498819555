use proptest::prelude::*;

use super::*;

struct Case<'a> {
    prefix: &'a str,
    drop_parts: usize,
    merge: &'a [&'a str],
    values: Option<&'a VmAccess>,
}

fn to(prefix: &str) -> Case<'_> {
    Case { prefix, drop_parts: 0, merge: &[], values: None }
}

fn sent(case: &Case<'_>, target: &[u8]) -> Vec<u8> {
    let url = TargetUrl::parse(&format!("http://b1:80{}", case.prefix)).unwrap();
    let (path, query) = match target.iter().position(|b| *b == b'?') {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    };
    let merge_args: Vec<String> = case.merge.iter().map(|name| (*name).to_owned()).collect();
    let mut out = b"GET ".to_vec();
    url.write_request_target(
        &mut out,
        &TargetInput {
            path: &NormalPath::of(path),
            query,
            drop_parts: case.drop_parts,
            merge_args: &merge_args,
            placeholders: case.values,
        },
    );
    assert!(out.starts_with(b"GET "));
    out.split_off(4)
}

#[track_caller]
fn check(case: &Case<'_>, target: &str, want: &str) {
    assert_eq!(String::from_utf8(sent(case, target.as_bytes())).unwrap(), want, "{} {target}", case.prefix);
}

#[test]
fn joining_paths() {
    let f = |prefix: &str, path: &str, want: &str| check(&to(prefix), path, want);
    f("", "/", "/");
    f("", "/foo", "/foo");
    f("/", "/", "/");
    f("/", "/foo", "/foo");
    f("/p", "/", "/p");
    f("/p", "/foo", "/p/foo");
    f("/p/", "/", "/p/");
    f("/p/", "/foo", "/p/foo");
    f("/p//", "/", "/p//");
    f("/p//", "/foo", "/p//foo");
    f("/../x", "/", "/../x");
    f("/../x", "/foo", "/../x/foo");
    f("/base/app", "/foo/", "/base/app/foo/");
    f("/base/app", "/?a=b", "/base/app?a=b");
    f("", "/a/b", "/a/b");
    f("", "/?q=1", "/?q=1");
    f("/x#ignored", "/fragment", "/x/fragment");
    f("/with%20space", "/space/x", "/with%20space/space/x");
    f("/a%2Fb", "/slash", "/a%2Fb/slash");
    f("/a%2Fb", "/", "/a%2Fb");
    f("/a(b)", "/", "/a(b)");
    f("/a(b)", "/foo", "/a(b)/foo");
    f("/ключ", "/unicode", "/%D0%BA%D0%BB%D1%8E%D1%87/unicode");
    f("/x/../y", "/dots", "/x/../y/dots");
    f("//x//", "/double", "//x//double");
    f("/a b{c}", "/", "/a%20b%7Bc%7D");
}

#[test]
fn cleaning() {
    let f = |path: &str, want: &str| check(&to("/foo?bar=baz"), path, &format!("{want}?bar=baz"));
    f("/../../a//.///bar/", "/foo/a/bar/");
    f("/../../../etc/passwd", "/foo/etc/passwd");
    f("/a/b/../c", "/foo/a/c");
    f("/a/%2e%2e/b", "/foo/b");
    f("/a/..%2f..%2fb", "/foo/b");
    f("/a/b/..", "/foo/a");
    f("/a/.", "/foo/a");
    f("/a/b/../", "/foo/a/");
    f("////", "/foo");
    f("//host/path", "/foo/host/path");
    f("/.../x", "/foo/.../x");
    f("/.well-known/x", "/foo/.well-known/x");
    f("", "/foo");
}

#[test]
fn path_bytes() {
    let f = |path: &str, want: &str| check(&to("/"), path, want);
    // Nothing to clean: the client's bytes.
    f("/files/a%2Fb?x=1", "/files/a%2Fb?x=1");
    f("/a(1)!*'", "/a(1)!*'");
    f("/a%3Bb;c", "/a%3Bb;c");
    f("/up%3Arate/a%2Bb+c", "/up%3Arate/a%2Bb+c");
    f("/%7e/%41", "/%7e/%41");
    f("/a%3Fb%23c", "/a%3Fb%23c");
    f("/%25", "/%25");
    f("/a%00b", "/a%00b");
    f("/a[b]{c}", "/a%5Bb%5D%7Bc%7D");
    f("/a#frag", "/a%23frag");
    f("/é\"<>`\\^|", "/%C3%A9%22%3C%3E%60%5C%5E%7C");
    f("*", "/%2A");
    assert_eq!(sent(&to("/"), b"/\xE9"), b"/%E9");
    // Cleaned: decoded and encoded anew.
    f("/files//a%2Fb", "/files/a/b");
    f("/files/..%2Fsecret", "/secret");
    f("/.//a%2Bb", "/a+b");
    f("//%7e/%41", "/~/A");
    f("//a!b*c(d)'", "/a%21b%2Ac%28d%29%27");
    f("//a[b]{c}", "/a%5Bb%5D%7Bc%7D");
    f("//a%3Fb%23c%25%00", "/a%3Fb%23c%25%00");
    f("//%C3%A9", "/%C3%A9");
}

#[test]
fn dropping_parts() {
    let f = |drop_parts: usize, path: &str, want: &str| check(&Case { drop_parts, ..to("/base/") }, path, want);
    f(2, "/a/b/c/d?x=y", "/base/c/d?x=y");
    f(2, "/a/b/", "/base/");
    f(2, "/a/b", "/base/");
    f(2, "/a", "/base/");
    f(2, "/", "/base/");
    f(2, "//a/./b//c", "/base/c");
    f(1, "/a%2Fb%2fc%41", "/base/b%2fc%41");
    f(10, "/many/a/b", "/base/");
}

#[test]
fn client_query() {
    let f = |query: &str, want: &str| check(&to("/"), &format!("/?{query}"), want);
    f("z=1&a=2&m=3&a=1", "/?z=1&a=2&m=3&a=1");
    f("q=a%20b+c%2fd&flag&m=x=y(z)", "/?q=a%20b+c%2fd&flag&m=x=y(z)");
    f("x", "/?x");
    f("a=", "/?a=");
    f("=x", "/?=x");
    f("&&a=1&", "/?a=1");
    f("p=s/../d", "/?p=s/../d");
    f("match[]=up{a=\"b\"}", "/?match%5B%5D=up%7Ba=%22b%22%7D");
    f("query=up>0<5`", "/?query=up%3E0%3C5%60");
    f("a=!*'(),:@$", "/?a=!*'(),:@$");
    f("a=%ff", "/?a=%ff");
    f("a=é", "/?a=%C3%A9");
    f("a=1;b=2&c=3", "/?a=1%3Bb=2&c=3");
    f("a=1%3Bb&c=3", "/?a=1%3Bb&c=3");
    f("a=%zz&c=3", "/?c=3");
    f("%zz=1&b=1", "/?b=1");
    f("x=%zz", "/");
    f("a=b%23c#d", "/?a=b%23c%23d");
    f("", "/");
    f("q={}[]|^\"<>", "/?q=%7B%7D%5B%5D%7C%5E%22%3C%3E");
}

#[test]
fn merging_queries() {
    let f = |prefix: &str, merge: &[&str], query: &str, want: &str| {
        check(&Case { merge, ..to(prefix) }, &format!("/{query}"), want);
    };
    f("/?b=9&a=8", &[], "", "/?b=9&a=8");
    f("/?b=9&a=8", &[], "?x=1", "/?b=9&a=8&x=1");
    f("/?a=cfg&b=cfg", &[], "?a=cl&b=cl&c=cl", "/?a=cfg&b=cfg&c=cl");
    f("/?a=cfg&b=cfg", &["a"], "?a=cl&b=cl&c=cl", "/?a=cfg&b=cfg&a=cl&c=cl");
    f("/?a=1;b=2", &[], "", "/?a=1;b=2");
    f("/?a=1;b=2", &[], "?x=1&a=3&b=4", "/?a=1;b=2&x=1");
    f("/?z={q=\"v\"}&w", &[], "?x=1", "/?z=%7Bq=%22v%22%7D&w&x=1");
    f("/?a=%zz b", &[], "", "/?a=%zz%20b");
    f("/?", &[], "", "/?");
    f("/?", &[], "?x=1", "/?x=1");
    f("/x?fixed=1", &[], "?a=%zz&%q=1", "/x?fixed=1");
    f("/x?fixed=1", &[], "?z=1&a=1;fixed=2", "/x?fixed=1&z=1&a=1%3Bfixed=2");
    f("/x?fixed=1", &[], "?b=2&fixed=9&a=1", "/x?fixed=1&b=2&a=1");
    f(
        "/x?fixed=1",
        &[],
        "?f%69xed=9&fixed[]=8&fixed%5B%5D=7&fixed[][]=6&Fixed=5",
        "/x?fixed=1&fixed%5B%5D%5B%5D=6&Fixed=5",
    );
    f("/x?a[]=1", &[], "?a=2&a[]=3&b=4", "/x?a%5B%5D=1&b=4");
    f("/x?a=1", &["a"], "?a=2&a[]=3", "/x?a=1&a=2");
    f("/x?a=1", &["a[]"], "?a=2&a[]=3", "/x?a=1&a%5B%5D=3");
    f("/x?a=1", &["A"], "?a=2&A=3", "/x?a=1&A=3");
    f("/?a+b=1", &[], "?a%20b=2&a+b=3&ab=4", "/?a+b=1&ab=4");
    f(
        "/?extra_filters={env=\"prod\"}&tenant=1",
        &["extra_filters"],
        "?tenant=2&extra_filters=z",
        "/?extra_filters=%7Benv=%22prod%22%7D&tenant=1&extra_filters=z",
    );
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn placeholders() {
    let f = |prefix: &str, labels: &[&str], merge: &[&str], target: &str, want: &str| {
        let values = VmAccess {
            metrics_account_id: 7,
            metrics_project_id: 8,
            metrics_extra_labels: owned(labels),
            ..VmAccess::default()
        };
        check(&Case { merge, values: Some(&values), ..to(prefix) }, target, want);
    };
    let label = "/?extra_label={{.MetricsExtraLabels}}";
    f(label, &[], &[], "/x?extra_label=client&a=b", "/x?a=b");
    f(label, &[], &[], "/x?extra_label=client", "/x");
    f(label, &["t=1"], &[], "/x?extra_label=client&a=b", "/x?extra_label=t%3D1&a=b");
    f(
        label,
        &["a=1", "b=2"],
        &["extra_label"],
        "/m?extra_label=c%3D3",
        "/m?extra_label=a%3D1&extra_label=b%3D2&extra_label=c%3D3",
    );
    f(label, &["a&b=c#d e+f%/?ю\""], &[], "/q", "/q?extra_label=a%26b%3Dc%23d+e%2Bf%25%2F%3F%D1%8E%22");
    f(label, &[""], &[], "/q", "/q?extra_label=");
    f(label, &["{{.MetricsTenant}}"], &[], "/q", "/q?extra_label=%7B%7B.MetricsTenant%7D%7D");
    f("/?el={{.MetricsExtraLabels}}&el=fixed&c=d", &["a=b", "c=d e"], &[], "/", "/?el=fixed&c=d&el=a%3Db&el=c%3Dd+e");
    f("/?t=%7B%7B.MetricsTenant%7D%7D&x=y{{.MetricsTenant}}", &[], &[], "/", "/?x=y%7B%7B.MetricsTenant%7D%7D&t=7%3A8");
    f("/?{{.MetricsTenant}}=1", &[], &[], "/", "/?%7B%7B.MetricsTenant%7D%7D=1");
    f(
        "/{{.MetricsTenant}}/?a={{.MetricsAccountID}}",
        &[],
        &[],
        "/x{{.MetricsTenant}}",
        "/7:8/x%7B%7B.MetricsTenant%7D%7D?a=7",
    );
    f(
        "/{{.MetricsTenant}}/?a={{.MetricsAccountID}}",
        &[],
        &[],
        "/x?b={{.MetricsAccountID}}",
        "/7:8/x?a=7&b=%7B%7B.MetricsAccountID%7D%7D",
    );
    f("/{{.MetricsTenant}}/one", &[], &[], "/", "/7:8/one");
    f("/{{.MetricsExtraLabels}}", &["x"], &[], "/lb", "/%7B%7B.MetricsExtraLabels%7D%7D/lb");
    // Without a token nothing is filled in.
    check(
        &to("/{{.MetricsTenant}}?a={{.MetricsTenant}}"),
        "/x",
        "/%7B%7B.MetricsTenant%7D%7D/x?a=%7B%7B.MetricsTenant%7D%7D",
    );
}

#[test]
fn default_url() {
    let f = |prefix: &str, target: &str, values: Option<&VmAccess>, want: &str| {
        let url = TargetUrl::parse(&format!("http://b{prefix}")).unwrap();
        let mut head = RequestHead::default();
        head.parse(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut out = Vec::new();
        url.write_default_url_target(&mut out, &head, &NormalPath::of(head.path()), values);
        assert_eq!(String::from_utf8(out).unwrap(), want, "{prefix} {target}");
    };
    let values = VmAccess { metrics_account_id: 7, metrics_project_id: 8, ..VmAccess::default() };
    f("/404-page.html", "/foo/bar?baz=qwe", None, "/404-page.html?request_path=%2Ffoo%2Fbar%3Fbaz%3Dqwe");
    f("/d", "/", None, "/d?request_path=");
    f("/d", "/?a=1", None, "/d?request_path=%3Fa%3D1");
    f("/d", "/foo%2Fbar", None, "/d?request_path=%2Ffoo%252Fbar");
    f("/d", "/a/../b", None, "/d?request_path=%2Fb");
    f("/d", "/a?q=%zz", None, "/d?request_path=%2Fa%3Fq%3D%25zz");
    f("/d", "http://u:p@h/abs?x", None, "/d?request_path=http%3A%2F%2Fh%2Fabs%3Fx");
    f("", "/a", None, "/?request_path=%2Fa");
    f("/d?request_path=x", "/a", None, "/d?request_path=%2Fa");
    f("/d?b=1&request%5Fpath=x&c=2", "/a", None, "/d?b=1&c=2&request_path=%2Fa");
    f(
        "/{{.MetricsTenant}}/default?t={{.MetricsTenant}}",
        "/other",
        Some(&values),
        "/7:8/default?t=7%3A8&request_path=%2Fother",
    );
    f("/d?request_path={{.MetricsTenant}}", "/other", Some(&values), "/d?request_path=%2Fother");
}

#[test]
fn accessors() {
    let url = TargetUrl::parse("HTTPS://user:secret@[::1]:8443/p%2F?q=1#f").unwrap();
    assert_eq!((url.scheme(), url.is_https(), url.host(), url.hostname()), ("https", true, "[::1]:8443", "::1"));
    assert_eq!((url.explicit_port(), url.port(), url.is_srv()), (Some("8443"), Some(8443), false));
    assert_eq!(url.to_string(), "https://[::1]:8443/p%2F?q=1");
    assert_eq!(format!("{url:?}"), "TargetUrl(https://[::1]:8443/p%2F?q=1)");
    assert_eq!(url.with_host("1.2.3.4:5").to_string(), "https://1.2.3.4:5/p%2F?q=1");
    assert_eq!((url.decoded_path().as_str(), url.has_placeholders()), ("/p/", false));
    let f = |text: &str, hostname: &str, port: Option<u16>, explicit: Option<&str>| {
        let url = TargetUrl::parse(text).unwrap();
        assert_eq!((url.hostname(), url.port(), url.explicit_port()), (hostname, port, explicit), "{text}");
    };
    f("http://H.x", "H.x", Some(80), None);
    f("https://h:/", "h", Some(443), None);
    f("http://h:99999", "h", None, Some("99999"));
    f("http://[::1]", "::1", Some(80), None);
    f("http://srv+name:81/x", "srv+name", Some(81), Some("81"));
    let url = TargetUrl::parse("http://srv+x/{{.MetricsTenant}}?a=%7B%7B.LogsAccountID}}&b=%zz&c").unwrap();
    assert!(url.is_srv() && url.has_placeholders());
    let args = url.decoded_query_args();
    let args: Vec<_> = args.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(args, [("a", "{{.LogsAccountID}}"), ("c", "")]);
}

#[test]
fn display_of_targets() {
    let f = |url: &str, target: &str, want: &str| {
        assert_eq!(TargetUrl::parse(url).unwrap().display(target.as_bytes()), want);
    };
    f("http://u:p@127.0.0.1:1", "/", "http://127.0.0.1:1");
    f("http://127.0.0.1:1", "/?a=b", "http://127.0.0.1:1?a=b");
    f("http://127.0.0.1:1", "/x", "http://127.0.0.1:1/x");
    f("http://127.0.0.1:1/", "/", "http://127.0.0.1:1/");
    f("http://127.0.0.1:1/p?q", "/p/path?query", "http://127.0.0.1:1/p/path?query");
}

/// Decoded arguments as a backend would read them, with `;` as a separator too.
fn lenient_args(target: &[u8]) -> Vec<Vec<u8>> {
    let query = target.splitn(2, |b| *b == b'?').nth(1).unwrap_or_default();
    query.split(|b| matches!(b, b'&' | b';')).map(|piece| percent::decode_arg_leniently(piece).into_owned()).collect()
}

proptest! {
    #[test]
    fn wire_is_clean(
        prefix in r#"(/[a-zéб %\[{]{0,4}){0,3}(\?[a-c=&;"{ é]{0,10})?"#,
        target in proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'?'), Just(b'%'), Just(b'2'), Just(b'f'), any::<u8>()], 0..24),
        drop_parts in 0usize..4,
    ) {
        if TargetUrl::parse(&format!("http://b1:80{prefix}")).is_ok() {
            let out = sent(&Case { drop_parts, ..to(&prefix) }, &target);
            prop_assert!(out.iter().all(|b| b.is_ascii_graphic()), "{:?}", String::from_utf8_lossy(&out));
            prop_assert_eq!(out[0], b'/');
        }
    }

    #[test]
    fn configured_args_cannot_be_overridden(query in r"([ab%61+\[\]5BDbd;=&c]{0,6}&){0,5}") {
        let out = sent(&to("/?a=cfg&b%5B%5D=cfg"), format!("/?{query}").as_bytes());
        let clashing = |arg: &&Vec<u8>| {
            let name = percent::split_arg(arg).0;
            matches!(name, b"a" | b"a[]" | b"b" | b"b[]")
        };
        let args = lenient_args(&out);
        prop_assert_eq!(args.iter().filter(clashing).collect::<Vec<_>>(), [b"a=cfg", &b"b[]=cfg"[..]]);
    }
}

#[test]
fn sockets_are_paths_with_escaped_slashes() {
    let f = |text: &str, socket: &str| {
        let url = TargetUrl::parse(text).unwrap();
        assert_eq!(
            (url.socket(), url.host(), url.scheme(), url.is_https()),
            (Some(socket), "localhost", "http+unix", false)
        );
        assert_eq!(url.to_string(), text);
    };
    f("http+unix://%2Frun%2Fapp.sock/path?a=b", "/run/app.sock");
    f("http+unix://%2frun%2fa%20b.sock", "/run/a b.sock");
    assert_ne!(TargetUrl::parse("http+unix://%2Fa/").unwrap(), TargetUrl::parse("http+unix://%2Fb/").unwrap());
    for text in [
        "http+unix:///run/app.sock",
        "http+unix://run%2Fapp",
        "http+unix://%2Fa%00",
        "http+unix://%2F%ff",
        "http+unix://",
    ] {
        let error = TargetUrl::parse(text).unwrap_err().to_string();
        assert!(error.ends_with("the path of a socket must be absolute, with %2F for its slashes"), "{error}");
    }
    let longest = format!("http+unix://%2F{}", "x".repeat(106));
    assert!(TargetUrl::parse(&longest).is_ok());
    let error = TargetUrl::parse(&format!("{longest}x")).unwrap_err().to_string();
    assert!(error.ends_with("the path of a socket has 108 bytes; 107 are allowed"), "{error}");
    assert_eq!(TargetUrl::parse("http://a/").unwrap().socket(), None);
}
