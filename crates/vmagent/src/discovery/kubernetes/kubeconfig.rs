//! kubeconfig files: the server, credentials and TLS of the current context.
//!
//! YAML or JSON. Unknown members are ignored, as kubectl does, but ways to log in that are not supported (`exec`,
//! `auth-provider`, impersonation) are errors: requests without credentials would only be refused. Data wins over a
//! file; relative files begin at the folder of the kubeconfig. Nothing is opened here but the file itself.

use super::server_address::ServerSettings;
use crate::config::{Credentials, HttpOptions, SecretSource, TlsOptions};
use base64::Engine;
use std::path::Path;
use vmkit::proxy::Proxy;
use vmkit::secret::Secret;
use vmkit::yaml::tree::Kind;
use vmkit::yaml::{NodeId, Tree};

/// Ways to log in that are refused.
const UNSUPPORTED: [&str; 6] = ["exec", "auth-provider", "act-as", "act-as-uid", "act-as-groups", "act-as-user-extra"];

/// Reads the current context of a kubeconfig in `folder`. Of `entry` the headers and OAuth2 stay in force.
pub(super) fn read(text: &str, folder: &Path, entry: &HttpOptions) -> Result<ServerSettings, String> {
    let tree = Tree::parse(text).map_err(|error| format!("line {}: {}", error.mark.line, error.message))?;
    let file = File { tree: &tree, folder };
    let root = tree.root();
    let context_name = file.text(root, "current-context").unwrap_or_default();
    let context = file.named(root, "contexts", &context_name, "context");
    let context = context.ok_or_else(|| format!("missing context {context_name:?}"))?;
    let cluster_name = file.text(Some(context), "cluster").unwrap_or_default();
    let cluster = file.named(root, "clusters", &cluster_name, "cluster");
    let cluster =
        cluster.ok_or_else(|| format!("missing cluster config {cluster_name:?} at context {context_name:?}"))?;
    let server = file.text(Some(cluster), "server").filter(|server| !server.is_empty()).ok_or_else(|| {
        format!("missing kubernetes server address for config {cluster_name:?} at context {context_name:?}")
    })?;
    let user_name = file.text(Some(context), "user").unwrap_or_default();
    let user = match &*user_name {
        "" => None,
        name => {
            let user = file.named(root, "users", name, "user");
            Some(user.ok_or_else(|| format!("missing auth config {name:?}"))?)
        }
    };
    let at = |what: &str| format!("{what} from config {cluster_name:?} at context {context_name:?}");
    let mut http = HttpOptions { headers: entry.headers.clone(), ..HttpOptions::default() };
    let (ca, ca_file) = file.data_or_file(Some(cluster), "certificate-authority").map_err(|error| at(&error))?;
    let (cert, cert_file) = file.data_or_file(user, "client-certificate").map_err(|error| at(&error))?;
    let (key, key_file) = file.data_or_file(user, "client-key").map_err(|error| at(&error))?;
    http.tls = TlsOptions {
        ca,
        ca_file,
        cert,
        cert_file,
        key,
        key_file,
        server_name: file.text(Some(cluster), "tls-server-name").filter(|name| !name.is_empty()),
        insecure_skip_verify: file.text(Some(cluster), "insecure-skip-tls-verify").as_deref() == Some("true"),
        min_version: None,
    };
    http.proxy.url = file.text(Some(cluster), "proxy-url").filter(|url| !url.is_empty()).map(secret);
    if let Some(Err(cause)) = http.proxy.url.as_ref().map(|url| Proxy::parse(url.expose())) {
        return Err(at(&format!("bad proxy-url ({cause})")));
    }
    http.credentials = match &entry.credentials {
        own @ Credentials::OAuth2(_) => own.clone(),
        _ => credentials(&file, user, &user_name)?,
    };
    Ok(ServerSettings { url: server.trim_end_matches('/').to_owned(), http })
}

fn credentials(file: &File<'_>, user: Option<NodeId>, name: &str) -> Result<Credentials, String> {
    if let Some(field) = UNSUPPORTED.iter().find(|field| file.member(user, field).is_some()) {
        return Err(format!(
            "invalid auth config {name:?}: field {field:?} is not supported yet; use a token, a tokenFile, a client \
             certificate or username and password"
        ));
    }
    let given = |key: &str| file.text(user, key).filter(|text| !text.is_empty());
    let bearer = |token| Credentials::Token { scheme: "Bearer".to_owned(), token };
    if let Some(path) = given("tokenFile") {
        return Ok(bearer(SecretSource::File(file.path(&path))));
    }
    if let Some(token) = given("token") {
        return Ok(bearer(SecretSource::Text(secret(token))));
    }
    match (given("username"), given("password")) {
        (None, None) => Ok(Credentials::None),
        (None, Some(_)) => Err(format!("invalid auth config {name:?}: username cannot be empty, if password defined")),
        (Some(username), password) => Ok(Credentials::Basic {
            username: SecretSource::Text(secret(username)),
            password: SecretSource::Text(secret(password.unwrap_or_default())),
        }),
    }
}

fn secret(text: String) -> Secret {
    Secret::from(text)
}

struct File<'t> {
    tree: &'t Tree,
    folder: &'t Path,
}

