//! Flags of scraping and discovery.

use vmkit::flags::FlagDef;
use vmkit::flags::Kind::{Bool, Bytes, Duration, Int, Text, TextList};

use super::{NO_DISCOVERY_LIMIT, NO_KIND};

/// By name.
pub(super) static TABLE: &[FlagDef] = &[
    FlagDef::new("promscrape.azureSDCheckInterval", Duration, "1m0s", "How often Azure is asked").ignored(NO_KIND),
    FlagDef::new("promscrape.cluster.memberLabel", Text, "", "Label with that value"),
    FlagDef::new("promscrape.cluster.memberNum", Text, "0", "This member: number or pod name"),
    FlagDef::new("promscrape.cluster.memberURLTemplate", Text, "", "Link to other members on the discovery page"),
    FlagDef::new("promscrape.cluster.membersCount", Int, "1", "Members of the cluster"),
    FlagDef::new("promscrape.cluster.name", Text, "", "Shifts the scrape phase by cluster"),
    FlagDef::new("promscrape.cluster.replicationFactor", Int, "1", "Members per target"),
    FlagDef::new("promscrape.cluster.shardByLabels", TextList, "", "Labels that choose the member"),
    FlagDef::new("promscrape.config", Text, "", "Scrape config, path or URL"),
    FlagDef::new("promscrape.config.dryRun", Bool, "", "Check the file and exit"),
    FlagDef::new("promscrape.config.strictParse", Bool, "true", "Unknown fields are errors"),
    FlagDef::new("promscrape.configCheckInterval", Duration, "", "Look for changes; 0 = off"),
    FlagDef::new("promscrape.consul.waitTime", Duration, "", "How discovery of that kind works: consul.waitTime")
        .ignored(NO_KIND),
    FlagDef::new(
        "promscrape.consulSDCheckInterval",
        Duration,
        "30s",
        "How discovery of that kind works: consulSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new(
        "promscrape.consulagentSDCheckInterval",
        Duration,
        "30s",
        "How discovery of that kind works: consulagentSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new(
        "promscrape.digitaloceanSDCheckInterval",
        Duration,
        "1m0s",
        "How discovery of that kind works: digitaloceanSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new("promscrape.disableCompression", Bool, "", "No Accept-Encoding: gzip"),
    FlagDef::new("promscrape.disableKeepAlive", Bool, "", "New connection for each scrape"),
    FlagDef::new("promscrape.discovery.concurrency", Int, "100", "Parallel requests to one discovery API")
        .ignored(NO_DISCOVERY_LIMIT),
    FlagDef::new("promscrape.discovery.concurrentWaitTime", Duration, "1m0s", "Wait for a slot")
        .ignored(NO_DISCOVERY_LIMIT),
    FlagDef::new("promscrape.dnsSDCheckInterval", Duration, "30s", "How often names are looked up"),
    FlagDef::new(
        "promscrape.dockerSDCheckInterval",
        Duration,
        "30s",
        "How discovery of that kind works: dockerSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new(
        "promscrape.dockerswarmSDCheckInterval",
        Duration,
        "30s",
        "How discovery of that kind works: dockerswarmSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new("promscrape.dropOriginalLabels", Bool, "", "Forget discovered labels"),
    FlagDef::new(
        "promscrape.ec2SDCheckInterval",
        Duration,
        "1m0s",
        "How discovery of that kind works: ec2SDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new(
        "promscrape.eurekaSDCheckInterval",
        Duration,
        "30s",
        "How discovery of that kind works: eurekaSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new("promscrape.fileSDCheckInterval", Duration, "1m0s", "How often file_sd files are read again"),
    FlagDef::new(
        "promscrape.gceSDCheckInterval",
        Duration,
        "1m0s",
        "How discovery of that kind works: gceSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new(
        "promscrape.hetznerSDCheckInterval",
        Duration,
        "1m0s",
        "How discovery of that kind works: hetznerSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new("promscrape.httpSDCheckInterval", Duration, "1m0s", "Polled at half of it"),
    FlagDef::new(
        "promscrape.kubernetes.apiServerTimeout",
        Duration,
        "30m0s",
        "How long a watch of Kubernetes objects may last",
    ),
    FlagDef::new(
        "promscrape.kubernetes.attachNamespaceMetadataAll",
        Bool,
        "",
        "Add labels and annotations of namespaces to all targets of kubernetes_sd_configs",
    ),
    FlagDef::new(
        "promscrape.kubernetes.attachNodeMetadataAll",
        Bool,
        "",
        "Add labels and annotations of nodes to all targets of kubernetes_sd_configs",
    ),
    FlagDef::new(
        "promscrape.kubernetes.relistInterval",
        Duration,
        "1h0m0s",
        "How often objects are listed again although their watch works, at the earliest; at the latest after twice the time. 0: never",
    ),
    FlagDef::new("promscrape.kubernetes.useHTTP2Client", Bool, "", "Use HTTP/2 towards Kubernetes")
        .ignored("API servers are asked by HTTP/1.1, which all of them speak"),
    FlagDef::new(
        "promscrape.kubernetesSDCheckInterval",
        Duration,
        "30s",
        "How often Kubernetes objects would be listed without watching them; changes are seen at once",
    ),
    FlagDef::new(
        "promscrape.kumaSDCheckInterval",
        Duration,
        "30s",
        "How discovery of that kind works: kumaSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new(
        "promscrape.linodeSDCheckInterval",
        Duration,
        "1m0s",
        "How discovery of that kind works: linodeSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new(
        "promscrape.marathonSDCheckInterval",
        Duration,
        "30s",
        "How discovery of that kind works: marathonSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new("promscrape.maxDroppedTargets", Int, "10000", "Dropped targets kept for the pages"),
    FlagDef::new("promscrape.maxResponseHeadersSize", Bytes, "4096", "Largest reply head"),
    FlagDef::new("promscrape.maxScrapeSize", Bytes, "16777216", "Largest page, uncompressed"),
    FlagDef::new("promscrape.minResponseSizeForStreamParse", Bytes, "1000000", "Automatic stream mode from this size"),
    FlagDef::new("promscrape.noStaleMarkers", Bool, "", "No stale markers, no scrape_series_added"),
    FlagDef::new("promscrape.nomad.waitTime", Duration, "", "How discovery of that kind works: nomad.waitTime")
        .ignored(NO_KIND),
    FlagDef::new(
        "promscrape.nomadSDCheckInterval",
        Duration,
        "30s",
        "How discovery of that kind works: nomadSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new(
        "promscrape.openstackSDCheckInterval",
        Duration,
        "30s",
        "How discovery of that kind works: openstackSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new(
        "promscrape.ovhcloudSDCheckInterval",
        Duration,
        "30s",
        "How discovery of that kind works: ovhcloudSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new(
        "promscrape.puppetdbSDCheckInterval",
        Duration,
        "30s",
        "How discovery of that kind works: puppetdbSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new("promscrape.seriesLimitPerTarget", Int, "0", "Default of series_limit"),
    FlagDef::new("promscrape.streamParse", Bool, "", "Parse while reading"),
    FlagDef::new("promscrape.suppressDuplicateScrapeTargetErrors", Bool, "", "No line for duplicate targets"),
    FlagDef::new("promscrape.suppressScrapeErrors", Bool, "", "No log lines for failed scrapes"),
    FlagDef::new("promscrape.suppressScrapeErrorsDelay", Duration, "", "One line per target and delay"),
    FlagDef::new(
        "promscrape.vultrSDCheckInterval",
        Duration,
        "30s",
        "How discovery of that kind works: vultrSDCheckInterval",
    )
    .ignored(NO_KIND),
    FlagDef::new(
        "promscrape.yandexcloudSDCheckInterval",
        Duration,
        "30s",
        "How discovery of that kind works: yandexcloudSDCheckInterval",
    )
    .ignored(NO_KIND),
];
