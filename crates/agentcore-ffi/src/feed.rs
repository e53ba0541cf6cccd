//! A stream on its way into a foreign language. Nothing is read ahead: each
//! poll takes what has arrived, up to a bound, on the reader's own thread. So
//! back-pressure reaches the socket, and a cancelled read loses nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use agentcore_client::{AgentEvent, AgentStream, Bytes, BytesStream, StreamEnd};
use futures::Stream;

use crate::failure::{Closed, Failure};
use crate::ready::TokenWaker;
use crate::scope::Scope;

/// Events handed over at a time are at most so many …
const MAX_EVENTS: usize = 256;
/// … and hold at most so many bytes, or are one event.
const MAX_BYTES: usize = 256 << 10;
/// So few at a time are copied out of the buffer that they came in: their reader keeps them while it
/// waits for the next ones. Where many come, they share what they hold on to.
const FEW: usize = 4;

/// A stream that is read in batches.
#[derive(Debug)]
pub struct Feed {
    head: Head,
    inner: Mutex<Inner>,
    reading: AtomicBool,
    scope: Scope,
}

#[derive(Debug)]
struct Inner {
    stream: Source,
    /// Came after what was handed over, and has not been told yet.
    failed: Option<Failure>,
    end: Option<StreamEnd>,
    events_seen: u64,
    /// Whom the last poll left waiting, to be woken by `close`, too.
    waiting: Option<Waker>,
}

#[derive(Debug)]
enum Source {
    Events(Box<AgentStream>),
    Bytes(Box<BytesStream>),
    /// It has ended or was closed.
    Gone,
}

/// What an answer said before its body.
#[derive(Clone, Debug)]
pub struct Head {
    /// The runtime session that answers.
    pub session_id: String,
    /// HTTP status.
    pub status: u16,
    /// All headers, names in lower case; values that are no text are left out.
    pub headers: Box<[(Box<str>, Box<str>)]>,
}

/// What a read gave.
#[derive(Debug)]
pub enum Batch<T> {
    /// At least one item.
    Items(Vec<T>),
    /// The proper end.
    End,
    /// It broke, or was closed.
    Failed(Failure),
}

impl Feed {
    /// Takes a stream over.
    pub fn new(stream: AgentStream) -> Self {
        let headers = stream.headers().iter().filter_map(|(name, value)| {
            Some((Box::from(name.as_str()), Box::from(value.to_str().ok()?)))
        });
        Self {
            head: Head {
                session_id: stream.session_id().as_str().to_owned(),
                status: stream.status(),
                headers: headers.collect(),
            },
            inner: Mutex::new(Inner {
                stream: Source::Events(Box::new(stream)),
                failed: None,
                end: None,
                events_seen: 0,
                waiting: None,
            }),
            reading: AtomicBool::new(false),
            scope: Scope::default(),
        }
    }

    /// What the answer said before its body.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Where it leaves its log lines.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// How it ended; `None` while it goes on. Not before what came first has been handed over.
    pub fn end(&self) -> Option<StreamEnd> {
        self.lock().end
    }

    /// Events handed over so far.
    pub fn events_seen(&self) -> u64 {
        self.lock().events_seen
    }

