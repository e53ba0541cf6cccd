//! Where sockets are waited for. An event loop of another language brings a
//! reactor of its own, so that its thread alone is woken: under tokio the thread
//! of a run-time would be woken first, only to wake the loop's. A reactor counts
//! while it is entered; without one, sockets are tokio's.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Tells of descriptors that can be read from or written to.
pub trait Reactor: Send + Sync {
    /// Watches a descriptor for reading and writing, edge-triggered; what it can do already counts
    /// as an edge. Gives a key to forget it by.
    ///
    /// # Errors
    /// If the system refuses.
    fn watch(&self, fd: BorrowedFd<'_>, readiness: Arc<Readiness>) -> io::Result<usize>;

    /// Ends that. Called before the descriptor is closed: a forked child may hold a copy of it.
    fn forget(&self, fd: BorrowedFd<'_>, key: usize);
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<dyn Reactor>>> = const { RefCell::new(None) };
}

/// What is polled on this thread while the guard lives, waits in this reactor.
pub fn enter(reactor: Arc<dyn Reactor>) -> Entered {
    Entered(CURRENT.replace(Some(reactor)))
}

/// Looks at the reactor that is entered here.
pub(super) fn with_current<T>(look: impl FnOnce(Option<&Arc<dyn Reactor>>) -> T) -> T {
    CURRENT.with_borrow(|current| look(current.as_ref()))
}

/// A reactor that is entered.
pub struct Entered(Option<Arc<dyn Reactor>>);

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered").finish_non_exhaustive()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// What a reactor has seen of a descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// It can be read from.
    pub readable: bool,
    /// It can be written to.
    pub writable: bool,
    /// An end or an error: nothing else need be seen after it.
    pub ended: bool,
}

/// A way of using a descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Read,
    Write,
}

/// What is known of a descriptor, and who waits for more. Tries are cheap to judge by it: after one
/// that took all there was, the next is not made before the reactor has seen something.
#[derive(Debug)]
pub struct Readiness(Mutex<Known>);

#[derive(Debug)]
struct Known {
    /// By [`Side`].
    sides: [OneSide; 2],
    ended: bool,
    /// Counts what was seen: what came after a try began is not undone by that try.
    seen: u32,
}

#[derive(Debug)]
struct OneSide {
    ready: bool,
    waiting: Option<Waker>,
}

impl Readiness {
    /// Nothing has been tried yet.
    pub(super) fn new() -> Arc<Self> {
        let untried = || OneSide { ready: true, waiting: None };
        Arc::new(Self(Mutex::new(Known { sides: [untried(), untried()], ended: false, seen: 0 })))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note, and wakes whoever waits for it.
    pub fn note(&self, seen: Seen) {
        let mut known = self.lock();
        known.seen = known.seen.wrapping_add(1);
        known.ended |= seen.ended;
        let ended = known.ended;
        let mut tell = |side: Side, now: bool| {
            let side = &mut known.sides[side as usize];
            side.ready |= now || ended;
            if side.ready { side.waiting.take() } else { None }
        };
        let wakers = [tell(Side::Read, seen.readable), tell(Side::Write, seen.writable)];
        drop(known);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Whether it is worth a try, and a mark to judge that try by; if not, `waker` waits.
    pub(super) fn is_ready(&self, side: Side, waker: &Waker) -> Option<u32> {
        let mut known = self.lock();
        let seen = known.seen;
        let side = &mut known.sides[side as usize];
        if side.ready {
            return Some(seen);
        }
        match &mut side.waiting {
            Some(waiting) => waiting.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        None
    }

    /// A try found nothing.
    pub(super) fn found_nothing(&self, side: Side, mark: u32) {
        let mut known = self.lock();
        if known.seen == mark {
            known.sides[side as usize].ready = false;
        }
    }

    /// A try took less than it could have: there is no more, but perhaps an end.
    pub(super) fn took_all(&self, side: Side, mark: u32) {
        let mut known = self.lock();
        if known.seen == mark && !known.ended {
            known.sides[side as usize].ready = false;
        }
    }
}
