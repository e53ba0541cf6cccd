//! What an event loop does when its queue says that something is ready: all calls
//! get their turns, one after the other, and then those who wait are told.

use agentcore_ffi::Engine;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::call::{PendingCall, Settled};
use crate::known::name;
use crate::queue::ReadyQueue;

/// Whom to tell, and what: a result, or an exception.
struct Told<'py> {
    future: Bound<'py, PyAny>,
    what: PyResult<Bound<'py, PyAny>>,
}

/// Silences a queue's descriptor and tells those who wait for what has become ready. By its token
/// `waiting` has a future, or a call and its future. A future gets its call's whole answer, or
/// `None`: whoever waits for it must poll.
///
/// A task that is told alone goes on within this, where no other task does (`at_once`): a turn of the
/// loop less for each event of a stream.
#[pyfunction]
pub(crate) fn hand_over(
    queue: &ReadyQueue,
    waiting: &Bound<'_, PyDict>,
    at_once: bool,
) -> PyResult<()> {
    let py = waiting.py();
    let engine = Engine::current();
    let mut failed = Ok(());
    let mut ready = Vec::new();
    if queue.belongs_to(engine) {
        for token in queue.take() {
            // One that fails must not keep the others waiting.
            match settle(waiting, token, engine) {
                Ok(told) => ready.extend(told),
                Err(error) => failed = failed.and(Err(error)),
            }
        }
    } else {
        // A forked child that goes on with its parent's loop: each poll says whose it is.
        for (token, _) in waiting.copy()? {
            ready.extend(settle(waiting, token.extract()?, engine)?);
        }
    }
    // Of several, all must be on their way before the first goes on: it may turn the loop itself.
    let at_once = at_once && ready.len() == 1;
    for Told { future, what } in ready {
        // What has interrupted the calls' turns (Ctrl-C) is raised once all are told: asyncio's own
        // code would be where its handler runs otherwise, in the middle of waking a task.
        failed = failed.and_then(|()| py.check_signals());
        let told = match what {
            Ok(result) if at_once && failed.is_ok() => resume(&future, result),
            Ok(result) => set(&future, name!(py, "set_result"), result),
            Err(error) => {
                let error = error.into_value(py).into_bound(py).into_any();
                set(&future, name!(py, "set_exception"), error)
            }
        };
        failed = failed.and(told);
    }
    failed
}

/// Gives what waits behind a token its turn, if it is a call.
fn settle<'py>(
    waiting: &Bound<'py, PyDict>,
    token: u64,
    engine: &'static Engine,
) -> PyResult<Option<Told<'py>>> {
    let py = waiting.py();
    // Nobody may be waiting for it any more.
    let Some(waiter) = waiting.get_item(token)? else { return Ok(None) };
    let nothing = || Ok(py.None().into_bound(py));
    let told = match waiter.cast::<PyTuple>() {
        Ok(pair) => {
            let (call, future) = (pair.get_item(0)?, pair.get_item(1)?);
            let what = match call.cast::<PendingCall>()?.get().settle(engine, &future) {
                Ok(Settled::Waits) => return Ok(None),
                Ok(Settled::Answer(answer)) => Ok(answer),
                Ok(Settled::Wake) => nothing(),
                Err(error) => Err(error),
            };
            Told { future, what }
        }
        Err(_) => Told { future: waiter, what: nothing() },
    };
    waiting.del_item(token)?;
    Ok(Some(told))
}

/// Sets a future's result and runs here and now what the loop would run in its next turn.
fn resume<'py>(future: &Bound<'py, PyAny>, result: Bound<'py, PyAny>) -> PyResult<()> {
    let py = future.py();
    // Not public: where it is not what it is known to be, the loop comes to it.
    let callbacks = future.getattr(name!(py, "_callbacks"));
    let only = callbacks.ok().and_then(|all| {
        let all = all.cast_into::<PyList>().ok().filter(|all| all.len() == 1)?;
        let pair = all.get_item(0).ok()?.cast_into::<PyTuple>().ok()?;
        Some((pair.get_item(0).ok()?, pair.get_item(1).ok()?))
    });
    let Some((callback, context)) = only else {
        return set(future, name!(py, "set_result"), result);
    };
    future.call_method1(name!(py, "remove_done_callback"), (&callback,))?;
    set(future, name!(py, "set_result"), result)?;
    context.call_method1(name!(py, "run"), (callback, future)).map(drop)
}

fn set<'py>(
    future: &Bound<'py, PyAny>,
    how: &Bound<'py, pyo3::types::PyString>,
    what: Bound<'py, PyAny>,
) -> PyResult<()> {
    match future.call_method1(how, (what,)) {
        // Its task was cancelled meanwhile.
        Err(error) if is_settled_already(&error, future.py())? => Ok(()),
        told => told.map(drop),
    }
}

/// By its kind, and not by the future, which is settled also where a signal's handler raised while its
/// task was being woken.
fn is_settled_already(error: &PyErr, py: Python<'_>) -> PyResult<bool> {
    let kind = py.import(name!(py, "asyncio"))?.getattr(name!(py, "InvalidStateError"))?;
    Ok(error.is_instance(py, &kind))
}
