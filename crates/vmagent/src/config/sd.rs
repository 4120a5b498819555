//! Where the targets of a job come from: `static_configs` and the `*_sd_configs`.
//!
//! Plain data; `crate::discovery` starts providers from it. Fields are checked for type and presence, what is behind
//! them (files, servers, names) is not touched.

use vmkit::yaml::{Field, NodeId, Place};

use super::fields::{self, Reader, field};
use super::http_options::{self, Context, HttpOptions};
use super::kind::Kind;

/// All sources of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SdConfigs {
    /// `static_configs`.
    pub statics: Vec<StaticTargets>,
    /// `file_sd_configs`.
    pub files: Vec<FileSd>,
    /// `http_sd_configs`.
    pub http: Vec<HttpSd>,
    /// `dns_sd_configs`.
    pub dns: Vec<DnsSd>,
    /// `kubernetes_sd_configs`.
    pub kubernetes: Vec<KubernetesSd>,
    /// Directory of the config: relative paths begin there.
    pub directory: String,
}

/// An entry of `static_configs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticTargets {
    /// Addresses as written; empty ones included.
    pub targets: Vec<String>,
    /// Labels of all of them.
    pub labels: Vec<(String, String)>,
}

/// An entry of `file_sd_configs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSd {
    /// Paths, patterns with `*`, or http(s) URLs; relative ones begin at [`SdConfigs::directory`].
    pub files: Vec<String>,
}

/// An entry of `http_sd_configs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSd {
    /// Where the list of targets is.
    pub url: String,
    /// How the server is reached.
    pub http: HttpOptions,
}

/// Kind of DNS records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsType {
    /// Names and ports.
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail servers.
    Mx,
}

/// An entry of `dns_sd_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSd {
    /// Names to look up.
    pub names: Vec<String>,
    /// Kind of their records.
    pub record_type: DnsType,
    /// Port of the targets; the record decides with `SRV`.
    pub port: Option<u16>,
}

/// An entry of `kubernetes_sd_configs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubernetesSd {
    /// `node`, `pod`, `service`, `endpoints`, `endpointslice` or `ingress`.
    pub role: String,
    /// `api_server`: URL of the API server; in-cluster or kubeconfig when missing.
    pub api_server: Option<String>,
    /// `kubeconfig_file`.
    pub kubeconfig_file: Option<String>,
    /// `namespaces.names`.
    pub namespaces: Vec<String>,
    /// `namespaces.own_namespace`.
    pub own_namespace: bool,
    /// `selectors`.
    pub selectors: Vec<KubernetesSelector>,
    /// `attach_metadata`.
    pub attach_metadata: AttachMetadata,
    /// How the server is reached.
    pub http: HttpOptions,
}

/// An entry of `selectors`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubernetesSelector {
    /// Role that it is for.
    pub role: String,
    /// Label selector, may be empty.
    pub label: String,
    /// Field selector, may be empty.
    pub field: String,
}

/// Whose labels are added to targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachMetadata {
    /// Those of the node; `None`: the flag decides.
    pub node: Option<bool>,
    /// Those of the namespace; `None`: the flag decides.
    pub namespace: Option<bool>,
}

const ROLES: &[&str] = &["node", "pod", "service", "endpoints", "endpointslice", "ingress"];

impl SdConfigs {
    /// Whether the job uses a kind of discovery.
    pub fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Static => !self.statics.is_empty(),
            Kind::File => !self.files.is_empty(),
            Kind::Http => !self.http.is_empty(),
            Kind::Dns => !self.dns.is_empty(),
            Kind::Kubernetes => !self.kubernetes.is_empty(),
        }
    }

    /// Reads the sources among the fields of a job.
    pub(super) fn read(
        reader: &mut Reader<'_, '_>,
        fields: &[Field],
        place: &Place<'_>,
        context: &mut Context<'_>,
    ) -> Self {
        Self {
            statics: list(reader, fields, place, context, "static_configs", static_targets),
            files: list(reader, fields, place, context, "file_sd_configs", file),
            http: list(reader, fields, place, context, "http_sd_configs", http),
            dns: list(reader, fields, place, context, "dns_sd_configs", dns),
            kubernetes: list(reader, fields, place, context, "kubernetes_sd_configs", kubernetes),
            directory: context.directory.to_owned(),
        }
    }
}

type ReadEntry<T> = fn(&mut Reader<'_, '_>, NodeId, &Place<'_>, &mut Context<'_>) -> Option<T>;

fn list<T>(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    context: &mut Context<'_>,
    name: &'static str,
    read: ReadEntry<T>,
) -> Vec<T> {
    let ids = fields::items(reader, fields, place, name, "[]promscrape.SDConfig");
    let place = place.field(name);
    ids.iter().enumerate().filter_map(|(index, &id)| read(reader, id, &place.index(index), context)).collect()
}

fn static_targets(
    reader: &mut Reader<'_, '_>,
    id: NodeId,
    place: &Place<'_>,
    _: &mut Context<'_>,
) -> Option<StaticTargets> {
    let fields = reader.fields(id, place, "promscrape.StaticConfig", &["targets", "labels"])?;
    let targets = fields::texts_with_empty(reader, &fields, place, "targets");
    Some(StaticTargets { targets, labels: fields::text_map(reader, &fields, place, "labels") })
}

