//! The AWS default chain: credentials from a profile, and the error where there
//! are none. In a process of its own, since the chain reads the environment.

use std::process::{Command, Output};

use agentcore_client::{Auth, Client, Environment};
use agentcore_local::LocalDataPlane;
use agentcore_tests::start;
use serde_json::json;

const ROLE: &str = "AGENTCORE_TEST_CHAIN_CALLER";

/// Calls the data plane named in the environment and says how that went.
fn caller(target: &str) {
    let (arn, url) = target.split_once(' ').unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::builder(arn)
        .endpoint_url(url)
        .auth(Auth::default_chain())
        .environment(Environment::process())
        .build()
        .unwrap();
    match runtime.block_on(client.invoke(json!({"mode": "json"})).send()) {
        Ok(reply) => println!("answered {}", reply.status()),
        Err(error) => println!("failed {} {} {error}", error.kind(), error.delivery()),
    }
}

fn call(test: &str, plane: &LocalDataPlane, credentials: &std::path::Path) -> Output {
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
        .env("AWS_PROFILE", "agents")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_profile_signs() {
    if let Ok(target) = std::env::var(ROLE) {
        return caller(&target);
    }
    let plane = start(LocalDataPlane::builder());
    let file = std::env::temp_dir().join(format!("agentcore-profile-{}", std::process::id()));
    let keys = format!(
        "[agents]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        plane.access_key(),
        plane.secret_key()
    );
    std::fs::write(&file, keys).unwrap();
    let said = said(&call("chain::a_profile_signs", &plane, &file));
    let _ = std::fs::remove_file(file);
    assert!(said.contains("answered 200"), "{said}");
    assert_eq!(plane.count_posts(), 1);
}

#[test]
fn without_credentials_nothing_is_sent() {
    if let Ok(target) = std::env::var(ROLE) {
        return caller(&target);
    }
    let plane = start(LocalDataPlane::builder());
    let nowhere = std::path::Path::new("/nowhere/credentials");
    let said = said(&call("chain::without_credentials_nothing_is_sent", &plane, nowhere));
    assert!(said.contains("failed Credentials not_sent"), "{said}");
    assert!(said.contains("AWS_ACCESS_KEY_ID"), "the message says what to set: {said}");
    assert!(plane.journal().is_empty());
}
