//! Flags of the process and of what is pushed to the agent.

use vmkit::flags::FlagDef;
use vmkit::flags::Kind::{Bool, Bytes, Duration, Float, Int, Password, Text, TextList};

use super::{NO_LISTENER, NO_PROTOCOL, STORAGE_ONLY, twice_the_cores};

/// By name.
pub(super) static TABLE: &[FlagDef] = &[
    FlagDef::new("blockcache.missesBeforeCaching", Int, "2", "Storage only").ignored(STORAGE_ONLY),
    FlagDef::new("cacheExpireDuration", Duration, "30m0s", "Storage only").ignored(STORAGE_ONLY),
    FlagDef::new("configAuthKey", Password, "", "Key for /config and the relabel config pages"),
    FlagDef::new("csvTrimTimestamp", Duration, "1ms", "Truncate CSV times to this").ignored(NO_PROTOCOL),
    FlagDef::new("datadog.maxInsertRequestSize", Bytes, "67108864", "DataDog body limit").ignored(NO_PROTOCOL),
    FlagDef::new("datadog.sanitizeMetricName", Bool, "true", "Clean DataDog names").ignored(NO_PROTOCOL),
    FlagDef::new("denyQueryTracing", Bool, "", "Query side only").ignored(STORAGE_ONLY),
    FlagDef::new("dryRun", Bool, "", "Check scrape and relabel files, exit"),
    FlagDef::new("enableMetadata", Bool, "true", "Take and forward HELP/TYPE"),
    FlagDef::new(
        "enableMultitenancyViaHeaders",
        Bool,
        "true",
        "Tenant from AccountID/ProjectID headers on /insert/<suffix>",
    ),
    FlagDef::new("enableMultitenantHandlers", Bool, "", "/insert/<tenant>/… paths"),
    FlagDef::new("graphite.sanitizeMetricName", Bool, "", "Clean Graphite names").ignored(NO_PROTOCOL),
    FlagDef::new("graphiteListenAddr", Text, "", "TCP/UDP listener").refused(NO_LISTENER),
    FlagDef::new("graphiteListenAddr.useProxyProtocol", Bool, "", "With the listener").refused(NO_LISTENER),
    FlagDef::new("graphiteTrimTimestamp", Duration, "1s", "Truncate Graphite times").ignored(NO_PROTOCOL),
    FlagDef::new("import.maxLineLen", Bytes, "10485760", "Largest line of /api/v1/import").ignored(NO_PROTOCOL),
    FlagDef::new("influx.databaseNames", TextList, "", "Names for /query").ignored(NO_PROTOCOL),
    FlagDef::new("influx.forceStreamMode", Bool, "", "Parse while reading; bad lines skipped").ignored(NO_PROTOCOL),
    FlagDef::new("influx.maxLineSize", Bytes, "262144", "Line limit in stream mode").ignored(NO_PROTOCOL),
    FlagDef::new("influx.maxRequestSize", Bytes, "67108864", "Body limit otherwise").ignored(NO_PROTOCOL),
    FlagDef::new("influxDBLabel", Text, "db", "Label for the db arg").ignored(NO_PROTOCOL),
    FlagDef::new("influxListenAddr", Text, "", "Own TCP/UDP listener, until we have it").refused(NO_LISTENER),
    FlagDef::new("influxListenAddr.useProxyProtocol", Bool, "", "Only with the listener; false is fine")
        .refused(NO_LISTENER),
    FlagDef::new("influxMeasurementFieldSeparator", Text, "_", "Between measurement and field").ignored(NO_PROTOCOL),
    FlagDef::new("influxSkipMeasurement", Bool, "", "Field name alone").ignored(NO_PROTOCOL),
    FlagDef::new("influxSkipSingleField", Bool, "", "No field name when there is one field").ignored(NO_PROTOCOL),
    FlagDef::new("influxTrimTimestamp", Duration, "1ms", "Truncate times").ignored(NO_PROTOCOL),
    FlagDef::new("insert.maxQueueDuration", Duration, "1m0s", "Wait for a free insert slot"),
    FlagDef::new("maxConcurrentInserts", Int, "twice the number of cores", "Parallel inserts")
        .computed(twice_the_cores),
    FlagDef::new("maxInsertRequestSize", Bytes, "33554432", "Largest remote write request, decompressed too"),
    FlagDef::new("newrelic.maxInsertRequestSize", Bytes, "67108864", "New Relic body limit").ignored(NO_PROTOCOL),
    FlagDef::new("opentelemetry.convertMetricNamesToPrometheus", Bool, "", "Metric names only").ignored(NO_PROTOCOL),
    FlagDef::new("opentelemetry.ignoreResourceAttributes", TextList, "", "Not these").ignored(NO_PROTOCOL),
    FlagDef::new("opentelemetry.labelNameUnderscoreSanitization", Bool, "true", "Key before a leading underscore")
        .ignored(NO_PROTOCOL),
    FlagDef::new("opentelemetry.maxRequestSize", Bytes, "67108864", "OTLP body limit").ignored(NO_PROTOCOL),
    FlagDef::new("opentelemetry.promoteAllResourceAttributes", Bool, "true", "Resource attributes become labels")
        .ignored(NO_PROTOCOL),
    FlagDef::new("opentelemetry.promoteResourceAttributes", TextList, "", "Only these").ignored(NO_PROTOCOL),
    FlagDef::new("opentelemetry.promoteScopeMetadata", Bool, "true", "Scope name and version as labels")
        .ignored(NO_PROTOCOL),
    FlagDef::new("opentelemetry.usePrometheusNaming", Bool, "", "Effect once OTLP is served: Prometheus names")
        .ignored(NO_PROTOCOL),
    FlagDef::new("opentsdbHTTPListenAddr", Text, "", "HTTP listener").refused(NO_LISTENER),
    FlagDef::new("opentsdbHTTPListenAddr.useProxyProtocol", Bool, "", "With the listener").refused(NO_LISTENER),
    FlagDef::new("opentsdbListenAddr", Text, "", "Telnet + HTTP listener").refused(NO_LISTENER),
    FlagDef::new("opentsdbListenAddr.useProxyProtocol", Bool, "", "With the listener").refused(NO_LISTENER),
    FlagDef::new("opentsdbTrimTimestamp", Duration, "1s", "Truncate OpenTSDB times").ignored(NO_PROTOCOL),
    FlagDef::new("opentsdbhttp.maxInsertRequestSize", Bytes, "33554432", "OpenTSDB body limit").ignored(NO_PROTOCOL),
    FlagDef::new("opentsdbhttpTrimTimestamp", Duration, "1ms", "Truncate OpenTSDB HTTP times").ignored(NO_PROTOCOL),
    FlagDef::new("prevCacheRemovalPercent", Float, "0.1", "Storage only").ignored(STORAGE_ONLY),
    FlagDef::new("zabbixconnector.addDuplicateTagsSeparator", Text, "", "Join repeated Zabbix tags with this")
        .ignored(NO_PROTOCOL),
    FlagDef::new("zabbixconnector.addEmptyTagsValue", Text, "", "Value for empty Zabbix tags").ignored(NO_PROTOCOL),
    FlagDef::new("zabbixconnector.addGroupsValue", Text, "", "Add host groups as labels").ignored(NO_PROTOCOL),
    FlagDef::new("zabbixconnector.maxLineLen", Bytes, "33554432", "Zabbix line limit").ignored(NO_PROTOCOL),
];
