//! Run-times for threads that wait for their own calls. The thread that waits
//! drives the socket itself: no hand-over per token, nothing that a frozen Lambda hurts.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, Sleep, sleep};

use crate::failure::Failure;

/// Each costs four descriptors. Beyond so many calls at once, lanes are shared, which costs
/// wake-ups across threads instead.
const MAX_LANES: usize = 64;

/// A thread that has looked up a name goes soon.
const LOOK_UP_THREAD: Duration = Duration::from_secs(1);

/// A run-time that is driven by whoever waits on it.
#[derive(Debug)]
pub struct Lane {
    runtime: Runtime,
    users: AtomicUsize,
    process: u32,
    /// The end of a slice. It stands across calls: setting a timer for each would cost more.
    tick: Mutex<Option<Pin<Box<Sleep>>>>,
}

#[derive(Debug, Default)]
pub(crate) struct Lanes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    all: Vec<Arc<Lane>>,
    /// Nobody's. The one given back last goes out first: the connections that were used on it are
    /// the freshest, and a connection can only be used again on its own lane.
    idle: Vec<Arc<Lane>>,
}

impl Lane {
    fn new() -> std::io::Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_all().thread_keep_alive(LOOK_UP_THREAD).build()?;
        Ok(Self {
            runtime,
            users: AtomicUsize::new(0),
            process: std::process::id(),
            tick: Mutex::default(),
        })
    }

    /// The process that made it, and that alone may drive it.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Waits until `poll` is ready, but no longer than `slice`, perhaps for a part of one; what is
    /// polled survives a slice that has passed.
    pub fn drive<T>(
        &self,
        slice: Option<Duration>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Option<T> {
        let Some(slice) = slice else {
            return self.runtime.block_on(poll_fn(|cx| poll(cx).map(Some)));
        };
        let mut tick = self.lock_tick().take().filter(|tick| tick.deadline() > Instant::now());
        let waited = self.runtime.block_on(poll_fn(|cx| {
            if let Poll::Ready(value) = poll(cx) {
                return Poll::Ready(Some(value));
            }
            let tick = tick.get_or_insert_with(|| Box::pin(sleep(slice)));
            tick.as_mut().poll(cx).map(|()| None)
        }));
        *self.lock_tick() = tick;
        waited
    }

    fn lock_tick(&self) -> MutexGuard<'_, Option<Pin<Box<Sleep>>>> {
        self.tick.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    pub(crate) fn lease(&'static self) -> Result<Lease, Failure> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = match state.idle.pop() {
            Some(lane) => lane,
            None if state.all.len() < MAX_LANES => match (Lane::new(), state.least_used()) {
                (Ok(lane), _) => {
                    let lane = Arc::new(lane);
                    state.all.push(Arc::clone(&lane));
                    lane
                }
                // Out of descriptors: sharing beats failing.
                (Err(_), Some(lane)) => lane,
                (Err(error), None) => {
                    return Err(Failure::System(format!("no run-time could be made: {error}")));
                }
            },
            None => state.least_used().ok_or_else(|| Failure::System("no lane".into()))?,
        };
        lane.users.fetch_add(1, Ordering::Relaxed);
        drop(state);
        Ok(Lease { lane, lanes: self })
    }

    fn give_back(&self, lane: &Arc<Lane>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lane.users.fetch_sub(1, Ordering::Relaxed) == 1 {
            state.idle.push(Arc::clone(lane));
        }
    }
}

impl State {
    fn least_used(&self) -> Option<Arc<Lane>> {
        self.all.iter().min_by_key(|lane| lane.users.load(Ordering::Relaxed)).cloned()
    }
}

/// The use of a lane for as long as a call or a stream lasts.
#[derive(Debug)]
pub struct Lease {
    lane: Arc<Lane>,
    lanes: &'static Lanes,
}

impl Lease {
    /// The lane.
    pub fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.lanes.give_back(&self.lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_used_again_and_shared_past_their_number() {
        let lanes: &'static Lanes = Box::leak(Box::default());
        let first = lanes.lease().unwrap();
        let lane = Arc::clone(first.lane());
        let other = lanes.lease().unwrap();
        assert!(!Arc::ptr_eq(other.lane(), &lane));
        drop(other);
        drop(first);
        let again = lanes.lease().unwrap();
        assert!(Arc::ptr_eq(again.lane(), &lane));
        let many: Vec<_> = (0..MAX_LANES + 5).map(|_| lanes.lease().unwrap()).collect();
        assert_eq!(lanes.0.lock().unwrap().all.len(), MAX_LANES);
        drop(many);
        drop(again);
        let state = lanes.0.lock().unwrap();
        assert_eq!(state.idle.len(), MAX_LANES);
        assert!(state.all.iter().all(|lane| lane.users.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn what_is_polled_survives_a_slice() {
        let lanes: &'static Lanes = Box::leak(Box::default());
        let lease = lanes.lease().unwrap();
        let slice = Some(Duration::from_millis(1));
        let mut polls = 0;
        let waited = lease.lane().drive(slice, |_| {
            polls += 1;
            Poll::<()>::Pending
        });
        assert_eq!((waited, polls > 0), (None, true));
        // Each slice ends, also one that begins where another one has left off.
        for _ in 0..3 {
            assert_eq!(lease.lane().drive(slice, |_| Poll::<()>::Pending), None);
        }
        assert_eq!(lease.lane().drive(slice, |_| Poll::Ready(7)), Some(7));
    }
}
