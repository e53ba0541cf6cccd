//! The body of an answer. It owns its connection and polls it; it keeps the
//! idle limit and the end of the call; dropping it closes the connection.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::Stream;
use hyper::body::{Body as _, Incoming};

use super::alarm::Alarm;
use super::pool::{Conn, Pool};
use crate::error::Limit;

type BoxError = Box<dyn StdError + Send + Sync>;
type BoxStream = Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>;

/// How soon to look again when bytes wait in the kernel that the run-time has not told us of.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Who looks so much later than the alarm rang, may not have waited for it: a read was given up and
/// another one begun, or the process was paused.
const AWAY: Duration = Duration::from_secs(1);

/// The body of an answer, chunk by chunk as they arrive.
pub struct Body {
    source: Source,
    clock: Clock,
}

enum Source {
    Connection {
        incoming: Incoming,
        conn: Box<Conn>,
        pool: Arc<Pool>,
        /// Nothing has been waited for yet.
        fresh: bool,
    },
    Stream {
        /// Never locked: the lock only makes it `Sync`, as the other sources are.
        stream: Mutex<BoxStream>,
        alarm: Alarm,
    },
    Whole(Bytes),
    Ended,
}

/// Why a body broke off.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The connection broke, or ended before the body did.
    Broken(BoxError),
    /// What came was not HTTP.
    NotHttp(BoxError),
    /// A limit passed: idle or total.
    Timeout(Limit),
}

impl Body {
    /// A body without a byte.
    pub fn empty() -> Self {
        Self::from_source(Source::Ended)
    }

    /// A body that is there as a whole.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::from_source(Source::Whole(bytes.into()))
    }

    /// A body that arrives as a stream; dropping it must close the connection.
    pub fn from_stream(
        stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    ) -> Self {
        let stream = Mutex::new(Box::pin(stream) as BoxStream);
        Self::from_source(Source::Stream { stream, alarm: Alarm::default() })
    }

    pub(super) fn incoming(incoming: Incoming, conn: Box<Conn>, pool: Arc<Pool>) -> Self {
        Self::from_source(Source::Connection { incoming, conn, pool, fresh: true })
    }

    fn from_source(source: Source) -> Self {
        Self { source, clock: Clock::default() }
    }

    /// Sets the limits that hold from now on.
    pub(crate) fn set_limits(&mut self, idle: Option<Duration>, end: Option<Instant>) {
        self.clock = Clock { idle, end, ..Clock::default() };
    }

    /// Whether silence goes on to count from now on, or not before the next poll that finds nothing.
    pub(crate) fn count_silence(&mut self, counts: bool) {
        self.clock.count(counts);
    }

    /// The read that waits does not count.
    #[cfg(feature = "internals")]
    pub(crate) fn forget_read(&mut self) {
        self.clock.silence.since = None;
    }

    /// The next chunk. After an end, an error or a limit the connection is closed or given back,
    /// and there is nothing more.
    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let polled = match self.source.poll(cx) {
            Poll::Ready(polled) if self.clock.is_over() => {
                // A stream that always has something ready must not outlive its end either.
                polled.map(|_| Err(BodyError::Timeout(Limit::Total)))
            }
            Poll::Ready(polled) => {
                self.clock.silence = Silence::default();
                polled
            }
            Poll::Pending => match ready!(self.poll_limits(cx)) {
                // Waits a moment for the run-time to notice what the kernel already has.
                Limit::Idle if self.source.is_stirred() => {
                    if self.source.poll_alarm(cx, Instant::now() + LOOK_AGAIN).is_ready() {
                        cx.waker().wake_by_ref();
                    }
                    return Poll::Pending;
                }
                // What came in the meantime has been read by that look into the socket.
                limit => match self.source.poll(cx) {
                    Poll::Ready(polled) if limit == Limit::Idle => {
                        self.clock.silence = Silence::default();
                        polled
                    }
                    _ => Some(Err(BodyError::Timeout(limit))),
                },
            },
        };
        match &polled {
            Some(Ok(_)) => {}
            Some(Err(_)) => self.source = Source::Ended,
            None => self.source.finish(),
        }
        Poll::Ready(polled)
    }

    /// The limit that has passed while nothing came.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<Limit> {
        let limit = ready!(self.clock.poll(|due| self.source.poll_alarm(cx, due)));
        if limit == Limit::Idle && self.clock.starts_over() {
            return self.clock.poll(|due| self.source.poll_alarm(cx, due));
        }
        Poll::Ready(limit)
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self {
            Self::Connection { incoming, conn, fresh, .. } => loop {
                let frame = match conn.drive(cx, |cx| Pin::new(&mut *incoming).poll_frame(cx)) {
                    Poll::Pending if std::mem::take(fresh) => {
                        // A turn that may find more.
                        conn.acknowledge();
                        continue;
                    }
                    polled => ready!(polled),
                };
                *fresh = false;
                match frame {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => return Poll::Ready(Some(Ok(data))),
                        Err(_trailers) => {}
                    },
                    Some(Err(error)) => return Poll::Ready(Some(Err(broken(error)))),
                    None => return Poll::Ready(None),
                }
            },
            Self::Stream { stream, .. } => {
                let stream = stream.get_mut().unwrap_or_else(PoisonError::into_inner);
                stream.as_mut().poll_next(cx).map(|next| next.map(|n| n.map_err(BodyError::Broken)))
            }
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Ended;
                Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)))
            }
            Self::Ended => Poll::Ready(None),
        }
    }

    /// Ready once `due` has come.
    fn poll_alarm(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        match self {
            Self::Connection { conn, .. } => conn.poll_alarm(due),
            Self::Stream { alarm, .. } => alarm.poll(cx, due),
            // Never waited for.
            Self::Whole(_) | Self::Ended => Poll::Pending,
        }
    }

    fn is_stirred(&mut self) -> bool {
        match self {
            Self::Connection { conn, .. } => conn.is_stirred(),
            _ => false,
        }
    }

    /// The body ended properly: its connection can serve the next call.
    fn finish(&mut self) {
        if let Self::Connection { conn, pool, .. } = std::mem::replace(self, Self::Ended) {
            pool.give_back(conn);
        }
    }
}

