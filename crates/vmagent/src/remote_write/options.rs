//! What the flags of remote write mean, checked.
//!
//! Lists are read by position: item `i` is for URL `i`, a single item for all of them, a missing or empty one is the
//! default (docs/reference/vmagent-flags.md). All problems are reported at once, none shows a URL or a secret.

use super::connection::Endpoint;
use super::credentials::{Credentials, SecretSource};
use super::fan_out::LabelLimits;
use super::sender::fixed_headers;
use super::url::RemoteUrl;
use super::{Rounding, ShardLabels};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use vmkit::flags::FlagSet;
use vmkit::http_client::{ConnectionCounts, TlsFiles};
use vmkit::net::dns::Resolver;
use vmkit::oauth2::{OAuth2Options, SecretFile, TokenSource};
use vmkit::proxy::{Proxy, of_environment};
use vmkit::secret::Secret;
use vmkit::tls::client_config::ClientTlsOptions;
use vmkit::units::{ByteSize, GoDuration};

mod position;

use position::{ByUrl, Problems};

/// Upstream's least limit of files.
const MIN_DISK_USAGE: u64 = 536_871_040;

/// All flags of remote write.
#[derive(Clone, Debug)]
pub struct RemoteWriteOptions {
    /// In the order of the flag; at least one, unless nothing is ever sent.
    pub urls: Vec<UrlOptions>,
    /// `-remoteWrite.tmpDataPath`.
    pub data_path: PathBuf,
    /// `-remoteWrite.keepDanglingQueues`.
    pub keep_dangling_queues: bool,
    /// `-remoteWrite.flushInterval`.
    pub flush_interval: Duration,
    /// `-remoteWrite.maxBlockSize`.
    pub max_block_size: usize,
    /// `-remoteWrite.maxRowsPerBlock`.
    pub max_rows_per_block: usize,
    /// `-remoteWrite.maxMetadataPerBlock`.
    pub max_metadata_per_block: usize,
    /// `-remoteWrite.vmProtoCompressLevel`.
    pub compress_level: i32,
    /// `-remoteWrite.label`.
    pub labels: Vec<(String, String)>,
    /// `-remoteWrite.shardByURL`.
    pub shard_by_url: bool,
    /// `-remoteWrite.shardByURLReplicas`.
    pub shard_copies: usize,
    /// `-remoteWrite.shardByURL.labels` or `.ignoreLabels`.
    pub shard_labels: ShardLabels,
    /// `-remoteWrite.dropSamplesOnOverload`.
    pub drop_on_overload: bool,
    /// `-remoteWrite.relabelConfig`; empty when not set.
    pub relabel_config: String,
    /// `-maxLabelsPerTimeseries` and so on.
    pub label_limits: LabelLimits,
    /// `-sortLabels`.
    pub sort_labels: bool,
    /// `-usePromCompatibleNaming`.
    pub plain_names: bool,
    /// `-remoteWrite.maxHourlySeries`.
    pub max_hourly_series: i64,
    /// `-remoteWrite.maxDailySeries`.
    pub max_daily_series: i64,
    /// `-maxIngestionRate`; 0 is no limit.
    pub max_ingestion_rate: u64,
    /// `-enableTCP6`.
    pub ipv6: bool,
    /// To be logged at the start.
    pub warnings: Vec<String>,
}

