//! The function behind the gateway: how it is invoked, what it is told, and how its processes end.

use crate::gateway::{Function, command, wait};
use crate::support::{Call, start};
use agentcore_local::{Gateway, JournalEvent, LocalDataPlane};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn invoke(plane: &LocalDataPlane, name: &str, kind: &str, body: &Value) -> Call {
    let target = format!("/2015-03-31/functions/{name}/invocations");
    let mut call = Call::new(plane, "POST", &target).header("X-Amz-Invocation-Type", kind);
    call.body = body.to_string().into_bytes();
    call
}

fn run(plane: &LocalDataPlane, body: &Value) -> Value {
    let call = invoke(plane, "relay", "RequestResponse", body).signed_for(plane, "lambda");
    let answer = call.send(plane);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn ended(plane: &LocalDataPlane) -> Vec<(String, String)> {
    let entries = plane.journal().into_iter();
    entries
        .filter_map(|e| match e.event {
            JournalEvent::FunctionEnded { request_id, outcome, .. } => Some((request_id, outcome)),
            _ => None,
        })
        .collect()
}

/// The entries, once there are so many ends of runs.
fn wait_for_ends(plane: &LocalDataPlane, count: usize) -> Vec<(String, String)> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while ended(plane).len() < count && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let all = ended(plane);
    assert_eq!(all.len(), count);
    all
}

