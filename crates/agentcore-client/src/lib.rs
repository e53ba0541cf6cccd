//! The core; module order is the dependency order: a module uses only what stands above it.

mod error;
mod protocol;

pub use error::{Attempt, Delivery, Error, ErrorKind, Limit, Result, StreamEnd};
