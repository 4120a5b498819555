//! The JSON schema of the config, for editors: made from the tables of [`super::fields`], as the decoder is.
//!
//! It says what may stand where, not what it means: a file that fails it does not load, and one that passes may still have
//! problems that only loading finds. Texts may be numbers and booleans, as YAML files write them.

use serde_json::{Map, Value, json};
use vmkit::yaml::{Object, ValueType};

use super::fields::{
    ACCESS_LOG, ACCESS_LOG_FILTERS, BACKEND, BUDGET, CREDENTIAL, HEALTH_CHECK, IP_FILTERS, JWT, MTLS, OIDC, OUTLIERS,
    ROUTE, TOP, USER, VM_ACCESS,
};

/// The schema, draft 2020-12.
pub fn schema() -> Value {
    let mut defs = Map::new();
    define(&mut defs, &USER);
    define(&mut defs, &CREDENTIAL);
    define(&mut defs, &ROUTE);
    define(&mut defs, &BACKEND);
    define(&mut defs, &JWT);
    define(&mut defs, &OIDC);
    define(&mut defs, &VM_ACCESS);
    define(&mut defs, &MTLS);
    define(&mut defs, &IP_FILTERS);
    define(&mut defs, &HEALTH_CHECK);
    define(&mut defs, &OUTLIERS);
    define(&mut defs, &BUDGET);
    define(&mut defs, &ACCESS_LOG);
    define(&mut defs, &ACCESS_LOG_FILTERS);
    let mut top = object(&TOP);
    if let Value::Object(top) = &mut top {
        top.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        top.insert("title".to_owned(), json!("-auth.config of vmauth"));
        top.insert("$defs".to_owned(), Value::Object(defs));
    }
    top
}

fn define<F: Copy>(defs: &mut Map<String, Value>, fields: &Object<F>) {
    defs.insert(name_of(fields.type_name).to_owned(), object(fields));
}

/// The name of a type without its package.
fn name_of(type_name: &str) -> &str {
    type_name.rsplit('.').next().unwrap_or(type_name)
}

fn object<F: Copy>(object: &Object<F>) -> Value {
    let property = |def: &vmkit::yaml::FieldDef<F>| {
        let mut value = value(def.value);
        if let Value::Object(value) = &mut value {
            value.insert("description".to_owned(), json!(def.doc));
        }
        (def.name.to_owned(), value)
    };
    let properties: Map<_, _> = object.fields.iter().map(property).collect();
    json!({"type": ["object", "null"], "properties": properties, "additionalProperties": false})
}

fn value(kind: ValueType) -> Value {
    let text = || json!({"type": ["string", "number", "boolean", "null"]});
    let reference = |name: &str| json!({"$ref": format!("#/$defs/{}", name_of(name))});
    match kind {
        ValueType::Text => text(),
        ValueType::Integer => integer(),
        // Words that YAML 1.1 takes for booleans and many editors for texts.
        ValueType::Boolean => json!({"anyOf": [
            {"type": ["boolean", "null"]},
            {"enum": ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF"]},
        ]}),
        ValueType::Texts => json!({"type": ["array", "null"], "items": text()}),
        ValueType::TextOrTexts => json!({"anyOf": [text(), {"type": "array", "items": text()}]}),
        ValueType::TextOrItems(name) => {
            json!({"anyOf": [text(), {"type": "array", "items": {"anyOf": [text(), reference(name)]}}]})
        }
        ValueType::Integers => json!({"type": ["array", "null"], "items": integer()}),
        ValueType::TextMap => json!({"type": ["object", "null"], "additionalProperties": text()}),
        ValueType::Object(name) => reference(name),
        ValueType::Objects(name) => json!({"type": ["array", "null"], "items": reference(name)}),
    }
}

/// Numbers with a prefix or an exponent are texts for many editors.
fn integer() -> Value {
    json!({"anyOf": [
        {"type": ["number", "null"]},
        {"type": "string", "pattern": "^[-+]?(0(o[0-7_]+|b[01_]+|x[0-9a-fA-F_]+)|[0-9.]+[eE][-+]?[0-9]+)$"},
    ]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_references_are_defined() {
        let schema = schema();
        let text = schema.to_string();
        let references: Vec<_> = text.split("#/$defs/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(references.len() > 8);
        for reference in references {
            assert!(schema["$defs"].get(reference).is_some(), "{reference}");
        }
        assert_eq!(
            schema["$defs"]["UserInfo"]["properties"]["username"]["description"],
            "User name of Basic credentials."
        );
    }
}
