//! Targets of labels; the larger tables are in the black-box kit.

use vmkit::env_template::Environment;

use super::*;
use crate::config::{JobDefaults, load_text};

fn factory(job: &str, cluster: Cluster) -> TargetFactory {
    let text = format!("scrape_configs:\n- {job}\n");
    let read = |_: &str| Err("no such file".to_owned());
    let config = load_text("c.yml", text.as_bytes(), &read, &Environment::default(), &JobDefaults::default()).unwrap();
    TargetFactory::new(Arc::clone(&config.jobs[0]), Arc::new(cluster))
}

fn found(pairs: &[(&str, &str)]) -> TargetLabels {
    let own: Vec<_> =
        pairs.iter().map(|&(name, value)| SharedLabel { name: name.into(), value: value.into() }).collect();
    TargetLabels::new([], own)
}

fn target(job: &str, pairs: &[(&str, &str)]) -> Result<Target, Dropped> {
    factory(job, Cluster::default()).target(&found(pairs), &mut LabelBuf::new())
}

/// A target of the job `j` with these further fields.
pub(crate) fn test_target(job: &str) -> Target {
    target(&format!("{{job_name: j, {job}}}"), &[("__address__", "h:1")]).unwrap()
}

#[test]
fn urls_and_labels() {
    let f = |job: &str, address: &str, url: &str, labels: &str| {
        let target = target(&format!("{{job_name: j, {job}}}"), &[("__address__", address)]).unwrap();
        assert_eq!(
            (target.url.to_string().as_str(), target.labels.to_string().as_str()),
            (url, labels),
            "{job} {address}"
        );
    };
    f("", "h:1", "http://h:1/metrics", r#"{instance="h:1",job="j"}"#);
    f("", "h", "http://h/metrics", r#"{instance="h:80",job="j"}"#);
    f("scheme: https", "h", "https://h/metrics", r#"{instance="h:443",job="j"}"#);
    f("", "https://h/x?a=b", "https://h/x?a=b", r#"{instance="h:443",job="j"}"#);
    f("", "http://h:1", "http://h:1/metrics", r#"{instance="h:1",job="j"}"#);
    f("", "h:1/", "http://h:1/", r#"{instance="h:1",job="j"}"#);
    f("", "[::1]:9", "http://[::1]:9/metrics", r#"{instance="[::1]:9",job="j"}"#);
    f("metrics_path: '/a?x=y', params: {q: ['1 2']}", "h:1", "http://h:1/a?x=y&q=1+2", r#"{instance="h:1",job="j"}"#);
    f(
        "params: {z: ['1'], e: [''], a: ['2', '3']}",
        "h:1",
        "http://h:1/metrics?a=2&a=3&z=1",
        r#"{instance="h:1",job="j"}"#,
    );
    f(
        "params: {'k&=': ['a/b?c#d%e+f']}",
        "h:1",
        "http://h:1/metrics?k%26%3D=a%2Fb%3Fc%23d%25e%2Bf",
        r#"{instance="h:1",job="j"}"#,
    );
    f("metrics_path: '/a b/é'", "h:1", "http://h:1/a%20b/%C3%A9", r#"{instance="h:1",job="j"}"#);
}

#[test]
fn credentials_of_an_address_are_not_shown() {
    let target = target("{job_name: j}", &[("__address__", "http://u:p%20w@h:1/m")]).unwrap();
    assert_eq!(target.url.to_string(), "http://h:1/m");
    assert_eq!(target.labels.get("instance"), Some("h:1"));
    assert_eq!(
        target.user_info.map(|(name, password)| (name, password.expose().to_owned())),
        Some(("u".into(), "p w".into()))
    );
}

#[test]
fn special_labels_override_the_job() {
    let job = "{job_name: j, sample_limit: 5, params: {q: [old, second], p: [x]}}";
    let labels = [
        ("__address__", "h:1"),
        ("__scrape_interval__", "3s"),
        ("__scrape_timeout__", "1m"),
        ("__sample_limit__", "0"),
        ("__max_scrape_size__", "1KiB"),
        ("__stream_parse__", "true"),
        ("__tenant_id__", "3:4"),
        ("__param_q", "new"),
        ("__param_p", ""),
        ("__metrics_path__", "m"),
        ("__scheme__", "HTTPS"),
        ("x", "y"),
    ];
    let target = target(job, &labels).unwrap();
    assert_eq!((target.interval.as_secs(), target.timeout.as_secs()), (3, 3));
    assert_eq!((target.sample_limit, target.max_scrape_size, target.stream_parse), (None, 1024, true));
    assert_eq!(target.tenant, Some((3, 4)));
    assert_eq!(target.url.to_string(), "https://h:1/m?q=new&q=second");
    assert_eq!(target.labels.to_string(), r#"{instance="h:1",job="j",x="y"}"#);
}

#[test]
fn what_is_dropped_and_why() {
    let f = |job: &str, labels: &[(&str, &str)], want: &str| {
        assert_eq!(target(job, labels).unwrap_err().to_string(), want, "{job} {labels:?}");
    };
    f("{job_name: j}", &[("__address__", "")], "missing scrape URL");
    f("{job_name: j}", &[("__address__", "h"), ("__scrape_interval__", "foo")], "invalid labels");
    f("{job_name: j}", &[("__address__", "h"), ("__tenant_id__", "multitenant")], "invalid labels");
    f("{job_name: j}", &[("__address__", "ftp://h")], "invalid labels");
    f("{job_name: j}", &[("__address__", "h:x")], "invalid labels");
    f("{job_name: j, relabel_configs: [{action: drop, source_labels: [job]}]}", &[("__address__", "h")], "relabeling");
    f("{job_name: j, relabel_configs: [{action: labeldrop, regex: '.*'}]}", &[("__address__", "h")], "relabeling");
}

#[test]
fn a_cluster_shares_targets_and_labels_them() {
    let label = Some(("member".to_owned(), "agent-1".to_owned()));
    let cluster = |member| Cluster { members: 3, member, member_label: label.clone(), ..Cluster::default() };
    let mut scraped = 0;
    for member in 0..3 {
        match factory("{job_name: j}", cluster(member))
            .target(&found(&[("__address__", "h:1"), ("member", "x")]), &mut LabelBuf::new())
        {
            Ok(target) => {
                scraped += 1;
                assert_eq!(target.labels.get("member"), Some("agent-1"));
            }
            Err(dropped) => {
                assert!(matches!(&dropped, Dropped::Sharding(owners) if owners.len() == 1 && owners[0] != member))
            }
        }
    }
    assert_eq!(scraped, 1);
}
