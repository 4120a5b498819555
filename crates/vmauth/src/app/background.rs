//! Tasks that run beside the requests: reloads, certificates of backends, idle connections.
//!
//! Everything here runs on the control plane but [`sweep`], which every worker runs for its own pool.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use vmkit::http_client::Client;
use vmkit::service::{Reloader, Trigger};
use vmkit::tls::client_config::ClientTls;

use crate::control::NamedFiles;
use crate::control::reload::{Controller, refresh};
use crate::generation::{BuildContext, Generation, Serving};
use crate::upstream::pool::Pool;
use crate::upstream::reply_stats::AllReplyStats;

/// How often files and idle connections are looked after.
const TICK: Duration = Duration::from_secs(1);

/// Loads the config again and lets it serve.
pub(super) struct ServingReloader {
    pub(super) controller: Arc<Mutex<Controller>>,
    pub(super) serving: Arc<Serving<Generation>>,
}

impl Reloader for ServingReloader {
    async fn reload(&mut self, trigger: Trigger) -> Result<(), String> {
        self.controller.lock().await.reload(trigger, &self.serving).await.map_err(|error| error.to_string())
    }
}

/// Re-reads CA and certificate files of backends about once a second. One that hangs keeps its own identity only.
pub(super) async fn refresh_client_tls(environment: Arc<BuildContext>, client: Arc<Client>, named: NamedFiles) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut running: Vec<(Arc<ClientTls>, JoinHandle<()>)> = Vec::new();
    loop {
        ticks.tick().await;
        running.retain(|(_, read)| !read.is_finished());
        for tls in environment.client_tls.in_use() {
            if !running.iter().any(|(known, _)| Arc::ptr_eq(known, &tls)) {
                let read = tokio::spawn(refresh(tls.clone(), client.clone(), named.clone()));
                running.push((tls, read));
            }
        }
    }
}

/// Moves on the windows that the quantiles of backends on the status page cover.
pub(super) async fn turn_windows(environment: Arc<BuildContext>) {
    let mut turns = interval(AllReplyStats::TURN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        environment.peers.replies().iter().for_each(|replies| replies.turn());
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
