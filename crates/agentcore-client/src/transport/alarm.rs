//! A timer for many waits in a row. Setting one takes a lock and a place in the
//! runtime's wheel, and most are never needed: so it is left where it is as long
//! as it fires early enough, and moved on when it has fired too early.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::Sleep;

/// A timer that can be asked for another point in time at every poll.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `due` has come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
        loop {
            if sleep.deadline() > due.into() {
                sleep.as_mut().reset(due.into());
            }
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            // It was set for an earlier wait.
            sleep.as_mut().reset(due.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Waker;
    use std::time::Duration;

    #[tokio::test]
    async fn each_wait_has_its_own_end_whatever_the_timer_was_set_for_before() {
        let mut alarm = Alarm::default();
        let mut quiet = Context::from_waker(Waker::noop());
        let far = Instant::now() + Duration::from_secs(3600);
        assert!(alarm.poll(&mut quiet, far).is_pending());
        let near = Instant::now() + Duration::from_millis(5);
        poll_fn(|cx| alarm.poll(cx, near)).await;
        assert!(Instant::now() >= near);
        // It stands at a point that has passed.
        assert!(alarm.poll(&mut quiet, far).is_pending());
        let later = Instant::now() + Duration::from_millis(5);
        poll_fn(|cx| alarm.poll(cx, later)).await;
        assert!(Instant::now() >= later);
    }
}
