//! The data plane as Rust code uses it: a builder, and a handle that ends everything when dropped.
//! It runs on a thread of its own, so that it goes on while the caller's run-time stands still,
//! or as a task of the caller's run-time.

use crate::agent::Agent;
use crate::config::{Auth, Config, Runtime, Shared, StartError};
use crate::connection;
use crate::faults::Faults;
use crate::gateway::Gateway;
use crate::journal::JournalEntry;
use crate::jwt::JwtAuth;
use serde_json::Value;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Connections that may wait to be accepted: enough for a burst of a thousand at once.
const BACKLOG: i32 = 4_096;

/// Sets up a [`LocalDataPlane`]. Everything has a default.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// The loopback address to listen on; 127.0.0.1 unless given.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.config.host = host.into();
        self
    }

    /// The port to listen on; a free one unless given.
    pub fn port(mut self, port: u16) -> Self {
        self.config.port = port;
        self
    }

    /// Lets [`host`](Self::host) be an address that other machines can reach.
    pub fn allow_remote(mut self) -> Self {
        self.config.allow_remote = true;
        self
    }

    /// Accepts one more `Host`, e.g. `agentcore:8443` in a compose network.
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.config.hosts.push(host.into());
        self
    }

    /// Accepts requests of web pages from this origin.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.config.origins.push(origin.into());
        self
    }

    /// Serves the operations below this path, e.g. `/agentcore`.
    pub fn base_path(mut self, path: impl Into<String>) -> Self {
        self.config.base_path = path.into();
        self
    }

    /// The ARN of the runtime; it decides the region.
    pub fn runtime_arn(mut self, arn: impl Into<String>) -> Self {
        self.config.primary.arn = arn.into();
        self
    }

    /// Serves one more endpoint of the runtime beside `DEFAULT`.
    pub fn qualifier(mut self, name: impl Into<String>) -> Self {
        self.config.primary = self.config.primary.qualifier(name);
        self
    }

    /// Who answers; the demo agent unless given.
    pub fn agent(mut self, agent: Agent) -> Self {
        self.config.primary.agent = agent;
        self
    }

    /// The runtime wants bearer tokens in place of signatures.
    pub fn jwt(mut self, auth: JwtAuth) -> Self {
        self.config.primary = self.config.primary.jwt(auth);
        self
    }

    /// The runtime wants no authorisation, which the service never does.
    pub fn no_auth(mut self) -> Self {
        self.config.primary = self.config.primary.no_auth();
        self
    }

    /// Lets one more header through to the agent.
    pub fn allow_header(mut self, name: impl Into<String>) -> Self {
        self.config.primary = self.config.primary.allow_header(name);
        self
    }

    /// How long a new session takes until it can be used; meanwhile others get 409.
    pub fn provisioning(mut self, time: Duration) -> Self {
        self.config.primary.provisioning = time;
        self
    }

    /// Serves one more runtime, behind the same keys.
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.config.more.push(runtime);
        self
    }

    /// Keys that callers sign with; random ones unless given.
    pub fn keys(mut self, access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        self.config.access_key = Some(access_key.into());
        self.config.secret_key = Some(secret_key.into());
        self
    }

    /// Makes the keys temporary: callers must send and sign this token.
    pub fn session_token(mut self, token: impl Into<String>) -> Self {
        self.config.session_token = Some(token.into());
        self
    }

    /// Sets the data plane's clock so many seconds ahead (or back) of the machine's.
    pub fn clock_offset(mut self, seconds: i64) -> Self {
        self.config.clock_offset = seconds;
        self
    }

    /// Also serves `POST /invocations`, as an agent container does: no authorisation, any session
    /// id or none, the agent's status unwrapped.
    pub fn container_paths(mut self) -> Self {
        self.config.container_paths = true;
        self
    }

    /// Puts a WebSocket API with a function behind it in front of the agents.
    pub fn gateway(mut self, gateway: Gateway) -> Self {
        self.config.gateway = Some(gateway);
        self
    }

    fn bind(self) -> Result<(Arc<Shared>, std::net::TcpListener), StartError> {
        let host = if self.config.host == "localhost" { "127.0.0.1" } else { &self.config.host };
        let ip: IpAddr = host.trim_matches(['[', ']']).parse().map_err(|_| {
            StartError::Config(format!("'{host}' is not an IP address to listen on"))
        })?;
        if !ip.is_loopback() && !self.config.allow_remote {
            return Err(StartError::Config(format!(
                "{ip} can be reached from other machines; say so explicitly if that is meant"
            )));
        }
        let address = SocketAddr::new(ip, self.config.port);
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener: std::net::TcpListener = socket.into();
        let shared = Shared::new(self.config, listener.local_addr()?)?;
        Ok((Arc::new(shared), listener))
    }

    /// Starts on a thread of its own with its own run-time: the form for tests, since it goes on
    /// whatever the caller's run-time does. It returns when connections are accepted.
    pub fn start_blocking(self) -> Result<LocalDataPlane, StartError> {
        let (shared, listener) = self.bind()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = watch::channel(false);
        let serving = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("agentcore-local".into()).spawn(move || {
                runtime.block_on(accept(serving, listener, stopped));
                // Dropping the run-time closes what is still open.
                drop(runtime);
            })?;
        Ok(LocalDataPlane { shared, stop, runner: Runner::Thread(Some(thread)) })
    }

    /// Starts as a task of the current tokio run-time, which has to be driven for it to answer.
    pub async fn start(self) -> Result<LocalDataPlane, StartError> {
        let (shared, listener) = self.bind()?;
        let listener = TcpListener::from_std(listener)?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(Arc::clone(&shared), listener, stopped));
        Ok(LocalDataPlane { shared, stop, runner: Runner::Task(Some(task)) })
    }
}

