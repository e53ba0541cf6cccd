//! What the function does with an event: whom it checks, what it hands to the second
//! stage, and what it says to the client when there is no answer.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde_json::Value;

use super::aws::{Aws, now};
use super::claims::Claims;
use super::event::{Connection, Event, ProxyResponse, Route, Wishes, default_payload};
use super::frames::{Again, Frame, FrameFormat, Outbox};
use super::hooks::{Hooks, Refusal, RelayMessage};
use super::post::{Posted, Poster};
use super::pump::Pump;
use super::second_stage::{self, SecondStage, Stages, Task};
use super::sessions::{Asker, Sessions};
use crate::client::Client;
use crate::config::Timeouts;
use crate::protocol::request::Payload;

/// How long a frame that belongs to no answer may take.
const WORD: Duration = Duration::from_secs(10);

/// How long stage one may take from the message's arrival: API Gateway waits for 29 s.
const STAGE_ONE: Duration = Duration::from_secs(28);

/// Hooks are the application's, and may wait for ever.
async fn in_time<T>(
    by: Option<Instant>,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let Some(by) = by else { return work.await };
    let late = || Refusal::with(504, "timeout", "the relay took too long");
    let by = tokio::time::Instant::from(by);
    if by <= tokio::time::Instant::now() {
        return Err(late());
    }
    tokio::time::timeout_at(by, work).await.unwrap_or_else(|_| Err(late()))
}

/// What Lambda says of an invocation.
#[derive(Clone, Debug, Default)]
pub struct LambdaContext {
    deadline: Option<Instant>,
    function_arn: Option<String>,
}

impl LambdaContext {
    /// When the function's time is up.
    #[must_use]
    pub fn deadline(self, deadline: SystemTime) -> Self {
        self.remaining(deadline.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// How much of the function's time is left.
    #[must_use]
    pub fn remaining(mut self, time: Duration) -> Self {
        self.deadline = now().checked_add(time);
        self
    }

    /// The ARN under which the function was invoked.
    #[must_use]
    pub fn function_arn(mut self, arn: impl Into<String>) -> Self {
        self.function_arn = Some(arn.into());
        self
    }
}

/// Whose message it is, by what the gateway's event says.
#[derive(Clone, Debug, Default)]
pub(super) enum Principal {
    /// Nobody is known: a connection is all there is.
    #[default]
    Connection,
    /// A member of what the API's authorizer said.
    Authorizer(String),
    /// A hook says it.
    Hook,
}

/// What an application may choose.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) allowed_origins: Option<Vec<String>>,
    pub(super) subprotocols: Vec<String>,
    pub(super) routes: Vec<String>,
    pub(super) principal: Principal,
    pub(super) format: FrameFormat,
    pub(super) forward_events: bool,
    pub(super) heartbeat: Duration,
    pub(super) margin: Duration,
    pub(super) second_stage: SecondStage,
    pub(super) hooks: Hooks,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            allowed_origins: None,
            subprotocols: Vec::new(),
            routes: vec!["$default".to_owned()],
            principal: Principal::default(),
            format: FrameFormat::default(),
            forward_events: false,
            heartbeat: Duration::from_secs(5),
            margin: Duration::from_secs(5),
            second_stage: SecondStage::default(),
            hooks: Hooks::default(),
        }
    }
}

/// A relay as it runs.
pub(super) struct Relay {
    pub(super) client: Client,
    pub(super) options: Options,
    pub(super) aws: Arc<Aws>,
    pub(super) poster: Arc<Poster>,
    pub(super) sessions: Sessions,
    pub(super) stages: Stages,
    pub(super) claims: Option<Claims>,
}

impl Relay {
    /// Handles one event, of the API or of the relay's own second stage.
    pub(super) async fn handle(&self, event: Value, context: &LambdaContext) -> ProxyResponse {
        if let Some(event) = event.get(second_stage::MEMBER) {
            return self.second_stage(event, context).await;
        }
        let handled = match Event::new(&event).and_then(|event| Ok((event, event.route()?))) {
            Ok((event, Route::Connect)) => self.connect(event),
            Ok((_, Route::Disconnect)) => Ok(ProxyResponse::status(200)),
            Ok((event, Route::Message(key))) => self.message(event, key, context).await,
            Err(refusal) => Err(refusal),
        };
        handled.unwrap_or_else(|refusal| {
            tracing::warn!(target: "agentcore_client", "refused an event: {refusal}");
            ProxyResponse::refused(&refusal)
        })
    }

