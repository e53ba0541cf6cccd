//! Credentials and tokens from providers in the foreign language. The provider
//! that the core sees only leaves a question and waits: user code never runs
//! inside a native future, so a slow one stalls nobody else's call.

use std::error::Error as StdError;
use std::fmt;

use agentcore_client::{Credentials, ProvideCredentials, ProvideToken};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use crate::scope::{self, Question};

/// Why a provider gave nothing. The foreign error itself stays in its language.
#[derive(Clone, Debug)]
pub struct NotAnswered(pub String);

impl fmt::Display for NotAnswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for NotAnswered {}

async fn answer<T>(
    question: impl FnOnce(oneshot::Sender<Result<T, NotAnswered>>) -> Question,
) -> Result<T, NotAnswered> {
    let (sender, receiver) = oneshot::channel();
    if scope::ask(question(sender)).is_err() {
        return Err(NotAnswered("a provider can only be asked from within a call".into()));
    }
    receiver.await.unwrap_or_else(|_| Err(NotAnswered("the provider gave no answer".into())))
}

/// Asks the foreign language for a bearer token, at every attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskForToken;

impl ProvideToken for AskForToken {
    fn provide_token(&self) -> BoxFuture<'_, Result<String, Box<dyn StdError + Send + Sync>>> {
        Box::pin(async { answer(Question::Token).await.map_err(Into::into) })
    }
}

/// Asks the foreign language for AWS credentials.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskForCredentials;

impl ProvideCredentials for AskForCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let answered: Result<Credentials, _> = answer(Question::Credentials).await;
            answered.map_err(CredentialsError::provider_error)
        })
    }
}
