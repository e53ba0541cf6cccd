//! InvokeAgentRuntime: ask an agent, and take its answer whole or as it comes.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use futures::future::BoxFuture;
use http::HeaderMap;
use serde::de::DeserializeOwned;

use super::answer::{Framing, Head, Receiver};
use super::stream::{AgentStream, OnDrop, decode_json};
use super::{Call, Core};
use crate::config::Timeouts;
use crate::error::{Result, StreamEnd};
use crate::protocol::endpoint::Operation;
use crate::protocol::request::{self, InvokeInput, McpHeaders, Payload, TraceContext};
use crate::protocol::session::SessionId;
use crate::protocol::text::{TextFormat, whole_text};
use crate::retry::RetryPolicy;

/// An invocation being put together; see [`Client::invoke`](crate::Client::invoke).
#[must_use = "nothing is sent before `send` or `stream`"]
pub struct Invoke {
    core: Arc<Core>,
    /// Boxed, since a call is moved from hand to hand a few times before it is sent.
    with: Box<Options>,
}

/// What is said about one invocation.
struct Options {
    input: InvokeInput,
    session: Option<SessionId>,
    timeouts: Timeouts,
    retry: RetryPolicy,
    text_format: TextFormat,
    stop_on_close: StopOnClose,
}

/// Whether a stream that is let go of stops its session, and who runs that stop.
enum StopOnClose {
    No,
    OnThisRuntime,
    With(Spawn),
}