/// Flags of one URL.
#[derive(Clone)]
pub struct UrlOptions {
    /// As given; a secret.
    pub url: String,
    /// `1:secret-url`, or with the URL.
    pub name: String,
    /// `-remoteWrite.queues`.
    pub queues: usize,
    /// `-remoteWrite.inmemoryQueues`.
    pub fresh_queues: usize,
    /// `-remoteWrite.maxDiskUsagePerURL`; 0 is no limit.
    pub max_disk_bytes: u64,
    /// `-remoteWrite.sendTimeout`.
    pub send_timeout: Duration,
    /// `-remoteWrite.tlsHandshakeTimeout`.
    pub handshake_timeout: Duration,
    /// `-remoteWrite.retryMinInterval`.
    pub retry_min: Duration,
    /// `-remoteWrite.retryMaxInterval`.
    pub retry_max: Duration,
    /// `-remoteWrite.rateLimit`.
    pub rate_limit: u64,
    /// `-remoteWrite.forcePromProto`.
    pub always_snappy: bool,
    /// `-remoteWrite.forceVMProto`.
    pub always_zstd: bool,
    /// `-remoteWrite.significantFigures` and `.roundDigits`.
    pub rounding: Rounding,
    /// `-remoteWrite.disableMetadata`.
    pub without_metadata: bool,
    /// `-remoteWrite.disableOnDiskQueue`.
    pub memory_only: bool,
    /// `-remoteWrite.urlRelabelConfig`; empty when not set.
    pub relabel_config: String,
    /// `-remoteWrite.headers`.
    pub headers: Vec<(String, String)>,
    /// `-remoteWrite.tls…`.
    pub tls: ClientTlsOptions,
    /// `-remoteWrite.proxyURL`; empty when not set.
    pub proxy_url: Secret,
    credentials: CredentialOptions,
}

/// Texts of the credential flags at one position.
#[derive(Clone, Default)]
struct CredentialOptions {
    user: String,
    user_file: String,
    password: String,
    password_file: String,
    bearer: String,
    bearer_file: String,
    oauth2: Option<OAuth2Options>,
    /// Of the URL itself.
    user_info: Option<(String, String)>,
}

impl std::fmt::Debug for UrlOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UrlOptions").field("name", &self.name).finish_non_exhaustive()
    }
}

