//! What the Python and the Node binding share, so that both behave the same by
//! construction: whose thread drives a call, how a stream is fed into a foreign
//! language, what survives a fork, and what an error looks like from outside.
//!
//! The rule behind all of it: a call or a stream is polled by whoever waits for
//! it, on that one's own thread. So a token travels socket → decoder → caller
//! without a hand-over, cancelling a read loses nothing, and dropping what one
//! waits for closes its connection there and then.

mod failure;
mod scope;
mod engine;
mod lanes;
mod ready;
#[cfg(unix)]
mod poller;
mod background;
mod call;
mod feed;
mod outcome;
mod group;
mod log;
mod policy;
mod provider;
mod relay;

pub use background::Background;
pub use call::{Call, Turn};
pub use engine::{Engine, Owned};
pub use failure::{Closed, Failure};
pub use feed::{Batch, Feed, Head, Reading};
pub use group::Group;
pub use lanes::{Lane, Lease};
pub use log::{Line, capture_logs};
pub use outcome::Outcome;
pub use policy::invoke_policy;
pub use provider::{AskForCredentials, AskForToken, NotAnswered};
pub use ready::{ReadyQueue, Signal, TokenWaker};
pub use relay::{Hook, HookAnswer, HookInput, RelayOptions, context as relay_context};
pub use scope::{Question, Scope};
