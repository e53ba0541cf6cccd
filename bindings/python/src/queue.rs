//! How an event loop is woken: a descriptor that it watches, and the tokens of
//! what can be polled again. No foreign thread ever enters the interpreter.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentcore_ffi::{Engine, ReadyQueue as Queue, TokenWaker};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::handover::Waking;

/// Tokens of what an event loop can poll again.
#[pyclass(frozen, module = "agentcore_client._native")]
pub(crate) struct ReadyQueue {
    queue: Arc<Queue>,
    /// A call has begun since tokens were taken.
    begun: AtomicBool,
    /// Tasks that were told and go on now, or when their loop comes again.
    going: Mutex<VecDeque<Waking>>,
    #[cfg(windows)]
    watched: pair::Watched,
}

#[pymethods]
impl ReadyQueue {
    #[new]
    fn new() -> PyResult<Self> {
        #[cfg(unix)]
        return Ok(Self::of(Queue::with_poller()?));
        #[cfg(windows)]
        {
            let (watched, bell) = pair::pair()?;
            Ok(Self::of(Queue::new(Box::new(bell)), watched))
        }
    }

    /// What the event loop must watch: a descriptor, on Windows a socket's handle.
    #[cfg(unix)]
    fn fileno(&self) -> Option<i32> {
        self.queue.fd()
    }

    /// What the event loop must watch: a descriptor, on Windows a socket's handle.
    #[cfg(windows)]
    fn fileno(&self) -> u64 {
        self.watched.number()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Whoever holds it is under way: nothing of it is garbage.
        let Ok(going) = self.going.try_lock() else { return Ok(()) };
        going.iter().try_for_each(|waking| waking.traverse(&visit))
    }

    fn __clear__(&self) {
        // Not dropped while it is locked: a task that is thrown away cleans up.
        let going = mem::take(&mut *self.lock());
        drop(going);
    }
}

impl ReadyQueue {
    fn of(queue: Arc<Queue>, #[cfg(windows)] watched: pair::Watched) -> Self {
        Self {
            queue,
            begun: AtomicBool::new(false),
            going: Mutex::default(),
            #[cfg(windows)]
            watched,
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waking>> {
        self.going.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many tasks were told and have not gone on.
    pub(crate) fn going(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn will_go_on(&self, waking: Waking) {
        self.lock().push_back(waking);
    }

    /// The lock is free again when the task runs, which may come back here.
    pub(crate) fn next_to_go_on(&self) -> Option<Waking> {
        self.lock().pop_front()
    }

    /// Has the event loop come again.
    pub(crate) fn ring(&self) {
        self.queue.ring();
    }

    pub(crate) fn belongs_to(&self, engine: &Engine) -> bool {
        self.queue.belongs_to(engine)
    }

    /// Silences the descriptor and gives all tokens that have become ready.
    pub(crate) fn take(&self) -> Vec<u64> {
        #[cfg(windows)]
        self.watched.silence();
        self.begun.store(false, Ordering::Relaxed);
        self.queue.drain()
    }

    /// Whether no other call has begun since tokens were taken, which a loop's every turn does that
    /// has something to hand over.
    pub(crate) fn is_first_since_taken(&self) -> bool {
        !self.begun.swap(true, Ordering::Relaxed)
    }

    /// A waker of a new token.
    pub(crate) fn waker(&self) -> (u64, Arc<TokenWaker>) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let token = NEXT.fetch_add(1, Ordering::Relaxed);
        (token, TokenWaker::new(Arc::clone(&self.queue), token))
    }

    pub(crate) fn is_of(&self, waker: &TokenWaker) -> bool {
        waker.is_for(&self.queue)
    }
}

/// A connection to ourselves, and to nobody else.
#[cfg(windows)]
mod pair {
    use std::io::{self, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::windows::io::AsRawSocket as _;

    use agentcore_ffi::Signal;

    pub(super) struct Watched(TcpStream);
    pub(super) struct Bell(TcpStream);

    pub(super) fn pair() -> io::Result<(Watched, Bell)> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let bell = TcpStream::connect(listener.local_addr()?)?;
        bell.set_nodelay(true)?;
        loop {
            let (watched, from) = listener.accept()?;
            if from == bell.local_addr()? {
                watched.set_nonblocking(true)?;
                bell.set_nonblocking(true)?;
                return Ok((Watched(watched), Bell(bell)));
            }
        }
    }

    impl Watched {
        pub(super) fn number(&self) -> u64 {
            self.0.as_raw_socket()
        }

        pub(super) fn silence(&self) {
            // Nothing to read is fine: the tokens count, not the bell.
            let _ = (&self.0).read(&mut [0; 64]);
        }
    }

    impl Signal for Bell {
        fn raise(&self) {
            // A full pair refuses, and that one is rung already.
            let _ = (&self.0).write(&[1]);
        }
    }
}
