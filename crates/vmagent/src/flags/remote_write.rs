//! Flags of remote write: what is sent, where to and how.

use vmkit::flags::FlagDef;
use vmkit::flags::Kind::{Bool, BoolList, Bytes, Duration, Int, IntList, Text, TextList};

use super::{NO_AWS, NO_AWS_SIGNING, NO_MDX, NO_MDX_EFFECT, NO_OBFUSCATION};

/// By name.
pub(super) static TABLE: &[FlagDef] = &[
    FlagDef::new("mdx.label", TextList, "", "Marks such series").ignored(NO_MDX_EFFECT),
    FlagDef::new(
        "remoteWrite.aws.accessKey",
        TextList,
        "",
        "Without useSigv4 no effect. By position of -remoteWrite.url",
    )
    .ignored(NO_AWS_SIGNING),
    FlagDef::new(
        "remoteWrite.aws.ec2Endpoint",
        TextList,
        "",
        "Option of a feature that is not here: remoteWrite.aws.ec2Endpoint. By position of -remoteWrite.url",
    )
    .ignored(NO_AWS_SIGNING),
    FlagDef::new(
        "remoteWrite.aws.region",
        TextList,
        "",
        "Option of a feature that is not here: remoteWrite.aws.region. By position of -remoteWrite.url",
    )
    .ignored(NO_AWS_SIGNING),
    FlagDef::new(
        "remoteWrite.aws.roleARN",
        TextList,
        "",
        "Option of a feature that is not here: remoteWrite.aws.roleARN. By position of -remoteWrite.url",
    )
    .ignored(NO_AWS_SIGNING),
    FlagDef::new(
        "remoteWrite.aws.secretKey",
        TextList,
        "",
        "Option of a feature that is not here: remoteWrite.aws.secretKey. By position of -remoteWrite.url",
    )
    .ignored(NO_AWS_SIGNING),
    FlagDef::new(
        "remoteWrite.aws.service",
        TextList,
        "",
        "Option of a feature that is not here: remoteWrite.aws.service. By position of -remoteWrite.url",
    )
    .ignored(NO_AWS_SIGNING),
    FlagDef::new(
        "remoteWrite.aws.stsEndpoint",
        TextList,
        "",
        "Option of a feature that is not here: remoteWrite.aws.stsEndpoint. By position of -remoteWrite.url",
    )
    .ignored(NO_AWS_SIGNING),
    FlagDef::new(
        "remoteWrite.aws.useSigv4",
        BoolList,
        "",
        "True until implemented; false is fine. By position of -remoteWrite.url",
    )
    .refused(NO_AWS),
    FlagDef::new("remoteWrite.basicAuth.password", TextList, "", "Password. By position of -remoteWrite.url"),
    FlagDef::new(
        "remoteWrite.basicAuth.passwordFile",
        TextList,
        "",
        "Re-read each second. By position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.basicAuth.username", TextList, "", "User name. By position of -remoteWrite.url"),
    FlagDef::new(
        "remoteWrite.basicAuth.usernameFile",
        TextList,
        "",
        "Re-read each second. By position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.bearerToken", TextList, "", "Authorization: Bearer …. By position of -remoteWrite.url"),
    FlagDef::new("remoteWrite.bearerTokenFile", TextList, "", "Re-read each second. By position of -remoteWrite.url"),
    FlagDef::new(
        "remoteWrite.disableMetadata",
        BoolList,
        "",
        "No metadata to that URL. By position of -remoteWrite.url",
    ),
    FlagDef::new(
        "remoteWrite.disableOnDiskQueue",
        BoolList,
        "",
        "Memory only; 429 or drop when full. By position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.dropSamplesOnOverload", Bool, "", "Drop instead of 429"),
    FlagDef::new("remoteWrite.flushInterval", Duration, "1s", "How long samples are gathered"),
    FlagDef::new("remoteWrite.forcePromProto", BoolList, "", "Snappy only. By position of -remoteWrite.url"),
    FlagDef::new("remoteWrite.forceVMProto", BoolList, "", "Zstd for new blocks. By position of -remoteWrite.url"),
    FlagDef::new("remoteWrite.headers", TextList, "", "N: v^^N2: v2. By position of -remoteWrite.url").secret(),
    FlagDef::new(
        "remoteWrite.inmemoryQueues",
        IntList,
        "",
        "Extra senders for fresh data. By position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.keepDanglingQueues", Bool, "", "Do not delete queues of other URLs"),
    FlagDef::new("remoteWrite.label", TextList, "", "Labels for all series"),
    FlagDef::new("remoteWrite.maxBlockSize", Bytes, "8388608", "Uncompressed block limit"),
    FlagDef::new("remoteWrite.maxDailySeries", Int, "0", "By day"),
    FlagDef::new(
        "remoteWrite.maxDiskUsagePerURL",
        TextList,
        "",
        "File queue limit, oldest dropped; 0 = none. By position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.maxHourlySeries", Int, "0", "Series limit by hour; -1 = only count"),
    FlagDef::new("remoteWrite.maxMetadataPerBlock", Int, "5000", "Metadata entries in a block"),
    FlagDef::new("remoteWrite.maxRowsPerBlock", Int, "10000", "Samples in a block"),
    FlagDef::new(
        "remoteWrite.mdx.enable",
        BoolList,
        "",
        "Forward only series of VictoriaMetrics programs; ignoring it would send all. By position of -remoteWrite.url",
    )
    .refused(NO_MDX),
    FlagDef::new("remoteWrite.oauth2.clientID", TextList, "", "OAuth2 client. By position of -remoteWrite.url"),
    FlagDef::new("remoteWrite.oauth2.clientSecret", TextList, "", "Its secret. By position of -remoteWrite.url"),
    FlagDef::new(
        "remoteWrite.oauth2.clientSecretFile",
        TextList,
        "",
        "Re-read each second. By position of -remoteWrite.url",
    ),
    FlagDef::new(
        "remoteWrite.oauth2.endpointParams",
        TextList,
        "",
        "JSON object of strings. By position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.oauth2.scopes", TextList, "", "; between. By position of -remoteWrite.url"),
    FlagDef::new("remoteWrite.oauth2.tokenUrl", TextList, "", "Token endpoint. By position of -remoteWrite.url"),
    FlagDef::new(
        "remoteWrite.obfuscateLabels",
        TextList,
        "",
        "Hash label values; ignoring it would leak them. By position of -remoteWrite.url",
    )
    .refused(NO_OBFUSCATION),
    FlagDef::new("remoteWrite.proxyURL", TextList, "", "Http, https, socks5 proxy. By position of -remoteWrite.url")
        .secret(),
    FlagDef::new(
        "remoteWrite.queues",
        IntList,
        "",
        "Senders for each URL, at most 16 × CPUs. Twice the number of cores where nothing is given. By position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.rateLimit", IntList, "", "Bytes/s; 0 = none. By position of -remoteWrite.url"),
    FlagDef::new("remoteWrite.relabelConfig", Text, "", "Rules for all URLs, path or URL"),
    FlagDef::new("remoteWrite.retryMaxInterval", TextList, "", "Longest wait. By position of -remoteWrite.url"),
    FlagDef::new("remoteWrite.retryMaxTime", TextList, "", "Old name of it, warns. By position of -remoteWrite.url"),
    FlagDef::new("remoteWrite.retryMinInterval", TextList, "", "First wait. By position of -remoteWrite.url"),
    FlagDef::new(
        "remoteWrite.roundDigits",
        IntList,
        "",
        "Round digits; 100 = off. 100 where nothing is given. By position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.sendTimeout", TextList, "", "One request. By position of -remoteWrite.url"),
    FlagDef::new("remoteWrite.shardByURL", Bool, "", "Spread series instead of copying"),
    FlagDef::new("remoteWrite.shardByURL.ignoreLabels", TextList, "", "Labels that do not"),
    FlagDef::new("remoteWrite.shardByURL.labels", TextList, "", "Labels that choose"),
    FlagDef::new("remoteWrite.shardByURLReplicas", Int, "1", "Copies then"),
    FlagDef::new("remoteWrite.showURL", Bool, "", "URL in metrics and logs instead of N:secret-url"),
    FlagDef::new(
        "remoteWrite.significantFigures",
        IntList,
        "",
        "Round values; 0 = off. By position of -remoteWrite.url",
    ),
    FlagDef::new(
        "remoteWrite.tlsCAFile",
        TextList,
        "",
        "CA for the remote; default: system. By position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.tlsCertFile", TextList, "", "Client certificate. By position of -remoteWrite.url"),
    FlagDef::new(
        "remoteWrite.tlsHandshakeTimeout",
        TextList,
        "",
        "TLS handshake limit. By position of -remoteWrite.url",
    ),
    FlagDef::new(
        "remoteWrite.tlsInsecureSkipVerify",
        BoolList,
        "",
        "Do not verify the remote. By position of -remoteWrite.url",
    ),
    FlagDef::new(
        "remoteWrite.tlsKeyFile",
        TextList,
        "",
        "Key of the client certificate. By position of -remoteWrite.url",
    ),
    FlagDef::new("remoteWrite.tlsServerName", TextList, "", "SNI, verification, Host. By position of -remoteWrite.url"),
    FlagDef::new("remoteWrite.tmpDataPath", Text, "vmagent-remotewrite-data", "Queue directory"),
    FlagDef::new("remoteWrite.url", TextList, "", "Where to; repeat to replicate").secret(),
    FlagDef::new("remoteWrite.urlRelabelConfig", TextList, "", "Rules by URL; one value is for the first URL only"),
    FlagDef::new("remoteWrite.vmProtoCompressLevel", Int, "0", "Zstd level"),
];
