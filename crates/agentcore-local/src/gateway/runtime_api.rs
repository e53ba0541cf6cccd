//! The Lambda runtime API as one process of a function sees it: `next`, `response`, `error`. Each
//! process has a listener of its own, which is how its requests are told from those of others.

use super::worker::Outcome;
use crate::answer::reason;
use crate::connection;
use crate::service::Request;
use crate::wire::{Left, Wire};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

const BASE: &str = "/2018-06-01/runtime/";

/// One run on its way to the process.
pub(super) struct Job {
    pub(super) request_id: String,
    pub(super) deadline_ms: u64,
    pub(super) function_arn: String,
    pub(super) trace_id: String,
    pub(super) payload: Bytes,
    pub(super) done: oneshot::Sender<Outcome>,
}

/// What the process said about a start that failed.
#[derive(Clone, Default)]
pub(super) struct InitError(Arc<Mutex<Option<Bytes>>>);

impl InitError {
    pub(super) fn take(&self) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, payload: Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
    }
}

struct Api {
    host: String,
    jobs: tokio::sync::Mutex<mpsc::Receiver<Job>>,
    current: Mutex<Option<(String, oneshot::Sender<Outcome>)>>,
    init_error: InitError,
}

/// Serves one process until it is aborted.
pub(super) async fn serve(
    listener: TcpListener,
    host: String,
    jobs: mpsc::Receiver<Job>,
    init_error: InitError,
) {
    let api = Arc::new(Api {
        host,
        jobs: tokio::sync::Mutex::new(jobs),
        current: Mutex::default(),
        init_error,
    });
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let api = Arc::clone(&api);
        connections.spawn(async move {
            let mut wire = Wire::new(stream);
            while let Ok(request) = connection::read(&mut wire, None).await {
                if api.answer(&mut wire, &request).await.is_err() || !request.keep_alive {
                    return;
                }
            }
        });
    }
}

impl Api {
    async fn answer(&self, wire: &mut Wire, request: &Request) -> Result<(), Left> {
        // A web page must not take the function's work away.
        if request.headers.get("host") != Some(&self.host) || request.headers.contains("origin") {
            return error(wire, 403, "Forbidden", "Only the function's own process is served")
                .await;
        }
        let path = request.target.strip_prefix(BASE).unwrap_or_default();
        let parts: Vec<&str> = path.split('/').collect();
        match (request.method.as_str(), &parts[..]) {
            ("GET", ["invocation", "next"]) => self.next(wire).await,
            ("POST", ["invocation", id, "response"]) => {
                self.done(wire, id, Outcome::ok(request.body.clone())).await
            }
            ("POST", ["invocation", id, "error"]) => {
                self.done(wire, id, Outcome::error(request.body.clone())).await
            }
            ("POST", ["init", "error"]) => {
                self.init_error.set(request.body.clone());
                accepted(wire).await
            }
            _ => error(wire, 404, "NotFound", "The runtime API has no such path").await,
        }
    }

    async fn next(&self, wire: &mut Wire) -> Result<(), Left> {
        let job = {
            let mut jobs = self.jobs.lock().await;
            tokio::select! {
                biased;
                () = wire.left() => return Err(Left),
                job = jobs.recv() => job.ok_or(Left)?,
            }
        };
        let headers = [
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", &job.request_id),
            ("Lambda-Runtime-Deadline-Ms", &job.deadline_ms.to_string()),
            ("Lambda-Runtime-Invoked-Function-Arn", &job.function_arn),
            ("Lambda-Runtime-Trace-Id", &job.trace_id),
        ];
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((job.request_id.clone(), job.done));
        write(wire, 200, &headers, &job.payload).await
    }

    async fn done(&self, wire: &mut Wire, id: &str, outcome: Outcome) -> Result<(), Left> {
        let current = {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            current.take_if(|(running, _)| running == id)
        };
        let Some((_, done)) = current else {
            return error(wire, 400, "InvalidRequestID", "Invalid request ID").await;
        };
        // Whoever waited may be gone, which changes nothing for the process.
        let _ = done.send(outcome);
        accepted(wire).await
    }
}

async fn accepted(wire: &mut Wire) -> Result<(), Left> {
    write(wire, 202, &[("Content-Type", "application/json")], b"{\"status\":\"OK\"}\n").await
}

async fn error(wire: &mut Wire, status: u16, kind: &str, message: &str) -> Result<(), Left> {
    let body = serde_json::json!({ "errorType": kind, "errorMessage": message }).to_string();
    write(wire, status, &[("Content-Type", "application/json")], body.as_bytes()).await
}

async fn write(
    wire: &mut Wire,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<(), Left> {
    let mut out = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut out = out.into_bytes();
    out.extend_from_slice(body);
    wire.write(&out).await
}
