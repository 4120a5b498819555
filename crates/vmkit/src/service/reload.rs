//! When configs are read again: on SIGHUP, on `/-/reload`, and when an interval has passed.
//!
//! Requests that come while one reload runs are answered together by the next one, so that nobody gets the result of a
//! reload that began before his request. Between two reloads there is a pause, at least as long as the last one took:
//! a loop of requests cannot fill the log or the control plane.
//!
//! Who asks has written what is to be read. The interval may come while somebody writes; see [`Looks`].

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Service;
use super::options::ServiceOptions;
use crate::http_server::{AppRoute, Reply};

/// Shortest pause between two reloads.
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// Longest time that `/-/reload` waits for its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Pause between two looks at what may be half written.
const SETTLING: Duration = Duration::from_millis(100);
/// Most looks at it; what has not settled then is taken as it is.
const MAX_LOOKS: u32 = 10;

/// Reads the configs of a program again.
pub trait Reloader: Send + 'static {
    /// Loads what has changed and lets it serve; the error says what is wrong and has been logged already.
    fn reload(&mut self, trigger: Trigger) -> impl Future<Output = Result<(), String>> + Send;
}

/// Who wants a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Somebody, by SIGHUP or `/-/reload`.
    Demand,
    /// The time that has passed.
    Interval,
}

impl Trigger {
    /// For a read that may have to be repeated.
    pub fn looks<T>(self) -> Looks<T> {
        Looks { left: if self == Self::Interval { MAX_LOOKS } else { 1 }, before: None }
    }
}

/// Looks at what somebody may be writing. A file that is written in place is empty or cut short for a moment, and its
/// beginning may be a config that reads well: news that an interval finds counts when two looks in a row have seen the same.
#[derive(Debug)]
pub struct Looks<T> {
    left: u32,
    before: Option<T>,
}

impl<T: PartialEq> Looks<T> {
    /// What was found, if it counts; otherwise one has to look again, a moment later. What `is_known` is no news.
    pub async fn settled(&mut self, found: T, is_known: bool) -> Option<T> {
        self.left -= 1;
        if is_known || self.left == 0 || self.before.as_ref() == Some(&found) {
            return Some(found);
        }
        self.before = Some(found);
        tokio::time::sleep(SETTLING).await;
        None
    }
}

pub(super) type ReloadTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Asks for reloads.
#[derive(Clone, Debug)]
pub struct ReloadHandle {
    wanted: Arc<watch::Sender<u64>>,
    done: Arc<watch::Sender<Done>>,
}

/// The last finished reload.
#[derive(Clone, Debug)]
struct Done {
    /// Requests up to this one are answered.
    number: u64,
    result: Result<(), Arc<str>>,
}

impl ReloadHandle {
    pub(super) fn new() -> Self {
        let done = Done { number: 0, result: Ok(()) };
        Self { wanted: Arc::new(watch::Sender::new(0)), done: Arc::new(watch::Sender::new(done)) }
    }

    /// Asks and does not wait.
    pub fn request(&self) {
        self.ask();
    }

    /// Asks and waits for the result; the error holds the problems.
    pub async fn request_and_wait(&self) -> Result<(), Arc<str>> {
        let mut done = self.done.subscribe();
        let number = self.ask();
        match done.wait_for(|done| done.number >= number).await {
            Ok(done) => done.result.clone(),
            Err(_) => Err("the process is stopping".into()),
        }
    }

    fn ask(&self) -> u64 {
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            *wanted += 1;
            number = *wanted;
        });
        number
    }

    /// Reloads for ever.
    async fn run(self, every: Option<Duration>, on_demand: String, mut reloader: impl Reloader) {
        let mut wanted = self.wanted.subscribe();
        // Requests may have come before this task ran.
        let mut answered = 0;
        loop {
            let tick = async {
                match every {
                    Some(every) => tokio::time::sleep(every).await,
                    None => std::future::pending().await,
                }
            };
            let trigger = tokio::select! {
                more = wanted.wait_for(|wanted| *wanted > answered) => {
                    if more.is_err() {
                        return;
                    }
                    crate::info!("SIGHUP received; {on_demand}");
                    Trigger::Demand
                }
                () = tick => Trigger::Interval,
            };
            answered = *wanted.borrow_and_update();
            let began = Instant::now();
            let result = reloader.reload(trigger).await.map_err(Arc::from);
            self.done.send_replace(Done { number: answered, result });
            tokio::time::sleep(began.elapsed().max(MIN_PAUSE)).await;
        }
    }
}

impl Service {
    /// Says how the program's configs are read again: every `every`, on SIGHUP and on `/-/reload`, which answers 500
    /// with the problems when that failed. `on_demand` is the log line of a reload that somebody asked for, such as
    /// `loading -auth.config="auth.yml"`.
    pub fn reload_with(&mut self, every: Option<Duration>, on_demand: String, reloader: impl Reloader) {
        self.reloads = Some(Box::pin(self.reload.clone().run(every, on_demand, reloader)));
        let metric = format!("{}_http_requests_total{{path=\"/-/reload\"}}", self.app.name);
        let route = reload_route(self.reload.clone(), &self.options).counted(self.registry.common().counter(&metric));
        self.route(route);
    }
}

