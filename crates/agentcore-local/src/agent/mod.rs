//! What answers the calls: the demo agent, a real container, or code of a test.
//! All three write through a `Responder`, whose every step is on the wire when it returns.

mod container;
mod demo;

use crate::headers::Headers;
use crate::session::SessionMemory;
use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};

pub use container::BadAgentUrl;

pub(crate) type AgentFuture = Pin<Box<dyn Future<Output = ()> + Send>>;
type Handler = Arc<dyn Fn(AgentRequest, Responder) -> AgentFuture + Send + Sync>;

/// A call as it reaches the agent: authorised, validated, headers filtered by the allow-list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AgentRequest {
    /// The session that runs.
    pub session_id: String,
    /// The id the service gave the call.
    pub request_id: String,
    /// The endpoint that was addressed.
    pub qualifier: String,
    /// The headers that a container would see.
    pub headers: Headers,
    /// The payload.
    pub body: Bytes,
    /// What the agent remembers of this session.
    pub memory: SessionMemory,
}

/// The client has left, the session was stopped, or the answer is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the answer any more")
    }
}

impl std::error::Error for Gone {}

/// What an answer consists of.
pub(crate) enum Step {
    /// The head; a status outside 2xx is an agent's failure, unless the service itself speaks.
    Head {
        status: u16,
        headers: Headers,
        as_service: bool,
    },
    Chunk(Bytes),
    /// Head, one chunk and the end, in one write.
    Whole {
        status: u16,
        headers: Headers,
        body: Bytes,
    },
    Finish,
    Abort,
    Reset,
}

/// A step, and where to say that it is on the wire.
pub(crate) type Command = (Step, oneshot::Sender<()>);

/// Writes one answer. Each method returns when its bytes were handed to the socket.
/// Dropping it ends the answer properly.
#[derive(Debug)]
pub struct Responder {
    steps: mpsc::Sender<Command>,
}

impl Responder {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Command>) {
        let (steps, receiver) = mpsc::channel(1);
        (Self { steps }, receiver)
    }

    async fn step(&self, step: Step) -> Result<(), Gone> {
        let (done, on_wire) = oneshot::channel();
        self.steps.send((step, done)).await.map_err(|_| Gone)?;
        on_wire.await.map_err(|_| Gone)
    }

    fn step_blocking(&self, step: Step) -> Result<(), Gone> {
        let (done, on_wire) = oneshot::channel();
        self.steps.blocking_send((step, done)).map_err(|_| Gone)?;
        on_wire.blocking_recv().map_err(|_| Gone)
    }

    /// Writes the head. The body is chunked unless `content-length` is given. A status outside 2xx
    /// reaches the client as 424, as with any agent.
    pub async fn head(&self, status: u16, headers: &[(&str, &str)]) -> Result<(), Gone> {
        self.step(head(status, headers, false)).await
    }

    /// Writes the head as the service would: the status is not wrapped.
    pub async fn service_head(&self, status: u16, headers: &[(&str, &str)]) -> Result<(), Gone> {
        self.step(head(status, headers, true)).await
    }

    /// Writes one HTTP chunk.
    pub async fn chunk(&self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        self.step(Step::Chunk(bytes.into())).await
    }

    /// Writes one server-sent event as the Python SDK frames it, in one chunk.
    pub async fn event(&self, data: &serde_json::Value) -> Result<(), Gone> {
        self.chunk(demo::sse(data)).await
    }

    /// Writes a whole answer at once.
    pub async fn whole(
        &self,
        status: u16,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<(), Gone> {
        let headers = Headers::from_iter([("content-type", content_type)]);
        self.step(Step::Whole { status, headers, body: body.into() }).await
    }

    /// Ends the answer properly.
    pub async fn finish(self) -> Result<(), Gone> {
        self.step(Step::Finish).await
    }

    /// Closes the connection without the end of the body.
    pub async fn abort(self) -> Result<(), Gone> {
        self.step(Step::Abort).await
    }

    /// Resets the connection.
    pub async fn reset(self) -> Result<(), Gone> {
        self.step(Step::Reset).await
    }

    /// Waits so long, or until nobody reads any more.
    pub async fn wait(&self, time: Duration) -> Result<(), Gone> {
        tokio::select! {
            () = self.steps.closed() => Err(Gone),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    /// Waits until the client has left or the session is stopped.
    pub async fn gone(&self) {
        self.steps.closed().await;
    }

    /// Whether the client has left or the session is stopped.
    pub fn is_gone(&self) -> bool {
        self.steps.is_closed()
    }

    /// [`head`](Self::head) for a thread outside of any async run-time.
    pub fn head_blocking(&self, status: u16, headers: &[(&str, &str)]) -> Result<(), Gone> {
        self.step_blocking(head(status, headers, false))
    }

    /// [`chunk`](Self::chunk) for a thread outside of any async run-time.
    pub fn chunk_blocking(&self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        self.step_blocking(Step::Chunk(bytes.into()))
    }

    /// [`event`](Self::event) for a thread outside of any async run-time.
    pub fn event_blocking(&self, data: &serde_json::Value) -> Result<(), Gone> {
        self.chunk_blocking(demo::sse(data))
    }

    /// [`finish`](Self::finish) for a thread outside of any async run-time.
    pub fn finish_blocking(self) -> Result<(), Gone> {
        self.step_blocking(Step::Finish)
    }

    /// [`abort`](Self::abort) for a thread outside of any async run-time.
    pub fn abort_blocking(self) -> Result<(), Gone> {
        self.step_blocking(Step::Abort)
    }

    /// [`reset`](Self::reset) for a thread outside of any async run-time.
    pub fn reset_blocking(self) -> Result<(), Gone> {
        self.step_blocking(Step::Reset)
    }

    async fn send_head(&self, status: u16, headers: Headers) -> Result<(), Gone> {
        self.step(Step::Head { status, headers, as_service: false }).await
    }
}

fn head(status: u16, headers: &[(&str, &str)], as_service: bool) -> Step {
    Step::Head { status, headers: headers.iter().copied().collect(), as_service }
}

/// What answers the calls to a runtime.
#[derive(Clone)]
pub struct Agent(Kind);

#[derive(Clone)]
enum Kind {
    Demo { pace: Duration },
    Container(container::Container),
    Handler(Handler),
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Demo { .. } => "Agent::demo",
            Kind::Container(_) => "Agent::container",
            Kind::Handler(_) => "Agent::handler",
        })
    }
}

