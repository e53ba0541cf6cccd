//! The function as a process of its own, between the Lambda runtime API, which this test serves, and
//! the local data plane.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on must stop")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentcore_local::{Agent, Fault, JournalEvent, LocalDataPlane};
use agentcore_tests::browser::texts;
use agentcore_tests::{SOON, start};
use serde_json::{Value, json};

/// What the function sends: the head of its answer, or the next piece of it; empty at its end.
enum Sent {
    Head(Vec<(String, String)>),
    Piece(Vec<u8>),
}

struct Function {
    child: Child,
    events: Sender<Value>,
    sent: Receiver<Sent>,
}

impl Function {
    fn start(plane: &LocalDataPlane) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = listener.local_addr().unwrap().to_string();
        let (events, queue) = channel();
        let (tell, sent) = channel();
        thread::spawn(move || serve(&listener, queue, &tell));
        let child = Command::new(env!("CARGO_BIN_EXE_lambda-streaming"))
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", api)
            .env("AWS_LAMBDA_FUNCTION_NAME", "relay")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .env("AGENT_RUNTIME_ARN", plane.runtime_arn())
            .env("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", plane.base_url())
            .env("AWS_ACCESS_KEY_ID", plane.access_key())
            .env("AWS_SECRET_ACCESS_KEY", plane.secret_key())
            .env("SESSION_SECRET", "correct horse battery staple")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, events, sent }
    }

    fn call(&self, body: &Value) {
        self.event(json!({
            "version": "2.0",
            "body": body.to_string(),
            "isBase64Encoded": false,
            "requestContext": {"authorizer": {"iam": {"userArn": "arn:aws:iam::123456789012:user/ada"}}},
        }));
    }

    fn event(&self, event: Value) {
        self.events.send(event).unwrap();
        let Sent::Head(head) = self.next() else { panic!("a piece without a head") };
        let header = |name: &str| head.iter().find(|(known, _)| known == name).unwrap().1.as_str();
        assert_eq!(header("lambda-runtime-function-response-mode"), "streaming");
        assert_eq!(header("content-type"), "application/vnd.awslambda.http-integration-response");
    }

    fn next(&self) -> Sent {
        self.sent.recv_timeout(SOON).unwrap()
    }

    fn piece(&self) -> Vec<u8> {
        match self.next() {
            Sent::Piece(piece) => piece,
            Sent::Head(_) => panic!("a head within an answer"),
        }
    }

    /// Status and headers, which stand before the body.
    fn prelude(&self) -> Value {
        let mut prelude = Vec::new();
        while !prelude.ends_with(&[0; 8]) {
            prelude.extend(self.piece());
        }
        serde_json::from_slice(&prelude[..prelude.len() - 8]).unwrap()
    }

    fn rest(&self) -> String {
        let pieces = std::iter::repeat_with(|| self.piece()).take_while(|piece| !piece.is_empty());
        String::from_utf8(pieces.flatten().collect()).unwrap()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The runtime API: hands out events, takes answers. Its connections may be used side by side.
fn serve(listener: &TcpListener, events: Receiver<Value>, tell: &Sender<Sent>) {
    let (wanted, wants) = channel::<TcpStream>();
    thread::spawn(move || {
        for (stream, event) in wants.into_iter().zip(events) {
            next_event(stream, &event);
        }
    });
    for stream in listener.incoming() {
        let (wanted, tell, stream) = (wanted.clone(), tell.clone(), stream.unwrap());
        thread::spawn(move || converse(stream, &wanted, &tell));
    }
}

fn converse(mut stream: TcpStream, wanted: &Sender<TcpStream>, tell: &Sender<Sent>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some((target, headers)) = head(&mut reader) {
        if target.ends_with("/next") {
            wanted.send(stream.try_clone().unwrap()).unwrap();
            continue;
        }
        let _ = tell.send(Sent::Head(headers));
        while let Some(piece) = chunk(&mut reader) {
            let over = piece.is_empty();
            let _ = tell.send(Sent::Piece(piece));
            if over {
                break;
            }
        }
        let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
    }
}

fn next_event(mut stream: TcpStream, event: &Value) {
    let deadline = SystemTime::now() + Duration::from_secs(30);
    let deadline = deadline.duration_since(UNIX_EPOCH).unwrap().as_millis();
    let body = event.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         lambda-runtime-aws-request-id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n\
         lambda-runtime-deadline-ms: {deadline}\r\n\
         lambda-runtime-invoked-function-arn: arn:aws:lambda:us-west-2:123456789012:function:relay\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
}

/// Target and headers of a request; `None` when the connection is closed.
fn head(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<(String, String)>)> {
    let target = line(reader)?.split(' ').nth(1)?.to_owned();
    let lines = std::iter::from_fn(|| line(reader).filter(|line| !line.is_empty()));
    let header =
        |line: String| line.split_once(": ").map(|(n, v)| (n.to_lowercase(), v.to_owned()));
    Some((target, lines.filter_map(header).collect()))
}

fn line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = reader.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

fn chunk(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let size = usize::from_str_radix(&line(reader)?, 16).ok()?;
    let mut chunk = vec![0; size];
    reader.read_exact(&mut chunk).ok()?;
    // The end of the chunk, or of the trailers, of which there are none.
    line(reader)?;
    Some(chunk)
}

fn question(prompt: &str) -> Value {
    json!({"conversation": "1", "prompt": prompt})
}

#[test]
fn pieces_arrive_as_the_agent_speaks() {
    let paced = Agent::demo_paced(Duration::from_millis(4));
    let plane = start(LocalDataPlane::builder().agent(paced));
    let function = Function::start(&plane);
    function.call(&question(&"word ".repeat(500)));
    let prelude = function.prelude();
    assert_eq!(prelude["statusCode"], 200);
    assert_eq!(prelude["headers"]["content-type"], "text/event-stream");
    assert_eq!(prelude["headers"]["cache-control"], "no-cache, no-transform");
    assert_eq!(function.piece(), b"data: \"You \"\n\n");
    let complete = |event: &JournalEvent| matches!(event, JournalEvent::Complete { .. });
    assert!(!plane.journal().iter().any(|entry| complete(&entry.event)), "the agent goes on");
    let body = function.rest();
    assert_eq!(texts(&body).concat(), format!("said: {}.", "word ".repeat(500)));
    assert!(body.ends_with("\n\nevent: end\ndata: {}\n\n"));
    // The same conversation of the same caller, over the same connection.
    function.call(&question("Hi"));
    function.prelude();
    assert!(texts(&function.rest()).concat().contains("You said earlier: word"));
    assert_eq!(plane.sessions().len(), 1);
}

#[test]
fn what_is_no_question_is_refused_and_failures_have_a_code() {
    let plane = start(LocalDataPlane::builder());
    let function = Function::start(&plane);
    let caller = json!({"authorizer": {"iam": {"userArn": "arn:aws:iam::123456789012:user/ada"}}});
    for (event, field) in [
        (json!({"requestContext": caller}), "body"),
        (json!({"requestContext": caller, "body": "{"}), "body"),
        (json!({"requestContext": caller, "body": r#"{"prompt":"Hi"}"#}), "body"),
        (json!({"requestContext": {}, "body": question("Hi").to_string()}), "userArn"),
    ] {
        function.event(event);
        assert_eq!(function.prelude()["statusCode"], 400);
        let told: Value = serde_json::from_str(&function.rest()).unwrap();
        assert_eq!(told["error"]["code"], "INVALID_INPUT");
        assert_eq!(told["error"]["field"], field);
    }
    assert_eq!(plane.count_posts(), 0);

    plane.faults().push(Fault::status(403, "AccessDeniedException"));
    function.call(&question("Hi"));
    let prelude = function.prelude();
    assert_eq!(prelude["statusCode"], 403);
    assert_eq!(
        prelude["headers"],
        json!({
            "content-type": "application/json",
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
        })
    );
    assert!(function.rest().starts_with(r#"{"error":{"code":"SERVICE","delivery":"rejected""#));
    plane.faults().push(Fault { reset_after_bytes: Some(14), ..Fault::new() });
    function.call(&question("Hi"));
    assert_eq!(function.prelude()["statusCode"], 200);
    let told = "\n\nevent: error\ndata: {\"error\":{\"code\":\"STREAM_INTERRUPTED\",";
    assert!(function.rest().contains(told));
}
