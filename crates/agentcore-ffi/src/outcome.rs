//! What a call of either verb comes to, so that an event loop waits for all of
//! them in the same way.

use agentcore_client::{Invoke, InvokeResponse, Result, StopSession};

use crate::feed::Feed;

/// What a call has come to.
#[derive(Debug)]
pub enum Outcome {
    /// A whole answer.
    Response(InvokeResponse),
    /// An answer while it arrives.
    Stream(Feed),
    /// The session was stopped.
    Stopped,
}

impl Outcome {
    /// Waits for the whole answer.
    ///
    /// # Errors
    /// The invocation's own.
    pub async fn whole(invoke: Invoke) -> Result<Self> {
        invoke.send().await.map(Self::Response)
    }

    /// Waits for the head of the answer.
    ///
    /// # Errors
    /// The invocation's own.
    pub async fn streamed(invoke: Invoke) -> Result<Self> {
        invoke.stream().await.map(|stream| Self::Stream(Feed::new(stream)))
    }

    /// Waits until the session is stopped.
    ///
    /// # Errors
    /// The stop's own.
    pub async fn stopped(stop: StopSession) -> Result<Self> {
        stop.send().await.map(|()| Self::Stopped)
    }
}
