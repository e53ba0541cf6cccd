//! The Lambda function behind an API Gateway WebSocket API, as a whole: a message comes in, the
//! agent is asked, and its answer goes out to the socket while it arrives.
//!
//! ```no_run
//! # use agentcore_client::{Client, Result, apigateway::{LambdaContext, WebSocketRelay}};
//! # async fn handler(event: serde_json::Value, deadline: std::time::SystemTime) -> Result<serde_json::Value> {
//! // Once, when the function starts.
//! let relay = WebSocketRelay::builder(&Client::from_env()?)
//!     .secret(std::env::var("AGENTCORE_RELAY_SECRET").unwrap_or_default())
//!     .allowed_origins(["https://chat.example.com"])
//!     .build()?;
//! // For each event.
//! let context = LambdaContext::default().deadline(deadline);
//! let response = relay.handle(event, context).await;
//! # Ok(response.to_json())
//! # }
//! ```
//!
//! # What a client sends
//!
//! One JSON object per message: `{"prompt": "Hi", "conversation": "c1", "id": "m1"}`.
//!
//! | member | meaning |
//! |---|---|
//! | `prompt` | text, or the agent's own shape (a list or an object). Required unless a payload hook reads the message |
//! | `conversation` | the client's own name for it, up to 256 bytes. Messages of one sender with the same name share a session; without one, a socket is one conversation |
//! | `resume` | a token from a `start` or `continue` frame: go on in that session |
//! | `id` | comes back in every frame of the answer, up to 64 bytes; the gateway's message id otherwise |
//! | `type` | `"ping"` is answered by `{"type":"pong"}` and asks the agent nothing. API Gateway closes a socket after 10 minutes without a message from the client, and has no pings of its own |
//!
//! # What a client gets
//!
//! One JSON frame per message. Each has a `type` and the `id` of its answer. `seq` counts the
//! frames of an answer from 0; a frame whose `seq` was seen before is to be ignored, and so is one of
//! an answer that has ended. After a broken connection to the gateway the relay can't know whether a
//! frame arrived, and sends it again; and what is refused before it becomes an answer has an `error`
//! with `seq` 0, so that the refusal of a late duplicate changes nothing for a client whose answer
//! has begun.
//!
//! | `type` | members | meaning |
//! |---|---|---|
//! | `start` | `seq`, `resume`, `resumed` | the agent is being asked. `resume` is a sealed token to come back with after a reload; `resumed` says whether the one that was sent was good |
//! | `delta` | `seq`, `text` | what the agent says; the texts joined are the answer |
//! | `event` | `seq`, `event`, `data`, `more` | an event of the agent's without text: its name, if it has one, and its data as text. `more: true`: the next frame continues `data`. Sent for answers that are one JSON value without text, and for all with `forward_events` |
//! | `heartbeat` | | the agent is silent, and the relay is there |
//! | `end` | `seq`, `state` | the answer is complete; `state` is `complete` |
//! | `error` | `code`, `message`; `seq`, `delivery`, `state` | there is no (more) answer. `delivery` says whether the agent may have run, `state` how its stream ended, in the words of [`Delivery`](crate::Delivery) and [`StreamEnd`](crate::StreamEnd) |
//! | `continue` | `seq`, `resume` | the function's time is up before the answer is. Ask again with `resume` to go on in the same session |
//!
//! `code` is one of `invalid_message`, `unauthorized`, `refused` (by a hook), `too_large`,
//! `throttled`, `agent_error`, `agent_unavailable`, `timeout`, `interrupted`, `expired` (the second
//! stage came too late; nothing was asked) and `internal`. Neither code nor message tells anything
//! of the account or of what the agent said when it failed; that goes to the log.
//!
//! With [`FrameFormat::Text`] a client gets the agent's text alone, message by message, and on
//! failure or when time is up `[code] message`. Whether it is still there is then asked by `GET @connections`, which
//! needs a permission of its own.
//!
//! # How it behaves
//!
//! One post is under way at a time for each socket; text that arrives meanwhile goes out with the
//! next one, without a wait. That holds for all answers that one process relays. In Lambda each
//! answer has a process of its own: frames of two that a client asked for at the same time may
//! cross, each answer's own are in order, and `id` tells them apart. A client that takes nothing slows the agent's stream down once 256 KiB
//! wait, and counts as gone after a minute. Messages are at most 128 KiB long, cut between
//! characters. A client that has left is noticed at the next post, at the latest after one
//! `heartbeat` (5 s); then the invocation is dropped at once. That does not stop the agent's
//! session.
//!
//! A WebSocket API waits 29 s for its function. So in Lambda, the function answers at once and
//! invokes itself asynchronously for the rest ([`SecondStage`]). Lambda may deliver such an event
//! late or more than once: it is dated and sealed, refused after 30 s, and not taken twice by the
//! same process; a [`claims_table`](WebSocketRelayBuilder::claims_table), or a hook, makes that hold
//! across processes.
//! Without it a rare duplicate is possible: the agent runs twice, and both answers come under the
//! same id; as plain text, a duplicate that is refused is an `[expired]` within the answer. Set
//! `maximum_retry_attempts = 0` and `maximum_event_age_in_seconds = 60` on the function.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::aws::Aws;
use super::claims::Claims;
use super::function::{Options, Principal, Relay};
use super::hooks::boxed;
use super::post::{Gateway, Poster};
use super::second_stage::Stages;
use super::sessions::Sessions;
use crate::client::Client;
use crate::config::Environment;
use crate::error::{Error, Result};
use crate::protocol::endpoint::ServiceEndpoint;
use crate::protocol::region;
use crate::protocol::request::Payload;

