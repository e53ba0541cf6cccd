//! What an event loop does when its queue says that something is ready: those who
//! wait for it are told, and get a whole answer along with that.

use agentcore_ffi::Engine;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::call::{PendingCall, Settled};
use crate::queue::ReadyQueue;

/// Silences a queue's descriptor and tells those who wait for what has become ready. By its token
/// `waiting` has a future, or a call and its future. A future gets its call's whole answer, or
/// `None`: whoever waits for it must poll.
#[pyfunction]
pub(crate) fn hand_over(queue: &ReadyQueue, waiting: &Bound<'_, PyDict>) -> PyResult<()> {
    let engine = Engine::current();
    let mut told = Ok(());
    for token in queue.take() {
        // One that fails must not keep the others waiting.
        told = told.and(tell(waiting, token, engine));
    }
    told
}

fn tell(waiting: &Bound<'_, PyDict>, token: u64, engine: &'static Engine) -> PyResult<()> {
    let py = waiting.py();
    // Nobody may be waiting for it any more.
    let Some(waiter) = waiting.get_item(token)? else { return Ok(()) };
    let none = || py.None().into_bound(py);
    let (set, future, result) = match waiter.cast::<PyTuple>() {
        Ok(pair) => {
            let (call, future) = (pair.get_item(0)?, pair.get_item(1)?);
            match call.cast::<PendingCall>()?.get().settle(py, engine) {
                Ok(Settled::Waits) => return Ok(()),
                Ok(Settled::Answer(answer)) => (intern!(py, "set_result"), future, answer),
                Ok(Settled::Wake) => (intern!(py, "set_result"), future, none()),
                Err(error) => (
                    intern!(py, "set_exception"),
                    future,
                    error.into_value(py).into_bound(py).into_any(),
                ),
            }
        }
        Err(_) => (intern!(py, "set_result"), waiter, none()),
    };
    waiting.del_item(token)?;
    // What has interrupted the calls' turns (Ctrl-C) is raised once this one is told: asyncio's own code
    // would be where its handler runs otherwise, in the middle of waking the task.
    let interrupted = py.check_signals();
    match future.call_method1(set, (result,)) {
        // Its task was cancelled meanwhile.
        Err(error) if is_settled_already(&error, py)? => interrupted,
        told => interrupted.and(told.map(drop)),
    }
}

/// By its kind, and not by the future, which is settled also where a signal's handler raised while its
/// task was being woken.
fn is_settled_already(error: &PyErr, py: Python<'_>) -> PyResult<bool> {
    let kind = py.import(intern!(py, "asyncio"))?.getattr(intern!(py, "InvalidStateError"))?;
    Ok(error.is_instance(py, &kind))
}
