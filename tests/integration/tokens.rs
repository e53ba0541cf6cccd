//! Whole answers and streams in the shapes that agents send, and many at once.

use agentcore_client::{AgentEvent, StreamEnd, TextFormat};
use agentcore_local::{Agent, LocalDataPlane};
use agentcore_tests::{client, start};
use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;

/// A data plane whose agent answers every call with these bytes.
fn answering(content_type: &'static str, body: &'static str) -> LocalDataPlane {
    let agent = Agent::handler(move |_, responder| async move {
        // The client may leave early; that is its own business.
        let _ = responder.whole(200, content_type, body).await;
    });
    start(LocalDataPlane::builder().agent(agent))
}

#[tokio::test]
async fn whole_answers_say_what_the_agent_said() {
    for (content_type, body, text) in [
        ("application/json", r#""He said \"hi\"""#, Some("He said \"hi\"")),
        ("application/json; charset=utf-8", r#"{"answer": 42}"#, None),
        ("text/plain", "plain", Some("plain")),
        ("text/event-stream", "data: \"a\"\n\ndata: \"b\"\n\n", Some("ab")),
        ("application/octet-stream", "bytes", None),
        ("application/json", "", None),
    ] {
        let reply = client(&answering(content_type, body)).invoke("x").send().await.unwrap();
        assert_eq!(reply.text(), text, "{content_type} {body}");
        assert_eq!(reply.body(), body);
        assert_eq!((reply.status(), reply.end()), (200, StreamEnd::Complete));
        assert!(reply.request_id().is_some());
    }
    let plane = answering("application/json", r#"{"answer": 42}"#);
    let reply = client(&plane).invoke("x").send().await.unwrap();
    assert_eq!(reply.json::<serde_json::Value>().unwrap()["answer"], 42);
    assert!(reply.json::<String>().is_err());
}

async fn events(plane: &LocalDataPlane) -> Vec<AgentEvent> {
    client(plane).invoke("x").stream().await.unwrap().try_collect().await.unwrap()
}

#[tokio::test]
async fn a_stream_of_json_is_one_event() {
    let events = events(&answering("application/json", r#"{"answer": 42}"#)).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].json::<serde_json::Value>().unwrap()["answer"], 42);
    assert_eq!(events[0].data(), br#"{"answer": 42}"#);
    let events = self::events(&answering("application/json", r#""said""#)).await;
    assert_eq!(events[0].text(), Some("said"));
}

#[tokio::test]
async fn events_keep_name_and_id() {
    let plane = answering("text/event-stream", "event: note\nid: 7\ndata: a\ndata: b\n\n");
    let events = events(&plane).await;
    assert_eq!((events[0].event(), events[0].id()), (Some("note"), Some("7")));
    assert_eq!(events[0].data_str(), Some("a\nb"));
}

#[tokio::test]
async fn text_deltas_leave_out_what_is_no_text() {
    let plane = answering(
        "text/event-stream",
        "data: {\"start\": true}\n\ndata: {\"data\": \"Hel\"}\n\ndata: {\"event\": {\"contentBlockDelta\": {\"delta\": {\"text\": \"Hel\"}}}}\n\ndata: {\"data\": \"lo\"}\n\ndata: {\"result\": \"Hello\"}\n\n",
    );
    let mut stream = client(&plane).invoke("x").stream().await.unwrap();
    let said: Vec<_> =
        stream.text_deltas().map_ok(|text| text.to_string()).try_collect().await.unwrap();
    assert_eq!(said, ["Hel", "lo"], "no token twice, no full text at the end");
    assert_eq!(stream.end(), Some(StreamEnd::Complete));

    let call = client(&plane).invoke("x").text_format(TextFormat::None);
    assert_eq!(call.send().await.unwrap().text(), None);
}

#[tokio::test]
async fn raw_bytes_are_the_answer_as_it_was_sent() {
    let body = "data: \"a\"\n\n: heartbeat\n\ndata: \"b\"\n\n";
    let plane = answering("text/event-stream", body);
    let mut bytes = client(&plane).invoke("x").stream().await.unwrap().into_bytes_stream();
    let mut read = Vec::new();
    while let Some(chunk) = bytes.next().await {
        read.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(read, body.as_bytes());
    assert_eq!(bytes.end(), Some(StreamEnd::Complete));
}

#[tokio::test]
async fn many_streams_at_once_keep_their_tokens_apart() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    let streams = (0..200).map(|n| {
        let client = client.clone();
        async move {
            let prompt = format!("call number {n} speaking");
            let call = client.invoke(json!({"prompt": prompt, "delay_ms": 1}));
            let reply = call.send().await.unwrap();
            assert!(reply.text().unwrap().contains(&prompt), "{:?}", reply.text());
            reply.text().unwrap().matches("call number").count()
        }
    });
    let counts = join_all(streams).await;
    assert!(counts.iter().all(|count| *count == counts[0]), "every token once");
    assert_eq!(plane.count_posts(), 200);
}
