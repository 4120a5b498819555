//! Argument lists that deployment tools write, and values that make no sense.

use vmkit::env_template::Environment;
use vmkit::flags::FlagExit;

use super::*;
use crate::flags::{app_info, groups};

fn parse(words: &[&str]) -> Result<FlagSet, FlagExit> {
    FlagSet::parse(&groups(), &app_info(), std::iter::once(&"vmagent").chain(words), &Environment::default())
}

fn options(words: &[&str]) -> Result<Options, Vec<String>> {
    Options::from_flags(&parse(words).unwrap_or_else(|exit| panic!("{words:?}: {}{}", exit.stdout, exit.stderr)))
}

#[test]
fn arguments_of_the_operator() {
    let words = [
        "-remoteWrite.url=http://a/api/v1/write,http://b/api/v1/write",
        "-remoteWrite.basicAuth.username=\"\",x",
        "-remoteWrite.basicAuth.passwordFile=\"\",/etc/p",
        "-remoteWrite.tlsCAFile=\"\",/etc/ca",
        "-remoteWrite.tlsInsecureSkipVerify=true,false",
        "-remoteWrite.tlsServerName=\"\",b",
        "-remoteWrite.sendTimeout=10s,20s",
        "-remoteWrite.headers=X-A: 1^^X-B: 2,",
        "-remoteWrite.forceVMProto=false,true",
        "-remoteWrite.maxDiskUsagePerURL=1073741824",
        "-remoteWrite.queues=2",
        "-remoteWrite.flushInterval=1s",
        "-remoteWrite.showURL=true",
        "-remoteWrite.maxBlockSize=8388608",
        "-remoteWrite.label=\"cluster=a\"",
        "-remoteWrite.tmpDataPath=/vmagent-remotewrite-data",
        "-promscrape.config=/etc/vmagent/config_out/vmagent.yaml",
        "-promscrape.cluster.membersCount=3",
        "-promscrape.cluster.memberNum=vmagent-main-2",
        "-httpListenAddr=:8429",
        "-enableMultitenantHandlers=true",
        "-reloadAuthKey=file:///etc/vm/config-reload-auth/key",
        "-loggerFormat=json",
        "-license=",
        "-streamAggr.config=",
        "-remoteWrite.streamAggr.config=,",
    ];
    let options = options(&words).unwrap();
    assert_eq!(options.remote_write.urls.len(), 2);
    assert_eq!((options.scrape.cluster.members, options.scrape.cluster.member), (3, 2));
    assert!(parse(&words).unwrap().refusals().is_empty());
}

#[test]
fn arguments_of_the_chart_and_of_hosts() {
    let words = [
        "--promscrape.config=/config/scrape/scrape.yml",
        "--remoteWrite.tmpDataPath=/tmpData",
        "--remoteWrite.url=http://vminsert:8480/insert/0/prometheus/api/v1/write",
        "--promscrape.cluster.memberNum=agent-0",
        "--promscrape.cluster.membersCount=1",
        "--envflag.enable",
        "--envflag.prefix=VM_",
        "--loggerFormat=json",
    ];
    assert_eq!(options(&words).unwrap().config.path, "/config/scrape/scrape.yml");
}

#[test]
fn what_makes_no_sense_is_said_at_once() {
    let f = |words: &[&str], want: &[&str]| {
        let problems = options(words).unwrap_err().join("; ");
        assert!(want.iter().all(|want| problems.contains(want)), "{words:?}: {problems}");
    };
    let url = "-remoteWrite.url=http://a/";
    f(&[], &["at least one `-remoteWrite.url` command-line flag must be set"]);
    f(&[url, "-promscrape.cluster.membersCount=0"], &["membersCount"]);
    f(&[url, "-promscrape.cluster.memberNum=x"], &["memberNum"]);
    f(&[url, "-promscrape.cluster.memberNum=3", "-promscrape.cluster.membersCount=3"], &["[0..2]"]);
    assert!(options(&["-dryRun"]).is_ok());
}

#[test]
fn kubernetes_objects_are_listed_again_as_often_as_wanted() {
    let relist = |more: &[&str]| {
        let words = [&["-remoteWrite.url=http://a/api/v1/write"], more].concat();
        options(&words).unwrap().discovery.kubernetes.limits.relist
    };
    assert_eq!(relist(&[]), Duration::from_secs(3600));
    assert_eq!(relist(&["-promscrape.kubernetes.relistInterval=10m"]), Duration::from_secs(600));
    assert_eq!(relist(&["-promscrape.kubernetes.relistInterval=0"]), Duration::ZERO);
}
