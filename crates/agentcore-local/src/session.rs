//! Session states as the service has them: absent, provisioning, active, stopped (absent again).
//! A stop ends what runs in the session and forgets its memory; the id stays usable.

use crate::error::ServiceError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What an agent remembers within one session; gone when the session stops.
#[derive(Clone, Debug, Default)]
pub struct SessionMemory(Arc<Mutex<Vec<String>>>);

impl SessionMemory {
    /// Everything remembered so far.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers one more thing.
    pub fn remember(&self, text: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text.into());
    }
}

/// A running session.
pub(crate) struct Live {
    ready_at: Instant,
    stopped: watch::Sender<bool>,
    pub(crate) memory: SessionMemory,
}

impl Live {
    /// Turns true when the session is stopped.
    pub(crate) fn stopped(&self) -> watch::Receiver<bool> {
        self.stopped.subscribe()
    }
}

/// Admission to a session.
pub(crate) struct Entered {
    pub(crate) live: Arc<Live>,
    /// This call provisions the session and has to wait so long.
    pub(crate) provisioning: Option<Duration>,
}

/// All sessions of one runtime.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Arc<Live>>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Live>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters the session, making it when it is absent.
    pub(crate) fn enter(&self, id: &str, provisioning: Duration) -> Result<Entered, ServiceError> {
        let mut all = self.lock();
        let now = Instant::now();
        if let Some(live) = all.get(id) {
            if now < live.ready_at {
                return Err(ServiceError::session_busy());
            }
            return Ok(Entered { live: Arc::clone(live), provisioning: None });
        }
        let live = Arc::new(Live {
            ready_at: now + provisioning,
            stopped: watch::Sender::new(false),
            memory: SessionMemory::default(),
        });
        all.insert(id.to_owned(), Arc::clone(&live));
        Ok(Entered { live, provisioning: Some(provisioning) })
    }

    /// Stops the session and everything that runs in it.
    pub(crate) fn stop(&self, id: &str) -> Result<(), ServiceError> {
        let mut all = self.lock();
        match all.get(id) {
            None => Err(ServiceError::new(
                404,
                "ResourceNotFoundException",
                format!("No running session found with id '{id}'"),
            )),
            Some(live) if Instant::now() < live.ready_at => Err(ServiceError::session_busy()),
            Some(_) => {
                if let Some(live) = all.remove(id) {
                    live.stopped.send_replace(true);
                }
                Ok(())
            }
        }
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.lock().keys().cloned().collect();
        ids.sort();
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        let sessions = Sessions::default();
        assert_eq!(sessions.stop("a").expect_err("absent").status, 404);
        let wait = Duration::from_millis(30);
        assert_eq!(sessions.enter("a", wait).expect("absent").provisioning, Some(wait));
        assert_eq!(sessions.enter("a", wait).err().map(|e| e.status), Some(409));
        assert_eq!(sessions.stop("a").expect_err("provisioning").status, 409);
        std::thread::sleep(wait);
        let entered = sessions.enter("a", wait).expect("active");
        assert!(entered.provisioning.is_none());
        let stopped = entered.live.stopped();
        entered.live.memory.remember("x");
        assert!(!*stopped.borrow());
        sessions.stop("a").expect("active");
        assert!(*stopped.borrow());
        let again = sessions.enter("a", Duration::ZERO).expect("absent");
        assert!(again.provisioning.is_some() && again.live.memory.all().is_empty());
    }
}
