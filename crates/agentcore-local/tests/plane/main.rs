//! The data plane from outside, over real sockets.

mod access;
mod agents;
mod binary;
mod faults;
mod sessions;
mod support;
