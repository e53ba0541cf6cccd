//! boto3 as a client of the local data plane: what AWS's own SDK expects of the service, and what
//! our client must send like it.

use agentcore_client::Bytes;
use agentcore_local::{Agent, Fault, JournalEvent, LocalDataPlane};
use agentcore_tests::{builder, start};
use serde_json::{Value, json};

use crate::moments;
use crate::process::{boto3, sdk_agent};

const SESSION: &str = "interop-session-0123456789-0123456789";

/// When each line of a stream came.
fn arrived(result: &Value) -> Vec<u64> {
    result["arrived_ms"].as_array().unwrap().iter().filter_map(Value::as_u64).collect()
}

/// Status and error code as boto3 saw them.
fn refused(result: &Value) -> (u64, &str) {
    assert_eq!(result["ok"], false, "{result}");
    assert_eq!(result["attempts"], 1, "{result}");
    assert!(result["request_id"].is_string(), "{result}");
    (result["status"].as_u64().unwrap_or(0), result["error"]["code"].as_str().unwrap_or_default())
}

/// The data of an answer's events as boto3 read its lines.
fn data(result: &Value) -> Vec<Value> {
    assert_eq!(result["ok"], true, "{result}");
    let lines = result["lines"].as_array().unwrap().iter().filter_map(Value::as_str);
    lines
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap())
        .collect()
}

