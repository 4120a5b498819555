//! Users: credentials, names, labels, limits, and whose credential it already was.
//!
//! Reads and builds one user at a time, `unauthorized_user` first. Duplicates are found by one hash of the lookup keys
//! that authentication will use (`docs/reference/auth.md`); the keys themselves never reach a message.

use super::Inputs;
use super::builder::{Builder, FileTree, KEEP_ONE, Owner, UserContext};
use super::inherit::{Level, statuses};
use super::ip_filters;
use super::model::{AccessLogSpec, AuthConfig, Credential, IpFilterSpec, MtlsSpec, UserSpec};
use super::raw::{RawConfig, RawMtls, RawUser, Reader, text_of};
use super::stage::{Decoder, Problems, Stage};
use std::sync::Arc;
use vmkit::go_regex::GoRegex;
use vmkit::go_text::{os_error, quote};
use vmkit::secret::Secret;
use vmkit::tls::client_config::ClientTlsOptions;
use vmkit::yaml::Place;
use vmkit::yaml::{At, Mark, NodeId, Text, TextList};
use xxhash_rust::xxh64::xxh64;

const UNAUTHORIZED: &str = "unauthorized_user";
const MISSING_ROUTE: &str = "missing `url_prefix` or `url_map`";

/// Builds everything below the top level of all files.
pub(super) fn build<'t>(files: &'t [FileTree<'t>], inputs: &Inputs<'_>, problems: &mut Problems) -> AuthConfig {
    let mut config = AuthConfig::default();
    let Some(first) = files.first() else { return config };
    let tops: Vec<_> = files
        .iter()
        .map(|file| {
            problems.in_file(file.number);
            (file, Reader(Decoder { tree: &file.tree, problems }).config(&Place::file(file.name)))
        })
        .collect();
    let mut real_ip_header = inputs.defaults.real_ip_header.clone();
    let marks = |(file, top): &(&'t FileTree<'t>, RawConfig<'_>)| Some((*file, top.ip_filters.as_ref()?.mark));
    refuse_second("ip_filters", tops.iter().filter_map(marks), problems);
    if let Some((file, raw)) = tops.iter().find_map(|(file, top)| Some((file, top.ip_filters.as_ref()?))) {
        problems.in_file(file.number);
        let root = Place::file(file.name);
        let filter = ip_filters::build(&raw.value, &root.field("ip_filters"), real_ip_header.as_deref(), problems);
        real_ip_header.clone_from(&filter.real_ip_header);
        config.ip_filters = Some(filter);
    }
    let marks = |(file, top): &(&'t FileTree<'t>, RawConfig<'_>)| {
        top.unauthorized_user.map(|id| (*file, file.tree.node(id).mark))
    };
    refuse_second(UNAUTHORIZED, tops.iter().filter_map(marks), problems);
    let mut builder = Builder::new(first, inputs, real_ip_header, problems);
    for (file, top) in &tops {
        if let Some(id) = top.unauthorized_user {
            builder.turn_to(file);
            config.unauthorized_user = Some(builder.unauthorized_user(id));
        }
    }
    config.users.reserve_exact(tops.iter().map(|(_, top)| top.users.len()).sum());
    for (file, top) in &tops {
        builder.turn_to(file);
        let root = Place::file(file.name);
        let place = root.field("users");
        for (index, &id) in top.users.iter().enumerate() {
            if let Some(user) = builder.user(index, id, &place.index(index)) {
                config.lookup_keys += user.credentials().map(Credential::lookup_keys).sum::<usize>();
                config.users.push(user);
            }
        }
    }
    config
}

/// What concerns the whole config stands in one file.
fn refuse_second<'t>(field: &str, mut places: impl Iterator<Item = (&'t FileTree<'t>, Mark)>, problems: &mut Problems) {
    let Some((first, Mark { line, column })) = places.next() else { return };
    for (file, mark) in places {
        problems.in_file(file.number);
        let message = format!("{field} is set in {}, too (line {line}, column {column})", first.name);
        let place = Place::file(file.name);
        problems.push(Stage::UnauthorizedUser, &place.field(field), mark, message, "keep one of them");
    }
}

