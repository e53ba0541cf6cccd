//! Session ids and runtime ARNs: the core's rules, for TypeScript's own classes.

use agentcore_client::{RuntimeArn, SessionId};
use napi::bindgen_prelude::Either;
use napi_derive::napi;

use crate::errors::FailureView;

type Given = Either<String, FailureView>;

fn given(id: agentcore_client::Result<SessionId>) -> Given {
    match id {
        Ok(id) => Either::A(id.as_str().to_owned()),
        Err(error) => Either::B(error.into()),
    }
}

/// A new random session id.
#[napi]
pub fn generate_session_id() -> String {
    SessionId::generate().as_str().to_owned()
}

/// The session id of these parts, which nobody can guess without the secret.
#[napi]
pub fn derive_session_id(secret: &[u8], parts: Vec<String>) -> Given {
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    given(SessionId::derive(secret, &parts))
}

/// The session id of these parts, which whoever knows them can guess.
#[napi]
pub fn derive_guessable_session_id(parts: Vec<String>) -> Given {
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    given(SessionId::derive_guessable(&parts))
}

/// Checks an id by the rule for `new`, `existing` or `local` ones.
#[napi]
pub fn check_session_id(id: String, rule: String) -> Given {
    given(match rule.as_str() {
        "existing" => SessionId::existing(&id),
        "local" => SessionId::local(&id),
        _ => SessionId::new(&id),
    })
}

/// The parts of a runtime ARN or endpoint ARN.
#[napi(object, object_from_js = false)]
pub struct ArnView {
    pub arn: String,
    pub partition: String,
    pub region: String,
    pub account_id: String,
    pub agent_id: String,
    pub qualifier: Option<String>,
}

impl From<RuntimeArn> for ArnView {
    fn from(arn: RuntimeArn) -> Self {
        Self {
            arn: arn.as_str().to_owned(),
            partition: arn.partition().to_owned(),
            region: arn.region().to_owned(),
            account_id: arn.account_id().to_owned(),
            agent_id: arn.agent_id().to_owned(),
            qualifier: arn.qualifier().map(str::to_owned),
        }
    }
}

/// Takes a runtime ARN or endpoint ARN apart.
#[napi]
pub fn parse_runtime_arn(arn: String) -> Either<ArnView, FailureView> {
    match RuntimeArn::parse(&arn) {
        // As it was given, with the endpoint's name if it has one.
        Ok(parsed) => Either::A(ArnView { arn, ..parsed.into() }),
        Err(error) => Either::B(error.into()),
    }
}

/// The IAM policy, as JSON, that allows these actions on a runtime.
#[napi]
pub fn invoke_policy(arn: String, actions: Vec<String>) -> Given {
    match agentcore_ffi::invoke_policy(&arn, &actions) {
        Ok(policy) => Either::A(policy),
        Err(error) => Either::B(error.into()),
    }
}

/// The ARN of an agent id in an account and a region.
#[napi]
pub fn runtime_arn_of_agent(
    agent_id: String,
    account_id: String,
    region: String,
) -> Either<ArnView, FailureView> {
    match RuntimeArn::from_agent_id(&agent_id, &account_id, &region) {
        Ok(arn) => Either::A(arn.into()),
        Err(error) => Either::B(error.into()),
    }
}