fn reload_route(reload: ReloadHandle, options: &ServiceOptions) -> AppRoute {
    let route = AppRoute::new("/-/reload", move |_| {
        let reload = reload.clone();
        Box::pin(async move {
            match tokio::time::timeout(ANSWER_LIMIT, reload.request_and_wait()).await {
                Ok(Ok(())) => Reply::text(200, ""),
                Ok(Err(problems)) => Reply::error(500, &problems),
                Err(_) => Reply::error(504, "the reload has not ended yet; the log will tell its result"),
            }
        })
    });
    route.with_key(options.access.reload_key.clone(), "-reloadAuthKey")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Counts reloads; the result of each is its number when odd.
    struct Counting(Arc<Mutex<Vec<Instant>>>);

    impl Reloader for Counting {
        async fn reload(&mut self, _trigger: Trigger) -> Result<(), String> {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut times = self.0.lock().unwrap();
            times.push(Instant::now());
            if times.len().is_multiple_of(2) { Ok(()) } else { Err(format!("problem {}", times.len())) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_during_a_reload_are_answered_by_the_next_one() {
        let (handle, times) = (ReloadHandle::new(), Arc::<Mutex<Vec<Instant>>>::default());
        tokio::spawn(handle.clone().run(None, "x".to_owned(), Counting(times.clone())));
        let first = tokio::spawn({
            let handle = handle.clone();
            async move { handle.request_and_wait().await }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let later = futures_of(20, &handle);
        assert_eq!(first.await.unwrap(), Err("problem 1".into()));
        for one in later {
            assert_eq!(one.await.unwrap(), Ok(()));
        }
        let times = times.lock().unwrap();
        assert_eq!(times.len(), 2);
        assert!(times[1] - times[0] >= Duration::from_millis(600), "a pause as long as the reload");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_interval_finds_half_written_is_not_taken() {
        /// Reads a text and keeps each that is new.
        struct Reading(watch::Receiver<&'static str>, Arc<Mutex<Vec<&'static str>>>);

        impl Reloader for Reading {
            async fn reload(&mut self, trigger: Trigger) -> Result<(), String> {
                let mut looks = trigger.looks();
                let text = loop {
                    let found = *self.0.borrow();
                    let is_known = self.1.lock().unwrap().last() == Some(&found);
                    if let Some(found) = looks.settled(found, is_known).await {
                        break found;
                    }
                };
                let mut taken = self.1.lock().unwrap();
                if taken.last() != Some(&text) {
                    taken.push(text);
                }
                Ok(())
            }
        }

        let (file, reader) = watch::channel("old");
        let (handle, taken) = (ReloadHandle::new(), Arc::new(Mutex::new(vec!["old"])));
        let every = Duration::from_secs(1);
        tokio::spawn(handle.clone().run(Some(every), "x".to_owned(), Reading(reader, taken.clone())));
        tokio::time::sleep(Duration::from_millis(990)).await;
        for (text, stays) in [("", 40), ("h", 40), ("half", 80), ("whole", 500)] {
            file.send_replace(text);
            tokio::time::sleep(Duration::from_millis(stays)).await;
        }
        assert_eq!(*taken.lock().unwrap(), ["old", "whole"]);
        // Who asks gets what is there.
        file.send_replace("");
        assert_eq!(handle.request_and_wait().await, Ok(()));
        assert_eq!(*taken.lock().unwrap(), ["old", "whole", ""]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_settles_is_taken_in_the_end() {
        let mut looks = Trigger::Interval.looks();
        let mut found = 0;
        let taken = loop {
            found += 1;
            if let Some(taken) = looks.settled(found, false).await {
                break taken;
            }
        };
        assert_eq!(taken, MAX_LOOKS);
    }

    fn futures_of(count: usize, handle: &ReloadHandle) -> Vec<tokio::task::JoinHandle<Result<(), Arc<str>>>> {
        let ask = |_| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.request_and_wait().await })
        };
        (0..count).map(ask).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_before_the_task_runs_is_not_lost() {
        let (handle, times) = (ReloadHandle::new(), Arc::<Mutex<Vec<Instant>>>::default());
        handle.request();
        tokio::spawn(handle.run(None, "x".to_owned(), Counting(times.clone())));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(times.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_reloads_without_requests() {
        let (handle, times) = (ReloadHandle::new(), Arc::<Mutex<Vec<Instant>>>::default());
        let every = Some(Duration::from_secs(10));
        tokio::spawn(handle.run(every, "x".to_owned(), Counting(times.clone())));
        tokio::time::sleep(Duration::from_secs(35)).await;
        assert_eq!(times.lock().unwrap().len(), 3);
    }
}
