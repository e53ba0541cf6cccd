//! What the socket gets: JSON frames, or the agent's text alone. Text that waits
//! for the post under way is joined here; what is too long for one message is cut
//! between characters. The protocol is written down in `apigateway`.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use crate::error::Delivery;

/// The longest message that API Gateway takes.
pub(super) const MAX_MESSAGE: usize = 128 << 10;
/// From here on the agent's stream is not read any further until the socket has taken some.
const FULL: usize = 256 << 10;
/// And neither with so many pieces, however short they are.
const MOST_PIECES: usize = 1024;

/// Longer names of events are left out.
const LONGEST_NAME: usize = 128;
/// What a short frame is long besides its id and its text, or a little more.
const FRAME: usize = 64;
/// How a frame ends.
const TAIL: &[u8] = b"\"}";
/// How one ends that the next one continues.
const MORE: &[u8] = b"\",\"more\":true}";

/// How the answer is framed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FrameFormat {
    /// JSON frames with a type, an id and a sequence number.
    #[default]
    Json,
    /// The agent's text as it is, one message after the other; then, if there is one, `end`. Without
    /// numbers a client could not tell that a text came twice: after a post of which nobody knows
    /// whether it arrived the answer ends, with `[interrupted] the answer broke off`.
    Text {
        /// What is sent last when the answer is complete.
        end: Option<String>,
    },
}

/// What is done after a broken connection, when nobody knows whether it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Sent again: a client can tell by its number that it has seen it, but not what it has missed.
    Yes,
    /// Not sent again, since nothing tells it from the next one.
    No,
}

/// What waits to be sent.
#[derive(Debug)]
enum Piece {
    Text(String),
    Event {
        name: Option<String>,
        data: String,
    },
    Frame(Frame),
    /// A message as it is.
    Plain(String),
}

/// A frame that is not the agent's own words.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Frame {
    Start {
        resume: String,
        resumed: bool,
    },
    End {
        state: &'static str,
    },
    Error {
        code: &'static str,
        message: String,
        delivery: Option<&'static str>,
        state: Option<&'static str>,
    },
    Continue {
        resume: String,
    },
}

/// What was taken to be posted, so that it can be put back if it proves too long.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) body: Vec<u8>,
    /// How long the message is.
    size: usize,
    /// How much of the first piece it holds.
    length: usize,
    may_be_cut: bool,
}

/// What waits for the socket.
#[derive(Debug)]
pub(super) struct Outbox {
    format: FrameFormat,
    id: String,
    /// The id as JSON has it.
    quoted_id: String,
    sequence: u64,
    limit: usize,
    pieces: VecDeque<Piece>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn new(format: FrameFormat, id: String) -> Self {
        let quoted_id = Value::from(id.as_str()).to_string();
        let (limit, pieces) = (MAX_MESSAGE, VecDeque::new());
        Self { format, id, quoted_id, sequence: 0, limit, pieces, bytes: 0 }
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == FrameFormat::Json
    }

    /// Frames have numbers by which a client knows them again; the agent's words alone have none.
    pub(super) fn again(&self) -> Again {
        if self.is_json() { Again::Yes } else { Again::No }
    }

