//! The client behind the public one: options in, calls out.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agentcore_client::{Auth, Bytes, Client as CoreClient, Invoke, Payload, SessionId};
use agentcore_ffi::{AskForCredentials, AskForToken, Closed, Failure, Feed, Group, Outcome, Scope};
use napi::bindgen_prelude::Either;
use napi_derive::napi;

use crate::errors::FailureView;
use crate::queue::{ReadyQueue, Shared};
use crate::values::{self, CallOptions, ClientOptions, CredentialsView, Defaults, SiblingOptions};

const CLOSED: Failure = Failure::Closed(Closed::Client);

/// Who calls: one of these, or none of them for what the environment says.
#[napi(object, object_to_js = false)]
pub struct AuthView {
    pub bearer: Option<String>,
    pub credentials: Option<CredentialsView>,
    /// A provider is asked for tokens, at every attempt.
    pub ask_for_token: Option<bool>,
    /// A provider is asked for credentials, which are kept until shortly before they expire.
    pub ask_for_credentials: Option<bool>,
}

/// A client. What begins its calls are functions that take its number, since finding an object's
/// native half costs more than the rest of the way across.
#[napi]
pub struct Client {
    id: u32,
    opened: Rc<Opened>,
}

/// What a client consists of.
pub(crate) struct Opened {
    core: CoreClient,
    /// Where its calls say that they can be polled again.
    queue: Shared,
    defaults: Defaults,
    group: Arc<Group>,
    closed: Arc<AtomicBool>,
}

/// A JavaScript thread's clients.
#[derive(Default)]
struct Clients {
    by_id: HashMap<u32, Rc<Opened>>,
    last: u32,
}

thread_local! {
    static CLIENTS: RefCell<Clients> = RefCell::default();
}

impl Client {
    fn new(opened: Opened) -> Self {
        let opened = Rc::new(opened);
        let id = CLIENTS.with_borrow_mut(|clients| {
            clients.last += 1;
            clients.by_id.insert(clients.last, Rc::clone(&opened));
            clients.last
        });
        Self { id, opened }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A thread that ends may have dropped them already.
        let _ = CLIENTS.try_with(|clients| clients.borrow_mut().by_id.remove(&self.id));
    }
}

/// An open client.
fn client(id: u32) -> Result<Rc<Opened>, Failure> {
    let found = CLIENTS.with_borrow(|clients| clients.by_id.get(&id).cloned());
    found.filter(|opened| !opened.is_closed()).ok_or(CLOSED)
}

/// A new client, or why there is none.
#[napi]
pub fn open_client(
    queue: &ReadyQueue,
    auth: Option<AuthView>,
    mut options: ClientOptions,
) -> Either<Client, FailureView> {
    let builder = match options.runtime_arn.take() {
        Some(arn) => CoreClient::builder(arn),
        None => CoreClient::builder_from_env(),
    };
    let (mut builder, defaults) = options.apply(builder);
    if let Some(auth) = auth {
        if let Some(token) = auth.bearer {
            builder = builder.auth(Auth::bearer(token));
        } else if let Some(credentials) = auth.credentials {
            let credentials = agentcore_client::Credentials::from(credentials);
            builder = builder.auth(Auth::sigv4(credentials));
        } else if auth.ask_for_token == Some(true) {
            builder = builder.auth(Auth::bearer_provider(AskForToken));
        } else if auth.ask_for_credentials == Some(true) {
            builder = builder.auth(Auth::sigv4(AskForCredentials));
        }
    }
    let scope = Scope::default();
    let built = scope.run(|| builder.build());
    queue.shared().flush_logs(&scope);
    match built {
        Ok(core) => Either::A(Client::new(Opened {
            core,
            queue: queue.shared().clone(),
            defaults,
            group: Arc::default(),
            closed: Arc::default(),
        })),
        Err(error) => Either::B(error.into()),
    }
}

#[napi]
impl Client {
    /// What the functions that begin calls take.
    #[napi(getter)]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// A client with other options on the same connections and credentials.
    #[allow(clippy::use_self)] // The macro repeats the type where `Self` means nothing.
    #[napi]
    pub fn sibling(&self, options: SiblingOptions) -> Either<Client, FailureView> {
        let Opened { core, queue, defaults, group, closed } = &*self.opened;
        if self.closed() {
            return Either::B(CLOSED.into());
        }
        let (builder, defaults) = options.apply(core.with_options(), *defaults);
        match builder.build() {
            Ok(core) => Either::A(Self::new(Opened {
                core,
                queue: queue.clone(),
                defaults,
                group: Arc::clone(group),
                closed: Arc::clone(closed),
            })),
            Err(error) => Either::B(error.into()),
        }
    }

