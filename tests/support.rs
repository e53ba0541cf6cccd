//! What the tests across crates share: a client in front of a local data plane.

use std::time::Duration;

use agentcore_client::{Auth, Client, ClientBuilder, Credentials, Environment, Error, Timeouts};
use agentcore_local::{Builder, LocalDataPlane};

/// Long enough for any machine, short enough to fail a test.
pub const SOON: Duration = Duration::from_secs(10);

/// A data plane on a thread of its own, so that it goes on while a test's run-time stands still.
#[expect(clippy::expect_used, reason = "a test without a data plane can only stop")]
pub fn start(builder: Builder) -> LocalDataPlane {
    builder.start_blocking().expect("the local data plane starts")
}

/// A client for it, blind to the process's environment.
pub fn builder(plane: &LocalDataPlane) -> ClientBuilder {
    Client::builder(plane.runtime_arn())
        .endpoint_url(plane.base_url())
        .auth(Auth::sigv4(keys(plane)))
        .environment(Environment::empty())
}

/// The data plane's keys.
pub fn keys(plane: &LocalDataPlane) -> Credentials {
    let token = plane.session_token().map(str::to_owned);
    Credentials::new(plane.access_key(), plane.secret_key(), token, None, "test")
}

/// A client for it with every default.
#[expect(clippy::expect_used, reason = "a test without a client can only stop")]
pub fn client(plane: &LocalDataPlane) -> Client {
    builder(plane).build().expect("a client for the local data plane")
}

/// Limits short enough for a test.
pub fn short() -> Timeouts {
    Timeouts::default().first_byte(Duration::from_millis(300)).idle(Duration::from_millis(300))
}

/// Waits until the journal shows that the client has left.
pub fn disconnected(plane: &LocalDataPlane) -> bool {
    plane.wait_for_blocking(|entry| entry.event.is_disconnect(), SOON).is_some()
}

/// The error's kind, delivery and status by their stable names.
pub fn seen(error: &Error) -> (&'static str, &'static str, Option<u16>) {
    (error.kind().as_str(), error.delivery().as_str(), error.status())
}

pub mod browser;
// The local data plane's own tests, which need it first, must not depend on this.
#[path = "../crates/agentcore-local/tests/plane/patient.rs"]
pub mod patient;