    /// Nothing of what waits is sent any more, but that there was more.
    pub(super) fn break_off(&mut self) {
        self.pieces.clear();
        self.bytes = 0;
        self.push(Frame::Error {
            code: "interrupted",
            message: "the answer broke off".to_owned(),
            delivery: Some(Delivery::Accepted.as_str()),
            state: None,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= FULL || self.pieces.len() >= MOST_PIECES
    }

    pub(super) fn push_text(&mut self, more: &str) {
        self.bytes += more.len();
        match self.pieces.back_mut() {
            _ if more.is_empty() => {}
            Some(Piece::Text(text)) => text.push_str(more),
            _ => self.pieces.push_back(Piece::Text(more.to_owned())),
        }
    }

    /// An event that carries no text; clients of the agent's words alone have no use for it.
    pub(super) fn push_event(&mut self, name: Option<&str>, data: &str) {
        if self.is_json() {
            self.bytes += data.len();
            // A name is never cut, so that a monstrous one must not fill a message.
            let name = name.filter(|name| name.len() <= LONGEST_NAME).map(str::to_owned);
            let data = data.to_owned();
            self.pieces.push_back(Piece::Event { name, data });
        }
    }

    pub(super) fn push(&mut self, frame: Frame) {
        let piece = match (&self.format, &frame) {
            (FrameFormat::Json, _) => Piece::Frame(frame),
            (FrameFormat::Text { end: Some(end) }, Frame::End { .. }) => Piece::Plain(end.clone()),
            (FrameFormat::Text { .. }, Frame::Error { .. } | Frame::Continue { .. }) => {
                Piece::Plain(frame.to_text())
            }
            (FrameFormat::Text { .. }, _) => return,
        };
        self.pieces.push_back(piece);
    }

    /// The next message, as long as may be. It counts as sent once `sent` was called.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let Self { format, id, quoted_id, sequence, limit, .. } = &*self;
        let mut taken = Taken { body: Vec::new(), size: 0, length: 0, may_be_cut: true };
        let body = &mut taken.body;
        let piece = self.pieces.front()?;
        if let (Piece::Text(text) | Piece::Event { data: text, .. }, FrameFormat::Json) =
            (piece, format)
        {
            body.reserve(FRAME + quoted_id.len() + text.len().min(*limit));
        }
        match (piece, format) {
            (Piece::Text(text), FrameFormat::Text { .. }) => {
                taken.length = text.floor_char_boundary((*limit).max(4));
                body.extend_from_slice(&text.as_bytes()[..taken.length]);
            }
            (Piece::Text(text), FrameFormat::Json) => {
                head(body, "delta", quoted_id, *sequence);
                body.extend_from_slice(b",\"text\":\"");
                taken.length = push_escaped(body, text, *limit - TAIL.len());
                body.extend_from_slice(TAIL);
            }
            (Piece::Event { name, data }, _) => {
                head(body, "event", quoted_id, *sequence);
                if let Some(name) = name {
                    body.extend_from_slice(b",\"event\":");
                    body.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
                }
                body.extend_from_slice(b",\"data\":\"");
                taken.length = push_escaped(body, data, *limit - MORE.len());
                body.extend_from_slice(if taken.length < data.len() { MORE } else { TAIL });
            }
            (Piece::Frame(frame), _) => {
                *body = frame.to_json(id, Some(*sequence)).to_string().into_bytes();
                taken.may_be_cut = false;
            }
            (Piece::Plain(text), _) => {
                *body = text.clone().into_bytes();
                taken.may_be_cut = false;
            }
        }
        taken.size = taken.body.len();
        Some(taken)
    }

    /// The message has left.
    pub(super) fn sent(&mut self, taken: &Taken) {
        self.sequence += 1;
        self.bytes = self.bytes.saturating_sub(taken.length);
        match self.pieces.front_mut() {
            // What is left moves to the front, or the text of a long answer would pile up here.
            Some(Piece::Text(rest) | Piece::Event { data: rest, .. })
                if rest.len() > taken.length =>
            {
                rest.drain(..taken.length);
            }
            _ => drop(self.pieces.pop_front()),
        }
    }

    /// The message was too long for the gateway: from here on half of that. `false` if it can't be
    /// made shorter.
    pub(super) fn shorten(&mut self, taken: &Taken) -> bool {
        let shorter = taken.size / 2;
        let can = taken.may_be_cut && shorter >= 1024;
        if can {
            self.limit = shorter;
        }
        can
    }

    /// A sign of life; there is none among the agent's words alone.
    pub(super) fn heartbeat(&self) -> Option<Vec<u8>> {
        let beat = || json!({ "type": "heartbeat", "id": self.id }).to_string().into_bytes();
        self.is_json().then(beat)
    }
}

impl Frame {
    pub(super) fn to_json(&self, id: &str, sequence: Option<u64>) -> Value {
        let mut frame = Map::new();
        let (kind, members) = match self {
            Self::Start { resume, resumed } => {
                ("start", vec![("resume", json!(resume)), ("resumed", json!(resumed))])
            }
            Self::End { state } => ("end", vec![("state", json!(state))]),
            Self::Error { code, message, delivery, state } => {
                let mut members = vec![("code", json!(code)), ("message", json!(message))];
                members.extend(delivery.map(|delivery| ("delivery", json!(delivery))));
                members.extend(state.map(|state| ("state", json!(state))));
                ("error", members)
            }
            Self::Continue { resume } => ("continue", vec![("resume", json!(resume))]),
        };
        frame.insert("type".into(), kind.into());
        if !id.is_empty() {
            frame.insert("id".into(), id.into());
        }
        if let Some(sequence) = sequence {
            frame.insert("seq".into(), sequence.into());
        }
        frame.extend(members.into_iter().map(|(name, value)| (name.to_owned(), value)));
        frame.into()
    }

