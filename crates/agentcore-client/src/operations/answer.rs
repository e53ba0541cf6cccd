//! An answer as it arrives: its head, and its chunks with every way in which
//! they can break off turned into an error that says what is needed to go on.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Answer;
use crate::config::Timeouts;
use crate::error::{Attempt, Delivery, Error, ErrorKind, Limit, StreamEnd};
use crate::protocol::headers;
use crate::protocol::session::SessionId;
use crate::transport::{Body, BodyError};

/// The head of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) session_id: SessionId,
}

/// How an answer's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events.
    Events,
    /// One JSON value.
    Json,
    /// Text, handed over as it comes, cut only between characters.
    Text,
    /// Bytes, handed over as they come.
    Bytes,
}

impl Head {
    pub(crate) fn header(&self, name: &http::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn content_type(&self) -> Option<&str> {
        self.header(&header::CONTENT_TYPE)
    }

    pub(crate) fn request_id(&self) -> Option<&str> {
        self.header(&headers::X_AMZN_REQUEST_ID)
    }

    pub(crate) fn session_endpoint_url(&self) -> Option<&str> {
        self.header(&headers::SESSION_ENDPOINT_URL).filter(|url| url.starts_with("https://"))
    }

    /// Moves the headers into memory of their own. As they came, their values pin the connection's
    /// read buffer and their map is the request's, grown for a signature: 10 KiB together for as
    /// long as a stream is open.
    pub(crate) fn compact(&mut self) {
        let size = self.headers.values().map(HeaderValue::len).sum();
        let mut all = BytesMut::with_capacity(size);
        self.headers.values().for_each(|value| all.extend_from_slice(value.as_bytes()));
        let mut all = all.freeze();
        let mut own = HeaderMap::with_capacity(self.headers.keys_len());
        for (name, value) in &self.headers {
            let copy = HeaderValue::from_maybe_shared(all.split_to(value.len()));
            // What was a header value still is one.
            own.append(name, copy.unwrap_or_else(|_| value.clone()));
        }
        self.headers = own;
    }

    /// By media type alone: parameters and case don't count.
    pub(crate) fn framing(&self) -> Framing {
        let content_type = self.content_type().unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| media_type.eq_ignore_ascii_case(name);
        let ends = |end: &str| {
            media_type.len() > end.len()
                && media_type.is_char_boundary(media_type.len() - end.len())
                && media_type[media_type.len() - end.len()..].eq_ignore_ascii_case(end)
        };
        if is("text/event-stream") {
            Framing::Events
        } else if is("application/json") || ends("+json") {
            Framing::Json
        } else if media_type.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/")) {
            Framing::Text
        } else {
            Framing::Bytes
        }
    }

    /// What the service promised as the body's length.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(&header::CONTENT_LENGTH).and_then(|length| length.parse().ok())
    }
}

/// An answer while it arrives. Dropping it closes its connection.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) head: Head,
    body: Body,
    limit: u64,
    idle: Duration,
    total: Duration,
    /// The tries before this answer.
    attempts: Vec<Attempt>,
    /// Events that the layer above has handed over; they are named in errors.
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) end: Option<StreamEnd>,
}

impl Receiver {
    pub(crate) fn new(answer: Answer, timeouts: &Timeouts, limit: u64) -> Self {
        let Answer { status, headers, body, session_id, started, end, attempts } = answer;
        let total =
            end.map_or(Duration::ZERO, |end: Instant| end.saturating_duration_since(started));
        Self {
            head: Head { status, headers, session_id },
            body,
            limit,
            idle: timeouts.idle.unwrap_or_default(),
            total,
            attempts,
            events: 0,
            bytes: 0,
            end: None,
        }
    }

