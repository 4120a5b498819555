//! Flags of remote write that upstream has and we do not; those that work are in `remote_write::FLAGS`.

use vmkit::flags::FlagDef;
use vmkit::flags::Kind::{BoolList, TextList};

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
    FlagDef::new(
        "remoteWrite.mdx.enable",
        BoolList,
        "",
        "Forward only series of VictoriaMetrics programs; ignoring it would send all. By position of -remoteWrite.url",
    )
    .refused(NO_MDX),
    FlagDef::new(
        "remoteWrite.obfuscateLabels",
        TextList,
        "",
        "Hash label values; ignoring it would leak them. By position of -remoteWrite.url",
    )
    .refused(NO_OBFUSCATION),
];