impl Agent {
    /// The built-in agent, without a pause between its tokens.
    pub fn demo() -> Self {
        Self(Kind::Demo { pace: Duration::ZERO })
    }

    /// The built-in agent with a pause between its tokens.
    pub fn demo_paced(pace: Duration) -> Self {
        Self(Kind::Demo { pace })
    }

    /// A real agent that serves the container contract, e.g. `http://127.0.0.1:8080`.
    pub fn container(url: &str) -> Result<Self, BadAgentUrl> {
        Ok(Self(Kind::Container(container::Container::new(url)?)))
    }

    /// Code that answers every call. It runs on the data plane's thread, so it must not block.
    pub fn handler<F, Fut>(handler: F) -> Self
    where
        F: Fn(AgentRequest, Responder) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self(Kind::Handler(Arc::new(move |request, responder| {
            Box::pin(handler(request, responder))
        })))
    }

    /// Calls are handed to the test, which answers them step by step from wherever it runs.
    pub fn script() -> (Self, Script) {
        let (calls, receiver) = mpsc::unbounded_channel();
        let agent = Self::handler(move |request, responder| {
            // If the script was dropped the responder goes with it, and the call ends as unanswered.
            let _ = calls.send(ScriptedCall { request, responder });
            std::future::ready(())
        });
        (agent, Script(Mutex::new(receiver)))
    }

    pub(crate) fn call(&self, request: AgentRequest, responder: Responder) -> AgentFuture {
        match &self.0 {
            Kind::Demo { pace } => Box::pin(demo::answer(request, responder, *pace)),
            Kind::Container(container) => container.call(request, responder),
            Kind::Handler(handler) => handler(request, responder),
        }
    }
}

/// One call in the hands of a test.
#[derive(Debug)]
pub struct ScriptedCall {
    /// What was asked.
    pub request: AgentRequest,
    /// Where to answer.
    pub responder: Responder,
}

/// The calls that reach a scripted agent, in order.
#[derive(Debug)]
pub struct Script(Mutex<mpsc::UnboundedReceiver<ScriptedCall>>);

impl Script {
    /// The next call; `None` when the data plane is gone.
    pub async fn next(&self) -> Option<ScriptedCall> {
        self.0.lock().await.recv().await
    }

    /// The next call, for a thread outside of any async run-time.
    pub fn next_blocking(&self) -> Option<ScriptedCall> {
        self.0.blocking_lock().blocking_recv()
    }

    /// The next call if it comes in time, for a thread outside of any async run-time: a test that
    /// waits in vain should fail, not hang.
    pub fn next_within(&self, timeout: Duration) -> Option<ScriptedCall> {
        let deadline = std::time::Instant::now() + timeout;
        loop {
            if let Ok(call) = self.0.blocking_lock().try_recv() {
                return Some(call);
            }
            if std::time::Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
