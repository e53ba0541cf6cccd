//! No event is delivered later than its own last byte: the agent sends the next
//! one only after this one was read, at every size from 90 to 110 bytes.

use agentcore_client::AgentStream;
use agentcore_local::{Agent, LocalDataPlane, Responder};
use agentcore_tests::{SOON, client, start};

/// An event of exactly so many bytes, its blank line included.
fn event(size: usize) -> String {
    let frame = "data: \"\"\n\n".len();
    format!("data: \"{}\"\n\n", "x".repeat(size - frame))
}

/// A stream whose head has come, and the agent's end of it.
async fn begin(content_type: &str) -> (LocalDataPlane, AgentStream, Responder) {
    let (agent, script) = Agent::script();
    let plane = start(LocalDataPlane::builder().agent(agent));
    let client = client(&plane);
    let (stream, call) =
        tokio::join!(async { client.invoke("x").stream().await.unwrap() }, async {
            let call = script.next().await.unwrap();
            call.responder.head(200, &[("content-type", content_type)]).await.unwrap();
            call.responder
        });
    (plane, stream, call)
}

#[tokio::test]
async fn an_event_is_there_before_the_next_one_is_sent() {
    let (_plane, mut stream, call) = begin("text/event-stream").await;
    for size in 90..=110 {
        call.chunk(event(size)).await.unwrap();
        let read = tokio::time::timeout(SOON, stream.try_next()).await;
        let event = read.expect("the event is handed over before the next is sent");
        assert_eq!(event.unwrap().unwrap().data().len(), size - "data: \n\n".len());
    }
    // The same with the blank line in a chunk of its own, and CR as the end of lines.
    for size in 90..=110 {
        let whole = event(size).replace('\n', "\r");
        let (head, blank) = whole.split_at(whole.len() - 1);
        call.chunk(head.to_owned()).await.unwrap();
        call.chunk(blank.to_owned()).await.unwrap();
        let read = tokio::time::timeout(SOON, stream.try_next()).await;
        assert!(read.expect("CR alone ends a line").unwrap().is_some());
    }
    call.finish().await.unwrap();
    assert!(stream.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn plain_text_is_there_before_more_is_sent_and_never_cuts_a_character() {
    let (_plane, mut stream, call) = begin("text/plain").await;
    let said = "naïve €uro 😀 ".repeat(3);
    let mut heard = String::new();
    for (at, byte) in said.bytes().enumerate() {
        call.chunk(vec![byte]).await.unwrap();
        if said.is_char_boundary(at + 1) {
            let read = tokio::time::timeout(SOON, stream.try_next()).await;
            let event = read.expect("a whole character is handed over").unwrap().unwrap();
            heard.push_str(event.text().unwrap());
        }
    }
    call.finish().await.unwrap();
    assert!(stream.try_next().await.unwrap().is_none());
    assert_eq!(heard, said);
}
