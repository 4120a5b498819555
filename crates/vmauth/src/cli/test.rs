//! `vmauth test`: cases of requests with what is expected of them, and which routes no case reaches.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};
use vmkit::yaml::{self, Decoder, Mark, Member, Object, Place, Problems, ValueType};

use super::words::Words;
use super::{CommandError, Output};
use crate::app::{Start, inspection};
use crate::config::AuthConfig;
use crate::explain::{self, Asked, Explanation, Outcome};

/// The one check of such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Check;

impl yaml::Stage for Check {
    const SYNTAX: Self = Self;
    const TYPES: Self = Self;
    const PLACE_FIRST: bool = true;

    fn prefix(self) -> &'static str {
        ""
    }
}

#[derive(Clone, Copy)]
enum TopField {
    Tests,
}

static TOP: Object<TopField> = Object::new(
    "tests",
    &[yaml::FieldDef::new(
        TopField::Tests,
        "tests",
        ValueType::Objects("test"),
        "Requests with what is expected of them.",
    )],
);

#[derive(Clone, Copy)]
enum Field {
    Name,
    Method,
    Url,
    Headers,
    User,
    Bearer,
    Data,
    Client,
    Cert,
    Expect,
}

static CASE: Object<Field> = Object::new(
    "test",
    &[
        yaml::FieldDef::new(Field::Name, "name", ValueType::Text, "Name in the report."),
        yaml::FieldDef::new(Field::Method, "method", ValueType::Text, "Method."),
        yaml::FieldDef::new(Field::Url, "url", ValueType::Text, "`/path` or `http://host/path`."),
        yaml::FieldDef::new(Field::Headers, "headers", ValueType::Texts, "`Name: value` each."),
        yaml::FieldDef::new(Field::User, "user", ValueType::Text, "Basic credentials, `user:password`."),
        yaml::FieldDef::new(Field::Bearer, "bearer", ValueType::Text, "A token."),
        yaml::FieldDef::new(Field::Data, "data", ValueType::Text, "A body."),
        yaml::FieldDef::new(Field::Client, "client", ValueType::Text, "IP address of the client."),
        yaml::FieldDef::new(Field::Cert, "cert", ValueType::Text, "Subject of its certificate."),
        yaml::FieldDef::new(Field::Expect, "expect", ValueType::Object("expect"), "What must come out."),
    ],
);

#[derive(Clone, Copy)]
enum Expected {
    User,
    Route,
    Url,
    Status,
    Headers,
}

static EXPECT: Object<Expected> = Object::new(
    "expect",
    &[
        yaml::FieldDef::new(Expected::User, "user", ValueType::Text, "Name of the user, or its place in the config."),
        yaml::FieldDef::new(Expected::Route, "route", ValueType::Text, "`url_map[2]`, `url_prefix` or `default_url`."),
        yaml::FieldDef::new(Expected::Url, "url", ValueType::Text, "URL at the first backend."),
        yaml::FieldDef::new(Expected::Status, "status", ValueType::Integer, "Status of a denial."),
        yaml::FieldDef::new(
            Expected::Headers,
            "headers",
            ValueType::Texts,
            "`Name: value` the backend gets; `Name:` = it does not.",
        ),
    ],
);

#[derive(Default)]
struct Case {
    name: String,
    line: u32,
    request: explain::Words,
    user: Option<String>,
    route: Option<String>,
    url: Option<String>,
    status: Option<i64>,
    headers: Vec<String>,
}

