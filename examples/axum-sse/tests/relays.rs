//! The example as a process of its own, in front of the local data plane.

#![allow(clippy::unwrap_used, reason = "a test that can't go on must stop")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use agentcore_local::{Agent, Fault, JournalEvent, LocalDataPlane};
use agentcore_tests::browser::{Browser, texts};
use agentcore_tests::{SOON, disconnected, start};
use serde_json::{Value, json};

struct Served {
    child: Child,
    port: u16,
}

impl Served {
    fn start(plane: &LocalDataPlane) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_axum-sse"))
            .env_clear()
            .env("AGENT_RUNTIME_ARN", plane.runtime_arn())
            .env("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", plane.base_url())
            .env("AWS_ACCESS_KEY_ID", plane.access_key())
            .env("AWS_SECRET_ACCESS_KEY", plane.secret_key())
            .env("SESSION_SECRET", "correct horse battery staple")
            .env("PORT", "0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        Self { child, port }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn question(prompt: &str) -> Value {
    json!({"conversation": "1", "prompt": prompt})
}

fn paced() -> LocalDataPlane {
    start(LocalDataPlane::builder().agent(Agent::demo_paced(Duration::from_millis(20))))
}

fn count(plane: &LocalDataPlane, is: fn(&JournalEvent) -> bool) -> usize {
    plane.journal().iter().filter(|entry| is(&entry.event)).count()
}

#[test]
fn it_relays_what_the_agent_says() {
    let plane = paced();
    let served = Served::start(&plane);
    let mut answer = Browser::ask(served.port, &question("Grüße 🙂")).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    assert!(!answer.headers.iter().any(|(name, _)| name.contains("amzn")));
    let body = answer.body().unwrap();
    assert_eq!(texts(&body).concat(), "You said: Grüße 🙂.");
    assert!(body.ends_with("\n\nevent: end\ndata: {}\n\n"));
}

#[test]
fn a_closed_tab_reaches_the_agent_whatever_it_is_doing() {
    let plane = paced();
    let served = Served::start(&plane);
    let ask = |prompt: &str| Browser::send(served.port, question(prompt).to_string().as_bytes());
    // It speaks.
    let mut speaking = Browser::read(ask(&"word ".repeat(1000)).unwrap()).unwrap();
    assert_eq!(speaking.chunk().unwrap(), b"data: \"You \"\n\n");
    drop(speaking);
    assert!(disconnected(&plane));
    // It is silent in the middle.
    plane.clear_journal();
    plane.faults().push(Fault { stall_after_bytes: Some(14), ..Fault::new() });
    let mut silent = Browser::read(ask("Hi").unwrap()).unwrap();
    silent.chunk().unwrap();
    drop(silent);
    assert!(disconnected(&plane));
    // It has not begun.
    plane.clear_journal();
    plane.faults().push(Fault { never_answer: true, ..Fault::new() });
    let waiting = ask("Hi").unwrap();
    let asked =
        plane.wait_for_blocking(|entry| matches!(entry.event, JournalEvent::Request { .. }), SOON);
    assert!(asked.is_some());
    drop(waiting);
    assert!(disconnected(&plane));
}

#[test]
fn bad_input_is_refused_and_nothing_is_invoked() {
    let plane = paced();
    let served = Served::start(&plane);
    let large = question(&"x".repeat(100_000)).to_string();
    for (body, status, code, field) in [
        ("", 400, "INVALID_INPUT", "body"),
        ("{", 400, "INVALID_INPUT", "body"),
        ("[]", 400, "INVALID_INPUT", "prompt"),
        (r#"{"conversation": "1"}"#, 400, "INVALID_INPUT", "prompt"),
        (r#"{"conversation": 1, "prompt": "Hi"}"#, 400, "INVALID_INPUT", "conversation"),
        (large.as_str(), 413, "TOO_LARGE", "body"),
    ] {
        let socket = Browser::send(served.port, body.as_bytes()).unwrap();
        let mut answer = Browser::read(socket).unwrap();
        let told: Value = serde_json::from_str(&answer.body().unwrap()).unwrap();
        assert_eq!(
            (answer.status, &told["error"]["code"], &told["error"]["field"]),
            (status, &json!(code), &json!(field))
        );
    }
    assert_eq!(count(&plane, |event| matches!(event, JournalEvent::Request { .. })), 0);
}

#[test]
fn failures_have_a_status_and_a_code() {
    let plane = paced();
    let served = Served::start(&plane);
    plane.faults().push(Fault::status(403, "AccessDeniedException"));
    let mut answer = Browser::ask(served.port, &question("Hi")).unwrap();
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    let told = r#"{"error":{"code":"SERVICE","delivery":"rejected","message":"This is not allowed.","serviceCode":"AccessDeniedException"}}"#;
    assert_eq!((answer.status, answer.body().unwrap().as_str()), (403, told));
    plane.faults().push(Fault { reset_after_bytes: Some(14), ..Fault::new() });
    let mut answer = Browser::ask(served.port, &question("Hi")).unwrap();
    let told = "\n\nevent: error\ndata: {\"error\":{\"code\":\"STREAM_INTERRUPTED\",";
    assert!(answer.body().unwrap().contains(told));
    assert_eq!(plane.count_posts(), 2);
}

#[test]
fn a_runtime_that_takes_tokens_is_not_called_with_a_signature() {
    let jwt = agentcore_local::JwtAuth::new("https://issuer.example");
    let plane = start(LocalDataPlane::builder().jwt(jwt));
    let served = Served::start(&plane);
    let mut answer = Browser::ask(served.port, &question("Hi")).unwrap();
    assert_eq!(answer.status, 403);
    assert!(answer.body().unwrap().starts_with(r#"{"error":{"code":"SERVICE","#));
    assert!(plane.sessions().is_empty());
}

#[test]
fn two_hundred_at_once_and_the_killed_disturb_nobody() {
    let plane = paced();
    let served = Served::start(&plane);
    let prompt = (0..40).map(|n| format!("token{n}")).collect::<Vec<_>>().join(" ");
    // Goes on for longer than the slowest machine takes to notice that it was killed.
    let endless = "word ".repeat(15_000);
    let port = served.port;
    let all_there = Arc::new(Barrier::new(200));
    let asking: Vec<_> = (0..200)
        .map(|number| {
            let is_killed = number % 20 == 7;
            let prompt = if is_killed { &endless } else { &prompt };
            let question = json!({"conversation": number.to_string(), "prompt": prompt});
            let all_there = Arc::clone(&all_there);
            thread::spawn(move || {
                let mut answer = Browser::ask(port, &question).unwrap();
                let first = String::from_utf8(answer.chunk().unwrap()).unwrap();
                // So all have begun, and none is read to its end.
                all_there.wait();
                (!is_killed).then(|| first + &answer.body().unwrap())
            })
        })
        .collect();
    let said: Vec<_> = asking.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(said.iter().filter(|body| body.is_none()).count(), 10);
    for body in said.iter().flatten() {
        assert_eq!(texts(body).concat(), format!("You said: {prompt}."));
        assert!(body.ends_with("\n\nevent: end\ndata: {}\n\n"));
    }
    assert_eq!(plane.count_posts(), 200);
    let began = Instant::now();
    while count(&plane, JournalEvent::is_disconnect) < 10 {
        assert!(began.elapsed() < SOON, "the killed ones are noticed");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(count(&plane, |event| matches!(event, JournalEvent::Complete { .. })), 190);
}
