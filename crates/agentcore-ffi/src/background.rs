//! The run-time behind event loops: one thread that waits for sockets and
//! timers. It wakes and never decodes; it never enters the foreign language.

use std::thread;

use tokio::runtime::{Builder, EnterGuard, Handle};

use crate::failure::Failure;

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

    /// What is polled while the guard lives, is polled on this run-time.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.0.enter()
    }
}
