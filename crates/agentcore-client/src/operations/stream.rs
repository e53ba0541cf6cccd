//! An answer while it arrives: events, text deltas or raw bytes, and the truth
//! about how it ended.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use futures::Stream;
use http::HeaderMap;
use serde::de::DeserializeOwned;

use super::answer::{Framing, Head, Receiver, too_large};
use crate::config::Limits;
use crate::error::{Delivery, Error, ErrorKind, Result, StreamEnd};
use crate::protocol::agent_error::{AgentErrorPayload, in_stream_error};
use crate::protocol::service_error::one_line;
use crate::protocol::session::SessionId;
use crate::protocol::sse::{SseDecoder, SseEvent};
use crate::protocol::text::{TextExtractor, TextFormat, whole_text};

/// An answer while it arrives.
///
/// It is a [`Stream`] of [`AgentEvent`]s. After its end, whatever the end was, it stays ended:
/// [`end`](Self::end) says how. Dropping it closes the connection at once; that does not stop the
/// agent, which [`Client::stop_session`](crate::Client::stop_session) does.
pub struct AgentStream {
    receiver: Receiver,
    decoder: Decoder,
    format: TextFormat,
    text: TextExtractor,
    limits: Limits,
    on_drop: Option<OnDrop>,
}

/// Runs when a stream is let go of before its end.
pub(crate) type OnDrop = Box<dyn FnOnce(SessionId) + Send + Sync>;

/// What an agent sent, one at a time.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentEvent {
    event: Option<ByteString>,
    id: Option<ByteString>,
    data: Data,
    text: Option<ByteString>,
}

#[derive(Clone, PartialEq, Eq)]
enum Data {
    Text(ByteString),
    Bytes(Bytes),
}

impl AgentEvent {
    /// The event's name, for server-sent events that have one.
    pub fn event(&self) -> Option<&str> {
        self.event.as_deref()
    }

    /// The event's id, for server-sent events that have one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The raw data: of a server-sent event, a whole JSON value, or a chunk of another type.
    pub fn data(&self) -> &[u8] {
        match &self.data {
            Data::Text(text) => text.as_bytes(),
            Data::Bytes(bytes) => bytes,
        }
    }

    /// The raw data as text; `None` for a binary chunk.
    pub fn data_str(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            Data::Bytes(_) => None,
        }
    }

    /// The data as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        decode_json(self.data(), "this event")
    }

    /// What the agent said in this event; `None` where it carries no text.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// [`text`](Self::text) without a copy.
    pub fn into_text(self) -> Option<ByteString> {
        self.text
    }

    /// Copies a small event out of the buffer that it came in. For who keeps it while waiting for
    /// the next one: as long as a part of it is held, the connection needs another buffer.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn detach(&mut self) {
        const SMALL: usize = 1 << 10;
        for name in [&mut self.event, &mut self.id].into_iter().flatten() {
            *name = ByteString::from(&**name);
        }
        let data = match &mut self.data {
            Data::Text(data) if data.len() <= SMALL => data,
            // It is most of what it holds on to.
            Data::Text(_) | Data::Bytes(_) => return,
        };
        let copy = ByteString::from(&**data);
        if let Some(text) = &mut self.text {
            // A text is a part of its data, or was made from it.
            let start = text.as_ptr().addr().wrapping_sub(data.as_ptr().addr());
            let part = start.checked_add(text.len()).and_then(|end| copy.get(start..end));
            if let Some(part) = part {
                *text = copy.slice_ref(part);
            }
        }
        *data = copy;
    }
}

impl fmt::Debug for AgentEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("AgentEvent");
        debug.field("event", &self.event).field("id", &self.id);
        match &self.data {
            Data::Text(text) => debug.field("data", text),
            Data::Bytes(bytes) => debug.field("data", bytes),
        };
        debug.field("text", &self.text).finish()
    }
}

pub(crate) fn decode_json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|cause| {
        Error::new(
            ErrorKind::Protocol,
            Delivery::Accepted,
            format!("{what} is not the JSON that was asked for: {cause}"),
        )
    })
}

enum Decoder {
    Events(Box<SseDecoder>),
    /// Collected until the end.
    Json(BytesMut),
    /// Holds the start of a character whose end has not come yet.
    Text(BytesMut),
    Bytes,
}