impl RemoteWriteOptions {
    /// Reads the flags of [`super::FLAGS`] and those of other groups that concern remote write.
    ///
    /// # Errors
    /// All problems. A missing URL is none, because a dry run needs none.
    pub fn from_flags(flags: &FlagSet) -> Result<Self, Vec<String>> {
        let mut problems = Problems::default();
        let mut warnings = Vec::new();
        let urls: Vec<&str> = flags.texts("remoteWrite.url").iter().map(String::as_str).collect();
        let urls: Vec<&str> = urls.into_iter().filter(|url| !url.is_empty()).collect();
        warn_of_shared_credentials(flags, &urls, &mut warnings);
        let (labels, only, except) = (
            external_labels(flags.texts("remoteWrite.label"), &mut problems),
            given(flags.texts("remoteWrite.shardByURL.labels")),
            given(flags.texts("remoteWrite.shardByURL.ignoreLabels")),
        );
        let shard_labels = match (only.is_empty(), except.is_empty()) {
            (false, false) => {
                problems.add(
                    "-remoteWrite.shardByURL.labels and -remoteWrite.shardByURL.ignoreLabels cannot be set simultaneously",
                );
                ShardLabels::All
            }
            (false, true) => ShardLabels::Only(only),
            (true, false) => ShardLabels::Except(except),
            (true, true) => ShardLabels::All,
        };
        let relabel_configs = flags.texts("remoteWrite.urlRelabelConfig");
        if relabel_configs.len() > urls.len() && !urls.is_empty() {
            problems.add(format!(
                "too many -remoteWrite.urlRelabelConfig args: {}; want at most {}, one for each -remoteWrite.url",
                relabel_configs.len(),
                urls.len()
            ));
        }
        if relabel_configs.len() == 1 && urls.len() > 1 {
            warnings
                .push("-remoteWrite.urlRelabelConfig has one value: it is for the first -remoteWrite.url only".into());
        }
        let by_url = ByUrl { flags, urls: &urls };
        let parsed = (0..urls.len()).map(|index| by_url.options(index, &mut problems, &mut warnings)).collect();
        let count =
            |name: &str, default: usize| usize::try_from(flags.int(name)).ok().filter(|n| *n > 0).unwrap_or(default);
        let limit = |name: &str| usize::try_from(flags.int(name)).unwrap_or(0);
        let memory_only: Vec<bool> =
            (0..urls.len()).map(|i| flags.bool_at("remoteWrite.disableOnDiskQueue", i)).collect();
        if flags.bool("remoteWrite.shardByURL") && memory_only.iter().any(|on| Some(on) != memory_only.first()) {
            problems.add("-remoteWrite.disableOnDiskQueue must be the same for all URLs under -remoteWrite.shardByURL");
        }
        let options = Self {
            urls: parsed,
            data_path: flags.text("remoteWrite.tmpDataPath").into(),
            keep_dangling_queues: flags.bool("remoteWrite.keepDanglingQueues"),
            flush_interval: duration(flags.duration("remoteWrite.flushInterval")).max(Duration::from_millis(10)),
            max_block_size: bytes(flags.bytes("remoteWrite.maxBlockSize")).unwrap_or(8 << 20).max(64) as usize,
            max_rows_per_block: count("remoteWrite.maxRowsPerBlock", 10_000),
            max_metadata_per_block: count("remoteWrite.maxMetadataPerBlock", 5000),
            compress_level: i32::try_from(flags.int("remoteWrite.vmProtoCompressLevel")).unwrap_or(0).clamp(-22, 22),
            labels,
            shard_by_url: flags.bool("remoteWrite.shardByURL"),
            shard_copies: limit("remoteWrite.shardByURLReplicas").max(1),
            shard_labels,
            drop_on_overload: flags.bool("remoteWrite.dropSamplesOnOverload"),
            relabel_config: flags.text("remoteWrite.relabelConfig").to_owned(),
            label_limits: LabelLimits {
                labels: limit("maxLabelsPerTimeseries"),
                name_len: limit("maxLabelNameLen"),
                value_len: limit("maxLabelValueLen"),
            },
            sort_labels: flags.bool("sortLabels"),
            plain_names: flags.bool("usePromCompatibleNaming"),
            max_hourly_series: flags.int("remoteWrite.maxHourlySeries"),
            max_daily_series: flags.int("remoteWrite.maxDailySeries"),
            max_ingestion_rate: u64::try_from(flags.int("maxIngestionRate")).unwrap_or(0),
            ipv6: flags.bool("enableTCP6"),
            warnings,
        };
        problems.into_result(options)
    }
}

impl UrlOptions {
    /// What proves who we are to this URL.
    ///
    /// # Errors
    /// Two kinds of credentials.
    pub(crate) fn credentials(&self) -> Result<Credentials, String> {
        let given = &self.credentials;
        let source = |text: &str, file: &str| match file {
            "" => SecretSource::Text(Secret::from(text)),
            file => SecretSource::File(Box::new(SecretFile::new(file))),
        };
        let has_basic = [&given.user, &given.user_file, &given.password, &given.password_file];
        let has_basic = has_basic.iter().any(|text| !text.is_empty());
        let has_bearer = !given.bearer.is_empty() || !given.bearer_file.is_empty();
        let kinds = [has_basic, has_bearer, given.oauth2.is_some()].iter().filter(|has| **has).count();
        if kinds > 1 {
            return Err("cannot simultaneously use more than one of -remoteWrite.basicAuth, -remoteWrite.bearerToken and -remoteWrite.oauth2 for one URL".into());
        }
        Ok(match (&given.oauth2, &given.user_info) {
            (Some(oauth2), _) => Credentials::OAuth2(Arc::new(TokenSource::new(oauth2.clone()))),
            _ if has_bearer => Credentials::Bearer(source(&given.bearer, &given.bearer_file)),
            _ if has_basic => {
                Credentials::Basic(source(&given.user, &given.user_file), source(&given.password, &given.password_file))
            }
            (None, Some((user, password))) => Credentials::Basic(source(user, ""), source(password, "")),
            (None, None) => Credentials::None,
        })
    }

