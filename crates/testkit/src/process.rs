//! A spawned binary: its log, its exit, and what the kernel says about it.
//!
//! Standard error and output are read line by line into memory as they come, so a test can wait for a line. The process
//! is killed when the value is dropped; a failed wait prints the whole log, for that is what one needs to see.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};

use crate::deadline::PATIENCE;

/// Signals that tests send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP
    Hup,
    /// SIGTERM
    Term,
    /// SIGINT
    Int,
    /// SIGQUIT
    Quit,
    /// SIGUSR1
    Usr1,
    /// SIGUSR2
    Usr2,
    /// SIGALRM
    Alarm,
}

/// How to start a binary.
#[derive(Clone, Debug)]
pub struct Launch {
    binary: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    dir: Option<PathBuf>,
    /// What `ulimit` of the shell is told.
    ulimit: Option<String>,
}

impl Launch {
    /// A binary without arguments.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), args: Vec::new(), env: Vec::new(), dir: None, ulimit: None }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Working directory.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Limit of open files (RLIMIT_NOFILE, soft and hard).
    #[must_use]
    pub fn open_files(mut self, limit: u64) -> Self {
        self.ulimit = Some(format!("-n {limit}"));
        self
    }

    /// Soft limit of open files; the hard one stays.
    #[must_use]
    pub fn soft_open_files(mut self, limit: u64) -> Self {
        self.ulimit = Some(format!("-S -n {limit}"));
        self
    }

    /// Starts it.
    #[track_caller]
    pub fn start(self) -> Program {
        let mut command = match &self.ulimit {
            None => Command::new(&self.binary),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit {limit}; exec \"$0\" \"$@\"")).arg(&self.binary);
                shell
            }
        };
        command.args(&self.args).envs(self.env).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start {}: {e}", self.binary.display()));
        let log = Arc::new(Log::default());
        let readers = [
            child.stdout.take().map(|pipe| Log::follow(&log, pipe)),
            child.stderr.take().map(|pipe| Log::follow(&log, pipe)),
        ];
        Program { child, log, readers: readers.into_iter().flatten().collect() }
    }
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Log {
    fn follow(log: &Arc<Self>, pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = Arc::clone(log);
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                log.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                log.grown.notify_all();
            }
        })
    }
}

/// A running binary.
pub struct Program {
    child: Child,
    log: Arc<Log>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    /// Number of log lines so far; waits and counts can start from here.
    pub fn mark(&self) -> usize {
        self.log.lines.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Log lines from `mark` on.
    pub fn lines_since(&self, mark: usize) -> Vec<String> {
        let lines = self.log.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get(mark..).unwrap_or_default().to_vec()
    }

    /// Lines from `mark` on that contain `text`.
    pub fn matching(&self, mark: usize, text: &str) -> Vec<String> {
        self.lines_since(mark).into_iter().filter(|line| line.contains(text)).collect()
    }

    /// Waits for a line with `text` at or after `mark`; returns its number and the line.
    #[track_caller]
    pub fn wait_log(&self, mark: usize, text: &str) -> (usize, String) {
        let lines = self.log.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let find = |lines: &Vec<String>| (mark..lines.len()).find(|&i| lines[i].contains(text));
        let wait = self.log.grown.wait_timeout_while(lines, PATIENCE, |lines| find(lines).is_none());
        let (lines, _) = wait.unwrap_or_else(PoisonError::into_inner);
        let Some(at) = find(&lines) else {
            let log = lines.join("\n");
            drop(lines);
            panic!("no log line with {text:?} after line {mark} within {PATIENCE:?}; the log:\n{log}");
        };
        (at, lines[at].clone())
    }

    /// Waits until all listeners are there, and returns the address of the first `started server at http(s)://ADDRESS/`
    /// line. The line `started NAME in N seconds` is the last of the start.
    #[track_caller]
    pub fn wait_listening(&self) -> SocketAddr {
        let (at, line) = self.wait_log(0, "started server at http");
        self.wait_log(at, " seconds");
        let address = line.rsplit("://").next().unwrap_or_default().trim_end_matches(['/', '"', '}']);
        address.parse().unwrap_or_else(|e| panic!("no address in {line:?}: {e}"))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let signal = match signal {
            Signal::Hup => rustix::process::Signal::HUP,
            Signal::Term => rustix::process::Signal::TERM,
            Signal::Int => rustix::process::Signal::INT,
            Signal::Quit => rustix::process::Signal::QUIT,
            Signal::Usr1 => rustix::process::Signal::USR1,
            Signal::Usr2 => rustix::process::Signal::USR2,
            Signal::Alarm => rustix::process::Signal::ALARM,
        };
        kill_process(self.pid(), signal).expect("the process is there");
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id")
    }

    /// Waits for the exit; the code, or 128 + signal as a shell says, or `None` while it runs on after `limit`.
    pub fn wait_exit(&mut self, limit: Duration) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Ok(Some(status)) = self.child.try_wait() {
                for reader in self.readers.drain(..) {
                    let _ = reader.join();
                }
                return status.code().or_else(|| status.signal().map(|s| 128 + s));
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Resident memory in bytes.
    pub fn rss_bytes(&self) -> u64 {
        self.status_field("VmRSS:") * 1024
    }

    /// Number of threads.
    pub fn threads(&self) -> u64 {
        self.status_field("Threads:")
    }

    /// Number of open file descriptors.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// Processor time used so far by all threads, user and system.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        // USER_HZ is 100 on every Linux that runs these tests.
        Duration::from_millis(ticks * 10)
    }

    fn status_field(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find(|l| l.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|v| v.parse().ok()).unwrap_or(0)
    }

    /// The whole log with line numbers: for failure messages.
    pub fn log_text(&self) -> String {
        self.lines_since(0).iter().enumerate().fold(String::new(), |mut text, (i, line)| {
            let _ = writeln!(text, "{i:4} {line}");
            text
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            #[allow(clippy::print_stderr, reason = "the log belongs to the failure message of the test")]
            {
                eprintln!("log of the process:\n{}", self.log_text());
            }
        }
    }
}
