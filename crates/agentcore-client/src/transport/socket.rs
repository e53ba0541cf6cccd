//! A TCP socket that waits where it is polled: in the reactor that is entered
//! there, else in tokio. It may be taken elsewhere between two polls.

use std::cell::RefCell;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::readiness::{Reactor, Readiness, Side, with_current};

/// A connected socket.
pub(super) enum Socket {
    Tokio(TcpStream),
    Own(Own),
}

/// A socket that reactors watch.
pub(super) struct Own {
    stream: std::net::TcpStream,
    home: Option<Home>,
}

/// Where a socket is watched.
struct Home {
    /// Weak: a loop that is over closes its reactor, whatever connections wait for the next one.
    reactor: Weak<dyn Reactor>,
    key: usize,
    readiness: Arc<Readiness>,
}

/// Takes over what tokio has connected.
pub(super) fn adopt(stream: TcpStream) -> io::Result<Socket> {
    if is_in_reactor() {
        Ok(Socket::Own(Own { stream: stream.into_std()?, home: None }))
    } else {
        Ok(Socket::Tokio(stream))
    }
}

/// Has no reactor watch it any more.
pub(super) fn forget(socket: &mut Socket) {
    if let Socket::Own(own) = socket {
        own.forget();
    }
}

/// Whether sockets wait in a reactor here, and not in a run-time.
pub(super) fn is_in_reactor() -> bool {
    with_current(|reactor| reactor.is_some())
}

impl Socket {
    /// Moves to where it is polled.
    #[inline]
    fn settle(&mut self) -> io::Result<()> {
        let Self::Own(own) = self else { return Ok(()) };
        let moved = with_current(|reactor| match reactor {
            Some(reactor) if own.is_at(reactor) => Ok(true),
            Some(reactor) => own.move_to(reactor).map(|()| true),
            None => Ok(false),
        });
        if !moved? {
            Handle::try_current().map_err(io::Error::other)?;
            own.forget();
            // A copy, so that a refusal leaves a socket.
            *self = Self::Tokio(TcpStream::from_std(own.stream.try_clone()?)?);
        }
        Ok(())
    }
}

impl Own {
    fn is_at(&self, reactor: &Arc<dyn Reactor>) -> bool {
        let at = Arc::as_ptr(reactor);
        self.home.as_ref().is_some_and(|home| std::ptr::addr_eq(home.reactor.as_ptr(), at))
    }

    #[cold]
    fn move_to(&mut self, reactor: &Arc<dyn Reactor>) -> io::Result<()> {
        self.forget();
        let readiness = Readiness::new();
        let key = reactor.watch(self.stream.as_fd(), Arc::clone(&readiness))?;
        self.home = Some(Home { reactor: Arc::downgrade(reactor), key, readiness });
        Ok(())
    }

    #[cold]
    fn forget(&mut self) {
        if let Some(home) = self.home.take()
            && let Some(reactor) = home.reactor.upgrade()
        {
            reactor.forget(self.stream.as_fd(), home.key);
        }
    }

    /// Tries until something came of it or there is nothing to be had. Whoever waits for more has
    /// been registered before the last try, so that nothing is missed.
    fn attempt(
        &self,
        side: Side,
        cx: &mut Context<'_>,
        most: usize,
        mut attempt: impl FnMut(&std::net::TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let Some(home) = &self.home else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        loop {
            let Some(mark) = home.readiness.is_ready(side, cx.waker()) else {
                return Poll::Pending;
            };
            match attempt(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    home.readiness.found_nothing(side, mark);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(done) => {
                    if 0 < done && done < most {
                        home.readiness.took_all(side, mark);
                    }
                    return Poll::Ready(Ok(done));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        if buf.initialized().len() == buf.capacity() {
            let unfilled = buf.initialize_unfilled();
            return self.attempt(Side::Read, cx, room, |mut stream| stream.read(unfilled)).map_ok(
                |read| {
                    buf.advance(read);
                },
            );
        }
        // Clearing a buffer for each read would cost more than copying what came, and would make
        // all its pages resident.
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(MOST_AT_ONCE, 0);
            let scratch = &mut scratch[..room.min(MOST_AT_ONCE)];
            self.attempt(Side::Read, cx, scratch.len(), |mut stream| stream.read(scratch)).map_ok(
                |read| {
                    buf.put_slice(&scratch[..read]);
                },
            )
        })
    }
}

const MOST_AT_ONCE: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.settle()?;
        match &mut *self {
            Self::Tokio(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Own(own) => own.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.settle()?;
        match &mut *self {
            Self::Tokio(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Own(own) => {
                own.attempt(Side::Write, cx, buf.len(), |mut stream| stream.write(buf))
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.settle()?;
        match &mut *self {
            Self::Tokio(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Own(own) => {
                let most = bufs.iter().map(|buf| buf.len()).sum();
                own.attempt(Side::Write, cx, most, |mut stream| stream.write_vectored(bufs))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TCP holds nothing back here.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tokio(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Own(own) => Poll::Ready(own.stream.shutdown(Shutdown::Write)),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tokio(stream) => stream.as_fd(),
            Self::Own(own) => own.stream.as_fd(),
        }
    }
}
