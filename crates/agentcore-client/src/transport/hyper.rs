//! The default transport: hyper's HTTP/1.1 connections in a pool of our own. A
//! connection belongs to whoever reads it and is polled there, never spawned:
//! dropping the reader closes the socket at once, and no resend hides in here.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::runtime;

use super::body::Body;
use super::connect::{ConnectOptions, Connector};
use super::gate::GatedPoll;
use super::io::{Probe, Stream};
use super::{HttpService, SendError, SendLimits};
use crate::error::{Error, Limit};

/// Connections that were idle for longer are not used again.
const POOL_IDLE: Duration = Duration::from_secs(20);
/// A connection that was idle for less needs no look into the kernel: an end that the other side
/// sent meanwhile would still be on its way.
const NOT_IDLE: Duration = Duration::from_millis(1);
/// Idle connections beyond this many are closed instead of kept.
const POOL_SIZE: usize = 256;

/// Sends requests over pooled connections.
#[derive(Clone, Debug)]
pub(crate) struct HyperService(Arc<Pool>);

impl HyperService {
    pub(crate) fn new(options: ConnectOptions) -> Self {
        Self(Arc::new(Pool { connector: Connector::new(options), idle: Mutex::default() }))
    }
}

impl HttpService for HyperService {
    fn send(
        &self,
        request: Request<Bytes>,
        limits: SendLimits,
    ) -> BoxFuture<'static, Result<Response<Body>, SendError>> {
        send(Arc::clone(&self.0), request, limits).boxed()
    }
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    tls: bool,
    authority: Authority,
}

#[derive(Debug)]
pub(super) struct Pool {
    connector: Connector,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    conn: Box<Conn>,
    since: Instant,
    /// A frozen process (a Lambda between two invocations) may stop the monotonic clock.
    since_by_the_wall: SystemTime,
}

impl Idle {
    /// By both clocks; a wall clock that was set back counts as much time.
    fn idle_for(&self) -> Duration {
        let by_the_wall = self.since_by_the_wall.elapsed().unwrap_or(POOL_IDLE);
        self.since.elapsed().max(by_the_wall)
    }
}

impl Pool {
    /// The connection that was used last, if it is still good.
    fn take(&self, target: &Target) -> Option<Box<Conn>> {
        let here = this_runtime();
        let fits = |conn: &Conn| conn.target == *target && conn.runtime == here;
        loop {
            let idle = {
                let mut pool = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                let at = pool.iter().rposition(|idle| fits(&idle.conn))?;
                pool.remove(at)
            };
            let idle_for = idle.idle_for();
            let mut conn = idle.conn;
            if idle_for < NOT_IDLE || (idle_for < POOL_IDLE && conn.is_alive()) {
                return Some(conn);
            }
        }
    }

    /// Takes a connection back whose answer has been read to its end.
    pub(super) fn give_back(&self, mut conn: Box<Conn>) {
        if !conn.is_reusable() {
            return;
        }
        let idle = Idle { conn, since: Instant::now(), since_by_the_wall: SystemTime::now() };
        let mut stale = Vec::new();
        let mut pool = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The oldest stand first.
        let dead = pool.iter().take_while(|idle| idle.idle_for() >= POOL_IDLE).count();
        let surplus = (pool.len() + 1).saturating_sub(POOL_SIZE);
        let leaving = dead.max(surplus);
        stale.extend(pool.drain(..leaving));
        pool.push(idle);
        drop(pool);
        // Sockets are closed outside the lock.
        drop(stale);
    }
}

