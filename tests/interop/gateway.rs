//! The local gateway between programs that we did not write: AWS's runtime for Python runs the
//! function, `websockets` is the client, boto3 posts and invokes.

use agentcore_local::{Gateway, LocalDataPlane};
use serde_json::Value;

use crate::process::{Process, python};

#[tokio::test]
async fn sockets_posts_and_invokes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/interop");
    let python = python().to_str().expect("a path of text").to_owned();
    let runtime = [python.as_str(), "-m", "awslambdaric", "gateway_function.handler"];
    let gateway = Gateway::new(runtime).variable("PYTHONPATH", folder).memory_mb(256);
    let plane = LocalDataPlane::builder()
        .session_token("a-session-token")
        .gateway(gateway)
        .start_blocking()
        .unwrap();
    let function = plane.function_arn().unwrap();
    let mut client = Process::python(
        "gateway_client.py",
        &[
            ("WEBSOCKET_URL", &plane.websocket_url().unwrap()),
            ("ENDPOINT_URL", &format!("{}/local", plane.base_url())),
            ("LAMBDA_URL", &plane.base_url()),
            ("FUNCTION_ARN", function),
            ("AWS_REGION", plane.region()),
            ("AWS_DEFAULT_REGION", plane.region()),
            ("AWS_ACCESS_KEY_ID", plane.access_key()),
            ("AWS_SECRET_ACCESS_KEY", plane.secret_key()),
            ("AWS_SESSION_TOKEN", "a-session-token"),
        ],
    );
    let mut next = async |step: &str| -> Value {
        let line = client.line().await;
        assert_eq!(line["step"], step, "{line}");
        line
    };

    let context = next("context").await;
    assert_eq!(context["frame"]["arn"], function);
    assert_eq!(context["frame"]["name"], "relay");
    assert_eq!(context["frame"]["memory"], "256");
    let left = context["frame"]["left_ms"].as_u64().unwrap();
    assert!((1..=900_000).contains(&left), "{left}");

    let later = next("later").await;
    let frames = later["frames"].as_array().unwrap();
    let accepted = frames.iter().find(|f| f["status"] == 202).unwrap();
    let delivered = frames.iter().find(|f| f["later"].is_string()).unwrap();
    assert_eq!(accepted["request_id"], delivered["later"]);

    let failed = next("fail").await;
    assert_eq!(failed["frame"]["message"], "Internal server error");

    let connection = next("get").await;
    assert_eq!(connection["answer"]["Identity"]["UserAgent"], "interop");
    assert!(connection["answer"]["ConnectedAt"].is_string());
    let large = next("large").await;
    assert_eq!(
        (&large["status"], &large["code"]),
        (&413.into(), &"PayloadTooLargeException".into())
    );
    assert_eq!(next("post").await["status"], 200);
    assert_eq!(next("posted").await["text"], "é");
    assert_eq!(next("delete").await["status"], 204);
    assert_eq!(next("closed").await["code"], 1000);
    let gone = next("gone").await;
    assert_eq!((&gone["status"], &gone["code"]), (&410.into(), &"GoneException".into()));
    assert_eq!(next("too long").await["code"], 1009);

    let unknown = next("unknown").await;
    assert_eq!(unknown["code"], "ResourceNotFoundException");
    let failed = next("failed").await;
    assert_eq!(failed["answer"]["FunctionError"], "Unhandled");
    assert!(failed["answer"]["Payload"].as_str().unwrap().contains("KeyError"));
    assert!(client.end().await);
}
