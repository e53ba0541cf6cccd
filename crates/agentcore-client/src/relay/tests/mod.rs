//! The relay against an agent, a gateway and Lambda that are all one transport.

mod answers;
mod messages;
mod options;
mod stages;

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
    /// What a table says to a put, and the puts.
    table: Mutex<VecDeque<(u16, &'static str)>>,
    puts: Mutex<Vec<Request<Bytes>>>,
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
        table: Mutex::default(),
        puts: Mutex::default(),
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
                match status {
                    200 => world.posts.lock().unwrap().push(request),
                    0 => return Err(SendError::Broken("reset".into())),
                    _ => {}
                }
                Ok(answer(status).body(Body::empty()).unwrap())
            } else if path.starts_with("/2015-03-31/functions/") {
                let status = world.statuses.lock().unwrap().pop_front().unwrap_or(202);
                world.events.lock().unwrap().push(request);
                if status == 0 {
                    return Err(SendError::Broken("reset".into()));
                }
                Ok(answer(status).body(Body::empty()).unwrap())
            } else if path == "/" {
                let said = world.table.lock().unwrap().pop_front();
                let (status, body) = said.expect("nothing is to be claimed");
                world.puts.lock().unwrap().push(request);
                Ok(answer(status).body(Body::full(body)).unwrap())
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

fn in_lambda(double: &Double) -> WebSocketRelay {
    double.builder_in(&[("AWS_LAMBDA_FUNCTION_NAME", "relay")]).build().unwrap()
}
