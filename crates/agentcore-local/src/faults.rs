//! What goes wrong on purpose: a queue of faults, each taken by the next call that it matches.
//! The same struct is the Rust API and the JSON of `POST /_local/faults`.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One scripted fault. Everything left out does nothing; several members work together where
/// that makes sense (a delayed head, then a body that is reset).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// For how many calls; 0 counts as 1.
    #[serde(skip_serializing_if = "is_zero_u32")]
    pub repeat: u32,
    /// Only for calls whose target contains this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_contains: Option<String>,
    /// Only for calls of this session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,

    /// Answer with this status instead of running the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The `x-amzn-ErrorType` of that answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The `message` of that answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The body of that answer, in place of the service's JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Headers added to the answer, whatever it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,

    /// Wait so long before the head is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_head_ms: Option<u64>,
    /// Read the request and then say nothing until the client leaves.
    #[serde(skip_serializing_if = "is_false")]
    pub never_answer: bool,
    /// Read the request, then reset the connection.
    #[serde(skip_serializing_if = "is_false")]
    pub reset_after_request: bool,
    /// Read the request, then close the connection without an answer.
    #[serde(skip_serializing_if = "is_false")]
    pub close_after_request: bool,
    /// Write bytes that are not HTTP in place of a head, then close.
    #[serde(skip_serializing_if = "is_false")]
    pub garbage_head: bool,

    /// After so many body bytes, go silent until the client leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_after_bytes: Option<u64>,
    /// After so many body bytes, reset the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_after_bytes: Option<u64>,
    /// After so many body bytes, close the connection within a chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncate_after_bytes: Option<u64>,
    /// After so many body bytes, write a chunk size line that is none, then close.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub garbage_chunk_after_bytes: Option<u64>,
    /// Every byte of the answer in a write of its own.
    #[serde(skip_serializing_if = "is_false")]
    pub split: bool,

    /// Claim `Content-Encoding: gzip` over a body that is not.
    #[serde(skip_serializing_if = "is_false")]
    pub wrong_encoding: bool,
    /// Answer 307 with this `Location`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<String>,
    /// Answer 101 Switching Protocols, unasked, and close.
    #[serde(skip_serializing_if = "is_false")]
    pub switching: bool,
    /// Add headers of about so many bytes to the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub big_headers: Option<usize>,

    /// After the answer, close the connection when it stays idle so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_idle_after_ms: Option<u64>,
    /// Answer with `Connection: close` and close.
    #[serde(skip_serializing_if = "is_false")]
    pub connection_close: bool,
    /// For this call the clock is so many seconds off: in the `Date` header and in the check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_offset_s: Option<i64>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero_u32(value: &u32) -> bool {
    *value == 0
}

impl Fault {
    /// A fault that does nothing yet; set its fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// An error answer of the service, e.g. `429, "ThrottlingException"`.
    pub fn status(status: u16, code: &str) -> Self {
        Self { status: Some(status), code: Some(code.to_owned()), ..Self::default() }
    }

    /// The same with a header added, e.g. `Retry-After`.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same for the next `n` calls.
    pub fn times(mut self, n: u32) -> Self {
        self.repeat = n;
        self
    }

    /// The same only for calls of that session.
    pub fn for_session(mut self, session: &str) -> Self {
        self.session = Some(session.to_owned());
        self
    }

    /// The same only for calls whose target contains that text.
    pub fn for_path(mut self, text: &str) -> Self {
        self.path_contains = Some(text.to_owned());
        self
    }

    /// What to do within the body, and after how many bytes of it.
    pub(crate) fn body_action(&self) -> Option<(u64, BodyAction)> {
        [
            (self.stall_after_bytes, BodyAction::Stall),
            (self.reset_after_bytes, BodyAction::Reset),
            (self.truncate_after_bytes, BodyAction::Truncate),
            (self.garbage_chunk_after_bytes, BodyAction::GarbageChunk),
        ]
        .into_iter()
        .filter_map(|(after, action)| Some((after?, action)))
        .min_by_key(|(after, _)| *after)
    }

    fn matches(&self, target: &str, session: Option<&str>) -> bool {
        self.path_contains.as_deref().is_none_or(|p| target.contains(p))
            && self.session.as_deref().is_none_or(|s| session == Some(s))
    }
}

/// What a fault does in the middle of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyAction {
    Stall,
    Reset,
    Truncate,
    GarbageChunk,
}

/// The faults that wait for their call, first in, first out.
#[derive(Debug, Default)]
pub struct Faults(Mutex<VecDeque<Fault>>);

impl Faults {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a fault at the end of the queue.
    pub fn push(&self, fault: Fault) {
        self.lock().push_back(fault);
    }

    /// Takes all waiting faults away.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The faults that no call has taken yet.
    pub fn pending(&self) -> Vec<Fault> {
        self.lock().iter().cloned().collect()
    }

    /// The first fault that matches this call; one of its repeats is used up.
    pub(crate) fn take(&self, target: &str, session: Option<&str>) -> Option<Fault> {
        let mut queue = self.lock();
        let at = queue.iter().position(|f| f.matches(target, session))?;
        match queue.get_mut(at) {
            Some(fault) if fault.repeat > 1 => {
                fault.repeat -= 1;
                Some(Fault { repeat: 1, ..fault.clone() })
            }
            _ => queue.remove(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_match_first_out() {
        let faults = Faults::default();
        faults.push(Fault::status(500, "A").for_session("s").times(2));
        faults.push(Fault::status(429, "B"));
        assert_eq!(faults.take("/x", None).and_then(|f| f.status), Some(429));
        assert_eq!(faults.take("/x", None), None);
        assert!(faults.take("/x", Some("s")).is_some());
        assert!(faults.take("/x", Some("s")).is_some());
        assert!(faults.take("/x", Some("s")).is_none());
    }

    #[test]
    fn json_is_the_same_thing() {
        let json = r#"{"status":429,"code":"ThrottlingException","headers":{"Retry-After":"1"},"repeat":3}"#;
        let fault: Fault = serde_json::from_str(json).expect("read");
        let rust =
            Fault::status(429, "ThrottlingException").with_header("Retry-After", "1").times(3);
        assert_eq!(fault, rust);
        assert!(serde_json::from_str::<Fault>(r#"{"stattus":429}"#).is_err());
        assert_eq!(serde_json::to_string(&Fault::new()).expect("JSON"), "{}");
    }
}
