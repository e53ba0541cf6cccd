//! Python's arguments as the core's. Wrong types are a `TypeError` that names
//! the argument; wrong values are the core's to refuse.

use std::time::{Duration, Instant, SystemTime};

use agentcore_client::{
    ClientBuilder, Credentials, Invoke, Limits, McpHeaders, Payload, RetryPolicy, SessionId,
    SiblingBuilder, TextFormat, Timeouts, TraceContext,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};

use crate::errors::raise_core;
use crate::known::Known;

/// Options by name, of which all that is known must be taken.
pub(crate) type Options<'py> = Bound<'py, PyDict>;

/// A refusal in the core's own words, for what only Python can see.
pub(crate) fn refused(py: Python<'_>, field: &str, shape: &str, rule: &str) -> PyErr {
    let build = || -> PyResult<PyErr> {
        let errors = py.import("agentcore_client._errors")?;
        Ok(PyErr::from_value(errors.call_method1("refused", (field, shape, rule))?))
    };
    build().unwrap_or_else(|error| error)
}

fn wrong_type(name: &str, value: &Bound<'_, PyAny>, wanted: &str) -> PyErr {
    let got = value.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("{name} must be {wanted}, not {got}"))
}

pub(crate) fn text(name: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    str_of(name, value).map(str::to_owned)
}

fn str_of<'a>(name: &str, value: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    let text = value.cast::<PyString>().map_err(|_| wrong_type(name, value, "a str"))?;
    text.to_str().map_err(|_| {
        refused(value.py(), name, "text with a lone surrogate", "must be valid Unicode")
    })
}

pub(crate) fn boolean(name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.extract().map_err(|_| wrong_type(name, value, "a bool"))
}

pub(crate) fn texts(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if value.is_instance_of::<PyString>() {
        return Err(wrong_type(name, value, "a list of str"));
    }
    let items = value.try_iter().map_err(|_| wrong_type(name, value, "a list of str"))?;
    items.map(|item| text(name, &item?)).collect()
}

/// Seconds, as a number; `None` for no limit.
pub(crate) fn seconds(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<Duration>> {
    if value.is_none() {
        return Ok(None);
    }
    let seconds: f64 =
        value.extract().map_err(|_| wrong_type(name, value, "seconds or a timedelta"))?;
    Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| {
        let (shape, rule) = if seconds < 0.0 {
            ("less than zero", "must be more than zero")
        } else {
            (
                "not a finite number of seconds",
                "must be finite; None is no limit for idle and total",
            )
        };
        refused(value.py(), name, shape, rule)
    })
}

/// A point in time, as seconds since 1970.
pub(crate) fn time(name: &str, value: &Bound<'_, PyAny>) -> PyResult<SystemTime> {
    let seconds: f64 = value
        .extract()
        .map_err(|_| wrong_type(name, value, "seconds since 1970 or an aware datetime"))?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since))
        .ok_or_else(|| refused(value.py(), name, "no point in time", "must be after 1970"))
}

/// What an object of this Python class was given, as a dict.
fn given<'py>(
    known: &'static Known<PyType>,
    class: &str,
    name: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    if !value.is_instance(known.import(value.py(), "agentcore_client._options", class)?)? {
        return Err(wrong_type(name, value, class));
    }
    Ok(value.getattr("_given")?.cast_into()?)
}

/// `Timeouts` over the ones that hold otherwise.
pub(crate) fn timeouts(base: Timeouts, value: &Bound<'_, PyAny>) -> PyResult<Timeouts> {
    let mut timeouts = base;
    static TIMEOUTS: Known<PyType> = Known::new();
    let given = given(&TIMEOUTS, "Timeouts", "timeouts", value)?;
    for (name, value) in given.iter() {
        let name = name.cast::<PyString>()?.to_str()?;
        let field = format!("timeouts.{name}");
        let some = |limit: Option<Duration>| {
            limit.ok_or_else(|| wrong_type(&field, &value, "seconds or a timedelta"))
        };
        match name {
            "connect" => timeouts.connect = some(seconds(&field, &value)?)?,
            "auth" => timeouts.auth = some(seconds(&field, &value)?)?,
            "first_byte" => timeouts.first_byte = some(seconds(&field, &value)?)?,
            "idle" => timeouts.idle = seconds(&field, &value)?,
            "total" => timeouts.total = seconds(&field, &value)?,
            "deadline" if value.is_none() => timeouts.deadline = None,
            "deadline" => {
                let left = time(&field, &value)?.duration_since(SystemTime::now());
                // One that has passed ends the call before it begins, by name.
                timeouts.deadline = Instant::now().checked_add(left.unwrap_or_default());
            }
            _ => return Err(unknown(&field)),
        }
    }
    Ok(timeouts)
}

