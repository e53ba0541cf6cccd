//! Header names, which of them a caller may set, and which are signed. The
//! service drops most others without a word, so they are refused with a reason.

use http::{HeaderName, HeaderValue};

use crate::error::{Error, Result};
use crate::protocol::shape;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)+) => {
        $($(#[$doc])* pub(crate) static $name: HeaderName = HeaderName::from_static($text);)+
    };
}

names! {
    SESSION_ID = "x-amzn-bedrock-agentcore-runtime-session-id";
    USER_ID = "x-amzn-bedrock-agentcore-runtime-user-id";
    SESSION_ENDPOINT_URL = "x-amzn-bedrock-agentcore-runtime-session-endpoint-url";
    /// Workload access token of an agent that calls another agent.
    IDENTITY_WAT = "x-amz-bedrock-agentcore-identity-wat";
    MCP_SESSION_ID = "mcp-session-id";
    MCP_PROTOCOL_VERSION = "mcp-protocol-version";
    MCP_METHOD = "mcp-method";
    MCP_NAME = "mcp-name";
    TRACEPARENT = "traceparent";
    TRACESTATE = "tracestate";
    BAGGAGE = "baggage";
    X_AMZN_TRACE_ID = "x-amzn-trace-id";
    X_AMZN_REQUEST_ID = "x-amzn-requestid";
    X_AMZN_ERROR_TYPE = "x-amzn-errortype";
    X_AMZ_RETRY_AFTER = "x-amz-retry-after";
}

/// Whether a header is part of the signature, by its name in lower case: all are, but those that
/// proxies, tracers or HTTP itself may change or consume on the way. Signed, they would break the
/// request there; unsigned, they cost nothing.
pub(crate) fn is_signed(name: &str) -> bool {
    match name {
        "authorization" | "user-agent" => false,
        "baggage" | "traceparent" | "tracestate" | "x-amzn-trace-id" => false,
        "connection" | "expect" | "keep-alive" | "te" | "trailer" | "transfer-encoding"
        | "upgrade" => false,
        _ => !name.starts_with("proxy-") && !name.starts_with("sec-websocket-"),
    }
}

const FIELD: &str = "headers";

/// As much as the service hands to an agent.
const MAX_VALUE: usize = 4096;

/// A token, which the service takes itself: tokens outgrow what it hands to an agent.
const MAX_TOKEN: usize = 8192;

/// Headers with an option of their own, and its name.
const WITH_OPTION: &[(&str, &str)] = &[
    ("accept", "accept"),
    ("authorization", "auth"),
    ("baggage", "baggage"),
    ("content-type", "content_type"),
    ("mcp-method", "mcp_method"),
    ("mcp-name", "mcp_name"),
    ("mcp-protocol-version", "mcp_protocol_version"),
    ("mcp-session-id", "mcp_session_id"),
    ("traceparent", "traceparent"),
    ("tracestate", "tracestate"),
    ("user-agent", "user_agent"),
    ("x-amzn-bedrock-agentcore-runtime-session-id", "session_id"),
    ("x-amzn-bedrock-agentcore-runtime-user-id", "user_id"),
    ("x-amzn-trace-id", "x_amzn_trace_id"),
];

/// Headers that the HTTP layer sets, or that end at the next hop.
const OF_TRANSPORT: &[&str] = &[
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that the service never hands to an agent. Content and accept headers, and whole
/// families, are in [`is_restricted`].
const RESTRICTED: &[&str] = &[
    "age",
    "cache-control",
    "cookie",
    "date",
    "etag",
    "expires",
    "forwarded",
    "from",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "referer",
    "referrer-policy",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "true-client-ip",
    "vary",
    "via",
    "www-authenticate",
    "x-client-ip",
    "x-content-type-options",
    "x-csrf-token",
    "x-frame-options",
    "x-real-ip",
    "x-requested-with",
    "x-xss-protection",
];

const RESTRICTED_FAMILIES: &[&str] =
    &["accept-", "access-control-", "cf-", "content-", "proxy-", "sec-", "x-forwarded-"];

const CUSTOM_PREFIX: &str = "x-amzn-bedrock-agentcore-runtime-custom-";

fn is_restricted(name: &str) -> bool {
    RESTRICTED.contains(&name) || RESTRICTED_FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Checks a header that a caller wants to send along.
pub(crate) fn validate_caller_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let parsed = match HeaderName::try_from(name) {
        Ok(parsed) if starts_well && name.len() <= 256 && name.bytes().all(allowed) => parsed,
        _ => {
            return Err(Error::invalid(
                FIELD,
                format_args!("a name of {}", shape::of(name)),
                "a header name is a letter and up to 255 letters, digits, hyphens or underscores",
            ));
        }
    };
    let lower = parsed.as_str();
    // From here on the name is in a fixed list or of a known family, or it is fine: safe to show.
    if let Some((_, option)) = WITH_OPTION.iter().find(|(reserved, _)| *reserved == lower) {
        return Err(Error::invalid(
            FIELD,
            format_args!("{lower} set by hand"),
            format_args!("use the option {option}"),
        ));
    }
    if OF_TRANSPORT.contains(&lower) {
        return Err(Error::invalid(
            FIELD,
            format_args!("{lower} set by hand"),
            "it belongs to the HTTP layer, which sets it where needed",
        ));
    }
    let is_token = parsed == IDENTITY_WAT;
    let of_service = lower.starts_with("x-amz-") || lower.starts_with("x-amzn-");
    if of_service && !is_token && !lower.starts_with(CUSTOM_PREFIX) {
        return Err(Error::invalid(
            FIELD,
            "a name that starts with x-amz- or x-amzn-",
            format_args!(
                "such names belong to the service, except {CUSTOM_PREFIX}* and {}",
                IDENTITY_WAT.as_str()
            ),
        ));
    }
    if is_restricted(lower) {
        return Err(Error::invalid(
            FIELD,
            format_args!("{lower} set by hand"),
            "the service never hands it to an agent; choose a name of your own and put it on the runtime's requestHeaderAllowlist",
        ));
    }
    let limit = if is_token { MAX_TOKEN } else { MAX_VALUE };
    let mut value = header_value(FIELD, value, 0, limit)?;
    // A caller's header may well be a key: it stays out of `Debug`.
    value.set_sensitive(true);
    Ok((parsed, value))
}

/// Checks a value that becomes a header: visible ASCII and inner spaces, within limits.
pub(crate) fn header_value(
    field: &'static str,
    value: &str,
    min: usize,
    max: usize,
) -> Result<HeaderValue> {
    let rule = "visible ASCII characters, with spaces only between them (encode others, for example as percent-encoded UTF-8)";
    let invalid = || {
        Error::invalid(
            field,
            format_args!("a value of {}", shape::of(value)),
            if min == 0 {
                format!("needs at most {max} {rule}")
            } else {
                format!("needs {min} to {max} {rule}")
            },
        )
    };
    // Space at the ends would be cut off on the way.
    if !(min..=max).contains(&value.len())
        || value.starts_with(' ')
        || value.ends_with(' ')
        || !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
    {
        return Err(invalid());
    }
    HeaderValue::from_str(value).map_err(|source| invalid().with_source(source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_ones_own_pass() {
        for name in [
            "X-Api-Key",
            "Tenant",
            "x_tenant",
            "X-Amzn-Bedrock-AgentCore-Runtime-Custom-Tenant",
            "X-Amz-Bedrock-AgentCore-Identity-WAT",
        ] {
            let (found, value) = validate_caller_header(name, "some value").unwrap();
            assert_eq!(found.as_str(), name.to_ascii_lowercase());
            assert_eq!(value, "some value");
        }
        let (_, value) =
            validate_caller_header("x-amz-bedrock-agentcore-identity-wat", "t").unwrap();
        assert!(value.is_sensitive());
        validate_caller_header("x-empty", "").unwrap();
    }

    #[test]
    fn names_of_others_are_refused_with_the_way_to_go() {
        for (name, advice) in [
            ("Accept", "option accept"),
            ("content-type", "option content_type"),
            ("Authorization", "option auth"),
            ("User-Agent", "option user_agent"),
            ("traceparent", "option traceparent"),
            ("baggage", "option baggage"),
            ("X-Amzn-Trace-Id", "option x_amzn_trace_id"),
            ("X-Amzn-Bedrock-AgentCore-Runtime-Session-Id", "option session_id"),
            ("X-Amzn-Bedrock-AgentCore-Runtime-User-Id", "option user_id"),
            ("Mcp-Session-Id", "option mcp_session_id"),
            ("Host", "HTTP layer"),
            ("Connection", "HTTP layer"),
            ("Transfer-Encoding", "HTTP layer"),
            ("Content-Length", "never hands"),
            ("Accept-Encoding", "never hands"),
            ("Proxy-Authorization", "never hands"),
            ("Cookie", "never hands"),
            ("X-Forwarded-For", "never hands"),
            ("Sec-WebSocket-Key", "never hands"),
            ("X-Amz-Date", "belong to the service"),
            ("X-Amz-Security-Token", "belong to the service"),
            ("X-Amz-Content-Sha256", "belong to the service"),
            ("X-Amzn-Bedrock-AgentCore-Runtime-Other", "belong to the service"),
            ("", "a name of empty"),
            ("x y", "whitespace inside"),
            ("x\r\nhost", "a name of"),
            (":path", "a name of"),
            ("1x", "a name of"),
            ("x.y", "a name of"),
            ("é", "a name of"),
        ] {
            let error = validate_caller_header(name, "v").unwrap_err();
            assert_eq!(error.field(), Some("headers"));
            assert!(error.to_string().contains(advice), "{name}: {error}");
        }
        assert!(validate_caller_header(&"x".repeat(257), "v").is_err());
    }

    #[test]
    fn values_cannot_smuggle() {
        let max = "x".repeat(MAX_VALUE);
        let over = "x".repeat(MAX_VALUE + 1);
        for (value, good) in [
            ("v", true),
            ("a b", true),
            (max.as_str(), true),
            (over.as_str(), false),
            ("a\r\nhost: b", false),
            ("a\n", false),
            ("a\0", false),
            ("a\tb", false),
            (" a", false),
            ("a ", false),
            ("ü", false),
            ("\u{7f}", false),
        ] {
            let found = validate_caller_header("x-tenant", value);
            assert_eq!(found.is_ok(), good, "{value:?}");
            if let Err(error) = found {
                assert!(!error.to_string().contains("host:"), "{error}");
            }
        }
        let wat = IDENTITY_WAT.as_str();
        assert!(validate_caller_header(wat, &over).is_ok());
        assert!(validate_caller_header(wat, &"x".repeat(MAX_TOKEN + 1)).is_err());
    }

    #[test]
    fn what_may_change_on_the_way_is_not_signed() {
        for name in [
            "traceparent",
            "tracestate",
            "x-amzn-trace-id",
            "baggage",
            "user-agent",
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "expect",
            "authorization",
            "proxy-authorization",
            "sec-websocket-key",
        ] {
            assert!(!is_signed(name), "{name}");
        }
        for name in [
            "host",
            "accept",
            "accept-encoding",
            "content-type",
            "mcp-session-id",
            "x-amz-date",
            "x-amz-security-token",
            "x-amz-bedrock-agentcore-identity-wat",
            "x-amzn-bedrock-agentcore-runtime-session-id",
            "x-amzn-bedrock-agentcore-runtime-user-id",
            "x-api-key",
        ] {
            assert!(is_signed(name), "{name}");
        }
    }

    /// The vectors' signers left baggage, traceparent and tracestate out.
    #[test]
    fn signed_headers_are_those_of_the_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../../tests/vectors/sigv4.json")).unwrap();
        for vector in vectors["vectors"].as_array().unwrap() {
            let signed: Vec<&str> =
                vector["expected"]["signed_headers"].as_str().unwrap().split(';').collect();
            for name in &signed {
                assert!(is_signed(name), "{name} in {}", vector["id"]);
            }
            if vector["kind"] == "header" {
                for pair in vector["input"]["headers"].as_array().unwrap() {
                    let name = pair[0].as_str().unwrap().to_ascii_lowercase();
                    assert_eq!(is_signed(&name), signed.contains(&name.as_str()), "{name}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_header_panics_or_smuggles(name in any::<String>(), value in any::<String>()) {
            let _ = validate_caller_header(&name, &value);
            if let Ok((_, value)) = validate_caller_header("x-tenant", &value) {
                prop_assert!(value.as_bytes().iter().all(|b| (0x20..0x7f).contains(b)));
            }
        }
    }
}
