//! The client and its builder: wires the rooms, holds nothing else.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use http::uri::Scheme;

use crate::auth::{Auth, LAMBDA_SIGNING_NAME, SIGNING_NAME};
use crate::config::{Environment, Limits, Timeouts};
use crate::error::{Error, Result};
use crate::operations::Core;
use crate::operations::invoke::Invoke;
use crate::operations::stop::StopSession;
use crate::protocol::arn::{self, RuntimeArn};
use crate::protocol::endpoint::{Endpoint, EndpointOptions, Operation, TargetKind};
use crate::protocol::request::{self, Payload};
use crate::protocol::session::SessionId;
use crate::protocol::text::TextFormat;
use crate::retry::RetryPolicy;
use crate::transport::{ConnectOptions, HttpService, HyperService, Proxy, TrustRoots};

/// Calls one agent runtime. Cheap to clone; clones share connections and credentials.
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
}

impl Client {
    /// A client for a runtime ARN, or for an endpoint ARN
    /// (`…:runtime/{id}/runtime-endpoint/{name}`), whose name then is the qualifier.
    pub fn builder(runtime_arn: impl Into<String>) -> ClientBuilder {
        ClientBuilder { runtime_arn: Some(runtime_arn.into()), ..ClientBuilder::default() }
    }

    /// A client for what the environment names: `AGENT_RUNTIME_ARN`, or `AGENTCORE_LOCAL_URL`.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if neither is set, or one breaks a rule.
    pub fn from_env() -> Result<Self> {
        ClientBuilder::default().build()
    }

    /// A builder without an ARN, which `AGENT_RUNTIME_ARN`, `local_url` or `invocation_url` then
    /// stands in for.
    pub fn builder_from_env() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Asks the agent. `payload`: a [`serde_json::Value`] becomes JSON, a `&str` or `String` a JSON
    /// string, bytes go as they are. Nothing is sent before
    /// [`send`](Invoke::send) or [`stream`](Invoke::stream).
    pub fn invoke(&self, payload: impl Into<Payload>) -> Invoke {
        Invoke::new(Arc::clone(&self.core), payload.into())
    }

    /// Ends a session: its agent stops and its memory goes. The id stays valid and starts afresh.
    pub fn stop_session(&self, session: impl Into<SessionId>) -> StopSession {
        StopSession::new(Arc::clone(&self.core), session.into())
    }

    /// A builder for a sibling with other options on the same connections and credentials.
    pub fn with_options(&self) -> SiblingBuilder {
        let Core { timeouts, retry, limits, text_format, .. } = *self.core;
        SiblingBuilder {
            core: Arc::clone(&self.core),
            qualifier: None,
            timeouts,
            retry,
            limits,
            text_format,
        }
    }

    /// Closes the connections that wait for the next call, at once and without IO that waits: before
    /// a long pause, say, or a fork. Calls and open answers go on, and later calls open connections
    /// anew. Clones and siblings share the pool, so theirs are closed as well.
    pub fn close_idle_connections(&self) {
        self.core.transport.close_idle();
    }

    /// What a relay needs besides calls.
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The runtime that is called; `None` for a local agent or a whole invocation URL.
    pub fn runtime_arn(&self) -> Option<&RuntimeArn> {
        let endpoint = &self.core.endpoint;
        // One that was given beside a local agent is not what is called.
        endpoint.arn().filter(|_| endpoint.kind() != TargetKind::Local)
    }

    /// The endpoint name that is called; `None` stands for the service's `DEFAULT`.
    pub fn qualifier(&self) -> Option<&str> {
        self.core.qualifier.as_deref()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("runtime_arn", &self.runtime_arn())
            .field("qualifier", &self.core.qualifier)
            .field("endpoint", &self.core.endpoint)
            .field("auth", &self.core.authorizer.kind())
            .finish_non_exhaustive()
    }
}

/// Puts a [`Client`] together. An argument beats the environment, with one exception:
/// `AGENTCORE_LOCAL_URL` overrides even an explicit ARN, so that development needs no code change.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct ClientBuilder {
    runtime_arn: Option<String>,
    agent: Option<(String, String)>,
    qualifier: Option<String>,
    region: Option<String>,
    endpoint_url: Option<String>,
    /// Its query may be a secret.
    invocation_url: Option<SecretUrl>,
    local_url: Option<String>,
    use_fips: Option<bool>,
    use_dualstack: Option<bool>,
    allow_http_hosts: Vec<String>,
    auth: Option<Auth>,
    both_auths: bool,
    timeouts: Timeouts,
    retry: RetryPolicy,
    limits: Limits,
    text_format: TextFormat,
    ca_bundle: Option<PathBuf>,
    proxy: Option<SecretUrl>,
    user_agent: Option<String>,
    transport: Option<Arc<dyn HttpService>>,
    environment: Environment,
}

