//! AWS credentials: the default chain, or a provider, behind one cache. The
//! environment is asked first and by ourselves, so that a Lambda's cold start
//! reads no file and builds no chain.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};

use crate::config::Environment;
use crate::error::{Delivery, Error, ErrorKind, Result};

/// Credentials are looked up again this long before they expire.
const REFRESH_AHEAD: Duration = Duration::from_secs(5 * 60);
/// How long credentials are used that do not say when they expire; the AWS SDKs' own rule.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// A renewal that failed is tried again after this long, while the old credentials are good.
const NEXT_RENEWAL: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct CachedCredentials {
    origin: Origin,
    cached: Mutex<Option<Cached>>,
    /// Held by the one call that looks up while the others wait.
    look_up: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
enum Origin {
    Chain(Chain),
    Provider(SharedCredentialsProvider),
}

#[derive(Clone, Debug)]
struct Cached {
    credentials: Arc<Credentials>,
    refresh_at: SystemTime,
}

impl CachedCredentials {
    pub(super) fn default_chain(region: Option<&str>, env: Environment) -> Self {
        Self::new(Origin::Chain(Chain::new(region, env)))
    }

    pub(super) fn from_provider(provider: SharedCredentialsProvider) -> Self {
        Self::new(Origin::Provider(provider))
    }

    fn new(origin: Origin) -> Self {
        Self { origin, cached: Mutex::default(), look_up: tokio::sync::Mutex::default() }
    }

    /// Credentials that need no renewal yet.
    pub(super) fn cached(&self, now: SystemTime) -> Option<Arc<Credentials>> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.as_ref().filter(|c| now < c.refresh_at).map(|c| Arc::clone(&c.credentials))
    }

    /// The cached credentials, for a renewal that failed or took too long: they are still good for
    /// the minutes that they were to be renewed ahead. The next renewal is not tried at once, or
    /// every call would wait for it in turn.
    pub(super) fn until_they_expire(&self, now: SystemTime) -> Option<Arc<Credentials>> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = cached.as_mut()?;
        let expiry = cached.credentials.expiry().filter(|expiry| now < *expiry)?;
        cached.refresh_at = expiry.min(now + NEXT_RENEWAL);
        tracing::warn!(
            target: "agentcore_client",
            "could not renew the credentials, using the old ones until they expire"
        );
        Some(Arc::clone(&cached.credentials))
    }

    /// Lets go of what the service has refused, so that the next call looks up again.
    pub(super) fn forget(&self) {
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) async fn get(&self) -> Result<Arc<Credentials>> {
        if let Some(credentials) = self.cached(SystemTime::now()) {
            return Ok(credentials);
        }
        let _one_at_a_time = self.look_up.lock().await;
        // Whoever held the lock may have looked up for us.
        if let Some(credentials) = self.cached(SystemTime::now()) {
            return Ok(credentials);
        }
        let found = match &self.origin {
            Origin::Chain(chain) => chain.provide().await.and_then(check),
            Origin::Provider(provider) => ask(provider).await,
        };
        let now = SystemTime::now();
        let credentials = match found {
            Ok(credentials) => Arc::new(credentials),
            Err(error) => return self.until_they_expire(now).ok_or(error),
        };
        let refresh_at = match credentials.expiry() {
            // Short-lived ones are renewed half-way instead of at every call.
            Some(expiry) => {
                let left = expiry.duration_since(now).unwrap_or_default();
                expiry.checked_sub(REFRESH_AHEAD.min(left / 2)).unwrap_or(expiry)
            }
            None => now + DEFAULT_LIFETIME,
        };
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Cached { credentials: Arc::clone(&credentials), refresh_at });
        Ok(credentials)
    }
}

/// What a provider gives right now, if that can be used.
pub(super) async fn ask(provider: &SharedCredentialsProvider) -> Result<Credentials> {
    let found = provider
        .provide_credentials()
        .await
        .map_err(|cause| unavailable("the credentials provider failed").with_source(cause))?;
    check(found)
}

