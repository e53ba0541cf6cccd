//! The private native module behind the Python package: thin on purpose. It
//! turns arguments into calls of the core, waits for them without the
//! interpreter, and hands over what came. What users see is written in Python.

mod known;
mod errors;
mod values;
mod provider;
mod borrowed;
mod wait;
mod client;
mod call;
mod handover;
mod event;
mod response;
mod stream;
mod queue;
mod relay;
mod ids;

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

/// The native half of `agentcore_client`. Private: import from `agentcore_client`.
// Some locks are only safe across a fork because no two threads run Python at once, so a
// free-threaded interpreter is asked for its lock back.
#[pymodule(gil_used = true)]
mod _native {
    #[pymodule_export]
    use super::call::{PendingCall, Question};
    #[pymodule_export]
    use super::client::Client;
    #[pymodule_export]
    use super::event::AgentEvent;
    #[pymodule_export]
    use super::handover::hand_over;
    #[pymodule_export]
    use super::ids::{
        check_session_id, derive_guessable_session_id, derive_session_id, generate_session_id,
        invoke_policy, parse_runtime_arn, runtime_arn_of_agent,
    };
    #[pymodule_export]
    use super::queue::ReadyQueue;
    #[pymodule_export]
    use super::relay::Relay;
    #[pymodule_export]
    use super::response::Response;
    #[pymodule_export]
    use super::stream::Stream;
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        refuse_a_second_interpreter(module.py())?;
        known::fill_cells_of_pyo3(module.py())?;
        agentcore_ffi::capture_logs();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// What stands in statics belongs to the interpreter that came first. From 3.12 on, Python itself lets
/// no other than the main one in.
fn refuse_a_second_interpreter(py: Python<'_>) -> PyResult<()> {
    static FIRST: AtomicUsize = AtomicUsize::new(0);
    // Each interpreter has one of its own.
    let here = py.import("builtins")?.as_ptr() as usize;
    match FIRST.compare_exchange(0, here, Ordering::AcqRel, Ordering::Acquire) {
        Err(first) if first != here => Err(PyImportError::new_err(
            "agentcore_client serves one interpreter of a process, and another one has imported it",
        )),
        _ => Ok(()),
    }
}
