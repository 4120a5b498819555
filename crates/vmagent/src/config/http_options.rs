//! How targets and discovery servers are reached: credentials, headers, TLS, proxy.
//!
//! The same fields stand in jobs, in entries of HTTP-based discovery and, with the prefix `proxy_`, for proxies. Reading
//! checks that they fit together; nothing is opened or read here. Paths are made absolute against the directory of the
//! config. Secrets are [`Secret`]s from the start.

use vmkit::proxy::Proxy;
use vmkit::secret::Secret;
use vmkit::yaml::{Field, NodeId, Place};

use super::fields::{self, Reader, field};

/// How an HTTP server is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpOptions {
    /// What goes into `Authorization`.
    pub credentials: Credentials,
    /// Further headers: names and values in order.
    pub headers: Vec<(String, Secret)>,
    /// TLS towards the server.
    pub tls: TlsOptions,
    /// The proxy in between.
    pub proxy: ProxyOptions,
    /// Whether redirects are followed.
    pub no_redirects: bool,
}

/// What goes into an `Authorization` header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// `Basic`.
    Basic {
        /// User name.
        username: SecretSource,
        /// Password.
        password: SecretSource,
    },
    /// Any other scheme with a fixed text, `Bearer` most of the time.
    Token {
        /// The scheme, such as `Bearer`.
        scheme: String,
        /// What follows it.
        token: SecretSource,
    },
    /// A token of the client credentials grant.
    OAuth2(Box<OAuth2Options>),
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The config itself.
    Text(Secret),
    /// A file, or an http(s) URL, that is read again and again.
    File(String),
}

impl Default for SecretSource {
    fn default() -> Self {
        Self::Text(Secret::from(""))
    }
}

/// `oauth2`: the client credentials grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OAuth2Options {
    /// `client_id`.
    pub client_id: String,
    /// `client_secret` or `client_secret_file`.
    pub client_secret: SecretSource,
    /// `token_url`.
    pub token_url: String,
    /// `scopes`.
    pub scopes: Vec<String>,
    /// `endpoint_params` in order of the file.
    pub endpoint_params: Vec<(String, String)>,
    /// `headers` of the token request.
    pub headers: Vec<(String, Secret)>,
    /// `tls_config` of the token endpoint.
    pub tls: TlsOptions,
    /// `proxy_url` towards the token endpoint.
    pub proxy_url: Option<Secret>,
}

/// `tls_config`. Inline PEM and files are alternatives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// `ca_file`: a path or URL.
    pub ca_file: Option<String>,
    /// `ca`: PEM.
    pub ca: Option<Secret>,
    /// `cert_file`.
    pub cert_file: Option<String>,
    /// `cert`: PEM.
    pub cert: Option<Secret>,
    /// `key_file`.
    pub key_file: Option<String>,
    /// `key`: PEM.
    pub key: Option<Secret>,
    /// `server_name`: for SNI, verification and `Host`.
    pub server_name: Option<String>,
    /// `insecure_skip_verify`.
    pub insecure_skip_verify: bool,
    /// `min_version`: `TLS10` to `TLS13`.
    pub min_version: Option<String>,
}

/// The proxy between us and the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyOptions {
    /// `proxy_url`, which may carry credentials.
    pub url: Option<Secret>,
    /// What goes into `Proxy-Authorization`.
    pub credentials: Credentials,
    /// `proxy_headers`.
    pub headers: Vec<(String, Secret)>,
    /// `proxy_tls_config`.
    pub tls: TlsOptions,
}

/// Fields that [`HttpOptions::read`] understands, to be added to those of an object.
pub(super) const FIELDS: &[&str] = &[
    "authorization",
    "basic_auth",
    "bearer_token",
    "bearer_token_file",
    "oauth2",
    "tls_config",
    "headers",
    "follow_redirects",
    "proxy_url",
    "proxy_authorization",
    "proxy_basic_auth",
    "proxy_bearer_token",
    "proxy_bearer_token_file",
    "proxy_oauth2",
    "proxy_tls_config",
    "proxy_headers",
];

/// Names of the fields of one set of credentials.
struct Names {
    authorization: &'static str,
    basic_auth: &'static str,
    bearer_token: &'static str,
    bearer_token_file: &'static str,
    oauth2: &'static str,
}

const SERVER: Names = Names {
    authorization: "authorization",
    basic_auth: "basic_auth",
    bearer_token: "bearer_token",
    bearer_token_file: "bearer_token_file",
    oauth2: "oauth2",
};

const PROXY: Names = Names {
    authorization: "proxy_authorization",
    basic_auth: "proxy_basic_auth",
    bearer_token: "proxy_bearer_token",
    bearer_token_file: "proxy_bearer_token_file",
    oauth2: "proxy_oauth2",
};

/// What reading needs: where relative paths begin, and the mistakes that skip the job.
pub(super) struct Context<'c> {
    pub(super) directory: &'c str,
    pub(super) mistakes: &'c mut Vec<String>,
}

