//! The client behind both public ones: options in, calls out. A forked child
//! builds its own from the same options, since its parent's sockets are not its to touch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentcore_client::{Auth, Client as CoreClient, ClientBuilder, Invoke};
use agentcore_ffi::{
    AskForCredentials, AskForToken, Call, Closed, Engine, Failure, Feed, Group, Outcome, Owned,
    Scope,
};
use pyo3::PyTraverseError;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

use crate::borrowed::Borrowed;
use crate::call::PendingCall;
use crate::errors::{flush_logs, raise, raise_core};
use crate::ids;
use crate::provider::Provider;
use crate::queue::ReadyQueue;
use crate::response::Response;
use crate::stream::Stream;
use crate::values::{self, Defaults, Options, SiblingOptions};
use crate::wait::drive;

const CLOSED: Failure = Failure::Closed(Closed::Client);

enum Recipe {
    Root(Box<ClientBuilder>),
    Sibling(Py<Client>, Box<SiblingOptions>),
}

/// What belongs to one process.
struct Live {
    client: CoreClient,
    group: Arc<Group>,
}

/// A client, sync and asyncio alike.
#[pyclass(frozen, module = "agentcore_client._native")]
pub(crate) struct Client {
    recipe: Recipe,
    defaults: Defaults,
    provider: Option<Provider>,
    closed: Arc<AtomicBool>,
    /// Locked with the interpreter held and for moments only, so that no fork happens meanwhile.
    live: Mutex<Option<Owned<Live>>>,
}

