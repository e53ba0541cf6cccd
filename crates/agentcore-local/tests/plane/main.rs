//! The data plane from outside, over real sockets.

// The helpers stand outside of test functions, where clippy can't tell that they are tests too.
#![allow(clippy::expect_used, clippy::panic)]

mod access;
mod agents;
mod binary;
mod faults;
mod function;
mod gateway;
pub mod patient;
mod sessions;
mod support;
