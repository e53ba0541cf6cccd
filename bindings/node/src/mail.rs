//! How small answers cross to JavaScript: written into memory of its own, many of them at once. A value
//! for each that JavaScript must collect would cost more than reading the answer, and would keep the
//! answer's memory until then.

use agentcore_client::InvokeResponse;

/// A larger body is worth a value of its own.
const MOST: usize = 4096;
/// In the place of a text's length: TypeScript finds it in the body, once somebody asks.
const IN_BODY: u32 = u32::MAX;
/// There is none.
const NONE: u32 = u32::MAX - 1;

/// Room for answers.
pub(crate) struct Mail<'a> {
    room: &'a mut [u8],
    used: usize,
}

/// An answer in the mail: its head (the session id, then names and values of its headers, a line each),
/// behind it the body, behind that the text.
pub(crate) struct Letter {
    pub(crate) status: u16,
    /// Of head, body and text.
    pub(crate) lengths: [u32; 3],
}

impl<'a> Mail<'a> {
    pub(crate) fn new(room: &'a mut [u8]) -> Self {
        Self { room, used: 0 }
    }

    /// How much has been written.
    pub(crate) fn length(&self) -> u32 {
        u32::try_from(self.used).unwrap_or_default()
    }

    /// Writes an answer, if it is small and there is room.
    pub(crate) fn post(&mut self, response: &InvokeResponse) -> Option<Letter> {
        if response.body().len() > MOST {
            return None;
        }
        let begin = self.used;
        let letter = self.write(response);
        if letter.is_none() {
            self.used = begin;
        }
        letter
    }

    fn write(&mut self, response: &InvokeResponse) -> Option<Letter> {
        let mut head = self.push(response.session_id().as_str().as_bytes())?;
        for (name, value) in response.headers() {
            // What is text has no line's end in it.
            let Ok(value) = value.to_str() else { continue };
            for line in [name.as_str(), value] {
                head += self.push(b"\n")? + self.push(line.as_bytes())?;
            }
        }
        let body = self.push(response.body())?;
        let text = if is_json(response) {
            IN_BODY
        } else if let Some(text) = response.text() {
            self.push(text.as_bytes())?
        } else {
            NONE
        };
        Some(Letter { status: response.status(), lengths: [head, body, text] })
    }

    fn push(&mut self, bytes: &[u8]) -> Option<u32> {
        let end = self.used.checked_add(bytes.len())?;
        self.room.get_mut(self.used..end)?.copy_from_slice(bytes);
        self.used = end;
        u32::try_from(bytes.len()).ok()
    }
}

/// Whether the text can be found later, in the body alone.
fn is_json(response: &InvokeResponse) -> bool {
    let media = response.content_type().unwrap_or_default().split(';').next();
    media.is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}
