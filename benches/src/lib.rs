//! What the benches share: the mock server, raw hyper as the limit, and paired
//! rounds on CPU time.

pub mod mock;
pub mod pairs;
pub mod raw;
