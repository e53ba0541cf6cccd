//! An answer passed on as server-sent events: whole events only, so that a
//! heartbeat or an error never falls into one, and an end that tells its kind.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::Stream;
use tokio::time::Sleep;

use crate::error::{Delivery, Error, ErrorKind, Result, StreamEnd};
use crate::operations::stream::{AgentEvent, AgentStream};
use crate::protocol::session::SessionId;

const HEARTBEAT: &[u8] = b": heartbeat\n\n";
const END: &[u8] = b"event: end\ndata: {}\n\n";
const LEAST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3_600);

/// An answer as server-sent events for a browser; see [`AgentStream::into_sse`].
///
/// A stream of bytes to be the body of an HTTP answer with the headers [`HEADERS`](Self::HEADERS).
/// Dropping it closes the connection to the agent at once, as a web server does with the body of a
/// caller who has left. It never fails: what goes wrong is an event for the browser and a line in
/// the log.
pub struct SseStream {
    stream: AgentStream,
    text_only: bool,
    heartbeat: Option<Heartbeat>,
    over: bool,
}

struct Heartbeat {
    every: Duration,
    /// When something was last passed on.
    since: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl AgentStream {
    /// The answer as server-sent events to pass on to a browser, whatever its own type is: the
    /// agent's events with their names, ids and data, a JSON answer as one event, text by pieces.
    ///
    /// Behind them stands `event: end` after a proper end, or else `event: error` with the JSON of
    /// [`Error::to_public`]. The agent's comments and `retry` fields are not passed on, nor are any
    /// headers or the session id.
    ///
    /// # Errors
    /// [`Protocol`](ErrorKind::Protocol) if the answer is neither events, JSON nor text.
    pub fn into_sse(self) -> Result<SseStream> {
        if self.is_binary() {
            return Err(no_text(&self));
        }
        Ok(SseStream { stream: self, text_only: false, heartbeat: None, over: false })
    }
}

impl AgentEvent {
    /// The event in the form of a server-sent event, to pass it on; `None` for a binary chunk.
    pub fn to_sse(&self) -> Option<Bytes> {
        let data = self.data_str()?;
        let mut out = String::with_capacity(data.len() + 32);
        for (name, value) in [("event", self.event()), ("id", self.id())] {
            if let Some(value) = value {
                push_lines(&mut out, name, value);
            }
        }
        push_lines(&mut out, "data", data);
        out.push('\n');
        Some(out.into())
    }
}

/// The field once for each line of its value, whatever ends a line there: what is data must not
/// become another field.
fn push_lines(out: &mut String, name: &str, value: &str) {
    let mut rest = Some(value);
    while let Some(text) = rest {
        let end = text.find(['\r', '\n']);
        let line = &text[..end.unwrap_or(text.len())];
        rest = end.map(|at| {
            let after = &text[at..];
            after.strip_prefix("\r\n").unwrap_or(&after[1..])
        });
        out.extend([name, ": ", line, "\n"]);
    }
}

impl SseStream {
    /// The headers of an answer with such a body. They keep caches and proxies from holding events
    /// back.
    pub const HEADERS: [(&str, &str); 4] = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
    ];

    /// Passes on only what the agent says, each piece as one event whose data is a JSON string.
    pub fn text_only(mut self) -> Self {
        self.text_only = true;
        self
    }

    /// Sends a comment whenever nothing was passed on for so long, since proxies cut connections
    /// that are quiet: `: heartbeat`, between two events. Needs a tokio runtime with time.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for less than a second or more than an hour.
    pub fn heartbeat(mut self, every: Duration) -> Result<Self> {
        if !(LEAST..=LONGEST).contains(&every) {
            let shape = format_args!("{every:?}");
            return Err(Error::invalid("heartbeat", shape, "needs 1 s to 1 h"));
        }
        self.heartbeat = Some(Heartbeat { every, since: Instant::now(), sleep: None });
        Ok(self)
    }

    /// The runtime session that answers. It is not passed on.
    pub fn session_id(&self) -> &SessionId {
        self.stream.session_id()
    }

    /// How the answer ended; `None` while it goes on.
    pub fn end(&self) -> Option<StreamEnd> {
        self.stream.end()
    }

    fn shown(&self, event: &AgentEvent) -> Option<Result<Bytes>> {
        if self.text_only {
            let text = serde_json::to_string(event.text()?).ok()?;
            return Some(Ok(format!("data: {text}\n\n").into()));
        }
        Some(event.to_sse().ok_or_else(|| no_text(&self.stream)))
    }

    fn failed(&mut self, error: &Error) -> Bytes {
        self.over = true;
        self.stream.close();
        tracing::warn!(target: "agentcore_client", "an answer that is passed on failed: {error}");
        format!("event: error\ndata: {}\n\n", error.to_public()).into()
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.over {
            return Poll::Ready(None);
        }
        loop {
            let bytes = match self.stream.poll_event(cx) {
                Poll::Ready(Some(Ok(event))) => match self.shown(&event) {
                    None => continue,
                    Some(Ok(bytes)) => bytes,
                    Some(Err(error)) => self.failed(&error),
                },
                Poll::Ready(Some(Err(error))) => self.failed(&error),
                Poll::Ready(None) => {
                    self.over = true;
                    // Closed from elsewhere, it has no end to tell of.
                    let complete = self.stream.end() == Some(StreamEnd::Complete);
                    return Poll::Ready(complete.then(|| Bytes::from_static(END)));
                }
                Poll::Pending => {
                    let Some(heartbeat) = &mut self.heartbeat else { return Poll::Pending };
                    std::task::ready!(heartbeat.poll(cx));
                    Bytes::from_static(HEARTBEAT)
                }
            };
            if let Some(heartbeat) = &mut self.heartbeat {
                heartbeat.since = Instant::now();
            }
            return Poll::Ready(Some(bytes));
        }
    }
}

impl Heartbeat {
    /// Ready when nothing was passed on for long enough. The timer is not moved at each event, only
    /// looked at when it strikes.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let due = self.since + self.every;
            let sleep =
                self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            std::task::ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
            if Instant::now() >= due {
                return Poll::Ready(());
            }
        }
    }
}

fn no_text(stream: &AgentStream) -> Error {
    let message = "the answer is neither events, JSON nor text, so it has no form as server-sent events; pass its bytes on with into_bytes_stream";
    Error::new(ErrorKind::Protocol, Delivery::Accepted, message)
        .with_status(stream.status())
        .for_session(stream.session_id().as_str())
}

impl Stream for SseStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_bytes(cx).map(|bytes| bytes.map(Ok))
    }
}

impl fmt::Debug for SseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseStream")
            .field("stream", &self.stream)
            .field("text_only", &self.text_only)
            .field("heartbeat", &self.heartbeat.as_ref().map(|heartbeat| heartbeat.every))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_data_becomes_another_field() {
        let lines = |value| {
            let mut out = String::new();
            push_lines(&mut out, "data", value);
            out
        };
        assert_eq!(lines(""), "data: \n");
        assert_eq!(lines("a"), "data: a\n");
        assert_eq!(lines(" a\nb\rc\r\nd"), "data:  a\ndata: b\ndata: c\ndata: d\n");
        assert_eq!(lines("a\n\nid: 7\r"), "data: a\ndata: \ndata: id: 7\ndata: \n");
        assert_eq!(lines("a\u{2028}b"), "data: a\u{2028}b\n");
    }
}
