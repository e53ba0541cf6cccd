//! Who is asked for a token or credentials, in Python, and what became of a
//! question that was put to it.

use agentcore_ffi::Question;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::values;

/// A provider in Python: `ask()` gives a token, or a tuple of credentials.
pub(crate) struct Provider(pub(crate) Py<PyAny>);

impl Provider {
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self(self.0.clone_ref(py))
    }

    /// Asks, on this thread.
    pub(crate) fn ask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.bind(py).call_method0("ask")
    }
}

/// Hands over what a provider gave or raised.
pub(crate) fn answer(
    py: Python<'_>,
    question: Question,
    asked: PyResult<Bound<'_, PyAny>>,
) -> PyResult<Option<PyErr>> {
    // A call that is gone meanwhile needs no answer.
    let handed_over = match question {
        Question::Token(asker) => asked
            .and_then(|given| values::text("bearer_token", &given))
            .map(|token| drop(asker.send(Ok(token)))),
        Question::Credentials(asker) => asked
            .and_then(|given| values::credentials(&given))
            .map(|credentials| drop(asker.send(Ok(credentials)))),
        // Answered by the relay that has them.
        Question::Hook(_) => Ok(()),
    };
    match handed_over {
        Ok(()) => Ok(None),
        // The question is dropped, which fails the attempt. What the exception says may be secret,
        // so it goes along as the cause and not into a message.
        Err(error) if error.is_instance_of::<PyException>(py) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}
