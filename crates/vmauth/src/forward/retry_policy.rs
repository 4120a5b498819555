//! What follows a try at a backend: the reply goes out, another try is made, or the request ends with an error.
//!
//! Pure: a function of how the try ended and of the situation of the request. Whoever sends does the marking, counting
//! and logging that the step names. The client comes first: once it is gone nothing else matters.
//!
//! It must never allow a second try of a body whose bytes are gone, nor more than one silent repeat per attempt.

/// How a try at a backend ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A reply head came; `retried` when its status belongs to `retry_status_codes`.
    Reply {
        /// Whether the status is in the list of the route.
        retried: bool,
    },
    /// No reply head: dialling, TLS, sending or reading failed.
    Failed(Failure),
}

/// Kinds of transport errors that are treated differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer cut the connection: `broken pipe` or `reset by peer`.
    Cut,
    /// Anything else: refused, timeout, EOF, malformed reply, TLS, DNS, illegal header.
    Other,
}

impl Failure {
    /// The kind by the text of the cause, for errors that have lost their type.
    pub fn of_text(cause: &str) -> Self {
        if cause.contains("broken pipe") || cause.contains("reset by peer") { Self::Cut } else { Self::Other }
    }
}

/// What the decision depends on besides the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// The client has closed its connection.
    pub client_gone: bool,
    /// The whole body is in memory (or empty) and may be sent again.
    pub body_replayable: bool,
    /// The connection came from the pool, and it died before the first byte of a reply and before anything of the body
    /// was consumed from the client. Without meaning when a reply came.
    pub stale_connection: bool,
    /// This attempt has been repeated on its backend already.
    pub repeated: bool,
    /// Attempts that remain after this one.
    pub attempts_left: u32,
}

/// Why an attempt counts as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A transport error.
    Transport,
    /// A status of `retry_status_codes`.
    Status,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client is gone: send nothing, blame nobody, count `client_canceled`.
    ClientCanceled,
    /// Stream the reply to the client.
    Deliver,
    /// Try the same backend once more, on a connection that is not from the pool; no log line, no error counted.
    Repeat,
    /// The attempt failed: discard the reply if there is one, warn, and select a backend anew.
    NextAttempt(Cause),
    /// The last attempt failed: the same as above, then 502 `all the N backends …`.
    AllFailed(Cause),
    /// 503: the attempt failed and the body cannot be sent again. `Transport` is `cannot proxy the request to …`,
    /// `Status` is `got response status code=…, but cannot retry …`.
    CannotReplay(Cause),
}

impl Step {
    /// Whether the backend is to be marked as broken. It answered in the case of an unrepeatable retried status, and
    /// the next request may well accept that answer.
    pub fn marks_broken(self) -> bool {
        match self {
            Self::NextAttempt(_) | Self::AllFailed(_) | Self::CannotReplay(Cause::Transport) => true,
            Self::CannotReplay(Cause::Status) | Self::ClientCanceled | Self::Deliver | Self::Repeat => false,
        }
    }

    /// Whether `user.request_backend_errors_total` grows.
    pub fn counts_backend_error(self) -> bool {
        match self {
            Self::NextAttempt(_) | Self::AllFailed(_) | Self::CannotReplay(_) => true,
            Self::ClientCanceled | Self::Deliver | Self::Repeat => false,
        }
    }

    /// Whether `user.request_errors_total` grows.
    pub fn counts_request_error(self) -> bool {
        match self {
            Self::AllFailed(_) | Self::CannotReplay(_) => true,
            Self::NextAttempt(_) | Self::ClientCanceled | Self::Deliver | Self::Repeat => false,
        }
    }

    /// Whether `request to … failed, retrying the request at another backend` is logged: after
    /// the last attempt as well, because the line names the cause that the 502 points to.
    pub fn warns_of_retry(self) -> bool {
        match self {
            Self::NextAttempt(_) | Self::AllFailed(_) => true,
            Self::CannotReplay(_) | Self::ClientCanceled | Self::Deliver | Self::Repeat => false,
        }
    }
}

/// The step after a try.
pub fn next_step(outcome: Outcome, situation: Situation) -> Step {
    if situation.client_gone {
        return Step::ClientCanceled;
    }
    match outcome {
        Outcome::Reply { retried: false } => Step::Deliver,
        Outcome::Reply { retried: true } => failed(Cause::Status, situation),
        Outcome::Failed(failure) => {
            let by_kind = match failure {
                Failure::Cut => situation.body_replayable,
                Failure::Other => false,
            };
            if !situation.repeated && (situation.stale_connection || by_kind) {
                return Step::Repeat;
            }
            failed(Cause::Transport, situation)
        }
    }
}

