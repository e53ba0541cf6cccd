//! Session ids and runtime ARNs: the core's rules, for Python's own classes.

use agentcore_client::{RuntimeArn, SessionId};
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::errors::raise_core;
use crate::known::Known;
use crate::values;

/// Partition, region, account id, agent id, qualifier.
type ArnParts = (String, String, String, String, Option<String>);

/// A new random session id.
#[pyfunction]
pub(crate) fn generate_session_id() -> String {
    SessionId::generate().as_str().to_owned()
}

/// The session id of these parts, which nobody can guess without the secret.
#[pyfunction]
pub(crate) fn derive_session_id(
    py: Python<'_>,
    secret: &[u8],
    parts: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let parts = values::texts("parts", parts)?;
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    given(py, SessionId::derive(secret, &parts))
}

/// The session id of these parts, which whoever knows them can guess.
#[pyfunction]
pub(crate) fn derive_guessable_session_id(parts: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = parts.py();
    let parts = values::texts("parts", parts)?;
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    given(py, SessionId::derive_guessable(&parts))
}

/// Checks an id by the rule for `new`, `existing` or `local` ones.
#[pyfunction]
pub(crate) fn check_session_id(id: &Bound<'_, PyAny>, rule: &str) -> PyResult<()> {
    let text = values::text("session_id", id)?;
    let checked = match rule {
        "existing" => SessionId::existing(&text),
        "local" => SessionId::local(&text),
        _ => SessionId::new(&text),
    };
    given(id.py(), checked).map(drop)
}

fn given(py: Python<'_>, id: agentcore_client::Result<SessionId>) -> PyResult<String> {
    id.map(|id| id.as_str().to_owned()).map_err(|error| raise_core(py, error))
}

/// Whether it is a `SessionId`, which was checked when it was made.
pub(crate) fn is_checked(id: &Bound<'_, PyAny>) -> PyResult<bool> {
    static SESSION_ID: Known<PyType> = Known::new();
    id.is_instance(SESSION_ID.import(id.py(), "agentcore_client._ids", "SessionId")?)
}

/// The parts of a runtime ARN or endpoint ARN.
#[pyfunction]
pub(crate) fn parse_runtime_arn(arn: &Bound<'_, PyAny>) -> PyResult<ArnParts> {
    let py = arn.py();
    let arn = RuntimeArn::parse(&values::text("runtime_arn", arn)?)
        .map_err(|error| raise_core(py, error))?;
    Ok((
        arn.partition().to_owned(),
        arn.region().to_owned(),
        arn.account_id().to_owned(),
        arn.agent_id().to_owned(),
        arn.qualifier().map(str::to_owned),
    ))
}

/// The IAM policy, as JSON, that allows these actions on a runtime.
#[pyfunction]
pub(crate) fn invoke_policy(
    py: Python<'_>,
    arn: &str,
    actions: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let actions = values::texts("actions", actions)?;
    agentcore_ffi::invoke_policy(arn, &actions).map_err(|error| raise_core(py, error))
}

/// The ARN of an agent id in an account and a region.
#[pyfunction]
pub(crate) fn runtime_arn_of_agent(
    py: Python<'_>,
    agent_id: &str,
    account_id: &str,
    region: &str,
) -> PyResult<String> {
    let arn = RuntimeArn::from_agent_id(agent_id, account_id, region);
    arn.map(|arn| arn.as_str().to_owned()).map_err(|error| raise_core(py, error))
}