    fn connect(&self, event: Event<'_>) -> Result<ProxyResponse, Refusal> {
        event.connection()?;
        if let Some(allowed) = &self.options.allowed_origins {
            let origin = event.header("origin").unwrap_or_default();
            let is_allowed = |one: &String| one == "*" || one.eq_ignore_ascii_case(origin);
            if !allowed.iter().any(is_allowed) {
                return Err(Refusal::with(403, "unauthorized", "this origin is not allowed"));
            }
        }
        let response = ProxyResponse::status(200);
        // A browser drops a connection that does not take up one of the protocols it offers.
        let offered = event.header("sec-websocket-protocol").unwrap_or_default();
        let taken = offered
            .split(',')
            .map(str::trim)
            .find(|one| self.options.subprotocols.iter().any(|known| known == one));
        Ok(match taken {
            Some(taken) => response.with_header("Sec-WebSocket-Protocol", taken.to_owned()),
            None => response,
        })
    }

    async fn message(
        &self,
        event: Event<'_>,
        key: &str,
        context: &LambdaContext,
    ) -> Result<ProxyResponse, Refusal> {
        // Without it there is nobody to tell what is wrong.
        let connection = event.connection()?;
        let id = event.message_id().to_owned();
        let mut wishes = Wishes::default();
        let answered = async {
            if !self.options.routes.iter().any(|route| route == key) {
                return Err(Refusal::with(404, "invalid_message", "this route is not served"));
            }
            let body = event.body()?;
            wishes.read(&body)?;
            if wishes.is_ping {
                self.pong(&connection, context).await;
                return Ok(None);
            }
            let id = wishes.id.clone().unwrap_or_else(|| id.clone());
            self.task(event, body, &wishes, connection.clone(), id).await.map(Some)
        };
        let (mut by, _) = self.times(context);
        if self.in_two_stages() {
            // Later, the gateway has told the client that nobody answers, who may ask again.
            let age = event.age(SystemTime::now()).unwrap_or_default();
            let listens = now() + STAGE_ONE.saturating_sub(age);
            by = Some(by.map_or(listens, |by| by.min(listens)));
        }
        let done = match in_time(by, answered).await {
            Ok(None) => return Ok(ProxyResponse::status(200)),
            Ok(Some(task)) if self.in_two_stages() => {
                let arn = context.function_arn.as_deref();
                self.stages.start(&self.aws, arn, &task, by).await
            }
            Ok(Some(task)) => {
                self.relay(task, context).await;
                Ok(())
            }
            Err(refusal) => Err(refusal),
        };
        match done {
            Ok(()) => Ok(ProxyResponse::status(200)),
            Err(refusal) => {
                let id = wishes.id.unwrap_or(id);
                self.tell(&connection, &id, &refusal, context).await;
                Err(refusal)
            }
        }
    }

    fn in_two_stages(&self) -> bool {
        match self.options.second_stage {
            SecondStage::Auto => self.stages.in_lambda(),
            SecondStage::Always => true,
            SecondStage::Never => false,
        }
    }

    /// What a message asks for, checked: nothing that is wrong with it is found out later.
    async fn task(
        &self,
        event: Event<'_>,
        body: Value,
        wishes: &Wishes,
        connection: Connection,
        id: String,
    ) -> Result<Task, Refusal> {
        let hooks = &self.options.hooks;
        let principal = match &self.options.principal {
            Principal::Connection => None,
            Principal::Authorizer(name) => Some(event.of_authorizer(name)),
            Principal::Hook => match &hooks.principal {
                Some(hook) => Some(hook(event.all().clone()).await?),
                None => None,
            },
        };
        // Never the session of whoever else is unknown.
        let unknown = || Refusal::with(401, "unauthorized", "nobody is signed in");
        let principal = match principal {
            Some(found) => Some(found.filter(|name| !name.is_empty()).ok_or_else(unknown)?),
            None => None,
        };
        let asker = Asker { principal: principal.as_deref(), connection_id: &connection.id };
        let now = SystemTime::now();
        let chosen = self.sessions.choose(asker, wishes, now)?;
        let resume = self.sessions.seal(asker, &chosen.session, now)?;
        let payload = match &hooks.payload {
            Some(hook) => {
                let message = RelayMessage {
                    body,
                    connection_id: connection.id.clone(),
                    principal: principal.clone(),
                    conversation: wishes.conversation.clone(),
                    session_id: chosen.session.clone(),
                };
                hook(message).await?
            }
            None => Payload::from(default_payload(&body)?),
        };
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let (session, resumed) = (chosen.session, chosen.resumed);
        Ok(Task { connection, id, session, resumed, resume, payload })
    }