    #[napi(getter)]
    pub fn runtime_arn(&self) -> Option<&str> {
        self.opened.core.runtime_arn().map(|arn| arn.as_str())
    }

    #[napi(getter)]
    pub fn qualifier(&self) -> Option<&str> {
        self.opened.core.qualifier()
    }

    #[napi(getter)]
    pub fn closed(&self) -> bool {
        self.opened.is_closed()
    }

    /// Closes open streams and idle connections, at once.
    #[napi]
    pub fn close(&self) {
        self.opened.closed.store(true, Ordering::Release);
        self.opened.group.close();
        self.opened.core.close_idle_connections();
    }

    /// Panics within a call, as a bug would. For the tests.
    #[napi]
    pub fn start_panic(&self, token: u32) -> Option<FailureView> {
        #[allow(clippy::panic)] // This is what it is for.
        let call = async { panic!("a bug of our own making") };
        match self.borrow() {
            Ok(live) => live.queue.start(token, call, &live),
            Err(failure) => Some(failure.into()),
        }
    }
}

/// Begins a call, which the queue then knows by `token`; gives a failure if that came at once.
/// `payload` is JSON text, or bytes that go as they are. What most calls give has an argument of
/// its own: each look for a member of `options` costs as much as a header.
#[napi]
pub fn start_invoke(
    client: u32,
    token: u32,
    payload: Either<String, &[u8]>,
    session: Option<String>,
    session_is_checked: bool,
    content_type: Option<String>,
    options: Option<CallOptions>,
) -> Option<FailureView> {
    match invocation(client, payload, session, session_is_checked, content_type, options) {
        Ok((invoke, live)) => live.queue.start(token, Outcome::whole(invoke), &live),
        Err(failure) => Some(failure.into()),
    }
}

#[napi]
pub fn start_stream(
    client: u32,
    token: u32,
    payload: Either<String, &[u8]>,
    session: Option<String>,
    session_is_checked: bool,
    content_type: Option<String>,
    options: Option<CallOptions>,
) -> Option<FailureView> {
    match invocation(client, payload, session, session_is_checked, content_type, options) {
        Ok((invoke, live)) => live.queue.start(token, Outcome::streamed(invoke), &live),
        Err(failure) => Some(failure.into()),
    }
}

#[napi]
pub fn start_stop_session(
    client: u32,
    token: u32,
    session: String,
    session_is_checked: bool,
    options: Option<CallOptions>,
) -> Option<FailureView> {
    let prepare = || {
        let live = self::client(client)?;
        let id = live.session(&session, session_is_checked)?;
        let stop = live.core.stop_session(id);
        let stop = options.unwrap_or_default().apply_to_stop(stop, &live.defaults);
        Ok::<_, Failure>((stop, live))
    };
    match prepare() {
        Ok((stop, live)) => live.queue.start(token, Outcome::stopped(stop), &live),
        Err(failure) => Some(failure.into()),
    }
}

impl Opened {
    pub(crate) fn core(&self) -> &CoreClient {
        &self.core
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn session(&self, id: &str, is_checked: bool) -> Result<SessionId, Failure> {
        let local = self.core.runtime_arn().is_none();
        Ok(values::session(id, is_checked, local)?)
    }

    /// A stream that is closed with the client.
    pub(crate) fn adopt(&self, feed: Feed) -> Arc<Feed> {
        let feed = Arc::new(feed);
        self.group.add(&feed);
        feed
    }

    /// A call that ends after its client was closed must not leave its connection in the pool.
    pub(crate) fn hang_up_if_closed(&self) {
        if self.is_closed() {
            self.core.close_idle_connections();
        }
    }
}

impl Client {
    /// Where its calls say that they can be polled again.
    pub(crate) fn queue(&self) -> &Shared {
        &self.opened.queue
    }

    /// The client for the time of one call, unless it is closed.
    pub(crate) fn borrow(&self) -> Result<Rc<Opened>, Failure> {
        client(self.id)
    }
}

fn invocation(
    client: u32,
    payload: Either<String, &[u8]>,
    session: Option<String>,
    session_is_checked: bool,
    content_type: Option<String>,
    options: Option<CallOptions>,
) -> Result<(Invoke, Rc<Opened>), Failure> {
    let live = self::client(client)?;
    let payload = match payload {
        Either::A(json) => Payload::from(Bytes::from(json)),
        Either::B(bytes) => Payload::from(bytes),
    };
    let mut invoke = live.core.invoke(payload);
    if let Some(id) = session {
        invoke = invoke.session(live.session(&id, session_is_checked)?);
    }
    if let Some(content_type) = content_type {
        invoke = invoke.content_type(content_type);
    }
    if let Some(options) = options {
        invoke = options.apply(invoke, &live.defaults);
    }
    Ok((invoke, live))
}