impl AgentStream {
    pub(crate) fn new(
        receiver: Receiver,
        format: TextFormat,
        limits: Limits,
        on_drop: Option<OnDrop>,
    ) -> Self {
        let decoder = match receiver.head.framing() {
            Framing::Events => Decoder::Events(Box::new(SseDecoder::new(limits.event))),
            Framing::Json => Decoder::Json(BytesMut::new()),
            Framing::Text => Decoder::Text(BytesMut::new()),
            Framing::Bytes => Decoder::Bytes,
        };
        Self { receiver, decoder, format, text: TextExtractor::new(format), limits, on_drop }
    }

    /// The runtime session that answers. Keep it to go on in the same session.
    pub fn session_id(&self) -> &SessionId {
        &self.receiver.head.session_id
    }

    /// HTTP status of the answer.
    pub fn status(&self) -> u16 {
        self.receiver.head.status.as_u16()
    }

    /// Content type of the answer.
    pub fn content_type(&self) -> Option<&str> {
        self.receiver.head.content_type()
    }

    /// The service's request id.
    pub fn request_id(&self) -> Option<&str> {
        self.receiver.head.request_id()
    }

    /// Where this one session can be reached directly, if the runtime opens ports for that. An
    /// `https` URL or nothing; never send it credentials without looking at its host.
    pub fn session_endpoint_url(&self) -> Option<&str> {
        self.receiver.head.session_endpoint_url()
    }

    /// All headers of the answer.
    pub fn headers(&self) -> &HeaderMap {
        &self.receiver.head.headers
    }

    /// How the stream ended; `None` while it goes on.
    pub fn end(&self) -> Option<StreamEnd> {
        self.receiver.end
    }

    /// Events handed over so far.
    pub fn events_seen(&self) -> u64 {
        self.receiver.events
    }

    /// The next event; `None` after the end. Dropping it before it is done loses nothing.
    pub async fn try_next(&mut self) -> Result<Option<AgentEvent>> {
        let read = Read(self);
        std::future::poll_fn(|cx| read.0.poll_event(cx)).await.transpose()
    }

