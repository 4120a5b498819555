//! The query API of a tenant, in the JSON of Prometheus.
//!
//! `query`, `query_range`, `series`, `labels` and `label/NAME/values`, by GET or by a POST of a form. What a query may
//! cost is bounded before it is worked on.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use vmagent::relabel::Selector;
use vmkit::http_server::{Reply, Request};
use vmkit::percent;
use vmkit::units::GoDuration;

use super::evaluate::{self, Found, millis};
use super::expression::Expression;
use super::series::{Labels, value_of};
use super::{Store, TenantData};
use crate::tenant::Tenant;

/// Largest form.
const MAX_FORM: usize = 64 << 10;
/// Points in time of a range, as Prometheus has it.
const MAX_POINTS: i64 = 11_000;
/// Series times points of a range.
const MAX_WORK: i64 = 1_000_000;
/// Span of a range query without a start, and of `rate` for the eye of a person.
const DEFAULT_RANGE_MS: i64 = 300_000;

type Answer = Result<Value, String>;

impl Store {
    pub(super) async fn query(&self, request: &mut Request<'_>, tenant: Tenant, asked: &[&str]) -> Reply {
        let args = match Args::of(request).await {
            Ok(args) => args,
            Err(reply) => return reply,
        };
        let state = self.lock();
        let empty = TenantData::default();
        let data = state.tenants.get(&tenant).unwrap_or(&empty);
        let answer = match asked {
            ["query"] => instant(data, &args),
            ["query_range"] => range(data, &args),
            ["series"] => series(data, &args),
            ["labels"] => labels(data, &args),
            ["label", name, "values"] => values(data, &args, name),
            _ => return failed(404, &format!("there is no /api/v1/{}", asked.join("/"))),
        };
        drop(state);
        match answer {
            Ok(found) => Reply::json(200, json!({"status": "success", "data": found}).to_string()),
            Err(error) => failed(400, &error),
        }
    }
}

fn failed(status: u16, error: &str) -> Reply {
    Reply::json(status, json!({"status": "error", "errorType": "bad_data", "error": error}).to_string())
}

/// Args of the query and of a form.
struct Args(Vec<u8>);

impl Args {
    async fn of(request: &mut Request<'_>) -> Result<Self, Reply> {
        let mut all = request.exchange.head.query().unwrap_or_default().to_vec();
        if request.exchange.head.method() == "POST" {
            let form = request.read_body(MAX_FORM).await.map_err(|error| failed(error.status(), &error.to_string()))?;
            all.push(b'&');
            all.extend_from_slice(&form);
        }
        Ok(Self(all))
    }

    fn text(&self, name: &str) -> Option<String> {
        percent::arg(&self.0, name).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    fn expression(&self) -> Result<Expression, String> {
        Expression::parse(&self.text("query").ok_or("missing `query` arg")?)
    }

    /// Unix seconds, as a number, in milliseconds.
    fn time(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => Ok(Some((seconds * 1e3).round() as i64)),
            _ => Err(format!("cannot parse `{name}={text}`: write Unix seconds, such as 1767225600.5")),
        }
    }

    /// Seconds as a number, or a duration, in milliseconds.
    fn step(&self) -> Result<Option<i64>, String> {
        let Some(text) = self.text("step") else { return Ok(None) };
        let millis = match (text.parse::<f64>(), text.parse::<GoDuration>()) {
            (Ok(seconds), _) => (seconds * 1e3).round() as i64,
            (_, Ok(duration)) => duration.0 / 1_000_000,
            _ => 0,
        };
        if millis < 1 {
            return Err(format!("cannot parse `step={text}`: write seconds or a duration such as 15s, at least 1ms"));
        }
        Ok(Some(millis))
    }

    /// The values of `match[]`.
    fn selectors(&self) -> Result<Vec<Selector>, String> {
        let named = |piece: &[u8]| {
            let (name, value) = percent::split_arg(piece);
            (*percent::decode_arg(name)? == *b"match[]").then(|| percent::decode_arg_leniently(value).into_owned())
        };
        let texts = self.0.split(|byte| *byte == b'&').filter_map(named);
        texts.map(|text| Selector::parse(&String::from_utf8_lossy(&text)).map_err(|error| error.to_string())).collect()
    }
}

