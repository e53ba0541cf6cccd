//! The WebSocket side: a handshake that the function decides on, then messages in and posts out,
//! with the limits of the real gateway. A socket can be posted to only after `$connect` said yes.

use super::event::{self, Origin};
use super::function::Run;
use super::{Running, worker::Outcome};
use crate::answer::{Answer, Head, Place};
use crate::clock;
use crate::config::Shared;
use crate::connection::answer_error;
use crate::encoding::{query_pairs, uuid};
use crate::error::ServiceError;
use crate::faults::Fault;
use crate::headers::Headers;
use crate::journal::{self, JournalEvent};
use crate::router;
use crate::service::{Request, guard};
use crate::sigv4::split_target;
use crate::validate::REQUEST_ID;
use crate::wire::Wire;
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// What a message may have, either way.
pub(super) const MAX_MESSAGE: usize = 128 * 1024;
const MAX_FRAME: usize = 32 * 1024;
/// So much may wait for a client that does not read; then posts get 429.
const MAX_QUEUED: usize = 1024 * 1024;
/// How long a client has for its side of the closing handshake.
const CLOSING: Duration = Duration::from_secs(2);

/// What is sent to a socket.
enum Outgoing {
    Post(Bytes),
    Close,
}

/// A socket that `@connections` can reach.
pub(super) struct Socket {
    pub(super) origin: Origin,
    /// Its number in the journal.
    pub(super) connection: u64,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    queued: AtomicUsize,
    last_active_ms: AtomicU64,
}

impl Socket {
    pub(super) fn last_active_ms(&self) -> u64 {
        self.last_active_ms.load(Ordering::Relaxed)
    }

    fn touch(&self) {
        self.last_active_ms.store(clock::unix_now_ms(), Ordering::Relaxed);
    }

    /// Queues a post, or says what the gateway answers.
    pub(super) fn post(&self, body: Bytes) -> Result<(), ServiceError> {
        let size = body.len();
        if self.queued.load(Ordering::Relaxed) + size > MAX_QUEUED {
            return Err(ServiceError::new(
                429,
                "LimitExceededException",
                "The client does not read as fast as is written to it",
            ));
        }
        self.queued.fetch_add(size, Ordering::Relaxed);
        self.outgoing.send(Outgoing::Post(body)).map_err(|_| gone())
    }

    pub(super) fn close(&self) {
        let _ = self.outgoing.send(Outgoing::Close);
    }
}

pub(super) fn gone() -> ServiceError {
    ServiceError::new(410, "GoneException", "The connection is gone")
}

/// All sockets that are open.
#[derive(Default)]
pub(super) struct Sockets(Mutex<HashMap<String, Arc<Socket>>>);

impl Sockets {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Socket>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Socket>> {
        self.lock().get(id).cloned()
    }

    pub(super) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.lock().keys().cloned().collect();
        ids.sort();
        ids
    }
}

/// A socket on the list. It is taken off and the journal told also when the task is dropped.
struct Open<'a> {
    shared: &'a Arc<Shared>,
    running: &'a Running,
    socket: &'a Arc<Socket>,
    ending: Ending,
}

impl<'a> Open<'a> {
    fn new(shared: &'a Arc<Shared>, running: &'a Running, socket: &'a Arc<Socket>) -> Self {
        let connection_id = socket.origin.connection_id.clone();
        running.sockets.lock().insert(connection_id.clone(), Arc::clone(socket));
        let opened = JournalEvent::SocketOpened { connection_id };
        shared.journal.add(socket.connection, 0, opened);
        Self { shared, running, socket, ending: Ending::abnormal() }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let Origin { connection_id, .. } = &self.socket.origin;
        self.running.sockets.lock().remove(connection_id);
        let Ending { code, reason, .. } = &self.ending;
        self.shared.journal.add(
            self.socket.connection,
            0,
            JournalEvent::SocketClosed {
                connection_id: connection_id.clone(),
                code: *code,
                reason: reason.clone(),
            },
        );
    }
}

/// How a socket ended, in the words of the `$disconnect` event.
struct Ending {
    code: u16,
    reason: String,
    /// What the gateway has to say to the client, when it is the one that ends.
    farewell: Option<CloseFrame>,
}

