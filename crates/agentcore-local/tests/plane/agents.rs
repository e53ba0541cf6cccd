//! What the agents answer and what reaches them: demo, handler, script, and a container.

use crate::support::{Call, Connection, Ending, SESSION_HEADER, plane, start};
use agentcore_local::{Agent, LocalDataPlane};
use serde_json::json;
use std::time::Duration;

#[test]
fn the_demo_agent_streams_a_chunk_per_event() {
    let plane = plane();
    let answer = Call::invoke(&plane, r#"{"prompt":"a b"}"#).sse().signed(&plane).send(&plane);
    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(answer.chunks[0], b"data: \"You \"\n\n");
    assert_eq!(answer.chunks.len(), 4);
    let ask = |body: &str| Call::invoke(&plane, body).signed(&plane).send(&plane);
    let error = ask(r#"{"mode":"error","tokens":1}"#);
    assert!(error.text().contains(r#""error_type": "RuntimeError""#) && error.status == 200);
    let before = ask(r#"{"mode":"error_before","status":418}"#);
    assert_eq!(before.error(), (424, "RuntimeClientError"));
    assert!(before.text().contains("Received error (418) from runtime"));
    assert!(!before.text().contains("boom"));
    assert_eq!(ask(r#"{"mode":"big","bytes":300000}"#).body.len(), 300_000);
    assert_eq!(ask(r#"{"mode":"raw","chunks":["a","b"]}"#).chunks, [b"a", b"b"]);
    assert!(ask(r#"{"mode":"typescript"}"#).text().contains("event: note"));
    assert_eq!(ask(r#"{"mode":"empty"}"#).body, b"");
    assert_eq!(ask("not json").error(), (424, "RuntimeClientError"));
}

#[test]
fn only_allowed_headers_reach_the_agent() {
    let plane = start(LocalDataPlane::builder().allow_header("X-Api-Key"));
    let seen = Call::invoke(&plane, r#"{"mode":"headers"}"#)
        .header("X-Api-Key", "k")
        .header("X-Other", "o")
        .header("X-Amzn-Bedrock-AgentCore-Runtime-Custom-Tenant", "t")
        .signed(&plane)
        .send(&plane)
        .json();
    let names: Vec<&str> =
        seen["headers"].as_array().expect("a list").iter().filter_map(|h| h[0].as_str()).collect();
    assert_eq!(
        names,
        [
            "content-type",
            "x-api-key",
            "x-amzn-bedrock-agentcore-runtime-custom-tenant",
            "x-amzn-bedrock-agentcore-runtime-session-id",
            "x-amzn-bedrock-agentcore-runtime-request-id",
        ]
    );
}

#[test]
fn a_script_answers_in_lock_step() {
    let (agent, script) = Agent::script();
    let plane = start(LocalDataPlane::builder().agent(agent));
    let mut connection = Connection::open(&plane);
    let call = Call::invoke(&plane, "{}").signed(&plane);
    connection.send(&call);
    let scripted = script.next_blocking().expect("a call").responder;
    scripted.head_blocking(200, &[("content-type", "text/event-stream")]).expect("written");
    connection.head().expect("a head");
    for i in 0..20 {
        scripted.event_blocking(&json!({ "n": i })).expect("written");
        let chunk = connection.chunk().expect("a chunk");
        assert_eq!(chunk, format!("data: {{\"n\": {i}}}\n\n").into_bytes());
    }
    scripted.finish_blocking().expect("written");
    assert_eq!(connection.chunk(), Ok(vec![]));
    // The connection is good for another call; this one is reset, the next one aborted.
    for (reset, end) in [(true, Ending::Reset), (false, Ending::Closed)] {
        let mut connection = Connection::open(&plane);
        connection.send(&call);
        let scripted = script.next_blocking().expect("a call").responder;
        scripted.head_blocking(200, &[]).expect("written");
        let _ = if reset { scripted.reset_blocking() } else { scripted.abort_blocking() };
        assert_eq!(connection.answer().ending, end);
    }
    connection.send(&call);
    drop(script.next_blocking().expect("a call"));
    assert_eq!(connection.answer().error(), (424, "RuntimeClientError"));
}

#[test]
fn a_handler_is_an_async_closure() {
    let agent = Agent::handler(|request, responder| async move {
        let _ = responder.service_head(429, &[("x-amz-retry-after", "5")]).await;
        let _ = responder.chunk(request.body).await;
        let _ = responder.finish().await;
    });
    let plane = start(LocalDataPlane::builder().agent(agent));
    let answer = Call::invoke(&plane, "body").signed(&plane).send(&plane);
    assert_eq!((answer.status, answer.text().as_str()), (429, "body"));
    assert_eq!(answer.header("x-amz-retry-after"), Some("5"));
}

#[test]
fn a_container_is_passed_through() {
    let inner = LocalDataPlane::builder().container_paths().start_blocking().expect("started");
    let agent = Agent::container(&inner.base_url()).expect("an address");
    let plane = start(LocalDataPlane::builder().agent(agent));
    let ask = |body: &str| Call::invoke(&plane, body).sse().signed(&plane).send(&plane);
    let answer = ask(r#"{"prompt":"x"}"#);
    assert_eq!(answer.chunks.len(), 3);
    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let wrapped = ask(r#"{"mode":"error_before","status":503}"#);
    assert!(wrapped.text().contains("Received error (503)"), "{}", wrapped.text());

    // Leaving here is leaving there.
    let mut connection = Connection::open(&plane);
    let body = r#"{"mode":"silent"}"#;
    connection
        .send(&Call::invoke(&plane, body).header(SESSION_HEADER, &"s".repeat(40)).signed(&plane));
    connection.head().expect("a head");
    drop(connection);
    let limit = Duration::from_secs(10);
    assert!(inner.wait_for_blocking(|e| e.event.is_disconnect(), limit).is_some());
    drop(inner);
    let refused = ask("{}");
    assert_eq!(refused.error(), (424, "RuntimeClientError"));
}

#[test]
fn it_runs_on_the_callers_runtime_too() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("built");
    runtime.block_on(async {
        let plane = LocalDataPlane::builder().no_auth().start().await.expect("started");
        let address = plane.address();
        let call = Call::invoke(&plane, "{}").bytes();
        let reply = tokio::task::spawn_blocking(move || {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect(address).expect("connected");
            stream.write_all(&call).expect("sent");
            let mut first = [0u8; 12];
            stream.read_exact(&mut first).expect("read");
            first
        });
        assert_eq!(&reply.await.expect("joined"), b"HTTP/1.1 200");
        let seen = plane.wait_for(|e| e.event.is_invocation(), Duration::from_secs(5)).await;
        assert!(seen.is_some());
        plane.shutdown().await;
        assert!(std::net::TcpStream::connect(address).is_err());
    });
}
