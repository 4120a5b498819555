use std::sync::Mutex;

use super::super::Page;
use super::*;

fn options() -> PushOptions {
    PushOptions { interval: Duration::from_secs(10), ..PushOptions::default() }
}

fn text(set: &Set) -> String {
    let mut page = Page::new(false);
    set.write(&mut page);
    String::from_utf8(page.into_bytes()).unwrap()
}

#[test]
fn refused_options() {
    let f = |url: &str, change: fn(&mut PushOptions), want: &str| {
        let mut options = options();
        change(&mut options);
        let set = Set::new();
        assert_eq!(Pusher::new(url, &options, &set).err().map(|err| err.to_string()).as_deref(), Some(want));
        assert!(set.is_empty(), "nothing is registered for a refused URL");
    };
    f("foo", |_| (), "unsupported scheme in pushURL=\"foo\"; expecting 'http' or 'https'");
    f("http://", |_| (), "missing host in pushURL=\"http://\"");
    f("http://h", |o| o.interval = Duration::ZERO, "interval must be positive; got 0s");
    f("http://h", |o| o.headers = vec!["x".into()], "missing `:` delimiter in the header \"x\"");
    f("http://h", |o| o.extra_labels = vec!["x".into()], "invalid extraLabels=\"x\": missing `=` after \"x\"");
}

#[test]
fn headers() {
    let f = |url: &str, compress: bool, given: &[&str], want: &[(&str, &str)]| {
        let mut options = options();
        options.disable_compression = !compress;
        options.headers = given.iter().map(|&header| header.to_owned()).collect();
        let pusher = Pusher::new(url, &options, &Set::new()).map_err(|err| err.to_string()).unwrap();
        let got: Vec<(&str, &str)> = pusher.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(got, want);
    };
    f("http://h", true, &[], &[("Content-Type", "text/plain"), ("Content-Encoding", "gzip")]);
    f(
        "http://u:p@h",
        false,
        &["X-Push: yes", "X-Push:no:2"],
        &[("Content-Type", "text/plain"), ("Authorization", "Basic dTpw"), ("X-Push", "yes"), ("X-Push", "no:2")],
    );
    f(
        "http://u:p@h",
        false,
        &["authorization : Bearer x"],
        &[("Content-Type", "text/plain"), ("Authorization", "Bearer x")],
    );
}

#[test]
fn stderr_line() {
    let time = jiff::civil::date(2026, 11, 21).at(7, 2, 33, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap();
    assert_eq!(failure_line(&time, "x"), "2026/11/21 07:02:33 ERROR: metrics.push: x\n");
}

#[tokio::test(start_paused = true)]
async fn pushes_every_interval_until_cancelled() {
    let set = Set::new();
    let mut options = options();
    options.extra_labels = vec!["a=\"b\"".into(), "c=\"d\"".into()];
    options.disable_compression = true;
    let pusher = Pusher::new("http://u:topsecret@h/p", &options, &set).map_err(|err| err.to_string()).unwrap();
    let cancel = CancellationToken::new();
    let start = tokio::time::Instant::now();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let replies = Mutex::new(vec![Err("refused".to_owned()), Ok(500), Ok(204)]);
    let (sent, stop) = (seen.clone(), cancel.clone());
    let send = move |request: PushRequest| -> SendFuture {
        assert_eq!(request.url, "http://h/p");
        sent.lock().unwrap().push((start.elapsed().as_secs(), request.body));
        let reply = replies.lock().unwrap().pop().unwrap();
        if sent.lock().unwrap().len() == 3 {
            stop.cancel();
        }
        Box::pin(async move { reply })
    };
    pusher.run(|| Bytes::from_static(b"x 1\n"), send, &cancel).await;

    let body = Bytes::from_static(b"x{a=\"b\",c=\"d\"} 1\n");
    assert_eq!(*seen.lock().unwrap(), [(10, body.clone()), (20, body.clone()), (30, body)]);
    let page = text(&set);
    let f = |name: &str, value: &str| {
        let line = format!("metrics_push_{name}{{url=\"http://xxxxx@h/p\"}} {value}");
        assert!(page.lines().any(|shown| shown == line), "{line} in\n{page}");
    };
    f("total", "3");
    f("bytes_pushed_total", "51");
    f("interval_seconds", "10");
    f("block_size_bytes_count", "3");
    assert!(!page.contains("topsecret"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn outcomes() {
    let set = Set::new();
    let pusher = Pusher::new("http://u:topsecret@h/", &options(), &set).map_err(|err| err.to_string()).unwrap();
    let f = async |reply: Option<Result<u16, String>>, want: Result<(), &str>, errors: u64| {
        let send = |_: PushRequest| -> SendFuture {
            let reply = reply.clone();
            Box::pin(async move {
                match reply {
                    Some(reply) => reply,
                    None => std::future::pending().await,
                }
            })
        };
        assert_eq!(pusher.push(b"x 1\n", &send).await, want.map_err(str::to_owned));
        assert_eq!(pusher.metrics.errors.get(), errors);
    };
    f(Some(Ok(200)), Ok(()), 0).await;
    f(Some(Ok(299)), Ok(()), 0).await;
    let shown = "unexpected status code in response from \"http://xxxxx@h/\": 302; expecting 2xx";
    f(Some(Ok(302)), Err(shown), 1).await;
    f(Some(Err("no route".into())), Err("cannot push metrics to \"http://xxxxx@h/\": no route"), 2).await;
    f(None, Err("cannot push metrics to \"http://xxxxx@h/\": no reply in 11s"), 3).await;
}
