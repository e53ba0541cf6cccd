//! How an event loop is woken: a descriptor that it watches, and the tokens of
//! what can be polled again. No foreign thread ever enters the interpreter.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agentcore_ffi::{ReadyQueue as Queue, Signal, TokenWaker};
use pyo3::prelude::*;

/// Tokens of what an event loop can poll again.
#[pyclass(frozen, module = "agentcore_client._native")]
pub(crate) struct ReadyQueue {
    queue: Arc<Queue>,
    watched: Watched,
}

#[pymethods]
impl ReadyQueue {
    #[new]
    fn new() -> PyResult<Self> {
        let (watched, bell) = pair()?;
        Ok(Self { queue: Queue::new(Box::new(bell)), watched })
    }

    /// What the event loop must watch: a descriptor, on Windows a socket's handle.
    fn fileno(&self) -> u64 {
        self.watched.number()
    }

    /// Silences the descriptor and gives all tokens that have become ready.
    fn drain(&self) -> Vec<u64> {
        self.watched.silence();
        self.queue.drain()
    }
}

impl ReadyQueue {
    /// A waker of a new token.
    pub(crate) fn waker(&self) -> (u64, Arc<TokenWaker>) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let token = NEXT.fetch_add(1, Ordering::Relaxed);
        (token, TokenWaker::new(Arc::clone(&self.queue), token))
    }

    pub(crate) fn is_of(&self, waker: &TokenWaker) -> bool {
        waker.is_for(&self.queue)
    }
}

#[cfg(target_os = "linux")]
mod ends {
    use std::os::fd::{AsFd, AsRawFd, OwnedFd};

    use rustix::event::{EventfdFlags, eventfd};

    pub(super) struct Watched(pub(super) OwnedFd);
    pub(super) struct Bell(pub(super) OwnedFd);

    pub(super) fn pair() -> std::io::Result<(Watched, Bell)> {
        let watched = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let bell = watched.try_clone()?;
        Ok((Watched(watched), Bell(bell)))
    }

    impl Watched {
        pub(super) fn number(&self) -> u64 {
            u64::try_from(self.0.as_raw_fd()).unwrap_or_default()
        }

        pub(super) fn silence(&self) {
            // Nothing to read is fine: the tokens count, not the bell.
            let _ = rustix::io::read(self.0.as_fd(), &mut [0; 8]);
        }
    }

    impl Bell {
        pub(super) fn ring(&self) {
            // Only a counter at its end refuses, and that one is rung already.
            let _ = rustix::io::write(self.0.as_fd(), &1_u64.to_ne_bytes());
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod ends {
    use std::io::{Read as _, Write as _};
    #[cfg(windows)]
    use std::net::TcpStream as Stream;
    #[cfg(unix)]
    use std::os::unix::net::UnixStream as Stream;

    pub(super) struct Watched(Stream);
    pub(super) struct Bell(Stream);

    #[cfg(unix)]
    fn streams() -> std::io::Result<(Stream, Stream)> {
        Stream::pair()
    }

    /// A connection to ourselves, and to nobody else.
    #[cfg(windows)]
    fn streams() -> std::io::Result<(Stream, Stream)> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        let bell = Stream::connect(listener.local_addr()?)?;
        bell.set_nodelay(true)?;
        loop {
            let (watched, from) = listener.accept()?;
            if from == bell.local_addr()? {
                return Ok((watched, bell));
            }
        }
    }

    pub(super) fn pair() -> std::io::Result<(Watched, Bell)> {
        let (watched, bell) = streams()?;
        watched.set_nonblocking(true)?;
        bell.set_nonblocking(true)?;
        Ok((Watched(watched), Bell(bell)))
    }

    impl Watched {
        #[cfg(unix)]
        pub(super) fn number(&self) -> u64 {
            use std::os::fd::AsRawFd as _;
            u64::try_from(self.0.as_raw_fd()).unwrap_or_default()
        }

        #[cfg(windows)]
        pub(super) fn number(&self) -> u64 {
            use std::os::windows::io::AsRawSocket as _;
            self.0.as_raw_socket()
        }

        pub(super) fn silence(&self) {
            // Nothing to read is fine: the tokens count, not the bell.
            let _ = (&self.0).read(&mut [0; 64]);
        }
    }

    impl Bell {
        pub(super) fn ring(&self) {
            // A full pair refuses, and that one is rung already.
            let _ = (&self.0).write(&[1]);
        }
    }
}

use ends::{Bell, Watched};

fn pair() -> io::Result<(Watched, Bell)> {
    ends::pair()
}

impl Signal for Bell {
    fn raise(&self) {
        self.ring();
    }
}
