//! What an event loop does when its queue says that something is ready: all calls
//! get their turns, one after the other, and then those who wait are told.

use agentcore_ffi::Engine;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::call::{PendingCall, Settled};
use crate::known::name;
use crate::queue::ReadyQueue;
use crate::stream::Stream;

/// So often at most, since others that the loop has ready must have their turn, too.
const MOST_ROUNDS: usize = 4;

/// Whom to tell, and what: a result, or an exception.
struct Told<'py> {
    future: Bound<'py, PyAny>,
    what: PyResult<Bound<'py, PyAny>>,
}

/// Silences a queue's descriptor and tells those who wait for what has become ready. By its token
/// `waiting` has a future, or a call and its future, which gets the whole answer. Or a stream, its
/// future, the list of what has been taken of it, and where in that list arrives what its reader waits
/// for. A future that gets `None` says: poll.
///
/// Tasks that wait go on in here (`within_this_turn`), and not by a callback of the loop for each, in
/// its next turn.
#[pyfunction]
pub(crate) fn hand_over(
    queue: &ReadyQueue,
    waiting: &Bound<'_, PyDict>,
    within_this_turn: bool,
) -> PyResult<()> {
    for _ in 0..MOST_ROUNDS {
        if !hand_over_once(queue, waiting, within_this_turn)? {
            break;
        }
    }
    Ok(())
}

/// Whether it was rung for those who went on, and needs to be drained again.
fn hand_over_once(
    queue: &ReadyQueue,
    waiting: &Bound<'_, PyDict>,
    within_this_turn: bool,
) -> PyResult<bool> {
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
            match settle(waiting, token.extract()?, engine) {
                Ok(told) => ready.extend(told),
                Err(error) => failed = failed.and(Err(error)),
            }
        }
    }
    // All must be on their way before the first goes on: it may turn the loop itself.
    for Told { future, what } in ready {
        // What has interrupted the calls' turns (Ctrl-C) is raised once all are told: asyncio's own
        // code would be where its handler runs otherwise, in the middle of waking a task.
        failed = failed.and_then(|()| py.check_signals());
        let told = match (what, Waking::of(&future).filter(|_| within_this_turn)) {
            (Ok(result), Some(waking)) => {
                waking.settle(&future, result).map(|()| queue.will_go_on(waking))
            }
            (Ok(result), None) => set(&future, name!(py, "set_result"), result),
            (Err(error), _) => {
                let error = error.into_value(py).into_bound(py).into_any();
                set(&future, name!(py, "set_exception"), error)
            }
        };
        failed = failed.and(told);
    }
    let going = queue.going();
    // If this is interrupted, or the first waits for another by a loop within, that comes here again.
    let rings = going > 1 || (going == 1 && failed.is_err());
    if rings {
        queue.ring();
    }
    failed?;
    while let Some(waking) = queue.next_to_go_on() {
        waking.run(py)?;
    }
    Ok(rings)
}

/// Gives what waits behind a token its turn, if it is a call or a stream.
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
        Ok(behind) => {
            let (source, future) = (behind.get_item(0)?, behind.get_item(1)?);
            let what = match source.cast::<PendingCall>() {
                Ok(call) => match call.get().settle(engine, &future) {
                    Ok(Settled::Waits) => return Ok(None),
                    Ok(Settled::Answer(answer)) => Ok(answer),
                    Ok(Settled::Wake) => nothing(),
                    Err(error) => Err(error),
                },
                Err(_) => {
                    // Whoever does not wait any more, looks elsewhere first.
                    if future.call_method0(name!(py, "done"))?.is_truthy()? {
                        waiting.del_item(token)?;
                        return Ok(None);
                    }
                    let (taken, kind) = (behind.get_item(2)?, behind.get_item(3)?.extract()?);
                    match source.cast::<Stream>()?.get().settle(engine, taken.cast()?, kind) {
                        Ok(false) => return Ok(None),
                        Ok(true) => nothing(),
                        Err(error) => Err(error),
                    }
                }
            };
            Told { future, what }
        }
        Err(_) => Told { future: waiter, what: nothing() },
    };
    waiting.del_item(token)?;
    Ok(Some(told))
}

/// What the loop would call in its next turn to have a task go on.
pub(crate) struct Waking {
    callback: Py<PyAny>,
    context: Py<PyAny>,
    future: Py<PyAny>,
}

impl Waking {
    /// Of the one that waits for a future.
    fn of(future: &Bound<'_, PyAny>) -> Option<Self> {
        let py = future.py();
        // Not public: where it is not what it is known to be, the loop comes to it.
        let all = future.getattr(name!(py, "_callbacks")).ok()?.cast_into::<PyList>().ok()?;
        if all.len() != 1 {
            return None;
        }
        let pair = all.get_item(0).ok()?.cast_into::<PyTuple>().ok()?;
        let (callback, context) =
            (pair.get_item(0).ok()?.unbind(), pair.get_item(1).ok()?.unbind());
        Some(Self { callback, context, future: future.clone().unbind() })
    }

    /// Sets the future's result, of which the loop then tells nobody.
    fn settle<'py>(&self, future: &Bound<'py, PyAny>, result: Bound<'py, PyAny>) -> PyResult<()> {
        let py = future.py();
        future.call_method1(name!(py, "remove_done_callback"), (&self.callback,))?;
        set(future, name!(py, "set_result"), result)
    }

    /// Has the task go on, here and now.
    pub(crate) fn run(self, py: Python<'_>) -> PyResult<()> {
        let Self { callback, context, future } = self;
        context.bind(py).call_method1(name!(py, "run"), (callback, future)).map(drop)
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.callback)?;
        visit.call(&self.context)?;
        visit.call(&self.future)
    }
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
