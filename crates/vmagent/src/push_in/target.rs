//! Which handler a path asks for, whose samples it brings, and which labels they get.

use super::{Labelling, PushOptions, gateway_path, query, tenant};
use vmkit::go_text::quote;
use vmkit::http_server::Request;

/// What is spoken at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Remote write 1.0.
    Write,
    /// The text format.
    Text,
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) protocol: Protocol,
    pub(super) labelling: Labelling,
    /// Senders of Pushgateway expect 200.
    pub(super) answers_200: bool,
}

/// The parts of a request that decide.
#[derive(Debug, Default)]
pub(super) struct Asked<'a> {
    pub(super) query: &'a [u8],
    pub(super) account: Option<&'a str>,
    pub(super) project: Option<&'a str>,
}

const HERE: &str = "this agent takes Prometheus remote write at /api/v1/write and the Prometheus text format at /api/v1/import/prometheus";

/// Beginnings of paths where the original takes other protocols.
const OTHERS: &[(&str, &str)] = &[
    ("/write", "the InfluxDB line protocol"),
    ("/api/v2/write", "the InfluxDB line protocol"),
    ("/influx/", "the InfluxDB line protocol"),
    ("/query", "InfluxDB queries"),
    ("/api/v1/import/csv", "CSV"),
    ("/api/v1/import/native", "VictoriaMetrics' native format"),
    ("/api/v1/import", "JSON lines"),
    ("/opentelemetry/", "OpenTelemetry"),
    ("/v1/metrics", "OpenTelemetry"),
    ("/datadog/", "DataDog"),
    ("/newrelic", "New Relic"),
    ("/zabbixconnector/", "the Zabbix connector"),
    ("/opentsdb/", "OpenTSDB"),
    ("/api/put", "OpenTSDB"),
];

impl Target {
    /// Where a request goes.
    ///
    /// # Errors
    /// The text for the client, with status 400.
    pub(super) fn of(path: &str, request: &Request<'_>, options: &PushOptions) -> Result<Self, String> {
        let asked = Asked {
            query: request.exchange.head.query().unwrap_or_default(),
            account: request.header("accountid"),
            project: request.header("projectid"),
        };
        Self::find(path, &asked, options)
    }

    pub(super) fn find(path: &str, asked: &Asked<'_>, options: &PushOptions) -> Result<Self, String> {
        let mut labelling = Labelling { extra: extra_labels(asked.query)?, tenant: None };
        let unsupported = || {
            let other = OTHERS.iter().find(|(start, _)| path.trim_start_matches("/prometheus").starts_with(start));
            let path = quote(path);
            match other {
                Some((_, name)) => format!("unsupported path requested: {path}; {name} is not supported; {HERE}"),
                None => format!("unsupported path requested: {path}"),
            }
        };
        let Some(rest) = path.strip_prefix("/insert/").filter(|rest| options.tenants && !rest.is_empty()) else {
            let own = path.strip_prefix("/prometheus").filter(|rest| rest.starts_with('/')).unwrap_or(path);
            return Self::of_suffix(own, labelling, asked)?.ok_or_else(unsupported);
        };
        let (named, suffix) = tenant::split(rest, options.tenants_in_headers);
        labelling.tenant = match named {
            Some(named) => tenant::parse(named)?,
            None => tenant::of_headers(asked.account, asked.project)?,
        };
        let unsupported = || {
            format!(
                "unsupported multitenant path suffix: {}",
                quote(if suffix.is_empty() && !rest.contains('/') { rest } else { suffix })
            )
        };
        let own = match suffix {
            "prometheus" | "prometheus/" => "/api/v1/write",
            suffix => suffix.strip_prefix("prometheus").filter(|own| own.starts_with('/')).ok_or_else(unsupported)?,
        };
        Self::of_suffix(own, labelling, asked)?.ok_or_else(unsupported)
    }

    fn of_suffix(path: &str, mut labelling: Labelling, _asked: &Asked<'_>) -> Result<Option<Self>, String> {
        if matches!(path, "/api/v1/write" | "/api/v1/push") {
            return Ok(Some(Self { protocol: Protocol::Write, labelling, answers_200: false }));
        }
        let Some(rest) = path.strip_prefix("/api/v1/import/prometheus") else { return Ok(None) };
        let gateway = gateway_path::parse(rest)?;
        let answers_200 = gateway.is_some() && !rest.starts_with("/metrics/job@");
        if let Some(mut labels) = gateway {
            labels.append(&mut labelling.extra);
            labelling.extra = labels;
        }
        Ok(Some(Self { protocol: Protocol::Text, labelling, answers_200 }))
    }
}

fn extra_labels(query: &[u8]) -> Result<gateway_path::Labels, String> {
    let mut labels = Vec::new();
    for arg in query::args(query, "extra_label") {
        let at = arg
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or_else(|| format!("`extra_label` query arg must have the format `name=value`; got {}", quote(&arg)))?;
        labels.push((arg[..at].to_vec(), arg[at + 1..].to_vec()));
    }
    Ok(labels)
}
