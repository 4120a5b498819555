//! Requests that were put to the original, and what became of them.

use super::target::{Asked, Protocol, Target};
use super::text::Lines;
use super::write::{BodyFault, is_version_2, read_message};
use super::*;
use base64::Engine;
use serde_json::Value;

fn options(tenants: bool) -> PushOptions {
    PushOptions {
        max_request_size: 32 << 20,
        max_concurrent: 4,
        max_queue_duration: Duration::from_secs(1),
        metadata: true,
        tenants,
        tenants_in_headers: true,
    }
}

fn fixture(text: &str) -> Vec<Value> {
    let fixture: Value = serde_json::from_str(text).unwrap();
    fixture["vectors"].as_array().unwrap().clone()
}

fn labels(block: &SeriesBlock) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let series = |series: crate::remote_write::Series<'_>| {
        let pairs = series.labels().map(|(name, value)| format!("{}={}", text(name), text(value)));
        pairs.collect::<Vec<_>>().join(",")
    };
    block.iter().map(series).collect()
}

/// A remote write message with one series `m{n="…"}`.
fn message(labels: &[(&str, &str)]) -> Vec<u8> {
    let mut block = SeriesBlock::new();
    block.begin_series();
    labels.iter().for_each(|(name, value)| block.push_label(name.as_bytes(), value.as_bytes()));
    block.push_sample(1_700_000_000_000, 1.0);
    assert!(block.end_series());
    let mut body = Vec::new();
    for series in block.iter() {
        body.push(0x0a);
        let sample = [0x12, 16, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0x80, 0xd0, 0x95, 0xff, 0xbc, 0x31];
        body.push((series.label_messages().len() + sample.len()) as u8);
        body.extend_from_slice(series.label_messages());
        body.extend_from_slice(&sample);
    }
    snap::raw::Encoder::new().compress_vec(&body).unwrap()
}

#[test]
fn tenants_as_the_original_finds_them() {
    let mut checked = 0;
    for vector in fixture(include_str!("../../../../tests/agent-fixtures/multitenancy.json")) {
        let (_, asked) = vector["request"].as_str().unwrap().split_once(' ').unwrap();
        let (path, query) = asked.split_once('?').unwrap_or((asked, ""));
        // Other protocols are not taken, and the question about the protocol is answered.
        if path.contains("influx") || path.ends_with("/import") {
            continue;
        }
        let header = |name: &str| vector["headers"][name].as_str();
        let asked = Asked { query: query.as_bytes(), account: header("AccountID"), project: header("ProjectID") };
        let found = Target::find(&query::decoded_path(path.as_bytes()), &asked, &options(true));
        let want = vector["body"].as_str().unwrap();
        if vector["status"] == 400 {
            let got = found.expect_err(path);
            // The words behind the colon are those of Go's library.
            let stable = want.find(": strconv").map_or(want, |at| &want[..at]);
            assert!(got.starts_with(stable), "{path}: {got}, not {want}");
        } else {
            let target = found.expect(path);
            for series in vector["series"].as_array().unwrap() {
                let number = series.as_str().unwrap().split(',').nth(1).unwrap().trim_start_matches("n=");
                let mut sent = vec![("__name__", "m"), ("n", number)];
                if series.as_str().unwrap().contains("vm_account_id=42") {
                    sent.extend([("vm_account_id", "42"), ("vm_project_id", "7")]);
                } else if series.as_str().unwrap().contains("vm_account_id=x") {
                    sent.push(("vm_account_id", "x"));
                }
                let decoded = read_message(&message(&sent), false, 1 << 20, &target.labelling, true).unwrap();
                assert_eq!(labels(&decoded.blocks[0]), [series.as_str().unwrap()], "{path}");
            }
        }
        checked += 1;
    }
    assert!(checked > 25, "{checked}");
    let off = Target::find("/insert/0/prometheus/api/v1/write", &Asked::default(), &options(false)).unwrap_err();
    assert_eq!(off, "unsupported path requested: \"/insert/0/prometheus/api/v1/write\"");
}

#[test]
fn bodies_of_remote_write_as_the_original_takes_them() {
    let mut checked = 0;
    for vector in fixture(include_str!("../../../../tests/agent-fixtures/push.json")) {
        let path = vector["path"].as_str().unwrap();
        let plain = path.split('?').next().unwrap();
        if !matches!(plain, "/api/v1/write" | "/api/v1/push") || path.contains('?') || !vector["body_b64"].is_string() {
            continue;
        }
        let body = base64::engine::general_purpose::STANDARD.decode(vector["body_b64"].as_str().unwrap()).unwrap();
        let header = |wanted: &str| {
            let headers = vector["headers"].as_object()?;
            headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))?.1.as_str()
        };
        if is_version_2(header("content-type"), header("x-prometheus-remote-write-version")) {
            continue;
        }
        let note = &vector["note"];
        let flag = vector["flags"][0].as_str().and_then(|flag| flag.strip_prefix("-maxInsertRequestSize="));
        let limit = flag.map_or(32 << 20, |limit| limit.parse().unwrap());
        let zstd = header("content-encoding") == Some("zstd");
        let read = read_message(&body, zstd, limit, &Labelling::default(), true);
        match (&read, vector["status"].as_u64().unwrap()) {
            (Ok(_), 204) | (Err(_), 400) => {}
            (read, status) => panic!("{note}: {}, not {status}", if read.is_ok() { "taken" } else { "refused" }),
        }
        if let Err(BodyFault::Packed(text)) = &read {
            assert!(text.contains("cannot decompress") || text.contains("exceed"), "{note}: {text}");
        }
        checked += 1;
    }
    assert!(checked > 10, "{checked}");
}

