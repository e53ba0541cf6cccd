//! The run-time behind event loops: one thread that waits for timers, name
//! look-ups and connections to be, and for sockets where a loop can't do that
//! itself. It wakes and never decodes; it never enters the foreign language.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;

use tokio::runtime::{Builder, Handle};

use crate::failure::Failure;
use crate::ready::TokenWaker;

/// A run-time on a thread of its own.
#[derive(Debug)]
pub struct Background(Handle);

impl Background {
    pub(crate) fn start() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::System(format!("no background run-time could be made: {error}"))
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name("agentcore-client".into())
            // It ends with the process.
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .map_err(failed)?;
        Ok(Self(handle))
    }

    /// Gives something a turn on this thread: `poll` waits in this run-time and behind the
    /// descriptor of the waker's queue. The waker puts its token there once, as soon as the next
    /// turn is worth it.
    pub fn turn<T>(&self, waker: &Arc<TokenWaker>, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let _runtime = self.0.enter();
        #[cfg(unix)]
        let _reactor = waker.queue().enter();
        waker.arm();
        poll(&mut Context::from_waker(&Waker::from(Arc::clone(waker))))
    }
}