fn failed(cause: Cause, situation: Situation) -> Step {
    match (situation.body_replayable, situation.attempts_left) {
        (false, _) => Step::CannotReplay(cause),
        (true, 0) => Step::AllFailed(cause),
        (true, 1..) => Step::NextAttempt(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Outcome = Outcome::Failed(Failure::Cut);
    const OTHER: Outcome = Outcome::Failed(Failure::Other);
    const RETRIED: Outcome = Outcome::Reply { retried: true };
    const GOOD: Outcome = Outcome::Reply { retried: false };
    const PLAIN: Situation = Situation {
        client_gone: false,
        body_replayable: true,
        stale_connection: false,
        repeated: false,
        attempts_left: 1,
    };

    #[test]
    fn table() {
        let f = |outcome, situation, want| assert_eq!(next_step(outcome, situation), want, "{outcome:?} {situation:?}");
        let last = Situation { attempts_left: 0, ..PLAIN };
        let repeated = Situation { repeated: true, ..PLAIN };
        let streamed = Situation { body_replayable: false, ..PLAIN };
        let stale = Situation { stale_connection: true, ..PLAIN };
        let stale_streamed = Situation { stale_connection: true, ..streamed };

        f(GOOD, PLAIN, Step::Deliver);
        f(GOOD, streamed, Step::Deliver);
        f(GOOD, Situation { repeated: true, ..last }, Step::Deliver);

        f(RETRIED, PLAIN, Step::NextAttempt(Cause::Status));
        f(RETRIED, repeated, Step::NextAttempt(Cause::Status));
        f(RETRIED, last, Step::AllFailed(Cause::Status));
        f(RETRIED, streamed, Step::CannotReplay(Cause::Status));
        f(RETRIED, stale, Step::NextAttempt(Cause::Status));

        f(OTHER, PLAIN, Step::NextAttempt(Cause::Transport));
        f(OTHER, last, Step::AllFailed(Cause::Transport));
        f(OTHER, streamed, Step::CannotReplay(Cause::Transport));
        f(OTHER, stale, Step::Repeat);
        f(OTHER, stale_streamed, Step::Repeat);
        f(OTHER, Situation { attempts_left: 0, ..stale }, Step::Repeat);
        f(OTHER, Situation { repeated: true, ..stale }, Step::NextAttempt(Cause::Transport));
        f(OTHER, Situation { repeated: true, ..stale_streamed }, Step::CannotReplay(Cause::Transport));

        f(CUT, PLAIN, Step::Repeat);
        f(CUT, last, Step::Repeat);
        f(CUT, repeated, Step::NextAttempt(Cause::Transport));
        f(CUT, Situation { repeated: true, ..last }, Step::AllFailed(Cause::Transport));
        f(CUT, streamed, Step::CannotReplay(Cause::Transport));
        f(CUT, stale_streamed, Step::Repeat);
    }

    #[test]
    fn nothing_matters_once_the_client_is_gone() {
        for outcome in [GOOD, RETRIED, CUT, OTHER] {
            for bits in 0..16_u32 {
                let bit = |at: u32| bits & (1 << at) != 0;
                let situation = Situation {
                    client_gone: true,
                    body_replayable: bit(0),
                    stale_connection: bit(1),
                    repeated: bit(2),
                    attempts_left: u32::from(bit(3)),
                };
                assert_eq!(next_step(outcome, situation), Step::ClientCanceled);
            }
        }
    }

    #[test]
    fn duties_of_steps() {
        let f = |step: Step, want: [bool; 4]| {
            let got =
                [step.marks_broken(), step.counts_backend_error(), step.counts_request_error(), step.warns_of_retry()];
            assert_eq!(got, want, "{step:?}");
        };
        f(Step::ClientCanceled, [false; 4]);
        f(Step::Deliver, [false; 4]);
        f(Step::Repeat, [false; 4]);
        f(Step::NextAttempt(Cause::Transport), [true, true, false, true]);
        f(Step::NextAttempt(Cause::Status), [true, true, false, true]);
        f(Step::AllFailed(Cause::Transport), [true; 4]);
        f(Step::AllFailed(Cause::Status), [true; 4]);
        f(Step::CannotReplay(Cause::Transport), [true, true, true, false]);
        f(Step::CannotReplay(Cause::Status), [false, true, true, false]);
    }

    #[test]
    fn kinds_by_text() {
        let f = |cause, want| assert_eq!(Failure::of_text(cause), want, "{cause}");
        f("write tcp4 127.0.0.1:1->127.0.0.1:2: write: broken pipe", Failure::Cut);
        f("read tcp4 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer", Failure::Cut);
        f("EOF", Failure::Other);
        f("dial tcp4 127.0.0.1:1: connect: connection refused", Failure::Other);
    }
}
