//! One call, whatever its verb: request → auth → transport, driven by the
//! attempt loop. The verbs stand beside this file, one each.

pub(crate) mod answer;
pub(crate) mod invoke;
pub(crate) mod stop;
pub(crate) mod stream;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};

use crate::auth::{Authorization, Authorizer};
use crate::config::{Limits, Timeouts, due};
use crate::error::{Attempt, Delivery, Error, ErrorKind, Limit, Result};
use crate::protocol::endpoint::{Endpoint, Operation};
use crate::protocol::headers;
use crate::protocol::request::Target;
use crate::protocol::service_error::{self, AuthKind};
use crate::protocol::session::SessionId;
use crate::protocol::text::TextFormat;
use crate::retry::{AttemptLoop, Budget, RetryPolicy, Rules, Step};
use crate::transport::{Body, HttpService, SendError, SendLimits, ThroughProxy};

/// An error answer is read this far, and no longer than this.
const ERROR_BODY: usize = 64 << 10;
const ERROR_BODY_TIME: Duration = Duration::from_secs(10);

/// What all calls of a client share.
pub(crate) struct Core {
    pub(crate) transport: Arc<dyn HttpService>,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) qualifier: Option<String>,
    pub(crate) region: String,
    pub(crate) endpoint: Endpoint,
    /// The one URL that is needed over and over.
    pub(crate) invoke_uri: Uri,
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: RetryPolicy,
    pub(crate) limits: Limits,
    pub(crate) text_format: TextFormat,
    pub(crate) user_agent: HeaderValue,
    pub(crate) shared: Arc<Shared>,
}

/// Without the URL as a whole, whose query may be a secret.
impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("endpoint", &self.endpoint)
            .field("qualifier", &self.qualifier)
            .field("authorizer", &self.authorizer)
            .field("timeouts", &self.timeouts)
            .field("retry", &self.retry)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What siblings of a client share, too.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) budget: Arc<Budget>,
    /// Seconds by which the service's clock is ahead of ours, once it has told us.
    skew: AtomicI64,
}

/// The service's time, if its clock is this many seconds ahead of ours.
fn now_ahead_by(skew: i64) -> SystemTime {
    let by = Duration::from_secs(skew.unsigned_abs());
    let now = SystemTime::now();
    if skew < 0 { now.checked_sub(by) } else { now.checked_add(by) }.unwrap_or(now)
}

/// How long the whole call was allowed to take, by `total` or by the deadline.
fn total(started: Instant, end: Option<Instant>) -> Duration {
    end.map_or(Duration::ZERO, |end| end.saturating_duration_since(started))
}

/// A request on its way.
type Sending = BoxFuture<'static, std::result::Result<Response<Body>, SendError>>;

/// What one call brings along.
pub(crate) struct Call<'a> {
    pub(crate) timeouts: &'a Timeouts,
    pub(crate) retry: RetryPolicy,
    pub(crate) operation: Operation,
    pub(crate) acts_for_user: bool,
    pub(crate) session: &'a SessionId,
}

/// The head of a proper answer, with its body still to come.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) session_id: SessionId,
    pub(crate) started: Instant,
    pub(crate) end: Option<Instant>,
    /// The tries before this answer.
    pub(crate) attempts: Vec<Attempt>,
}

