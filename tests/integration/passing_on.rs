//! An answer passed on to a browser as server-sent events.

use std::time::{Duration, Instant};

use agentcore_client::{ErrorKind, SseStream, StreamEnd};
use agentcore_local::{Fault, LocalDataPlane};
use agentcore_tests::browser::texts;
use agentcore_tests::{client, disconnected, start};
use futures::StreamExt as _;
use serde_json::{Value, json};

const END: &str = "event: end\ndata: {}\n\n";

async fn passed_on(plane: &LocalDataPlane, payload: Value) -> SseStream {
    client(plane).invoke(payload).stream().await.unwrap().into_sse().unwrap()
}

async fn all(mut stream: SseStream) -> (Vec<String>, Option<StreamEnd>) {
    let mut pieces = Vec::new();
    while let Some(Ok(bytes)) = stream.next().await {
        pieces.push(String::from_utf8(bytes.to_vec()).unwrap());
    }
    (pieces, stream.end())
}

fn raw(content_type: &str, chunks: &[&str]) -> Value {
    json!({"mode": "raw", "content_type": content_type, "chunks": chunks})
}

#[tokio::test]
async fn events_keep_what_they_carry_and_nothing_else_goes_along() {
    let plane = start(LocalDataPlane::builder());
    let events =
        ": quiet\r\nevent: a\r\nid: 7\r\nretry: 5\r\ndata: x\r\ndata:  y\r\n\r\ndata: z\n\n";
    let (pieces, end) = all(passed_on(&plane, raw("text/event-stream", &[events])).await).await;
    assert_eq!(pieces.concat(), format!("event: a\nid: 7\ndata: x\ndata:  y\n\ndata: z\n\n{END}"));
    assert_eq!(end, Some(StreamEnd::Complete));

    let (pieces, _) =
        all(passed_on(&plane, json!({"mode": "json", "value": {"a": 1}})).await).await;
    assert_eq!(pieces, ["data: {\"a\":1}\n\n", END]);

    let answer = raw("application/octet-stream", &["x"]);
    let answer = client(&plane).invoke(answer).stream().await.unwrap();
    assert_eq!(answer.into_sse().unwrap_err().kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn text_alone_is_json_strings() {
    let plane = start(LocalDataPlane::builder());
    let said = passed_on(&plane, json!({"prompt": "Grüße \"🙂\"\n"})).await.text_only();
    let (mut pieces, _) = all(said).await;
    assert_eq!(pieces.pop().unwrap(), END);
    assert!(pieces.len() > 2 && pieces.iter().all(|piece| piece.matches('\n').count() == 2));
    assert_eq!(texts(&pieces.concat()).concat(), "You said: Grüße \"🙂\"\n.");
}

#[tokio::test]
async fn an_event_that_is_cut_is_not_passed_on_and_the_error_is() {
    let plane = start(LocalDataPlane::builder());
    // The first event is whole, the second one is cut within its data.
    plane.faults().push(Fault { reset_after_bytes: Some(20), ..Fault::new() });
    let (pieces, end) = all(passed_on(&plane, json!({"prompt": "Hi"})).await).await;
    let error = "event: error\ndata: {\"error\":{\"code\":\"STREAM_INTERRUPTED\",\"delivery\":\"accepted\",\"message\":\"The answer broke off.\"}}\n\n";
    assert_eq!(pieces, ["data: \"You \"\n\n", error]);
    assert_eq!(end, Some(StreamEnd::Truncated));

    let failing = json!({"mode": "error", "tokens": 1, "message": "secret plans"});
    let (pieces, end) = all(passed_on(&plane, failing).await).await;
    assert_eq!(pieces.len(), 2);
    assert!(
        pieces[1].starts_with("event: error\ndata: {\"error\":{\"code\":\"AGENT\","),
        "{pieces:?}"
    );
    assert!(!pieces.concat().contains("secret"));
    assert_eq!(end, Some(StreamEnd::AgentError));
}

#[tokio::test]
async fn a_heartbeat_comes_in_silence_only_and_never_within_an_event() {
    let plane = start(LocalDataPlane::builder());
    let every = Duration::from_secs(1);
    // An event in two halves, a silence between them, and one behind.
    plane.faults().push(Fault { stall_after_bytes: Some(20), ..Fault::new() });
    let mut silent = passed_on(&plane, json!({"prompt": "Hi"})).await.heartbeat(every).unwrap();
    assert_eq!(&silent.next().await.unwrap().unwrap()[..], b"data: \"You \"\n\n");
    for _ in 0..2 {
        let began = Instant::now();
        assert_eq!(&silent.next().await.unwrap().unwrap()[..], b": heartbeat\n\n");
        assert!(began.elapsed() > every / 2);
    }
    drop(silent);
    assert!(disconnected(&plane));

    let speaking = json!({"mode": "stream", "tokens": 20, "delay_ms": 20});
    let (pieces, _) =
        all(passed_on(&plane, speaking).await.heartbeat(Duration::from_secs(30)).unwrap()).await;
    assert_eq!(pieces.len(), 21);

    for wrong in [Duration::from_millis(999), Duration::from_millis(3_600_001)] {
        let stream = passed_on(&plane, json!({"prompt": "Hi"})).await;
        assert_eq!(stream.heartbeat(wrong).unwrap_err().field(), Some("heartbeat"), "{wrong:?}");
    }
}

#[tokio::test]
async fn dropping_it_closes_the_connection() {
    let plane = start(LocalDataPlane::builder());
    let endless = json!({"mode": "stream", "tokens": 10_000, "delay_ms": 10});
    let mut stream = passed_on(&plane, endless).await;
    stream.next().await.unwrap().unwrap();
    drop(stream);
    assert!(disconnected(&plane));
}
