//! The data plane and the client that a case asks for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agentcore_client::{
    Auth, Client, Credentials, Environment, ProvideCredentials, ProvideToken, Result, RetryPolicy,
    TextFormat, Timeouts,
};
use agentcore_local::{JwtAuth, LocalDataPlane};
use agentcore_tests::{SOON, keys};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::case::{self, ClientAuth, ClientOptions, PlaneAuth, Retry};

pub(crate) fn builder(plane: &case::Plane) -> agentcore_local::Builder {
    let mut builder = LocalDataPlane::builder()
        .clock_offset(plane.clock_offset_s)
        .provisioning(Duration::from_millis(plane.provisioning_ms));
    builder = match plane.auth {
        PlaneAuth::Sigv4 => builder,
        PlaneAuth::Bearer => builder.jwt(JwtAuth::new("https://issuer.example")),
        PlaneAuth::None => builder.no_auth(),
    };
    if let Some(arn) = &plane.runtime_arn {
        builder = builder.runtime_arn(arn);
    }
    if let Some(token) = &plane.session_token {
        builder = builder.session_token(token);
    }
    if let Some(path) = &plane.base_path {
        builder = builder.base_path(path);
    }
    if plane.container_paths {
        builder = builder.container_paths();
    }
    for name in &plane.qualifiers {
        builder = builder.qualifier(name);
    }
    for name in &plane.allow_headers {
        builder = builder.allow_header(name);
    }
    builder
}

pub(crate) fn client(plane: &LocalDataPlane, options: &ClientOptions) -> Result<Client> {
    let arn = match &options.runtime_arn {
        None => Some(plane.runtime_arn().to_owned()),
        Some(given) => given.clone(),
    };
    let elsewhere = options.invocation_url.is_some() || options.local_url.is_some();
    let endpoint = match &options.endpoint_url {
        None if elsewhere => None,
        None => Some(plane.base_url()),
        Some(given) => given.clone(),
    };
    let mut builder = match arn {
        Some(arn) => Client::builder(arn),
        None => Client::builder_from_env(),
    };
    builder = builder.environment(Environment::from_pairs(options.environment.clone()));
    for auth in auths(plane, options) {
        builder = builder.auth(auth);
    }
    macro_rules! set {
        ($($value:expr => $method:ident),+ $(,)?) => {
            $(if let Some(value) = $value { builder = builder.$method(value); })+
        };
    }
    set! {
        endpoint => endpoint_url,
        options.invocation_url.clone() => invocation_url,
        options.local_url.clone() => local_url,
        options.region.clone() => region,
        options.qualifier.clone() => qualifier,
        options.use_fips => use_fips,
        options.use_dualstack => use_dualstack,
        options.proxy.clone() => proxy,
        options.user_agent.clone() => user_agent,
        options.text_format.as_deref().map(format) => text_format,
        options.retry.map(retry) => retry,
        options.timeouts.as_ref().map(|limits| timeouts(Timeouts::default(), limits)) => timeouts,
        options.limits.as_ref().map(sizes) => limits,
    }
    if let (Some(agent), Some(account)) = (&options.agent_id, &options.account_id) {
        builder = builder.agent_id(agent, account);
    }
    for host in &options.allow_http_hosts {
        builder = builder.allow_http_host(host);
    }
    builder.build()
}

