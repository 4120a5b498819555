//! From one object and its helpers to targets, role by role.
//!
//! Pure: helpers (the pod behind an address, the service of endpoints, the node of a pod) are asked for by key, and
//! whoever answers remembers the question, so that a change of a helper leads back to the objects that asked. Pieces
//! of labels stand in the order in which they override each other; it matters for
//! `__meta_kubernetes_namespace` of pods in another namespace alone.

use super::objects::{
    Address, Container, ContainerRole, EndpointSlice, Endpoints, Ingress, Key, Object, ObjectKind, Pod, Port, Service,
    bare_host, host_port,
};
use crate::discovery::{Piece, SharedLabel, TargetLabels};
use std::sync::Arc;

/// Whose labels targets get in addition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct AttachMetadata {
    /// Labels and annotations of the node a pod runs on.
    pub(super) node: bool,
    /// Labels and annotations of the namespace.
    pub(super) namespace: bool,
}

/// Objects of other kinds, as they are now.
pub(super) trait Helpers {
    fn get(&mut self, kind: ObjectKind, key: &Key) -> Option<Arc<Object>>;
}

/// Names that targets get here and nowhere else, shared by all of them.
#[derive(Debug)]
pub(super) struct Names {
    address: Arc<str>,
    container_id: Arc<str>,
    node_name: Arc<str>,
    target_kind: [Arc<str>; 2],
    target_name: [Arc<str>; 2],
    pod: Arc<str>,
    none: Arc<str>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            address: "__address__".into(),
            container_id: "__meta_kubernetes_pod_container_id".into(),
            node_name: "__meta_kubernetes_node_name".into(),
            target_kind: ["endpoint", "endpointslice"]
                .map(|p| format!("__meta_kubernetes_{p}_address_target_kind").into()),
            target_name: ["endpoint", "endpointslice"]
                .map(|p| format!("__meta_kubernetes_{p}_address_target_name").into()),
            pod: "Pod".into(),
            none: "".into(),
        }
    }
}

/// Makes the targets of objects for one role.
pub(super) struct RoleTargets<'a> {
    pub(super) names: &'a Names,
    pub(super) attach: AttachMetadata,
    pub(super) helpers: &'a mut dyn Helpers,
    pub(super) found: Vec<Arc<TargetLabels>>,
}

