//! A reactor that an event loop of another language polls on its own thread:
//! the loop watches the poller's descriptor, which can be read from whenever one
//! of the sockets behind it has something to say (epoll and kqueue nest).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentcore_client::internals::readiness::{Reactor, Readiness, Seen};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::ready::Signal;

/// Events taken at a time; what is left keeps the descriptor readable.
const MOST_AT_ONCE: usize = 256;

/// Its own token.
const BELL: Token = Token(0);

/// A reactor.
pub(crate) struct Poller {
    fd: RawFd,
    bell: Waker,
    poll: Mutex<Poll>,
    watched: Mutex<Watched>,
    events: Mutex<Events>,
}

#[derive(Default)]
struct Watched {
    by_key: HashMap<usize, Arc<Readiness>>,
    /// Keys are not used again: an event may be under way for one that is forgotten.
    last_key: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        Ok(Self {
            fd: poll.as_raw_fd(),
            bell: Waker::new(poll.registry(), BELL)?,
            poll: Mutex::new(poll),
            watched: Mutex::default(),
            events: Mutex::new(Events::with_capacity(MOST_AT_ONCE)),
        })
    }

    /// What the event loop watches.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd
    }

    /// Wakes whoever waits for what has come. Does not wait itself.
    pub(crate) fn turn(&self) {
        let mut events = lock(&self.events);
        // What fails keeps the descriptor readable, so that the loop comes again.
        if lock(&self.poll).poll(&mut events, Some(Duration::ZERO)).is_err() {
            return;
        }
        for event in events.iter() {
            let key = event.token().0;
            let readiness = lock(&self.watched).by_key.get(&key).cloned();
            if let Some(readiness) = readiness {
                let error = event.is_error();
                readiness.note(Seen {
                    readable: event.is_readable() || error,
                    writable: event.is_writable() || error,
                    ended: event.is_read_closed() || event.is_write_closed() || error,
                });
            }
        }
    }
}

impl Reactor for Poller {
    fn watch(&self, fd: BorrowedFd<'_>, readiness: Arc<Readiness>) -> io::Result<usize> {
        let key = {
            let mut watched = lock(&self.watched);
            watched.last_key += 1;
            let key = watched.last_key;
            watched.by_key.insert(key, readiness);
            key
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let watching = lock(&self.poll).registry().register(
            &mut SourceFd(&fd.as_raw_fd()),
            Token(key),
            interest,
        );
        if let Err(error) = watching {
            lock(&self.watched).by_key.remove(&key);
            return Err(error);
        }
        Ok(key)
    }

    fn forget(&self, fd: BorrowedFd<'_>, key: usize) {
        // It refuses what it does not know, which is forgotten already.
        let _ = lock(&self.poll).registry().deregister(&mut SourceFd(&fd.as_raw_fd()));
        lock(&self.watched).by_key.remove(&key);
    }
}

impl Signal for Arc<Poller> {
    fn raise(&self) {
        // Only a counter at its end refuses, and that one is rung already.
        let _ = self.bell.wake();
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("fd", &self.fd).finish_non_exhaustive()
    }
}
