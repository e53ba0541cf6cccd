//! The binary: reads its flags, starts the data plane, prints one line that says how to reach it,
//! and serves until its standard input closes.

mod cli;

use agentcore_local::LocalDataPlane;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options = match cli::parse(&arguments) {
        Ok(cli::Command::Serve(options)) => options,
        Ok(cli::Command::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(message) => return fail(&message, 2),
    };
    let plane = match options.builder.start_blocking() {
        Ok(plane) => plane,
        Err(error) => return fail(&error.to_string(), 1),
    };
    println!("{}", start_line(&plane));
    if std::io::stdout().flush().is_err() {
        // Whoever started this is gone already.
        return ExitCode::FAILURE;
    }
    if options.watch_stdin {
        wait_for_end_of_input();
    } else {
        loop {
            std::thread::park();
        }
    }
    drop(plane);
    ExitCode::SUCCESS
}

fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("agentcore-local: {message}");
    ExitCode::from(code)
}

/// Everything a caller needs, as one line of JSON.
fn start_line(plane: &LocalDataPlane) -> Value {
    let mut line = json!({
        "address": plane.address().to_string(),
        "base_url": plane.base_url(),
        "runtime_arn": plane.runtime_arn(),
        "qualifiers": plane.qualifiers(),
        "region": plane.region(),
        "control_token": plane.control_token(),
    });
    if let Some(token) = plane.mint_token(&json!({})) {
        line["bearer_token"] = json!(token);
    } else {
        line["access_key"] = json!(plane.access_key());
        line["secret_key"] = json!(plane.secret_key());
        line["session_token"] = json!(plane.session_token());
    }
    if let Some(Value::Object(gateway)) = plane.describe_gateway() {
        for (name, value) in gateway {
            line[name] = value;
        }
    }
    line
}

/// A test run that is killed leaves no orphan: its end of the pipe closes.
fn wait_for_end_of_input() {
    let mut input = std::io::stdin().lock();
    let mut buffer = [0u8; 1_024];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
