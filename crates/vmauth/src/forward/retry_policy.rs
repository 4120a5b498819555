//! What follows a try at a backend that has failed: another try, or the end of the request with an error.
//!
//! Pure: a function of how the try ended and of the situation of the request. Whoever sends does the marking, counting
//! and logging that the step names. A client that has left and a reply that is delivered never get here.
//!
//! It must never allow a second try of a body whose bytes are gone, nor more than one silent repeat per attempt, save for
//! requests that a backend has not taken because it ends their connection or wants HTTP/1.1.

use crate::upstream::pool::Wanted;

/// How often a request goes to a further connection because its backend ends the one before and has not taken it: where
/// many wait, the few that a connection takes may be others.
const MOST_MOVES: u32 = 10;
/// After so many of these it gets a connection of its own, on which it is the first one: on shared ones it might be too late
/// again and again.
const SHARED_MOVES: u32 = 5;

/// How a try at a backend failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A reply came, and its status belongs to `retry_status_codes`.
    RetriedStatus,
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

/// What the decision depends on besides the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// The whole body is in memory (or empty) and may be sent again.
    pub body_replayable: bool,
    /// The connection came from the pool, and it died before the first byte of a reply and before anything of the body
    /// was consumed from the client. Without meaning when a reply came.
    pub stale_connection: bool,
    /// The backend may have read the request, and doing it twice may do harm. A reply with a status that would be retried
    /// is passed on by the caller in that case.
    pub only_once: bool,
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
    /// Try the same backend once more, on a connection that is not from the pool; no log line, no error counted.
    Repeat,
    /// The attempt failed: discard the reply if there is one, warn, and select a backend anew.
    NextAttempt(Cause),
    /// The last attempt failed: the same as above, then 502 `all the N backends …`.
    AllFailed(Cause),
    /// 503: the attempt failed, and the route's budget of retries is used up.
    OverBudget,
    /// 503: the attempt failed and the body cannot be sent again. `Transport` is `cannot proxy the request to …`,
    /// `Status` is `got response status code=…, but cannot retry …`.
    CannotReplay(Cause),
}

impl Step {
    /// Whether the backend is to be marked as broken. It answered in the case of an unrepeatable retried status, and
    /// the next request may well accept that answer.
    pub fn marks_broken(self) -> bool {
        match self {
            Self::NextAttempt(_) | Self::AllFailed(_) | Self::OverBudget | Self::CannotReplay(Cause::Transport) => true,
            Self::CannotReplay(Cause::Status) | Self::Repeat => false,
        }
    }

    /// Whether `user.request_backend_errors_total` grows.
    pub fn counts_backend_error(self) -> bool {
        match self {
            Self::NextAttempt(_) | Self::AllFailed(_) | Self::OverBudget | Self::CannotReplay(_) => true,
            Self::Repeat => false,
        }
    }

    /// Whether `request to … failed, retrying the request at another backend` is logged: after
    /// the last attempt as well, because the line names the cause that the 502 points to.
    pub fn warns_of_retry(self) -> bool {
        match self {
            Self::NextAttempt(_) | Self::AllFailed(_) => true,
            Self::OverBudget | Self::CannotReplay(_) | Self::Repeat => false,
        }
    }
}

/// Whether doing it twice is the same as doing it once, RFC 9110 §9.2.2. Unknown methods may do anything.
pub fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

/// How often an attempt may be repeated at its backend; `moves` when that has only ended the connection, and no other
/// backend is left.
pub fn most_repeats(moves: bool) -> u32 {
    if moves { MOST_MOVES } else { 1 }
}

/// Which connection an attempt may have that was repeated so often.
pub fn connection_for(repeats: u32) -> Wanted {
    match repeats {
        0 => Wanted::Any,
        1..=SHARED_MOVES => Wanted::Fresh,
        _ => Wanted::Own,
    }
}

/// The step after a try.
pub fn next_step(outcome: Outcome, situation: Situation) -> Step {
    match outcome {
        Outcome::Failed(_) if situation.only_once => Step::CannotReplay(Cause::Transport),
        Outcome::RetriedStatus => failed(Cause::Status, situation),
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
    const RETRIED: Outcome = Outcome::RetriedStatus;
    const PLAIN: Situation = Situation {
        body_replayable: true,
        stale_connection: false,
        only_once: false,
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

        for situation in [PLAIN, last, repeated, streamed, stale, stale_streamed] {
            let once = Situation { only_once: true, ..situation };
            f(CUT, once, Step::CannotReplay(Cause::Transport));
            f(OTHER, once, Step::CannotReplay(Cause::Transport));
        }
    }

    #[test]
    fn idempotent_methods() {
        assert!(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].into_iter().all(is_idempotent));
        assert!(!["POST", "PATCH", "CONNECT", "get", "LOCK", ""].into_iter().any(is_idempotent));
    }

    #[test]
    fn duties_of_steps() {
        let f = |step: Step, want: [bool; 3]| {
            let got = [step.marks_broken(), step.counts_backend_error(), step.warns_of_retry()];
            assert_eq!(got, want, "{step:?}");
        };
        f(Step::Repeat, [false; 3]);
        f(Step::NextAttempt(Cause::Transport), [true; 3]);
        f(Step::NextAttempt(Cause::Status), [true; 3]);
        f(Step::AllFailed(Cause::Transport), [true; 3]);
        f(Step::AllFailed(Cause::Status), [true; 3]);
        f(Step::OverBudget, [true, true, false]);
        f(Step::CannotReplay(Cause::Transport), [true, true, false]);
        f(Step::CannotReplay(Cause::Status), [false, true, false]);
    }
}
