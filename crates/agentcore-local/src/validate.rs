//! Checks of headers and names as the service makes them before anything runs,
//! and the filter that decides which headers reach the agent.

use crate::error::ServiceError;
use crate::headers::Headers;

pub(crate) const SESSION: &str = "X-Amzn-Bedrock-AgentCore-Runtime-Session-Id";
pub(crate) const REQUEST_ID: &str = "x-amzn-RequestId";
const CONTAINER_REQUEST_ID: &str = "X-Amzn-Bedrock-AgentCore-Runtime-Request-Id";
const CUSTOM_PREFIX: &str = "x-amzn-bedrock-agentcore-runtime-custom-";
/// Trace headers: passed on to the agent and echoed in the answer.
pub(crate) const TRACE: [&str; 4] = ["x-amzn-trace-id", "traceparent", "tracestate", "baggage"];

/// Header, name of the member in the service's messages, shortest, longest.
const LIMITS: [(&str, &str, usize, usize); 12] = [
    ("content-type", "contentType", 1, 256),
    ("accept", "accept", 1, 256),
    (SESSION, "runtimeSessionId", 33, 256),
    ("x-amzn-bedrock-agentcore-runtime-user-id", "runtimeUserId", 1, 1_024),
    ("mcp-session-id", "mcpSessionId", 1, 1_024),
    ("mcp-protocol-version", "mcpProtocolVersion", 1, 1_024),
    ("mcp-method", "mcpMethod", 1, 1_024),
    ("mcp-name", "mcpName", 1, 1_024),
    ("x-amzn-trace-id", "traceId", 0, 128),
    ("traceparent", "traceParent", 0, 128),
    ("tracestate", "traceState", 0, 512),
    ("baggage", "baggage", 0, 8_192),
];

/// Every modelled header is within its limits, and so is a session id from the query.
pub(crate) fn headers(headers: &Headers, session: Option<&str>) -> Result<(), ServiceError> {
    for (name, member, shortest, longest) in LIMITS {
        let given = session.filter(|_| name == SESSION).map(str::as_bytes);
        for value in headers.get_all(name).chain(given) {
            // Characters, not bytes, where the value is text.
            let length = std::str::from_utf8(value).map_or(value.len(), |t| t.chars().count());
            if length < shortest {
                let text = format!("have length greater than or equal to {shortest}");
                return Err(ServiceError::validation(member, &text));
            }
            if length > longest {
                let text = format!("have length less than or equal to {longest}");
                return Err(ServiceError::validation(member, &text));
            }
        }
    }
    for (name, value) in headers.iter() {
        if is_custom(name) && value.len() > 4 * 1_024 {
            return Err(ServiceError::validation(name, "have length less than or equal to 4096"));
        }
    }
    Ok(())
}

/// The body of a stop: nothing, or an object with an optional client token.
pub(crate) fn stop_body(body: &[u8]) -> Result<(), ServiceError> {
    if body.is_empty() {
        return Ok(());
    }
    let unreadable = || ServiceError::cannot_parse("The request body is not a JSON object");
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|_| unreadable())?;
    let token = value.as_object().ok_or_else(unreadable)?.get("clientToken");
    match token {
        None | Some(serde_json::Value::Null) => Ok(()),
        Some(serde_json::Value::String(t)) if (33..=256).contains(&t.len()) => Ok(()),
        Some(_) => Err(ServiceError::validation(
            "clientToken",
            "have length between 33 and 256, inclusive",
        )),
    }
}

fn is_custom(name: &str) -> bool {
    name.len() > CUSTOM_PREFIX.len()
        && name.as_bytes()[..CUSTOM_PREFIX.len()].eq_ignore_ascii_case(CUSTOM_PREFIX.as_bytes())
}

