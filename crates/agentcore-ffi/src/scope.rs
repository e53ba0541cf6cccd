//! What a call asks of the foreign language while it is polled: credentials or
//! a token, and lines for the log. Nothing foreign runs inside a poll; it is
//! noted here and done by the caller, on the caller's thread, once the poll is over.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use agentcore_client::Credentials;
use tokio::sync::oneshot;

use crate::log::Line;
use crate::provider::NotAnswered;
use crate::relay::Hook;

/// What a provider in the foreign language must answer. Dropping it fails the call.
#[derive(Debug)]
pub enum Question {
    /// A bearer token is wanted.
    Token(oneshot::Sender<Result<String, NotAnswered>>),
    /// AWS credentials are wanted.
    Credentials(oneshot::Sender<Result<Credentials, NotAnswered>>),
    /// A hook of a relay's is to run.
    Hook(Box<Hook>),
}

impl Question {
    /// The provider failed, and this is how.
    pub fn fail(self, why: NotAnswered) {
        // A call that is gone needs no answer.
        match self {
            Self::Token(asker) => drop(asker.send(Err(why))),
            Self::Credentials(asker) => drop(asker.send(Err(why))),
            // Dropped, it fails.
            Self::Hook(_) => {}
        }
    }
}

/// Where one call or stream leaves its questions and its lines for the log.
#[derive(Clone, Debug, Default)]
pub struct Scope(Arc<Notes>);

#[derive(Debug, Default)]
struct Notes {
    /// More than one where a call does things side by side, as a relay does.
    questions: Mutex<VecDeque<Question>>,
    lines: Mutex<Vec<Line>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

impl Scope {
    /// Runs `poll` so that what it asks and logs is left here.
    pub fn run<T>(&self, poll: impl FnOnce() -> T) -> T {
        /// Puts the outer scope back, also when `poll` panics.
        struct Restore(Option<Scope>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let outer = self.0.take();
                CURRENT.with(|current| *current.borrow_mut() = outer);
            }
        }
        let outer = CURRENT.with(|current| current.borrow_mut().replace(self.clone()));
        let _restore = Restore(outer);
        poll()
    }

    /// What the call wants answered before it can go on.
    pub fn take_question(&self) -> Option<Question> {
        self.0.questions.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Whether anything was logged since the lines were last taken.
    pub fn has_lines(&self) -> bool {
        !self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// What was logged since it was last asked.
    pub fn take_lines(&self) -> Vec<Line> {
        std::mem::take(&mut *self.0.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Leaves a question with the call that is being polled; gives it back if there is none.
pub(crate) fn ask(question: Question) -> Result<(), Question> {
    let current = CURRENT.with(|current| current.borrow().clone());
    match current {
        Some(scope) => {
            scope.0.questions.lock().unwrap_or_else(PoisonError::into_inner).push_back(question);
            Ok(())
        }
        None => Err(question),
    }
}

/// Leaves a line with the call that is being polled; a line that nobody waits for is dropped.
pub(crate) fn log(line: impl FnOnce() -> Line) {
    let current = CURRENT.with(|current| current.borrow().clone());
    if let Some(scope) = current {
        scope.0.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line());
    }
}
