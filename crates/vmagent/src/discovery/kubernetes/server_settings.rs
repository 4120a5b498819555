//! Which API server an entry means, with what credentials: the entry itself, a kubeconfig, or the pod we run in.
//!
//! Reads files (kubeconfig, namespace of the service account) on a thread that may block; tokens and certificates are
//! only named here and read when a request needs them.

use super::kubeconfig;
use super::objects::ObjectKind;
use super::role_targets::AttachMetadata;
use super::server_address::ServerSettings;
use crate::config::{Credentials, HttpOptions, KubernetesSd, SecretSource, TlsOptions};
use std::path::Path;
use vmkit::http_client::{Client, FetchRequest};
use vmkit::percent;

/// What an entry watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntrySettings {
    pub(super) server: ServerSettings,
    pub(super) role: ObjectKind,
    pub(super) attach: AttachMetadata,
    /// `None`: all of them.
    pub(super) namespaces: Vec<Option<String>>,
    /// Query of the lists and watches of a kind; empty without selectors.
    pub(super) selectors: Vec<(ObjectKind, String)>,
}

/// What the settings of entries depend on, beside the entries.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`.
    pub service: (Option<String>, Option<String>),
    /// Where the token, the CA and the namespace of the pod are.
    pub service_account: String,
    /// `-promscrape.kubernetes.attachNodeMetadataAll`.
    pub attach_node: bool,
    /// `-promscrape.kubernetes.attachNamespaceMetadataAll`.
    pub attach_namespace: bool,
}

impl Default for Surroundings {
    fn default() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            service: (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT")),
            service_account: "/var/run/secrets/kubernetes.io/serviceaccount".to_owned(),
            attach_node: false,
            attach_namespace: false,
        }
    }
}

/// The settings of an entry as they are now.
pub(super) async fn resolve(
    entry: &KubernetesSd,
    around: &Surroundings,
    client: &Client,
) -> Result<EntrySettings, String> {
    let role = role_of(&entry.role).ok_or_else(|| {
        format!(
            "unexpected `role`: {:?}; must be one of `node`, `pod`, `service`, `endpoints`, `endpointslice` or \
             `ingress`",
            entry.role
        )
    })?;
    let server = match (&entry.api_server, &entry.kubeconfig_file) {
        (Some(server), Some(file)) => {
            return Err(format!(
                "`api_server: {server:?}` and `kubeconfig_file: {file:?}` options cannot be set simultaneously"
            ));
        }
        (Some(server), None) => given_server(server, &entry.http),
        (None, Some(file)) => from_kubeconfig(file, &entry.http, client).await.map_err(|error| {
            format!("cannot build kube config from the specified `kubeconfig_file` config option: {error}")
        })?,
        (None, None) => in_cluster(&entry.http, around)?,
    };
    Ok(EntrySettings {
        server,
        role,
        attach: AttachMetadata {
            node: entry.attach_metadata.node.unwrap_or(around.attach_node),
            namespace: entry.attach_metadata.namespace.unwrap_or(around.attach_namespace),
        },
        namespaces: namespaces(entry, around).await?,
        selectors: selectors(entry),
    })
}

fn role_of(name: &str) -> Option<ObjectKind> {
    Some(match name {
        "node" => ObjectKind::Node,
        "pod" => ObjectKind::Pod,
        "service" => ObjectKind::Service,
        "endpoints" => ObjectKind::Endpoints,
        "endpointslice" | "endpointslices" => ObjectKind::EndpointSlice,
        "ingress" => ObjectKind::Ingress,
        _ => return None,
    })
}

fn given_server(server: &str, http: &HttpOptions) -> ServerSettings {
    let scheme = if http.tls == TlsOptions::default() { "http" } else { "https" };
    let url = if server.contains("://") { server.to_owned() } else { format!("{scheme}://{server}") };
    ServerSettings { url: url.trim_end_matches('/').to_owned(), http: http.clone() }
}