impl Core {
    /// What the requests of this client have in common.
    pub(crate) fn target(&self) -> Target<'_> {
        Target { endpoint: &self.endpoint, user_agent: &self.user_agent }
    }

    /// Sends what `build` builds, as often as the rules allow.
    pub(crate) async fn call(
        &self,
        call: Call<'_>,
        build: impl Fn() -> Result<Request<Bytes>> + Send,
    ) -> Result<Answer> {
        let started = Instant::now();
        let end = call.timeouts.end(started);
        let rules = Rules {
            policy: call.retry,
            idempotent_verb: call.operation.is_idempotent(),
            data_plane: self.endpoint.kind().is_data_plane(),
            token_provider: self.authorizer.is_token_provider(),
        };
        // Bad input is refused before anything is asked or sent.
        let mut request = Some(build()?);
        let mut calls = AttemptLoop::new(rules, Arc::clone(&self.shared.budget), started, end);
        let mut authorization = Authorization::None;
        let mut answer = None;
        loop {
            match calls.next() {
                Step::NeedAuth => {
                    match authorize(&self.authorizer, call.timeouts, started, end).await {
                        Ok(found) => {
                            authorization = found;
                            calls.authorised();
                        }
                        Err(error) => calls.failed(error, Instant::now(), false),
                    }
                }
                Step::Send => {
                    let next = match request.take() {
                        Some(first) => first,
                        None => build()?,
                    };
                    let attempt = match self.send(&call, next, &authorization, started, end) {
                        Ok((sent, skew)) => self.attempt(&call, sent, skew, started, end).await,
                        Err(error) => Err((error, false)),
                    };
                    match attempt {
                        Ok(response) => {
                            answer = Some(response);
                            calls.answered();
                        }
                        Err((error, skewed)) => calls.failed(error, Instant::now(), skewed),
                    }
                }
                Step::NeedSleep(pause) => {
                    Box::pin(tokio::time::sleep(pause)).await;
                    calls.slept();
                }
                Step::Log(line) => tracing::debug!(
                    target: "agentcore_client",
                    attempt = line.attempt,
                    kind = line.reason.kind.as_str(),
                    delivery = line.reason.delivery.as_str(),
                    status = line.reason.status,
                    code = line.reason.service_code,
                    pause_ms = line.reason.pause.map(|pause| pause.as_millis() as u64),
                    session = call.session.as_str(),
                    "sending again"
                ),
                Step::Done(result) => {
                    result.map_err(|error| error.for_session(call.session.as_str()))?;
                    break;
                }
            }
        }
        let response = answer.ok_or_else(|| {
            Error::new(ErrorKind::Internal, Delivery::Unknown, "an answer was lost")
        })?;
        let (parts, mut body) = response.into_parts();
        body.set_limits(call.timeouts.idle, end);
        // If the answer names another session, that one counts.
        let session_id = parts
            .headers
            .get(&headers::SESSION_ID)
            .and_then(|id| id.to_str().ok())
            .filter(|id| *id != call.session.as_str())
            .and_then(|id| SessionId::local(id).ok())
            .unwrap_or_else(|| call.session.clone());
        let attempts = calls.into_attempts();
        let (status, headers) = (parts.status, parts.headers);
        Ok(Answer { status, headers, body, session_id, started, end, attempts })
    }

    /// Signs a request and hands it over; also gives the clock's correction that it was signed with.
    fn send(
        &self,
        call: &Call<'_>,
        mut request: Request<Bytes>,
        authorization: &Authorization,
        started: Instant,
        end: Option<Instant>,
    ) -> Result<(Sending, i64)> {
        if end.is_some_and(|end| Instant::now() >= end) {
            let total = total(started, end);
            return Err(Error::timeout(Limit::Total, total, Delivery::NotSent));
        }
        // Calls side by side may correct the clock meanwhile: this attempt answers for its own.
        let skew = self.shared.skew.load(Ordering::Relaxed);
        self.authorizer.apply(authorization, &mut request, &self.region, now_ahead_by(skew))?;
        let limits = SendLimits {
            connect: call.timeouts.connect,
            first_byte: call.timeouts.first_byte,
            end,
        };
        Ok((self.transport.send(request, limits), skew))
    }

    /// One attempt. The flag says that the service's clock explains the failure.
    async fn attempt(
        &self,
        call: &Call<'_>,
        sending: Sending,
        skew: i64,
        started: Instant,
        end: Option<Instant>,
    ) -> Result<Response<Body>, (Error, bool)> {
        let plain = |error| (error, false);
        let mut response = sending
            .await
            .map_err(|error| plain(self.not_answered(error, call, total(started, end))))?;
        let status = response.status();
        if status.is_success() {
            let headers = response.headers();
            return match headers.get(header::CONTENT_ENCODING) {
                Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
                    Err(plain(
                        Error::new(
                            ErrorKind::Protocol,
                            Delivery::Accepted,
                            "the answer is compressed, which was not asked for; a proxy on the way may do that",
                        )
                        .with_status(status.as_u16())
                        .with_request_id(service_error::request_id(headers)),
                    ))
                }
                _ => Ok(response),
            };
        }
        let body = Box::pin(error_body(response.body_mut(), end)).await;
        let error = service_error::decode(
            &service_error::Context {
                target: self.endpoint.kind(),
                operation: call.operation,
                arn: self.endpoint.arn(),
                qualifier: self.qualifier.as_deref(),
                auth: self.authorizer.kind(),
                user_id: call.acts_for_user,
            },
            status,
            response.headers(),
            &body,
        );
        if service_error::credentials_are_stale(error.service_code()) {
            self.authorizer.forget_credentials();
        }
        let further = match self.authorizer.kind() {
            AuthKind::SigV4 => service_error::clock_skew(
                status,
                error.service_code(),
                response.headers().get(header::DATE),
                now_ahead_by(skew),
            ),
            _ => None,
        };
        if let Some(further) = further {
            self.shared.skew.store(skew.saturating_add(further), Ordering::Relaxed);
        }
        Err((error, further.is_some()))
    }

    /// Says what is known about a request that got no answer.
    fn not_answered(&self, error: SendError, call: &Call<'_>, total: Duration) -> Error {
        let host = self.endpoint.host_header().to_str().unwrap_or("the host");
        match error {
            SendError::Refused(error) => error,
            SendError::Connect(cause) => {
                let advice = if self.endpoint.is_loopback() {
                    "Is the local agent or data plane running, and on this port?"
                } else {
                    "Check the region, the network's way there (NAT, VPC endpoint, security group), the proxy and the CA bundle"
                };
                let why = innermost(cause.as_ref());
                let way = match cause.downcast_ref::<ThroughProxy>() {
                    Some(through) => format!(" through the proxy {}", through.proxy),
                    None => String::new(),
                };
                let message =
                    format!("no connection to {host}{way}: {why}; nothing was sent. {advice}");
                Error::new(ErrorKind::Connect, Delivery::NotSent, message).with_source(cause)
            }
            SendError::Timeout { limit, sent } => {
                let after = match limit {
                    Limit::Connect => call.timeouts.connect,
                    Limit::FirstByte => call.timeouts.first_byte,
                    _ => total,
                };
                let delivery = if sent { Delivery::Unknown } else { Delivery::NotSent };
                Error::timeout(limit, after, delivery)
            }
            SendError::Broken(cause) => Error::new(
                ErrorKind::StreamInterrupted,
                Delivery::Unknown,
                format!(
                    "the connection to {host} broke before an answer came; the agent may have run, so the call was not sent again"
                ),
            )
            .with_source(cause),
            SendError::NotHttp(cause) => Error::new(
                ErrorKind::Protocol,
                Delivery::Unknown,
                format!(
                    "{host} did not answer in HTTP; the agent may have run, so the call was not sent again. Check the endpoint"
                ),
            )
            .with_source(cause),
        }
    }
}