/// A URL that may hold a password or a key.
#[derive(Clone)]
struct SecretUrl(String);

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            runtime_arn: None,
            agent: None,
            qualifier: None,
            region: None,
            endpoint_url: None,
            invocation_url: None,
            local_url: None,
            use_fips: None,
            use_dualstack: None,
            allow_http_hosts: Vec::new(),
            auth: None,
            both_auths: false,
            timeouts: Timeouts::default(),
            retry: RetryPolicy::default(),
            limits: Limits::default(),
            text_format: TextFormat::default(),
            ca_bundle: None,
            proxy: None,
            user_agent: None,
            transport: None,
            environment: Environment::process(),
        }
    }
}

impl ClientBuilder {
    /// In place of an ARN: an agent id and a 12-digit account id. Needs a
    /// [`region`](Self::region), or `AWS_REGION` or `AWS_DEFAULT_REGION`.
    pub fn agent_id(mut self, agent_id: impl Into<String>, account_id: impl Into<String>) -> Self {
        self.agent = Some((agent_id.into(), account_id.into()));
        self
    }

    /// The runtime endpoint's name, which points to a version; absent, the service takes `DEFAULT`.
    pub fn qualifier(mut self, qualifier: impl Into<String>) -> Self {
        self.qualifier = Some(qualifier.into());
        self
    }

    /// The region, where no ARN gives it. One that contradicts the ARN is refused.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// How calls are authorised. By default: `AGENTCORE_BEARER_TOKEN` if it is set, otherwise the
    /// AWS default chain. A runtime takes one kind: credentials and a bearer token together are
    /// refused.
    pub fn auth(mut self, auth: Auth) -> Self {
        let before = self.auth.as_ref();
        self.both_auths |= before.is_some_and(|before| {
            (before.is_sigv4() && auth.is_bearer()) || (before.is_bearer() && auth.is_sigv4())
        });
        self.auth = Some(auth);
        self
    }

