//! What the agent said. Frameworks put a token into an event in different ways,
//! and some put it there twice: an extractor reads one stream and gives each
//! token once, without being told which framework wrote it.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use super::agent_error::in_stream_error;
use object::{Node, Object};

mod object;
#[cfg(test)]
mod tests;

/// How an agent puts its words into events. [`Auto`](Self::Auto) finds out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TextFormat {
    /// Finds out from the stream itself: the first shape that yields text is kept for the stream,
    /// so that a token sent in two shapes, or the whole text at the end, is not said twice.
    #[default]
    Auto,
    /// JSON strings: `"Hel"`. What the Python kit makes of a string.
    JsonString,
    /// The data is the text. What the TypeScript kit makes of a string.
    Raw,
    /// Strands Agents, Python and TypeScript: deltas, or else the final message or result.
    Strands,
    /// Bedrock Converse stream: `{"contentBlockDelta": {"delta": {"text": ..}}}`,
    /// flattened, or wrapped in `{"event": ..}`.
    Converse,
    /// AG-UI: `TEXT_MESSAGE_CONTENT` and `TEXT_MESSAGE_CHUNK`.
    AgUi,
    /// Objects with a `text`: `{"text": ..}`, as the TypeScript kit's examples
    /// send them in events named `message`.
    TextObject,
    /// No text at all: the caller reads the data.
    None,
}

impl TextFormat {
    /// Every format.
    pub const ALL: &'static [Self] = &[
        Self::Auto,
        Self::JsonString,
        Self::Raw,
        Self::Strands,
        Self::Converse,
        Self::AgUi,
        Self::TextObject,
        Self::None,
    ];

    /// The stable name, the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::JsonString => "json_string",
            Self::Raw => "raw",
            Self::Strands => "strands",
            Self::Converse => "converse",
            Self::AgUi => "ag_ui",
            Self::TextObject => "text_object",
            Self::None => "none",
        }
    }

    /// The format with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.as_str() == name)
    }
}

/// One way in which a stream may carry text. Finer than [`TextFormat`]: a stream
/// that carries a token in two of these carries it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    JsonString,
    Raw,
    AgUi,
    StrandsTyped,
    Converse,
    StrandsData,
    TextObject,
    Message,
    Result,
    Response,
    Output,
}

impl Shape {
    /// The shapes of objects, deltas before whole messages: an object that
    /// holds two (Strands) is read as the first.
    const OF_OBJECTS: &'static [Self] = &[
        Self::AgUi,
        Self::StrandsTyped,
        Self::Converse,
        Self::StrandsData,
        Self::TextObject,
        Self::Message,
        Self::Result,
        Self::Response,
        Self::Output,
    ];

    const fn format(self) -> TextFormat {
        match self {
            Self::JsonString => TextFormat::JsonString,
            Self::Raw => TextFormat::Raw,
            Self::AgUi => TextFormat::AgUi,
            Self::Converse | Self::Output => TextFormat::Converse,
            Self::StrandsTyped | Self::StrandsData => TextFormat::Strands,
            Self::Message | Self::Result | Self::Response => TextFormat::Strands,
            Self::TextObject => TextFormat::TextObject,
        }
    }

    fn allowed(self, format: TextFormat) -> bool {
        // Strands passes the model's own events on, and those are Converse events.
        format == TextFormat::Auto
            || format == self.format()
            || (format == TextFormat::Strands && self == Self::Converse)
    }

    /// The text that `object` carries in this shape.
    fn text<'o>(self, object: &'o Object<'_>, named: bool) -> Option<Cow<'o, str>> {
        let kind = kind(object);
        match self {
            Self::AgUi => match kind? {
                "TEXT_MESSAGE_CONTENT" | "TEXT_MESSAGE_CHUNK" if by_assistant(object) => {
                    text(&object.delta)
                }
                _ => None,
            },
            Self::StrandsTyped => {
                let inner = match kind? {
                    "modelStreamUpdateEvent" => inner(&object.event)?,
                    _ => object,
                };
                let delta = inner_if(&inner.delta, kind_is(inner, "modelContentBlockDeltaEvent"))?;
                // A reasoning delta has a text, too.
                if kind_is(delta, "textDelta") { text(&delta.text) } else { None }
            }
            Self::Converse => unwrapped(object).find_map(|object| {
                let delta = match &object.content_block_delta {
                    Some(block) => inner(&block.object()?.delta)?,
                    // Flattened. Strands in TypeScript looks alike, but has a type.
                    None => {
                        let flat = object.content_block_index.is_some() && object.kind.is_none();
                        inner_if(&object.delta, flat)?
                    }
                };
                text(&delta.text)
            }),
            Self::StrandsData => unwrapped(object)
                .filter(|object| object.kind.is_none())
                .find_map(|object| text(&object.data)),
            Self::TextObject if named && matches!(kind, None | Some("text")) => text(&object.text),
            Self::Message if kind.is_none() => {
                object.message.as_ref().and_then(message).or_else(|| words(object))
            }
            Self::Result if kind.is_none() => said(object.result.as_ref()?),
            Self::Response if kind.is_none() => said(object.response.as_ref()?),
            Self::Output if kind.is_none() => message(inner(&object.output)?.message.as_ref()?),
            _ => None,
        }
    }
}

