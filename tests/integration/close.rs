//! Whoever lets go of an answer closes its connection by that action alone: the
//! runtime that it ran on is not driven again.

use std::time::Duration;

use agentcore_client::StreamEnd;
use agentcore_local::{JournalEntry, JournalEvent, LocalDataPlane};
use agentcore_tests::{SOON, client, disconnected, start};
use serde_json::json;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn endless() -> serde_json::Value {
    json!({"mode": "stream", "tokens": 10_000, "delay_ms": 10})
}

#[test]
fn dropping_a_stream_closes_it() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    let runtime = runtime();
    let stream = runtime.block_on(async {
        let mut stream = client.invoke(endless()).stream().await.unwrap();
        stream.try_next().await.unwrap().unwrap();
        stream
    });
    drop(stream);
    assert!(disconnected(&plane));
}

#[test]
fn closing_a_stream_closes_it_and_it_stays_ended() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    let runtime = runtime();
    let mut stream = runtime.block_on(client.invoke(endless()).stream()).unwrap();
    stream.close();
    assert!(disconnected(&plane));
    assert_eq!(stream.end(), Some(StreamEnd::Closed));
    assert!(runtime.block_on(stream.try_next()).unwrap().is_none());
    stream.close();
    assert_eq!(stream.end(), Some(StreamEnd::Closed));
}

#[test]
fn dropping_raw_bytes_closes_them() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    let runtime = runtime();
    let bytes = runtime.block_on(client.invoke(endless()).stream()).unwrap().into_bytes_stream();
    drop(bytes);
    assert!(disconnected(&plane));
}

#[test]
fn cancelling_a_call_closes_it() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    let runtime = runtime();
    // The agent is at work, the head has not come yet.
    let call = client.invoke(json!({"mode": "slow", "delay_ms": 60_000})).send();
    let mut call = Box::pin(call);
    runtime.block_on(async {
        let waited = tokio::time::timeout(Duration::from_millis(200), &mut call).await;
        assert!(waited.is_err());
    });
    drop(call);
    assert!(disconnected(&plane));
    assert_eq!(plane.count_posts(), 1);
}

#[test]
fn leaving_while_reading_a_whole_answer_closes_it() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    runtime().block_on(async {
        let call = client.invoke(endless()).send();
        assert!(tokio::time::timeout(Duration::from_millis(200), call).await.is_err());
    });
    assert!(disconnected(&plane));
}

#[tokio::test]
async fn closing_does_not_stop_the_session_unless_asked() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    let stopped = |entry: &agentcore_local::JournalEntry| matches!(&entry.event, JournalEvent::Session { state, .. } if state == "stopped");

    drop(client.invoke(endless()).stream().await.unwrap());
    assert!(plane.wait_for(|entry| entry.event.is_disconnect(), SOON).await.is_some());
    assert!(plane.wait_for(stopped, Duration::from_millis(200)).await.is_none());

    // A stream that ended by itself has nothing to stop.
    let call = client.invoke(json!({"mode": "stream", "tokens": 1})).stop_on_close(true);
    let mut stream = call.stream().await.unwrap();
    while stream.try_next().await.unwrap().is_some() {}
    drop(stream);
    assert!(plane.wait_for(stopped, Duration::from_millis(200)).await.is_none());

    drop(client.invoke(endless()).stop_on_close(true).stream().await.unwrap());
    assert!(plane.wait_for(stopped, SOON).await.is_some());
}

#[test]
fn idle_connections_close_when_asked_and_open_answers_go_on() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    let sibling = client.with_options().build().unwrap();
    let runtime = runtime();
    let mut stream = runtime.block_on(async {
        let ask = json!({"mode": "stream", "tokens": 20, "delay_ms": 10});
        let stream = client.invoke(ask).stream().await.unwrap();
        sibling.invoke(json!({"mode": "json"})).send().await.unwrap();
        stream
    });
    let (streaming, idle) = (plane.invocations()[0].connection, plane.invocations()[1].connection);
    let is_closed =
        |entry: &JournalEntry| matches!(entry.event, JournalEvent::ConnectionClosed { .. });
    assert!(!plane.journal().iter().any(is_closed), "it waits for the next call");

    client.close_idle_connections();
    let closed = |entry: &JournalEntry| entry.connection == idle && is_closed(entry);
    assert!(plane.wait_for_blocking(closed, SOON).is_some());
    runtime.block_on(async {
        while stream.try_next().await.unwrap().is_some() {}
        sibling.invoke(json!({"mode": "json"})).send().await.unwrap();
    });
    assert_eq!(stream.end(), Some(StreamEnd::Complete));
    assert_eq!(plane.invocations()[2].connection, streaming, "what was in use serves again");
}

#[test]
fn a_stop_runs_where_it_is_told_to() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    let (here, elsewhere) = (runtime(), runtime());
    let (give, take) = std::sync::mpsc::sync_channel(1);
    let call = client.invoke(endless()).stop_on_close_with(move |stop| give.send(stop).unwrap());
    let mut stream = here.block_on(call.stream()).unwrap();
    assert!(take.try_recv().is_err(), "it is still read");
    stream.close();
    elsewhere.block_on(take.recv().unwrap());
    let stopped = |entry: &JournalEntry| matches!(&entry.event, JournalEvent::Session { state, .. } if state == "stopped");
    assert!(plane.journal().iter().any(stopped), "nobody drives the stream's runtime any more");
}

#[test]
fn a_read_answer_leaves_its_connection_to_the_next_call() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    runtime().block_on(async {
        for ask in [json!({"mode": "json"}), json!({"mode": "stream", "tokens": 5})] {
            for _ in 0..5 {
                client.invoke(ask.clone()).send().await.unwrap();
            }
        }
    });
    let opened = |entry: &agentcore_local::JournalEntry| {
        matches!(entry.event, JournalEvent::ConnectionOpened { .. })
    };
    assert_eq!(plane.journal().into_iter().filter(opened).count(), 1);
    assert_eq!(plane.count_posts(), 10);
}
