//! The way of an answer to a browser: an API Gateway WebSocket API in front of a
//! Lambda function in front of the agent. An application of the client, so it
//! stands behind everything else.

mod event;
mod frames;
mod hooks;
mod aws;
mod post;
mod sessions;
mod second_stage;
mod pump;
pub mod apigateway;

#[cfg(test)]
mod tests;
