//! The TCP socket where nobody can bring a reactor of their own: tokio's.

use std::io;

pub(super) use tokio::net::TcpStream as Socket;

/// Takes over what tokio has connected.
pub(super) fn adopt(stream: Socket) -> io::Result<Socket> {
    Ok(stream)
}

/// Nobody else watches it.
pub(super) fn forget(_: &mut Socket) {}

/// Whether sockets wait in a reactor here, and not in a run-time.
pub(super) fn is_in_reactor() -> bool {
    false
}