pub(super) async fn run(start: &Start, words: &Words) -> Result<Output, CommandError> {
    let usage = |text: String| CommandError::Usage(text, "test");
    let [path] = words.operands.as_slice() else { return Err(usage("which file? Write vmauth test tests.yml".into())) };
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {path:?}: {error}"))?;
    let cases = read(&text).map_err(|problems| format!("{path}:\n{problems}"))?;
    let files = inspection::read(start).await?;
    let config = inspection::parsed(start, &files)?;
    let routes = routes(&config);
    let offline = words.is_set("offline");
    let settings = inspection::explain_settings(start, offline);
    let ask = !offline && cases.iter().any(|case| case.request.bearer.is_some());
    let generation = inspection::built(start, config, offline, ask).await;
    let (mut reached, mut results) = (BTreeSet::new(), Vec::new());
    for case in &cases {
        let asked = Asked::new(&case.request).map_err(|error| format!("{path}:{}: {error}", case.line))?;
        let answer = explain::explain(&settings, &generation, &asked).await;
        if let (Some(user), Some(route)) = (&answer.user_place, &answer.route) {
            reached.insert(format!("{user}.{route}"));
        }
        results.push((case, case.problems(&answer)));
    }
    let unreached: Vec<_> = routes.into_iter().filter(|route| !reached.contains(route)).collect();
    let failed = results.iter().filter(|(_, problems)| !problems.is_empty()).count();
    let is_incomplete = words.is_set("coverage") && !unreached.is_empty();
    let stdout = match words.is_set("json") {
        true => format!("{:#}\n", report_json(&results, &unreached)),
        false => report(path, &results, &unreached),
    };
    Ok(Output { code: i32::from(failed > 0 || is_incomplete), stdout })
}

/// Places of everything that requests can be sent to.
fn routes(config: &AuthConfig) -> Vec<String> {
    let mut places = Vec::new();
    for user in config.users.iter().chain(&config.unauthorized_user) {
        places.extend(user.routes.iter().map(|route| route.place.clone()));
        if user.url_prefix.is_some() {
            places.push(format!("{}.url_prefix", user.place));
        } else if user.default_url.is_some() {
            places.push(format!("{}.default_url", user.place));
        }
    }
    places
}

fn report(path: &str, results: &[(&Case, Vec<String>)], unreached: &[String]) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail, here and below.
    for (case, problems) in results {
        let mark = if problems.is_empty() { "ok  " } else { "FAIL" };
        let _ = writeln!(out, "{mark} {} ({path}:{})", case.name, case.line);
        for problem in problems {
            let _ = writeln!(out, "       {problem}");
        }
    }
    for place in unreached {
        let _ = writeln!(out, "{place} is never reached");
    }
    let failed = results.iter().filter(|(_, problems)| !problems.is_empty()).count();
    let _ = writeln!(out, "{} passed, {failed} failed", results.len() - failed);
    out
}

fn report_json(results: &[(&Case, Vec<String>)], unreached: &[String]) -> Value {
    let case =
        |(case, problems): &(&Case, Vec<String>)| json!({"name": case.name, "line": case.line, "problems": problems});
    json!({"tests": results.iter().map(case).collect::<Vec<_>>(), "unreached": unreached})
}

impl Case {
    /// What came out otherwise than expected.
    fn problems(&self, answer: &Explanation) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |what: &str, want: &Option<String>, got: Option<&str>| {
            if let Some(want) = want.as_deref().filter(|want| Some(*want) != got) {
                problems.push(format!("{what}: want {want}, got {}", got.unwrap_or("none")));
            }
        };
        let by_place = self.user.is_some() && self.user == answer.user_place;
        check("user", &self.user, if by_place { self.user.as_deref() } else { answer.user.as_deref() });
        check("route", &self.route, answer.route.as_deref());
        check("url", &self.url, answer.tries.first().map(|first| first.url.as_str()));
        let status = match answer.outcome {
            Outcome::Allowed => None,
            Outcome::Denied(status) => Some(status.to_string()),
            Outcome::Own(status) => status.map(|status| status.to_string()),
        };
        check("status", &self.status.map(|status| status.to_string()), status.as_deref());
        for line in &self.headers {
            let (name, want) = line.split_once(':').unwrap_or((line, ""));
            let (name, want) = (name.trim(), want.trim());
            let sent = answer.sent.as_ref();
            let got = sent.and_then(|sent| match name.eq_ignore_ascii_case("Host") {
                true => Some(sent.host.as_str()),
                false => {
                    sent.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
                }
            });
            if got.unwrap_or("") != want {
                problems.push(format!("header {name}: want {want:?}, got {:?}", got.unwrap_or("")));
            }
        }
        let expects_denial = self.status.is_some();
        if !expects_denial && !answer.is_allowed() {
            problems.push(answer.headline(false));
        }
        if !problems.is_empty() && answer.is_allowed() {
            problems.push(answer.headline(false));
        }
        problems
    }
}