    /// The right to read: one reader at a time.
    pub fn begin_read(&self) -> Option<Reading<'_>> {
        let free = !self.reading.swap(true, Ordering::AcqRel);
        // Made only then: dropping one gives the right back.
        free.then(|| Reading(self))
    }

    /// A read was given up: until the next one nobody waits, and silence does not count.
    pub fn rest(&self) {
        self.lock().stream.count_silence(false);
    }

    /// Another reader takes over, and the one before may have gone in the middle of a read.
    pub fn forget_read(&self) {
        match &mut self.lock().stream {
            Source::Events(stream) => stream.forget_read(),
            Source::Bytes(stream) => stream.forget_read(),
            Source::Gone => {}
        }
    }

    /// What to say if it was closed since so many events were read, which then are not handed over.
    pub fn take_back_if_closed(&self, events: usize) -> Option<Failure> {
        let mut inner = self.lock();
        if inner.end != Some(StreamEnd::Closed) {
            return None;
        }
        inner.events_seen = inner.events_seen.saturating_sub(events as u64);
        Some(Failure::Closed(Closed::Stream(self.head.session_id.clone())))
    }

    /// The failure that was its end could not be told: the next read gives it once more.
    pub fn tell_again(&self, failure: Failure) {
        let mut inner = self.lock();
        if inner.end.is_some() {
            inner.failed = Some(failure);
        }
    }

    /// Closes the connection at once and wakes whoever waits.
    pub fn close(&self) {
        let mut inner = self.lock();
        if inner.end.is_some() {
            return;
        }
        inner.finish(StreamEnd::Closed);
        let waiting = inner.waiting.take();
        drop(inner);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_items<T: Item>(&self, cx: &mut Context<'_>) -> Poll<Batch<T>> {
        let mut inner = self.lock();
        let session = &self.head.session_id;
        self.guard(&mut inner, |inner| match inner.gather(cx) {
            (items, _) if !items.is_empty() => Poll::Ready(Batch::Items(items)),
            (_, Halt::Waits) => Poll::Pending,
            (_, Halt::Full | Halt::Over) => Poll::Ready(inner.conclude(session)),
        })
        .unwrap_or_else(|| Poll::Ready(inner.conclude(session)))
    }

    fn gather<T: Item>(&self, cx: &mut Context<'_>) -> Poll<Vec<T>> {
        let mut inner = self.lock();
        match self.guard(&mut inner, |inner| inner.gather(cx)) {
            Some((items, Halt::Waits)) if items.is_empty() => Poll::Pending,
            Some((items, _)) => Poll::Ready(items),
            None => Poll::Ready(Vec::new()),
        }
    }

    fn waits<T: Item>(&self, waker: &Arc<TokenWaker>) -> bool {
        let mut inner = self.lock();
        let left = inner.waiting.as_ref();
        let waits = T::is_of(&inner.stream)
            && waker.is_armed()
            && left.is_some_and(|left| waker.is_behind(left));
        if waits {
            inner.stream.count_silence(true);
        }
        waits
    }

    /// What `poll` logs is left in the scope; `None` if it panics, which is this stream's failure.
    fn guard<T>(&self, inner: &mut Inner, poll: impl FnOnce(&mut Inner) -> T) -> Option<T> {
        let polled = self.scope.run(|| catch_unwind(AssertUnwindSafe(|| poll(inner))));
        polled
            .map_err(|panic| {
                inner.stream = Source::Gone;
                inner.failed = Some(Failure::panicked(panic.as_ref()));
            })
            .ok()
    }
}

impl Source {
    fn count_silence(&mut self, counts: bool) {
        match self {
            Self::Events(stream) => stream.count_silence(counts),
            Self::Bytes(stream) => stream.count_silence(counts),
            Self::Gone => {}
        }
    }
}

/// What a stream can be read as.
trait Item: Sized {
    /// Whether the stream has been read as this before, or is one from the start.
    fn is_of(source: &Source) -> bool;
    /// Whether there can be none any more, since it was read as something else.
    fn is_past(source: &Source) -> bool;
    fn poll(
        source: &mut Source,
        cx: &mut Context<'_>,
    ) -> Poll<Option<agentcore_client::Result<Self>>>;
    fn size(&self) -> usize;
    /// Copies it out of the buffer that it came in, if that would be kept for it.
    fn detach(&mut self) {}
}

impl Item for AgentEvent {
    fn is_of(source: &Source) -> bool {
        matches!(source, Source::Events(_))
    }

    fn is_past(source: &Source) -> bool {
        matches!(source, Source::Bytes(_))
    }

