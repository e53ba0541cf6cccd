//! An error answer from anywhere: nothing panics, and every message is one printable line.
#![no_main]

use agentcore_client::internals::service_error::probe;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8], &[u8])| {
    let (status, header, body) = input;
    for error in probe(100 + status % 900, header, body) {
        let shown = error.to_string();
        assert!(!shown.chars().any(char::is_control));
        assert!(shown.chars().count() < 3000);
    }
});