pub use super::event::ProxyResponse;
pub use super::frames::FrameFormat;
pub use super::function::LambdaContext;
pub use super::hooks::{Refusal, RelayMessage};
pub use super::second_stage::SecondStage;

/// The function behind a WebSocket API. Cheap to clone; made once, when the function starts.
#[derive(Clone)]
pub struct WebSocketRelay(Arc<Relay>);

impl fmt::Debug for WebSocketRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketRelay")
            .field("client", &self.0.client)
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

/// Puts a [`WebSocketRelay`] together.
#[derive(Clone)]
#[must_use = "a builder does nothing before `build`"]
pub struct WebSocketRelayBuilder {
    client: Client,
    secret: Option<Vec<u8>>,
    options: Options,
    region: Option<String>,
    endpoint_url: Option<String>,
    resume_lifetime: Duration,
    anyone_resumes: bool,
    trust_client_session_ids: bool,
    claims_table: Option<String>,
    environment: Environment,
}

/// Without the secret.
impl fmt::Debug for WebSocketRelayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketRelayBuilder")
            .field("client", &self.client)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl WebSocketRelay {
    /// A relay to the runtime of this client.
    pub fn builder(client: &Client) -> WebSocketRelayBuilder {
        WebSocketRelayBuilder {
            client: client.clone(),
            secret: None,
            options: Options::default(),
            region: None,
            endpoint_url: None,
            resume_lifetime: Duration::from_secs(8 * 3600),
            anyone_resumes: false,
            trust_client_session_ids: false,
            claims_table: None,
            environment: Environment::process(),
        }
    }

    /// Handles one event of the API, or of the relay's own second stage. It never fails: what goes
    /// wrong is in the response for the gateway, in an error frame for the client, and in the log.
    ///
    /// Dropping the future drops the invocation.
    pub async fn handle(&self, event: Value, context: LambdaContext) -> ProxyResponse {
        self.0.handle(event, &context).await
    }
}

#[cfg(test)]
impl WebSocketRelay {
    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    /// A second-stage event of that time.
    pub(super) fn event_at(&self, time: std::time::SystemTime) -> Value {
        use super::event::Connection;
        use super::second_stage::Task;
        let id = |text: &str| text.to_owned();
        let connection = Connection { api_id: id("abc"), stage: id("prod"), id: id("L0SM=") };
        let session = crate::SessionId::generate();
        let (resumed, resume, payload) = (false, id("token"), bytes::Bytes::from_static(b"{}"));
        let task = Task { connection, id: id("m1"), session, resumed, resume, payload };
        self.0.stages.event(&task, time).unwrap()
    }
}