fn limits(base: Limits, value: &Bound<'_, PyAny>) -> PyResult<Limits> {
    let mut limits = base;
    static LIMITS: Known<PyType> = Known::new();
    let given = given(&LIMITS, "Limits", "limits", value)?;
    for (name, value) in given.iter() {
        let name = name.cast::<PyString>()?.to_str()?;
        let field = format!("limits.{name}");
        let bytes: u64 = value.extract().map_err(|_| {
            if value.is_instance_of::<pyo3::types::PyInt>() {
                refused(value.py(), &field, "out of range", "must be from 1 to 2^64 - 1")
            } else {
                wrong_type(&field, &value, "a number of bytes")
            }
        })?;
        match name {
            "event" => limits.event = usize::try_from(bytes).unwrap_or(usize::MAX),
            "answer" => limits.answer = bytes,
            "payload" => limits.payload = usize::try_from(bytes).unwrap_or(usize::MAX),
            _ => return Err(unknown(&field)),
        }
    }
    Ok(limits)
}

fn retry(name: &str, value: &Bound<'_, PyAny>) -> PyResult<RetryPolicy> {
    match text(name, value)?.as_str() {
        "never" => Ok(RetryPolicy::never()),
        "default" => Ok(RetryPolicy::default()),
        "idempotent" => Ok(RetryPolicy::idempotent()),
        _ => Err(refused(
            value.py(),
            name,
            "an unknown policy",
            "must be \"never\", \"default\" or \"idempotent\"",
        )),
    }
}

fn text_format(name: &str, value: &Bound<'_, PyAny>) -> PyResult<TextFormat> {
    let given = text(name, value)?;
    let found = TextFormat::ALL.iter().find(|format| format.as_str() == given);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = TextFormat::ALL.iter().map(|format| format.as_str()).collect();
        refused(
            value.py(),
            name,
            "an unknown format",
            &format!("must be one of {}", names.join(", ")),
        )
    })
}

fn unknown(name: &str) -> PyErr {
    PyTypeError::new_err(format!("unexpected argument {name}"))
}

/// A session id: checked already if it is a `SessionId`, by the rule for new ones otherwise.
pub(crate) fn session(id: &Bound<'_, PyAny>, checked: bool, local: bool) -> PyResult<SessionId> {
    let text = str_of("session_id", id)?;
    let session = if checked || local { SessionId::local(text) } else { SessionId::new(text) };
    session.map_err(|error| raise_core(id.py(), error))
}

/// `bytes` as they are, a `str` as a JSON string; Python has made the rest into bytes.
pub(crate) fn payload(value: &Bound<'_, PyAny>) -> PyResult<Payload> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Payload::from(bytes.as_bytes()));
    }
    text("payload", value).map(Payload::from)
}

