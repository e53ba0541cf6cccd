//! The rest of a long answer in a second, asynchronous invocation of the same
//! function, since a WebSocket API waits 29 seconds and not one more. Lambda may
//! deliver such an event late or twice, and anyone who may invoke the function can
//! make one up; so it is dated, numbered and sealed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, StatusCode};
use ring::hmac;
use serde_json::{Value, json};

use super::aws::{Address, Aws, Call, back_off};
use super::event::Connection;
use super::hooks::Refusal;
use super::sessions::key_for;
use crate::config::Environment;
use crate::error::{Delivery, Error, Result};
use crate::protocol::arn::percent_encode;
use crate::protocol::endpoint::ServiceEndpoint;
use crate::protocol::region;
use crate::protocol::session::SessionId;

/// The member by which such an event is known; no event of a gateway has it.
pub(super) const MEMBER: &str = "agentcoreRelay";

/// An event that is older is refused, however it comes to be late.
const LIFETIME: Duration = Duration::from_secs(30);
/// Lambda refuses larger asynchronous events, and so does this side, with a clearer error.
const MAX_EVENT: usize = 1 << 20;
/// Numbers of events that this process has seen, and for how long it knows them: one that comes
/// again late is then known for what it is, and its client has its answer already.
const SEEN: usize = 4096;
const REMEMBERED: Duration = Duration::from_secs(600);
const TRIES: u32 = 4;

/// Whether the answer is relayed by a second invocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecondStage {
    /// In Lambda, yes; elsewhere (`AWS_LAMBDA_FUNCTION_NAME` is not set), no.
    #[default]
    Auto,
    /// Always. It needs a function: from the context, or from `AWS_LAMBDA_FUNCTION_NAME`.
    Always,
    /// Never: for answers that take less than 29 seconds, and for tests.
    Never,
}

/// What stage one has checked and chosen, for stage two to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) connection: Connection,
    pub(super) id: String,
    pub(super) session: SessionId,
    pub(super) resumed: bool,
    pub(super) resume: String,
    pub(super) payload: Bytes,
}

/// A task as it came out of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) task: Task,
    pub(super) nonce: String,
    pub(super) is_late: bool,
}

/// Makes such events, and judges them.
pub(super) struct Stages {
    key: hmac::Key,
    seen: Mutex<VecDeque<(Instant, String)>>,
    function: Option<String>,
    endpoint: Option<ServiceEndpoint>,
    region: String,
}

