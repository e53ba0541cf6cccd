//! A relay for Lambda: events in, responses out, on the caller's thread. What
//! Lambda's run-time has parsed is read as it is, so that no JSON is parsed twice.

use std::sync::{Mutex, PoisonError};

use agentcore_client::Payload;
use agentcore_client::apigateway::WebSocketRelay;
use agentcore_ffi::{Call, Engine, Hook, HookAnswer, HookInput, Owned, RelayOptions};
use pyo3::IntoPyObjectExt as _;
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyNone, PyString, PyTuple, PyType,
};
use serde_json::{Map, Number, Value};

use crate::client::Client;
use crate::errors::{raise, raise_core};
use crate::known::Known;
use crate::values::{self, Options};
use crate::wait::{LONG_SLICE, drive_with};

/// Deeper than any event, and far from the end of the stack.
const DEEPEST: usize = 64;

/// A relay of one client.
#[pyclass(frozen, module = "agentcore_client._native")]
pub(crate) struct Relay {
    client: Py<Client>,
    options: RelayOptions,
    live: Mutex<Option<Owned<WebSocketRelay>>>,
}

#[pymethods]
impl Relay {
    #[new]
    fn new(client: Bound<'_, Client>, options: &Options<'_>) -> PyResult<Self> {
        let py = client.py();
        let relay =
            Self { client: client.unbind(), options: read(options)?, live: Mutex::default() };
        relay.live(py)?;
        Ok(relay)
    }

    /// Handles an event, with so many seconds left. `ask(kind, told)` runs a hook, and gives what it
    /// said; `None` if it failed, or a tuple of the text with which it refused.
    fn handle<'py>(
        &self,
        py: Python<'py>,
        event: &Bound<'py, PyAny>,
        remaining: Option<f64>,
        function_arn: Option<String>,
        ask: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let relay = self.live(py)?;
        let context = agentcore_ffi::relay_context(remaining, function_arn);
        // What can't be read is no event; the relay says so.
        let read = to_json(event, 0).unwrap_or_default();
        let call = Call::new(async move { Ok(relay.handle(read, context).await.to_json()) });
        let lease = Engine::current().lease().map_err(|failure| raise(py, &failure))?;
        let client = self.client.get();
        let mut run = |hook: Hook| match &ask {
            Some(ask) => run_hook(ask, hook),
            None => Ok(()),
        };
        let provider = client.provider(py)?;
        let response = drive_with(py, lease.lane(), LONG_SLICE, call, provider, &mut run)?;
        from_json(py, &response)
    }
}

impl Relay {
    fn live(&self, py: Python<'_>) -> PyResult<WebSocketRelay> {
        // A client that was closed says so here.
        let client = self.client.get().core(py)?;
        let known = || {
            let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
            live.as_ref().and_then(Owned::get).cloned()
        };
        if let Some(relay) = known() {
            return Ok(relay);
        }
        let relay = self.options.clone().build(&client).map_err(|error| raise_core(py, error))?;
        let owned = Owned::new(Engine::current(), relay.clone());
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(owned);
        Ok(relay)
    }
}

fn run_hook(ask: &Bound<'_, PyAny>, hook: Hook) -> PyResult<()> {
    let py = ask.py();
    let asked = match &hook.input {
        HookInput::Payload(message) => ask.call1(("payload", from_json(py, message)?)),
        HookInput::Principal => ask.call1(("principal", py.None())),
        HookInput::Claim(nonce) => ask.call1(("claim", nonce)),
    };
    let said = match asked {
        Ok(said) => said,
        // Dropped, it fails; the exception is logged where hooks are known.
        Err(error) if error.is_instance_of::<PyException>(py) => return Ok(()),
        Err(error) => return Err(error),
    };
    let answer = if let Ok(refused) = said.cast::<PyTuple>() {
        Some(HookAnswer::Refused(refused.get_item(0)?.extract()?))
    } else {
        match &hook.input {
            HookInput::Payload(_) if !said.is_none() => Some(HookAnswer::Payload(payload(&said)?)),
            HookInput::Principal => Some(HookAnswer::Principal(said.extract()?)),
            HookInput::Claim(_) if !said.is_none() => Some(HookAnswer::Claim(said.extract()?)),
            _ => None,
        }
    };
    if let Some(answer) = answer {
        hook.answer(answer);
    }
    Ok(())
}

fn payload(said: &Bound<'_, PyAny>) -> PyResult<Payload> {
    match said.cast::<PyBytes>() {
        Ok(bytes) => Ok(Payload::from(bytes.as_bytes())),
        Err(_) => values::payload(said),
    }
}