impl Context<'_> {
    pub(super) fn wrong(&mut self, reader: &Reader<'_, '_>, id: NodeId, place: &Place<'_>, message: &str) {
        self.mistakes.push(format!("{message} ({})", fields::position(reader, id, place)));
    }

    /// The same about the field `name` of the object at `place`, which is there.
    fn wrong_field(
        &mut self,
        reader: &Reader<'_, '_>,
        fields: &[Field],
        place: &Place<'_>,
        name: &'static str,
        message: &str,
    ) {
        if let Some(id) = field(fields, name) {
            self.wrong(reader, id, &place.field(name), message);
        }
    }

    /// A path as it is opened: URLs and absolute paths stay.
    pub(super) fn path(&self, path: String) -> String {
        super::paths::absolute(self.directory, &path)
    }
}

impl HttpOptions {
    pub(super) fn read(
        reader: &mut Reader<'_, '_>,
        fields: &[Field],
        place: &Place<'_>,
        context: &mut Context<'_>,
    ) -> Self {
        let proxy = ProxyOptions {
            url: proxy_url(reader, fields, place, context),
            credentials: credentials(reader, fields, place, context, &PROXY),
            headers: headers(reader, fields, place, context, "proxy_headers"),
            tls: tls(reader, fields, place, context, "proxy_tls_config"),
        };
        Self {
            credentials: credentials(reader, fields, place, context, &SERVER),
            headers: headers(reader, fields, place, context, "headers"),
            tls: tls(reader, fields, place, context, "tls_config"),
            proxy,
            no_redirects: fields::boolean(reader, fields, place, "follow_redirects") == Some(false),
        }
    }
}

fn proxy_url(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    context: &mut Context<'_>,
) -> Option<Secret> {
    let url = fields::text(reader, fields, place, "proxy_url").filter(|url| !url.is_empty())?;
    if let Err(cause) = Proxy::parse(&url) {
        let message = format!(
            "unsupported `proxy_url`: {cause}; write http://host:port, https://host:port, socks5://host:port or tls+socks5://host:port"
        );
        context.wrong_field(reader, fields, place, "proxy_url", &message);
    }
    Some(secret(url))
}

