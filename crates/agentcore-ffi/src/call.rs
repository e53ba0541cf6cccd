//! One call under way, polled by whoever waits for it. Dropping it closes its
//! connection, unless it has ended.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use agentcore_client::Result;

use crate::failure::{Closed, Failure};
use crate::scope::{Question, Scope};

type Pinned<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// One call under way.
pub struct Call<T> {
    future: Option<Pinned<T>>,
    scope: Scope,
}

/// What came of a turn.
#[derive(Debug)]
pub enum Turn<T> {
    /// It is over.
    Done(std::result::Result<T, Failure>),
    /// It needs this answered; ask, then poll again.
    Ask(Question),
}

impl<T> Call<T> {
    /// A call that begins at its first poll.
    pub fn new(future: impl Future<Output = Result<T>> + Send + 'static) -> Self {
        Self { future: Some(Box::pin(future)), scope: Scope::default() }
    }

    /// Where it leaves its questions and log lines.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Gives it a turn. A panic inside becomes a [`Failure`].
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn<T>> {
        let Some(future) = &mut self.future else {
            return Poll::Ready(Turn::Done(Err(Failure::Closed(Closed::Call))));
        };
        let polled = self.scope.run(|| catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))));
        let done = match polled {
            Ok(Poll::Pending) => {
                return match self.scope.take_question() {
                    Some(question) => Poll::Ready(Turn::Ask(question)),
                    None => Poll::Pending,
                };
            }
            Ok(Poll::Ready(result)) => result.map_err(Failure::from),
            Err(panic) => Err(Failure::panicked(panic.as_ref())),
        };
        self.future = None;
        Poll::Ready(Turn::Done(done))
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("over", &self.future.is_none()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::AskForToken;
    use agentcore_client::{Auth, Client, Environment, ErrorKind};
    use std::task::Waker;

    #[test]
    fn a_panic_becomes_a_failure_and_the_call_is_over() {
        let mut call = Call::<()>::new(async { panic!("boom {}", 1) });
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Turn::Done(Err(failure))) = call.poll(&mut cx) else { panic!("not done") };
        assert_eq!(failure.kind(), ErrorKind::Internal);
        assert!(failure.to_string().ends_with("boom 1"), "{failure}");
        assert!(matches!(call.poll(&mut cx), Poll::Ready(Turn::Done(Err(_)))));
    }

    #[tokio::test]
    async fn a_provider_is_asked_between_two_turns() {
        let client = Client::builder(
            "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/a-0123456789",
        )
        .environment(Environment::empty())
        .endpoint_url("http://127.0.0.1:9")
        .auth(Auth::bearer_provider(AskForToken))
        .build()
        .unwrap();
        let mut call = Call::new(client.invoke("hi").send());
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Turn::Ask(Question::Token(asker))) = call.poll(&mut cx) else {
            panic!("it asks for a token")
        };
        assert!(matches!(call.poll(&mut cx), Poll::Pending));
        asker.send(Err(crate::NotAnswered("no token today".into()))).unwrap();
        let Poll::Ready(Turn::Done(Err(failure))) = call.poll(&mut cx) else { panic!("not done") };
        assert_eq!(failure.kind(), ErrorKind::Credentials);
    }
}
