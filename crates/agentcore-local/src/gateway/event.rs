//! The events that API Gateway hands to a Lambda function for a WebSocket API, member for member.
//! Pure, so that the shapes can be read and tested in one place.

use crate::clock;
use crate::encoding::random_bytes;
use crate::headers::Headers;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Map, Value, json};

/// What all events of one socket have in common.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) connection_id: String,
    pub(super) connected_at_ms: u64,
    pub(super) domain: String,
    pub(super) stage: String,
    pub(super) api_id: String,
    pub(super) source_ip: String,
    pub(super) user_agent: Option<String>,
}

/// An id as the gateway makes them: it ends in `=`.
pub(super) fn new_id() -> String {
    URL_SAFE.encode(random_bytes::<11>())
}

/// Whether the text can be a connection id at all.
pub(super) fn is_id(text: &str) -> bool {
    URL_SAFE.decode(text).is_ok_and(|bytes| bytes.len() == 11)
}

/// The event of a handshake.
pub(super) fn connect(origin: &Origin, headers: &Headers, query: &[(String, String)]) -> Value {
    let fields: Vec<(String, String)> = headers
        .iter()
        .filter(|(name, _)| !["connection", "upgrade"].contains(&&*name.to_ascii_lowercase()))
        .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned()))
        .chain([
            ("X-Forwarded-For".to_owned(), origin.source_ip.clone()),
            ("X-Forwarded-Port".to_owned(), "443".to_owned()),
            ("X-Forwarded-Proto".to_owned(), "https".to_owned()),
        ])
        .collect();
    let mut event = json!({
        "headers": last(&fields),
        "multiValueHeaders": lists(&fields),
        "requestContext": context(origin, "$connect", "CONNECT"),
        "isBase64Encoded": false,
    });
    if !query.is_empty() {
        event["queryStringParameters"] = last(query);
        event["multiValueQueryStringParameters"] = lists(query);
    }
    event
}

/// The event of a message, and its message id. It has no headers.
pub(super) fn message(origin: &Origin, route: &str, body: &[u8], text: bool) -> (Value, String) {
    let mut context = context(origin, route, "MESSAGE");
    let message_id = new_id();
    context["messageId"] = json!(message_id);
    let body = match std::str::from_utf8(body) {
        Ok(body) if text => body.to_owned(),
        _ => STANDARD.encode(body),
    };
    let event = json!({ "requestContext": context, "body": body, "isBase64Encoded": !text });
    (event, message_id)
}

/// The event of a socket that is gone.
pub(super) fn disconnect(origin: &Origin, code: u16, reason: &str) -> Value {
    let fields = [
        ("Host".to_owned(), origin.domain.clone()),
        ("x-api-key".to_owned(), String::new()),
        ("X-Forwarded-For".to_owned(), String::new()),
        ("x-restapi".to_owned(), String::new()),
    ];
    let mut context = context(origin, "$disconnect", "DISCONNECT");
    context["disconnectStatusCode"] = json!(code);
    context["disconnectReason"] = json!(reason);
    json!({
        "headers": last(&fields),
        "multiValueHeaders": lists(&fields),
        "requestContext": context,
        "isBase64Encoded": false,
    })
}

fn context(origin: &Origin, route: &str, kind: &str) -> Value {
    let now_ms = clock::unix_now_ms();
    let request_id = new_id();
    let mut identity = json!({ "sourceIp": origin.source_ip });
    if let Some(agent) = &origin.user_agent {
        identity["userAgent"] = json!(agent);
    }
    json!({
        "routeKey": route,
        "eventType": kind,
        "extendedRequestId": request_id,
        "requestTime": clock::log_date(i64::try_from(now_ms / 1_000).unwrap_or(0)),
        "messageDirection": "IN",
        "stage": origin.stage,
        "connectedAt": origin.connected_at_ms,
        "requestTimeEpoch": now_ms,
        "identity": identity,
        "requestId": request_id,
        "domainName": origin.domain,
        "connectionId": origin.connection_id,
        "apiId": origin.api_id,
    })
}

/// Of several values the last one counts.
fn last(fields: &[(String, String)]) -> Value {
    fields.iter().map(|(n, v)| (n.clone(), json!(v))).collect::<Map<_, _>>().into()
}

fn lists(fields: &[(String, String)]) -> Value {
    let mut all = Map::new();
    for (name, value) in fields {
        let list = all.entry(name.clone()).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!(value));
        }
    }
    all.into()
}

/// The route of a message: what `$request.body.action` names, if there is such a route.
pub(super) fn select<'a>(routes: &'a [String], body: &[u8]) -> &'a str {
    serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|body| {
            let action = body.get("action")?.as_str()?;
            routes.iter().find(|route| *route == action)
        })
        .map_or("$default", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            connection_id: new_id(),
            connected_at_ms: 1,
            domain: "d".into(),
            stage: "s".into(),
            api_id: "a".into(),
            source_ip: "127.0.0.1".into(),
            user_agent: None,
        }
    }

    #[test]
    fn ids_end_in_an_equals_sign() {
        for _ in 0..100 {
            let id = new_id();
            assert!(id.ends_with('=') && is_id(&id), "{id}");
        }
        assert!(!is_id("") && !is_id("../etc") && !is_id("AAAA"));
    }

    #[test]
    fn only_the_handshake_has_the_clients_headers() {
        let headers = Headers::from_iter([("Host", "h"), ("Cookie", "a"), ("Cookie", "b")]);
        let query = [("q".to_owned(), "1".to_owned()), ("q".to_owned(), "2".to_owned())];
        let event = connect(&origin(), &headers, &query);
        assert_eq!(event["headers"]["Cookie"], "b");
        assert_eq!(event["multiValueHeaders"]["Cookie"], json!(["a", "b"]));
        assert_eq!(event["queryStringParameters"]["q"], "2");
        assert_eq!(event["multiValueQueryStringParameters"]["q"], json!(["1", "2"]));
        assert_eq!(event["requestContext"]["eventType"], "CONNECT");
        let (event, id) = message(&origin(), "$default", b"\xff", false);
        assert!(event.get("headers").is_none());
        assert_eq!(event["body"], "/w==");
        assert_eq!(event["isBase64Encoded"], true);
        assert_eq!(event["requestContext"]["messageId"], json!(id));
        let event = disconnect(&origin(), 1001, "Going away");
        assert_eq!(event["requestContext"]["disconnectStatusCode"], 1001);
    }

    #[test]
    fn routes() {
        let routes = ["chat".to_owned()];
        assert_eq!(select(&routes, br#"{"action":"chat"}"#), "chat");
        for body in [&br#"{"action":"other"}"#[..], b"{}", b"no JSON", b"[1]", b"\xff"] {
            assert_eq!(select(&routes, body), "$default");
        }
    }
}
