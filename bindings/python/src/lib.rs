//! The private native module behind the Python package: thin on purpose. It
//! turns arguments into calls of the core, waits for them without the
//! interpreter, and hands over what came. What users see is written in Python.

mod errors;
mod values;
mod wait;
mod client;
mod call;
mod event;
mod response;
mod stream;
mod queue;
mod relay;
mod ids;

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
        agentcore_ffi::capture_logs();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
