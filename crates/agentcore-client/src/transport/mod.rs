//! How requests travel: the seam between the protocol and HTTP. The default is
//! hyper with a pool of our own; tests and users may bring another service.

mod alarm;
mod gate;
#[cfg(all(unix, feature = "internals"))]
pub mod readiness;
#[cfg(all(unix, feature = "internals"))]
mod socket;
#[cfg(not(all(unix, feature = "internals")))]
#[path = "socket_of_tokio.rs"]
mod socket;
mod io;
mod connect;
mod pool;
mod body;
mod hyper;

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};

use crate::error::{Error, Limit};

pub use body::Body;
pub(crate) use body::BodyError;
pub(crate) use connect::{ConnectOptions, Proxy, ThroughProxy, TrustRoots};
pub(crate) use hyper::HyperService;

/// Something that sends one HTTP request and gives back its answer.
///
/// It must send the request at most once, as it is: the target is signed, so nothing may
/// normalise it; redirects are not followed. Dropping the future or the body must close the
/// connection.
pub trait HttpService: fmt::Debug + Send + Sync + 'static {
    /// Sends one request within the limits.
    fn send(
        &self,
        request: Request<Bytes>,
        limits: SendLimits,
    ) -> BoxFuture<'static, Result<Response<Body>, SendError>>;

    /// Closes the connections that wait for the next request, at once. Without any, there is
    /// nothing to do.
    fn close_idle(&self) {}
}

/// The limits of one attempt that only the transport can judge.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SendLimits {
    /// Name look-up, TCP, proxy and TLS.
    pub connect: Duration,
    /// From the request to the head of its answer.
    pub first_byte: Duration,
    /// The whole call must have ended by then.
    pub end: Option<Instant>,
}

/// Why a request got no answer, and whether it may have left.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The request was refused as it is, e.g. by a proxy setting; trying again is pointless.
    Refused(Error),
    /// No connection could be made; nothing was sent.
    Connect(Box<dyn std::error::Error + Send + Sync>),
    /// A limit passed. Past [`Limit::Connect`], nothing was sent; otherwise the request may have run.
    Timeout {
        /// Which one.
        limit: Limit,
        /// Whether the request, or a part of it, may have left.
        sent: bool,
    },
    /// The connection broke, or the answer was not HTTP, after the request may have left.
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// The answer was not HTTP.
    NotHttp(Box<dyn std::error::Error + Send + Sync>),
}
