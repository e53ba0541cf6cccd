//! One process of the function and the runtime API that it alone is told of: one run at a time,
//! killed when a run takes too long and when the data plane ends.

use super::function::Run;
use super::runtime_api::{self, Job};
use crate::clock;
use crate::encoding::random_bytes;
use bytes::Bytes;
use serde_json::json;
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How a run ended, with what the caller of a synchronous run gets.
#[derive(Debug)]
pub(super) struct Outcome {
    kind: Kind,
    pub(super) payload: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ok,
    /// The handler reported an error.
    Error,
    Timeout,
    /// The process ended.
    Crash,
}

impl Outcome {
    pub(super) fn ok(payload: Bytes) -> Self {
        Self { kind: Kind::Ok, payload }
    }

    pub(super) fn error(payload: Bytes) -> Self {
        Self { kind: Kind::Error, payload }
    }

    pub(super) fn crash(message: &str) -> Self {
        let error = json!({ "errorType": "Runtime.ExitError", "errorMessage": message });
        Self { kind: Kind::Crash, payload: error.to_string().into() }
    }

    pub(super) fn is_ok(&self) -> bool {
        self.kind == Kind::Ok
    }

    pub(super) fn is_timeout(&self) -> bool {
        self.kind == Kind::Timeout
    }

    /// Whether the process may get another run.
    pub(super) fn keeps_worker(&self) -> bool {
        matches!(self.kind, Kind::Ok | Kind::Error)
    }

    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Ok => "ok",
            Kind::Error => "error",
            Kind::Timeout => "timeout",
            Kind::Crash => "crash",
        }
    }
}

pub(super) struct Worker {
    child: Child,
    jobs: mpsc::Sender<Job>,
    failed_init: runtime_api::InitError,
    api: JoinHandle<()>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.api.abort();
    }
}

/// What must not reach the function from the shell that started the data plane: above all a
/// developer's own credentials.
fn is_foreign(name: &str) -> bool {
    ["AWS_", "AGENTCORE_", "AGENT_RUNTIME_", "_HANDLER", "LAMBDA_"]
        .iter()
        .any(|start| name.to_ascii_uppercase().starts_with(start))
}

impl Worker {
    pub(super) async fn start(
        command: &[String],
        variables: Vec<(String, String)>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (program, arguments) =
            command.split_first().ok_or_else(|| io::Error::other("no command"))?;
        let mut process = Command::new(program);
        process.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        // Its logs: standard output is the start line's alone.
        process.stdout(io::stderr()).stderr(Stdio::inherit());
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(is_foreign) {
                process.env_remove(name);
            }
        }
        process.envs(variables).env("AWS_LAMBDA_RUNTIME_API", &address);
        let child = process.spawn()?;
        let (jobs, waiting) = mpsc::channel(1);
        let failed_init = runtime_api::InitError::default();
        let api = tokio::spawn(runtime_api::serve(listener, address, waiting, failed_init.clone()));
        Ok(Self { child, jobs, failed_init, api })
    }

    pub(super) fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Gives the process one run and waits for its outcome.
    pub(super) async fn run(&mut self, run: &Run, arn: &str, timeout: Duration) -> Outcome {
        let (done, mut outcome) = oneshot::channel();
        let job = Job {
            request_id: run.request_id.clone(),
            deadline_ms: clock::unix_now_ms()
                .saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            function_arn: arn.to_owned(),
            trace_id: trace_id(),
            payload: run.payload.clone(),
            done,
        };
        if self.jobs.try_send(job).is_err() {
            return Outcome::crash("The runtime API of the process has ended");
        }
        tokio::select! {
            biased;
            Ok(outcome) = &mut outcome => outcome,
            status = self.child.wait() => {
                let status = status.map_or_else(|e| e.to_string(), |s| s.to_string());
                let message = format!(
                    "RequestId: {} Error: Runtime exited with error: {status}", run.request_id
                );
                match self.failed_init.take() {
                    Some(payload) => Outcome { kind: Kind::Crash, payload },
                    None => Outcome::crash(&message),
                }
            }
            () = tokio::time::sleep(timeout) => {
                // The rest of its work must not go on behind the back of whoever is told.
                let _ = self.child.start_kill();
                let seconds = timeout.as_secs_f64();
                let error = json!({
                    "errorType": "Sandbox.Timedout",
                    "errorMessage": format!(
                        "RequestId: {} Error: Task timed out after {seconds:.2} seconds",
                        run.request_id
                    ),
                });
                Outcome { kind: Kind::Timeout, payload: error.to_string().into() }
            }
        }
    }
}

fn trace_id() -> String {
    format!(
        "Root=1-{:08x}-{};Parent={};Sampled=0",
        clock::unix_now(0),
        hex::encode(random_bytes::<12>()),
        hex::encode(random_bytes::<8>())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_developers_credentials_stay_out() {
        for name in ["AWS_PROFILE", "AWS_SESSION_TOKEN", "AGENTCORE_LOCAL_URL", "_HANDLER"] {
            assert!(is_foreign(name), "{name}");
        }
        assert!(!is_foreign("PATH") && !is_foreign("PYTHONPATH"));
    }
}