    /// What the agent says, as it says it, without the events that carry no text.
    pub fn text_deltas(&mut self) -> TextDeltas<'_> {
        TextDeltas(self)
    }

    /// The answer's raw bytes as they arrive, from here on: take it before the first event, since
    /// what has been received and decoded already is not repeated.
    pub fn into_bytes_stream(mut self) -> BytesStream {
        // Nobody decodes from here on, so only the receiver's own end matters.
        self.decoder = Decoder::Bytes;
        BytesStream(self)
    }

    /// Closes the connection at once. The agent may go on; `stop_session` ends it.
    pub fn close(&mut self) {
        self.receiver.close_as(StreamEnd::Closed);
        if self.receiver.end == Some(StreamEnd::Closed) {
            self.let_go();
        }
    }

    /// For who reads in batches, and so polls when no read waits: whether silence goes on to count
    /// from now on towards the idle limit. A poll that finds nothing lets it count in any case.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn count_silence(&mut self, counts: bool) {
        self.receiver.count_silence(counts);
    }

    /// Whoever waits has gone, nobody knows when: that read does not count.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn forget_read(&mut self) {
        self.receiver.forget_read();
    }

    fn let_go(&mut self) {
        if let Some(on_drop) = self.on_drop.take() {
            on_drop(self.receiver.head.session_id.clone());
        }
    }

    /// Whether it comes in chunks that are no text.
    pub(crate) fn is_binary(&self) -> bool {
        matches!(self.decoder, Decoder::Bytes)
    }

    pub(crate) fn head(&self) -> &Head {
        &self.receiver.head
    }

    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<AgentEvent>>> {
        self.poll_event_and(cx, |_| {})
    }

    /// The next event; `raw` sees each chunk before it is decoded.
    pub(crate) fn poll_event_and(
        &mut self,
        cx: &mut Context<'_>,
        mut raw: impl FnMut(&Bytes),
    ) -> Poll<Option<Result<AgentEvent>>> {
        loop {
            if let Decoder::Events(decoder) = &mut self.decoder
                && matches!(self.receiver.end, None | Some(StreamEnd::Complete))
            {
                match decoder.next_event() {
                    Ok(Some(event)) => return Poll::Ready(Some(self.hand_over(event))),
                    Ok(None) => {}
                    Err(_) => {
                        let limit = self.limits.event as u64;
                        let error = too_large("an event", limit, "limits.event");
                        let error = self.receiver.fail(StreamEnd::TooLarge, error);
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
            let chunk = match self.receiver.poll_chunk(cx) {
                Poll::Ready(Some(Ok(chunk))) => chunk,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(self.rest().map(Ok)),
                Poll::Pending => return Poll::Pending,
            };
            raw(&chunk);
            match &mut self.decoder {
                Decoder::Events(decoder) => decoder.push(chunk),
                Decoder::Json(whole) => {
                    if whole.is_empty() {
                        // Most answers come in one piece, which then needs no copy at the end.
                        *whole = BytesMut::from(chunk);
                    } else {
                        whole.extend_from_slice(&chunk);
                    }
                }
                Decoder::Text(carry) => {
                    if let Some(text) = whole_characters(carry, chunk) {
                        return Poll::Ready(Some(Ok(self.chunk(Data::Text(text)))));
                    }
                }
                Decoder::Bytes => {
                    return Poll::Ready(Some(Ok(self.chunk(Data::Bytes(chunk)))));
                }
            }
        }
    }

    /// What is left when the body has ended properly; once.
    fn rest(&mut self) -> Option<AgentEvent> {
        if self.receiver.end != Some(StreamEnd::Complete) {
            return None;
        }
        self.on_drop = None;
        match std::mem::replace(&mut self.decoder, Decoder::Bytes) {
            Decoder::Events(mut decoder) => {
                if decoder.finish() {
                    tracing::debug!(
                        target: "agentcore_client",
                        "the stream ended within an event, which is dropped as the standard says"
                    );
                }
                None
            }
            Decoder::Json(whole) if !whole.is_empty() => {
                let whole = whole.freeze();
                let content_type = self.receiver.head.content_type().unwrap_or_default();
                let text = whole_text(content_type, &whole, self.format);
                let data = match ByteString::try_from(whole.clone()) {
                    Ok(text) => Data::Text(text),
                    Err(_) => Data::Bytes(whole),
                };
                self.receiver.events += 1;
                Some(AgentEvent { event: None, id: None, data, text })
            }
            Decoder::Text(carry) if !carry.is_empty() => {
                let text = ByteString::from(String::from_utf8_lossy(&carry).into_owned());
                Some(self.chunk(Data::Text(text)))
            }
            _ => None,
        }
    }

    /// A chunk of an answer that is neither server-sent events nor JSON.
    fn chunk(&mut self, data: Data) -> AgentEvent {
        self.receiver.events += 1;
        let text = match &data {
            Data::Text(text) if self.format != TextFormat::None => Some(text.clone()),
            _ => None,
        };
        AgentEvent { event: None, id: None, data, text }
    }

    fn hand_over(&mut self, event: SseEvent) -> Result<AgentEvent> {
        let SseEvent { event, id, data, .. } = event;
        if let Some(reported) = in_stream_error(event.as_deref(), &data) {
            return Err(self.reported(reported, data));
        }
        self.receiver.events += 1;
        let text = self.text.extract(event.as_deref(), &data);
        Ok(AgentEvent { event, id, data: Data::Text(data), text })
    }

    /// The agent reports its own failure in its stream.
    fn reported(&mut self, reported: AgentErrorPayload, data: ByteString) -> Error {
        let said = match &reported.error_type {
            Some(error_type) => format!("{error_type}: {}", reported.message),
            None => reported.message,
        };
        let message = format!("the agent failed: {}", one_line(&said));
        let error = Error::new(ErrorKind::Agent, Delivery::Accepted, message)
            .with_agent_payload(data.as_ref() as &str);
        self.on_drop = None;
        self.receiver.fail(StreamEnd::AgentError, error)
    }
}

impl Drop for AgentStream {
    fn drop(&mut self) {
        // At a limit of ours it is this side that hung up on an agent which may go on.
        if let None | Some(StreamEnd::IdleTimeout | StreamEnd::TotalTimeout | StreamEnd::TooLarge) =
            self.receiver.end
        {
            self.let_go();
        }
    }
}

/// Takes the whole characters off a chunk and keeps the start of one that is cut. Bytes that are
/// no UTF-8 become U+FFFD.
fn whole_characters(carry: &mut BytesMut, chunk: Bytes) -> Option<ByteString> {
    let whole = if carry.is_empty() {
        chunk
    } else {
        carry.extend_from_slice(&chunk);
        carry.split().freeze()
    };
    let cut = match std::str::from_utf8(&whole) {
        Ok(_) => whole.len(),
        // Only an unfinished character at the very end has no `error_len`.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => {
            let tail = unfinished(&whole);
            whole.len() - tail
        }
    };
    carry.extend_from_slice(&whole[cut..]);
    let whole = whole.slice(..cut);
    if whole.is_empty() {
        return None;
    }
    Some(match ByteString::try_from(whole.clone()) {
        Ok(text) => text,
        Err(_) => ByteString::from(String::from_utf8_lossy(&whole).into_owned()),
    })
}

/// How many bytes at the end may be the start of a character: at most three.
fn unfinished(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(3))
        .find(|back| {
            let tail = &bytes[bytes.len() - back..];
            let needs = match tail[0] {
                0xC2..=0xDF => 2,
                0xE0..=0xEF => 3,
                0xF0..=0xF4 => 4,
                _ => 0,
            };
            needs > *back
                && matches!(std::str::from_utf8(tail), Err(error) if error.error_len().is_none())
        })
        .unwrap_or(0)
}

