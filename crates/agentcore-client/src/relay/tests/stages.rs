//! The second stage: events that come late, twice or forged, and what stage one waits for.

use super::*;

#[tokio::test]
async fn in_lambda_a_second_invocation_answers() {
    let double = double();
    let relay = in_lambda(&double);
    assert_eq!(tell(&relay, json!({"prompt": "Hi", "id": "m1"})).await, 200);
    assert_eq!((double.asked(), double.types().len()), (0, 0));
    {
        let events = double.0.events.lock().unwrap();
        assert_eq!(
            events[0].uri(),
            "https://lambda.us-west-2.amazonaws.com/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-west-2%3A123456789012%3Afunction%3Arelay/invocations"
        );
        assert_eq!(events[0].headers()["x-amz-invocation-type"], "Event");
        let authorization = events[0].headers()["authorization"].to_str().unwrap();
        assert!(authorization.contains("/us-west-2/lambda/aws4_request"), "{authorization}");
    }
    let double = double.answering(sse(&["Hello"]));
    let event = double.event();
    // Another process, as in Lambda.
    assert_eq!(in_lambda(&double).handle(event.clone(), context()).await.status_code(), 200);
    assert_eq!(double.types(), ["start", "delta", "end"]);
    assert_eq!(double.frames()[0]["id"], "m1");
    assert_eq!(double.asked(), 1);

    // This one sees it for the first time, the second time it does not.
    let double = double.answering(sse(&["Hello"]));
    assert_eq!(relay.handle(event.clone(), context()).await.status_code(), 200);
    assert_eq!(relay.handle(event, context()).await.status_code(), 200);
    assert_eq!(double.asked(), 2);
}

#[tokio::test]
async fn a_claim_keeps_other_processes_from_answering_again() {
    let double = double().answering(sse(&["Hello"]));
    let claimed = Arc::new(Mutex::new(std::collections::HashSet::new()));
    let relay = || {
        let claimed = Arc::clone(&claimed);
        let builder = double.builder_in(&[("AWS_LAMBDA_FUNCTION_NAME", "relay")]);
        builder
            .claim(move |nonce| {
                let first = claimed.lock().unwrap().insert(nonce);
                async move { Ok(first) }
            })
            .build()
            .unwrap()
    };
    assert_eq!(tell(&relay(), json!({"prompt": "Hi"})).await, 200);
    for _ in 0..3 {
        assert_eq!(relay().handle(double.event(), context()).await.status_code(), 200);
    }
    assert_eq!(double.asked(), 1);

    let failing = double.builder().claim(|_| async { Err(Refusal::failed()) }).build().unwrap();
    assert_eq!(failing.handle(double.event(), context()).await.status_code(), 500);
    assert_eq!(double.asked(), 1);
    assert_eq!(double.frames().pop().unwrap()["code"], "internal");
}

#[tokio::test(start_paused = true)]
async fn a_table_says_what_comes_for_the_first_time() {
    let kind = |name: &str| format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{name}"}}"#);
    let taken = kind("ConditionalCheckFailedException").leak();
    let denied = kind("AccessDeniedException").leak();
    let throttled = kind("ThrottlingException").leak();
    for (says, status, asked) in [
        (&[(200, "{}")][..], 200, 1),
        (&[(400, &*taken)], 200, 0),
        (&[(400, &*throttled), (500, ""), (200, "{}")], 200, 1),
        (&[(400, &*denied)], 500, 0),
        (&[(500, ""), (500, ""), (500, ""), (500, "")], 500, 0),
    ] {
        let double = double().answering(sse(&["Hello"]));
        double.0.table.lock().unwrap().extend(says);
        let relay = double.builder().claims_table("relay-claims").build().unwrap();
        // No deadline: the system's clock goes on while this one jumps.
        let event = relay.event_at(SystemTime::now());
        let response = relay.handle(event.clone(), LambdaContext::default()).await;
        assert_eq!((response.status_code(), double.asked()), (status, asked), "{says:?}");
        assert!(double.0.table.lock().unwrap().is_empty());
        let puts = double.0.puts.lock().unwrap();
        assert_eq!(puts[0].uri(), "https://dynamodb.us-west-2.amazonaws.com/");
        assert_eq!(puts[0].headers()["x-amz-target"], "DynamoDB_20120810.PutItem");
        let authorization = puts[0].headers()["authorization"].to_str().unwrap();
        assert!(authorization.contains("/us-west-2/dynamodb/aws4_request"), "{authorization}");
        for put in &*puts {
            // Each try is of the same claimant.
            assert_eq!(put.body(), puts[0].body());
            let put: Value = serde_json::from_slice(put.body()).unwrap();
            assert_eq!(put["TableName"], "relay-claims");
            assert_eq!(put["Item"]["nonce"]["S"], event[MEMBER]["nonce"]);
            assert_eq!(put["ExpressionAttributeValues"][":claimant"], put["Item"]["claimant"]);
        }
    }
}

#[tokio::test]
async fn a_late_event_is_told_and_a_forged_one_is_not() {
    let double = double();
    let relay = in_lambda(&double);
    let old = relay.event_at(SystemTime::now() - Duration::from_secs(31));
    assert_eq!(relay.handle(old, context()).await.status_code(), 400);
    let frame = double.frames().pop().unwrap();
    assert_eq!((&frame["code"], &frame["delivery"]), (&json!("expired"), &json!("not_sent")));
    // A client whose answer has begun has seen that number.
    assert_eq!(frame["seq"], 0);

    let mut forged = relay.event_at(SystemTime::now());
    forged[MEMBER]["connectionId"] = json!("somebody=");
    assert_eq!(relay.handle(forged, context()).await.status_code(), 403);
    for broken in [json!({ MEMBER: 1 }), json!({ MEMBER: {} }), json!({ MEMBER: null })] {
        assert_eq!(relay.handle(broken, context()).await.status_code(), 403);
    }
    assert_eq!((double.asked(), double.types().len()), (0, 1));
}

