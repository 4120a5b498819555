//! Tasks that run beside the requests: reloads, certificates, metrics, idle connections.
//!
//! Everything here runs on the control plane but [`sweep`], which every worker runs for its own pool.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use vmkit::http_client::{Client, FetchRequest};
use vmkit::metrics::clock;
use vmkit::metrics::go_runtime::GoRuntime;
use vmkit::metrics::push::{METHOD, PushOptions, PushRequest, Pusher, SendFuture};
use vmkit::tls::server_config::ServerTls;

use super::{App, Fatal};
use crate::control::reload::Controller;
use crate::upstream::pool::Pool;

/// How often files, idle connections and clocks are looked after.
const TICK: Duration = Duration::from_secs(1);

/// The tasks of the control plane; they end when this is dropped or cancelled.
pub(super) struct Background {
    _stop: tokio_util::sync::DropGuard,
}

impl Background {
    pub(super) fn start(app: &App, controller: Controller, cancel: &CancellationToken) -> Result<Self, Fatal> {
        let stop = CancellationToken::new();
        for pusher in pushers(app)? {
            let (page, client, cancel) = (app.page.clone(), app.client.clone(), cancel.clone());
            tokio::spawn(async move {
                pusher.run(|| page.get(), |request| send(client.clone(), request), &cancel).await;
            });
        }
        tokio::spawn(stop.clone().run_until_cancelled_owned(reloads(app, controller)));
        tokio::spawn(stop.clone().run_until_cancelled_owned(refresh_client_tls(app)));
        Ok(Self { _stop: stop.drop_guard() })
    }
}

/// Loads the config on demand and when its interval has passed.
fn reloads(app: &App, mut controller: Controller) -> impl Future<Output = ()> + use<> {
    let (reload, serving) = (app.reload.clone(), app.serving.clone());
    let (every, path) = (app.options.config.check_interval, app.options.config.auth_config.clone());
    async move {
        loop {
            let tick = async {
                match every {
                    Some(every) => tokio::time::sleep(every).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = reload.notified() => {
                    let shown = vmkit::go_text::quote(vmkit::redact::url(&path).as_bytes());
                    vmkit::info!("SIGHUP received; loading -auth.config={shown}");
                }
                () = tick => {}
            }
            controller.reload(&serving).await;
        }
    }
}

/// Re-reads CA and certificate files of backends about once a second, and keeps the clock of the summaries.
fn refresh_client_tls(app: &App) -> impl Future<Output = ()> + use<> {
    let (environment, client) = (app.environment.clone(), app.client.clone());
    async move {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            clock::refresh();
            for tls in environment.client_tls.in_use() {
                if let Err(error) = tls.refresh(|url| client.fetch_file(url)).await {
                    vmkit::error!("{error}");
                }
            }
        }
    }
}

/// Re-reads the certificate of a listener about once a second. A failure keeps the last good one and is logged once.
pub(super) fn refresh_server_tls(tls: Arc<ServerTls>) {
    tokio::spawn(async move {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = tls.refresh() {
                vmkit::error!("{error}; the last good certificate stays in use");
            }
        }
    });
}

/// Closes idle backend connections of a worker, and measures how late the worker runs what is due.
pub(super) fn sweep(pool: Rc<Pool>, go_runtime: Arc<GoRuntime>) {
    tokio::task::spawn_local(async move {
        loop {
            let due = Instant::now() + TICK;
            tokio::time::sleep_until(due).await;
            go_runtime.record_scheduling_delay(due.elapsed());
            pool.sweep();
        }
    });
}

fn pushers(app: &App) -> Result<Vec<Pusher>, Fatal> {
    let push = &app.options.metrics.push;
    let options = PushOptions {
        interval: push.interval.as_std(),
        extra_labels: push.extra_labels.clone(),
        headers: push.headers.clone(),
        disable_compression: push.disable_compression,
    };
    push.urls
        .iter()
        .map(|url| Pusher::new(url, &options, app.registry.common()))
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot initialize pushmetrics: {error}"))
}

fn send(client: Arc<Client>, push: PushRequest) -> SendFuture {
    Box::pin(async move {
        let mut request = FetchRequest::get(push.url);
        debug_assert_eq!(request.method.as_str(), METHOD);
        request.headers = push.headers;
        request.body = push.body.to_vec();
        let reply = client.fetch(request).await.map_err(|error| error.to_string())?;
        Ok(reply.status.as_u16())
    })
}

/// Fetches a secret whose flag is a URL. Called on a blocking thread; the exchange runs on the control plane.
pub(super) fn fetch_secret(control: &Handle, client: &Arc<Client>, url: &str) -> Result<Vec<u8>, String> {
    let (client, url) = (client.clone(), url.to_owned());
    let (sender, receiver) = std::sync::mpsc::channel();
    control.spawn(async move {
        let mut request = FetchRequest::get(url);
        request.timeout = Duration::from_secs(5);
        let reply = client.fetch(request).await.map_err(|error| error.to_string());
        let body = reply.and_then(|reply| match reply.status.as_u16() {
            200 => Ok(reply.body),
            status => Err(format!("unexpected status code: {status}")),
        });
        // Nobody listens any more after the time below.
        let _ = sender.send(body);
    });
    receiver.recv_timeout(Duration::from_secs(6)).map_err(|_| "timed out".to_owned())?
}

/// Name of this machine, for `X-Server-Hostname`.
pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
