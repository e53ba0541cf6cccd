//! An AWS Lambda function that asks an agent and streams its answer on as server-sent events,
//! behind a function URL with `AuthType: AWS_IAM` and `InvokeMode: RESPONSE_STREAM`.
//!
//! ```text
//! cargo lambda build --release --bin lambda-streaming  # runtime: provided.al2023
//! # environment: AGENT_RUNTIME_ARN, SESSION_SECRET (at least 16 bytes that only this function knows)
//! ```
//!
//! The role needs what `RuntimeArn::invoke_policy` says. A caller that leaves does not end the
//! function: Lambda tells it nothing, so the answer is read to its end, or to the function's.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

use agentcore_client::{Bytes, Client, Error, PublicError, SessionId, SseStream, Timeouts};
use base64::Engine as _;
use futures::Stream;
use lambda_runtime::{LambdaEvent, MetadataPrelude, StreamResponse, service_fn};
use serde_json::{Value, json};

type Answer = StreamResponse<Pin<Box<dyn Stream<Item = Result<Bytes, Infallible>> + Send>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    // Outside of the handler: connections and credentials outlive one invocation.
    let agent = Client::from_env()?;
    let secret = std::env::var("SESSION_SECRET")?;
    lambda_runtime::run(service_fn(async |event| {
        Ok::<_, Infallible>(handle(&agent, &secret, event).await)
    }))
    .await
}

async fn handle(agent: &Client, secret: &str, event: LambdaEvent<Value>) -> Answer {
    let question = body_of(&event.payload).unwrap_or_default();
    let text = |name: &str| question[name].as_str().filter(|text| !text.is_empty());
    let (Some(prompt), Some(conversation)) = (text("prompt"), text("conversation")) else {
        return refused(&PublicError::invalid_input("body"));
    };
    // Whom the function URL has authenticated.
    let iam = &event.payload["requestContext"]["authorizer"]["iam"];
    let Some(user) = iam["userArn"].as_str() else {
        return refused(&PublicError::invalid_input("userArn"));
    };
    let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
    match ask(agent, secret, [user, conversation], prompt, left).await {
        Ok(events) => answer(200, &SseStream::HEADERS, events),
        Err(error) => {
            eprintln!("{error}"); // to CloudWatch; it holds no secrets
            refused(&error.to_public())
        }
    }
}

async fn ask(
    agent: &Client,
    secret: &str,
    parts: [&str; 2],
    prompt: &str,
    left: Duration,
) -> Result<SseStream, Error> {
    let session = SessionId::derive(secret.as_bytes(), &parts)?;
    // A second is kept to say that the time is up.
    let deadline = Instant::now() + left.saturating_sub(Duration::from_secs(1));
    let limits = Timeouts::default().deadline(deadline);
    let call = agent.invoke(json!({ "prompt": prompt })).session(&session).timeouts(limits);
    call.stream().await?.into_sse()?.text_only().heartbeat(Duration::from_secs(15))
}

fn body_of(event: &Value) -> Option<Value> {
    let body = event["body"].as_str()?;
    let decoded = match event["isBase64Encoded"].as_bool() {
        Some(true) => base64::engine::general_purpose::STANDARD.decode(body).ok()?,
        _ => body.as_bytes().to_vec(),
    };
    serde_json::from_slice(&decoded).ok()
}

fn refused(why: &PublicError) -> Answer {
    let body = futures::stream::once(std::future::ready(Ok(Bytes::from(why.to_string()))));
    let mut refusal = answer(why.status(), &PublicError::HEADERS, body);
    if let Some(seconds) = why.retry_after() {
        refusal.metadata_prelude.headers.insert("retry-after", seconds.into());
    }
    refusal
}

fn answer(
    status: u16,
    headers: &[(&'static str, &'static str)],
    stream: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> Answer {
    let status_code = http::StatusCode::from_u16(status).unwrap_or_default();
    let mut metadata_prelude = MetadataPrelude { status_code, ..Default::default() };
    for (name, value) in headers {
        let value = http::HeaderValue::from_static(value);
        metadata_prelude.headers.insert(*name, value);
    }
    StreamResponse { metadata_prelude, stream: Box::pin(stream) }
}