/// One connection, with the half that sends and the half that must be polled.
pub(super) struct Conn {
    target: Target,
    /// The run-time that knows the socket. On another one the request would leave and its answer
    /// never be seen, unless somebody happens to drive the first.
    runtime: Option<runtime::Id>,
    sender: http1::SendRequest<Full<Bytes>>,
    io: http1::Connection<TokioIo<Stream>, Full<Bytes>>,
    ended: bool,
    gate: Option<GatedPoll>,
    probe: Probe,
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conn").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Conn {
    /// Gives the connection its turn, then asks `ready` what came of it.
    pub(super) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut ready: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // All that `ready` waits for comes from the connection, which is polled right here.
        let mut quiet = Context::from_waker(Waker::noop());
        let (io, ended) = (&mut self.io, &mut self.ended);
        self.gate.get_or_insert_with(GatedPoll::new).poll(cx, |cx| {
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

    /// Whether bytes wait in the kernel that the run-time has not told us of.
    pub(super) fn is_stirred(&mut self) -> bool {
        self.probe.ask();
        if !self.ended {
            let waker = self.gate.get_or_insert_with(GatedPoll::new).waker();
            self.ended = Pin::new(&mut self.io).poll(&mut Context::from_waker(&waker)).is_ready();
        }
        self.probe.stirred() || self.ended
    }

    /// Whether an idle connection can still be used: nothing was said since, nobody hung up.
    fn is_alive(&mut self) -> bool {
        !self.is_stirred() && self.sender.is_ready()
    }

    /// Whether the answer has been read to its end and the connection waits for the next request.
    fn is_reusable(&mut self) -> bool {
        if let Some(gate) = &self.gate {
            gate.forget_task();
        }
        if !self.ended {
            self.ended =
                Pin::new(&mut self.io).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        }
        !self.ended && self.sender.is_ready()
    }
}

enum Failed {
    /// hyper gave the request back: not a byte of it was written.
    Unsent(Box<Request<Full<Bytes>>>, hyper::Error),
    For(SendError),
}

async fn send(
    pool: Arc<Pool>,
    request: Request<Bytes>,
    limits: SendLimits,
) -> Result<Response<Body>, SendError> {
    let uri = request.uri().clone();
    let target = match (uri.scheme(), uri.authority()) {
        (Some(scheme), Some(authority)) => {
            Target { tls: *scheme == Scheme::HTTPS, authority: authority.clone() }
        }
        _ => {
            return Err(SendError::Refused(Error::invalid(
                "url",
                "no scheme or host",
                "must be absolute",
            )));
        }
    };
    let mut request = in_origin_form(request, &uri);
    while let Some(conn) = pool.take(&target) {
        match exchange(&pool, conn, request, &limits).await {
            Ok(answer) => return Ok(answer),
            // It closed between the probe and the request: take the next one.
            Err(Failed::Unsent(unsent, _)) => request = *unsent,
            Err(Failed::For(error)) => return Err(error),
        }
    }
    let conn = connect(&pool, &uri, target, &limits).await?;
    match exchange(&pool, conn, request, &limits).await {
        Ok(answer) => Ok(answer),
        Err(Failed::Unsent(_, cause)) => Err(SendError::Connect(cause.into())),
        Err(Failed::For(error)) => Err(error),
    }
}

/// `/path?query`, exactly as it was signed.
fn in_origin_form(request: Request<Bytes>, uri: &Uri) -> Request<Full<Bytes>> {
    let mut request = request.map(Full::new);
    let target = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(target);
    request
}

async fn connect(
    pool: &Pool,
    uri: &Uri,
    target: Target,
    limits: &SendLimits,
) -> Result<Box<Conn>, SendError> {
    let opening = async {
        let (stream, probe) = pool.connector.connect(uri).await?;
        let (sender, io) = http1::handshake(TokioIo::new(stream)).await?;
        let runtime = this_runtime();
        Ok(Box::new(Conn { target, runtime, sender, io, ended: false, gate: None, probe }))
    };
    let now = Instant::now();
    let (until, limit) = due(now, limits.connect, Limit::Connect, limits.end);
    match tokio::time::timeout_at(until.into(), opening).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(cause)) => Err(SendError::Connect(cause)),
        Err(_) => Err(SendError::Timeout { limit, sent: false }),
    }
}

fn this_runtime() -> Option<runtime::Id> {
    runtime::Handle::try_current().ok().map(|handle| handle.id())
}

/// Which of a limit and the end of the whole call comes first.
fn due(now: Instant, after: Duration, limit: Limit, end: Option<Instant>) -> (Instant, Limit) {
    // A limit beyond what the clock can count is none; ten years will do.
    let far = Duration::from_secs(10 * 365 * 86_400);
    let until = now.checked_add(after).unwrap_or_else(|| now + far);
    match end {
        Some(end) if end < until => (end, Limit::Total),
        _ => (until, limit),
    }
}