    fn to_text(&self) -> String {
        match self {
            Self::Error { code, message, .. } => format!("[{code}] {message}"),
            // There is no token in plain text to go on with.
            Self::Continue { .. } => "[timeout] the answer is not complete".to_owned(),
            Self::Start { .. } | Self::End { .. } => String::new(),
        }
    }
}

fn head(body: &mut Vec<u8>, kind: &str, quoted_id: &str, sequence: u64) {
    let sequence = sequence.to_string();
    for part in ["{\"type\":\"", kind, "\",\"id\":", quoted_id, ",\"seq\":", &sequence] {
        body.extend_from_slice(part.as_bytes());
    }
}

/// Appends as much of `text` as there is room for until `body` is `limit` long, as the inside of a
/// JSON string, and says how many bytes of it that were: whole characters, and at least one.
fn push_escaped(body: &mut Vec<u8>, text: &str, limit: usize) -> usize {
    let bytes = text.as_bytes();
    let mut done = 0;
    while done < bytes.len() {
        let rest = &bytes[done..];
        let plain =
            rest.iter().position(|b| *b < 0x20 || matches!(b, b'"' | b'\\')).unwrap_or(rest.len());
        let room = limit.saturating_sub(body.len());
        if plain > room {
            let mut cut = text[done..].floor_char_boundary(room);
            if done + cut == 0 {
                cut = text.chars().next().map_or(0, char::len_utf8);
            }
            body.extend_from_slice(&rest[..cut]);
            return done + cut;
        }
        body.extend_from_slice(&rest[..plain]);
        done += plain;
        let Some(special) = bytes.get(done) else { break };
        let escaped = match special {
            b'"' => "\\\"".to_owned(),
            b'\\' => "\\\\".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\r' => "\\r".to_owned(),
            b'\t' => "\\t".to_owned(),
            other => format!("\\u{other:04x}"),
        };
        if body.len() + escaped.len() > limit && done > 0 {
            break;
        }
        body.extend_from_slice(escaped.as_bytes());
        done += 1;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outbox(format: FrameFormat) -> Outbox {
        Outbox::new(format, "m".into())
    }

    /// Sends all that waits, and gives the messages.
    fn drain(outbox: &mut Outbox) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let Some(taken) = outbox.take() {
            messages.push(taken.body.clone());
            outbox.sent(&taken);
        }
        assert_eq!(outbox.bytes, 0);
        messages
    }

    proptest! {
        #[test]
        fn what_is_cut_is_whole_again(
            text in "[a\"\\\\\n\u{1}\u{7f}é\u{2028}😀]{0,400}",
            limit in 100_usize..300,
        ) {
            let mut outbox = outbox(FrameFormat::Json);
            outbox.limit = limit;
            outbox.push_text(&text);
            outbox.push_event(Some("tool"), &text);
            let (mut said, mut data) = (String::new(), String::new());
            for (number, message) in drain(&mut outbox).iter().enumerate() {
                prop_assert!(message.len() <= limit, "{} of {limit}", message.len());
                let frame: Value = serde_json::from_slice(message).unwrap();
                prop_assert_eq!(&frame["seq"], number);
                said.push_str(frame["text"].as_str().unwrap_or_default());
                data.push_str(frame["data"].as_str().unwrap_or_default());
            }
            prop_assert_eq!(&said, &text);
            prop_assert_eq!(&data, &text);
        }

        #[test]
        fn plain_text_is_cut_between_characters(text in "[aé😀]{1,200}", limit in 4_usize..40) {
            let mut outbox = outbox(FrameFormat::Text { end: None });
            outbox.limit = limit;
            outbox.push_text(&text);
            outbox.push(Frame::End { state: "complete" });
            let messages = drain(&mut outbox);
            prop_assert!(messages.iter().all(|m| m.len() <= limit && std::str::from_utf8(m).is_ok()));
            prop_assert_eq!(messages.concat(), text.into_bytes());
        }
    }

    #[test]
    fn a_message_that_was_not_taken_is_made_again_with_the_same_number() {
        let mut outbox = outbox(FrameFormat::Json);
        outbox.push_text(&"x".repeat(5_000));
        let first = outbox.take().unwrap();
        outbox.push_text("y");
        assert!(outbox.shorten(&first));
        let second = outbox.take().unwrap();
        assert!(second.size <= first.size / 2);
        assert!(String::from_utf8_lossy(&second.body).contains("\"seq\":0"));
        outbox.sent(&second);
        let rest = drain(&mut outbox);
        assert!(String::from_utf8_lossy(rest.last().unwrap()).contains("xy\"}"));
    }

    #[test]
    fn a_frame_of_our_own_can_not_be_shortened() {
        let mut outbox = outbox(FrameFormat::Json);
        outbox.push(Frame::Start { resume: "x".repeat(4_000), resumed: false });
        let taken = outbox.take().unwrap();
        assert!(!outbox.shorten(&taken));
    }

    #[test]
    fn a_monstrous_name_is_left_out() {
        let mut outbox = outbox(FrameFormat::Json);
        outbox.push_event(Some(&"n".repeat(LONGEST_NAME + 1)), "data");
        let message = String::from_utf8(drain(&mut outbox).remove(0)).unwrap();
        assert_eq!(message, r#"{"type":"event","id":"m","seq":0,"data":"data"}"#);
    }

    #[test]
    fn events_without_data_fill_it_too() {
        let mut outbox = outbox(FrameFormat::Json);
        while !outbox.is_full() {
            outbox.push_event(None, "");
            assert!(outbox.pieces.len() <= FULL, "it never fills");
        }
        drain(&mut outbox);
        assert!(!outbox.is_full());
    }

    #[test]
    fn it_is_full_until_enough_was_sent() {
        let mut outbox = outbox(FrameFormat::Json);
        outbox.push_text(&"x".repeat(FULL - 1));
        assert!(!outbox.is_full());
        outbox.push_text("xx");
        assert!(outbox.is_full());
        let taken = outbox.take().unwrap();
        outbox.sent(&taken);
        assert!(!outbox.is_full());
    }
}
