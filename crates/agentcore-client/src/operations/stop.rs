//! StopRuntimeSession: end what one started. Safe to send again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Call, Core};
use crate::config::Timeouts;
use crate::error::Result;
use crate::protocol::endpoint::Operation;
use crate::protocol::request;
use crate::protocol::session::SessionId;
use crate::retry::RetryPolicy;

/// A stop being put together; see [`Client::stop_session`](crate::Client::stop_session).
#[must_use = "nothing is sent before `send`"]
pub struct StopSession {
    core: Arc<Core>,
    session: SessionId,
    timeouts: Timeouts,
    retry: RetryPolicy,
}

/// No stop takes the quarter of an hour that an agent's answer may take.
const FIRST_BYTE: Duration = Duration::from_secs(60);

impl StopSession {
    pub(crate) fn new(core: Arc<Core>, session: SessionId) -> Self {
        let mut timeouts = core.timeouts;
        timeouts.first_byte = timeouts.first_byte.min(FIRST_BYTE);
        Self { timeouts, retry: core.retry, core, session }
    }

    /// For a stop that nobody waits for, when the client's deadline may be why it is needed.
    pub(super) fn without_deadline(mut self) -> Self {
        self.timeouts.deadline = None;
        self
    }

    /// Other time limits for this call.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Another retry policy for this call.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Stops the session.
    ///
    /// # Errors
    /// A session that does not run, or no longer, is a [`Service`](crate::ErrorKind::Service) error
    /// with status 404. The id itself stays valid: the next call with it starts afresh.
    pub async fn send(self) -> Result<()> {
        self.timeouts.validate()?;
        let Self { core, session, timeouts, retry } = self;
        // One token for all attempts makes them one stop.
        let token = SessionId::generate();
        let call = Call {
            timeouts: &timeouts,
            retry,
            operation: Operation::StopSession,
            acts_for_user: false,
            session: &session,
        };
        core.call(call, || {
            let uri = core.endpoint.uri(Operation::StopSession, core.qualifier.as_deref())?;
            request::stop_session(&core.target(), uri, &session, token.as_str())
        })
        .await?;
        Ok(())
    }
}

impl fmt::Debug for StopSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopSession").field("session", &self.session).finish_non_exhaustive()
    }
}
