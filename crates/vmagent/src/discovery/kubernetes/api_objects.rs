//! The members of API objects that labels are made of, as the server sends them.
//!
//! Texts are borrowed from the reply where it has no escapes; everything else (above all `managedFields`) is skipped
//! without being decoded. A member that is missing, `null` or of a later version of the API reads as empty: an object
//! that the server accepted must never stop discovery.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A text; `null` and missing ones are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Str<'a>(Cow<'a, str>);

impl Str<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::ops::Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

struct StrVisitor;

impl<'de> Visitor<'de> for StrVisitor {
    type Value = Str<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Str<'de>, E> {
        Ok(Str(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Str<'de>, E> {
        Ok(Str(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Str<'de>, E> {
        Ok(Str::default())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrVisitor)
    }
}

/// Labels or annotations, sorted by the bytes of their keys.
#[derive(Debug, Default)]
pub(super) struct Pairs<'a>(Vec<(Str<'a>, Str<'a>)>);

impl<'a> Pairs<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry::<Str<'de>, Str<'de>>()? {
            pairs.push(pair);
        }
        pairs.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        Ok(Pairs(pairs))
    }

    fn visit_unit<E>(self) -> Result<Pairs<'de>, E> {
        Ok(Pairs::default())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PairsVisitor)
    }
}

/// `null` reads as the default.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

macro_rules! api_object {
    ($(#[doc = $doc:literal])* $name:ident { $($field:ident: $type:ty $(= $key:literal)?),* $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(default, bound(deserialize = "'de: 'a"))]
        pub(super) struct $name<'a> {
            $(
                #[serde(deserialize_with = "or_default" $(, rename = $key)?)]
                pub(super) $field: $type,
            )*
            #[serde(skip)]
            pub(super) lifetime: std::marker::PhantomData<&'a ()>,
        }
    };
}

