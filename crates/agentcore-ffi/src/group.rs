//! A client and its siblings, as far as closing them is concerned.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::feed::Feed;

/// What is closed together.
#[derive(Debug, Default)]
pub struct Group {
    closed: AtomicBool,
    feeds: Mutex<Vec<Weak<Feed>>>,
}

impl Group {
    /// Whether it has been closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes this stream with the group, or now if that has been closed.
    pub fn add(&self, feed: &Arc<Feed>) {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        if feeds.len() == feeds.capacity() {
            feeds.retain(|feed| feed.strong_count() > 0);
        }
        feeds.push(Arc::downgrade(feed));
        drop(feeds);
        if self.is_closed() {
            feed.close();
        }
    }

    /// Closes all streams, at once.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let feeds = std::mem::take(&mut *self.feeds.lock().unwrap_or_else(PoisonError::into_inner));
        feeds.iter().filter_map(Weak::upgrade).for_each(|feed| feed.close());
    }
}
