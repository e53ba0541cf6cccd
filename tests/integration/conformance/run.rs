//! Plays a case: a data plane of its own, a real client, the calls in turn. What
//! is seen is written down in the words of the files and judged elsewhere.

use std::time::{Duration, Instant};

use agentcore_client::{
    AgentStream, Client, Error, Invoke, McpHeaders, Payload, Result, SessionId, TraceContext,
};
use agentcore_local::LocalDataPlane;
use agentcore_tests::{SOON, start};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::case::{self, Call, Case, ClientOptions, Read, Session, SessionKind};
use super::case::{Source, Verb, Words};
use super::judge::{Seen, SeenCall, of_kind, stopped};
use super::make::{builder, client, format, of_client, retry, sizes, timeouts};

/// Plays one case to its end.
pub(crate) async fn run(source: &Source) -> std::result::Result<(Case, Seen), String> {
    let plane = start(builder(&case::plane(source)?));
    let case = case::read(source, &words(&plane))?;
    case.faults.iter().for_each(|fault| plane.faults().push(fault.clone()));
    let mut seen = Seen::default();
    match client(&plane, &case.client) {
        Ok(client) => {
            for call in &case.calls {
                let played = play(&client, &case.client, call, &seen.calls).await;
                seen.calls.push(played);
            }
        }
        Err(error) => seen.client_error = Some(failure(&error)),
    }
    seen.journal = journal(&plane, case.journal.as_ref()).await;
    Ok((case, seen))
}

fn words(plane: &LocalDataPlane) -> Words {
    // Bound and let go of: nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    Words::from([
        ("base_url", plane.base_url()),
        ("runtime_arn", plane.runtime_arn().to_owned()),
        ("runtime_label", plane.runtime_arn().replace(':', "%3A").replace('/', "%2F")),
        ("address", plane.address().to_string()),
        ("closed_url", format!("http://{closed}")),
        ("session", SessionId::generate().to_string()),
        ("other_session", SessionId::generate().to_string()),
    ])
}

async fn play(client: &Client, of: &ClientOptions, call: &Call, before: &[SeenCall]) -> SeenCall {
    let given = call.session_id.as_ref().map(|session| match session {
        Session::Text(text) => text.clone(),
        Session::OfCall(call) => {
            let answer = before[call.of_call].answer.as_ref();
            answer.and_then(|a| a["session_id"].as_str()).unwrap_or_default().to_owned()
        }
    });
    let mut seen = SeenCall { given, ..SeenCall::default() };
    let started = Instant::now();
    let played = match call.verb {
        Verb::StopSession => stop(client, of, call, &mut seen).await,
        Verb::Invoke => invoke(client, of, call, &mut seen).await,
        Verb::Stream => stream(client, of, call, &mut seen).await,
    };
    seen.elapsed_ms = started.elapsed().as_millis() as u64;
    seen.error = played.err().map(|error| failure(&error));
    seen
}

fn session(call: &Call, given: Option<&str>) -> Result<Option<SessionId>> {
    given
        .map(|id| match call.session_kind {
            SessionKind::Strict => SessionId::new(id),
            SessionKind::Existing => SessionId::existing(id),
            SessionKind::Local => SessionId::local(id),
        })
        .transpose()
}

async fn stop(client: &Client, of: &ClientOptions, call: &Call, seen: &mut SeenCall) -> Result<()> {
    let session = session(call, seen.given.as_deref())?.expect("a stop names its session");
    let mut stop = client.stop_session(session);
    if let Some(limits) = &call.timeouts {
        stop = stop.timeouts(timeouts(of_client(of), limits));
    }
    if let Some(policy) = call.retry {
        stop = stop.retry(retry(policy));
    }
    stop.send().await?;
    seen.answer = Some(json!({}));
    Ok(())
}

fn prepare(
    client: &Client,
    of: &ClientOptions,
    call: &Call,
    given: Option<&str>,
) -> Result<Invoke> {
    let client = match &call.with {
        None => client.clone(),
        Some(with) => {
            let mut sibling = client.with_options();
            if let Some(name) = &with.qualifier {
                sibling = sibling.qualifier(name);
            }
            if let Some(limits) = &with.timeouts {
                sibling = sibling.timeouts(timeouts(of_client(of), limits));
            }
            if let Some(policy) = with.retry {
                sibling = sibling.retry(retry(policy));
            }
            if let Some(limits) = &with.limits {
                sibling = sibling.limits(sizes(limits));
            }
            if let Some(name) = &with.text_format {
                sibling = sibling.text_format(format(name));
            }
            sibling.build()?
        }
    };
    let payload = match call.payload.as_ref().expect("a call has a payload") {
        case::Payload::Json(value) => Payload::from(value),
        case::Payload::Text(text) => Payload::from(text),
        case::Payload::Base64(text) => Payload::from(STANDARD.decode(text).unwrap()),
        case::Payload::Zeros(count) => Payload::from(vec![0; *count]),
    };
    let mut invoke = client.invoke(payload).stop_on_close(call.stop_on_close);
    if let Some(session) = session(call, given)? {
        invoke = invoke.session(session);
    }
    for (name, value) in &call.headers {
        invoke = invoke.header(name, value);
    }
    macro_rules! set {
        ($($value:expr => $method:ident),+ $(,)?) => {
            $(if let Some(value) = $value { invoke = invoke.$method(value); })+
        };
    }
    set! {
        call.user_id.clone() => user_id,
        call.content_type.clone() => content_type,
        call.accept.clone() => accept,
        call.timeouts.as_ref().map(|limits| timeouts(of_client(of), limits)) => timeouts,
        call.retry.map(retry) => retry,
        call.text_format.as_deref().map(format) => text_format,
    }
    let mut trace = TraceContext::default();
    trace.traceparent = call.traceparent.clone();
    trace.tracestate = call.tracestate.clone();
    trace.baggage = call.baggage.clone();
    trace.x_amzn_trace_id = call.x_amzn_trace_id.clone();
    let mut mcp = McpHeaders::default();
    mcp.session_id = call.mcp_session_id.clone();
    mcp.protocol_version = call.mcp_protocol_version.clone();
    mcp.method = call.mcp_method.clone();
    mcp.name = call.mcp_name.clone();
    Ok(invoke.trace(trace).mcp(mcp))
}