/// Accepts until it is told to stop; all connections end with it.
async fn accept(shared: Arc<Shared>, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
    let _ending = Ending(Arc::clone(&shared));
    if let Some(gateway) = &shared.gateway {
        gateway.begin(tokio::runtime::Handle::current());
    }
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            () = async { drop(stopped.wait_for(|s| *s).await) } => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    number += 1;
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
                        connection::run(&shared, stream, peer, number).await;
                    });
                }
                // Out of descriptors, most likely: others have to close first.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// Ends the processes of the function, however serving ends.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(gateway) = &self.0.gateway {
            gateway.close();
        }
    }
}

enum Runner {
    Thread(Option<std::thread::JoinHandle<()>>),
    Task(Option<tokio::task::JoinHandle<()>>),
}

/// A running local data plane. Dropping it closes the listener and all connections.
pub struct LocalDataPlane {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    runner: Runner,
}

impl fmt::Debug for LocalDataPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalDataPlane")
            .field("address", &self.shared.address)
            .finish_non_exhaustive()
    }
}

impl LocalDataPlane {
    /// Everything can be set; nothing has to be.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// What goes in front of the operation paths, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("{}{}", self.shared.origin(), self.shared.base_path)
    }

    /// The ARN of the (first) runtime.
    pub fn runtime_arn(&self) -> &str {
        &self.shared.primary().config.arn
    }

    /// The region of the (first) runtime: signatures must be for it.
    pub fn region(&self) -> &str {
        &self.shared.primary().region
    }

    /// The endpoints of the (first) runtime.
    pub fn qualifiers(&self) -> &[String] {
        &self.shared.primary().config.qualifiers
    }

    /// The access key id that is accepted.
    pub fn access_key(&self) -> &str {
        &self.shared.credentials.access_key
    }

    /// The secret key that belongs to it.
    pub fn secret_key(&self) -> &str {
        &self.shared.credentials.secret_key
    }

    /// The session token that belongs to them, if they are temporary.
    pub fn session_token(&self) -> Option<&str> {
        self.shared.credentials.session_token.as_deref()
    }

    /// What `x-local-token` must say for requests below `/_local/`.
    pub fn control_token(&self) -> &str {
        &self.shared.control_token
    }

    /// Whether the (first) runtime wants bearer tokens.
    pub fn takes_bearer_tokens(&self) -> bool {
        matches!(self.shared.primary().config.auth, Auth::Jwt(_))
    }

    /// A bearer token with these claims (an object; what the checks demand is filled in, `null`
    /// leaves a claim out). `None` when no runtime takes bearer tokens.
    pub fn mint_token(&self, claims: &Value) -> Option<String> {
        self.shared.runtimes.iter().find_map(|r| match &r.config.auth {
            Auth::Jwt(jwt) => Some(jwt.mint(claims, self.shared.now(0))),
            _ => None,
        })
    }

    /// The queue of scripted faults.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Everything seen so far.
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.shared.journal.entries()
    }

    /// Forgets everything seen so far.
    pub fn clear_journal(&self) {
        self.shared.journal.clear();
    }

    /// The requests to `…/invocations` seen so far, answered or not.
    pub fn invocations(&self) -> Vec<JournalEntry> {
        self.journal().into_iter().filter(|e| e.event.is_invocation()).collect()
    }

    /// How many invocations were seen: each attempt counts.
    pub fn count_posts(&self) -> usize {
        self.invocations().len()
    }

    /// Waits for an entry that satisfies: the first one, also if it is there already.
    pub async fn wait_for(
        &self,
        wanted: impl Fn(&JournalEntry) -> bool,
        timeout: Duration,
    ) -> Option<JournalEntry> {
        self.shared.journal.wait(wanted, timeout).await
    }

    /// The same, blocking this thread. Not for a plane that runs on this very thread's run-time.
    pub fn wait_for_blocking(
        &self,
        wanted: impl Fn(&JournalEntry) -> bool,
        timeout: Duration,
    ) -> Option<JournalEntry> {
        self.shared.journal.wait_blocking(wanted, timeout)
    }

    /// Where clients of the gateway connect, if there is a gateway.
    pub fn websocket_url(&self) -> Option<String> {
        self.shared.gateway.as_ref().map(|g| g.websocket_url(&self.shared))
    }

    /// Where the gateway's page is, if there is one.
    pub fn page_url(&self) -> Option<String> {
        self.shared.gateway.as_ref().and_then(|g| g.page_url(&self.shared))
    }

    /// The ARN of the function behind the gateway.
    pub fn function_arn(&self) -> Option<&str> {
        self.shared.gateway.as_ref().map(|g| g.function_arn())
    }

    /// The connection ids of the gateway's open sockets.
    pub fn sockets(&self) -> Vec<String> {
        self.shared.gateway.as_ref().map(|g| g.sockets()).unwrap_or_default()
    }

    /// Delivers an asynchronous event of the function once more, as Lambda now and then does: the
    /// one with that request id, or the latest. Says whether there was one.
    pub fn redeliver_event(&self, request_id: Option<&str>, after: Duration) -> bool {
        let gateway = self.shared.gateway.as_ref();
        gateway.is_some_and(|g| g.redeliver(&self.shared, request_id, after))
    }

    /// What the start line of the program says of the gateway.
    pub fn describe_gateway(&self) -> Option<Value> {
        self.shared.gateway.as_ref().map(|g| g.describe(&self.shared))
    }

    /// Stops a session of the (first) runtime from outside, as the idle limit would.
    /// Says whether it was running.
    pub fn stop_session(&self, session_id: &str) -> bool {
        self.shared.primary().sessions.stop(session_id).is_ok()
    }

    /// The sessions of the (first) runtime that are provisioned or being so.
    pub fn sessions(&self) -> Vec<String> {
        self.shared.primary().sessions.ids()
    }

    /// Sets the clock so many seconds ahead (or back) of the machine's.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.shared.clock_offset.store(seconds, Ordering::Relaxed);
    }

    /// Closes the listener and all connections, and waits until that is done.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Runner::Task(task) = &mut self.runner
            && let Some(task) = task.take()
        {
            // Only a panic or an abort could be reported, and neither is of use here.
            let _ = task.await;
        }
    }
}

impl Drop for LocalDataPlane {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        match &mut self.runner {
            Runner::Task(task) => {
                if let Some(task) = task.take() {
                    task.abort();
                }
            }
            Runner::Thread(thread) => {
                if let Some(thread) = thread.take()
                    && thread.thread().id() != std::thread::current().id()
                {
                    let _ = thread.join();
                }
            }
        }
    }
}
