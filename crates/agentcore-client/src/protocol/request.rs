//! From what a caller says to the HTTP request that says it. All limits of the
//! service are checked here, before credentials are looked up or anything is sent.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::protocol::endpoint::{Endpoint, TargetKind};
use crate::protocol::headers::{self, header_value, validate_caller_header};
use crate::protocol::session::SessionId;

/// The service takes no more: 100 MB, in decimal.
pub(crate) const MAX_PAYLOAD: usize = 100_000_000;

/// An agent is handed at most 20; the rest is room for what a proxy in front wants.
const MAX_HEADERS: usize = 40;

/// Agents written in TypeScript refuse to stream without the second, MCP servers want both.
const DEFAULT_ACCEPT: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// For every payload, also for bytes: agents expect JSON and refuse a type that they don't know,
/// which is why the SDKs' default, application/octet-stream, fails with so many of them.
const DEFAULT_CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/json");

/// What an agent is given. Made with `into()` from JSON values, strings and bytes:
///
/// | from | body |
/// |---|---|
/// | `serde_json::Value` | the JSON text |
/// | `&str`, `String` | a JSON string |
/// | `Bytes`, `Vec<u8>`, `&[u8]` | these bytes, unchanged |
///
/// The content type is `application/json` in every case unless another is given, since agents
/// expect JSON and refuse types that they don't know.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// Anything that serde can write as JSON.
    pub fn json(value: &(impl Serialize + ?Sized)) -> Result<Self> {
        match serde_json::to_vec(value) {
            Ok(text) => Ok(Self(text.into())),
            Err(source) => Err(Error::invalid(
                "payload",
                "a value that cannot be written as JSON",
                "needs map keys that are strings or numbers, and a Serialize that succeeds",
            )
            .with_source(source)),
        }
    }

    /// The body as it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The length only: a payload is user data.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload([{} bytes])", self.0.len())
    }
}

impl From<serde_json::Value> for Payload {
    fn from(value: serde_json::Value) -> Self {
        Self::from(&value)
    }
}

impl From<&serde_json::Value> for Payload {
    fn from(value: &serde_json::Value) -> Self {
        Self(value.to_string().into())
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self::from(serde_json::Value::String(text))
    }
}

impl From<&String> for Payload {
    fn from(text: &String) -> Self {
        Self::from(text.clone())
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Payload {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(bytes.as_slice())
    }
}

/// Trace context to send along. Never signed, so that something on the way may change it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceContext {
    /// W3C trace context, at most 128 characters.
    pub traceparent: Option<String>,
    /// W3C trace state, at most 512 characters.
    pub tracestate: Option<String>,
    /// W3C baggage, at most 8192 characters.
    pub baggage: Option<String>,
    /// X-Ray's trace header, at most 128 characters. With `Sampled=0` the runtime writes no spans.
    pub x_amzn_trace_id: Option<String>,
}

impl TraceContext {
    /// Sets the W3C trace context.
    pub fn traceparent(mut self, value: impl Into<String>) -> Self {
        self.traceparent = Some(value.into());
        self
    }

    /// Sets the W3C trace state.
    pub fn tracestate(mut self, value: impl Into<String>) -> Self {
        self.tracestate = Some(value.into());
        self
    }

    /// Sets the W3C baggage.
    pub fn baggage(mut self, value: impl Into<String>) -> Self {
        self.baggage = Some(value.into());
        self
    }

    /// Sets X-Ray's trace header.
    pub fn x_amzn_trace_id(mut self, value: impl Into<String>) -> Self {
        self.x_amzn_trace_id = Some(value.into());
        self
    }
}

/// Headers of an MCP server that runs as an agent; each at most 1024 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct McpHeaders {
    /// `Mcp-Session-Id`: for MCP servers, this and not the runtime session routes the call.
    pub session_id: Option<String>,
    /// `Mcp-Protocol-Version`.
    pub protocol_version: Option<String>,
    /// `Mcp-Method`.
    pub method: Option<String>,
    /// `Mcp-Name`.
    pub name: Option<String>,
}

impl McpHeaders {
    /// Sets `Mcp-Session-Id`.
    pub fn session_id(mut self, value: impl Into<String>) -> Self {
        self.session_id = Some(value.into());
        self
    }

    /// Sets `Mcp-Protocol-Version`.
    pub fn protocol_version(mut self, value: impl Into<String>) -> Self {
        self.protocol_version = Some(value.into());
        self
    }

    /// Sets `Mcp-Method`.
    pub fn method(mut self, value: impl Into<String>) -> Self {
        self.method = Some(value.into());
        self
    }