fn read(options: &Options<'_>) -> PyResult<RelayOptions> {
    let mut read = RelayOptions::default();
    for (name, value) in options.iter() {
        let name = name.cast::<PyString>()?.to_str()?;
        let text = || values::text(name, &value);
        let texts = || values::texts(name, &value);
        let flag = || values::boolean(name, &value);
        let seconds = || values::seconds(name, &value);
        match name {
            "secret" => {
                read.secret = Some(match value.cast::<PyBytes>() {
                    Ok(bytes) => bytes.as_bytes().to_vec(),
                    Err(_) => text()?.into_bytes(),
                });
            }
            "allowed_origins" => read.allowed_origins = Some(texts()?),
            "subprotocols" => read.subprotocols = Some(texts()?),
            "routes" => read.routes = Some(texts()?),
            "principal" => read.principal = Some(text()?),
            "asks_principal" => read.asks_principal = flag()?,
            "asks_payload" => read.asks_payload = flag()?,
            "asks_claim" => read.asks_claim = flag()?,
            "plain_text" => read.plain_text = flag()?,
            "end_marker" => read.end_marker = Some(text()?),
            "forward_events" => read.forward_events = flag()?,
            "heartbeat" => read.heartbeat = seconds()?,
            "margin" => read.margin = seconds()?,
            "second_stage" => {
                let stage = RelayOptions::second_stage(&text()?).ok_or_else(|| {
                    let rule = "must be \"auto\", \"always\" or \"never\"";
                    values::refused(value.py(), name, "an unknown stage", rule)
                })?;
                read.second_stage = Some(stage);
            }
            "claims_table" => read.claims_table = Some(text()?),
            "resume_lifetime" => read.resume_lifetime = seconds()?,
            "anyone_resumes" => read.anyone_resumes = flag()?,
            "trust_client_session_ids" => read.trust_client_session_ids = flag()?,
            "region" => read.region = Some(text()?),
            "endpoint_url" => read.endpoint_url = Some(text()?),
            _ => return Err(PyTypeError::new_err(format!("unexpected argument {name}"))),
        }
    }
    Ok(read)
}

/// What JSON can say of a value; `None` for what it can't.
fn to_json(value: &Bound<'_, PyAny>, depth: usize) -> Option<Value> {
    if depth > DEEPEST {
        return None;
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Some(text.to_str().ok()?.into());
    }
    if value.is_instance_of::<PyNone>() {
        return Some(Value::Null);
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Some(flag.is_true().into());
    }
    if value.is_instance_of::<PyInt>()
        && let Ok(number) = value.extract::<i64>()
    {
        return Some(number.into());
    }
    if value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>() {
        return Number::from_f64(value.extract().ok()?).map(Value::Number);
    }
    if let Ok(list) = value.cast::<PyList>() {
        let items: Option<Vec<_>> = list.iter().map(|item| to_json(&item, depth + 1)).collect();
        return items.map(Value::Array);
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        let mut members = Map::new();
        for (name, member) in dict.iter() {
            let name = name.cast::<PyString>().ok()?.to_str().ok()?.to_owned();
            members.insert(name, to_json(&member, depth + 1)?);
        }
        return Some(members.into());
    }
    // A mapping that some framework made of it.
    static MAPPING: Known<PyType> = Known::new();
    let mapping = MAPPING.import(value.py(), "collections.abc", "Mapping").ok()?;
    if !value.is_instance(mapping).ok()? {
        return None;
    }
    let mut members = Map::new();
    for pair in value.call_method0("items").ok()?.try_iter().ok()? {
        let (name, member): (String, Bound<'_, PyAny>) = pair.ok()?.extract().ok()?;
        members.insert(name, to_json(&member, depth + 1)?);
    }
    Some(members.into())
}

fn from_json<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Null => py.None().into_bound_py_any(py),
        Value::Bool(flag) => flag.into_bound_py_any(py),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into_bound_py_any(py),
            (None, Some(number)) => number.into_bound_py_any(py),
            (None, None) => number.as_f64().into_bound_py_any(py),
        },
        Value::String(text) => text.as_str().into_bound_py_any(py),
        Value::Array(items) => {
            let list = PyList::empty(py);
            items.iter().try_for_each(|item| list.append(from_json(py, item)?))?;
            list.into_bound_py_any(py)
        }
        Value::Object(members) => {
            let dict = PyDict::new(py);
            for (name, member) in members {
                dict.set_item(name, from_json(py, member)?)?;
            }
            dict.into_bound_py_any(py)
        }
    }
}
