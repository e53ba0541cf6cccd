//! What a web backend may tell its own callers of an error: a status, a stable
//! code, and nothing of its account, its runtime or its sessions.

use std::fmt;

use serde_json::{Map, Value};

use crate::error::{Delivery, Error, ErrorKind};

/// The part of an [`Error`] that is meant for whoever called the backend, such as a browser; the
/// error itself is for the log. See [`Error::to_public`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicError {
    status: u16,
    retry_after: Option<u64>,
    body: Value,
}

impl Error {
    /// What may be told of it to somebody outside. Message, session and request id stay inside.
    pub fn to_public(&self) -> PublicError {
        let retry_after = self.retry_after().map(|after| after.as_secs_f64().ceil() as u64);
        let mut body = Map::new();
        body.insert("code".into(), self.kind().code().into());
        body.insert("delivery".into(), self.delivery().as_str().into());
        // An agent may put whatever it likes there.
        if let (ErrorKind::Service, Some(code)) = (self.kind(), self.service_code()) {
            body.insert("service_code".into(), code.into());
        }
        if let Some(field) = self.field() {
            body.insert("field".into(), field.into());
        }
        if let Some(seconds) = retry_after {
            body.insert("retry_after".into(), seconds.into());
        }
        PublicError { status: status_of(self), retry_after, body: Value::Object(body) }
    }
}

/// A backend stands between: what is its own or the runtime's fault is a 5xx, and only what its
/// caller can change is a 4xx.
fn status_of(error: &Error) -> u16 {
    match (error.kind(), error.status()) {
        // A caller's token that was passed on and has expired.
        (ErrorKind::InvalidInput, _) if error.field() == Some("bearer_token") => 401,
        (ErrorKind::InvalidInput, _) => 400,
        (ErrorKind::TooLarge, _) if error.delivery() == Delivery::NotSent => 413,
        (ErrorKind::Service, Some(status @ (401 | 409))) => status,
        (ErrorKind::Service, Some(402 | 429 | 503)) | (ErrorKind::Closed, _) => 503,
        (ErrorKind::Timeout, _) => 504,
        (ErrorKind::Credentials | ErrorKind::Internal, _) => 500,
        _ => 502,
    }
}

impl PublicError {
    /// The HTTP status to answer with.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The `retry-after` header to answer with, in seconds.
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }
}

/// The JSON to answer with: `code` (see [`ErrorKind::code`]) and `delivery`, and where they apply
/// `service_code`, `field` and `retry_after`.
impl fmt::Display for PublicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.body.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
            let mut error = match named("field") {
                "" => Error::new(*kind, *delivery, "secret"),
                field => Error::invalid(field.to_owned().leak(), "a secret", "secret"),
            };
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
            assert_eq!(public.retry_after(), case["body"]["retry_after"].as_u64());
            assert!(!format!("{public:?}").contains("secret"));
        }
    }
}
