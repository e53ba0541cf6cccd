//! The operations as the service performs them: guard, authorise, validate, enter the session,
//! let the agent answer. Each call takes at most one scripted fault on its way.

use crate::agent::{AgentRequest, Command, Responder, Step};
use crate::answer::{Answer, Head, Next, Place};
use crate::config::{Auth, Served, Shared};
use crate::encoding::{query_pairs, uuid};
use crate::error::ServiceError;
use crate::faults::Fault;
use crate::gateway;
use crate::headers::Headers;
use crate::journal::{self, JournalEvent};
use crate::router::{Route, route};
use crate::session::Live;
use crate::sigv4::{self, Claim, Scope, Signed, split_target};
use crate::validate::{self, REQUEST_ID, SESSION, TRACE};
use crate::wire::Wire;
use crate::{clock, control};
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

const JSON: &str = "application/json";

/// A request that was read to its end.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    pub(crate) body_sha256: String,
    pub(crate) keep_alive: bool,
}

/// One call on its way through.
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    place: Place<'a>,
    pub(crate) request: &'a Request,
    route: Route,
    query: Vec<(String, String)>,
    pub(crate) request_id: String,
    fault: Fault,
    /// An allowed origin that asks, for the CORS headers.
    origin: Option<String>,
}

/// How an operation goes on: an error to answer, or an answer that is over already.
pub(crate) enum Stop {
    Error(ServiceError),
    Over(Next),
}

impl From<ServiceError> for Stop {
    fn from(error: ServiceError) -> Self {
        Self::Error(error)
    }
}

impl From<Next> for Stop {
    fn from(next: Next) -> Self {
        Self::Over(next)
    }
}

/// Answers one request. Says what becomes of the connection, and how long it may stay idle.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    wire: &mut Wire,
    connection: u64,
    request: Request,
) -> (Next, Option<Duration>) {
    let place = Place { journal: &shared.journal, connection, call: shared.next_call() };
    let (path, query) = split_target(&request.target);
    let session = session_header(&request);
    let event = journal::request(
        &request.method,
        &request.target,
        &request.headers,
        session.as_deref(),
        &request.body,
        &request.body_sha256,
    );
    place.note(event);
    // With a base path only what lies below it is served, but control stays where it is.
    let inner = path.strip_prefix(shared.base_path.as_str()).unwrap_or_default();
    let to = if path.starts_with("/_local/") { path } else { inner };
    let of_gateway = shared.gateway.as_ref().and_then(|g| g.route(&request.method, path));
    let route = of_gateway.map_or_else(|| route(&request.method, to), Route::Gateway);
    let guarded = guard(shared, &request, &route);
    let is_operation = match &route {
        Route::Invoke(_) | Route::Stop(_) | Route::Container | Route::NotServed(_) => true,
        Route::Gateway(route) => route.is_operation(),
        _ => false,
    };
    let taken = (is_operation && guarded.is_ok())
        .then(|| shared.faults.take(&request.target, session.as_deref()))
        .flatten();
    if let Some(fault) = &taken {
        place.note(JournalEvent::Fault { fault: serde_json::to_value(fault).unwrap_or_default() });
    }
    let fault = taken.unwrap_or_default();
    let idle = fault.close_idle_after_ms.map(Duration::from_millis);
    let mut answer = Answer::new(wire, place, &fault, request.keep_alive);
    let call = Call {
        shared,
        place,
        request: &request,
        route,
        query: query_pairs(query),
        request_id: uuid(),
        origin: guarded.as_ref().ok().cloned().flatten(),
        fault,
    };
    let result = match guarded {
        Err(error) => call.error(&mut answer, error).await,
        Ok(_) => match call.run(&mut answer).await {
            Ok(()) => Ok(()),
            Err(Stop::Over(next)) => Err(next),
            Err(Stop::Error(error)) => call.error(&mut answer, error).await,
        },
    };
    (result.err().unwrap_or_else(|| answer.next()), idle)
}

/// The session header; for presigned requests it may stand in the query.
fn session_header(request: &Request) -> Option<String> {
    request.headers.get(SESSION).map(str::to_owned).or_else(|| {
        query_pairs(split_target(&request.target).1)
            .into_iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(SESSION))
            .map(|(_, v)| v)
    })
}

