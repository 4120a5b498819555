//! Signals of the operating system as a stream.
//!
//! SIGHUP asks for a reload, SIGTERM and SIGINT for an orderly stop. Bursts of the same signal may coalesce. Whoever
//! sends a second stop signal wants the process gone, whatever the application is busy with.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM or SIGINT: end orderly.
    Stop(StopSignal),
}

/// Which signal asked for the stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

impl StopSignal {
    /// Word for the log line `received signal …`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Terminate => "terminated",
            Self::Interrupt => "interrupt",
        }
    }

    /// Exit code by which shells report a death by this signal.
    fn exit_code(self) -> i32 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
        }
    }
}

/// The signals, caught from the moment this value exists.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    stop: StopSignals,
}

#[derive(Debug)]
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.terminate.recv() => StopSignal::Terminate,
            _ = self.interrupt.recv() => StopSignal::Interrupt,
        }
    }
}

impl Signals {
    /// Starts to catch the signals; must run inside a tokio runtime.
    ///
    /// # Errors
    /// The system refuses to install a handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { hangup: signal(SignalKind::hangup())?, stop: StopSignals::listen()? })
    }

    /// The next signal. After the first [`Event::Stop`], a task of the same runtime watches for the second one, which
    /// ends the process at once; it works as long as that runtime is driven.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.hangup.recv() => Event::Reload,
            stop = self.stop.next() => {
                kill_on_next_stop();
                Event::Stop(stop)
            }
        }
    }
}

fn kill_on_next_stop() {
    let Ok(mut again) = StopSignals::listen() else { return };
    tokio::spawn(async move {
        let code = again.next().await.exit_code();
        std::process::exit(code)
    });
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn signals_arrive_as_events() {
        let mut signals = Signals::listen().unwrap();
        kill_process(getpid(), Signal::HUP).unwrap();
        assert_eq!(signals.next().await, Event::Reload);
        kill_process(getpid(), Signal::TERM).unwrap();
        let stop = signals.next().await;
        assert_eq!(stop, Event::Stop(StopSignal::Terminate));
    }

    #[test]
    fn names_are_those_of_the_log() {
        assert_eq!([StopSignal::Terminate, StopSignal::Interrupt].map(StopSignal::name), ["terminated", "interrupt"]);
    }
}