    fn poll(
        source: &mut Source,
        cx: &mut Context<'_>,
    ) -> Poll<Option<agentcore_client::Result<Self>>> {
        match source {
            Source::Events(stream) => Pin::new(&mut **stream).poll_next(cx),
            Source::Bytes(_) | Source::Gone => Poll::Ready(None),
        }
    }

    fn size(&self) -> usize {
        self.data().len()
    }

    fn detach(&mut self) {
        Self::detach(self);
    }
}

impl Item for Bytes {
    fn is_of(source: &Source) -> bool {
        matches!(source, Source::Bytes(_))
    }

    fn is_past(_: &Source) -> bool {
        false
    }

    fn poll(
        source: &mut Source,
        cx: &mut Context<'_>,
    ) -> Poll<Option<agentcore_client::Result<Self>>> {
        if let Source::Events(_) = source
            && let Source::Events(stream) = std::mem::replace(source, Source::Gone)
        {
            *source = Source::Bytes(Box::new(stream.into_bytes_stream()));
        }
        match source {
            Source::Bytes(stream) => Pin::new(&mut **stream).poll_next(cx),
            Source::Events(_) | Source::Gone => Poll::Ready(None),
        }
    }

    fn size(&self) -> usize {
        self.len()
    }
}

/// Why no more items were gathered.
enum Halt {
    /// More may come, and then the waker is woken.
    Waits,
    /// As many as are handed over at a time.
    Full,
    /// None will come; why, `conclude` says.
    Over,
}

impl Inner {
    fn gather<T: Item>(&mut self, cx: &mut Context<'_>) -> (Vec<T>, Halt) {
        let waited = self.waiting.take();
        let mut items = Vec::new();
        let mut bytes = 0;
        if self.end.is_some() || self.failed.is_some() || T::is_past(&self.stream) {
            return (items, Halt::Over);
        }
        while items.len() < MAX_EVENTS && bytes < MAX_BYTES {
            match T::poll(&mut self.stream, cx) {
                Poll::Ready(Some(Ok(mut item))) => {
                    // Before the next poll, which reads.
                    if items.len() < FEW {
                        item.detach();
                    }
                    bytes += item.size();
                    items.push(item);
                }
                Poll::Ready(Some(Err(error))) => {
                    self.failed = Some(error.into());
                    return (self.seen(items), Halt::Over);
                }
                // Asked once more, a stream that has ended says so again.
                Poll::Ready(None) => return (self.seen(items), Halt::Over),
                Poll::Pending => {
                    let same = waited.filter(|waker| waker.will_wake(cx.waker()));
                    self.waiting = Some(same.unwrap_or_else(|| cx.waker().clone()));
                    if !items.is_empty() {
                        // Nobody waits while these are worked on.
                        self.stream.count_silence(false);
                    }
                    return (self.seen(items), Halt::Waits);
                }
            }
        }
        (self.seen(items), Halt::Full)
    }

    fn seen<T>(&mut self, items: Vec<T>) -> Vec<T> {
        if let Source::Events(_) = self.stream {
            self.events_seen += items.len() as u64;
        }
        items
    }

    /// What there is to say when no more items come.
    fn conclude<T: Item>(&mut self, session: &str) -> Batch<T> {
        if T::is_past(&self.stream) {
            return Batch::Failed(Failure::Closed(Closed::Events(session.to_owned())));
        }
        match (self.end, self.failed.take()) {
            (None, Some(failure)) => self.fail(failure),
            (None, None) => {
                self.finish(StreamEnd::Complete);
                Batch::End
            }
            (Some(_), Some(failure)) => Batch::Failed(failure),
            (Some(StreamEnd::Closed), None) => {
                Batch::Failed(Failure::Closed(Closed::Stream(session.to_owned())))
            }
            (Some(_), None) => Batch::End,
        }
    }

    fn fail<T>(&mut self, failure: Failure) -> Batch<T> {
        let end = match &self.stream {
            Source::Events(stream) => stream.end(),
            Source::Bytes(stream) => stream.end(),
            Source::Gone => None,
        };
        self.finish(end.unwrap_or(StreamEnd::ProtocolError));
        Batch::Failed(failure)
    }

