//! What a call holds of its client while it is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agentcore_client::Client as CoreClient;
use agentcore_ffi::{Feed, Group};

/// A client and what closes with it, for the time of one call.
pub(crate) struct Borrowed {
    pub(crate) client: CoreClient,
    pub(crate) group: Arc<Group>,
    pub(crate) closed: Arc<AtomicBool>,
    /// How long a provider may take.
    pub(crate) auth: Duration,
}

impl Borrowed {
    /// A stream that is closed with the client.
    pub(crate) fn adopt(&self, feed: Feed) -> Arc<Feed> {
        let feed = Arc::new(feed);
        self.group.add(&feed);
        feed
    }

    /// A call that ends after its client was closed must not leave its connection in the pool.
    pub(crate) fn hang_up_if_closed(&self) {
        if self.closed.load(Ordering::Acquire) {
            self.client.close_idle_connections();
        }
    }
}
