//! Who calls: AWS credentials for SigV4, a bearer token for a runtime with a
//! JWT authorizer, or nobody for a local agent. One runtime takes one kind, so
//! nothing here ever falls back from one to another.

mod bearer;
mod credentials;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use bytes::Bytes;
use http::{HeaderValue, Request, header};

use crate::config::Environment;
use crate::error::{Error, Result};
use crate::protocol::service_error::AuthKind;
use crate::protocol::sigv4::{self, KeyCache, SigningScope};

pub use bearer::ProvideToken;
use bearer::Token;
use credentials::CachedCredentials;

/// The name under which requests to the data plane are signed.
pub(crate) const SIGNING_NAME: &str = "bedrock-agentcore";
/// The same for an AWS Lambda function URL.
pub(crate) const LAMBDA_SIGNING_NAME: &str = "lambda";

/// How calls are authorised.
#[derive(Clone, Debug)]
pub struct Auth(Scheme);

#[derive(Clone)]
enum Scheme {
    DefaultChain,
    Credentials(SharedCredentialsProvider),
    UncachedCredentials(SharedCredentialsProvider),
    Bearer(Unchecked),
    BearerProvider(Arc<dyn ProvideToken>),
    None,
}

/// By name alone: what a provider of a user's own shows of itself may well be a secret.
impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DefaultChain => "DefaultChain",
            Self::Credentials(_) => "Credentials([redacted])",
            Self::UncachedCredentials(_) => "UncachedCredentials([redacted])",
            Self::Bearer(_) => "Bearer([redacted])",
            Self::BearerProvider(_) => "BearerProvider([redacted])",
            Self::None => "None",
        })
    }
}

/// A token that was handed over and not checked yet.
#[derive(Clone)]
struct Unchecked(Arc<str>);

impl Auth {
    /// AWS credentials from where the AWS SDKs find them: environment variables, then (with the
    /// feature `aws-chain`) shared profiles and SSO, web identity, ECS and EC2.
    pub fn default_chain() -> Self {
        Self(Scheme::DefaultChain)
    }

    /// AWS credentials from a provider; [`Credentials`] themselves are one. They are cached until
    /// shortly before they expire, and looked up once for all calls that wait.
    pub fn sigv4(provider: impl ProvideCredentials + 'static) -> Self {
        Self(Scheme::Credentials(SharedCredentialsProvider::new(provider)))
    }

    /// AWS credentials from a provider that caches and renews them itself, such as botocore's. It
    /// is asked at every attempt, by every call for itself; nothing is kept or shared here.
    pub fn sigv4_uncached(provider: impl ProvideCredentials + 'static) -> Self {
        Self(Scheme::UncachedCredentials(SharedCredentialsProvider::new(provider)))
    }

    /// A fixed bearer token. It is checked when the client is built: not empty, safe in a header,
    /// and not expired if it is a JWT with `exp`.
    pub fn bearer(token: impl AsRef<str>) -> Self {
        Self(Scheme::Bearer(Unchecked(Arc::from(token.as_ref()))))
    }

    /// Bearer tokens from a provider, which is asked at every attempt and once more after a 401.
    /// Nothing is cached: a provider may well answer differently for each caller.
    pub fn bearer_provider(provider: impl ProvideToken + 'static) -> Self {
        Self(Scheme::BearerProvider(Arc::new(provider)))
    }