#[tokio::test]
async fn a_call_and_a_stream() {
    let plane = start(LocalDataPlane::builder().qualifier("prod"));
    let mut boto3 = boto3(&plane);
    let result = boto3
        .ask(&json!({"op": "invoke", "session_id": SESSION, "qualifier": "prod",
                     "payload": {"mode": "json", "value": {"said": "Grüße 🙂"}}}))
        .await;
    assert_eq!((&result["ok"], &result["status"]), (&json!(true), &json!(200)), "{result}");
    assert_eq!(result["session_id"], SESSION);
    assert_eq!(result["content_type"], "application/json");
    assert!(result["request_id"].is_string(), "{result}");
    let body: Value = serde_json::from_str(result["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, json!({"said": "Grüße 🙂"}));

    // boto3 makes up a session itself, and the answer names it.
    let result = boto3.ask(&json!({"op": "invoke", "payload": {"mode": "text"}})).await;
    assert_eq!(result["session_id"].as_str().unwrap().len(), 36, "{result}");
    assert_eq!(result["body"], "plain text");
    assert!(plane.sessions().iter().any(|id| result["session_id"] == id.as_str()));

    let result = boto3
        .ask(&json!({"op": "stream", "session_id": SESSION,
                     "payload": {"mode": "stream", "tokens": 6, "delay_ms": 150}}))
        .await;
    let tokens: Vec<_> = (0..6).map(|n| json!(format!("token{n} "))).collect();
    assert_eq!(data(&result), tokens);
    assert_eq!(result["content_type"], "text/event-stream; charset=utf-8");
    assert!(moments(&arrived(&result)) >= 3, "{result}");
    assert!(boto3.end().await);
}

#[tokio::test]
async fn a_stop_and_what_follows() {
    let plane = start(LocalDataPlane::builder());
    let mut boto3 = boto3(&plane);
    let say = |prompt: &str| {
        json!({"op": "invoke", "session_id": SESSION, "accept": "application/json",
               "payload": {"prompt": prompt}})
    };
    let stop = json!({"op": "stop", "session_id": SESSION});

    assert_eq!(refused(&boto3.ask(&stop).await), (404, "ResourceNotFoundException"));
    boto3.ask(&say("I am Ada")).await;
    let result = boto3.ask(&say("who am I?")).await;
    assert!(result["body"].as_str().unwrap().contains("Ada"), "{result}");

    let result = boto3.ask(&stop).await;
    assert_eq!((&result["ok"], &result["status"]), (&json!(true), &json!(200)), "{result}");
    assert_eq!(result["session_id"], SESSION);
    assert!(plane.sessions().is_empty());
    assert_eq!(refused(&boto3.ask(&stop).await), (404, "ResourceNotFoundException"));

    let result = boto3.ask(&say("who am I?")).await;
    assert_eq!(result["session_id"], SESSION, "the id stays valid: {result}");
    assert!(!result["body"].as_str().unwrap().contains("Ada"), "{result}");
}

#[tokio::test]
async fn refusals() {
    let plane = start(LocalDataPlane::builder().session_token("a/token+with=specials"));
    let mut boto3 = boto3(&plane);
    let mut ask = async |more: Value| {
        let mut operation = json!({"op": "invoke", "payload": {"mode": "json"}});
        operation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        boto3.ask(&operation).await
    };
    assert_eq!(ask(json!({})).await["ok"], true, "with the right keys");
    let result = ask(json!({"secret_key": "not-the-secret"})).await;
    assert_eq!(refused(&result), (403, "InvalidSignatureException"));
    let result = ask(json!({"access_key": "AKIDUNKNOWN"})).await;
    assert_eq!(refused(&result), (403, "UnrecognizedClientException"));
    for token in ["", "another-token"] {
        let result = ask(json!({"session_token": token})).await;
        assert_eq!(refused(&result).0, 403, "{result}");
    }
    let result = ask(json!({"qualifier": "nowhere"})).await;
    assert_eq!(refused(&result), (404, "ResourceNotFoundException"));
    assert_eq!(result["error"]["type"], "ResourceNotFoundException");
    assert!(result["error"]["message"].as_str().unwrap().contains("nowhere"), "{result}");

    let result = ask(json!({"session_id": "short", "validate": false})).await;
    assert_eq!(refused(&result), (400, "ValidationException"));
    assert_eq!(result["error"]["type"], "ValidationException", "one that boto3 knows");
    assert_eq!(result["error"]["reason"], "FieldValidationFailed");
    let result = ask(json!({"op": "stop", "session_id": "short", "validate": false})).await;
    assert_eq!(refused(&result), (400, "ValidationException"));
}

#[tokio::test]
async fn errors_keep_their_codes() {
    let plane = start(LocalDataPlane::builder());
    let mut boto3 = boto3(&plane);
    let ask = json!({"op": "invoke", "payload": {"mode": "json"}});
    for (status, code) in [
        (402, "ServiceQuotaExceededException"),
        (403, "AccessDeniedException"),
        (409, "RetryableConflictException"),
        (429, "ThrottlingException"),
        (500, "InternalServerException"),
    ] {
        plane.faults().push(Fault::status(status, code));
        let result = boto3.ask(&ask).await;
        assert_eq!(refused(&result), (u64::from(status), code));
        assert_eq!(result["error"]["type"], code, "one that boto3 knows");
        assert_eq!(result["error"]["message"], format!("Scripted {status}"));
    }

    // What may be tried again, boto3 does try again, and then it is fine.
    for (status, code) in [(409, "RetryableConflictException"), (429, "ThrottlingException")] {
        plane.faults().push(Fault::status(status, code));
        let mut patient = ask.clone();
        patient["max_attempts"] = json!(3);
        let result = boto3.ask(&patient).await;
        assert_eq!((&result["ok"], &result["attempts"]), (&json!(true), &json!(2)), "{result}");
    }
}

#[tokio::test]
async fn failures_of_the_demo_agent() {
    let plane = start(LocalDataPlane::builder());
    let mut boto3 = boto3(&plane);
    let result = boto3.ask(&json!({"op": "invoke", "payload": {"mode": "error_before"}})).await;
    assert_eq!(refused(&result), (424, "RuntimeClientError"));
    assert!(result["error"]["message"].as_str().unwrap().contains("(500)"), "{result}");
    let result = boto3.ask(&json!({"op": "stream", "payload": {"mode": "error"}})).await;
    let events = data(&result);
    assert_eq!(events.len(), 3, "two tokens and the error, which is data to boto3: {result}");
    assert_eq!(events[2]["error_type"], "RuntimeError");
}

/// Both ends are official; only what stands in between is ours.
#[tokio::test]
async fn an_agent_of_the_official_sdk() {
    let (agent, url) = sdk_agent().await;
    let plane = start(LocalDataPlane::builder().agent(Agent::container(&url).unwrap()));
    let mut boto3 = boto3(&plane);
    let ask =
        |op: &str, payload: Value| json!({"op": op, "session_id": SESSION, "payload": payload});

    let result = boto3.ask(&ask("invoke", json!({"case": "json", "prompt": "ü"}))).await;
    let body: Value = serde_json::from_str(result["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, json!({"case": "json", "prompt": "ü", "session_id": SESSION}));

    let result = boto3.ask(&ask("stream", json!({"case": "stream", "pause": 0.15}))).await;
    let said: String = data(&result).iter().filter_map(Value::as_str).collect();
    assert_eq!(said, "Grüße, 世界 🙂 \"quoted\"\nend.");
    assert!(moments(&arrived(&result)) >= 3, "{result}");

    let result = boto3.ask(&ask("invoke", json!({"case": "error"}))).await;
    assert_eq!(refused(&result), (424, "RuntimeClientError"));
    assert!(!result.to_string().contains("on purpose"), "{result}");
    let result = boto3.ask(&ask("stream", json!({"case": "stream_error_during"}))).await;
    let events = data(&result);
    assert_eq!((&events[..2], events.len()), (&[json!("one"), json!("two")][..], 3));
    assert_eq!(events[2]["error"], "failed after two tokens");

    let result = boto3.ask(&json!({"op": "stop", "session_id": SESSION})).await;
    assert_eq!(result["status"], 200, "{result}");
    assert!(boto3.end().await && agent.end().await);
}

/// What a request says to the service, apart from its time, its signature and who sent it.
#[derive(Debug, PartialEq)]
struct Said {
    method: String,
    target: String,
    session_id: Option<String>,
    content_type: Option<String>,
    accept: Option<String>,
    body_sha256: String,
    body_text: Option<String>,
}

/// The requests so far, oldest first. All were authorised.
fn said(plane: &LocalDataPlane) -> Vec<Said> {
    let mut requests = Vec::new();
    for entry in plane.journal() {
        match entry.event {
            JournalEvent::Auth { claim, accepted, .. } => {
                assert_eq!((claim.as_str(), accepted), ("sigv4", true));
            }
            JournalEvent::Request {
                method,
                target,
                headers,
                session_id,
                body_sha256,
                body_text,
                ..
            } => {
                let header = |name: &str| {
                    let mut all = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
                    let first = all.next().map(|(_, value)| value.clone());
                    assert!(all.next().is_none(), "{name} twice");
                    first
                };
                requests.push(Said {
                    content_type: header("content-type"),
                    accept: header("accept"),
                    method,
                    target,
                    session_id,
                    body_sha256,
                    body_text,
                });
            }
            _ => {}
        }
    }
    requests
}

#[tokio::test]
async fn side_by_side_with_our_client() {
    let plane = start(LocalDataPlane::builder().qualifier("prod_2"));
    let ours = builder(&plane);
    let mut boto3 = boto3(&plane);

    for qualifier in [None, Some("DEFAULT"), Some("prod_2")] {
        plane.clear_journal();
        let mut invoke = json!({"op": "stream", "session_id": SESSION,
                                "payload": {"prompt": "Grüße 🙂", "mode": "echo"}});
        let mut stop = json!({"op": "stop", "session_id": SESSION});
        let mut ours = ours.clone();
        if let Some(name) = qualifier {
            invoke["qualifier"] = json!(name);
            stop["qualifier"] = json!(name);
            ours = ours.qualifier(name);
        }
        assert_eq!(boto3.ask(&invoke).await["ok"], true);
        assert_eq!(boto3.ask(&stop).await["ok"], true);
        let theirs = said(&plane);

        plane.clear_journal();
        let ours = ours.build().unwrap();
        let session = agentcore_client::SessionId::new(SESSION).unwrap();
        // Python writes JSON with other spaces and escapes: the same bytes make the same call.
        let payload = Bytes::from(theirs[0].body_text.clone().unwrap());
        ours.invoke(payload).session(&session).send().await.unwrap();
        ours.stop_session(&session).send().await.unwrap();
        let ours = said(&plane);

        assert_eq!((ours.len(), theirs.len()), (2, 2), "{qualifier:?}");
        assert_eq!(ours[0], theirs[0], "{qualifier:?}");
        let same =
            |said: &Said| (said.method.clone(), said.target.clone(), said.session_id.clone());
        assert_eq!(same(&ours[1]), same(&theirs[1]), "{qualifier:?}");
        assert_eq!(ours[1].content_type, theirs[1].content_type, "{qualifier:?}");
        // The token of a stop is new each time; nothing else is in its body.
        for stop in [&ours[1], &theirs[1]] {
            let body: Value = serde_json::from_str(stop.body_text.as_deref().unwrap()).unwrap();
            assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
            assert_eq!(body["clientToken"].as_str().unwrap().len(), 36, "{body}");
        }
    }
}
