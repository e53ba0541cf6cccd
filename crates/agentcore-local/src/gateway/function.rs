//! The function: runs go to idle workers or new ones, at most so many at the same time. Asynchronous
//! events are repeated as Lambda repeats them, and on demand delivered twice.

use super::worker::{Outcome, Worker};
use crate::config::Shared;
use crate::encoding::uuid;
use crate::journal::JournalEvent;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

/// So many asynchronous events can be delivered again; older ones are forgotten.
const KEPT_EVENTS: usize = 1_000;

/// One run that is wanted.
pub(super) struct Run {
    pub(super) request_id: String,
    /// Who wants it, for the journal: a route, `event` or `request_response`.
    pub(super) trigger: String,
    /// The socket it is about; 0 for none.
    pub(super) connection: u64,
    pub(super) payload: Bytes,
}

impl Run {
    pub(super) fn new(trigger: &str, connection: u64, payload: Bytes) -> Self {
        Self { request_id: uuid(), trigger: trigger.to_owned(), connection, payload }
    }
}

pub(super) struct Function {
    runtime: OnceLock<Handle>,
    permits: Semaphore,
    idle: Mutex<Vec<Worker>>,
    /// Everything that runs for the function, so that it ends with the data plane.
    tasks: Mutex<JoinSet<()>>,
    events: Mutex<VecDeque<(String, Bytes)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Function {
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            runtime: OnceLock::new(),
            permits: Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS)),
            idle: Mutex::default(),
            tasks: Mutex::default(),
            events: Mutex::default(),
        }
    }

    /// The run-time that everything runs on, whoever asks for it.
    pub(super) fn begin(&self, runtime: Handle) {
        let _ = self.runtime.set(runtime);
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Some(runtime) = self.runtime.get() else { return };
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, runtime);
    }

    /// Starts a run. It goes on whether anybody waits for its outcome or not.
    pub(super) fn start(&self, shared: &Arc<Shared>, run: Run) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        let shared = Arc::clone(shared);
        self.spawn(async move {
            let _ = done.send(perform(&shared, &run).await);
        });
        outcome
    }

    /// Accepts an asynchronous event.
    pub(super) fn queue(&self, shared: &Arc<Shared>, request_id: &str, payload: Bytes) {
        {
            let mut events = lock(&self.events);
            if events.len() >= KEPT_EVENTS {
                events.pop_front();
            }
            events.push_back((request_id.to_owned(), payload.clone()));
        }
        self.deliver(shared, request_id.to_owned(), payload, Duration::ZERO);
    }

    pub(super) fn redeliver(
        &self,
        shared: &Arc<Shared>,
        request_id: Option<&str>,
        after: Duration,
    ) -> bool {
        let found = {
            let events = lock(&self.events);
            match request_id {
                None => events.back().cloned(),
                Some(wanted) => events.iter().rev().find(|(id, _)| id == wanted).cloned(),
            }
        };
        let Some((id, payload)) = found else { return false };
        self.deliver(shared, id, payload, after);
        true
    }

    fn deliver(&self, shared: &Arc<Shared>, request_id: String, payload: Bytes, after: Duration) {
        let shared = Arc::clone(shared);
        self.spawn(async move {
            tokio::time::sleep(after).await;
            let Some(gateway) = &shared.gateway else { return };
            let run = Run { request_id, ..Run::new("event", 0, payload) };
            for attempt in 0..=gateway.config.max_retry_attempts {
                // 1 and 2 minutes in Lambda.
                tokio::time::sleep(gateway.config.retry_delay * attempt).await;
                if perform(&shared, &run).await.is_ok() {
                    return;
                }
            }
        });
    }

    fn take_idle(&self) -> Option<Worker> {
        let mut idle = lock(&self.idle);
        // A process that ended while it was idle isn't given work.
        std::iter::from_fn(|| idle.pop()).find_map(|mut worker| worker.lives().then_some(worker))
    }

    pub(super) fn close(&self) {
        self.permits.close();
        lock(&self.tasks).abort_all();
        lock(&self.idle).clear();
    }
}

async fn perform(shared: &Arc<Shared>, run: &Run) -> Outcome {
    let note = |event| shared.journal.add(run.connection, 0, event);
    let Some(gateway) = &shared.gateway else { return Outcome::crash("There is no function") };
    let Ok(_permit) = gateway.function.permits.acquire().await else {
        return Outcome::crash("The data plane has ended");
    };
    note(JournalEvent::FunctionStarted {
        request_id: run.request_id.clone(),
        trigger: run.trigger.clone(),
    });
    let begun = Instant::now();
    let worker = match gateway.function.take_idle() {
        Some(worker) => Ok(worker),
        None => Worker::start(&gateway.config.command, gateway.environment(shared)).await,
    };
    let outcome = match worker {
        Err(error) => Outcome::crash(&format!("The function cannot be started: {error}")),
        Ok(mut worker) => {
            let timeout = gateway.config.function_timeout;
            let outcome = worker.run(run, &gateway.function_arn, timeout).await;
            if outcome.keeps_worker() {
                lock(&gateway.function.idle).push(worker);
            }
            outcome
        }
    };
    note(JournalEvent::FunctionEnded {
        request_id: run.request_id.clone(),
        outcome: outcome.name().to_owned(),
        ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    outcome
}
