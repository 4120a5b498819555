//! `jwt` of a user: key sources, issuer, claims.
//!
//! Reads key files through the given closure and parses every key, so that a bad key is found at load; keys of an
//! identity provider are never fetched here. Beyond upstream: `jwks_url`, `audience`, `clock_skew`.

use super::builder::{Builder, Owner, Subject, UserContext};
use super::model::{JwtSpec, KeySource, MatchClaim};
use super::raw::RawJwt;
use super::redact;
use super::stage::Stage;
use crate::oidc::KeyLocation;
use crate::rewrite::target_url::TargetUrl;
use jwt::{KeySet, PublicKey};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use vmkit::go_regex::GoRegex;
use vmkit::go_text::{os_error, quote};
use vmkit::units::GoDuration;
use vmkit::yaml::{At, Text, TextList};

/// The largest tolerance; more would make expiry meaningless.
const MAX_CLOCK_SKEW: GoDuration = GoDuration(600_000_000_000);

impl<'t> Builder<'t, '_> {
    /// Builds the JWT options of the user `owner`.
    pub(super) fn jwt(&mut self, raw: &At<RawJwt<'t>>, owner: Owner<'t>, context: UserContext<'_>) -> JwtSpec {
        let place = context.place.field("jwt");
        let context = UserContext { place: &place, ..context };
        let keys = self.key_source(raw, context);
        let match_claims = self.match_claims(raw, context);
        self.refuse_same_claims(raw, &keys, owner, context);
        let raw = &raw.value;
        JwtSpec {
            keys,
            audience: self.audience(raw, context),
            clock_skew: self.clock_skew(raw, context),
            match_claims,
            default_vm_access_claim: raw.default_vm_access_claim.clone(),
        }
    }

    fn key_source(&mut self, raw: &At<RawJwt<'t>>, context: UserContext<'_>) -> KeySource {
        let At { value: jwt, mark } = raw;
        let keys = self.public_keys(jwt, context);
        let written = |list: &Option<TextList<'_>>| list.as_ref().is_some_and(|list| list.written > 0);
        let has_keys = written(&jwt.public_keys) || written(&jwt.public_key_files);
        let is_static = has_keys || jwt.skip_verify;
        let mut complain = |message: &str, hint: &'static str| {
            self.problems.push(context.stage, context.place, *mark, message, hint);
        };
        if jwt.oidc_issuer.is_some() && is_static {
            complain(
                "jwt with oidc cannot contain public keys or have skip_verify=true",
                "keep one of them, or write two users",
            );
        }
        if jwt.jwks_url.is_some() && (is_static || jwt.oidc_issuer.is_some()) {
            complain(
                "jwt with jwks_url cannot contain public keys, oidc or have skip_verify=true",
                "keep one of them, or write two users",
            );
        }
        if !is_static && jwt.oidc_issuer.is_none() && jwt.jwks_url.is_none() && !jwt.damaged {
            complain(
                "jwt must contain at least a single public key, public_key_files, oidc or have skip_verify=true",
                "`jwks_url` will do, too",
            );
        }
        if let Some(issuer) = jwt.oidc_issuer {
            self.check_issuer(issuer, context);
            return KeySource::Provider(KeyLocation::Oidc { issuer: issuer.value.to_owned() });
        }
        if let Some(url) = jwt.jwks_url {
            self.check_http_url(url, "jwks_url", context);
            return KeySource::Provider(KeyLocation::JwksUrl(url.value.to_owned()));
        }
        if jwt.skip_verify { KeySource::SkipVerify } else { KeySource::Static(keys) }
    }

    fn public_keys(&mut self, raw: &RawJwt<'_>, context: UserContext<'_>) -> Arc<KeySet> {
        for (field, list) in [("public_keys", &raw.public_keys), ("public_key_files", &raw.public_key_files)] {
            if let Some((index, mark)) = list.as_ref().and_then(|list| list.null_at) {
                let message = format!("an item of `{field}` cannot be null");
                let place = context.place.field(field);
                self.problems.push(context.stage, &place.index(index), mark, message, "remove the item");
            }
        }
        let (mut pems, mut keys) = (Vec::new(), Vec::new());
        let place = context.place.field("public_keys");
        for &(index, Text { value: pem, mark }) in raw.public_keys.iter().flat_map(|list| &list.items) {
            pems.push(pem.to_owned());
            match PublicKey::from_pem(pem) {
                Ok(key) => keys.push(key),
                Err(error) => {
                    let message = format!("failed to parse key {}: {error}", redact::pem(pem));
                    self.problems.push(context.stage, &place.index(index), mark, message, pem_hint(pem));
                }
            }
        }
        let place = context.place.field("public_key_files");
        for &(index, Text { value: path, mark }) in raw.public_key_files.iter().flat_map(|list| &list.items) {
            match self.key_file(path) {
                Ok((pem, key)) => {
                    pems.push(pem);
                    keys.push(key);
                }
                Err(message) => self.problems.push(context.stage, &place.index(index), mark, message, ""),
            }
        }
        let set = self.key_sets.entry(pems).or_insert_with(|| Arc::new(KeySet::from_keys(keys)));
        Arc::clone(set)
    }

    /// The text of a file with a public key, and the key; or the message that says why there is none.
    fn key_file(&self, path: &str) -> Result<(String, PublicKey), String> {
        let bytes = (self.inputs.read_file)(path).map_err(|error| {
            format!("cannot read public key from file {}: {}", quote(path), open_error(path, &error))
        })?;
        let pem = String::from_utf8_lossy(&bytes).into_owned();
        // The file may be anything, so none of it is shown.
        let key = PublicKey::from_pem(&pem).map_err(|error| {
            format!("cannot parse public key from file {}: failed to parse key \"...\": {error}", quote(path))
        })?;
        Ok((pem, key))
    }

    fn check_issuer(&mut self, Text { value, mark }: Text<'_>, context: UserContext<'_>) {
        let oidc = context.place.field("oidc");
        if value.is_empty() {
            let message = "oidc issuer cannot be empty";
            self.problems.push(context.stage, &oidc, mark, message, "write `oidc: {issuer: https://…}`");
            return;
        }
        self.check_http_url(Text { value, mark }, "oidc issuer", UserContext { place: &oidc, ..context });
    }

    fn check_http_url(&mut self, Text { value, mark }: Text<'_>, what: &str, context: UserContext<'_>) {
        let field = what.split(' ').next_back().unwrap_or_default();
        let place = context.place.field(field);
        let shown = quote(redact::url(value).as_bytes());
        let message = match TargetUrl::parse(value) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                format!("{what} {shown} must have http or https scheme")
            }
            Ok(url) if !url.host().is_empty() => return,
            Ok(_) | Err(_) => format!("{what} {shown} must be a valid URL"),
        };
        self.problems.push(context.stage, &place, mark, message, "write a URL such as https://idp.example.com/");
    }

    fn match_claims(&mut self, raw: &At<RawJwt<'t>>, context: UserContext<'_>) -> Vec<MatchClaim> {
        let place = context.place.field("match_claims");
        let mut claims = Vec::with_capacity(raw.value.match_claims.len());
        for &(key, value) in &raw.value.match_claims {
            match self.pattern(value.value, Subject::Text) {
                Ok(pattern) => claims.push(MatchClaim { path: key.value.to_owned(), value: pattern }),
                Err(cause) => {
                    // Messages quote claims without the wrapping that those of paths show.
                    let cause = GoRegex::new_bare(value.value).err().unwrap_or(cause);
                    let shown = quote(value.value);
                    let message = format!(
                        "incorrect match claim, key={}, value regex={shown}: cannot parse value match re={shown}: {cause}",
                        quote(key.value)
                    );
                    self.problems.push(context.stage, &place.field(key.value), value.mark, message, "");
                }
            }
        }
        claims.sort_by(|a, b| a.path.cmp(&b.path));
        claims
    }

    /// Two users must differ in their issuer or their claims, or nothing tells them apart.
    fn refuse_same_claims(
        &mut self,
        raw: &At<RawJwt<'t>>,
        keys: &KeySource,
        owner: Owner<'t>,
        context: UserContext<'_>,
    ) {
        let mut claims: Vec<_> =
            raw.value.match_claims.iter().map(|(k, v)| format!("{}={}", k.value, v.value)).collect();
        claims.sort();
        let claims = claims.join(",");
        let issuer = match keys {
            KeySource::Provider(KeyLocation::Oidc { issuer }) => issuer.clone(),
            KeySource::Provider(KeyLocation::JwksUrl(_))
            | KeySource::Unasked(_)
            | KeySource::SkipVerify
            | KeySource::Static(_) => String::new(),
        };
        match self.claim_sets.entry((issuer, claims)) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(owner);
            }
            std::collections::hash_map::Entry::Occupied(entry) => {
                let message = format!(
                    "duplicate match claims={} found for name={} at idx={}; the previous one is set for name={}",
                    quote(&entry.key().1),
                    quote(owner.name),
                    owner.index,
                    quote(entry.get().name)
                );
                let hint = format!(
                    "{} has them already; give the users different `match_claims` or different issuers",
                    entry.get().place()
                );
                self.problems.push(context.stage, context.place, raw.mark, message, hint);
            }
        }
    }

    /// Nothing may vanish from this list: an empty one accepts any audience.
    fn audience(&mut self, raw: &RawJwt<'_>, context: UserContext<'_>) -> Vec<String> {
        let Some(list) = &raw.audience else { return Vec::new() };
        let place = context.place.field("audience");
        let empty = list.items.iter().find(|(_, text)| text.value.is_empty()).map(|&(index, text)| (index, text.mark));
        let nothing = (list.written == 0).then_some((0, list.mark));
        if let Some((index, mark)) = list.null_at.or(empty).or(nothing) {
            let (message, hint) = ("jwt audience cannot be empty", "remove the field to accept any audience");
            self.problems.push(context.stage, &place.index(index), mark, message, hint);
        }
        list.items.iter().map(|(_, text)| text.value.to_owned()).collect()
    }

    fn clock_skew(&mut self, raw: &RawJwt<'_>, context: UserContext<'_>) -> Duration {
        let Some(text) = raw.clock_skew else { return Duration::ZERO };
        match text.value.parse::<GoDuration>().ok().filter(|skew| (0..=MAX_CLOCK_SKEW.0).contains(&skew.0)) {
            Some(skew) => skew.as_std(),
            None => {
                let message = format!("cannot parse jwt clock_skew {}", quote(text.value));
                let hint = "write a duration from 0s to 10m, such as 30s";
                self.problems.push(Stage::JwtUsers, &context.place.field("clock_skew"), text.mark, message, hint);
                Duration::ZERO
            }
        }
    }
}

fn pem_hint(pem: &str) -> &'static str {
    match pem {
        _ if pem.contains("...") => "its content is cut: copy the whole block",
        _ => "write a PEM block of a public key",
    }
}

/// The error of opening or reading a file in Go's words.
fn open_error(path: &str, error: &io::Error) -> String {
    let verb = if error.kind() == io::ErrorKind::IsADirectory { "read" } else { "open" };
    format!("{verb} {path}: {}", os_error(error))
}