    /// Dropping the stream closes its connection, or gives it back if it was read to its end.
    fn finish(&mut self, end: StreamEnd) {
        self.end = Some(end);
        self.stream = Source::Gone;
        self.failed = None;
    }
}

/// The right to read a feed.
#[derive(Debug)]
pub struct Reading<'a>(&'a Feed);

impl Reading<'_> {
    /// The events that have arrived, at most 256 of them or 256 KiB; an error comes after what was
    /// received before it. Once raw bytes were read there are none, which is no proper end.
    pub fn poll_events(&self, cx: &mut Context<'_>) -> Poll<Batch<AgentEvent>> {
        self.0.poll_items(cx)
    }

    /// The raw bytes that have arrived. From here on there are no events.
    pub fn poll_bytes(&self, cx: &mut Context<'_>) -> Poll<Batch<Bytes>> {
        self.0.poll_items(cx)
    }

    /// The same, and nothing else: none if a poll has something else to say, which it still says.
    pub fn gather_events(&self, cx: &mut Context<'_>) -> Poll<Vec<AgentEvent>> {
        self.0.gather(cx)
    }

    /// The raw bytes that have arrived; none if a poll has something else to say.
    pub fn gather_bytes(&self, cx: &mut Context<'_>) -> Poll<Vec<Bytes>> {
        self.0.gather(cx)
    }

    /// Whether no more events have arrived since the last poll, which left this waker to be woken:
    /// another one would find nothing. If so, a read waits from now on.
    pub fn waits_for_events(&self, waker: &Arc<TokenWaker>) -> bool {
        self.0.waits::<AgentEvent>(waker)
    }

    /// The same for raw bytes.
    pub fn waits_for_bytes(&self, waker: &Arc<TokenWaker>) -> bool {
        self.0.waits::<Bytes>(waker)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.reading.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentcore_client::{
        Auth, Body, Client, Environment, ErrorKind, HttpService, SendError, SendLimits, Timeouts,
    };
    use futures::future::BoxFuture;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;
    use std::time::Duration;

    type Chunk = std::result::Result<Bytes, Box<dyn std::error::Error + Send + Sync>>;

    /// Answers with these chunks; what the channel has not got yet has not arrived yet.
    #[derive(Debug)]
    struct Canned(Mutex<Option<futures::channel::mpsc::UnboundedReceiver<Chunk>>>);

    impl HttpService for Canned {
        fn send(
            &self,
            _: http::Request<Bytes>,
            _: SendLimits,
        ) -> BoxFuture<'static, std::result::Result<http::Response<Body>, SendError>> {
            let chunks = self.0.lock().unwrap().take().unwrap();
            let answer = http::Response::builder()
                .header("content-type", "text/event-stream")
                .body(Body::from_stream(chunks))
                .unwrap();
            Box::pin(async { Ok(answer) })
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn feed() -> (futures::channel::mpsc::UnboundedSender<Chunk>, Feed) {
        feed_with(Timeouts::default()).await
    }

    async fn feed_with(
        timeouts: Timeouts,
    ) -> (futures::channel::mpsc::UnboundedSender<Chunk>, Feed) {
        let (sender, receiver) = futures::channel::mpsc::unbounded();
        let client = Client::builder_from_env()
            .environment(Environment::empty())
            .local_url("http://127.0.0.1:1")
            .auth(Auth::none())
            .transport(Canned(Mutex::new(Some(receiver))))
            .build()
            .unwrap();
        (sender, Feed::new(client.invoke("hi").timeouts(timeouts).stream().await.unwrap()))
    }

    /// A token of a queue that nobody watches.
    fn quiet() -> (Arc<TokenWaker>, Waker) {
        struct Quiet;
        impl crate::Signal for Quiet {
            fn raise(&self) {}
        }
        let token = TokenWaker::new(crate::ReadyQueue::new(Box::new(Quiet)), 7);
        (Arc::clone(&token), Waker::from(token))
    }

    fn event(number: usize) -> Chunk {
        Ok(Bytes::from(format!("data: \"{number}\"\n\n")))
    }

    #[tokio::test]
    async fn what_is_there_comes_together_and_the_error_after_it() {
        let (sender, feed) = feed().await;
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let reading = feed.begin_read().unwrap();
        assert!(feed.begin_read().is_none());
        assert!(reading.poll_events(&mut cx).is_pending());
        (0..300).for_each(|number| sender.unbounded_send(event(number)).unwrap());
        assert!(woken.0.load(Ordering::SeqCst) > 0);
        let mut seen = Vec::new();
        for expected in [MAX_EVENTS, 300 - MAX_EVENTS] {
            if seen.len() == MAX_EVENTS {
                sender.unbounded_send(Err("cut".into())).unwrap();
            }
            let Poll::Ready(Batch::Items(items)) = reading.poll_events(&mut cx) else {
                panic!("events have arrived")
            };
            assert_eq!(items.len(), expected);
            seen.extend(items.iter().map(|event| event.text().unwrap().to_owned()));
        }
        assert!(seen.iter().enumerate().all(|(number, text)| *text == number.to_string()));
        assert_eq!((feed.end(), feed.events_seen()), (None, 300));
        let Poll::Ready(Batch::Failed(Failure::Core(error))) = reading.poll_events(&mut cx) else {
            panic!("it broke")
        };
        assert_eq!((error.kind(), error.events_seen()), (ErrorKind::StreamInterrupted, 300));
        assert_eq!(feed.end(), Some(StreamEnd::Truncated));
        assert!(matches!(reading.poll_events(&mut cx), Poll::Ready(Batch::End)));
        drop(reading);
        assert!(feed.begin_read().is_some());
    }

    #[tokio::test]
    async fn who_has_seen_all_is_told_of_more_without_asking_again() {
        let (sender, feed) = feed().await;
        let (token, waker) = quiet();
        let mut cx = Context::from_waker(&waker);
        let reading = feed.begin_read().unwrap();
        assert!(!reading.waits_for_events(&token));
        for number in 0..3 {
            sender.unbounded_send(event(number)).unwrap();
            token.arm();
            let Poll::Ready(items) = reading.gather_events(&mut cx) else { panic!("one came") };
            assert_eq!(items.len(), 1);
            assert!(reading.waits_for_events(&token), "it has seen all");
        }
        assert!(reading.gather_events(&mut cx).is_pending());
        assert_eq!(feed.events_seen(), 3);
        sender.unbounded_send(Err("cut".into())).unwrap();
        assert!(!reading.waits_for_events(&token), "it was told");
        for _ in 0..2 {
            let gathered = reading.gather_events(&mut cx);
            assert!(matches!(gathered, Poll::Ready(items) if items.is_empty()));
            assert_eq!(feed.end(), None);
        }
        let polled = reading.poll_events(&mut cx);
        assert!(matches!(polled, Poll::Ready(Batch::Failed(Failure::Core(_)))));
        assert_eq!(feed.end(), Some(StreamEnd::Truncated));
        let gathered = reading.gather_events(&mut cx);
        assert!(matches!(gathered, Poll::Ready(items) if items.is_empty()));
        assert!(matches!(reading.poll_events(&mut cx), Poll::Ready(Batch::End)));
    }

    #[tokio::test]
    async fn who_asks_for_something_else_has_not_seen_all() {
        let (sender, feed) = feed().await;
        let (token, waker) = quiet();
        let mut cx = Context::from_waker(&waker);
        let reading = feed.begin_read().unwrap();
        assert!(reading.gather_events(&mut cx).is_pending());
        assert!(reading.waits_for_events(&token) && !reading.waits_for_bytes(&token));
        assert!(reading.gather_bytes(&mut cx).is_pending());
        assert!(reading.waits_for_bytes(&token) && !reading.waits_for_events(&token));
        // Asked for what there cannot be, it is not asked for what has arrived.
        sender.unbounded_send(event(1)).unwrap();
        token.arm();
        assert!(matches!(reading.gather_events(&mut cx), Poll::Ready(items) if items.is_empty()));
        assert!(!reading.waits_for_bytes(&token));
        let polled = reading.poll_events(&mut cx);
        assert!(matches!(polled, Poll::Ready(Batch::Failed(Failure::Closed(Closed::Events(_))))));
        assert!(!reading.waits_for_bytes(&token));
        assert!(matches!(reading.gather_bytes(&mut cx), Poll::Ready(items) if items.len() == 1));
    }

    #[tokio::test]
    async fn who_is_refused_takes_nothing_from_who_reads() {
        let (_sender, feed) = feed().await;
        let reading = feed.begin_read().unwrap();
        for _ in 0..3 {
            assert!(feed.begin_read().is_none());
        }
        drop(reading);
        assert!(feed.begin_read().is_some());
    }

    #[tokio::test]
    async fn an_end_that_could_not_be_told_is_told_again() {
        let (sender, feed) = feed().await;
        let mut cx = Context::from_waker(Waker::noop());
        let reading = feed.begin_read().unwrap();
        sender.unbounded_send(Err("cut".into())).unwrap();
        for _ in 0..2 {
            let Poll::Ready(Batch::Failed(failure)) = reading.poll_events(&mut cx) else {
                panic!("it is cut")
            };
            assert_eq!(feed.end(), Some(StreamEnd::Truncated));
            feed.tell_again(failure);
        }
        assert!(matches!(reading.poll_bytes(&mut cx), Poll::Ready(Batch::Failed(_))));
        assert!(matches!(reading.poll_events(&mut cx), Poll::Ready(Batch::End)));
    }

    #[tokio::test]
    async fn what_is_no_end_needs_not_be_told_again() {
        let (sender, feed) = feed().await;
        let mut cx = Context::from_waker(Waker::noop());
        let reading = feed.begin_read().unwrap();
        assert!(reading.poll_bytes(&mut cx).is_pending());
        let Poll::Ready(Batch::Failed(failure)) = reading.poll_events(&mut cx) else {
            panic!("there are none any more")
        };
        feed.tell_again(failure);
        sender.unbounded_send(event(1)).unwrap();
        assert!(matches!(reading.poll_bytes(&mut cx), Poll::Ready(Batch::Items(_))));
    }

    #[tokio::test]
    async fn what_was_read_before_a_close_is_not_handed_over_after_it() {
        let (sender, feed) = feed().await;
        let mut cx = Context::from_waker(Waker::noop());
        let reading = feed.begin_read().unwrap();
        for number in 0..3 {
            sender.unbounded_send(event(number)).unwrap();
        }
        assert!(matches!(reading.poll_events(&mut cx), Poll::Ready(Batch::Items(_))));
        assert!(feed.take_back_if_closed(3).is_none());
        assert_eq!(feed.events_seen(), 3);
        feed.close();
        let closed = feed.take_back_if_closed(2);
        assert!(matches!(closed, Some(Failure::Closed(Closed::Stream(_)))));
        assert_eq!(feed.events_seen(), 1);
    }

    #[tokio::test]
    async fn silence_counts_from_when_a_read_waits() {
        const IDLE: Duration = Duration::from_secs(1);
        let (sender, feed) = feed_with(Timeouts::default().idle(IDLE)).await;
        let (token, waker) = quiet();
        let mut cx = Context::from_waker(&waker);
        let reading = feed.begin_read().unwrap();
        sender.unbounded_send(event(0)).unwrap();
        assert!(matches!(reading.gather_events(&mut cx), Poll::Ready(items) if items.len() == 1));
        tokio::time::sleep(IDLE * 6 / 10).await;
        assert!(reading.waits_for_events(&token));
        tokio::time::sleep(IDLE * 6 / 10).await;
        assert!(reading.gather_events(&mut cx).is_pending(), "1.2 s after the last event");
        feed.rest();
        tokio::time::sleep(IDLE * 6 / 10).await;
        let resumed = std::time::Instant::now();
        assert!(reading.gather_events(&mut cx).is_pending(), "1.2 s after the last read began");
        let read = std::future::poll_fn(|cx| reading.poll_events(cx)).await;
        let Batch::Failed(Failure::Core(error)) = read else { panic!("it ends some time") };
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(feed.end(), Some(StreamEnd::IdleTimeout));
        assert!(resumed.elapsed() < IDLE, "the read before counts, too");
    }

    #[tokio::test]
    async fn a_few_events_let_go_of_the_buffer_that_they_came_in() {
        let (sender, feed) = feed().await;
        let mut cx = Context::from_waker(Waker::noop());
        let reading = feed.begin_read().unwrap();
        for (said, data, text) in [
            (r#"data: "one""#, r#""one""#, "one"),
            (r#"data: "one\ntwo""#, r#""one\ntwo""#, "one\ntwo"),
            ("id: 7\nevent: message\ndata: \"é\"", "\"é\"", "é"),
            ("data: two\ndata: lines", "two\nlines", "two\nlines"),
            ("data: plain", "plain", "plain"),
        ] {
            let chunk = Bytes::from(format!("{said}\n\n").into_bytes());
            sender.unbounded_send(Ok(chunk.clone())).unwrap();
            let Poll::Ready(Batch::Items(items)) = reading.poll_events(&mut cx) else {
                panic!("an event has arrived")
            };
            assert!(chunk.is_unique(), "{said}");
            assert_eq!((items.len(), items[0].data_str()), (1, Some(data)));
            assert_eq!(items[0].text(), Some(text), "{said}");
            let named = said.starts_with("id");
            assert_eq!(
                (items[0].id(), items[0].event()),
                (named.then_some("7"), named.then_some("message"))
            );
        }
    }

    #[tokio::test]
    async fn closing_wakes_the_reader_who_learns_of_it() {
        let (sender, feed) = feed().await;
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let reading = feed.begin_read().unwrap();
        assert!(reading.poll_events(&mut cx).is_pending());
        feed.close();
        feed.close();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(sender.is_closed());
        for _ in 0..2 {
            let polled = reading.poll_events(&mut cx);
            assert!(matches!(polled, Poll::Ready(Batch::Failed(Failure::Closed(_)))));
        }
        assert_eq!(feed.end(), Some(StreamEnd::Closed));
    }

    #[tokio::test]
    async fn raw_bytes_come_as_they_are_until_the_end() {
        let (sender, feed) = feed().await;
        sender.unbounded_send(event(1)).unwrap();
        sender.unbounded_send(Ok(Bytes::from_static(b"rest"))).unwrap();
        drop(sender);
        let mut cx = Context::from_waker(Waker::noop());
        let reading = feed.begin_read().unwrap();
        let Poll::Ready(Batch::Items(chunks)) = reading.poll_bytes(&mut cx) else {
            panic!("chunks")
        };
        let polled = reading.poll_events(&mut cx);
        assert!(matches!(polled, Poll::Ready(Batch::Failed(Failure::Closed(Closed::Events(_))))));
        assert_eq!(feed.end(), None);
        assert_eq!(chunks.concat(), b"data: \"1\"\n\nrest");
        assert!(matches!(reading.poll_bytes(&mut cx), Poll::Ready(Batch::End)));
        assert_eq!((feed.end(), feed.events_seen()), (Some(StreamEnd::Complete), 0));
    }

    #[tokio::test]
    async fn a_group_closes_what_it_was_given_before_and_after() {
        let group = crate::Group::default();
        let (first, second) = (Arc::new(feed().await.1), Arc::new(feed().await.1));
        group.add(&first);
        group.close();
        group.add(&second);
        assert_eq!(first.end(), Some(StreamEnd::Closed));
        assert_eq!(second.end(), Some(StreamEnd::Closed));
    }
}
