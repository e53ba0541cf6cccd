//! Sockets of the gateway from outside: a WebSocket client that is not ours, and a function that
//! writes down what it was given.

use crate::patient::Patient;
use crate::support::{Call, SECONDS, start};
use agentcore_local::{Fault, Gateway, JournalEvent, LocalDataPlane};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, HandshakeError, Message, WebSocket, client};

type Socket = WebSocket<Patient>;

/// The function, and the file in which it writes what it sees.
pub(crate) struct Function {
    pub(crate) gateway: Gateway,
    file: PathBuf,
}

impl Function {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("seen-{}-{number}.jsonl", std::process::id());
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_file(&file);
        let gateway = Gateway::new(command(&[]))
            .variable("SEEN", file.to_str().expect("a path of text"))
            .variable("PYTHONDONTWRITEBYTECODE", "1");
        Self { gateway, file }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(Gateway) -> Gateway) -> Self {
        self.gateway = change(self.gateway.clone());
        self
    }

    /// A data plane with it, which has to outlive the use of `seen`.
    pub(crate) fn start(&self) -> LocalDataPlane {
        start(LocalDataPlane::builder().gateway(self.gateway.clone()))
    }

    pub(crate) fn seen(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn events(&self, kind: &str) -> Vec<Value> {
        let all = self.seen().into_iter().map(|seen| seen["event"].clone());
        all.filter(|event| event["requestContext"]["eventType"] == kind).collect()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

pub(crate) fn command(arguments: &[&str]) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plane/handler.py");
    let python = if cfg!(windows) { "python" } else { "python3" };
    [python, script].iter().chain(arguments).map(|word| (*word).to_owned()).collect()
}

fn try_connect(
    plane: &LocalDataPlane,
    query: &str,
    headers: &[(&'static str, &str)],
) -> Result<(Socket, Response), u16> {
    let url = format!("{}{query}", plane.websocket_url().expect("a gateway"));
    let mut request = url.into_client_request().expect("a URL");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a value"));
    }
    let stream = Patient::connect(plane.address(), SECONDS).expect("connected");
    match client::client(request, stream) {
        Ok(opened) => Ok(opened),
        Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
        Err(error) => panic!("the handshake failed: {error}"),
    }
}

fn connect(plane: &LocalDataPlane) -> Socket {
    try_connect(plane, "", &[]).expect("accepted").0
}

/// The text of the next message.
fn next(socket: &mut Socket) -> String {
    match socket.read().expect("a message") {
        Message::Text(text) => text.as_str().to_owned(),
        other => panic!("{other:?} is no text"),
    }
}

/// With what code the socket is closed.
fn close_code(socket: &mut Socket) -> u16 {
    loop {
        match socket.read().expect("a closing frame") {
            Message::Close(frame) => return frame.expect("a code").code.into(),
            _ => continue,
        }
    }
}

fn only_socket(plane: &LocalDataPlane) -> String {
    let mut all = plane.sockets();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn post(plane: &LocalDataPlane, id: &str, body: impl Into<Vec<u8>>) -> Call {
    let target = format!("/local/@connections/{}", id.replace('=', "%3D"));
    let mut call = Call::new(plane, "POST", &target);
    call.body = body.into();
    call
}

pub(crate) fn wait(plane: &LocalDataPlane, wanted: impl Fn(&JournalEvent) -> bool) -> JournalEvent {
    plane.wait_for_blocking(|e| wanted(&e.event), SECONDS * 6).expect("it happens").event
}

fn function_ended(plane: &LocalDataPlane, trigger: &str) {
    let wanted = |e: &JournalEvent| matches!(e, JournalEvent::FunctionStarted { trigger: t, .. } if t == trigger);
    let JournalEvent::FunctionStarted { request_id, .. } = wait(plane, wanted) else {
        panic!("another event")
    };
    let _ = wait(
        plane,
        |e| matches!(e, JournalEvent::FunctionEnded { request_id: r, .. } if *r == request_id),
    );
}

#[test]
fn a_life_of_a_socket_in_events() {
    let function = Function::new();
    let plane = function.start();
    let headers = [("sec-websocket-protocol", "chat, other"), ("user-agent", "me/1")];
    let (mut socket, response) =
        try_connect(&plane, "?a=1&a=2&b=%20x", &headers).expect("accepted");
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    let id = only_socket(&plane);
    assert!(id.ends_with('='));

    socket.send(Message::text(r#"{"prompt":"Hé"}"#)).expect("sent");
    function_ended(&plane, "$default");
    socket.close(None).expect("closed");
    function_ended(&plane, "$disconnect");

    let connect = &function.events("CONNECT")[0];
    let context = &connect["requestContext"];
    assert_eq!(context["routeKey"], "$connect");
    assert_eq!(context["connectionId"], json!(id));
    assert_eq!(context["stage"], "local");
    assert_eq!(context["apiId"], "local12345");
    assert_eq!(context["domainName"], "local12345.execute-api.us-west-2.amazonaws.com");
    assert_eq!(context["identity"], json!({ "sourceIp": "127.0.0.1", "userAgent": "me/1" }));
    assert!(context["connectedAt"].is_u64() && context["requestId"].is_string());
    assert_eq!(connect["queryStringParameters"], json!({ "a": "2", "b": " x" }));
    assert_eq!(connect["multiValueQueryStringParameters"]["a"], json!(["1", "2"]));
    assert!(connect["headers"].is_object() && connect["multiValueHeaders"].is_object());
    assert!(connect.get("body").is_none());

    let message = &function.events("MESSAGE")[0];
    assert_eq!(message["body"], r#"{"prompt":"Hé"}"#);
    assert_eq!(message["isBase64Encoded"], false);
    assert!(message.get("headers").is_none());
    assert!(message["requestContext"]["messageId"].is_string());
    assert_eq!(message["requestContext"]["connectedAt"], context["connectedAt"]);

    let disconnect = &function.events("DISCONNECT")[0]["requestContext"];
    assert_eq!(disconnect["disconnectStatusCode"], 1005);
    assert_eq!(disconnect["routeKey"], "$disconnect");
    assert!(disconnect.get("messageId").is_none());
    assert!(plane.sockets().is_empty());
    assert_eq!(plane.count_posts(), 0);
}

#[test]
fn routes_and_binary_messages() {
    let function = Function::new().with(|g| g.route("chat").concurrency(1));
    let plane = function.start();
    let mut socket = connect(&plane);
    socket.send(Message::text(r#"{"action":"chat"}"#)).expect("sent");
    socket.send(Message::text(r#"{"action":"unknown"}"#)).expect("sent");
    socket.send(Message::text("no JSON")).expect("sent");
    socket.send(Message::binary(&b"\xff\x00"[..])).expect("sent");
    socket.close(None).expect("closed");
    function_ended(&plane, "$disconnect");
    let events = function.events("MESSAGE");
    let routes: Vec<_> = events.iter().map(|e| e["requestContext"]["routeKey"].clone()).collect();
    assert_eq!(routes, ["chat", "$default", "$default", "$default"]);
    assert_eq!(events[3]["isBase64Encoded"], true);
    assert_eq!(events[3]["body"], "/wA=");
}

#[test]
fn the_function_decides_on_the_handshake() {
    let function = Function::new().with(|g| g.integration_timeout(Duration::from_secs(5)));
    let plane = function.start();
    let refused = |query: &str| try_connect(&plane, query, &[]).err();
    assert_eq!(refused("?status=401"), Some(401));
    assert_eq!(refused("?status=403"), Some(403));
    assert_eq!(refused("?status=301"), Some(500));
    assert_eq!(refused("?fail=1"), Some(502));
    assert_eq!(refused("?malformed=1"), Some(502));
    assert_eq!(refused("?late=60"), Some(504));
    assert!(plane.sockets().is_empty());
    let refusals = plane
        .journal()
        .iter()
        .filter(|e| matches!(e.event, JournalEvent::SocketRefused { .. }))
        .count();
    assert_eq!(refusals, 6);
    assert!(function.events("DISCONNECT").is_empty());
}

#[test]
fn what_the_handshake_must_have() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let plane = Function::new().with(|g| g.page(page)).start();
    let ask = |target: &str, headers: &[(&str, &str)]| {
        let mut call = Call::new(&plane, "GET", target)
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        for (name, value) in headers {
            call = if value.is_empty() { call.without(name) } else { call.header(name, value) };
        }
        call.send(&plane).status
    };
    assert_eq!(ask("/local", &[("Host", "rebound.example")]), 403);
    assert_eq!(ask("/local", &[("Origin", "https://other.example")]), 403);
    assert_eq!(ask("/other", &[]), 403);
    assert_eq!(ask("/", &[]), 403);
    assert_eq!(ask("/local", &[("Sec-WebSocket-Version", "8")]), 400);
    assert_eq!(ask("/local", &[("Sec-WebSocket-Key", "")]), 400);
    assert_eq!(ask("/local", &[("Connection", "close")]), 400);
    let own = format!("http://{}", plane.address());
    assert!(try_connect(&plane, "", &[("origin", &own)]).is_ok());
    // Without a page, no page may connect.
    let plane = Function::new().start();
    let own = format!("http://{}", plane.address());
    assert_eq!(try_connect(&plane, "", &[("origin", &own)]).err(), Some(403));
}

#[test]
fn posts_reach_their_socket_and_no_other() {
    let plane = Function::new().start();
    let mut socket = connect(&plane);
    let id = only_socket(&plane);
    let mut other = connect(&plane);
    let sign = |call: Call| call.signed_for(&plane, "execute-api");
    assert_eq!(sign(post(&plane, &id, "Hé")).send(&plane).status, 200);
    assert_eq!(next(&mut socket), "Hé");
    // The unencoded `=` is as good, when it is signed as such.
    let mut raw = post(&plane, &id, "raw");
    raw.target = raw.target.replace("%3D", "=");
    assert_eq!(sign(raw).send(&plane).status, 200);
    assert_eq!(next(&mut socket), "raw");

    let get = Call { method: "GET", ..post(&plane, &id, "") };
    let seen = sign(get).send(&plane).json();
    assert_eq!(seen["identity"]["sourceIp"], "127.0.0.1");
    assert!(seen["connectedAt"].as_str().is_some_and(|t| t.ends_with('Z')), "{seen}");

    let largest = vec![b'x'; 128 * 1024];
    assert_eq!(sign(post(&plane, &id, largest.clone())).send(&plane).status, 200);
    assert_eq!(next(&mut socket).len(), largest.len());
    let large = sign(post(&plane, &id, [largest, vec![b'x']].concat())).send(&plane);
    assert_eq!(large.error(), (413, "PayloadTooLargeException"));

    let delete = Call { method: "DELETE", ..post(&plane, &id, "") };
    assert_eq!(sign(delete).send(&plane).status, 204);
    assert_eq!(close_code(&mut socket), 1000);
    let _ = wait(&plane, |e| matches!(e, JournalEvent::SocketClosed { code: 1000, .. }));
    assert_eq!(sign(post(&plane, &id, "late")).send(&plane).error(), (410, "GoneException"));
    assert_eq!(sign(post(&plane, "AAAAAAAAAAAAAAA=", "x")).send(&plane).status, 410);
    assert_eq!(sign(post(&plane, "nonsense", "x")).send(&plane).status, 400);

    let rest = only_socket(&plane);
    assert_eq!(sign(post(&plane, &rest, "you")).send(&plane).status, 200);
    assert_eq!(next(&mut other), "you");
}

#[test]
fn posts_are_judged() {
    let plane = Function::new().start();
    let _socket = connect(&plane);
    let id = only_socket(&plane);
    let unsigned = post(&plane, &id, "x");
    assert_eq!(unsigned.send(&plane).status, 403);
    assert_eq!(unsigned.clone().signed_for(&plane, "lambda").send(&plane).status, 403);
    let mut bent = unsigned.clone().signed_for(&plane, "execute-api");
    bent.body.push(b'x');
    assert_eq!(bent.send(&plane).error(), (403, "InvalidSignatureException"));
    // Encoded on the wire, but signed without: what a client gets wrong most easily.
    let mut mixed = unsigned.clone();
    mixed.target = mixed.target.replace("%3D", "=");
    let mut mixed = mixed.signed_for(&plane, "execute-api");
    mixed.target = mixed.target.replace('=', "%3D");
    assert_eq!(mixed.send(&plane).error(), (403, "InvalidSignatureException"));
    let mut stage = unsigned.clone();
    stage.target = stage.target.replace("/local/", "/other/");
    assert_eq!(stage.signed_for(&plane, "execute-api").send(&plane).status, 403);
    let foreign = unsigned.header("Origin", "https://other.example");
    assert_eq!(foreign.signed_for(&plane, "execute-api").send(&plane).status, 403);
    assert!(!plane.journal().iter().any(|e| matches!(e.event, JournalEvent::SocketPosted { .. })));
}

#[test]
fn faults_strike_posts() {
    let plane = Function::new().start();
    let mut socket = connect(&plane);
    let id = only_socket(&plane);
    let send = |text: &str| post(&plane, &id, text).signed_for(&plane, "execute-api").send(&plane);
    plane.faults().push(Fault::status(429, "LimitExceededException").for_path("@connections"));
    assert_eq!(send("lost").error(), (429, "LimitExceededException"));
    plane.faults().push(Fault::status(410, "GoneException").for_path("@connections"));
    assert_eq!(send("lost").error(), (410, "GoneException"));
    assert_eq!(send("kept").status, 200);
    assert_eq!(next(&mut socket), "kept");
}

#[test]
fn a_client_that_does_not_read_stops_the_posts() {
    let plane = Function::new().start();
    let mut socket = connect(&plane);
    let id = only_socket(&plane);
    let body = vec![b'x'; 128 * 1024];
    let send =
        || post(&plane, &id, body.clone()).signed_for(&plane, "execute-api").send(&plane).status;
    // What the system keeps for a socket is a few megabytes.
    let taken = std::iter::repeat_with(send).take_while(|status| *status == 200).take(800).count();
    assert!(taken < 800);
    assert_eq!(send(), 429);
    for _ in 0..taken {
        assert_eq!(next(&mut socket).len(), body.len());
    }
    assert_eq!(send(), 200);
}

#[test]
fn frames_and_messages_have_their_limits() {
    let function = Function::new();
    let plane = function.start();
    let frame = |size: usize, code: Data, last: bool| {
        Message::Frame(Frame::message(vec![b'x'; size], OpCode::Data(code), last))
    };
    let mut socket = connect(&plane);
    for part in 0..4 {
        let code = if part == 0 { Data::Text } else { Data::Continue };
        socket.send(frame(32 * 1024, code, part == 3)).expect("sent");
    }
    function_ended(&plane, "$default");
    assert_eq!(function.events("MESSAGE")[0]["body"].as_str().map(str::len), Some(128 * 1024));

    let mut socket = connect(&plane);
    socket.send(frame(32 * 1024 + 1, Data::Text, true)).expect("sent");
    assert_eq!(close_code(&mut socket), 1009);
    let mut socket = connect(&plane);
    for part in 0..5 {
        let code = if part == 0 { Data::Text } else { Data::Continue };
        // It may be closed before the last one.
        let _ = socket.send(frame(32 * 1024, code, part == 4));
    }
    assert_eq!(close_code(&mut socket), 1009);
}

#[test]
fn a_failure_and_a_time_out_are_told_to_the_client() {
    let function = Function::new().with(|g| g.integration_timeout(Duration::from_secs(3)));
    let plane = function.start();
    let mut socket = connect(&plane);
    socket.send(Message::text(r#"{"fail":"a secret"}"#)).expect("sent");
    let report: Value = serde_json::from_str(&next(&mut socket)).expect("JSON");
    assert_eq!(report["message"], "Internal server error");
    assert_eq!(report["connectionId"], json!(only_socket(&plane)));
    assert_eq!(report["requestId"], function.events("MESSAGE")[0]["requestContext"]["requestId"]);
    socket.send(Message::text(r#"{"sleep":4}"#)).expect("sent");
    let report: Value = serde_json::from_str(&next(&mut socket)).expect("JSON");
    assert_eq!(report["message"], "Endpoint request timed out");
    // The gateway waits no longer, but the function goes on.
    let _ = wait(
        &plane,
        |e| matches!(e, JournalEvent::FunctionEnded { outcome, ms, .. } if outcome == "ok" && *ms >= 4_000),
    );
}

#[test]
fn sockets_have_their_time() {
    let plane = Function::new().with(|g| g.idle_timeout(Duration::from_millis(300))).start();
    assert_eq!(close_code(&mut connect(&plane)), 1001);
    let plane = Function::new().with(|g| g.max_connection(Duration::from_millis(300))).start();
    assert_eq!(close_code(&mut connect(&plane)), 1001);
}

#[test]
fn a_socket_that_breaks_is_gone_at_once() {
    let function = Function::new();
    let plane = function.start();
    let socket = connect(&plane);
    drop(socket);
    let closed = wait(&plane, |e| matches!(e, JournalEvent::SocketClosed { .. }));
    assert!(matches!(closed, JournalEvent::SocketClosed { code: 1006, .. }), "{closed:?}");
    function_ended(&plane, "$disconnect");
    let context = &function.events("DISCONNECT")[0]["requestContext"];
    assert_eq!(context["disconnectStatusCode"], 1006);
}

#[test]
fn the_page_is_served() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::write(folder.join("index.html"), "<title>Hi</title>").expect("written");
    let plane = Function::new().with(|g| g.page(&folder)).start();
    let get = |target: &str| Call::new(&plane, "GET", target).send(&plane);
    let page = get("/");
    assert_eq!((page.status, page.text().as_str()), (200, "<title>Hi</title>"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(get("/index.html").status, 200);
    assert_eq!(get("/%2e%2e/seen.txt").status, 404);
    assert_eq!(get("/ping").json(), json!({ "status": "Healthy" }));
}
