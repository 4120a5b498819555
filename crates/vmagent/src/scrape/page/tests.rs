//! Pages and what leaves for the sink.

use std::sync::Arc;

use vmkit::env_template::Environment;

use super::*;
use crate::config::{JobDefaults, load_text};
use crate::discovery::{SharedLabel, TargetLabels};
use crate::scrape::cluster::Cluster;
use crate::scrape::target::TargetFactory;

fn target(job: &str) -> Target {
    let text = format!("global: {{external_labels: {{ext: e}}}}\nscrape_configs:\n- {{job_name: j, {job}}}\n");
    let read = |_: &str| Err("no such file".to_owned());
    let config = load_text("c.yml", text.as_bytes(), &read, &Environment::default(), &JobDefaults::default()).unwrap();
    let factory = TargetFactory::new(Arc::clone(&config.jobs[0]), Arc::new(Cluster::default()));
    let own = [SharedLabel { name: "__address__".into(), value: "h:1".into() }];
    factory.target(&TargetLabels::new([], own), &mut crate::labels::LabelBuf::new()).unwrap()
}

fn shown(blocks: &[&SeriesBlock]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut lines = Vec::new();
    for series in blocks.iter().flat_map(|block| block.iter()) {
        let labels: Vec<_> = series.labels().map(|(name, value)| format!("{}={}", text(name), text(value))).collect();
        let sample = series.samples()[0];
        let value =
            if sample.value.to_bits() == STALE_NAN.to_bits() { "stale".to_owned() } else { sample.value.to_string() };
        lines.push(format!("{} {value} @{}", labels.join(","), sample.timestamp_ms));
    }
    lines
}

/// Scrapes pages one after another; returns what the last one made.
fn scrape(job: &str, pages: &[&str]) -> (Vec<String>, PageTotals, Option<LimitError>) {
    let target = target(job);
    let assembly = LabelAssembly::new(&target);
    let (mut memory, mut buffers) = (TargetMemory::default(), PageBuffers::default());
    let mut last = (Vec::new(), PageTotals::default(), None);
    for page in pages {
        let mut reader = PageReader::new(&target, &assembly, &mut memory, &mut buffers, 1000, true);
        for piece in page.as_bytes().chunks(7) {
            reader.feed(piece);
        }
        reader.finish(1005);
        let (totals, limit) = (reader.totals, reader.limit_error);
        if limit.is_some() {
            reader.fail(false, 1005);
        }
        last = (shown(&[&buffers.block]), totals, limit);
    }
    last
}

#[test]
fn labels_of_page_target_and_config() {
    let f = |job: &str, page: &str, want: &[&str]| assert_eq!(scrape(job, &[page]).0, want, "{job} {page}");
    f("", "a{z=\"1\",b=\"2\"} 5", &["__name__=a,z=1,b=2,instance=h:1,job=j,ext=e 5 @1000"]);
    f("", "a{job=\"x\",y=\"\"} 5", &["__name__=a,exported_job=x,instance=h:1,job=j,ext=e 5 @1000"]);
    f(
        "",
        "a{job=\"x\",exported_job=\"y\"} 5",
        &["__name__=a,exported_job=x,exported_exported_job=y,instance=h:1,job=j,ext=e 5 @1000"],
    );
    f("honor_labels: true", "a{job=\"x\"} 5", &["__name__=a,job=x,instance=h:1,ext=e 5 @1000"]);
    f("", "up 5", &["__name__=exported_up,instance=h:1,job=j,ext=e 5 @1000"]);
    f("", "up{a=\"b\"} 5", &["__name__=up,a=b,instance=h:1,job=j,ext=e 5 @1000"]);
    f("honor_labels: true", "up 5", &["__name__=up,instance=h:1,job=j,ext=e 5 @1000"]);
    f("", "a{ext=\"x\",__t=\"1\"} 5", &["__name__=a,exported_ext=x,instance=h:1,job=j,ext=e 5 @1000"]);
    f(
        "metric_relabel_configs: [{target_label: ext, replacement: mine}]",
        "a 5",
        &["__name__=a,instance=h:1,job=j,exported_ext=mine,ext=e 5 @1000"],
    );
    f("metric_relabel_configs: [{action: labeldrop, regex: '.*'}]", "a 5", &[]);
    f("", "a 5 1700000000000", &["__name__=a,instance=h:1,job=j,ext=e 5 @1000"]);
    f(
        "honor_timestamps: true",
        "a 5 1700000000000\nb 6 0",
        &["__name__=a,instance=h:1,job=j,ext=e 5 @1700000000000", "__name__=b,instance=h:1,job=j,ext=e 6 @1000"],
    );
}

