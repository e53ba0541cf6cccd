//! The private native module behind the npm package: thin on purpose. It turns
//! arguments into calls of the core, is polled on the JavaScript thread, and hands
//! over what came. What users see, errors included, is written in TypeScript.

// The macros of napi export what is `pub`; nobody else can reach it in this library.
#![allow(unreachable_pub)]
// Where clippy looks at this library as a test, the macros export nothing.
#![cfg_attr(test, allow(dead_code))]

mod errors;
mod values;
#[cfg(unix)]
mod uv;
mod response;
mod mail;
mod stream;
mod call;
mod queue;
mod client;
mod relay;
mod ids;

use napi_derive::napi;

/// The version of this module, which must be that of the TypeScript around it.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Once for each worker and main thread; only the first one in a process does anything.
#[napi_derive::module_init]
fn init() {
    agentcore_ffi::capture_logs();
}
