//! How the JavaScript thread learns that something can be polled again: a
//! function of its own is called, with nothing. In Node.js by the event loop,
//! which watches the sockets itself; elsewhere from the background, once for each
//! time the queue stops being empty. No promise and no future lives on a foreign
//! thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake as _;

use agentcore_client::{InvokeResponse, Result as CoreResult};
use agentcore_ffi::{Outcome, ReadyQueue as Queue, Scope, Signal, TokenWaker};
use napi::bindgen_prelude::{Either5, Env, External, Function, Result};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;

use crate::call::{Calls, News, Question};
use crate::client::Opened;
use crate::errors::FailureView;
use crate::mail::Mail;
use crate::stream::Stream;
#[cfg(unix)]
use crate::uv::Watch;

/// Weak: an open stream that nobody reads must not keep the process alive.
type WakeJs = ThreadsafeFunction<(), (), (), napi::Status, false, true>;

#[derive(Clone)]
struct Bell(Arc<Mutex<WakeJs>>);

impl Signal for Bell {
    fn raise(&self) {
        // It refuses when this thread's JavaScript has ended: then nobody waits any more.
        self.lock().call((), ThreadsafeFunctionCallMode::NonBlocking);
    }
}

impl Bell {
    fn lock(&self) -> std::sync::MutexGuard<'_, WakeJs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who calls JavaScript.
enum Caller {
    #[cfg(unix)]
    EventLoop(Watch),
    Background(Bell),
}

/// The token of the log, which TypeScript gives no call.
const LOG: u32 = 0;

/// Tokens of what this JavaScript thread can poll again, and its log lines.
#[napi]
pub struct ReadyQueue {
    shared: Shared,
    caller: Caller,
    /// Taken from the queue, and not told yet.
    drained: Drained,
}

type Drained = Rc<RefCell<VecDeque<u64>>>;

/// Words for each token that JavaScript is told: the token; what of it, or the answer's status; the
/// lengths of the answer's head, body and text. One word before them all says how much mail there is.
const WORDS: usize = 5;
/// In the place of a status: a stream, or what else waits outside of the queue.
const ELSEWHERE: u32 = 0;
/// A poll gives something.
const POLL: u32 = 1;

/// What calls and streams keep of their queue.
#[derive(Clone)]
pub(crate) struct Shared {
    queue: Arc<Queue>,
    log: Arc<Mutex<Vec<String>>>,
    log_waker: Arc<TokenWaker>,
    calls: Rc<Calls>,
}

#[napi]
impl ReadyQueue {
    /// `wake` is called when `drain` has something to give; by libuv, if that is there and wanted.
    #[napi(constructor)]
    pub fn new(env: Env, wake: Function<'_, (), ()>, by_libuv: bool) -> Result<Self> {
        let drained = Drained::default();
        #[cfg(unix)]
        if by_libuv && let Some((queue, watch)) = watched(env, &wake, &drained) {
            let shared = Shared::new(queue);
            return Ok(Self { shared, caller: Caller::EventLoop(watch), drained });
        }
        let _ = (env, by_libuv);
        let wake = wake.build_threadsafe_function::<()>().weak::<true>().build()?;
        let bell = Bell(Arc::new(Mutex::new(wake)));
        let shared = Shared::new(Queue::new(Box::new(bell.clone())));
        Ok(Self { shared, caller: Caller::Background(bell), drained })
    }

    /// Gives the calls that have become ready their turns and writes what came of it: as many
    /// entries of `words` as it says, and small answers one behind the other into `mail`. If there
    /// is no room for more entries, there may be more to tell. The token 0 stands for the log.
    #[napi]
    pub fn drain(&self, words: Option<&mut [u32]>, mail: Option<&mut [u8]>) -> u32 {
        // TypeScript always gives both; the macro wants them to be optional.
        let Some((length, words)) = words.and_then(<[u32]>::split_first_mut) else { return 0 };
        if self.drained.borrow().is_empty() {
            self.drained.borrow_mut().extend(self.shared.queue.drain());
        }
        let mut mail = Mail::new(mail.unwrap_or_default());
        let mut told = 0;
        for words in words.chunks_exact_mut(WORDS) {
            let Some((token, news)) = self.next(&mut mail) else { break };
            let [head, body, text] = match news {
                News::Elsewhere => {
                    words[1] = ELSEWHERE;
                    [0; 3]
                }
                News::Poll => {
                    words[1] = POLL;
                    [0; 3]
                }
                News::Answer(letter) => {
                    words[1] = letter.status.into();
                    letter.lengths
                }
            };
            words[0] = token;
            words[2..].copy_from_slice(&[head, body, text]);
            told += 1;
        }
        *length = mail.length();
        told
    }