fn now_ms() -> i64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn metric(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(name, value)| (name.to_string(), json!(value))).collect::<Map<_, _>>())
}

fn point(time_ms: i64, value: f64) -> Value {
    let value = match value {
        infinite if infinite.is_infinite() => if infinite > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        value => value.to_string(),
    };
    json!([time_ms as f64 / 1e3, value])
}

fn instant(data: &TenantData, args: &Args) -> Answer {
    let (expression, time) = (args.expression()?, args.time("time")?.unwrap_or_else(now_ms));
    if let Expression::Span(selector, span) = &expression {
        let after = time.saturating_sub(millis(*span));
        let found = evaluate::series(data, selector).filter_map(|(labels, samples)| {
            let points: Vec<_> =
                samples.between(after, time).map(|sample| point(sample.timestamp_ms, sample.value)).collect();
            (!points.is_empty()).then(|| json!({"metric": metric(labels), "values": points}))
        });
        return Ok(json!({"resultType": "matrix", "result": found.collect::<Vec<_>>()}));
    }
    let values = Found::new(&expression, data).map(|found| found.at(time)).unwrap_or_default();
    let found = values.iter().map(|own| json!({"metric": metric(&own.labels), "value": point(time, own.value)}));
    Ok(json!({"resultType": "vector", "result": found.collect::<Vec<_>>()}))
}

fn range(data: &TenantData, args: &Args) -> Answer {
    let expression = args.expression()?;
    let Some(series) = Found::new(&expression, data) else {
        return Err("a range query has no use for a span; leave `[…]` out or write rate(…)".to_owned());
    };
    let end = args.time("end")?.unwrap_or_else(now_ms);
    let start = args.time("start")?.unwrap_or_else(|| end.saturating_sub(DEFAULT_RANGE_MS));
    let length = end.checked_sub(start).filter(|length| *length >= 0).ok_or("`end` is before `start`")?;
    let step = args.step()?.unwrap_or_else(|| (length / 100).max(1_000));
    let points = length / step + 1;
    if points > MAX_POINTS || points.saturating_mul(series.series() as i64) > MAX_WORK {
        return Err(format!("{points} points of {} series are too many; use a longer `step`", series.series()));
    }
    let mut found = std::collections::BTreeMap::<Labels, Vec<Value>>::new();
    for number in 0..points {
        let time = start + number * step;
        for value in series.at(time) {
            found.entry(value.labels).or_default().push(point(time, value.value));
        }
    }
    let found = found.iter().map(|(labels, points)| json!({"metric": metric(labels), "values": points}));
    Ok(json!({"resultType": "matrix", "result": found.collect::<Vec<_>>()}))
}

/// Series that one of the selectors finds; all without selectors.
fn found<'d>(data: &'d TenantData, selectors: &'d [Selector]) -> Vec<&'d Labels> {
    if selectors.is_empty() {
        return data.series.keys().collect();
    }
    let all = selectors.iter().flat_map(|selector| evaluate::series(data, selector)).map(|(labels, _)| labels);
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

fn series(data: &TenantData, args: &Args) -> Answer {
    let selectors = args.selectors()?;
    if selectors.is_empty() {
        return Err("missing `match[]` arg".to_owned());
    }
    Ok(found(data, &selectors).into_iter().map(metric).collect())
}

fn labels(data: &TenantData, args: &Args) -> Answer {
    let selectors = args.selectors()?;
    let names: BTreeSet<_> =
        found(data, &selectors).into_iter().flat_map(|own| own.iter().map(|(name, _)| name)).collect();
    Ok(json!(names))
}

fn values(data: &TenantData, args: &Args, name: &str) -> Answer {
    let selectors = args.selectors()?;
    let all = found(data, &selectors).into_iter().map(|labels| value_of(labels, name));
    Ok(json!(all.filter(|value| !value.is_empty()).collect::<BTreeSet<_>>()))
}
