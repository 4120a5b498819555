//! Flags of features that upstream has and we do not: known, so that start scripts do not die of them.

use vmkit::flags::FlagDef;
use vmkit::flags::Kind::{Bool, BoolList, Duration, Int, IntList, Text, TextList};

use super::{NO_AGGREGATION, NO_AGGREGATION_EFFECT, NO_BROKER, NO_BROKER_EFFECT};

/// By name.
pub(super) static TABLE: &[FlagDef] = &[
    FlagDef::new("gcp.pubsub.publish.byteThreshold", Int, "1000000", "Batch size in bytes").ignored(NO_BROKER_EFFECT),
    FlagDef::new("gcp.pubsub.publish.countThreshold", Int, "100", "Messages in a batch").ignored(NO_BROKER_EFFECT),
    FlagDef::new("gcp.pubsub.publish.credentialsFile", Text, "", "Credentials").ignored(NO_BROKER_EFFECT),
    FlagDef::new("gcp.pubsub.publish.delayThreshold", Duration, "10ms", "Longest wait of a batch")
        .ignored(NO_BROKER_EFFECT),
    FlagDef::new("gcp.pubsub.publish.maxOutstandingBytes", Int, "-1", "Buffer limit").ignored(NO_BROKER_EFFECT),
    FlagDef::new("gcp.pubsub.publish.maxOutstandingMessages", Int, "100", "Buffer limit").ignored(NO_BROKER_EFFECT),
    FlagDef::new("gcp.pubsub.publish.timeout", Duration, "1m0s", "Publish limit").ignored(NO_BROKER_EFFECT),
    FlagDef::new("gcp.pubsub.subscribe.credentialsFile", Text, "", "Credentials").ignored(NO_BROKER_EFFECT),
    FlagDef::new("gcp.pubsub.subscribe.defaultMessageFormat", Text, "promremotewrite", "Format if none is given")
        .ignored(NO_BROKER_EFFECT),
    FlagDef::new("gcp.pubsub.subscribe.topicSubscription", TextList, "", "Read from Pub/Sub").refused(NO_BROKER),
    FlagDef::new("gcp.pubsub.subscribe.topicSubscription.concurrency", IntList, "", "Parallel messages")
        .ignored(NO_BROKER_EFFECT),
    FlagDef::new("gcp.pubsub.subscribe.topicSubscription.isGzipped", BoolList, "", "Payload is gzipped")
        .ignored(NO_BROKER_EFFECT),
    FlagDef::new("gcp.pubsub.subscribe.topicSubscription.messageFormat", TextList, "", "Format by subscription")
        .ignored(NO_BROKER_EFFECT),
    FlagDef::new("kafka.consumer.topic", TextList, "", "Read from Kafka").refused(NO_BROKER),
    FlagDef::new("kafka.consumer.topic.basicAuth.password", TextList, "", "Secret").ignored(NO_BROKER_EFFECT).secret(),
    FlagDef::new("kafka.consumer.topic.basicAuth.username", TextList, "", "SASL user").ignored(NO_BROKER_EFFECT),
    FlagDef::new("kafka.consumer.topic.brokers", TextList, "", "Without a topic").ignored(NO_BROKER_EFFECT),
    FlagDef::new("kafka.consumer.topic.concurrency", IntList, "", "Consumers. 1 where nothing is given")
        .ignored(NO_BROKER_EFFECT),
    FlagDef::new("kafka.consumer.topic.defaultFormat", Text, "promremotewrite", "Format if none is given")
        .ignored(NO_BROKER_EFFECT),
    FlagDef::new("kafka.consumer.topic.format", TextList, "", "Format by topic").ignored(NO_BROKER_EFFECT),
    FlagDef::new("kafka.consumer.topic.groupID", TextList, "", "Consumer group").ignored(NO_BROKER_EFFECT),
    FlagDef::new("kafka.consumer.topic.isGzipped", BoolList, "", "Payload is gzipped").ignored(NO_BROKER_EFFECT),
    FlagDef::new("kafka.consumer.topic.options", TextList, "", "Client options").ignored(NO_BROKER_EFFECT),
    FlagDef::new(
        "remoteWrite.streamAggr.config",
        TextList,
        "",
        "More values than URLs: fatal upstream; empty items are fine",
    )
    .refused(NO_AGGREGATION),
    FlagDef::new("remoteWrite.streamAggr.dedupInterval", TextList, "", "0 and empty are fine").refused(NO_AGGREGATION),
    FlagDef::new("remoteWrite.streamAggr.dropInput", BoolList, "", "As without prefix, by URL")
        .ignored(NO_AGGREGATION_EFFECT),
    FlagDef::new(
        "remoteWrite.streamAggr.dropInputLabels",
        TextList,
        "",
        "Option of a feature that is not here: remoteWrite.streamAggr.dropInputLabels",
    )
    .ignored(NO_AGGREGATION_EFFECT),
    FlagDef::new(
        "remoteWrite.streamAggr.enableWindows",
        BoolList,
        "",
        "Option of a feature that is not here: remoteWrite.streamAggr.enableWindows",
    )
    .ignored(NO_AGGREGATION_EFFECT),
    FlagDef::new(
        "remoteWrite.streamAggr.ignoreFirstIntervals",
        IntList,
        "",
        "Option of a feature that is not here: remoteWrite.streamAggr.ignoreFirstIntervals",
    )
    .ignored(NO_AGGREGATION_EFFECT),
    FlagDef::new(
        "remoteWrite.streamAggr.ignoreOldSamples",
        BoolList,
        "",
        "Option of a feature that is not here: remoteWrite.streamAggr.ignoreOldSamples",
    )
    .ignored(NO_AGGREGATION_EFFECT),
    FlagDef::new("remoteWrite.streamAggr.keepInput", BoolList, "", "Keep matched samples")
        .ignored(NO_AGGREGATION_EFFECT),
    FlagDef::new("streamAggr.config", Text, "", "Aggregation rules before all URLs").refused(NO_AGGREGATION),
    FlagDef::new("streamAggr.dedupInterval", Duration, "", "0 is fine").refused(NO_AGGREGATION),
    FlagDef::new("streamAggr.dropInput", Bool, "", "Drop unmatched samples").ignored(NO_AGGREGATION_EFFECT),
    FlagDef::new("streamAggr.dropInputLabels", TextList, "", "Labels dropped before aggregation")
        .ignored(NO_AGGREGATION_EFFECT),
    FlagDef::new("streamAggr.enableWindows", Bool, "", "Fixed windows").ignored(NO_AGGREGATION_EFFECT),
    FlagDef::new("streamAggr.ignoreFirstIntervals", Int, "0", "Intervals skipped after start")
        .ignored(NO_AGGREGATION_EFFECT),
    FlagDef::new("streamAggr.ignoreOldSamples", Bool, "", "Ignore late samples").ignored(NO_AGGREGATION_EFFECT),
    FlagDef::new("streamAggr.keepInput", Bool, "", "Without effect alone").ignored(NO_AGGREGATION_EFFECT),
];