fn unavailable(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Credentials, Delivery::NotSent, message)
}

fn check(credentials: Credentials) -> Result<Credentials> {
    if credentials.access_key_id().is_empty() || credentials.secret_access_key().is_empty() {
        return Err(unavailable("the credentials have an empty access key or secret"));
    }
    if credentials.expiry().is_some_and(|expiry| expiry <= SystemTime::now()) {
        return Err(unavailable("the credentials have expired; log in again or renew them"));
    }
    Ok(credentials)
}

/// Environment variables first, then the rest of the AWS chain, built at the first call.
#[derive(Debug)]
struct Chain {
    env: Environment,
    #[cfg(feature = "aws-chain")]
    region: Option<String>,
    #[cfg(feature = "aws-chain")]
    rest: tokio::sync::OnceCell<aws_config::default_provider::credentials::DefaultCredentialsChain>,
}

impl Chain {
    #[cfg_attr(not(feature = "aws-chain"), allow(unused_variables))]
    fn new(region: Option<&str>, env: Environment) -> Self {
        Self {
            env,
            #[cfg(feature = "aws-chain")]
            region: region.map(str::to_owned),
            #[cfg(feature = "aws-chain")]
            rest: tokio::sync::OnceCell::new(),
        }
    }

    async fn provide(&self) -> Result<Credentials> {
        let key = self.env.get("AWS_ACCESS_KEY_ID");
        let secret = self.env.get("AWS_SECRET_ACCESS_KEY");
        match (key, secret) {
            (Some(key), Some(secret)) => Ok(Credentials::new(
                key,
                secret,
                self.env.get("AWS_SESSION_TOKEN"),
                None,
                "environment",
            )),
            (Some(_), None) => {
                Err(unavailable("AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not"))
            }
            (None, _) => self.rest().await,
        }
    }

    #[cfg(not(feature = "aws-chain"))]
    async fn rest(&self) -> Result<Credentials> {
        Err(unavailable(
            "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or build agentcore-client with its feature aws-chain for profiles, SSO, web identity, ECS and EC2",
        ))
    }

    #[cfg(feature = "aws-chain")]
    async fn rest(&self) -> Result<Credentials> {
        let chain = self.rest.get_or_init(|| chain(self.region.clone())).await;
        chain.provide_credentials().await.map_err(|cause| {
            unavailable(
                "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, log in with `aws sso login`, or give the service a role",
            )
            .with_source(cause)
        })
    }
}

