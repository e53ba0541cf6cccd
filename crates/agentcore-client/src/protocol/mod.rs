//! The protocol, pure: bytes in, bytes out. No IO, no clock, no async: so that
//! it can be tested on every split of its input, fuzzed, and compiled anywhere.
//! A module uses only what stands above it.

pub(crate) mod shape;
pub(crate) mod region;
pub(crate) mod arn;
pub(crate) mod policy;
pub(crate) mod session;
pub(crate) mod endpoint;
pub(crate) mod headers;
pub(crate) mod request;
// Public for the benches and fuzz targets of this repository only, through the feature `internals`.
#[cfg_attr(not(feature = "internals"), allow(unreachable_pub, dead_code))]
pub mod sigv4;
pub(crate) mod service_error;
#[cfg_attr(not(feature = "internals"), allow(unreachable_pub, dead_code))]
pub mod sse;
#[cfg_attr(not(feature = "internals"), allow(unreachable_pub, dead_code))]
pub mod agent_error;
#[cfg_attr(not(feature = "internals"), allow(unreachable_pub, dead_code))]
pub mod text;
