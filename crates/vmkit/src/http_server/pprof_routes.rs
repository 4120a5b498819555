//! `/debug/pprof/`: what a process that is not written in Go can honestly say there.
//!
//! `profile` and `heap` are real profiles of CPU and memory in the format of `go tool pprof`; `goroutine` says what every
//! thread is doing. `cmdline` shows the arguments with secrets masked. Profiles of Go's runtime that have no equivalent
//! answer 501 with the reason; unknown names answer 404.

use super::{Request, Shared};
use crate::cpu_profile::{self, CpuProfileError};
use crate::heap_profile::{self, HeapProfileError};
use crate::percent::arg;

const PLAIN: &str = "text/plain; charset=utf-8";
const INDEX: &str = "<html><head><title>/debug/pprof/</title></head><body><h1>/debug/pprof/</h1><ul>\
<li><a href=\"profile?seconds=30\">profile</a>: CPU profile; open it with go tool pprof</li>\
<li><a href=\"heap\">heap</a>: who holds memory; open it with go tool pprof</li>\
<li><a href=\"goroutine\">goroutine</a>: what every thread is doing</li>\
<li><a href=\"cmdline\">cmdline</a>: command line, secrets masked</li>\
</ul><p>allocs, block, mutex, threadcreate and trace belong to Go's runtime and answer 501.</p>\
</body></html>\n";

pub(super) async fn serve(request: &mut Request<'_>, shared: &Shared, path: &[u8]) {
    let name = path.strip_prefix(b"/debug/pprof/").unwrap_or_default();
    let metrics = &shared.metrics;
    match name {
        b"" => {
            metrics.requests_pprof.index.inc();
            request.page(shared, 200, "text/html; charset=utf-8", INDEX.as_bytes()).await;
        }
        b"cmdline" => {
            metrics.requests_pprof.cmdline.inc();
            request.page(shared, 200, PLAIN, shared.options.cmdline.as_bytes()).await;
        }
        b"profile" => {
            metrics.requests_pprof.profile.inc();
            profile(request, shared).await;
        }
        b"symbol" => {
            metrics.requests_pprof.symbol.inc();
            request.page(shared, 200, PLAIN, b"num_symbols: 1\n").await;
        }
        b"trace" => {
            metrics.requests_pprof.trace.inc();
            unavailable(request, "trace").await;
        }
        b"mutex" => {
            metrics.requests_pprof.mutex.inc();
            unavailable(request, "mutex").await;
        }
        b"goroutine" => {
            metrics.requests_pprof.default.inc();
            let read = shared.options.tasks_page.clone();
            match shared.control.spawn_blocking(move || read()).await {
                Ok(page) => request.page(shared, 200, PLAIN, &page).await,
                Err(_) => request.plain_error(500, "cannot read what the threads are doing", &[]).await,
            }
        }
        b"heap" => {
            metrics.requests_pprof.default.inc();
            heap(request, shared).await;
        }
        b"allocs" | b"block" | b"threadcreate" => {
            metrics.requests_pprof.default.inc();
            unavailable(request, &String::from_utf8_lossy(name)).await;
        }
        _ => {
            metrics.requests_pprof.default.inc();
            request.plain_error(404, "Unknown profile", &[]).await;
        }
    }
}

async fn unavailable(request: &mut Request<'_>, name: &str) {
    let message =
        format!("the {name} profile is not available: it describes the runtime of Go, and this is no Go process");
    request.plain_error(501, &message, &[]).await;
}

async fn heap(request: &mut Request<'_>, shared: &Shared) {
    match shared.control.spawn_blocking(heap_profile::collect).await {
        Ok(Ok(profile)) => request.page(shared, 200, "application/octet-stream", &profile).await,
        Ok(Err(error)) => {
            let status = match error {
                HeapProfileError::Busy => 503,
                HeapProfileError::Absent | HeapProfileError::Off => 501,
                HeapProfileError::Failed(_) => 500,
            };
            request.plain_error(status, &error.to_string(), &[]).await;
        }
        Err(_) => request.plain_error(500, "the heap profile has failed", &[]).await,
    }
}

async fn profile(request: &mut Request<'_>, shared: &Shared) {
    let seconds = request
        .exchange
        .head
        .query()
        .and_then(|query| arg(query, "seconds"))
        .and_then(|value| String::from_utf8(value.into_owned()).ok())
        .map_or(Some(30), |value| value.parse::<u64>().ok());
    let Some(seconds) = seconds.filter(|seconds| (1..=600).contains(seconds)) else {
        return request.plain_error(400, "seconds must be a whole number from 1 to 600", &[]).await;
    };
    let cancel = tokio_util::sync::CancellationToken::new();
    let _guard = cancel.clone().drop_guard();
    let task = shared.control.spawn(async move { cpu_profile::collect(seconds, &cancel).await });
    let profile = tokio::select! {
        profile = task => profile,
        () = request.exchange.body.gone() => return,
    };
    match profile {
        Ok(Ok(profile)) => request.page(shared, 200, "application/octet-stream", &profile).await,
        Ok(Err(CpuProfileError::Busy)) => {
            request.plain_error(503, "another CPU profile is being collected", &[]).await;
        }
        Ok(Err(error)) => request.plain_error(500, &error.to_string(), &[]).await,
        Err(_) => request.plain_error(500, "the CPU profile has failed", &[]).await,
    }
}
