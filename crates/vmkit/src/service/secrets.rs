//! Keeps passwords of files and URLs current: the workers that check them only read what is stored.
//!
//! One task a password on the control plane. A source that does not answer makes its own password old, and nothing
//! else wait. The first read of all happens before the process listens, within a limit.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::blocking::FileReader;
use crate::flags::{Password, Source, local_time};
use crate::http_client::{Client, FetchRequest};

/// Pause between two reads, as scripts that rotate keys expect it.
const FILE_PAUSE: Duration = Duration::from_secs(1);
const URL_PAUSE: Duration = Duration::from_secs(2);
/// Time for one read.
const LIMIT: Duration = Duration::from_secs(5);
/// The same failure is told again after this time.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Reads all passwords once, then keeps them current in the background.
pub(super) async fn keep_current(passwords: Vec<Password>, client: &Arc<Client>) {
    let mut first_reads = tokio::task::JoinSet::new();
    for password in passwords {
        let mut keeper = Keeper::new(password, client.clone());
        first_reads.spawn(async move {
            keeper.read().await;
            tokio::spawn(keeper.run());
        });
    }
    // Each read has a limit of its own.
    while first_reads.join_next().await.is_some() {}
}

/// One password and the way to it.
struct Keeper {
    password: Password,
    way: Way,
    /// The last failure, and when it was printed.
    told: Option<(String, Instant)>,
    /// Whether it was ever read.
    is_known: bool,
}

enum Way {
    File(FileReader),
    Url(String, Arc<Client>),
}

impl Keeper {
    fn new(password: Password, client: Arc<Client>) -> Self {
        let way = match password.source() {
            Source::File(path) => Way::File(FileReader::new(path)),
            Source::Url(url) => Way::Url(url.clone(), client),
            Source::Literal => unreachable!("BUG: a literal password is never read"),
        };
        Self { password, way, told: None, is_known: false }
    }

    async fn run(mut self) {
        let pause = match self.way {
            Way::File(_) => FILE_PAUSE,
            Way::Url(..) => URL_PAUSE,
        };
        loop {
            tokio::time::sleep(pause).await;
            self.read().await;
        }
    }

    async fn read(&mut self) {
        let content = match &mut self.way {
            Way::File(file) => file.read(LIMIT).await,
            Way::Url(url, client) => fetch(client, url).await,
        };
        match self.password.store(content) {
            Ok(()) => (self.told, self.is_known) = (None, true),
            Err(failure) => self.tell(failure),
        }
    }

    fn tell(&mut self, failure: String) {
        if self.told.as_ref().is_some_and(|(told, at)| *told == failure && at.elapsed() < TOLD_AGAIN) {
            return;
        }
        if !self.is_known {
            crate::warn!("-{} is not known yet, so nobody passes by it: {failure}", self.password.flag());
        }
        // Not a log line: it must appear whatever the logger is set to.
        crate::logger::stderr_line(&format!("{} {failure}\n", local_time()));
        self.told = Some((failure, Instant::now()));
    }
}

async fn fetch(client: &Client, url: &str) -> Result<Vec<u8>, String> {
    let mut request = FetchRequest::get(url);
    request.timeout = LIMIT;
    let reply = client.fetch(request).await.map_err(|error| error.to_string())?;
    match reply.status.as_u16() {
        200 => Ok(reply.body),
        status => Err(format!("unexpected status code: {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::tls::client_config::ClientTlsOptions;

    fn client() -> Arc<Client> {
        Arc::new(Client::new(ClientTlsOptions::default()))
    }

    #[tokio::test]
    async fn a_key_file_is_known_before_the_process_listens_and_followed_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "first\n").unwrap();
        let password = Password::new("metricsAuthKey", &format!("file://{}", path.display()));
        keep_current(vec![password.clone()], &client()).await;
        assert_eq!(password.secret(), Secret::from("first"));
        std::fs::write(&path, "second\n").unwrap();
        let followed = async {
            while password.secret() != Secret::from("second") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), followed).await.unwrap();
    }

    #[tokio::test]
    async fn a_key_server_that_does_not_answer_costs_a_bounded_time_once() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/key", silent.local_addr().unwrap());
        let password = Password::new("metricsAuthKey", &url);
        let started = Instant::now();
        keep_current(vec![password.clone()], &client()).await;
        assert!(started.elapsed() < LIMIT * 3);
        assert!(!password.secret().matches(b""), "unknown, not open");
    }

    #[test]
    fn the_same_failure_is_told_once_a_minute() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut keeper = Keeper::new(Password::new("x", "file:///missing/key"), client());
            keeper.read().await;
            let told = keeper.told.clone().unwrap();
            assert!(told.0.contains("open /missing/key: no such file or directory"), "{}", told.0);
            keeper.read().await;
            assert_eq!(keeper.told.unwrap().1, told.1);
        });
    }
}