fn file(reader: &mut Reader<'_, '_>, id: NodeId, place: &Place<'_>, _: &mut Context<'_>) -> Option<FileSd> {
    let fields = reader.fields(id, place, "promscrape.FileSDConfig", &["files"])?;
    Some(FileSd { files: fields::texts(reader, &fields, place, "files") })
}

fn http(reader: &mut Reader<'_, '_>, id: NodeId, place: &Place<'_>, context: &mut Context<'_>) -> Option<HttpSd> {
    let known: Vec<&'static str> = http_options::FIELDS.iter().copied().chain(["url"]).collect();
    let fields = reader.fields(id, place, "http.SDConfig", &known)?;
    let url = fields::text(reader, &fields, place, "url").unwrap_or_default();
    if url.is_empty() {
        context.wrong(reader, id, place, "missing `url`");
    }
    Some(HttpSd { url, http: HttpOptions::read(reader, &fields, place, context) })
}

fn dns(reader: &mut Reader<'_, '_>, id: NodeId, place: &Place<'_>, context: &mut Context<'_>) -> Option<DnsSd> {
    let fields = reader.fields(id, place, "dns.SDConfig", &["names", "type", "port"])?;
    let names = fields::texts(reader, &fields, place, "names");
    let kind = fields::text(reader, &fields, place, "type").unwrap_or_default().to_ascii_uppercase();
    let port = fields::integer(reader, &fields, place, "port").and_then(|port| u16::try_from(port).ok());
    let record_type = match kind.as_str() {
        "" | "SRV" => DnsType::Srv,
        "A" => DnsType::A,
        "AAAA" => DnsType::Aaaa,
        "MX" => DnsType::Mx,
        _ => {
            context.wrong(reader, id, place, &format!("unexpected `type` {kind:?}; write SRV, A, AAAA or MX"));
            return None;
        }
    };
    if names.is_empty() {
        context.wrong(reader, id, place, "`names` cannot be empty");
    }
    if port.is_none() && matches!(record_type, DnsType::A | DnsType::Aaaa) {
        context.wrong(reader, id, place, &format!("missing `port` for `type: {kind}`"));
    }
    Some(DnsSd { names, record_type, port })
}

fn kubernetes(
    reader: &mut Reader<'_, '_>,
    id: NodeId,
    place: &Place<'_>,
    context: &mut Context<'_>,
) -> Option<KubernetesSd> {
    let own = ["api_server", "role", "kubeconfig_file", "namespaces", "selectors", "attach_metadata"];
    let known: Vec<&'static str> = http_options::FIELDS.iter().copied().chain(own).collect();
    let fields = reader.fields(id, place, "kubernetes.SDConfig", &known)?;
    let role = fields::text(reader, &fields, place, "role").unwrap_or_default();
    // An old spelling that upstream still takes.
    let role = if role == "endpointslices" { "endpointslice".to_owned() } else { role };
    if !ROLES.contains(&role.as_str()) {
        context.wrong(reader, id, place, &format!("unexpected `role` {role:?}; write one of {}", ROLES.join(", ")));
    }
    let (mut namespaces, mut own_namespace) = (Vec::new(), false);
    if let Some(id) = field(&fields, "namespaces") {
        let place = place.field("namespaces");
        let fields =
            reader.fields(id, &place, "kubernetes.Namespaces", &["own_namespace", "names"]).unwrap_or_default();
        namespaces = fields::texts(reader, &fields, &place, "names");
        own_namespace = fields::boolean(reader, &fields, &place, "own_namespace").unwrap_or_default();
    }
    let mut attach_metadata = AttachMetadata::default();
    if let Some(id) = field(&fields, "attach_metadata") {
        let place = place.field("attach_metadata");
        let fields = reader.fields(id, &place, "kubernetes.AttachMetadata", &["node", "namespace"]).unwrap_or_default();
        attach_metadata.node = fields::boolean(reader, &fields, &place, "node");
        attach_metadata.namespace = fields::boolean(reader, &fields, &place, "namespace");
    }
    Some(KubernetesSd {
        role,
        api_server: fields::text(reader, &fields, place, "api_server").filter(|url| !url.is_empty()),
        kubeconfig_file: fields::text(reader, &fields, place, "kubeconfig_file")
            .filter(|path| !path.is_empty())
            .map(|path| context.path(path)),
        namespaces,
        own_namespace,
        selectors: list(reader, &fields, place, context, "selectors", kubernetes_selector),
        attach_metadata,
        http: HttpOptions::read(reader, &fields, place, context),
    })
}

fn kubernetes_selector(
    reader: &mut Reader<'_, '_>,
    id: NodeId,
    place: &Place<'_>,
    _: &mut Context<'_>,
) -> Option<KubernetesSelector> {
    let fields = reader.fields(id, place, "kubernetes.Selector", &["role", "label", "field"])?;
    let mut get = |name| fields::text(reader, &fields, place, name).unwrap_or_default();
    Some(KubernetesSelector { role: get("role"), label: get("label"), field: get("field") })
}
