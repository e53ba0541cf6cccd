//! The built-in agent: enough kinds of answers to try every path of a client without a model.
//! It is driven by the JSON of the call and remembers the prompts of its session.

use super::{AgentRequest, Gone, Responder};
use crate::headers::Headers;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

const SSE: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";

/// What the payload may say; everything is optional.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ask {
    prompt: Option<Value>,
    mode: Option<String>,
    tokens: Option<u64>,
    delay_ms: Option<u64>,
    head_delay_ms: Option<u64>,
    bytes: Option<u64>,
    chunk_bytes: Option<u64>,
    status: Option<u16>,
    content_type: Option<String>,
    chunks: Vec<String>,
    value: Option<Value>,
    message: Option<String>,
}

/// One event as the Python SDK frames it: JSON on one `data:` line, a space after `,` and `:`.
pub(super) fn sse(data: &Value) -> Bytes {
    let mut out = b"data: ".to_vec();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Spaced);
    // Writing a Value into memory cannot fail.
    let _ = serde::Serialize::serialize(data, &mut serializer);
    out.extend_from_slice(b"\n\n");
    out.into()
}

struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: std::io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: std::io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: std::io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

pub(super) async fn answer(request: AgentRequest, responder: Responder, pace: Duration) {
    // That the reader has left is no failure of the agent.
    let _ = run(request, responder, pace).await;
}

async fn run(request: AgentRequest, responder: Responder, pace: Duration) -> Result<(), Gone> {
    // A JSON string is a prompt, as in `invoke("Hi")`.
    let ask = serde_json::from_slice::<Value>(&request.body).and_then(|value| match value {
        Value::String(_) => Ok(Ask { prompt: Some(value), ..Ask::default() }),
        value => Ask::deserialize(value),
    });
    let ask = match ask {
        Ok(ask) => ask,
        Err(error) => {
            let body = json!({ "error": "Invalid JSON", "details": error.to_string() });
            return responder.whole(400, JSON, body.to_string()).await;
        }
    };
    let pace = ask.delay_ms.map_or(pace, Duration::from_millis);
    if let Some(ms) = ask.head_delay_ms {
        responder.wait(Duration::from_millis(ms)).await?;
    }
    let streams = request.headers.lists_media("accept", "text/event-stream");
    match ask.mode.as_deref() {
        None => talk(&request, &ask, responder, pace, streams).await,
        Some("echo") => {
            let kind = request.headers.get("content-type").unwrap_or("application/octet-stream");
            responder.whole(200, kind, request.body.clone()).await
        }
        Some("json") => {
            let value = ask.value.clone().unwrap_or_else(|| json!({ "result": "ok" }));
            responder.whole(200, JSON, value.to_string()).await
        }
        Some("text") => {
            let text = ask.message.clone().unwrap_or_else(|| "plain text".into());
            responder.whole(200, "text/plain; charset=utf-8", text).await
        }
        Some("empty") => responder.head(200, &[("content-length", "0")]).await,
        Some("stream") => {
            let tokens = (0..ask.tokens.unwrap_or(10)).map(|i| json!(format!("token{i} ")));
            stream(&responder, tokens, pace).await?;
            responder.finish().await
        }
        Some("error") => {
            let tokens = (0..ask.tokens.unwrap_or(2)).map(|i| json!(format!("token{i} ")));
            stream(&responder, tokens, pace).await?;
            let text =
                ask.message.as_deref().unwrap_or("the demo agent failed, as it was asked to");
            let event = json!({
                "error": text,
                "error_type": "RuntimeError",
                "message": "An error occurred during streaming",
            });
            responder.event(&event).await?;
            responder.finish().await
        }
        Some("error_before") => {
            let body = json!({ "error": ask.message.as_deref().unwrap_or("boom") }).to_string();
            responder.whole(ask.status.unwrap_or(500), JSON, body).await
        }
        Some("typescript") => typescript(&ask, &responder, pace).await,
        Some("big") => big(&ask, &responder, pace).await,
        Some("slow") => {
            responder
                .wait(ask.delay_ms.map_or(Duration::from_secs(1), Duration::from_millis))
                .await?;
            responder.whole(200, JSON, json!({ "result": "slow" }).to_string()).await
        }
        Some("silent") => {
            responder.head(200, &[("content-type", SSE)]).await?;
            responder.gone().await;
            Ok(())
        }
        Some("raw") => {
            let kind = ask.content_type.as_deref().unwrap_or("application/octet-stream");
            responder.send_head(200, Headers::from_iter([("content-type", kind)])).await?;
            for chunk in &ask.chunks {
                responder.chunk(chunk.clone().into_bytes()).await?;
                pause(&responder, pace).await?;
            }
            responder.finish().await
        }
        Some("headers") => {
            let seen: Vec<Value> = request
                .headers
                .iter()
                .map(|(n, v)| json!([n.to_ascii_lowercase(), String::from_utf8_lossy(v)]))
                .collect();
            responder.whole(200, JSON, json!({ "headers": seen }).to_string()).await
        }
        Some(_) => {
            let body = json!({ "error": "unknown mode" }).to_string();
            responder.whole(400, JSON, body).await
        }
    }
}

