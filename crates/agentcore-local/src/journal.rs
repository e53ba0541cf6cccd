//! What the data plane saw, in order, so that tests can assert on it: connections, calls,
//! authorisation, faults, how each answer ended. Secrets are redacted before they get here.

use crate::encoding::percent_decode;
use crate::headers::Headers;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// So many entries are kept; older ones go first.
const KEPT: usize = 200_000;
/// Bodies up to this size are kept as text.
const BODY_TEXT: usize = 4 * 1024;
const REDACTED: &str = "[redacted]";

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Grows by one with every entry and is never reused.
    pub seq: u64,
    /// Milliseconds since the data plane started.
    pub at_ms: u64,
    /// The connection it happened on, counted from 1; 0 for what belongs to none.
    pub connection: u64,
    /// The call it belongs to, counted from 1; 0 for what belongs to none.
    pub call: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: JournalEvent,
}

/// What happened; `kind` in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum JournalEvent {
    /// A client connected.
    ConnectionOpened {
        /// Its address.
        peer: String,
    },
    /// The connection is gone.
    ConnectionClosed {
        /// How many requests were read from it.
        requests: u64,
    },
    /// Bytes came that are no readable request.
    BadRequest {
        /// The status that was answered.
        status: u16,
        /// What is wrong with them.
        reason: String,
    },
    /// A whole request was read.
    Request {
        /// The method.
        method: String,
        /// The raw target, secrets in the query redacted.
        target: String,
        /// The headers as sent, secrets redacted.
        headers: Vec<(String, String)>,
        /// The session header.
        session_id: Option<String>,
        /// Size of the body.
        body_bytes: u64,
        /// Lower-case hex SHA-256 of the body.
        body_sha256: String,
        /// The body if it is short text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body_text: Option<String>,
    },
    /// The authorisation was judged.
    Auth {
        /// `sigv4`, `sigv4_presigned`, `bearer`, `none` or `unusable`: what the request carried.
        claim: String,
        /// Whether it was accepted.
        accepted: bool,
        /// The error code when it was not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// A scripted fault was taken from the queue for this call.
    Fault {
        /// The fault as it was scripted.
        fault: serde_json::Value,
    },
    /// A session changed its state: `provisioning`, `active` or `stopped`.
    Session {
        /// The session.
        session_id: String,
        /// Its new state.
        state: String,
    },
    /// The head of an answer was written.
    Response {
        /// The status.
        status: u16,
        /// `x-amzn-ErrorType`, when it is an error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error_type: Option<String>,
        /// The session header of the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_id: Option<String>,
        /// `x-amzn-RequestId`.
        request_id: String,
    },
    /// The answer was written to its end.
    Complete {
        /// Body chunks written.
        chunks: u64,
        /// Body bytes written.
        bytes: u64,
    },
    /// The data plane cut the answer on purpose.
    Cut {
        /// `fault`, `agent` or `stopped`.
        by: String,
        /// Body chunks written before.
        chunks: u64,
        /// Body bytes written before.
        bytes: u64,
    },
    /// The client left before the end.
    Disconnect {
        /// `request`: while it was being read; `head`: before the answer began; `body`: within it.
        phase: String,
        /// Body chunks written before.
        chunks: u64,
        /// Body bytes written before.
        bytes: u64,
    },
    /// The gateway opened a WebSocket: the function said yes to `$connect`.
    SocketOpened {
        /// Its id for `@connections`.
        connection_id: String,
    },
    /// The gateway refused a handshake.
    SocketRefused {
        /// The status that was answered.
        status: u16,
    },
    /// A message came from a client.
    SocketMessage {
        /// The socket it came on.
        connection_id: String,
        /// Its id.
        message_id: String,
        /// The route that was selected for it.
        route: String,
        /// Its size.
        bytes: u64,
        /// The message if it is short text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body_text: Option<String>,
    },
    /// What was posted to `@connections` was written to its socket.
    SocketPosted {
        /// The socket.
        connection_id: String,
        /// Its size.
        bytes: u64,
    },
    /// A WebSocket is gone, whoever ended it.
    SocketClosed {
        /// The socket.
        connection_id: String,
        /// The status code of the `$disconnect` event; 1006 when the connection broke.
        code: u16,
        /// Its reason.
        reason: String,
    },
    /// A run of the function began.
    FunctionStarted {
        /// Its request id; an event that is delivered again keeps it.
        request_id: String,
        /// A route, `event` or `request_response`.
        trigger: String,
    },
    /// A run of the function ended.
    FunctionEnded {
        /// Its request id.
        request_id: String,
        /// `ok`, `error` (the handler's), `timeout` or `crash`.
        outcome: String,
        /// How long it took, a new process included.
        ms: u64,
    },
}

impl JournalEvent {
    /// Whether this is the request of an invocation of an agent.
    pub fn is_invocation(&self) -> bool {
        match self {
            Self::Request { method, target, .. } => {
                let path = target.split('?').next().unwrap_or_default();
                // Lambda's Invoke ends like that, too.
                method == "POST"
                    && path.ends_with("/invocations")
                    && !path.starts_with("/2015-03-31/functions/")
            }
            _ => false,
        }
    }

    /// Whether a client left before the end.
    pub fn is_disconnect(&self) -> bool {
        matches!(self, Self::Disconnect { .. })
    }
}

/// Everything seen so far, shared by all connections.
pub(crate) struct Journal {
    start: Instant,
    entries: Mutex<Entries>,
    grown: Condvar,
    notify: Notify,
}

