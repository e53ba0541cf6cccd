//! Answers passed on to somebody else: as server-sent events, or through an API
//! Gateway WebSocket API and its Lambda function. Applications of the client.

pub(crate) mod public_error;
pub(crate) mod sse;

mod event;
mod frames;
mod hooks;
mod aws;
mod post;
mod claims;
mod sessions;
mod second_stage;
mod parts;
mod pump;
mod function;
pub mod apigateway;

#[cfg(test)]
mod tests;
