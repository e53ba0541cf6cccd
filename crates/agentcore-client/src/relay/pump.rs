//! From an agent's stream to a socket: one post under way at a time, what arrives
//! meanwhile goes out with the next, and a slow socket slows the agent's stream.
//! All of it is one future, so letting go of it lets go of the agent, too.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant as StdInstant};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::task::AtomicWaker;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::frames::{Again, Frame, Outbox, Taken};
use super::parts::Part;
use super::post::{Posted, Poster, Socket};
use crate::error::{Delivery, Error, ErrorKind, Limit, Result, StreamEnd};
use crate::operations::answer::Framing;
use crate::operations::invoke::Invoke;
use crate::operations::stream::{AgentEvent, AgentStream};

/// What one answer needs.
pub(super) struct Pump {
    pub(super) poster: Arc<Poster>,
    pub(super) socket: Arc<Socket>,
    pub(super) outbox: Outbox,
    pub(super) heartbeat: Duration,
    /// Whether events without text are passed on.
    pub(super) events: bool,
    /// When the answer must be cut short, and when nothing at all may be sent any more.
    pub(super) until: Option<StdInstant>,
    pub(super) end: Option<StdInstant>,
    /// What the client comes back with.
    pub(super) resume: String,
}

/// How an answer went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The agent has said all; this is how its stream ended.
    Told,
    /// The client is gone, and so is the invocation.
    Gone,
    /// Time was up.
    Cut,
    /// The socket can't be reached.
    Lost,
}

enum Source {
    Opening(BoxFuture<'static, Result<Box<AgentStream>>>),
    Open(Box<AgentStream>),
    Over,
}

enum Next {
    Opened(Result<Box<AgentStream>>),
    Event(Option<Result<AgentEvent>>),
    Posted(Posted),
    Post,
    Beat,
    TimeUp,
}

/// A post under way, and what it takes along; nothing for a heartbeat.
struct Posting {
    post: BoxFuture<'static, Posted>,
    taken: Option<Taken>,
}

/// What wakes a pump.
struct Parts {
    task: Arc<AtomicWaker>,
    source: Part,
    posting: Part,
    beat: Part,
    clock: Part,
}

impl Parts {
    fn new() -> Self {
        let task = Arc::new(AtomicWaker::new());
        let part = || Part::of(&task);
        Self { source: part(), posting: part(), beat: part(), clock: part(), task }
    }
}

impl Pump {
    /// Invokes the agent and relays its answer.
    pub(super) async fn run(mut self, invoke: Invoke) -> Ended {
        let mut source = Source::Opening(Box::pin(async { invoke.stream().await.map(Box::new) }));
        let mut posting: Option<Posting> = None;
        let mut quiet_since = Instant::now();
        let mut beat = Box::pin(sleep(self.heartbeat));
        let mut clock = self.until.map(|at| Box::pin(sleep_until(at.into())));
        let mut ended = Ended::Told;
        let parts = Parts::new();
        loop {
            let over = matches!(source, Source::Over);
            if over && posting.is_none() && self.outbox.is_empty() {
                return ended;
            }
            match self.next(&parts, &mut source, &mut posting, &mut beat, &mut clock).await {
                Next::Opened(Ok(stream)) => {
                    // A whole JSON value is the answer, in whatever shape the agent gives it.
                    self.events |= stream.head().framing() == Framing::Json;
                    source = Source::Open(stream);
                }
                Next::Opened(Err(error)) => {
                    source = Source::Over;
                    self.failed(&error, None);
                }
                Next::Event(Some(Ok(event))) if event.data_str().is_none() => {
                    // Let go of, rather than left out of an answer that then counts as complete.
                    source = Source::Over;
                    let message = "the answer is no text, and frames hold nothing else";
                    let error = Error::new(ErrorKind::Protocol, Delivery::Accepted, message);
                    self.failed(&error, None);
                }
                Next::Event(Some(Ok(event))) => self.take_in(&event),
                Next::Event(Some(Err(error))) => {
                    let end = match &source {
                        Source::Open(stream) => stream.end(),
                        _ => None,
                    };
                    source = Source::Over;
                    self.failed(&error, end);
                }
                Next::Event(None) => {
                    source = Source::Over;
                    self.outbox.push(Frame::End { state: StreamEnd::Complete.as_str() });
                }
                Next::Post => posting = self.outbox.take().map(|taken| self.post(taken)),
                Next::Posted(posted) => {
                    let taken = posting.take().and_then(|posting| posting.taken);
                    quiet_since = Instant::now();
                    match (posted, taken) {
                        (Posted::Yes, Some(taken)) => self.outbox.sent(&taken),
                        (Posted::Yes, None) => {}
                        (Posted::TooLong, Some(taken)) if self.outbox.shorten(&taken) => {}
                        (Posted::Gone, _) => {
                            tracing::debug!(target: "agentcore_client", "the client is gone");
                            return Ended::Gone;
                        }
                        (Posted::TooLong, _) => {
                            let why = "a frame that can't be split is too long for the gateway";
                            tracing::warn!(target: "agentcore_client", "{why}");
                            return Ended::Lost;
                        }
                        // The rest behind a gap, or a text twice, would read like the agent's own.
                        (Posted::Unknown(why), _) if ended != Ended::Lost => {
                            tracing::warn!(target: "agentcore_client", "{why}");
                            (source, ended) = (Source::Over, Ended::Lost);
                            self.outbox.break_off();
                        }
                        (Posted::Failed(why) | Posted::Unknown(why), _) => {
                            tracing::warn!(target: "agentcore_client", "{why}");
                            return Ended::Lost;
                        }
                    }
                }
                Next::Beat => {
                    // Moved on only when it rings: an answer of many tokens sets no timers.
                    let due = quiet_since + self.heartbeat;
                    if posting.is_some() || due > Instant::now() {
                        let due = due.max(Instant::now() + self.heartbeat / 8);
                        beat.as_mut().reset(due);
                    } else {
                        posting = Some(self.beat());
                        beat.as_mut().reset(Instant::now() + self.heartbeat);
                    }
                }
                Next::TimeUp => {
                    clock = None;
                    if !over {
                        source = Source::Over;
                        ended = Ended::Cut;
                        let resume = self.resume.clone();
                        self.outbox.push(Frame::Continue { resume });
                    }
                }
            }
        }
    }

