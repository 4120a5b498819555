//! The `vm_access` claim: which tenant a token may use and which labels and filters it must carry.
//!
//! It comes as an object or, from providers that know only string attributes, as a string that holds the object.
//! Absent and `null` mean that the token says nothing; any value of a wrong type refuses the token, so a misspelt
//! claim can never widen access.

use crate::error::{FieldError, Problem};
use crate::json::{Json, Object};

/// What a token grants; the default is tenant 0:0 without labels and filters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VmAccess {
    /// Account of metrics.
    pub metrics_account_id: u32,
    /// Project of metrics.
    pub metrics_project_id: u32,
    /// Account of logs.
    pub logs_account_id: u32,
    /// Project of logs.
    pub logs_project_id: u32,
    /// Labels added to written metrics, `name=value`.
    pub metrics_extra_labels: Vec<String>,
    /// Series selectors added to queries of metrics.
    pub metrics_extra_filters: Vec<String>,
    /// Filters added to queries of logs.
    pub logs_extra_filters: Vec<String>,
    /// Stream filters added to queries of logs.
    pub logs_extra_stream_filters: Vec<String>,
}

const FIELD: &str = "vm_access";

impl VmAccess {
    /// Reads the claim; gives the tree too if it was packed in a string, so that paths lead into it.
    pub(crate) fn from_claim(claim: Option<&Json>) -> Result<(Option<Self>, Option<Json>), FieldError> {
        match claim {
            None | Some(Json::Null) => Ok((None, None)),
            Some(Json::Object(object)) => Ok((Some(Self::from_object(object)?), None)),
            Some(Json::String(text)) => {
                let tree = Json::parse(text.as_bytes())
                    .map_err(|error| FieldError { field: FIELD, problem: Problem::Json(error) })?;
                let access = match &tree {
                    Json::Object(object) => Self::from_object(object)?,
                    // The original product takes any other JSON in a string for an empty claim.
                    Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => Self::default(),
                };
                Ok((Some(access), Some(tree)))
            }
            Some(other) => Err(FieldError::wrong_type(FIELD, "object", other)),
        }
    }

    fn from_object(object: &Object) -> Result<Self, FieldError> {
        Self::read(object).map_err(|inner| FieldError::nested(FIELD, inner))
    }

    fn read(object: &Object) -> Result<Self, FieldError> {
        check_legacy(object)?;
        Ok(Self {
            metrics_account_id: tenant_part(object, "metrics_account_id")?,
            metrics_project_id: tenant_part(object, "metrics_project_id")?,
            logs_account_id: tenant_part(object, "logs_account_id")?,
            logs_project_id: tenant_part(object, "logs_project_id")?,
            metrics_extra_labels: strings(object, "metrics_extra_labels")?,
            metrics_extra_filters: strings(object, "metrics_extra_filters")?,
            logs_extra_filters: strings(object, "logs_extra_filters")?,
            logs_extra_stream_filters: strings(object, "logs_extra_stream_filters")?,
        })
    }
}

/// An integer literal called `field`; `None` if absent.
fn integer<N: std::str::FromStr>(
    object: &Object,
    field: &'static str,
    range: &'static str,
) -> Result<Option<N>, FieldError> {
    match object.get(field) {
        None => Ok(None),
        Some(Json::Number(text)) => text.parse().map(Some).map_err(|_| FieldError::out_of_range(field, range)),
        Some(other) => Err(FieldError::wrong_type(field, "number", other)),
    }
}

fn tenant_part(object: &Object, field: &'static str) -> Result<u32, FieldError> {
    Ok(integer(object, field, "an integer between 0 and 4294967295")?.unwrap_or(0))
}

fn strings(object: &Object, field: &'static str) -> Result<Vec<String>, FieldError> {
    let items = match object.get(field) {
        None => return Ok(Vec::new()),
        Some(Json::Array(items)) => items,
        Some(other) => return Err(FieldError::wrong_type(field, "array", other)),
    };
    let string =
        |item: &Json| item.as_str().map(str::to_owned).ok_or_else(|| FieldError::wrong_type(field, "string", item));
    items.iter().map(string).collect()
}

