//! Signals of the operating system as a stream.
//!
//! SIGHUP asks for a reload, SIGTERM and SIGINT for an orderly stop, SIGQUIT for a report and the end. SIGUSR1, SIGUSR2
//! and SIGALRM do nothing, instead of ending the process. Bursts of the same signal may coalesce. Whoever sends a second
//! stop signal wants the process gone, whatever the application is busy with.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM or SIGINT: end orderly.
    Stop(StopSignal),
    /// SIGQUIT: say what every thread is doing, and end.
    Quit,
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
    quit: Signal,
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
        for ignored in [SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::alarm()] {
            // Once caught, a signal keeps its handler for the life of the process.
            drop(signal(ignored)?);
        }
        let (hangup, quit) = (signal(SignalKind::hangup())?, signal(SignalKind::quit())?);
        Ok(Self { hangup, quit, stop: StopSignals::listen()? })
    }

    /// The next signal. After the first [`Event::Stop`], a task of the same runtime watches for the second one, which
    /// ends the process at once; it works as long as that runtime is driven.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.hangup.recv() => Event::Reload,
            _ = self.quit.recv() => Event::Quit,
            stop = self.stop.next() => {
                kill_on_next_stop();
                Event::Stop(stop)
            }
        }
    }
}

fn kill_on_next_stop() {
    if let Ok(end) = end_on_stop() {
        drop(tokio::spawn(end));
    }
}

/// Ends the process on a stop signal, for the time in which nobody asks for [`Signals::next`]: while configs are loaded
/// and while the process stops already.
///
/// # Errors
/// The system refuses to install a handler.
pub fn end_on_stop() -> io::Result<impl Future<Output = ()>> {
    // Signals count from now on, not from when the task first runs.
    let mut stop = StopSignals::listen()?;
    Ok(async move {
        let code = stop.next().await.exit_code();
        super::exit::with_code(code)
    })
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
        for ignored in [Signal::USR1, Signal::USR2, Signal::ALARM] {
            kill_process(getpid(), ignored).unwrap();
        }
        kill_process(getpid(), Signal::QUIT).unwrap();
        assert_eq!(signals.next().await, Event::Quit);
    }

    #[test]
    fn names_are_those_of_the_log() {
        assert_eq!([StopSignal::Terminate, StopSignal::Interrupt].map(StopSignal::name), ["terminated", "interrupt"]);
    }
}