/// What a client is made of. Auth is not among it.
pub(crate) fn configure(
    mut builder: ClientBuilder,
    options: &Options<'_>,
) -> PyResult<ClientBuilder> {
    let mut agent = (None, None);
    let python = options.py().version_info();
    let mut user_agent = format!("python/{}.{}", python.major, python.minor);
    for (name, value) in options.iter() {
        let name = name.cast::<PyString>()?.to_str()?;
        builder = match name {
            "agent_id" => {
                agent.0 = Some(text(name, &value)?);
                builder
            }
            "account_id" => {
                agent.1 = Some(text(name, &value)?);
                builder
            }
            "qualifier" => builder.qualifier(text(name, &value)?),
            "region" => builder.region(text(name, &value)?),
            "endpoint_url" => builder.endpoint_url(text(name, &value)?),
            "invocation_url" => builder.invocation_url(text(name, &value)?),
            "local_url" => builder.local_url(text(name, &value)?),
            "allow_http_hosts" => {
                texts(name, &value)?.into_iter().fold(builder, ClientBuilder::allow_http_host)
            }
            "timeouts" => builder.timeouts(timeouts(Timeouts::default(), &value)?),
            "retry" => builder.retry(retry(name, &value)?),
            "limits" => builder.limits(limits(Limits::default(), &value)?),
            "text_format" => builder.text_format(text_format(name, &value)?),
            "use_fips" => builder.use_fips(boolean(name, &value)?),
            "use_dualstack" => builder.use_dualstack(boolean(name, &value)?),
            "ca_bundle" => builder.ca_bundle(text(name, &value)?),
            "proxy" => builder.proxy(text(name, &value)?),
            "user_agent" => {
                user_agent = format!("{} {user_agent}", text(name, &value)?);
                builder
            }
            _ => return Err(unknown(name)),
        };
    }
    let builder = builder.user_agent(user_agent);
    match agent {
        (Some(agent_id), Some(account_id)) => Ok(builder.agent_id(agent_id, account_id)),
        (None, None) => Ok(builder),
        (Some(_), None) => {
            Err(refused(options.py(), "account_id", "absent", "is needed with agent_id"))
        }
        (None, Some(_)) => {
            Err(refused(options.py(), "agent_id", "absent", "is needed with account_id"))
        }
    }
}

/// The options that a client and its sibling may differ in.
#[derive(Clone, Debug, Default)]
pub(crate) struct SiblingOptions {
    pub(crate) qualifier: Option<String>,
    pub(crate) timeouts: Option<Timeouts>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) limits: Option<Limits>,
    pub(crate) text_format: Option<TextFormat>,
}

impl SiblingOptions {
    pub(crate) fn new(options: &Options<'_>, base: &Defaults) -> PyResult<Self> {
        let mut sibling = Self::default();
        for (name, value) in options.iter() {
            let name = name.extract::<String>()?;
            let name = name.as_str();
            match name {
                "qualifier" => sibling.qualifier = Some(text(name, &value)?),
                "timeouts" => sibling.timeouts = Some(timeouts(base.timeouts, &value)?),
                "retry" => sibling.retry = Some(retry(name, &value)?),
                "limits" => sibling.limits = Some(limits(base.limits, &value)?),
                "text_format" => sibling.text_format = Some(text_format(name, &value)?),
                _ => return Err(unknown(name)),
            }
        }
        Ok(sibling)
    }

    pub(crate) fn apply(&self, mut sibling: SiblingBuilder) -> SiblingBuilder {
        if let Some(qualifier) = &self.qualifier {
            sibling = sibling.qualifier(qualifier);
        }
        if let Some(timeouts) = self.timeouts {
            sibling = sibling.timeouts(timeouts);
        }
        if let Some(retry) = self.retry {
            sibling = sibling.retry(retry);
        }
        if let Some(limits) = self.limits {
            sibling = sibling.limits(limits);
        }
        if let Some(format) = self.text_format {
            sibling = sibling.text_format(format);
        }
        sibling
    }
}

/// What holds for a call that says nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Defaults {
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
}

impl Defaults {
    pub(crate) fn new(options: &Options<'_>) -> PyResult<Self> {
        let mut defaults = Self::default();
        if let Some(given) = options.get_item("timeouts")? {
            defaults.timeouts = timeouts(defaults.timeouts, &given)?;
        }
        if let Some(given) = options.get_item("limits")? {
            defaults.limits = limits(defaults.limits, &given)?;
        }
        Ok(defaults)
    }

    pub(crate) fn for_sibling(mut self, options: &SiblingOptions) -> Self {
        self.timeouts = options.timeouts.unwrap_or(self.timeouts);
        self.limits = options.limits.unwrap_or(self.limits);
        self
    }
}

/// What an invocation may be given. An option that is `None` was not given, but must be one of these.
const INVOCATION: &[&str] = &[
    "user_id",
    "headers",
    "content_type",
    "accept",
    "timeouts",
    "retry",
    "text_format",
    "traceparent",
    "tracestate",
    "baggage",
    "x_amzn_trace_id",
    "mcp_session_id",
    "mcp_protocol_version",
    "mcp_method",
    "mcp_name",
];

