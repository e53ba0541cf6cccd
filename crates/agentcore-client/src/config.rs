//! What a caller may set, with the defaults and the reasons for them, and the
//! environment variables that stand behind the arguments.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Limit, Result};
use crate::protocol::request::MAX_PAYLOAD;

/// The time limits of a call. Each one ends the call with an error that names it.
///
/// | limit | default | covers |
/// |---|---|---|
/// | `connect` | 5 s | name look-up, TCP, proxy and TLS of one attempt |
/// | `auth` | 10 s | credential or token look-up of one attempt |
/// | `first_byte` | 930 s | from the request to the head of its answer |
/// | `idle` | 900 s | silence while the answer arrives; counts only while a read waits |
/// | `total` | none | the whole call: attempts, pauses and the answer |
/// | `deadline` | none | the same as a point in time |
///
/// Reads that are given up (`AgentStream::try_next` within `select!`) wait for `idle` together. What is
/// dropped of a plain `Stream` is not known to have gone: there, a silence counts until the next read, and
/// once from the start where that comes more than a second late.
///
/// `first_byte` stands just above the service's own 15 minutes, so that the service's answer wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Name look-up, TCP, proxy and TLS of one attempt.
    pub connect: Duration,
    /// Credential or token look-up of one attempt.
    pub auth: Duration,
    /// From the request to the head of its answer.
    pub first_byte: Duration,
    /// Silence while the answer arrives; `None` for no limit.
    pub idle: Option<Duration>,
    /// The whole call: attempts, pauses and the answer; `None` for no limit.
    pub total: Option<Duration>,
    /// The whole call must end by then, e.g. shortly before a Lambda's own time is up.
    pub deadline: Option<Instant>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            auth: Duration::from_secs(10),
            first_byte: Duration::from_secs(930),
            idle: Some(Duration::from_secs(900)),
            total: None,
            deadline: None,
        }
    }
}

impl Timeouts {
    /// Sets the limit on name look-up, TCP, proxy and TLS of one attempt.
    #[must_use]
    pub fn connect(mut self, limit: Duration) -> Self {
        self.connect = limit;
        self
    }

    /// Sets the limit on the credential or token look-up of one attempt.
    #[must_use]
    pub fn auth(mut self, limit: Duration) -> Self {
        self.auth = limit;
        self
    }

    /// Sets the limit from the request to the head of its answer.
    #[must_use]
    pub fn first_byte(mut self, limit: Duration) -> Self {
        self.first_byte = limit;
        self
    }

    /// Sets the limit on silence while the answer arrives; `None` for no limit.
    #[must_use]
    pub fn idle(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.idle = limit.into();
        self
    }

    /// Sets the limit on the whole call; `None` for no limit.
    #[must_use]
    pub fn total(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.total = limit.into();
        self
    }

    /// Sets the point in time by which the whole call must have ended; `None` for no limit.
    #[must_use]
    pub fn deadline(mut self, deadline: impl Into<Option<Instant>>) -> Self {
        self.deadline = deadline.into();
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let limits = [
            ("timeouts.connect", Some(self.connect)),
            ("timeouts.auth", Some(self.auth)),
            ("timeouts.first_byte", Some(self.first_byte)),
            ("timeouts.idle", self.idle),
            ("timeouts.total", self.total),
        ];
        for (field, limit) in limits {
            if limit == Some(Duration::ZERO) {
                return Err(Error::invalid(field, "zero", "must be more than zero"));
            }
        }
        Ok(())
    }

    /// When the whole call must have ended.
    pub(crate) fn end(&self, started: Instant) -> Option<Instant> {
        let total = self.total.and_then(|total| started.checked_add(total));
        match (total, self.deadline) {
            (Some(total), Some(deadline)) => Some(total.min(deadline)),
            (total, deadline) => total.or(deadline),
        }
    }
}

/// Which of a limit and the end of the whole call comes first.
pub(crate) fn due(
    now: Instant,
    after: Duration,
    limit: Limit,
    end: Option<Instant>,
) -> (Instant, Limit) {
    // A limit beyond what the clock can count is none; ten years will do.
    let far = Duration::from_secs(10 * 365 * 86_400);
    let until = now.checked_add(after).unwrap_or_else(|| now + far);
    match end {
        Some(end) if end < until => (end, Limit::Total),
        _ => (until, limit),
    }
}

