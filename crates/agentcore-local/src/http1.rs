//! HTTP/1.1 requests out of bytes: head, content length, chunks. Pure, so that it can be fed anything.
//! Hand-written on `httparse` because the raw request target must survive, and faults need the socket.

use crate::headers::Headers;

/// The largest request head that is read.
pub(crate) const MAX_HEAD: usize = 128 * 1024;
/// The service's limit for a payload.
pub(crate) const MAX_BODY: u64 = 100_000_000;
const MAX_HEADERS: usize = 200;
const MAX_CHUNK_LINE: usize = 4 * 1024;

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

/// A request head, its target untouched.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Headers,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
}

/// Why a request cannot be read: a status and a sentence that never quotes the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadRequest(pub(crate) u16, pub(crate) &'static str);

/// Reads one head from the front of `buffer`; `None` while more is needed.
pub(crate) fn parse_head(buffer: &[u8]) -> Result<Option<(Head, usize)>, BadRequest> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut slots);
    let used = match request.parse(buffer) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) if buffer.len() >= MAX_HEAD => {
            return Err(BadRequest(431, "The request head is too large"));
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(BadRequest(431, "The request has too many headers"));
        }
        Err(_) => return Err(BadRequest(400, "The request is not HTTP/1.1")),
    };
    if request.version != Some(1) {
        return Err(BadRequest(505, "Only HTTP/1.1 is served"));
    }
    let target = request.path.unwrap_or_default();
    if !target.starts_with('/') {
        return Err(BadRequest(400, "The request target must be a path"));
    }
    let headers: Headers = request.headers.iter().map(|h| (h.name, h.value)).collect();
    let framing = framing(&headers)?;
    let head = Head {
        method: request.method.unwrap_or_default().to_owned(),
        target: target.to_owned(),
        framing,
        keep_alive: !headers.lists("connection", "close"),
        expects_continue: headers.lists("expect", "100-continue"),
        headers,
    };
    Ok(Some((head, used)))
}