    /// No authorisation, for a local agent.
    pub fn none() -> Self {
        Self(Scheme::None)
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self.0, Scheme::None)
    }

    /// Whether it was given as AWS credentials.
    pub(crate) fn is_sigv4(&self) -> bool {
        matches!(self.0, Scheme::Credentials(_) | Scheme::UncachedCredentials(_))
    }

    pub(crate) fn is_bearer(&self) -> bool {
        matches!(self.0, Scheme::Bearer(_) | Scheme::BearerProvider(_))
    }

    /// Checks what can be checked without IO.
    pub(crate) fn into_authorizer(
        self,
        region: Option<&str>,
        service: &'static str,
        env: &Environment,
        now: SystemTime,
    ) -> Result<Authorizer> {
        let source = match self.0 {
            Scheme::DefaultChain => {
                Source::SigV4(CachedCredentials::default_chain(region, env.clone()))
            }
            Scheme::Credentials(provider) => {
                Source::SigV4(CachedCredentials::from_provider(provider))
            }
            Scheme::UncachedCredentials(provider) => Source::UncachedSigV4(provider),
            Scheme::Bearer(token) => Source::Bearer(Token::parse(&token.0, now)?),
            Scheme::BearerProvider(provider) => Source::BearerProvider(provider),
            Scheme::None => Source::None,
        };
        if let (Source::SigV4(_) | Source::UncachedSigV4(_), None) = (&source, region) {
            return Err(Error::invalid(
                "region",
                "absent",
                "is needed to sign; give a runtime ARN or a region",
            ));
        }
        Ok(Authorizer { source, service, keys: KeyCache::default() })
    }
}

/// Checked auth: gives an [`Authorization`] for each attempt.
pub(crate) struct Authorizer {
    source: Source,
    /// The name under which requests are signed.
    service: &'static str,
    keys: KeyCache,
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorizer({:?})", self.kind())
    }
}

enum Source {
    SigV4(CachedCredentials),
    UncachedSigV4(SharedCredentialsProvider),
    Bearer(Token),
    BearerProvider(Arc<dyn ProvideToken>),
    None,
}

impl Authorizer {
    pub(crate) fn kind(&self) -> AuthKind {
        match self.source {
            Source::SigV4(_) | Source::UncachedSigV4(_) => AuthKind::SigV4,
            Source::Bearer(_) | Source::BearerProvider(_) => AuthKind::Bearer,
            Source::None => AuthKind::None,
        }
    }

    /// Whether asking again can give another token.
    pub(crate) fn is_token_provider(&self) -> bool {
        matches!(self.source, Source::BearerProvider(_))
    }

    /// What needs no look-up: nearly every call of a client but its first.
    pub(crate) fn at_hand(&self) -> Option<Result<Authorization>> {
        match &self.source {
            Source::SigV4(credentials) => {
                credentials.cached(SystemTime::now()).map(|found| Ok(Authorization::SigV4(found)))
            }
            Source::Bearer(token) => Some(fixed(token)),
            Source::UncachedSigV4(_) | Source::BearerProvider(_) => None,
            Source::None => Some(Ok(Authorization::None)),
        }
    }

    /// Looks up credentials or a token. The caller judges how long that may take.
    pub(crate) async fn look_up(&self) -> Result<Authorization> {
        match &self.source {
            Source::SigV4(credentials) => credentials.get().await.map(Authorization::SigV4),
            Source::UncachedSigV4(provider) => {
                let found = credentials::ask(provider).await?;
                Ok(Authorization::SigV4(Arc::new(found)))
            }
            Source::BearerProvider(provider) => {
                let token = provider.provide_token().await.map_err(|cause| {
                    bearer::unavailable("the bearer token provider failed").with_source(cause)
                })?;
                let token =
                    Token::parse(&token, SystemTime::now()).map_err(bearer::refused_of_provider)?;
                Ok(Authorization::Bearer(token.header().clone()))
            }
            Source::Bearer(token) => fixed(token),
            Source::None => Ok(Authorization::None),
        }
    }

    /// What can stand in for a look-up that took too long: credentials that are still good.
    pub(crate) fn stand_in(&self) -> Option<Authorization> {
        match &self.source {
            Source::SigV4(credentials) => {
                credentials.until_they_expire(SystemTime::now()).map(Authorization::SigV4)
            }
            _ => None,
        }
    }

    /// Lets go of credentials that the service has refused, where they are kept here at all.
    pub(crate) fn forget_credentials(&self) {
        if let Source::SigV4(credentials) = &self.source {
            credentials.forget();
        }
    }

    /// Puts the authorisation on a request.
    pub(crate) fn apply(
        &self,
        authorization: &Authorization,
        request: &mut Request<Bytes>,
        region: &str,
        now: SystemTime,
    ) -> Result<()> {
        match authorization {
            Authorization::SigV4(credentials) => sigv4::sign(
                request,
                credentials,
                SigningScope { region, service: self.service },
                now,
                &self.keys,
            ),
            Authorization::Bearer(token) => {
                request.headers_mut().insert(header::AUTHORIZATION, token.clone());
                Ok(())
            }
            Authorization::None => Ok(()),
        }
    }
}

