//! Typed reading of single fields of a token's header and claims.

use crate::error::FieldError;
use crate::json::{Json, Object};

/// The string called `field`, an error if it is something else.
pub(crate) fn optional_string<'a>(root: &'a Object, field: &'static str) -> Result<Option<&'a str>, FieldError> {
    match root.get(field) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(other) => Err(FieldError::wrong_type(field, "string", other)),
    }
}