/// Runs a future that nobody waits for.
type Spawn = Box<dyn FnOnce(BoxFuture<'static, ()>) + Send + Sync>;

impl Invoke {
    pub(crate) fn new(core: Arc<Core>, payload: Payload) -> Self {
        let with = Options {
            timeouts: core.timeouts,
            retry: core.retry,
            text_format: core.text_format,
            input: InvokeInput::new(payload),
            session: None,
            stop_on_close: StopOnClose::No,
        };
        Self { core, with: Box::new(with) }
    }

    /// The runtime session. Without one, a new session is begun; the answer names it.
    pub fn session(mut self, session: impl Into<SessionId>) -> Self {
        self.with.session = Some(session.into());
        self
    }

    /// An opaque user id of 1 to 1024 characters, for the agent's outbound identity. Needs the IAM
    /// action `InvokeAgentRuntimeForUser` as well.
    pub fn user_id(mut self, user_id: impl Into<String>) -> Self {
        self.with.input.user_id = Some(user_id.into());
        self
    }

    /// A header of one's own; it reaches the agent only if the runtime's allow-list names it.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with.input.headers.push((name.into(), value.into()));
        self
    }

    /// The payload's content type; `application/json` unless said otherwise.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.with.input.content_type = Some(content_type.into());
        self
    }

    /// The content types wanted; `application/json, text/event-stream` unless said otherwise.
    pub fn accept(mut self, accept: impl Into<String>) -> Self {
        self.with.input.accept = Some(accept.into());
        self
    }

    /// The trace that this call belongs to.
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.with.input.trace = trace;
        self
    }

    /// Headers for an MCP server that runs as the agent.
    pub fn mcp(mut self, headers: McpHeaders) -> Self {
        self.with.input.mcp = headers;
        self
    }

    /// Other time limits for this call.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.with.timeouts = timeouts;
        self
    }

    /// Another retry policy for this call.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.with.retry = retry;
        self
    }

    /// Which of an agent framework's shapes carries the text; found out by itself otherwise.
    pub fn text_format(mut self, format: TextFormat) -> Self {
        self.with.text_format = format;
        self
    }

    /// Stops the session when the stream is let go of before its end, in the background of the
    /// current tokio runtime. Without it, an agent goes on when nobody listens any more.
    pub fn stop_on_close(mut self, stop: bool) -> Self {
        self.with.stop_on_close = if stop { StopOnClose::OnThisRuntime } else { StopOnClose::No };
        self
    }

    /// As [`stop_on_close`](Self::stop_on_close), but `spawn` says where the stop runs, for a
    /// runtime that nobody drives between two calls. It is called by whoever lets go of the stream,
    /// with a future to run on a tokio runtime with IO and time; there it ends by itself, within
    /// the client's limits.
    pub fn stop_on_close_with(
        mut self,
        spawn: impl FnOnce(BoxFuture<'static, ()>) + Send + Sync + 'static,
    ) -> Self {
        self.with.stop_on_close = StopOnClose::With(Box::new(spawn));
        self
    }

    /// Sends it and waits for the whole answer. A streamed answer is collected.
    ///
    /// # Errors
    /// Every kind of [`Error`](crate::Error); an error that the agent reports inside its stream is
    /// one, too. [`delivery`](crate::Error::delivery) says whether the agent may have run.
    pub async fn send(self) -> Result<InvokeResponse> {
        let (format, limits) = (self.with.text_format, self.core.limits);
        let (mut receiver, _) = self.receive().await?;
        match receiver.head.framing() {
            Framing::Events => {
                let stream = AgentStream::new(receiver, format, limits, None);
                Box::pin(InvokeResponse::collect_events(stream)).await
            }
            _ => {
                let body = collect(&mut receiver).await?;
                Ok(InvokeResponse { head: receiver.head, body, format, text: OnceLock::new() })
            }
        }
    }

    /// Sends it and gives the answer as it arrives, from its head on.
    ///
    /// # Errors
    /// As [`send`](Self::send); what goes wrong after the head comes out of the stream.
    pub async fn stream(mut self) -> Result<AgentStream> {
        let (format, limits) = (self.with.text_format, self.core.limits);
        let stop = std::mem::replace(&mut self.with.stop_on_close, StopOnClose::No);
        let (mut receiver, core) = self.receive().await?;
        receiver.head.compact();
        let on_drop = stop.spawn().map(|spawn| stop_later(core, spawn));
        Ok(AgentStream::new(receiver, format, limits, on_drop))
    }

    async fn receive(self) -> Result<(Receiver, Arc<Core>)> {
        let Self { core, mut with } = self;
        with.timeouts.validate()?;
        // Chosen before the first attempt, so that every result and error can name it.
        let session = with.session.take().unwrap_or_else(SessionId::generate);
        let call = Call {
            timeouts: &with.timeouts,
            retry: with.retry,
            operation: Operation::Invoke,
            acts_for_user: with.input.user_id.is_some(),
            session: &session,
        };
        let answer = core
            .call(call, || {
                let uri = core.invoke_uri.clone();
                request::invoke(&core.target(), uri, &session, &with.input, core.limits.payload)
            })
            .await?;
        Ok((Receiver::new(answer, &with.timeouts, core.limits.answer), core))
    }
}

impl StopOnClose {
    fn spawn(self) -> Option<Spawn> {
        match self {
            Self::No => None,
            Self::OnThisRuntime => {
                // Another transport may run outside of tokio, where nothing can run in the
                // background.
                let runtime = tokio::runtime::Handle::try_current().ok()?;
                Some(Box::new(move |stop| drop(runtime.spawn(stop))))
            }
            Self::With(spawn) => Some(spawn),
        }
    }
}

/// Stops a session in the background; nobody waits for the result.
fn stop_later(core: Arc<Core>, spawn: Spawn) -> OnDrop {
    Box::new(move |session| {
        spawn(Box::pin(async move {
            let stop = super::stop::StopSession::new(core, session).without_deadline();
            if let Err(error) = stop.send().await {
                tracing::warn!(target: "agentcore_client", %error, "could not stop the session");
            }
        }));
    })
}

impl fmt::Debug for Invoke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invoke").field("session", &self.with.session).finish_non_exhaustive()
    }
}

/// A whole answer.
pub struct InvokeResponse {
    head: Head,
    body: Bytes,
    format: TextFormat,
    /// Found when it is first asked for; of a stream, while it was collected.
    text: OnceLock<Option<ByteString>>,
}

