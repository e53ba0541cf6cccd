//! Every fault, seen from the other end of the socket.

use crate::support::{Call, Connection, Ending, plane};
use agentcore_local::{Fault, JournalEvent, LocalDataPlane};
use serde_json::json;
use std::time::{Duration, Instant};

const STREAM: &str = r#"{"mode":"raw","chunks":["0123456789","abcdefghij"]}"#;

fn with(plane: &LocalDataPlane, fault: Fault) -> Connection {
    plane.faults().push(fault);
    let mut connection = Connection::open(plane);
    connection.send(&Call::invoke(plane, STREAM).signed(plane));
    connection
}

#[test]
fn answers_in_place_of_the_agent() {
    let plane = plane();
    let throttled =
        Fault::status(429, "ThrottlingException").with_header("x-amz-retry-after", "250");
    let answer = with(&plane, throttled).answer();
    assert_eq!(answer.error(), (429, "ThrottlingException"));
    assert_eq!(answer.header("x-amz-retry-after"), Some("250"));
    assert_eq!(answer.json()["message"], "Scripted 429");
    let bare = Fault { status: Some(503), body: Some("<html>".into()), ..Fault::new() };
    assert_eq!(with(&plane, bare).answer().text(), "<html>");
    let elsewhere = Fault { redirect: Some("http://x/".into()), ..Fault::new() };
    assert_eq!(with(&plane, elsewhere).answer().header("location"), Some("http://x/"));
    let switching = Fault { switching: true, ..Fault::new() };
    assert_eq!(with(&plane, switching).answer().status, 101);
    let encoded = with(&plane, Fault { wrong_encoding: true, ..Fault::new() }).answer();
    assert_eq!(encoded.header("content-encoding"), Some("gzip"));
    let big = with(&plane, Fault { big_headers: Some(100_000), ..Fault::new() }).answer();
    assert!(big.headers.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>() > 98_000);
    assert!(plane.journal().iter().any(|e| matches!(e.event, JournalEvent::Fault { .. })));
    assert_eq!(with(&plane, Fault::new()).answer().body.len(), 20);
}

#[test]
fn ends_of_the_connection() {
    let plane = plane();
    let reset = Fault { reset_after_request: true, ..Fault::new() };
    assert_eq!(with(&plane, reset).head().err(), Some(Ending::Reset));
    let close = Fault { close_after_request: true, ..Fault::new() };
    assert_eq!(with(&plane, close).head().err(), Some(Ending::Closed));
    let garbage = Fault { garbage_head: true, ..Fault::new() };
    assert_eq!(with(&plane, garbage).head().err(), Some(Ending::Broken));
    let mut polite = with(&plane, Fault { connection_close: true, ..Fault::new() });
    assert_eq!(polite.answer().header("connection"), Some("close"));
    assert_eq!(polite.head().err(), Some(Ending::Closed));
    let mut idle = with(&plane, Fault { close_idle_after_ms: Some(30), ..Fault::new() });
    assert_eq!(idle.answer().ending, Ending::Proper);
    assert_eq!(idle.head().err(), Some(Ending::Closed));
}

#[test]
fn strikes_within_the_body() {
    let plane = plane();
    for n in [0, 3, 10, 13, 20, 99] {
        let kept = 20.min(usize::try_from(n).expect("small"));
        let reset = Fault { reset_after_bytes: Some(n), ..Fault::new() };
        let answer = with(&plane, reset).answer();
        assert_eq!((answer.ending, answer.body.len()), (Ending::Reset, kept), "reset after {n}");
        let truncate = Fault { truncate_after_bytes: Some(n), ..Fault::new() };
        let answer = with(&plane, truncate).answer();
        // What lies in the cut chunk is no whole chunk for this reader.
        assert_eq!((answer.ending, answer.body.len()), (Ending::Closed, kept / 10 * 10));
        let garbage = Fault { garbage_chunk_after_bytes: Some(n), ..Fault::new() };
        let answer = with(&plane, garbage).answer();
        assert_eq!((answer.ending, answer.body.len()), (Ending::Broken, kept), "garbage after {n}");
    }
    let mut stalled = with(&plane, Fault { stall_after_bytes: Some(4), ..Fault::new() });
    stalled.head().expect("a head");
    assert_eq!(stalled.chunk().expect("a part"), b"0123");
    plane.clear_journal();
    drop(stalled);
    let entry = plane.wait_for_blocking(|e| e.event.is_disconnect(), Duration::from_secs(5));
    let event = JournalEvent::Disconnect { phase: "body".into(), chunks: 1, bytes: 4 };
    assert_eq!(entry.map(|e| e.event), Some(event));
}

#[test]
fn time_and_pieces() {
    let plane = plane();
    let begun = Instant::now();
    let late = Fault { delay_head_ms: Some(80), ..Fault::status(500, "InternalServerException") };
    assert_eq!(with(&plane, late).answer().status, 500);
    assert!(begun.elapsed() >= Duration::from_millis(80));
    let split = with(&plane, Fault { split: true, ..Fault::new() }).answer();
    assert_eq!((split.ending, split.body.len()), (Ending::Proper, 20));
    let mut silent = with(&plane, Fault { never_answer: true, ..Fault::new() });
    silent.stream.socket().set_read_timeout(Some(Duration::from_millis(50))).expect("set");
    assert!(std::io::Read::read(&mut silent.stream, &mut [0u8; 1]).is_err());
    drop(silent);
    // Ten minutes ahead: refused, and the Date says why.
    let skewed = with(&plane, Fault { date_offset_s: Some(600), ..Fault::new() }).answer();
    assert_eq!(skewed.error(), (403, "InvalidSignatureException"));
    assert!(skewed.header("date").expect("a date").contains("12:4"));
}

#[test]
fn they_come_over_http_too() {
    let plane = plane();
    let control = |method, body: serde_json::Value| {
        let mut call = Call::new(&plane, method, "/_local/faults")
            .header("x-local-token", plane.control_token());
        call.body = body.to_string().into_bytes();
        call.send(&plane)
    };
    let queued = control("POST", json!([{"status": 502, "repeat": 2}, {"path_contains": "/stop"}]));
    assert_eq!(queued.json(), json!({"queued": 2}));
    assert_eq!(control("POST", json!({"stats": 1})).status, 400);
    let call = Call::invoke(&plane, STREAM).signed(&plane);
    let statuses: Vec<u16> = (0..3).map(|_| call.send(&plane).status).collect();
    assert_eq!(statuses, [502, 502, 200]);
    assert_eq!(control("GET", json!(null)).json()["faults"][0]["path_contains"], "/stop");
    assert_eq!(control("DELETE", json!(null)).status, 200);
    assert!(plane.faults().pending().is_empty());
}