struct Entries {
    next: u64,
    kept: VecDeque<JournalEntry>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            entries: Mutex::new(Entries { next: 1, kept: VecDeque::new() }),
            grown: Condvar::new(),
            notify: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, connection: u64, call: u64, event: JournalEvent) {
        let at_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut entries = self.lock();
        let seq = entries.next;
        entries.next += 1;
        if entries.kept.len() >= KEPT {
            entries.kept.pop_front();
        }
        entries.kept.push_back(JournalEntry { seq, at_ms, connection, call, event });
        drop(entries);
        self.grown.notify_all();
        self.notify.notify_waiters();
    }

    pub(crate) fn entries(&self) -> Vec<JournalEntry> {
        self.lock().kept.iter().cloned().collect()
    }

    pub(crate) fn since(&self, seq: u64) -> Vec<JournalEntry> {
        self.lock().kept.iter().filter(|e| e.seq > seq).cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.lock().kept.clear();
    }

    /// The first entry that satisfies, now or before `timeout` ends; blocks this thread.
    pub(crate) fn wait_blocking(
        &self,
        wanted: impl Fn(&JournalEntry) -> bool,
        timeout: Duration,
    ) -> Option<JournalEntry> {
        let deadline = Instant::now() + timeout;
        let mut entries = self.lock();
        loop {
            if let Some(found) = entries.kept.iter().find(|e| wanted(e)) {
                return Some(found.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            entries =
                self.grown.wait_timeout(entries, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(crate) async fn wait(
        &self,
        wanted: impl Fn(&JournalEntry) -> bool,
        timeout: Duration,
    ) -> Option<JournalEntry> {
        let find = async {
            loop {
                // Registered before the look, so that nothing slips in between.
                let grown = self.notify.notified();
                if let Some(found) = self.lock().kept.iter().find(|e| wanted(e)) {
                    return found.clone();
                }
                grown.await;
            }
        };
        tokio::time::timeout(timeout, find).await.ok()
    }
}

/// The request as the journal keeps it.
pub(crate) fn request(
    method: &str,
    target: &str,
    headers: &Headers,
    session_id: Option<&str>,
    body: &[u8],
    body_sha256: &str,
) -> JournalEvent {
    JournalEvent::Request {
        method: method.to_owned(),
        target: redact_target(target),
        headers: headers.iter().map(|(n, v)| (n.to_owned(), redact_header(n, v))).collect(),
        session_id: session_id.map(str::to_owned),
        body_bytes: body.len() as u64,
        body_sha256: body_sha256.to_owned(),
        body_text: short_text(body),
    }
}

/// The body, if it is text and short enough to be kept.
pub(crate) fn short_text(body: &[u8]) -> Option<String> {
    let short = (1..=BODY_TEXT).contains(&body.len());
    short.then(|| std::str::from_utf8(body).ok()).flatten().map(str::to_owned)
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let parts = [
        "authorization",
        "token",
        "signature",
        "secret",
        "cookie",
        "api-key",
        "apikey",
        "password",
        "credential",
        "-wat",
        "sec-websocket-protocol",
    ];
    parts.iter().any(|p| name.contains(p))
}

fn redact_header(name: &str, value: &[u8]) -> String {
    if is_secret(name) { REDACTED.to_owned() } else { String::from_utf8_lossy(value).into_owned() }
}

/// The target with the values of secret query parameters taken out, however their names are written.
fn redact_target(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = String::from_utf8_lossy(&percent_decode(name)).into_owned();
            let secret = is_secret(&plain) && !value.is_empty();
            if secret { format!("{name}={REDACTED}") } else { pair.to_owned() }
        })
        .collect();
    format!("{path}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_never_get_in() {
        let target = "/ws?qualifier=a&X-Amz-Signature=s3cret&X-Amz-Security%2DToken=s3cret\
                      &x-amz-credential=s3cret&access_token=s3cret";
        let mut headers = Headers::new();
        for name in [
            "Authorization",
            "x-amz-security-token",
            "WorkloadAccessToken",
            "X-Api-Key",
            "X-Amz-Bedrock-AgentCore-Identity-WAT",
            "x-local-token",
            "Cookie",
        ] {
            headers.push(name, "s3cret");
        }
        headers.push("X-Plain", "kept");
        let event = request("GET", target, &headers, None, b"", "");
        let json = serde_json::to_string(&event).expect("JSON");
        assert!(!json.contains("s3cret"), "{json}");
        assert!(json.contains("kept") && json.contains("qualifier=a"));
    }

    #[test]
    fn waits_find_old_and_new_entries() {
        let journal = std::sync::Arc::new(Journal::new());
        assert!(journal.wait_blocking(|_| true, Duration::from_millis(5)).is_none());
        let late = std::sync::Arc::clone(&journal);
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            late.add(1, 1, JournalEvent::Complete { chunks: 1, bytes: 2 });
        });
        let found = journal.wait_blocking(|e| e.call == 1, Duration::from_secs(5)).expect("found");
        assert_eq!(found.seq, 1);
        thread.join().expect("joined");
        journal.clear();
        journal.add(0, 0, JournalEvent::ConnectionClosed { requests: 0 });
        assert_eq!(journal.since(1).len(), 1);
        let json = serde_json::to_value(&journal.entries()[0]).expect("JSON");
        assert_eq!(json["kind"], "connection_closed");
        assert_eq!(json["seq"], 2);
    }
}
