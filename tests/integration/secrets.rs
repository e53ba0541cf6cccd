//! Credentials and tokens show in no Debug, no error and no log line.

use agentcore_client::{Auth, Client, Environment};
use agentcore_local::{Fault, LocalDataPlane};
use agentcore_tests::{builder, client, start};
use serde_json::json;

const TOKEN: &str = "s3cr3t-t0k3n-that-must-not-show";

#[tokio::test]
async fn nothing_public_shows_a_secret() {
    let plane = start(LocalDataPlane::builder().session_token("session-t0k3n-that-must-not-show"));
    let secrets = [
        plane.secret_key().to_owned(),
        plane.session_token().unwrap().to_owned(),
        TOKEN.to_owned(),
    ];
    let mut shown = Vec::new();

    let keyed = builder(&plane).proxy(format!("http://user:{TOKEN}@proxy:1"));
    shown.push(format!("{keyed:?}"));
    let client = client(&plane);
    shown.push(format!("{client:?} {:?}", client.with_options()));
    let call = client.invoke(json!({"mode": "json"})).header("X-Api-Key", TOKEN);
    shown.push(format!("{call:?}"));
    let reply = call.send().await.unwrap();
    shown.push(format!("{reply:?}"));
    let stream = client.invoke(json!({"mode": "json"})).stream().await.unwrap();
    shown.push(format!("{stream:?}"));

    let bearer = Auth::bearer(TOKEN);
    shown.push(format!("{bearer:?}"));
    let token = Client::builder(plane.runtime_arn())
        .endpoint_url(plane.base_url())
        .environment(Environment::empty())
        .auth(bearer);
    shown.push(format!("{token:?}"));
    let token = token.build().unwrap();
    shown.push(format!("{token:?}"));
    for error in [
        token.invoke("x").send().await.unwrap_err(),
        Client::builder(plane.runtime_arn())
            .auth(Auth::bearer(format!("{TOKEN} ")))
            .build()
            .unwrap_err(),
    ] {
        shown.push(format!("{error} {error:?}"));
    }

    // A service that repeats what it was sent.
    for code in ["InvalidSignatureException", "AccessDeniedException", "ValidationException"] {
        let echo =
            format!("The Canonical String should have been 'x-amz-security-token:{}'", secrets[1]);
        plane.faults().push(Fault { message: Some(echo), ..Fault::status(403, code) });
        let error = client.invoke(json!({"mode": "json"})).send().await.unwrap_err();
        shown.push(format!("{error} {error:?}"));
    }

    for shown in &shown {
        for secret in &secrets {
            assert!(!shown.contains(secret.as_str()), "{shown}");
        }
    }
    assert!(shown.iter().all(|shown| !shown.is_empty()));
}

#[tokio::test]
async fn the_journal_shows_no_secret() {
    let plane = start(LocalDataPlane::builder().session_token("session-t0k3n"));
    client(&plane).invoke(json!({"mode": "json"})).send().await.unwrap();
    let journal = format!("{:?}", plane.journal());
    assert!(journal.contains("authorization"));
    assert!(!journal.contains("session-t0k3n") && !journal.contains("Signature="));
    assert!(!journal.contains(plane.secret_key()));
}

#[tokio::test]
async fn a_redirect_takes_no_credentials_anywhere() {
    let (plane, elsewhere) = (start(LocalDataPlane::builder()), start(LocalDataPlane::builder()));
    plane.faults().push(Fault { redirect: Some(elsewhere.base_url()), ..Fault::new() });
    client(&plane).invoke("x").send().await.unwrap_err();
    assert!(elsewhere.journal().is_empty());
}