/// Keeps web pages and rebound names away from a server that runs on a developer's machine.
/// Gives the allowed origin that asks, if one does.
pub(crate) fn guard(
    shared: &Shared,
    request: &Request,
    route: &Route,
) -> Result<Option<String>, ServiceError> {
    let mut hosts = request.headers.get_all("host");
    let host = hosts.next().and_then(|h| std::str::from_utf8(h).ok()).unwrap_or_default();
    if hosts.next().is_some() || !shared.host_is_ours(host) {
        return Err(ServiceError::forbidden("The Host header does not name the local data plane"));
    }
    let origin = request.headers.get("origin").map(str::to_owned);
    let allowed = origin.as_ref().is_none_or(|o| shared.origins.contains(o));
    if !allowed || (origin.is_none() && request.headers.contains("origin")) {
        return Err(ServiceError::forbidden("This Origin is not allowed"));
    }
    if let Route::Control(_) = route {
        let token = request.headers.get("x-local-token").unwrap_or_default();
        if !crate::encoding::constant_time_eq(token.as_bytes(), shared.control_token.as_bytes()) {
            return Err(ServiceError::forbidden("Control needs the token of the start line"));
        }
    }
    Ok(origin)
}

impl Call<'_> {
    async fn run(&self, answer: &mut Answer<'_>) -> Result<(), Stop> {
        if self.request.method == "OPTIONS" && self.origin.is_some() {
            let head = self.head(204, Headers::new(), None, None);
            return Ok(answer.whole(head, Bytes::new()).await?);
        }
        match &self.route {
            Route::Invoke(label) => self.invoke(answer, label).await,
            Route::Stop(label) => self.stop(answer, label).await,
            Route::Metadata(label) => self.metadata(answer, label).await,
            Route::Container if self.shared.container_paths => self.container(answer).await,
            Route::Ping => {
                Ok(self.json(answer, 200, &json!({ "status": "Healthy" }), None).await?)
            }
            Route::Control(path) => {
                let (status, body) = control::answer(self.shared, self.request, path);
                Ok(self.json(answer, status, &body, None).await?)
            }
            Route::Gateway(route) => match &self.shared.gateway {
                Some(running) => gateway::serve(self, running, route, answer).await,
                // Only a gateway routes to it.
                None => Err(ServiceError::not_served("a gateway").into()),
            },
            Route::NotServed(what) => {
                self.strike(answer).await?;
                Err(ServiceError::not_served(what).into())
            }
            Route::WrongMethod => Err(ServiceError::new(
                405,
                "MethodNotAllowedException",
                "This path does not serve this method",
            )
            .into()),
            Route::Container | Route::Unknown => Err(ServiceError::new(
                404,
                "UnknownOperationException",
                "No operation of the data plane has this path",
            )
            .into()),
        }
    }

    // ---- answers ----

    /// The head with everything that each answer carries; what `own` names counts before the rest.
    pub(crate) fn head(
        &self,
        status: u16,
        own: Headers,
        error_type: Option<String>,
        session_id: Option<&str>,
    ) -> Head {
        let mut headers = own;
        let mut add = |name: &str, value: &[u8]| {
            if !headers.contains(name) {
                headers.push(name, value);
            }
        };
        for (name, value) in &self.fault.headers {
            add(name, value.as_bytes());
        }
        let now = self.shared.now(self.fault.date_offset_s.unwrap_or(0));
        add("date", clock::http_date(now).as_bytes());
        add(REQUEST_ID, self.request_id.as_bytes());
        if let Some(code) = &error_type {
            add("x-amzn-ErrorType", code.as_bytes());
        }
        if let Some(session) = session_id {
            add(SESSION, session.as_bytes());
        }
        for name in TRACE {
            if let Some(value) = self.request.headers.get_all(name).next() {
                add(name, value);
            }
        }
        if self.fault.wrong_encoding {
            add("content-encoding", b"gzip");
        }
        for i in 0..self.fault.big_headers.unwrap_or(0).div_ceil(1_024) {
            add(&format!("x-filler-{i}"), &[b'x'; 1_008]);
        }
        if let Some(origin) = &self.origin {
            add("access-control-allow-origin", origin.as_bytes());
            add("access-control-allow-methods", b"GET, POST, DELETE, OPTIONS");
            let asked = self.request.headers.get("access-control-request-headers");
            add("access-control-allow-headers", asked.unwrap_or("*").as_bytes());
            let exposed = format!(
                "{SESSION}, {REQUEST_ID}, x-amzn-ErrorType, WWW-Authenticate, Date, Mcp-Session-Id"
            );
            add("access-control-expose-headers", exposed.as_bytes());
        }
        Head {
            status,
            headers,
            error_type,
            session_id: session_id.map(str::to_owned),
            request_id: self.request_id.clone(),
        }
    }

    pub(crate) async fn json(
        &self,
        answer: &mut Answer<'_>,
        status: u16,
        body: &serde_json::Value,
        session_id: Option<&str>,
    ) -> Result<(), Next> {
        let body = Bytes::from(body.to_string());
        let headers = Headers::from_iter([
            ("content-type", JSON.to_owned()),
            ("content-length", body.len().to_string()),
        ]);
        answer.whole(self.head(status, headers, None, session_id), body).await
    }

    async fn error(&self, answer: &mut Answer<'_>, error: ServiceError) -> Result<(), Next> {
        let body = Bytes::from(error.body.to_string());
        let mut headers = error.headers;
        headers.push("content-type", JSON);
        headers.push("content-length", body.len().to_string());
        answer.whole(self.head(error.status, headers, Some(error.code), None), body).await
    }

    // ---- who may call what ----

    fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn qualifier(&self) -> &str {
        self.param("qualifier").unwrap_or("DEFAULT")
    }

    /// The runtime of the label; an id alone needs the account beside it.
    fn find(&self, label: &str) -> Result<&Served, ServiceError> {
        let by_arn = label.starts_with("arn:");
        let account = self.param("accountId");
        if !by_arn && account.is_none() {
            return Err(ServiceError::validation("accountId", "not be null with an agent id"));
        }
        self.shared
            .runtimes
            .iter()
            .find(|r| {
                if by_arn {
                    r.config.arn == label
                } else {
                    r.id == label && account == Some(r.account.as_str())
                }
            })
            .filter(|r| r.config.qualifiers.iter().any(|q| q == self.qualifier()))
            .ok_or_else(|| ServiceError::no_endpoint(self.qualifier(), label))
    }

    /// Authorises, then finds: who may not call isn't told what there is.
    fn admit(&self, label: &str) -> Result<&Served, ServiceError> {
        let found = self.find(label);
        let runtime = *found.as_ref().unwrap_or(&self.shared.primary());
        let claim = sigv4::claim(&self.request.target, &self.request.headers);
        self.judged(claim, self.authorise(runtime, claim))?;
        found
    }

    /// Whether the request is signed for that service; with `--no-auth` nobody is asked.
    pub(crate) fn admit_signature(&self, service: &str) -> Result<(), ServiceError> {
        let primary = self.shared.primary();
        let claim = sigv4::claim(&self.request.target, &self.request.headers);
        self.judged(
            claim,
            match primary.config.auth {
                Auth::Open => Ok(()),
                _ => self.check_signature(&primary.region, service),
            },
        )
    }

    /// Tells the journal what became of it.
    fn judged(&self, claim: Claim, verdict: Result<(), ServiceError>) -> Result<(), ServiceError> {
        let name = match claim {
            Claim::None => "none",
            Claim::Header => "sigv4",
            Claim::Presigned => "sigv4_presigned",
            Claim::Bearer => "bearer",
            Claim::Unusable => "unusable",
        };
        self.place.note(JournalEvent::Auth {
            claim: name.to_owned(),
            accepted: verdict.is_ok(),
            code: verdict.as_ref().err().map(|e| e.code.clone()),
        });
        verdict
    }

    fn check_signature(&self, region: &str, service: &str) -> Result<(), ServiceError> {
        let now = self.shared.now(self.fault.date_offset_s.unwrap_or(0));
        sigv4::verify(
            &Signed {
                method: &self.request.method,
                target: &self.request.target,
                headers: &self.request.headers,
                body_sha256: &self.request.body_sha256,
            },
            &self.shared.credentials,
            &Scope { region, service, now },
        )
    }

    fn authorise(&self, runtime: &Served, claim: Claim) -> Result<(), ServiceError> {
        let now = self.shared.now(self.fault.date_offset_s.unwrap_or(0));
        match (&runtime.config.auth, claim) {
            (Auth::Open, _) => Ok(()),
            (Auth::SigV4, _) => self.check_signature(&runtime.region, "bedrock-agentcore"),
            (Auth::Jwt(_), Claim::Header | Claim::Presigned) => {
                Err(ServiceError::method_mismatch())
            }
            (Auth::Jwt(jwt), _) => jwt.verify(&self.request.headers, now).map_err(|reason| {
                let host = self.request.headers.get("host").unwrap_or_default();
                let url = self.shared.metadata_url(host, &runtime.config.arn, self.qualifier());
                ServiceError::new(401, "UnauthorizedException", reason)
                    .header("WWW-Authenticate", format!("Bearer resource_metadata=\"{url}\""))
            }),
        }
    }

    // ---- faults before the agent ----

    /// What the fault does in place of an answer, or before it.
    pub(crate) async fn strike(&self, answer: &mut Answer<'_>) -> Result<(), Stop> {
        let fault = &self.fault;
        if fault.never_answer {
            answer.wire.left().await;
            return Err(answer.left().into());
        }
        if let Some(ms) = fault.delay_head_ms {
            wait(answer, Duration::from_millis(ms)).await?;
        }
        if fault.reset_after_request {
            return Err(answer.cut("fault", Next::Reset).into());
        }
        if fault.close_after_request {
            return Err(answer.cut("fault", Next::Close).into());
        }
        if fault.garbage_head {
            let _ = answer.wire.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n").await;
            return Err(answer.cut("fault", Next::Close).into());
        }
        if fault.switching {
            let headers = Headers::from_iter([("connection", "Upgrade"), ("upgrade", "websocket")]);
            let head = self.head(101, headers, None, None);
            answer.whole(head, Bytes::new()).await?;
            return Err(Next::Close.into());
        }
        if let Some(location) = &fault.redirect {
            let headers = [("location", location.as_str()), ("content-length", "0")];
            let head = self.head(307, headers.into_iter().collect(), None, None);
            answer.whole(head, Bytes::new()).await?;
            return Err(answer.next().into());
        }
        if let Some(status) = fault.status {
            let message = fault.message.clone().unwrap_or_else(|| format!("Scripted {status}"));
            let text = json!({ "message": message }).to_string();
            let body = Bytes::from(fault.body.clone().unwrap_or(text));
            let headers = Headers::from_iter([("content-length", body.len().to_string())]);
            let mut head = self.head(status, headers, fault.code.clone(), None);
            if !head.headers.contains("content-type") {
                head.headers.push("content-type", JSON);
            }
            answer.whole(head, body).await?;
            return Err(answer.next().into());
        }
        Ok(())
    }

    // ---- operations ----

    async fn invoke(&self, answer: &mut Answer<'_>, label: &str) -> Result<(), Stop> {
        let runtime = self.admit(label)?;
        let session = session_header(self.request);
        validate::headers(&self.request.headers, session.as_deref())?;
        self.strike(answer).await?;
        let session = session.unwrap_or_else(uuid);
        let entered = runtime.sessions.enter(&session, runtime.config.provisioning)?;
        if let Some(time) = entered.provisioning {
            self.session_state(&session, "provisioning");
            if !time.is_zero() {
                wait(answer, time).await?;
            }
            self.session_state(&session, "active");
        }
        let bearer = matches!(runtime.config.auth, Auth::Jwt(_));
        let headers = validate::forwarded(
            &self.request.headers,
            &runtime.config.allowed_headers,
            bearer,
            &session,
            &self.request_id,
        );
        let request = self.agent_request(&session, headers, &entered.live);
        let (responder, steps) = Responder::new();
        let agent = runtime.config.agent.call(request, responder);
        let mut stopped = entered.live.stopped();
        self.drive(answer, agent, steps, &mut stopped, Some(&session)).await
    }

    /// The container contract: no authorisation, any session id or none, nothing wrapped.
    async fn container(&self, answer: &mut Answer<'_>) -> Result<(), Stop> {
        self.strike(answer).await?;
        let runtime = self.shared.primary();
        let session = session_header(self.request);
        let id = session.clone().unwrap_or_else(uuid);
        let entered = runtime.sessions.enter(&id, Duration::ZERO)?;
        let request = self.agent_request(&id, self.request.headers.clone(), &entered.live);
        let (responder, steps) = Responder::new();
        let agent = runtime.config.agent.call(request, responder);
        let mut stopped = entered.live.stopped();
        self.drive(answer, agent, steps, &mut stopped, session.as_deref()).await
    }

    fn agent_request(&self, session: &str, headers: Headers, live: &Live) -> AgentRequest {
        AgentRequest {
            session_id: session.to_owned(),
            request_id: self.request_id.clone(),
            qualifier: self.qualifier().to_owned(),
            headers,
            body: self.request.body.clone(),
            memory: live.memory.clone(),
        }
    }

    async fn stop(&self, answer: &mut Answer<'_>, label: &str) -> Result<(), Stop> {
        let runtime = self.admit(label)?;
        let session = session_header(self.request);
        validate::headers(&self.request.headers, session.as_deref())?;
        let session =
            session.ok_or_else(|| ServiceError::validation("runtimeSessionId", "not be null"))?;
        validate::stop_body(&self.request.body)?;
        self.strike(answer).await?;
        runtime.sessions.stop(&session)?;
        self.session_state(&session, "stopped");
        Ok(self.json(answer, 200, &json!({}), Some(&session)).await?)
    }

    /// RFC 9728 for the runtimes that want bearer tokens; nobody has to be authorised for it.
    async fn metadata(&self, answer: &mut Answer<'_>, label: &str) -> Result<(), Stop> {
        let runtime = self.find(label)?;
        let Auth::Jwt(jwt) = &runtime.config.auth else {
            return Err(ServiceError::no_endpoint(self.qualifier(), label).into());
        };
        let host = self.request.headers.get("host").unwrap_or_default();
        let url = self.shared.metadata_url(host, &runtime.config.arn, self.qualifier());
        let resource = url.split("/.well-known/").next().unwrap_or_default();
        let body = json!({
            "resource": resource,
            "authorization_servers": [jwt.issuer()],
            "bearer_methods_supported": ["header"],
        });
        Ok(self.json(answer, 200, &body, None).await?)
    }

    fn session_state(&self, session: &str, state: &str) {
        self.place.note(JournalEvent::Session {
            session_id: session.to_owned(),
            state: state.to_owned(),
        });
    }

    // ---- the agent's answer ----

    /// Writes the agent's steps as they come, while it watches the client and the session.
    async fn drive(
        &self,
        answer: &mut Answer<'_>,
        mut agent: crate::agent::AgentFuture,
        mut steps: mpsc::Receiver<Command>,
        stopped: &mut watch::Receiver<bool>,
        session: Option<&str>,
    ) -> Result<(), Stop> {
        enum Event {
            Left,
            Stopped,
            Step(Option<Command>),
            AgentDone,
        }
        let mut running = true;
        loop {
            let event = tokio::select! {
                biased;
                () = answer.wire.left() => Event::Left,
                _ = stopped.wait_for(|s| *s) => Event::Stopped,
                step = steps.recv() => Event::Step(step),
                () = &mut agent, if running => Event::AgentDone,
            };
            match event {
                Event::Left => {
                    // The agent learns it before the journal tells it to others.
                    steps.close();
                    drop(agent);
                    return Err(answer.left().into());
                }
                Event::Stopped if answer.head_written() => {
                    steps.close();
                    drop(agent);
                    return Err(answer.cut("stopped", Next::Close).into());
                }
                Event::Stopped => return Err(ServiceError::runtime_client(502).into()),
                Event::AgentDone => running = false,
                Event::Step(None) if answer.head_written() => {
                    // Dropped without a word: the proper end.
                    return Ok(answer.finish().await?);
                }
                Event::Step(None) => return Err(ServiceError::runtime_client(502).into()),
                Event::Step(Some((step, done))) => {
                    let over = self.step(answer, step, session).await?;
                    // The agent may be gone by now, which is its own affair.
                    let _ = done.send(());
                    if over {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Performs one step; says whether the answer is over.
    async fn step(
        &self,
        answer: &mut Answer<'_>,
        step: Step,
        session: Option<&str>,
    ) -> Result<bool, Stop> {
        let direct = self.route == Route::Container;
        let begun = answer.head_written();
        match step {
            Step::Head { status, .. } | Step::Whole { status, .. }
                if begun || !(100..=999).contains(&status) =>
            {
                // A second head cannot be written, nor one that is none.
                Err(answer.cut("agent", Next::Close).into())
            }
            Step::Head { status, as_service: false, .. } | Step::Whole { status, .. }
                if !direct && !(200..300).contains(&status) =>
            {
                Err(ServiceError::runtime_client(status).into())
            }
            Step::Head { status, headers, .. } => {
                answer.head(self.head(status, headers, None, session)).await?;
                Ok(false)
            }
            Step::Whole { status, headers, body } => {
                answer.whole(self.head(status, headers, None, session), body).await?;
                Ok(true)
            }
            Step::Abort => Err(answer.cut("agent", Next::Close).into()),
            Step::Reset => Err(answer.cut("agent", Next::Reset).into()),
            Step::Chunk(_) | Step::Finish if !begun => {
                Err(ServiceError::runtime_client(502).into())
            }
            Step::Chunk(bytes) => {
                answer.chunk(bytes).await?;
                Ok(false)
            }
            Step::Finish => {
                answer.finish().await?;
                Ok(true)
            }
        }
    }
}

/// Waits so long, unless the client leaves before.
async fn wait(answer: &mut Answer<'_>, time: Duration) -> Result<(), Next> {
    let left = tokio::select! {
        () = answer.wire.left() => true,
        () = tokio::time::sleep(time) => false,
    };
    if left { Err(answer.left()) } else { Ok(()) }
}