    /// Sets `Mcp-Name`.
    pub fn name(mut self, value: impl Into<String>) -> Self {
        self.name = Some(value.into());
        self
    }
}

/// Everything of an invocation that is neither the client's nor the session.
#[derive(Clone)]
pub(crate) struct InvokeInput {
    pub(crate) payload: Payload,
    pub(crate) user_id: Option<String>,
    /// As the caller gave them; checked when the request is built.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) content_type: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) trace: TraceContext,
    pub(crate) mcp: McpHeaders,
}

impl InvokeInput {
    pub(crate) fn new(payload: Payload) -> Self {
        Self {
            payload,
            user_id: None,
            headers: Vec::new(),
            content_type: None,
            accept: None,
            trace: TraceContext::default(),
            mcp: McpHeaders::default(),
        }
    }
}

/// Without headers and user id, which may be secret or personal.
impl fmt::Debug for InvokeInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvokeInput")
            .field("payload", &self.payload)
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

/// What the requests of one client have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) user_agent: &'a HeaderValue,
}

/// Calls the agent at the operation's URL. The session is always named: whoever has none generates
/// one first, so that every result and error can tell it.
pub(crate) fn invoke(
    target: &Target<'_>,
    uri: Uri,
    session: &SessionId,
    input: &InvokeInput,
    max_payload: usize,
) -> Result<Request<Bytes>> {
    let payload = &input.payload.0;
    if payload.len() > max_payload {
        return Err(Error::invalid(
            "payload",
            format_args!("{} bytes", payload.len()),
            format_args!(
                "at most {max_payload} (limits.payload; the service takes 100,000,000); pass large data by reference, such as an S3 URL"
            ),
        ));
    }
    let or_default = |field, value: &Option<String>, default: HeaderValue| match value {
        Some(value) => header_value(field, value, 1, 256),
        None => Ok(default),
    };
    let content_type = or_default("content_type", &input.content_type, DEFAULT_CONTENT_TYPE)?;
    let accept = or_default("accept", &input.accept, DEFAULT_ACCEPT)?;
    let mut request = begin(target, uri, payload.clone(), accept, content_type);
    let map = request.headers_mut();
    put_session(map, target.endpoint.kind(), session)?;

    let trace = &input.trace;
    let mcp = &input.mcp;
    for (name, field, value, max) in [
        (&headers::USER_ID, "user_id", &input.user_id, 1024),
        (&headers::TRACEPARENT, "traceparent", &trace.traceparent, 128),
        (&headers::TRACESTATE, "tracestate", &trace.tracestate, 512),
        (&headers::BAGGAGE, "baggage", &trace.baggage, 8192),
        (&headers::X_AMZN_TRACE_ID, "x_amzn_trace_id", &trace.x_amzn_trace_id, 128),
        (&headers::MCP_SESSION_ID, "mcp_session_id", &mcp.session_id, 1024),
        (&headers::MCP_PROTOCOL_VERSION, "mcp_protocol_version", &mcp.protocol_version, 1024),
        (&headers::MCP_METHOD, "mcp_method", &mcp.method, 1024),
        (&headers::MCP_NAME, "mcp_name", &mcp.name, 1024),
    ] {
        if let Some(value) = value {
            map.insert(name, header_value(field, value, 1, max)?);
        }
    }

    if input.headers.len() > MAX_HEADERS {
        return Err(Error::invalid(
            "headers",
            format_args!("{} of them", input.headers.len()),
            format_args!("at most {MAX_HEADERS}, of which the service hands 20 to an agent"),
        ));
    }
    for (name, value) in &input.headers {
        let (name, value) = validate_caller_header(name, value)?;
        if map.insert(name, value).is_some() {
            // All that is set above is refused by name, so this is the caller's own.
            return Err(Error::invalid(
                "headers",
                "a name given twice",
                "names are the same in upper and lower case: give one value",
            ));
        }
    }
    Ok(request)
}

/// Ends a session. The token makes a repetition harmless: the same for all attempts of one call,
/// for example the text of [`SessionId::generate`].
pub(crate) fn stop_session(
    target: &Target<'_>,
    uri: Uri,
    session: &SessionId,
    client_token: &str,
) -> Result<Request<Bytes>> {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    if !(33..=256).contains(&client_token.len())
        || !client_token.starts_with(alphanumeric)
        || !client_token.ends_with(alphanumeric)
        || !client_token.bytes().all(|b| b == b'-' || b.is_ascii_alphanumeric())
    {
        return Err(Error::invalid(
            "client_token",
            super::shape::of(client_token),
            "needs 33 to 256 letters, digits and inner hyphens",
        ));
    }
    let body = serde_json::json!({ "clientToken": client_token }).to_string();
    let accept = HeaderValue::from_static("application/json");
    let mut request = begin(target, uri, body.into(), accept, DEFAULT_CONTENT_TYPE);
    put_session(request.headers_mut(), target.endpoint.kind(), session)?;
    Ok(request)
}

