//! What a view recomputes when something changes.

use super::*;
use crate::discovery::kubernetes::object_builder::Builder;
use crate::discovery::kubernetes::store::Listing;

struct Cluster {
    builder: Builder,
    stores: HashMap<ObjectKind, Arc<Store>>,
}

impl Cluster {
    fn store(&mut self, kind: ObjectKind) -> Arc<Store> {
        Arc::clone(self.stores.entry(kind).or_default())
    }

    fn list(&mut self, kind: ObjectKind, items: &[String]) {
        let (store, mut listing) = (self.store(kind), Listing::default());
        for item in items {
            let (key, object) = self.builder.read(kind, item.as_bytes()).unwrap();
            store.listed(&mut listing, key, object);
        }
        store.finish(listing);
    }

    fn change(&mut self, kind: ObjectKind, item: &str) {
        let (key, object) = self.builder.read(kind, item.as_bytes()).unwrap();
        self.store(kind).upsert(key, object);
    }
}

fn pod(number: usize, node: &str, app: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"p{number}","namespace":"n","labels":{{"app":"{app}"}}}},"spec":{{"nodeName":"{node}",
        "containers":[{{"name":"c","ports":[{{"containerPort":80}}]}}]}},"status":{{"podIP":"10.0.0.{number}","phase":"Running"}}}}"#
    )
}

/// Endpoints `e<number>` with the pods 10 × number … 10 × number + 9.
fn endpoints(number: usize) -> String {
    let address =
        |pod: usize| format!(r#"{{"ip":"10.0.0.{pod}","targetRef":{{"kind":"Pod","namespace":"n","name":"p{pod}"}}}}"#);
    let addresses: Vec<String> = (10 * number..10 * number + 10).map(address).collect();
    format!(
        r#"{{"metadata":{{"name":"e{number}","namespace":"n"}},"subsets":[{{"addresses":[{}],"ports":[{{"port":80}}]}}]}}"#,
        addresses.join(",")
    )
}

fn named(name: &str, label: &str) -> String {
    format!(r#"{{"metadata":{{"name":"{name}","labels":{{"x":"{label}"}}}}}}"#)
}

fn cluster() -> Cluster {
    let mut cluster = Cluster { builder: Builder::default(), stores: HashMap::new() };
    cluster.list(ObjectKind::Pod, &(0..100).map(|n| pod(n, if n < 50 { "a" } else { "b" }, "x")).collect::<Vec<_>>());
    cluster.list(ObjectKind::Endpoints, &(0..10).map(endpoints).collect::<Vec<_>>());
    cluster.list(ObjectKind::Service, &[]);
    cluster.list(ObjectKind::Node, &[named("a", "1"), named("b", "1")]);
    cluster.list(ObjectKind::Namespace, &[named("n", "1")]);
    cluster
}

fn view(cluster: &mut Cluster, main: ObjectKind, helpers: &[ObjectKind], attach: AttachMetadata) -> View {
    let wake = Arc::default();
    let mut view = View::new(attach);
    let helpers = helpers.iter().map(|&kind| Source::new(kind, cluster.store(kind), &wake)).collect();
    view.add_unit(Source::new(main, cluster.store(main), &wake), helpers);
    for (wanted, kind) in [(attach.node, ObjectKind::Node), (attach.namespace, ObjectKind::Namespace)] {
        if wanted {
            view.add_shared(Source::new(kind, cluster.store(kind), &wake));
        }
    }
    view
}

#[test]
fn only_what_depends_on_a_change_is_made_again() {
    use ObjectKind::{Endpoints, Namespace, Node, Pod, Service};
    let mut cluster = cluster();
    let attach = AttachMetadata { node: true, namespace: true };
    let mut view = view(&mut cluster, Endpoints, &[Pod, Service], attach);
    let f = |view: &mut View, changed: bool, computed: u64| {
        let before = view.computed();
        assert_eq!((view.refresh(), view.computed() - before), (changed, computed));
    };
    f(&mut view, true, 10);
    assert_eq!(view.targets().len(), 100);
    f(&mut view, false, 0);
    cluster.change(Pod, &pod(42, "a", "y"));
    f(&mut view, true, 1);
    cluster.change(Pod, &pod(42, "a", "y"));
    f(&mut view, false, 0);
    let service = r#"{"metadata":{"name":"e7","namespace":"n"},"spec":{"type":"ClusterIP"}}"#;
    cluster.change(Service, service);
    f(&mut view, true, 1);
    cluster.store(Service).remove(&Key::new("n", "e7"));
    f(&mut view, true, 1);
    cluster.change(Node, &named("b", "2"));
    f(&mut view, true, 5);
    cluster.change(Namespace, &named("n", "2"));
    f(&mut view, true, 10);
    cluster.change(Namespace, &named("other", "2"));
    f(&mut view, false, 0);
    cluster.store(Endpoints).remove(&Key::new("n", "e0"));
    f(&mut view, true, 1);
    assert_eq!(view.targets().len(), 90);
    cluster.change(Pod, &pod(3, "a", "z"));
    f(&mut view, false, 0);
}

#[test]
fn unchanged_targets_stay_the_same_and_nothing_is_shown_before_all_lists_are_complete() {
    let mut cluster = cluster();
    cluster.stores.insert(ObjectKind::Service, Arc::default());
    let mut view =
        view(&mut cluster, ObjectKind::Endpoints, &[ObjectKind::Pod, ObjectKind::Service], AttachMetadata::default());
    assert!(!view.refresh() && !view.is_complete() && view.targets().is_empty());
    cluster.list(ObjectKind::Service, &[]);
    assert!(view.refresh() && view.is_complete());
    let before = view.targets();
    cluster.change(ObjectKind::Pod, &pod(0, "a", "changed"));
    assert!(view.refresh());
    let after = view.targets();
    let same = before.iter().zip(after.iter()).filter(|(one, other)| Arc::ptr_eq(one, other)).count();
    assert_eq!(same, 99);
}