#[cfg(target_os = "linux")]
fn lives(pid: u64) -> bool {
    // A dead process may wait for its parent to notice.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}

#[test]
fn it_is_invoked_and_told_what_lambda_tells() {
    let function = Function::new();
    let plane = function.start();
    let arn = plane.function_arn().expect("a function").to_owned();
    for name in ["relay", &arn, "relay:%24LATEST"] {
        let call = invoke(&plane, name, "RequestResponse", &json!({ "n": 1 }));
        assert_eq!(call.signed_for(&plane, "lambda").send(&plane).status, 200, "{name}");
    }
    let seen = &function.seen()[0];
    assert_eq!(seen["event"], json!({ "n": 1 }));
    let headers = &seen["headers"];
    assert_eq!(headers["Lambda-Runtime-Invoked-Function-Arn"], json!(arn));
    let deadline: u128 =
        headers["Lambda-Runtime-Deadline-Ms"].as_str().and_then(|t| t.parse().ok()).expect("ms");
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_millis();
    assert!((now + 800_000..=now + 900_000).contains(&deadline));
    assert!(headers["Lambda-Runtime-Trace-Id"].as_str().is_some_and(|t| t.starts_with("Root=1-")));
    assert_eq!(headers["Lambda-Runtime-Aws-Request-Id"].as_str().map(str::len), Some(36));
}

#[test]
fn its_environment_is_lambdas_and_nobody_elses() {
    let gateway = Gateway::new(command(&[])).handler("app.main").variable("MINE", "1");
    let plane = start(LocalDataPlane::builder().session_token("token").gateway(gateway));
    let all = run(&plane, &json!({ "do": "environment" }));
    let origin = format!("http://{}", plane.address());
    for (name, value) in [
        ("_HANDLER", "app.main"),
        ("MINE", "1"),
        ("AWS_REGION", "us-west-2"),
        ("AWS_LAMBDA_FUNCTION_NAME", "relay"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_ACCESS_KEY_ID", plane.access_key()),
        ("AWS_SECRET_ACCESS_KEY", plane.secret_key()),
        ("AWS_SESSION_TOKEN", "token"),
        ("AWS_ENDPOINT_URL_LAMBDA", &origin),
        ("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI", &origin),
        ("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", &origin),
        ("AGENT_RUNTIME_ARN", plane.runtime_arn()),
    ] {
        assert_eq!(all[name], value, "{name}");
    }
    assert_eq!(all["AGENTCORE_RELAY_SECRET"].as_str().map(str::len), Some(64));
    // Only its own process may take work from its runtime API: no page, no rebound name.
    let api = all["AWS_LAMBDA_RUNTIME_API"].as_str().expect("an address");
    let ask = |headers: &str| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(api).expect("connected");
        let head = format!(
            "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nConnection: close\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        answer.get(9..12).map(str::to_owned)
    };
    assert_eq!(ask("Host: rebound.example\r\n").as_deref(), Some("403"));
    let page = format!("Host: {api}\r\nOrigin: http://{api}\r\n");
    assert_eq!(ask(&page).as_deref(), Some("403"));
}

#[test]
fn calls_are_judged() {
    let plane = Function::new().start();
    let call = |name: &str, kind: &str| invoke(&plane, name, kind, &json!({}));
    let sign = |call: Call| call.signed_for(&plane, "lambda");
    assert_eq!(call("relay", "Event").send(&plane).status, 403);
    assert_eq!(call("relay", "Event").signed_for(&plane, "execute-api").send(&plane).status, 403);
    let unknown = sign(call("other", "Event")).send(&plane);
    assert_eq!(unknown.error(), (404, "ResourceNotFoundException"));
    assert_eq!(sign(call("relay", "Sometimes")).send(&plane).status, 400);
    assert_eq!(sign(call("relay", "DryRun")).send(&plane).status, 204);
    let mut broken = call("relay", "Event");
    broken.body = b"{".to_vec();
    assert_eq!(sign(broken).send(&plane).error(), (400, "InvalidRequestContentException"));
    let mut large = call("relay", "Event");
    large.body = format!("\"{}\"", "x".repeat(1024 * 1024)).into_bytes();
    assert_eq!(sign(large).send(&plane).error(), (413, "RequestTooLargeException"));
    assert!(ended(&plane).is_empty());
}

#[test]
fn events_are_accepted_at_once_and_repeated_only_if_asked() {
    let function = Function::new();
    let plane = function.start();
    let event = json!({ "fail": "always" });
    let send = |plane: &LocalDataPlane| {
        let call = invoke(plane, "relay", "Event", &event).signed_for(plane, "lambda");
        let answer = call.send(plane);
        assert_eq!((answer.status, answer.text().as_str()), (202, ""));
        answer.header("x-amzn-requestid").expect("an id").to_owned()
    };
    let id = send(&plane);
    assert_eq!(wait_for_ends(&plane, 1), [(id.clone(), "error".to_owned())]);
    // The same event once more, as Lambda now and then delivers it.
    assert!(plane.redeliver_event(None, Duration::ZERO));
    wait_for_ends(&plane, 2);
    assert!(plane.redeliver_event(Some(&id), Duration::from_millis(10)));
    assert!(wait_for_ends(&plane, 3).iter().all(|(other, _)| *other == id));
    assert!(!plane.redeliver_event(Some("another"), Duration::ZERO));
    assert_eq!(function.seen().len(), 3);

    let repeated =
        Function::new().with(|g| g.max_retry_attempts(2).retry_delay(Duration::from_millis(10)));
    let plane = repeated.start();
    let id = send(&plane);
    assert!(wait_for_ends(&plane, 3).iter().all(|(other, _)| *other == id));
}

#[test]
fn control_delivers_again() {
    let plane = Function::new().start();
    let control = |path: &str, body: &str| {
        let mut call =
            Call::new(&plane, "POST", path).header("x-local-token", plane.control_token());
        call.body = body.as_bytes().to_vec();
        call.send(&plane).status
    };
    assert_eq!(control("/_local/redeliver", ""), 404);
    let event = invoke(&plane, "relay", "Event", &json!({})).signed_for(&plane, "lambda");
    assert_eq!(event.send(&plane).status, 202);
    assert_eq!(control("/_local/redeliver", r#"{"delay_ms":1}"#), 200);
    wait_for_ends(&plane, 2);
    assert_eq!(control("/_local/redeliver", r#"{"dely_ms":1}"#), 400);
}

#[test]
fn what_goes_wrong_is_told() {
    let function = Function::new().with(|g| g.function_timeout(Duration::from_secs(3)));
    let plane = function.start();
    let failed = run(&plane, &json!({ "fail": "asked to" }));
    assert_eq!(failed, json!({ "errorType": "ValueError", "errorMessage": "asked to" }));
    let crashed = run(&plane, &json!({ "exit": 3 }));
    assert!(crashed["errorMessage"].as_str().is_some_and(|m| m.contains("exit status: 3")));
    let late = run(&plane, &json!({ "sleep": 600 }));
    assert!(late["errorMessage"].as_str().is_some_and(|m| m.contains("timed out after 3.00")));
    #[cfg(target_os = "linux")]
    {
        let pid = function.seen()[2]["pid"].as_u64().expect("a pid");
        let deadline = Instant::now() + Duration::from_secs(20);
        while lives(pid) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!lives(pid));
    }
    // Each time there is a new process.
    assert!(run(&plane, &json!({}))["pid"].is_u64());
    let outcomes: Vec<_> = ended(&plane).into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, ["error", "crash", "timeout", "ok"]);

    let plane = start(LocalDataPlane::builder().gateway(Gateway::new(command(&["broken"]))));
    assert_eq!(run(&plane, &json!({}))["errorMessage"], "no such module");
    let plane = start(LocalDataPlane::builder().gateway(Gateway::new(["/nowhere/to/be/found"])));
    let absent = run(&plane, &json!({}));
    assert!(absent["errorMessage"].as_str().is_some_and(|m| m.contains("cannot be started")));
}

#[test]
fn runs_share_processes_but_not_at_the_same_time() {
    let function = Function::new().with(|g| g.concurrency(2));
    let plane = function.start();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| run(&plane, &json!({ "sleep": 0.2 }))["pid"].clone()))
            .collect();
        let mut pids: Vec<u64> =
            runs.into_iter().filter_map(|run| run.join().expect("ran").as_u64()).collect();
        assert_eq!(pids.len(), 4);
        pids.sort_unstable();
        pids.dedup();
        assert!(pids.len() <= 2, "{pids:?}");
    });
    let (mut running, mut most) = (0, 0);
    for entry in plane.journal() {
        match entry.event {
            JournalEvent::FunctionStarted { .. } => running += 1,
            JournalEvent::FunctionEnded { .. } => running -= 1,
            _ => {}
        }
        most = running.max(most);
    }
    assert_eq!(most, 2);
}

