//! A call that an event loop waits for. The loop's thread polls it, so that
//! letting go of it closes its connection there and then.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Wake as _};

use agentcore_client::Result as CoreResult;
use agentcore_ffi::{
    Background, Call, Closed, Engine, Failure, Outcome, Owned, Question as Asked, TokenWaker, Turn,
};
use pyo3::IntoPyObjectExt as _;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::client::{Borrowed, answer};
use crate::errors::{flush_logs, raise};
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
    /// What the first turn gave, for the first poll.
    first: Option<Turn<Outcome>>,
}

/// From here on hashing a payload takes so long that others should not wait for the interpreter
/// meanwhile.
const HEAVY: usize = 256 << 10;

impl PendingCall {
    /// Begins a call: it has had its first turn when this returns, which spares Python a poll that
    /// would find nothing. What that turn gave wakes the token at once; a failure is raised.
    pub(crate) fn start(
        py: Python<'_>,
        queue: &ReadyQueue,
        future: impl Future<Output = CoreResult<Outcome>> + Send + 'static,
        live: Borrowed,
        payload_bytes: usize,
    ) -> PyResult<Self> {
        let background = Engine::current().background().map_err(|failure| raise(py, &failure))?;
        let (token, waker) = queue.waker();
        let mut call = Call::new(future);
        let mut poll = || background.turn(&waker, |cx| call.poll(cx));
        let turn = if payload_bytes >= HEAVY { py.detach(&mut poll) } else { poll() };
        flush_logs(py, call.scope());
        let first = match turn {
            Poll::Pending => None,
            Poll::Ready(Turn::Done(Err(failure))) => {
                live.hang_up_if_closed();
                return Err(raise(py, &failure));
            }
            Poll::Ready(first) => {
                waker.wake_by_ref();
                Some(first)
            }
        };
        let state = Mutex::new(Some(Owned::new(State { call, live, first })));
        Ok(Self { token, waker, background, state })
    }
}

#[pymethods]
impl PendingCall {
    /// `None` while it waits, a `Question` that must be answered first, or what it has come to.
    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut slot = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = slot.as_mut().and_then(Owned::get_mut) else {
            return Err(raise(py, &Failure::Closed(Closed::Call)));
        };
        let turn = match state.first.take() {
            Some(first) => Poll::Ready(first),
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
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).take();
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
