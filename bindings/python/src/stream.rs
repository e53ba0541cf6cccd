//! An answer while it arrives, behind the public stream classes. Whoever reads
//! it drives its socket: a thread on its lane, or an event loop's thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use agentcore_client::{AgentEvent as CoreEvent, Bytes};
use agentcore_ffi::{
    Background, Batch, Closed, Engine, Failure, Feed, Head, Lane, Lease, Owned, Reading, TokenWaker,
};
use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration, PyStopIteration};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::errors::{flush_logs, raise, raise_of};
use crate::event::AgentEvent;
use crate::known::name;
use crate::queue::ReadyQueue;
use crate::response::header_dict;
use crate::wait::wait;

/// An answer while it arrives.
#[pyclass(frozen, module = "agentcore_client._native")]
pub(crate) struct Stream(Owned<Inner>);

struct Inner {
    feed: Arc<Feed>,
    /// Given back when the stream has ended.
    lease: Mutex<Option<Lease>>,
    /// Of the event loop that read it last.
    seat: Mutex<Option<Seat>>,
}

/// Where an event loop waits for it.
#[derive(Clone)]
struct Seat {
    token: u64,
    waker: Arc<TokenWaker>,
    background: &'static Background,
}

/// What was taken and has not been read: iterators, by kind, as the Python half has them.
struct Taken<'a, 'py> {
    list: &'a Bound<'py, PyList>,
    kind: usize,
}

const EVENTS: usize = 0;
const CHUNKS: usize = 1;

impl Taken<'_, '_> {
    fn is_empty(&self) -> PyResult<bool> {
        let left = self.list.get_item(self.kind)?;
        let left = left.call_method0(name!(left.py(), "__length_hint__"))?;
        Ok(left.extract::<usize>()? == 0)
    }

    /// From here on they are the reader's, whatever interrupts it.
    fn put(&self, items: &Bound<'_, PyList>) -> PyResult<()> {
        self.list.set_item(self.kind, items.try_iter()?)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.feed.close();
    }
}

impl Stream {
    pub(crate) fn new(feed: Arc<Feed>, lease: Option<Lease>) -> Self {
        let inner = Inner { feed, lease: Mutex::new(lease), seat: Mutex::default() };
        Self(Owned::new(Engine::current(), inner))
    }

    fn inner(&self, py: Python<'_>) -> PyResult<&Inner> {
        self.0.get().ok_or_else(|| raise(py, &Failure::Closed(Closed::InParent)))
    }

    /// Known in a forked child, too.
    fn head(&self, py: Python<'_>) -> PyResult<&Head> {
        let inner = self.0.peek().ok_or_else(|| raise(py, &Failure::Closed(Closed::InParent)))?;
        Ok(inner.feed.head())
    }

    /// Puts what has arrived where the reader who is told of it looks first. Whether to tell.
    pub(crate) fn settle(
        &self,
        engine: &Engine,
        taken: &Bound<'_, PyList>,
        kind: usize,
    ) -> PyResult<bool> {
        let py = taken.py();
        // In a forked child its reader must learn that it is the parent's.
        let Some(inner) = self.0.get_in(engine) else { return Ok(true) };
        let items = match kind {
            EVENTS => inner.gather(py, |r, cx| r.gather_events(cx), |item| event(py, item)),
            _ => inner.gather(py, |r, cx| r.gather_bytes(cx), |item| Ok(bytes(py, item))),
        };
        match items? {
            Some(items) if !items.is_empty() => Taken { list: taken, kind }.put(&items)?,
            Some(_) => {}
            // What was logged meanwhile is the reader's to tell.
            None => return Ok(inner.feed.scope().has_lines()),
        }
        Ok(true)
    }

    /// The token, if nothing has arrived since its event loop was last told.
    fn waits(
        &self,
        queue: &ReadyQueue,
        waits: impl FnOnce(&Reading<'_>, &Arc<TokenWaker>) -> bool,
    ) -> Option<u64> {
        // Whoever was forked off and comes straight from its loop, has another queue.
        self.0.peek()?.waits(queue, waits)
    }
}

impl Inner {
    fn reading(&self) -> PyResult<Reading<'_>> {
        self.feed.begin_read().ok_or_else(|| {
            PyRuntimeError::new_err("the stream is being read by another thread or task")
        })
    }

