//! The real vmauth and the real vmagent as processes of their own, out of this one binary.
//!
//! The binary looks at the name by which it is called: as `vmauth` it is vmauth from its first line to its last, with
//! its own signals, log and end. So there is one build, and what is tried out is what would be deployed; it can be
//! stopped, killed and started again like that. A child ends when its parent does, however that ends.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::embedded::Reserved;

/// How often a process that was told to end is looked at.
const POLL: Duration = Duration::from_millis(10);
/// What a log may grow to before it begins anew at the next start.
const MAX_LOG: u64 = 16 << 20;

/// Becomes the program that the process was called as; returns when that is devstack.
pub fn dispatch() {
    let name = std::env::args_os().next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(OsStr::to_str) {
        Some("vmauth") => {
            end_with_parent();
            let flags: [&[vmkit::flags::FlagDef]; 1] = [vmauth::flags::TABLE];
            vmkit::service::main(
                vmauth::flags::app_info(),
                &flags,
                vmauth::options::Options::from_flags,
                vmauth::app::run,
            )
        }
        Some("vmagent") => {
            end_with_parent();
            let (app, options) = (vmagent::flags::app_info(), vmagent::options::Options::from_flags);
            vmkit::service::main(app, vmagent::flags::OWN, options, vmagent::app::run)
        }
        _ => {}
    }
}

fn end_with_parent() {
    // Without it the process only outlives a parent that was killed.
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
}

/// One of the programs: how it is started, and its process while it runs.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    binary: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
    /// Its address, which nobody else may take while it is away.
    _reserved: Reserved,
}

impl Program {
    /// `binary` is devstack itself, or another program that takes the same flags; the log is `NAME.log` in `dir`; `reserved` is where the program will listen.
    pub fn new(name: &'static str, binary: PathBuf, args: Vec<String>, dir: &Path, reserved: Reserved) -> Self {
        Self { name, binary, args, log: dir.join(format!("{name}.log")), child: None, _reserved: reserved }
    }

    /// Where its log is.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its flags.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// Starts it, unless it runs.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start(&mut self) -> Result<(), String> {
        if self.is_running() {
            return Ok(());
        }
        let fault = |error: std::io::Error| format!("cannot start {}: {error}", self.name);
        let log = self.open_log().map_err(fault)?;
        let mut command = Command::new(&self.binary);
        // A group of its own: Ctrl-C is for devstack, which ends its children in order.
        command.arg0(self.name).args(&self.args).process_group(0);
        let out = log.try_clone().map_err(fault)?;
        command.stdin(Stdio::null()).stdout(out).stderr(log);
        self.child = Some(command.spawn().map_err(fault)?);
        Ok(())
    }

    fn open_log(&self) -> std::io::Result<File> {
        let is_long = std::fs::metadata(&self.log).is_ok_and(|log| log.len() > MAX_LOG);
        let mut options = OpenOptions::new();
        options.create(true);
        if is_long {
            options.write(true).truncate(true)
        } else {
            options.append(true)
        };
        options.open(&self.log)
    }

    /// Whether its process is there.
    pub fn is_running(&mut self) -> bool {
        let runs = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if !runs {
            self.child = None;
        }
        runs
    }

    /// Sends SIGTERM and waits for the end; after `patience`, SIGKILL.
    pub async fn stop(&mut self, patience: Duration) {
        self.signal(Signal::TERM);
        let waits = async {
            while self.is_running() {
                tokio::time::sleep(POLL).await;
            }
        };
        if tokio::time::timeout(patience, waits).await.is_err() {
            self.kill();
        }
    }

    /// Sends SIGHUP, upon which it loads its config again.
    pub fn reload(&mut self) {
        self.signal(Signal::HUP);
    }

    /// Sends SIGKILL: nothing is saved.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn signal(&mut self, signal: Signal) {
        // A child that was not waited for keeps its number.
        let id = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok()).and_then(Pid::from_raw);
        if let Some(id) = id.filter(|_| self.is_running()) {
            let _ = kill_process(id, signal);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
