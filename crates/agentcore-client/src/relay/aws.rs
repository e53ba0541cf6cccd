//! Calls to the services around a relay, such as API Gateway and Lambda: signed with the
//! client's own credentials or, where the client has none, the environment's, and
//! sent over the client's connections.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};

use crate::auth::{Auth, Authorization, Authorizer};
use crate::client::Client;
use crate::config::{Environment, Timeouts};
use crate::error::{Error, Result};
use crate::operations::{authorize, error_body, innermost};
use crate::protocol::endpoint::ServiceEndpoint;
use crate::protocol::service_error::{self, AuthKind};
use crate::protocol::sigv4::{self, KeyCache, SigningScope};
use crate::retry;
use crate::transport::{HttpService, SendError, SendLimits};

/// These services answer in milliseconds or not at all.
const ANSWER: Duration = Duration::from_secs(10);

/// Where requests go, put together once for all of them.
pub(super) struct Address {
    uri: Uri,
    host: HeaderValue,
}

impl Address {
    pub(super) fn new(endpoint: &ServiceEndpoint, path: &str) -> Result<Self> {
        Ok(Self { uri: endpoint.uri(path)?, host: endpoint.host_header()? })
    }
}

/// One request to such a service.
pub(super) struct Call<'a> {
    pub(super) service: &'static str,
    pub(super) region: &'a str,
    pub(super) address: &'a Address,
    pub(super) method: Method,
    pub(super) headers: &'a [(&'static str, &'static str)],
    pub(super) body: Bytes,
}

/// Why there was no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// Whether the request, or a part of it, may have left.
    pub(super) sent: bool,
    /// Whether another try can help.
    pub(super) may_pass: bool,
    pub(super) why: String,
}

impl Unanswered {
    fn before(error: &Error) -> Self {
        Self { sent: false, may_pass: false, why: error.to_string() }
    }
}

/// What calls to these services have in common.
pub(super) struct Aws {
    transport: Arc<dyn HttpService>,
    authorizer: Arc<Authorizer>,
    keys: KeyCache,
    user_agent: HeaderValue,
    timeouts: Timeouts,
}

impl Aws {
    pub(super) fn new(client: &Client, region: &str, env: &Environment) -> Result<Self> {
        let core = client.core();
        let authorizer = if core.authorizer.kind() == AuthKind::SigV4 {
            Arc::clone(&core.authorizer)
        } else {
            // A token is for the agent alone.
            let chain = Auth::default_chain();
            let now = SystemTime::now();
            Arc::new(chain.into_authorizer(Some(region), "execute-api", env, now)?)
        };
        Ok(Self {
            transport: Arc::clone(&core.transport),
            authorizer,
            keys: KeyCache::default(),
            user_agent: core.user_agent.clone(),
            timeouts: core.timeouts,
        })
    }

    /// Sends it once and gives the status and the name of the error, if it is one.
    pub(super) async fn call(
        &self,
        call: &Call<'_>,
        end: Option<Instant>,
    ) -> std::result::Result<(StatusCode, Option<String>), Unanswered> {
        if is_past(end) {
            // A connection that is at hand would take the request along, however late it is.
            let why = "no time was left".to_owned();
            return Err(Unanswered { sent: false, may_pass: false, why });
        }
        let started = Instant::now();
        let authorization = authorize(&self.authorizer, &self.timeouts, started, end)
            .await
            .map_err(|error| Unanswered::before(&error))?;
        let request = self.request(call, &authorization).map_err(|e| Unanswered::before(&e))?;
        let limits = SendLimits { connect: self.timeouts.connect, first_byte: ANSWER, end };
        let mut response = self.transport.send(request, limits).await.map_err(|error| {
            let (sent, may_pass, why) = match error {
                SendError::Refused(error) => (false, false, error.to_string()),
                SendError::Connect(cause) => (false, true, innermost(cause.as_ref())),
                SendError::Timeout { limit, sent } => (sent, true, format!("{limit} limit passed")),
                SendError::Broken(cause) => (true, true, innermost(cause.as_ref())),
                SendError::NotHttp(cause) => (true, false, innermost(cause.as_ref())),
            };
            Unanswered { sent, may_pass, why }
        })?;
        let status = response.status();
        // Read to its end, so that the connection can serve the next one.
        let body = error_body(response.body_mut(), end).await;
        let code = match status.is_success() {
            true => None,
            false => service_error::code_of(response.headers(), &body),
        };
        if status == StatusCode::FORBIDDEN {
            self.authorizer.forget_credentials();
        }
        Ok((status, code))
    }

    fn request(&self, call: &Call<'_>, authorization: &Authorization) -> Result<Request<Bytes>> {
        let mut request = Request::new(call.body.clone());
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = call.address.uri.clone();
        let headers = request.headers_mut();
        headers.reserve(8);
        headers.insert(header::HOST, call.address.host.clone());
        headers.insert(header::USER_AGENT, self.user_agent.clone());
        for (name, value) in call.headers {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        match authorization {
            Authorization::SigV4(credentials) => sigv4::sign(
                &mut request,
                credentials,
                SigningScope { region: call.region, service: call.service },
                SystemTime::now(),
                &self.keys,
            )?,
            // Only ever asked for credentials.
            Authorization::Bearer(_) | Authorization::None => {}
        }
        Ok(request)
    }
}

/// Doubles from a tenth of a second to some three, and never lasts beyond `end`; up to half of it is
/// left to chance, so that relays which were refused together do not come back together.
pub(super) async fn back_off(failures: u32, end: Option<Instant>) {
    let full = Duration::from_millis(100 << failures.min(5));
    let until = now() + (full - (full / 2).mul_f64(retry::random()));
    let until = end.map_or(until, |end| end.min(until));
    tokio::time::sleep_until(until.into()).await;
}

/// By the clock that the timers go by.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(super) fn is_past(end: Option<Instant>) -> bool {
    end.is_some_and(|end| now() >= end)
}