/// Credentials or a token, within the limit.
pub(crate) async fn authorize(
    authorizer: &Authorizer,
    timeouts: &Timeouts,
    started: Instant,
    end: Option<Instant>,
) -> Result<Authorization> {
    if let Some(at_hand) = authorizer.at_hand() {
        return at_hand;
    }
    let (until, limit) = due(Instant::now(), timeouts.auth, Limit::Auth, end);
    let after = if limit == Limit::Auth { timeouts.auth } else { total(started, end) };
    // Boxed, like all that most calls never need: what stays is moved and kept for each call.
    let look_up = Box::pin(authorizer.look_up());
    let looked_up = Box::pin(tokio::time::timeout_at(until.into(), look_up)).await;
    looked_up.unwrap_or_else(|_| {
        let in_hand = if limit == Limit::Auth { authorizer.stand_in() } else { None };
        in_hand.ok_or_else(|| Error::timeout(limit, after, Delivery::NotSent))
    })
}

/// The deepest cause, which is the one that tells most: "connection refused".
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// What an error answer says, as far as it can be had without waiting long.
pub(crate) async fn error_body(body: &mut Body, end: Option<Instant>) -> Bytes {
    let until = Instant::now() + ERROR_BODY_TIME;
    let until = end.map_or(until, |end| end.min(until));
    body.set_limits(None, Some(until));
    let mut read = Vec::new();
    // A broken error answer is still an error answer: what came is what there is.
    while let Some(Ok(chunk)) = std::future::poll_fn(|cx| body.poll_chunk(cx)).await {
        let room = ERROR_BODY - read.len();
        read.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    Bytes::from(read)
}

#[cfg(test)]
mod tests;
