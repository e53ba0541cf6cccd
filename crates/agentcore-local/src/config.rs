//! What is served: runtimes with their addresses, authorisation, agents and switches,
//! and the state that all connections share.

use crate::agent::Agent;
use crate::clock;
use crate::encoding::{percent_encode, random_bytes};
use crate::faults::Faults;
use crate::gateway::{Gateway, Running};
use crate::journal::Journal;
use crate::jwt::JwtAuth;
use crate::session::Sessions;
use crate::sigv4::Credentials;
use crate::validate;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, io};

pub(crate) const DEFAULT_ARN: &str =
    "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/local_agent-0123456789";

/// Why the data plane could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The address could not be bound.
    Io(io::Error),
    /// Something in the configuration makes no sense; the text says what.
    Config(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot listen: {error}"),
            Self::Config(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// How callers of a runtime prove who they are: one kind per runtime, never two.
#[derive(Clone, Debug)]
pub(crate) enum Auth {
    SigV4,
    Jwt(Box<JwtAuth>),
    /// Nobody is asked.
    Open,
}

/// One agent runtime that the data plane serves.
#[derive(Clone, Debug)]
pub struct Runtime {
    pub(crate) arn: String,
    pub(crate) qualifiers: Vec<String>,
    pub(crate) auth: Auth,
    pub(crate) agent: Agent,
    pub(crate) allowed_headers: Vec<String>,
    pub(crate) provisioning: Duration,
}

impl Runtime {
    /// A runtime with the demo agent, SigV4 and the endpoint `DEFAULT`.
    pub fn new(arn: impl Into<String>) -> Self {
        Self {
            arn: arn.into(),
            qualifiers: vec!["DEFAULT".to_owned()],
            auth: Auth::SigV4,
            agent: Agent::demo(),
            allowed_headers: Vec::new(),
            provisioning: Duration::ZERO,
        }
    }

    /// Serves one more endpoint beside `DEFAULT`.
    pub fn qualifier(mut self, name: impl Into<String>) -> Self {
        self.qualifiers.push(name.into());
        self
    }

    /// Who answers.
    pub fn agent(mut self, agent: Agent) -> Self {
        self.agent = agent;
        self
    }

    /// Wants bearer tokens in place of signatures.
    pub fn jwt(mut self, auth: JwtAuth) -> Self {
        self.auth = Auth::Jwt(Box::new(auth));
        self
    }

    /// Wants no authorisation at all, which the service never does.
    pub fn no_auth(mut self) -> Self {
        self.auth = Auth::Open;
        self
    }

    /// Lets one more header through to the agent.
    pub fn allow_header(mut self, name: impl Into<String>) -> Self {
        self.allowed_headers.push(name.into());
        self
    }

    /// How long a new session takes until it can be used.
    pub fn provisioning(mut self, time: Duration) -> Self {
        self.provisioning = time;
        self
    }

    fn serve(self) -> Result<Served, StartError> {
        let bad =
            || StartError::Config(format!("'{}' is no runtime ARN like {DEFAULT_ARN}", self.arn));
        let parts: Vec<&str> = self.arn.split(':').collect();
        let [arn, _, service, region, account, resource] = parts[..] else { return Err(bad()) };
        let id = resource.strip_prefix("runtime/").ok_or_else(bad)?;
        let plain =
            |t: &str| !t.is_empty() && !t.contains('/') && t.bytes().all(|b| b.is_ascii_graphic());
        if arn != "arn"
            || service != "bedrock-agentcore"
            || ![region, account, id].iter().all(|t| plain(t))
        {
            return Err(bad());
        }
        if let Some(name) = self.allowed_headers.iter().find(|n| !validate::may_be_allowed(n)) {
            return Err(StartError::Config(format!(
                "the header '{name}' may not stand on an allow-list"
            )));
        }
        Ok(Served {
            region: region.to_owned(),
            account: account.to_owned(),
            id: id.to_owned(),
            sessions: Sessions::default(),
            config: self,
        })
    }
}

/// A runtime in service.
pub(crate) struct Served {
    pub(crate) config: Runtime,
    pub(crate) region: String,
    pub(crate) account: String,
    pub(crate) id: String,
    pub(crate) sessions: Sessions,
}

/// Everything that can be set before the start.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) allow_remote: bool,
    pub(crate) primary: Runtime,
    pub(crate) more: Vec<Runtime>,
    pub(crate) access_key: Option<String>,
    pub(crate) secret_key: Option<String>,
    pub(crate) session_token: Option<String>,
    pub(crate) origins: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) base_path: String,
    pub(crate) clock_offset: i64,
    pub(crate) container_paths: bool,
    pub(crate) gateway: Option<Gateway>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 0,
            allow_remote: false,
            primary: Runtime::new(DEFAULT_ARN),
            more: Vec::new(),
            access_key: None,
            secret_key: None,
            session_token: None,
            origins: Vec::new(),
            hosts: Vec::new(),
            base_path: String::new(),
            clock_offset: 0,
            container_paths: false,
            gateway: None,
        }
    }
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) address: SocketAddr,
    pub(crate) base_path: String,
    /// The one from the builder first.
    pub(crate) runtimes: Vec<Served>,
    pub(crate) credentials: Credentials,
    pub(crate) control_token: String,
    pub(crate) origins: Vec<String>,
    hosts: Vec<String>,
    pub(crate) container_paths: bool,
    pub(crate) gateway: Option<Running>,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    pub(crate) clock_offset: AtomicI64,
    calls: AtomicU64,
}

