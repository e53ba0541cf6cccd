//! The private native module behind the Python package.

use pyo3::prelude::*;

/// The native half of `agentcore_client`. Private: import from `agentcore_client`.
#[pymodule]
mod _native {}