async fn pause(responder: &Responder, pace: Duration) -> Result<(), Gone> {
    if pace.is_zero() { Ok(()) } else { responder.wait(pace).await }
}

async fn stream(
    responder: &Responder,
    events: impl Iterator<Item = Value>,
    pace: Duration,
) -> Result<(), Gone> {
    responder.head(200, &[("content-type", SSE)]).await?;
    for event in events {
        responder.event(&event).await?;
        pause(responder, pace).await?;
    }
    Ok(())
}

/// A chat: repeats what it was told, and what it was told before in this session.
async fn talk(
    request: &AgentRequest,
    ask: &Ask,
    responder: Responder,
    pace: Duration,
    streams: bool,
) -> Result<(), Gone> {
    let prompt = match &ask.prompt {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "nothing".to_owned(),
    };
    let earlier = request.memory.all();
    request.memory.remember(prompt.clone());
    let mut text = format!("You said: {prompt}.");
    if !earlier.is_empty() {
        text.push_str(&format!(" You said earlier: {}.", earlier.join(", ")));
    }
    if !streams {
        return responder.whole(200, JSON, json!({ "result": text }).to_string()).await;
    }
    let words = text.split_inclusive(' ').map(|w| json!(w)).collect::<Vec<_>>();
    stream(&responder, words.into_iter(), pace).await?;
    responder.finish().await
}

/// Events as the TypeScript SDK frames them: raw text, named events, ids, comments.
async fn typescript(ask: &Ask, responder: &Responder, pace: Duration) -> Result<(), Gone> {
    let headers = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
    ];
    responder.head(200, &headers).await?;
    responder.chunk(": heartbeat\n\n").await?;
    for i in 0..ask.tokens.unwrap_or(3) {
        responder.chunk(format!("data: token{i} \ndata: second line\n\n")).await?;
        pause(responder, pace).await?;
    }
    responder.chunk("id: 7\nevent: note\nretry: 100\ndata: {\"n\":1}\n\n").await?;
    if ask.message.is_some() {
        let error = json!({ "error": ask.message });
        responder.chunk(format!("event: error\ndata: {error}\n\n")).await?;
    }
    Ok(())
}

/// `bytes` of body in chunks of `chunk_bytes`: a JSON string, so that it parses.
async fn big(ask: &Ask, responder: &Responder, pace: Duration) -> Result<(), Gone> {
    let total = ask.bytes.unwrap_or(1_000_000).max(2);
    let chunk = ask.chunk_bytes.unwrap_or(64 * 1024).clamp(1, 8 * 1024 * 1024);
    responder.send_head(200, Headers::from_iter([("content-type", JSON)])).await?;
    let filler = Bytes::from(vec![b'x'; usize::try_from(chunk).unwrap_or(64 * 1024)]);
    responder.chunk("\"").await?;
    let mut left = total - 2;
    while left > 0 {
        let take = left.min(chunk);
        responder.chunk(filler.slice(..usize::try_from(take).unwrap_or(filler.len()))).await?;
        left -= take;
        pause(responder, pace).await?;
    }
    responder.chunk("\"").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_as_the_python_sdk_does() {
        assert_eq!(sse(&json!("a\"b\nc")), "data: \"a\\\"b\\nc\"\n\n");
        assert_eq!(sse(&json!({"a": 1, "b": "ü"})), "data: {\"a\": 1, \"b\": \"ü\"}\n\n");
        assert_eq!(sse(&json!([1, null])), "data: [1, null]\n\n");
    }
}