    pub(crate) fn endpoint(
        &self,
        ipv6: bool,
        resolver: &Arc<Resolver>,
        metrics: &Arc<ConnectionCounts>,
    ) -> Result<Endpoint, String> {
        let url = RemoteUrl::parse(&self.url)?.0;
        let proxy = match self.proxy_url.expose() {
            "" => {
                let host = url.host.trim_matches(['[', ']']);
                of_environment(host, url.port, url.is_https, |name| std::env::var(name).ok())
            }
            text => Some(Proxy::parse(text)?),
        };
        Ok(Endpoint {
            url,
            proxy,
            tls: TlsFiles::of(self.tls.clone()),
            handshake_limit: self.handshake_timeout,
            resolver: Arc::clone(resolver),
            ipv6,
            metrics: Arc::clone(metrics),
        })
    }
}

impl ByUrl<'_> {
    fn options(&self, index: usize, problems: &mut Problems, warnings: &mut Vec<String>) -> UrlOptions {
        let url = self.urls[index];
        let shown = if self.flags.bool("remoteWrite.showURL") { url } else { "secret-url" };
        let name = format!("{}:{shown}", index + 1);
        let at = format!("-remoteWrite.url #{}", index + 1);
        let user_info = match RemoteUrl::parse(url) {
            Ok((_, user_info)) => user_info,
            Err(err) => {
                problems.add(format!("{at}: {err}"));
                None
            }
        };
        let text = |name: &str| self.text(name, index).to_owned();
        let headers = headers(&text("remoteWrite.headers"), &at, problems);
        let tls = self.tls(index);
        let send_timeout = self.duration("remoteWrite.sendTimeout", index, Duration::from_secs(60));
        let credentials = CredentialOptions {
            user: text("remoteWrite.basicAuth.username"),
            user_file: text("remoteWrite.basicAuth.usernameFile"),
            password: text("remoteWrite.basicAuth.password"),
            password_file: text("remoteWrite.basicAuth.passwordFile"),
            bearer: text("remoteWrite.bearerToken"),
            bearer_file: text("remoteWrite.bearerTokenFile"),
            oauth2: self.oauth2(index, &at, &tls, send_timeout, problems),
            user_info,
        };
        for (name, key, one, other) in [
            ("basicAuth.username", "username", &credentials.user, &credentials.user_file),
            ("basicAuth.password", "password", &credentials.password, &credentials.password_file),
            ("bearerToken", "bearer_token", &credentials.bearer, &credentials.bearer_file),
        ] {
            if !one.is_empty() && !other.is_empty() {
                problems.add(format!(
                    "{at}: both `{key}` and `{key}_file` are set by -remoteWrite.{name} and -remoteWrite.{name}File"
                ));
            }
        }
        let relabel_config = self.flags.texts("remoteWrite.urlRelabelConfig").get(index).cloned().unwrap_or_default();
        let always = |name: &str| self.flags.bool_at(name, index);
        let (always_snappy, always_zstd) = (always("remoteWrite.forcePromProto"), always("remoteWrite.forceVMProto"));
        if always_snappy && always_zstd {
            problems.add(format!(
                "{at}: -remoteWrite.forcePromProto and -remoteWrite.forceVMProto cannot be set simultaneously"
            ));
        }
        let proxy_url = text("remoteWrite.proxyURL");
        if let Some(Err(err)) = (!proxy_url.is_empty()).then(|| Proxy::parse(&proxy_url)) {
            problems.add(format!("{at}: -remoteWrite.proxyURL: {err}"));
        }
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let int = |name: &str, default: i64| self.int(name, index).unwrap_or(default);
        let queues = usize::try_from(int("remoteWrite.queues", 0)).ok().filter(|n| *n > 0).unwrap_or(2 * cpus);
        let options = UrlOptions {
            url: url.to_owned(),
            name,
            queues: queues.min(16 * cpus),
            fresh_queues: usize::try_from(int("remoteWrite.inmemoryQueues", 0)).unwrap_or(0).min(16 * cpus),
            max_disk_bytes: self.max_disk_bytes(index, problems, warnings),
            send_timeout,
            handshake_timeout: self.duration("remoteWrite.tlsHandshakeTimeout", index, Duration::from_secs(20)),
            retry_min: self.duration("remoteWrite.retryMinInterval", index, Duration::from_secs(1)),
            retry_max: self.retry_max(index, warnings),
            rate_limit: u64::try_from(int("remoteWrite.rateLimit", 0)).unwrap_or(0),
            always_snappy,
            always_zstd,
            rounding: Rounding::from_flags(
                int("remoteWrite.significantFigures", 0),
                self.round_digits(index, problems),
            ),
            without_metadata: always("remoteWrite.disableMetadata"),
            memory_only: always("remoteWrite.disableOnDiskQueue"),
            relabel_config,
            headers,
            tls,
            proxy_url: Secret::from(proxy_url),
            credentials,
        };
        if let Err(err) = options.credentials() {
            problems.add(format!("{at}: {err}"));
        }
        options
    }

    fn round_digits(&self, index: usize, problems: &mut Problems) -> i64 {
        let text = self.text("remoteWrite.roundDigits", index);
        if text.is_empty() {
            return 100;
        }
        text.parse().unwrap_or_else(|_| {
            problems.add(format!("invalid value {text:?} for flag -remoteWrite.roundDigits: want a number"));
            100
        })
    }

    fn max_disk_bytes(&self, index: usize, problems: &mut Problems, warnings: &mut Vec<String>) -> u64 {
        let text = self.text("remoteWrite.maxDiskUsagePerURL", index);
        if text.is_empty() {
            return 0;
        }
        let Some(limit) = text.parse::<ByteSize>().ok().and_then(|size| bytes(&size)) else {
            problems.add(format!(
                "invalid value {text:?} for flag -remoteWrite.maxDiskUsagePerURL: want a size such as 1GiB"
            ));
            return 0;
        };
        if limit > 0 && limit < MIN_DISK_USAGE {
            warnings.push(format!(
                "rounding the -remoteWrite.maxDiskUsagePerURL={text} to the minimum supported value: {MIN_DISK_USAGE}"
            ));
            return MIN_DISK_USAGE;
        }
        limit
    }

    fn retry_max(&self, index: usize, warnings: &mut Vec<String>) -> Duration {
        let minute = Duration::from_secs(60);
        let old = self.duration("remoteWrite.retryMaxTime", index, minute);
        if self.flags.is_set("remoteWrite.retryMaxTime") {
            if index == 0 {
                warnings.push("-remoteWrite.retryMaxTime is the old name of -remoteWrite.retryMaxInterval".into());
            }
            if !self.flags.is_set("remoteWrite.retryMaxInterval") {
                return old;
            }
        }
        self.duration("remoteWrite.retryMaxInterval", index, minute)
    }

    fn tls(&self, index: usize) -> ClientTlsOptions {
        let text = |name: &str| Some(self.text(name, index).to_owned()).filter(|text| !text.is_empty());
        ClientTlsOptions {
            ca_file: text("remoteWrite.tlsCAFile"),
            cert_file: text("remoteWrite.tlsCertFile"),
            key_file: text("remoteWrite.tlsKeyFile"),
            server_name: text("remoteWrite.tlsServerName"),
            insecure_skip_verify: self.flags.bool_at("remoteWrite.tlsInsecureSkipVerify", index),
            ..ClientTlsOptions::default()
        }
    }

    fn oauth2(
        &self,
        index: usize,
        at: &str,
        tls: &ClientTlsOptions,
        send_timeout: Duration,
        problems: &mut Problems,
    ) -> Option<OAuth2Options> {
        let text = |name: &str| self.text(&format!("remoteWrite.oauth2.{name}"), index);
        let (id, secret, file, url) =
            (text("clientID"), text("clientSecret"), text("clientSecretFile"), text("tokenUrl"));
        if [id, secret, file, url].iter().all(|text| text.is_empty()) {
            return None;
        }
        let secret = (!secret.is_empty()).then(|| Secret::from(secret));
        let mut options = match OAuth2Options::new(id, secret, file, url) {
            Ok(options) => options,
            Err(err) => {
                problems.add(format!("{at}: -remoteWrite.oauth2: {err}"));
                return None;
            }
        };
        options.scopes = text("scopes").split(';').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
        let params = text("endpointParams");
        if !params.is_empty() {
            match serde_json::from_str::<BTreeMap<String, String>>(params) {
                Ok(params) if params.contains_key("scope") => {
                    problems.add(format!("{at}: -remoteWrite.oauth2.endpointParams must not have \"scope\"; use -remoteWrite.oauth2.scopes"));
                }
                Ok(params) => options.endpoint_params = params,
                Err(_) => {
                    problems.add(format!("{at}: -remoteWrite.oauth2.endpointParams is no JSON object of strings"))
                }
            }
        }
        // The name of the remote's certificate is not that of the provider's.
        options.tls = ClientTlsOptions { server_name: None, ..tls.clone() };
        options.timeout = send_timeout.min(Duration::from_secs(30));
        Some(options)
    }
}