fn in_cluster(http: &HttpOptions, around: &Surroundings) -> Result<ServerSettings, String> {
    let missing = |name: &str| {
        format!(
            "cannot find {name} env var; it must be defined when running in k8s; probably, \
             `kubernetes_sd_config->api_server` is missing in Prometheus configs?"
        )
    };
    let host = around.service.0.as_deref().ok_or_else(|| missing("KUBERNETES_SERVICE_HOST"))?;
    let port = around.service.1.as_deref().ok_or_else(|| missing("KUBERNETES_SERVICE_PORT"))?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let credentials = match &http.credentials {
        own @ Credentials::OAuth2(_) => own.clone(),
        _ => Credentials::Token {
            scheme: "Bearer".to_owned(),
            token: SecretSource::File(format!("{}/token", around.service_account)),
        },
    };
    let tls = TlsOptions { ca_file: Some(format!("{}/ca.crt", around.service_account)), ..TlsOptions::default() };
    let http = HttpOptions { credentials, tls, headers: http.headers.clone(), ..HttpOptions::default() };
    Ok(ServerSettings { url: format!("https://{host}:{port}"), http })
}

async fn from_kubeconfig(file: &str, http: &HttpOptions, client: &Client) -> Result<ServerSettings, String> {
    let text = if file.starts_with("http://") || file.starts_with("https://") {
        let reply = client.fetch(FetchRequest::get(file)).await.map_err(|error| error.to_string())?;
        if reply.status.as_u16() != 200 {
            return Err(format!("unexpected status code {}", reply.status.as_u16()));
        }
        String::from_utf8(reply.body).map_err(|_| "invalid UTF-8".to_owned())?
    } else {
        read_file(file).await?
    };
    let folder = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
    kubeconfig::read(&text, folder, http).map_err(|error| format!("{:?}: {error}", vmkit::redact::url(file)))
}

async fn read_file(path: &str) -> Result<String, String> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(owned));
    let read = tokio::time::timeout(std::time::Duration::from_secs(10), read).await;
    let read = read.map_err(|_| format!("open {path}: timeout"))?.map_err(|error| error.to_string())?;
    read.map_err(|error| format!("open {path}: {}", vmkit::go_text::os_error(&error)))
}

/// The namespaces that are named and, if asked for, the own one; each once.
async fn namespaces(entry: &KubernetesSd, around: &Surroundings) -> Result<Vec<Option<String>>, String> {
    let mut names: Vec<String> = Vec::new();
    let mut wanted = entry.namespaces.clone();
    if entry.own_namespace {
        let path = format!("{}/namespace", around.service_account);
        let own = read_file(&path).await.map_err(|error| {
            format!(
                "cannot initialize Kubernetes API watcher: cannot determine namespace for the current pod according to \
                 `own_namespace: true` option in kubernetes_sd_config: {error}"
            )
        })?;
        wanted.push(own.trim().to_owned());
    }
    for name in wanted {
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 63 || !name.bytes().all(valid) {
            return Err(format!("bad namespace {name:?}; write up to 63 lower-case letters, digits and hyphens"));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() })
}