impl<'t> Builder<'t, '_> {
    /// What follows is built from this file.
    fn turn_to(&mut self, file: &'t FileTree<'t>) {
        self.file = file;
        self.problems.in_file(file.number);
    }

    fn unauthorized_user(&mut self, id: NodeId) -> UserSpec {
        let root = Place::file(self.file.name);
        let place = root.field(UNAUTHORIZED);
        let raw = Reader(Decoder { tree: &self.file.tree, problems: self.problems }).user(id, &place);
        let full = |text: Option<Text<'_>>| text.filter(|text| !text.value.is_empty()).map(|text| text.mark);
        let others = [
            ("jwt", raw.jwt.as_ref().map(|jwt| jwt.mark)),
            ("name", full(raw.name)),
            ("mtls", raw.mtls.as_ref().map(|mtls| mtls.mark)),
            ("credentials", raw.credentials.is_some().then_some(raw.mark)),
        ];
        let others = others.into_iter().filter_map(|(field, mark)| Some((field, mark?)));
        for (field, mark) in raw.login.written().chain(others) {
            let message = format!("field {field} can't be specified for {UNAUTHORIZED} section");
            self.problems.push(Stage::UnauthorizedUser, &place.field(field), mark, message, "remove it");
        }
        let context = UserContext { place: &place, stage: Stage::UnauthorizedUser, is_jwt: false };
        self.finish(&raw, context, Credential::None, String::new())
    }

    fn user(&mut self, index: usize, id: NodeId, place: &Place<'_>) -> Option<UserSpec> {
        let mut raw = Reader(Decoder { tree: &self.file.tree, problems: self.problems }).user(id, place);
        let jwt = raw.jwt.take();
        let stage = if jwt.is_some() { Stage::JwtUsers } else { Stage::Users };
        let context = UserContext { place, stage, is_jwt: jwt.is_some() };
        let credentials = match jwt {
            Some(jwt) => {
                self.refuse_mix_with_jwt(&raw, context);
                let owner = self.owner(&raw, index);
                vec![Credential::Jwt(Box::new(self.jwt(&jwt, owner, context)))]
            }
            None => self.credentials(&raw, index, context),
        };
        let display_name = display_name(&raw, credentials.first());
        let mut credentials = credentials.into_iter();
        // The rest is checked all the same, so that all problems are listed.
        let user = self.finish(&raw, context, credentials.next().unwrap_or(Credential::None), display_name);
        let user = UserSpec { more_credentials: credentials.collect(), ..user };
        (!matches!(user.credential, Credential::None)).then_some(user)
    }

    fn owner(&self, raw: &RawUser<'t>, index: usize) -> Owner<'t> {
        let (username, name) = (text_of(raw.login.username), text_of(raw.name));
        Owner { username, name, file: self.file.name, index, mark: raw.mark }
    }

    fn refuse_mix_with_jwt(&mut self, raw: &RawUser<'_>, context: UserContext<'_>) {
        if raw.login.is_set() {
            let message = "auth_token, bearer_token, username and password cannot be specified if jwt is set";
            self.problems.push(context.stage, context.place, raw.mark, message, KEEP_ONE);
        }
        if raw.credentials.is_some() {
            let message = "credentials cannot be specified if jwt is set";
            self.problems.push(context.stage, &context.place.field("credentials"), raw.mark, message, KEEP_ONE);
        }
        if let Some(mtls) = &raw.mtls {
            let message = "mtls cannot be specified if jwt is set";
            self.problems.push(context.stage, &context.place.field("mtls"), mtls.mark, message, KEEP_ONE);
        }
    }

    /// The credentials of a user without `jwt`.
    fn credentials(&mut self, raw: &RawUser<'t>, index: usize, context: UserContext<'_>) -> Vec<Credential> {
        let owner = self.owner(raw, index);
        if let Some(mtls) = &raw.mtls {
            if raw.login.is_set() || raw.credentials.is_some() {
                let message = "auth_token, bearer_token, username and password cannot be specified if mtls is set";
                self.problems.push(context.stage, context.place, raw.mark, message, KEEP_ONE);
                return Vec::new();
            }
            let Some(spec) = self.mtls(mtls, raw.damaged, context) else { return Vec::new() };
            self.refuse_duplicate("mtls", vec![mtls_name(&spec)], owner, context);
            return vec![Credential::Mtls(Box::new(spec))];
        }
        let credentials = self.logins(raw, context);
        for credential in &credentials {
            self.refuse_duplicate("auth token", credential.identities(), owner, context);
        }
        credentials
    }

    /// Reports a credential of the kind `what` that another user has already.
    fn refuse_duplicate(&mut self, what: &str, keys: Vec<String>, owner: Owner<'t>, context: UserContext<'_>) {
        let mut previous = None;
        for key in keys {
            match self.owners.entry(key) {
                std::collections::hash_map::Entry::Occupied(entry) => previous = Some(*entry.get()),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(owner);
                }
            }
        }
        if let Some(previous) = previous {
            let message = format!(
                "duplicate {what} found for username={}, name={}; the previous one is set for username={}, name={}",
                quote(owner.username),
                quote(owner.name),
                quote(previous.username),
                quote(previous.name)
            );
            let hint = format!("{} has it already; give each user a credential of its own", previous.place());
            self.problems.push(context.stage, context.place, owner.mark, message, hint);
        }
    }

    fn mtls(&mut self, raw: &At<RawMtls<'t>>, damaged: bool, context: UserContext<'_>) -> Option<MtlsSpec> {
        let place = context.place.field("mtls");
        let spec = MtlsSpec {
            organizational_unit: non_empty(raw.value.organizational_unit),
            organization: non_empty(raw.value.organization),
            common_name: non_empty(raw.value.common_name),
        };
        if spec != MtlsSpec::default() {
            return Some(spec);
        }
        if !damaged {
            let message = "mtls must contain at least one of organizational_unit, organization, common_name";
            self.problems.push(context.stage, &place, raw.mark, message, "");
        }
        None
    }

    /// Everything of a user but its credential.
    fn finish(
        &mut self,
        raw: &RawUser<'t>,
        context: UserContext<'_>,
        credential: Credential,
        display_name: String,
    ) -> UserSpec {
        let UserContext { place, stage, .. } = context;
        let has_route = raw.settings.url_prefix.is_some() || !raw.url_map.is_empty();
        let has_url_fields = has_route || raw.default_url.is_some();
        let may_lack_route = stage == Stage::UnauthorizedUser && !has_url_fields;
        if !has_route && !may_lack_route && !raw.damaged {
            self.problems.push(stage, place, raw.mark, MISSING_ROUTE, "add `url_prefix: http://backend/`");
        }
        self.check_placeholders(&raw.settings, "", context);
        let from_files = self.header_files(raw.settings.header_files.as_ref(), place);
        let level = self.flags.inner(&raw.settings, from_files, place, stage, self.problems);
        let default_level = Level::of_default_url(&level);
        let ip_filters = self.user_ip_filters(raw, place);
        let outer_header = match &ip_filters {
            Some(filter) => filter.real_ip_header.clone(),
            None => self.real_ip_header.clone(),
        };
        let routes = self.routes(&raw.url_map, &level, outer_header.as_deref(), context);
        let url_prefix = raw.settings.url_prefix.as_ref();
        let url_prefix = url_prefix.and_then(|urls| self.target(urls, "url_prefix", place, level, stage));
        let default_url = raw.default_url.as_ref();
        if let Some(urls) = default_url {
            self.check_url_placeholders(urls, "default_url", "invalid `default_url` placeholders: ", context);
        }
        let default_url = default_url.and_then(|urls| self.target(urls, "default_url", place, default_level, stage));
        self.check_tls_files(raw, context);
        let max_concurrent_requests = raw.max_concurrent_requests.filter(|&limit| limit > 0);
        UserSpec {
            place: place.to_string(),
            metric_labels: self.metric_labels(raw, context, &display_name),
            credential,
            more_credentials: Vec::new(),
            display_name,
            max_concurrent_requests: max_concurrent_requests
                .map_or(self.inputs.defaults.max_concurrent_requests_per_user, |limit| {
                    usize::try_from(limit).unwrap_or(usize::MAX)
                }),
            routes,
            url_prefix: url_prefix.map(Box::new),
            default_url: default_url.map(Box::new),
            has_url_fields,
            access_log: raw.access_log.as_ref().map(|codes| AccessLogSpec { skip_status_codes: statuses(codes) }),
            dump_request_on_errors: raw.dump_request_on_errors,
            ip_filters: ip_filters.map(Box::new),
            deny_paths: self.deny_paths(raw.settings.deny_paths.as_ref(), place),
            tls: client_tls(raw, &self.inputs.defaults.backend_tls),
        }
    }

    /// Files that are read when a backend is dialled, and whose absence is no error before; but they must be allowed.
    fn check_tls_files(&mut self, raw: &RawUser<'_>, context: UserContext<'_>) {
        let files = [
            ("tls_ca_file", raw.tls_ca_file),
            ("tls_cert_file", raw.tls_cert_file),
            ("tls_key_file", raw.tls_key_file),
        ];
        for (field, Text { value: file, mark }) in files.into_iter().filter_map(|(field, text)| Some((field, text?))) {
            let is_path = !file.is_empty() && !file.contains("-----BEGIN") && !vmkit::config_source::is_url(file);
            if is_path && let Err(error) = (self.inputs.check_file)(file) {
                let message = format!("cannot use the {field} {}: {}", quote(file), os_error(&error));
                self.problems.push(context.stage, &context.place.field(field), mark, message, "");
            }
        }
    }

    fn user_ip_filters(&mut self, raw: &RawUser<'_>, place: &Place<'_>) -> Option<IpFilterSpec> {
        let raw = raw.settings.ip_filters.as_ref()?;
        let place = place.field("ip_filters");
        Some(ip_filters::build(raw, &place, self.real_ip_header.as_deref(), self.problems))
    }

    /// Compiles `deny_paths` of the object at `place`.
    pub(super) fn deny_paths(&mut self, list: Option<&TextList<'_>>, place: &Place<'_>) -> Vec<Arc<GoRegex>> {
        let Some(list) = list else { return Vec::new() };
        let place = place.field("deny_paths");
        if let Some((index, mark)) = list.null_at {
            let message = "an item of `deny_paths` cannot be null";
            self.problems.push(Stage::Values, &place.index(index), mark, message, "write a regex, or remove the item");
        }
        self.path_patterns(list, &place)
    }

    fn metric_labels(
        &mut self,
        raw: &RawUser<'_>,
        context: UserContext<'_>,
        display_name: &str,
    ) -> Vec<(String, String)> {
        let is_unauthorized = context.stage == Stage::UnauthorizedUser;
        let mut labels = Vec::with_capacity(raw.metric_labels.len() + 1);
        for &(At { value: name, mark }, value) in &raw.metric_labels {
            if !is_label_name(name) {
                let whom = if is_unauthorized { " for unauthorized_user" } else { "" };
                let message = format!(
                    "cannot parse metric_labels{whom}: incorrect label name={}, \
                     it must match regex=\"^[a-zA-Z_:.][a-zA-Z0-9_:.]*$\" for user={}",
                    quote(name),
                    quote(display_name)
                );
                let place = context.place.field("metric_labels");
                self.problems.push(context.stage, &place, mark, message, "rename the label");
            }
            labels.push((name.to_owned(), value.value.to_owned()));
        }
        if !is_unauthorized && !labels.iter().any(|(name, _)| name == "username") {
            labels.push(("username".to_owned(), display_name.to_owned()));
        }
        if labels.len() > 1 {
            labels.sort_by_cached_key(|(name, value)| format!("{name}={}", quote(value)));
        }
        labels
    }
}

