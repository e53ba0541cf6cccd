//! Failures as plain objects. The error classes are TypeScript's own, made there
//! so that their stacks point at the caller; here is only what they are told.

use std::time::Duration;

use agentcore_client::Error;
use agentcore_ffi::Failure;
use napi_derive::napi;

/// What the TypeScript error is made of.
#[napi(object, object_from_js = false)]
pub struct FailureView {
    pub kind: &'static str,
    pub message: String,
    pub delivery: &'static str,
    pub status: Option<u32>,
    pub service_code: Option<String>,
    pub request_id: Option<String>,
    pub session_id: Option<String>,
    /// In milliseconds.
    pub retry_after: Option<f64>,
    pub attempts: Option<Vec<AttemptView>>,
    pub field: Option<&'static str>,
    pub limit: Option<&'static str>,
    pub events_seen: Option<f64>,
    pub bytes_seen: Option<f64>,
    pub agent_payload: Option<String>,
    /// What lies beneath it, outermost first.
    pub cause: Option<String>,
}

/// One try of a call.
#[napi(object, object_from_js = false)]
pub struct AttemptView {
    pub kind: &'static str,
    pub delivery: &'static str,
    pub status: Option<u32>,
    pub service_code: Option<String>,
    /// In milliseconds.
    pub pause: Option<f64>,
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

// Numbers in JavaScript are exact to 2^53, which no count of bytes here reaches.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}

impl From<&Failure> for FailureView {
    fn from(failure: &Failure) -> Self {
        let error = failure.core();
        let attempts = error.map(|error| {
            let attempts = error.attempts().iter().map(|attempt| AttemptView {
                kind: attempt.kind.as_str(),
                delivery: attempt.delivery.as_str(),
                status: attempt.status.map(u32::from),
                service_code: attempt.service_code.clone(),
                pause: attempt.pause.map(milliseconds),
            });
            attempts.collect()
        });
        let text = |get: fn(&Error) -> Option<&str>| error.and_then(get).map(str::to_owned);
        Self {
            kind: failure.kind().as_str(),
            message: failure.to_string(),
            delivery: failure.delivery().as_str(),
            status: error.and_then(Error::status).map(u32::from),
            service_code: text(Error::service_code),
            request_id: text(Error::request_id),
            session_id: failure.session_id().map(str::to_owned),
            retry_after: error.and_then(Error::retry_after).map(milliseconds),
            attempts,
            field: error.and_then(Error::field),
            limit: error.and_then(Error::limit).map(|limit| limit.as_str()),
            events_seen: error.map(|error| count(error.events_seen())),
            bytes_seen: error.map(|error| count(error.bytes_seen())),
            agent_payload: text(Error::agent_payload),
            cause: failure.cause(),
        }
    }
}

impl From<Failure> for FailureView {
    fn from(failure: Failure) -> Self {
        Self::from(&failure)
    }
}

impl From<Error> for FailureView {
    fn from(error: Error) -> Self {
        Self::from(&Failure::from(error))
    }
}
