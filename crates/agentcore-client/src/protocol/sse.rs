//! Server-sent events, decoded as they arrive, by the rules of the WHATWG HTML
//! standard. An event leaves the moment its blank line is in, and its data is a
//! slice of the chunk that brought it: a token is neither held back nor copied.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use memchr::{memchr, memchr2};

#[cfg(test)]
mod tests;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The event's name. Absent stands for the standard's `message`.
    pub event: Option<ByteString>,
    /// The id that this event itself carried; the one in force, which may come
    /// from an earlier event, is [`SseDecoder::last_event_id`].
    pub id: Option<ByteString>,
    /// The reconnection time that this event carried, in milliseconds.
    pub retry: Option<u64>,
    /// The `data` lines, joined with line feeds. Empty where the event had a
    /// `data` line without a value: to the standard that is an event, too.
    pub data: ByteString,
}

/// Why a stream cannot be decoded any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SseError {
    /// One event, or one line, was larger than the decoder may hold.
    #[error("an event of the stream is larger than {limit} bytes")]
    TooLarge {
        /// The most that an event's lines may hold, in bytes.
        limit: usize,
    },
}

/// What stands between the next byte and the start of an event, as bits: when
/// none is set, the next byte starts an event and the short way may be taken.
mod pending {
    /// The byte order mark may still come.
    pub(super) const BOM: u8 = 1;
    /// A CR ended a line; a LF that follows belongs to it.
    pub(super) const LF: u8 = 1 << 1;
    /// A comment has begun whose end is not in yet.
    pub(super) const COMMENT: u8 = 1 << 2;
    /// A line has begun whose end is not in yet.
    pub(super) const LINE: u8 = 1 << 3;
    /// Lines of an event are in, its blank line is not.
    pub(super) const EVENT: u8 = 1 << 4;
}

/// The data of the event that is being read.
#[derive(Default)]
enum Data {
    #[default]
    None,
    /// One line: a slice of what was received.
    One(ByteString),
    /// Several lines: joined, therefore copied.
    Joined(String),
}

/// Whether a chunk is UTF-8 as a whole. One that ends amid a character isn't, though
/// each of its lines may be.
enum Text {
    Unknown,
    Valid(ByteString),
    Mixed,
}

enum Step {
    Event(SseEvent),
    Again,
    NeedMore,
}

/// Decodes a stream of server-sent events from chunks that may be cut anywhere.
///
/// Give it a chunk with [`push`](Self::push), then take events with
/// [`next_event`](Self::next_event) until there are no more.
pub struct SseDecoder {
    limit: usize,
    pending: u8,
    /// The chunk being read, and how much of it is done.
    chunk: Bytes,
    pos: usize,
    text: Text,
    /// Chunks that were pushed before the one above was read to its end.
    queue: VecDeque<Bytes>,
    /// The begun line that earlier chunks left behind. It holds no line end, so
    /// it is never searched again.
    carry: Vec<u8>,
    /// How long the comment is that earlier chunks left behind: it is not kept.
    comment: usize,
    /// How many bytes of the matched byte order mark are in.
    bom: usize,
    /// How long the complete lines of the event being read are together.
    lines: usize,
    event: Option<ByteString>,
    id: Option<ByteString>,
    retry: Option<u64>,
    data: Data,
    last_event_id: ByteString,
    comments: u64,
    failed: bool,
}

