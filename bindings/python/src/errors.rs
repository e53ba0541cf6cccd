//! Failures as Python's exceptions. The classes are Python's own; here is only
//! what they are told. And the log, which takes the same way out.

use agentcore_client::Error;
use agentcore_ffi::{Failure, Feed, Scope};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::known::Known;

/// The exception for a failure.
pub(crate) fn raise(py: Python<'_>, failure: &Failure) -> PyErr {
    build(py, failure).unwrap_or_else(|error| error)
}

/// The same; if it was not to be had, such as for what a signal's handler raised, the stream keeps the
/// failure for its next read: it must never look like a proper end.
pub(crate) fn raise_of(py: Python<'_>, feed: &Feed, failure: Failure) -> PyErr {
    build(py, &failure).unwrap_or_else(|error| {
        feed.tell_again(failure);
        error
    })
}

/// The exception for an error of the core.
pub(crate) fn raise_core(py: Python<'_>, error: Error) -> PyErr {
    raise(py, &Failure::from(error))
}

fn build(py: Python<'_>, failure: &Failure) -> PyResult<PyErr> {
    let members = PyDict::new(py);
    members.set_item("delivery", failure.delivery().as_str())?;
    members.set_item("session_id", failure.session_id())?;
    if let Some(error) = failure.core() {
        members.set_item("status", error.status())?;
        members.set_item("service_code", error.service_code())?;
        members.set_item("request_id", error.request_id())?;
        members.set_item("retry_after", error.retry_after().map(|after| after.as_secs_f64()))?;
        members.set_item("field", error.field())?;
        members.set_item("limit", error.limit().map(|limit| limit.as_str()))?;
        members.set_item("events_seen", error.events_seen())?;
        members.set_item("bytes_seen", error.bytes_seen())?;
        members.set_item("agent_payload", error.agent_payload())?;
        let attempts = error.attempts().iter().map(|attempt| {
            (
                attempt.kind.as_str(),
                attempt.delivery.as_str(),
                attempt.status,
                attempt.service_code.as_deref(),
                attempt.pause.map(|pause| pause.as_secs_f64()),
            )
        });
        members.set_item("attempts", PyTuple::new(py, attempts.collect::<Vec<_>>())?)?;
    }
    static FROM_NATIVE: Known<PyAny> = Known::new();
    let from_native = FROM_NATIVE.import(py, "agentcore_client._errors", "from_native")?;
    let error = from_native.call1((failure.kind().as_str(), failure.to_string(), members))?;
    let error = PyErr::from_value(error);
    if let Some(cause) = failure.cause() {
        let cause = pyo3::exceptions::PyRuntimeError::new_err(cause);
        error.set_cause(py, Some(cause));
    }
    Ok(error)
}

/// Hands the log lines of a call or stream to Python's logging.
pub(crate) fn flush_logs(py: Python<'_>, scope: &Scope) {
    let lines = scope.take_lines();
    if lines.is_empty() {
        return;
    }
    static EMIT: Known<PyAny> = Known::new();
    for line in lines {
        let emitted = EMIT
            .import(py, "agentcore_client._logging", "emit")
            .and_then(|emit| emit.call1((line.level.as_str(), line.message)));
        if let Err(error) = emitted {
            // A handler of the user's own failed; the call must not fail with it.
            error.write_unraisable(py, None);
        }
    }
}