/// Fields of older tokens: their types are checked and their values ignored.
fn check_legacy(object: &Object) -> Result<(), FieldError> {
    match object.get("tenant_id") {
        None => {}
        Some(Json::Object(tenant)) => {
            for field in ["account_id", "project_id"] {
                integer::<i32>(tenant, field, "a 32-bit integer")
                    .map_err(|inner| FieldError::nested("tenant_id", inner))?;
            }
        }
        Some(other) => return Err(FieldError::wrong_type("tenant_id", "object", other)),
    }
    match object.get("extra_labels") {
        None => {}
        Some(Json::Object(labels)) => {
            if let Some(value) = labels.values().find(|value| value.as_str().is_none()) {
                return Err(FieldError::wrong_type("extra_labels", "string", value));
            }
        }
        Some(other) => return Err(FieldError::wrong_type("extra_labels", "object", other)),
    }
    strings(object, "extra_filters")?;
    integer::<i64>(object, "mode", "an integer")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Option<VmAccess>, String> {
        let claim = Json::parse(json.as_bytes()).unwrap();
        VmAccess::from_claim(Some(&claim)).map(|(access, _)| access).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_every_form() {
        let want = VmAccess {
            metrics_account_id: 4_294_967_295,
            metrics_project_id: 1,
            logs_account_id: 2,
            logs_project_id: 3,
            metrics_extra_labels: vec!["a=b".into(), "c=d e".into()],
            metrics_extra_filters: vec!["{x=\"y\"}".into()],
            logs_extra_filters: vec!["f".into()],
            logs_extra_stream_filters: vec!["s".into()],
        };
        let object = r#"{"metrics_account_id":4294967295,"metrics_project_id":1,"logs_account_id":2,"logs_project_id":3,
            "metrics_extra_labels":["a=b","c=d e"],"metrics_extra_filters":["{x=\"y\"}"],"logs_extra_filters":["f"],
            "logs_extra_stream_filters":["s"],"unknown":{"a":[null]}}"#;
        assert_eq!(read(object), Ok(Some(want.clone())));
        assert_eq!(read(&serde_json::to_string(object).unwrap()), Ok(Some(want)));

        let f = |json: &str, want: Option<VmAccess>| assert_eq!(read(json), Ok(want), "{json}");
        f("null", None);
        f("{}", Some(VmAccess::default()));
        f(r#""{}""#, Some(VmAccess::default()));
        f(r#""[]""#, Some(VmAccess::default()));
        f(r#""5""#, Some(VmAccess::default()));
        f(r#""null""#, Some(VmAccess::default()));
        let legacy =
            r#"{"tenant_id":{"account_id":-1,"project_id":2},"extra_filters":["a"],"extra_labels":{"a":"b"},"mode":1}"#;
        f(legacy, Some(VmAccess::default()));
        assert_eq!(VmAccess::from_claim(None).unwrap(), (None, None));
    }

    #[test]
    fn refuses_wrong_types() {
        let f = |json: &str| assert!(read(json).is_err(), "{json}");
        for json in ["1", "true", "[]", "[{}]", r#""""#, r#""{""#, r#""{} x""#, r#""{\"metrics_account_id\":-1}""#] {
            f(json);
        }
        for value in
            ["null", "\"1\"", "1.5", "1.0", "1e3", "-1", "4294967296", "99999999999999999999", "true", "[]", "{}"]
        {
            for field in ["metrics_account_id", "metrics_project_id", "logs_account_id", "logs_project_id"] {
                f(&format!("{{\"{field}\":{value}}}"));
            }
        }
        for value in ["null", "\"a\"", "1", "{}", "[1]", "[null]", "[\"a\",[]]"] {
            for field in
                ["metrics_extra_labels", "metrics_extra_filters", "logs_extra_filters", "logs_extra_stream_filters"]
            {
                f(&format!("{{\"{field}\":{value}}}"));
            }
        }
        f(r#"{"tenant_id":1}"#);
        f(r#"{"tenant_id":{"account_id":"1"}}"#);
        f(r#"{"tenant_id":{"project_id":2147483648}}"#);
        f(r#"{"extra_filters":"a"}"#);
        f(r#"{"extra_labels":["a"]}"#);
        f(r#"{"extra_labels":{"a":1}}"#);
        f(r#"{"mode":"x"}"#);
        f(r#"{"mode":1.5}"#);
    }

    #[test]
    fn says_which_field() {
        let want = "cannot parse `vm_access` field: cannot parse `metrics_account_id` field: \
                    the number is not an integer between 0 and 4294967295";
        assert_eq!(read(r#"{"metrics_account_id":-1}"#), Err(want.to_owned()));
        let want = "cannot parse `vm_access` field: value doesn't contain object; it contains array";
        assert_eq!(read("[]"), Err(want.to_owned()));
    }
}