impl Ending {
    /// The connection broke.
    fn abnormal() -> Self {
        Self { code: 1006, reason: "Connection closed abnormally".to_owned(), farewell: None }
    }

    fn by_client(frame: Option<CloseFrame>) -> Self {
        let (code, reason) = frame.map_or_else(
            || (1005, "Client-side close frame status not set".to_owned()),
            |frame| (frame.code.into(), frame.reason.as_str().to_owned()),
        );
        Self { code, reason, farewell: None }
    }

    fn by_gateway(code: CloseCode, reason: &'static str) -> Self {
        let farewell = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        Self { code: code.into(), reason: reason.to_owned(), farewell: Some(farewell) }
    }

    fn by_error(error: &Error) -> Self {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                Self::by_gateway(CloseCode::Size, "Message too long")
            }
            Error::Utf8(_) => Self::by_gateway(CloseCode::Invalid, "Text that is not UTF-8"),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::abnormal(),
            Error::Protocol(_) => Self::by_gateway(CloseCode::Protocol, "Not WebSocket"),
            _ => Self::abnormal(),
        }
    }
}

/// Whether the request opens a WebSocket of the gateway.
pub(crate) fn asks_for_socket(shared: &Shared, request: &Request) -> bool {
    let path = split_target(&request.target).0;
    shared.gateway.is_some()
        && request.method == "GET"
        && request.headers.lists("upgrade", "websocket")
        && !path.starts_with(&format!("{}/runtimes/", shared.base_path))
}

/// Serves one handshake and, if the function agrees, the socket to its end.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    running: &Running,
    mut wire: Wire,
    peer: SocketAddr,
    number: u64,
    request: Request,
) {
    let place = Place { journal: &shared.journal, connection: number, call: shared.next_call() };
    let (target, headers) = (&request.target, &request.headers);
    place.note(journal::request(&request.method, target, headers, None, &[], ""));
    let accepted = match handshake(shared, running, peer, number, &request).await {
        Ok(accepted) => accepted,
        Err(error) => {
            place.note(JournalEvent::SocketRefused { status: error.status });
            answer_error(shared, &mut wire, place, error).await;
            return wire.close().await;
        }
    };
    let (outgoing, posts) = mpsc::unbounded_channel();
    let socket = Arc::new(Socket {
        origin: accepted.origin,
        connection: number,
        outgoing,
        queued: AtomicUsize::new(0),
        last_active_ms: AtomicU64::new(clock::unix_now_ms()),
    });
    // A client that has its 101 can be posted to, so that this comes first.
    let mut open = Open::new(shared, running, &socket);
    let mut answer = Answer::new(&mut wire, place, &Fault::default(), true);
    let begun = answer.head(accepted.head).await;
    let (stream, read_ahead) = wire.into_parts();
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_FRAME));
    let (mut sink, mut stream) =
        WebSocketStream::from_partially_read(stream, read_ahead, Role::Server, Some(config))
            .await
            .split();
    if begun.is_ok() {
        let activity = Activity::new(running);
        open.ending = tokio::select! {
            biased;
            ending = receive(shared, &socket, &mut stream, &activity) => ending,
            ending = send(shared, &socket, &mut sink, posts, &activity) => ending,
            ending = activity.over() => ending,
        };
    }
    let farewell = open.ending.farewell.take();
    let Ending { code, reason, .. } = &open.ending;
    let event = event::disconnect(&socket.origin, *code, reason);
    // First nobody can reach it any more, then the function is told.
    drop(open);
    drop(start(shared, running, number, "$disconnect", &event));

    let closing = async {
        if let Some(frame) = farewell {
            let _ = sink.send(Message::Close(Some(frame))).await;
        } else {
            let _ = sink.flush().await;
        }
        // What the client still sends is read, so that the end reaches it as an end.
        while let Some(Ok(_)) = stream.next().await {}
    };
    let _ = tokio::time::timeout(CLOSING, closing).await;
}

struct Accepted {
    origin: Origin,
    head: Head,
}

