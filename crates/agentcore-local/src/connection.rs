//! One client connection: requests in, answers out, until either side has enough.

use crate::answer::{Answer, Head, Next, Place};
use crate::clock;
use crate::config::Shared;
use crate::encoding::{sha256_hex, uuid};
use crate::error::ServiceError;
use crate::faults::Fault;
use crate::gateway;
use crate::headers::Headers;
use crate::http1::{self, BadRequest, ChunkDecoder, Framing, MAX_BODY, TOO_LARGE};
use crate::journal::JournalEvent;
use crate::service::{self, Request};
use crate::validate::REQUEST_ID;
use crate::wire::{Left, Wire};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Why there is no request.
pub(crate) enum Ended {
    /// The client has left; with bytes of an unfinished request or without.
    Left,
    /// The connection was idle for as long as a fault said.
    Idle,
    Bad(BadRequest),
}

impl From<Left> for Ended {
    fn from(_: Left) -> Self {
        Self::Left
    }
}

impl From<BadRequest> for Ended {
    fn from(bad: BadRequest) -> Self {
        Self::Bad(bad)
    }
}

/// Tells the journal that the connection is gone, however it ends: also when it is dropped.
struct Closing<'a> {
    place: Place<'a>,
    requests: u64,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.place.note(JournalEvent::ConnectionClosed { requests: self.requests });
    }
}

pub(crate) async fn run(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr, number: u64) {
    let place = Place { journal: &shared.journal, connection: number, call: 0 };
    place.note(JournalEvent::ConnectionOpened { peer: peer.to_string() });
    let mut closing = Closing { place, requests: 0 };
    let mut wire = Wire::new(stream);
    let mut idle = None;
    loop {
        let request = match read(&mut wire, idle).await {
            Ok(request) => request,
            Err(Ended::Left) => {
                if !wire.inbox.is_empty() {
                    let phase = "request".to_owned();
                    place.note(JournalEvent::Disconnect { phase, chunks: 0, bytes: 0 });
                }
                return;
            }
            Err(Ended::Idle) => return,
            Err(Ended::Bad(bad)) => {
                refuse(shared, &mut wire, place, bad).await;
                drop(closing);
                return wire.close().await;
            }
        };
        closing.requests += 1;
        if let Some(running) = &shared.gateway
            && gateway::asks_for_socket(shared, &request)
        {
            return gateway::run_socket(shared, running, wire, peer, number, request).await;
        }
        let (next, may_idle) = service::serve(shared, &mut wire, number, request).await;
        idle = may_idle;
        match next {
            Next::KeepAlive => {}
            Next::Gone => return,
            Next::Reset => return wire.reset().await,
            Next::Close => {
                drop(closing);
                return wire.close().await;
            }
        }
    }
}

/// Reads one whole request. An unfinished one stays in the inbox, so that it can be told from none.
pub(crate) async fn read(wire: &mut Wire, idle: Option<Duration>) -> Result<Request, Ended> {
    if wire.inbox.is_empty() {
        match idle {
            None => wire.fill().await?,
            Some(time) => {
                tokio::time::timeout(time, wire.fill()).await.map_err(|_| Ended::Idle)??
            }
        }
    }
    let (head, used) = loop {
        match http1::parse_head(&wire.inbox)? {
            Some(parsed) => break parsed,
            None => wire.fill().await?,
        }
    };
    if matches!(head.framing, Framing::Length(n) if n > MAX_BODY) {
        return Err(TOO_LARGE.into());
    }
    // A client that has begun its body isn't waiting to be told to.
    if head.expects_continue && wire.inbox.len() == used && head.framing != Framing::Length(0) {
        wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let body: Bytes = match head.framing {
        Framing::Length(length) => {
            let end = used + usize::try_from(length).unwrap_or(usize::MAX - used);
            while wire.inbox.len() < end {
                wire.fill().await?;
            }
            let rest = wire.inbox.split_off(end);
            let mut request = std::mem::replace(&mut wire.inbox, rest);
            request.drain(..used);
            request.into()
        }
        Framing::Chunked => {
            let mut decoder = ChunkDecoder::new();
            let mut body = Vec::new();
            let mut at = used;
            loop {
                at += decoder.decode(&wire.inbox[at..], &mut body)?;
                if decoder.is_done() {
                    break;
                }
                // The head stays as the sign of an unfinished request; the body need not.
                wire.inbox.drain(used..at);
                at = used;
                wire.fill().await?;
            }
            wire.inbox.drain(..at);
            body.into()
        }
    };
    Ok(Request {
        method: head.method,
        target: head.target,
        headers: head.headers,
        body_sha256: sha256_hex(&body),
        body,
        keep_alive: head.keep_alive,
    })
}

/// Answers bytes that are no request of ours; the connection cannot be used any further.
async fn refuse(shared: &Shared, wire: &mut Wire, place: Place<'_>, bad: BadRequest) {
    let BadRequest(status, reason) = bad;
    place.note(JournalEvent::BadRequest { status, reason: reason.to_owned() });
    let error = if bad == TOO_LARGE {
        let limit = format!("have length less than or equal to {MAX_BODY}");
        ServiceError::validation("payload", &limit)
    } else {
        let mut error = ServiceError::cannot_parse(reason);
        error.status = status;
        error
    };
    answer_error(shared, wire, place, error).await;
}

/// Writes an error as the last thing on a connection.
pub(crate) async fn answer_error(
    shared: &Shared,
    wire: &mut Wire,
    place: Place<'_>,
    error: ServiceError,
) {
    let body = Bytes::from(error.body.to_string());
    let request_id = uuid();
    let headers = Headers::from_iter([
        ("content-type", "application/json".to_owned()),
        ("content-length", body.len().to_string()),
        ("date", clock::http_date(shared.now(0))),
        (REQUEST_ID, request_id.clone()),
        ("x-amzn-ErrorType", error.code.clone()),
    ]);
    let head = Head {
        status: error.status,
        headers,
        error_type: Some(error.code),
        session_id: None,
        request_id,
    };
    // Whether it arrives or not, the connection is over.
    let _ = Answer::new(wire, place, &Fault::default(), false).whole(head, body).await;
}