/// `agentcore-client/{version} (rust)`, then whatever a binding or an application adds.
pub(crate) fn user_agent(suffix: Option<&str>) -> Result<HeaderValue> {
    const OWN: &str = concat!("agentcore-client/", env!("CARGO_PKG_VERSION"), " (rust)");
    match suffix {
        None => Ok(HeaderValue::from_static(OWN)),
        Some(suffix) => {
            header_value("user_agent", suffix, 1, 256)?;
            header_value("user_agent", &format!("{OWN} {suffix}"), 1, 512)
        }
    }
}

/// Headers that a signed call with a session comes to. Traces and the caller's own make the map grow
/// once; room for them in every call would be a kibibyte more of each that is under way.
const HEADERS: usize = 12;

fn begin(
    target: &Target<'_>,
    uri: Uri,
    body: Bytes,
    accept: HeaderValue,
    content_type: HeaderValue,
) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let map = request.headers_mut();
    // Once for all that follows, the signature included.
    map.reserve(HEADERS);
    // After the host by name, which is nearly the order in which they are signed.
    map.insert(header::HOST, target.endpoint.host_header().clone());
    map.insert(header::ACCEPT, accept);
    map.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    map.insert(header::CONTENT_TYPE, content_type);
    map.insert(header::USER_AGENT, target.user_agent.clone());
    request
}

