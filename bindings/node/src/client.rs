//! The client behind the public one: options in, calls out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agentcore_client::{Auth, Bytes, Client as CoreClient, Invoke, Payload};
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

/// A client.
#[napi]
pub struct Client {
    core: CoreClient,
    /// Where its calls say that they can be polled again.
    queue: Shared,
    defaults: Defaults,
    group: Arc<Group>,
    closed: Arc<AtomicBool>,
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
        Ok(core) => Either::A(Client {
            core,
            queue: queue.shared().clone(),
            defaults,
            group: Arc::default(),
            closed: Arc::default(),
        }),
        Err(error) => Either::B(error.into()),
    }
}

#[napi]
impl Client {
    /// A client with other options on the same connections and credentials.
    #[allow(clippy::use_self)] // The macro repeats the type where `Self` means nothing.
    #[napi]
    pub fn sibling(&self, options: SiblingOptions) -> Either<Client, FailureView> {
        if self.closed() {
            return Either::B(CLOSED.into());
        }
        let (builder, defaults) = options.apply(self.core.with_options(), self.defaults);
        match builder.build() {
            Ok(core) => Either::A(Self {
                core,
                queue: self.queue.clone(),
                defaults,
                group: Arc::clone(&self.group),
                closed: Arc::clone(&self.closed),
            }),
            Err(error) => Either::B(error.into()),
        }
    }

    #[napi(getter)]
    pub fn runtime_arn(&self) -> Option<&str> {
        self.core.runtime_arn().map(|arn| arn.as_str())
    }

    #[napi(getter)]
    pub fn qualifier(&self) -> Option<&str> {
        self.core.qualifier()
    }

    #[napi(getter)]
    pub fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes open streams and idle connections, at once.
    #[napi]
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.group.close();
        self.core.close_idle_connections();
    }

    /// Begins a call, which the queue then knows by `token`; gives a failure if that came at once.
    /// `payload` is JSON text, or bytes that go as they are. What most calls give has an argument of
    /// its own: each look for a member of `options` costs as much as a header.
    #[napi]
    pub fn start_invoke(
        &self,
        token: u32,
        payload: Either<String, &[u8]>,
        session: Option<String>,
        session_is_checked: bool,
        content_type: Option<String>,
        options: Option<CallOptions>,
    ) -> Option<FailureView> {
        match self.invocation(payload, session, session_is_checked, content_type, options) {
            Ok((invoke, live)) => self.queue.start(token, Outcome::whole(invoke), live),
            Err(failure) => Some(failure.into()),
        }
    }

    #[napi]
    pub fn start_stream(
        &self,
        token: u32,
        payload: Either<String, &[u8]>,
        session: Option<String>,
        session_is_checked: bool,
        content_type: Option<String>,
        options: Option<CallOptions>,
    ) -> Option<FailureView> {
        match self.invocation(payload, session, session_is_checked, content_type, options) {
            Ok((invoke, live)) => self.queue.start(token, Outcome::streamed(invoke), live),
            Err(failure) => Some(failure.into()),
        }
    }

    #[napi]
    pub fn start_stop_session(
        &self,
        token: u32,
        session: String,
        session_is_checked: bool,
        options: Option<CallOptions>,
    ) -> Option<FailureView> {
        let prepare = || {
            let live = self.borrow()?;
            let local = live.client.runtime_arn().is_none();
            let id = values::session(&session, session_is_checked, local)?;
            let stop = live.client.stop_session(id);
            let stop = options.unwrap_or_default().apply_to_stop(stop, &self.defaults);
            Ok::<_, Failure>((stop, live))
        };
        match prepare() {
            Ok((stop, live)) => self.queue.start(token, Outcome::stopped(stop), live),
            Err(failure) => Some(failure.into()),
        }
    }

    /// Panics within a call, as a bug would. For the tests.
    #[napi]
    pub fn start_panic(&self, token: u32) -> Option<FailureView> {
        #[allow(clippy::panic)] // This is what it is for.
        let call = async { panic!("a bug of our own making") };
        match self.borrow() {
            Ok(live) => self.queue.start(token, call, live),
            Err(failure) => Some(failure.into()),
        }
    }
}

/// A client and what closes with it, for the time of one call.
pub(crate) struct Borrowed {
    client: CoreClient,
    group: Arc<Group>,
    closed: Arc<AtomicBool>,
}

impl Borrowed {
    pub(crate) fn client(&self) -> &CoreClient {
        &self.client
    }

    /// A stream that is closed with the client.
    pub(crate) fn adopt(&self, feed: Feed) -> Arc<Feed> {
        let feed = Arc::new(feed);
        self.group.add(&feed);
        feed
    }

    /// A call that ends after its client was closed must not leave its connection in the pool.
    pub(crate) fn hang_up_if_closed(&self) {
        if self.closed.load(Ordering::Acquire) {
            self.client.close_idle_connections();
        }
    }
}

impl Client {
    /// Where its calls say that they can be polled again.
    pub(crate) fn queue(&self) -> &Shared {
        &self.queue
    }

    pub(crate) fn borrow(&self) -> Result<Borrowed, Failure> {
        if self.closed() {
            return Err(CLOSED);
        }
        Ok(Borrowed {
            client: self.core.clone(),
            group: Arc::clone(&self.group),
            closed: Arc::clone(&self.closed),
        })
    }

    fn invocation(
        &self,
        payload: Either<String, &[u8]>,
        session: Option<String>,
        session_is_checked: bool,
        content_type: Option<String>,
        options: Option<CallOptions>,
    ) -> Result<(Invoke, Borrowed), Failure> {
        let live = self.borrow()?;
        let payload = match payload {
            Either::A(json) => Payload::from(Bytes::from(json)),
            Either::B(bytes) => Payload::from(bytes),
        };
        let mut invoke = live.client.invoke(payload);
        if let Some(id) = session {
            let local = live.client.runtime_arn().is_none();
            invoke = invoke.session(values::session(&id, session_is_checked, local)?);
        }
        if let Some(content_type) = content_type {
            invoke = invoke.content_type(content_type);
        }
        if let Some(options) = options {
            invoke = options.apply(invoke, &self.defaults);
        }
        Ok((invoke, live))
    }
}