fn read(text: &str) -> Result<Vec<Case>, String> {
    let mut problems = Problems::<Check>::default();
    let tree = yaml::parse(text, &mut problems);
    let mut cases = Vec::new();
    if let Some(tree) = &tree {
        let mut decoder = Decoder { tree, problems: &mut problems };
        let top = Place::root();
        let root = tree.root();
        let members = root.and_then(|root| decoder.members(root, &top, &TOP)).unwrap_or_default();
        for Member { field: TopField::Tests, name, value } in members {
            let list = top.field(name);
            let items = decoder.items(value, &list, "[]test").unwrap_or_default();
            for (index, item) in items.iter().enumerate() {
                cases.push(case(&mut decoder, *item, &list.index(index), index));
            }
        }
        if cases.is_empty() {
            decoder.problems.push(Check, &top, Mark::new(1, 1), "there are no tests", "write `tests:` with a list");
        }
    }
    if problems.is_empty() { Ok(cases) } else { Err(problems.into_list().to_string()) }
}

fn case(decoder: &mut Decoder<'_, '_, Check>, item: yaml::NodeId, place: &Place<'_>, index: usize) -> Case {
    let mut case = Case { name: format!("test {index}"), line: decoder.mark(item).line, ..Case::default() };
    for Member { field, name, value } in decoder.members(item, place, &CASE).unwrap_or_default() {
        let place = place.field(name);
        if let Field::Headers = field {
            case.request.headers = texts(decoder, value, &place);
            continue;
        }
        if let Field::Expect = field {
            expect(decoder, value, &place, &mut case);
            continue;
        }
        let Some(text) = decoder.text(value, &place) else { continue };
        let owned = text.value.to_owned();
        match field {
            Field::Name => case.name = owned,
            Field::Method => case.request.method = owned,
            Field::Url => case.request.url = owned,
            Field::User => case.request.basic = Some(owned),
            Field::Bearer => case.request.bearer = Some(owned),
            Field::Data => case.request.body = Some(owned),
            Field::Client => match owned.parse() {
                Ok(ip) => case.request.client = Some(ip),
                Err(_) => decoder.problems.push(Check, &place, text.mark, "this is no IP address", ""),
            },
            Field::Cert => match explain::subject(&owned) {
                Ok(subject) => case.request.certificate = Some(subject),
                Err(error) => decoder.problems.push(Check, &place, text.mark, error, ""),
            },
            Field::Headers | Field::Expect => {}
        }
    }
    case
}

fn expect(decoder: &mut Decoder<'_, '_, Check>, id: yaml::NodeId, place: &Place<'_>, case: &mut Case) {
    for Member { field, name, value } in decoder.members(id, place, &EXPECT).unwrap_or_default() {
        let place = place.field(name);
        let text = |decoder: &mut Decoder<'_, '_, Check>| decoder.text(value, &place).map(|text| text.value.to_owned());
        match field {
            Expected::User => case.user = text(decoder),
            Expected::Route => case.route = text(decoder),
            Expected::Url => case.url = text(decoder),
            Expected::Status => case.status = decoder.integer(value, &place),
            Expected::Headers => case.headers = texts(decoder, value, &place),
        }
    }
}

fn texts(decoder: &mut Decoder<'_, '_, Check>, id: yaml::NodeId, place: &Place<'_>) -> Vec<String> {
    let list = decoder.texts(id, place, "[]string").unwrap_or_default();
    list.items.into_iter().map(|(_, text)| text.value.to_owned()).collect()
}
