//! One answer on the wire: head, body, end, and the faults that strike within them.
//! It also tells the journal how the answer went, so that no path can forget to.

use crate::faults::{BodyAction, Fault};
use crate::headers::Headers;
use crate::journal::{Journal, JournalEvent};
use crate::wire::{Wire, push_chunk};
use bytes::Bytes;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The answer is over and another request may come.
    KeepAlive,
    /// FIN.
    Close,
    /// RST.
    Reset,
    /// The client has left.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Chunked,
    Length,
}

/// Where in the journal this answer belongs.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) journal: &'a Journal,
    pub(crate) connection: u64,
    pub(crate) call: u64,
}

impl Place<'_> {
    pub(crate) fn note(&self, event: JournalEvent) {
        self.journal.add(self.connection, self.call, event);
    }
}

/// The head of an answer before it is written.
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) error_type: Option<String>,
    pub(crate) session_id: Option<String>,
    pub(crate) request_id: String,
}

/// An answer that is being written. `Err` from its methods says that there is nothing more to
/// write, and what becomes of the connection.
pub(crate) struct Answer<'a> {
    pub(crate) wire: &'a mut Wire,
    place: Place<'a>,
    framing: Framing,
    action: Option<(u64, BodyAction)>,
    close: bool,
    head_written: bool,
    chunks: u64,
    bytes: u64,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(
        wire: &'a mut Wire,
        place: Place<'a>,
        fault: &Fault,
        keep_alive: bool,
    ) -> Self {
        wire.split = fault.split;
        Self {
            wire,
            place,
            framing: Framing::Chunked,
            action: fault.body_action(),
            close: !keep_alive || fault.connection_close || fault.switching,
            head_written: false,
            chunks: 0,
            bytes: 0,
        }
    }

    pub(crate) fn head_written(&self) -> bool {
        self.head_written
    }

    /// Notes that the client has left.
    pub(crate) fn left(&self) -> Next {
        let phase = if self.head_written { "body" } else { "head" };
        self.place.note(JournalEvent::Disconnect {
            phase: phase.to_owned(),
            chunks: self.chunks,
            bytes: self.bytes,
        });
        Next::Gone
    }

    /// Notes that the answer ends here on purpose.
    pub(crate) fn cut(&self, by: &str, next: Next) -> Next {
        self.place.note(JournalEvent::Cut {
            by: by.to_owned(),
            chunks: self.chunks,
            bytes: self.bytes,
        });
        next
    }

    fn render(&mut self, head: Head) -> Vec<u8> {
        let given = head.headers.contains("content-length");
        self.framing = if given { Framing::Length } else { Framing::Chunked };
        let mut out = format!("HTTP/1.1 {} {}\r\n", head.status, reason(head.status)).into_bytes();
        for (name, value) in head.headers.iter() {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        if !given && head.status >= 200 && head.status != 204 {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        if self.close && head.status >= 200 {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        self.head_written = true;
        self.place.note(JournalEvent::Response {
            status: head.status,
            error_type: head.error_type,
            session_id: head.session_id,
            request_id: head.request_id,
        });
        out
    }

    pub(crate) async fn head(&mut self, head: Head) -> Result<(), Next> {
        let bytes = self.render(head);
        self.write(&bytes).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Next> {
        match self.wire.write(bytes).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.left()),
        }
    }

    /// Head, body and end together, in one write where no fault is in the way.
    pub(crate) async fn whole(&mut self, head: Head, body: Bytes) -> Result<(), Next> {
        let empty_status = head.status < 200 || head.status == 204;
        let mut out = self.render(head);
        if self.action.is_some() && !empty_status {
            self.write(&out).await?;
            self.chunk(body).await?;
            return self.finish().await;
        }
        if empty_status {
            // No body, whatever was given.
        } else if self.framing == Framing::Chunked {
            push_chunk(&mut out, &body);
            out.extend_from_slice(b"0\r\n\r\n");
        } else {
            out.extend_from_slice(&body);
        }
        self.write(&out).await?;
        self.bytes += body.len() as u64;
        self.chunks += u64::from(!body.is_empty());
        self.complete();
        Ok(())
    }

    /// One chunk of the body, or as much of it as the fault allows.
    pub(crate) async fn chunk(&mut self, bytes: Bytes) -> Result<(), Next> {
        if bytes.is_empty() {
            return Ok(());
        }
        let Some((after, action)) = self.action else { return self.put(&bytes).await };
        let room = usize::try_from(after - self.bytes.min(after)).unwrap_or(usize::MAX);
        if bytes.len() <= room {
            return self.put(&bytes).await;
        }
        let first = bytes.slice(..room);
        if action == BodyAction::Truncate && self.framing == Framing::Chunked {
            // Announce the whole chunk and deliver a part.
            self.write(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
            self.write(&first).await?;
            self.bytes += room as u64;
        } else if room > 0 {
            self.put(&first).await?;
        }
        Err(self.strike(action, false).await)
    }

    async fn put(&mut self, bytes: &Bytes) -> Result<(), Next> {
        let written = match self.framing {
            Framing::Chunked => self.wire.write_chunk(bytes).await,
            Framing::Length => self.wire.write(bytes).await,
        };
        if written.is_err() {
            return Err(self.left());
        }
        self.chunks += 1;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// The proper end, unless a fault waits for bytes that never came: then it strikes here.
    pub(crate) async fn finish(&mut self) -> Result<(), Next> {
        if let Some((_, action)) = self.action {
            return Err(self.strike(action, true).await);
        }
        if self.framing == Framing::Chunked {
            self.write(b"0\r\n\r\n").await?;
        }
        self.complete();
        Ok(())
    }

    fn complete(&self) {
        self.place.note(JournalEvent::Complete { chunks: self.chunks, bytes: self.bytes });
    }

    async fn strike(&mut self, action: BodyAction, at_border: bool) -> Next {
        let bytes: &[u8] = match action {
            BodyAction::Stall => {
                self.wire.left().await;
                return self.left();
            }
            BodyAction::Reset => return self.cut("fault", Next::Reset),
            BodyAction::GarbageChunk => b"zz not a chunk size\r\n",
            // Between two chunks the cut has to open one, or it would only miss the end.
            BodyAction::Truncate if at_border => b"10\r\n",
            BodyAction::Truncate => b"",
        };
        if self.framing == Framing::Chunked && self.write(bytes).await.is_err() {
            return Next::Gone;
        }
        self.cut("fault", Next::Close)
    }

    /// What becomes of the connection after a proper end.
    pub(crate) fn next(&self) -> Next {
        if self.close { Next::Close } else { Next::KeepAlive }
    }
}

pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        424 => "Failed Dependency",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}
