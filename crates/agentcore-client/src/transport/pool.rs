//! The connections that wait for the next call, and the one that is in use: it
//! belongs to whoever reads it and is polled there, never spawned, so that
//! dropping the reader closes the socket at once.

use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::uri::Authority;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::runtime;

use super::alarm::Alarm;
use super::gate::GatedPoll;
use super::io::{Probe, Stream};
use super::socket;

/// Connections that were idle for longer are not used again.
const POOL_IDLE: Duration = Duration::from_secs(20);
/// Idle connections beyond this many are closed instead of kept.
const POOL_SIZE: usize = 256;

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) tls: bool,
    pub(super) authority: Authority,
}

/// Connections that wait for the next call.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    conn: Box<Conn>,
    /// That of the connection, so that a look for one touches no other.
    runtime: Option<runtime::Id>,
    since: Moment,
}

/// A point in time by both clocks: a frozen process (a Lambda between two invocations) may stop the
/// monotonic one.
#[derive(Clone, Copy, Debug)]
struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// By the clock that says more; a wall clock that was set back counts as much time.
    fn since(&self, earlier: &Self) -> Duration {
        let by_the_wall = self.wall.duration_since(earlier.wall).unwrap_or(POOL_IDLE);
        self.monotonic.saturating_duration_since(earlier.monotonic).max(by_the_wall)
    }
}

impl Pool {
    /// The connection that was used last, if it is still good.
    pub(super) fn take(&self, target: &Target) -> Option<Box<Conn>> {
        let here = this_runtime();
        let fits = |idle: &Idle| idle.runtime == here && idle.conn.target == *target;
        loop {
            let Idle { mut conn, since, .. } = {
                let mut pool = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                let at = pool.iter().rposition(fits)?;
                pool.remove(at)
            };
            if Moment::now().since(&since) < POOL_IDLE && conn.is_alive() {
                return Some(conn);
            }
        }
    }

    /// Takes a connection back whose answer has been read to its end.
    pub(super) fn give_back(&self, mut conn: Box<Conn>) {
        if !conn.is_reusable() {
            return;
        }
        let now = Moment::now();
        let idle = Idle { runtime: conn.runtime, conn, since: now };
        let mut pool = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The oldest stand first.
        let dead = pool.iter().take_while(|idle| now.since(&idle.since) >= POOL_IDLE).count();
        let surplus = (pool.len() + 1).saturating_sub(POOL_SIZE);
        let leaving = dead.max(surplus);
        let stale: Vec<_> = pool.drain(..leaving).collect();
        pool.push(idle);
        drop(pool);
        // Sockets are closed outside the lock.
        drop(stale);
    }

    /// Closes every connection that waits, whatever runtime it belongs to.
    pub(super) fn clear(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        // Sockets are closed outside the lock.
        drop(idle);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// One connection, with the half that sends and the half that must be polled.
pub(super) struct Conn {
    target: Target,
    /// The run-time that knows the socket. On another one the request would leave and its answer
    /// never be seen, unless somebody happens to drive the first. `None` if it moves to the reactor
    /// that it is polled in.
    runtime: Option<runtime::Id>,
    pub(super) sender: http1::SendRequest<Full<Bytes>>,
    io: http1::Connection<TokioIo<Stream>, Full<Bytes>>,
    ended: bool,
    gate: GatedPoll,
    alarm: Alarm,
    probe: Probe,
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Conn {
    /// Begins HTTP on an open stream.
    pub(super) async fn begin(
        target: Target,
        stream: Stream,
        probe: Probe,
    ) -> hyper::Result<Box<Self>> {
        let (sender, io) = http1::handshake(TokioIo::new(stream)).await?;
        let runtime = this_runtime();
        let (gate, alarm) = (GatedPoll::new(), Alarm::default());
        Ok(Box::new(Self { target, runtime, sender, io, ended: false, gate, alarm, probe }))
    }

    /// Gives the connection its turn, then asks `ready` what came of it.
    pub(super) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut ready: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // All that `ready` waits for comes from the connection, which is polled right here.
        let mut quiet = Context::from_waker(Waker::noop());
        let (io, ended) = (&mut self.io, &mut self.ended);
        self.gate.poll(cx, |cx| {
            if let Poll::Ready(value) = ready(&mut quiet) {
                return Poll::Ready(value);
            }
            if *ended {
                return Poll::Pending;
            }
            // An error of the connection reaches `ready` by its own channel.
            *ended = Pin::new(&mut *io).poll(cx).is_ready();
            ready(&mut quiet)
        })
    }

    /// Ready once `due` has come; otherwise wakes the task that drove the connection last. For one
    /// clock after the other, as a call and its body need them.
    pub(super) fn poll_alarm(&mut self, due: Instant) -> Poll<()> {
        self.alarm.poll(&mut Context::from_waker(self.gate.waker()), due)
    }

    /// Whether bytes wait in the kernel that the run-time has not told us of.
    pub(super) fn is_stirred(&mut self) -> bool {
        self.probe.ask();
        self.poll_between();
        self.probe.stirred() || self.ended
    }

    /// Gives the connection a turn of its own, for what the probe asks of it.
    fn poll_between(&mut self) {
        if !self.ended {
            let mut cx = Context::from_waker(self.gate.waker());
            self.ended = Pin::new(&mut self.io).poll(&mut cx).is_ready();
        }
    }

    /// Acknowledges a head whose body has not come with it. A local agent's server may hold the body
    /// back until then (Nagle's algorithm; uvicorn's with `--reload` or `--workers`), for the 40 ms
    /// that the kernel takes to acknowledge by itself. What speaks TLS is made for real networks.
    pub(super) fn acknowledge(&mut self) {
        if !self.target.tls {
            self.probe.hurry();
            self.poll_between();
        }
    }

    /// Whether an idle connection can still be used: nothing was said since, nobody hung up.
    fn is_alive(&mut self) -> bool {
        !self.is_stirred() && self.sender.is_ready()
    }

    /// Whether the answer has been read to its end and the connection waits for the next request.
    fn is_reusable(&mut self) -> bool {
        self.gate.forget_task();
        if !self.ended {
            self.ended =
                Pin::new(&mut self.io).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        }
        !self.ended && self.sender.is_ready()
    }
}

fn this_runtime() -> Option<runtime::Id> {
    if socket::is_in_reactor() {
        return None;
    }
    runtime::Handle::try_current().ok().map(|handle| handle.id())
}
