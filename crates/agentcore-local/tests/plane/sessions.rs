//! Session states, and that leaving and stopping take effect at once.

use crate::support::{Call, Connection, Ending, SECONDS, SESSION, plane, start};
use agentcore_local::{Agent, JournalEvent, LocalDataPlane};
use std::time::{Duration, Instant};

#[test]
fn a_session_remembers_until_it_is_stopped() {
    let plane = plane();
    let say = |text: &str| {
        let body = format!(r#"{{"prompt":"{text}"}}"#);
        Call::invoke(&plane, &body).signed(&plane).send(&plane).text()
    };
    let stop = || Call::stop(&plane).signed(&plane).send(&plane);
    assert_eq!(stop().error(), (404, "ResourceNotFoundException"));
    say("one");
    assert!(say("two").contains("You said earlier: one."));
    assert_eq!(plane.sessions(), [SESSION]);
    let stopped = stop();
    assert_eq!((stopped.status, stopped.text().as_str()), (200, "{}"));
    assert!(!say("three").contains("earlier"));
    assert!(plane.stop_session(SESSION) && !plane.stop_session(SESSION));
}

#[test]
fn provisioning_holds_others_off() {
    let plane = start(LocalDataPlane::builder().provisioning(Duration::from_millis(400)));
    let call = Call::invoke(&plane, "{}").signed(&plane);
    let mut first = Connection::open(&plane);
    let begun = Instant::now();
    first.send(&call);
    plane
        .wait_for_blocking(|e| matches!(&e.event, JournalEvent::Session { .. }), SECONDS)
        .expect("provisioning");
    assert_eq!(call.send(&plane).error(), (409, "RetryableConflictException"));
    let stop = Call::stop(&plane).signed(&plane).send(&plane);
    assert_eq!(stop.error(), (409, "RetryableConflictException"));
    assert_eq!(first.answer().status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert_eq!(call.send(&plane).status, 200);
}

#[test]
fn a_stop_ends_running_streams() {
    let plane = plane();
    let body = r#"{"mode":"stream","tokens":1000,"delay_ms":20}"#;
    let mut connection = Connection::open(&plane);
    connection.send(&Call::invoke(&plane, body).sse().signed(&plane));
    assert_eq!(connection.head().expect("a head").status, 200);
    connection.chunk().expect("a token");
    assert_eq!(Call::stop(&plane).signed(&plane).send(&plane).status, 200);
    let end = loop {
        if let Err(end) = connection.chunk() {
            break end;
        }
    };
    assert_eq!(end, Ending::Closed);
    let cut = |e: &agentcore_local::JournalEntry| matches!(&e.event, JournalEvent::Cut { by, .. } if by == "stopped");
    assert!(plane.wait_for_blocking(cut, SECONDS).is_some());
}

#[test]
fn a_client_that_leaves_is_seen_at_once() {
    let (agent, script) = Agent::script();
    let plane = start(LocalDataPlane::builder().agent(agent));
    let mut connection = Connection::open(&plane);
    connection.send(&Call::invoke(&plane, "{}").signed(&plane));
    let call = script.next_blocking().expect("a call");
    assert_eq!(call.request.session_id, SESSION);
    call.responder.head_blocking(200, &[("content-type", "text/plain")]).expect("written");
    call.responder.chunk_blocking("one").expect("written");
    assert_eq!(connection.head().expect("a head").status, 200);
    assert_eq!(connection.chunk().expect("a chunk"), b"one");
    // Nothing is being written now, and nothing will be: only the socket tells.
    let left = Instant::now();
    drop(connection);
    let entry = plane.wait_for_blocking(|e| e.event.is_disconnect(), SECONDS).expect("seen");
    assert!(left.elapsed() < Duration::from_secs(2));
    assert_eq!(entry.event, JournalEvent::Disconnect { phase: "body".into(), chunks: 1, bytes: 3 });
    assert!(call.responder.is_gone());
    assert!(call.responder.chunk_blocking("two").is_err());
}

#[test]
fn a_client_may_leave_before_the_head_and_while_it_does_not_read() {
    let plane = plane();
    let slow = Call::invoke(&plane, r#"{"mode":"slow","delay_ms":60000}"#).signed(&plane);
    let mut connection = Connection::open(&plane);
    connection.send(&slow);
    plane
        .wait_for_blocking(|e| matches!(e.event, JournalEvent::Auth { .. }), SECONDS)
        .expect("seen");
    drop(connection);
    let phase = |e: &agentcore_local::JournalEntry| match &e.event {
        JournalEvent::Disconnect { phase, .. } => Some(phase.clone()),
        _ => None,
    };
    let entry = plane.wait_for_blocking(|e| phase(e).is_some(), SECONDS).expect("seen");
    assert_eq!(phase(&entry).as_deref(), Some("head"));
    plane.clear_journal();
    let big = Call::invoke(&plane, r#"{"mode":"big","bytes":50000000}"#).signed(&plane);
    let mut connection = Connection::open(&plane);
    connection.send(&big);
    connection.head().expect("a head");
    drop(connection);
    let entry = plane.wait_for_blocking(|e| phase(e).is_some(), SECONDS).expect("seen");
    assert_eq!(phase(&entry).as_deref(), Some("body"));
}
