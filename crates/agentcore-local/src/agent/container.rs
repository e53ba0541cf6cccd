//! Passes a call on to a real agent that serves the container contract, and its answer back
//! chunk by chunk. One connection per call; it is dropped when the client leaves.

use super::{AgentFuture, AgentRequest, Gone, Responder};
use crate::headers::Headers;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::fmt;
use std::time::Duration;
use tokio::net::TcpStream;

/// A container that doesn't accept within this time counts as one that refuses.
const CONNECT: Duration = Duration::from_secs(5);

/// An agent's address that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAgentUrl(String);

impl fmt::Display for BadAgentUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an agent's address looks like http://127.0.0.1:8080, not like '{}'", self.0)
    }
}

impl std::error::Error for BadAgentUrl {}

/// Where the container listens.
#[derive(Clone, Debug)]
pub(super) struct Container {
    authority: String,
    path: String,
}

impl Container {
    pub(super) fn new(url: &str) -> Result<Self, BadAgentUrl> {
        let bad = || BadAgentUrl(url.to_owned());
        let rest = url.strip_prefix("http://").ok_or_else(bad)?;
        let (host, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let named_port = host.rsplit_once(':').is_some_and(|(h, p)| {
            !h.is_empty() && !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit())
        });
        let authority = if named_port { host.to_owned() } else { format!("{host}:80") };
        if host.is_empty() || host.contains(['@', '?', '#']) || base.contains(['?', '#']) {
            return Err(bad());
        }
        let path = format!("{}/invocations", base.trim_end_matches('/'));
        let uri = format!("http://{authority}{path}");
        if uri.parse::<hyper::Uri>().is_err() {
            return Err(bad());
        }
        Ok(Self { authority, path })
    }

    pub(super) fn call(&self, request: AgentRequest, responder: Responder) -> AgentFuture {
        let container = self.clone();
        Box::pin(async move {
            // When the reader has left, dropping this future is all there is to do.
            let _ = container.run(request, responder).await;
        })
    }

    async fn run(self, request: AgentRequest, responder: Responder) -> Result<(), Gone> {
        let refused = || responder.whole(502, "application/json", Bytes::new());
        let stream = match tokio::time::timeout(CONNECT, TcpStream::connect(&self.authority)).await
        {
            Ok(Ok(stream)) => stream,
            _ => return refused().await,
        };
        let _ = stream.set_nodelay(true);
        let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(stream)).await else {
            return refused().await;
        };
        let mut message = hyper::Request::post(&self.path).header("host", &self.authority);
        for (name, value) in request.headers.iter() {
            message = message.header(name, value);
        }
        let Ok(message) = message.body(Full::new(request.body.clone())) else {
            return refused().await;
        };
        tokio::pin!(connection);
        let mut running = true;
        let answer = sender.send_request(message);
        tokio::pin!(answer);
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer,
                _ = &mut connection, if running => running = false,
            }
        };
        let Ok(answer) = answer else { return refused().await };
        let (head, mut body) = answer.into_parts();
        // Only these headers of a container are known to come back.
        let headers: Headers = ["content-type", "mcp-session-id", "mcp-protocol-version"]
            .into_iter()
            .filter_map(|n| head.headers.get(n).map(|v| (n, v.as_bytes())))
            .collect();
        responder.send_head(head.status.as_u16(), headers).await?;
        loop {
            let frame = tokio::select! {
                biased;
                () = responder.gone() => return Err(Gone),
                frame = body.frame() => frame,
                _ = &mut connection, if running => {
                    running = false;
                    continue;
                }
            };
            match frame {
                None => return responder.finish().await,
                Some(Err(_)) => return responder.abort().await,
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        responder.chunk(data).await?;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let good = Container::new("http://127.0.0.1:8080/").expect("good");
        assert_eq!(good.authority, "127.0.0.1:8080");
        assert_eq!(good.path, "/invocations");
        assert_eq!(Container::new("http://agent/base").expect("good").path, "/base/invocations");
        assert_eq!(Container::new("http://[::1]:9").expect("good").authority, "[::1]:9");
        for bad in ["https://a", "127.0.0.1:8080", "http://", "http://a@b", "http://a b"] {
            assert!(Container::new(bad).is_err(), "{bad}");
        }
    }
}