    /// Waits for the next items on this thread and puts them where they are looked for.
    fn next<'py, T: Send>(
        &self,
        taken: &Taken<'_, 'py>,
        poll: impl Fn(&Reading<'_>, &mut Context<'_>) -> Poll<Batch<T>> + Sync + Send,
        to_python: impl FnMut(T) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let py = taken.list.py();
        let reading = self.reading()?;
        if !taken.is_empty()? {
            // Another thread has read meanwhile, which is no reason to lose what it took.
            return Ok(());
        }
        let lane = self.lane()?;
        let batch = match &lane {
            Some(lane) => wait(py, lane, |cx| poll(&reading, cx)).inspect_err(|_| self.feed.rest()),
            // After the end there is nothing to wait for.
            None => match poll(&reading, &mut Context::from_waker(Waker::noop())) {
                Poll::Ready(batch) => Ok(batch),
                Poll::Pending => {
                    Err(PyRuntimeError::new_err("the stream belongs to an event loop"))
                }
            },
        };
        let handed = batch
            .and_then(|batch| self.hand_over(batch, taken, to_python, PyStopIteration::new_err));
        drop(reading);
        flush_logs(py, self.feed.scope());
        handed
    }

    /// Whether an event loop has seen all that has arrived, and is told when more does.
    fn waits(
        &self,
        queue: &ReadyQueue,
        waits: impl FnOnce(&Reading<'_>, &Arc<TokenWaker>) -> bool,
    ) -> Option<u64> {
        let seat = self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        let seat = seat.as_ref().filter(|seat| queue.is_of(&seat.waker))?;
        if self.feed.scope().has_lines() {
            // The log is told where it is asked.
            return None;
        }
        waits(&self.feed.begin_read()?, &seat.waker).then_some(seat.token)
    }

    /// Puts the items that have arrived where they are looked for; while none has, the token that tells
    /// of them.
    fn take<'py, T>(
        &self,
        queue: &ReadyQueue,
        taken: &Taken<'_, 'py>,
        poll: impl Fn(&Reading<'_>, &mut Context<'_>) -> Poll<Batch<T>>,
        to_python: impl FnMut(T) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Option<u64>> {
        let py = taken.list.py();
        let reading = self.reading()?;
        if !taken.is_empty()? {
            return Ok(None);
        }
        let Seat { token, waker, background } = self.seat(py, queue)?;
        let polled = background.turn(&waker, |cx| poll(&reading, cx));
        let handed = match polled {
            Poll::Ready(batch) => self
                .hand_over(batch, taken, to_python, PyStopAsyncIteration::new_err)
                .map(|()| None),
            Poll::Pending => Ok(Some(token)),
        };
        drop(reading);
        flush_logs(py, self.feed.scope());
        handed
    }

    /// The items that have arrived, when its event loop is told so; `None` while none has, no items
    /// if the reader must ask what else there is. What was logged waits for the reader, whose context
    /// it belongs to.
    fn gather<'py, T>(
        &self,
        py: Python<'py>,
        poll: impl FnOnce(&Reading<'_>, &mut Context<'_>) -> Poll<Vec<T>>,
        to_python: impl FnMut(T) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let seat = self.seat.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let polled = match (seat, self.feed.begin_read()) {
            (Some(Seat { waker, background, .. }), Some(reading)) => {
                background.turn(&waker, |cx| poll(&reading, cx))
            }
            _ => Poll::Ready(Vec::new()),
        };
        match polled {
            Poll::Ready(items) => list(py, items, to_python).map(Some),
            Poll::Pending => Ok(None),
        }
    }

    fn hand_over<'py, T>(
        &self,
        batch: Batch<T>,
        taken: &Taken<'_, 'py>,
        to_python: impl FnMut(T) -> PyResult<Bound<'py, PyAny>>,
        end: impl FnOnce(()) -> PyErr,
    ) -> PyResult<()> {
        let py = taken.list.py();
        match batch {
            Batch::Items(items) => {
                let items = list(py, items, to_python)?;
                // A close by another thread, which needs the interpreter as this does, is before or after.
                let events = if taken.kind == EVENTS { items.len() } else { 0 };
                if let Some(closed) = self.feed.take_back_if_closed(events) {
                    return Err(raise(py, &closed));
                }
                taken.put(&items)
            }
            Batch::End => {
                self.give_back();
                Err(end(()))
            }
            Batch::Failed(failure) => {
                // Raw bytes go on to be read after somebody asked for events.
                if self.feed.end().is_some() {
                    self.give_back();
                }
                Err(raise_of(py, &self.feed, failure))
            }
        }
    }

    fn lane(&self) -> PyResult<Option<Arc<Lane>>> {
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(lease.as_ref().map(|lease| Arc::clone(lease.lane())))
    }

    /// The lane is free for the next call, whose connection waits there.
    fn give_back(&self) {
        drop(self.lease.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn seat(&self, py: Python<'_>, queue: &ReadyQueue) -> PyResult<Seat> {
        let lock = || self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seat) = lock().as_ref()
            && queue.is_of(&seat.waker)
        {
            return Ok(seat.clone());
        }
        let background = Engine::current().background().map_err(|failure| raise(py, &failure))?;
        // The one before may have gone with its loop, in the middle of a read.
        self.feed.forget_read();
        let (token, waker) = queue.waker();
        Ok(lock().insert(Seat { token, waker, background }).clone())
    }
}

