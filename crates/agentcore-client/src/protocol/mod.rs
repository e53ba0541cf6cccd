//! The protocol, pure: bytes in, bytes out. No IO, no clock, no async: so that
//! it can be tested on every split of its input, fuzzed, and compiled anywhere.
//! A module uses only what stands above it.

pub(crate) mod shape;
pub(crate) mod region;
pub(crate) mod arn;
pub(crate) mod session;
pub(crate) mod endpoint;
pub(crate) mod headers;
pub(crate) mod request;
pub(crate) mod sigv4;
pub(crate) mod service_error;
pub(crate) mod sse;
pub(crate) mod text;