#[pymethods]
impl Client {
    /// `auth` is `None` for the environment's, `("bearer", token)`, `("bearer_provider", provider)`,
    /// `("credentials", (…))`, `("credentials_provider", provider)` for one that is asked at every
    /// attempt, or `("cached_credentials_provider", provider)`.
    #[new]
    #[pyo3(signature = (runtime_arn, auth, options))]
    fn new(
        py: Python<'_>,
        runtime_arn: Option<&Bound<'_, PyAny>>,
        auth: Option<(String, Bound<'_, PyAny>)>,
        options: &Options<'_>,
    ) -> PyResult<Self> {
        let builder = match runtime_arn {
            Some(arn) => CoreClient::builder(values::text("runtime_arn", arn)?),
            None => CoreClient::builder_from_env(),
        };
        let mut builder = values::configure(builder, options)?;
        let mut provider = None;
        if let Some((kind, given)) = auth {
            let mut ask = || provider = Some(Provider(given.clone().unbind()));
            builder = builder.auth(match kind.as_str() {
                "bearer" => Auth::bearer(values::text("bearer_token", &given)?),
                "bearer_provider" => {
                    ask();
                    Auth::bearer_provider(AskForToken)
                }
                "credentials" => Auth::sigv4(values::credentials(&given)?),
                "credentials_provider" => {
                    ask();
                    Auth::sigv4_uncached(AskForCredentials)
                }
                "cached_credentials_provider" => {
                    ask();
                    Auth::sigv4(AskForCredentials)
                }
                _ => return Err(PyTypeError::new_err("unknown kind of auth")),
            });
        }
        let client = Self {
            recipe: Recipe::Root(Box::new(builder)),
            defaults: Defaults::new(options)?,
            provider,
            closed: Arc::default(),
            live: Mutex::default(),
        };
        client.live(py, Engine::current())?;
        Ok(client)
    }

    /// A client with other options on the same connections and credentials.
    fn sibling(slf: Bound<'_, Self>, options: &Options<'_>) -> PyResult<Self> {
        let parent = slf.get();
        let options = SiblingOptions::new(options, &parent.defaults)?;
        let sibling = Self {
            defaults: parent.defaults.for_sibling(&options),
            // A reference of its own: the garbage collector is shown one by each of them.
            provider: parent.provider.as_ref().map(|asked| asked.clone_ref(slf.py())),
            closed: Arc::clone(&parent.closed),
            live: Mutex::default(),
            recipe: Recipe::Sibling(slf.clone().unbind(), Box::new(options)),
        };
        sibling.live(slf.py(), Engine::current())?;
        Ok(sibling)
    }

    #[getter]
    fn runtime_arn(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let client = self.core(py)?;
        Ok(client.runtime_arn().map(|arn| arn.as_str().to_owned()))
    }

    #[getter]
    fn qualifier(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let client = self.core(py)?;
        Ok(client.qualifier().map(str::to_owned))
    }

    #[getter]
    fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes open streams and idle connections, at once.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Live { client, group }) = live.as_ref().and_then(Owned::get) {
            group.close();
            client.close_idle_connections();
        }
    }

    fn invoke(
        &self,
        py: Python<'_>,
        payload: &Bound<'_, PyAny>,
        session: Option<&Bound<'_, PyAny>>,
        options: &Options<'_>,
    ) -> PyResult<Response> {
        let engine = Engine::current();
        let (invoke, live, _) = self.invocation(py, engine, payload, session, options)?;
        let lease = lease(py, engine)?;
        let call = Call::new(invoke.send());
        let answer = drive(py, lease.lane(), call, self.asked(&live));
        live.hang_up_if_closed();
        answer.map(Response::new)
    }

    fn stream(
        &self,
        py: Python<'_>,
        payload: &Bound<'_, PyAny>,
        session: Option<&Bound<'_, PyAny>>,
        options: &Options<'_>,
    ) -> PyResult<Stream> {
        let engine = Engine::current();
        let (invoke, live, _) = self.invocation(py, engine, payload, session, options)?;
        let lease = lease(py, engine)?;
        let call = Call::new(async { invoke.stream().await.map(Feed::new) });
        let feed = drive(py, lease.lane(), call, self.asked(&live));
        live.hang_up_if_closed();
        Ok(Stream::new(live.adopt(feed?), Some(lease)))
    }

    fn stop_session(
        &self,
        py: Python<'_>,
        session: &Bound<'_, PyAny>,
        options: &Options<'_>,
    ) -> PyResult<()> {
        let engine = Engine::current();
        let (stop, live) = self.stop(py, engine, session, options)?;
        let lease = lease(py, engine)?;
        let stopped = drive(py, lease.lane(), Call::new(stop.send()), self.asked(&live));
        live.hang_up_if_closed();
        stopped
    }

    fn start_invoke(
        &self,
        py: Python<'_>,
        queue: &ReadyQueue,
        payload: &Bound<'_, PyAny>,
        session: Option<&Bound<'_, PyAny>>,
        options: &Options<'_>,
    ) -> PyResult<PendingCall> {
        let engine = Engine::current();
        let (invoke, live, size) = self.invocation(py, engine, payload, session, options)?;
        PendingCall::start(py, engine, queue, Outcome::whole(invoke), live, size)
    }

    fn start_stream(
        &self,
        py: Python<'_>,
        queue: &ReadyQueue,
        payload: &Bound<'_, PyAny>,
        session: Option<&Bound<'_, PyAny>>,
        options: &Options<'_>,
    ) -> PyResult<PendingCall> {
        let engine = Engine::current();
        let (invoke, live, size) = self.invocation(py, engine, payload, session, options)?;
        PendingCall::start(py, engine, queue, Outcome::streamed(invoke), live, size)
    }

    fn start_stop_session(
        &self,
        py: Python<'_>,
        queue: &ReadyQueue,
        session: &Bound<'_, PyAny>,
        options: &Options<'_>,
    ) -> PyResult<PendingCall> {
        let engine = Engine::current();
        let (stop, live) = self.stop(py, engine, session, options)?;
        PendingCall::start(py, engine, queue, Outcome::stopped(stop), live, 0)
    }

    /// Panics within a call, as a bug would. For the tests.
    fn _panic(&self, py: Python<'_>) -> PyResult<()> {
        #[allow(clippy::panic)] // This is what it is for.
        let call = Call::new(async { panic!("a bug of our own making") });
        drive(py, lease(py, Engine::current())?.lane(), call, None)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(provider) = &self.provider {
            visit.call(&provider.0)?;
        }
        match &self.recipe {
            Recipe::Sibling(parent, _) => visit.call(parent),
            Recipe::Root(_) => Ok(()),
        }
    }
}