/// Sends one request on one connection and waits for the head of the answer.
async fn exchange(
    pool: &Arc<Pool>,
    mut conn: Box<Conn>,
    request: Request<Full<Bytes>>,
    limits: &SendLimits,
) -> Result<Response<Body>, Failed> {
    let (until, limit) = due(Instant::now(), limits.first_byte, Limit::FirstByte, limits.end);
    let mut answer = pin!(conn.sender.try_send_request(request));
    let mut clock = pin!(tokio::time::sleep_until(until.into()));
    let answered = poll_fn(|cx| {
        if let Poll::Ready(answered) = conn.drive(cx, |cx| answer.as_mut().poll(cx)) {
            return Poll::Ready(Some(answered));
        }
        clock.as_mut().poll(cx).map(|()| None)
    })
    .await;
    match answered {
        Some(Ok(answer)) => Ok(answer.map(|incoming| body(pool, conn, incoming))),
        Some(Err(mut failed)) => {
            let unsent = failed.take_message();
            let cause = failed.into_error();
            Err(match unsent {
                Some(request) => Failed::Unsent(Box::new(request), cause),
                None if cause.is_parse() => Failed::For(SendError::NotHttp(cause.into())),
                None => Failed::For(SendError::Broken(cause.into())),
            })
        }
        None => Err(Failed::For(SendError::Timeout { limit, sent: true })),
    }
}

fn body(pool: &Arc<Pool>, conn: Box<Conn>, incoming: Incoming) -> Body {
    use hyper::body::Body as _;
    if incoming.is_end_stream() {
        pool.give_back(conn);
        return Body::empty();
    }
    Body::incoming(incoming, conn, Arc::clone(pool))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_call_beats_a_later_limit() {
        let now = Instant::now();
        let s = Duration::from_secs;
        assert_eq!(due(now, s(5), Limit::Connect, None), (now + s(5), Limit::Connect));
        assert_eq!(due(now, s(5), Limit::Connect, Some(now + s(9))), (now + s(5), Limit::Connect));
        assert_eq!(due(now, s(5), Limit::Connect, Some(now + s(2))), (now + s(2), Limit::Total));
        assert!(due(now, Duration::MAX, Limit::FirstByte, None).0 > now + s(86_400));
    }

    /// Answers every request on every connection, on threads of its own.
    fn server() -> std::net::SocketAddr {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while stream.read(&mut byte).is_ok_and(|n| n == 1) {
                        head.push(byte[0]);
                        if head.ends_with(b"\r\n\r\n") {
                            head.clear();
                            stream
                                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                                .unwrap();
                        }
                    }
                });
            }
        });
        address
    }

    async fn get(service: &HyperService, address: std::net::SocketAddr) -> Result<(), SendError> {
        let request = Request::builder()
            .uri(format!("http://{address}/"))
            .header("host", address.to_string())
            .body(Bytes::new())
            .unwrap();
        let limit = Duration::from_secs(2);
        let limits = SendLimits { connect: limit, first_byte: limit, end: None };
        let mut answer = service.send(request, limits).await?;
        while let Some(chunk) = poll_fn(|cx| answer.body_mut().poll_chunk(cx)).await {
            chunk.unwrap();
        }
        Ok(())
    }

    #[test]
    fn a_connection_is_used_again_on_its_own_runtime_only() {
        let address = server();
        let service = HyperService::new(ConnectOptions::default());
        let runtime = || runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (first, second) = (runtime(), runtime());
        first.block_on(get(&service, address)).unwrap();
        // Nobody drives the first one any more, and its sockets are known to it alone.
        second.block_on(get(&service, address)).unwrap();
        assert_eq!(service.0.idle.lock().unwrap().len(), 2);
        first.block_on(get(&service, address)).unwrap();
        assert_eq!(service.0.idle.lock().unwrap().len(), 2);
    }

    #[test]
    fn the_target_stays_as_it_was_signed() {
        let uri = Uri::from_static("https://h/runtimes/arn%3Aaws%2Fx/invocations?qualifier=a%20b");
        let request = Request::builder().uri(uri.clone()).body(Bytes::new()).unwrap();
        assert_eq!(
            in_origin_form(request, &uri).uri(),
            "/runtimes/arn%3Aaws%2Fx/invocations?qualifier=a%20b"
        );
    }
}