/// All selectors of one kind must hold.
fn selectors(entry: &KubernetesSd) -> Vec<(ObjectKind, String)> {
    let mut kinds: Vec<(ObjectKind, Vec<&str>, Vec<&str>)> = Vec::new();
    for selector in &entry.selectors {
        let kind = if selector.role == "namespace" { Some(ObjectKind::Namespace) } else { role_of(&selector.role) };
        let Some(kind) = kind else { continue };
        let at = kinds.iter().position(|(known, _, _)| *known == kind).unwrap_or_else(|| {
            kinds.push((kind, Vec::new(), Vec::new()));
            kinds.len() - 1
        });
        if let Some((_, labels, fields)) = kinds.get_mut(at) {
            labels.extend(Some(selector.label.as_str()).filter(|label| !label.is_empty()));
            fields.extend(Some(selector.field.as_str()).filter(|field| !field.is_empty()));
        }
    }
    let query = |(kind, labels, fields): (ObjectKind, Vec<&str>, Vec<&str>)| {
        let mut query = Vec::new();
        for (name, parts) in [("labelSelector=", labels), ("fieldSelector=", fields)] {
            if parts.is_empty() {
                continue;
            }
            if !query.is_empty() {
                query.push(b'&');
            }
            query.extend_from_slice(name.as_bytes());
            percent::push_form(&mut query, parts.join(",").as_bytes());
        }
        (kind, String::from_utf8(query).unwrap_or_default())
    };
    kinds.into_iter().map(query).filter(|(_, query)| !query.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KubernetesSelector;

    fn entry() -> KubernetesSd {
        KubernetesSd { role: "pod".to_owned(), api_server: Some("h:1".to_owned()), ..KubernetesSd::default() }
    }

    fn around(directory: &Path) -> Surroundings {
        Surroundings {
            service: (Some("fd00::1".to_owned()), Some("443".to_owned())),
            service_account: directory.to_str().unwrap().to_owned(),
            attach_node: true,
            attach_namespace: false,
        }
    }

    async fn of(entry: &KubernetesSd, around: &Surroundings) -> Result<EntrySettings, String> {
        let client = Client::new(vmkit::tls::client_config::ClientTlsOptions::default());
        resolve(entry, around, &client).await
    }

    #[tokio::test]
    async fn servers() {
        let around = around(Path::new("/sa"));
        let f = async |server: &str, tls: bool, want: &str| {
            let mut entry = KubernetesSd { api_server: Some(server.to_owned()), ..entry() };
            entry.http.tls.insecure_skip_verify = tls;
            assert_eq!(of(&entry, &around).await.unwrap().server.url, want);
        };
        f("h:1", false, "http://h:1").await;
        f("h:1/", true, "https://h:1").await;
        f("https://h/k8s/c1//", false, "https://h/k8s/c1").await;
        let inside = of(&KubernetesSd { api_server: None, ..entry() }, &around).await.unwrap().server;
        assert_eq!(inside.url, "https://[fd00::1]:443");
        assert_eq!(inside.http.tls.ca_file.as_deref(), Some("/sa/ca.crt"));
        let outside = Surroundings { service: (None, None), ..around };
        let error = of(&KubernetesSd { api_server: None, ..entry() }, &outside).await.unwrap_err();
        assert!(error.starts_with("cannot find KUBERNETES_SERVICE_HOST env var"), "{error}");
        let both = KubernetesSd { kubeconfig_file: Some("/k".to_owned()), ..entry() };
        let error = of(&both, &outside).await.unwrap_err();
        assert_eq!(error, "`api_server: \"h:1\"` and `kubeconfig_file: \"/k\"` options cannot be set simultaneously");
        let error = of(&KubernetesSd { role: "pods".to_owned(), ..entry() }, &outside).await.unwrap_err();
        assert!(error.starts_with("unexpected `role`: \"pods\"; must be one of `node`"), "{error}");
    }

    #[tokio::test]
    async fn namespaces_are_checked_and_counted_once() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("namespace"), "own\n").unwrap();
        let f = async |names: &[&str], own_namespace: bool, want: Result<&[Option<&str>], &str>| {
            let namespaces = names.iter().map(|&name| name.to_owned()).collect();
            let entry = KubernetesSd { namespaces, own_namespace, ..entry() };
            match (of(&entry, &around(directory.path())).await, want) {
                (Ok(got), Ok(want)) => {
                    assert_eq!(got.namespaces.iter().map(Option::as_deref).collect::<Vec<_>>(), want);
                }
                (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
                (got, want) => panic!("{got:?} {want:?}"),
            }
        };
        f(&[], false, Ok(&[None])).await;
        f(&["a", "b", "a"], false, Ok(&[Some("a"), Some("b")])).await;
        f(&["a"], true, Ok(&[Some("a"), Some("own")])).await;
        f(&[], true, Ok(&[Some("own")])).await;
        f(&[""], false, Err("bad namespace \"\"")).await;
        f(&["a/../b"], false, Err("bad namespace")).await;
    }

    #[tokio::test]
    async fn selectors_of_one_kind_are_joined() {
        let selector = |role: &str, label: &str, field: &str| KubernetesSelector {
            role: role.to_owned(),
            label: label.to_owned(),
            field: field.to_owned(),
        };
        let selectors = vec![
            selector("pod", "app in (cart, twins)", ""),
            selector("node", "", "spec.x=1"),
            selector("pod", "app!=twins", "status.phase!=Pending"),
            selector("namespace", "a", ""),
            selector("ingress", "", ""),
            selector("what", "a", ""),
        ];
        let got = of(&KubernetesSd { selectors, ..entry() }, &Surroundings::default()).await.unwrap().selectors;
        let pods = "labelSelector=app+in+%28cart%2C+twins%29%2Capp%21%3Dtwins&fieldSelector=status.phase%21%3DPending";
        let want = [
            (ObjectKind::Pod, pods.to_owned()),
            (ObjectKind::Node, "fieldSelector=spec.x%3D1".to_owned()),
            (ObjectKind::Namespace, "labelSelector=a".to_owned()),
        ];
        assert_eq!(got, want);
    }
}
