//! A server that closes an idle connection between two calls: the second call
//! succeeds with exactly one POST, on a new connection, every time.

use std::time::Duration;

use agentcore_client::Client;
use agentcore_local::{Fault, JournalEntry, JournalEvent, LocalDataPlane};
use agentcore_tests::{SOON, client, start};
use serde_json::json;

async fn call(client: &Client) {
    client.invoke(json!({"mode": "json"})).send().await.unwrap();
}

/// Waits until the connection of the first call is closed.
fn closed(plane: &LocalDataPlane) {
    let first = plane.invocations()[0].connection;
    let is_closed = |entry: &JournalEntry| {
        entry.connection == first && matches!(entry.event, JournalEvent::ConnectionClosed { .. })
    };
    assert!(plane.wait_for_blocking(is_closed, SOON).is_some());
    // The end of a connection travels like any packet; on a busy machine loopback takes its time.
    std::thread::sleep(Duration::from_millis(20));
}

/// The server closes the connection as soon as the first answer is out; `wait` passes the time.
fn second_call_is_one_post(plane: &LocalDataPlane, wait: impl Fn(), drive: impl Fn(&Client)) {
    let client = client(plane);
    plane.clear_journal();
    plane.faults().push(Fault { close_idle_after_ms: Some(0), ..Fault::new() });
    drive(&client);
    closed(plane);
    wait();
    drive(&client);
    let requests = plane.invocations();
    assert_eq!(requests.len(), 2, "one call, one POST");
    assert_ne!(requests[0].connection, requests[1].connection);
}

#[test]
fn while_nobody_drives_the_runtime() {
    let plane = start(LocalDataPlane::builder());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..100 {
        second_call_is_one_post(&plane, || {}, |client| runtime.block_on(call(client)));
    }
}

#[test]
fn while_the_runtime_is_driven() {
    let plane = start(LocalDataPlane::builder());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..100 {
        let drive =
            || runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        second_call_is_one_post(&plane, drive, |client| runtime.block_on(call(client)));
    }
}

#[test]
fn on_a_runtime_with_many_threads() {
    let plane = start(LocalDataPlane::builder());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for _ in 0..100 {
        second_call_is_one_post(&plane, || {}, |client| runtime.block_on(call(client)));
    }
}

/// The process is stopped in between, as a Lambda is frozen between two events.
#[cfg(unix)]
#[test]
fn while_the_process_is_stopped() {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Command, Stdio};

    const ROLE: &str = "AGENTCORE_TEST_IDLE_CALLER";
    if let Ok(target) = std::env::var(ROLE) {
        return caller(&target);
    }
    let plane = start(LocalDataPlane::builder());
    let target = json!({
        "arn": plane.runtime_arn(), "url": plane.base_url(),
        "key": plane.access_key(), "secret": plane.secret_key(),
    });
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "idle_close::while_the_process_is_stopped"])
        .env(ROLE, target.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut wait_for = |wanted: &str| {
        assert!(lines.any(|line| line.unwrap().contains(wanted)), "the caller says {wanted}");
    };
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    wait_for("ready");
    for _ in 0..100 {
        plane.clear_journal();
        plane.faults().push(Fault { close_idle_after_ms: Some(30), ..Fault::new() });
        writeln!(orders, "call").unwrap();
        wait_for("called");
        signal("-STOP");
        closed(&plane);
        signal("-CONT");
        writeln!(orders, "call").unwrap();
        wait_for("called");
        assert_eq!(plane.count_posts(), 2, "one call, one POST");
    }
    drop(orders);
    assert!(child.wait().unwrap().success());
}

/// Calls whenever a line comes in; its runtime is driven by nothing else.
#[cfg(unix)]
fn caller(target: &str) {
    use agentcore_client::{Auth, Credentials, Environment};

    let target: serde_json::Value = serde_json::from_str(target).unwrap();
    let text = |name: &str| target[name].as_str().unwrap().to_owned();
    let client = Client::builder(text("arn"))
        .endpoint_url(text("url"))
        .auth(Auth::sigv4(Credentials::new(text("key"), text("secret"), None, None, "test")))
        .environment(Environment::empty())
        .build()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("ready");
    for line in std::io::stdin().lines() {
        line.unwrap();
        runtime.block_on(call(&client));
        println!("called");
    }
}