/// Everything before the 101: guard, path, what the protocol wants, and the function's answer to
/// `$connect`.
async fn handshake(
    shared: &Arc<Shared>,
    running: &Running,
    peer: SocketAddr,
    number: u64,
    request: &Request,
) -> Result<Accepted, ServiceError> {
    guard(shared, request, &router::Route::Unknown)?;
    let (path, query) = split_target(&request.target);
    let headers = &request.headers;
    if path.trim_matches('/') != running.config.stage {
        return Err(ServiceError::new(403, "ForbiddenException", "Forbidden"));
    }
    let bad = |message: &str| ServiceError::new(400, "BadRequestException", message);
    if headers.get("sec-websocket-version") != Some("13") {
        return Err(bad("Only version 13 of the WebSocket protocol is served"));
    }
    let key = headers.get("sec-websocket-key").ok_or_else(|| bad("There is no WebSocket key"))?;
    if !headers.lists("connection", "upgrade") {
        return Err(bad("The connection is not to be upgraded"));
    }
    let origin = Origin {
        connection_id: event::new_id(),
        connected_at_ms: clock::unix_now_ms(),
        domain: running.domain.clone(),
        stage: running.config.stage.clone(),
        api_id: running.config.api_id.clone(),
        source_ip: peer.ip().to_string(),
        user_agent: headers.get("user-agent").map(str::to_owned),
    };
    let event = event::connect(&origin, headers, &query_pairs(query));
    let outcome = start(shared, running, number, "$connect", &event);
    let answer = match integration(running, outcome).await {
        Integration::Answer(answer) => answer,
        Integration::Failed => {
            return Err(ServiceError::new(502, "BadGatewayException", "Internal server error"));
        }
        Integration::Late => {
            let message = "Endpoint request timed out";
            return Err(ServiceError::new(504, "GatewayTimeoutException", message));
        }
    };
    let status = answer.get("statusCode").and_then(|s| match s {
        // API Gateway takes "200", too.
        Value::String(text) => text.parse().ok(),
        number => number.as_u64(),
    });
    let Some(status) = status.and_then(|s| u16::try_from(s).ok()) else {
        return Err(ServiceError::new(502, "BadGatewayException", "Internal server error"));
    };
    if !(200..300).contains(&status) {
        let status = if (400..600).contains(&status) { status } else { 500 };
        return Err(ServiceError::new(status, "ForbiddenException", "Forbidden"));
    }
    let request_id = uuid();
    let mut fields = Headers::from_iter([
        ("upgrade", "websocket".to_owned()),
        ("connection", "Upgrade".to_owned()),
        ("sec-websocket-accept", derive_accept_key(key.as_bytes())),
        (REQUEST_ID, request_id.clone()),
    ]);
    if let Some(protocol) = subprotocol(&answer) {
        fields.push("sec-websocket-protocol", protocol);
    }
    let head =
        Head { status: 101, headers: fields, error_type: None, session_id: None, request_id };
    Ok(Accepted { origin, head })
}

/// The subprotocol that the function chose: a client that offered some goes away without one.
fn subprotocol(answer: &Value) -> Option<String> {
    let (_, value) = answer
        .get("headers")?
        .as_object()?
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"))?;
    let value = value.as_str()?;
    value.bytes().all(|b| b.is_ascii_graphic()).then(|| value.to_owned())
}

enum Integration {
    Answer(Value),
    Failed,
    Late,
}

/// Starts the function, in the order in which this is called.
fn start(
    shared: &Arc<Shared>,
    running: &Running,
    connection: u64,
    route: &str,
    event: &Value,
) -> oneshot::Receiver<Outcome> {
    let payload = Bytes::from(event.to_string());
    running.function.start(shared, Run::new(route, connection, payload))
}

/// The gateway waits for the function only so long.
async fn integration(running: &Running, outcome: oneshot::Receiver<Outcome>) -> Integration {
    match tokio::time::timeout(running.config.integration_timeout, outcome).await {
        Err(_) => Integration::Late,
        Ok(Ok(outcome)) if outcome.is_ok() => as_answer(&outcome),
        Ok(Ok(outcome)) if outcome.is_timeout() => Integration::Late,
        Ok(_) => Integration::Failed,
    }
}

fn as_answer(outcome: &Outcome) -> Integration {
    serde_json::from_slice(&outcome.payload).map_or(Integration::Failed, Integration::Answer)
}

