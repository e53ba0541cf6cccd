//! The parts of one task, each with a waker of its own: an agent's stream and
//! the posts that carry it wake the task by turns, and the part that was not
//! woken is not polled, which costs as much as if it had something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

struct Bell {
    rung: AtomicBool,
    task: Arc<AtomicWaker>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        Self::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

/// One part, with what is polled as it: one thing after the other, each until it is ready.
pub(super) struct Part {
    bell: Arc<Bell>,
    waker: Waker,
}

impl Part {
    /// A part of the task that is registered there before each turn.
    pub(super) fn of(task: &Arc<AtomicWaker>) -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: Arc::clone(task) });
        Self { waker: Waker::from(Arc::clone(&bell)), bell }
    }

    /// Polls it if it was woken since it was pending.
    pub(super) fn poll<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let rung = &self.bell.rung;
        if !rung.load(Ordering::Relaxed) || !rung.swap(false, Ordering::Acquire) {
            return Poll::Pending;
        }
        let polled = poll(&mut Context::from_waker(&self.waker));
        if polled.is_ready() {
            // Nobody promised to wake it.
            rung.store(true, Ordering::Relaxed);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::atomic::AtomicUsize;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn only_the_part_that_was_woken_is_polled() {
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let task = Arc::new(AtomicWaker::new());
        task.register(&Waker::from(Arc::clone(&woken)));
        let (one, other) = (Part::of(&task), Part::of(&task));
        let (polls, waker) = (Cell::new(0), Cell::new(None));
        let pending = |cx: &mut Context<'_>| {
            polls.set(polls.get() + 1);
            waker.set(Some(cx.waker().clone()));
            Poll::<()>::Pending
        };
        assert!(other.poll(pending).is_pending());
        assert!(one.poll(pending).is_pending());
        assert!(one.poll(pending).is_pending());
        assert_eq!(polls.get(), 2);
        waker.take().unwrap().wake();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(other.poll(pending).is_pending());
        assert_eq!(polls.get(), 2);
        assert!(one.poll(pending).is_pending());
        assert_eq!(polls.get(), 3);
    }

    #[test]
    fn what_was_ready_is_polled_again_and_so_is_what_was_woken_meanwhile() {
        let part = Part::of(&Arc::default());
        assert!(part.poll(|_| Poll::Ready(())).is_ready());
        let woken_within = part.poll(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert!(woken_within.is_pending());
        assert!(part.poll(|_| Poll::Ready(())).is_ready());
    }
}
