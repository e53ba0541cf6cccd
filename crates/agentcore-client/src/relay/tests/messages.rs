//! What comes in: handshakes, messages good and bad, whose they are, and the hooks.

use super::*;

#[tokio::test]
async fn bad_input_asks_nothing_and_says_what_is_wrong() {
    let double = double();
    let relay = double.relay();
    let ok = message(json!({"prompt": "Hi"}));
    let with = |member: &str, value: Value| {
        let mut event = ok.clone();
        event["requestContext"][member] = value;
        event
    };
    let body = |body: Value| {
        let mut event = ok.clone();
        event["body"] = body;
        event
    };
    // Nobody to tell.
    for event in [
        Value::Null,
        json!([]),
        json!({}),
        json!({"requestContext": 1}),
        with("connectionId", json!("")),
        with("connectionId", Value::Null),
        with("connectionId", json!("a b")),
        with("routeKey", Value::Null),
        with("apiId", json!("evil.example/")),
        with("stage", json!("a/b")),
        with("connectionId", json!("..")),
        with("connectionId", json!("../evil")),
    ] {
        let response = relay.handle(event.clone(), context()).await;
        assert_eq!(response.status_code(), 400, "{event}");
        assert!(response.to_json()["body"].as_str().unwrap().contains("message"));
    }
    assert!(double.types().is_empty());
    for (event, status) in [
        (with("routeKey", json!("other")), 404),
        (body(json!("not JSON")), 400),
        (body(json!("")), 400),
        (body(Value::Null), 400),
        (body(json!("[]")), 400),
        (body(json!("\"Hi\"")), 400),
        (body(json!("{}")), 400),
        (body(json!(r#"{"prompt": ""}"#)), 400),
        (body(json!(r#"{"prompt": 7}"#)), 400),
        (body(json!(r#"{"prompt": "Hi", "conversation": 7}"#)), 400),
        (body(json!(r#"{"prompt": "Hi", "conversation": ""}"#)), 400),
        (body(json!(r#"{"prompt": "Hi", "sessionId": "short"}"#)), 400),
        (body(json!(r#"{"prompt": "Hi", "id": 1}"#)), 400),
    ] {
        let told = double.types().len();
        let response = relay.handle(event.clone(), context()).await;
        assert_eq!(response.status_code(), status, "{event}");
        assert_eq!(double.types().len(), told + 1, "{event}");
        let frame = double.frames().pop().unwrap();
        assert_eq!((&frame["type"], &frame["code"]), (&json!("error"), &json!("invalid_message")));
        assert_eq!(frame["delivery"], "not_sent");
    }
    assert_eq!(double.asked(), 0);

    // Its sender knows which message is meant.
    for wrong in [json!({"conversation": 7}), json!({"resume": "r".repeat(2_000)}), json!({})] {
        let mut asked = wrong.clone();
        asked["id"] = json!("m1");
        assert_eq!(tell(&relay, asked).await, 400);
        assert_eq!(double.frames().pop().unwrap()["id"], "m1", "{wrong}");
    }

    // An id that no gateway gives is not repeated.
    let mut event = with("messageId", json!("m".repeat(200_000)));
    event["body"] = json!("{}");
    assert_eq!(relay.handle(event, context()).await.status_code(), 400);
    assert_eq!(double.frames().pop().unwrap()["code"], "invalid_message");
}

#[tokio::test]
async fn base64_bodies_are_decoded() {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let double = double().answering(sse(&["ok"]));
    let mut event = message(json!({}));
    event["isBase64Encoded"] = json!(true);
    event["body"] = json!(encode(r#"{"prompt": "Grüße"}"#));
    assert_eq!(double.relay().handle(event.clone(), context()).await.status_code(), 200);
    let asked = double.0.invocations.lock().unwrap()[0].body().clone();
    assert_eq!(serde_json::from_slice::<Value>(&asked).unwrap(), json!({"prompt": "Grüße"}));
    for bad in ["?", &encode("\u{0}")] {
        event["body"] = json!(bad);
        assert_eq!(double.relay().handle(event.clone(), context()).await.status_code(), 400);
    }
    assert_eq!(double.asked(), 1);
}

#[tokio::test]
async fn a_handshake_is_checked() {
    let double = double();
    let connect = |headers: Value| {
        let mut event = message(json!({}));
        event["requestContext"]["routeKey"] = json!("$connect");
        event["headers"] = headers;
        event
    };
    let open = double.relay();
    assert_eq!(open.handle(connect(json!({})), context()).await.status_code(), 200);
    let relay = double
        .builder()
        .allowed_origins(["https://chat.example.com"])
        .subprotocols(["chat.v2", "chat.v1"])
        .build()
        .unwrap();
    for (headers, status) in [
        (json!({"Origin": "https://chat.example.com"}), 200),
        (json!({"origin": "https://CHAT.example.com"}), 200),
        (json!({"Origin": "https://evil.example.com"}), 403),
        (json!({"Origin": "https://chat.example.com.evil"}), 403),
        (json!({"Origin": "null"}), 403),
        (json!({}), 403),
    ] {
        let response = relay.handle(connect(headers.clone()), context()).await;
        assert_eq!(response.status_code(), status, "{headers}");
        assert_eq!(response.headers().count(), 0);
    }
    let offers =
        json!({"Origin": "https://chat.example.com", "Sec-WebSocket-Protocol": "a, chat.v1"});
    let response = relay.handle(connect(offers), context()).await.to_json();
    assert_eq!(response["headers"], json!({"Sec-WebSocket-Protocol": "chat.v1"}));

    let mut gone = message(json!({}));
    gone["requestContext"]["routeKey"] = json!("$disconnect");
    assert_eq!(relay.handle(gone, context()).await.to_json(), json!({"statusCode": 200}));
    assert!(double.types().is_empty() && double.asked() == 0);
}

#[tokio::test]
async fn a_ping_is_answered_without_the_agent() {
    let double = double();
    assert_eq!(tell(&in_lambda(&double), json!({"type": "ping"})).await, 200);
    assert_eq!(double.types(), ["pong"]);
    assert!(double.0.events.lock().unwrap().is_empty());
}

#[tokio::test]
async fn principals_have_sessions_of_their_own() {
    let double = double();
    let relay = double.builder().principal("sub").build().unwrap();
    let ask = async |connection: &str, who: Value, body: Value| {
        let double = double.clone().answering(sse(&["ok"]));
        let mut event = event_of(connection, &body.to_string());
        event["requestContext"]["authorizer"] = json!({ "sub": who });
        assert_eq!(relay.handle(event, context()).await.status_code(), 200);
        let start = double.frames().into_iter().rfind(|f| f["type"] == "start").unwrap();
        (double.session(), start)
    };
    let chat = json!({"prompt": "Hi", "conversation": "1"});
    let (ada, start) = ask("A=", json!("ada"), chat.clone()).await;
    assert_eq!(ada, ask("B=", json!("ada"), chat.clone()).await.0);
    assert_ne!(ada, ask("A=", json!("bob"), chat).await.0);
    let resume = json!({"prompt": "Hi", "resume": start["resume"]});
    let (resumed, again) = ask("C=", json!("ada"), resume.clone()).await;
    assert_eq!((resumed, &again["resumed"]), (ada.clone(), &json!(true)));
    let (other, fresh) = ask("C=", json!("bob"), resume).await;
    assert_ne!(other, ada);
    assert_eq!(fresh["resumed"], false);

    let asked = double.asked();
    for who in [Value::Null, json!(""), json!({})] {
        let mut event = message(json!({"prompt": "Hi"}));
        event["requestContext"]["authorizer"] = json!({ "sub": who });
        assert_eq!(relay.handle(event, context()).await.status_code(), 401);
        assert_eq!(double.frames().pop().unwrap()["code"], "unauthorized");
    }
    assert_eq!(double.asked(), asked);
}

#[tokio::test]
async fn hooks_choose_payload_and_principal() {
    let double = double().answering(sse(&["ok"]));
    let relay = double
        .builder()
        .principal_with(|event: Value| async move {
            Ok(event["requestContext"]["stage"].as_str().map(str::to_owned))
        })
        .payload(|message: RelayMessage| async move {
            if message.body["say"].is_null() {
                return Err(Refusal::new("say something"));
            }
            assert!(!format!("{message:?}").contains("hunter2"));
            assert_eq!(message.principal.as_deref(), Some("prod"));
            assert_eq!(message.connection_id, CONNECTION);
            Ok(json!({"input": message.body["say"], "session": message.session_id.as_str()}).into())
        })
        .build()
        .unwrap();
    assert_eq!(tell(&relay, json!({"say": "Hi", "resume": "hunter2"})).await, 200);
    let asked = double.0.invocations.lock().unwrap()[0].body().clone();
    let asked: Value = serde_json::from_slice(&asked).unwrap();
    assert_eq!(asked, json!({"input": "Hi", "session": double.session()}));
    assert_eq!(tell(&relay, json!({"prompt": "Hi"})).await, 400);
    let frame = double.frames().pop().unwrap();
    assert_eq!((&frame["code"], &frame["message"]), (&json!("refused"), &json!("say something")));
    assert_eq!(double.asked(), 1);
}
