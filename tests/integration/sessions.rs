//! Sessions: kept, resumed, stopped, provisioned; and both kinds of auth.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentcore_client::{Auth, Client, Environment, ProvideToken, SessionId};
use agentcore_local::{JournalEvent, JwtAuth, LocalDataPlane};
use agentcore_tests::{builder, client, seen, start};
use futures::future::BoxFuture;
use serde_json::json;

#[tokio::test]
async fn an_agent_remembers_within_a_session() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    let first = client.invoke(json!({"prompt": "my name is Ada"})).send().await.unwrap();
    assert_eq!(first.session_id().as_str().len(), 36, "one was made for us");
    let again = client.invoke(json!({"prompt": "who am I?"})).session(first.session_id());
    let again = again.send().await.unwrap();
    assert!(again.text().unwrap().contains("my name is Ada"), "{:?}", again.text());
    let other = client.invoke(json!({"prompt": "who am I?"})).send().await.unwrap();
    assert!(!other.text().unwrap().contains("Ada"));
}

#[tokio::test]
async fn a_stopped_session_starts_afresh() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    let session = SessionId::generate();
    let ask = |prompt: &str| client.invoke(json!({ "prompt": prompt })).session(&session).send();
    ask("my name is Ada").await.unwrap();
    client.stop_session(&session).send().await.unwrap();
    let error = client.stop_session(&session).send().await.unwrap_err();
    assert_eq!(seen(&error), ("Service", "rejected", Some(404)), "{error}");
    assert!(!ask("who am I?").await.unwrap().text().unwrap().contains("Ada"));
}

#[tokio::test]
async fn stopping_ends_a_running_stream() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    let ask = json!({"mode": "stream", "tokens": 10_000, "delay_ms": 10});
    let mut stream = client.invoke(ask).stream().await.unwrap();
    stream.try_next().await.unwrap().unwrap();
    client.stop_session(stream.session_id()).send().await.unwrap();
    let error = loop {
        match stream.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a stopped stream has not ended properly"),
            Err(error) => break error,
        }
    };
    assert_eq!(seen(&error).0, "StreamInterrupted");
}

#[tokio::test]
async fn a_conflict_while_provisioning_is_waited_out() {
    let plane = start(LocalDataPlane::builder().provisioning(Duration::from_millis(1_500)));
    let client = client(&plane);
    let session = SessionId::generate();
    let ask = || client.invoke(json!({"mode": "json"})).session(&session).send();
    let second = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        ask().await
    };
    let (first, second) = tokio::join!(ask(), second);
    first.unwrap();
    second.unwrap();
    assert!(plane.count_posts() > 2, "the second call met the conflict");
    let ids: std::collections::BTreeSet<_> = plane
        .invocations()
        .into_iter()
        .filter_map(|entry| match entry.event {
            JournalEvent::Request { session_id, .. } => session_id,
            _ => None,
        })
        .collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn temporary_credentials_and_qualifiers_are_signed() {
    let plane =
        start(LocalDataPlane::builder().session_token("a/token+with=specials").qualifier("prod"));
    let client = builder(&plane).qualifier("prod").build().unwrap();
    client.invoke(json!({"mode": "json"})).user_id("user-1").send().await.unwrap();
    let wrong = client.with_options().qualifier("dev").build().unwrap();
    let error = wrong.invoke("x").send().await.unwrap_err();
    assert_eq!(seen(&error), ("Service", "rejected", Some(404)));
    assert!(error.to_string().contains("dev"), "{error}");
}

#[tokio::test]
async fn trace_and_own_headers_arrive() {
    let plane = start(LocalDataPlane::builder().allow_header("X-Tenant"));
    let trace = agentcore_client::TraceContext::default()
        .traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .baggage("k=v");
    let call = client(&plane).invoke(json!({"mode": "headers"})).trace(trace);
    call.header("X-Tenant", "one two").send().await.unwrap();
    let request = plane.invocations().remove(0);
    let JournalEvent::Request { headers, .. } = request.event else { unreachable!() };
    let value = |name: &str| {
        headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    };
    assert!(value("traceparent").unwrap().starts_with("00-0af"));
    assert_eq!(value("baggage"), Some("k=v"));
    assert_eq!(value("X-Tenant"), Some("one two"));
    assert_eq!(value("accept"), Some("application/json, text/event-stream"));
    assert_eq!(value("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn a_wrong_secret_is_a_403_that_says_what_to_do() {
    let plane = start(LocalDataPlane::builder());
    let keys = agentcore_client::Credentials::new(plane.access_key(), "wrong", None, None, "test");
    let client = builder(&plane).auth(Auth::sigv4(keys)).build().unwrap();
    let error = client.invoke("x").send().await.unwrap_err();
    assert_eq!(seen(&error), ("Service", "rejected", Some(403)), "{error}");
    assert_eq!(plane.count_posts(), 1);
}

fn bearer(plane: &LocalDataPlane, auth: Auth) -> Client {
    Client::builder(plane.runtime_arn())
        .endpoint_url(plane.base_url())
        .environment(Environment::empty())
        .auth(auth)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_bearer_token_invokes_and_stops() {
    let plane = start(LocalDataPlane::builder().jwt(JwtAuth::new("https://issuer.example")));
    let token = plane.mint_token(&json!({})).unwrap();
    let client = bearer(&plane, Auth::bearer(token));
    let reply = client.invoke(json!({"mode": "json"})).send().await.unwrap();
    client.stop_session(reply.session_id()).send().await.unwrap();
}

#[tokio::test]
async fn the_wrong_kind_of_auth_says_which_is_right() {
    let jwt = start(LocalDataPlane::builder().jwt(JwtAuth::new("https://issuer.example")));
    let error = client(&jwt).invoke("x").send().await.unwrap_err();
    assert_eq!(error.status(), Some(403));
    assert!(error.to_string().to_lowercase().contains("bearer"), "{error}");

    let sigv4 = start(LocalDataPlane::builder());
    let error = bearer(&sigv4, Auth::bearer("token")).invoke("x").send().await.unwrap_err();
    assert_eq!(error.status(), Some(403));
    assert!(error.to_string().to_lowercase().contains("sigv4"), "{error}");
}

/// A stale token first, then a good one.
#[derive(Debug)]
struct Renewing {
    asked: AtomicUsize,
    good: String,
}

impl ProvideToken for Renewing {
    fn provide_token(
        &self,
    ) -> BoxFuture<'_, Result<String, Box<dyn std::error::Error + Send + Sync>>> {
        let first = self.asked.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move { Ok(if first { "stale".to_owned() } else { self.good.clone() }) })
    }
}

#[tokio::test]
async fn a_stale_token_is_renewed_once() {
    let plane = start(LocalDataPlane::builder().jwt(JwtAuth::new("https://issuer.example")));
    let good = plane.mint_token(&json!({})).unwrap();
    let provider = Renewing { asked: AtomicUsize::new(0), good };
    let client = bearer(&plane, Auth::bearer_provider(provider));
    client.invoke(json!({"mode": "json"})).send().await.unwrap();
    assert_eq!(plane.count_posts(), 2);

    let fixed = bearer(&plane, Auth::bearer("stale"));
    let error = fixed.invoke("x").send().await.unwrap_err();
    assert_eq!(seen(&error), ("Service", "rejected", Some(401)), "{error}");
    assert_eq!(plane.count_posts(), 3, "a fixed token is not tried again");
}