    /// Another base URL; the operation's path stays behind it. For proxies, gateways and the local
    /// data plane.
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.endpoint_url = Some(url.into());
        self
    }

    /// The whole URL of the invocation, to which nothing is appended: a custom domain, with bearer
    /// auth, since a signature is made for the host that the agent runtime sees; or the function URL
    /// of an AWS Lambda in front of the agent (`https://{id}.lambda-url.{region}.on.aws/`), which is
    /// signed for Lambda in that region.
    pub fn invocation_url(mut self, url: impl Into<String>) -> Self {
        self.invocation_url = Some(SecretUrl(url.into()));
        self
    }

    /// A local agent container, e.g. `http://127.0.0.1:8080`; called unsigned at `/invocations`.
    pub fn local_url(mut self, url: impl Into<String>) -> Self {
        self.local_url = Some(url.into());
        self
    }

    /// Whether to use the FIPS endpoint. Default: `AWS_USE_FIPS_ENDPOINT`.
    pub fn use_fips(mut self, fips: bool) -> Self {
        self.use_fips = Some(fips);
        self
    }

    /// Whether to use the dual-stack endpoint. Default: `AWS_USE_DUALSTACK_ENDPOINT`.
    pub fn use_dualstack(mut self, dualstack: bool) -> Self {
        self.use_dualstack = Some(dualstack);
        self
    }

    /// A host besides loopback that may be called over plain http, e.g. one of a compose network.
    /// Also: `AGENTCORE_ALLOW_HTTP_HOSTS`, separated by commas.
    pub fn allow_http_host(mut self, host: impl Into<String>) -> Self {
        self.allow_http_hosts.push(host.into());
        self
    }

    /// The time limits of every call.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// When calls are sent again.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Size limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Which of an agent framework's shapes carries the text; found out by itself otherwise.
    pub fn text_format(mut self, format: TextFormat) -> Self {
        self.text_format = format;
        self
    }

    /// A file of PEM certificates to trust in place of the system's. Default: `AWS_CA_BUNDLE`.
    pub fn ca_bundle(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_bundle = Some(path.into());
        self
    }

    /// An http proxy for https targets, `http://[user:password@]host:port`; an empty one switches
    /// the environment's off. Default: `HTTPS_PROXY`, with `NO_PROXY`.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(SecretUrl(url.into()));
        self
    }

    /// Adds to the `user-agent`, such as `my-service/1.2`.
    pub fn user_agent(mut self, product: impl Into<String>) -> Self {
        self.user_agent = Some(product.into());
        self
    }

    /// Another way to send requests, in place of hyper.
    pub fn transport(mut self, transport: impl HttpService) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Where environment variables come from; the process's own otherwise.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Checks everything and builds the client. No IO: credentials and trust roots are loaded at
    /// the first call.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), naming the argument or variable.
    pub fn build(self) -> Result<Client> {
        let env = self.environment.clone();
        self.timeouts.validate()?;
        self.limits.validate()?;
        let local_url = self.find_local_url(&env);
        let arn = self.find_arn(&env, local_url.is_some())?;
        let qualifier = self.find_qualifier(&env, arn.as_ref())?;
        let endpoint =
            Endpoint::resolve(arn.as_ref(), &self.endpoint_options(&env, local_url.clone()))?;
        let auth = self.find_auth(&env, local_url.is_some())?;
        if auth.is_none() && endpoint.requires_auth() && !endpoint.is_loopback() {
            return Err(Error::invalid(
                "auth",
                "none",
                "is only for loopback; give credentials or a bearer token",
            ));
        }
        let (region, service) = match (endpoint.function_url_region(), endpoint.arn()) {
            (Some(region), _) => (Some(region.to_owned()), LAMBDA_SIGNING_NAME),
            (None, Some(arn)) => (Some(arn.region().to_owned()), SIGNING_NAME),
            (None, None) => (self.region.clone(), SIGNING_NAME),
        };
        let authorizer =
            auth.into_authorizer(region.as_deref(), service, &env, SystemTime::now())?;
        let invoke_uri = endpoint.uri(Operation::Invoke, qualifier.as_deref())?;
        let transport = match &self.transport {
            Some(transport) => Arc::clone(transport),
            None => {
                let https = invoke_uri.scheme() == Some(&Scheme::HTTPS);
                Arc::new(HyperService::new(self.connect_options(&env, https)?))
            }
        };
        let user_agent = request::user_agent(self.user_agent.as_deref())?;
        Ok(Client {
            core: Arc::new(Core {
                transport,
                authorizer: Arc::new(authorizer),
                qualifier,
                region: region.unwrap_or_default(),
                endpoint,
                invoke_uri,
                timeouts: self.timeouts,
                retry: self.retry,
                limits: self.limits,
                text_format: self.text_format,
                user_agent,
                shared: Arc::default(),
            }),
        })
    }

    /// `AGENTCORE_LOCAL_URL` beats even an explicit ARN.
    fn find_local_url(&self, env: &Environment) -> Option<String> {
        if self.local_url.is_some() {
            return self.local_url.clone();
        }
        let url = env.get("AGENTCORE_LOCAL_URL")?;
        static WARNED: std::sync::Once = std::sync::Once::new();
        WARNED.call_once(|| {
            tracing::warn!(
                target: "agentcore_client",
                "AGENTCORE_LOCAL_URL is set: calls go to a local agent, without credentials"
            );
        });
        Some(url)
    }

    fn find_arn(&self, env: &Environment, local: bool) -> Result<Option<RuntimeArn>> {
        if let Some(text) = &self.runtime_arn {
            if self.agent.is_some() {
                return Err(Error::invalid(
                    "runtime_arn",
                    "given together with an agent id",
                    "give one of them",
                ));
            }
            return RuntimeArn::parse(text).map(Some);
        }
        if let Some((agent_id, account_id)) = &self.agent {
            let region = self
                .region
                .clone()
                .or_else(|| env.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]))
                .ok_or_else(|| {
                    Error::invalid("region", "absent", "is needed with an agent id; set AWS_REGION")
                })?;
            return RuntimeArn::from_agent_id(agent_id, account_id, &region).map(Some);
        }
        match env.get("AGENT_RUNTIME_ARN") {
            Some(text) => RuntimeArn::parse(&text).map(Some),
            None if local || self.invocation_url.is_some() => Ok(None),
            None => Err(Error::invalid(
                "runtime_arn",
                "absent",
                "give a runtime ARN, or set AGENT_RUNTIME_ARN or AGENTCORE_LOCAL_URL",
            )),
        }
    }

    fn find_qualifier(
        &self,
        env: &Environment,
        arn: Option<&RuntimeArn>,
    ) -> Result<Option<String>> {
        let of_arn = arn.and_then(RuntimeArn::qualifier);
        // The environment's is for an ARN that says nothing itself.
        let of_env = || env.get("AGENT_RUNTIME_QUALIFIER").filter(|_| of_arn.is_none());
        let option = self.qualifier.clone().or_else(of_env);
        match arn {
            Some(arn) => Ok(arn.effective_qualifier(option.as_deref())?.map(str::to_owned)),
            None => {
                option.as_deref().map_or(Ok(()), arn::validate_qualifier)?;
                Ok(option)
            }
        }
    }

    fn endpoint_options(&self, env: &Environment, local_url: Option<String>) -> EndpointOptions {
        let explicit = self.endpoint_url.is_some() || self.invocation_url.is_some();
        let endpoint_url = self.endpoint_url.clone().or_else(|| {
            if explicit || env.flag("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
                return None;
            }
            env.first(&["AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", "AWS_ENDPOINT_URL"])
        });
        let mut allow_http_hosts = self.allow_http_hosts.clone();
        if let Some(hosts) = env.get("AGENTCORE_ALLOW_HTTP_HOSTS") {
            let hosts = hosts.split(',').map(str::trim).filter(|host| !host.is_empty());
            allow_http_hosts.extend(hosts.map(str::to_owned));
        }
        EndpointOptions {
            region: self.region.clone(),
            use_fips: self.use_fips.unwrap_or_else(|| env.flag("AWS_USE_FIPS_ENDPOINT")),
            use_dualstack: self
                .use_dualstack
                .unwrap_or_else(|| env.flag("AWS_USE_DUALSTACK_ENDPOINT")),
            endpoint_url,
            invocation_url: self.invocation_url.as_ref().map(|url| url.0.clone()),
            local_url,
            allow_http_hosts,
        }
    }

    /// Explicit auth first; a token in the environment; the default chain. A local agent gets none.
    fn find_auth(&self, env: &Environment, local: bool) -> Result<Auth> {
        if local {
            return Ok(Auth::none());
        }
        if self.both_auths {
            return Err(Error::invalid(
                "auth",
                "credentials and a bearer token",
                "a runtime takes one kind; give one of them",
            ));
        }
        Ok(match (&self.auth, env.get("AGENTCORE_BEARER_TOKEN")) {
            (Some(auth), _) => auth.clone(),
            (None, Some(token)) => Auth::bearer(token),
            (None, None) => Auth::default_chain(),
        })
    }

    /// The environment's proxy serves https targets only, so for others it is not even looked at.
    fn connect_options(&self, env: &Environment, https: bool) -> Result<ConnectOptions> {
        let bundle = self.ca_bundle.clone().or_else(|| env.get("AWS_CA_BUNDLE").map(PathBuf::from));
        let proxy = match &self.proxy {
            Some(proxy) => Some(proxy.0.clone()),
            None if https => env.first(&["HTTPS_PROXY", "https_proxy"]),
            None => None,
        };
        let no_proxy = env.first(&["NO_PROXY", "no_proxy"]);
        Ok(ConnectOptions {
            roots: bundle.map_or(TrustRoots::System, TrustRoots::File),
            proxy: proxy
                .filter(|url| !url.is_empty())
                .map(|url| Proxy::new(&url, no_proxy.as_deref()))
                .transpose()?,
        })
    }
}

