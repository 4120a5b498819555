//! Rules about users: who gets in, and by what.

use crate::config::{Credential, JwtSpec, KeySource, MtlsSpec, UserSpec};
use crate::oidc::KeyLocation;
use vmkit::redact;

use super::rule::Rule;
use super::source::Scalar;
use super::texts::{SECRET_FIELDS, field_of};
use super::{Findings, Input};

pub(super) fn empty_password(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    for user in &input.config.users {
        for credential in user.credentials() {
            if let Credential::Basic { username, password } = credential
                && password.is_empty()
            {
                let message = format!("the user {username:?} has no password: the name alone lets in");
                findings.push(rule, input.source, &user.place, message, "add `password`");
            }
        }
    }
}

fn jwt_users<'i>(input: &'i Input<'_>) -> impl Iterator<Item = (&'i UserSpec, &'i JwtSpec)> {
    input.config.users.iter().filter_map(|user| match &user.credential {
        Credential::Jwt(jwt) => Some((user, &**jwt)),
        Credential::Basic { .. }
        | Credential::PasswordHash { .. }
        | Credential::Bearer(_)
        | Credential::BearerHash(_)
        | Credential::AuthToken(_)
        | Credential::Mtls(_)
        | Credential::None => None,
    })
}

pub(super) fn http_issuer(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    for (user, jwt) in jwt_users(input) {
        let (url, field) = match &jwt.keys {
            KeySource::Provider(KeyLocation::Oidc { issuer }) => (issuer, "jwt.oidc.issuer"),
            KeySource::Provider(KeyLocation::JwksUrl(url)) => (url, "jwt.jwks_url"),
            KeySource::SkipVerify | KeySource::Static(_) | KeySource::Unasked(_) => continue,
        };
        let host = url.strip_prefix("http://").map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
        if host.is_some_and(|host| !matches!(host, "localhost" | "127.0.0.1" | "[")) {
            let message = format!(
                "keys come over plain HTTP from {}; who can change them on the way can log in as anybody",
                redact::url(url)
            );
            findings.push(rule, input.source, &format!("{}.{field}", user.place), message, "write https://");
        }
    }
}

pub(super) fn no_audience(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    for (user, jwt) in jwt_users(input).filter(|(_, jwt)| jwt.audience.is_empty()) {
        if !matches!(jwt.keys, KeySource::SkipVerify) {
            let message = "tokens that the issuer made for other services are taken as well";
            findings.push(rule, input.source, &format!("{}.jwt", user.place), message, "add `audience`");
        }
    }
}

pub(super) fn skip_verify(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    for (user, jwt) in jwt_users(input) {
        if matches!(jwt.keys, KeySource::SkipVerify) {
            let place = format!("{}.jwt.skip_verify", user.place);
            let message = "tokens are believed without a look at their signature: anybody can write one";
            findings.push(rule, input.source, &place, message, "give keys, an issuer or a jwks_url");
        }
    }
}

pub(super) fn plain_secret(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    // With variables replaced every secret would be a text.
    input.written.each_scalar(|place, Scalar { text, mark, .. }| {
        let field = field_of(place);
        let header =
            text.split_once(':').filter(|_| field.starts_with("headers[") || field.starts_with("response_headers["));
        let is_secret = match header {
            Some((name, value)) => redact::is_secret_header(name.trim()) && !value.trim().is_empty(),
            None => SECRET_FIELDS.contains(&field) || (has_userinfo(text) && field.contains("ur")),
        };
        if is_secret && !text.is_empty() && !text.contains("%{") && !text.contains("{{") {
            let message =
                format!("a secret of {} stands in the file as text", if place.is_empty() { "the file" } else { place });
            let hint = match field {
                "password" => "write password_hash or password_file, or %{NAME} and set the variable",
                "bearer_token" => "write bearer_token_hash or bearer_token_file, or %{NAME} and set the variable",
                "auth_token" => "write auth_token_file, or %{NAME} and set the variable",
                _ if field.starts_with("headers[") => "write header_files, or %{NAME} and set the variable",
                _ => "write %{NAME} and set the variable",
            };
            findings.push_at(rule, place, mark, message, hint);
        }
    });
}

fn has_userinfo(text: &str) -> bool {
    let authority = text.split_once("://").map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
    authority.is_some_and(|authority| authority.contains('@'))
}

fn mtls_users<'i>(input: &'i Input<'_>) -> Vec<(&'i UserSpec, &'i MtlsSpec)> {
    let users = input.config.users.iter();
    users
        .filter_map(|user| match &user.credential {
            Credential::Mtls(mtls) => Some((user, &**mtls)),
            Credential::Basic { .. }
            | Credential::PasswordHash { .. }
            | Credential::Bearer(_)
            | Credential::BearerHash(_)
            | Credential::AuthToken(_)
            | Credential::Jwt(_)
            | Credential::None => None,
        })
        .collect()
}

pub(super) fn mtls_off(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    if let Some((user, _)) = mtls_users(input).first().filter(|_| !input.flags.has_mtls) {
        let message = "no listener asks for client certificates, so users with mtls are never found";
        let hint = "start with -tls and -mtls";
        findings.push(rule, input.source, &format!("{}.mtls", user.place), message, hint);
    }
}

pub(super) fn unused_user(rule: &'static Rule, input: &Input<'_>, findings: &mut Findings) {
    let users = mtls_users(input);
    let takes = |all: &Option<String>, some: &Option<String>| all.is_none() || all == some;
    for (index, (user, spec)) in users.iter().enumerate() {
        let earlier = users.iter().take(index).find(|(_, earlier)| {
            takes(&earlier.organizational_unit, &spec.organizational_unit)
                && takes(&earlier.organization, &spec.organization)
                && takes(&earlier.common_name, &spec.common_name)
        });
        if let Some((earlier, _)) = earlier {
            let message = format!("{} takes every certificate of this user", earlier.place);
            findings.push(rule, input.source, &user.place, message, format!("put it before {}", earlier.place));
        }
    }
}
