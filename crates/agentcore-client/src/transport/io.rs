//! The socket, plain or under TLS, with a question that the pool may ask: has
//! the other side spoken or hung up since we last looked? The kernel is asked
//! directly, because a run-time that nobody drives knows nothing of it.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::socket::{self, Socket};

const QUIET: u8 = 0;
const ASKED: u8 = 1;
const STIRRED: u8 = 2;
const HURRIED: u8 = 3;

/// A question to the socket, put before a read that finds nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Probe(Arc<AtomicU8>);

impl Probe {
    /// From now on, a read that finds nothing also looks into the kernel.
    pub(super) fn ask(&self) {
        self.0.store(ASKED, Ordering::Relaxed);
    }

    /// A read that finds nothing acknowledges what came before it, once.
    pub(super) fn hurry(&self) {
        self.0.store(HURRIED, Ordering::Relaxed);
    }

    /// Whether bytes, an end or an error lay in the kernel; ends the question.
    pub(super) fn stirred(&self) -> bool {
        self.0.swap(QUIET, Ordering::Relaxed) == STIRRED
    }
}

/// A TCP stream that answers a [`Probe`].
pub(super) struct Tcp {
    stream: Socket,
    probe: Probe,
    /// The process that opened it.
    owner: u32,
    /// Why the other side takes no more bytes.
    refused: Option<io::Error>,
}

impl Tcp {
    pub(super) fn new(stream: Socket) -> (Self, Probe) {
        let probe = Probe::default();
        (Self { stream, probe: probe.clone(), owner: std::process::id(), refused: None }, probe)
    }

    /// Turns the end of writing into bytes that are written to nobody. A server that refuses a big
    /// upload answers and hangs up; hyper would drop that answer over the failed write, unread. So
    /// it reads on, and finds the answer or the same end.
    #[cold]
    fn write_to_nobody(&mut self, error: io::Error, bytes: usize) -> io::Result<usize> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        match error.kind() {
            BrokenPipe | ConnectionReset | ConnectionAborted => {
                self.refused = Some(error);
                Ok(bytes)
            }
            _ => Err(error),
        }
    }

    #[cold]
    fn acknowledge(&self) {
        self.probe.0.store(QUIET, Ordering::Relaxed);
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        let _ = SockRef::from(&self.stream).set_tcp_quickack(true);
    }

    #[cold]
    fn look_into_the_kernel(&self) {
        let mut byte = [MaybeUninit::uninit()];
        let nothing = matches!(
            SockRef::from(&self.stream).peek(&mut byte),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock
        );
        if !nothing {
            self.probe.0.store(STIRRED, Ordering::Relaxed);
        }
    }
}

/// Closing a descriptor ends the connection only where it is the last one. A forked child holds a
/// copy, and the other side would go on talking to nobody until that child ends, too: so the
/// connection itself is ended. Not by the child, whose copy is not its own to end.
impl Drop for Tcp {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            socket::forget(&mut self.stream);
            // What is not connected any more has nothing left to end.
            let _ = SockRef::from(&self.stream).shutdown(Shutdown::Both);
        }
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.remaining();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = polled
            && buf.remaining() == before
            && let Some(error) = self.refused.take()
        {
            // The kernel tells of a reset once, and the write has had it: this is no proper end.
            return Poll::Ready(Err(error));
        }
        if polled.is_pending() {
            match self.probe.0.load(Ordering::Relaxed) {
                ASKED => self.look_into_the_kernel(),
                HURRIED => self.acknowledge(),
                _ => {}
            }
        }
        polled
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.refused.is_some() {
            return Poll::Ready(Ok(buf.len()));
        }
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            Poll::Ready(Err(error)) => Poll::Ready(self.write_to_nobody(error, buf.len())),
            polled => polled,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = || bufs.iter().map(|buf| buf.len()).sum();
        if self.refused.is_some() {
            return Poll::Ready(Ok(bytes()));
        }
        match Pin::new(&mut self.stream).poll_write_vectored(cx, bufs) {
            Poll::Ready(Err(error)) => Poll::Ready(self.write_to_nobody(error, bytes())),
            polled => polled,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// What a connection runs on.
pub(super) enum Stream {
    Plain(Tcp),
    Tls(Box<TlsStream<Tcp>>),
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Tls(_) => "Tls",
        })
    }
}

macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => $call,
            Stream::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::net::TcpListener;
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::time::Duration;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpStream;

    /// A connection, a copy of its descriptor as a fork makes one, and the other side.
    async fn connection() -> (Tcp, OwnedFd, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let copy = stream.as_fd().try_clone_to_owned().unwrap();
        (Tcp::new(socket::adopt(stream).unwrap()).0, copy, listener.accept().unwrap().0)
    }

    #[tokio::test]
    async fn the_other_side_sees_the_end_although_a_forked_child_holds_a_copy() {
        let (tcp, copy, mut peer) = connection().await;
        drop(tcp);
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(peer.read_to_end(&mut Vec::new()).unwrap(), 0);
        drop(copy);
    }

    #[tokio::test]
    async fn a_forked_child_does_not_end_what_its_parent_uses() {
        let (mut tcp, copy, mut peer) = connection().await;
        tcp.owner += 1;
        drop(tcp);
        peer.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        // It goes on where it is interrupted, as a plain read with a time limit is not.
        let silence = peer.read_exact(&mut [0]).unwrap_err();
        assert_eq!(silence.kind(), io::ErrorKind::WouldBlock);
        drop(copy);
        assert_eq!(peer.read_to_end(&mut Vec::new()).unwrap(), 0);
    }

    #[tokio::test]
    async fn ending_what_has_broken_does_no_harm() {
        let (mut tcp, copy, peer) = connection().await;
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        assert!(tcp.read(&mut [0]).await.is_err());
        drop(tcp);
        drop(copy);
    }
}