/// Whether a name may stand on a runtime's allow-list.
pub(crate) fn may_be_allowed(name: &str) -> bool {
    const RESTRICTED: [&str; 30] = [
        "proxy-authorization",
        "www-authenticate",
        "connection",
        "keep-alive",
        "upgrade",
        "host",
        "user-agent",
        "referer",
        "from",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "server",
        "date",
        "location",
        "retry-after",
        "cookie",
        "set-cookie",
        "origin",
        "via",
        "forwarded",
        "x-real-ip",
        "x-requested-with",
        "x-csrf-token",
        "link",
        "etag",
        "if-match",
        "if-none-match",
        "if-modified-since",
    ];
    const PREFIXES: [&str; 6] =
        ["accept", "content-", "x-forwarded-", "sec-", "access-control-", "x-amz"];
    let lower = name.to_ascii_lowercase();
    let mut bytes = lower.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && lower.len() <= 256
        && !RESTRICTED.contains(&lower.as_str())
        && (is_custom(name) || !PREFIXES.iter().any(|p| lower.starts_with(p)))
}

/// The headers that the platform hands to the agent: API parameters, trace context, its own ids,
/// the custom prefix, and what the allow-list names. Everything else is dropped without a word.
pub(crate) fn forwarded(
    headers: &Headers,
    allowed: &[String],
    bearer: bool,
    session_id: &str,
    request_id: &str,
) -> Headers {
    const PARAMETERS: [&str; 7] = [
        "content-type",
        "accept",
        "mcp-session-id",
        "mcp-protocol-version",
        "mcp-method",
        "mcp-name",
        "x-amz-bedrock-agentcore-identity-wat",
    ];
    let mut out = Headers::new();
    for (name, value) in headers.iter() {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let listed = allowed.iter().any(|a| is(a)) && (bearer || !is("authorization"));
        if listed || is_custom(name) || PARAMETERS.iter().chain(&TRACE).any(|p| is(p)) {
            out.push(name, value);
        }
    }
    out.push(SESSION, session_id);
    out.push(CONTAINER_REQUEST_ID, request_id);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let check = |name: &str, length: usize| {
            headers(&Headers::from_iter([(name, "x".repeat(length))]), None)
        };
        assert!(check(SESSION, 33).is_ok() && check(SESSION, 256).is_ok());
        let short = check(SESSION, 32).expect_err("short");
        assert_eq!(short.status, 400);
        assert_eq!(short.body["reason"], "FieldValidationFailed");
        assert_eq!(short.body["fieldList"][0]["name"], "runtimeSessionId");
        assert!(check(SESSION, 257).is_err());
        assert!(headers(&Headers::new(), Some("short")).is_err());
        assert!(check("Content-Type", 0).is_err() && check("Content-Type", 257).is_err());
        assert!(check("tracestate", 512).is_ok() && check("tracestate", 513).is_err());
        assert!(stop_body(b"").is_ok() && stop_body(b"{}").is_ok() && stop_body(b"[]").is_err());
        assert!(stop_body(br#"{"clientToken":"short"}"#).is_err());
    }

    #[test]
    fn only_listed_headers_get_through() {
        let request = Headers::from_iter([
            ("X-Amzn-Bedrock-AgentCore-Runtime-Custom-A", "1"),
            ("X-Api-Key", "2"),
            ("X-Other", "3"),
            ("Authorization", "4"),
            ("X-Amzn-Bedrock-AgentCore-Runtime-User-Id", "5"),
            ("Accept", "6"),
            ("traceparent", "7"),
            ("x-amz-date", "8"),
        ]);
        let allowed = ["x-api-key".to_owned(), "authorization".to_owned()];
        let names = |bearer| {
            let out = forwarded(&request, &allowed, bearer, "s", "r");
            out.iter().map(|(_, v)| String::from_utf8_lossy(v).into_owned()).collect::<String>()
        };
        assert_eq!(names(false), "1267sr");
        assert_eq!(names(true), "12467sr");
        assert!(may_be_allowed("X-Api-Key") && may_be_allowed("Authorization"));
        for name in
            ["Host", "X-Amz-Date", "x-amzn-foo", "Cookie", "a b", "1a", "", "Accept-Language"]
        {
            assert!(!may_be_allowed(name), "{name}");
        }
    }
}