    async fn second_stage(&self, event: &Value, context: &LambdaContext) -> ProxyResponse {
        let Some(delivered) = self.stages.open(event, SystemTime::now()) else {
            // Not a word to the connection that it names: that may be anybody's.
            tracing::warn!(target: "agentcore_client", "a forged second-stage event was refused");
            return ProxyResponse::status(403);
        };
        let task = delivered.task;
        let by = self.times(context).0;
        let is_first = match (&self.options.hooks.claim, &self.claims) {
            _ if !self.stages.is_first(&delivered.nonce) => Ok(false),
            (Some(claim), _) => in_time(by, claim(delivered.nonce)).await,
            (None, Some(table)) => in_time(by, table.claim(&self.aws, &delivered.nonce, by)).await,
            (None, None) => Ok(true),
        };
        let refusal = match is_first {
            Ok(true) if delivered.is_late => {
                Refusal::with(400, "expired", "the message took too long to get here")
            }
            Ok(true) => {
                self.relay(task, context).await;
                return ProxyResponse::status(200);
            }
            // However late: its client has the answer, or is getting it.
            Ok(false) => {
                tracing::warn!(target: "agentcore_client", "a second-stage event came twice");
                return ProxyResponse::status(200);
            }
            Err(refusal) => refusal,
        };
        tracing::warn!(target: "agentcore_client", "refused a second-stage event: {refusal}");
        self.tell(&task.connection, &task.id, &refusal, context).await;
        ProxyResponse::refused(&refusal)
    }

    /// Asks the agent and relays what it says.
    async fn relay(&self, task: Task, context: &LambdaContext) {
        let Task { connection, id, session, resumed, resume, payload } = task;
        let mut outbox = Outbox::new(self.options.format.clone(), id);
        outbox.push(Frame::Start { resume: resume.clone(), resumed });
        let (until, end) = self.times(context);
        let core = self.client.core();
        let deadline = match (core.timeouts.deadline, until) {
            (Some(own), Some(until)) => Some(own.min(until)),
            (own, until) => own.or(until),
        };
        let timeouts: Timeouts = core.timeouts.deadline(deadline);
        let invoke = self.client.invoke(Payload::from(payload)).session(session).timeouts(timeouts);
        let pump = Pump {
            poster: Arc::clone(&self.poster),
            socket: self.poster.socket(&connection),
            outbox,
            heartbeat: self.options.heartbeat,
            events: self.options.forward_events,
            until,
            end,
            resume,
        };
        let ended = pump.run(invoke).await;
        tracing::debug!(target: "agentcore_client", ?ended, "an answer was relayed");
    }

    /// When an answer must be cut short, and when the last post must be through: a function that is
    /// still busy when its time is up has failed.
    fn times(&self, context: &LambdaContext) -> (Option<Instant>, Option<Instant>) {
        let Some(deadline) = context.deadline else { return (None, None) };
        let left = deadline.saturating_duration_since(now());
        let margin = self.options.margin.min(left / 2);
        (deadline.checked_sub(margin), deadline.checked_sub(margin / 5))
    }

    /// An error frame for what never became an answer.
    async fn tell(
        &self,
        connection: &Connection,
        id: &str,
        refusal: &Refusal,
        context: &LambdaContext,
    ) {
        let mut outbox = Outbox::new(self.options.format.clone(), id.to_owned());
        outbox.push(Frame::Error {
            code: refusal.code(),
            message: refusal.message().to_owned(),
            delivery: Some(refusal.delivery().as_str()),
            state: None,
        });
        if let Some(taken) = outbox.take() {
            self.say(connection, taken.body.into(), outbox.again(), context).await;
        }
    }

    async fn pong(&self, connection: &Connection, context: &LambdaContext) {
        if self.options.format == FrameFormat::Json {
            let pong = Bytes::from_static(br#"{"type":"pong"}"#);
            self.say(connection, pong, Again::Yes, context).await;
        }
    }

    /// A word by the way: the gateway waits for it.
    async fn say(
        &self,
        connection: &Connection,
        body: Bytes,
        again: Again,
        context: &LambdaContext,
    ) {
        let soon = now() + WORD;
        let (_, end) = self.times(context);
        let end = Some(end.map_or(soon, |end| end.min(soon)));
        let socket = self.poster.socket(connection);
        match self.poster.post(&socket, body, again, end).await {
            Posted::Failed(why) | Posted::Unknown(why) => {
                tracing::warn!(target: "agentcore_client", "{why}");
            }
            Posted::Yes | Posted::Gone | Posted::TooLong => {}
        }
    }
}
