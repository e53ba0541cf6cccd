//! The AWS default chain: credentials from a profile or a container's endpoint,
//! and the error where there are none. In a process of its own, since the chain
//! reads the environment.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentcore_client::{Auth, Client, Environment, Timeouts};
use agentcore_local::{Fault, LocalDataPlane};
use agentcore_tests::start;
use serde_json::json;

const ROLE: &str = "AGENTCORE_TEST_CHAIN_CALLER";

/// Calls the data plane named in the environment and says how that went; each time on another
/// runtime, while the ones before are kept and driven no more.
fn caller(target: &str, times: usize) {
    let (arn, url) = target.split_once(' ').unwrap();
    let client = Client::builder(arn)
        .endpoint_url(url)
        .auth(Auth::default_chain())
        .environment(Environment::process())
        .timeouts(Timeouts::default().auth(Duration::from_secs(5)))
        .build()
        .unwrap();
    let mut runtimes = Vec::new();
    for _ in 0..times {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        match runtime.block_on(client.invoke(json!({"mode": "json"})).send()) {
            Ok(reply) => println!("answered {}", reply.status()),
            Err(error) => println!("failed {} {} {error}", error.kind(), error.delivery()),
        }
        runtimes.push(runtime);
    }
}

fn call(
    test: &str,
    plane: &LocalDataPlane,
    credentials: &std::path::Path,
    env: &[(&str, &str)],
) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .args(["--exact", "--nocapture", test])
        .env(ROLE, format!("{} {}", plane.runtime_arn(), plane.base_url()))
        .env("AWS_SHARED_CREDENTIALS_FILE", credentials)
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_profile_signs() {
    if let Ok(target) = std::env::var(ROLE) {
        return caller(&target, 1);
    }
    let plane = start(LocalDataPlane::builder());
    let file = std::env::temp_dir().join(format!("agentcore-profile-{}", std::process::id()));
    let keys = format!(
        "[agents]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        plane.access_key(),
        plane.secret_key()
    );
    std::fs::write(&file, keys).unwrap();
    let said = said(&call("chain::a_profile_signs", &plane, &file, &[("AWS_PROFILE", "agents")]));
    let _ = std::fs::remove_file(file);
    assert!(said.contains("answered 200"), "{said}");
    assert_eq!(plane.count_posts(), 1);
}

#[test]
fn without_credentials_nothing_is_sent() {
    if let Ok(target) = std::env::var(ROLE) {
        return caller(&target, 1);
    }
    let plane = start(LocalDataPlane::builder());
    let nowhere = std::path::Path::new("/nowhere/credentials");
    let said = said(&call(
        "chain::without_credentials_nothing_is_sent",
        &plane,
        nowhere,
        &[("AWS_PROFILE", "agents")],
    ));
    assert!(said.contains("failed Credentials not_sent"), "{said}");
    assert!(said.contains("AWS_ACCESS_KEY_ID"), "the message says what to set: {said}");
    assert!(plane.journal().is_empty());
}

/// A container's credentials endpoint that keeps its connections open; counts what it is asked.
fn container_endpoint(plane: &LocalDataPlane) -> (SocketAddr, Arc<AtomicUsize>) {
    let body = json!({
        "AccessKeyId": plane.access_key(),
        "SecretAccessKey": plane.secret_key(),
        "Token": "",
        "Expiration": "2099-01-01T00:00:00Z",
    })
    .to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer, count) = (stream.unwrap(), answer.clone(), Arc::clone(&count));
            std::thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        count.fetch_add(1, Ordering::SeqCst);
                        stream.write_all(answer.as_bytes()).unwrap();
                    }
                }
            });
        }
    });
    (address, asked)
}

#[test]
fn a_look_up_does_not_wait_for_the_runtime_of_the_one_before() {
    if let Ok(target) = std::env::var(ROLE) {
        return caller(&target, 2);
    }
    let plane = start(LocalDataPlane::builder());
    let (address, asked) = container_endpoint(&plane);
    // The credentials are let go of, so that the second call looks up again.
    plane.faults().push(Fault::status(403, "ExpiredTokenException"));
    let url = format!("http://{address}/credentials");
    let said = said(&call(
        "chain::a_look_up_does_not_wait_for_the_runtime_of_the_one_before",
        &plane,
        std::path::Path::new("/nowhere/credentials"),
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)],
    ));
    assert!(said.contains("failed Service rejected"), "{said}");
    assert!(said.contains("answered 200"), "{said}");
    assert_eq!(asked.load(Ordering::SeqCst), 2, "{said}");
}
