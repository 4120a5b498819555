//! The system's files, read again when they changed. Reads run where they may block.

use super::hosts_file::Hosts;
use super::resolv_conf::ResolvConf;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often the files are looked at; the original uses the same pause.
pub(super) const RECHECK: Duration = Duration::from_secs(5);

/// Servers and hosts of one reading.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) conf: ResolvConf,
    pub(super) hosts: Hosts,
}

/// Where the files are and when they were looked at.
#[derive(Debug, Clone)]
pub(super) struct SystemFiles {
    paths: Arc<[PathBuf; 2]>,
    /// Of the servers: 53, but for tests.
    port: u16,
    pub(super) seen: Arc<Mutex<Seen>>,
}

/// What tells two versions of a file apart without reading it.
type Stamp = Option<(SystemTime, u64)>;

#[derive(Debug)]
pub(super) struct Seen {
    pub(super) at: Instant,
    stamps: [Stamp; 2],
}

impl SystemFiles {
    pub(super) fn new(resolv_conf: impl Into<PathBuf>, hosts: impl Into<PathBuf>, port: u16) -> Self {
        let seen = Seen { at: Instant::now(), stamps: [None; 2] };
        Self { paths: Arc::new([resolv_conf.into(), hosts.into()]), port, seen: Arc::new(Mutex::new(seen)) }
    }

    /// Reads both files. Blocks.
    pub(super) fn read(&self) -> Settings {
        let stamps = self.stamps();
        *self.lock() = Seen { at: Instant::now(), stamps };
        let [conf, hosts] = self.paths.each_ref().map(|path| std::fs::read(path).ok());
        let node = rustix::system::uname();
        let hostname = node.nodename().to_string_lossy();
        Settings {
            conf: ResolvConf::parse(conf.as_deref(), &hostname, self.port),
            hosts: Hosts::parse(&hosts.unwrap_or_default()),
        }
    }

    /// New settings if a file changed since the last look; looks at most once per [`RECHECK`].
    pub(super) async fn changed(&self) -> Option<Settings> {
        {
            let mut seen = self.lock();
            if seen.at.elapsed() < RECHECK {
                return None;
            }
            // Others go on with what is known meanwhile.
            seen.at = Instant::now();
        }
        let files = self.clone();
        let look = move || {
            let stamps = files.stamps();
            let is_new = files.lock().stamps != stamps;
            is_new.then(|| files.read())
        };
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }

    fn stamps(&self) -> [Stamp; 2] {
        let of = |path: &Path| path.metadata().ok().and_then(|meta| Some((meta.modified().ok()?, meta.len())));
        self.paths.each_ref().map(|path| of(path))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
