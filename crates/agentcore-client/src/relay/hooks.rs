//! What an application may decide for itself: the payload, whose message it is,
//! and whether a second-stage event was seen before.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;

use crate::error::Delivery;
use crate::protocol::request::Payload;
use crate::protocol::session::SessionId;

/// Why a message is not answered: a stable code and a text that its sender may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
    delivery: Delivery,
}

impl Refusal {
    /// A message that the application does not want. The text is shown to the client.
    pub fn new(message: impl Into<String>) -> Self {
        Self::with(400, "refused", message)
    }

    /// Something in the application failed; the client learns no more than that. What happened is
    /// for the application's own log.
    pub fn failed() -> Self {
        Self::with(500, "internal", "the relay failed")
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::with(400, "invalid_message", message)
    }

    pub(super) fn with(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), delivery: Delivery::NotSent }
    }

    /// For a failure after which the agent may be asked nevertheless.
    pub(super) fn after(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Whether the agent may have run.
    pub(super) fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// The HTTP status for the gateway.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The `code` of the error frame.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The `message` of the error frame.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

/// A message on its way to the agent, for a payload hook.
#[derive(Clone)]
#[non_exhaustive]
pub struct RelayMessage {
    /// What the client sent, as JSON.
    pub body: Value,
    /// The socket.
    pub connection_id: String,
    /// Who sent it, where the relay knows that.
    pub principal: Option<String>,
    /// The conversation that the client named.
    pub conversation: Option<String>,
    /// The runtime session that will answer.
    pub session_id: SessionId,
}

/// Without the body, which may have a token to resume with, and who knows what a client sends.
impl fmt::Debug for RelayMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayMessage")
            .field("connection_id", &self.connection_id)
            .field("session_id", &self.session_id)
            .finish_non_exhaustive()
    }
}

type Hook<I, O> = Arc<dyn Fn(I) -> BoxFuture<'static, Result<O, Refusal>> + Send + Sync>;

/// The hooks of a relay.
#[derive(Clone, Default)]
pub(super) struct Hooks {
    pub(super) payload: Option<Hook<RelayMessage, Payload>>,
    pub(super) principal: Option<Hook<Value, Option<String>>>,
    pub(super) claim: Option<Hook<String, bool>>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("payload", &self.payload.is_some())
            .field("principal", &self.principal.is_some())
            .field("claim", &self.claim.is_some())
            .finish()
    }
}

/// A hook as it is kept.
pub(super) fn boxed<I, O, F, R>(hook: F) -> Hook<I, O>
where
    F: Fn(I) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, Refusal>> + Send + 'static,
{
    Arc::new(move |input| Box::pin(hook(input)))
}
