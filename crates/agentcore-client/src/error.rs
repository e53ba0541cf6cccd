//! One error for everything that can go wrong, so that a caller asks three
//! questions and no more: what happened (`kind`), may the agent have run
//! (`delivery`), and what to do next (the message).

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// What every fallible call of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! names {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of the table that all languages share.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name, the same in every language.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// What went wrong.
    ErrorKind {
        /// An argument broke a rule; nothing was sent.
        InvalidInput => "InvalidInput",
        /// No credentials or token could be had, or the service refused them as such.
        Credentials => "Credentials",
        /// No connection: name look-up, TCP, proxy or TLS.
        Connect => "Connect",
        /// A limit passed; [`Error::limit`] names it.
        Timeout => "Timeout",
        /// The service answered with an error.
        Service => "Service",
        /// The agent itself failed: status 424, or an error inside its stream.
        Agent => "Agent",
        /// An answer began and broke off.
        StreamInterrupted => "StreamInterrupted",
        /// An event, an answer or a payload passed its size limit.
        TooLarge => "TooLarge",
        /// The other side broke HTTP, or did what this client never asks for.
        Protocol => "Protocol",
        /// The client or the stream was closed.
        Closed => "Closed",
        /// A bug in this library.
        Internal => "Internal",
    }
}

names! {
    /// What is known about whether a failed call reached the agent.
    Delivery {
        /// The request never left: it is safe to send again.
        NotSent => "not_sent",
        /// The service says that it did not run the request.
        Rejected => "rejected",
        /// An answer began, or the agent itself failed: it ran.
        Accepted => "accepted",
        /// The request may have run. Do not send it again unless the agent is idempotent.
        Unknown => "unknown",
    }
}

names! {
    /// The limit that ended a call.
    Limit {
        /// Name look-up, TCP, proxy and TLS of one attempt.
        Connect => "connect",
        /// Credential or token look-up of one attempt.
        Auth => "auth",
        /// From the request to the head of its answer.
        FirstByte => "first_byte",
        /// Silence while an answer arrives.
        Idle => "idle",
        /// The whole call: attempts, pauses and the answer; or its deadline.
        Total => "total",
    }
}

names! {
    /// How a stream ended.
    StreamEnd {
        /// The answer ended properly.
        Complete => "complete",
        /// The agent reported an error inside its stream.
        AgentError => "agent_error",
        /// The connection broke before the end of the answer.
        Truncated => "truncated",
        /// Nothing arrived for the `idle` limit.
        IdleTimeout => "idle_timeout",
        /// The `total` limit or the deadline passed.
        TotalTimeout => "total_timeout",
        /// An event or the whole answer passed its size limit.
        TooLarge => "too_large",
        /// The answer broke HTTP.
        ProtocolError => "protocol_error",
        /// The caller closed it.
        Closed => "closed",
    }
}

impl ErrorKind {
    /// The kind in upper snake case, which is the `code` of a Node error.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidInput => "INVALID_INPUT",
            Self::Credentials => "CREDENTIALS",
            Self::Connect => "CONNECT",
            Self::Timeout => "TIMEOUT",
            Self::Service => "SERVICE",
            Self::Agent => "AGENT",
            Self::StreamInterrupted => "STREAM_INTERRUPTED",
            Self::TooLarge => "TOO_LARGE",
            Self::Protocol => "PROTOCOL",
            Self::Closed => "CLOSED",
            Self::Internal => "INTERNAL",
        }
    }
}

/// One try of a call that was tried again, or that failed in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// What went wrong in this try.
    pub kind: ErrorKind,
    /// Whether this try may have reached the agent.
    pub delivery: Delivery,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The service's exception name, if it gave one.
    pub service_code: Option<String>,
    /// The pause that followed; `None` for the last try.
    pub pause: Option<Duration>,
}