fn credentials(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    context: &mut Context<'_>,
    names: &Names,
) -> Credentials {
    let mut found: Vec<(&'static str, Credentials)> = Vec::new();
    if let Some(id) = field(fields, names.authorization).filter(|&id| !reader.is_null(id)) {
        let place = place.field(names.authorization);
        let fields = reader.fields(id, &place, "promauth.Authorization", &["type", "credentials", "credentials_file"]);
        let fields = fields.unwrap_or_default();
        let scheme = fields::text(reader, &fields, &place, "type").filter(|scheme| !scheme.is_empty());
        let token = secret_source(reader, &fields, &place, context, ["credentials", "credentials_file"]);
        let scheme = scheme.unwrap_or_else(|| "Bearer".to_owned());
        found.push((names.authorization, Credentials::Token { scheme, token: token.unwrap_or_default() }));
    }
    if let Some(id) = field(fields, names.basic_auth).filter(|&id| !reader.is_null(id)) {
        let place = place.field(names.basic_auth);
        let known = &["username", "username_file", "password", "password_file"];
        let fields = reader.fields(id, &place, "promauth.BasicAuthConfig", known).unwrap_or_default();
        let username = secret_source(reader, &fields, &place, context, ["username", "username_file"]);
        let password = secret_source(reader, &fields, &place, context, ["password", "password_file"]);
        if username.is_none() && password.is_none() {
            context.wrong(reader, id, &place, "missing `username` and `username_file` in `basic_auth`");
        }
        let (username, password) = (username.unwrap_or_default(), password.unwrap_or_default());
        found.push((names.basic_auth, Credentials::Basic { username, password }));
    }
    let bearer = [names.bearer_token, names.bearer_token_file];
    if let Some(token) = secret_source(reader, fields, place, context, bearer) {
        let name = if matches!(token, SecretSource::File(_)) { names.bearer_token_file } else { names.bearer_token };
        found.push((name, Credentials::Token { scheme: "Bearer".to_owned(), token }));
    }
    if let Some(id) = field(fields, names.oauth2).filter(|&id| !reader.is_null(id)) {
        let options = oauth2(reader, id, &place.field(names.oauth2), context);
        found.push((names.oauth2, Credentials::OAuth2(Box::new(options))));
    }
    let used: Vec<_> = found.iter().map(|(name, _)| format!("`{name}`")).collect();
    let Some((last, credentials)) = found.pop() else { return Credentials::None };
    if !found.is_empty() {
        let message = format!("cannot simultaneously use {}; keep one of them", used.join(" and "));
        context.wrong_field(reader, fields, place, last, &message);
    }
    credentials
}

/// A secret that is given as text or as the name of a file; empty ones are not there.
fn secret_source(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    context: &mut Context<'_>,
    [text, file]: [&'static str; 2],
) -> Option<SecretSource> {
    let value = fields::text(reader, fields, place, text).filter(|value| !value.is_empty());
    let path = fields::text(reader, fields, place, file).filter(|path| !path.is_empty());
    match (value, path) {
        (Some(_), Some(_)) => {
            let message = format!("both `{text}` and `{file}` are set; remove one of them");
            context.wrong_field(reader, fields, place, file, &message);
            None
        }
        (Some(value), None) => Some(SecretSource::Text(secret(value))),
        (None, Some(path)) => Some(SecretSource::File(context.path(path))),
        (None, None) => None,
    }
}

fn oauth2(reader: &mut Reader<'_, '_>, id: NodeId, place: &Place<'_>, context: &mut Context<'_>) -> OAuth2Options {
    let known = &[
        "client_id",
        "client_secret",
        "client_secret_file",
        "scopes",
        "token_url",
        "endpoint_params",
        "tls_config",
        "proxy_url",
        "headers",
    ];
    let fields = reader.fields(id, place, "promauth.OAuth2Config", known).unwrap_or_default();
    let client_secret = secret_source(reader, &fields, place, context, ["client_secret", "client_secret_file"]);
    let options = OAuth2Options {
        client_id: fields::text(reader, &fields, place, "client_id").unwrap_or_default(),
        client_secret: client_secret.clone().unwrap_or_default(),
        token_url: fields::text(reader, &fields, place, "token_url").unwrap_or_default(),
        scopes: fields::texts(reader, &fields, place, "scopes"),
        endpoint_params: fields::text_map(reader, &fields, place, "endpoint_params"),
        headers: headers(reader, &fields, place, context, "headers"),
        tls: tls(reader, &fields, place, context, "tls_config"),
        proxy_url: proxy_url(reader, &fields, place, context),
    };
    if options.client_id.is_empty() {
        context.wrong(reader, id, place, "client_id cannot be empty");
    }
    if client_secret.is_none() {
        context.wrong(reader, id, place, "missing `client_secret` or `client_secret_file`");
    }
    if options.token_url.is_empty() {
        context.wrong(reader, id, place, "token_url cannot be empty");
    }
    options
}

fn headers(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    context: &mut Context<'_>,
    name: &'static str,
) -> Vec<(String, Secret)> {
    let mut headers = Vec::new();
    for line in fields::texts(reader, fields, place, name) {
        match line.split_once(':') {
            Some((header, value)) if is_header_name(header.trim()) && !value.contains(['\r', '\n', '\0']) => {
                headers.push((header.trim().to_owned(), secret(value.trim().to_owned())));
            }
            // Without a colon the whole line may be a secret.
            _ => {
                let message = format!("missing ':' or a wrong name in an item of `{name}`; write \"Name: value\"");
                context.wrong_field(reader, fields, place, name, &message);
            }
        }
    }
    headers
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn tls(
    reader: &mut Reader<'_, '_>,
    fields: &[Field],
    place: &Place<'_>,
    context: &mut Context<'_>,
    name: &'static str,
) -> TlsOptions {
    let Some(id) = field(fields, name) else { return TlsOptions::default() };
    let place = place.field(name);
    let known = &[
        "ca",
        "ca_file",
        "cert",
        "cert_file",
        "key",
        "key_file",
        "server_name",
        "insecure_skip_verify",
        "min_version",
    ];
    let Some(fields) = reader.fields(id, &place, "promauth.TLSConfig", known) else { return TlsOptions::default() };
    let mut get = |name| fields::text(reader, &fields, &place, name).filter(|text| !text.is_empty());
    let mut options = TlsOptions {
        ca: get("ca").map(secret),
        ca_file: get("ca_file").map(|path| context.path(path)),
        cert: get("cert").map(secret),
        cert_file: get("cert_file").map(|path| context.path(path)),
        key: get("key").map(secret),
        key_file: get("key_file").map(|path| context.path(path)),
        server_name: get("server_name"),
        insecure_skip_verify: false,
        min_version: get("min_version"),
    };
    options.insecure_skip_verify = fields::boolean(reader, &fields, &place, "insecure_skip_verify").unwrap_or_default();
    if let Some(version) = &options.min_version
        && !["TLS10", "TLS11", "TLS12", "TLS13"].contains(&version.to_ascii_uppercase().as_str())
    {
        let message = format!("unsupported `min_version` {version:?}; write TLS12 or TLS13");
        context.wrong(reader, id, &place, &message);
    }
    let has_cert = options.cert.is_some() || options.cert_file.is_some();
    let has_key = options.key.is_some() || options.key_file.is_some();
    if has_cert != has_key {
        context.wrong(reader, id, &place, "a certificate needs its key, and a key its certificate");
    }
    options
}

fn secret(text: String) -> Secret {
    Secret::from(text)
}
