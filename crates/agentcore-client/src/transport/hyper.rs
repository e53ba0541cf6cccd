//! The default transport: hyper's HTTP/1.1 connections out of a pool of our own.
//! A request goes out once; what hyper gives back unwritten is the only thing
//! that is ever sent on another connection, and no other resend hides in here.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;

use super::body::Body;
use super::connect::{ConnectOptions, Connector};
use super::pool::{Conn, Pool, Target};
use super::{HttpService, SendError, SendLimits};
use crate::config::due;
use crate::error::{Error, Limit};

/// Sends requests over pooled connections.
#[derive(Clone, Debug)]
pub(crate) struct HyperService(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connector: Connector,
    pool: Arc<Pool>,
}

impl HyperService {
    pub(crate) fn new(options: ConnectOptions) -> Self {
        Self(Arc::new(Shared { connector: Connector::new(options), pool: Arc::default() }))
    }
}

impl HttpService for HyperService {
    fn send(
        &self,
        request: Request<Bytes>,
        limits: SendLimits,
    ) -> BoxFuture<'static, Result<Response<Body>, SendError>> {
        let uri = request.uri().clone();
        let target = match (uri.scheme(), uri.authority()) {
            (Some(scheme), Some(authority)) => {
                Target { tls: *scheme == Scheme::HTTPS, authority: authority.clone() }
            }
            _ => {
                let error = Error::invalid("url", "no scheme or host", "must be absolute");
                return std::future::ready(Err(SendError::Refused(error))).boxed();
            }
        };
        let request = Box::new(in_origin_form(request, &uri));
        send(Arc::clone(&self.0), Box::new((uri, target)), request, limits).boxed()
    }

    fn close_idle(&self) {
        self.0.pool.clear();
    }
}

enum Failed {
    /// hyper gave the request back: not a byte of it was written.
    Unsent(Box<Request<Full<Bytes>>>, hyper::Error),
    For(SendError),
}

async fn send(
    shared: Arc<Shared>,
    way: Box<(Uri, Target)>,
    mut request: Box<Request<Full<Bytes>>>,
    limits: SendLimits,
) -> Result<Response<Body>, SendError> {
    let pool = &shared.pool;
    let (uri, target) = &*way;
    while let Some(conn) = pool.take(target) {
        match exchange(pool, conn, request, &limits).await {
            Ok(answer) => return Ok(answer),
            // It closed between the probe and the request: take the next one.
            Err(Failed::Unsent(unsent, _)) => request = unsent,
            Err(Failed::For(error)) => return Err(error),
        }
    }
    // Boxed: most calls find a connection, and what stays is moved and kept for each call.
    let conn = Box::pin(connect(&shared.connector, uri, target.clone(), &limits)).await?;
    match exchange(pool, conn, request, &limits).await {
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
    connector: &Connector,
    uri: &Uri,
    target: Target,
    limits: &SendLimits,
) -> Result<Box<Conn>, SendError> {
    let opening = async {
        let (stream, probe) = connector.connect(uri).await?;
        Ok(Conn::begin(target, stream, probe).await?)
    };
    let now = Instant::now();
    let (until, limit) = due(now, limits.connect, Limit::Connect, limits.end);
    match tokio::time::timeout_at(until.into(), opening).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(cause)) => Err(SendError::Connect(cause)),
        Err(_) => Err(SendError::Timeout { limit, sent: false }),
    }
}

/// Sends one request on one connection and waits for the head of the answer.
async fn exchange(
    pool: &Arc<Pool>,
    mut conn: Box<Conn>,
    request: Box<Request<Full<Bytes>>>,
    limits: &SendLimits,
) -> Result<Response<Body>, Failed> {
    let (until, limit) = due(Instant::now(), limits.first_byte, Limit::FirstByte, limits.end);
    let mut answer = pin!(conn.sender.try_send_request(*request));
    let answered = poll_fn(|cx| {
        if let Poll::Ready(answered) = conn.drive(cx, |cx| answer.as_mut().poll(cx)) {
            return Poll::Ready(Some(answered));
        }
        conn.poll_alarm(until).map(|()| None)
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
    use std::time::Duration;

    use super::*;

    /// Answers every request on every connection, on threads of its own; in so many writes.
    fn server(answer: &'static [&'static str]) -> std::net::SocketAddr {
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
                            for part in answer {
                                stream.write_all(part.as_bytes()).unwrap();
                            }
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
        let address = server(&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]);
        let service = HyperService::new(ConnectOptions::default());
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (first, second) = (runtime(), runtime());
        first.block_on(get(&service, address)).unwrap();
        // Nobody drives the first one any more, and its sockets are known to it alone.
        second.block_on(get(&service, address)).unwrap();
        assert_eq!(service.0.pool.len(), 2);
        first.block_on(get(&service, address)).unwrap();
        assert_eq!(service.0.pool.len(), 2);
    }

    /// Nagle's algorithm, which this server has on, against delayed acknowledgements.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_body_that_waits_for_the_acknowledgement_of_its_head_does_not_wait_long() {
        let address = server(&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", "o", "k"]);
        let service = HyperService::new(ConnectOptions::default());
        let mut fastest = Duration::MAX;
        for call in 0..12 {
            let begun = Instant::now();
            get(&service, address).await.unwrap();
            // The kernel acknowledges the first packets of a connection at once anyway.
            if call > 1 {
                fastest = fastest.min(begun.elapsed());
            }
        }
        assert_eq!(service.0.pool.len(), 1);
        // The kernel's own delay is 40 ms, each time.
        assert!(fastest < Duration::from_millis(35), "{fastest:?}");
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