/// Puts a sibling of a [`Client`] together; see [`Client::with_options`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct SiblingBuilder {
    core: Arc<Core>,
    qualifier: Option<String>,
    timeouts: Timeouts,
    retry: RetryPolicy,
    limits: Limits,
    text_format: TextFormat,
}

impl SiblingBuilder {
    /// Another endpoint name of the same runtime.
    pub fn qualifier(mut self, qualifier: impl Into<String>) -> Self {
        self.qualifier = Some(qualifier.into());
        self
    }

    /// Other time limits.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Another retry policy.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Other size limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Another text format.
    pub fn text_format(mut self, format: TextFormat) -> Self {
        self.text_format = format;
        self
    }

    /// Checks everything and builds the sibling.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), naming the argument.
    pub fn build(self) -> Result<Client> {
        self.timeouts.validate()?;
        self.limits.validate()?;
        self.qualifier.as_deref().map_or(Ok(()), arn::validate_qualifier)?;
        let core = &self.core;
        let qualifier = self.qualifier.or_else(|| core.qualifier.clone());
        let invoke_uri = core.endpoint.uri(Operation::Invoke, qualifier.as_deref())?;
        Ok(Client {
            core: Arc::new(Core {
                transport: Arc::clone(&core.transport),
                authorizer: Arc::clone(&core.authorizer),
                qualifier,
                region: core.region.clone(),
                endpoint: core.endpoint.clone(),
                invoke_uri,
                timeouts: self.timeouts,
                retry: self.retry,
                limits: self.limits,
                text_format: self.text_format,
                user_agent: core.user_agent.clone(),
                shared: Arc::clone(&core.shared),
            }),
        })
    }
}
