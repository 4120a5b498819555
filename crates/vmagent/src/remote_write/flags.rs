//! Flags of remote write: names, kinds, defaults.
//!
//! Sizes and durations by URL are texts here, because an empty item means the default; [`super::RemoteWriteOptions`]
//! judges them.

use vmkit::flags::FlagDef;
use vmkit::flags::Kind::{Bool, BoolList, Bytes, Duration, Int, IntList, Text, TextList};

/// Rows of the flag table.
pub const FLAGS: &[FlagDef] = &[
    FlagDef::new(
        "remoteWrite.url",
        TextList,
        "",
        "Where samples go: URLs of remote write; repeat it to send everything to several",
    )
    .shown_by("remoteWrite.showURL"),
    FlagDef::new(
        "remoteWrite.showURL",
        Bool,
        "",
        "Show -remoteWrite.url in metrics, logs and pages, credentials included",
    ),
    FlagDef::new(
        "remoteWrite.label",
        TextList,
        "",
        "Labels name=value for all samples; they overwrite labels of the same name",
    ),
    FlagDef::new("remoteWrite.relabelConfig", Text, "", "File or URL with relabeling rules for all samples"),
    FlagDef::new(
        "remoteWrite.urlRelabelConfig",
        TextList,
        "",
        "Files or URLs with relabeling rules, by position of -remoteWrite.url; one value is for the first URL only",
    ),
    FlagDef::new(
        "remoteWrite.forcePromProto",
        BoolList,
        "",
        "Send by Prometheus remote write only, by position of -remoteWrite.url",
    ),
    FlagDef::new(
        "remoteWrite.forceVMProto",
        BoolList,
        "",
        "Send by VictoriaMetrics remote write, by position of -remoteWrite.url; a refused block still goes the other way",
    ),
    FlagDef::new(
        "remoteWrite.vmProtoCompressLevel",
        Int,
        "0",
        "zstd level of VictoriaMetrics remote write, from -22 to 22; 0 is the default",
    ),
    FlagDef::new(
        "remoteWrite.significantFigures",
        IntList,
        "",
        "Round values to so many figures, by position of -remoteWrite.url; 0 leaves them alone",
    ),
    FlagDef::new(
        "remoteWrite.roundDigits",
        TextList,
        "",
        "Round values to so many digits behind the point, by position of -remoteWrite.url; 100 leaves them alone",
    ),
    FlagDef::new(
        "remoteWrite.disableMetadata",
        BoolList,
        "",
        "Do not send HELP and TYPE, by position of -remoteWrite.url",
    ),
    FlagDef::new(
        "remoteWrite.maxHourlySeries",
        Int,
        "0",
        "Drop samples of series beyond so many different ones an hour; -1 counts only",
    ),
    FlagDef::new(
        "remoteWrite.maxDailySeries",
        Int,
        "0",
        "Drop samples of series beyond so many different ones a day; -1 counts only",
    ),
    FlagDef::new(
        "remoteWrite.shardByURL",
        Bool,
        "",
        "Spread series over all -remoteWrite.url instead of sending each everything",
    ),
    FlagDef::new(
        "remoteWrite.shardByURLReplicas",
        Int,
        "1",
        "To how many URLs each series goes under -remoteWrite.shardByURL",
    ),
    FlagDef::new("remoteWrite.shardByURL.labels", TextList, "", "Only these labels choose the URL of a series"),
    FlagDef::new(
        "remoteWrite.shardByURL.ignoreLabels",
        TextList,
        "",
        "All labels but these choose the URL of a series",
    ),
    FlagDef::new(
        "remoteWrite.tmpDataPath",
        Text,
        "vmagent-remotewrite-data",
        "Directory of the queues: what could not be sent yet",
    ),
    FlagDef::new(
        "remoteWrite.maxDiskUsagePerURL",
        TextList,
        "",
        "Size of a queue on disk, by position of -remoteWrite.url; the oldest samples are dropped beyond it; 0 is no limit",
    ),
    FlagDef::new("remoteWrite.keepDanglingQueues", Bool, "", "Keep queues of URLs that are not configured any more"),
    FlagDef::new(
        "remoteWrite.disableOnDiskQueue",
        BoolList,
        "",
        "Keep samples in memory only, by position of -remoteWrite.url; pushes are refused with 429 when it is full",
    ),
    FlagDef::new(
        "remoteWrite.dropSamplesOnOverload",
        Bool,
        "",
        "Drop samples instead of refusing pushes under -remoteWrite.disableOnDiskQueue",
    ),
    FlagDef::new(
        "remoteWrite.queues",
        IntList,
        "",
        "Concurrent requests to each URL, by position of -remoteWrite.url; twice the number of CPUs by default",
    ),
    FlagDef::new(
        "remoteWrite.inmemoryQueues",
        IntList,
        "",
        "Further senders that send fresh samples only, by position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.flushInterval", Duration, "1s", "How long samples are gathered before they are sent"),
    FlagDef::new("remoteWrite.maxBlockSize", Bytes, "8388608", "Largest request, before compression"),
    FlagDef::new("remoteWrite.maxRowsPerBlock", Int, "10000", "Most samples in a request"),
    FlagDef::new("remoteWrite.maxMetadataPerBlock", Int, "5000", "Most metadata entries in a request"),
    FlagDef::new(
        "remoteWrite.rateLimit",
        IntList,
        "",
        "Bytes a second, by position of -remoteWrite.url; 0 is no limit",
    ),
    FlagDef::new(
        "remoteWrite.sendTimeout",
        TextList,
        "",
        "Time limit of a request, by position of -remoteWrite.url; 1m by default",
    ),
    FlagDef::new(
        "remoteWrite.tlsHandshakeTimeout",
        TextList,
        "",
        "Time limit of TLS handshakes, by position of -remoteWrite.url; 20s by default",
    ),
    FlagDef::new(
        "remoteWrite.retryMinInterval",
        TextList,
        "",
        "First pause before a block is sent again, by position of -remoteWrite.url; 1s by default",
    ),
    FlagDef::new(
        "remoteWrite.retryMaxInterval",
        TextList,
        "",
        "Longest pause, by position of -remoteWrite.url; 1m by default",
    ),
    FlagDef::new("remoteWrite.retryMaxTime", TextList, "", "Old name of -remoteWrite.retryMaxInterval"),
    FlagDef::new("remoteWrite.proxyURL", TextList, "", "Proxy on the way to the URL, by position of -remoteWrite.url")
        .secret(),
    FlagDef::new(
        "remoteWrite.headers",
        TextList,
        "",
        "Headers of requests, Name: value with ^^ between them, by position of -remoteWrite.url",
    )
    .secret(),
    FlagDef::new("remoteWrite.basicAuth.username", TextList, "", "User name, by position of -remoteWrite.url"),
    FlagDef::new(
        "remoteWrite.basicAuth.usernameFile",
        TextList,
        "",
        "File with the user name, by position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.basicAuth.password", TextList, "", "Password, by position of -remoteWrite.url"),
    FlagDef::new(
        "remoteWrite.basicAuth.passwordFile",
        TextList,
        "",
        "File with the password, by position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.bearerToken", TextList, "", "Bearer token, by position of -remoteWrite.url"),
    FlagDef::new(
        "remoteWrite.bearerTokenFile",
        TextList,
        "",
        "File with the bearer token, by position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.oauth2.clientID", TextList, "", "OAuth2 client, by position of -remoteWrite.url"),
    FlagDef::new(
        "remoteWrite.oauth2.clientSecret",
        TextList,
        "",
        "Secret of the OAuth2 client, by position of -remoteWrite.url",
    ),
    FlagDef::new(
        "remoteWrite.oauth2.clientSecretFile",
        TextList,
        "",
        "File with the secret of the OAuth2 client, by position of -remoteWrite.url",
    ),
    FlagDef::new(
        "remoteWrite.oauth2.endpointParams",
        TextList,
        "",
        "Further parameters of token requests as a JSON object, by position of -remoteWrite.url",
    ),
    FlagDef::new(
        "remoteWrite.oauth2.scopes",
        TextList,
        "",
        "Scopes with ; between them, by position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.oauth2.tokenUrl", TextList, "", "Token endpoint, by position of -remoteWrite.url"),
    FlagDef::new(
        "remoteWrite.tlsCAFile",
        TextList,
        "",
        "CA for the remote, by position of -remoteWrite.url; the system's by default",
    ),
    FlagDef::new("remoteWrite.tlsCertFile", TextList, "", "Client certificate, by position of -remoteWrite.url"),
    FlagDef::new(
        "remoteWrite.tlsKeyFile",
        TextList,
        "",
        "Key of the client certificate, by position of -remoteWrite.url",
    ),
    FlagDef::new(
        "remoteWrite.tlsServerName",
        TextList,
        "",
        "Name for SNI, verification and Host, by position of -remoteWrite.url",
    ),
    FlagDef::new(
        "remoteWrite.tlsInsecureSkipVerify",
        BoolList,
        "",
        "Do not verify the remote's certificate, by position of -remoteWrite.url",
    ),
    FlagDef::new("maxIngestionRate", Int, "0", "Samples a second from all sources; more have to wait; 0 is no limit"),
    FlagDef::new("maxLabelsPerTimeseries", Int, "0", "Drop series with more labels; 0 is no limit"),
    FlagDef::new("maxLabelNameLen", Int, "0", "Drop series with longer names of labels; 0 is no limit"),
    FlagDef::new("maxLabelValueLen", Int, "0", "Drop series with longer values of labels; 0 is no limit"),
    FlagDef::new("sortLabels", Bool, "", "Sort labels before they are sent"),
    FlagDef::new(
        "usePromCompatibleNaming",
        Bool,
        "",
        "Replace characters in names that Prometheus does not allow by _",
    ),
];
