//! One call is one POST, counted by the other side; and where the rules allow
//! another attempt, it stays in its session and shows in the error.

use agentcore_client::{Delivery, ErrorKind, Limit, RetryPolicy, SessionId};
use agentcore_local::{Fault, LocalDataPlane};
use agentcore_tests::{builder, client, seen, short, start};
use serde_json::json;

fn status(status: u16, code: &str) -> Fault {
    Fault::status(status, code)
}

/// What the call fails with, and how many POSTs the data plane saw.
async fn fails(fault: Fault) -> (agentcore_client::Error, usize) {
    let plane = start(LocalDataPlane::builder());
    plane.faults().push(fault.times(10));
    let client = builder(&plane).timeouts(short()).build().unwrap();
    let session = SessionId::generate();
    let error = client.invoke(json!({"prompt": "x"})).session(&session).send().await.unwrap_err();
    assert_eq!(error.session_id(), Some(session.as_str()), "{error}");
    (error, plane.count_posts())
}

#[tokio::test]
async fn an_answer_that_never_comes_is_one_post() {
    let (error, posts) = fails(Fault { never_answer: true, ..Fault::new() }).await;
    assert_eq!(seen(&error), ("Timeout", "unknown", None));
    assert_eq!(error.limit(), Some(Limit::FirstByte));
    assert_eq!(posts, 1);
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_is_one_post() {
    for fault in [
        Fault { reset_after_request: true, ..Fault::new() },
        Fault { close_after_request: true, ..Fault::new() },
    ] {
        let (error, posts) = fails(fault).await;
        assert_eq!(seen(&error), ("StreamInterrupted", "unknown", None), "{error}");
        assert_eq!(posts, 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_one_post() {
    let (error, posts) = fails(Fault { garbage_head: true, ..Fault::new() }).await;
    assert_eq!(seen(&error), ("Protocol", "unknown", None), "{error}");
    assert_eq!(posts, 1);
}

#[tokio::test]
async fn a_failing_service_is_one_post() {
    for (code, name) in [
        (500, "InternalServerException"),
        (502, ""),
        (503, "ServiceUnavailableException"),
        (504, ""),
    ] {
        let (error, posts) = fails(status(code, name)).await;
        assert_eq!(seen(&error), ("Service", "unknown", Some(code)), "{error}");
        assert_eq!(posts, 1, "{code}");
    }
}

#[tokio::test]
async fn a_failing_agent_is_one_post() {
    let plane = start(LocalDataPlane::builder());
    let call = client(&plane).invoke(json!({"mode": "error_before"}));
    let error = call.accept("application/json").send().await.unwrap_err();
    assert_eq!(seen(&error), ("Agent", "accepted", Some(424)), "{error}");
    assert_eq!(error.service_code(), Some("RuntimeClientError"));
    assert!(error.request_id().is_some());
    assert_eq!(plane.count_posts(), 1);
}

#[tokio::test]
async fn what_the_service_refuses_is_one_post() {
    for (code, name) in [
        (400, "ValidationException"),
        (402, "ServiceQuotaExceededException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (409, "ConflictException"),
    ] {
        let (error, posts) = fails(status(code, name)).await;
        assert_eq!(seen(&error), ("Service", "rejected", Some(code)), "{error}");
        assert_eq!(error.service_code(), Some(name));
        assert_eq!(posts, 1, "{code}");
    }
}

#[tokio::test]
async fn a_throttled_call_is_sent_again_in_its_session() {
    let plane = start(LocalDataPlane::builder());
    plane.faults().push(status(429, "ThrottlingException").with_header("x-amz-retry-after", "10"));
    plane.faults().push(status(409, "RetryableConflictException"));
    let session = SessionId::generate();
    let call = client(&plane).invoke(json!({"mode": "json"})).session(&session);
    let reply = call.send().await.unwrap();
    assert_eq!(reply.session_id(), &session);
    let sessions: Vec<_> = plane
        .invocations()
        .into_iter()
        .map(|entry| match entry.event {
            agentcore_local::JournalEvent::Request { session_id, .. } => session_id.unwrap(),
            _ => unreachable!("only requests are invocations"),
        })
        .collect();
    assert_eq!(sessions, [session.as_str(), session.as_str(), session.as_str()]);
}

#[tokio::test]
async fn retries_end_and_show_in_the_error() {
    let plane = start(LocalDataPlane::builder());
    plane.faults().push(status(429, "").with_header("x-amz-retry-after", "1").times(9));
    let error = client(&plane).invoke("x").send().await.unwrap_err();
    assert_eq!(seen(&error), ("Service", "rejected", Some(429)));
    assert_eq!(plane.count_posts(), 4);
    assert_eq!(error.attempts().len(), 4);
    assert!(error.attempts()[..3].iter().all(|attempt| attempt.pause.is_some()));
    assert!(error.retry_after().is_some());

    let never = client(&plane).invoke("x").retry(RetryPolicy::never());
    never.send().await.unwrap_err();
    assert_eq!(plane.count_posts(), 5);
}

#[tokio::test]
async fn an_idempotent_agent_may_be_asked_again() {
    let plane = start(LocalDataPlane::builder());
    plane.faults().push(Fault { reset_after_request: true, ..Fault::new() });
    let call = client(&plane).invoke(json!({"mode": "json"}));
    call.retry(RetryPolicy::idempotent()).send().await.unwrap();
    assert_eq!(plane.count_posts(), 2);
}

#[tokio::test]
async fn a_refused_connection_is_retried_and_not_sent() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    drop(plane);
    let error = client.invoke("x").send().await.unwrap_err();
    assert_eq!(seen(&error), ("Connect", "not_sent", None), "{error}");
    assert_eq!(error.attempts().len(), 4);
    assert!(error.attempts().iter().all(|attempt| attempt.delivery == Delivery::NotSent));
}

#[tokio::test]
async fn redirects_and_upgrades_and_encodings_are_not_followed() {
    for (fault, status) in [
        (Fault { redirect: Some("http://127.0.0.1:9/".into()), ..Fault::new() }, 307),
        (Fault { switching: true, ..Fault::new() }, 101),
        (Fault { wrong_encoding: true, ..Fault::new() }, 200),
    ] {
        let (error, posts) = fails(fault).await;
        assert_eq!((error.kind(), error.status()), (ErrorKind::Protocol, Some(status)), "{error}");
        assert_eq!(posts, 1);
    }
}

#[tokio::test]
async fn a_local_agents_429_is_the_agents_own() {
    // A local agent is called without the service in front, which alone can say that nothing ran.
    let plane = start(LocalDataPlane::builder().no_auth().container_paths());
    plane.faults().push(status(429, "").times(9));
    let client = agentcore_client::Client::builder_from_env()
        .environment(agentcore_client::Environment::empty())
        .local_url(plane.base_url())
        .build()
        .unwrap();
    let error = client.invoke("x").send().await.unwrap_err();
    assert_eq!(seen(&error), ("Agent", "accepted", Some(429)), "{error}");
    assert_eq!(plane.count_posts(), 1);
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_once() {
    let plane = start(LocalDataPlane::builder().clock_offset(3_600));
    let client = client(&plane);
    client.invoke(json!({"mode": "json"})).send().await.unwrap();
    assert_eq!(plane.count_posts(), 2);
    // From then on the client knows.
    client.invoke(json!({"mode": "json"})).send().await.unwrap();
    assert_eq!(plane.count_posts(), 3);
}

#[tokio::test]
async fn the_end_of_the_call_covers_retries() {
    let plane = start(LocalDataPlane::builder());
    plane.faults().push(status(429, "").with_header("Retry-After", "5").times(9));
    let timeouts = short().total(std::time::Duration::from_millis(500));
    let error = client(&plane).invoke("x").timeouts(timeouts).send().await.unwrap_err();
    assert_eq!(error.status(), Some(429), "{error}");
    assert_eq!(plane.count_posts(), 1, "a pause of 5 s does not fit into half a second");
}