impl RoleTargets<'_> {
    /// Appends the targets of one object.
    pub(super) fn add(&mut self, key: &Key, object: &Object) {
        match object {
            Object::Node(node) => {
                if let Some(address) = &node.address {
                    self.push(vec![Arc::clone(&node.own), Arc::clone(&node.meta)], Arc::clone(address), None);
                }
            }
            Object::Service(service) => self.service(key, service),
            Object::Pod(pod) => self.pod(key, pod),
            Object::Endpoints(endpoints) => self.endpoints(key, endpoints),
            Object::EndpointSlice(slice) => self.slice(key, slice),
            Object::Ingress(ingress) => self.ingress(key, ingress),
            Object::Namespace(_) => {}
        }
    }

    fn push(&mut self, pieces: Vec<Piece>, address: Arc<str>, more: Option<SharedLabel>) {
        let address = SharedLabel { name: Arc::clone(&self.names.address), value: address };
        let own: Vec<SharedLabel> = more.into_iter().chain([address]).collect();
        self.found.push(Arc::new(TargetLabels::new(pieces, own)));
    }

    fn service(&mut self, key: &Key, service: &Service) {
        let base = [self.namespace(&key.namespace), Some(Arc::clone(&service.labels))];
        for port in service.ports.iter() {
            let pieces = base.iter().flatten().chain([&port.labels]).cloned().collect();
            self.push(pieces, format!("{}.{}.svc:{}", key.name, key.namespace, port.number).into(), None);
        }
    }

    fn ingress(&mut self, key: &Key, ingress: &Ingress) {
        let base = [self.namespace(&key.namespace), Some(Arc::clone(&ingress.labels))];
        for (host, labels) in &ingress.paths {
            self.push(base.iter().flatten().chain([labels]).cloned().collect(), Arc::clone(host), None);
        }
    }

    fn pod(&mut self, key: &Key, pod: &Pod) {
        if pod.ip.is_empty() || pod.finished {
            return;
        }
        let base = self.pod_pieces(&key.namespace, pod);
        for container in pod.containers.iter().filter(|container| !container.terminated) {
            let id = container.id.as_ref();
            let id = id.map(|id| SharedLabel { name: Arc::clone(&self.names.container_id), value: Arc::clone(id) });
            let with = |more: &[&Piece]| -> Vec<Piece> { base.iter().chain(more.iter().copied()).cloned().collect() };
            if container.ports.is_empty() {
                self.push(with(&[&container.labels]), bare_host(&pod.ip), id);
                continue;
            }
            for port in container.ports.iter() {
                let address = host_port(&pod.ip, port.number);
                self.push(with(&[&container.labels, &port.labels]), address, id.clone());
            }
        }
    }

    /// Labels of a pod with those of its node and namespace, as configured.
    fn pod_pieces(&mut self, namespace: &str, pod: &Pod) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = self.namespace(namespace).into_iter().collect();
        self.push_node(&mut pieces, &pod.node);
        pieces.extend(pod.labels.iter().cloned());
        pieces
    }

    fn push_node(&mut self, pieces: &mut Vec<Piece>, node: &Arc<str>) {
        if !self.attach.node || node.is_empty() {
            return;
        }
        let key = Key { namespace: Arc::clone(&self.names.none), name: Arc::clone(node) };
        if let Some(Object::Node(node)) = self.helpers.get(ObjectKind::Node, &key).as_deref() {
            pieces.push(Arc::clone(&node.meta));
        }
        let name = SharedLabel { name: Arc::clone(&self.names.node_name), value: Arc::clone(node) };
        pieces.push([name].into());
    }

    fn namespace(&mut self, name: &str) -> Option<Piece> {
        if !self.attach.namespace {
            return None;
        }
        match self.helpers.get(ObjectKind::Namespace, &Key::new("", name)).as_deref() {
            Some(Object::Namespace(labels)) => Some(Arc::clone(labels)),
            _ => None,
        }
    }

    fn service_pieces(&mut self, namespace: &Arc<str>, name: &Arc<str>) -> Vec<Piece> {
        let key = Key { namespace: Arc::clone(namespace), name: Arc::clone(name) };
        let Some(service) = self.helpers.get(ObjectKind::Service, &key) else { return Vec::new() };
        let Object::Service(service) = &*service else { return Vec::new() };
        self.namespace(namespace).into_iter().chain([Arc::clone(&service.labels)]).collect()
    }

    fn endpoints(&mut self, key: &Key, endpoints: &Endpoints) {
        let service = self.service_pieces(&key.namespace, &key.name);
        let mut backing = Backing { extra_kind: 0, pods: Vec::new() };
        for subset in &endpoints.subsets {
            for port in subset.ports.iter() {
                for address in &subset.addresses {
                    let sidecars = |role| role != ContainerRole::Init;
                    self.address(&mut backing, &service, &endpoints.labels, (address, port), sidecars);
                }
            }
        }
        self.extra(backing, &endpoints.labels, &service);
    }

    fn slice(&mut self, key: &Key, slice: &EndpointSlice) {
        let service = slice.service.as_ref().map(|name| self.service_pieces(&key.namespace, name)).unwrap_or_default();
        let mut backing = Backing { extra_kind: 1, pods: Vec::new() };
        for address in &slice.addresses {
            for port in slice.ports.iter() {
                self.address(&mut backing, &service, &slice.labels, (address, port), |_| true);
            }
        }
        self.extra(backing, &slice.labels, &service);
    }

    /// Targets of one address and port; `counts` says which containers may own the port.
    fn address(
        &mut self,
        backing: &mut Backing,
        service: &[Piece],
        object: &Piece,
        (address, port): (&Address, &Port),
        counts: impl Fn(ContainerRole) -> bool,
    ) {
        let mut pieces = service.to_vec();
        pieces.extend([Arc::clone(object), Arc::clone(&address.labels), Arc::clone(&port.labels)]);
        if let Some(target) = &address.target {
            pieces.push(Arc::clone(&target.labels));
        }
        let known = address.target.as_ref().filter(|target| target.is_pod).and_then(|target| {
            let pod = self.helpers.get(ObjectKind::Pod, &target.key)?;
            matches!(*pod, Object::Pod(_)).then(|| (target.key.clone(), pod))
        });
        match known {
            Some((key, object)) => {
                if let Object::Pod(pod) = &*object {
                    pieces.extend(self.pod_pieces(&key.namespace, pod));
                    if let Some((container, container_port)) = owner_of(pod, port.number, counts) {
                        pieces.extend([Arc::clone(&container.labels), Arc::clone(&container_port.labels)]);
                    }
                }
                backing.seen(key, object, port.number);
            }
            None => {
                let node = match &address.target {
                    Some(target) if target.is_node => &target.key.name,
                    _ => &address.node,
                };
                let node = Arc::clone(node);
                self.push_node(&mut pieces, &node);
            }
        }
        for host in &address.hosts {
            self.push(pieces.clone(), host_port(host, port.number), None);
        }
    }

    /// Targets of the ports of backing pods that no port of the object stands for.
    fn extra(&mut self, backing: Backing, object: &Piece, service: &[Piece]) {
        for (key, pod_object, ports) in backing.pods {
            let Object::Pod(pod) = &*pod_object else { continue };
            if pod.ip.is_empty() || pod.finished {
                continue;
            }
            let base = self.pod_pieces(&key.namespace, pod);
            let label = |names: &[Arc<str>; 2], value: &Arc<str>| {
                names
                    .get(backing.extra_kind)
                    .map(|name| SharedLabel { name: Arc::clone(name), value: Arc::clone(value) })
            };
            let target: Piece =
                [label(&self.names.target_kind, &self.names.pod), label(&self.names.target_name, &key.name)]
                    .into_iter()
                    .flatten()
                    .collect();
            for container in pod.containers.iter().filter(|container| container.role != ContainerRole::Init) {
                for port in container.ports.iter().filter(|port| !ports.contains(&port.number)) {
                    let mut pieces = base.clone();
                    pieces.extend([&container.labels, &port.labels, object, &target].into_iter().cloned());
                    pieces.extend_from_slice(service);
                    self.push(pieces, host_port(&pod.ip, port.number), None);
                }
            }
        }
    }
}

/// Pods behind endpoints or a slice, in the order in which they were met, and the ports that stand for them.
struct Backing {
    /// Which of the two names of target labels counts.
    extra_kind: usize,
    pods: Vec<(Key, Arc<Object>, Vec<i64>)>,
}

impl Backing {
    fn seen(&mut self, key: Key, pod: Arc<Object>, port: i64) {
        match self.pods.iter_mut().find(|(known, _, _)| *known == key) {
            Some((_, _, ports)) => ports.push(port),
            None => self.pods.push((key, pod, vec![port])),
        }
    }
}

/// The last container port of that number, whatever its protocol.
fn owner_of(pod: &Pod, number: i64, counts: impl Fn(ContainerRole) -> bool) -> Option<(&Container, &Port)> {
    let ports = pod.containers.iter().filter(|container| counts(container.role));
    ports
        .flat_map(|container| container.ports.iter().map(move |port| (container, port)))
        .rfind(|(_, port)| port.number == number)
}

#[cfg(test)]
mod tests;
