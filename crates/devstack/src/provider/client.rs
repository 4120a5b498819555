//! Clients of the provider: who may ask for a token, and what it says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vmkit::percent;
use vmkit::secret::Secret;

use crate::tenant::Tenant;

/// The form of the claim `vm_access`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClaimForm {
    /// A JSON object.
    #[default]
    Object,
    /// The object as a text, for providers that know texts only.
    Text,
    /// No claim at all.
    Missing,
}

/// A confidential client with a service account.
#[derive(Clone, Debug)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// `client_secret`.
    pub secret: Secret,
    /// What its tokens say.
    pub tenant: Tenant,
    /// How they say it.
    pub claim: ClaimForm,
}

impl Client {
    /// Value of the claim, if it is there.
    pub(super) fn vm_access(&self) -> Option<Value> {
        let access = json!({"metrics_account_id": self.tenant.account, "metrics_project_id": self.tenant.project});
        match self.claim {
            ClaimForm::Object => Some(access),
            ClaimForm::Text => Some(Value::String(access.to_string())),
            ClaimForm::Missing => None,
        }
    }
}

/// Id and secret as a request shows them: in the header `Authorization`, or in the form.
pub(super) fn credentials(authorization: Option<&str>, form: &[u8]) -> Option<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match authorization {
        Some(header) => {
            let (scheme, value) = header.split_once(' ')?;
            let decoded = STANDARD.decode(value.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
            let colon = decoded.iter().position(|byte| *byte == b':')?;
            let (id, secret) = (decoded.get(..colon)?, decoded.get(colon + 1..)?);
            // RFC 6749, 2.3.1: both parts are encoded like values of a form.
            Some((text(&percent::decode_arg(id)?), text(&percent::decode_arg(secret)?)))
        }
        None => Some((text(&percent::arg(form, "client_id")?), text(&percent::arg(form, "client_secret")?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_by_header_or_form() {
        let f = |header: Option<&str>, form: &str, want: Option<(&str, &str)>| {
            let found = credentials(header, form.as_bytes());
            assert_eq!(found.as_ref().map(|(id, secret)| (id.as_str(), secret.as_str())), want, "{header:?} {form}");
        };
        f(Some("Basic YSUyMGI6cyUzQXQ="), "", Some(("a b", "s:t")));
        f(Some("basic YTpi"), "client_id=x&client_secret=y", Some(("a", "b")));
        f(None, "grant_type=client_credentials&client_id=a&client_secret=b%2Bc", Some(("a", "b+c")));
        f(None, "client_id=a", None);
        f(Some("Bearer YTpi"), "client_id=a&client_secret=b", None);
        f(Some("Basic YQ=="), "", None);
        f(Some("Basic ?"), "", None);
    }

    #[test]
    fn claims() {
        let f = |claim: ClaimForm, want: &str| {
            let tenant = Tenant { account: 1, project: 2 };
            let client = Client { id: String::new(), secret: Secret::from(""), tenant, claim };
            assert_eq!(client.vm_access().map(|value| value.to_string()).unwrap_or_default(), want);
        };
        f(ClaimForm::Object, r#"{"metrics_account_id":1,"metrics_project_id":2}"#);
        f(ClaimForm::Text, r#""{\"metrics_account_id\":1,\"metrics_project_id\":2}""#);
        f(ClaimForm::Missing, "");
    }
}