#[pymethods]
impl Stream {
    #[getter]
    fn session_id(&self, py: Python<'_>) -> PyResult<&str> {
        Ok(&self.head(py)?.session_id)
    }

    #[getter]
    fn status(&self, py: Python<'_>) -> PyResult<u16> {
        Ok(self.head(py)?.status)
    }

    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let headers = self.head(py)?.headers.iter();
        header_dict(py, headers.map(|(name, value)| (&**name, &**value)))
    }

    #[getter]
    fn end(&self) -> Option<&'static str> {
        // For a forked child it never ends: it goes on in the parent.
        self.0.get().and_then(|inner| inner.feed.end()).map(|end| end.as_str())
    }

    #[getter]
    fn events_seen(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.inner(py)?.feed.events_seen())
    }

    /// Waits for events on this thread and puts them into what has been taken. At the end, and only
    /// then, it raises `StopIteration`.
    fn next_events(&self, taken: &Bound<'_, PyList>) -> PyResult<()> {
        let (py, taken) = (taken.py(), Taken { list: taken, kind: EVENTS });
        self.inner(py)?.next(&taken, |r, cx| r.poll_events(cx), |item| event(py, item))
    }

    /// The same for raw bytes.
    fn next_bytes(&self, taken: &Bound<'_, PyList>) -> PyResult<()> {
        let (py, taken) = (taken.py(), Taken { list: taken, kind: CHUNKS });
        self.inner(py)?.next(&taken, |r, cx| r.poll_bytes(cx), |item| Ok(bytes(py, item)))
    }

    /// Puts the events that have arrived into what has been taken. While none has, gives the token that
    /// the queue gives when it is worth asking again; who asks because of that, or has been away from
    /// its loop since it got the queue, must ask. At the end it raises `StopAsyncIteration`.
    fn take_events(
        &self,
        queue: &ReadyQueue,
        taken: &Bound<'_, PyList>,
        must_ask: bool,
    ) -> PyResult<Option<u64>> {
        if !must_ask && let Some(token) = self.waits(queue, |r, w| r.waits_for_events(w)) {
            return Ok(Some(token));
        }
        let (py, taken) = (taken.py(), Taken { list: taken, kind: EVENTS });
        self.inner(py)?.take(queue, &taken, |r, cx| r.poll_events(cx), |item| event(py, item))
    }

    /// The same for raw bytes.
    fn take_bytes(
        &self,
        queue: &ReadyQueue,
        taken: &Bound<'_, PyList>,
        must_ask: bool,
    ) -> PyResult<Option<u64>> {
        if !must_ask && let Some(token) = self.waits(queue, |r, w| r.waits_for_bytes(w)) {
            return Ok(Some(token));
        }
        let (py, taken) = (taken.py(), Taken { list: taken, kind: CHUNKS });
        self.inner(py)?.take(queue, &taken, |r, cx| r.poll_bytes(cx), |item| Ok(bytes(py, item)))
    }

    /// A read by an event loop was given up: nobody waits until the next one.
    fn rest(&self) {
        if let Some(inner) = self.0.get() {
            inner.feed.rest();
        }
    }

    /// Closes the connection at once and wakes whoever waits.
    fn close(&self) {
        // In a forked child there is nothing of its own to close.
        if let Some(inner) = self.0.get() {
            inner.feed.close();
            inner.give_back();
        }
    }
}

fn list<'py, T>(
    py: Python<'py>,
    items: Vec<T>,
    mut to_python: impl FnMut(T) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for item in items {
        list.append(to_python(item)?)?;
    }
    Ok(list)
}

fn event(py: Python<'_>, item: CoreEvent) -> PyResult<Bound<'_, PyAny>> {
    Ok(Bound::new(py, AgentEvent::new(item))?.into_any())
}

fn bytes(py: Python<'_>, item: Bytes) -> Bound<'_, PyAny> {
    PyBytes::new(py, &item).into_any()
}