impl SseDecoder {
    /// A decoder for one stream. `max_event_bytes` bounds the lines of one event
    /// together, and every single line, comments too; line ends do not count.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            limit: max_event_bytes,
            pending: pending::BOM,
            chunk: Bytes::new(),
            pos: 0,
            text: Text::Unknown,
            queue: VecDeque::new(),
            carry: Vec::new(),
            comment: 0,
            bom: 0,
            lines: 0,
            event: None,
            id: None,
            retry: None,
            data: Data::None,
            last_event_id: ByteString::new(),
            comments: 0,
            failed: false,
        }
    }

    /// Takes one received chunk. It isn't copied, nor looked at yet: what the
    /// limit bounds is seen by [`next_event`](Self::next_event).
    #[inline]
    pub fn push(&mut self, chunk: Bytes) {
        if self.failed {
            return;
        }
        if self.pos == self.chunk.len() && self.queue.is_empty() {
            self.read(chunk);
        } else {
            self.queue.push_back(chunk);
        }
    }

    /// The next complete event; `None` when more must be pushed first.
    ///
    /// # Errors
    /// When an event passes the limit. The decoder has lost its place then, and
    /// every further call fails the same way.
    #[inline]
    pub fn next_event(&mut self) -> Result<Option<SseEvent>, SseError> {
        loop {
            if self.pending == 0 {
                if let Some(range) = self.short_way() {
                    let data = self.slice(range);
                    self.let_go();
                    return Ok(Some(SseEvent { event: None, id: None, retry: None, data }));
                }
                if self.pos == self.chunk.len() && self.queue.is_empty() {
                    self.read(Bytes::new());
                    return Ok(None);
                }
            }
            match self.step()? {
                Step::Event(event) => {
                    self.let_go();
                    return Ok(Some(event));
                }
                Step::NeedMore => return Ok(None),
                Step::Again => {}
            }
        }
    }

    /// How many bytes are held back: chunks not read yet and the parts of an
    /// event that is not complete.
    pub fn buffered(&self) -> usize {
        let queued: usize = self.queue.iter().map(Bytes::len).sum();
        self.chunk.len() - self.pos + queued + self.carry.len() + self.lines
    }

    /// The id in force: of the last event that had one, whether or not it had data.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// How many comments have come. Agents send them as a sign of life, so a
    /// count that grows says that a silent stream is alive.
    pub fn comments(&self) -> u64 {
        self.comments
    }

    /// Ends the stream: what is held is dropped, as the standard wants it.
    ///
    /// Says whether that loses data: an event whose blank line never came, or
    /// events that were not taken. A cut-off comment or id loses nothing.
    pub fn finish(&mut self) -> bool {
        let mut dropped = false;
        while let Ok(Some(_)) = self.next_event() {
            dropped = true;
        }
        let begun = self.carry.starts_with(b"data:")
            || (!self.carry.is_empty() && b"data:".starts_with(&self.carry));
        dropped |= begun || !matches!(self.data, Data::None);
        self.reset_event();
        self.carry = Vec::new();
        self.comment = 0;
        self.pending = 0;
        dropped
    }

    /// Nearly every event of nearly every agent: one `data` line and its blank
    /// line, both in this chunk. Whatever else there is takes [`Self::step`].
    #[inline]
    fn short_way(&mut self) -> Option<Range<usize>> {
        let value = self.chunk.get(self.pos..)?.strip_prefix(b"data: ")?;
        let len = memchr2(b'\n', b'\r', value)?;
        if value.get(len..len + 2)? != b"\n\n" || len + 6 > self.limit {
            return None;
        }
        let start = self.pos + 6;
        self.pos = start + len + 2;
        Some(start..start + len)
    }

    /// Text of this chunk.
    #[inline]
    fn slice(&mut self, range: Range<usize>) -> ByteString {
        // Validating is cheap by the byte and dear by the call: a chunk with more
        // events to come is validated as a whole, and its events are slices.
        if matches!(self.text, Text::Unknown) && self.pos < self.chunk.len() {
            self.text = match ByteString::try_from(self.chunk.clone()) {
                Ok(text) => Text::Valid(text),
                Err(_) => Text::Mixed,
            };
        }
        match &self.text {
            Text::Valid(text) => text.slice_ref(&text[range]),
            _ => ByteString::try_from(self.chunk.slice(range.clone()))
                .unwrap_or_else(|_| lossy(&self.chunk[range])),
        }
    }

    /// One line, or what there is of it.
    fn step(&mut self) -> Result<Step, SseError> {
        let Some(&first) = self.chunk.get(self.pos) else {
            return self.next_chunk();
        };
        if self.pending & (pending::LF | pending::BOM) != 0 && self.skip(first) {
            return Ok(Step::Again);
        }
        let rest = &self.chunk[self.pos..];
        let comment = self.pending & pending::COMMENT != 0
            || (self.pending & pending::LINE == 0 && first == b':');
        let end = memchr2(b'\n', b'\r', rest);
        let part = end.unwrap_or(rest.len());
        // Judged before anything is kept, so that the limit holds however the
        // stream was cut.
        let line = self.carry.len() + self.comment + part;
        if line + self.lines > self.limit {
            return Err(self.fail());
        }
        let Some(end) = end else {
            if comment {
                self.comment += part;
                self.pending |= pending::COMMENT;
            } else {
                self.carry.extend_from_slice(rest);
                self.pending |= pending::LINE;
            }
            self.pos = self.chunk.len();
            return Ok(Step::Again);
        };
        if rest[end] == b'\r' {
            self.pending |= pending::LF;
        }
        let start = self.pos;
        self.pos += end + 1;
        if comment {
            self.comment = 0;
            self.comments += 1;
            self.pending &= !pending::COMMENT;
        } else if line == 0 {
            return Ok(self.blank_line());
        } else {
            self.lines += line;
            self.pending |= pending::EVENT;
            if self.pending & pending::LINE == 0 {
                let (field, value) = Field::parse(&self.chunk[start..start + end]);
                if let Some(field) = field {
                    let value = self.chunk.slice(start + value..start + end);
                    self.field(field, value);
                }
            } else {
                self.pending &= !pending::LINE;
                let mut line = std::mem::take(&mut self.carry);
                line.extend_from_slice(&self.chunk[start..start + end]);
                let (field, value) = Field::parse(&line);
                if let Some(field) = field {
                    let mut line = Bytes::from(line);
                    line.advance(value);
                    self.field(field, line);
                }
            }
        }
        Ok(Step::Again)
    }

    fn next_chunk(&mut self) -> Result<Step, SseError> {
        if self.failed {
            return Err(SseError::TooLarge { limit: self.limit });
        }
        match self.queue.pop_front() {
            Some(chunk) => {
                self.read(chunk);
                Ok(Step::Again)
            }
            None => {
                // Let go of memory that only the caller's events still need.
                self.read(Bytes::new());
                Ok(Step::NeedMore)
            }
        }
    }

    /// A chunk that was read to its end is memory that the connection can use again.
    #[inline]
    fn let_go(&mut self) {
        if self.pos == self.chunk.len() {
            self.read(Bytes::new());
        }
    }

    #[inline]
    fn read(&mut self, chunk: Bytes) {
        self.chunk = chunk;
        self.pos = 0;
        self.text = Text::Unknown;
    }

    /// Whether the next byte is one that only stands between lines.
    fn skip(&mut self, first: u8) -> bool {
        if self.pending & pending::LF != 0 {
            self.pending &= !pending::LF;
            if first == b'\n' {
                self.pos += 1;
                return true;
            }
            return false;
        }
        if first == BOM[self.bom] {
            self.pos += 1;
            self.bom += 1;
            if self.bom == BOM.len() {
                self.pending &= !pending::BOM;
            }
            return true;
        }
        // It only began like the mark: those bytes open the first line.
        self.pending &= !pending::BOM;
        if self.bom > 0 {
            self.carry.extend_from_slice(&BOM[..self.bom]);
            self.pending |= pending::LINE;
        }
        false
    }

    fn field(&mut self, field: Field, value: Bytes) {
        match field {
            Field::Data => {
                self.data = match std::mem::take(&mut self.data) {
                    Data::None => Data::One(text(&value)),
                    Data::One(first) => {
                        let mut joined = String::with_capacity(first.len() + value.len() + 1);
                        joined.push_str(&first);
                        Data::Joined(join(joined, &value))
                    }
                    Data::Joined(joined) => Data::Joined(join(joined, &value)),
                };
            }
            // An empty name is the standard's default name.
            Field::Event => self.event = Some(text(&value)).filter(|name| !name.is_empty()),
            Field::Id if memchr(0, &value).is_none() => self.id = Some(text(&value)),
            Field::Id => {}
            Field::Retry if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                // Only too large a number can fail here.
                let number = str::from_utf8(&value).ok().and_then(|digits| digits.parse().ok());
                self.retry = Some(number.unwrap_or(u64::MAX));
            }
            Field::Retry => {}
        }
    }

    fn blank_line(&mut self) -> Step {
        if let Some(id) = &self.id {
            // A copy: the slice would keep its whole chunk alive for the stream's life.
            self.last_event_id = ByteString::from(&**id);
        }
        let (event, id, retry) = (self.event.take(), self.id.take(), self.retry.take());
        let data = match std::mem::take(&mut self.data) {
            Data::None => None,
            Data::One(data) => Some(data),
            Data::Joined(data) => Some(ByteString::from(data)),
        };
        self.reset_event();
        match data {
            Some(data) => Step::Event(SseEvent { event, id, retry, data }),
            None => Step::Again,
        }
    }

    fn reset_event(&mut self) {
        self.event = None;
        self.id = None;
        self.retry = None;
        self.data = Data::None;
        self.lines = 0;
        self.pending &= !pending::EVENT;
    }

    fn fail(&mut self) -> SseError {
        self.failed = true;
        self.reset_event();
        self.read(Bytes::new());
        self.queue = VecDeque::new();
        self.carry = Vec::new();
        self.comment = 0;
        // Not the start of an event, ever again.
        self.pending = pending::LINE;
        SseError::TooLarge { limit: self.limit }
    }
}

