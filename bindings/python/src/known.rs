//! What is looked up once and known from then on. PyO3's own cells (its `intern!` has one) give up the
//! interpreter's lock while they hold theirs: a child that another thread forks in that moment waits
//! for ever. Here no Python runs while anything is held.

use std::sync::OnceLock;

use pyo3::PyTypeCheck;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// An object of Python's, from the first time it is asked for.
pub(crate) struct Known<T>(OnceLock<Py<T>>);

impl<T> Known<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }
}

impl<T: PyTypeCheck> Known<T> {
    /// What has this name in a module. Several threads may look it up; what the first finds is kept.
    pub(crate) fn import<'py>(
        &self,
        py: Python<'py>,
        module: &str,
        name: &str,
    ) -> PyResult<&Bound<'py, T>> {
        if let Some(known) = self.0.get() {
            return Ok(known.bind(py));
        }
        let found = py.import(module)?.getattr(name)?.cast_into()?.unbind();
        Ok(self.0.get_or_init(|| found).bind(py))
    }
}

impl Known<PyString> {
    /// Behind [`name!`].
    pub(crate) fn name<'py>(&self, py: Python<'py>, text: &str) -> &Bound<'py, PyString> {
        // Interning a name runs no Python.
        self.0.get_or_init(|| PyString::intern(py, text).unbind()).bind(py)
    }
}

/// A name as Python's `str`, made once.
macro_rules! name {
    ($py:expr, $text:expr) => {{
        static NAME: $crate::known::Known<pyo3::types::PyString> = $crate::known::Known::new();
        NAME.name($py, $text)
    }};
}
pub(crate) use name;

/// PyO3's own code has such cells, too. Those that a call may come to are filled while it is imported.
pub(crate) fn fill_cells_of_pyo3(py: Python<'_>) -> PyResult<()> {
    // Whose error is ours, it asks by a type that it makes when the first is taken.
    pyo3::exceptions::PyRuntimeError::new_err(()).restore(py);
    drop(PyErr::take(py));
    // What is refused is told by its type's name.
    py.get_type::<PyString>().name().map(drop)
}
