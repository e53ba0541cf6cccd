//! May this be sent again? One table, and the attempt loop as a state machine
//! that asks its driver for everything that takes time, so that no provider of
//! a user's runs inside it and every language drives the same one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Attempt, Delivery, Error, ErrorKind, Limit, Result};

/// How often a call may be sent again, for the causes in which that is allowed at all.
///
/// An invocation is not idempotent: it is sent again only where it certainly did not run.
///
/// | cause | AWS host or `endpoint_url` | `invocation_url`, local agent | `stop_session` | pause |
/// |---|---|---|---|---|
/// | no connection, TLS failed, request given back unsent | yes | yes | yes | 0.1 to 2 s |
/// | 429, any code | yes | no: the agent may have said it | yes | up to 8 s |
/// | 409 `RetryableConflictException` | yes, 6 attempts | no | yes, 6 attempts | 0.5 to 8 s |
/// | 401 with a token provider | once, fresh token | once, fresh token | once, fresh token | none |
/// | 403 for the signature, clocks 4 minutes apart | once, corrected | no | once, corrected | none |
/// | reset, 500, 502, 503, 504 | no | no | yes | 0.2 to 4 s |
/// | a time limit, 424, anything else | no | no | no | |
///
/// At most 4 attempts unless the table says otherwise, 30 s in all and never past `total` or the
/// deadline. `Retry-After` and `x-amz-retry-after` are honoured. [`RetryPolicy::idempotent`] treats
/// an invocation like `stop_session`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Never,
    Safe,
    Idempotent,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { mode: Mode::Safe }
    }
}

impl RetryPolicy {
    /// One attempt, whatever happens.
    pub fn never() -> Self {
        Self { mode: Mode::Never }
    }

    /// For an agent that may safely run twice: also again after a reset, 500, 502, 503 and 504.
    pub fn idempotent() -> Self {
        Self { mode: Mode::Idempotent }
    }
}

const MAX_ATTEMPTS: usize = 4;
const MAX_ATTEMPTS_IN_CONFLICT: usize = 6;
/// No attempt starts later than this after the first one.
const MAX_ELAPSED: Duration = Duration::from_secs(30);

/// What a call is, as far as sending it again is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) policy: RetryPolicy,
    /// The verb may run twice without harm, e.g. stop.
    pub(crate) idempotent_verb: bool,
    /// The target speaks the service's protocol, so that its 409 and 429 mean what they say.
    pub(crate) data_plane: bool,
    /// Asking again gives another token.
    pub(crate) token_provider: bool,
}

/// Why a call may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    NotSent,
    Throttled,
    Conflict,
    StaleToken,
    Skew,
    /// The request may have run.
    Broken,
}

impl Cause {
    /// The one table. `skewed`: the clocks differ so that the signature was refused.
    fn of(error: &Error, rules: &Rules, skewed: bool) -> Option<Self> {
        if rules.policy.mode == Mode::Never {
            return None;
        }
        let idempotent = rules.idempotent_verb || rules.policy.mode == Mode::Idempotent;
        match (error.kind(), error.status()) {
            (ErrorKind::Connect, _) if error.delivery() == Delivery::NotSent => Some(Self::NotSent),
            // A transport of a user's own may say `connect` and yet that bytes have left.
            (ErrorKind::Timeout, _)
                if error.limit() == Some(Limit::Connect)
                    && error.delivery() == Delivery::NotSent =>
            {
                Some(Self::NotSent)
            }
            (_, Some(401)) if rules.token_provider => Some(Self::StaleToken),
            (_, Some(403)) if skewed && rules.data_plane => Some(Self::Skew),
            (ErrorKind::Service, Some(429)) if rules.data_plane => Some(Self::Throttled),
            (ErrorKind::Service, Some(409))
                if rules.data_plane
                    && error.service_code() == Some("RetryableConflictException") =>
            {
                Some(Self::Conflict)
            }
            (ErrorKind::Service | ErrorKind::Agent, Some(500 | 502 | 503 | 504)) if idempotent => {
                Some(Self::Broken)
            }
            (ErrorKind::StreamInterrupted | ErrorKind::Protocol, None)
                if idempotent && error.delivery() == Delivery::Unknown =>
            {
                Some(Self::Broken)
            }
            _ => None,
        }
    }

    /// The shortest pause, and the longest one before attempt `n + 1`.
    fn pause(self, n: u32) -> (Duration, Duration) {
        let ms = Duration::from_millis;
        let doubled = |first: u64, cap: u64| ms((first << n.min(6)).min(cap));
        match self {
            Self::NotSent => (ms(100), doubled(200, 2_000)),
            Self::Throttled => (ms(0), doubled(1_000, 8_000)),
            // A microVM takes seconds to provision; milliseconds would spend every attempt.
            Self::Conflict => (ms(500), doubled(1_000, 8_000)),
            Self::Broken => (ms(200), doubled(500, 4_000)),
            Self::StaleToken | Self::Skew => (ms(0), ms(0)),
        }
    }

    fn max_attempts(self) -> usize {
        if self == Self::Conflict { MAX_ATTEMPTS_IN_CONFLICT } else { MAX_ATTEMPTS }
    }
}

/// A client's allowance for sending again: spent by retries, refilled by successes, so that a
/// struggling service is not stormed by every call at once.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU32);

const BUDGET: u32 = 500;
const RETRY_COST: u32 = 5;

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(BUDGET))
    }
}

impl Budget {
    fn spend(&self) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(RETRY_COST))
            .is_ok()
    }

    fn refill(&self) {
        // A full budget is the common case and costs one read.
        if self.0.load(Ordering::Relaxed) < BUDGET {
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                (left < BUDGET).then_some(left + 1)
            });
        }
    }
}

