//! A relay for Lambda: an event as JSON in, a response as JSON out. Its calls are
//! polled like any other; what they ask is answered in between.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use agentcore_client::apigateway::WebSocketRelay;
use agentcore_client::{Bytes, Payload};
use agentcore_ffi::{
    Background, Call, Closed, Engine, Failure, Hook, HookAnswer, HookInput, Question as Asked,
    RelayOptions, TokenWaker, Turn,
};
use napi::bindgen_prelude::{Either, Either4};
use napi_derive::napi;

use crate::call::Question;
use crate::client::{Client, Opened};
use crate::errors::FailureView;
use crate::queue::Shared;

/// What a relay is made of besides its client. Times in milliseconds.
#[napi(object, object_to_js = false)]
pub struct RelayView {
    pub secret: Option<Either<String, Vec<u8>>>,
    pub allowed_origins: Option<Vec<String>>,
    pub subprotocols: Option<Vec<String>>,
    pub routes: Option<Vec<String>>,
    pub principal: Option<String>,
    pub asks_principal: Option<bool>,
    pub asks_payload: Option<bool>,
    pub asks_claim: Option<bool>,
    /// `text` for the agent's text alone.
    pub format: Option<String>,
    pub end_marker: Option<String>,
    pub forward_events: Option<bool>,
    pub heartbeat: Option<f64>,
    pub margin: Option<f64>,
    pub second_stage: Option<String>,
    pub resume_lifetime: Option<f64>,
    pub claims_table: Option<String>,
    pub anyone_resumes: Option<bool>,
    pub trust_client_session_ids: Option<bool>,
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
}

fn time(milliseconds: Option<f64>) -> Option<Duration> {
    milliseconds.map(|ms| Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default())
}

impl From<RelayView> for RelayOptions {
    fn from(view: RelayView) -> Self {
        Self {
            secret: view.secret.map(|secret| match secret {
                Either::A(text) => text.into_bytes(),
                Either::B(bytes) => bytes,
            }),
            allowed_origins: view.allowed_origins,
            subprotocols: view.subprotocols,
            routes: view.routes,
            principal: view.principal,
            asks_principal: view.asks_principal.unwrap_or_default(),
            asks_payload: view.asks_payload.unwrap_or_default(),
            asks_claim: view.asks_claim.unwrap_or_default(),
            plain_text: view.format.as_deref() == Some("text"),
            end_marker: view.end_marker,
            forward_events: view.forward_events.unwrap_or_default(),
            heartbeat: time(view.heartbeat),
            margin: time(view.margin),
            second_stage: view.second_stage.as_deref().and_then(Self::second_stage),
            resume_lifetime: time(view.resume_lifetime),
            claims_table: view.claims_table,
            anyone_resumes: view.anyone_resumes.unwrap_or_default(),
            trust_client_session_ids: view.trust_client_session_ids.unwrap_or_default(),
            region: view.region,
            endpoint_url: view.endpoint_url,
        }
    }
}

/// A relay of one client.
#[napi]
pub struct Relay {
    relay: WebSocketRelay,
    queue: Shared,
}

/// A new relay, or why there is none.
#[napi]
pub fn open_relay(client: &Client, options: RelayView) -> Either<Relay, FailureView> {
    let built = client
        .borrow()
        .and_then(|live| RelayOptions::from(options).build(live.core()).map_err(Failure::from));
    match built {
        Ok(relay) => Either::A(Relay { relay, queue: client.queue().clone() }),
        Err(failure) => Either::B(failure.into()),
    }
}