#[test]
fn remote_write_2_is_known_by_its_headers() {
    assert!(is_version_2(Some("application/x-protobuf;proto=io.prometheus.write.v2.Request"), None));
    assert!(is_version_2(None, Some("2.0.0")));
    assert!(!is_version_2(Some("application/x-protobuf"), Some("0.1.0")));
    assert!(!is_version_2(None, None));
}

#[test]
fn limits_hold_before_and_after_unpacking() {
    let packed = message(&[("__name__", &"m".repeat(80))]);
    let f = |body: &[u8], zstd: bool, limit: usize, want: &str| match read_message(
        body,
        zstd,
        limit,
        &Labelling::default(),
        true,
    ) {
        Err(BodyFault::Packed(text)) => assert!(text.contains(want), "{text}"),
        other => panic!("{other:?}, not {want}"),
    };
    f(&packed, false, 64, "exceeds");
    f(&zstd::bulk::compress(&[0; 1000], 1).unwrap(), true, 64, "exceeds");
    f(&zstd::bulk::compress(&[0; 1000], 1).unwrap(), false, 64, "exceeds");
    f(b"garbage", true, 1 << 20, "cannot decompress zstd-encoded request with length 7");
    f(b"garbage", false, 1 << 20, "cannot decompress snappy-encoded request with length 7");
}

#[test]
fn nothing_of_a_faulty_message_is_kept_and_series_without_labels_are_left_out() {
    let mut raw = snap::raw::Decoder::new().decompress_vec(&message(&[("__name__", "m")])).unwrap();
    raw.extend_from_slice(&[0x0a, 50, 1]);
    let faulty = snap::raw::Encoder::new().compress_vec(&raw).unwrap();
    match read_message(&faulty, false, 1 << 20, &Labelling::default(), true) {
        Err(BodyFault::Message(text)) => assert!(text.starts_with("cannot unmarshal prompb.WriteRequest"), "{text}"),
        other => panic!("{other:?}"),
    }
    let decoded = read_message(&message(&[("a", "")]), false, 1 << 20, &Labelling::default(), true).unwrap();
    assert!(decoded.blocks.is_empty());
}

#[test]
fn other_protocols_are_named() {
    for path in [
        "/write",
        "/influx/write",
        "/api/v1/import",
        "/api/v1/import/csv",
        "/datadog/api/v1/series",
        "/prometheus/api/v1/import/native",
        "/opentelemetry/v1/metrics",
    ] {
        let refused = Target::find(path, &Asked::default(), &options(false)).unwrap_err();
        assert!(refused.contains("unsupported") && refused.contains("/api/v1/write"), "{refused}");
    }
    let nobody = Target::find("/foo", &Asked::default(), &options(false)).unwrap_err();
    assert_eq!(nobody, "unsupported path requested: \"/foo\"");
    assert!(Target::find("/api/v1/write/", &Asked::default(), &options(false)).is_err());
}

#[test]
fn paths_and_args_become_labels() {
    let asked = Asked { query: b"extra_label=a%3Db&x=1&extra_label=c=", ..Asked::default() };
    let target = Target::find("/prometheus/api/v1/import/prometheus/metrics/job/j", &asked, &options(false)).unwrap();
    assert_eq!((target.protocol, target.answers_200), (Protocol::Text, true));
    let mut lines = Lines::new(target.labelling, 7, true);
    lines
        .feed(b"# HELP m Some text\n# TYPE m counter\nm{x=\"y\",job=\"own\",e=\"\"} 1\nbad line {\nn 2 1700000000\n")
        .unwrap();
    lines.finish();
    assert_eq!(labels(&lines.block), ["__name__=m,x=y,job=own,job=j,a=b", "__name__=n,job=j,a=b"]);
    let times: Vec<i64> = lines.block.iter().map(|series| series.samples()[0].timestamp_ms).collect();
    assert_eq!(times, [7, 1_700_000_000_000]);
    let metadata: Vec<_> = lines.block.metadata().map(|entry| (entry.family, entry.help, entry.kind.0)).collect();
    assert_eq!(metadata, [(&b"m"[..], &b"Some text"[..], 1)]);
    assert_eq!(lines.invalid, 1);
    let wrong = Asked { query: b"extra_label=xy", ..Asked::default() };
    let refused = Target::find("/api/v1/write", &wrong, &options(false)).unwrap_err();
    assert_eq!(refused, "`extra_label` query arg must have the format `name=value`; got \"xy\"");
}

#[test]
fn a_line_has_a_limit() {
    let mut lines = Lines::new(Labelling::default(), 1, true);
    let long = vec![b'x'; 200_000];
    lines.feed(&long).unwrap();
    assert!(lines.feed(&long).unwrap_err().contains("too long line"));
}
