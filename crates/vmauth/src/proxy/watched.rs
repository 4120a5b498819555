//! What forwarding is told and asks while a request runs: its log lines, its status, and whether its credentials are
//! still good.
//!
//! Usual requests are short and end with what was true when they began. A tunnel may outlive the token that opened it,
//! and the user itself.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use vmkit::exchange::RequestHead;
use vmkit::http_server::Client;

use super::Proxy;
use super::decision::Principal;
use super::request_scope::RequestScope;
use crate::authn::password_checks::Place;
use crate::authn::trace::Silent;
use crate::forward::Observer;
use crate::generation::Generation;

/// A request that is being forwarded.
pub(super) struct Watched<'r, 'c> {
    pub(super) proxy: &'r Proxy,
    pub(super) scope: &'r RequestScope<'c>,
    pub(super) generation: &'r Generation,
    pub(super) principal: &'r Principal<'r>,
    pub(super) head: &'c RequestHead,
    pub(super) client: &'c Client,
}

impl Observer for Watched<'_, '_> {
    fn replied(&self, status: u16) {
        self.scope.set_status(status);
    }

    fn log_text(&self, message: &str) -> String {
        self.scope.log_text(message)
    }

    fn may_go_on(&self) -> Pin<Box<dyn Future<Output = bool> + '_>> {
        Box::pin(self.is_still_allowed())
    }
}

impl Watched<'_, '_> {
    async fn is_still_allowed(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.principal.token.as_ref().is_some_and(|token| !token.is_valid_at(now)) {
            return false;
        }
        let current = self.proxy.seen.current();
        if std::ptr::eq(Arc::as_ptr(&current), self.generation) {
            return true;
        }
        let login = self.proxy.login(&current, self.head, self.client);
        let verdict = match login.authenticate(&mut Silent).await {
            Ok(verdict) => verdict,
            Err(unchecked) => {
                let shared = &self.proxy.shared;
                let place = Place::of(shared.login_ip(self.head, self.client));
                match login.directory.check(unchecked, place, shared.max_queue.as_std()).await {
                    Ok(found) => login.authenticate_checked(found, &mut Silent).await,
                    // Asked again soon.
                    Err(_) => return true,
                }
            }
        };
        Principal::of(&current, verdict).is_ok_and(|now| now.user.name() == self.principal.user.name())
    }
}