fn auths(plane: &LocalDataPlane, options: &ClientOptions) -> Vec<Auth> {
    let mint = |claims: &Value| plane.mint_token(claims).unwrap_or_default();
    let token = || options.token.clone().unwrap_or_default();
    vec![match options.auth {
        ClientAuth::Environment => return Vec::new(),
        ClientAuth::Plane if plane.takes_bearer_tokens() => Auth::bearer(mint(&json!({}))),
        ClientAuth::Plane => Auth::sigv4(keys(plane)),
        ClientAuth::WrongSecret => Auth::sigv4(Credentials::new(
            plane.access_key(),
            "another",
            plane.session_token().map(str::to_owned),
            None,
            "test",
        )),
        ClientAuth::UnknownKeys => Auth::sigv4(unknown_keys()),
        ClientAuth::LiteralToken => Auth::bearer(token()),
        ClientAuth::MintedToken => Auth::bearer(mint(options.claims.as_ref().unwrap())),
        ClientAuth::KeysAndToken => return vec![Auth::sigv4(unknown_keys()), Auth::bearer("t")],
        ClientAuth::RenewingToken => {
            let (good, asked) = (mint(&json!({})), AtomicBool::new(false));
            Auth::bearer_provider(Tokens::Renewing { good, asked })
        }
        ClientAuth::FailingTokens => Auth::bearer_provider(Tokens::Failing),
        ClientAuth::SlowTokens => Auth::bearer_provider(Tokens::Slow),
        ClientAuth::FailingKeys => Auth::sigv4(NoKeys),
    }]
}

fn unknown_keys() -> Credentials {
    Credentials::new("AKIDUNKNOWN", "secret", None, None, "test")
}

#[derive(Debug)]
enum Tokens {
    /// A stale one first.
    Renewing {
        good: String,
        asked: AtomicBool,
    },
    Failing,
    Slow,
}

impl ProvideToken for Tokens {
    fn provide_token(
        &self,
    ) -> BoxFuture<'_, std::result::Result<String, Box<dyn std::error::Error + Send + Sync>>> {
        Box::pin(async move {
            match self {
                Self::Renewing { good, asked } if asked.swap(true, Ordering::SeqCst) => {
                    Ok(good.clone())
                }
                Self::Renewing { .. } => Ok("stale".to_owned()),
                Self::Failing => Err("the vault is sealed".into()),
                Self::Slow => {
                    tokio::time::sleep(SOON).await;
                    Ok("late".to_owned())
                }
            }
        })
    }
}

#[derive(Debug)]
struct NoKeys;

impl ProvideCredentials for NoKeys {
    fn provide_credentials<'a>(
        &'a self,
    ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        use aws_credential_types::provider::error::CredentialsError;
        use aws_credential_types::provider::future::ProvideCredentials as Ready;
        Ready::ready(Err(CredentialsError::provider_error("the vault is sealed")))
    }
}

pub(crate) fn format(name: &str) -> TextFormat {
    TextFormat::from_name(name).expect("a text format")
}

pub(crate) fn retry(retry: Retry) -> RetryPolicy {
    match retry {
        Retry::Never => RetryPolicy::never(),
        Retry::Default => RetryPolicy::default(),
        Retry::Idempotent => RetryPolicy::idempotent(),
    }
}

pub(crate) fn timeouts(base: Timeouts, limits: &case::Limits) -> Timeouts {
    let ms = Duration::from_millis;
    let mut all = base;
    if let Some(limit) = limits.connect_ms {
        all = all.connect(ms(limit));
    }
    if let Some(limit) = limits.auth_ms {
        all = all.auth(ms(limit));
    }
    if let Some(limit) = limits.first_byte_ms {
        all = all.first_byte(ms(limit));
    }
    if let Some(limit) = limits.idle_ms {
        all = all.idle(limit.map(ms));
    }
    if let Some(limit) = limits.total_ms {
        all = all.total(limit.map(ms));
    }
    if let Some(left) = limits.deadline_in_ms {
        all = all.deadline(Instant::now() + ms(left));
    }
    all
}

pub(crate) fn sizes(sizes: &case::Sizes) -> agentcore_client::Limits {
    let mut all = agentcore_client::Limits::default();
    all.event = sizes.event.unwrap_or(all.event);
    all.answer = sizes.answer.unwrap_or(all.answer);
    all.payload = sizes.payload.unwrap_or(all.payload);
    all
}

/// The limits that a call's own stand in front of.
pub(crate) fn of_client(of: &ClientOptions) -> Timeouts {
    let base = Timeouts::default();
    of.timeouts.as_ref().map_or(base, |limits| timeouts(base, limits))
}
