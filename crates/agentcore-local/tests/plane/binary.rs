//! The binary: one line out, and gone when its input closes.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

#[test]
fn it_says_where_it_is_and_ends_with_its_input() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_agentcore-local"))
        .args(["--qualifier", "prod", "--session-token=t"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["session_token"], "t");
    assert_eq!(line["qualifiers"], serde_json::json!(["DEFAULT", "prod"]));
    let address = line["address"].as_str().expect("an address").to_owned();
    assert!(std::net::TcpStream::connect(&address).is_ok());
    drop(child.stdin.take());
    assert!(child.wait().expect("ended").success());
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("read");
    assert_eq!(rest, "");
    assert!(std::net::TcpStream::connect(&address).is_err());
}

#[test]
fn it_refuses_what_it_does_not_know() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_agentcore-local")).arg("--prot=80").output().expect("ran");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("unknown argument '--prot'"));
    let remote = Command::new(env!("CARGO_BIN_EXE_agentcore-local"))
        .args(["--host", "0.0.0.0"])
        .output()
        .expect("ran");
    assert!(!remote.status.success() && remote.stdout.is_empty());
}