#[cfg(feature = "aws-chain")]
async fn chain(
    region: Option<String>,
) -> aws_config::default_provider::credentials::DefaultCredentialsChain {
    use aws_smithy_http_client::{Builder, tls};
    // The region is always given, so that nothing asks the instance metadata service for one.
    let region = region.map(aws_config::Region::new);
    // No connection outlives its look-up: a kept one is driven by a task on the runtime of the call
    // that opened it, and the next look-up, minutes later and perhaps on another thread's runtime,
    // would wait for a task that nobody runs any more.
    let http = Builder::new()
        .pool_max_idle_per_host(0)
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
    let config = aws_config::provider_config::ProviderConfig::default()
        .with_region(region.clone())
        .with_http_client(http);
    let mut builder = aws_config::default_provider::credentials::DefaultCredentialsChain::builder()
        .configure(config);
    builder.set_region(region);
    builder.build().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_credential_types::provider::{error::CredentialsError, future};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug)]
    struct Counting {
        calls: Arc<AtomicUsize>,
        lifetime: Option<Duration>,
        fails_after: usize,
    }

    impl ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                tokio::task::yield_now().await;
                if self.calls.fetch_add(1, Ordering::SeqCst) >= self.fails_after {
                    return Err(CredentialsError::provider_error("no more"));
                }
                let expiry = self.lifetime.map(|lifetime| SystemTime::now() + lifetime);
                Ok(Credentials::new("AK", "SK", None, expiry, "test"))
            })
        }
    }

    fn counting(
        lifetime: Option<u64>,
        fails_after: usize,
    ) -> (Arc<AtomicUsize>, CachedCredentials) {
        let calls = Arc::new(AtomicUsize::new(0));
        let provider = Counting {
            calls: Arc::clone(&calls),
            lifetime: lifetime.map(Duration::from_secs),
            fails_after,
        };
        (calls, CachedCredentials::from_provider(SharedCredentialsProvider::new(provider)))
    }

    #[tokio::test]
    async fn calls_that_wait_share_one_look_up() {
        let (calls, cache) = counting(None, usize::MAX);
        let all = futures::future::join_all((0..20).map(|_| cache.get())).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failed_look_up_is_not_remembered() {
        let (calls, cache) = counting(None, 0);
        let error = cache.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Credentials);
        assert!(cache.get().await.is_err());
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn refused_credentials_are_looked_up_again() {
        let (calls, cache) = counting(None, usize::MAX);
        cache.get().await.unwrap();
        cache.forget();
        cache.get().await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn expired_credentials_are_never_used() {
        let (_, cache) = counting(Some(0), usize::MAX);
        assert!(cache.get().await.unwrap_err().to_string().contains("expired"));
    }

    /// As if the time to renew had come.
    fn make_stale(cache: &CachedCredentials) {
        cache.cached.lock().unwrap().as_mut().unwrap().refresh_at = SystemTime::UNIX_EPOCH;
    }

    #[tokio::test]
    async fn a_failed_renewal_is_not_repeated_by_every_call() {
        let (calls, cache) = counting(Some(120), 1);
        let first = cache.get().await.unwrap();
        make_stale(&cache);
        for _ in 0..3 {
            assert!(Arc::ptr_eq(&cache.get().await.unwrap(), &first));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[derive(Debug)]
    struct OnceThenMute(AtomicUsize);

    impl ProvideCredentials for OnceThenMute {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                if self.0.fetch_add(1, Ordering::SeqCst) > 0 {
                    std::future::pending::<()>().await;
                }
                let expiry = SystemTime::now() + Duration::from_secs(120);
                Ok(Credentials::new("AK", "SK", None, Some(expiry), "test"))
            })
        }
    }

    #[tokio::test]
    async fn a_renewal_that_never_ends_is_not_waited_for_again() {
        let provider = SharedCredentialsProvider::new(OnceThenMute(AtomicUsize::new(0)));
        let cache = CachedCredentials::from_provider(provider);
        assert!(cache.until_they_expire(SystemTime::now()).is_none());
        let first = cache.get().await.unwrap();
        make_stale(&cache);
        let limit = Duration::from_millis(20);
        assert!(tokio::time::timeout(limit, cache.get()).await.is_err());
        let now = SystemTime::now();
        assert!(Arc::ptr_eq(&cache.until_they_expire(now).unwrap(), &first));
        assert!(cache.until_they_expire(now + Duration::from_secs(121)).is_none());
        make_stale(&cache);
        cache.until_they_expire(now).unwrap();
        assert!(Arc::ptr_eq(&cache.get().await.unwrap(), &first));
    }

    #[tokio::test]
    async fn the_environment_comes_first() {
        let env = Environment::from_pairs([
            ("AWS_ACCESS_KEY_ID", "AK"),
            ("AWS_SECRET_ACCESS_KEY", "SK"),
            ("AWS_SESSION_TOKEN", "T"),
        ]);
        let cache = CachedCredentials::default_chain(Some("us-east-1"), env);
        let credentials = cache.get().await.unwrap();
        assert_eq!(credentials.access_key_id(), "AK");
        assert_eq!(credentials.session_token(), Some("T"));
        assert!(!format!("{cache:?}").contains("SK"));
        let half = Environment::from_pairs([("AWS_ACCESS_KEY_ID", "AK")]);
        let error = CachedCredentials::default_chain(None, half).get().await.unwrap_err();
        assert!(error.to_string().contains("AWS_SECRET_ACCESS_KEY"));
    }
}
