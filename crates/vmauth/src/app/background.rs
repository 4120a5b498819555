//! Tasks that run beside the requests: reloads, certificates of backends, idle connections.
//!
//! Everything here runs on the control plane but [`sweep`], which every worker runs for its own pool.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};
use vmkit::http_client::Client;
use vmkit::service::Reloader;

use crate::control::reload::Controller;
use crate::generation::{Environment, Generation};
use crate::upstream::pool::Pool;

/// How often files and idle connections are looked after.
const TICK: Duration = Duration::from_secs(1);

/// Loads the config again and lets it serve.
pub(super) struct ServingReloader {
    pub(super) controller: Controller,
    pub(super) serving: Arc<ArcSwap<Generation>>,
}

impl Reloader for ServingReloader {
    async fn reload(&mut self) -> Result<(), String> {
        self.controller.reload(&self.serving).await.map_err(|error| error.to_string())
    }
}

/// Re-reads CA and certificate files of backends about once a second.
pub(super) async fn refresh_client_tls(environment: Arc<Environment>, client: Arc<Client>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for tls in environment.client_tls.in_use() {
            if let Err(error) = tls.refresh(|url| client.fetch_file(url)).await {
                vmkit::error!("{error}");
            }
        }
    }
}

/// Closes idle backend connections of a worker.
pub(super) fn sweep(pool: Rc<Pool>) {
    tokio::task::spawn_local(async move {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            pool.sweep();
        }
    });
}