impl InvokeResponse {
    /// Decodes the events for their text and the agent's own errors, and keeps the raw bytes.
    async fn collect_events(mut stream: AgentStream) -> Result<Self> {
        let mut raw = Parts::new(stream.head());
        let mut said: Option<String> = None;
        loop {
            let event = std::future::poll_fn(|cx| {
                stream.poll_event_and(cx, |chunk| raw.push(chunk.clone()))
            });
            match event.await.transpose()? {
                Some(event) => {
                    if let Some(text) = event.text() {
                        said.get_or_insert_default().push_str(text);
                    }
                }
                None => break,
            }
        }
        let text = OnceLock::from(said.map(ByteString::from));
        Ok(Self { head: stream.head().clone(), body: raw.join(), format: TextFormat::None, text })
    }

    /// The runtime session that answered. Keep it to go on in the same session.
    pub fn session_id(&self) -> &SessionId {
        &self.head.session_id
    }

    /// HTTP status of the answer.
    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// Content type of the answer.
    pub fn content_type(&self) -> Option<&str> {
        self.head.content_type()
    }

    /// The service's request id.
    pub fn request_id(&self) -> Option<&str> {
        self.head.request_id()
    }

    /// Where this one session can be reached directly, if the runtime opens ports for that. An
    /// `https` URL or nothing; never send it credentials without looking at its host.
    pub fn session_endpoint_url(&self) -> Option<&str> {
        self.head.session_endpoint_url()
    }

    /// All headers of the answer, the trace headers among them.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The raw body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The raw body, taken out.
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        decode_json(&self.body, "the answer")
    }

    /// What the agent said: a JSON string unquoted, the deltas of a stream joined, plain text as it
    /// is; `None` where the answer carries no text, e.g. a JSON object of the agent's own shape.
    pub fn text(&self) -> Option<&str> {
        let found = self.text.get_or_init(|| {
            whole_text(self.content_type().unwrap_or_default(), &self.body, self.format)
        });
        found.as_deref()
    }

    /// How the answer ended: always complete, or there would have been an error.
    pub fn end(&self) -> StreamEnd {
        StreamEnd::Complete
    }
}

impl fmt::Debug for InvokeResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvokeResponse")
            .field("session_id", self.session_id())
            .field("status", &self.status())
            .field("content_type", &self.content_type())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The whole body.
async fn collect(receiver: &mut Receiver) -> Result<Bytes> {
    let mut parts = Parts::new(&receiver.head);
    while let Some(chunk) = std::future::poll_fn(|cx| receiver.poll_chunk(cx)).await {
        parts.push(chunk?);
    }
    Ok(parts.join())
}

/// Chunks on their way to one piece.
struct Parts {
    first: Option<Bytes>,
    more: BytesMut,
    expected: usize,
}

impl Parts {
    fn new(head: &Head) -> Self {
        // A promise of a length is worth one allocation, but not more than 16 MiB of trust.
        let expected = head.content_length().unwrap_or(0).min(16 << 20);
        Self { first: None, more: BytesMut::new(), expected: expected as usize }
    }

    fn push(&mut self, chunk: Bytes) {
        match (&self.first, self.more.is_empty()) {
            (None, true) => self.first = Some(chunk),
            _ => {
                if let Some(first) = self.first.take() {
                    self.more.reserve(self.expected.max(first.len() + chunk.len()));
                    self.more.extend_from_slice(&first);
                }
                self.more.extend_from_slice(&chunk);
            }
        }
    }

    /// An answer in one piece, as most are, is not copied.
    fn join(self) -> Bytes {
        self.first.unwrap_or_else(|| self.more.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_join_in_order() {
        let join = |parts: &[&'static str]| {
            let mut joined = Parts { first: None, more: BytesMut::new(), expected: 0 };
            parts.iter().for_each(|part| joined.push(Bytes::from_static(part.as_bytes())));
            joined.join()
        };
        assert_eq!(join(&[]), "");
        assert_eq!(join(&["a"]), "a");
        assert_eq!(join(&["a", "b", "cd"]), "abcd");
    }
}