impl Client {
    fn live(&self, py: Python<'_>, engine: &Engine) -> PyResult<(CoreClient, Arc<Group>)> {
        if self.closed() {
            return Err(raise(py, &CLOSED));
        }
        if let Some(live) = self.known(engine) {
            return Ok(live);
        }
        // Without the lock: what is raised or logged runs Python's code, which may wait for others.
        let scope = Scope::default();
        let built = match &self.recipe {
            Recipe::Root(builder) => {
                let built = scope.run(|| builder.as_ref().clone().build());
                built.map(|client| (client, Arc::default())).map_err(|e| raise_core(py, e))
            }
            Recipe::Sibling(parent, options) => {
                let (client, group) = parent.get().live(py, engine)?;
                let sibling = options.apply(client.with_options()).build();
                sibling.map(|client| (client, group)).map_err(|e| raise_core(py, e))
            }
        };
        flush_logs(py, &scope);
        let (client, group): (CoreClient, Arc<Group>) = built?;
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been quicker.
        if live.as_ref().and_then(|live| live.get_in(engine)).is_none() {
            // What a parent process left here is leaked by being replaced.
            *live = Some(Owned::new(engine, Live { client, group }));
        }
        drop(live);
        self.known(engine).ok_or_else(|| raise(py, &CLOSED))
    }

    fn known(&self, engine: &Engine) -> Option<(CoreClient, Arc<Group>)> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let Live { client, group } = live.as_ref()?.get_in(engine)?;
        Some((client.clone(), Arc::clone(group)))
    }

    /// The client of this process.
    pub(crate) fn core(&self, py: Python<'_>) -> PyResult<CoreClient> {
        self.live(py, Engine::current()).map(|(client, _)| client)
    }

    /// Who is asked for credentials, and how long that may take.
    pub(crate) fn provider(&self, py: Python<'_>) -> PyResult<Option<(&Provider, Duration)>> {
        self.borrow(py, Engine::current()).map(|live| self.asked(&live))
    }

    fn asked(&self, live: &Borrowed) -> Option<(&Provider, Duration)> {
        self.provider.as_ref().map(|provider| (provider, live.auth))
    }

    fn borrow(&self, py: Python<'_>, engine: &Engine) -> PyResult<Borrowed> {
        let (client, group) = self.live(py, engine)?;
        let auth = self.defaults.timeouts.auth;
        Ok(Borrowed { client, group, closed: Arc::clone(&self.closed), auth })
    }

    fn invocation(
        &self,
        py: Python<'_>,
        engine: &Engine,
        payload: &Bound<'_, PyAny>,
        session: Option<&Bound<'_, PyAny>>,
        options: &Options<'_>,
    ) -> PyResult<(Invoke, Borrowed, usize)> {
        let mut live = self.borrow(py, engine)?;
        let payload = values::payload(payload)?;
        let size = payload.as_bytes().len();
        let mut invoke = live.client.invoke(payload);
        if let Some(id) = session {
            let local = live.client.runtime_arn().is_none();
            invoke = invoke.session(values::session(id, ids::is_checked(id)?, local)?);
        }
        let mut defaults = self.defaults;
        let invoke = values::invocation(invoke, options, &mut defaults)?;
        live.auth = defaults.timeouts.auth;
        Ok((invoke, live, size))
    }

    fn stop(
        &self,
        py: Python<'_>,
        engine: &Engine,
        session: &Bound<'_, PyAny>,
        options: &Options<'_>,
    ) -> PyResult<(agentcore_client::StopSession, Borrowed)> {
        let mut live = self.borrow(py, engine)?;
        let local = live.client.runtime_arn().is_none();
        let id = values::session(session, ids::is_checked(session)?, local)?;
        let mut defaults = self.defaults;
        let stop = values::stop(live.client.stop_session(id), options, &mut defaults)?;
        live.auth = defaults.timeouts.auth;
        Ok((stop, live))
    }
}

fn lease(py: Python<'_>, engine: &'static Engine) -> PyResult<agentcore_ffi::Lease> {
    engine.lease().map_err(|failure| raise(py, &failure))
}