/// What the attempt loop wants its driver to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Get credentials or a token, then call [`AttemptLoop::authorised`].
    NeedAuth,
    /// Send the request, then call [`AttemptLoop::answered`] or [`AttemptLoop::failed`].
    Send,
    /// Pause, then call [`AttemptLoop::slept`].
    NeedSleep(Duration),
    /// Tell the log, then ask again.
    Log(Retrying),
    /// It is over.
    Done(Result<(), Error>),
}

/// What a log line about another attempt says.
#[derive(Debug)]
pub(crate) struct Retrying {
    pub(crate) attempt: usize,
    pub(crate) reason: Attempt,
}

#[derive(Debug)]
enum State {
    NeedAuth,
    Send,
    Log(Retrying, Duration),
    Sleep(Duration),
    Done(Result<(), Error>),
    /// The result has been taken.
    Over,
}

/// One call from its first attempt to its last.
#[derive(Debug)]
pub(crate) struct AttemptLoop {
    rules: Rules,
    budget: Arc<Budget>,
    started: Instant,
    end: Option<Instant>,
    state: State,
    attempts: Vec<Attempt>,
    renewed_token: bool,
    corrected_clock: bool,
    random: fn() -> f64,
}

impl AttemptLoop {
    /// A loop that begins now and must not pause past `end`.
    pub(crate) fn new(
        rules: Rules,
        budget: Arc<Budget>,
        now: Instant,
        end: Option<Instant>,
    ) -> Self {
        Self {
            rules,
            budget,
            started: now,
            end,
            state: State::NeedAuth,
            attempts: Vec::new(),
            renewed_token: false,
            corrected_clock: false,
            random,
        }
    }

    /// What to do next.
    pub(crate) fn next(&mut self) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::NeedAuth => {
                self.state = State::NeedAuth;
                Step::NeedAuth
            }
            State::Send => {
                self.state = State::Send;
                Step::Send
            }
            State::Log(line, pause) => {
                self.state = State::Sleep(pause);
                Step::Log(line)
            }
            State::Sleep(pause) if pause.is_zero() => {
                self.state = State::NeedAuth;
                Step::NeedAuth
            }
            State::Sleep(pause) => {
                self.state = State::Sleep(pause);
                Step::NeedSleep(pause)
            }
            State::Done(result) => Step::Done(result),
            State::Over => Step::Done(Err(Error::new(
                ErrorKind::Internal,
                Delivery::Unknown,
                "the attempt loop was driven past its end",
            ))),
        }
    }

    /// Credentials or a token are there.
    pub(crate) fn authorised(&mut self) {
        self.state = State::Send;
    }

    /// The pause is over.
    pub(crate) fn slept(&mut self) {
        self.state = State::NeedAuth;
    }

    /// A proper answer began.
    pub(crate) fn answered(&mut self) {
        self.budget.refill();
        self.state = State::Done(Ok(()));
    }

    /// The tries before the one that was answered.
    pub(crate) fn into_attempts(self) -> Vec<Attempt> {
        self.attempts
    }

    /// The attempt failed. `skewed`: the service's clock explains it and was taken over.
    pub(crate) fn failed(&mut self, error: Error, now: Instant, skewed: bool) {
        let pause = self.pause_before_the_next(&error, now, skewed);
        self.attempts.push(error.to_attempt(pause));
        self.state = match pause {
            Some(pause) => {
                let line = Retrying {
                    attempt: self.attempts.len(),
                    reason: error.to_attempt(Some(pause)),
                };
                State::Log(line, pause)
            }
            None => {
                let attempts = std::mem::take(&mut self.attempts);
                let delivery = overall(&attempts).unwrap_or(error.delivery());
                State::Done(Err(error.with_delivery(delivery).with_attempts(attempts)))
            }
        };
    }

    /// `None` where the call is over.
    fn pause_before_the_next(
        &mut self,
        error: &Error,
        now: Instant,
        skewed: bool,
    ) -> Option<Duration> {
        let cause = Cause::of(error, &self.rules, skewed)?;
        let once = match cause {
            Cause::StaleToken => Some(&mut self.renewed_token),
            Cause::Skew => Some(&mut self.corrected_clock),
            _ => None,
        };
        if let Some(done) = once
            && std::mem::replace(done, true)
        {
            return None;
        }
        let n = self.attempts.len();
        if n + 1 >= cause.max_attempts() {
            return None;
        }
        let (shortest, longest) = cause.pause(u32::try_from(n).unwrap_or(u32::MAX));
        let jittered = shortest + longest.saturating_sub(shortest).mul_f64((self.random)());
        let pause = error.retry_after().map_or(jittered, |asked| asked.max(jittered));
        let next = now.checked_add(pause)?;
        let too_late = next.saturating_duration_since(self.started) > MAX_ELAPSED
            || self.end.is_some_and(|end| next >= end);
        (!too_late && self.budget.spend()).then_some(pause)
    }
}

/// What is known about the call as a whole: if any attempt may have run, the call may have run.
fn overall(attempts: &[Attempt]) -> Option<Delivery> {
    let weight = |delivery: &Delivery| match delivery {
        Delivery::NotSent => 0,
        Delivery::Rejected => 1,
        Delivery::Unknown => 2,
        Delivery::Accepted => 3,
    };
    attempts.iter().map(|attempt| attempt.delivery).max_by_key(weight)
}

/// Uniform in [0, 1). Without the system's randomness every pause is half its longest.
pub(crate) fn random() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests;
