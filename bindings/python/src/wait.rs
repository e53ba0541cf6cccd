//! Waiting on the caller's own thread, without the interpreter. The main thread
//! comes back some times a second to see whether a signal (Ctrl-C) has arrived.

use std::cell::Cell;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use agentcore_ffi::{Call, Hook, Lane, Question, Turn};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::{flush_logs, raise};
use crate::known::Known;
use crate::provider::{Provider, answer};

const SLICE: Duration = Duration::from_millis(100);
/// For what runs without anybody at a keyboard: a look costs as much as half a message.
pub(crate) const LONG_SLICE: Duration = Duration::from_millis(500);

/// Waits until `poll` is ready.
///
/// # Errors
/// What a signal handler raises.
pub(crate) fn wait<T: Send>(
    py: Python<'_>,
    lane: &Lane,
    poll: impl FnMut(&mut Context<'_>) -> Poll<T> + Send,
) -> PyResult<T> {
    wait_in(py, lane, SLICE, poll)
}

fn wait_in<T: Send>(
    py: Python<'_>,
    lane: &Lane,
    slice: Duration,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T> + Send,
) -> PyResult<T> {
    let slice = on_main_thread(py, lane.process())?.then_some(slice);
    loop {
        if let Some(value) = py.detach(|| lane.drive(slice, &mut poll)) {
            return Ok(value);
        }
        py.check_signals()?;
    }
}

/// Waits for a call, and asks its provider when it wants to know something. The provider may take so
/// long; what it says later is not taken, and the call fails by its time limit.
///
/// # Errors
/// The call's own, what a signal handler raises, and what a provider raises that is no `Exception`.
pub(crate) fn drive<T: Send>(
    py: Python<'_>,
    lane: &Lane,
    call: Call<T>,
    provider: Option<(&Provider, Duration)>,
) -> PyResult<T> {
    // Without a relay there are no hooks.
    drive_with(py, lane, SLICE, call, provider, &mut |_| Ok(()))
}

/// As `drive`, runs hooks, and looks for a signal once in so long a slice.
///
/// # Errors
/// As `drive`, and what `run` raises.
pub(crate) fn drive_with<T: Send>(
    py: Python<'_>,
    lane: &Lane,
    slice: Duration,
    mut call: Call<T>,
    provider: Option<(&Provider, Duration)>,
    run: &mut dyn FnMut(Hook) -> PyResult<()>,
) -> PyResult<T> {
    let mut cause = None;
    let mut too_late = None;
    loop {
        let turn = wait_in(py, lane, slice, |cx| call.poll(cx));
        flush_logs(py, call.scope());
        match turn? {
            Turn::Done(result) => {
                drop(too_late);
                return result.map_err(|failure| {
                    let error = raise(py, &failure);
                    if failure.kind() == agentcore_client::ErrorKind::Credentials && cause.is_some()
                    {
                        error.set_cause(py, cause.take());
                    }
                    error
                });
            }
            Turn::Ask(Question::Hook(hook)) => run(*hook)?,
            Turn::Ask(question) => match provider {
                Some((provider, limit)) => {
                    let asked_at = Instant::now();
                    let asked = provider.ask(py);
                    if asked.is_ok() && asked_at.elapsed() >= limit {
                        // Kept without an answer, for the core's own clock to judge.
                        too_late = Some(question);
                    } else {
                        cause = answer(py, question, asked)?;
                    }
                }
                // Without a provider nothing is asked.
                None => drop(question),
            },
        }
    }
}

/// Signals only concern the main thread. Without `threading` there is no other, as good as. A fork
/// may make another thread the main one; `process` is the one that this is.
fn on_main_thread(py: Python<'_>, process: u32) -> PyResult<bool> {
    thread_local! {
        /// For which process this thread knows the answer, and the answer.
        static KNOWN: Cell<Option<(u32, bool)>> = const { Cell::new(None) };
    }
    if let Some((of, is_main)) = KNOWN.get()
        && of == process
    {
        return Ok(is_main);
    }
    static MODULES: Known<PyDict> = Known::new();
    let modules = MODULES.import(py, "sys", "modules")?;
    let Some(threading) = modules.get_item("threading")? else { return Ok(true) };
    let main = threading.call_method0("main_thread")?.getattr("ident")?;
    let is_main = main.eq(threading.call_method0("get_ident")?)?;
    KNOWN.set(Some((process, is_main)));
    Ok(is_main)
}