/// When the socket was used last, for the gateway's two limits.
struct Activity {
    idle: Duration,
    end: Instant,
    last: Mutex<Instant>,
}

impl Activity {
    fn new(running: &Running) -> Self {
        let now = Instant::now();
        Self {
            idle: running.config.idle_timeout,
            end: now + running.config.max_connection,
            last: Mutex::new(now),
        }
    }

    fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    async fn over(&self) -> Ending {
        loop {
            let idle = *self.last.lock().unwrap_or_else(PoisonError::into_inner) + self.idle;
            let next = idle.min(self.end);
            if Instant::now() >= next {
                return Ending::by_gateway(CloseCode::Away, "Going away");
            }
            tokio::time::sleep_until(next).await;
        }
    }
}

/// Takes messages until there are no more.
async fn receive(
    shared: &Arc<Shared>,
    socket: &Arc<Socket>,
    stream: &mut SplitStream<WebSocketStream<TcpStream>>,
    activity: &Activity,
) -> Ending {
    loop {
        let (body, text) = match stream.next().await {
            None => return Ending::abnormal(),
            Some(Err(error)) => return Ending::by_error(&error),
            Some(Ok(Message::Close(frame))) => return Ending::by_client(frame),
            Some(Ok(Message::Text(text))) => (Bytes::from(text), true),
            Some(Ok(Message::Binary(bytes))) => (bytes, false),
            Some(Ok(_)) => {
                activity.touch();
                continue;
            }
        };
        activity.touch();
        socket.touch();
        integrate_message(shared, socket, &body, text);
    }
}

/// Hands a message to the function. The next one does not wait for it, as in the real gateway.
fn integrate_message(shared: &Arc<Shared>, socket: &Arc<Socket>, body: &[u8], text: bool) {
    let Some(running) = &shared.gateway else { return };
    let route = event::select(&running.config.routes, body).to_owned();
    let (event, message_id) = event::message(&socket.origin, &route, body, text);
    shared.journal.add(
        socket.connection,
        0,
        JournalEvent::SocketMessage {
            connection_id: socket.origin.connection_id.clone(),
            message_id,
            route: route.clone(),
            bytes: body.len() as u64,
            body_text: journal::short_text(body),
        },
    );
    let outcome = start(shared, running, socket.connection, &route, &event);
    let (shared, socket) = (Arc::clone(shared), Arc::clone(socket));
    running.function.spawn(async move {
        let Some(running) = &shared.gateway else { return };
        let failure = match integration(running, outcome).await {
            Integration::Answer(_) => return,
            Integration::Failed => "Internal server error",
            Integration::Late => "Endpoint request timed out",
        };
        let report = json!({
            "message": failure,
            "connectionId": socket.origin.connection_id,
            "requestId": event["requestContext"]["requestId"],
        });
        // The client may be gone, and then nobody is there to be told.
        let _ = socket.post(report.to_string().into());
    });
}

/// Writes what is posted, in order.
async fn send(
    shared: &Arc<Shared>,
    socket: &Arc<Socket>,
    sink: &mut SplitSink<WebSocketStream<TcpStream>, Message>,
    mut posts: mpsc::UnboundedReceiver<Outgoing>,
    activity: &Activity,
) -> Ending {
    loop {
        let body = match posts.recv().await {
            Some(Outgoing::Post(body)) => body,
            Some(Outgoing::Close) => {
                return Ending::by_gateway(CloseCode::Normal, "Connection closed by the server");
            }
            // The socket itself holds a sender.
            None => return Ending::abnormal(),
        };
        let size = body.len();
        let message = match Utf8Bytes::try_from(body) {
            Ok(text) => Message::Text(text),
            Err(_) => return Ending::abnormal(),
        };
        if sink.send(message).await.is_err() {
            return Ending::abnormal();
        }
        socket.queued.fetch_sub(size, Ordering::Relaxed);
        activity.touch();
        socket.touch();
        shared.journal.add(
            socket.connection,
            0,
            JournalEvent::SocketPosted {
                connection_id: socket.origin.connection_id.clone(),
                bytes: size as u64,
            },
        );
    }
}
