#![doc = include_str!("../README.md")]
// A module uses only what stands above it; `tests/policy` holds the code to that.

mod error;
mod protocol;
mod config;
mod transport;
mod auth;
mod retry;
mod operations;
mod client;
mod relay;

pub use aws_credential_types::Credentials;
pub use aws_credential_types::provider::ProvideCredentials;
pub use bytes::Bytes;
pub use bytestring::ByteString;

pub use auth::{Auth, ProvideToken};
pub use client::{Client, ClientBuilder, SiblingBuilder};
pub use config::{Environment, Limits, Timeouts};
pub use error::{Attempt, Delivery, Error, ErrorKind, Limit, Result, StreamEnd};
pub use operations::invoke::{Invoke, InvokeResponse};
pub use operations::stop::StopSession;
pub use operations::stream::{AgentEvent, AgentStream, BytesStream, TextDeltas};
pub use protocol::arn::RuntimeArn;
pub use protocol::policy::PolicyAction;
pub use protocol::request::{McpHeaders, Payload, TraceContext};
pub use protocol::session::SessionId;
pub use protocol::text::TextFormat;
pub use relay::apigateway;
pub use relay::public_error::PublicError;
pub use relay::sse::SseStream;
pub use retry::RetryPolicy;
pub use transport::{Body, HttpService, SendError, SendLimits};

/// Insides, for this repository's bindings, fuzz targets and benches. Not a stable API.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub use crate::protocol::{agent_error, sigv4, sse, text};
    #[cfg(unix)]
    pub use crate::transport::readiness;

    /// See `protocol::service_error`.
    pub mod service_error {
        pub use crate::protocol::service_error::probe;
    }
}
