//! One order for one host: from the request to key and chain.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Identifier, NewOrder, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::challenges::{Challenges, Published};
use super::failure::{Cause, Failure};

/// Between two looks at the state of an order, at first.
const FIRST_LOOK: Duration = Duration::from_millis(250);
/// A validation, and a finalization, that take longer have failed.
const STEP_LIMIT: Duration = Duration::from_secs(120);

pub(super) struct Order<'a> {
    pub(super) account: &'a Account,
    pub(super) host: &'a str,
    pub(super) kind: ChallengeType,
    pub(super) profile: Option<&'a str>,
    pub(super) challenges: &'a Arc<Challenges>,
}

impl Order<'_> {
    /// Key and chain as one PEM text. `replaces` is the certificate in use, for an authority that wants to know.
    pub(super) async fn run(&self, replaces: Option<CertificateIdentifier<'static>>) -> Result<String, Failure> {
        let mut order = self.begin(replaces).await?;
        let retries = RetryPolicy::new().initial_delay(FIRST_LOOK).backoff(1.5).timeout(STEP_LIMIT);
        let published = self.publish(&mut order).await?;
        let ready = order.poll_ready(&retries).await;
        drop(published);
        match ready {
            Ok(OrderStatus::Ready) => {}
            Ok(_) => {
                let unknown = || Failure::new(Cause::Validation, format!("{:?} failed", self.kind));
                return Err(self.why_invalid(&mut order).await.unwrap_or_else(unknown));
            }
            // An authority that cannot tell the state has not refused anything.
            Err(error @ instant_acme::Error::Api(_)) => {
                return Err(self.why_invalid(&mut order).await.unwrap_or_else(|| error.into()));
            }
            Err(error) => return Err(error.into()),
        }
        let (key, request) = self.signing_request()?;
        order.finalize_csr(&request).await?;
        let chain = order.poll_certificate(&retries).await?;
        Ok(key + &chain)
    }

    /// An authority that has no use for `replaces` gets an order without it.
    async fn begin(&self, replaces: Option<CertificateIdentifier<'static>>) -> Result<instant_acme::Order, Failure> {
        let identifiers = [Identifier::Dns(self.host.to_owned())];
        let order = || {
            let order = NewOrder::new(&identifiers);
            match self.profile {
                Some(profile) => order.profile(profile),
                None => order,
            }
        };
        if let Some(replaces) = replaces {
            match self.account.new_order(&order().replaces(replaces)).await.map_err(Failure::from) {
                Err(error) if matches!(error.cause, Cause::RateLimited | Cause::Account) => return Err(error),
                Err(_) => {}
                Ok(order) => return Ok(order),
            }
        }
        Ok(self.account.new_order(&order()).await?)
    }

    /// Answers everything that the authority wants to see, and tells it to look.
    async fn publish(&self, order: &mut instant_acme::Order) -> Result<Vec<Published>, Failure> {
        let mut published = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let Some(mut challenge) = authorization.challenge(self.kind.clone()) else {
                return Err(Failure::new(Cause::NoChallenge, format!("no {:?} is offered", self.kind)));
            };
            let key = challenge.key_authorization();
            published.push(self.challenges.publish(self.host, &self.kind, &challenge.token, &key).await?);
            challenge.set_ready().await.map_err(|error| Failure::of_answer(&self.kind, error))?;
        }
        Ok(published)
    }

    /// What the authority says about a validation that failed, if one did.
    async fn why_invalid(&self, order: &mut instant_acme::Order) -> Option<Failure> {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(state) = authorization.refresh().await else { break };
            if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
                let failure = Failure::of_problem(problem);
                return Some(Failure::new(Cause::Validation, format!("{:?} failed: {failure}", self.kind)));
            }
        }
        None
    }

    /// A new key, as PEM, and the request for its certificate, as DER.
    fn signing_request(&self) -> Result<(String, Vec<u8>), Failure> {
        let failed = |error: rcgen::Error| Failure::new(Cause::Refused, format!("cannot make a key: {error}"));
        let mut params = CertificateParams::new([self.host.to_owned()]).map_err(failed)?;
        params.distinguished_name = DistinguishedName::new();
        let key = KeyPair::generate().map_err(failed)?;
        let request = params.serialize_request(&key).map_err(failed)?;
        Ok((key.serialize_pem(), request.der().to_vec()))
    }
}