/// An id made for a local agent may be too short for the service, which would say so less clearly.
fn put_session(map: &mut HeaderMap, kind: TargetKind, session: &SessionId) -> Result<()> {
    let min = if kind == TargetKind::Local { 1 } else { 33 };
    map.insert(&headers::SESSION_ID, header_value("session_id", session.as_str(), min, 256)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::arn::RuntimeArn;
    use crate::protocol::endpoint::{EndpointOptions, Operation};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const ARN: &str =
        "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/my_agent-AbCdEf1234";
    const SESSION: &str = "12345678-1234-5678-9abc-1234567890ab";

    fn endpoint(local: bool) -> Endpoint {
        let options = EndpointOptions {
            local_url: local.then(|| "http://127.0.0.1:8080".into()),
            ..EndpointOptions::default()
        };
        Endpoint::resolve(Some(&RuntimeArn::parse(ARN).unwrap()), &options).unwrap()
    }

    fn input(payload: impl Into<Payload>) -> InvokeInput {
        InvokeInput::new(payload.into())
    }

    fn build_at(local: bool, session: &SessionId, input: &InvokeInput) -> Result<Request<Bytes>> {
        let (endpoint, user_agent) = (endpoint(local), user_agent(None).unwrap());
        let target = Target { endpoint: &endpoint, user_agent: &user_agent };
        let uri = endpoint.uri(Operation::Invoke, None)?;
        invoke(&target, uri, session, input, MAX_PAYLOAD)
    }

    fn build(input: &InvokeInput) -> Result<Request<Bytes>> {
        build_at(false, &SessionId::new(SESSION).unwrap(), input)
    }

    #[test]
    fn a_plain_invocation_has_what_every_agent_wants() {
        let request = build(&input(json!({"prompt": "hello"}))).unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.body().as_ref(), br#"{"prompt":"hello"}"#);
        let expected = [
            ("host", "bedrock-agentcore.us-east-1.amazonaws.com"),
            ("accept", "application/json, text/event-stream"),
            ("accept-encoding", "identity"),
            ("content-type", "application/json"),
            ("x-amzn-bedrock-agentcore-runtime-session-id", SESSION),
        ];
        for (name, value) in expected {
            assert_eq!(request.headers()[name], value, "{name}");
        }
        let agent = request.headers()["user-agent"].to_str().unwrap();
        assert!(agent.starts_with("agentcore-client/") && agent.ends_with(" (rust)"), "{agent}");
        assert_eq!(request.headers().len(), expected.len() + 1);
    }

    #[test]
    fn a_local_agent_is_called_at_its_own_path_with_any_session() {
        let (input, dev) = (input("hi"), SessionId::local("dev").unwrap());
        let request = build_at(true, &dev, &input).unwrap();
        assert_eq!(request.uri(), "http://127.0.0.1:8080/invocations");
        assert_eq!(request.headers()["host"], "127.0.0.1:8080");
        assert_eq!(request.headers()[&headers::SESSION_ID], "dev");
        assert_eq!(build_at(false, &dev, &input).unwrap_err().field(), Some("session_id"));
    }

    #[test]
    fn payloads_become_json_or_stay_bytes() {
        let body = |payload: Payload| String::from_utf8(payload.as_bytes().to_vec()).unwrap();
        assert_eq!(body(json!({"a": [1, "ü"]}).into()), r#"{"a":[1,"ü"]}"#);
        assert_eq!(body("a\"b\n".into()), r#""a\"b\n""#);
        assert_eq!(body(String::from("x").into()), r#""x""#);
        assert_eq!(body(b"{raw".into()), "{raw");
        assert_eq!(body(vec![b'x'].into()), "x");
        assert_eq!(body(Bytes::from_static(b"x").into()), "x");
        assert_eq!(body(b"x".as_slice().into()), "x");
        assert_eq!(body(Payload::json(&[Some(1), None]).unwrap()), "[1,null]");
        assert_eq!(body(Payload::json("x").unwrap()), r#""x""#);
        assert_eq!(body(Payload::default()), "");
        let unwritable = std::collections::HashMap::from([((1, 2), 3)]);
        assert_eq!(Payload::json(&unwritable).unwrap_err().field(), Some("payload"));
        assert_eq!(format!("{:?}", Payload::from("secret")), "Payload([8 bytes])");
    }

    /// URL, body and headers are those that the SDK's serialiser made of the same parameters.
    #[test]
    fn invocations_are_those_of_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../../tests/vectors/sigv4.json")).unwrap();
        let mut seen = 0;
        for vector in vectors["vectors"].as_array().unwrap() {
            let operation = &vector["input"]["operation"];
            if operation["name"] != "InvokeAgentRuntime" {
                continue;
            }
            let params = &operation["params"];
            let text = |name: &str| params[name].as_str().map(str::to_owned);
            let options = EndpointOptions {
                endpoint_url: operation["endpoint"].as_str().map(str::to_owned),
                ..EndpointOptions::default()
            };
            let arn = RuntimeArn::parse(params["agentRuntimeArn"].as_str().unwrap()).unwrap();
            let endpoint = Endpoint::resolve(Some(&arn), &options).unwrap();
            let user_agent = user_agent(None).unwrap();
            let target = Target { endpoint: &endpoint, user_agent: &user_agent };
            let uri = || endpoint.uri(Operation::Invoke, params["qualifier"].as_str()).unwrap();
            let mut input = input("replaced by what follows");
            use base64::Engine as _;
            let body = base64::engine::general_purpose::STANDARD
                .decode(vector["input"]["body_base64"].as_str().unwrap())
                .unwrap();
            input.payload = body.clone().into();
            let session = SessionId::new(&text("runtimeSessionId").unwrap()).unwrap();
            input.user_id = text("runtimeUserId");
            input.content_type = text("contentType");
            input.accept = text("accept");
            input.trace = TraceContext {
                traceparent: text("traceParent"),
                tracestate: text("traceState"),
                baggage: text("baggage"),
                x_amzn_trace_id: text("traceId"),
            };
            input.mcp = McpHeaders {
                session_id: text("mcpSessionId"),
                protocol_version: text("mcpProtocolVersion"),
                method: text("mcpMethod"),
                name: text("mcpName"),
            };
            let modelled =
                build_names(&invoke(&target, uri(), &session, &input, MAX_PAYLOAD).unwrap());
            for pair in vector["input"]["headers"].as_array().unwrap() {
                let (name, value) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
                if !modelled.contains(&name.to_ascii_lowercase()) {
                    // Inner and outer whitespace, which the vectors test signers with, is trimmed
                    // here: we would refuse it.
                    input.headers.push((name.into(), value.trim().into()));
                }
            }
            let request = invoke(&target, uri(), &session, &input, MAX_PAYLOAD).unwrap();
            assert_eq!(request.uri().to_string(), vector["input"]["url"]);
            assert_eq!(request.body(), &body);
            for pair in vector["input"]["headers"].as_array().unwrap() {
                let name = pair[0].as_str().unwrap().to_ascii_lowercase();
                let value = pair[1].as_str().unwrap().trim();
                assert_eq!(request.headers()[&name], value, "{name} in {}", vector["id"]);
            }
            seen += 1;
        }
        assert_eq!(seen, 11);
    }

    fn build_names(request: &Request<Bytes>) -> Vec<String> {
        request.headers().keys().map(|name| name.as_str().to_owned()).collect()
    }

    #[test]
    fn limits_are_those_of_the_service() {
        type Set = fn(&mut InvokeInput, String);
        let cases: [(&str, usize, Set); 11] = [
            ("user_id", 1024, |input, value| input.user_id = Some(value)),
            ("content_type", 256, |input, value| input.content_type = Some(value)),
            ("accept", 256, |input, value| input.accept = Some(value)),
            ("traceparent", 128, |input, value| input.trace.traceparent = Some(value)),
            ("tracestate", 512, |input, value| input.trace.tracestate = Some(value)),
            ("baggage", 8192, |input, value| input.trace.baggage = Some(value)),
            ("x_amzn_trace_id", 128, |input, value| input.trace.x_amzn_trace_id = Some(value)),
            ("mcp_session_id", 1024, |input, value| input.mcp.session_id = Some(value)),
            ("mcp_protocol_version", 1024, |i, value| i.mcp.protocol_version = Some(value)),
            ("mcp_method", 1024, |input, value| input.mcp.method = Some(value)),
            ("mcp_name", 1024, |input, value| input.mcp.name = Some(value)),
        ];
        for (field, max, set) in cases {
            let with = |value: String| {
                let mut input = input("x");
                set(&mut input, value);
                build(&input)
            };
            with("x".repeat(max)).unwrap();
            for bad in ["".into(), "x".repeat(max + 1), "a\r\nb: c".into(), "ü".into()] {
                assert_eq!(with(bad).unwrap_err().field(), Some(field));
            }
        }
    }

    #[test]
    fn a_payload_has_its_limit() {
        assert!(build(&input(vec![0; MAX_PAYLOAD])).is_ok());
        let error = build(&input(vec![0; MAX_PAYLOAD + 1])).unwrap_err();
        assert_eq!(error.field(), Some("payload"));
    }

    #[test]
    fn callers_headers_are_bounded_and_unique() {
        let mut input = input("x");
        input.headers = (0..MAX_HEADERS).map(|i| (format!("x-{i}"), i.to_string())).collect();
        assert_eq!(build(&input).unwrap().headers()["x-7"], "7");
        input.headers.push(("x-last".into(), "v".into()));
        assert_eq!(build(&input).unwrap_err().field(), Some("headers"));
        input.headers = vec![("x-a".into(), "1".into()), ("X-A".into(), "2".into())];
        assert!(build(&input).unwrap_err().to_string().contains("given twice"));
        input.headers = vec![("host".into(), "evil.example".into())];
        assert_eq!(build(&input).unwrap_err().field(), Some("headers"));
    }

    #[test]
    fn stop_names_the_session_and_carries_its_token() {
        let (endpoint, user_agent) = (endpoint(false), user_agent(None).unwrap());
        let target = Target { endpoint: &endpoint, user_agent: &user_agent };
        let uri = || endpoint.uri(Operation::StopSession, Some("prod")).unwrap();
        let session = SessionId::new(SESSION).unwrap();
        let token = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
        let request = stop_session(&target, uri(), &session, token).unwrap();
        let sent_to = request.uri().to_string();
        assert!(sent_to.ends_with("AbCdEf1234/stopruntimesession?qualifier=prod"), "{sent_to}");
        assert_eq!(request.headers()[&headers::SESSION_ID], SESSION);
        assert_eq!(request.body(), &format!(r#"{{"clientToken":"{token}"}}"#));
        stop_session(&target, uri(), &session, SessionId::generate().as_str()).unwrap();
        for bad in ["", "short", &format!("{token}-"), &format!("-{token}"), &format!("_{token}")] {
            let error = stop_session(&target, uri(), &session, bad).unwrap_err();
            assert_eq!(error.field(), Some("client_token"));
        }
    }

    #[test]
    fn a_user_agent_takes_a_suffix() {
        let agent = user_agent(Some("my-app/1.2")).unwrap();
        assert!(agent.to_str().unwrap().ends_with(" (rust) my-app/1.2"));
        for bad in ["", "a\r\nb", " a", &"x".repeat(257)] {
            assert_eq!(user_agent(Some(bad)).unwrap_err().field(), Some("user_agent"));
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(user in any::<String>(), name in any::<String>(), value in any::<String>()) {
            let mut input = input("x");
            input.user_id = Some(user);
            input.headers.push((name, value));
            if let Ok(request) = build(&input) {
                for value in request.headers().values() {
                    prop_assert!(value.as_bytes().iter().all(|b| (0x20..0x7f).contains(b)));
                }
            }
        }
    }
}
