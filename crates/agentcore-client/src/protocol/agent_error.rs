//! Errors inside a stream. Once an answer has begun its status stays 200, so an
//! agent that fails can only say so in an event; each official kit has its own
//! way, and none of them may be mistaken for something the agent said.

use std::fmt;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::Value;

/// What an agent reported about its own failure.
#[derive(Clone, PartialEq)]
pub struct AgentErrorPayload {
    /// What went wrong, in the agent's words.
    pub message: String,
    /// What kind of failure: the class of the exception (Python), the code (AG-UI).
    pub error_type: Option<String>,
    /// The event's data: JSON, or a string with the data as it came.
    pub payload: Value,
}

/// The payload may repeat what the user said: it is for the caller, not for logs.
impl fmt::Debug for AgentErrorPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentErrorPayload")
            .field("message", &self.message)
            .field("error_type", &self.error_type)
            .finish_non_exhaustive()
    }
}

/// The error that an event reports, if it does.
///
/// - TypeScript kit: an event named `error`, with `{"error": text}`;
/// - Python kit: an object whose `error`, `error_type` and `message` are strings;
/// - AG-UI: `{"type": "RUN_ERROR", "message": text, "code": text}`.
///
/// An object that merely has a member `error` is the agent's own business.
pub fn in_stream_error(event: Option<&str>, data: &str) -> Option<AgentErrorPayload> {
    if event == Some("error") {
        return Some(named(data));
    }
    // This stands before every token of every stream: most leave at the first byte.
    if !data.trim_ascii_start().starts_with('{') || !mentions_error(data.as_bytes()) {
        return None;
    }
    let payload: Value = serde_json::from_str(data).ok()?;
    let member = |name| payload.get(name).and_then(Value::as_str);
    let (message, error_type) = if let Some("RUN_ERROR") = member("type") {
        (member("message")?, member("code"))
    } else {
        // `message` is the same sentence every time; `error` says what happened.
        let (error, error_type, message) =
            (member("error")?, member("error_type")?, member("message")?);
        (if error.is_empty() { message } else { error }, Some(error_type))
    };
    let (message, error_type) = (message.to_owned(), error_type.map(str::to_owned));
    Some(AgentErrorPayload { message, error_type, payload })
}

fn mentions_error(data: &[u8]) -> bool {
    static PYTHON: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"error_type\""));
    static AG_UI: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"RUN_ERROR\""));
    PYTHON.find(data).is_some() || AG_UI.find(data).is_some()
}

/// An event named `error` is one whatever it holds: find the words in it.
fn named(data: &str) -> AgentErrorPayload {
    let payload = serde_json::from_str(data).unwrap_or_else(|_| Value::String(data.to_owned()));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let inner = payload.get("error").filter(|error| error.is_object()).unwrap_or(&payload);
    let message = text(inner)
        .or_else(|| inner.get("error").and_then(text))
        .or_else(|| inner.get("message").and_then(text))
        .unwrap_or_else(|| data.to_owned());
    let error_type = inner
        .get("error_type")
        .or_else(|| inner.get("code"))
        .or_else(|| inner.get("name"))
        .and_then(text);
    AgentErrorPayload { message, error_type, payload }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(event: Option<&str>, data: &str) -> Option<(String, Option<String>)> {
        in_stream_error(event, data).map(|error| (error.message, error.error_type))
    }

    #[test]
    fn each_kits_form() {
        let python = r#"{"error": "no key", "error_type": "ValueError", "message": "An error occurred during streaming"}"#;
        assert_eq!(found(None, python), Some(("no key".into(), Some("ValueError".into()))));
        let silent = r#"{"error": "", "error_type": "TimeoutError", "message": "An error occurred during streaming"}"#;
        assert_eq!(found(None, silent).unwrap().0, "An error occurred during streaming");
        assert_eq!(found(Some("error"), r#"{"error":"no"}"#), Some(("no".into(), None)));
        let ag_ui = r#"{"type":"RUN_ERROR","message":"no model","code":"MODEL"}"#;
        assert_eq!(found(None, ag_ui), Some(("no model".into(), Some("MODEL".into()))));
        assert_eq!(found(None, r#"{"type":"RUN_ERROR","message":"x"}"#), Some(("x".into(), None)));
    }

    #[test]
    fn a_named_error_is_one_whatever_it_holds() {
        let cases = [
            ("", ""),
            ("it broke", "it broke"),
            ("\"it broke\"", "it broke"),
            (r#"{"message":"m"}"#, "m"),
            (r#"{"error":{"message":"m","code":"c"}}"#, "m"),
            ("[1]", "[1]"),
        ];
        for (data, message) in cases {
            assert_eq!(found(Some("error"), data).unwrap().0, message, "{data}");
        }
        assert_eq!(in_stream_error(Some("error"), "raw").unwrap().payload, "raw");
    }

    #[test]
    fn an_ordinary_event_is_none() {
        for data in [
            "",
            "error",
            "\"error\"",
            r#"{"error": "the tool said no"}"#,
            r#"{"error": "x", "error_type": "y"}"#,
            r#"{"error": null, "error_type": null, "message": "fine"}"#,
            r#"{"error": {"error_type": 1}, "message": "x", "error_type": "x"}"#,
            r#"{"text": "\"error_type\""}"#,
            r#"{"type": "TEXT_MESSAGE_CONTENT", "delta": "\"RUN_ERROR\""}"#,
            r#"{"type": "RUN_ERROR"}"#,
            r#"{"error": "x", "error_type": "y", "message": "cut off"#,
            r#"["error", "error_type", "message"]"#,
        ] {
            assert_eq!(found(None, data), None, "{data}");
            assert_eq!(found(Some("message"), data), None, "{data}");
        }
    }

    #[test]
    fn debug_keeps_the_payload_out() {
        let error = in_stream_error(Some("error"), r#"{"error":"no","prompt":"secret"}"#).unwrap();
        assert!(!format!("{error:?}").contains("secret"));
    }
}
