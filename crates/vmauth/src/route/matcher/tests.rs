use proptest::prelude::*;

use super::*;

fn regexes(patterns: &[&str]) -> Vec<GoRegex> {
    patterns.iter().map(|pattern| GoRegex::new(pattern).unwrap()).collect()
}

fn paths(patterns: &[&str]) -> RouteMatcher {
    RouteMatcher { paths: regexes(patterns), ..RouteMatcher::default() }
}

fn hosts(patterns: &[&str]) -> RouteMatcher {
    RouteMatcher { hosts: regexes(patterns), ..RouteMatcher::default() }
}

fn headers(items: &[(&str, &str)]) -> RouteMatcher {
    let headers = items.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    RouteMatcher { headers, ..RouteMatcher::default() }
}

/// Items such as `db=foo` and `db=~fo+`.
fn query_args(items: &[&str]) -> RouteMatcher {
    let arg = |item: &&str| match item.split_once('=') {
        Some((name, value)) => QueryArgMatcher {
            name: name.to_owned(),
            value: Some(match value.strip_prefix('~') {
                Some(pattern) => GoRegex::new(pattern).unwrap(),
                None => GoRegex::literal(value),
            }),
        },
        None => QueryArgMatcher { name: (*item).to_owned(), value: None },
    };
    RouteMatcher { query_args: items.iter().map(arg).collect(), ..RouteMatcher::default() }
}

fn head(target: &str, lines: &str) -> RequestHead {
    let lines: String = lines.split('|').filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect();
    let host = if lines.contains("Host:") { "" } else { "Host: h\r\n" };
    let mut head = RequestHead::default();
    head.parse(format!("GET {target} HTTP/1.1\r\n{host}{lines}\r\n").as_bytes()).unwrap();
    head
}

/// The selected entry, which has to be that of the plain loop.
fn select(table: &RouteTable, head: &RequestHead) -> Option<usize> {
    let path = crate::rewrite::target_url::NormalPath::of(head.path());
    let input = RouteInput { host: head.host(), path: path.decoded(), query: head.query(), head };
    let selected = table.select(&input).unwrap();
    assert_eq!(selected, table.entries.iter().position(|entry| entry.matches(&input).unwrap()), "{head:?}");
    selected
}

#[test]
fn by_path() {
    let table = RouteTable::new(vec![
        paths(&["/app1/.*", "/one"]),
        paths(&["/app2/.*"]),
        paths(&["/app.*"]),
        paths(&["/with space"]),
    ]);
    let f = |target: &str, want: Option<usize>| assert_eq!(select(&table, &head(target, "")), want, "{target}");
    f("/app1/x", Some(0));
    f("/one", Some(0));
    f("/app2/x/y", Some(1));
    f("/app3", Some(2));
    f("/app1", Some(2));
    f("/one/two", None);
    f("/zero/one", None);
    f("/one?x=/app2/", Some(0));
    f("/ONE", None);
    f("/app2/../app1/x", Some(0));
    f("/%6Fne", Some(0));
    f("/with%20space", Some(3));
    f("/with+space", None);
    f("http://x/one", Some(0));
}

#[test]
fn root_path_is_empty() {
    let f = |pattern: &str, want: Option<usize>| {
        assert_eq!(select(&RouteTable::new(vec![paths(&[pattern])]), &head("/", "")), want, "{pattern}");
    };
    f("/", None);
    f("", Some(0));
    f("/?", Some(0));
    f("/.*", None);
    f(".*", Some(0));
}

#[test]
fn escaped_slashes_are_slashes() {
    let table = RouteTable::new(vec![paths(&["/label/[^/]+/values"]), paths(&["/label/.+/values"]), paths(&["/a/b"])]);
    let f = |target: &str, want: Option<usize>| assert_eq!(select(&table, &head(target, "")), want, "{target}");
    f("/label/a/values", Some(0));
    f("/label/a%2Fb/values", Some(1));
    f("/a%2Fb", Some(2));
}

#[test]
fn by_host() {
    let table = RouteTable::new(vec![hosts(&[r"foo\.bar"]), hosts(&["a.*", "b:81"])]);
    let f = |host: &str, want: Option<usize>| {
        assert_eq!(select(&table, &head("/", &format!("Host: {host}"))), want, "{host}")
    };
    f("foo.bar", Some(0));
    f("foo.bar:8427", None);
    f("FOO.bar", None);
    f("a.example:1", Some(1));
    f("b:81", Some(1));
    assert_eq!(select(&table, &head("http://foo.bar/x", "Host: b:81")), Some(0));
}

#[test]
fn by_query_arg() {
    let table = RouteTable::new(vec![
        query_args(&["db=foo"]),
        query_args(&["db=~bar.*", "table=~t[0-9]+"]),
        query_args(&["exact=a.c"]),
        query_args(&["empty="]),
        query_args(&["nothing", "", "semi=1;b=2"]),
    ]);
    let f = |query: &str, want: Option<usize>| {
        assert_eq!(select(&table, &head(&format!("/?{query}"), "")), want, "{query}")
    };
    f("db=foo", Some(0));
    f("db=barbaz", Some(1));
    f("table=t42", Some(1));
    f("db=foobar", None);
    f("table=t42x", None);
    f("db=x&db=foo", Some(0));
    f("exact=abc", None);
    f("exact=a.c", Some(2));
    f("exact=a.c&db=foo", Some(0));
    f("other=foo", None);
    f("db=%66oo", Some(0));
    f("d%62=foo", Some(0));
    f("db=foo%zz", None);
    f("DB=foo", None);
    f("db", None);
    f("empty=", Some(3));
    f("empty", Some(3));
    f("empty=x", None);
    f("nothing", None);
    f("=x", None);
    f("semi=1;b=2", Some(4));
    assert_eq!(select(&table, &head("/", "")), None);
}

