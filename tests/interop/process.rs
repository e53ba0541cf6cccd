//! Child processes that speak JSON lines: the Python programs of this folder, and the binary of
//! the local data plane. Each ends with the test that started it, whatever becomes of that test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentcore_local::LocalDataPlane;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Python takes its time to start on a busy machine; nothing takes that long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The folder `tests`.
const TESTS: &str = env!("CARGO_MANIFEST_DIR");

/// A running program. Dropping it kills it; and when this process is killed itself, the end of its
/// standard input tells it to go.
pub(crate) struct Process {
    name: String,
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    complaints: Arc<Mutex<String>>,
}

impl Process {
    /// A program of this folder in the Python that has the official packages.
    pub(crate) fn python(script: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = command(python());
        command.arg(Path::new(TESTS).join("interop").join(script));
        command.envs(variables.iter().copied());
        Self::start(script, command)
    }

    /// The binary of the local data plane.
    pub(crate) async fn data_plane(arguments: &[&str]) -> Self {
        let mut command = command(build_data_plane().await);
        command.args(arguments);
        Self::start("agentcore-local", command)
    }

    fn start(name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let input = child.stdin.take().expect("a pipe");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut errors = child.stderr.take().expect("a pipe");
        let complaints = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&complaints);
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = errors.read(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..length]);
                kept.lock().expect("no panic in between").push_str(&text);
            }
        });
        Self { name: name.to_owned(), child, input, lines, complaints }
    }

    /// The next line that it prints.
    pub(crate) async fn line(&mut self) -> Value {
        match timeout(PATIENCE, self.lines.next_line()).await {
            Ok(Ok(Some(line))) => serde_json::from_str(&line)
                .unwrap_or_else(|error| self.fail(&format!("said {line:?}: {error}"))),
            Ok(Ok(None)) => self.fail("ended"),
            Ok(Err(error)) => self.fail(&error.to_string()),
            Err(_) => self.fail("says nothing"),
        }
    }

    /// Its answer to one line.
    pub(crate) async fn ask(&mut self, request: &Value) -> Value {
        let line = format!("{request}\n");
        if let Err(error) = self.input.write_all(line.as_bytes()).await {
            self.fail(&error.to_string());
        }
        self.line().await
    }

    /// Closes its standard input, upon which each of them ends; whether it did so properly.
    pub(crate) async fn end(self) -> bool {
        let Self { mut child, input, .. } = self;
        drop(input);
        timeout(PATIENCE, child.wait()).await.expect("it ends with its input").unwrap().success()
    }

    fn fail(&self, what: &str) -> ! {
        let complaints = self.complaints.lock().expect("no panic in between");
        panic!("{} {what}; its standard error:\n{complaints}", self.name)
    }
}

/// An agent written with the official SDK, and its URL.
pub(crate) async fn sdk_agent() -> (Process, String) {
    let mut process = Process::python("agents/agent.py", &[]);
    let ready = process.line().await;
    let url = ready["url"].as_str().unwrap_or_else(|| panic!("not ready: {ready}"));
    (process, url.to_owned())
}

/// boto3 as a client of this data plane; it takes operations as lines.
pub(crate) fn boto3(plane: &LocalDataPlane) -> Process {
    let mut command = command(python());
    command.arg(Path::new(TESTS).join("interop/boto3_client.py")).arg("-").envs([
        ("ENDPOINT_URL", plane.base_url().as_str()),
        ("RUNTIME_ARN", plane.runtime_arn()),
        ("AWS_ACCESS_KEY_ID", plane.access_key()),
        ("AWS_SECRET_ACCESS_KEY", plane.secret_key()),
        ("AWS_SESSION_TOKEN", plane.session_token().unwrap_or_default()),
    ]);
    Process::start("boto3_client.py", command)
}

/// Without them, nothing here can be tested, which must not look like a success.
pub(crate) fn python() -> PathBuf {
    let python = match std::env::var_os("AGENTCORE_INTEROP_PYTHON") {
        Some(path) => PathBuf::from(path),
        None => Path::new(TESTS).join("interop/.venv/bin/python"),
    };
    assert!(
        python.is_file(),
        "no Python with the official packages at {}: run `make interop-env`, or point \
         AGENTCORE_INTEROP_PYTHON at one that has tests/interop/requirements.txt",
        python.display()
    );
    python
}

/// A command that none of the caller's own set-up reaches: keys, proxies, Python paths, nor what
/// cargo tells a test and what makes cargo build everything anew.
fn command(program: impl AsRef<OsStr>) -> Command {
    const OTHERS: [&str; 6] =
        ["AWS_", "AGENT", "PYTHON", "CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"];
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_uppercase();
        if OTHERS.iter().any(|other| text.starts_with(other)) || text.ends_with("_PROXY") {
            command.env_remove(&name);
        }
    }
    command
}

/// Builds the binary, which takes a moment when it is there already: whatever lies about in the
/// target folder may be older than the source.
async fn build_data_plane() -> PathBuf {
    let mut cargo = command(env!("CARGO"));
    cargo.args(["build", "--locked", "--quiet", "--package", "agentcore-local"]);
    cargo.args(["--bin", "agentcore-local", "--message-format", "json"]);
    let built = cargo.current_dir(TESTS).kill_on_drop(true).output().await.expect("cargo runs");
    let said = String::from_utf8_lossy(&built.stdout);
    let mut messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let binary = messages.find_map(|message| Some(message["executable"].as_str()?.into()));
    binary.unwrap_or_else(|| {
        panic!("agentcore-local cannot be built: {}", String::from_utf8_lossy(&built.stderr))
    })
}