    /// The next chunk as it came; `None` after the proper end, and after any other end.
    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        if self.end.is_some() {
            return Poll::Ready(None);
        }
        let Poll::Ready(polled) = self.body.poll_chunk(cx) else { return Poll::Pending };
        Poll::Ready(match polled {
            Some(Ok(chunk)) => {
                self.bytes += chunk.len() as u64;
                if self.bytes > self.limit {
                    let error = too_large("the answer", self.limit, "limits.answer");
                    Some(Err(self.fail(StreamEnd::TooLarge, error)))
                } else {
                    Some(Ok(chunk))
                }
            }
            Some(Err(cause)) => Some(Err(self.broken(cause))),
            None => {
                self.end = Some(StreamEnd::Complete);
                None
            }
        })
    }

    pub(crate) fn count_silence(&mut self, counts: bool) {
        self.body.count_silence(counts);
    }

    #[cfg(feature = "internals")]
    pub(crate) fn forget_read(&mut self) {
        self.body.forget_read();
    }

    fn broken(&mut self, cause: BodyError) -> Error {
        match cause {
            BodyError::Broken(cause) => {
                let error = Error::new(
                    ErrorKind::StreamInterrupted,
                    Delivery::Accepted,
                    "the answer broke off before its end; the agent may still be running. Go on in the same session, or end it with stop_session",
                )
                .with_source(cause);
                self.fail(StreamEnd::Truncated, error)
            }
            BodyError::NotHttp(cause) => {
                let error = Error::new(
                    ErrorKind::Protocol,
                    Delivery::Accepted,
                    "the answer stopped being HTTP; the agent may still be running. Go on in the same session, or end it with stop_session",
                )
                .with_source(cause);
                self.fail(StreamEnd::ProtocolError, error)
            }
            BodyError::Timeout(Limit::Idle) => {
                let error = Error::timeout(Limit::Idle, self.idle, Delivery::Accepted);
                self.fail(StreamEnd::IdleTimeout, error)
            }
            BodyError::Timeout(limit) => {
                let error = Error::timeout(limit, self.total, Delivery::Accepted);
                self.fail(StreamEnd::TotalTimeout, error)
            }
        }
    }

    /// Ends the answer, closes its connection and completes the error.
    pub(crate) fn fail(&mut self, end: StreamEnd, error: Error) -> Error {
        self.close_as(end);
        let error = error.with_status(self.head.status.as_u16());
        let mut attempts = std::mem::take(&mut self.attempts);
        attempts.push(error.to_attempt(None));
        error
            .with_attempts(attempts)
            .with_request_id(self.head.request_id().map(str::to_owned))
            .with_seen(self.events, self.bytes)
            .for_session(self.head.session_id.as_str())
    }

    /// Closes the connection at once, unless the answer has ended already.
    pub(crate) fn close_as(&mut self, end: StreamEnd) {
        self.end.get_or_insert(end);
        self.body = Body::empty();
    }
}

pub(crate) fn too_large(what: &str, limit: u64, option: &str) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        Delivery::Accepted,
        format!("{what} is larger than {limit} bytes; raise {option} if that is what you expect"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_headers_are_the_same_headers() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("a", "1"), ("b", ""), ("a", "two"), ("c", "\u{fc}")] {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let (status, session_id) = (StatusCode::OK, SessionId::generate());
        let mut head = Head { status, headers: headers.clone(), session_id };
        head.compact();
        assert_eq!(head.headers, headers);
    }

    #[test]
    fn framing_goes_by_media_type() {
        let framing = |content_type: &str| {
            let mut headers = HeaderMap::new();
            if !content_type.is_empty() {
                headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            }
            Head { status: StatusCode::OK, headers, session_id: SessionId::generate() }.framing()
        };
        assert_eq!(framing("text/event-stream"), Framing::Events);
        assert_eq!(framing("Text/Event-Stream; charset=utf-8"), Framing::Events);
        assert_eq!(framing("application/json; charset=utf-8"), Framing::Json);
        assert_eq!(framing("application/problem+JSON"), Framing::Json);
        assert_eq!(framing("TEXT/plain"), Framing::Text);
        assert_eq!(framing("application/octet-stream"), Framing::Bytes);
        assert_eq!(framing("+json"), Framing::Bytes);
        assert_eq!(framing(""), Framing::Bytes);
    }
}