/// Extracts the text of one stream, event by event.
///
/// **The first shape that yields text is kept** for the whole stream. So an agent
/// that sends each token in two shapes, or the whole message after its deltas, is
/// not read twice; a whole message counts where no delta came before it.
///
/// How `Auto` decides what is not an object:
///
/// - A JSON string is text, unquoted. Not yet, if nothing was text so far and the
///   string looks like a Python dict: the Python kit sends what JSON cannot hold
///   as the string `"{'data': .., 'agent': <..>}"`.
/// - Data that is not JSON proves a raw stream: then and from then on, data is
///   text as it is, whatever it looks like.
/// - Numbers, `true`, `null` and lists are values in a Python stream and tokens in
///   a raw one. Before anything was text they are held back, and join the text if
///   the stream proves raw; after a JSON string they are values.
/// - Only events without a name, or named `message`, are read this way; objects
///   that say what they are may have any name. `[DONE]` is never text.
///
/// Errors carry no text: events named `error`, and objects that
/// [`in_stream_error`] knows. Neither does an object of an unknown shape.
pub struct TextExtractor {
    format: TextFormat,
    shape: Option<Shape>,
    /// Tokens or values: not known yet.
    held: String,
}

/// Tokens come a few bytes at a time; more than this at a stream's start are values.
const HELD_MAX: usize = 4096;

impl TextExtractor {
    /// An extractor for one stream.
    pub fn new(format: TextFormat) -> Self {
        Self { format, shape: None, held: String::new() }
    }

    /// What the stream's text was found in; `None` while there was none.
    pub fn shape(&self) -> Option<TextFormat> {
        self.shape.map(Shape::format)
    }

    /// The text that an event carries: a slice of `data` where the text stands
    /// there as it is. Never empty.
    pub fn extract(&mut self, event: Option<&str>, data: &ByteString) -> Option<ByteString> {
        if event == Some("error") || data.is_empty() {
            return None;
        }
        let plain = matches!(event, None | Some("message"));
        let text = match self.format {
            TextFormat::None => None,
            TextFormat::Raw => self.raw(data),
            TextFormat::Auto if self.shape == Some(Shape::Raw) && plain => self.raw(data),
            _ => read(data, |node| match node {
                Some(Node::Text(text)) => self.json_string(&text, plain, data),
                Some(Node::Object(object)) => self.object(&object, event, data),
                Some(_) => {
                    self.hold(data, plain);
                    None
                }
                None => self.not_json(data, plain),
            }),
        };
        text.filter(|text| !text.is_empty())
    }

    fn raw(&mut self, data: &ByteString) -> Option<ByteString> {
        if in_stream_error(None, data).is_some()
            || (self.format == TextFormat::Auto && data == "[DONE]")
        {
            return None;
        }
        self.shape = Some(Shape::Raw);
        Some(data.clone())
    }

    fn json_string(&mut self, text: &str, plain: bool, data: &ByteString) -> Option<ByteString> {
        match (self.format, self.shape) {
            (TextFormat::JsonString, _) => {}
            (TextFormat::Auto, Some(Shape::JsonString)) if plain => {}
            (TextFormat::Auto, None) if plain && !text.is_empty() && !is_repr(text) => {}
            _ => return None,
        }
        self.keep(Shape::JsonString);
        Some(share(data, text))
    }

