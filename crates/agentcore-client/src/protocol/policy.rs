//! The IAM policy with which a caller may use one runtime: the actions as the
//! service names them, and both ARNs that it checks them on.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::protocol::arn::RuntimeArn;
use crate::protocol::shape;

const PREFIX: &str = "bedrock-agentcore:";

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// An IAM action on a runtime. As text with the service's prefix or without:
        /// `bedrock-agentcore:InvokeAgentRuntime` or `InvokeAgentRuntime`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum PolicyAction { $($(#[$doc])* $name,)+ }

        impl PolicyAction {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The action as policies name it, with the service's prefix.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => concat!("bedrock-agentcore:", stringify!($name)),)+ }
            }
        }
    };
}

actions! {
    /// `invoke`, whole or streamed.
    InvokeAgentRuntime,
    /// A call with a user id, besides the action of the call itself.
    InvokeAgentRuntimeForUser,
    /// The agent's WebSocket.
    InvokeAgentRuntimeWithWebSocketStream,
    /// The agent's WebSocket with a user id, besides the action of the socket itself.
    InvokeAgentRuntimeWithWebSocketStreamForUser,
    /// A command in a session.
    InvokeAgentRuntimeCommand,
    /// An interactive shell in a session.
    InvokeAgentRuntimeCommandShell,
    /// The ports that a session opens.
    InvokeAgentRuntimeProxy,
    /// The end of a session.
    StopRuntimeSession,
    /// The agent's card.
    GetAgentCard,
}

impl fmt::Display for PolicyAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PolicyAction {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let name = text.strip_prefix(PREFIX).unwrap_or(text);
        let known = Self::ALL.iter().find(|action| &action.as_str()[PREFIX.len()..] == name);
        known.copied().ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|a| &a.as_str()[PREFIX.len()..]).collect();
            Error::invalid(
                "actions",
                format_args!("an unknown action of {}", shape::of(text)),
                format_args!("needs one of {}", names.join(", ")),
            )
        })
    }
}

impl RuntimeArn {
    /// The identity policy that allows these actions on this runtime, and nothing else; with none
    /// given, [`InvokeAgentRuntime`](PolicyAction::InvokeAgentRuntime).
    ///
    /// The service checks an action on the runtime *and* on its endpoint, so both are named: the
    /// endpoint of this ARN, or `DEFAULT`, which calls without a qualifier go to. The statement
    /// alone, as infrastructure code takes it, is `policy["Statement"][0]`. For a runtime with a
    /// JWT authorizer identity policies mean nothing.
    ///
    /// ```
    /// # use agentcore_client::{PolicyAction, RuntimeArn};
    /// let arn: RuntimeArn =
    ///     "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-AbCdEf1234".parse()?;
    /// let policy =
    ///     arn.invoke_policy([PolicyAction::InvokeAgentRuntime, PolicyAction::StopRuntimeSession]);
    /// println!("{policy:#}");
    /// # Ok::<(), agentcore_client::Error>(())
    /// ```
    pub fn invoke_policy(&self, actions: impl IntoIterator<Item = PolicyAction>) -> Value {
        let mut wanted: Vec<&str> = Vec::new();
        for action in actions {
            if !wanted.contains(&action.as_str()) {
                wanted.push(action.as_str());
            }
        }
        if wanted.is_empty() {
            wanted.push(PolicyAction::InvokeAgentRuntime.as_str());
        }
        json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Action": wanted,
                "Resource": [self.as_str(), self.endpoint_arn(self.qualifier())],
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_those_of_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../../tests/vectors/policies.json")).unwrap();
        let texts = |case: &Value| -> Vec<String> {
            serde_json::from_value(case["actions"].clone()).unwrap()
        };
        let parse = |names: Vec<String>| -> Result<Vec<PolicyAction>> {
            names.iter().map(|name| name.parse()).collect()
        };
        let cases = vectors["policies"].as_array().unwrap();
        assert!(cases.len() > 4);
        for case in cases {
            let arn = RuntimeArn::parse(case["arn"].as_str().unwrap()).unwrap();
            let policy = arn.invoke_policy(parse(texts(case)).unwrap());
            assert_eq!(policy, case["policy"], "{}", case["id"]);
        }
        for case in vectors["refused"].as_array().unwrap() {
            let error = parse(texts(case)).unwrap_err();
            assert_eq!(error.field(), Some("actions"), "{}", case["id"]);
        }
        let named: Vec<String> = PolicyAction::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(serde_json::to_value(named).unwrap(), vectors["actions"]);
    }

    #[test]
    fn a_refused_action_is_told_what_there_is_and_not_shown() {
        let error = "s3:GetObject".parse::<PolicyAction>().unwrap_err().to_string();
        assert!(error.contains("InvokeAgentRuntime, "), "{error}");
        assert!(!error.contains("s3"), "{error}");
    }
}
