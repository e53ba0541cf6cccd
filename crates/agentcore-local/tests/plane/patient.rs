//! A socket whose reads have a time limit and go on where they are interrupted: the kernel does not
//! resume such a read by itself after the process was paused or got a signal.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A connection that waits for each read as long as it was told to.
#[derive(Debug)]
pub struct Patient(TcpStream);

impl Patient {
    /// Connects.
    pub fn connect(address: impl ToSocketAddrs, patience: Duration) -> Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_nodelay(true)?;
        Ok(Self(socket))
    }

    /// The socket itself.
    pub fn socket(&self) -> &TcpStream {
        &self.0
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}