#[napi]
impl Relay {
    /// Begins with an event. Its first turn is the first poll's.
    #[napi]
    pub fn start(
        &self,
        client: &Client,
        token: u32,
        event: String,
        remaining: Option<f64>,
        function_arn: Option<String>,
    ) -> Either<PendingRelay, FailureView> {
        let remaining = remaining.map(|milliseconds| milliseconds / 1000.0);
        let context = agentcore_ffi::relay_context(remaining, function_arn);
        let relay = self.relay.clone();
        let begin = || {
            let live = client.borrow()?;
            let background = Engine::current().background()?;
            let call = Call::new(async move {
                // What is no JSON is no event; the relay says so.
                Ok(relay.handle(parse(&event), context).await.to_json().to_string())
            });
            let (waker, queue) = (self.queue.waker(token), self.queue.clone());
            Ok(PendingRelay { waker, queue, background, state: Some((call, live)) })
        };
        match begin() {
            Ok(pending) => Either::A(pending),
            Err::<_, Failure>(failure) => Either::B(failure.into()),
        }
    }
}

fn parse(event: &str) -> serde_json::Value {
    serde_json::from_str(event).unwrap_or_default()
}

/// An event that is being handled.
#[napi]
pub struct PendingRelay {
    waker: Arc<TokenWaker>,
    queue: Shared,
    background: &'static Background,
    state: Option<(Call<String>, Rc<Opened>)>,
}

#[napi]
impl PendingRelay {
    /// `null` while it waits, a `Question` or a `HookQuestion` that must be answered, the response
    /// as JSON, or a failure.
    #[napi]
    pub fn poll(&mut self) -> Option<Either4<Question, HookQuestion, String, FailureView>> {
        let Some((call, live)) = &mut self.state else {
            return Some(Either4::D(Failure::Closed(Closed::Call).into()));
        };
        let turn = self.background.turn(&self.waker, |cx| call.poll(cx));
        self.queue.flush_logs(call.scope());
        let done = match turn {
            Poll::Pending => return None,
            Poll::Ready(Turn::Ask(Asked::Hook(hook))) => {
                return Some(Either4::B(HookQuestion { hook: Some(*hook) }));
            }
            Poll::Ready(Turn::Ask(question)) => return Some(Either4::A(Question::new(question))),
            Poll::Ready(Turn::Done(done)) => done,
        };
        live.hang_up_if_closed();
        self.state = None;
        Some(match done {
            Ok(response) => Either4::C(response),
            Err(failure) => Either4::D(failure.into()),
        })
    }
}

/// A hook that JavaScript must run. Its call is woken by the answer.
#[napi]
pub struct HookQuestion {
    hook: Option<Hook>,
}

#[napi]
impl HookQuestion {
    /// `payload`, `principal` or `claim`.
    #[napi(getter)]
    pub fn kind(&self) -> &'static str {
        match self.hook.as_ref().map(|hook| &hook.input) {
            Some(HookInput::Payload(_)) => "payload",
            Some(HookInput::Claim(_)) => "claim",
            Some(HookInput::Principal) | None => "principal",
        }
    }

    /// What the hook is told: the message as JSON, or the event's number.
    #[napi(getter)]
    pub fn told(&self) -> Option<String> {
        match self.hook.as_ref().map(|hook| &hook.input)? {
            HookInput::Payload(message) => Some(message.to_string()),
            HookInput::Claim(nonce) => Some(nonce.clone()),
            HookInput::Principal => None,
        }
    }

    #[napi]
    pub fn answer_payload(&mut self, payload: Either<String, &[u8]>) {
        self.answer(HookAnswer::Payload(match payload {
            Either::A(json) => Payload::from(Bytes::from(json)),
            Either::B(bytes) => Payload::from(bytes),
        }));
    }

    #[napi]
    pub fn answer_principal(&mut self, principal: Option<String>) {
        self.answer(HookAnswer::Principal(principal));
    }

    #[napi]
    pub fn answer_claim(&mut self, first: bool) {
        self.answer(HookAnswer::Claim(first));
    }

    /// The message is not wanted.
    #[napi]
    pub fn refuse(&mut self, why: String) {
        self.answer(HookAnswer::Refused(why));
    }

    /// There will be no answer.
    #[napi]
    pub fn fail(&mut self) {
        self.hook = None;
    }
}

impl HookQuestion {
    fn answer(&mut self, answer: HookAnswer) {
        if let Some(hook) = self.hook.take() {
            hook.answer(answer);
        }
    }
}
