//! TypeScript's arguments as the core's. Types and names have been checked there,
//! where the caller's stack is; wrong values are the core's to refuse.

use std::time::{Duration, Instant, SystemTime};

use agentcore_client::{
    ClientBuilder, Credentials, Invoke, Limits, McpHeaders, Result, RetryPolicy, SessionId,
    SiblingBuilder, StopSession, TextFormat, Timeouts, TraceContext,
};
use napi_derive::napi;

/// Milliseconds; infinite for no limit. `deadline` counts from 1970.
#[napi(object, object_to_js = false)]
#[derive(Clone, Copy, Default)]
pub struct TimeoutsView {
    pub connect: Option<f64>,
    pub auth: Option<f64>,
    pub first_byte: Option<f64>,
    pub idle: Option<f64>,
    pub total: Option<f64>,
    pub deadline: Option<f64>,
}

/// Bytes.
#[napi(object, object_to_js = false)]
#[derive(Clone, Copy, Default)]
pub struct LimitsView {
    pub event: Option<f64>,
    pub answer: Option<f64>,
    pub payload: Option<f64>,
}

/// What a client is made of.
#[napi(object, object_to_js = false)]
pub struct ClientOptions {
    pub runtime_arn: Option<String>,
    pub agent_id: Option<String>,
    pub account_id: Option<String>,
    pub qualifier: Option<String>,
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
    pub invocation_url: Option<String>,
    pub local_url: Option<String>,
    pub allow_http_hosts: Option<Vec<String>>,
    pub timeouts: Option<TimeoutsView>,
    pub retry: Option<String>,
    pub limits: Option<LimitsView>,
    pub text_format: Option<String>,
    pub use_fips: Option<bool>,
    pub use_dualstack: Option<bool>,
    pub ca_bundle: Option<String>,
    pub proxy: Option<String>,
    pub user_agent: Option<String>,
}

/// What a client and its sibling may differ in.
#[napi(object, object_to_js = false)]
pub struct SiblingOptions {
    pub qualifier: Option<String>,
    pub timeouts: Option<TimeoutsView>,
    pub retry: Option<String>,
    pub limits: Option<LimitsView>,
    pub text_format: Option<String>,
}

/// What one invocation may be given besides its payload and session.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct CallOptions {
    pub user_id: Option<String>,
    /// Name and value in turn.
    pub headers: Option<Vec<String>>,
    pub accept: Option<String>,
    pub trace: Option<TraceView>,
    pub mcp: Option<McpView>,
    pub timeouts: Option<TimeoutsView>,
    pub retry: Option<String>,
    pub text_format: Option<String>,
}

/// Trace headers.
#[napi(object, object_to_js = false)]
pub struct TraceView {
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
    pub baggage: Option<String>,
    pub x_amzn_trace_id: Option<String>,
}

/// Headers of the Model Context Protocol.
#[napi(object, object_to_js = false)]
pub struct McpView {
    pub session_id: Option<String>,
    pub protocol_version: Option<String>,
    pub method: Option<String>,
    pub name: Option<String>,
}

/// AWS credentials; `expiration` in milliseconds since 1970.
#[napi(object, object_to_js = false)]
pub struct CredentialsView {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
    pub expiration: Option<f64>,
}

/// What holds for a call that says nothing else.
#[derive(Clone, Copy, Default)]
pub(crate) struct Defaults {
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
}

/// TypeScript has refused what is negative or no number.
fn duration(milliseconds: f64) -> Duration {
    Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or(Duration::MAX)
}

fn some_duration(milliseconds: f64) -> Option<Duration> {
    milliseconds.is_finite().then(|| duration(milliseconds))
}

fn point_in_time(milliseconds: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(duration(milliseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}

// TypeScript has refused what is no whole number that fits.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn bytes(number: f64) -> u64 {
    number as u64
}

fn size(number: f64) -> usize {
    usize::try_from(bytes(number)).unwrap_or(usize::MAX)
}

impl TimeoutsView {
    /// What was given, over what holds otherwise.
    pub(crate) fn over(self, base: Timeouts) -> Timeouts {
        let mut timeouts = base;
        if let Some(limit) = self.connect {
            timeouts.connect = duration(limit);
        }
        if let Some(limit) = self.auth {
            timeouts.auth = duration(limit);
        }
        if let Some(limit) = self.first_byte {
            timeouts.first_byte = duration(limit);
        }
        if let Some(limit) = self.idle {
            timeouts.idle = some_duration(limit);
        }
        if let Some(limit) = self.total {
            timeouts.total = some_duration(limit);
        }
        if let Some(at) = self.deadline {
            timeouts.deadline = at.is_finite().then_some(at).and_then(|at| {
                let left = point_in_time(at).duration_since(SystemTime::now());
                // One that has passed ends the call before it begins, by name.
                Instant::now().checked_add(left.unwrap_or_default())
            });
        }
        timeouts
    }
}

impl LimitsView {
    pub(crate) fn over(self, base: Limits) -> Limits {
        let mut limits = base;
        if let Some(number) = self.event {
            limits.event = size(number);
        }
        if let Some(number) = self.answer {
            limits.answer = bytes(number);
        }
        if let Some(number) = self.payload {
            limits.payload = size(number);
        }
        limits
    }
}

/// TypeScript knows the names, and has refused others.
fn retry(name: &str) -> RetryPolicy {
    match name {
        "never" => RetryPolicy::never(),
        "idempotent" => RetryPolicy::idempotent(),
        _ => RetryPolicy::default(),
    }
}

fn text_format(name: &str) -> TextFormat {
    TextFormat::from_name(name).unwrap_or_default()
}

/// The names of all text formats, for TypeScript to check against.
#[napi]
pub fn text_formats() -> Vec<&'static str> {
    TextFormat::ALL.iter().map(|format| format.as_str()).collect()
}

