//! Relays an agent's answer to a browser as server-sent events.
//!
//! ```text
//! export AGENT_RUNTIME_ARN=arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/agent-abc123
//! export SESSION_SECRET=…        # at least 16 bytes that only your backend knows
//! cargo run --features aws-chain # and open http://127.0.0.1:3000
//! curl -N http://127.0.0.1:3000/ask -d '{"conversation": "1", "prompt": "Hi"}'
//! ```
//!
//! When the browser leaves, the server drops the handler or the answer's body, and that closes the
//! connection to the agent at once, also while the agent is silent. That alone does not stop the
//! agent: `.stop_on_close()` ends its session, too.

use std::sync::Arc;
use std::time::Duration;

use agentcore_client::{Client, Error, PublicError, SessionId, SseStream, Timeouts};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

struct App {
    agent: Client,
    secret: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let timeouts = Timeouts::default().total(Duration::from_secs(300));
    let agent = Client::builder_from_env().timeouts(timeouts).build()?;
    let app = Router::new()
        .route("/", get(|| async { Html(include_str!("../page.html")) }))
        .route("/ask", post(ask))
        .layer(DefaultBodyLimit::max(100_000))
        .with_state(Arc::new(App { agent, secret: std::env::var("SESSION_SECRET")? }));
    let port = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn ask(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    let question: Value =
        serde_json::from_slice(&body?).map_err(|_| Refused(PublicError::invalid_input("body")))?;
    let prompt = text_field(&question, "prompt")?;
    let conversation = text_field(&question, "conversation")?;
    let session = SessionId::derive(app.secret.as_bytes(), &[user_of(&headers), conversation])?;
    let call = app.agent.invoke(json!({ "prompt": prompt })).session(&session);
    let events = call.stream().await?.into_sse()?.text_only().heartbeat(Duration::from_secs(15))?;
    Ok((SseStream::HEADERS, Body::from_stream(events)).into_response())
}

/// What your authentication says, never what the browser claims.
fn user_of(_headers: &HeaderMap) -> &'static str {
    "ada"
}

fn text_field<'a>(question: &'a Value, name: &'static str) -> Result<&'a str, Refused> {
    question[name]
        .as_str()
        .filter(|text| !text.is_empty())
        .ok_or_else(|| Refused(PublicError::invalid_input(name)))
}

/// Why there is no answer: a status and JSON with a stable code.
struct Refused(PublicError);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        eprintln!("{error}"); // it holds no secrets
        Self(error.to_public())
    }
}

impl From<BytesRejection> for Refused {
    fn from(rejection: BytesRejection) -> Self {
        Self(match rejection.status().as_u16() {
            413 => PublicError::too_large("body"),
            _ => PublicError::invalid_input("body"),
        })
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut answer = Response::builder().status(self.0.status());
        for (name, value) in PublicError::HEADERS {
            answer = answer.header(name, value);
        }
        if let Some(seconds) = self.0.retry_after() {
            answer = answer.header("retry-after", seconds);
        }
        answer.body(self.0.to_string().into()).unwrap_or_default()
    }
}
