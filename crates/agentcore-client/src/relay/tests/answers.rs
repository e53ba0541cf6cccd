//! From the agent's stream to the socket: frames, posts, and how an answer ends.

use super::*;

#[tokio::test]
async fn an_answer_is_relayed_in_signed_numbered_frames() {
    let double = double().answering(sse(&["Hel", "lo\n\"you\""]));
    let status = tell(&double.relay(), json!({"prompt": "Hi", "id": "m1"})).await;
    assert_eq!(status, 200);
    assert_eq!(double.types(), ["start", "delta", "end"]);
    assert_eq!(double.text(), "Hello\n\"you\"");
    for (index, frame) in double.frames().iter().enumerate() {
        assert_eq!(frame["seq"], index);
        assert_eq!(frame["id"], "m1");
    }
    assert_eq!(double.frames()[0]["resumed"], false);
    assert_eq!(double.frames()[2]["state"], "complete");

    let posts = double.0.posts.lock().unwrap();
    assert_eq!(
        posts[0].uri(),
        "https://abc123.execute-api.us-west-2.amazonaws.com/prod/@connections/L0SM9cOFvHcCIhw%3D"
    );
    let authorization = posts[0].headers()["authorization"].to_str().unwrap();
    assert!(authorization.contains("/us-west-2/execute-api/aws4_request"), "{authorization}");
    let invocations = double.0.invocations.lock().unwrap();
    assert_eq!(invocations[0].body(), &Bytes::from_static(br#"{"prompt":"Hi"}"#));
}

#[tokio::test]
async fn what_arrives_during_a_post_goes_out_with_the_next() {
    let (feed, fed) = mpsc::channel(100);
    let double = double().answering(Agent::Feeds(fed));
    double.0.gate.forget_permits(Semaphore::MAX_PERMITS);
    let relay = double.relay();
    let relaying = tokio::spawn(async move { tell(&relay, json!({"prompt": "Hi"})).await });
    for number in 0..50 {
        feed.send(said(&format!("{number} "))).await.unwrap();
    }
    // All is read while not even the first post is through.
    while double.0.chunks_read.load(Ordering::SeqCst) < 50 {
        tokio::task::yield_now().await;
    }
    double.0.gate.add_permits(1);
    while double.types().is_empty() {
        tokio::task::yield_now().await;
    }
    feed.send(said("last")).await.unwrap();
    drop(feed);
    while double.0.chunks_read.load(Ordering::SeqCst) < 51 {
        tokio::task::yield_now().await;
    }
    double.0.gate.add_permits(10);
    assert_eq!(relaying.await.unwrap(), 200);
    // The delta that was under way already, and one for the rest.
    assert_eq!(double.types(), ["start", "delta", "delta", "end"]);
    assert_eq!(double.frames()[2]["text"], "last");
    let expected: String = (0..50).map(|number| format!("{number} ")).collect();
    assert_eq!(double.text(), expected + "last");
}

#[tokio::test]
async fn answers_to_one_socket_take_turns() {
    let double = double();
    let double = [["a", "b"], ["c", "d"], ["e", "f"]]
        .iter()
        .fold(double, |double, texts| double.answering(sse(texts)));
    double.0.gate.forget_permits(Semaphore::MAX_PERMITS);
    let relay = double.relay();
    let ask = |connection: &'static str, id: &'static str| {
        let (relay, body) = (relay.clone(), json!({"prompt": "Hi", "id": id}).to_string());
        tokio::spawn(async move { relay.handle(event_of(connection, &body), context()).await })
    };
    let settled = async || {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        double.0.ends.lock().unwrap().len() - double.types().len()
    };
    let both = [ask("A=", "m1"), ask("A=", "m2")];
    while double.0.ends.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(settled().await, 1, "posts under way to one socket");
    // Nobody else's socket has to wait for it.
    let other = ask("B=", "m3");
    assert_eq!(settled().await, 2);
    while double.types().len() < 9 {
        let before = double.types().len();
        double.0.gate.add_permits(1);
        while double.types().len() == before {
            tokio::task::yield_now().await;
        }
        assert!(settled().await <= 2);
    }
    for asked in both.into_iter().chain([other]) {
        assert_eq!(asked.await.unwrap().status_code(), 200);
    }
    for (id, text) in [("m1", "ab"), ("m2", "cd"), ("m3", "ef")] {
        let frames: Vec<_> = double.frames().into_iter().filter(|f| f["id"] == id).collect();
        let numbers: Vec<_> = frames.iter().map(|frame| frame["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(frames[1]["text"], text);
    }
}

#[tokio::test]
async fn a_slow_socket_slows_the_agent_down() {
    let (feed, fed) = mpsc::channel(4000);
    let double = double().answering(Agent::Feeds(fed));
    double.0.gate.forget_permits(Semaphore::MAX_PERMITS);
    let relay = double.relay();
    let relaying = tokio::spawn(async move { tell(&relay, json!({"prompt": "Hi"})).await });
    let piece = "x".repeat(1000);
    for _ in 0..4000 {
        feed.send(said(&piece)).await.unwrap();
    }
    drop(feed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let read = double.0.chunks_read.load(Ordering::SeqCst);
    assert!((256..=400).contains(&read), "{read} KB were read ahead");
    double.0.gate.add_permits(1000);
    assert_eq!(relaying.await.unwrap(), 200);
    assert_eq!(double.text().len(), 4_000_000);
    assert_eq!(double.types().last().unwrap(), "end");
}

#[tokio::test]
async fn a_client_that_is_gone_ends_the_invocation_at_once() {
    let (feed, fed) = mpsc::channel(8);
    let double = double().answering(Agent::Feeds(fed)).posts_end_with(&[200, 200, 410]);
    let relay = double.relay();
    let relaying = tokio::spawn(async move { tell(&relay, json!({"prompt": "Hi"})).await });
    feed.send(said("a")).await.unwrap();
    while double.types().len() < 2 {
        tokio::task::yield_now().await;
    }
    feed.send(said("b")).await.unwrap();
    assert_eq!(relaying.await.unwrap(), 200);
    assert_eq!(double.0.agents_left.load(Ordering::SeqCst), 1);
    assert_eq!(double.types(), ["start", "delta"]);
}

#[tokio::test(start_paused = true)]
async fn silence_is_filled_with_heartbeats_which_notice_that_a_client_is_gone() {
    let (feed, fed) = mpsc::channel(8);
    let statuses = [200, 200, 200, 200, 410];
    let double = double().answering(Agent::Feeds(fed)).posts_end_with(&statuses);
    let begun = tokio::time::Instant::now();
    // No deadline: the system's clock goes on while this one jumps.
    let asked = message(json!({"prompt": "Hi", "id": "m"}));
    let status = double.relay().handle(asked, LambdaContext::default()).await.status_code();
    assert_eq!(status, 200);
    assert_eq!(double.types(), ["start", "heartbeat", "heartbeat", "heartbeat"]);
    let silent = begun.elapsed();
    assert!(silent >= Duration::from_secs(20) && silent < Duration::from_secs(24), "{silent:?}");
    assert_eq!(double.0.agents_left.load(Ordering::SeqCst), 1);
    drop(feed);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_or_broken_post_is_repeated_with_its_number() {
    let double = double()
        .answering(sse(&["a", "b"]))
        .posts_end_with(&[200, 429, 429, 429, 429, 429, 429, 503, 0, 200]);
    assert_eq!(tell(&double.relay(), json!({"prompt": "Hi"})).await, 200);
    assert_eq!(double.types(), ["start", "delta", "end"]);
    assert_eq!(double.text(), "ab");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_post_is_given_up_before_the_time_is_up() {
    let double = double().answering(sse(&["a"])).posts_end_with(&[429; 100]);
    let begun = tokio::time::Instant::now();
    let context = LambdaContext::default().remaining(Duration::from_secs(20));
    let response = double.relay().handle(message(json!({"prompt": "Hi"})), context).await;
    assert_eq!(response.status_code(), 200);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(double.types().is_empty());
}

#[tokio::test]
async fn a_post_that_is_forbidden_ends_the_answer() {
    let double = double().answering(sse(&["a"])).posts_end_with(&[403]);
    assert_eq!(tell(&double.relay(), json!({"prompt": "Hi"})).await, 200);
    assert!(double.types().is_empty());
}

#[tokio::test]
async fn long_texts_are_cut_between_characters_and_fit() {
    let nasty: String = "aé\"\\\n\u{1}😀".repeat(30_000);
    let double = double().answering(sse(&[&nasty]));
    assert_eq!(tell(&double.relay(), json!({"prompt": "Hi"})).await, 200);
    assert!(double.text() == nasty);
    let sizes: Vec<_> = double.bodies().iter().map(String::len).collect();
    assert!(sizes.len() > 3 && sizes.iter().all(|size| *size <= 128 << 10), "{sizes:?}");
    assert!(sizes[1] > (128 << 10) - 16, "no room is wasted: {sizes:?}");
    let numbers: Vec<_> = double.frames().iter().map(|f| f["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_gateway_that_takes_less_gets_less() {
    let mut double = double();
    Arc::get_mut(&mut double.0).unwrap().longest = 10_000;
    let text = "0123456789".repeat(10_000);
    let double = double.answering(sse(&[&text]));
    assert_eq!(tell(&double.relay(), json!({"prompt": "Hi"})).await, 200);
    assert!(double.text() == text);
    assert_eq!(double.types().last().unwrap(), "end");
}

#[tokio::test]
async fn an_answer_is_cut_before_the_time_is_up() {
    let (feed, fed) = mpsc::channel(8);
    let double = double().answering(Agent::Feeds(fed));
    let relay = double.builder().margin(Duration::from_secs(5)).build().unwrap();
    feed.send(said("a")).await.unwrap();
    let context = LambdaContext::default().remaining(Duration::from_millis(5_300));
    let response = relay.handle(message(json!({"prompt": "Hi"})), context).await;
    assert_eq!(response.status_code(), 200);
    assert_eq!(double.types(), ["start", "delta", "continue"]);
    assert_eq!(double.0.agents_left.load(Ordering::SeqCst), 1);

    // The token leads back into the same session.
    let (before, resume) = (double.session(), double.frames()[2]["resume"].clone());
    let double = double.answering(sse(&["b"]));
    assert_eq!(tell(&relay, json!({"prompt": "go on", "resume": resume})).await, 200);
    assert_eq!(double.session(), before);
    assert_eq!(double.frames()[3]["resumed"], true);
    drop(feed);
}

#[tokio::test]
async fn a_margin_leaves_time_to_ask_and_time_to_return() {
    // A function of 20 s, with a margin that was meant for longer ones.
    let double = double().answering(sse(&["a"]));
    let relay = double.builder().margin(Duration::from_secs(30)).build().unwrap();
    let context = LambdaContext::default().remaining(Duration::from_secs(20));
    let up = Instant::now() + Duration::from_secs(20);
    let response = relay.handle(message(json!({"prompt": "Hi"})), context).await;
    assert_eq!(response.status_code(), 200);
    assert_eq!(double.types(), ["start", "delta", "end"]);
    // A post that hangs must not take the function along.
    let ends = double.0.ends.lock().unwrap();
    assert!(ends.iter().all(|end| end.is_some_and(|end| end < up)), "{ends:?} of {up:?}");
}

#[tokio::test]
async fn an_answer_that_is_cut_is_told_in_plain_text_too() {
    let (feed, fed) = mpsc::channel(8);
    let double = double().answering(Agent::Feeds(fed));
    let format = FrameFormat::Text { end: None };
    let relay = double.builder().format(format).build().unwrap();
    feed.send(said("a")).await.unwrap();
    let context = LambdaContext::default().remaining(Duration::from_secs(4));
    let response = relay.handle(message(json!({"prompt": "Hi"})), context).await;
    assert_eq!(response.status_code(), 200);
    assert_eq!(double.bodies(), ["a", "[timeout] the answer is not complete"]);
    drop(feed);
}

#[tokio::test]
async fn failures_have_stable_codes_and_tell_nothing() {
    let hostile = "data: {\"error\": \"password hunter2\", \"error_type\": \"ValueError\", \"message\": \"An error occurred during streaming\"}\n\n";
    let cases = [
        (Agent::Status(424, r#"{"message":"hunter2"}"#), "agent_error", "accepted", None),
        (Agent::Status(429, "{}"), "throttled", "rejected", None),
        (Agent::Status(403, r#"{"message":"hunter2"}"#), "agent_unavailable", "rejected", None),
        (Agent::Unreachable, "agent_unavailable", "not_sent", None),
        (
            Agent::Answers("text/event-stream", vec![said("a"), hostile.into()]),
            "agent_error",
            "accepted",
            Some("agent_error"),
        ),
    ];
    for (agent, code, delivery, state) in cases {
        let double = double().answering(agent);
        let client = double.builder().build().unwrap();
        // Attempts are not what this is about.
        let relay = WebSocketRelay::builder(
            &client.client().with_options().retry(crate::RetryPolicy::never()).build().unwrap(),
        );
        let relay = relay.environment(Environment::empty()).secret(SECRET).build().unwrap();
        assert_eq!(tell(&relay, json!({"prompt": "Hi"})).await, 200);
        let frame = double.frames().pop().unwrap();
        assert_eq!(frame["type"], "error");
        assert_eq!(frame["code"], code);
        assert_eq!(frame["delivery"], delivery, "{code}");
        assert_eq!(frame["state"].as_str(), state, "{code}");
        let all = double.bodies().concat();
        assert!(!all.contains("hunter2") && !all.contains("arn:"), "{all}");
    }
}

#[tokio::test]
async fn an_answer_of_another_shape_arrives_as_an_event() {
    let json_answer = Agent::Answers("application/json", vec![r#"{"temperature": 21}"#.into()]);
    let double = double().answering(json_answer);
    assert_eq!(tell(&double.relay(), json!({"prompt": "Hi"})).await, 200);
    assert_eq!(double.types(), ["start", "event", "end"]);
    assert_eq!(double.frames()[1]["data"], r#"{"temperature": 21}"#);

    let tool = || {
        let events = ["event: tool\ndata: {\"tool\": \"clock\"}\n\n".to_owned(), said("noon")];
        Agent::Answers("text/event-stream", events.into())
    };
    let double = double.answering(tool()).answering(tool());
    assert_eq!(tell(&double.relay(), json!({"prompt": "Hi"})).await, 200);
    assert_eq!(double.types()[3..], ["start", "delta", "end"]);
    let relay = double.builder().forward_events(true).build().unwrap();
    assert_eq!(tell(&relay, json!({"prompt": "Hi"})).await, 200);
    assert_eq!(double.types()[6..], ["start", "event", "delta", "end"]);
    assert_eq!(double.frames()[7]["event"], "tool");
}

#[tokio::test]
async fn an_answer_that_no_frame_can_hold_is_not_called_complete() {
    let double = double()
        .answering(Agent::Answers("application/octet-stream", vec!["a".into(), "b".into()]));
    assert_eq!(tell(&double.relay(), json!({"prompt": "Hi"})).await, 200);
    assert_eq!(double.types(), ["start", "error"]);
    assert_eq!(double.frames()[1]["delivery"], "accepted");
    assert_eq!(double.0.agents_left.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn plain_text_is_the_agents_words_alone() {
    let format = FrameFormat::Text { end: Some("[DONE]".into()) };
    let double = double().answering(sse(&["Hel", "lo"])).answering(Agent::Unreachable);
    let relay = double.builder().format(format).build().unwrap();
    assert_eq!(tell(&relay, json!({"prompt": "Hi"})).await, 200);
    assert_eq!(double.bodies(), ["Hello", "[DONE]"]);
    assert_eq!(tell(&relay, json!({"prompt": " "})).await, 400);
    assert_eq!(double.bodies()[2], "[invalid_message] prompt must be text, and not empty");
}

#[tokio::test(start_paused = true)]
async fn plain_text_never_arrives_twice() {
    // What may have arrived is not sent again; what was refused is.
    for (statuses, expected) in [
        (&[0][..], &["[interrupted] the answer broke off"][..]),
        (&[200, 503], &["a", "[interrupted] the answer broke off"]),
        (&[0, 0], &[]),
        (&[429, 429, 200, 429], &["a", "b"]),
    ] {
        let (feed, fed) = mpsc::channel(8);
        let double = double().answering(Agent::Feeds(fed)).posts_end_with(statuses);
        let format = FrameFormat::Text { end: None };
        let relay = double.builder().format(format).build().unwrap();
        let relaying = tokio::spawn(async move {
            relay.handle(message(json!({"prompt": "Hi"})), LambdaContext::default()).await
        });
        feed.send(said("a")).await.unwrap();
        while double.bodies().is_empty() && !relaying.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let _ = feed.send(said("b")).await;
        drop(feed);
        assert_eq!(relaying.await.unwrap().status_code(), 200);
        assert_eq!(double.bodies(), expected, "{statuses:?}");
    }
}
