//! What a web backend may tell its own callers of an error: a status, a stable
//! code, and nothing of its account, its runtime or its sessions.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::error::{Delivery, Error, ErrorKind};

/// The part of an [`Error`] that is meant for whoever called the backend, such as a browser; the
/// error itself is for the log. See [`Error::to_public`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicError {
    status: u16,
    retry_after: Option<Duration>,
    body: Value,
}

impl PublicError {
    /// The headers of an answer with it, besides [`retry_after`](Self::retry_after).
    pub const HEADERS: [(&str, &str); 3] = [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ];

    /// A request of the backend's own caller that breaks a rule of the backend's: 400, naming the
    /// field.
    pub fn invalid_input(field: &'static str) -> Self {
        Error::invalid(field, "", "").to_public()
    }

    /// What the backend's own caller sent is larger than the backend takes: 413.
    pub fn too_large(field: &'static str) -> Self {
        let mut refused = Error::new(ErrorKind::TooLarge, Delivery::NotSent, "").to_public();
        refused.body["error"]["field"] = field.into();
        refused
    }
}

impl Error {
    /// What may be told of it to somebody outside. Message, session and request id stay inside.
    pub fn to_public(&self) -> PublicError {
        let (status, message) = told(self);
        let retry_after = self.retry_after();
        let mut error = Map::new();
        error.insert("code".into(), self.kind().code().into());
        error.insert("message".into(), message.into());
        error.insert("delivery".into(), self.delivery().as_str().into());
        // An agent may put whatever it likes there.
        if let (ErrorKind::Service, Some(code)) = (self.kind(), self.service_code()) {
            error.insert("serviceCode".into(), code.into());
        }
        if let Some(field) = self.field() {
            error.insert("field".into(), field.into());
        }
        if let Some(after) = retry_after {
            error.insert("retryAfter".into(), (after.as_millis() as u64).into());
        }
        PublicError { status, retry_after, body: json!({ "error": error }) }
    }
}

const LOGIN: &str = "Please log in again.";

/// A status, and a sentence for people.
fn told(error: &Error) -> (u16, &'static str) {
    match (error.kind(), error.status()) {
        // A caller's token that was passed on and has expired, or is none.
        _ if error.field() == Some("bearer_token") => (401, LOGIN),
        // What means the same to the backend's own caller.
        (ErrorKind::Service | ErrorKind::Credentials, Some(status @ 400)) => {
            (status, "The request is not valid.")
        }
        (ErrorKind::Service | ErrorKind::Credentials, Some(status @ 401)) => (status, LOGIN),
        (ErrorKind::Service | ErrorKind::Credentials, Some(status @ 403)) => {
            (status, "This is not allowed.")
        }
        (ErrorKind::Service | ErrorKind::Credentials, Some(status @ 409)) => {
            (status, "The session is busy.")
        }
        (ErrorKind::Service | ErrorKind::Credentials, Some(status @ 429)) => {
            (status, "There are too many requests.")
        }
        (ErrorKind::InvalidInput, _) => (400, "The request is not valid."),
        (ErrorKind::Credentials, _) => (500, "The server may not call the agent."),
        (ErrorKind::Connect, _) => (503, "The agent cannot be reached."),
        (ErrorKind::Timeout, _) => (504, "The agent took too long."),
        (ErrorKind::Service, _) => (502, "The agent's service refused the call or failed."),
        (ErrorKind::Agent, _) => (502, "The agent failed."),
        (ErrorKind::StreamInterrupted, _) => (502, "The answer broke off."),
        (ErrorKind::TooLarge, _) if error.delivery() == Delivery::NotSent => {
            (413, "The request is too large.")
        }
        (ErrorKind::TooLarge, _) => (502, "The answer is too large."),
        (ErrorKind::Protocol, _) => (502, "The agent's answer makes no sense."),
        (ErrorKind::Closed, _) => (503, "The server is shutting down."),
        (ErrorKind::Internal, _) => (500, "The server failed."),
    }
}

impl PublicError {
    /// The HTTP status to answer with.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The `retry-after` header to answer with, in seconds.
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after.map(|after| after.as_secs_f64().ceil() as u64)
    }
}

/// The JSON to answer with, `{"error": {…}}`: `code` (see [`ErrorKind::code`]), `message` (a sentence
/// for people, the same for each code), `delivery`, and where they apply `serviceCode`, `field` and
/// `retryAfter` (milliseconds).
impl fmt::Display for PublicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.body.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backend_refuses_itself_has_the_same_form() {
        let refused = [PublicError::invalid_input("prompt"), PublicError::too_large("body")];
        let seen = refused.map(|r| {
            (r.status(), r.body["error"]["code"].clone(), r.body["error"]["field"].clone())
        });
        let expected = [(400, "INVALID_INPUT", "prompt"), (413, "TOO_LARGE", "body")];
        assert_eq!(seen, expected.map(|(status, code, field)| (status, json!(code), json!(field))));
    }

    #[test]
    fn what_is_told_is_what_the_vectors_say() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../../tests/vectors/public_errors.json"))
                .unwrap();
        let cases = vectors["errors"].as_array().unwrap();
        for kind in ErrorKind::ALL {
            assert!(cases.iter().any(|case| case["error"]["kind"] == kind.as_str()), "{kind}");
        }
        for case in cases {
            let given = &case["error"];
            let named = |name: &str| given[name].as_str().unwrap_or_default();
            let kind = ErrorKind::ALL.iter().find(|kind| kind.as_str() == named("kind")).unwrap();
            let delivery =
                Delivery::ALL.iter().find(|known| known.as_str() == named("delivery")).unwrap();
            let mut error = Error::new(*kind, *delivery, "secret");
            if let Some(field) = given["field"].as_str() {
                error = error.with_field(field.to_owned().leak());
            }
            if let Some(status) = given["status"].as_u64() {
                error = error.with_status(status as u16);
            }
            let error = error
                .with_service_code(given["service_code"].as_str().map(str::to_owned))
                .with_retry_after(given["retry_after"].as_f64().map(Duration::from_secs_f64))
                .with_request_id(Some("secret".to_owned()))
                .for_session("secret");
            let public = error.to_public();
            assert_eq!(u64::from(public.status()), case["status"], "{case}");
            assert_eq!(serde_json::from_str::<Value>(&public.to_string()).unwrap(), case["body"]);
            let retry_after = given["retry_after"].as_f64().map(|after| after.ceil() as u64);
            assert_eq!(public.retry_after(), retry_after);
            assert!(!format!("{public:?}").contains("secret"));
        }
    }
}
