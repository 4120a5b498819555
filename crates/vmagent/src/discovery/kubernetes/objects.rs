//! What is kept of API objects: their labels, made once, and what decides which targets they give.
//!
//! Objects that compare equal give the same targets, so an update that changes nothing here (heartbeats of nodes,
//! conditions of pods) is no update. Labels and port lists of containers are shared by all replicas.

use crate::discovery::Piece;
use std::fmt;
use std::sync::Arc;

/// What a watch is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// `/api/v1/nodes`.
    Node,
    /// `/api/v1/namespaces`.
    Namespace,
    /// `/api/v1/…pods`.
    Pod,
    /// `/api/v1/…services`.
    Service,
    /// `/api/v1/…endpoints`.
    Endpoints,
    /// `/apis/discovery.k8s.io/v1/…endpointslices`.
    EndpointSlice,
    /// `/apis/networking.k8s.io/v1/…ingresses`.
    Ingress,
}

/// What tells objects of one kind apart; nodes and namespaces have no namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
}

impl Key {
    pub(super) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// One object as it is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Object {
    Node(Node),
    Namespace(Piece),
    Pod(Pod),
    Service(Service),
    Endpoints(Endpoints),
    EndpointSlice(EndpointSlice),
    Ingress(Ingress),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Labels and annotations, which pods of the node get when they are attached.
    pub(super) meta: Piece,
    /// What only the role `node` shows.
    pub(super) own: Piece,
    pub(super) address: Option<Arc<str>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pod {
    /// What is its own, then its labels and its annotations: replicas have these in common.
    pub(super) labels: [Piece; 3],
    pub(super) ip: Arc<str>,
    /// Succeeded or failed: its address may be that of another pod by now.
    pub(super) finished: bool,
    pub(super) node: Arc<str>,
    pub(super) containers: Box<[Container]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Container {
    /// Name, image, whether it is an init container.
    pub(super) labels: Piece,
    pub(super) id: Option<Arc<str>>,
    pub(super) terminated: bool,
    pub(super) role: ContainerRole,
    pub(super) ports: Ports,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContainerRole {
    Main,
    /// An init container that goes on running (`restartPolicy: Always`).
    Sidecar,
    Init,
}

/// Ports with their labels.
pub(super) type Ports = Arc<[Port]>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Port {
    pub(super) number: i64,
    pub(super) labels: Piece,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) labels: Piece,
    pub(super) ports: Ports,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoints {
    pub(super) labels: Piece,
    pub(super) subsets: Box<[Subset]>,
    /// Value of the annotation `endpoints.kubernetes.io/over-capacity`.
    pub(super) over_capacity: Option<Arc<str>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subset {
    pub(super) addresses: Box<[Address]>,
    pub(super) ports: Ports,
}

/// An address of endpoints or of a slice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// One for endpoints; those of a slice may be several of one endpoint.
    pub(super) hosts: Box<[Arc<str>]>,
    pub(super) labels: Piece,
    pub(super) node: Arc<str>,
    pub(super) target: Option<Target>,
}

/// What an address belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) is_pod: bool,
    pub(super) is_node: bool,
    pub(super) key: Key,
    /// Kind and name as labels.
    pub(super) labels: Piece,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct EndpointSlice {
    pub(super) labels: Piece,
    /// Of the label `kubernetes.io/service-name`.
    pub(super) service: Option<Arc<str>>,
    pub(super) addresses: Box<[Address]>,
    /// Those with a number.
    pub(super) ports: Ports,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ingress {
    pub(super) labels: Piece,
    /// Host, and labels of host, path and scheme.
    pub(super) paths: Box<[(Arc<str>, Piece)]>,
}

/// `host:port`, IPv6 in brackets.
pub(super) fn host_port(host: &str, port: i64) -> Arc<str> {
    if host.contains(':') { format!("[{host}]:{port}").into() } else { format!("{host}:{port}").into() }
}

/// A host without a port, IPv6 in brackets.
pub(super) fn bare_host(host: &str) -> Arc<str> {
    if host.contains(':') { format!("[{host}]").into() } else { host.into() }
}

impl ObjectKind {
    /// The value of the label `role`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Namespace => "namespace",
            Self::Pod => "pod",
            Self::Service => "service",
            Self::Endpoints => "endpoints",
            Self::EndpointSlice => "endpointslice",
            Self::Ingress => "ingress",
        }
    }

    /// The path of its list in one namespace, or in all.
    pub(super) fn path(self, namespace: Option<&str>) -> String {
        let (group, plural) = match self {
            Self::Node => return "/api/v1/nodes".to_owned(),
            Self::Namespace => return "/api/v1/namespaces".to_owned(),
            Self::Pod => ("/api/v1", "pods"),
            Self::Service => ("/api/v1", "services"),
            Self::Endpoints => ("/api/v1", "endpoints"),
            Self::EndpointSlice => ("/apis/discovery.k8s.io/v1", "endpointslices"),
            Self::Ingress => ("/apis/networking.k8s.io/v1", "ingresses"),
        };
        match namespace {
            Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
            None => format!("{group}/{plural}"),
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