impl Stages {
    pub(super) fn new(
        secret: &[u8],
        region: &str,
        endpoint: Option<ServiceEndpoint>,
        env: &Environment,
    ) -> Self {
        let key = key_for(secret, "agentcore-client/relay/second-stage/v1");
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            seen: Mutex::default(),
            function: env.get("AWS_LAMBDA_FUNCTION_NAME"),
            endpoint,
            region: region.to_owned(),
        }
    }

    /// Whether this process is a function.
    pub(super) fn in_lambda(&self) -> bool {
        self.function.is_some()
    }

    /// The event for a task.
    pub(super) fn event(&self, task: &Task, now: SystemTime) -> Result<Value, Refusal> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| Refusal::failed())?;
        let nonce = URL_SAFE_NO_PAD.encode(nonce);
        let issued_at = unix_ms(now).to_string();
        let tag = hmac::sign(&self.key, &sealed_part(&issued_at, &nonce, task));
        Ok(json!({ MEMBER: {
            "issuedAt": issued_at,
            "nonce": nonce,
            "apiId": task.connection.api_id,
            "stage": task.connection.stage,
            "connectionId": task.connection.id,
            "id": task.id,
            "session": task.session.as_str(),
            "resumed": task.resumed,
            "resume": task.resume,
            "payload": URL_SAFE_NO_PAD.encode(&task.payload),
            "hmac": URL_SAFE_NO_PAD.encode(tag),
        }}))
    }

    /// The task of an event; `None` for one that no relay with this secret has made.
    pub(super) fn open(&self, event: &Value, now: SystemTime) -> Option<Delivered> {
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let tag = URL_SAFE_NO_PAD.decode(text("hmac")?).ok()?;
        let (issued_at, nonce) = (text("issuedAt")?, text("nonce")?);
        let connection = Connection {
            api_id: text("apiId")?.to_owned(),
            stage: text("stage")?.to_owned(),
            id: text("connectionId")?.to_owned(),
        };
        let task = Task {
            connection,
            id: text("id")?.to_owned(),
            session: SessionId::local(text("session")?).ok()?,
            resumed: event.get("resumed")?.as_bool()?,
            resume: text("resume")?.to_owned(),
            payload: URL_SAFE_NO_PAD.decode(text("payload")?).ok()?.into(),
        };
        hmac::verify(&self.key, &sealed_part(issued_at, nonce, &task), &tag).ok()?;
        // One from the future is no better than an old one.
        let age = unix_ms(now).abs_diff(issued_at.parse().ok()?);
        let is_late = age > LIFETIME.as_millis();
        Some(Delivered { task, nonce: nonce.to_owned(), is_late })
    }

    /// Whether this process sees the event for the first time.
    pub(super) fn is_first(&self, nonce: &str) -> bool {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let old = |at: &Instant| now.duration_since(*at) > REMEMBERED;
        while seen.front().is_some_and(|(at, _)| old(at)) || seen.len() >= SEEN {
            seen.pop_front();
        }
        let first = !seen.iter().any(|(_, known)| known == nonce);
        if first {
            seen.push_back((now, nonce.to_owned()));
        }
        first
    }

    /// Hands a task over to another invocation of this function.
    pub(super) async fn start(
        &self,
        aws: &Aws,
        function_arn: Option<&str>,
        task: &Task,
        end: Option<Instant>,
    ) -> Result<(), Refusal> {
        let event = self.event(task, SystemTime::now())?.to_string();
        if event.len() > MAX_EVENT {
            return Err(Refusal::with(413, "too_large", "the message is too large"));
        }
        let (region, endpoint, name) = self.target(function_arn).map_err(|error| {
            tracing::error!(target: "agentcore_client", %error, "no second stage");
            Refusal::failed()
        })?;
        let path = format!("/2015-03-31/functions/{}/invocations", percent_encode(&name));
        let address = Address::new(&endpoint, &path).map_err(|error| {
            tracing::error!(target: "agentcore_client", %error, "no second stage");
            Refusal::failed()
        })?;
        let call = Call {
            service: "lambda",
            region: &region,
            address: &address,
            method: Method::POST,
            headers: &[("content-type", "application/json"), ("x-amz-invocation-type", "Event")],
            body: event.into(),
        };
        let mut failures = 0;
        loop {
            let (why, delivery) = match aws.call(&call, end).await {
                Ok((status, _)) if status.is_success() => return Ok(()),
                Ok((StatusCode::TOO_MANY_REQUESTS, _)) if failures + 1 < TRIES => {
                    (None, Delivery::NotSent)
                }
                Ok((StatusCode::TOO_MANY_REQUESTS, _)) => {
                    return Err(Refusal::with(503, "throttled", "too many requests; try again"));
                }
                Ok((status, code)) => {
                    let code = code.unwrap_or_default();
                    let advice = if status == StatusCode::FORBIDDEN {
                        "; allow the function's role lambda:InvokeFunction on itself"
                    } else {
                        ""
                    };
                    // What Lambda refused it has not queued; when it failed, nobody knows.
                    let delivery = match status.is_client_error() {
                        true => Delivery::NotSent,
                        false => Delivery::Unknown,
                    };
                    (Some(format!("Lambda answered {status} {code}{advice}")), delivery)
                }
                // Never twice: what may have arrived is not sent again.
                Err(unanswered) if unanswered.sent => (Some(unanswered.why), Delivery::Unknown),
                Err(unanswered) if !unanswered.may_pass || failures + 1 >= TRIES => {
                    (Some(unanswered.why), Delivery::NotSent)
                }
                Err(_) => (None, Delivery::NotSent),
            };
            if let Some(why) = why {
                tracing::error!(target: "agentcore_client", "no second stage: {why}");
                return Err(Refusal::failed().after(delivery));
            }
            back_off(failures, end).await;
            failures += 1;
        }
    }

    /// Region, endpoint and name of this function.
    fn target(&self, arn: Option<&str>) -> Result<(String, ServiceEndpoint, String)> {
        let (region, name) = match (arn, &self.function) {
            (Some(arn), _) => (region_of_function(arn)?, arn.to_owned()),
            (None, Some(name)) => (self.region.clone(), name.clone()),
            (None, None) => {
                return Err(Error::invalid(
                    "context",
                    "without the ARN of a function",
                    "hand over Lambda's own context, or set second_stage to never",
                ));
            }
        };
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => {
                let suffix = region::partition_of("region", &region)?.dns_suffix;
                ServiceEndpoint::aws(format!("lambda.{region}.{suffix}"))
            }
        };
        Ok((region, endpoint, name))
    }
}