#[test]
fn new_series_are_counted_before_the_memory_follows_the_page() {
    let target = target("");
    let assembly = LabelAssembly::new(&target);
    let (mut memory, mut buffers) = (TargetMemory::default(), PageBuffers::default());
    for (page, want) in [("a 1\nb 2\nc 3", 3), ("a 1\nd 4", 1), ("d 1", 0), ("", 0), ("a 1", 1)] {
        let mut reader = PageReader::new(&target, &assembly, &mut memory, &mut buffers, 1000, true);
        reader.feed(page.as_bytes());
        reader.finish(1005);
        assert_eq!(reader.series_added, want, "{page}");
    }
}

#[test]
fn limits() {
    let f = |job: &str, page: &str, scraped, post, left: usize, limit| {
        let (lines, totals, error) = scrape(job, &[page]);
        assert_eq!((totals.scraped, totals.post_relabeling, lines.len(), error), (scraped, post, left, limit), "{job}");
    };
    f("sample_limit: 2", "a 1\nb 2\nc 3", 3, 3, 0, Some(LimitError::Samples(2)));
    f("sample_limit: 3", "a 1\nb 2\nc 3", 3, 3, 3, None);
    f("label_limit: 4", "a 1\nb{x=\"y\"} 2", 2, 2, 0, Some(LimitError::Labels(4)));
    f("label_limit: 5", "a 1\nb{x=\"y\"} 2", 2, 2, 2, None);
    f("series_limit: 2", "a 1\nb 2\na 3\nc 4", 4, 4, 3, None);
    f("metric_relabel_configs: [{action: drop, source_labels: [__name__], regex: b}]", "a 1\nb 2\nbad", 2, 1, 1, None);
}

#[test]
fn what_disappears_is_marked_with_the_same_labels() {
    let rule =
        "metric_relabel_configs: [{source_labels: [__name__], regex: b, target_label: __name__, replacement: bb}]";
    let (lines, ..) = scrape(rule, &["a 1\nb{job=\"x\"} 2", "a 1"]);
    assert_eq!(
        lines,
        [
            "__name__=a,instance=h:1,job=j,ext=e 1 @1000",
            "__name__=bb,exported_job=x,instance=h:1,job=j,ext=e stale @1005",
        ]
    );
    let (lines, ..) = scrape("no_stale_markers: true", &["a 1\nb 2", "a 1"]);
    assert_eq!(lines.len(), 1);
    let (lines, ..) = scrape("sample_limit: 1", &["a 1", "a 1\nb 2"]);
    assert_eq!(lines, ["__name__=a,instance=h:1,job=j,ext=e stale @1005"]);
}

#[test]
fn nan_is_no_marker_and_metadata_is_merged() {
    let (lines, ..) = scrape("", &["a NaN"]);
    assert!(lines[0].contains("NaN"));
    let target = target("");
    let assembly = LabelAssembly::new(&target);
    let (mut memory, mut buffers) = (TargetMemory::default(), PageBuffers::default());
    let mut reader = PageReader::new(&target, &assembly, &mut memory, &mut buffers, 1000, true);
    reader.feed(b"# HELP a x\n# TYPE a counter\na 1\n# HELP p y\n# TYPE q gauge\n# TYPE p counter\n");
    reader.finish(1000);
    let metadata: Vec<_> =
        buffers.block.metadata().map(|one| (one.family.to_vec(), one.kind.0, one.help.to_vec())).collect();
    let one = |family: &str, kind, help: &str| (family.as_bytes().to_vec(), kind, help.as_bytes().to_vec());
    assert_eq!(metadata, [one("a", 1, "x"), one("p", 0, "y"), one("q", 2, ""), one("p", 1, "")]);
}
