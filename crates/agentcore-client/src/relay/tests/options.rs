//! What a relay is built from.

use super::*;

#[tokio::test]
async fn endpoints_can_be_given() {
    let target = async |builder: WebSocketRelayBuilder, double: &Double| {
        tell(&builder.build().unwrap(), json!({"type": "ping"})).await;
        double.0.posts.lock().unwrap().pop().unwrap().uri().to_string()
    };
    let double = double();
    let custom = double.builder().endpoint_url("https://ws.example.com/chat");
    assert_eq!(
        target(custom, &double).await,
        "https://ws.example.com/chat/@connections/L0SM9cOFvHcCIhw%3D"
    );
    let name = "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI";
    for (url, expected) in [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/prod/@connections/L0SM9cOFvHcCIhw%3D"),
        ("http://localhost:9000/dev", "http://localhost:9000/dev/@connections/L0SM9cOFvHcCIhw%3D"),
    ] {
        assert_eq!(target(double.builder_in(&[(name, url)]), &double).await, expected);
    }
    let elsewhere = double.builder_in(&[(name, "http://evil.example")]).build().unwrap_err();
    assert_eq!(elsewhere.field(), Some(name));
    let cn = double.builder().region("cn-north-1");
    assert!(target(cn, &double).await.contains("execute-api.cn-north-1.amazonaws.com.cn/prod/"));
}

#[test]
fn what_is_wrong_with_a_relay_is_said_by_name() {
    let double = double();
    let field = |builder: WebSocketRelayBuilder| builder.build().unwrap_err().field();
    assert_eq!(field(double.builder().secret("short")), Some("secret"));
    assert_eq!(field(double.builder().secret("")), Some("secret"));
    assert_eq!(field(double.builder().heartbeat(Duration::ZERO)), Some("heartbeat"));
    assert_eq!(field(double.builder().region("nowhere")), Some("region"));
    assert_eq!(field(double.builder().endpoint_url("ws.example.com")), Some("endpoint_url"));
    assert_eq!(
        field(double.builder().allowed_origins(["chat.example.com"])),
        Some("allowed_origins")
    );
    assert_eq!(field(double.builder().claims_table("a table")), Some("claims_table"));
    let both = double.builder().claims_table("claims").claim(|_| async { Ok(true) });
    assert_eq!(field(both), Some("claims_table"));
    let by_env = double.builder_in(&[("AGENTCORE_RELAY_SECRET", SECRET)]).secret("");
    assert!(by_env.build().is_ok());
    let builder = double.builder();
    assert!(!format!("{builder:?}{:?}", double.relay()).contains(SECRET));
}
