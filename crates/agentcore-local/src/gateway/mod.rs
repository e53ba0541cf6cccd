//! An API Gateway WebSocket API in front of a Lambda function, both on this machine: sockets become
//! proxy events, the events go to handler processes over the Lambda runtime API, and the handlers
//! reach the sockets through `@connections`. It is there to test relays as a whole.

mod event;
mod function;
mod operations;
mod page;
mod runtime_api;
mod socket;
mod worker;

use crate::config::{Shared, StartError};
use crate::encoding::{percent_decode, random_bytes};
use function::Function;
use serde_json::{Value, json};
use socket::Sockets;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use operations::serve;
pub(crate) use socket::{asks_for_socket, run as run_socket};

/// A WebSocket API and the function behind it: what is set before the start.
///
/// The function is a command. It is started as often as calls come at the same time, speaks the
/// Lambda runtime API, and ends with the data plane.
#[derive(Clone)]
#[must_use = "it does nothing until it is given to a builder"]
pub struct Gateway {
    command: Vec<String>,
    variables: Vec<(String, String)>,
    handler: String,
    function_name: String,
    memory_mb: u32,
    function_timeout: Duration,
    concurrency: usize,
    max_retry_attempts: u32,
    retry_delay: Duration,
    stage: String,
    api_id: String,
    routes: Vec<String>,
    integration_timeout: Duration,
    idle_timeout: Duration,
    max_connection: Duration,
    page: Option<PathBuf>,
}

// Variables may be secrets.
impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("command", &self.command).finish_non_exhaustive()
    }
}

impl Gateway {
    /// The command that runs the function, with its arguments: no shell is in between.
    pub fn new<T: Into<String>>(command: impl IntoIterator<Item = T>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            variables: Vec::new(),
            handler: "handler.handler".to_owned(),
            function_name: "relay".to_owned(),
            memory_mb: 512,
            function_timeout: Duration::from_secs(900),
            concurrency: 16,
            max_retry_attempts: 0,
            retry_delay: Duration::from_secs(60),
            stage: "local".to_owned(),
            api_id: "local12345".to_owned(),
            routes: Vec::new(),
            integration_timeout: Duration::from_secs(29),
            idle_timeout: Duration::from_secs(600),
            max_connection: Duration::from_secs(7_200),
            page: None,
        }
    }

    /// One more environment variable of the function.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// What the function finds as `_HANDLER`; `handler.handler` unless given.
    pub fn handler(mut self, handler: impl Into<String>) -> Self {
        self.handler = handler.into();
        self
    }

    /// The name of the function; `relay` unless given.
    pub fn function_name(mut self, name: impl Into<String>) -> Self {
        self.function_name = name.into();
        self
    }

    /// What the function is told of its memory, in MB; nothing enforces it.
    pub fn memory_mb(mut self, megabytes: u32) -> Self {
        self.memory_mb = megabytes;
        self
    }

    /// How long one run may take, after which its process is killed; 900 s unless given.
    pub fn function_timeout(mut self, time: Duration) -> Self {
        self.function_timeout = time;
        self
    }

    /// How many runs there may be at the same time; 16 unless given. Further ones wait.
    pub fn concurrency(mut self, runs: usize) -> Self {
        self.concurrency = runs;
        self
    }

    /// How often an asynchronous run that failed is repeated; not at all unless given.
    pub fn max_retry_attempts(mut self, times: u32) -> Self {
        self.max_retry_attempts = times;
        self
    }

    /// The pause before it is repeated the first time; twice that before the second. 60 s unless
    /// given, as in Lambda.
    pub fn retry_delay(mut self, time: Duration) -> Self {
        self.retry_delay = time;
        self
    }

    /// The stage, which is the path of the WebSocket URL; `local` unless given.
    pub fn stage(mut self, stage: impl Into<String>) -> Self {
        self.stage = stage.into();
        self
    }

    /// The id of the API.
    pub fn api_id(mut self, id: impl Into<String>) -> Self {
        self.api_id = id.into();
        self
    }

    /// One more route beside `$connect`, `$disconnect` and `$default`; `action` of a message's JSON
    /// body selects it.
    pub fn route(mut self, key: impl Into<String>) -> Self {
        self.routes.push(key.into());
        self
    }

    /// How long the gateway waits for the function; 29 s unless given.
    pub fn integration_timeout(mut self, time: Duration) -> Self {
        self.integration_timeout = time;
        self
    }

    /// After how long without a message either way a socket is closed; 10 minutes unless given.
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.idle_timeout = time;
        self
    }

    /// After how long a socket is closed whatever happens on it; 2 hours unless given.
    pub fn max_connection(mut self, time: Duration) -> Self {
        self.max_connection = time;
        self
    }

    /// Serves the files of this folder as a web page, which may then connect.
    pub fn page(mut self, folder: impl Into<PathBuf>) -> Self {
        self.page = Some(folder.into());
        self
    }

    pub(crate) fn serves_page(&self) -> bool {
        self.page.is_some()
    }

    fn check(&self) -> Result<(), StartError> {
        let bad = |text: &str| Err(StartError::Config(text.to_owned()));
        let plain = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if self.command.first().is_none_or(String::is_empty) {
            return bad("the gateway needs a command that runs its function");
        }
        if !plain(&self.stage) || !plain(&self.api_id) || !plain(&self.function_name) {
            return bad("stage, API id and function name are made of letters, digits, - and _");
        }
        if self.concurrency == 0 {
            return bad("the function needs a concurrency of at least 1");
        }
        if self.variables.iter().any(|(name, _)| name.is_empty() || name.contains(['=', '\0'])) {
            return bad("an environment variable has no name");
        }
        if self.page.as_ref().is_some_and(|folder| !folder.is_dir()) {
            return bad("the folder of the page is not there");
        }
        Ok(())
    }
}

