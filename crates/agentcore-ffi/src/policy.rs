//! IAM policies for foreign languages, which name actions as text.

use agentcore_client::{PolicyAction, Result, RuntimeArn};

/// The policy document, as JSON, that allows these actions on this runtime.
pub fn invoke_policy(arn: &str, actions: &[String]) -> Result<String> {
    let arn = RuntimeArn::parse(arn)?;
    let actions = actions.iter().map(|name| name.parse()).collect::<Result<Vec<PolicyAction>>>()?;
    Ok(arn.invoke_policy(actions).to_string())
}
