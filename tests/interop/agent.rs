//! Our client and an agent written with the official SDK: behind the local data plane, behind its
//! real binary, and straight to the agent's own port.

use std::time::{Duration, Instant};

use agentcore_client::{
    AgentStream, Auth, Client, Credentials, Environment, Error, SessionId, StreamEnd, TextFormat,
    Timeouts,
};
use agentcore_local::{Agent, LocalDataPlane};
use agentcore_tests::{client, seen, start};
use serde_json::{Value, json};

use crate::moments;
use crate::process::{PATIENCE, Process, sdk_agent};

/// What `agent.py` streams unless told otherwise.
const TOKENS: [&str; 8] = ["Grüße", ", ", "世界", " 🙂", "", " \"quoted\"", "\n", "end."];

/// The agent, a data plane in front of it, and our client on either way to it.
struct Setup {
    plane: LocalDataPlane,
    agent: Process,
    through: Client,
    straight: Client,
}

async fn setup() -> Setup {
    let (agent, url) = sdk_agent().await;
    let plane = start(LocalDataPlane::builder().agent(Agent::container(&url).unwrap()));
    let straight =
        Client::builder_from_env().local_url(url).environment(Environment::empty()).build();
    Setup { through: client(&plane), straight: straight.unwrap(), plane, agent }
}

