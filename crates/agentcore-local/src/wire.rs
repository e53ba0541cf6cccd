//! One client's socket. Whatever is being written, the reading side is watched, so that a client
//! that leaves is noticed at once and not at the next write.

use bytes::Bytes;
use std::io;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;

/// How much unasked input is kept while an answer is being written.
const MAX_AHEAD: usize = 256 * 1024;

/// The client has left.
#[derive(Debug)]
pub(crate) struct Left;

/// A socket and what was read from it but not used yet.
pub(crate) struct Wire {
    stream: TcpStream,
    pub(crate) inbox: Vec<u8>,
    scratch: Box<[u8]>,
    /// Every byte in a write of its own.
    pub(crate) split: bool,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Without it, small events would wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        Self { stream, inbox: Vec::new(), scratch: vec![0; 64 * 1024].into(), split: false }
    }

    /// The socket and what was read from it but not used yet, for another protocol.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.inbox)
    }

    /// Reads what is there into the inbox; `false` when nothing is.
    fn read_now(&mut self) -> Result<bool, Left> {
        match self.stream.try_read(&mut self.scratch) {
            Ok(0) => Err(Left),
            Ok(n) => {
                self.inbox.extend_from_slice(&self.scratch[..n]);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(_) => Err(Left),
        }
    }

    /// Waits for more input.
    pub(crate) async fn fill(&mut self) -> Result<(), Left> {
        while !self.read_now()? {
            self.stream.readable().await.map_err(|_| Left)?;
        }
        Ok(())
    }

    /// Ends when the client has left, and never otherwise.
    pub(crate) async fn left(&mut self) {
        while self.inbox.len() < MAX_AHEAD {
            if self.fill().await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Hands all bytes to the socket.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Left> {
        if !self.split {
            return self.write_all(bytes).await;
        }
        for byte in bytes.chunks(1) {
            self.write_all(byte).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Left> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let room = self.inbox.len() < MAX_AHEAD;
                    let interest = if room {
                        Interest::READABLE | Interest::WRITABLE
                    } else {
                        Interest::WRITABLE
                    };
                    let ready = self.stream.ready(interest).await.map_err(|_| Left)?;
                    if room && ready.is_readable() {
                        self.read_now()?;
                    }
                }
                Err(_) => return Err(Left),
            }
        }
        Ok(())
    }

    /// Writes an HTTP chunk in one go.
    pub(crate) async fn write_chunk(&mut self, bytes: &Bytes) -> Result<(), Left> {
        let mut framed = Vec::with_capacity(bytes.len() + 20);
        push_chunk(&mut framed, bytes);
        self.write(&framed).await
    }

    /// Closes with RST: the client sees a reset, not an end.
    pub(crate) async fn reset(self) {
        // A reset throws away what the kernel has not delivered yet; give it the time to.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        let _ = self.stream.set_zero_linger();
    }

    /// Closes with FIN, and reads on for a moment: unread input would turn the FIN into a RST,
    /// and a RST may take away what the client has not read yet.
    pub(crate) async fn close(mut self) {
        let _ = self.stream.shutdown().await;
        let drain = async {
            loop {
                self.inbox.clear();
                if self.fill().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), drain).await;
    }
}

/// Appends the bytes as one HTTP chunk; none for no bytes, since that would end the body.
pub(crate) fn push_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}