/// Why a call failed, whether the agent may have run, and what to do next.
///
/// `Display` is one line that never holds a credential, a token, a body or a
/// signed URL. The cause, if there is one, is [`std::error::Error::source`].
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    delivery: Delivery,
    message: String,
    field: Option<&'static str>,
    limit: Option<Limit>,
    status: Option<u16>,
    service_code: Option<String>,
    request_id: Option<String>,
    session_id: Option<String>,
    retry_after: Option<Duration>,
    attempts: Vec<Attempt>,
    events_seen: u64,
    bytes_seen: u64,
    agent_payload: Option<AgentPayload>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What an agent said when it failed; kept apart from `Debug`, since it is user data.
struct AgentPayload(String);

impl fmt::Debug for AgentPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

impl Error {
    /// An error of this kind. Kinds that never reach the wire are [`Delivery::NotSent`].
    pub(crate) fn new(kind: ErrorKind, delivery: Delivery, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            delivery,
            message: message.into(),
            field: None,
            limit: None,
            status: None,
            service_code: None,
            request_id: None,
            session_id: None,
            retry_after: None,
            attempts: Vec::new(),
            events_seen: 0,
            bytes_seen: 0,
            agent_payload: None,
            source: None,
        }))
    }

    /// A refused argument. `shape` describes the value without repeating it, `rule` says what is
    /// wanted: `session_id: 12 characters; needs 33 to 100 …`.
    pub(crate) fn invalid(
        field: &'static str,
        shape: impl fmt::Display,
        rule: impl fmt::Display,
    ) -> Self {
        let mut error = Self::new(
            ErrorKind::InvalidInput,
            Delivery::NotSent,
            format!("{field}: {shape}; {rule}"),
        );
        error.0.field = Some(field);
        error
    }

    /// A limit that passed.
    pub(crate) fn timeout(limit: Limit, after: Duration, delivery: Delivery) -> Self {
        let advice = match (limit, delivery) {
            (Limit::Connect, _) => {
                "check the host name, the route, the proxy and the security groups, or raise timeouts.connect"
            }
            (Limit::Auth, _) => {
                "the credential or token provider did not answer; raise timeouts.auth if it is known to be slow"
            }
            (Limit::FirstByte, _) => {
                "the agent may still be running, so the call was not sent again; stop_session ends it, and timeouts.first_byte gives it longer"
            }
            (Limit::Idle, _) => {
                "the agent may still be running: go on in the same session, or raise timeouts.idle"
            }
            (Limit::Total, Delivery::NotSent | Delivery::Rejected) => {
                "the agent did not run; raise timeouts.total or the deadline"
            }
            (Limit::Total, _) => {
                "the agent may still be running; stop_session ends it, and timeouts.total or the deadline gives it longer"
            }
        };
        let mut error = Self::new(
            ErrorKind::Timeout,
            delivery,
            format!("{limit} limit of {} passed: {advice}", Seconds(after)),
        );
        error.0.limit = Some(limit);
        error
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_field(mut self, field: &'static str) -> Self {
        self.0.field = Some(field);
        self
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    pub(crate) fn with_service_code(mut self, code: Option<String>) -> Self {
        self.0.service_code = code;
        self
    }

    pub(crate) fn with_request_id(mut self, id: Option<String>) -> Self {
        self.0.request_id = id;
        self
    }

    /// Names the session, unless the error knows better.
    pub(crate) fn for_session(mut self, id: &str) -> Self {
        self.0.session_id.get_or_insert_with(|| id.to_owned());
        self
    }

    pub(crate) fn with_retry_after(mut self, after: Option<Duration>) -> Self {
        self.0.retry_after = after;
        self
    }

    pub(crate) fn with_attempts(mut self, attempts: Vec<Attempt>) -> Self {
        self.0.attempts = attempts;
        self
    }

    pub(crate) fn with_seen(mut self, events: u64, bytes: u64) -> Self {
        self.0.events_seen = events;
        self.0.bytes_seen = bytes;
        self
    }

    pub(crate) fn with_agent_payload(mut self, payload: impl Into<String>) -> Self {
        self.0.agent_payload = Some(AgentPayload(payload.into()));
        self
    }

    pub(crate) fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.0.delivery = delivery;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the agent may have run.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// The message without the ids that `Display` adds.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The argument that was refused, for [`ErrorKind::InvalidInput`]; `bearer_token` also where a
    /// provider gave a token that is broken or has expired.
    pub fn field(&self) -> Option<&'static str> {
        self.0.field
    }

    /// The limit that passed, for [`ErrorKind::Timeout`].
    pub fn limit(&self) -> Option<Limit> {
        self.0.limit
    }

    /// HTTP status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The service's exception name, such as `ThrottlingException`.
    pub fn service_code(&self) -> Option<&str> {
        self.0.service_code.as_deref()
    }

    /// The service's request id; quote it to AWS support.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The runtime session that the call belongs to, to go on or to stop it.
    pub fn session_id(&self) -> Option<&str> {
        self.0.session_id.as_deref()
    }

    /// How long the service asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Every try of this call, the last one included. Empty when nothing was tried.
    pub fn attempts(&self) -> &[Attempt] {
        &self.0.attempts
    }

    /// Events handed over before a stream broke.
    pub fn events_seen(&self) -> u64 {
        self.0.events_seen
    }

    /// Bytes of the answer received before it broke.
    pub fn bytes_seen(&self) -> u64 {
        self.0.bytes_seen
    }

    /// What the agent sent when it reported its failure: the data of its error event, or the
    /// answer's body.
    pub fn agent_payload(&self) -> Option<&str> {
        self.0.agent_payload.as_ref().map(|payload| payload.0.as_str())
    }

    pub(crate) fn to_attempt(&self, pause: Option<Duration>) -> Attempt {
        Attempt {
            kind: self.0.kind,
            delivery: self.0.delivery,
            status: self.0.status,
            service_code: self.0.service_code.clone(),
            pause,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let mut open = false;
        let mut part = |f: &mut fmt::Formatter<'_>, name: &str, value: &dyn fmt::Display| {
            f.write_str(if open { ", " } else { " (" })?;
            open = true;
            write!(f, "{name} {value}")
        };
        if let Some(status) = self.0.status {
            part(f, "status", &status)?;
        }
        if let Some(code) = &self.0.service_code {
            part(f, "code", code)?;
        }
        if let Some(id) = &self.0.request_id {
            part(f, "request id", id)?;
        }
        if let Some(id) = &self.0.session_id {
            part(f, "session", id)?;
        }
        if self.0.events_seen > 0 {
            part(f, "events seen", &self.0.events_seen)?;
        }
        if self.0.attempts.len() > 1 {
            part(f, "attempts", &self.0.attempts.len())?;
        }
        if self.0.kind != ErrorKind::InvalidInput {
            part(f, "delivery", &self.0.delivery)?;
        }
        if open { f.write_str(")") } else { Ok(()) }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// A duration as people write it: `5 s`, `250 ms`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_millis() == 0 && self.0.as_secs() > 0 {
            write!(f, "{} s", self.0.as_secs())
        } else {
            write!(f, "{} ms", self.0.as_millis())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_one_line_with_its_ids() {
        let error = Error::new(ErrorKind::Service, Delivery::Rejected, "slow down")
            .with_status(429)
            .with_service_code(Some("ThrottlingException".into()))
            .with_request_id(Some("r-1".into()))
            .for_session("s-1");
        assert_eq!(
            error.to_string(),
            "slow down (status 429, code ThrottlingException, request id r-1, session s-1, delivery rejected)"
        );
    }

    #[test]
    fn a_refused_argument_names_field_shape_and_rule() {
        let error = Error::invalid("session_id", "12 characters", "needs 33 to 100");
        assert_eq!(error.to_string(), "session_id: 12 characters; needs 33 to 100");
        assert_eq!(error.field(), Some("session_id"));
        assert_eq!(error.delivery(), Delivery::NotSent);
    }

    #[test]
    fn what_an_agent_said_is_kept_out_of_debug() {
        let error = Error::new(ErrorKind::Agent, Delivery::Accepted, "failed")
            .with_agent_payload("a user's words");
        assert!(!format!("{error:?} {error}").contains("words"));
        assert_eq!(error.agent_payload(), Some("a user's words"));
    }

    #[test]
    fn errors_are_small_and_cross_threads() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
