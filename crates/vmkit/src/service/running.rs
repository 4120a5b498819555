//! A process that serves, until a signal ends it.

use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::options::ServiceOptions;
use super::{Fatal, ReloadHandle};
use crate::http_server::Server;
use crate::process::signals::{Event, Signals};

/// The parts that live until the end.
#[derive(Debug)]
pub struct Running {
    pub(super) app: &'static str,
    pub(super) options: ServiceOptions,
    pub(super) started: Instant,
    pub(super) server: Server,
    /// Serves until the process ends.
    pub(super) _internal: Option<Server>,
    pub(super) signals: Signals,
    pub(super) reload: ReloadHandle,
    pub(super) cancel: CancellationToken,
}

impl Running {
    /// Serves until a stop signal, then lets requests end; `at_end` is what the program has to do after the last one.
    pub async fn run(mut self, at_end: impl AsyncFnOnce()) -> Result<(), Fatal> {
        let app = self.app;
        crate::info!("started {app} in {:.3} seconds", self.started.elapsed().as_secs_f64());
        loop {
            match self.signals.next().await {
                Event::Reload => self.reload.request(),
                Event::Stop(signal) => {
                    crate::info!("received signal {}", signal.name());
                    break;
                }
            }
        }
        self.cancel.cancel();
        let stopping = Instant::now();
        crate::info!("gracefully shutting down webservice at {}", shown_addrs(&self.options));
        self.drain().await?;
        crate::info!("successfully shut down the webservice in {:.3} seconds", stopping.elapsed().as_secs_f64());
        at_end().await;
        crate::info!("successfully stopped {app} in {:.3} seconds", stopping.elapsed().as_secs_f64());
        Ok(())
    }

    /// Drains the public server; signals are still heard, so that a second one ends the process at once.
    async fn drain(self) -> Result<(), Fatal> {
        let Self { options, server, mut signals, .. } = self;
        let mut stopping = std::pin::pin!(stop(&options, server));
        loop {
            tokio::select! {
                stopped = &mut stopping => return stopped,
                _ = signals.next() => {}
            }
        }
    }
}

async fn stop(options: &ServiceOptions, server: Server) -> Result<(), Fatal> {
    let addrs: Vec<_> = options.listeners.public.iter().map(|listener| listener.addr.as_str()).collect();
    let (addr, delay) = (addrs.join(" "), options.listeners.shutdown_delay);
    if !delay.is_zero() {
        crate::info!(
            "Waiting for {:.3}s before shutdown of http server \"{addr}\", so load balancers could re-route \
             requests to other servers",
            delay.as_secs_f64()
        );
    }
    server.delay_shutdown().await;
    if !delay.is_zero() {
        crate::info!("Starting shutdown for http server \"{addr}\"");
    }
    server.stop().await.map_err(|limit| {
        format!(
            "cannot stop the webservice: cannot gracefully shutdown http server at \"{addr}\" in {:.3}s; \
             probably, `-http.maxGracefulShutdownDuration` command-line flag value must be increased; \
             error: context deadline exceeded",
            limit.as_secs_f64()
        )
    })
}

/// Addresses of the public listeners as log lines name them.
pub(super) fn shown_addrs(options: &ServiceOptions) -> String {
    let addrs: Vec<_> = options.listeners.public.iter().map(|listener| listener.addr.as_str()).collect();
    format!("\"[{}]\"", addrs.join(" "))
}
