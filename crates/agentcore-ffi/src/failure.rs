//! What a foreign language is told when something fails: an error of the core,
//! or one that only a binding can have. Both show the same members.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;

use agentcore_client::{Delivery, Error, ErrorKind};

/// What was closed.
#[derive(Debug)]
pub enum Closed {
    /// The client, before a call began.
    Client,
    /// The call, which is over.
    Call,
    /// A stream, in this session.
    Stream(String),
    /// A stream's events, in this session: it is read as raw bytes.
    Events(String),
    /// A stream that a parent process goes on reading.
    InParent,
}

/// Why a call or a read failed.
#[derive(Debug)]
pub enum Failure {
    /// The core's own error.
    Core(Error),
    /// What was closed, or belongs to the process that this one was forked off from.
    Closed(Closed),
    /// The system refused what a call needs before it can begin, such as a descriptor.
    System(String),
    /// A bug: the core panicked with this message.
    Panicked(String),
}

impl Failure {
    /// What a caught panic said.
    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let said = payload
            .downcast_ref::<&'static str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Self::Panicked(said.unwrap_or_else(|| "a panic without a message".to_owned()))
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Core(error) => error.kind(),
            Self::Closed(_) => ErrorKind::Closed,
            Self::System(_) | Self::Panicked(_) => ErrorKind::Internal,
        }
    }

    /// Whether the agent may have run.
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::Core(error) => error.delivery(),
            Self::Closed(Closed::Client) | Self::System(_) => Delivery::NotSent,
            // Its answer had begun.
            Self::Closed(Closed::Stream(_) | Closed::Events(_) | Closed::InParent) => {
                Delivery::Accepted
            }
            Self::Closed(Closed::Call) => Delivery::Unknown,
            Self::Panicked(_) => Delivery::Unknown,
        }
    }

    /// The runtime session, to go on or to stop it.
    pub fn session_id(&self) -> Option<&str> {
        match self {
            Self::Core(error) => error.session_id(),
            Self::Closed(Closed::Stream(session) | Closed::Events(session)) => Some(session),
            _ => None,
        }
    }

    /// What lies beneath it, outermost first.
    pub fn cause(&self) -> Option<String> {
        let mut said = Vec::new();
        let mut cause = self.core().and_then(StdError::source);
        while let Some(inner) = cause {
            said.push(inner.to_string());
            cause = inner.source();
        }
        (!said.is_empty()).then(|| said.join(": "))
    }

    /// The core's error, which knows the rest.
    pub fn core(&self) -> Option<&Error> {
        match self {
            Self::Core(error) => Some(error),
            Self::Closed(_) | Self::System(_) | Self::Panicked(_) => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Core(error) => error.fmt(f),
            Self::Closed(Closed::Client) => f.write_str("the client was closed; make a new one"),
            Self::Closed(Closed::Call) => f.write_str("the call is over"),
            Self::Closed(Closed::Stream(session)) => write!(
                f,
                "the stream was closed; the agent may go on (session {session}, delivery accepted)"
            ),
            Self::Closed(Closed::Events(session)) => write!(
                f,
                "the stream is read as raw bytes, so there are no events any more (session {session})"
            ),
            Self::Closed(Closed::InParent) => f.write_str(
                "the stream was opened before this process was forked off; it goes on in the parent",
            ),
            Self::System(what) => f.write_str(what),
            Self::Panicked(said) => {
                write!(f, "a bug in agentcore-client, please report it: {said}")
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}
