//! The users with `jwt` of a configuration, bound to the keys of their providers.
//!
//! Part of building a generation: nothing here can fail, opens a socket or starts a task.

use std::sync::Arc;

use crate::authn::jwt_users::{ClaimPattern, JwtUserInput, JwtUsers, KeyInput};
use crate::config::{AuthConfig, Credential, JwtSpec, KeySource, UserSpec};
use crate::oidc::Issuers;

/// The users whose requests bring tokens; their numbers are places in `config.users`. `None` if there are none.
pub(super) fn jwt_users(config: &AuthConfig, issuers: &Issuers) -> Option<JwtUsers> {
    let mut inputs = Vec::new();
    for (index, spec) in config.users.iter().enumerate() {
        if let Credential::Jwt(jwt) = &spec.credential {
            inputs.push(input(u32::try_from(index).unwrap_or(u32::MAX), spec, jwt, issuers));
        }
    }
    Some(JwtUsers::build(inputs)).filter(|users| !users.is_empty())
}

fn input(user: u32, spec: &UserSpec, jwt: &JwtSpec, issuers: &Issuers) -> JwtUserInput {
    let keys = match &jwt.keys {
        KeySource::SkipVerify => KeyInput::SkipVerify,
        KeySource::Static(keys) => KeyInput::Static(keys.clone()),
        KeySource::Provider(location) => KeyInput::Provider(issuers.get_or_create(location.clone())),
        KeySource::Unasked(location) => KeyInput::Unasked(location.clone()),
    };
    let claims = jwt.match_claims.iter().map(|claim| {
        let regex = Arc::clone(&claim.value);
        let pattern: ClaimPattern = Box::new(move |text| regex.matches(text).unwrap_or(false));
        (claim.path.clone(), pattern)
    });
    JwtUserInput {
        user,
        name: spec.display_name.clone(),
        keys,
        audience: jwt.audience.clone(),
        clock_skew: jwt.clock_skew,
        match_claims: claims.collect(),
        default_claim: jwt.default_vm_access_claim.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::jwt_users::JwtOutcome;
    use crate::authn::trace::Silent;
    use crate::config::{ConfigDefaults, Inputs, parse};
    use crate::oidc::test_provider::{Provider, Signer};

    fn users(issuers: &Issuers, yaml: &str) -> Option<JwtUsers> {
        let defaults = ConfigDefaults::default();
        let inputs = Inputs {
            expand: &str::to_owned,
            defaults: &defaults,
            read_file: &|path| std::fs::read(path),
            check_file: &|_| Ok(()),
        };
        let config = parse(yaml.as_bytes(), &inputs).unwrap();
        jwt_users(&config, issuers)
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
        match users.accept(token("ad").as_bytes(), 1, &mut Silent) {
            JwtOutcome::Accepted(token) => assert_eq!((token.user, token.placeholders.metrics_account_id), (4, 5)),
            other => panic!("{other:?}"),
        }
        let f = |role: &str, want: &str| match users.accept(token(role).as_bytes(), 1, &mut Silent) {
            JwtOutcome::Refused(refusal, _) => assert_eq!(refusal.cause.label(), want, "{role}"),
            other => panic!("{other:?}"),
        };
        f("bad", "keys_not_loaded");
        f("admin", "wrong_issuer"); // a full match only, so `ad` is another role
    }
}