    async fn next(
        &self,
        parts: &Parts,
        source: &mut Source,
        posting: &mut Option<Posting>,
        beat: &mut Pin<Box<Sleep>>,
        clock: &mut Option<Pin<Box<Sleep>>>,
    ) -> Next {
        poll_fn(|cx| {
            parts.task.register(cx.waker());
            if let Some(posting) = posting
                && let Poll::Ready(posted) = parts.posting.poll(|cx| posting.post.as_mut().poll(cx))
            {
                return Poll::Ready(Next::Posted(posted));
            }
            // Before more is read: a stream that always has something must not outlive its time.
            if let Some(clock) = clock
                && parts.clock.poll(|cx| clock.as_mut().poll(cx)).is_ready()
            {
                return Poll::Ready(Next::TimeUp);
            }
            // All that is there already goes into one post.
            match source {
                Source::Opening(opening) => {
                    if let Poll::Ready(opened) = parts.source.poll(|cx| opening.as_mut().poll(cx)) {
                        return Poll::Ready(Next::Opened(opened));
                    }
                }
                Source::Open(stream) if !self.outbox.is_full() => {
                    if let Poll::Ready(event) = parts.source.poll(|cx| stream.poll_event(cx)) {
                        return Poll::Ready(Next::Event(event));
                    }
                }
                Source::Open(_) | Source::Over => {}
            }
            if posting.is_none() && !self.outbox.is_empty() {
                return Poll::Ready(Next::Post);
            }
            parts.beat.poll(|cx| beat.as_mut().poll(cx)).map(|()| Next::Beat)
        })
        .await
    }

    fn post(&self, mut taken: Taken) -> Posting {
        let (poster, socket) = (Arc::clone(&self.poster), Arc::clone(&self.socket));
        let (body, end) = (Bytes::from(std::mem::take(&mut taken.body)), self.end);
        let again = self.outbox.again();
        let post = Box::pin(async move { poster.post(&socket, body, again, end).await });
        Posting { post, taken: Some(taken) }
    }

    fn beat(&self) -> Posting {
        let (poster, socket) = (Arc::clone(&self.poster), Arc::clone(&self.socket));
        let (body, end) = (self.outbox.heartbeat(), self.end);
        let post: BoxFuture<'static, Posted> = match body {
            Some(body) => {
                Box::pin(async move { poster.post(&socket, body.into(), Again::Yes, end).await })
            }
            None => Box::pin(async move { poster.look(&socket, end).await }),
        };
        Posting { post, taken: None }
    }

    fn take_in(&mut self, event: &AgentEvent) {
        match (event.text(), event.data_str()) {
            (Some(text), _) => self.outbox.push_text(text),
            (None, Some(data)) if self.events => self.outbox.push_event(event.event(), data),
            (None, _) => {}
        }
    }

    /// Tells the client what it may know; the rest is for the log.
    fn failed(&mut self, error: &Error, end: Option<StreamEnd>) {
        if error.kind() == ErrorKind::Timeout
            && error.limit() == Some(Limit::Total)
            && self.until.is_some_and(|until| StdInstant::now() >= until)
        {
            let resume = self.resume.clone();
            return self.outbox.push(Frame::Continue { resume });
        }
        tracing::warn!(target: "agentcore_client", %error, "the agent's answer failed");
        let (code, message) = told(error);
        self.outbox.push(Frame::Error {
            code,
            message: message.to_owned(),
            delivery: Some(error.delivery().as_str()),
            state: end.map(StreamEnd::as_str),
        });
    }
}

/// A failure as a stranger may see it: a stable code, and nothing of the account or the agent.
fn told(error: &Error) -> (&'static str, &'static str) {
    match error.kind() {
        ErrorKind::Agent => ("agent_error", "the agent failed"),
        ErrorKind::Service if matches!(error.status(), Some(402 | 429)) => {
            ("throttled", "too many requests; try again in a while")
        }
        ErrorKind::Service | ErrorKind::Connect | ErrorKind::Credentials | ErrorKind::Protocol => {
            ("agent_unavailable", "the agent can't be reached")
        }
        ErrorKind::Timeout => ("timeout", "the agent took too long"),
        ErrorKind::StreamInterrupted => ("interrupted", "the answer broke off"),
        ErrorKind::TooLarge => ("too_large", "the message or the answer is too large"),
        ErrorKind::InvalidInput | ErrorKind::Closed | ErrorKind::Internal => {
            ("internal", "the relay failed")
        }
    }
}