impl WebSocketRelayBuilder {
    /// What sessions, tokens and second-stage events are sealed with: at least 16 random bytes, the
    /// same in every copy of the function. Default: `AGENTCORE_RELAY_SECRET`.
    pub fn secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// The origins whose pages may connect, such as `https://chat.example.com`; others get 403 at
    /// `$connect`, and so does who sends no origin. Without this, every page may.
    pub fn allowed_origins<S: Into<String>>(
        mut self,
        origins: impl IntoIterator<Item = S>,
    ) -> Self {
        self.options.allowed_origins = Some(origins.into_iter().map(Into::into).collect());
        self
    }

    /// The subprotocols that are taken up when a client offers one.
    pub fn subprotocols<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.options.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// The route keys whose messages go to the agent; `$default` alone unless given.
    pub fn routes<S: Into<String>>(mut self, keys: impl IntoIterator<Item = S>) -> Self {
        self.options.routes = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Who sends a message: the member of that name of what the API's authorizer said, such as
    /// `principalId`. It must tell users apart, since who has the same principal can name the same
    /// conversations. A message without it is refused. By default nobody is known, and a connection
    /// has conversations of its own.
    pub fn principal(mut self, member: impl Into<String>) -> Self {
        self.options.principal = Principal::Authorizer(member.into());
        self
    }

    /// Who sends a message, as a hook reads it out of the whole event; `None` refuses the message.
    pub fn principal_with<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<String>, Refusal>> + Send + 'static,
    {
        self.options.principal = Principal::Hook;
        self.options.hooks.principal = Some(boxed(hook));
        self
    }

    /// Makes the agent's payload of a message. Without it the payload is `{"prompt": …}`.
    pub fn payload<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(RelayMessage) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Payload, Refusal>> + Send + 'static,
    {
        self.options.hooks.payload = Some(boxed(hook));
        self
    }

    /// Answers no second-stage event twice, whichever copy of the function it comes to: each puts
    /// its number into this DynamoDB table of the relay's region, whose key is `nonce`, a text. The
    /// time in `expires` is for the table's time to live. The function needs `dynamodb:PutItem` on it.
    pub fn claims_table(mut self, name: impl Into<String>) -> Self {
        self.claims_table = Some(name.into());
        self
    }

    /// In place of a [`claims_table`](Self::claims_table): says whether a second-stage event comes for
    /// the first time, by its number: `true` once and `false` from then on, for all copies of the
    /// function.
    pub fn claim<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(String) -> R + Send + Sync + 'static,
        R: Future<Output = Result<bool, Refusal>> + Send + 'static,
    {
        self.options.hooks.claim = Some(boxed(hook));
        self
    }

    /// How the answer is framed; JSON unless given.
    pub fn format(mut self, format: FrameFormat) -> Self {
        self.options.format = format;
        self
    }

    /// Passes on the events without text, too, such as those of tools.
    pub fn forward_events(mut self, forward: bool) -> Self {
        self.options.forward_events = forward;
        self
    }

    /// How long the relay may be silent; 5 s unless given. A client that has left is noticed this
    /// soon.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.options.heartbeat = every;
        self
    }

    /// How long before the function's time is up an answer is cut, to end it properly; 5 s unless
    /// given, and at most half of the time that there is.
    pub fn margin(mut self, margin: Duration) -> Self {
        self.options.margin = margin;
        self
    }

    /// Whether a second invocation relays the answer; in Lambda unless given.
    pub fn second_stage(mut self, when: SecondStage) -> Self {
        self.options.second_stage = when;
        self
    }

    /// How long a `resume` token is good; 8 hours unless given.
    pub fn resume_lifetime(mut self, lifetime: Duration) -> Self {
        self.resume_lifetime = lifetime;
        self
    }

    /// Lets whoever holds a `resume` token of somebody unknown go on with it. Without a principal a
    /// reloaded page is a stranger, so tokens are tied to their connection otherwise and begin a
    /// fresh session on another.
    pub fn anyone_resumes(mut self, anyone: bool) -> Self {
        self.anyone_resumes = anyone;
        self
    }

    /// Takes runtime session ids from clients, as `sessionId` of a message; ids that the service
    /// would refuse are derived into good ones. **Whoever knows or guesses an id is in its
    /// session.**
    pub fn trust_client_session_ids(mut self, trust: bool) -> Self {
        self.trust_client_session_ids = trust;
        self
    }

