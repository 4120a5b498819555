//! A process that serves, until a signal ends it.

use std::time::Instant;

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::options::ServiceOptions;
use super::{Fatal, ReloadHandle};
use crate::blocking::off_thread;
use crate::http_server::Server;
use crate::net::unix::SocketFiles;
use crate::process::signals::{Event, Signals};

/// Files of sockets may lie on a disk that hangs.
const REMOVE_LIMIT: std::time::Duration = std::time::Duration::from_secs(2);

/// The parts that live until the end.
#[derive(Debug)]
pub struct Running {
    pub(super) app: &'static str,
    pub(super) options: ServiceOptions,
    pub(super) started: Instant,
    pub(super) server: Server,
    /// Serves until the process ends.
    pub(super) _internal: Option<Server>,
    pub(super) socket_files: SocketFiles,
    pub(super) signals: Signals,
    pub(super) reload: ReloadHandle,
    pub(super) cancel: CancellationToken,
    /// Ends the process on a stop signal until this runs.
    pub(super) starting: AbortHandle,
}

impl Running {
    /// Serves until a stop signal, then lets requests end; `at_end` is what the program has to do after the last one.
    pub async fn run(mut self, at_end: impl AsyncFnOnce()) -> Result<(), Fatal> {
        let app = self.app;
        self.starting.abort();
        crate::info!("started {app} in {:.3} seconds", self.started.elapsed().as_secs_f64());
        loop {
            match self.signals.next().await {
                Event::Reload => self.reload.request(),
                Event::Quit => self.quit(),
                Event::Stop(signal) => {
                    crate::info!("received signal {}", signal.name());
                    break;
                }
            }
        }
        self.cancel.cancel();
        let stopping = Instant::now();
        crate::info!("gracefully shutting down webservice at {}", shown_addrs(&self.options));
        let files = std::mem::take(&mut self.socket_files);
        let drained = self.drain().await;
        // Nobody listens there any more.
        let removing = off_thread(REMOVE_LIMIT, move || drop(files));
        if let Err(error) = removing.await {
            crate::warn!("cannot remove the unix sockets: {error}");
        }
        if drained.is_ok() {
            crate::info!("successfully shut down the webservice in {:.3} seconds", stopping.elapsed().as_secs_f64());
        }
        at_end().await;
        drained?;
        crate::info!("successfully stopped {app} in {:.3} seconds", stopping.elapsed().as_secs_f64());
        Ok(())
    }

    /// Says what the process is doing, and ends as the original does on SIGQUIT.
    fn quit(&self) -> ! {
        let mut report = "SIGQUIT: quit\n".to_owned();
        for (index, open) in self.server.open_connections().into_iter().enumerate() {
            report.push_str(&format!("worker-{index}: {open} open connections\n"));
        }
        report.push_str(&crate::process::threads::report());
        crate::logger::stderr_line(&report);
        crate::process::exit::with_code(2)
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
    let limit = options.listeners.max_graceful_shutdown.as_secs_f64();
    let cause = match server.stop().await {
        Ok(0) => return Ok(()),
        Ok(1) => "1 connection with an unfinished request was cut".to_owned(),
        Ok(cut) => format!("{cut} connections with unfinished requests were cut"),
        Err(_) => "some connections do not even end when they are cut".to_owned(),
    };
    Err(format!(
        "cannot stop the webservice: cannot gracefully shutdown http server at \"{addr}\" in {limit:.3}s; \
         probably, `-http.maxGracefulShutdownDuration` command-line flag value must be increased; \
         error: context deadline exceeded: {cause}"
    ))
}

/// Addresses of the public listeners as log lines name them.
pub(super) fn shown_addrs(options: &ServiceOptions) -> String {
    let addrs: Vec<_> = options.listeners.public.iter().map(|listener| listener.addr.as_str()).collect();
    format!("\"[{}]\"", addrs.join(" "))
}