impl Setup {
    fn both(&self) -> [(&'static str, &Client); 2] {
        [("through the data plane", &self.through), ("straight", &self.straight)]
    }

    /// How often the agent ran calls with this key, by its own account.
    async fn runs(&self, key: &str, case: &str) -> u64 {
        let asked = self.straight.invoke(json!({"case": "calls", "key": key})).send().await;
        asked.unwrap().json::<Value>().unwrap()[case].as_u64().unwrap_or(0)
    }
}

/// Reads to the end: the events' texts, when each came (in ms), and the error if there is one.
async fn drain(stream: &mut AgentStream) -> (Vec<String>, Vec<u64>, Option<Error>) {
    let begun = Instant::now();
    let (mut texts, mut times) = (Vec::new(), Vec::new());
    loop {
        match stream.try_next().await {
            Ok(Some(event)) => {
                texts.push(event.text().unwrap_or_default().to_owned());
                times.push(begun.elapsed().as_millis() as u64);
            }
            Ok(None) => return (texts, times, None),
            Err(error) => return (texts, times, Some(error)),
        }
    }
}

#[tokio::test]
async fn whole_answers() {
    let setup = setup().await;
    for (way, client) in setup.both() {
        let session = SessionId::generate();
        let ask = |payload: Value| client.invoke(payload).session(&session).send();

        let reply = ask(json!({"case": "json", "prompt": "Grüße"})).await.unwrap();
        let expected = json!({"case": "json", "prompt": "Grüße", "session_id": session.as_str()});
        assert_eq!(reply.json::<Value>().unwrap(), expected, "{way}");
        assert_eq!((reply.status(), reply.end()), (200, StreamEnd::Complete));
        assert_eq!((reply.session_id(), reply.text()), (&session, None));

        let reply = ask(json!({"case": "text", "prompt": "hi"})).await.unwrap();
        assert_eq!(reply.text(), Some("You said \"hi\".\nGrüße 🙂"), "{way}");

        let reply = ask(json!({"case": "null"})).await.unwrap();
        assert_eq!((&reply.body()[..], reply.text()), (&b"null"[..], None), "{way}");

        let reply = ask(json!({"case": "big", "bytes": 3_000_000})).await.unwrap();
        assert_eq!(reply.text().unwrap().len(), 3_000_000, "{way}");

        let mut stream =
            client.invoke(json!({"case": "json", "prompt": 1})).stream().await.unwrap();
        let event = stream.try_next().await.unwrap().unwrap();
        assert_eq!(event.json::<Value>().unwrap()["prompt"], 1, "{way}");
        assert!(stream.try_next().await.unwrap().is_none());
    }
    assert!(setup.agent.end().await);
}

#[tokio::test]
async fn headers_reach_the_agent() {
    const CUSTOM: &str = "X-Amzn-Bedrock-AgentCore-Runtime-Custom-Tenant";
    let setup = setup().await;
    for (way, client) in setup.both() {
        let call = client.invoke(json!({"case": "echo"})).header(CUSTOM, "a b");
        let reply = call.send().await.unwrap();
        let seen: Value = reply.json().unwrap();
        let header = |name: &str| seen["headers"][name.to_lowercase()].as_str();
        assert_eq!(header(CUSTOM), Some("a b"), "{way}");
        assert_eq!(header("content-type"), Some("application/json"), "{way}");
        assert_eq!(header("accept"), Some("application/json, text/event-stream"), "{way}");
        assert_eq!(header("authorization"), None, "{way}");
        assert_eq!(header("x-amz-date"), None, "{way}");
        assert_eq!(seen["session_id"], reply.session_id().as_str(), "{way}");
    }
}

#[tokio::test]
async fn tokens_arrive_one_by_one() {
    let setup = setup().await;
    for (way, client) in setup.both() {
        let call = client.invoke(json!({"case": "stream", "pause": 0.15}));
        let mut stream = call.stream().await.unwrap();
        let (texts, times, error) = drain(&mut stream).await;
        assert!(error.is_none(), "{way}: {error:?}");
        assert_eq!(texts, TOKENS, "{way}");
        assert_eq!((stream.end(), stream.events_seen()), (Some(StreamEnd::Complete), 8));
        assert_eq!(stream.content_type(), Some("text/event-stream; charset=utf-8"), "{way}");
        assert!(moments(&times) >= 3, "{way}: {times:?}");

        let reply = client.invoke(json!({"case": "stream"})).send().await.unwrap();
        assert_eq!(reply.text(), Some(TOKENS.concat().as_str()), "{way}");
    }
}

#[tokio::test]
async fn a_stream_of_objects() {
    let setup = setup().await;
    for (way, client) in setup.both() {
        // Any object may have a `text`: it is what the agent says only if we are told so.
        for (format, said) in
            [(TextFormat::Auto, None), (TextFormat::TextObject, Some("line\nbreak"))]
        {
            let call = client.invoke(json!({"case": "stream_objects"})).text_format(format);
            let mut stream = call.stream().await.unwrap();
            let (mut values, mut texts) = (Vec::new(), Vec::new());
            while let Some(event) = stream.try_next().await.unwrap() {
                values.push(event.json::<Value>().unwrap());
                texts.extend(event.text().map(str::to_owned));
            }
            let sent = json!([{"a": 1, "b": "ü"}, 42, null, [1, 2], "", {"text": "line\nbreak"}]);
            assert_eq!(Value::from(values), sent, "{way}");
            assert_eq!(texts, said.as_slice(), "{way}");
        }
    }
}

#[tokio::test]
async fn an_exception_in_place_of_an_answer() {
    let setup = setup().await;
    // The service keeps an agent's words to itself; an agent of one's own may be quoted.
    for ((way, client), (status, said)) in
        setup.both().into_iter().zip([(424, None), (500, Some("the tool failed on purpose"))])
    {
        let error = client.invoke(json!({"case": "error", "key": way})).send().await.unwrap_err();
        assert_eq!(seen(&error), ("Agent", "accepted", Some(status)), "{way}: {error}");
        let payload = error.agent_payload();
        assert_eq!(payload.is_some(), said.is_some(), "{way}: {payload:?}");
        assert!(payload.unwrap_or_default().contains(said.unwrap_or_default()), "{way}");
        assert!(!error.to_string().contains("on purpose"), "{way}: {error}");
        assert_eq!(setup.runs(way, "error").await, 1, "{way}");
    }
}

#[tokio::test]
async fn an_exception_before_and_during_a_stream() {
    let setup = setup().await;
    for (way, client) in setup.both() {
        for (case, before, said) in [
            ("stream_error_before", &[][..], "failed before the first token"),
            ("stream_error_during", &["one", "two"][..], "failed after two tokens"),
        ] {
            let ask = || client.invoke(json!({"case": case, "key": way}));
            let mut stream = ask().stream().await.unwrap();
            assert_eq!(stream.status(), 200, "{way}: the failure comes after the head");
            let (texts, _, error) = drain(&mut stream).await;
            let error = error.expect("the agent fails");
            assert_eq!(texts, before, "{way} {case}");
            assert_eq!(seen(&error), ("Agent", "accepted", Some(200)), "{way} {case}: {error}");
            assert_eq!(stream.end(), Some(StreamEnd::AgentError), "{way} {case}");
            assert_eq!(error.events_seen(), before.len() as u64, "{way} {case}");
            let payload = error.agent_payload().expect("what the agent said");
            assert!(payload.contains(said) && payload.contains("RuntimeError"), "{way}: {payload}");
            assert_eq!(error.session_id(), Some(stream.session_id().as_str()));

            // Collected as a whole, it is no answer either; and no attempt is made twice.
            let error = ask().send().await.unwrap_err();
            assert_eq!(seen(&error).0, "Agent", "{way} {case}: {error}");
            assert_eq!(setup.runs(way, case).await, 2, "{way} {case}");
        }
    }
}

#[tokio::test]
async fn a_slow_answer() {
    let setup = setup().await;
    for (way, client) in setup.both() {
        let slow = |case: &str, seconds, timeouts| {
            client.invoke(json!({"case": case, "seconds": seconds, "key": way})).timeouts(timeouts)
        };
        let patient = Timeouts::default().first_byte(PATIENCE);
        let begun = Instant::now();
        let reply = slow("slow", 1.5, patient).send().await.unwrap();
        assert_eq!(reply.json::<Value>().unwrap()["slept"], 1.5, "{way}");
        assert!(begun.elapsed() >= Duration::from_millis(1_400), "{way}");
        let reply = slow("stream_slow", 0.5, patient).send().await.unwrap();
        assert_eq!(reply.text(), Some("late"), "{way}");

        // The answer is not waited for; the agent runs on, and is not asked again.
        let limit = Duration::from_secs(1);
        let error = slow("slow", 60.0, patient.first_byte(limit)).send().await.unwrap_err();
        assert_eq!(seen(&error), ("Timeout", "unknown", None), "{way}: {error}");
        assert_eq!(error.attempts().len(), 1, "{way}");

        // Only the head comes at once: a stream has begun, and then falls silent.
        let mut stream = slow("stream_slow", 60.0, patient.idle(limit)).stream().await.unwrap();
        let (texts, _, error) = drain(&mut stream).await;
        assert_eq!(seen(&error.unwrap()), ("Timeout", "accepted", Some(200)), "{way}");
        assert_eq!((texts.len(), stream.end()), (0, Some(StreamEnd::IdleTimeout)), "{way}");

        assert_eq!(setup.runs(way, "slow").await, 2, "{way}");
        assert_eq!(setup.runs(way, "stream_slow").await, 2, "{way}");
    }
}

#[tokio::test]
async fn a_session_is_one_to_the_agent() {
    let setup = setup().await;
    for (way, client) in setup.both() {
        let ask = |prompt: &str| client.invoke(json!({"case": "remember", "prompt": prompt}));
        let first = ask("one").send().await.unwrap();
        let again = ask("two").session(first.session_id()).send().await.unwrap();
        let remembered: Value = again.json().unwrap();
        assert_eq!(remembered["prompts"], json!(["one", "two"]), "{way}");
        let other: Value = ask("three").send().await.unwrap().json().unwrap();
        assert_eq!(other["prompts"], json!(["three"]), "{way}");
    }
    assert_eq!(setup.plane.count_posts(), 3);
}

#[tokio::test]
async fn the_binary_in_front_of_the_agent() {
    let (agent, url) = sdk_agent().await;
    let mut plane = Process::data_plane(&["--agent", &url]).await;
    let started = plane.line().await;
    let field = |name: &str| started[name].as_str().unwrap_or_else(|| panic!("{name}: {started}"));
    let keys = Credentials::new(field("access_key"), field("secret_key"), None, None, "test");
    let client = Client::builder(field("runtime_arn"))
        .endpoint_url(field("base_url"))
        .auth(Auth::sigv4(keys))
        .environment(Environment::empty())
        .build()
        .unwrap();

    let reply = client.invoke(json!({"case": "json", "prompt": "hi"})).send().await.unwrap();
    assert_eq!(reply.json::<Value>().unwrap()["prompt"], "hi");
    let call = client.invoke(json!({"case": "stream", "pause": 0.15})).session(reply.session_id());
    let (texts, times, error) = drain(&mut call.stream().await.unwrap()).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(texts, TOKENS);
    assert!(moments(&times) >= 3, "{times:?}");
    let error = client.invoke(json!({"case": "error"})).send().await.unwrap_err();
    assert_eq!(seen(&error), ("Agent", "accepted", Some(424)), "{error}");
    let mut stream = client.invoke(json!({"case": "stream_error_during"})).stream().await.unwrap();
    let (texts, _, error) = drain(&mut stream).await;
    assert_eq!((texts.len(), seen(&error.unwrap()).0), (2, "Agent"));
    client.stop_session(reply.session_id()).send().await.unwrap();

    assert!(plane.end().await && agent.end().await, "both end with their standard input");
}