fn non_empty(text: Option<Text<'_>>) -> Option<String> {
    text.map(|text| text.value).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let is_start = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'_' | b':' | b'.');
    bytes.next().is_some_and(is_start) && bytes.all(|b| is_start(b) || b.is_ascii_digit())
}

fn display_name(raw: &RawUser<'_>, credential: Option<&Credential>) -> String {
    let (name, username) = (text_of(raw.name), text_of(raw.login.username));
    let hash = |kind: &str, token: &Secret| format!("{kind}:hash:{:016X}", xxh64(token.expose().as_bytes(), 0));
    let items = raw.credentials.iter().flatten();
    let logins = std::iter::once(&raw.login).chain(items.map(|item| &item.login));
    let first = logins.into_iter().find(|login| login.is_set()).unwrap_or(&raw.login);
    match credential {
        _ if !name.is_empty() => name.to_owned(),
        _ if !username.is_empty() => username.to_owned(),
        // A name that stays when the token is replaced.
        Some(Credential::Bearer(_)) if first.bearer_token_file.is_some() => {
            format!("bearer_token:file:{}", text_of(first.bearer_token_file))
        }
        Some(Credential::AuthToken(_)) if first.auth_token_file.is_some() => {
            format!("auth_token:file:{}", text_of(first.auth_token_file))
        }
        Some(Credential::Bearer(token)) => hash("bearer_token", token),
        Some(Credential::AuthToken(token)) => hash("auth_token", token),
        Some(Credential::Jwt(_)) => "jwt".to_owned(),
        Some(Credential::Mtls(mtls)) => mtls_name(mtls),
        Some(Credential::BearerHash(digest)) => {
            let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02X}")).collect();
            format!("bearer_token:sha256:{digits}")
        }
        Some(Credential::Basic { username, .. } | Credential::PasswordHash { username, .. }) => username.clone(),
        Some(Credential::None) | None => String::new(),
    }
}

fn mtls_name(mtls: &MtlsSpec) -> String {
    let fields = [("OU", &mtls.organizational_unit), ("O", &mtls.organization), ("CN", &mtls.common_name)];
    let fields = fields.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)));
    format!("mtls:{}", fields.collect::<Vec<_>>().join(","))
}

/// The options of the flags, with those of the user in front; shared when the user has none.
fn client_tls(raw: &RawUser<'_>, flags: &Arc<ClientTlsOptions>) -> Arc<ClientTlsOptions> {
    let own = |text: Option<Text<'_>>, flag: &Option<String>| non_empty(text).or_else(|| flag.clone());
    let tls = ClientTlsOptions {
        ca_file: own(raw.tls_ca_file, &flags.ca_file),
        cert_file: own(raw.tls_cert_file, &flags.cert_file),
        key_file: own(raw.tls_key_file, &flags.key_file),
        server_name: own(raw.tls_server_name, &flags.server_name),
        insecure_skip_verify: raw.tls_insecure_skip_verify.unwrap_or(flags.insecure_skip_verify),
        min_version: flags.min_version.clone(),
    };
    if tls == **flags { Arc::clone(flags) } else { Arc::new(tls) }
}
