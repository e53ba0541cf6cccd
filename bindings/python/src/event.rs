//! What an agent sent, one at a time. A class of its own in Rust, since there
//! are hundreds of thousands of them: its strings are only made when they are asked for.

use agentcore_client::AgentEvent as CoreEvent;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::response::load_json;

/// What an agent sent, one at a time.
///
/// A server-sent event; or, of an answer in JSON, the one event with the whole value; or, of another
/// content type, a chunk as it came, text cut only between characters.
#[pyclass(frozen, module = "agentcore_client")]
pub(crate) struct AgentEvent(CoreEvent);

impl AgentEvent {
    pub(crate) fn new(event: CoreEvent) -> Self {
        Self(event)
    }
}

#[pymethods]
impl AgentEvent {
    /// The event's name, for server-sent events that have one.
    #[getter]
    fn event(&self) -> Option<&str> {
        self.0.event()
    }

    /// The event's id, for server-sent events that have one.
    #[getter]
    fn id(&self) -> Option<&str> {
        self.0.id()
    }

    /// The raw data: a `str`, or `bytes` of a chunk that is no text.
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        match self.0.data_str() {
            Some(text) => PyString::new(py, text).into_any(),
            None => PyBytes::new(py, self.0.data()).into_any(),
        }
    }

    /// What the agent said in this event; `None` where it carries no text.
    #[getter]
    fn text(&self) -> Option<&str> {
        self.0.text()
    }

    /// The event in the form of a server-sent event, to pass it on; `None` for a binary chunk.
    fn to_sse<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.to_sse().map(|bytes| PyBytes::new(py, &bytes))
    }

    /// The data as JSON. Raises `ProtocolError` where it is none.
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        load_json(py, self.0.data(), "this event")
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        const SHOWN: usize = 60;
        let data = match self.0.data_str() {
            Some(text) => match text.char_indices().nth(SHOWN) {
                Some((end, _)) => format!("{}…", &text[..end]).into_pyobject(py)?.repr()?,
                None => text.into_pyobject(py)?.repr()?,
            },
            None => PyString::new(py, &format!("<{} bytes>", self.0.data().len())),
        };
        let event = self.0.event().into_pyobject(py)?.repr()?;
        Ok(format!("AgentEvent(event={event}, data={data})"))
    }
}