/// All that counts, each part behind its length, so that no two events read the same.
fn sealed_part(issued_at: &str, nonce: &str, task: &Task) -> Vec<u8> {
    let Task { connection, id, session, resumed, resume, payload } = task;
    let parts: [&[u8]; 10] = [
        issued_at.as_bytes(),
        nonce.as_bytes(),
        connection.api_id.as_bytes(),
        connection.stage.as_bytes(),
        connection.id.as_bytes(),
        id.as_bytes(),
        session.as_str().as_bytes(),
        &[u8::from(*resumed)],
        resume.as_bytes(),
        payload,
    ];
    let mut all = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    all
}

fn unix_ms(time: SystemTime) -> u128 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// The region of `arn:aws:lambda:{region}:{account}:function:{name}[:{qualifier}]`.
fn region_of_function(arn: &str) -> Result<String> {
    let parts: Vec<_> = arn.split(':').collect();
    match parts[..] {
        ["arn", _, "lambda", region, _, "function", name, ..]
            if (7..=8).contains(&parts.len()) && !name.is_empty() =>
        {
            region::partition_of("function_arn", region)?;
            Ok(region.to_owned())
        }
        _ => Err(Error::invalid(
            "function_arn",
            crate::protocol::shape::of(arn),
            "needs the ARN of a function, as Lambda's context has it",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(secret: &[u8]) -> Stages {
        Stages::new(secret, "us-east-1", None, &Environment::empty())
    }

    fn task() -> Task {
        Task {
            connection: Connection {
                api_id: "abc".into(),
                stage: "prod".into(),
                id: "L0SM9cOFvHcCIhw=".into(),
            },
            id: "m1".into(),
            session: SessionId::generate(),
            resumed: false,
            resume: "token".into(),
            payload: Bytes::from_static(br#"{"prompt":"Hi"}"#),
        }
    }

    #[test]
    fn an_event_comes_back_as_the_task_that_it_was() {
        let (stages, now) = (stages(b"secret"), SystemTime::now());
        let task = task();
        let event = stages.event(&task, now).unwrap();
        let delivered = stages.open(&event[MEMBER], now + Duration::from_secs(29)).unwrap();
        assert_eq!(delivered.task, task);
        assert!(!delivered.is_late);
        assert!(stages.open(&event[MEMBER], now + Duration::from_secs(31)).unwrap().is_late);
        assert!(stages.open(&event[MEMBER], now - Duration::from_secs(31)).unwrap().is_late);
        assert!(stages.is_first(&delivered.nonce));
        assert!(!stages.is_first(&delivered.nonce));
        let other = stages.event(&task, now).unwrap();
        assert_ne!(other[MEMBER]["nonce"], event[MEMBER]["nonce"]);
    }

    #[test]
    fn nothing_in_an_event_can_be_changed() {
        let (ours, now) = (stages(b"secret"), SystemTime::now());
        let event = ours.event(&task(), now).unwrap();
        assert!(stages(b"other").open(&event[MEMBER], now).is_none());
        let members: Vec<_> = event[MEMBER].as_object().unwrap().keys().cloned().collect();
        assert_eq!(members.len(), 11);
        for name in members {
            let mut forged = event[MEMBER].clone();
            forged[&name] = match &forged[&name] {
                Value::Bool(flag) => (!flag).into(),
                Value::String(text) if name == "issuedAt" => format!("{text}0").into(),
                Value::String(text) => format!("A{}", &text[1..]).into(),
                other => panic!("{other}"),
            };
            if forged[&name] != event[MEMBER][&name] {
                assert!(ours.open(&forged, now).is_none(), "{name}");
            }
            forged.as_object_mut().unwrap().remove(&name);
            assert!(ours.open(&forged, now).is_none(), "without {name}");
        }
        assert!(ours.open(&Value::Null, now).is_none());
    }

    #[test]
    fn the_region_is_the_function_s() {
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:relay";
        assert_eq!(region_of_function(arn).unwrap(), "eu-west-1");
        assert_eq!(region_of_function(&format!("{arn}:live")).unwrap(), "eu-west-1");
        for bad in ["", "relay", "arn:aws:lambda:evil.example/:1:function:x", "arn:aws:s3:::bucket"]
        {
            assert_eq!(region_of_function(bad).unwrap_err().field(), Some("function_arn"));
        }
    }
}
