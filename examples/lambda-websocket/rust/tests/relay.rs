//! The function as a process of its own, behind the local gateway, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that can't go on must stop")]

use std::time::Duration;

use agentcore_local::{Agent, Gateway, JournalEvent, LocalDataPlane};
use agentcore_tests::patient::Patient;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// Nothing here takes so long.
const SOON: Duration = Duration::from_secs(60);

fn plane() -> LocalDataPlane {
    let function = Gateway::new([env!("CARGO_BIN_EXE_lambda-websocket")])
        .variable("ALLOWED_ORIGINS", "http://localhost")
        .route("other")
        // One process, which can know again what it has seen.
        .concurrency(1);
    let agent = Agent::demo_paced(Duration::from_millis(5));
    let builder = LocalDataPlane::builder().allow_origin("http://localhost");
    builder.agent(agent).gateway(function).start_blocking().unwrap()
}

struct Socket(WebSocket<Patient>);

impl Socket {
    fn open(plane: &LocalDataPlane) -> Self {
        let mut request = plane.websocket_url().unwrap().into_client_request().unwrap();
        request.headers_mut().insert("origin", "http://localhost".parse().unwrap());
        let address = request.uri().authority().unwrap().as_str();
        let stream = Patient::connect(address, SOON).unwrap();
        Self(client(request, stream).unwrap().0)
    }

    fn frame(&mut self) -> Value {
        serde_json::from_str(self.0.read().unwrap().to_text().unwrap()).unwrap()
    }

    /// All frames of the answer, but heartbeats.
    fn ask(&mut self, message: &Value) -> Vec<Value> {
        self.0.send(Message::text(message.to_string())).unwrap();
        let mut frames = Vec::new();
        loop {
            let frame = self.frame();
            let kind = frame["type"].as_str().unwrap().to_owned();
            if kind != "heartbeat" {
                frames.push(frame);
            }
            if ["end", "error", "continue"].contains(&kind.as_str()) {
                return frames;
            }
        }
    }
}

fn text(frames: &[Value]) -> String {
    frames.iter().filter_map(|frame| frame["text"].as_str()).collect()
}

#[test]
fn an_answer_comes_once_and_in_order_by_the_second_stage() {
    let plane = plane();
    let words: String = (0..50).map(|number| format!("word{number} ")).collect();
    let mut socket = Socket::open(&plane);
    let frames = socket.ask(&json!({"prompt": words.trim(), "id": "m"}));
    assert_eq!(text(&frames), format!("You said: {}.", words.trim()));
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!((&frame["seq"], &frame["id"]), (&json!(index), &json!("m")));
    }
    assert_eq!(frames.last().unwrap()["state"], "complete");

    // The same event comes once more.
    let seen = plane.journal().last().unwrap().seq;
    assert!(plane.redeliver_event(None, Duration::ZERO));
    let is_run = |event: &JournalEvent| matches!(event, JournalEvent::FunctionStarted { .. });
    plane.wait_for_blocking(|entry| entry.seq > seen && is_run(&entry.event), SOON).unwrap();
    let again = socket.ask(&json!({"prompt": "and now?", "resume": frames[0]["resume"]}));
    assert_eq!(again[0]["resumed"], true);
    assert!(text(&again).starts_with("You said: and now?. You said earlier: word0"));
    let runs = plane.journal().into_iter().filter_map(|entry| match entry.event {
        JournalEvent::FunctionStarted { trigger, .. } => Some(trigger),
        _ => None,
    });
    let expected = ["$connect", "$default", "event", "event", "$default", "event"];
    assert_eq!(runs.collect::<Vec<_>>(), expected);
    assert_eq!(plane.count_posts(), 2);
}

#[test]
fn bad_input_is_told_and_asks_nothing() {
    let plane = plane();
    let mut socket = Socket::open(&plane);
    for message in [
        Message::text("hello"),
        Message::text("{}"),
        Message::text(r#"{"prompt": ""}"#),
        Message::text(r#"{"prompt": "a", "sessionId": "short"}"#),
        Message::text(r#"{"action": "other"}"#),
        Message::binary(&b"\xff"[..]),
    ] {
        socket.0.send(message.clone()).unwrap();
        let frame = socket.frame();
        assert_eq!(frame["code"], "invalid_message", "{message:?}");
        assert_eq!(frame["delivery"], "not_sent");
    }
    assert_eq!(plane.count_posts(), 0);
}