impl Stream for AgentStream {
    type Item = Result<AgentEvent>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(cx)
    }
}

impl fmt::Debug for AgentStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentStream")
            .field("session_id", self.session_id())
            .field("content_type", &self.content_type())
            .field("events_seen", &self.receiver.events)
            .field("end", &self.receiver.end)
            .finish_non_exhaustive()
    }
}

/// The text of a stream; see [`AgentStream::text_deltas`].
#[derive(Debug)]
pub struct TextDeltas<'a>(&'a mut AgentStream);

impl TextDeltas<'_> {
    /// The next piece of text; `None` after the end.
    pub async fn try_next(&mut self) -> Result<Option<ByteString>> {
        std::future::poll_fn(|cx| self.poll_text(cx)).await.transpose()
    }

    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ByteString>>> {
        loop {
            match std::task::ready!(self.0.poll_event(cx)) {
                Some(Ok(event)) => {
                    if let Some(text) = event.into_text() {
                        return Poll::Ready(Some(Ok(text)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Stream for TextDeltas<'_> {
    type Item = Result<ByteString>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_text(cx)
    }
}

/// A read that is dropped waits no longer.
struct Read<'a>(&'a mut AgentStream);

impl Drop for Read<'_> {
    fn drop(&mut self) {
        self.0.receiver.count_silence(false);
    }
}

/// The raw bytes of a stream; see [`AgentStream::into_bytes_stream`].
#[derive(Debug)]
pub struct BytesStream(AgentStream);

impl BytesStream {
    /// The runtime session that answers.
    pub fn session_id(&self) -> &SessionId {
        self.0.session_id()
    }

    /// How the stream ended; `None` while it goes on.
    pub fn end(&self) -> Option<StreamEnd> {
        self.0.end()
    }

    /// Closes the connection at once. The agent may go on; `stop_session` ends it.
    pub fn close(&mut self) {
        self.0.close();
    }

    /// See `AgentStream::count_silence`.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn count_silence(&mut self, counts: bool) {
        self.0.count_silence(counts);
    }

    /// See `AgentStream::forget_read`.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn forget_read(&mut self) {
        self.0.forget_read();
    }
}

impl Stream for BytesStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = std::task::ready!(self.0.receiver.poll_chunk(cx));
        if self.0.receiver.end == Some(StreamEnd::Complete) {
            self.0.on_drop = None;
        }
        Poll::Ready(polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_stay_whole_however_the_bytes_are_cut() {
        let said = "aü€😀 z".as_bytes();
        for first in 0..=said.len() {
            for second in first..=said.len() {
                let mut carry = BytesMut::new();
                let mut out = String::new();
                for part in [&said[..first], &said[first..second], &said[second..]] {
                    if let Some(text) = whole_characters(&mut carry, Bytes::copy_from_slice(part)) {
                        out.push_str(&text);
                    }
                }
                assert!(carry.is_empty());
                assert_eq!(out.as_bytes(), said);
            }
        }
    }

    #[test]
    fn broken_text_is_replaced_and_never_held_back() {
        let mut carry = BytesMut::new();
        let text = whole_characters(&mut carry, Bytes::from_static(b"a\xffb\xe2\x82")).unwrap();
        assert_eq!(&*text, "a\u{fffd}b");
        assert_eq!(&carry[..], b"\xe2\x82");
        let text = whole_characters(&mut carry, Bytes::from_static(b"\xac")).unwrap();
        assert_eq!(&*text, "€");
        assert!(whole_characters(&mut carry, Bytes::from_static(b"\xf0\x9f")).is_none());
        let text = whole_characters(&mut carry, Bytes::from_static(b"x")).unwrap();
        assert_eq!(&*text, "\u{fffd}x");
    }
}