impl ClientOptions {
    pub(crate) fn apply(self, mut builder: ClientBuilder) -> (ClientBuilder, Defaults) {
        let mut defaults = Defaults::default();
        // TypeScript has refused one without the other.
        if let (Some(agent_id), Some(account_id)) = (self.agent_id, self.account_id) {
            builder = builder.agent_id(agent_id, account_id);
        }
        if let Some(qualifier) = self.qualifier {
            builder = builder.qualifier(qualifier);
        }
        if let Some(region) = self.region {
            builder = builder.region(region);
        }
        if let Some(url) = self.endpoint_url {
            builder = builder.endpoint_url(url);
        }
        if let Some(url) = self.invocation_url {
            builder = builder.invocation_url(url);
        }
        if let Some(url) = self.local_url {
            builder = builder.local_url(url);
        }
        for host in self.allow_http_hosts.into_iter().flatten() {
            builder = builder.allow_http_host(host);
        }
        if let Some(given) = self.timeouts {
            defaults.timeouts = given.over(defaults.timeouts);
            builder = builder.timeouts(defaults.timeouts);
        }
        if let Some(name) = self.retry {
            builder = builder.retry(retry(&name));
        }
        if let Some(given) = self.limits {
            defaults.limits = given.over(defaults.limits);
            builder = builder.limits(defaults.limits);
        }
        if let Some(name) = self.text_format {
            builder = builder.text_format(text_format(&name));
        }
        if let Some(fips) = self.use_fips {
            builder = builder.use_fips(fips);
        }
        if let Some(dualstack) = self.use_dualstack {
            builder = builder.use_dualstack(dualstack);
        }
        if let Some(path) = self.ca_bundle {
            builder = builder.ca_bundle(path);
        }
        if let Some(url) = self.proxy {
            builder = builder.proxy(url);
        }
        if let Some(product) = self.user_agent {
            builder = builder.user_agent(product);
        }
        (builder, defaults)
    }
}

impl SiblingOptions {
    pub(crate) fn apply(
        self,
        mut sibling: SiblingBuilder,
        mut defaults: Defaults,
    ) -> (SiblingBuilder, Defaults) {
        if let Some(qualifier) = self.qualifier {
            sibling = sibling.qualifier(qualifier);
        }
        if let Some(given) = self.timeouts {
            defaults.timeouts = given.over(defaults.timeouts);
            sibling = sibling.timeouts(defaults.timeouts);
        }
        if let Some(name) = self.retry {
            sibling = sibling.retry(retry(&name));
        }
        if let Some(given) = self.limits {
            defaults.limits = given.over(defaults.limits);
            sibling = sibling.limits(defaults.limits);
        }
        if let Some(name) = self.text_format {
            sibling = sibling.text_format(text_format(&name));
        }
        (sibling, defaults)
    }
}

impl CallOptions {
    pub(crate) fn apply(self, mut invoke: Invoke, defaults: &Defaults) -> Invoke {
        if let Some(user) = self.user_id {
            invoke = invoke.user_id(user);
        }
        let mut headers = self.headers.into_iter().flatten();
        while let (Some(name), Some(value)) = (headers.next(), headers.next()) {
            invoke = invoke.header(name, value);
        }
        if let Some(accept) = self.accept {
            invoke = invoke.accept(accept);
        }
        if let Some(given) = self.trace {
            let mut trace = TraceContext::default();
            trace.traceparent = given.traceparent;
            trace.tracestate = given.tracestate;
            trace.baggage = given.baggage;
            trace.x_amzn_trace_id = given.x_amzn_trace_id;
            invoke = invoke.trace(trace);
        }
        if let Some(given) = self.mcp {
            let mut mcp = McpHeaders::default();
            mcp.session_id = given.session_id;
            mcp.protocol_version = given.protocol_version;
            mcp.method = given.method;
            mcp.name = given.name;
            invoke = invoke.mcp(mcp);
        }
        if let Some(given) = self.timeouts {
            invoke = invoke.timeouts(given.over(defaults.timeouts));
        }
        if let Some(name) = self.retry {
            invoke = invoke.retry(retry(&name));
        }
        if let Some(name) = self.text_format {
            invoke = invoke.text_format(text_format(&name));
        }
        invoke
    }

    /// A stop has only two of them.
    pub(crate) fn apply_to_stop(self, mut stop: StopSession, defaults: &Defaults) -> StopSession {
        if let Some(given) = self.timeouts {
            stop = stop.timeouts(given.over(defaults.timeouts));
        }
        if let Some(name) = self.retry {
            stop = stop.retry(retry(&name));
        }
        stop
    }
}

/// A session id: checked already if it is a `SessionId`, by the rule for new ones otherwise.
pub(crate) fn session(id: &str, checked: bool, local: bool) -> Result<SessionId> {
    if checked || local { SessionId::local(id) } else { SessionId::new(id) }
}

impl From<CredentialsView> for Credentials {
    fn from(given: CredentialsView) -> Self {
        Self::new(
            given.access_key_id,
            given.secret_access_key,
            given.session_token,
            given.expiration.map(point_in_time),
            "node",
        )
    }
}
