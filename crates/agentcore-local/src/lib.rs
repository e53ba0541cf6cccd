#![doc = include_str!("../README.md")]

mod agent;
mod answer;
mod clock;
mod config;
mod connection;
mod control;
mod encoding;
mod error;
mod faults;
mod gateway;
mod headers;
mod http1;
mod journal;
mod jwt;
mod plane;
mod router;
mod service;
mod session;
mod sigv4;
mod validate;
mod wire;

pub use agent::{Agent, AgentRequest, BadAgentUrl, Gone, Responder, Script, ScriptedCall};
pub use config::{Runtime, StartError};
pub use faults::{Fault, Faults};
pub use gateway::Gateway;
pub use headers::Headers;
pub use journal::{JournalEntry, JournalEvent};
pub use jwt::{BadKeySet, JwtAuth};
pub use plane::{Builder, LocalDataPlane};
pub use session::SessionMemory;