api_object!(
    /// `metadata` of every object.
    Meta {
        name: Str<'a>,
        namespace: Str<'a>,
        uid: Str<'a>,
        resource_version: Str<'a> = "resourceVersion",
        labels: Pairs<'a>,
        annotations: Pairs<'a>,
        owners: Vec<Owner<'a>> = "ownerReferences",
    }
);
api_object!(Owner { kind: Str<'a>, name: Str<'a>, controller: bool, });
api_object!(
    /// An object of which only the metadata counts: bookmarks, deleted ones, namespaces.
    MetaOnly { metadata: Meta<'a>, }
);
api_object!(
    /// `metadata` of a list.
    ListMeta { resource_version: Str<'a> = "resourceVersion", next: Str<'a> = "continue", }
);
api_object!(
    /// `kind: Status`: why a request failed.
    Status { message: Str<'a>, reason: Str<'a>, code: u16, }
);

api_object!(Pod { metadata: Meta<'a>, spec: PodSpec<'a>, status: PodStatus<'a>, });
api_object!(PodSpec {
    node_name: Str<'a> = "nodeName",
    containers: Vec<Container<'a>>,
    init_containers: Vec<Container<'a>> = "initContainers",
});
api_object!(Container {
    name: Str<'a>,
    image: Str<'a>,
    restart_policy: Str<'a> = "restartPolicy",
    ports: Vec<ContainerPort<'a>>,
});
api_object!(ContainerPort { name: Str<'a>, number: i64 = "containerPort", protocol: Str<'a>, });
api_object!(PodStatus {
    phase: Str<'a>,
    pod_ip: Str<'a> = "podIP",
    host_ip: Str<'a> = "hostIP",
    conditions: Vec<Condition<'a>>,
    containers: Vec<ContainerStatus<'a>> = "containerStatuses",
    init_containers: Vec<ContainerStatus<'a>> = "initContainerStatuses",
});
api_object!(Condition { kind: Str<'a> = "type", status: Str<'a>, });
api_object!(ContainerStatus { name: Str<'a>, id: Str<'a> = "containerID", state: ContainerState<'a>, });
api_object!(ContainerState { terminated: Option<IgnoredAny>, });

api_object!(Node { metadata: Meta<'a>, spec: NodeSpec<'a>, status: NodeStatus<'a>, });
api_object!(NodeSpec { provider_id: Str<'a> = "providerID", });
api_object!(NodeStatus { addresses: Vec<NodeAddress<'a>>, daemons: DaemonEndpoints<'a> = "daemonEndpoints", });
api_object!(NodeAddress { kind: Str<'a> = "type", address: Str<'a>, });
api_object!(DaemonEndpoints { kubelet: DaemonEndpoint<'a> = "kubeletEndpoint", });
api_object!(DaemonEndpoint { port: i64 = "Port" });

api_object!(Service { metadata: Meta<'a>, spec: ServiceSpec<'a>, });
api_object!(ServiceSpec {
    kind: Str<'a> = "type",
    cluster_ip: Str<'a> = "clusterIP",
    external_name: Str<'a> = "externalName",
    ports: Vec<Port<'a>>,
});
api_object!(Port {
    name: Str<'a>,
    number: Option<i64> = "port",
    protocol: Str<'a>,
    app_protocol: Str<'a> = "appProtocol",
});

api_object!(Endpoints { metadata: Meta<'a>, subsets: Vec<Subset<'a>>, });
api_object!(Subset {
    ready: Vec<Address<'a>> = "addresses",
    not_ready: Vec<Address<'a>> = "notReadyAddresses",
    ports: Vec<Port<'a>>,
});
api_object!(Address {
    ip: Str<'a>,
    hostname: Str<'a>,
    node_name: Str<'a> = "nodeName",
    target: Reference<'a> = "targetRef",
});
api_object!(Reference { kind: Str<'a>, namespace: Str<'a>, name: Str<'a>, });

api_object!(EndpointSlice {
    metadata: Meta<'a>,
    address_type: Str<'a> = "addressType",
    endpoints: Vec<Endpoint<'a>>,
    ports: Vec<Port<'a>>,
});
api_object!(Endpoint {
    addresses: Vec<Str<'a>>,
    conditions: EndpointConditions<'a>,
    hostname: Str<'a>,
    node_name: Str<'a> = "nodeName",
    zone: Str<'a>,
    target: Reference<'a> = "targetRef",
});
api_object!(EndpointConditions { ready: Option<bool>, serving: Option<bool>, terminating: Option<bool>, });

api_object!(Ingress { metadata: Meta<'a>, spec: IngressSpec<'a>, });
api_object!(IngressSpec {
    class: Str<'a> = "ingressClassName",
    tls: Vec<IngressTls<'a>>,
    rules: Vec<IngressRule<'a>>,
});
api_object!(IngressTls { hosts: Vec<Str<'a>>, });
api_object!(IngressRule { host: Str<'a>, http: IngressHttp<'a>, });
api_object!(IngressHttp { paths: Vec<IngressPath<'a>>, });
api_object!(IngressPath { path: Str<'a>, });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_unknown_members_and_missing_ones() {
        let text = r#"{"metadata":{"name":"a\u0062","labels":null,"annotations":{"z":"1","a":null},"ownerReferences":null,
            "managedFields":[{"fieldsV1":{"f:x":{}}}]},"spec":null,"status":{"podIP":null,"containerStatuses":
            [{"state":{"terminated":{"exitCode":0}}},{"state":{"running":{}}},{"state":null}]},"new":[[{}]]}"#;
        let pod: Pod<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(&*pod.metadata.name, "ab");
        assert_eq!(pod.metadata.annotations.iter().collect::<Vec<_>>(), [("a", ""), ("z", "1")]);
        assert!(pod.spec.containers.is_empty() && pod.status.pod_ip.is_empty());
        let terminated: Vec<_> = pod.status.containers.iter().map(|one| one.state.terminated.is_some()).collect();
        assert_eq!(terminated, [true, false, false]);
        assert!(serde_json::from_str::<Pod<'_>>("{}").is_ok());
        assert!(serde_json::from_str::<Pod<'_>>(r#"{"metadata":{"name":5}}"#).is_err());
    }
}
