//! How the JavaScript thread learns that something can be polled again: a
//! function of its own is called, with nothing, once for each time the queue
//! stops being empty. No promise and no future lives on a foreign thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake as _;

use agentcore_ffi::{ReadyQueue as Queue, Scope, Signal, TokenWaker};
use napi::bindgen_prelude::{Env, Function, Result};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;

/// Weak: an open stream that nobody reads must not keep the process alive.
type WakeJs = ThreadsafeFunction<(), (), (), napi::Status, false, true>;

struct Bell(Arc<Mutex<WakeJs>>);

impl Signal for Bell {
    fn raise(&self) {
        // It refuses when this thread's JavaScript has ended: then nobody waits any more.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .call((), ThreadsafeFunctionCallMode::NonBlocking);
    }
}

/// The token of the log, which TypeScript gives no call.
const LOG: u32 = 0;

/// Tokens of what this JavaScript thread can poll again, and its log lines.
#[napi]
pub struct ReadyQueue {
    shared: Shared,
    bell: Arc<Mutex<WakeJs>>,
}

/// What calls and streams keep of their queue.
#[derive(Clone)]
pub(crate) struct Shared {
    queue: Arc<Queue>,
    log: Arc<Mutex<Vec<String>>>,
    log_waker: Arc<TokenWaker>,
}

#[napi]
impl ReadyQueue {
    /// `wake` is called when `drain` has something to give.
    #[napi(constructor)]
    pub fn new(wake: Function<'_, (), ()>) -> Result<Self> {
        let wake = wake.build_threadsafe_function::<()>().weak::<true>().build()?;
        let bell = Arc::new(Mutex::new(wake));
        let queue = Queue::new(Box::new(Bell(Arc::clone(&bell))));
        let shared = Shared {
            log_waker: TokenWaker::new(Arc::clone(&queue), u64::from(LOG)),
            queue,
            log: Arc::default(),
        };
        Ok(Self { shared, bell })
    }

    /// All tokens that have become ready; 0 stands for the log.
    #[napi]
    pub fn drain(&self) -> Vec<u32> {
        // Tokens are made in TypeScript, of this size.
        self.shared.queue.drain().into_iter().map(|token| token as u32).collect()
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
        let mut bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner);
        // Called deprecated in favour of clones, which cannot be undone while a waker holds one.
        #[allow(deprecated)]
        bell.refer(&env)
    }

    /// Nothing waits any more: the process may end.
    #[napi]
    pub fn release(&self, env: Env) -> Result<()> {
        let mut bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner);
        #[allow(deprecated)]
        bell.unref(&env)
    }
}

impl ReadyQueue {
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
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
