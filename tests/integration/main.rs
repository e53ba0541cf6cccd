//! The client against the local data plane, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on must stop")]

mod bad_input;
mod broken;
mod chain;
mod close;
mod conformance;
mod early_refusal;
mod idle_close;
mod lock_step;
mod names;
mod never_twice;
mod passing_on;
mod secrets;
mod sessions;
mod tls_and_proxy;
mod tokens;
