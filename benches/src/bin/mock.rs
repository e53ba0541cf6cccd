//! The mock server as a program, for benches that are not written in Rust.
//! Prints its address and serves until its standard input ends, so that it does
//! not outlive whoever started it.

use std::io::Read as _;

fn main() -> std::io::Result<()> {
    std::thread::spawn(|| {
        // Nothing is sent: the end or a failure, both mean that nobody is there any more.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    agentcore_benches::mock::serve()
}
