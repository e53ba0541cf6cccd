//! A relay's options and hooks as both bindings hand them over. A hook is code in
//! the foreign language, so it is asked for like a provider: a question is left,
//! and the call waits for its answer.

use std::time::Duration;

use agentcore_client::apigateway::{
    FrameFormat, LambdaContext, Refusal, RelayMessage, SecondStage, WebSocketRelay,
};
use agentcore_client::{Client, Payload, Result};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::scope::{self, Question};

/// What a hook is told.
#[derive(Debug)]
pub enum HookInput {
    /// A message, of which the hook makes the payload.
    Payload(Value),
    /// An event, in which the hook finds the principal.
    Principal,
    /// The number of a second-stage event.
    Claim(String),
}

/// What a hook has said.
#[derive(Debug)]
pub enum HookAnswer {
    /// The agent's payload.
    Payload(Payload),
    /// Who sends the message, if anybody.
    Principal(Option<String>),
    /// Whether the event comes for the first time.
    Claim(bool),
    /// The message is not wanted, and why.
    Refused(String),
}

/// A hook that is to run. Dropping it fails the message.
#[derive(Debug)]
pub struct Hook {
    /// What it is told.
    pub input: HookInput,
    asker: oneshot::Sender<HookAnswer>,
}

impl Hook {
    /// Hands over what the hook has said. A call that is gone needs no answer.
    pub fn answer(self, answer: HookAnswer) {
        drop(self.asker.send(answer));
    }
}

async fn ask(input: HookInput) -> Result<HookAnswer, Refusal> {
    let (asker, answer) = oneshot::channel();
    if scope::ask(Question::Hook(Box::new(Hook { input, asker }))).is_err() {
        return Err(Refusal::failed());
    }
    match answer.await {
        Ok(HookAnswer::Refused(why)) => Err(Refusal::new(why)),
        Ok(answer) => Ok(answer),
        Err(_) => Err(Refusal::failed()),
    }
}

fn told(message: RelayMessage) -> Value {
    json!({
        "body": message.body,
        "connection_id": message.connection_id,
        "principal": message.principal,
        "conversation": message.conversation,
        "session_id": message.session_id.as_str(),
    })
}

/// Lambda's context: the seconds that are left, where that is known, and the function's ARN.
pub fn context(remaining: Option<f64>, function_arn: Option<String>) -> LambdaContext {
    let mut context = LambdaContext::default();
    if let Some(left) = remaining {
        // More than a clock can count is no limit; what is no number is no time.
        let left = Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(Duration::MAX);
        context = context.remaining(left);
    }
    match function_arn {
        Some(arn) => context.function_arn(arn),
        None => context,
    }
}

/// What a relay is made of besides its client; `None` for the core's default.
#[derive(Clone, Default)]
#[allow(missing_docs, reason = "each is the builder's method of that name")]
pub struct RelayOptions {
    pub secret: Option<Vec<u8>>,
    pub allowed_origins: Option<Vec<String>>,
    pub subprotocols: Option<Vec<String>>,
    pub routes: Option<Vec<String>>,
    pub principal: Option<String>,
    pub asks_principal: bool,
    pub asks_payload: bool,
    pub asks_claim: bool,
    pub plain_text: bool,
    /// What plain text ends with.
    pub end_marker: Option<String>,
    pub forward_events: bool,
    pub heartbeat: Option<Duration>,
    pub margin: Option<Duration>,
    pub second_stage: Option<SecondStage>,
    pub resume_lifetime: Option<Duration>,
    pub claims_table: Option<String>,
    pub anyone_resumes: bool,
    pub trust_client_session_ids: bool,
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
}

/// Without the secret.
impl std::fmt::Debug for RelayOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayOptions").finish_non_exhaustive()
    }
}

impl RelayOptions {
    /// The stage of that name.
    pub fn second_stage(name: &str) -> Option<SecondStage> {
        match name {
            "auto" => Some(SecondStage::Auto),
            "always" => Some(SecondStage::Always),
            "never" => Some(SecondStage::Never),
            _ => None,
        }
    }

    /// A relay with these options.
    ///
    /// # Errors
    /// The builder's own.
    pub fn build(self, client: &Client) -> Result<WebSocketRelay> {
        let mut builder = WebSocketRelay::builder(client)
            .forward_events(self.forward_events)
            .anyone_resumes(self.anyone_resumes)
            .trust_client_session_ids(self.trust_client_session_ids);
        if self.plain_text {
            builder = builder.format(FrameFormat::Text { end: self.end_marker });
        }
        macro_rules! apply {
            ($($name:ident),+) => {
                $(if let Some(value) = self.$name { builder = builder.$name(value); })+
            };
        }
        apply!(secret, allowed_origins, subprotocols, routes, principal, heartbeat, margin);
        apply!(second_stage, resume_lifetime, claims_table, region, endpoint_url);
        if self.asks_principal {
            builder = builder.principal_with(|_| async {
                match ask(HookInput::Principal).await? {
                    HookAnswer::Principal(found) => Ok(found),
                    _ => Err(Refusal::failed()),
                }
            });
        }
        if self.asks_payload {
            builder = builder.payload(|message| async {
                match ask(HookInput::Payload(told(message))).await? {
                    HookAnswer::Payload(payload) => Ok(payload),
                    _ => Err(Refusal::failed()),
                }
            });
        }
        if self.asks_claim {
            builder = builder.claim(|nonce| async {
                match ask(HookInput::Claim(nonce)).await? {
                    HookAnswer::Claim(first) => Ok(first),
                    _ => Err(Refusal::failed()),
                }
            });
        }
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_without_end_has_no_deadline() {
        for (remaining, has_deadline) in [
            (None, false),
            (Some(f64::INFINITY), false),
            (Some(1e300), false),
            (Some(900.0), true),
            (Some(0.0), true),
            (Some(-1.0), true),
            (Some(f64::NEG_INFINITY), true),
            (Some(f64::NAN), true),
        ] {
            let context = format!("{:?}", context(remaining, None));
            assert_eq!(context.contains("deadline: Some"), has_deadline, "{remaining:?}");
        }
    }
}
