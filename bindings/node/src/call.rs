//! A call that JavaScript waits for. The JavaScript thread polls it, so that
//! letting go of it closes its connection there and then.

use std::future::Future;
use std::sync::Arc;
use std::task::{Poll, Wake as _};

use agentcore_client::Result as CoreResult;
use agentcore_ffi::{
    Background, Call, Closed, Engine, Failure, NotAnswered, Outcome, Question as Asked, TokenWaker,
    Turn,
};
use napi::bindgen_prelude::{Either, Either5};
use napi_derive::napi;

use crate::client::Borrowed;
use crate::errors::FailureView;
use crate::queue::Shared;
use crate::response::Response;
use crate::stream::Stream;
use crate::values::CredentialsView;

/// A call that JavaScript waits for.
#[napi]
pub struct PendingCall {
    token: u32,
    waker: Arc<TokenWaker>,
    queue: Shared,
    background: &'static Background,
    state: Option<State>,
}

struct State {
    call: Call<Outcome>,
    live: Borrowed,
    /// What the first turn gave, for the first poll.
    first: Option<Turn<Outcome>>,
}

impl State {
    fn turn(
        &mut self,
        background: &Background,
        waker: &Arc<TokenWaker>,
        queue: &Shared,
    ) -> Poll<Turn<Outcome>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(first);
        }
        let turn = background.turn(waker, |cx| self.call.poll(cx));
        queue.flush_logs(self.call.scope());
        turn
    }
}

impl PendingCall {
    /// Begins a call: it has had its first turn when this returns, which spares JavaScript a poll
    /// that would find nothing. Whatever that turn gave wakes the token at once, unless it failed.
    pub(crate) fn start(
        queue: &Shared,
        token: u32,
        future: impl Future<Output = CoreResult<Outcome>> + Send + 'static,
        live: Borrowed,
    ) -> Either<Self, FailureView> {
        let background = match Engine::current().background() {
            Ok(background) => background,
            Err(failure) => return Either::B(failure.into()),
        };
        let waker = queue.waker(token);
        let mut state = State { call: Call::new(future), live, first: None };
        match state.turn(background, &waker, queue) {
            Poll::Pending => {}
            Poll::Ready(Turn::Done(Err(failure))) => {
                state.live.hang_up_if_closed();
                return Either::B(failure.into());
            }
            Poll::Ready(first) => {
                state.first = Some(first);
                waker.wake_by_ref();
            }
        }
        Either::A(Self { token, waker, queue: queue.clone(), background, state: Some(state) })
    }
}

#[napi]
impl PendingCall {
    /// `null` while it waits, a `Question` that must be answered, or what it has come to: a
    /// `Response`, a `Stream`, `true` for a stop, or a failure.
    #[napi]
    pub fn poll(&mut self) -> Option<Either5<Response, Stream, Question, bool, FailureView>> {
        let Some(state) = &mut self.state else {
            return Some(Either5::E(Failure::Closed(Closed::Call).into()));
        };
        let done = match state.turn(self.background, &self.waker, &self.queue) {
            Poll::Pending => return None,
            Poll::Ready(Turn::Ask(question)) => {
                return Some(Either5::C(Question { asked: Some(question) }));
            }
            Poll::Ready(Turn::Done(done)) => done,
        };
        state.live.hang_up_if_closed();
        let outcome = match done {
            Ok(Outcome::Response(response)) => Either5::A(Response::new(response)),
            Ok(Outcome::Stream(feed)) => {
                let feed = state.live.adopt(feed);
                let waker = Arc::clone(&self.waker);
                let queue = self.queue.clone();
                Either5::B(Stream::new(feed, self.token, waker, queue, self.background))
            }
            Ok(Outcome::Stopped) => Either5::D(true),
            Err(failure) => Either5::E(failure.into()),
        };
        self.state = None;
        Some(outcome)
    }

    /// Lets go of it: its connection is closed, unless it has come to its end.
    #[napi]
    pub fn abort(&mut self) {
        self.state = None;
    }
}

/// What a provider in JavaScript must answer. Its call is woken by the answer.
#[napi]
pub struct Question {
    asked: Option<Asked>,
}

#[napi]
impl Question {
    /// Whether a token is wanted, and not credentials.
    #[napi(getter)]
    pub fn wants_token(&self) -> bool {
        matches!(self.asked, Some(Asked::Token(_)))
    }

    // A call that is gone meanwhile needs no answer.

    #[napi]
    pub fn answer_token(&mut self, token: String) {
        if let Some(Asked::Token(asker)) = self.asked.take() {
            let _ = asker.send(Ok(token));
        }
    }

    #[napi]
    pub fn answer_credentials(&mut self, credentials: CredentialsView) {
        if let Some(Asked::Credentials(asker)) = self.asked.take() {
            let _ = asker.send(Ok(credentials.into()));
        }
    }

    /// There will be no answer. What the provider's error says may be secret and stays outside.
    #[napi]
    pub fn fail(&mut self) {
        if let Some(question) = self.asked.take() {
            question.fail(NotAnswered("the provider failed".into()));
        }
    }
}
