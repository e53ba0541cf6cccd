//! The client against the local data plane, over real sockets.

mod bad_input;
mod broken;
mod close;
mod idle_close;
mod lock_step;
mod never_twice;
mod secrets;
mod sessions;
mod tls_and_proxy;
mod tokens;
