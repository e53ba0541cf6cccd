//! Streams that end in every other way than properly: each has its error and
//! its end, and says what is needed to go on.

use std::time::Duration;

use agentcore_client::{AgentStream, Delivery, Error, Limits, SessionId, StreamEnd, Timeouts};
use agentcore_local::{Fault, LocalDataPlane};
use agentcore_tests::{builder, client, seen, short, start};
use futures::StreamExt as _;
use serde_json::json;

/// Reads to the end; the events' texts, and the error if there is one.
async fn drain(stream: &mut AgentStream) -> (Vec<String>, Option<Error>) {
    let mut texts = Vec::new();
    let error = loop {
        match stream.try_next().await {
            Ok(Some(event)) => texts.extend(event.text().map(str::to_owned)),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    // After the end it stays ended.
    assert!(stream.try_next().await.unwrap().is_none());
    (texts, error)
}

async fn breaks(fault: Fault, timeouts: Timeouts) -> (Error, StreamEnd) {
    let plane = start(LocalDataPlane::builder());
    plane.faults().push(fault);
    let client = builder(&plane).timeouts(timeouts).build().unwrap();
    let session = SessionId::generate();
    let call = client.invoke(json!({"mode": "stream", "tokens": 50})).session(&session);
    let mut stream = call.stream().await.unwrap();
    let (texts, error) = drain(&mut stream).await;
    let error = error.expect("the stream breaks");
    assert_eq!(error.session_id(), Some(session.as_str()));
    assert_eq!(error.events_seen(), texts.len() as u64);
    assert!(error.events_seen() > 0, "what came before is handed over: {error}");
    assert!(error.bytes_seen() >= 100);
    assert_eq!(error.delivery(), Delivery::Accepted);
    assert_eq!(plane.count_posts(), 1);
    (error, stream.end().unwrap())
}

#[tokio::test]
async fn a_reset_is_truncated() {
    let fault = Fault { reset_after_bytes: Some(200), ..Fault::new() };
    let (error, end) = breaks(fault, Timeouts::default()).await;
    assert_eq!((seen(&error).0, end), ("StreamInterrupted", StreamEnd::Truncated));
}

#[tokio::test]
async fn an_end_within_a_chunk_is_truncated() {
    let fault = Fault { truncate_after_bytes: Some(200), ..Fault::new() };
    let (error, end) = breaks(fault, Timeouts::default()).await;
    assert_eq!((seen(&error).0, end), ("StreamInterrupted", StreamEnd::Truncated));
}

#[tokio::test]
async fn silence_is_an_idle_timeout() {
    let fault = Fault { stall_after_bytes: Some(200), ..Fault::new() };
    let (error, end) = breaks(fault, short()).await;
    assert_eq!((seen(&error).0, end), ("Timeout", StreamEnd::IdleTimeout));
    assert!(error.to_string().contains("idle"), "{error}");
}

#[tokio::test]
async fn silence_after_a_read_was_given_up_is_not_idle() {
    let plane = start(LocalDataPlane::builder());
    let ask = json!({"mode": "stream", "tokens": 2, "delay_ms": 1000});
    let mut stream = client(&plane).invoke(ask).timeouts(short()).stream().await.unwrap();
    assert!(stream.try_next().await.unwrap().is_some());
    let read = tokio::time::timeout(Duration::from_millis(50), stream.try_next()).await;
    assert!(read.is_err(), "nothing comes so soon");
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(stream.try_next().await.unwrap().is_some());
}

#[tokio::test]
async fn reads_that_are_given_up_wait_for_the_limit_together() {
    let plane = start(LocalDataPlane::builder());
    let ask = json!({"mode": "silent"});
    let mut stream = client(&plane).invoke(ask).timeouts(short()).stream().await.unwrap();
    for _ in 0..100 {
        let read = tokio::time::timeout(Duration::from_millis(100), stream.try_next()).await;
        if let Ok(Err(error)) = read {
            assert_eq!((seen(&error).0, stream.end()), ("Timeout", Some(StreamEnd::IdleTimeout)));
            return;
        }
    }
    panic!("10 s of reading are 300 ms");
}

#[tokio::test]
async fn who_comes_late_may_have_been_away() {
    let plane = start(LocalDataPlane::builder());
    let ask = json!({"mode": "stream", "tokens": 2, "delay_ms": 2000});
    let mut stream = client(&plane).invoke(ask).timeouts(short()).stream().await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    let read = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
    assert!(read.is_err(), "nothing comes so soon");
    tokio::time::sleep(Duration::from_millis(1800)).await;
    assert!(stream.next().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_reader_that_is_always_late_has_its_end_too() {
    let plane = start(LocalDataPlane::builder());
    let ask = json!({"mode": "silent"});
    let mut stream = client(&plane).invoke(ask).timeouts(short()).stream().await.unwrap();
    for _ in 0..2 {
        let read = tokio::time::timeout(Duration::from_millis(1), stream.next()).await;
        assert!(read.is_err(), "once it may have been away");
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    assert_eq!(seen(&stream.try_next().await.unwrap_err()).0, "Timeout");
}

#[tokio::test]
async fn the_total_limit_covers_the_body() {
    let fault = Fault { stall_after_bytes: Some(200), ..Fault::new() };
    let timeouts = Timeouts::default().total(Duration::from_millis(400));
    let (error, end) = breaks(fault, timeouts).await;
    assert_eq!((seen(&error).0, end), ("Timeout", StreamEnd::TotalTimeout));
}

#[tokio::test]
async fn garbage_is_a_protocol_error() {
    let fault = Fault { garbage_chunk_after_bytes: Some(200), ..Fault::new() };
    let (error, end) = breaks(fault, Timeouts::default()).await;
    assert_eq!((seen(&error).0, end), ("Protocol", StreamEnd::ProtocolError), "{error:?}");
}

#[tokio::test]
async fn a_stream_that_never_pauses_ends_with_the_total_limit_too() {
    let plane = start(LocalDataPlane::builder());
    let timeouts = Timeouts::default().total(Duration::from_millis(300));
    let call = client(&plane).invoke(json!({"mode": "stream", "tokens": 100, "delay_ms": 20}));
    let mut stream = call.timeouts(timeouts).stream().await.unwrap();
    let (texts, error) = drain(&mut stream).await;
    assert_eq!(stream.end(), Some(StreamEnd::TotalTimeout));
    assert!(!texts.is_empty() && texts.len() < 100);
    assert_eq!(error.unwrap().limit(), Some(agentcore_client::Limit::Total));
}

#[tokio::test]
async fn too_large_events_and_answers_are_refused() {
    let plane = start(LocalDataPlane::builder());
    let limited = |limits| builder(&plane).limits(limits).build().unwrap();
    let ask = json!({"mode": "stream", "tokens": 50});

    let client = limited(Limits::default().event(8));
    let mut stream = client.invoke(ask.clone()).stream().await.unwrap();
    let (_, error) = drain(&mut stream).await;
    assert_eq!(seen(&error.unwrap()).0, "TooLarge");
    assert_eq!(stream.end(), Some(StreamEnd::TooLarge));

    let client = limited(Limits::default().answer(300));
    let mut stream = client.invoke(ask.clone()).stream().await.unwrap();
    let (texts, error) = drain(&mut stream).await;
    assert!(error.unwrap().to_string().contains("limits.answer"));
    assert!(texts.len() < 50);
    let error = client.invoke(json!({"mode": "big", "bytes": 1000})).send().await.unwrap_err();
    assert_eq!(seen(&error), ("TooLarge", "accepted", Some(200)));
}

#[tokio::test]
async fn a_proper_end_is_complete() {
    let plane = start(LocalDataPlane::builder());
    let call = client(&plane).invoke(json!({"mode": "stream", "tokens": 50}));
    let mut stream = call.stream().await.unwrap();
    assert_eq!(stream.end(), None);
    let (texts, error) = drain(&mut stream).await;
    assert!(error.is_none());
    assert_eq!(stream.end(), Some(StreamEnd::Complete));
    assert_eq!(texts.len(), 50);
}

#[tokio::test]
async fn the_agents_own_error_ends_the_stream_and_the_whole_answer() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    let ask = json!({"mode": "error", "tokens": 3});
    let mut stream = client.invoke(ask.clone()).stream().await.unwrap();
    let (texts, error) = drain(&mut stream).await;
    let error = error.unwrap();
    assert_eq!(texts.len(), 3);
    assert_eq!(seen(&error), ("Agent", "accepted", Some(200)), "{error}");
    assert!(error.agent_payload().unwrap().contains("error_type"));
    assert_eq!(stream.end(), Some(StreamEnd::AgentError));

    let error = client.invoke(ask).send().await.unwrap_err();
    assert_eq!(seen(&error), ("Agent", "accepted", Some(200)));
    assert_eq!(error.events_seen(), 3);
}

#[tokio::test]
async fn bytes_cut_anywhere_give_the_same_events() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    let ask = json!({"mode": "stream", "tokens": 20});
    let whole = client.invoke(ask.clone()).send().await.unwrap();
    plane.faults().push(Fault { split: true, ..Fault::new() });
    let split = client.invoke(ask).send().await.unwrap();
    assert_eq!(whole.text(), split.text());
    assert!(whole.text().is_some_and(|text| !text.is_empty()));
}

#[tokio::test]
async fn a_slow_reader_is_never_an_idle_stream() {
    let plane = start(LocalDataPlane::builder());
    let call = client(&plane).invoke(json!({"mode": "stream", "tokens": 3}));
    let mut stream = call.timeouts(short()).stream().await.unwrap();
    for _ in 0..3 {
        // Longer than the limit; meanwhile everything has arrived.
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(stream.try_next().await.unwrap().is_some());
    }
    assert!(stream.try_next().await.unwrap().is_none());
    assert_eq!(stream.end(), Some(StreamEnd::Complete));
}
