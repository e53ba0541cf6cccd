//! Answers passed on to somebody else.

pub(crate) mod public_error;
pub(crate) mod sse;