/// The options of one invocation; `defaults` becomes what holds for it.
pub(crate) fn invocation(
    mut invoke: Invoke,
    options: &Options<'_>,
    defaults: &mut Defaults,
) -> PyResult<Invoke> {
    if options.is_empty() {
        return Ok(invoke);
    }
    let mut trace = TraceContext::default();
    let mut mcp = McpHeaders::default();
    for (name, value) in options.iter() {
        let name = name.cast::<PyString>()?.to_str()?;
        if value.is_none() && INVOCATION.contains(&name) {
            continue;
        }
        let string = || text(name, &value);
        invoke = match name {
            "user_id" => invoke.user_id(string()?),
            "headers" => headers(invoke, &value)?,
            "content_type" => invoke.content_type(string()?),
            "accept" => invoke.accept(string()?),
            "timeouts" => {
                defaults.timeouts = timeouts(defaults.timeouts, &value)?;
                invoke.timeouts(defaults.timeouts)
            }
            "retry" => invoke.retry(retry(name, &value)?),
            "text_format" => invoke.text_format(text_format(name, &value)?),
            _ => {
                match name {
                    "traceparent" => trace.traceparent = Some(string()?),
                    "tracestate" => trace.tracestate = Some(string()?),
                    "baggage" => trace.baggage = Some(string()?),
                    "x_amzn_trace_id" => trace.x_amzn_trace_id = Some(string()?),
                    "mcp_session_id" => mcp.session_id = Some(string()?),
                    "mcp_protocol_version" => mcp.protocol_version = Some(string()?),
                    "mcp_method" => mcp.method = Some(string()?),
                    "mcp_name" => mcp.name = Some(string()?),
                    _ => return Err(unknown(name)),
                }
                invoke
            }
        };
    }
    Ok(invoke.trace(trace).mcp(mcp))
}

fn headers(mut invoke: Invoke, value: &Bound<'_, PyAny>) -> PyResult<Invoke> {
    let wanted = "a mapping of str to str";
    let items = value.call_method0("items").map_err(|_| wrong_type("headers", value, wanted))?;
    for item in items.try_iter()? {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item?.extract()?;
        let name = text("headers", &name)?;
        if !value.is_instance_of::<PyString>() {
            return Err(wrong_type(&format!("headers[{name:?}]"), &value, "a str"));
        }
        let value = text("headers", &value)?;
        invoke = invoke.header(name, value);
    }
    Ok(invoke)
}

/// The options of a stop; `defaults` becomes what holds for it.
pub(crate) fn stop(
    mut stop: agentcore_client::StopSession,
    options: &Options<'_>,
    defaults: &mut Defaults,
) -> PyResult<agentcore_client::StopSession> {
    for (name, value) in options.iter() {
        let name = name.cast::<PyString>()?.to_str()?;
        if value.is_none() && ["timeouts", "retry"].contains(&name) {
            continue;
        }
        stop = match name {
            "timeouts" => {
                defaults.timeouts = timeouts(defaults.timeouts, &value)?;
                stop.timeouts(defaults.timeouts)
            }
            "retry" => stop.retry(retry("retry", &value)?),
            name => return Err(unknown(name)),
        };
    }
    Ok(stop)
}

/// What a provider in Python gave: access key, secret key, session token, expiry.
pub(crate) fn credentials(given: &Bound<'_, PyAny>) -> PyResult<Credentials> {
    let (access_key, secret_key, token, expires): (
        Bound<'_, PyAny>,
        Bound<'_, PyAny>,
        Bound<'_, PyAny>,
        Bound<'_, PyAny>,
    ) = given.extract()?;
    let some = |value: &Bound<'_, PyAny>| !value.is_none();
    Ok(Credentials::new(
        text("credentials.access_key", &access_key)?,
        text("credentials.secret_key", &secret_key)?,
        some(&token).then(|| text("credentials.token", &token)).transpose()?,
        some(&expires).then(|| time("credentials.expires", &expires)).transpose()?,
        "python",
    ))
}
