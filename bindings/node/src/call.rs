//! Calls that JavaScript waits for, by the token that it gave them: an object for each would cost more
//! than all the rest of its way across. The JavaScript thread polls them, so that letting go of one closes
//! its connection there and then.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Wake as _};

use agentcore_client::{InvokeResponse, Result as CoreResult};
use agentcore_ffi::{
    Background, Call, Closed, Engine, Failure, NotAnswered, Outcome, Question as Asked, TokenWaker,
    Turn,
};
use napi::bindgen_prelude::{Either5, External};
use napi_derive::napi;

use crate::client::Opened;
use crate::errors::FailureView;
use crate::mail::{Letter, Mail};
use crate::queue::Shared;
use crate::response;
use crate::stream::Stream;
use crate::values::CredentialsView;

/// What a poll gives JavaScript.
pub(crate) type Polled = Either5<External<InvokeResponse>, Stream, Question, bool, FailureView>;

/// A thread's calls under way.
#[derive(Default)]
pub(crate) struct Calls {
    by_token: RefCell<HashMap<u32, Pending>>,
    background: OnceCell<&'static Background>,
}

struct Pending {
    call: Call<Outcome>,
    live: Rc<Opened>,
    waker: Arc<TokenWaker>,
    background: &'static Background,
    /// What a turn gave, for the next poll.
    given: Option<Box<Turn<Outcome>>>,
}

/// What JavaScript is told of a token.
pub(crate) enum News {
    /// It is nobody's here, but perhaps a stream's.
    Elsewhere,
    /// A poll gives something.
    Poll,
    /// The answer, which is over with this.
    Answer(Letter),
}

impl Pending {
    fn turn(&mut self, queue: &Shared) -> Poll<Turn<Outcome>> {
        if let Some(given) = self.given.take() {
            return Poll::Ready(*given);
        }
        let turn = self.background.turn(&self.waker, |cx| self.call.poll(cx));
        queue.flush_logs(self.call.scope());
        turn
    }
}

impl Calls {
    /// Node.js does not fork: what this process has is what it keeps.
    fn background(&self) -> Result<&'static Background, Failure> {
        if let Some(background) = self.background.get() {
            return Ok(background);
        }
        let background = Engine::current().background()?;
        Ok(self.background.get_or_init(|| background))
    }

    /// Begins a call: it has had its first turn when this returns, which spares JavaScript a poll
    /// that would find nothing. Whatever that turn gave wakes the token at once, unless it failed.
    pub(crate) fn start(
        &self,
        queue: &Shared,
        token: u32,
        future: impl Future<Output = CoreResult<Outcome>> + Send + 'static,
        live: &Rc<Opened>,
    ) -> Option<FailureView> {
        let background = match self.background() {
            Ok(background) => background,
            Err(failure) => return Some(failure.into()),
        };
        let (call, waker) = (Call::new(future), queue.waker(token));
        let live = Rc::clone(live);
        let mut pending = Pending { call, live, waker, background, given: None };
        match pending.turn(queue) {
            Poll::Pending => {}
            Poll::Ready(Turn::Done(Err(failure))) => {
                pending.live.hang_up_if_closed();
                return Some(failure.into());
            }
            Poll::Ready(given) => {
                pending.given = Some(Box::new(given));
                pending.waker.wake_by_ref();
            }
        }
        self.by_token.borrow_mut().insert(token, pending);
        None
    }

    /// Gives a call its turn; `None` while it waits. A small answer goes into `mail`, and that is all
    /// that there is to it: nothing is left for JavaScript to collect.
    pub(crate) fn turn(&self, queue: &Shared, token: u32, mail: &mut Mail<'_>) -> Option<News> {
        let mut calls = self.by_token.borrow_mut();
        let Some(pending) = calls.get_mut(&token) else { return Some(News::Elsewhere) };
        let Poll::Ready(given) = pending.turn(queue) else { return None };
        if let Turn::Done(Ok(Outcome::Response(response))) = &given
            && let Some(letter) = mail.post(response)
        {
            calls.remove(&token)?.live.hang_up_if_closed();
            return Some(News::Answer(letter));
        }
        pending.given = Some(Box::new(given));
        Some(News::Poll)
    }

    /// `None` while it waits.
    pub(crate) fn poll(&self, queue: &Shared, token: u32) -> Option<Polled> {
        let mut calls = self.by_token.borrow_mut();
        let Some(pending) = calls.get_mut(&token) else {
            return Some(Either5::E(Failure::Closed(Closed::Call).into()));
        };
        let done = match pending.turn(queue) {
            Poll::Pending => return None,
            Poll::Ready(Turn::Ask(question)) => {
                return Some(Either5::C(Question::new(question)));
            }
            Poll::Ready(Turn::Done(done)) => done,
        };
        let Pending { live, waker, background, .. } = calls.remove(&token)?;
        live.hang_up_if_closed();
        Some(match done {
            Ok(Outcome::Response(response)) => Either5::A(response::hold(response)),
            Ok(Outcome::Stream(feed)) => {
                let feed = live.adopt(feed);
                Either5::B(Stream::new(feed, token, waker, queue.clone(), background))
            }
            Ok(Outcome::Stopped) => Either5::D(true),
            Err(failure) => Either5::E(failure.into()),
        })
    }

    /// Lets go of it: its connection is closed, unless it has come to its end.
    pub(crate) fn abort(&self, token: u32) {
        let pending = self.by_token.borrow_mut().remove(&token);
        drop(pending);
    }
}

/// What a provider in JavaScript must answer. Its call is woken by the answer.
#[napi]
pub struct Question {
    asked: Option<Asked>,
}

impl Question {
    pub(crate) fn new(question: Asked) -> Self {
        Self { asked: Some(question) }
    }
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