/// What an agent says is not for logs: lengths only.
impl fmt::Debug for SseDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseDecoder")
            .field("limit", &self.limit)
            .field("buffered", &self.buffered())
            .field("comments", &self.comments)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Field {
    Data,
    Event,
    Id,
    Retry,
}

impl Field {
    /// The field of a complete line, if the standard knows it, and where its value starts.
    fn parse(line: &[u8]) -> (Option<Self>, usize) {
        let (name, value) = match memchr(b':', line) {
            Some(colon) if line.get(colon + 1) == Some(&b' ') => (&line[..colon], colon + 2),
            Some(colon) => (&line[..colon], colon + 1),
            None => (line, line.len()),
        };
        let field = match name {
            b"data" => Some(Self::Data),
            b"event" => Some(Self::Event),
            b"id" => Some(Self::Id),
            b"retry" => Some(Self::Retry),
            _ => None,
        };
        (field, value)
    }
}

/// Text of a complete value. Line ends are ASCII, so a character that was cut
/// between chunks is whole again here, and what is broken was sent broken.
fn text(value: &Bytes) -> ByteString {
    ByteString::try_from(value.clone()).unwrap_or_else(|_| lossy(value))
}

#[cold]
fn lossy(value: &[u8]) -> ByteString {
    ByteString::from(String::from_utf8_lossy(value).into_owned())
}

fn join(mut joined: String, value: &[u8]) -> String {
    joined.push('\n');
    joined.push_str(&String::from_utf8_lossy(value));
    joined
}