async fn invoke(
    client: &Client,
    of: &ClientOptions,
    call: &Call,
    seen: &mut SeenCall,
) -> Result<()> {
    let reply = prepare(client, of, call, seen.given.as_deref())?.send().await?;
    seen.answer = Some(json!({
        "status": reply.status(),
        "content_type": reply.content_type(),
        "request_id": reply.request_id(),
        "session_id": reply.session_id().as_str(),
        "session_endpoint_url": reply.session_endpoint_url(),
        "headers": headers(reply.headers()),
        "text": reply.text(),
        "json": reply.json::<Value>().unwrap_or_else(|_| json!("no JSON")),
        "body": std::str::from_utf8(reply.body()).ok(),
        "body_bytes": reply.body().len(),
        "end": reply.end().as_str(),
    }));
    Ok(())
}

async fn stream(
    client: &Client,
    of: &ClientOptions,
    call: &Call,
    seen: &mut SeenCall,
) -> Result<()> {
    let mut stream = prepare(client, of, call, seen.given.as_deref())?.stream().await?;
    let answer = seen.answer.insert(json!({
        "status": stream.status(),
        "content_type": stream.content_type(),
        "request_id": stream.request_id(),
        "session_id": stream.session_id().as_str(),
        "session_endpoint_url": stream.session_endpoint_url(),
        "headers": headers(stream.headers()),
    }));
    let result = match call.read {
        Read::Events => events(&mut stream, call, answer).await,
        Read::Text => {
            let mut deltas = Vec::new();
            let mut text = stream.text_deltas();
            let result = loop {
                match text.try_next().await {
                    Ok(Some(delta)) => deltas.push(delta.to_string()),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            answer["deltas"] = json!(deltas);
            result
        }
        Read::Bytes => {
            let mut bytes = stream.into_bytes_stream();
            let mut body = Vec::new();
            let mut result = Ok(());
            while let Some(chunk) = bytes.next().await {
                match chunk {
                    Ok(chunk) => body.extend_from_slice(&chunk),
                    Err(error) => result = Err(error),
                }
            }
            answer["body"] = json!(std::str::from_utf8(&body).ok());
            answer["body_bytes"] = json!(body.len());
            answer["end"] = json!(bytes.end().map(|end| end.as_str()));
            return result;
        }
    };
    answer["events_seen"] = json!(stream.events_seen());
    answer["end"] = json!(stream.end().map(|end| end.as_str()));
    result
}

async fn events(stream: &mut AgentStream, call: &Call, answer: &mut Value) -> Result<()> {
    assert_eq!(stream.end(), None, "a stream begins without an end");
    let mut events = Vec::new();
    let mut said: Option<String> = None;
    let result = loop {
        if call.close_after == Some(events.len()) {
            stream.close();
        }
        tokio::time::sleep(Duration::from_millis(call.pause_ms)).await;
        match stream.try_next().await {
            Ok(Some(event)) => {
                said = match (said, event.text()) {
                    (said, None) => said,
                    (said, Some(text)) => Some(said.unwrap_or_default() + text),
                };
                events.push(json!({
                    "event": event.event(),
                    "id": event.id(),
                    "data": event.data_str(),
                    "text": event.text(),
                    "json": event.json::<Value>().unwrap_or_else(|_| json!("no JSON")),
                }));
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    answer["events"] = json!(events);
    answer["text"] = json!(said);
    let after = stream.try_next().await;
    assert!(matches!(after, Ok(None)), "after its end a stream stays ended");
    result
}

fn headers(map: &http::HeaderMap) -> Value {
    let pairs = map.iter().map(|(name, value)| {
        (name.as_str().to_owned(), json!(String::from_utf8_lossy(value.as_bytes())))
    });
    Value::Object(pairs.collect())
}

/// An error in the words of the files.
fn failure(error: &Error) -> Value {
    json!({
        "kind": error.kind().as_str(),
        "delivery": error.delivery().as_str(),
        "status": error.status(),
        "service_code": error.service_code(),
        "request_id": error.request_id(),
        "session_id": error.session_id(),
        "limit": error.limit().map(|limit| limit.as_str()),
        "field": error.field(),
        "retry_after_ms": error.retry_after().map(|after| after.as_millis() as u64),
        "attempts": error.attempts().len(),
        "events_seen": error.events_seen(),
        "bytes_seen": error.bytes_seen(),
        "agent_payload": error.agent_payload(),
        "message": error.to_string(),
    })
}

/// The journal, once it holds what is awaited: that a client left shows a moment later.
async fn journal(plane: &LocalDataPlane, expected: Option<&Value>) -> Vec<Value> {
    let entries =
        || plane.journal().iter().map(|e| serde_json::to_value(e).unwrap()).collect::<Vec<_>>();
    let disconnects = expected.and_then(|e| e["disconnects"].as_array()).map_or(0, Vec::len);
    let stops = expected.and_then(|e| e["stopped"].as_u64()).unwrap_or(0) as usize;
    let until = Instant::now() + SOON;
    loop {
        let all = entries();
        let there = of_kind(&all, "disconnect").count() >= disconnects && stopped(&all) >= stops;
        if there || Instant::now() > until {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