    fn object(
        &mut self,
        object: &Object<'_>,
        event: Option<&str>,
        data: &ByteString,
    ) -> Option<ByteString> {
        // Any object may have a `text`. It is what the agent said if its event is
        // named so, or if the caller told us.
        let named = event == Some("message") || self.format == TextFormat::TextObject;
        let read = |shape: &Shape| {
            let text = shape.text(object, named).filter(|text| !text.is_empty())?;
            Some((*shape, text))
        };
        let (shape, text) = match self.shape {
            Some(kept) => read(&kept)?,
            None => Shape::OF_OBJECTS
                .iter()
                .filter(|shape| shape.allowed(self.format))
                .find_map(read)?,
        };
        self.keep(shape);
        Some(share(data, &text))
    }

    fn hold(&mut self, data: &ByteString, plain: bool) {
        if self.format == TextFormat::Auto
            && self.shape.is_none()
            && plain
            && self.held.len() + data.len() <= HELD_MAX
        {
            self.held.push_str(data);
        }
    }

    fn not_json(&mut self, data: &ByteString, plain: bool) -> Option<ByteString> {
        if self.format != TextFormat::Auto
            || !plain
            || !matches!(self.shape, None | Some(Shape::JsonString))
            || data == "[DONE]"
        {
            return None;
        }
        if is_python_json(data) {
            // Python writes NaN where JSON has no word: a value all the same.
            if !data.starts_with('{') {
                self.hold(data, plain);
            }
            return None;
        }
        let mut held = std::mem::take(&mut self.held);
        self.keep(Shape::Raw);
        if held.is_empty() {
            return Some(data.clone());
        }
        held.push_str(data);
        Some(held.into())
    }

    fn keep(&mut self, shape: Shape) {
        self.shape = Some(shape);
        self.held = String::new();
    }
}

/// What an agent says is not for logs.
impl fmt::Debug for TextExtractor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextExtractor")
            .field("format", &self.format)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// The text of a whole answer, one that isn't a stream; `None` where nothing is said.
///
/// `text/*` is text as it is. In JSON, a string is text, unquoted; so is an object
/// that holds one under `result`, `response` or `message`, or an assistant's
/// message there, under `output.message`, or as itself (a message is
/// `{"role": "assistant", "content": [{"text": ..}]}`). What is labelled JSON and
/// isn't is text, too: that is how the TypeScript kit answers with a string.
///
/// `format` is about streams, but for two: `Raw` gives any text or JSON as it is,
/// and `None` gives nothing.
pub fn whole_text(content_type: &str, body: &Bytes, format: TextFormat) -> Option<ByteString> {
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = media == "application/json" || media.ends_with("+json");
    let textual = media.starts_with("text/") && media != "text/event-stream";
    if format == TextFormat::None || !(json || textual) {
        return None;
    }
    let body = ByteString::try_from(body.clone())
        .unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into());
    let body = body.slice_ref(body.strip_prefix('\u{FEFF}').unwrap_or(&body));
    let text = if textual || format == TextFormat::Raw {
        Some(body)
    } else {
        read(&body, |node| match node {
            Some(Node::Text(text)) => Some(share(&body, &text)),
            Some(Node::Object(object)) => {
                let message = || said(object.message.as_ref()?);
                let text = [Shape::Message, Shape::Result, Shape::Response, Shape::Output]
                    .iter()
                    .find_map(|shape| shape.text(&object, false))
                    .or_else(message)
                    .filter(|_| object.error.is_none())?;
                Some(share(&body, &text))
            }
            Some(_) => None,
            None if is_python_json(&body) => None,
            None => Some(body.clone()),
        })
    };
    text.filter(|text| !text.is_empty())
}

fn kind<'o>(object: &'o Object<'_>) -> Option<&'o str> {
    object.kind.as_ref()?.text()
}

fn kind_is(object: &Object<'_>, name: &str) -> bool {
    kind(object) == Some(name)
}

fn text<'o>(node: &'o Option<Node<'_>>) -> Option<Cow<'o, str>> {
    node.as_ref()?.text().map(Cow::Borrowed)
}