#[test]
fn by_complex_query_arg() {
    let entry = |arg: &str| RouteMatcher { paths: regexes(&["/api/v1/query"]), ..query_args(&[arg]) };
    let table = RouteTable::new(vec![entry(r#"query=~.*{.*env="dev".*}.*"#), entry(r#"query=~.*{.*env="prod".*}.*"#)]);
    let f = |target: &str, want: Option<usize>| assert_eq!(select(&table, &head(target, "")), want, "{target}");
    f("/api/v1/query?query=up%7Bfoo%3D%22bar%22%2Cenv%3D%22dev%22%7D", Some(0));
    f("/api/v1/query?query=up{env=\"prod\"}", Some(1));
    f("/api/v1/query?query=up", None);
    f("/api/v1/labels?query=up{env=\"prod\"}", None);
}

#[test]
fn by_header() {
    let table = RouteTable::new(vec![
        headers(&[("TenantID", "42")]),
        headers(&[("TenantID", "123:456"), ("X-Other", " a b ")]),
        headers(&[("X-Empty", "")]),
        headers(&[("Host", "h")]),
        RouteMatcher { paths: regexes(&["/node[12]/.+"]), ..headers(&[("X-Zone", "a"), ("X-Zone", "b")]) },
    ]);
    let f = |lines: &str, want: Option<usize>| assert_eq!(select(&table, &head("/node1/x", lines)), want, "{lines}");
    f("TenantID: 42", Some(0));
    f("tenantid: 42", Some(0));
    f("TenantID: 123:456", Some(1));
    f("X-Other: a b", Some(1));
    f("TenantID: 421", None);
    f("TenantID: 1|TenantID: 42", Some(0));
    f("TenantID: 1, 42", None);
    f("X-Other: 42", None);
    f("X-Empty:", Some(2));
    f("", None);
    f("X-Zone: b", Some(4));
    f("X-Zone: c", None);
    assert_eq!(select(&table, &head("/node3/x", "X-Zone: a")), None);
}

#[test]
fn all_criteria_have_to_match() {
    let all = RouteMatcher { paths: regexes(&["/a.*"]), hosts: regexes(&["h", "i"]), ..headers(&[("X-A", "1")]) };
    let table = RouteTable::new(vec![
        RouteMatcher { query_args: query_args(&["q=1"]).query_args, ..all },
        RouteMatcher::default(),
    ]);
    let f = |target: &str, lines: &str, want: usize| {
        assert_eq!(select(&table, &head(target, lines)), Some(want), "{target} {lines}")
    };
    f("/a?q=1", "X-A: 1", 0);
    f("/b?q=1", "X-A: 1", 1);
    f("/a?q=2", "X-A: 1", 1);
    f("/a?q=1", "X-A: 2", 1);
    f("/a?q=1", "Host: j|X-A: 1", 1);
    f("/a?q=1", "Host: i|X-A: 1", 0);
    assert_eq!(select(&RouteTable::new(Vec::new()), &head("/", "")), None);
}

#[test]
fn nested_prefixes_and_many_programs() {
    let mut entries = vec![paths(&["/a/b/c/.*"]), paths(&["/a/b/.+"]), paths(&["/a/.*"])];
    entries.extend((0..300).map(|n| paths(&[&format!(r"/t{n}/\d+/[a-c]+.*")])));
    entries.push(paths(&["/t7/.*"]));
    entries.push(paths(&[r"/t\d+/.*x"]));
    let table = RouteTable::new(entries);
    let f = |target: &str, want: Option<usize>| assert_eq!(select(&table, &head(target, "")), want, "{target}");
    f("/a/b/c/", Some(0));
    f("/a/b/c", Some(1));
    f("/a/b/", Some(2));
    f("/a/", Some(2));
    f("/a/bb", Some(2));
    f("/a", None);
    f("/t0/1/a", Some(3));
    f("/t299/12/ccc/d", Some(302));
    f("/t7/12/c", Some(10));
    f("/t7/x/c", Some(303));
    f("/t8/y/x", Some(304));
    f("/t300/1/a", None);
}

fn any_entry() -> impl Strategy<Value = RouteMatcher> {
    let path = proptest::sample::subsequence(
        vec![
            "/a", "/a/.*", "/a/b.*", "/.*", "/a.+", "/b", ".*b", "/[ab]/?", "/a/[^/]+", "/(a|b)/a", r"/\w", "",
            "/b{1,2}",
        ],
        0..3,
    );
    let host = proptest::sample::subsequence(vec!["h", "i.*", ".*", "[hi]"], 0..2);
    let header = proptest::sample::subsequence(vec![("X-A", "1"), ("x-a", "2"), ("X-B", "1"), ("host", "h")], 0..2);
    let arg = proptest::sample::subsequence(vec!["q=1", "q=~[12]", "r=", "r=~.*"], 0..2);
    (path, host, header, arg).prop_map(|(path, host, header, arg)| RouteMatcher {
        paths: regexes(&path),
        hosts: regexes(&host),
        headers: headers(&header).headers,
        query_args: query_args(&arg).query_args,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn equal_to_the_plain_loop(
        entries in proptest::collection::vec(any_entry(), 0..12),
        target in r"/[ab/]{0,4}(\?([qr]=?[12]?&?){0,3})?",
        host in "[hij]{1,2}",
        lines in r"(X-[ABC]: [12]\|){0,3}",
    ) {
        select(&RouteTable::new(entries), &head(&target, &format!("Host: {host}|{lines}")));
    }
}