    /// The API's region. Default: `AWS_REGION`, which is the function's, or the runtime's.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Where `/@connections` is, such as `https://ws.example.com/chat` for a custom domain; the
    /// stage is not added. By default that is the API's own host, and
    /// `AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI` stands for it in tests.
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.endpoint_url = Some(url.into());
        self
    }

    /// Where environment variables come from; the process's own otherwise.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Checks everything and builds the relay. No IO.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), naming the argument or variable.
    pub fn build(self) -> Result<WebSocketRelay> {
        let env = &self.environment;
        let secret = match self.secret {
            Some(secret) if !secret.is_empty() => secret,
            _ => env.get("AGENTCORE_RELAY_SECRET").unwrap_or_default().into_bytes(),
        };
        for (field, time) in
            [("heartbeat", self.options.heartbeat), ("resume_lifetime", self.resume_lifetime)]
        {
            if time.is_zero() || time > Duration::from_secs(10 * 365 * 86_400) {
                return Err(Error::invalid(field, "out of range", "must be more than zero"));
            }
        }
        for origin in self.options.allowed_origins.iter().flatten() {
            let host = origin.split_once("://").map_or("", |(_, host)| host);
            if origin != "*" && (host.is_empty() || host.contains('/')) {
                let rule = "needs a scheme and a host, such as https://chat.example.com";
                return Err(Error::invalid("allowed_origins", "no origin", rule));
            }
        }
        let sessions = Sessions::new(
            &secret,
            self.resume_lifetime,
            self.anyone_resumes,
            self.trust_client_session_ids,
        )?;
        let core = self.client.core();
        let of_env = || env.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
        let of_client = || Some(core.region.clone()).filter(|region| !region.is_empty());
        let region = self.region.clone().or_else(of_env).or_else(of_client).ok_or_else(|| {
            Error::invalid("region", "absent", "give the API's region, or set AWS_REGION")
        })?;
        let dns_suffix = region::partition_of("region", &region)?.dns_suffix;
        let configured = |name: &str| {
            let ignored = env.flag("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
            env.first(&[name, "AWS_ENDPOINT_URL"]).filter(|_| !ignored)
        };
        let gateway =
            match (&self.endpoint_url, configured("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI")) {
                (Some(url), _) => Gateway::Url(ServiceEndpoint::parse("endpoint_url", url, &[])?),
                (None, Some(url)) => {
                    let field = "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI";
                    let endpoint = ServiceEndpoint::parse(field, &url, &[])?;
                    // The AWS SDKs want the stage in it; a bare host gets it from the event.
                    if endpoint.has_path() {
                        Gateway::Url(endpoint)
                    } else {
                        Gateway::Host(endpoint)
                    }
                }
                (None, None) => Gateway::Aws { dns_suffix },
            };
        let lambda = configured("AWS_ENDPOINT_URL_LAMBDA")
            .map(|url| ServiceEndpoint::parse("AWS_ENDPOINT_URL_LAMBDA", &url, &[]))
            .transpose()?;
        let claims = match self.claims_table {
            Some(_) if self.options.hooks.claim.is_some() => {
                let rule = "give a table or a hook";
                return Err(Error::invalid("claims_table", "beside a claim hook", rule));
            }
            Some(name) => {
                let endpoint = match configured("AWS_ENDPOINT_URL_DYNAMODB") {
                    Some(url) => ServiceEndpoint::parse("AWS_ENDPOINT_URL_DYNAMODB", &url, &[])?,
                    None => ServiceEndpoint::aws(format!("dynamodb.{region}.{dns_suffix}")),
                };
                Some(Claims::new(&name, &region, &endpoint)?)
            }
            None => None,
        };
        let stages = Stages::new(&secret, &region, lambda, env);
        let aws = Arc::new(Aws::new(&self.client, &region, env)?);
        let poster = Arc::new(Poster::new(Arc::clone(&aws), region, gateway));
        Ok(WebSocketRelay(Arc::new(Relay {
            client: self.client,
            options: self.options,
            aws,
            poster,
            sessions,
            stages,
            claims,
        })))
    }
}
