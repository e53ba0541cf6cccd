//! A waker that stays quiet while its own task is at work. A connection that is
//! polled by its reader wakes that reader for every chunk it hands over; without
//! the gate each token would cost a needless turn of the scheduler.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

const WAITING: u8 = 0;
const BUSY: u8 = 1;
const BUSY_AND_WOKEN: u8 = 2;

/// How often a poll that was woken from within is repeated before the scheduler has its turn.
const TURNS: usize = 4;

struct Gate {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        Self::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // A gate that is busy only takes a note; its owner looks at it before it goes to sleep.
        if self.state.compare_exchange(BUSY, BUSY_AND_WOKEN, Ordering::AcqRel, Ordering::Acquire)
            == Err(WAITING)
        {
            self.task.wake();
        }
    }
}

/// Polls one thing through a gate.
pub(super) struct GatedPoll {
    gate: Arc<Gate>,
    waker: Waker,
}

impl GatedPoll {
    pub(super) fn new() -> Self {
        let gate = Arc::new(Gate { state: AtomicU8::new(WAITING), task: AtomicWaker::new() });
        Self { waker: Waker::from(Arc::clone(&gate)), gate }
    }

    /// The waker that passes the gate.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Lets go of the task that polled last.
    pub(super) fn forget_task(&self) {
        drop(self.gate.task.take());
    }

    /// Calls `poll` until it is ready, or until it is pending and nothing woke it meanwhile.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.gate.task.register(cx.waker());
        for _ in 0..TURNS {
            self.gate.state.store(BUSY, Ordering::Release);
            if let Poll::Ready(value) = poll(&mut Context::from_waker(&self.waker)) {
                // Whoever asks next polls again, so a note taken meanwhile has done its work.
                self.gate.state.store(WAITING, Ordering::Release);
                return Poll::Ready(value);
            }
            if self
                .gate
                .state
                .compare_exchange(BUSY, WAITING, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                return Poll::Pending;
            }
        }
        // Somebody insists on a turn of the scheduler, as tokio does when a task's budget is spent.
        self.gate.state.store(WAITING, Ordering::Release);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counter() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        (Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn a_wake_from_within_polls_again_and_does_not_reach_the_task() {
        let (count, waker) = counter();
        let mut gated = GatedPoll::new();
        let mut turns = 0;
        let polled = gated.poll(&mut Context::from_waker(&waker), |cx| {
            turns += 1;
            if turns < 3 {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!(turns, 3);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn who_never_stops_waking_gets_a_turn_of_the_scheduler() {
        let (count, waker) = counter();
        let mut gated = GatedPoll::new();
        let polled = gated.poll(&mut Context::from_waker(&waker), |cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_wake_from_outside_reaches_the_task() {
        let (count, waker) = counter();
        let mut gated = GatedPoll::new();
        let mut inner = None;
        let polled = gated.poll(&mut Context::from_waker(&waker), |cx| {
            inner = Some(cx.waker().clone());
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        inner.unwrap().wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }
}
