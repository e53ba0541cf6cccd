//! How an event loop learns that something can be polled again: a queue of
//! tokens, and one signal for each time it stops being empty.
//!
//! On Unix the loop watches [`ReadyQueue::fd`] for reading, level-triggered, and
//! calls [`ReadyQueue::drain`] whenever it is readable. Behind that descriptor
//! stand the sockets themselves, so no other thread wakes for them; whatever is
//! polled through [`Background::turn`](crate::Background::turn) waits there.
//! Elsewhere the queue brings a [`Signal`] and sockets wait in the background.

use std::fmt;
#[cfg(unix)]
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

#[cfg(unix)]
use agentcore_client::internals::readiness::{Entered, enter};

use crate::engine::Engine;
#[cfg(unix)]
use crate::poller::Poller;

/// Wakes an event loop. Called from any thread; must not block.
pub trait Signal: Send + Sync {
    /// Makes the loop call [`ReadyQueue::drain`] soon.
    fn raise(&self);
}

/// Tokens of what can be polled again.
pub struct ReadyQueue {
    state: Mutex<State>,
    signal: Box<dyn Signal>,
    #[cfg(unix)]
    poller: Option<Arc<Poller>>,
    process: u32,
}

#[derive(Default)]
struct State {
    tokens: Vec<u64>,
    /// Who drains takes all that comes meanwhile: no signal is needed.
    draining: bool,
}

impl ReadyQueue {
    /// An empty queue that tells by this signal; sockets wait in the background.
    pub fn new(signal: Box<dyn Signal>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            signal,
            #[cfg(unix)]
            poller: None,
            process: std::process::id(),
        })
    }

    /// An empty queue with a descriptor, behind which its sockets wait.
    ///
    /// # Errors
    /// If the system has no descriptors left for it.
    #[cfg(unix)]
    pub fn with_poller() -> std::io::Result<Arc<Self>> {
        let poller = Arc::new(Poller::new()?);
        Ok(Arc::new(Self {
            state: Mutex::default(),
            signal: Box::new(Arc::clone(&poller)),
            poller: Some(poller),
            process: std::process::id(),
        }))
    }

    /// Whether the process whose engine this is made it. A forked child has its parent's, and what it
    /// takes from that it takes from the parent.
    pub fn belongs_to(&self, engine: &Engine) -> bool {
        self.process == engine.process()
    }

    /// What the event loop watches for reading; `None` if the queue has a signal instead. It is
    /// closed with the queue.
    #[cfg(unix)]
    pub fn fd(&self) -> Option<RawFd> {
        self.poller.as_ref().map(|poller| poller.fd())
    }

    /// What is polled on this thread while the guard lives, waits behind the descriptor.
    #[cfg(unix)]
    pub(crate) fn enter(&self) -> Option<Entered> {
        let poller = self.poller.as_ref()?;
        Some(enter(Arc::clone(poller) as _))
    }

    #[cfg(all(unix, test))]
    pub(crate) fn poller(&self) -> Option<&Poller> {
        self.poller.as_deref()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, token: u64) {
        let mut state = self.lock();
        let is_told = state.draining || !state.tokens.is_empty();
        state.tokens.push(token);
        drop(state);
        if !is_told {
            self.signal.raise();
        }
    }

    /// Makes the loop drain it again, whether there is anything or not.
    pub fn ring(&self) {
        self.signal.raise();
    }

    /// All that has become ready since the last time, silencing the descriptor. Never waits.
    pub fn drain(&self) -> Vec<u64> {
        #[cfg(unix)]
        if let Some(poller) = &self.poller {
            self.lock().draining = true;
            poller.turn();
        }
        let mut state = self.lock();
        state.draining = false;
        std::mem::take(&mut state.tokens)
    }
}

/// A forked child leaks its parent's poller: kqueue's descriptors are not inherited, and closing
/// their numbers could hit others.
#[cfg(unix)]
impl Drop for ReadyQueue {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget(self.poller.take());
        }
    }
}

impl fmt::Debug for ReadyQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyQueue").finish_non_exhaustive()
    }
}

/// Puts a token into a queue, once for each time it is armed.
#[derive(Debug)]
pub struct TokenWaker {
    queue: Arc<ReadyQueue>,
    token: u64,
    queued: AtomicBool,
}

impl TokenWaker {
    /// A waker for this token.
    pub fn new(queue: Arc<ReadyQueue>, token: u64) -> Arc<Self> {
        Arc::new(Self { queue, token, queued: AtomicBool::new(false) })
    }

    /// Whether this is a waker of it.
    pub(crate) fn is_behind(self: &Arc<Self>, waker: &Waker) -> bool {
        // Not by `will_wake`: a clone may have another table than what it was cloned from.
        waker.data() == Waker::from(Arc::clone(self)).data()
    }

    /// The next wake counts. [`Background::turn`](crate::Background::turn) does this.
    pub fn arm(&self) {
        self.queued.store(false, Ordering::Release);
    }

    /// Whether it has not been woken since.
    pub(crate) fn is_armed(&self) -> bool {
        !self.queued.load(Ordering::Acquire)
    }

    #[cfg(unix)]
    pub(crate) fn queue(&self) -> &ReadyQueue {
        &self.queue
    }

    /// Whether it wakes this queue.
    pub fn is_for(&self, queue: &Arc<ReadyQueue>) -> bool {
        Arc::ptr_eq(&self.queue, queue)
    }
}

impl Wake for TokenWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.queue.push(self.token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    struct Count(Arc<AtomicUsize>);

    impl Signal for Count {
        fn raise(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn many_wakes_are_one_signal() {
        let raised = Arc::new(AtomicUsize::new(0));
        let queue = ReadyQueue::new(Box::new(Count(Arc::clone(&raised))));
        let wakers =
            [TokenWaker::new(Arc::clone(&queue), 1), TokenWaker::new(Arc::clone(&queue), 2)];
        for waker in &wakers {
            let waker = Waker::from(Arc::clone(waker));
            waker.wake_by_ref();
            waker.wake();
        }
        assert_eq!(raised.load(Ordering::SeqCst), 1);
        assert_eq!(queue.drain(), [1, 2]);
        Waker::from(Arc::clone(&wakers[0])).wake();
        assert!(queue.drain().is_empty());
        wakers[0].arm();
        Waker::from(Arc::clone(&wakers[0])).wake();
        assert_eq!(queue.drain(), [1]);
        assert_eq!(raised.load(Ordering::SeqCst), 2);
    }
}