impl File<'_> {
    fn member(&self, object: Option<NodeId>, name: &str) -> Option<NodeId> {
        let Kind::Mapping(pairs) = self.tree.node(object?).kind else { return None };
        let is = |key: NodeId| matches!(self.tree.node(key).kind, Kind::Scalar { text, .. } if text == name);
        pairs.iter().find(|(key, _)| is(*key)).map(|(_, value)| *value)
    }

    fn text(&self, object: Option<NodeId>, name: &str) -> Option<String> {
        match self.tree.node(self.member(object, name)?).kind {
            Kind::Scalar { text, plain } if !plain || !matches!(text, "" | "~" | "null") => Some(text.to_owned()),
            _ => None,
        }
    }

    /// The member `what` of the item called `name` in the list `list`.
    fn named(&self, root: Option<NodeId>, list: &str, name: &str, what: &str) -> Option<NodeId> {
        let Kind::Sequence(items) = self.tree.node(self.member(root, list)?).kind else { return None };
        let item = items.iter().find(|&&item| self.text(Some(item), "name").as_deref() == Some(name))?;
        self.member(Some(*item), what)
    }

    /// PEM from `<name>-data`, or the path from `<name>`.
    fn data_or_file(&self, object: Option<NodeId>, name: &str) -> Result<(Option<Secret>, Option<String>), String> {
        let data_name = format!("{name}-data");
        if let Some(data) = self.text(object, &data_name).filter(|data| !data.is_empty()) {
            let compact: String = data.split_whitespace().collect();
            let decoded = base64::engine::general_purpose::STANDARD.decode(compact);
            let pem = decoded.ok().and_then(|pem| String::from_utf8(pem).ok());
            let pem = pem.ok_or_else(|| format!("cannot base64-decode {data_name}"))?;
            return Ok((Some(secret(pem)), None));
        }
        Ok((None, self.text(object, name).filter(|path| !path.is_empty()).map(|path| self.path(&path))))
    }

    fn path(&self, path: &str) -> String {
        self.folder.join(path).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
apiVersion: v1
current-context: c
contexts:
- {name: other, context: {cluster: none}}
- {name: c, context: {cluster: k, user: u, namespace: ignored}}
clusters:
- name: k
  cluster: {server: "https://h:6443/", certificate-authority: pki/ca.crt, tls-server-name: kube}
users:
- name: u
  user: {client-certificate-data: Q0VSVA==, client-key: /abs/key, unknown: 1}
"#;

    fn parse(text: &str) -> Result<ServerSettings, String> {
        read(text, Path::new("/etc/kube"), &HttpOptions::default())
    }

    #[test]
    fn the_current_context_counts() {
        let settings = parse(GOOD).unwrap();
        assert_eq!(settings.url, "https://h:6443");
        let tls = &settings.http.tls;
        assert_eq!(tls.ca_file.as_deref(), Some("/etc/kube/pki/ca.crt"));
        assert_eq!(tls.cert.as_ref().map(|pem| pem.expose()), Some("CERT"));
        assert_eq!(tls.key_file.as_deref(), Some("/abs/key"));
        assert_eq!(tls.server_name.as_deref(), Some("kube"));
        assert_eq!(settings.http.credentials, Credentials::None);
    }

    #[test]
    fn ways_to_log_in() {
        let f = |user: &str, want: &str| {
            let text = GOOD.replace("{client-certificate-data: Q0VSVA==, client-key: /abs/key, unknown: 1}", user);
            let got = match parse(&text).map(|settings| settings.http.credentials) {
                Ok(Credentials::None) => "none".to_owned(),
                Ok(Credentials::Token { token: SecretSource::Text(text), .. }) => format!("token {}", text.expose()),
                Ok(Credentials::Token { token: SecretSource::File(path), .. }) => format!("file {path}"),
                Ok(Credentials::Basic { username: SecretSource::Text(name), .. }) => {
                    format!("basic {}", name.expose())
                }
                Ok(_) => "other".to_owned(),
                Err(error) => error,
            };
            assert!(got.starts_with(want), "{user}: {got}");
        };
        f("{token: t, tokenFile: f}", "file /etc/kube/f");
        f("{token: t}", "token t");
        f("{username: n, password: p}", "basic n");
        f("{}", "none");
        f("{password: p}", "invalid auth config \"u\": username cannot be empty, if password defined");
        for field in UNSUPPORTED {
            f(
                &format!("{{{field}: {{}}}}"),
                &format!("invalid auth config \"u\": field {field:?} is not supported yet"),
            );
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let f = |from: &str, to: &str, want: &str| {
            let error = parse(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.starts_with(want), "{error}");
        };
        f("current-context: c", "", "missing context \"\"");
        f("current-context: c", "current-context: zz", "missing context \"zz\"");
        f("cluster: k,", "cluster: q,", "missing cluster config \"q\" at context \"c\"");
        f("user: u,", "user: q,", "missing auth config \"q\"");
        f("server: \"https://h:6443/\", ", "", "missing kubernetes server address for config \"k\" at context \"c\"");
        f("Q0VSVA==", "'!'", "cannot base64-decode client-certificate-data from config \"k\" at context \"c\"");
        f("current-context: c", "a: [", "line ");
        let without_user = parse(&GOOD.replace("user: u,", "")).unwrap();
        assert!(without_user.http.tls.ca_file.is_some());
    }
}
