//! Our client and our local data plane against programs that we did not write: the official Python
//! SDK as the agent, boto3 as the client, botocore as the signer. `README.md` says how to set up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on must stop"
)]

mod agent;
mod boto3;
mod gateway;
mod process;
mod signatures;

/// How many moments these are, in milliseconds: what came in one go counts once.
fn moments(arrived: &[u64]) -> usize {
    arrived.windows(2).filter(|pair| pair[1] - pair[0] > 20).count() + 1
}