/// A gateway in service.
pub(crate) struct Running {
    config: Gateway,
    domain: String,
    /// Of the function, for callers that do not say which account is theirs.
    function_arn: String,
    /// What a relay makes its session ids from: another one per start unless given.
    relay_secret: String,
    function: Function,
    sockets: Sockets,
}

/// What a request asks of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `@connections`, with the decoded connection id.
    Connection {
        stage: String,
        id: String,
    },
    /// Lambda's Invoke, with the decoded function name.
    Function(String),
    /// A file of the page.
    Page(String),
    WrongMethod,
}

impl Route {
    /// Whether a scripted fault may strike it.
    pub(crate) fn is_operation(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Function(_))
    }
}

impl Running {
    /// `arn` is the runtime's: the gateway is in the same partition, region and account.
    pub(crate) fn new(config: Gateway, arn: &str) -> Result<Self, StartError> {
        config.check()?;
        let mut parts = arn.split(':');
        let partition = parts.nth(1).unwrap_or_default();
        let region = parts.nth(1).unwrap_or_default();
        let account = parts.next().unwrap_or_default();
        let suffix = if partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        Ok(Self {
            domain: format!("{}.execute-api.{region}.{suffix}", config.api_id),
            function_arn: format!(
                "arn:{partition}:lambda:{region}:{account}:function:{}",
                config.function_name
            ),
            relay_secret: hex::encode(random_bytes::<32>()),
            function: Function::new(config.concurrency),
            sockets: Sockets::default(),
            config,
        })
    }

    pub(crate) fn route(&self, method: &str, path: &str) -> Option<Route> {
        let decoded = |text: &str| String::from_utf8(percent_decode(text)).ok();
        if let Some(rest) = path.strip_prefix("/2015-03-31/functions/") {
            let (name, operation) = rest.split_once('/')?;
            return (operation == "invocations").then(|| match method {
                "POST" => decoded(name).map_or(Route::WrongMethod, Route::Function),
                _ => Route::WrongMethod,
            });
        }
        let mut segments = path.strip_prefix('/')?.splitn(3, '/');
        if let (Some(stage), Some(mark), Some(id)) =
            (segments.next(), segments.next(), segments.next())
            && decoded(mark).as_deref() == Some("@connections")
        {
            return Some(match method {
                "POST" | "GET" | "DELETE" => {
                    Route::Connection { stage: stage.to_owned(), id: decoded(id)? }
                }
                _ => Route::WrongMethod,
            });
        }
        let file =
            self.config.page.as_ref().filter(|_| method == "GET").map(|_| decoded(path))??;
        (!file.starts_with("/runtimes/") && file != "/ping" && !file.starts_with("/_local/"))
            .then_some(Route::Page(file))
    }

    /// The environment of the function, as Lambda sets it. The endpoint variables are AWS's own, so
    /// that SDKs follow them too.
    fn environment(&self, shared: &Shared) -> Vec<(String, String)> {
        let config = &self.config;
        let origin = shared.origin();
        let region = &shared.primary().region;
        let name = &config.function_name;
        let mut all: Vec<(String, String)> = [
            ("_HANDLER", config.handler.clone()),
            ("AWS_REGION", region.clone()),
            ("AWS_DEFAULT_REGION", region.clone()),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_local".to_owned()),
            ("AWS_LAMBDA_FUNCTION_NAME", name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", config.memory_mb.to_string()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "local".to_owned()),
            ("AWS_ACCESS_KEY_ID", shared.credentials.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", shared.credentials.secret_key.clone()),
            ("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", format!("{origin}{}", shared.base_path)),
            ("AWS_ENDPOINT_URL_LAMBDA", origin.clone()),
            ("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI", origin),
            ("AGENT_RUNTIME_ARN", shared.primary().config.arn.clone()),
            ("AGENTCORE_RELAY_SECRET", self.relay_secret.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(token) = &shared.credentials.session_token {
            all.push(("AWS_SESSION_TOKEN".to_owned(), token.clone()));
        }
        all.extend(config.variables.iter().cloned());
        all
    }

    /// Where browsers and other clients connect.
    pub(crate) fn websocket_url(&self, shared: &Shared) -> String {
        format!("{}/{}", shared.origin().replacen("http", "ws", 1), self.config.stage)
    }

    /// Where the page is, if there is one.
    pub(crate) fn page_url(&self, shared: &Shared) -> Option<String> {
        self.config.page.as_ref().map(|_| format!("{}/", shared.origin()))
    }

    pub(crate) fn function_arn(&self) -> &str {
        &self.function_arn
    }

    /// The connection ids that `@connections` can reach.
    pub(crate) fn sockets(&self) -> Vec<String> {
        self.sockets.ids()
    }

    /// Delivers an asynchronous event once more, as Lambda now and then does: the one with that
    /// request id, or the latest. Says whether there was one.
    pub(crate) fn redeliver(
        &self,
        shared: &std::sync::Arc<Shared>,
        request_id: Option<&str>,
        after: Duration,
    ) -> bool {
        self.function.redeliver(shared, request_id, after)
    }

    /// Everything of the function runs on this run-time.
    pub(crate) fn begin(&self, runtime: tokio::runtime::Handle) {
        self.function.begin(runtime);
    }

    /// Ends the handler processes and everything that waits for them.
    pub(crate) fn close(&self) {
        self.function.close();
    }

    /// What control and the start line tell of it.
    pub(crate) fn describe(&self, shared: &Shared) -> Value {
        json!({
            "websocket_url": self.websocket_url(shared),
            "connections_url": format!("{}/{}/@connections", shared.origin(), self.config.stage),
            "page_url": self.page_url(shared),
            "function_arn": self.function_arn,
        })
    }
}
