//! A call that an event loop waits for. The loop's thread polls it, so that
//! letting go of it closes its connection there and then. A whole answer is handed
//! over by the queue itself; the call's task comes back for everything else.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Wake as _};

use agentcore_client::Result as CoreResult;
use agentcore_ffi::{
    Background, Call, Closed, Engine, Failure, Outcome, Owned, Question as Asked, TokenWaker, Turn,
};
use pyo3::IntoPyObjectExt as _;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::borrowed::Borrowed;
use crate::errors::{flush_logs, raise};
use crate::known::name;
use crate::provider::answer;
use crate::queue::ReadyQueue;
use crate::response::Response;
use crate::stream::Stream;

/// A call that an event loop waits for.
#[pyclass(frozen, module = "agentcore_client._native")]
pub(crate) struct PendingCall {
    /// What the queue gives when it is to be polled again.
    #[pyo3(get)]
    token: u64,
    waker: Arc<TokenWaker>,
    background: &'static Background,
    state: Mutex<Option<Owned<State>>>,
}

struct State {
    call: Call<Outcome>,
    live: Borrowed,
    /// What a turn gave, for the next poll.
    kept: Option<Turn<Outcome>>,
    /// It has had a turn.
    begun: bool,
}

/// What the queue can do for a call that is worth polling again.
pub(crate) enum Settled<'py> {
    /// Nothing: it goes on waiting.
    Waits,
    /// It can hand over the answer.
    Answer(Bound<'py, PyAny>),
    /// It can wake the call's task, which has to poll: to answer a question, to raise a failure, to
    /// take a stream, or to write what is logged within its own context.
    Wake,
}

/// From here on hashing a payload takes so long that others should not wait for the interpreter
/// meanwhile.
const HEAVY: usize = 256 << 10;

impl PendingCall {
    /// Begins a call. The first that an event loop begins in a turn has had its own first turn when this
    /// returns, and a failure of that is raised. The others get theirs together, when the queue next
    /// hands over: requests that go out one after the other, with no Python in between, find their code
    /// in the CPU's cache and the server awake. What a turn gave wakes the token, so whoever begins a
    /// call waits before polling it.
    pub(crate) fn start(
        py: Python<'_>,
        engine: &'static Engine,
        queue: &ReadyQueue,
        future: impl Future<Output = CoreResult<Outcome>> + Send + 'static,
        live: Borrowed,
        payload_bytes: usize,
    ) -> PyResult<Self> {
        let background = engine.background().map_err(|failure| raise(py, &failure))?;
        let (token, waker) = queue.waker();
        let mut state = State { call: Call::new(future), live, kept: None, begun: false };
        let heavy = payload_bytes >= HEAVY;
        if queue.is_first_since_taken() || heavy {
            state.begun = true;
            let mut poll = || background.turn(&waker, |cx| state.call.poll(cx));
            let turn = if heavy { py.detach(&mut poll) } else { poll() };
            flush_logs(py, state.call.scope());
            match turn {
                Poll::Pending => {}
                Poll::Ready(Turn::Done(Err(failure))) => {
                    state.live.hang_up_if_closed();
                    return Err(raise(py, &failure));
                }
                Poll::Ready(turn) => {
                    waker.wake_by_ref();
                    state.kept = Some(turn);
                }
            }
        } else {
            waker.wake_by_ref();
        }
        Ok(Self { token, waker, background, state: Mutex::new(Some(Owned::new(engine, state))) })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Owned<State>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives it the turn that it has waited for, unless nobody waits for a call that has not begun.
    pub(crate) fn settle<'py>(
        &self,
        engine: &'static Engine,
        future: &Bound<'py, PyAny>,
    ) -> PyResult<Settled<'py>> {
        let py = future.py();
        let mut slot = self.lock();
        let Some(state) = slot.as_mut().and_then(|state| state.get_mut_in(engine)) else {
            return Ok(Settled::Wake);
        };
        if state.kept.is_some() {
            return Ok(Settled::Wake);
        }
        if !state.begun {
            if future.call_method0(name!(py, "cancelled"))?.is_truthy()? {
                return Ok(Settled::Waits);
            }
            state.begun = true;
        }
        match self.background.turn(&self.waker, |cx| state.call.poll(cx)) {
            Poll::Pending if state.call.scope().has_lines() => Ok(Settled::Wake),
            Poll::Pending => Ok(Settled::Waits),
            Poll::Ready(Turn::Done(Ok(Outcome::Response(response))))
                if !state.call.scope().has_lines() =>
            {
                state.live.hang_up_if_closed();
                if let Some(state) = slot.take() {
                    state.drop_in(engine);
                }
                drop(slot);
                Response::new(response).into_bound_py_any(py).map(Settled::Answer)
            }
            Poll::Ready(turn) => {
                state.kept = Some(turn);
                Ok(Settled::Wake)
            }
        }
    }
}

#[pymethods]
impl PendingCall {
    /// `None` while it waits, a `Question` that must be answered first, or what it has come to.
    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let engine = Engine::current();
        let mut slot = self.lock();
        let Some(state) = slot.as_mut().and_then(|state| state.get_mut_in(engine)) else {
            return Err(raise(py, &Failure::Closed(Closed::Call)));
        };
        let turn = match state.kept.take() {
            Some(turn) => Poll::Ready(turn),
            None => self.background.turn(&self.waker, |cx| state.call.poll(cx)),
        };
        flush_logs(py, state.call.scope());
        let done = match turn {
            Poll::Pending => return Ok(None),
            Poll::Ready(Turn::Ask(question)) => {
                return Question::new(question).into_bound_py_any(py).map(Some);
            }
            Poll::Ready(Turn::Done(done)) => done,
        };
        state.live.hang_up_if_closed();
        let outcome = match done {
            Ok(Outcome::Response(response)) => Response::new(response).into_bound_py_any(py),
            Ok(Outcome::Stream(feed)) => {
                Stream::new(state.live.adopt(feed), None).into_bound_py_any(py)
            }
            Ok(Outcome::Stopped) => true.into_bound_py_any(py),
            Err(failure) => Err(raise(py, &failure)),
        };
        *slot = None;
        outcome.map(Some)
    }

    /// Lets go of it: its connection is closed, unless it has come to its end.
    fn abort(&self) {
        let state = self.lock().take();
        drop(state);
    }
}

/// What a provider in Python must answer.
#[pyclass(frozen, module = "agentcore_client._native")]
pub(crate) struct Question(Mutex<Option<Asked>>);

impl Question {
    fn new(question: Asked) -> Self {
        Self(Mutex::new(Some(question)))
    }

    fn take(&self) -> Option<Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl Question {
    /// Hands over a token, or a tuple of credentials.
    fn answer(&self, py: Python<'_>, given: Bound<'_, PyAny>) -> PyResult<()> {
        let question =
            self.take().ok_or_else(|| PyRuntimeError::new_err("this was answered already"))?;
        match answer(py, question, Ok(given))? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// There will be no answer.
    fn fail(&self) {
        drop(self.take());
    }
}