/// Tells a broken connection from bytes that are not HTTP.
fn broken(error: hyper::Error) -> BodyError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(inner) = cause {
        let garbage = inner.downcast_ref::<io::Error>().is_some_and(|io| {
            matches!(io.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
        });
        // rustls reports a broken record in the same kind, which is a broken connection.
        let tls = inner.is::<tokio_rustls::rustls::Error>();
        if tls {
            break;
        }
        if garbage && inner.source().is_none() {
            return BodyError::NotHttp(error.into());
        }
        cause = inner.source();
    }
    if error.is_parse() {
        BodyError::NotHttp(error.into())
    } else {
        BodyError::Broken(error.into())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::Ended => "Body(ended)",
            _ => "Body",
        })
    }
}

/// Judges the limits of a body, but only while a read waits.
#[derive(Default)]
struct Clock {
    idle: Option<Duration>,
    end: Option<Instant>,
    silence: Silence,
}

/// How long reads have waited since something came.
#[derive(Default)]
struct Silence {
    /// The read that waits now.
    since: Option<Instant>,
    /// The reads before it, which were given up.
    before: Duration,
    /// Whether it has been begun anew.
    anew: bool,
}

impl Clock {
    fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }

    fn count(&mut self, counts: bool) {
        if counts {
            self.silence.since.get_or_insert_with(Instant::now);
        } else if !self.starts_over()
            && let Some(since) = self.silence.since.take()
        {
            self.silence.before += since.elapsed();
        }
    }

    /// When a read that has waited since then is an idle one.
    fn idles(&self, since: Instant) -> Option<Instant> {
        since.checked_add(self.idle?.saturating_sub(self.silence.before))
    }

    fn due(&self, since: Instant) -> Option<(Instant, Limit)> {
        let idle = self.idles(since);
        match (idle, self.end) {
            (Some(idle), Some(end)) if end < idle => Some((end, Limit::Total)),
            (Some(idle), _) => Some((idle, Limit::Idle)),
            (None, Some(end)) => Some((end, Limit::Total)),
            (None, None) => None,
        }
    }

    /// Whether idle passed so long ago that nobody may have waited for it. Only once until something
    /// comes: a reader that is always late must have an end, too.
    fn starts_over(&mut self) -> bool {
        let passed = self.silence.since.and_then(|since| self.idles(since));
        let anew = !self.silence.anew && passed.is_some_and(|passed| passed.elapsed() > AWAY);
        if anew {
            self.silence = Silence { anew, ..Silence::default() };
        }
        anew
    }

    /// `alarm` waits for a point in time.
    fn poll(&mut self, alarm: impl FnOnce(Instant) -> Poll<()>) -> Poll<Limit> {
        if self.idle.is_none() && self.end.is_none() {
            return Poll::Pending;
        }
        let since = *self.silence.since.get_or_insert_with(Instant::now);
        let Some((due, limit)) = self.due(since) else { return Poll::Pending };
        alarm(due).map(|()| limit)
    }
}