/// Size limits, in bytes. Past them a call ends with an error that names the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// One event of a stream. Default 16 MiB.
    pub event: usize,
    /// A whole answer. Default 100,000,000, which is the service's own limit.
    pub answer: u64,
    /// A payload. Default 100,000,000, which is the service's own limit.
    pub payload: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { event: 16 << 20, answer: 100_000_000, payload: MAX_PAYLOAD }
    }
}

impl Limits {
    /// Sets the limit on one event of a stream.
    #[must_use]
    pub fn event(mut self, bytes: usize) -> Self {
        self.event = bytes;
        self
    }

    /// Sets the limit on a whole answer.
    #[must_use]
    pub fn answer(mut self, bytes: u64) -> Self {
        self.answer = bytes;
        self
    }

    /// Sets the limit on a payload.
    #[must_use]
    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = bytes;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let zero = |field| Err(Error::invalid(field, "zero", "must be more than zero"));
        match self {
            Self { event: 0, .. } => zero("limits.event"),
            Self { answer: 0, .. } => zero("limits.answer"),
            Self { payload: 0, .. } => zero("limits.payload"),
            _ => Ok(()),
        }
    }
}

/// Where the environment variables come from: the process, nowhere, or a map of a test's own.
#[derive(Clone)]
pub struct Environment(Arc<Lookup>);

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Environment {
    /// The process's own variables. Values that are not Unicode count as absent.
    pub fn process() -> Self {
        Self(Arc::new(|name| std::env::var(name).ok()))
    }

    /// No variables at all.
    pub fn empty() -> Self {
        Self(Arc::new(|_| None))
    }

    /// The variables that a function gives.
    pub fn from_fn(get: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(get))
    }

    /// The variables of a list; the last one of a name counts.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let map: std::collections::HashMap<String, String> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self(Arc::new(move |name| map.get(name).cloned()))
    }

    /// A variable's value; an empty one counts as absent, as shells set it that way.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The first of several names that is set.
    pub(crate) fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.get(name))
    }

    /// `true` as the AWS SDKs read it: the word, in any case.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_refused_by_name() {
        let refused = |timeouts: Timeouts| timeouts.validate().unwrap_err().field().unwrap();
        let zero = Duration::ZERO;
        assert_eq!(refused(Timeouts::default().connect(zero)), "timeouts.connect");
        assert_eq!(refused(Timeouts::default().auth(zero)), "timeouts.auth");
        assert_eq!(refused(Timeouts::default().first_byte(zero)), "timeouts.first_byte");
        assert_eq!(refused(Timeouts::default().idle(zero)), "timeouts.idle");
        assert_eq!(refused(Timeouts::default().total(zero)), "timeouts.total");
        assert!(Timeouts::default().idle(None).validate().is_ok());
        assert_eq!(
            Limits::default().event(0).validate().unwrap_err().field(),
            Some("limits.event")
        );
    }

    #[test]
    fn the_earlier_of_total_and_deadline_counts() {
        let now = Instant::now();
        let s = Duration::from_secs;
        let timeouts = Timeouts::default().total(s(10)).deadline(now + s(5));
        assert_eq!(timeouts.end(now), Some(now + s(5)));
        assert_eq!(timeouts.deadline(None).end(now), Some(now + s(10)));
        assert_eq!(Timeouts::default().end(now), None);
    }

    #[test]
    fn the_end_of_the_call_beats_a_later_limit() {
        let now = Instant::now();
        let s = Duration::from_secs;
        assert_eq!(due(now, s(5), Limit::Connect, None), (now + s(5), Limit::Connect));
        assert_eq!(due(now, s(5), Limit::Connect, Some(now + s(9))), (now + s(5), Limit::Connect));
        assert_eq!(due(now, s(5), Limit::Connect, Some(now + s(2))), (now + s(2), Limit::Total));
        assert!(due(now, Duration::MAX, Limit::FirstByte, None).0 > now + s(86_400));
    }

    #[test]
    fn an_empty_variable_is_absent() {
        let env = Environment::from_pairs([("A", ""), ("B", "True"), ("C", "1")]);
        assert_eq!(env.get("A"), None);
        assert!(env.flag("B"));
        assert!(!env.flag("C"));
        assert_eq!(env.first(&["A", "C", "B"]).as_deref(), Some("1"));
    }
}
