//! The relay against an agent, a gateway and Lambda that are all one transport.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

use super::apigateway::*;
use super::second_stage::MEMBER;
use crate::auth::Auth;
use crate::client::Client;
use crate::config::Environment;
use crate::transport::{Body, HttpService, SendError, SendLimits};

const ARN: &str = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-abc1234567";
const FUNCTION: &str = "arn:aws:lambda:us-west-2:123456789012:function:relay";
const SECRET: &str = "a secret of more than 16 bytes";
const CONNECTION: &str = "L0SM9cOFvHcCIhw=";

/// What the agent's side of a test says.
#[derive(Debug)]
enum Agent {
    Answers(&'static str, Vec<String>),
    /// Chunks as the test sends them.
    Feeds(mpsc::Receiver<String>),
    Status(u16, &'static str),
    Unreachable,
}

#[derive(Debug)]
struct World {
    agent: Mutex<VecDeque<Agent>>,
    /// The statuses of the posts to come; 200 once there are no more. 0 breaks the connection.
    statuses: Mutex<VecDeque<u16>>,
    /// What a gateway takes.
    longest: usize,
    /// How many posts may be answered.
    gate: Semaphore,
    posts: Mutex<Vec<Request<Bytes>>>,
    invocations: Mutex<Vec<Request<Bytes>>>,
    events: Mutex<Vec<Request<Bytes>>>,
    /// Until when a post may take.
    ends: Mutex<Vec<Option<Instant>>>,
    chunks_read: AtomicUsize,
    agents_left: AtomicUsize,
}

#[derive(Clone, Debug)]
struct Double(Arc<World>);

fn double() -> Double {
    Double(Arc::new(World {
        agent: Mutex::default(),
        statuses: Mutex::default(),
        longest: 128 << 10,
        gate: Semaphore::new(Semaphore::MAX_PERMITS),
        posts: Mutex::default(),
        invocations: Mutex::default(),
        events: Mutex::default(),
        ends: Mutex::default(),
        chunks_read: AtomicUsize::new(0),
        agents_left: AtomicUsize::new(0),
    }))
}

/// The agent's body; it counts what is read of it, and notes when it is let go of before its end.
struct Chunks {
    world: Arc<World>,
    ready: VecDeque<String>,
    fed: Option<mpsc::Receiver<String>>,
    over: bool,
}

impl Stream for Chunks {
    type Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = match (self.ready.pop_front(), &mut self.fed) {
            (Some(chunk), _) => Some(chunk),
            (None, Some(fed)) => std::task::ready!(fed.poll_recv(cx)),
            (None, None) => None,
        };
        match next {
            Some(chunk) => {
                self.world.chunks_read.fetch_add(1, Ordering::SeqCst);
                Poll::Ready(Some(Ok(chunk.into())))
            }
            None => {
                self.over = true;
                Poll::Ready(None)
            }
        }
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        if !self.over {
            self.world.agents_left.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl HttpService for Double {
    fn send(
        &self,
        request: Request<Bytes>,
        limits: SendLimits,
    ) -> BoxFuture<'static, Result<Response<Body>, SendError>> {
        let world = Arc::clone(&self.0);
        async move {
            let path = request.uri().path().to_owned();
            let answer = |status: u16| Response::builder().status(status);
            if path.contains("/@connections/") {
                world.ends.lock().unwrap().push(limits.end);
                world.gate.acquire().await.unwrap().forget();
                let status = world.statuses.lock().unwrap().pop_front();
                let too_long = request.body().len() > world.longest;
                let status = status.unwrap_or(if too_long { 413 } else { 200 });
                if status == 200 {
                    world.posts.lock().unwrap().push(request);
                }
                Ok(answer(status).body(Body::empty()).unwrap())
            } else if path.starts_with("/2015-03-31/functions/") {
                let status = world.statuses.lock().unwrap().pop_front().unwrap_or(202);
                world.events.lock().unwrap().push(request);
                if status == 0 {
                    return Err(SendError::Broken("reset".into()));
                }
                Ok(answer(status).body(Body::empty()).unwrap())
            } else {
                world.invocations.lock().unwrap().push(request);
                let chunks = |ready: Vec<String>, fed| {
                    let (ready, world) = (ready.into(), Arc::clone(&world));
                    Body::from_stream(Chunks { world, ready, fed, over: false })
                };
                let sse = "text/event-stream";
                let agent = world.agent.lock().unwrap().pop_front();
                let (kind, body) = match agent.expect("nobody is to be asked") {
                    Agent::Answers(kind, ready) => (kind, chunks(ready, None)),
                    Agent::Feeds(fed) => (sse, chunks(Vec::new(), Some(fed))),
                    Agent::Status(status, body) => {
                        return Ok(answer(status).body(Body::full(body)).unwrap());
                    }
                    Agent::Unreachable => return Err(SendError::Connect("refused".into())),
                };
                Ok(answer(200).header("content-type", kind).body(body).unwrap())
            }
        }
        .boxed()
    }
}

fn sse(texts: &[&str]) -> Agent {
    Agent::Answers("text/event-stream", texts.iter().map(|text| said(text)).collect())
}

fn said(text: &str) -> String {
    format!("data: {}\n\n", Value::from(text))
}

impl Double {
    fn answering(self, agent: Agent) -> Self {
        self.0.agent.lock().unwrap().push_back(agent);
        self
    }

    fn posts_end_with(self, statuses: &[u16]) -> Self {
        self.0.statuses.lock().unwrap().extend(statuses);
        self
    }

    fn builder(&self) -> WebSocketRelayBuilder {
        self.builder_in(&[])
    }

    fn builder_in(&self, env: &[(&str, &str)]) -> WebSocketRelayBuilder {
        let keys = crate::Credentials::new("AKID", "key", None, None, "test");
        let client = Client::builder(ARN)
            .environment(Environment::empty())
            .auth(Auth::sigv4(keys))
            .transport(self.clone())
            .build()
            .unwrap();
        WebSocketRelay::builder(&client)
            .environment(Environment::from_pairs(env.iter().copied()))
            .secret(SECRET)
    }

    fn relay(&self) -> WebSocketRelay {
        self.builder().build().unwrap()
    }

    fn frames(&self) -> Vec<Value> {
        let posts = self.0.posts.lock().unwrap();
        posts.iter().map(|post| serde_json::from_slice(post.body()).unwrap()).collect()
    }

    fn bodies(&self) -> Vec<String> {
        let posts = self.0.posts.lock().unwrap();
        posts.iter().map(|post| String::from_utf8(post.body().to_vec()).unwrap()).collect()
    }

    fn types(&self) -> Vec<String> {
        self.frames().iter().map(|frame| frame["type"].as_str().unwrap().to_owned()).collect()
    }

    fn text(&self) -> String {
        self.frames().iter().filter_map(|frame| frame["text"].as_str()).collect()
    }

    fn session(&self) -> String {
        let invocations = self.0.invocations.lock().unwrap();
        let id =
            &invocations.last().unwrap().headers()["x-amzn-bedrock-agentcore-runtime-session-id"];
        id.to_str().unwrap().to_owned()
    }

    fn asked(&self) -> usize {
        self.0.invocations.lock().unwrap().len()
    }

    /// The second-stage event that was handed to Lambda last.
    fn event(&self) -> Value {
        serde_json::from_slice(self.0.events.lock().unwrap().last().unwrap().body()).unwrap()
    }
}

fn event_of(connection: &str, body: &str) -> Value {
    json!({
        "requestContext": {
            "routeKey": "$default", "eventType": "MESSAGE", "apiId": "abc123", "stage": "prod",
            "connectionId": connection, "messageId": "msg=", "requestId": "req=",
            "domainName": "abc123.execute-api.us-west-2.amazonaws.com",
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

fn message(body: Value) -> Value {
    event_of(CONNECTION, &body.to_string())
}

fn context() -> LambdaContext {
    LambdaContext::default().remaining(Duration::from_secs(60)).function_arn(FUNCTION)
}

async fn tell(relay: &WebSocketRelay, body: Value) -> u16 {
    relay.handle(message(body), context()).await.status_code()
}

#[tokio::test]
async fn an_answer_is_relayed_in_signed_numbered_frames() {
    let double = double().answering(sse(&["Hel", "lo\n\"you\""]));
    let status = tell(&double.relay(), json!({"prompt": "Hi", "id": "m1"})).await;
    assert_eq!(status, 200);
    assert_eq!(double.types(), ["start", "delta", "end"]);
    assert_eq!(double.text(), "Hello\n\"you\"");
    for (index, frame) in double.frames().iter().enumerate() {
        assert_eq!(frame["seq"], index);
        assert_eq!(frame["id"], "m1");
    }
    assert_eq!(double.frames()[0]["resumed"], false);
    assert_eq!(double.frames()[2]["state"], "complete");

    let posts = double.0.posts.lock().unwrap();
    assert_eq!(
        posts[0].uri(),
        "https://abc123.execute-api.us-west-2.amazonaws.com/prod/@connections/L0SM9cOFvHcCIhw%3D"
    );
    let authorization = posts[0].headers()["authorization"].to_str().unwrap();
    assert!(authorization.contains("/us-west-2/execute-api/aws4_request"), "{authorization}");
    let invocations = double.0.invocations.lock().unwrap();
    assert_eq!(invocations[0].body(), &Bytes::from_static(br#"{"prompt":"Hi"}"#));
}

#[tokio::test]
async fn what_arrives_during_a_post_goes_out_with_the_next() {
    let (feed, fed) = mpsc::channel(100);
    let double = double().answering(Agent::Feeds(fed));
    double.0.gate.forget_permits(Semaphore::MAX_PERMITS);
    let relay = double.relay();
    let relaying = tokio::spawn(async move { tell(&relay, json!({"prompt": "Hi"})).await });
    for number in 0..50 {
        feed.send(said(&format!("{number} "))).await.unwrap();
    }
    // All is read while not even the first post is through.
    while double.0.chunks_read.load(Ordering::SeqCst) < 50 {
        tokio::task::yield_now().await;
    }
    double.0.gate.add_permits(1);
    while double.types().is_empty() {
        tokio::task::yield_now().await;
    }
    feed.send(said("last")).await.unwrap();
    drop(feed);
    while double.0.chunks_read.load(Ordering::SeqCst) < 51 {
        tokio::task::yield_now().await;
    }
    double.0.gate.add_permits(10);
    assert_eq!(relaying.await.unwrap(), 200);
    // The delta that was under way already, and one for the rest.
    assert_eq!(double.types(), ["start", "delta", "delta", "end"]);
    assert_eq!(double.frames()[2]["text"], "last");
    let expected: String = (0..50).map(|number| format!("{number} ")).collect();
    assert_eq!(double.text(), expected + "last");
}

#[tokio::test]
async fn a_slow_socket_slows_the_agent_down() {
    let (feed, fed) = mpsc::channel(4000);
    let double = double().answering(Agent::Feeds(fed));
    double.0.gate.forget_permits(Semaphore::MAX_PERMITS);
    let relay = double.relay();
    let relaying = tokio::spawn(async move { tell(&relay, json!({"prompt": "Hi"})).await });
    let piece = "x".repeat(1000);
    for _ in 0..4000 {
        feed.send(said(&piece)).await.unwrap();
    }
    drop(feed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let read = double.0.chunks_read.load(Ordering::SeqCst);
    assert!((256..=400).contains(&read), "{read} KB were read ahead");
    double.0.gate.add_permits(1000);
    assert_eq!(relaying.await.unwrap(), 200);
    assert_eq!(double.text().len(), 4_000_000);
    assert_eq!(double.types().last().unwrap(), "end");
}

#[tokio::test]
async fn a_client_that_is_gone_ends_the_invocation_at_once() {
    let (feed, fed) = mpsc::channel(8);
    let double = double().answering(Agent::Feeds(fed)).posts_end_with(&[200, 200, 410]);
    let relay = double.relay();
    let relaying = tokio::spawn(async move { tell(&relay, json!({"prompt": "Hi"})).await });
    feed.send(said("a")).await.unwrap();
    while double.types().len() < 2 {
        tokio::task::yield_now().await;
    }
    feed.send(said("b")).await.unwrap();
    assert_eq!(relaying.await.unwrap(), 200);
    assert_eq!(double.0.agents_left.load(Ordering::SeqCst), 1);
    assert_eq!(double.types(), ["start", "delta"]);
}

#[tokio::test(start_paused = true)]
async fn silence_is_filled_with_heartbeats_which_notice_that_a_client_is_gone() {
    let (feed, fed) = mpsc::channel(8);
    let statuses = [200, 200, 200, 200, 410];
    let double = double().answering(Agent::Feeds(fed)).posts_end_with(&statuses);
    let begun = tokio::time::Instant::now();
    // No deadline: the system's clock goes on while this one jumps.
    let asked = message(json!({"prompt": "Hi", "id": "m"}));
    let status = double.relay().handle(asked, LambdaContext::default()).await.status_code();
    assert_eq!(status, 200);
    assert_eq!(double.types(), ["start", "heartbeat", "heartbeat", "heartbeat"]);
    let silent = begun.elapsed();
    assert!(silent >= Duration::from_secs(20) && silent < Duration::from_secs(24), "{silent:?}");
    assert_eq!(double.0.agents_left.load(Ordering::SeqCst), 1);
    drop(feed);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_or_broken_post_is_repeated_with_its_number() {
    let double = double()
        .answering(sse(&["a", "b"]))
        .posts_end_with(&[200, 429, 429, 429, 429, 429, 429, 503, 200]);
    assert_eq!(tell(&double.relay(), json!({"prompt": "Hi"})).await, 200);
    assert_eq!(double.types(), ["start", "delta", "end"]);
    assert_eq!(double.text(), "ab");
}

#[tokio::test]
async fn a_post_that_is_forbidden_ends_the_answer() {
    let double = double().answering(sse(&["a"])).posts_end_with(&[403]);
    assert_eq!(tell(&double.relay(), json!({"prompt": "Hi"})).await, 200);
    assert!(double.types().is_empty());
}

#[tokio::test]
async fn long_texts_are_cut_between_characters_and_fit() {
    let nasty: String = "aé\"\\\n\u{1}😀".repeat(30_000);
    let double = double().answering(sse(&[&nasty]));
    assert_eq!(tell(&double.relay(), json!({"prompt": "Hi"})).await, 200);
    assert!(double.text() == nasty);
    let sizes: Vec<_> = double.bodies().iter().map(String::len).collect();
    assert!(sizes.len() > 3 && sizes.iter().all(|size| *size <= 128 << 10), "{sizes:?}");
    assert!(sizes[1] > (128 << 10) - 16, "no room is wasted: {sizes:?}");
    let numbers: Vec<_> = double.frames().iter().map(|f| f["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_gateway_that_takes_less_gets_less() {
    let mut double = double();
    Arc::get_mut(&mut double.0).unwrap().longest = 10_000;
    let text = "0123456789".repeat(10_000);
    let double = double.answering(sse(&[&text]));
    assert_eq!(tell(&double.relay(), json!({"prompt": "Hi"})).await, 200);
    assert!(double.text() == text);
    assert_eq!(double.types().last().unwrap(), "end");
}

#[tokio::test]
async fn an_answer_is_cut_before_the_time_is_up() {
    let (feed, fed) = mpsc::channel(8);
    let double = double().answering(Agent::Feeds(fed));
    let relay = double.builder().margin(Duration::from_secs(5)).build().unwrap();
    feed.send(said("a")).await.unwrap();
    let context = LambdaContext::default().remaining(Duration::from_millis(5_300));
    let response = relay.handle(message(json!({"prompt": "Hi"})), context).await;
    assert_eq!(response.status_code(), 200);
    assert_eq!(double.types(), ["start", "delta", "continue"]);
    assert_eq!(double.0.agents_left.load(Ordering::SeqCst), 1);

    // The token leads back into the same session.
    let (before, resume) = (double.session(), double.frames()[2]["resume"].clone());
    let double = double.answering(sse(&["b"]));
    assert_eq!(tell(&relay, json!({"prompt": "go on", "resume": resume})).await, 200);
    assert_eq!(double.session(), before);
    assert_eq!(double.frames()[3]["resumed"], true);
    drop(feed);
}

#[tokio::test]
async fn a_margin_leaves_time_to_ask_and_time_to_return() {
    // A function of 20 s, with a margin that was meant for longer ones.
    let double = double().answering(sse(&["a"]));
    let relay = double.builder().margin(Duration::from_secs(30)).build().unwrap();
    let context = LambdaContext::default().remaining(Duration::from_secs(20));
    let up = Instant::now() + Duration::from_secs(20);
    let response = relay.handle(message(json!({"prompt": "Hi"})), context).await;
    assert_eq!(response.status_code(), 200);
    assert_eq!(double.types(), ["start", "delta", "end"]);
    // A post that hangs must not take the function along.
    let ends = double.0.ends.lock().unwrap();
    assert!(ends.iter().all(|end| end.is_some_and(|end| end < up)), "{ends:?} of {up:?}");
}

#[tokio::test]
async fn an_answer_that_is_cut_is_told_in_plain_text_too() {
    let (feed, fed) = mpsc::channel(8);
    let double = double().answering(Agent::Feeds(fed));
    let format = FrameFormat::Text { end: None };
    let relay = double.builder().format(format).build().unwrap();
    feed.send(said("a")).await.unwrap();
    let context = LambdaContext::default().remaining(Duration::from_secs(4));
    let response = relay.handle(message(json!({"prompt": "Hi"})), context).await;
    assert_eq!(response.status_code(), 200);
    assert_eq!(double.bodies(), ["a", "[timeout] the answer is not complete"]);
    drop(feed);
}

#[tokio::test]
async fn failures_have_stable_codes_and_tell_nothing() {
    let hostile = "data: {\"error\": \"password hunter2\", \"error_type\": \"ValueError\", \"message\": \"An error occurred during streaming\"}\n\n";
    let cases = [
        (Agent::Status(424, r#"{"message":"hunter2"}"#), "agent_error", "accepted", None),
        (Agent::Status(429, "{}"), "throttled", "rejected", None),
        (Agent::Status(403, r#"{"message":"hunter2"}"#), "agent_unavailable", "rejected", None),
        (Agent::Unreachable, "agent_unavailable", "not_sent", None),
        (
            Agent::Answers("text/event-stream", vec![said("a"), hostile.into()]),
            "agent_error",
            "accepted",
            Some("agent_error"),
        ),
    ];
    for (agent, code, delivery, state) in cases {
        let double = double().answering(agent);
        let client = double.builder().build().unwrap();
        // Attempts are not what this is about.
        let relay = WebSocketRelay::builder(
            &client.client().with_options().retry(crate::RetryPolicy::never()).build().unwrap(),
        );
        let relay = relay.environment(Environment::empty()).secret(SECRET).build().unwrap();
        assert_eq!(tell(&relay, json!({"prompt": "Hi"})).await, 200);
        let frame = double.frames().pop().unwrap();
        assert_eq!(frame["type"], "error");
        assert_eq!(frame["code"], code);
        assert_eq!(frame["delivery"], delivery, "{code}");
        assert_eq!(frame["state"].as_str(), state, "{code}");
        let all = double.bodies().concat();
        assert!(!all.contains("hunter2") && !all.contains("arn:"), "{all}");
    }
}

#[tokio::test]
async fn an_answer_of_another_shape_arrives_as_an_event() {
    let json_answer = Agent::Answers("application/json", vec![r#"{"temperature": 21}"#.into()]);
    let double = double().answering(json_answer);
    assert_eq!(tell(&double.relay(), json!({"prompt": "Hi"})).await, 200);
    assert_eq!(double.types(), ["start", "event", "end"]);
    assert_eq!(double.frames()[1]["data"], r#"{"temperature": 21}"#);

    let tool = || {
        let events = ["event: tool\ndata: {\"tool\": \"clock\"}\n\n".to_owned(), said("noon")];
        Agent::Answers("text/event-stream", events.into())
    };
    let double = double.answering(tool()).answering(tool());
    assert_eq!(tell(&double.relay(), json!({"prompt": "Hi"})).await, 200);
    assert_eq!(double.types()[3..], ["start", "delta", "end"]);
    let relay = double.builder().forward_events(true).build().unwrap();
    assert_eq!(tell(&relay, json!({"prompt": "Hi"})).await, 200);
    assert_eq!(double.types()[6..], ["start", "event", "delta", "end"]);
    assert_eq!(double.frames()[7]["event"], "tool");
}

#[tokio::test]
async fn plain_text_is_the_agents_words_alone() {
    let format = FrameFormat::Text { end: Some("[DONE]".into()) };
    let double = double().answering(sse(&["Hel", "lo"])).answering(Agent::Unreachable);
    let relay = double.builder().format(format).build().unwrap();
    assert_eq!(tell(&relay, json!({"prompt": "Hi"})).await, 200);
    assert_eq!(double.bodies(), ["Hello", "[DONE]"]);
    assert_eq!(tell(&relay, json!({"prompt": " "})).await, 400);
    assert_eq!(double.bodies()[2], "[invalid_message] prompt must be text, and not empty");
}

fn in_lambda(double: &Double) -> WebSocketRelay {
    double.builder_in(&[("AWS_LAMBDA_FUNCTION_NAME", "relay")]).build().unwrap()
}

#[tokio::test]
async fn in_lambda_a_second_invocation_answers() {
    let double = double();
    let relay = in_lambda(&double);
    assert_eq!(tell(&relay, json!({"prompt": "Hi", "id": "m1"})).await, 200);
    assert_eq!((double.asked(), double.types().len()), (0, 0));
    {
        let events = double.0.events.lock().unwrap();
        assert_eq!(
            events[0].uri(),
            "https://lambda.us-west-2.amazonaws.com/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-west-2%3A123456789012%3Afunction%3Arelay/invocations"
        );
        assert_eq!(events[0].headers()["x-amz-invocation-type"], "Event");
        let authorization = events[0].headers()["authorization"].to_str().unwrap();
        assert!(authorization.contains("/us-west-2/lambda/aws4_request"), "{authorization}");
    }
    let double = double.answering(sse(&["Hello"]));
    let event = double.event();
    // Another process, as in Lambda.
    assert_eq!(in_lambda(&double).handle(event.clone(), context()).await.status_code(), 200);
    assert_eq!(double.types(), ["start", "delta", "end"]);
    assert_eq!(double.frames()[0]["id"], "m1");
    assert_eq!(double.asked(), 1);

    // This one sees it for the first time, the second time it does not.
    let double = double.answering(sse(&["Hello"]));
    assert_eq!(relay.handle(event.clone(), context()).await.status_code(), 200);
    assert_eq!(relay.handle(event, context()).await.status_code(), 200);
    assert_eq!(double.asked(), 2);
}

#[tokio::test]
async fn a_claim_keeps_other_processes_from_answering_again() {
    let double = double().answering(sse(&["Hello"]));
    let claimed = Arc::new(Mutex::new(std::collections::HashSet::new()));
    let relay = || {
        let claimed = Arc::clone(&claimed);
        let builder = double.builder_in(&[("AWS_LAMBDA_FUNCTION_NAME", "relay")]);
        builder
            .claim(move |nonce| {
                let first = claimed.lock().unwrap().insert(nonce);
                async move { Ok(first) }
            })
            .build()
            .unwrap()
    };
    assert_eq!(tell(&relay(), json!({"prompt": "Hi"})).await, 200);
    for _ in 0..3 {
        assert_eq!(relay().handle(double.event(), context()).await.status_code(), 200);
    }
    assert_eq!(double.asked(), 1);

    let failing = double.builder().claim(|_| async { Err(Refusal::failed()) }).build().unwrap();
    assert_eq!(failing.handle(double.event(), context()).await.status_code(), 500);
    assert_eq!(double.asked(), 1);
    assert_eq!(double.frames().pop().unwrap()["code"], "internal");
}

#[tokio::test]
async fn a_late_event_is_told_and_a_forged_one_is_not() {
    let double = double();
    let relay = in_lambda(&double);
    let old = relay.event_at(SystemTime::now() - Duration::from_secs(31));
    assert_eq!(relay.handle(old, context()).await.status_code(), 400);
    assert_eq!(double.frames().pop().unwrap()["code"], "expired");

    let mut forged = relay.event_at(SystemTime::now());
    forged[MEMBER]["connectionId"] = json!("somebody=");
    assert_eq!(relay.handle(forged, context()).await.status_code(), 403);
    for broken in [json!({ MEMBER: 1 }), json!({ MEMBER: {} }), json!({ MEMBER: null })] {
        assert_eq!(relay.handle(broken, context()).await.status_code(), 403);
    }
    assert_eq!((double.asked(), double.types().len()), (0, 1));
}

#[tokio::test]
async fn a_second_stage_that_cannot_begin_is_told() {
    let double = double().posts_end_with(&[403]);
    assert_eq!(tell(&in_lambda(&double), json!({"prompt": "Hi"})).await, 500);
    assert_eq!(double.frames().pop().unwrap()["code"], "internal");
    assert_eq!(double.frames().pop().unwrap()["delivery"], "not_sent");
    // One that may have begun is not asked for again, and nobody says that it has not.
    for (status, asked) in [(500, 2), (0, 3)] {
        let double = double.clone().posts_end_with(&[status]);
        assert_eq!(tell(&in_lambda(&double), json!({"prompt": "Hi"})).await, 500);
        assert_eq!(double.0.events.lock().unwrap().len(), asked);
        assert_eq!(double.frames().pop().unwrap()["delivery"], "unknown", "{status}");
    }
    assert_eq!(double.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_never_answers_is_given_up_while_somebody_listens() {
    let double = double();
    let never = || std::future::pending::<Result<bool, Refusal>>();
    let payload = move |_| async move { never().await.map(|_| json!({}).into()) };
    let relay = double
        .builder_in(&[("AWS_LAMBDA_FUNCTION_NAME", "relay")])
        .payload(payload)
        .claim(move |_| never())
        .build()
        .unwrap();
    let begun = tokio::time::Instant::now();
    let context = || LambdaContext::default().remaining(Duration::from_secs(900));
    let response = relay.handle(message(json!({"prompt": "Hi"})), context()).await;
    assert_eq!(response.status_code(), 504);
    // By then the gateway has told the client that nobody answers.
    assert!(begun.elapsed() < Duration::from_secs(29));
    let event = relay.event_at(SystemTime::now());
    assert_eq!(relay.handle(event, context()).await.status_code(), 504);
    assert!(begun.elapsed() < Duration::from_secs(900 + 29));
    for frame in double.frames() {
        assert_eq!((&frame["code"], &frame["delivery"]), (&json!("timeout"), &json!("not_sent")));
    }
    assert_eq!(double.types(), ["error", "error"]);
    assert!(double.asked() == 0 && double.0.events.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bad_input_asks_nothing_and_says_what_is_wrong() {
    let double = double();
    let relay = double.relay();
    let ok = message(json!({"prompt": "Hi"}));
    let with = |member: &str, value: Value| {
        let mut event = ok.clone();
        event["requestContext"][member] = value;
        event
    };
    let body = |body: Value| {
        let mut event = ok.clone();
        event["body"] = body;
        event
    };
    // Nobody to tell.
    for event in [
        Value::Null,
        json!([]),
        json!({}),
        json!({"requestContext": 1}),
        with("connectionId", json!("")),
        with("connectionId", Value::Null),
        with("connectionId", json!("a b")),
        with("routeKey", Value::Null),
        with("apiId", json!("evil.example/")),
        with("stage", json!("a/b")),
        with("connectionId", json!("..")),
    ] {
        let response = relay.handle(event.clone(), context()).await;
        assert_eq!(response.status_code(), 400, "{event}");
        assert!(response.to_json()["body"].as_str().unwrap().contains("message"));
    }
    assert!(double.types().is_empty());
    for (event, status) in [
        (with("routeKey", json!("other")), 404),
        (body(json!("not JSON")), 400),
        (body(json!("")), 400),
        (body(Value::Null), 400),
        (body(json!("[]")), 400),
        (body(json!("\"Hi\"")), 400),
        (body(json!("{}")), 400),
        (body(json!(r#"{"prompt": ""}"#)), 400),
        (body(json!(r#"{"prompt": 7}"#)), 400),
        (body(json!(r#"{"prompt": "Hi", "conversation": 7}"#)), 400),
        (body(json!(r#"{"prompt": "Hi", "conversation": ""}"#)), 400),
        (body(json!(r#"{"prompt": "Hi", "sessionId": "short"}"#)), 400),
        (body(json!(r#"{"prompt": "Hi", "id": 1}"#)), 400),
    ] {
        let told = double.types().len();
        let response = relay.handle(event.clone(), context()).await;
        assert_eq!(response.status_code(), status, "{event}");
        assert_eq!(double.types().len(), told + 1, "{event}");
        let frame = double.frames().pop().unwrap();
        assert_eq!((&frame["type"], &frame["code"]), (&json!("error"), &json!("invalid_message")));
        assert_eq!(frame["delivery"], "not_sent");
    }
    assert_eq!(double.asked(), 0);

    // An id that no gateway gives is not repeated.
    let mut event = with("messageId", json!("m".repeat(200_000)));
    event["body"] = json!("{}");
    assert_eq!(relay.handle(event, context()).await.status_code(), 400);
    assert_eq!(double.frames().pop().unwrap()["code"], "invalid_message");
}

#[tokio::test]
async fn base64_bodies_are_decoded() {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let double = double().answering(sse(&["ok"]));
    let mut event = message(json!({}));
    event["isBase64Encoded"] = json!(true);
    event["body"] = json!(encode(r#"{"prompt": "Grüße"}"#));
    assert_eq!(double.relay().handle(event.clone(), context()).await.status_code(), 200);
    let asked = double.0.invocations.lock().unwrap()[0].body().clone();
    assert_eq!(serde_json::from_slice::<Value>(&asked).unwrap(), json!({"prompt": "Grüße"}));
    for bad in ["?", &encode("\u{0}")] {
        event["body"] = json!(bad);
        assert_eq!(double.relay().handle(event.clone(), context()).await.status_code(), 400);
    }
    assert_eq!(double.asked(), 1);
}

#[tokio::test]
async fn a_handshake_is_checked() {
    let double = double();
    let connect = |headers: Value| {
        let mut event = message(json!({}));
        event["requestContext"]["routeKey"] = json!("$connect");
        event["headers"] = headers;
        event
    };
    let open = double.relay();
    assert_eq!(open.handle(connect(json!({})), context()).await.status_code(), 200);
    let relay = double
        .builder()
        .allowed_origins(["https://chat.example.com"])
        .subprotocols(["chat.v2", "chat.v1"])
        .build()
        .unwrap();
    for (headers, status) in [
        (json!({"Origin": "https://chat.example.com"}), 200),
        (json!({"origin": "https://CHAT.example.com"}), 200),
        (json!({"Origin": "https://evil.example.com"}), 403),
        (json!({"Origin": "https://chat.example.com.evil"}), 403),
        (json!({"Origin": "null"}), 403),
        (json!({}), 403),
    ] {
        let response = relay.handle(connect(headers.clone()), context()).await;
        assert_eq!(response.status_code(), status, "{headers}");
        assert_eq!(response.headers().count(), 0);
    }
    let offers =
        json!({"Origin": "https://chat.example.com", "Sec-WebSocket-Protocol": "a, chat.v1"});
    let response = relay.handle(connect(offers), context()).await.to_json();
    assert_eq!(response["headers"], json!({"Sec-WebSocket-Protocol": "chat.v1"}));

    let mut gone = message(json!({}));
    gone["requestContext"]["routeKey"] = json!("$disconnect");
    assert_eq!(relay.handle(gone, context()).await.to_json(), json!({"statusCode": 200}));
    assert!(double.types().is_empty() && double.asked() == 0);
}

#[tokio::test]
async fn a_ping_is_answered_without_the_agent() {
    let double = double();
    assert_eq!(tell(&in_lambda(&double), json!({"type": "ping"})).await, 200);
    assert_eq!(double.types(), ["pong"]);
    assert!(double.0.events.lock().unwrap().is_empty());
}

#[tokio::test]
async fn principals_have_sessions_of_their_own() {
    let double = double();
    let relay = double.builder().principal("sub").build().unwrap();
    let ask = async |connection: &str, who: Value, body: Value| {
        let double = double.clone().answering(sse(&["ok"]));
        let mut event = event_of(connection, &body.to_string());
        event["requestContext"]["authorizer"] = json!({ "sub": who });
        assert_eq!(relay.handle(event, context()).await.status_code(), 200);
        let start = double.frames().into_iter().rfind(|f| f["type"] == "start").unwrap();
        (double.session(), start)
    };
    let chat = json!({"prompt": "Hi", "conversation": "1"});
    let (ada, start) = ask("A=", json!("ada"), chat.clone()).await;
    assert_eq!(ada, ask("B=", json!("ada"), chat.clone()).await.0);
    assert_ne!(ada, ask("A=", json!("bob"), chat).await.0);
    let resume = json!({"prompt": "Hi", "resume": start["resume"]});
    let (resumed, again) = ask("C=", json!("ada"), resume.clone()).await;
    assert_eq!((resumed, &again["resumed"]), (ada.clone(), &json!(true)));
    let (other, fresh) = ask("C=", json!("bob"), resume).await;
    assert_ne!(other, ada);
    assert_eq!(fresh["resumed"], false);

    let asked = double.asked();
    for who in [Value::Null, json!(""), json!({})] {
        let mut event = message(json!({"prompt": "Hi"}));
        event["requestContext"]["authorizer"] = json!({ "sub": who });
        assert_eq!(relay.handle(event, context()).await.status_code(), 401);
        assert_eq!(double.frames().pop().unwrap()["code"], "unauthorized");
    }
    assert_eq!(double.asked(), asked);
}

#[tokio::test]
async fn hooks_choose_payload_and_principal() {
    let double = double().answering(sse(&["ok"]));
    let relay = double
        .builder()
        .principal_with(|event: Value| async move {
            Ok(event["requestContext"]["stage"].as_str().map(str::to_owned))
        })
        .payload(|message: RelayMessage| async move {
            if message.body["say"].is_null() {
                return Err(Refusal::new("say something"));
            }
            assert_eq!(message.principal.as_deref(), Some("prod"));
            assert_eq!(message.connection_id, CONNECTION);
            Ok(json!({"input": message.body["say"], "session": message.session_id.as_str()}).into())
        })
        .build()
        .unwrap();
    assert_eq!(tell(&relay, json!({"say": "Hi", "conversation": "c"})).await, 200);
    let asked = double.0.invocations.lock().unwrap()[0].body().clone();
    let asked: Value = serde_json::from_slice(&asked).unwrap();
    assert_eq!(asked, json!({"input": "Hi", "session": double.session()}));
    assert_eq!(tell(&relay, json!({"prompt": "Hi"})).await, 400);
    let frame = double.frames().pop().unwrap();
    assert_eq!((&frame["code"], &frame["message"]), (&json!("refused"), &json!("say something")));
    assert_eq!(double.asked(), 1);
}

#[tokio::test]
async fn endpoints_can_be_given() {
    let target = async |builder: WebSocketRelayBuilder, double: &Double| {
        tell(&builder.build().unwrap(), json!({"type": "ping"})).await;
        double.0.posts.lock().unwrap().pop().unwrap().uri().to_string()
    };
    let double = double();
    let custom = double.builder().endpoint_url("https://ws.example.com/chat");
    assert_eq!(
        target(custom, &double).await,
        "https://ws.example.com/chat/@connections/L0SM9cOFvHcCIhw%3D"
    );
    let name = "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI";
    for (url, expected) in [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/prod/@connections/L0SM9cOFvHcCIhw%3D"),
        ("http://localhost:9000/dev", "http://localhost:9000/dev/@connections/L0SM9cOFvHcCIhw%3D"),
    ] {
        assert_eq!(target(double.builder_in(&[(name, url)]), &double).await, expected);
    }
    let elsewhere = double.builder_in(&[(name, "http://evil.example")]).build().unwrap_err();
    assert_eq!(elsewhere.field(), Some(name));
    let cn = double.builder().region("cn-north-1");
    assert!(target(cn, &double).await.contains("execute-api.cn-north-1.amazonaws.com.cn/prod/"));
}

#[test]
fn what_is_wrong_with_a_relay_is_said_by_name() {
    let double = double();
    let field = |builder: WebSocketRelayBuilder| builder.build().unwrap_err().field();
    assert_eq!(field(double.builder().secret("short")), Some("secret"));
    assert_eq!(field(double.builder().secret("")), Some("secret"));
    assert_eq!(field(double.builder().heartbeat(Duration::ZERO)), Some("heartbeat"));
    assert_eq!(field(double.builder().region("nowhere")), Some("region"));
    assert_eq!(field(double.builder().endpoint_url("ws.example.com")), Some("endpoint_url"));
    assert_eq!(
        field(double.builder().allowed_origins(["chat.example.com"])),
        Some("allowed_origins")
    );
    let by_env = double.builder_in(&[("AGENTCORE_RELAY_SECRET", SECRET)]).secret("");
    assert!(by_env.build().is_ok());
    let builder = double.builder();
    assert!(!format!("{builder:?}{:?}", double.relay()).contains(SECRET));
}
