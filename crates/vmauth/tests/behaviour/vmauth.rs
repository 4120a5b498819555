//! One proxy under test: its config file in a temporary folder, its process, and short ways to its metrics and log.
//!
//! By default it runs one worker, so that connections and the order of log lines can be counted exactly.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use testkit::{Backend, Client, Launch, Metrics, Program, Signal, eventually};

/// Credentials of the user of [`one_user`].
pub(crate) const AUTH: &str = "Authorization: Basic dTpw";

/// A running proxy.
pub(crate) struct Vmauth {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    config: PathBuf,
    _dir: TempDir,
}

/// The header line of these Basic credentials, `name:password`.
pub(crate) fn basic(pair: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(pair))
}

/// A config with the user `u`, password `p`, whose access is logged, in front of these backends; `extra` holds more
/// fields, one a line.
pub(crate) fn one_user(backends: &[&Backend], extra: &str) -> String {
    let urls: Vec<_> = backends.iter().map(|b| format!("\"{}\"", b.url())).collect();
    user_of_urls(&urls.join(", "), extra)
}

/// As [`one_user`], with the text of the URL list.
pub(crate) fn user_of_urls(urls: &str, extra: &str) -> String {
    let mut text = format!("users:\n- username: u\n  password: p\n  access_log: {{}}\n  url_prefix: [{urls}]\n");
    for line in extra.lines() {
        let _ = writeln!(text, "  {line}");
    }
    text
}

impl Vmauth {
    /// Starts it and waits until it listens.
    #[track_caller]
    pub(crate) fn start(config: &str, flags: &[&str]) -> Self {
        Self::launch(config, flags, |launch| launch)
    }

    /// As [`start`](Self::start); `adjust` has the last word on how the process is started.
    #[track_caller]
    pub(crate) fn launch(config: &str, flags: &[&str], adjust: impl FnOnce(Launch) -> Launch) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("auth.yml");
        fs::write(&path, config).expect("the folder can be written");
        let mut launch = Launch::new(binary()).arg(format!("-auth.config={}", path.display()));
        launch = launch.arg("-httpListenAddr=127.0.0.1:0");
        if !flags.iter().any(|f| f.starts_with("-workers")) {
            launch = launch.arg("-workers=1");
        }
        let program = adjust(flags.iter().fold(launch, |launch, flag| launch.arg(*flag))).start();
        let address = program.wait_listening();
        Self { program, address, config: path, _dir: dir }
    }

    /// A new connection to it.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Path of the config file.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Writes another config, sends SIGHUP and waits for `line` in the log.
    #[track_caller]
    pub(crate) fn reload(&self, config: &str, line: &str) {
        // Replaced in one step: a read in between must not see half of it.
        let next = self.config.with_extension("next");
        fs::write(&next, config).expect("the folder can be written");
        fs::rename(&next, &self.config).expect("the file can be replaced");
        let mark = self.program.mark();
        self.program.signal(Signal::Hup);
        self.program.wait_log(mark, line);
    }

    /// Waits until a scrape made after this call shows all these values at once.
    ///
    /// `user.X` stands for `vmauth_user_X` of the user `u`, `reason.X` for `vmauth_http_request_errors_total` with that
    /// reason; anything else is the full text of a series.
    #[track_caller]
    pub(crate) fn expect_metrics(&self, want: &[(&str, f64)]) {
        let mut metrics = Metrics::fresh(self.address);
        eventually("the metrics", || {
            let wrong: Vec<_> = want
                .iter()
                .map(|&(name, want)| (series(name), want))
                .filter(|(series, want)| value(&metrics, series) != Some(*want))
                .map(|(series, want)| format!("{series} is {:?}, want {want}", value(&metrics, &series)))
                .collect();
            if wrong.is_empty() {
                return Ok(());
            }
            let all = metrics.containing("vmauth_");
            metrics = Metrics::scrape(self.address);
            Err((wrong, all))
        });
    }

    /// Waits for the access-log line of this request target and checks that there is exactly one, with this status.
    ///
    /// A further request is sent as a sentinel, so its config must route `/sentinel`, and lines must keep their order:
    /// one worker.
    #[track_caller]
    pub(crate) fn expect_access(&self, target: &str, status: u16) {
        let mark = format!("request_uri=\"{target}\"");
        self.program.wait_log(0, &mark);
        let before = self.program.mark();
        let _ = self.client().get("/sentinel", &[AUTH]);
        self.program.wait_log(before, "request_uri=\"/sentinel\"");
        let lines: Vec<_> =
            self.program.matching(0, "access_log").into_iter().filter(|line| line.contains(&mark)).collect();
        assert_eq!(lines.len(), 1, "access-log lines of {target}: {lines:#?}");
        let field = format!("status_code={status} ");
        assert!(lines[0].contains(&field), "want {field:?} in {:?}", lines[0]);
    }

    /// Sends credentials that must be refused, and waits until the log says so: the answer itself is late on purpose.
    #[track_caller]
    pub(crate) fn expect_refused_login(&self, line: &str) {
        let mark = self.program.mark();
        let mut client = self.client();
        client.request("GET", "/", &[line], None);
        self.program.wait_log(mark, "login failed: ");
    }

    /// Waits until this user has so many requests in the pipeline or behind it.
    #[track_caller]
    pub(crate) fn wait_user_requests(&self, n: f64) {
        let series = series("user.requests_total");
        eventually("requests_total", || {
            let got = Metrics::scrape(self.address).value(&series);
            if got >= Some(n) { Ok(()) } else { Err((got, n)) }
        });
    }
}

fn series(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("user.") {
        return format!("vmauth_user_{rest}{{username=\"u\"}}");
    }
    match name.strip_prefix("reason.") {
        Some(reason) => format!("vmauth_http_request_errors_total{{reason=\"{reason}\"}}"),
        None => name.to_owned(),
    }
}

/// Some families appear with their first use only; until then they count as 0.
fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let lazy = series.starts_with("vmauth_backend_") || series.starts_with("vmauth_concurrent_requests_current");
    metrics.value(series).or_else(|| lazy.then_some(0.0))
}

pub(crate) fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("VMAUTH_BIN") {
        return PathBuf::from(path);
    }
    option_env!("CARGO_BIN_EXE_vmauth").map(PathBuf::from).expect("set VMAUTH_BIN: this package has no binary vmauth")
}
