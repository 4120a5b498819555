//! From sent objects to kept ones: labels get their names, texts and pieces are shared.
//!
//! One builder serves one API server, so that a namespace, an image or a port is held once, whichever watch saw it.
//! Which label comes from which member is in `docs/reference/vmagent-discovery.md`.

use super::api_objects as api;
use super::objects::{
    Address, Container, ContainerRole, EndpointSlice, Endpoints, Ingress, Key, Node, Object, ObjectKind, Pod, Port,
    Ports, Service, Subset, Target, host_port,
};
use crate::discovery::{Interner, Piece, SharedLabel, push_sanitized};
use std::collections::HashSet;
use std::sync::Arc;

/// Makes kept objects of sent ones, with shared texts and pieces.
#[derive(Debug, Default)]
pub(super) struct Builder {
    texts: Interner,
    pieces: HashSet<Piece, foldhash::fast::RandomState>,
    sweep_pieces_at: usize,
    ports: HashSet<Ports, foldhash::fast::RandomState>,
    name: String,
}

/// Longer values of annotations, such as the whole object that kubectl applied last, are left out: nobody relabels by them,
/// and each pod would hold its own.
const MAX_ANNOTATION: usize = 4096;

const NAMESPACE: &str = "__meta_kubernetes_namespace";

impl Builder {
    /// Reads one object of a list or an event.
    pub(super) fn read(&mut self, kind: ObjectKind, json: &[u8]) -> Result<(Key, Object), serde_json::Error> {
        Ok(match kind {
            ObjectKind::Node => {
                let node: api::Node<'_> = serde_json::from_slice(json)?;
                (self.key(&node.metadata), Object::Node(self.node(&node)))
            }
            ObjectKind::Namespace => {
                let object: api::MetaOnly<'_> = serde_json::from_slice(json)?;
                let mut labels = Vec::new();
                self.meta(&mut labels, NAMESPACE, &object.metadata);
                (self.key(&object.metadata), Object::Namespace(labels.into()))
            }
            ObjectKind::Pod => {
                let pod: api::Pod<'_> = serde_json::from_slice(json)?;
                let key = self.key(&pod.metadata);
                let object = Object::Pod(self.pod(&key, &pod));
                (key, object)
            }
            ObjectKind::Service => {
                let service: api::Service<'_> = serde_json::from_slice(json)?;
                (self.key(&service.metadata), Object::Service(self.service(&service)))
            }
            ObjectKind::Endpoints => {
                let endpoints: api::Endpoints<'_> = serde_json::from_slice(json)?;
                (self.key(&endpoints.metadata), Object::Endpoints(self.endpoints(&endpoints)))
            }
            ObjectKind::EndpointSlice => {
                let slice: api::EndpointSlice<'_> = serde_json::from_slice(json)?;
                (self.key(&slice.metadata), Object::EndpointSlice(self.slice(&slice)))
            }
            ObjectKind::Ingress => {
                let ingress: api::Ingress<'_> = serde_json::from_slice(json)?;
                (self.key(&ingress.metadata), Object::Ingress(self.ingress(&ingress)))
            }
        })
    }

    /// The key of an object of which nothing else counts.
    pub(super) fn key(&mut self, meta: &api::Meta<'_>) -> Key {
        Key { namespace: self.texts.text(&meta.namespace), name: meta.name.as_str().into() }
    }

    /// Labels and annotations of an object.
    fn meta(&mut self, into: &mut Vec<SharedLabel>, prefix: &str, meta: &api::Meta<'_>) {
        into.reserve(2 * (meta.labels.len() + meta.annotations.len()));
        self.texts_of(into, [prefix, "label"], meta.labels.iter());
        self.texts_of(into, [prefix, "annotation"], meta.annotations.iter());
    }