fn inner<'o, 'a>(node: &'o Option<Node<'a>>) -> Option<&'o Object<'a>> {
    node.as_ref()?.object()
}

fn inner_if<'o, 'a>(node: &'o Option<Node<'a>>, wanted: bool) -> Option<&'o Object<'a>> {
    if wanted { inner(node) } else { None }
}

fn by_assistant(object: &Object<'_>) -> bool {
    object.role.as_ref().is_none_or(|role| matches!(role.text(), None | Some("assistant")))
}

/// The object and what its `event` wraps: the model's event, or, where several
/// Strands agents work together, an agent's event that wraps the model's.
fn unwrapped<'o, 'a>(object: &'o Object<'a>) -> impl Iterator<Item = &'o Object<'a>> {
    std::iter::successors(Some(object), |object| inner(&object.event)).take(4)
}

/// Words under `result` and the like: text, a message, or a result that holds one.
fn said<'o>(node: &'o Node<'_>) -> Option<Cow<'o, str>> {
    match node {
        Node::Text(text) => Some(Cow::Borrowed(text)),
        _ => message(node).or_else(|| message(node.object()?.message.as_ref()?)),
    }
}

fn message<'o>(node: &'o Node<'_>) -> Option<Cow<'o, str>> {
    words(node.object()?)
}

/// The text of an assistant's message: its text blocks, joined.
fn words<'o>(message: &'o Object<'_>) -> Option<Cow<'o, str>> {
    message.role.as_ref()?;
    if !by_assistant(message) {
        return None;
    }
    let blocks = match message.content.as_ref()? {
        Node::Text(text) => return Some(Cow::Borrowed(text)),
        Node::List(blocks) => blocks,
        _ => return None,
    };
    blocks
        .iter()
        .filter_map(Node::object)
        .filter(|block| matches!(kind(block), None | Some("text" | "textBlock")))
        .filter_map(|block| text(&block.text))
        .reduce(|all, block| all + block)
}

/// Reads `data` as JSON and hands the value over; `None` if it isn't JSON.
fn read<R>(data: &str, then: impl FnOnce(Option<Node<'_>>) -> R) -> R {
    match serde_json::from_str(data) {
        Ok(node) => then(Some(node)),
        // One more chance, off the usual way.
        Err(_) => match without_lone_surrogates(data) {
            Some(repaired) => then(serde_json::from_str(&repaired).ok()),
            None => then(None),
        },
    }
}

/// `text` as a slice of `data` if it stands there, else as a copy.
fn share(data: &ByteString, text: &str) -> ByteString {
    let (whole, part) = (data.as_bytes().as_ptr_range(), text.as_bytes().as_ptr_range());
    if whole.start <= part.start && part.end <= whole.end {
        data.slice_ref(text)
    } else {
        ByteString::from(text)
    }
}

/// Whether a string is a Python dict's `repr`: an event that JSON could not hold.
fn is_repr(text: &str) -> bool {
    text.starts_with("{'") && text.ends_with('}')
}

/// Whether data that isn't JSON is what Python's encoder makes of `nan` and `inf`.
fn is_python_json(data: &str) -> bool {
    matches!(data, "NaN" | "Infinity" | "-Infinity")
        || (data.starts_with(['{', '['])
            && data.ends_with(['}', ']'])
            && ["NaN", "Infinity"].iter().any(|word| data.contains(word)))
}

/// JavaScript cuts strings between the halves of a surrogate pair, and its encoder
/// then writes `"\ud83e"`: not a character, so no parser takes the whole event.
/// Here such a half becomes U+FFFD. `None` if there is none.
fn without_lone_surrogates(json: &str) -> Option<String> {
    let unit = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut repaired = String::new();
    let (mut done, mut at) = (0, 0);
    while let Some(found) = memchr::memchr(b'\\', &json.as_bytes()[at..]) {
        at += found;
        match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                repaired.push_str(&json[done..at]);
                repaired.push_str("\\ufffd");
                at += 6;
                done = at;
            }
            // An escape of two characters, of which the second may be a backslash.
            _ => at = (at + 2).min(json.len()),
        }
    }
    if done == 0 {
        return None;
    }
    repaired.push_str(&json[done..]);
    Some(repaired)
}