/// Credentials that hosts of different owners would get.
fn warn_of_shared_credentials(flags: &FlagSet, urls: &[&str], warnings: &mut Vec<String>) {
    let hosts: Vec<String> =
        urls.iter().filter_map(|url| RemoteUrl::parse(url).ok()).map(|(url, _)| url.host).collect();
    if hosts.iter().all(|host| Some(host) == hosts.first()) {
        return;
    }
    for name in [
        "remoteWrite.basicAuth.password",
        "remoteWrite.basicAuth.passwordFile",
        "remoteWrite.bearerToken",
        "remoteWrite.bearerTokenFile",
        "remoteWrite.headers",
        "remoteWrite.oauth2.clientSecret",
        "remoteWrite.oauth2.clientSecretFile",
    ] {
        if matches!(flags.texts(name), [only] if !only.is_empty()) {
            warnings.push(format!(
                "-{name} has one value, which goes to all {} URLs of -remoteWrite.url, on different hosts; give one value for each URL, empty where it has none",
                urls.len()
            ));
        }
    }
}

fn external_labels(items: &[String], problems: &mut Problems) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    for item in items.iter().filter(|item| !item.is_empty()) {
        match item.split_once('=') {
            None => problems.add(format!("missing '=' in -remoteWrite.label={item:?}; want name=value")),
            Some((name, value)) if name.is_empty() || value.is_empty() => {
                problems.add(format!("-remoteWrite.label={item:?} has an empty name or value; want name=value"));
            }
            Some((name, value)) => labels.push((name.to_owned(), value.to_owned())),
        }
    }
    labels
}

fn headers(text: &str, at: &str, problems: &mut Problems) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for item in text.split("^^").filter(|item| !item.is_empty()) {
        match item.split_once(':') {
            Some((name, value)) => headers.push((name.trim().to_owned(), value.trim().to_owned())),
            // The text may be a secret whose comma was not quoted.
            None => problems.add(format!(
                "{at}: missing ':' in header of -remoteWrite.headers; want Name: value, in quotes if it has a comma"
            )),
        }
    }
    if let Err(err) = fixed_headers(&headers) {
        problems.add(format!("{at}: -remoteWrite.headers: {err}"));
    }
    headers
}

fn given(items: &[String]) -> Vec<String> {
    items.iter().filter(|item| !item.is_empty()).cloned().collect()
}

fn duration(value: GoDuration) -> Duration {
    value.as_std()
}

fn bytes(size: &ByteSize) -> Option<u64> {
    u64::try_from(size.bytes()).ok()
}