    /// Labels or annotations of an object.
    fn texts_of<'p>(
        &mut self,
        into: &mut Vec<SharedLabel>,
        [prefix, what]: [&str; 2],
        pairs: impl Iterator<Item = (&'p str, &'p str)>,
    ) {
        for (key, value) in pairs {
            let is_kept = value.len() <= MAX_ANNOTATION;
            for (suffix, value) in [("", value), ("present", "true")].into_iter().skip(usize::from(!is_kept)) {
                self.name.clear();
                self.name.extend([prefix, "_", what, suffix, "_"]);
                push_sanitized(&mut self.name, key);
                into.push(self.texts.label(&self.name, value));
            }
        }
    }

    fn label(&mut self, name: &str, value: &str) -> SharedLabel {
        self.texts.label(name, value)
    }

    /// A label with a value that is held already.
    fn shared(&mut self, name: &str, value: &Arc<str>) -> SharedLabel {
        SharedLabel { name: self.texts.text(name), value: Arc::clone(value) }
    }

    /// One allocation for all pieces that are equal.
    fn piece(&mut self, labels: Vec<SharedLabel>) -> Piece {
        if let Some(known) = self.pieces.get(&*labels) {
            return Arc::clone(known);
        }
        if self.pieces.len() >= self.sweep_pieces_at.max(256) {
            self.ports.retain(|known| Arc::strong_count(known) > 1);
            self.pieces.retain(|known| Arc::strong_count(known) > 1);
            self.sweep_pieces_at = self.pieces.len() * 2;
        }
        let piece: Piece = labels.into();
        self.pieces.insert(Arc::clone(&piece));
        piece
    }

    fn ports(&mut self, ports: Vec<Port>) -> Ports {
        if let Some(known) = self.ports.get(&*ports) {
            return Arc::clone(known);
        }
        let ports: Ports = ports.into();
        self.ports.insert(Arc::clone(&ports));
        ports
    }

    fn node(&mut self, node: &api::Node<'_>) -> Node {
        let mut meta = Vec::new();
        self.meta(&mut meta, "__meta_kubernetes_node", &node.metadata);
        let name = node.metadata.name.as_str();
        let mut own = vec![
            self.label("instance", name),
            self.label("__meta_kubernetes_node_name", name),
            self.texts.unique("__meta_kubernetes_node_provider_id", &node.spec.provider_id),
        ];
        let mut kinds: Vec<&str> = Vec::new();
        for address in &node.status.addresses {
            if kinds.contains(&address.kind.as_str()) {
                continue;
            }
            kinds.push(&address.kind);
            let mut label = "__meta_kubernetes_node_address_".to_owned();
            push_sanitized(&mut label, &address.kind);
            own.push(self.texts.unique(&label, &address.address));
        }
        let by_kind = |kind: &&str| node.status.addresses.iter().find(|address| address.kind.as_str() == *kind);
        const ORDER: [&str; 6] = ["InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"];
        let address = ORDER.iter().find_map(by_kind).filter(|address| !address.address.is_empty());
        let address = address.map(|address| host_port(&address.address, node.status.daemons.kubelet.port));
        Node { meta: meta.into(), own: own.into(), address }
    }

    fn pod(&mut self, key: &Key, pod: &api::Pod<'_>) -> Pod {
        const P: &str = "__meta_kubernetes_pod";
        let (meta, status) = (&pod.metadata, &pod.status);
        let ready = status.conditions.iter().find(|condition| condition.kind.as_str() == "Ready");
        let ready = ready.map_or_else(|| "unknown".to_owned(), |ready| ready.status.to_ascii_lowercase());
        let ip: Arc<str> = status.pod_ip.as_str().into();
        let mut own = Vec::with_capacity(10);
        own.extend([
            self.shared(NAMESPACE, &key.namespace),
            self.shared("__meta_kubernetes_pod_name", &key.name),
            self.shared("__meta_kubernetes_pod_ip", &ip),
            self.texts.unique("__meta_kubernetes_pod_uid", &meta.uid),
            self.label("__meta_kubernetes_pod_phase", &status.phase),
            self.label("__meta_kubernetes_pod_node_name", &pod.spec.node_name),
            self.label("__meta_kubernetes_pod_host_ip", &status.host_ip),
            self.label("__meta_kubernetes_pod_ready", &ready),
        ]);
        if let Some(owner) = meta.owners.iter().find(|owner| owner.controller) {
            own.push(self.label("__meta_kubernetes_pod_controller_kind", &owner.kind));
            own.push(self.label("__meta_kubernetes_pod_controller_name", &owner.name));
        }
        let mut labels = Vec::with_capacity(2 * meta.labels.len());
        self.texts_of(&mut labels, [P, "label"], meta.labels.iter());
        let mut annotations = Vec::with_capacity(2 * meta.annotations.len());
        self.texts_of(&mut annotations, [P, "annotation"], meta.annotations.iter());
        let main = pod.spec.containers.iter().map(|container| (container, ContainerRole::Main));
        let init = pod.spec.init_containers.iter().map(|container| {
            let sidecar = container.restart_policy.as_str() == "Always";
            (container, if sidecar { ContainerRole::Sidecar } else { ContainerRole::Init })
        });
        let containers = main.chain(init).map(|(container, role)| self.container(pod, container, role)).collect();
        Pod {
            labels: [own.into(), self.piece(labels), self.piece(annotations)],
            ip,
            finished: matches!(status.phase.as_str(), "Succeeded" | "Failed"),
            node: self.texts.text(&pod.spec.node_name),
            containers,
        }
    }

    fn container(&mut self, pod: &api::Pod<'_>, container: &api::Container<'_>, role: ContainerRole) -> Container {
        let is_init = role != ContainerRole::Main;
        let statuses = if is_init { &pod.status.init_containers } else { &pod.status.containers };
        let status = statuses.iter().find(|status| *status.name == *container.name);
        let labels = vec![
            self.label("__meta_kubernetes_pod_container_name", &container.name),
            self.label("__meta_kubernetes_pod_container_image", &container.image),
            self.label("__meta_kubernetes_pod_container_init", if is_init { "true" } else { "false" }),
        ];
        let mut ports = Vec::with_capacity(container.ports.len());
        for port in &container.ports {
            let labels = vec![
                self.label("__meta_kubernetes_pod_container_port_name", &port.name),
                self.label("__meta_kubernetes_pod_container_port_number", &port.number.to_string()),
                self.label("__meta_kubernetes_pod_container_port_protocol", &port.protocol),
            ];
            ports.push(Port { number: port.number, labels: self.piece(labels) });
        }
        Container {
            labels: self.piece(labels),
            id: status.filter(|status| !status.id.is_empty()).map(|status| status.id.as_str().into()),
            terminated: status.is_some_and(|status| status.state.terminated.is_some()),
            role,
            ports: self.ports(ports),
        }
    }

    fn service(&mut self, service: &api::Service<'_>) -> Service {
        let (meta, spec) = (&service.metadata, &service.spec);
        let mut labels = vec![
            self.label(NAMESPACE, &meta.namespace),
            self.label("__meta_kubernetes_service_name", &meta.name),
            self.label("__meta_kubernetes_service_type", &spec.kind),
        ];
        if spec.kind.as_str() == "ExternalName" {
            labels.push(self.texts.unique("__meta_kubernetes_service_external_name", &spec.external_name));
        } else {
            labels.push(self.texts.unique("__meta_kubernetes_service_cluster_ip", &spec.cluster_ip));
        }
        self.meta(&mut labels, "__meta_kubernetes_service", meta);
        let mut ports = Vec::with_capacity(spec.ports.len());
        for port in &spec.ports {
            let number = port.number.unwrap_or_default();
            let labels = vec![
                self.label("__meta_kubernetes_service_port_name", &port.name),
                self.label("__meta_kubernetes_service_port_number", &number.to_string()),
                self.label("__meta_kubernetes_service_port_protocol", &port.protocol),
            ];
            ports.push(Port { number, labels: self.piece(labels) });
        }
        Service { labels: labels.into(), ports: self.ports(ports) }
    }

    /// What a `targetRef` says; `namespace` is that of the object it stands in.
    fn target(&mut self, prefix: &str, reference: &api::Reference<'_>) -> Option<Target> {
        if reference.kind.is_empty() {
            return None;
        }
        let labels = vec![
            self.label(&format!("{prefix}_address_target_kind"), &reference.kind),
            self.texts.unique(&format!("{prefix}_address_target_name"), &reference.name),
        ];
        Some(Target {
            is_pod: reference.kind.as_str() == "Pod",
            is_node: reference.kind.as_str() == "Node",
            key: Key { namespace: self.texts.text(&reference.namespace), name: reference.name.as_str().into() },
            labels: labels.into(),
        })
    }

    fn endpoints(&mut self, endpoints: &api::Endpoints<'_>) -> Endpoints {
        let meta = &endpoints.metadata;
        let mut labels =
            vec![self.label(NAMESPACE, &meta.namespace), self.label("__meta_kubernetes_endpoints_name", &meta.name)];
        self.meta(&mut labels, "__meta_kubernetes_endpoints", meta);
        let mut subsets = Vec::with_capacity(endpoints.subsets.len());
        for subset in &endpoints.subsets {
            let mut addresses = Vec::with_capacity(subset.ready.len() + subset.not_ready.len());
            for (list, ready) in [(&subset.ready, "true"), (&subset.not_ready, "false")] {
                for address in list {
                    let mut labels = vec![self.label("__meta_kubernetes_endpoint_ready", ready)];
                    if !address.node_name.is_empty() {
                        labels.push(self.label("__meta_kubernetes_endpoint_node_name", &address.node_name));
                    }
                    if !address.hostname.is_empty() {
                        labels.push(self.texts.unique("__meta_kubernetes_endpoint_hostname", &address.hostname));
                    }
                    addresses.push(Address {
                        hosts: [address.ip.as_str().into()].into(),
                        labels: self.piece(labels),
                        node: self.texts.text(&address.node_name),
                        target: self.target("__meta_kubernetes_endpoint", &address.target),
                    });
                }
            }
            let ports = self.endpoint_ports(&subset.ports, |builder, port, _| {
                vec![
                    builder.label("__meta_kubernetes_endpoint_port_name", &port.name),
                    builder.label("__meta_kubernetes_endpoint_port_protocol", &port.protocol),
                ]
            });
            subsets.push(Subset { addresses: addresses.into(), ports });
        }
        let over_capacity = meta.annotations.get("endpoints.kubernetes.io/over-capacity");
        Endpoints {
            labels: labels.into(),
            subsets: subsets.into(),
            over_capacity: over_capacity.map(|value| self.texts.text(value)),
        }
    }

    /// Ports with a number; one without means all ports, which is nothing to scrape.
    fn endpoint_ports(
        &mut self,
        ports: &[api::Port<'_>],
        labels: impl Fn(&mut Self, &api::Port<'_>, i64) -> Vec<SharedLabel>,
    ) -> Ports {
        let mut kept = Vec::with_capacity(ports.len());
        for port in ports {
            if let Some(number) = port.number {
                let labels = labels(self, port, number);
                kept.push(Port { number, labels: self.piece(labels) });
            }
        }
        self.ports(kept)
    }

    fn slice(&mut self, slice: &api::EndpointSlice<'_>) -> EndpointSlice {
        const P: &str = "__meta_kubernetes_endpointslice";
        let meta = &slice.metadata;
        let mut labels = vec![
            self.label(NAMESPACE, &meta.namespace),
            self.label("__meta_kubernetes_endpointslice_name", &meta.name),
            self.label("__meta_kubernetes_endpointslice_address_type", &slice.address_type),
        ];
        self.meta(&mut labels, P, meta);
        let mut addresses = Vec::with_capacity(slice.endpoints.len());
        for endpoint in &slice.endpoints {
            let conditions = &endpoint.conditions;
            let mut labels = Vec::with_capacity(6);
            for (name, value) in
                [("ready", conditions.ready), ("serving", conditions.serving), ("terminating", conditions.terminating)]
            {
                let value = if value == Some(true) { "true" } else { "false" };
                labels.push(self.label(&format!("{P}_endpoint_conditions_{name}"), value));
            }
            for (name, value) in [
                ("__meta_kubernetes_endpointslice_endpoint_hostname", &endpoint.hostname),
                ("__meta_kubernetes_endpointslice_endpoint_node_name", &endpoint.node_name),
                ("__meta_kubernetes_endpointslice_endpoint_zone", &endpoint.zone),
            ] {
                if !value.is_empty() {
                    labels.push(self.label(name, value));
                }
            }
            addresses.push(Address {
                hosts: endpoint.addresses.iter().map(|address| address.as_str().into()).collect(),
                labels: self.piece(labels),
                node: self.texts.text(&endpoint.node_name),
                target: self.target(P, &endpoint.target),
            });
        }
        let ports = self.endpoint_ports(&slice.ports, |builder, port, number| {
            let mut labels = vec![
                builder.label("__meta_kubernetes_endpointslice_port", &number.to_string()),
                builder.label("__meta_kubernetes_endpointslice_port_name", &port.name),
                builder.label("__meta_kubernetes_endpointslice_port_protocol", &port.protocol),
            ];
            if !port.app_protocol.is_empty() {
                labels.push(builder.label("__meta_kubernetes_endpointslice_port_app_protocol", &port.app_protocol));
            }
            labels
        });
        let service = meta.labels.get("kubernetes.io/service-name").filter(|name| !name.is_empty());
        EndpointSlice {
            labels: labels.into(),
            service: service.map(|name| self.texts.text(name)),
            addresses: addresses.into(),
            ports,
        }
    }

    fn ingress(&mut self, ingress: &api::Ingress<'_>) -> Ingress {
        const P: &str = "__meta_kubernetes_ingress";
        let (meta, spec) = (&ingress.metadata, &ingress.spec);
        let mut labels = vec![
            self.label(NAMESPACE, &meta.namespace),
            self.label("__meta_kubernetes_ingress_name", &meta.name),
            self.label("__meta_kubernetes_ingress_class_name", &spec.class),
        ];
        self.meta(&mut labels, P, meta);
        let mut paths = Vec::new();
        for rule in &spec.rules {
            let scheme = if is_encrypted(&rule.host, &spec.tls) { "https" } else { "http" };
            let written: Vec<&str> = match &*rule.http.paths {
                [] => vec!["/"],
                paths => paths.iter().map(|path| if path.path.is_empty() { "/" } else { &*path.path }).collect(),
            };
            for path in written {
                let labels = vec![
                    self.label("__meta_kubernetes_ingress_host", &rule.host),
                    self.label("__meta_kubernetes_ingress_path", path),
                    self.label("__meta_kubernetes_ingress_scheme", scheme),
                ];
                paths.push((self.texts.text(&rule.host), labels.into()));
            }
        }
        Ingress { labels: labels.into(), paths: paths.into() }
    }
}

/// Whether a host of the TLS entries is this one, or a wildcard in place of its first label.
fn is_encrypted(host: &str, tls: &[api::IngressTls<'_>]) -> bool {
    let rest = host.split_once('.').map(|(_, rest)| rest);
    tls.iter()
        .flat_map(|entry| &entry.hosts)
        .any(|known| known.as_str() == host || rest.is_some_and(|rest| known.strip_prefix("*.") == Some(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, annotation: &str) -> Pod {
        let object = serde_json::json!({
            "metadata": {"name": name, "namespace": "n", "labels": {"app": "a"}, "annotations": {"k": annotation}},
        });
        match Builder::default().read(ObjectKind::Pod, object.to_string().as_bytes()).unwrap() {
            (_, Object::Pod(pod)) => pod,
            other => panic!("{other:?}"),
        }
    }

    fn annotations(pod: &Pod) -> Vec<(&str, usize)> {
        let texts = pod.labels.iter().flat_map(|piece| piece.iter());
        let own = texts.filter(|label| label.name.contains("_annotation"));
        own.map(|label| (&*label.name, label.value.len())).collect()
    }

    #[test]
    fn long_annotations_are_present_without_their_values() {
        let present = ("__meta_kubernetes_pod_annotationpresent_k", 4);
        let longest = pod("p", &"x".repeat(MAX_ANNOTATION));
        assert_eq!(annotations(&longest), [("__meta_kubernetes_pod_annotation_k", MAX_ANNOTATION), present]);
        assert_eq!(annotations(&pod("p", &"x".repeat(MAX_ANNOTATION + 1))), [present]);
    }

    #[test]
    fn replicas_share_labels_and_annotations() {
        let mut builder = Builder::default();
        let mut read = |name: &str| {
            let object = serde_json::json!({
                "metadata": {"name": name, "namespace": "n", "labels": {"app": "a"}, "annotations": {"k": "v"}},
            });
            match builder.read(ObjectKind::Pod, object.to_string().as_bytes()).unwrap() {
                (_, Object::Pod(pod)) => pod.labels,
                other => panic!("{other:?}"),
            }
        };
        let (one, other) = (read("one"), read("other"));
        assert!(!Arc::ptr_eq(&one[0], &other[0]));
        assert!(Arc::ptr_eq(&one[1], &other[1]) && Arc::ptr_eq(&one[2], &other[2]));
    }
}
