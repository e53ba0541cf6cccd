//! What the benches share: the mock server, raw hyper as the limit, paired
//! rounds on CPU time, and what a process holds in memory.

pub mod memory;
pub mod mock;
pub mod pairs;
pub mod raw;
