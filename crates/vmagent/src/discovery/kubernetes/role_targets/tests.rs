//! Recorded lists of a real API server against the targets that upstream made of them.

use super::*;
use crate::discovery::kubernetes::json_pieces::ListReader;
use crate::discovery::kubernetes::object_builder::Builder;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

type LabelSet = BTreeMap<String, String>;

#[derive(Default)]
struct Lists {
    builder: Builder,
    objects: BTreeMap<(ObjectKind, Key), Arc<Object>>,
    asked: usize,
}

impl Helpers for Lists {
    fn get(&mut self, kind: ObjectKind, key: &Key) -> Option<Arc<Object>> {
        self.asked += 1;
        self.objects.get(&(kind, key.clone())).cloned()
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/kube").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Lists {
    fn load(&mut self, kind: ObjectKind, name: &str) -> Vec<Key> {
        let (mut reader, mut keys) = (ListReader::default(), Vec::new());
        for piece in fixture(&format!("recorded/{name}.json")).chunks(1000) {
            let read = |item: &[u8]| {
                let (key, object) = self.builder.read(kind, item).unwrap();
                keys.push(key.clone());
                self.objects.insert((kind, key), Arc::new(object));
            };
            reader.feed(piece, read).unwrap();
        }
        reader.finish().unwrap();
        keys
    }

    fn targets(&mut self, kind: ObjectKind, list: &str, attach: AttachMetadata) -> BTreeSet<LabelSet> {
        let keys = self.load(kind, list);
        let names = Names::default();
        let objects: Vec<_> = keys.into_iter().map(|key| (key.clone(), self.objects[&(kind, key)].clone())).collect();
        let mut targets = RoleTargets { names: &names, attach, helpers: self, found: Vec::new() };
        objects.iter().for_each(|(key, object)| targets.add(key, object));
        let pairs = |target: &Arc<TargetLabels>| {
            let set = target.to_pairs(&[]).into_iter().filter(|(_, value)| !value.is_empty());
            set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        targets.found.iter().map(pairs).collect()
    }
}

fn expected(job: &str) -> BTreeSet<LabelSet> {
    let list: serde_json::Value = serde_json::from_slice(&fixture(&format!("expected/{job}.json"))).unwrap();
    let of_job = ["job", "__metrics_path__", "__scheme__", "__scrape_interval__", "__scrape_timeout__"];
    let set = |target: &serde_json::Value| -> LabelSet {
        let labels = target["discoveredLabels"].as_object().unwrap().iter();
        let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        labels.filter(|(name, value)| !value.is_empty() && !of_job.contains(&name.as_str())).collect()
    };
    list.as_array().unwrap().iter().map(set).collect()
}

/// Brings upstream's targets to what ours are on purpose; each difference is in `docs/parity.md`.
fn decided(sets: BTreeSet<LabelSet>) -> BTreeSet<LabelSet> {
    let port_of_pod = |set: &LabelSet| set.contains_key("__meta_kubernetes_pod_container_port_number");
    let is_extra = |set: &LabelSet| {
        !set.contains_key("__meta_kubernetes_endpoint_ready")
            && !set.contains_key("__meta_kubernetes_endpointslice_port")
            && (set.contains_key("__meta_kubernetes_endpoints_name")
                || set.contains_key("__meta_kubernetes_endpointslice_name"))
    };
    let dead = |set: &LabelSet| {
        let phase = set.get("__meta_kubernetes_pod_phase").map(String::as_str);
        !set.contains_key("__meta_kubernetes_pod_ip") || matches!(phase, Some("Succeeded" | "Failed"))
    };
    sets.into_iter()
        .filter(|set| !(is_extra(set) && port_of_pod(set) && dead(set)))
        .filter(|set| set.get("__meta_kubernetes_endpointslice_port").is_none_or(|port| port != "0"))
        .collect()
}

/// What is in one set and not in the most similar one of the others.
fn show(sets: &BTreeSet<LabelSet>, others: &BTreeSet<LabelSet>) -> String {
    let differing = |set: &LabelSet, other: &LabelSet| -> Vec<String> {
        set.iter()
            .filter(|(name, value)| other.get(*name) != Some(value))
            .map(|(n, v)| format!("{n}={v:.80}"))
            .collect()
    };
    let line = |set: &LabelSet| {
        let least = others.iter().map(|other| differing(set, other)).min_by_key(Vec::len).unwrap_or_default();
        format!("  {}: {}\n", set.get("__address__").map_or("", String::as_str), least.join(" "))
    };
    sets.iter().take(12).map(line).collect()
}

fn check(job: &str, got: BTreeSet<LabelSet>, want: BTreeSet<LabelSet>) {
    let missing: BTreeSet<_> = want.difference(&got).cloned().collect();
    let surplus: BTreeSet<_> = got.difference(&want).cloned().collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "{job}: of {} targets are missing {}\n{}and too many {}\n{}",
        want.len(),
        missing.len(),
        show(&missing, &got),
        surplus.len(),
        show(&surplus, &want)
    );
    assert!(!got.is_empty(), "{job}: no targets");
}

const NODE: AttachMetadata = AttachMetadata { node: true, namespace: false };
const NAMESPACE: AttachMetadata = AttachMetadata { node: false, namespace: true };
const BOTH: AttachMetadata = AttachMetadata { node: true, namespace: true };
const NONE: AttachMetadata = AttachMetadata { node: false, namespace: false };

#[test]
fn objects_without_helpers() {
    use ObjectKind::{Ingress, Node, Pod, Service};
    let f = |job: &str, kind, lists: &[&str], attach| {
        let mut all = Lists::default();
        all.load(Node, "list-nodes");
        all.load(ObjectKind::Namespace, "list-namespaces");
        let got = lists.iter().flat_map(|list| all.targets(kind, list, attach)).collect();
        check(job, got, expected(job));
    };
    f("node", Node, &["list-nodes"], NONE);
    f("node-attach-both", Node, &["list-nodes"], BOTH);
    f("service", Service, &["list-services"], NONE);
    f("service-attach-both", Service, &["list-services"], BOTH);
    f("ingress", Ingress, &["list-ingresses"], NONE);
    f("ingress-attach-namespace", Ingress, &["list-ingresses"], NAMESPACE);
    f("ingress-selector", Ingress, &["list-ingresses-store"], NONE);
    f("pod", Pod, &["list-pods"], NONE);
    f("pod-attach-node", Pod, &["list-pods"], NODE);
    f("pod-attach-both", Pod, &["list-pods-checkout"], BOTH);
    f("pod-namespaces", Pod, &["list-pods-shop", "list-pods-checkout"], NONE);
    f("pod-selector-label", Pod, &["list-pods-label"], NONE);
    f("pod-selector-field", Pod, &["list-pods-field"], NONE);
    f("pod-selector-two", Pod, &["list-pods-two"], NONE);
    f("own-namespace", Service, &["list-services-checkout"], NONE);
}

/// The node of an address without a pod counts, which upstream does not look at.
fn without_node(sets: BTreeSet<LabelSet>) -> BTreeSet<LabelSet> {
    let strip = |set: LabelSet| {
        if set.contains_key("__meta_kubernetes_pod_uid") {
            return set;
        }
        set.into_iter().filter(|(name, _)| !name.starts_with("__meta_kubernetes_node_")).collect()
    };
    sets.into_iter().map(strip).collect()
}

#[test]
fn endpoints_with_their_pods_and_services() {
    let f = |job: &str, list: &str, pods: &str, services: &str, attach| {
        let mut all = Lists::default();
        all.load(ObjectKind::Node, "list-nodes");
        all.load(ObjectKind::Namespace, "list-namespaces");
        all.load(ObjectKind::Pod, pods);
        all.load(ObjectKind::Service, services);
        let kind = if job.contains("slice") { ObjectKind::EndpointSlice } else { ObjectKind::Endpoints };
        let got = without_node(all.targets(kind, list, attach));
        // Upstream has no label of the zone.
        let zone = "__meta_kubernetes_endpointslice_endpoint_zone";
        let got = got.into_iter().map(|set| set.into_iter().filter(|(name, _)| name != zone).collect()).collect();
        check(job, got, decided(expected(job)));
    };
    f("endpoints", "list-endpoints", "list-pods", "list-services", NONE);
    f("endpoints-attach-both", "list-endpoints", "list-pods", "list-services", BOTH);
    f("endpoints-namespace", "list-endpoints-checkout", "list-pods-checkout", "list-services-checkout", NONE);
    f("endpoints-selectors", "list-endpoints-nokind", "list-pods-twins", "list-services-edge", NONE);
    f("endpointslice", "list-endpointslices", "list-pods", "list-services", NONE);
    f("endpointslice-attach-both", "list-endpointslices", "list-pods", "list-services", BOTH);
    f("endpointslice-selectors", "list-endpointslices-cart", "list-pods", "list-services", NONE);
}
