//! Control below `/_local/`: faults, journal, sessions, tokens. Whoever gets here had the token.

use crate::config::{Auth, Shared};
use crate::faults::Fault;
use crate::service::Request;
use crate::sigv4::split_target;
use crate::{encoding, journal};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Performs one control request; gives status and JSON body.
pub(crate) fn answer(shared: &Arc<Shared>, request: &Request, path: &str) -> (u16, Value) {
    match (request.method.as_str(), path) {
        ("GET", "journal") => {
            let query = encoding::query_pairs(split_target(&request.target).1);
            let since = query.iter().find(|(n, _)| n == "since").and_then(|(_, v)| v.parse().ok());
            let entries: Vec<journal::JournalEntry> = shared.journal.since(since.unwrap_or(0));
            (200, json!({ "entries": entries }))
        }
        ("DELETE", "journal") => {
            shared.journal.clear();
            (200, json!({}))
        }
        ("GET", "faults") => (200, json!({ "faults": shared.faults.pending() })),
        ("DELETE", "faults") => {
            shared.faults.clear();
            (200, json!({}))
        }
        ("POST", "faults") => push_faults(shared, &request.body),
        ("GET", "sessions") => {
            let all: Vec<Value> = shared
                .runtimes
                .iter()
                .flat_map(|r| {
                    r.sessions
                        .ids()
                        .into_iter()
                        .map(|id| json!({ "runtime_arn": r.config.arn, "session_id": id }))
                })
                .collect();
            (200, json!({ "sessions": all }))
        }
        ("GET", "sockets") => {
            let ids = shared.gateway.as_ref().map(|g| g.sockets()).unwrap_or_default();
            (200, json!({ "sockets": ids }))
        }
        ("POST", "redeliver") => redeliver(shared, &request.body),
        ("POST", "token") => mint(shared, &request.body),
        _ => (404, json!({ "message": "No control has this method and path" })),
    }
}

fn push_faults(shared: &Shared, body: &[u8]) -> (u16, Value) {
    let read = serde_json::from_slice::<Value>(body).and_then(|value| match value {
        Value::Array(_) => serde_json::from_value::<Vec<Fault>>(value),
        one => serde_json::from_value(one).map(|fault| vec![fault]),
    });
    match read {
        Ok(faults) => {
            let queued = faults.len();
            faults.into_iter().for_each(|f| shared.faults.push(f));
            (200, json!({ "queued": queued }))
        }
        Err(error) => (400, json!({ "message": format!("Not a fault: {error}") })),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redelivery {
    #[serde(default)]
    request_id: Option<String>,
    #[serde(default)]
    delay_ms: u64,
}

fn redeliver(shared: &Arc<Shared>, body: &[u8]) -> (u16, Value) {
    let body = if body.is_empty() { b"{}" } else { body };
    let wanted: Redelivery = match serde_json::from_slice(body) {
        Ok(wanted) => wanted,
        Err(error) => return (400, json!({ "message": format!("Not a redelivery: {error}") })),
    };
    let after = Duration::from_millis(wanted.delay_ms);
    let gateway = shared.gateway.as_ref();
    if gateway.is_some_and(|g| g.redeliver(shared, wanted.request_id.as_deref(), after)) {
        (200, json!({}))
    } else {
        (404, json!({ "message": "There is no such event" }))
    }
}

fn mint(shared: &Shared, body: &[u8]) -> (u16, Value) {
    let claims = if body.is_empty() { Ok(json!({})) } else { serde_json::from_slice(body) };
    match (&shared.primary().config.auth, claims) {
        (Auth::Jwt(jwt), Ok(claims)) => (200, json!({ "token": jwt.mint(&claims, shared.now(0)) })),
        (_, Err(_)) => (400, json!({ "message": "Claims are a JSON object" })),
        _ => (404, json!({ "message": "The runtime does not take bearer tokens" })),
    }
}
