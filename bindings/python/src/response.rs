//! A whole answer, behind the public `InvokeResponse`.

use agentcore_client::InvokeResponse;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::known::Known;

/// A whole answer.
#[pyclass(frozen, module = "agentcore_client._native")]
pub(crate) struct Response(InvokeResponse);

impl Response {
    pub(crate) fn new(response: InvokeResponse) -> Self {
        Self(response)
    }
}

#[pymethods]
impl Response {
    #[getter]
    fn session_id(&self) -> &str {
        self.0.session_id().as_str()
    }

    #[getter]
    fn status(&self) -> u16 {
        self.0.status()
    }

    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let headers = self.0.headers().iter();
        header_dict(
            py,
            headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))),
        )
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.body())
    }

    #[getter]
    fn body_length(&self) -> usize {
        self.0.body().len()
    }

    #[getter]
    fn text(&self) -> Option<&str> {
        self.0.text()
    }

    #[getter]
    fn end(&self) -> &'static str {
        self.0.end().as_str()
    }

    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        load_json(py, self.0.body(), "the answer")
    }
}

/// Headers as a dict; the values of a name that comes more than once are joined by commas.
pub(crate) fn header_dict<'py, 'a>(
    py: Python<'py>,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in headers {
        match dict.get_item(name)? {
            Some(first) => {
                dict.set_item(name, format!("{}, {value}", first.extract::<String>()?))?
            }
            None => dict.set_item(name, value)?,
        }
    }
    Ok(dict)
}

/// Python's own `json.loads`, with a failure that says what it was about.
pub(crate) fn load_json<'py>(
    py: Python<'py>,
    data: &[u8],
    what: &str,
) -> PyResult<Bound<'py, PyAny>> {
    static LOADS: Known<PyAny> = Known::new();
    let loads = LOADS.import(py, "json", "loads")?;
    loads.call1((PyBytes::new(py, data),)).map_err(|cause| {
        if !cause.is_instance_of::<PyValueError>(py) {
            return cause;
        }
        let not_json = py
            .import("agentcore_client._errors")
            .and_then(|errors| errors.call_method1("not_json", (what, cause.value(py))));
        match not_json {
            Ok(error) => {
                let error = PyErr::from_value(error);
                error.set_cause(py, Some(cause));
                error
            }
            Err(error) => error,
        }
    })
}
