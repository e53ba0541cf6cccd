//! What drives calls in this process, and what a forked child must leave alone.
//!
//! A child shares its parent's sockets and its epoll instances: dropping one of
//! them there would unregister it in the parent, whose next read then hangs. So
//! a child leaks all that it inherited and begins anew.

use std::sync::OnceLock;

use crate::background::Background;
use crate::failure::Failure;
use crate::lanes::{Lanes, Lease};

/// A value that is only touched, and only dropped, by the process that made it.
#[derive(Debug)]
pub struct Owned<T> {
    process: u32,
    value: Option<T>,
}

impl<T> Owned<T> {
    /// A value of the process whose engine this is.
    pub fn new(engine: &Engine, value: T) -> Self {
        Self { process: engine.process, value: Some(value) }
    }

    /// The value; `None` in a process that was forked off since.
    pub fn get(&self) -> Option<&T> {
        self.get_in(Engine::current())
    }

    /// The same for who knows the process's engine: asking for the process is a system call.
    pub fn get_in(&self, engine: &Engine) -> Option<&T> {
        self.value.as_ref().filter(|_| self.process == engine.process)
    }

    /// The value, also in a process that was forked off since: only for what never changes.
    pub fn peek(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// The value, to be changed; `None` in a process that was forked off since.
    pub fn get_mut_in(&mut self, engine: &Engine) -> Option<&mut T> {
        self.value.as_mut().filter(|_| self.process == engine.process)
    }

    /// Lets go of the value, which a process that was forked off since leaks.
    pub fn drop_in(mut self, engine: &Engine) {
        let value = self.value.take();
        if self.process != engine.process {
            std::mem::forget(value);
        }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.value.is_some() && self.process != std::process::id() {
            std::mem::forget(self.value.take());
        }
    }
}

/// The run-times of this process: one for each thread that waits, one in the background for event
/// loops. None of them is ever dropped; what a process leaves behind, its end cleans up.
#[derive(Debug)]
pub struct Engine {
    process: u32,
    lanes: Lanes,
    background: OnceLock<Background>,
    /// That of the child which was forked off here, if this is that child.
    next: OnceLock<Box<Self>>,
}

static FIRST: OnceLock<Engine> = OnceLock::new();

impl Engine {
    fn new(process: u32) -> Self {
        Self {
            process,
            lanes: Lanes::default(),
            background: OnceLock::new(),
            next: OnceLock::new(),
        }
    }

    /// The process whose engine it is.
    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// The engine of this process.
    pub fn current() -> &'static Self {
        let process = std::process::id();
        let mut engine = FIRST.get_or_init(|| Self::new(process));
        while engine.process != process {
            engine = engine.next.get_or_init(|| Box::new(Self::new(process)));
        }
        engine
    }

    /// A run-time for a thread that waits for a call of its own.
    ///
    /// # Errors
    /// If the system has no descriptors left for one.
    pub fn lease(&'static self) -> Result<Lease, Failure> {
        self.lanes.lease()
    }

    /// The run-time for event loops, started at the first use.
    ///
    /// # Errors
    /// If the system has no thread or descriptors left for it.
    pub fn background(&'static self) -> Result<&'static Background, Failure> {
        if let Some(background) = self.background.get() {
            return Ok(background);
        }
        let started = Background::start()?;
        Ok(self.background.get_or_init(|| started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_process_is_neither_shown_nor_dropped() {
        struct Loud<'a>(&'a std::cell::Cell<bool>);
        impl Drop for Loud<'_> {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let dropped = std::cell::Cell::new(false);
        let engine = Engine::current();
        let foreign = || {
            let mut owned = Owned::new(engine, Loud(&dropped));
            assert!(owned.get().is_some());
            owned.process = owned.process.wrapping_add(1);
            assert!(owned.get().is_none() && owned.get_mut_in(engine).is_none());
            owned
        };
        drop(foreign());
        foreign().drop_in(engine);
        assert!(!dropped.get());
        drop(Owned::new(engine, Loud(&dropped)));
        assert!(dropped.replace(false));
        Owned::new(engine, Loud(&dropped)).drop_in(engine);
        assert!(dropped.get());
    }

    #[test]
    fn there_is_one_engine_in_a_process() {
        assert!(std::ptr::eq(Engine::current(), Engine::current()));
    }
}
