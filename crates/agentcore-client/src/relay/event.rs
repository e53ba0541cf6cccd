//! What API Gateway hands to the function, and what it wants back. Pure: an event
//! comes in as JSON and leaves as checked parts, or as a refusal that says which
//! part is not what it should be.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::hooks::Refusal;

/// No message waits so long for its function.
const OLDEST: Duration = Duration::from_secs(300);

/// What a WebSocket API wants to know after an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyResponse {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
}

impl ProxyResponse {
    pub(super) fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: None }
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        let body = json!({ "code": refusal.code(), "message": refusal.message() });
        Self { body: Some(body.to_string()), ..Self::status(refusal.status()) }
    }

    pub(super) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// 200 where all is well, 4xx for what was refused, 5xx for what failed.
    pub fn status_code(&self) -> u16 {
        self.status
    }

    /// Headers, which only the answer to `$connect` has.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The body: JSON with `code` and `message` where something was refused.
    pub fn body(&self) -> Option<&str> {
        self.body.as_deref()
    }

    /// The response as Lambda wants it: `statusCode`, `headers`, `body`.
    pub fn to_json(&self) -> Value {
        let mut response = Map::new();
        response.insert("statusCode".into(), self.status.into());
        if !self.headers.is_empty() {
            let headers: Map<_, _> =
                self.headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_str().into())).collect();
            response.insert("headers".into(), headers.into());
        }
        if let Some(body) = &self.body {
            response.insert("body".into(), body.as_str().into());
        }
        response.into()
    }
}

/// One socket of one API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Connection {
    pub(super) api_id: String,
    pub(super) stage: String,
    pub(super) id: String,
}

impl Connection {
    /// These become part of a URL that gets signed requests.
    pub(super) fn new(api_id: &str, stage: &str, id: &str) -> Result<Self, Refusal> {
        let name = |text: &str| {
            (1..=128).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let host = |text: &str| {
            (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        if !host(api_id) {
            return Err(Refusal::invalid("requestContext.apiId must be letters and digits"));
        }
        if !name(stage) {
            return Err(Refusal::invalid("requestContext.stage must be the name of a stage"));
        }
        // Base64, with the letters for URLs or without.
        let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'=' | b'+');
        if !(1..=128).contains(&id.len()) || !id.bytes().all(base64) {
            return Err(Refusal::invalid("requestContext.connectionId must be a connection id"));
        }
        Ok(Self { api_id: api_id.to_owned(), stage: stage.to_owned(), id: id.to_owned() })
    }
}

/// What happened to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Connect,
    Disconnect,
    /// A message, by the key of the route that took it.
    Message(&'a str),
}

/// An event, as far as it could be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event<'a> {
    all: &'a Value,
    context: &'a Map<String, Value>,
}

impl<'a> Event<'a> {
    pub(super) fn new(all: &'a Value) -> Result<Self, Refusal> {
        let context = all.get("requestContext").and_then(Value::as_object).ok_or_else(|| {
            Refusal::invalid("not an event of a WebSocket API: it has no requestContext")
        })?;
        Ok(Self { all, context })
    }

    fn text(&self, name: &str) -> &'a str {
        self.context.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The event as it came.
    pub(super) fn all(&self) -> &'a Value {
        self.all
    }

    /// How long ago the gateway took the message, where it says so. What is older than any gateway
    /// waits was made for a test, or the clocks differ.
    pub(super) fn age(&self, now: SystemTime) -> Option<Duration> {
        let taken = self.context.get("requestTimeEpoch")?.as_u64()?;
        let taken = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(taken))?;
        now.duration_since(taken).ok().filter(|age| *age < OLDEST)
    }

    pub(super) fn route(&self) -> Result<Route<'a>, Refusal> {
        match self.text("routeKey") {
            "" => Err(Refusal::invalid("requestContext.routeKey is missing")),
            "$connect" => Ok(Route::Connect),
            "$disconnect" => Ok(Route::Disconnect),
            key => Ok(Route::Message(key)),
        }
    }

    pub(super) fn connection(&self) -> Result<Connection, Refusal> {
        Connection::new(self.text("apiId"), self.text("stage"), self.text("connectionId"))
    }

    /// The gateway's id of the message, to tell answers apart. One that would fill a frame is none.
    pub(super) fn message_id(&self) -> &'a str {
        let known = [self.text("messageId"), self.text("requestId")];
        known.into_iter().find(|id| (1..=128).contains(&id.len())).unwrap_or_default()
    }

    /// A member of what the API's authorizer said at `$connect`.
    pub(super) fn of_authorizer(&self, name: &str) -> Option<String> {
        match self.context.get("authorizer")?.get(name)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A header by its name in any case; a `$connect` event alone has some.
    pub(super) fn header(&self, name: &str) -> Option<&'a str> {
        let find = |member: &str| {
            let headers = self.all.get(member)?.as_object()?;
            headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        find("headers")
            .and_then(Value::as_str)
            .or_else(|| find("multiValueHeaders")?.as_array()?.last().and_then(Value::as_str))
    }

    /// The message's body as JSON.
    pub(super) fn body(&self) -> Result<Value, Refusal> {
        let body = match self.all.get("body") {
            Some(Value::String(body)) if !body.is_empty() => body,
            _ => return Err(Refusal::invalid("the message is empty")),
        };
        let parsed = match self.all.get("isBase64Encoded") {
            Some(Value::Bool(true)) => {
                let bytes = STANDARD.decode(body).map_err(|_| {
                    Refusal::invalid("the message is not the base64 it is said to be")
                })?;
                serde_json::from_slice(&bytes)
            }
            _ => serde_json::from_str(body),
        };
        // What the parser says would repeat parts of the message.
        parsed.map_err(|_| Refusal::invalid("the message is not JSON"))
    }
}

/// What a message asks for, besides its payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) id: Option<String>,
    pub(super) conversation: Option<String>,
    pub(super) resume: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) is_ping: bool,
}

impl Wishes {
    pub(super) fn read(&mut self, body: &Value) -> Result<(), Refusal> {
        // Another shape is for a payload hook to read.
        let Some(body) = body.as_object() else { return Ok(()) };
        let text = |name: &str, most: usize| match body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if (1..=most).contains(&text.len()) => Ok(Some(text.clone())),
            Some(_) => Err(Refusal::invalid(format!("{name} must be text of 1 to {most} bytes"))),
        };
        // First, so that a refusal of the rest has it.
        self.id = text("id", 64)?;
        self.conversation = text("conversation", 256)?;
        self.resume = text("resume", 1024)?;
        self.session_id = text("sessionId", 256)?;
        self.is_ping = body.get("type").and_then(Value::as_str) == Some("ping");
        Ok(())
    }
}

/// The payload of a message that no hook maps: `{"prompt": …}`.
pub(super) fn default_payload(body: &Value) -> Result<Value, Refusal> {
    let Value::Object(body) = body else {
        return Err(Refusal::invalid("the message must be a JSON object with a prompt"));
    };
    match body.get("prompt") {
        Some(Value::String(prompt)) if !prompt.trim().is_empty() => {}
        Some(Value::Array(parts)) if !parts.is_empty() => {}
        Some(Value::Object(_)) => {}
        None => return Err(Refusal::invalid("the message has no prompt")),
        Some(_) => return Err(Refusal::invalid("prompt must be text, and not empty")),
    }
    Ok(json!({ "prompt": body.get("prompt") }))
}