/// A fixed token, which was good when the client was built; that may be hours ago.
fn fixed(token: &Token) -> Result<Authorization> {
    token.check(SystemTime::now())?;
    Ok(Authorization::Bearer(token.header().clone()))
}

/// What an attempt is authorised with.
#[derive(Clone)]
pub(crate) enum Authorization {
    SigV4(Arc<Credentials>),
    Bearer(HeaderValue),
    None,
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SigV4(_) => "SigV4",
            Self::Bearer(_) => "Bearer",
            Self::None => "None",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use aws_credential_types::provider::{error::CredentialsError, future};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Gives other credentials at every call.
    #[derive(Debug)]
    struct Rotating {
        calls: Arc<AtomicUsize>,
        gives: fn(usize) -> Result<Credentials, CredentialsError>,
    }

    impl ProvideCredentials for Rotating {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                let call = self.calls.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                (self.gives)(call)
            })
        }
    }

    fn uncached(
        gives: fn(usize) -> Result<Credentials, CredentialsError>,
    ) -> (Arc<AtomicUsize>, Authorizer) {
        let calls = Arc::new(AtomicUsize::new(0));
        let auth = Auth::sigv4_uncached(Rotating { calls: Arc::clone(&calls), gives });
        assert!(auth.is_sigv4() && !auth.is_bearer());
        let now = SystemTime::now();
        (
            calls,
            auth.into_authorizer(Some("us-east-1"), SIGNING_NAME, &Environment::empty(), now)
                .unwrap(),
        )
    }

    fn key(authorization: Result<Authorization>) -> String {
        match authorization {
            Ok(Authorization::SigV4(found)) => found.access_key_id().to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_uncached_provider_is_asked_every_time_and_by_everyone() {
        let (calls, authorizer) = uncached(|call| {
            let expiry = SystemTime::now() + Duration::from_secs(3600);
            Ok(Credentials::new(format!("AK{call}"), "SK", None, Some(expiry), "test"))
        });
        assert_eq!(authorizer.kind(), AuthKind::SigV4);
        assert!(!authorizer.is_token_provider());
        for expected in ["AK0", "AK1"] {
            assert!(authorizer.at_hand().is_none());
            assert_eq!(key(authorizer.look_up().await), expected);
        }
        assert!(authorizer.stand_in().is_none(), "nothing was kept");
        authorizer.forget_credentials();
        assert_eq!(key(authorizer.look_up().await), "AK2");
        let both = futures::future::join(authorizer.look_up(), authorizer.look_up()).await;
        assert_eq!((key(both.0), key(both.1)), ("AK3".into(), "AK4".into()));
        assert_eq!(calls.load(Ordering::SeqCst), 5);
    }

    #[tokio::test]
    async fn uncached_credentials_that_are_no_good_are_refused() {
        for (gives, says) in [
            (
                (|_| Ok(Credentials::new("AK", "", None, None, "test"))) as fn(usize) -> _,
                "empty access key or secret",
            ),
            (
                |_| {
                    let past = SystemTime::now() - Duration::from_secs(1);
                    Ok(Credentials::new("AK", "SK", None, Some(past), "test"))
                },
                "expired",
            ),
            (
                |_| Err(CredentialsError::provider_error("no more")),
                "the credentials provider failed",
            ),
        ] {
            let error = uncached(gives).1.look_up().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Credentials);
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn uncached_credentials_need_a_region() {
        let keys = Credentials::new("AK", "SK", None, None, "test");
        let auth = Auth::sigv4_uncached(keys);
        assert_eq!(format!("{auth:?}"), "Auth(UncachedCredentials([redacted]))");
        let error = auth
            .into_authorizer(None, SIGNING_NAME, &Environment::empty(), SystemTime::now())
            .unwrap_err();
        assert_eq!(error.field(), Some("region"));
    }
}