#[tokio::test]
async fn a_second_stage_that_cannot_begin_is_told() {
    let double = double().posts_end_with(&[403]);
    assert_eq!(tell(&in_lambda(&double), json!({"prompt": "Hi"})).await, 500);
    assert_eq!(double.frames().pop().unwrap()["code"], "internal");
    assert_eq!(double.frames().pop().unwrap()["delivery"], "not_sent");
    // One that may have begun is not asked for again, and nobody says that it has not.
    for (status, asked) in [(500, 2), (0, 3)] {
        let double = double.clone().posts_end_with(&[status]);
        assert_eq!(tell(&in_lambda(&double), json!({"prompt": "Hi"})).await, 500);
        assert_eq!(double.0.events.lock().unwrap().len(), asked);
        assert_eq!(double.frames().pop().unwrap()["delivery"], "unknown", "{status}");
    }
    assert_eq!(double.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_never_answers_is_given_up_while_somebody_listens() {
    let double = double();
    let never = || std::future::pending::<Result<bool, Refusal>>();
    let payload = move |_| async move { never().await.map(|_| json!({}).into()) };
    let relay = double
        .builder_in(&[("AWS_LAMBDA_FUNCTION_NAME", "relay")])
        .payload(payload)
        .claim(move |_| never())
        .build()
        .unwrap();
    let begun = tokio::time::Instant::now();
    let context = || LambdaContext::default().remaining(Duration::from_secs(900));
    let response = relay.handle(message(json!({"prompt": "Hi"})), context()).await;
    assert_eq!(response.status_code(), 504);
    // By then the gateway has told the client that nobody answers.
    assert!(begun.elapsed() < Duration::from_secs(29));
    let event = relay.event_at(SystemTime::now());
    assert_eq!(relay.handle(event, context()).await.status_code(), 504);
    assert!(begun.elapsed() < Duration::from_secs(900 + 29));
    for frame in double.frames() {
        assert_eq!((&frame["code"], &frame["delivery"]), (&json!("timeout"), &json!("not_sent")));
    }
    assert_eq!(double.types(), ["error", "error"]);
    assert!(double.asked() == 0 && double.0.events.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_late_duplicate_says_nothing_where_it_is_known() {
    let double = double();
    let late = || SystemTime::now() - Duration::from_secs(31);
    let relay = in_lambda(&double);
    let event = relay.event_at(late());
    assert_eq!(relay.handle(event.clone(), context()).await.status_code(), 400);
    assert_eq!(relay.handle(event, context()).await.status_code(), 200);
    assert_eq!(double.types(), ["error"]);
    let claimed = double.builder().claim(|_| async { Ok(false) }).build().unwrap();
    assert_eq!(claimed.handle(claimed.event_at(late()), context()).await.status_code(), 200);
    let unclaimed = double.builder().claim(|_| async { Ok(true) }).build().unwrap();
    assert_eq!(unclaimed.handle(unclaimed.event_at(late()), context()).await.status_code(), 400);
    assert_eq!(double.types(), ["error", "error"]);
    assert_eq!(double.asked(), 0);
}

#[tokio::test]
async fn what_a_hook_leaves_no_time_for_is_not_begun() {
    let double = double();
    let relay = double
        .builder_in(&[("AWS_LAMBDA_FUNCTION_NAME", "relay")])
        .payload(|_| async {
            // One that waits with its thread can't be given up.
            std::thread::sleep(Duration::from_millis(700));
            Ok(json!({}).into())
        })
        .build()
        .unwrap();
    let mut event = message(json!({"prompt": "Hi"}));
    let taken = SystemTime::now() - Duration::from_millis(27_700);
    let taken = taken.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    event["requestContext"]["requestTimeEpoch"] = json!(taken.as_millis() as u64);
    let response = relay.handle(event, context()).await;
    assert!(response.status_code() >= 500);
    assert!(double.0.events.lock().unwrap().is_empty());
    assert_eq!(double.frames().pop().unwrap()["delivery"], "not_sent");
}

/// After how many seconds a message of that age is given up whose hook never answers. Once per
/// test: the system's clock does not jump along.
async fn given_up_after(age: Duration) -> u64 {
    let double = double();
    let payload = |_| std::future::pending::<Result<crate::Payload, Refusal>>();
    let in_lambda = double.builder_in(&[("AWS_LAMBDA_FUNCTION_NAME", "relay")]);
    let mut event = message(json!({"prompt": "Hi"}));
    let taken = (SystemTime::now() - age).duration_since(SystemTime::UNIX_EPOCH).unwrap();
    event["requestContext"]["requestTimeEpoch"] = json!(taken.as_millis() as u64);
    let begun = tokio::time::Instant::now();
    let left = LambdaContext::default().remaining(Duration::from_secs(900));
    let response = in_lambda.payload(payload).build().unwrap().handle(event, left).await;
    assert_eq!(response.status_code(), 504);
    assert!(double.0.events.lock().unwrap().is_empty());
    assert_eq!(double.frames()[0]["code"], "timeout");
    begun.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn stage_one_counts_from_when_the_gateway_took_the_message() {
    let took = given_up_after(Duration::from_secs(20)).await;
    assert!(took <= 8, "{took} s after a cold start of 20");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_nobody_waits_for_any_more_is_not_begun() {
    assert_eq!(given_up_after(Duration::from_secs(60)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_sample_of_an_event_may_be_old() {
    let took = given_up_after(Duration::from_secs(365 * 86_400)).await;
    assert!(took >= 27, "{took} s");
}
