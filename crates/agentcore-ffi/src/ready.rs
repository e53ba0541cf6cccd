//! How an event loop learns that something can be polled again: a queue of
//! tokens, and one signal for each time it stops being empty.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

/// Wakes an event loop. Called from any thread; must not block.
pub trait Signal: Send + Sync {
    /// Makes the loop call [`ReadyQueue::drain`] soon.
    fn raise(&self);
}

/// Tokens of what can be polled again.
pub struct ReadyQueue {
    tokens: Mutex<Vec<u64>>,
    signal: Box<dyn Signal>,
}

impl ReadyQueue {
    /// An empty queue.
    pub fn new(signal: Box<dyn Signal>) -> Arc<Self> {
        Arc::new(Self { tokens: Mutex::default(), signal })
    }

    fn push(&self, token: u64) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = tokens.is_empty();
        tokens.push(token);
        drop(tokens);
        if was_empty {
            self.signal.raise();
        }
    }

    /// All that has become ready since the last time.
    pub fn drain(&self) -> Vec<u64> {
        std::mem::take(&mut *self.tokens.lock().unwrap_or_else(PoisonError::into_inner))
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
    /// A waker for this token. Arm it before each poll.
    pub fn new(queue: Arc<ReadyQueue>, token: u64) -> Arc<Self> {
        Arc::new(Self { queue, token, queued: AtomicBool::new(false) })
    }

    /// The next wake counts.
    pub fn arm(&self) {
        self.queued.store(false, Ordering::Release);
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
    use std::task::Waker;

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