    /// The next token with something to tell.
    fn next(&self, mail: &mut Mail<'_>) -> Option<(u32, News)> {
        loop {
            // Tokens are made in TypeScript, of this size.
            let token = self.drained.borrow_mut().pop_front()? as u32;
            if let Some(news) = self.shared.calls.turn(&self.shared, token, mail) {
                return Some((token, news));
            }
        }
    }

    /// `null` while a call waits, a `Question` that must be answered, or what it has come to: a
    /// response, a `Stream`, `true` for a stop, or a failure.
    #[napi]
    pub fn poll(
        &self,
        token: u32,
    ) -> Option<Either5<External<InvokeResponse>, Stream, Question, bool, FailureView>> {
        self.shared.calls.poll(&self.shared, token)
    }

    /// Lets go of a call: its connection is closed, unless it has come to its end.
    #[napi]
    pub fn abort(&self, token: u32) {
        self.shared.calls.abort(token);
    }

    /// Lines for the log: level and message in turn.
    #[napi]
    pub fn take_lines(&self) -> Vec<String> {
        self.shared.log_waker.arm();
        std::mem::take(&mut *self.shared.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something waits: the process must go on.
    #[napi]
    pub fn hold(&self, env: Env) -> Result<()> {
        match &self.caller {
            #[cfg(unix)]
            Caller::EventLoop(watch) => {
                watch.hold();
                Ok(())
            }
            // Called deprecated in favour of clones, which cannot be undone while a waker holds one.
            #[allow(deprecated)]
            Caller::Background(bell) => bell.lock().refer(&env),
        }
    }

    /// Nothing waits any more: the process may end.
    #[napi]
    pub fn release(&self, env: Env) -> Result<()> {
        match &self.caller {
            #[cfg(unix)]
            Caller::EventLoop(watch) => {
                watch.release();
                Ok(())
            }
            #[allow(deprecated)]
            Caller::Background(bell) => bell.lock().unref(&env),
        }
    }
}

/// A queue whose descriptor the event loop watches; `None` where that can't be.
#[cfg(unix)]
fn watched(
    env: Env,
    wake: &Function<'_, (), ()>,
    drained: &Drained,
) -> Option<(Arc<Queue>, Watch)> {
    let queue = Queue::with_poller().ok()?;
    let (source, drained) = (Arc::clone(&queue), Rc::clone(drained));
    // An idle connection that the other side closes is no reason to run JavaScript.
    let is_worth_it = move || {
        drained.borrow_mut().extend(source.drain());
        !drained.borrow().is_empty()
    };
    let watch = Watch::new(env, queue.fd()?, wake, is_worth_it)?;
    Some((queue, watch))
}

impl ReadyQueue {
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    fn new(queue: Arc<Queue>) -> Self {
        let log_waker = TokenWaker::new(Arc::clone(&queue), u64::from(LOG));
        Self { queue, log: Arc::default(), log_waker, calls: Rc::default() }
    }

    /// Begins a call; why there is none, if it failed at once.
    pub(crate) fn start(
        &self,
        token: u32,
        future: impl Future<Output = CoreResult<Outcome>> + Send + 'static,
        live: &Rc<Opened>,
    ) -> Option<FailureView> {
        self.calls.start(self, token, future, live)
    }

    /// A waker of this token.
    pub(crate) fn waker(&self, token: u32) -> Arc<TokenWaker> {
        TokenWaker::new(Arc::clone(&self.queue), u64::from(token))
    }

    /// Leaves what a call or a stream logged for TypeScript to publish.
    pub(crate) fn flush_logs(&self, scope: &Scope) {
        let lines = scope.take_lines();
        if lines.is_empty() {
            return;
        }
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend(lines.into_iter().flat_map(|line| [line.level.to_string(), line.message]));
        drop(log);
        Arc::clone(&self.log_waker).wake();
    }
}
