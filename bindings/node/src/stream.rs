//! An answer while it arrives, behind the public `AgentStream`. The JavaScript
//! thread takes what has arrived in batches: of all strings of a batch one is
//! made, which TypeScript cuts, since crossing over costs more than all the rest.

use std::sync::Arc;
use std::task::{Context, Poll};

use agentcore_client::{AgentEvent, Bytes};
use agentcore_ffi::{Background, Batch, Failure, Feed, Reading, TokenWaker};
use napi::bindgen_prelude::{Either3, Either4, Env, Result, Uint8ArraySlice};
use napi_derive::napi;

use crate::errors::{FailureView, count};
use crate::queue::Shared;

/// Words of a batch's description: their number, then for each event the lengths of its data, text,
/// name and id, in UTF-16 code units.
const WORDS: usize = 4;
/// The data is no text, and the length counts bytes.
const BINARY: u32 = 1 << 31;
/// There is none.
const NONE: u32 = u32::MAX;

/// An answer while it arrives.
#[napi]
pub struct Stream {
    feed: Arc<Feed>,
    token: u32,
    waker: Arc<TokenWaker>,
    queue: Shared,
    background: &'static Background,
    /// Data of the last batch that is no text.
    binary: Vec<Bytes>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.feed.close();
    }
}

impl Stream {
    pub(crate) fn new(
        feed: Arc<Feed>,
        token: u32,
        waker: Arc<TokenWaker>,
        queue: Shared,
        background: &'static Background,
    ) -> Self {
        Self { feed, token, waker, queue, background, binary: Vec::new() }
    }

    fn take<T>(
        &self,
        poll: impl FnOnce(&Reading<'_>, &mut Context<'_>) -> Poll<Batch<T>>,
    ) -> Poll<Batch<T>> {
        // TypeScript sees to it that there is one reader; that one failing beats a panic.
        let Some(reading) = self.feed.begin_read() else {
            return Poll::Ready(Batch::Failed(Failure::System("two readers of a stream".into())));
        };
        let polled = self.background.turn(&self.waker, |cx| poll(&reading, cx));
        self.queue.flush_logs(self.feed.scope());
        polled
    }
}

#[napi]
impl Stream {
    /// What the queue gives when it is worth asking again.
    #[napi(getter)]
    pub fn token(&self) -> u32 {
        self.token
    }

    #[napi(getter)]
    pub fn session_id(&self) -> &str {
        &self.feed.head().session_id
    }

    #[napi(getter)]
    pub fn status(&self) -> u32 {
        self.feed.head().status.into()
    }

    /// Names and values in turn.
    #[napi]
    pub fn headers(&self) -> Vec<&str> {
        let headers = self.feed.head().headers.iter();
        headers.flat_map(|(name, value)| [&**name, &**value]).collect()
    }

    #[napi(getter)]
    pub fn end(&self) -> Option<&'static str> {
        self.feed.end().map(|end| end.as_str())
    }

    #[napi(getter)]
    pub fn events_seen(&self) -> f64 {
        count(self.feed.events_seen())
    }

    /// The events that have arrived: all their strings as one, described in `words`; `null` while
    /// there is none, `true` at the end.
    #[napi]
    pub fn take_events(
        &mut self,
        words: Option<&mut [u32]>,
    ) -> Option<Either3<String, bool, FailureView>> {
        // Before anything is taken, which would be lost.
        let Some((number, words)) = words.and_then(<[u32]>::split_first_mut) else {
            return Some(Either3::C(Failure::System("no room for a batch".into()).into()));
        };
        match self.take(|reading, cx| reading.poll_events(cx)) {
            Poll::Pending => None,
            Poll::Ready(Batch::End) => Some(Either3::B(true)),
            Poll::Ready(Batch::Failed(failure)) => Some(Either3::C(failure.into())),
            Poll::Ready(Batch::Items(events)) => {
                self.binary.clear();
                *number = u32::try_from(events.len()).unwrap_or_default();
                let bytes = events
                    .iter()
                    .map(|event| event.data().len() + event.text().map_or(0, str::len) + 16);
                let mut joined = String::with_capacity(bytes.sum());
                for (event, words) in events.iter().zip(words.chunks_exact_mut(WORDS)) {
                    self.describe(event, &mut joined, words);
                }
                Some(Either3::A(joined))
            }
        }
    }

    fn describe(&mut self, event: &AgentEvent, joined: &mut String, words: &mut [u32]) {
        let mut push = |text: Option<&str>| match text {
            Some(text) => {
                joined.push_str(text);
                let units = if text.is_ascii() { text.len() } else { text.encode_utf16().count() };
                u32::try_from(units).unwrap_or_default()
            }
            None => NONE,
        };
        let data = match event.data_str() {
            Some(text) => push(Some(text)),
            None => {
                let bytes = Bytes::copy_from_slice(event.data());
                let length = u32::try_from(bytes.len()).unwrap_or_default();
                self.binary.push(bytes);
                length | BINARY
            }
        };
        let described = [data, push(event.text()), push(event.event()), push(event.id())];
        words.copy_from_slice(&described);
    }

    /// The data of the last batch that is no text, in order, as one.
    #[napi]
    pub fn take_binary<'env>(&mut self, env: &'env Env) -> Result<Uint8ArraySlice<'env>> {
        Uint8ArraySlice::copy_from(env, std::mem::take(&mut self.binary).concat())
    }

    /// The raw bytes that have arrived; `null` while there are none, `true` at the end.
    #[napi]
    pub fn take_bytes<'env>(
        &self,
        env: &'env Env,
    ) -> Result<Either4<Uint8ArraySlice<'env>, bool, FailureView, ()>> {
        Ok(match self.take(|reading, cx| reading.poll_bytes(cx)) {
            Poll::Pending => Either4::D(()),
            Poll::Ready(Batch::End) => Either4::B(true),
            Poll::Ready(Batch::Failed(failure)) => Either4::C(failure.into()),
            Poll::Ready(Batch::Items(chunks)) => Either4::A(match &chunks[..] {
                [chunk] => Uint8ArraySlice::copy_from(env, chunk)?,
                chunks => Uint8ArraySlice::copy_from(env, chunks.concat())?,
            }),
        })
    }

    /// Closes the connection at once.
    #[napi]
    pub fn close(&self) {
        self.feed.close();
    }
}