impl Shared {
    pub(crate) fn new(config: Config, address: SocketAddr) -> Result<Self, StartError> {
        let port = address.port();
        // An IPv6 address has to be bracketed, which is how it is shown with its port.
        let mut hosts = vec![address.to_string(), format!("localhost:{port}")];
        if address.ip().is_unspecified() {
            hosts.extend([format!("127.0.0.1:{port}"), format!("[::1]:{port}")]);
        }
        hosts.extend(config.hosts);
        let mut runtimes = vec![config.primary.serve()?];
        for runtime in config.more {
            runtimes.push(runtime.serve()?);
        }
        let base = config.base_path.trim_end_matches('/');
        if !base.is_empty() && (!base.starts_with('/') || base.contains(['?', '#', ' '])) {
            return Err(StartError::Config(format!("the base path '{base}' must look like /path")));
        }
        let mut origins = config.origins;
        if config.gateway.as_ref().is_some_and(Gateway::serves_page) {
            // Its own page may connect to it.
            origins.extend(hosts.iter().map(|host| format!("http://{host}")));
        }
        let gateway =
            config.gateway.map(|g| Running::new(g, &runtimes[0].config.arn)).transpose()?;
        Ok(Self {
            address,
            base_path: base.to_owned(),
            runtimes,
            credentials: Credentials {
                access_key: config.access_key.unwrap_or_else(|| {
                    format!("AKIALOCAL{}", hex::encode_upper(random_bytes::<6>()))
                }),
                secret_key: config.secret_key.unwrap_or_else(|| hex::encode(random_bytes::<20>())),
                session_token: config.session_token,
            },
            control_token: hex::encode(random_bytes::<24>()),
            origins,
            hosts,
            container_paths: config.container_paths,
            gateway,
            faults: Faults::default(),
            journal: Journal::new(),
            clock_offset: AtomicI64::new(config.clock_offset),
            calls: AtomicU64::new(1),
        })
    }

    /// Scheme, address and port as callers on this machine write them.
    pub(crate) fn origin(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            });
        }
        format!("http://{address}")
    }

    pub(crate) fn primary(&self) -> &Served {
        &self.runtimes[0]
    }

    pub(crate) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// The time by the data plane's clock, which may be off on purpose.
    pub(crate) fn now(&self, extra: i64) -> i64 {
        clock::unix_now(self.clock_offset.load(Ordering::Relaxed).saturating_add(extra))
    }

    pub(crate) fn host_is_ours(&self, host: &str) -> bool {
        self.hosts.iter().any(|h| h.eq_ignore_ascii_case(host))
    }

    /// Where the OAuth metadata of a runtime is, as the 401 says it.
    pub(crate) fn metadata_url(&self, host: &str, arn: &str, qualifier: &str) -> String {
        format!(
            "http://{host}{}/runtimes/{}/invocations/.well-known/oauth-protected-resource?qualifier={}",
            self.base_path,
            percent_encode(arn.as_bytes(), false),
            percent_encode(qualifier.as_bytes(), false)
        )
    }
}
