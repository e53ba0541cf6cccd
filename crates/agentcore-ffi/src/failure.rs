//! What a foreign language is told when something fails: an error of the core,
//! or one that only a binding can have. Both show the same members.

use std::any::Any;
use std::fmt;

use agentcore_client::{Delivery, Error, ErrorKind};

/// Why a call or a read failed.
#[derive(Debug)]
pub enum Failure {
    /// The core's own error.
    Core(Error),
    /// The client or the stream was closed, by this process or because another one forked off.
    Closed(&'static str),
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
            Self::Closed(_) | Self::System(_) => Delivery::NotSent,
            Self::Panicked(_) => Delivery::Unknown,
        }
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
            Self::Closed(what) => f.write_str(what),
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
