//! The choice of upstream, seen on the wire.

use super::super::SeriesBlock;
use super::*;
use serde_json::Value;

fn series(labels: &Value) -> SeriesBlock {
    let mut block = SeriesBlock::new();
    block.begin_series();
    for pair in labels.as_array().unwrap() {
        block.push_label(pair[0].as_str().unwrap().as_bytes(), pair[1].as_str().unwrap().as_bytes());
    }
    block.push_sample(1, 1.0);
    assert!(block.end_series());
    block
}

#[test]
fn series_go_where_upstream_sends_them() {
    let text = include_str!("../../../../../tests/agent-fixtures/shard-by-url.json");
    let fixture: Value = serde_json::from_str(text).unwrap();
    let mut checked = 0;
    for case in fixture["cases"].as_array().unwrap() {
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
        };
        let (urls, flags) = (texts(&case["remote_write_urls"]), texts(&case["flags"]));
        let list = |name: &str| {
            let values: Vec<String> = flags
                .iter()
                .filter_map(|flag| flag.strip_prefix(name))
                .flat_map(|values| values.split(',').map(str::to_owned))
                .collect();
            (!values.is_empty()).then_some(values)
        };
        let only = list("-remoteWrite.shardByURL.labels=").map(ShardLabels::Only);
        let except = list("-remoteWrite.shardByURL.ignoreLabels=").map(ShardLabels::Except);
        let chosen = only.or(except);
        let copies = case["replicas"].as_u64().unwrap_or(1) as usize;
        let mut shards = Shards::new(&urls, copies, chosen.clone().unwrap_or_default());
        for vector in case["vectors"].as_array().unwrap() {
            // What relabeling, tenants and sorting made of the labels comes before the choice.
            let hashed = if chosen.is_some() { &vector["labels"] } else { &vector["hashed"] };
            let labels = if hashed.is_array() { hashed } else { &vector["labels"] };
            let block = series(labels);
            let mut got: Vec<u64> = match &mut shards {
                Some(shards) => shards.urls_of(&block.iter().next().unwrap()).map(|index| index as u64).collect(),
                None => (0..urls.len() as u64).collect(),
            };
            got.sort_unstable();
            assert_eq!(Value::from(got), vector["urls"], "{}: {labels}", case["name"]);
            checked += 1;
        }
    }
    assert!(checked > 300, "{checked}");
}