#[cfg(target_os = "linux")]
#[test]
fn processes_end_with_the_data_plane() {
    let function = Function::new();
    let plane = function.start();
    let idle = run(&plane, &json!({}))["pid"].as_u64().expect("a pid");
    let event = invoke(&plane, "relay", "Event", &json!({ "sleep": 600 }));
    assert_eq!(event.signed_for(&plane, "lambda").send(&plane).status, 202);
    let _ = wait(
        &plane,
        |e| matches!(e, JournalEvent::FunctionStarted { trigger, .. } if trigger == "event"),
    );
    drop(plane);
    let deadline = Instant::now() + Duration::from_secs(20);
    while lives(idle) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!lives(idle));
}

#[test]
fn a_gateway_that_makes_no_sense_does_not_start() {
    let refused = |gateway: Gateway| {
        let plane = LocalDataPlane::builder().gateway(gateway).start_blocking();
        plane.expect_err("refused").to_string()
    };
    assert!(refused(Gateway::new([""])).contains("command"));
    assert!(refused(Gateway::new(["x"]).stage("a/b")).contains("stage"));
    assert!(refused(Gateway::new(["x"]).concurrency(0)).contains("concurrency"));
    assert!(refused(Gateway::new(["x"]).page("/nowhere/to/be/found")).contains("page"));
    assert!(refused(Gateway::new(["x"]).variable("A=B", "")).contains("variable"));
}
