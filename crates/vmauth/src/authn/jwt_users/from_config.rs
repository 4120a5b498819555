//! The users with `jwt` of a configuration, bound to the keys of their providers.
//!
//! Part of building a generation: parses keys and compiles nothing else, opens no socket and starts no task. Here and
//! not beside [`Issuers`], which know no users.

use std::sync::Arc;

use super::{ClaimPattern, JwtUserInput, JwtUsers, KeyInput, StaticKeys};
use crate::config::{AuthConfig, Credential, DefaultVmAccess, JwtSpec, KeySource, UserSpec};
use crate::oidc::{Issuers, KeyLocation};
use crate::rewrite::jwt_placeholders::PlaceholderValues;

impl Issuers {
    /// The users whose requests bring tokens; their numbers are places in `config.users`. `None` if there are none.
    ///
    /// # Errors
    /// A key that cannot be used, with its place.
    pub fn users_of(&self, config: &AuthConfig) -> Result<Option<JwtUsers>, String> {
        let mut keys = StaticKeys::default();
        let mut inputs = Vec::new();
        for (index, spec) in config.users.iter().enumerate() {
            if let Credential::Jwt(jwt) = &spec.credential {
                let user = u32::try_from(index).map_err(|_| "too many users".to_owned())?;
                inputs.push(self.user_of(user, spec, jwt, &mut keys)?);
            }
        }
        Ok(Some(JwtUsers::build(inputs)).filter(|users| !users.is_empty()))
    }

    fn user_of(
        &self,
        user: u32,
        spec: &UserSpec,
        jwt: &JwtSpec,
        static_keys: &mut StaticKeys,
    ) -> Result<JwtUserInput, String> {
        let keys = match &jwt.keys {
            KeySource::SkipVerify => KeyInput::SkipVerify,
            KeySource::Static(keys) => {
                let pems = keys.iter().map(|key| key.pem.clone()).collect();
                let keys = static_keys.get(pems);
                KeyInput::Static(keys.map_err(|error| format!("{}.jwt: {}", spec.place, error.error))?)
            }
            KeySource::Oidc { issuer } => {
                KeyInput::Provider(self.get_or_create(KeyLocation::Oidc { issuer: issuer.clone() }))
            }
            KeySource::JwksUrl(url) => KeyInput::Provider(self.get_or_create(KeyLocation::JwksUrl(url.clone()))),
        };
        let claims = jwt.match_claims.iter().map(|claim| {
            let regex = Arc::clone(&claim.value);
            let pattern: ClaimPattern = Box::new(move |text| regex.is_match(text));
            (claim.path.clone(), pattern)
        });
        Ok(JwtUserInput {
            user,
            name: spec.display_name.clone(),
            keys,
            audience: jwt.audience.clone(),
            clock_skew: jwt.clock_skew,
            match_claims: claims.collect(),
            default_claim: jwt.default_vm_access_claim.as_ref().map(default_claim),
        })
    }
}

fn default_claim(claim: &DefaultVmAccess) -> PlaceholderValues {
    let claim = claim.clone();
    PlaceholderValues {
        metrics_account_id: claim.metrics_account_id,
        metrics_project_id: claim.metrics_project_id,
        metrics_extra_labels: claim.metrics_extra_labels,
        metrics_extra_filters: claim.metrics_extra_filters,
        logs_account_id: claim.logs_account_id,
        logs_project_id: claim.logs_project_id,
        logs_extra_filters: claim.logs_extra_filters,
        logs_extra_stream_filters: claim.logs_extra_stream_filters,
    }
}

#[cfg(test)]
mod tests {
    use super::super::JwtOutcome;
    use super::*;
    use crate::config::{ConfigDefaults, Inputs, parse};
    use crate::oidc::test_provider::{Provider, Signer};

    fn users(issuers: &Issuers, yaml: &str) -> Option<JwtUsers> {
        let defaults = ConfigDefaults::default();
        let inputs = Inputs {
            expand: &str::to_owned,
            defaults: &defaults,
            read_file: &|path| std::fs::read(path),
            parse_key: &|_| Ok(()),
        };
        let config = parse(yaml.as_bytes(), &inputs).unwrap();
        issuers.users_of(&config).unwrap()
    }

    #[test]
    fn binds_users_to_keys() {
        let issuers = Issuers::new(Provider::new());
        assert!(users(&issuers, "unauthorized_user: {url_prefix: 'http://b'}").is_none());
        let yaml = r#"
users:
- username: someone
  url_prefix: http://b
- jwt: {oidc: {issuer: "http://idp"}, match_claims: {role: admin}}
  url_prefix: http://b
- jwt: {oidc: {issuer: "http://idp"}}
  url_prefix: http://b
- jwt: {jwks_url: "http://idp/keys", match_claims: {role: b.*}}
  url_prefix: http://b
- jwt: {skip_verify: true, match_claims: {role: "ad"}, default_vm_access_claim: {metrics_account_id: 5}}
  url_prefix: http://b
"#;
        let users = users(&issuers, yaml).unwrap();
        assert_eq!((users.len(), users.issuers().len(), users.key_epoch()), (4, 2, 0));
        let token =
            |role: &str| format!("Bearer {}", Signer::new().token("", &format!(r#"{{"exp":9,"role":"{role}"}}"#)));
        match users.accept(token("ad").as_bytes(), 1) {
            JwtOutcome::Accepted(token) => assert_eq!((token.user, token.placeholders.metrics_account_id), (4, 5)),
            other => panic!("{other:?}"),
        }
        let f = |role: &str, want: &str| match users.accept(token(role).as_bytes(), 1) {
            JwtOutcome::Refused(refusal) => assert_eq!(refusal.cause.label(), want, "{role}"),
            other => panic!("{other:?}"),
        };
        f("bad", "keys_not_loaded");
        f("admin", "wrong_issuer"); // a full match only, so `ad` is another role
    }
}