fn framing(headers: &Headers) -> Result<Framing, BadRequest> {
    let mut lengths = headers.get_all("content-length");
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(BadRequest(400, "Content-Length is there more than once"));
    }
    if headers.contains("transfer-encoding") {
        if length.is_some() {
            return Err(BadRequest(400, "Content-Length and Transfer-Encoding exclude each other"));
        }
        let mut all = headers.get_all("transfer-encoding");
        let only = all.next().is_some_and(|v| v.eq_ignore_ascii_case(b"chunked"));
        if !only || all.next().is_some() {
            return Err(BadRequest(501, "Only the transfer coding chunked is served"));
        }
        return Ok(Framing::Chunked);
    }
    let Some(text) = length else { return Ok(Framing::Length(0)) };
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(BadRequest(400, "Content-Length is not a number"));
    }
    std::str::from_utf8(text)
        .ok()
        .and_then(|t| t.parse().ok())
        .map(Framing::Length)
        .ok_or(BadRequest(400, "Content-Length is not a number"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    Size,
    Data(u64),
    DataEnd,
    Trailer,
    Done,
}

/// Decodes a chunked body piece by piece, whatever the cuts.
#[derive(Debug)]
pub(crate) struct ChunkDecoder {
    state: ChunkState,
    total: u64,
    trailer: usize,
}

impl ChunkDecoder {
    pub(crate) fn new() -> Self {
        Self { state: ChunkState::Size, total: 0, trailer: 0 }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// Takes what it can from the front of `input` and appends the content to `body`.
    /// Returns how much was taken; the rest has to be offered again together with more.
    pub(crate) fn decode(&mut self, input: &[u8], body: &mut Vec<u8>) -> Result<usize, BadRequest> {
        const BAD: BadRequest = BadRequest(400, "The chunked body is broken");
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match self.state {
                ChunkState::Done => return Ok(at),
                ChunkState::Size => {
                    let Some((line, used)) = line(rest)? else { return Ok(at) };
                    at += used;
                    let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
                    if digits.is_empty() || digits.len() > 15 {
                        return Err(BAD);
                    }
                    let size = std::str::from_utf8(digits)
                        .ok()
                        .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
                        .and_then(|d| u64::from_str_radix(d, 16).ok())
                        .ok_or(BAD)?;
                    self.total += size;
                    if self.total > MAX_BODY {
                        return Err(TOO_LARGE);
                    }
                    self.state =
                        if size == 0 { ChunkState::Trailer } else { ChunkState::Data(size) };
                }
                ChunkState::Data(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    if take == 0 {
                        return Ok(at);
                    }
                    body.extend_from_slice(&rest[..take]);
                    at += take;
                    let left = left - take as u64;
                    self.state =
                        if left == 0 { ChunkState::DataEnd } else { ChunkState::Data(left) };
                }
                ChunkState::DataEnd => {
                    let Some((line, used)) = line(rest)? else { return Ok(at) };
                    if !line.is_empty() {
                        return Err(BAD);
                    }
                    at += used;
                    self.state = ChunkState::Size;
                }
                ChunkState::Trailer => {
                    let Some((line, used)) = line(rest)? else { return Ok(at) };
                    at += used;
                    self.trailer += used;
                    if line.is_empty() {
                        self.state = ChunkState::Done;
                    } else if self.trailer > MAX_HEAD {
                        return Err(BAD);
                    }
                }
            }
        }
    }
}

/// A payload over the limit; the caller answers it as the service does.
pub(crate) const TOO_LARGE: BadRequest = BadRequest(413, "The payload is too large");

/// One line that ends with CRLF, without it, and how many bytes it took.
fn line(input: &[u8]) -> Result<Option<(&[u8], usize)>, BadRequest> {
    match input.iter().position(|b| *b == b'\n') {
        Some(end) if end > 0 && input[end - 1] == b'\r' => Ok(Some((&input[..end - 1], end + 1))),
        Some(_) => Err(BadRequest(400, "The chunked body is broken")),
        None if input.len() > MAX_CHUNK_LINE => {
            Err(BadRequest(400, "A line of the chunked body is too long"))
        }
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_target_is_raw() {
        let text = b"POST /runtimes/arn%3Aaws%2F/invocations?a=%20 HTTP/1.1\r\nHost: h\r\nX-A:  b  c \r\n\r\nrest";
        let (head, used) = parse_head(text).expect("parsed").expect("whole");
        assert_eq!(head.target, "/runtimes/arn%3Aaws%2F/invocations?a=%20");
        assert_eq!(&text[used..], b"rest");
        assert_eq!(head.headers.get("x-a"), Some("b  c"));
        assert_eq!(head.framing, Framing::Length(0));
        for cut in 0..used {
            assert!(parse_head(&text[..cut]).expect("no error").is_none());
        }
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let status = |extra: &str| {
            let text = format!("POST / HTTP/1.1\r\nHost: h\r\n{extra}\r\n\r\n");
            parse_head(text.as_bytes()).expect_err("refused").0
        };
        assert_eq!(status("Content-Length: 1\r\nContent-Length: 1"), 400);
        assert_eq!(status("Content-Length: 1\r\nTransfer-Encoding: chunked"), 400);
        assert_eq!(status("Content-Length: +1"), 400);
        assert_eq!(status("Transfer-Encoding: gzip, chunked"), 501);
        assert_eq!(parse_head(b"GET http://h/ HTTP/1.1\r\n\r\n").expect_err("refused").0, 400);
        assert_eq!(parse_head(b"GET / HTTP/1.0\r\n\r\n").expect_err("refused").0, 505);
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse_head(&bytes);
            let _ = ChunkDecoder::new().decode(&bytes, &mut Vec::new());
        }

        #[test]
        fn chunks_survive_every_cut(
            parts in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 1..50), 0..6),
            cuts in proptest::collection::vec(1usize..20, 1..40),
        ) {
            let mut wire = Vec::new();
            for part in &parts {
                wire.extend_from_slice(format!("{:x};ext=1\r\n", part.len()).as_bytes());
                wire.extend_from_slice(part);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
            let (mut decoder, mut body, mut pending) = (ChunkDecoder::new(), Vec::new(), Vec::new());
            let mut cuts = cuts.iter().cycle();
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                let take = cuts.next().map_or(1, |c| *c).min(rest.len());
                pending.extend_from_slice(&rest[..take]);
                rest = &rest[take..];
                let used = decoder.decode(&pending, &mut body).expect("valid");
                pending.drain(..used);
            }
            prop_assert!(decoder.is_done() && pending.is_empty());
            prop_assert_eq!(body, parts.concat());
        }
    }
}
