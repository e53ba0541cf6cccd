//! Who may call, what is refused before anything runs, and that no secret is kept.

use crate::support::{Call, Connection, SESSION, SESSION_HEADER, plane, runtime_path, start};
use agentcore_local::{JwtAuth, LocalDataPlane, Runtime};
use serde_json::json;
use std::io::Write;

#[test]
fn a_signed_call_is_answered_and_nothing_secret_is_kept() {
    let plane = start(LocalDataPlane::builder().session_token("s3cret-token"));
    let call = Call::invoke(&plane, r#"{"prompt":"Hi"}"#)
        .header("traceparent", "00-1-2-01")
        .signed(&plane);
    let answer = call.send(&plane);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json(), json!({"result": "You said: Hi."}));
    assert_eq!(answer.header(SESSION_HEADER), Some(SESSION));
    assert_eq!(answer.header("x-amzn-requestid").map(str::len), Some(36));
    assert!(answer.header("date").is_some_and(|d| d.starts_with("Thu, 15 Jan 2026 12:3")));
    assert_eq!(answer.header("traceparent"), Some("00-1-2-01"));

    let journal = serde_json::to_string(&plane.journal()).expect("JSON");
    let authorization = &call.headers.iter().find(|(n, _)| n == "Authorization").expect("signed").1;
    let signature = authorization.rsplit('=').next().expect("a signature");
    for secret in ["s3cret-token", signature, plane.secret_key(), plane.control_token()] {
        assert!(!journal.contains(secret));
    }
    assert!(journal.contains(r#""kind":"auth""#) && journal.contains(r#""accepted":true"#));
    assert_eq!(plane.count_posts(), 1);
}

#[test]
fn signatures_are_judged() {
    let plane = plane();
    let call = Call::invoke(&plane, "{}");
    let missing = call.send(&plane);
    assert_eq!(missing.error(), (403, "MissingAuthenticationTokenException"));
    assert!(missing.header("www-authenticate").is_none());
    let mut bent = call.clone().signed(&plane);
    bent.body.push(b' ');
    assert_eq!(bent.send(&plane).error(), (403, "InvalidSignatureException"));
    let unknown = call.clone().signed_with(&plane, "AKIAOTHER", plane.secret_key(), None);
    assert_eq!(unknown.send(&plane).error(), (403, "UnrecognizedClientException"));
    let bearer = call.clone().header("Authorization", "Bearer abc").send(&plane);
    assert_eq!(bearer.error(), (403, "AccessDeniedException"));
    assert!(bearer.text().contains("Authorization method mismatch"));
    plane.set_clock_offset(0);
    let late = call.signed(&plane).send(&plane);
    assert_eq!(late.error(), (403, "InvalidSignatureException"));
    assert!(late.text().contains("Signature expired: 20260115T123456Z"));
}

#[test]
fn bearer_tokens_are_judged() {
    let plane = start(
        LocalDataPlane::builder().jwt(JwtAuth::new("https://issuer.example").client_id("app")),
    );
    let call = Call::invoke(&plane, "{}");
    let missing = call.send(&plane);
    assert_eq!(missing.error(), (401, "UnauthorizedException"));
    let challenge = missing.header("www-authenticate").expect("a challenge").to_owned();
    let url = challenge.strip_prefix("Bearer resource_metadata=\"").expect("a URL");
    let target = url.trim_end_matches('"').strip_prefix(&plane.base_url()).expect("ours");
    assert!(target.starts_with(&runtime_path(&plane)) && target.ends_with("?qualifier=DEFAULT"));
    let metadata = Call::new(&plane, "GET", target).send(&plane);
    assert_eq!(metadata.json()["authorization_servers"], json!(["https://issuer.example"]));

    let bearer = |claims| {
        let token = plane.mint_token(&claims).expect("a token");
        let answer = call.clone().header("Authorization", &format!("Bearer {token}")).send(&plane);
        assert!(!serde_json::to_string(&plane.journal()).expect("JSON").contains(&token));
        answer.status
    };
    assert_eq!(bearer(json!({})), 200);
    assert_eq!(bearer(json!({"exp": 1})), 401);
    assert_eq!(bearer(json!({"client_id": "other"})), 401);
    let signed = call.clone().signed(&plane).send(&plane);
    assert_eq!(signed.error(), (403, "AccessDeniedException"));
    assert!(
        signed.json()["message"]
            .as_str()
            .expect("text")
            .starts_with("Authorization method mismatch")
    );
}

#[test]
fn hosts_origins_and_control_are_guarded() {
    let plane = start(LocalDataPlane::builder().allow_origin("http://app.example"));
    let call = Call::invoke(&plane, "{}").signed(&plane);
    for host in ["evil.example", "127.0.0.1", "127.0.0.1:1", ""] {
        assert_eq!(call.clone().header("Host", host).send(&plane).status, 403, "{host}");
    }
    let port = plane.address().port();
    let ping = Call::new(&plane, "GET", "/ping").header("Host", &format!("localhost:{port}"));
    assert_eq!(ping.send(&plane).json()["status"], "Healthy");
    for origin in ["http://evil.example", "null"] {
        assert_eq!(call.clone().header("Origin", origin).send(&plane).status, 403);
    }
    let allowed = call.header("Origin", "http://app.example").send(&plane);
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("http://app.example"));

    let journal = Call::new(&plane, "GET", "/_local/journal");
    assert_eq!(journal.send(&plane).status, 403);
    assert_eq!(journal.clone().header("x-local-token", "guess").send(&plane).status, 403);
    let journal = journal.header("x-local-token", plane.control_token());
    let entries = journal.send(&plane).json()["entries"].as_array().expect("a list").len();
    assert!(entries > 10);
    let clear = Call::new(&plane, "DELETE", "/_local/journal")
        .header("x-local-token", plane.control_token());
    assert_eq!(clear.send(&plane).status, 200);
    assert!(plane.journal().len() < 10);
    assert!(LocalDataPlane::builder().host("0.0.0.0").start_blocking().is_err());
}

#[test]
fn requests_are_validated_as_the_service_does() {
    let plane = start(
        LocalDataPlane::builder().qualifier("prod").runtime(
            Runtime::new("arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/b-0123456789")
                .no_auth(),
        ),
    );
    let short = Call::invoke(&plane, "{}").header(SESSION_HEADER, "short").signed(&plane);
    let short = short.send(&plane);
    assert_eq!(short.error(), (400, "ValidationException"));
    assert_eq!(short.json()["reason"], "FieldValidationFailed");
    assert_eq!(short.json()["fieldList"][0]["name"], "runtimeSessionId");

    let minted = Call::invoke(&plane, "{}").without(SESSION_HEADER).signed(&plane).send(&plane);
    assert_eq!(minted.header(SESSION_HEADER).map(str::len), Some(36));

    let at = |target: String| {
        let mut call = Call::invoke(&plane, "{}");
        call.target = target;
        call.signed(&plane).send(&plane)
    };
    let path = runtime_path(&plane);
    assert_eq!(at(format!("{path}/invocations?qualifier=prod")).status, 200);
    let unknown = at(format!("{path}/invocations?qualifier=dev"));
    assert_eq!(unknown.error(), (404, "ResourceNotFoundException"));
    assert!(unknown.text().contains("No endpoint or agent found with qualifier 'dev'"));
    assert_eq!(at(format!("{}x/invocations", path)).status, 404);
    assert_eq!(at(format!("{path}%2Fruntime-endpoint%2Fprod/invocations")).status, 404);
    let id = plane.runtime_arn().rsplit('/').next().expect("an id").to_owned();
    assert_eq!(at(format!("/runtimes/{id}/invocations")).status, 400);
    assert_eq!(at(format!("/runtimes/{id}/invocations?accountId=123456789012")).status, 200);
    assert_eq!(at(format!("/runtimes/{id}/invocations?accountId=000000000000")).status, 404);
    assert_eq!(at(format!("{path}/commands")).status, 501);
    assert_eq!(at("/nothing".into()).status, 404);
    // The slash must not be decoded on the way.
    assert_eq!(at(format!("{}/invocations", path.replace("%2F", "/"))).status, 404);

    let other = "/runtimes/arn%3Aaws%3Abedrock-agentcore%3Aeu-west-1%3A123456789012%3Aruntime%2Fb-0123456789";
    let mut open = Call::invoke(&plane, "{}");
    open.target = format!("{other}/invocations");
    assert_eq!(open.send(&plane).status, 200);
}

#[test]
fn bodies_are_read_in_every_form() {
    let plane = plane();
    let mut call = Call::invoke(&plane, r#"{"mode":"echo"}"#).signed(&plane);
    let mut connection = Connection::open(&plane);
    // Byte by byte, twice on one connection.
    for _ in 0..2 {
        for byte in call.bytes() {
            connection.stream.write_all(&[byte]).expect("sent");
        }
        assert_eq!(connection.answer().text(), r#"{"mode":"echo"}"#);
    }
    // Chunked, after 100 Continue.
    let body = std::mem::take(&mut call.body);
    let text = String::from_utf8(call.bytes()).expect("text");
    let head =
        text.replace("Content-Length: 0", "Transfer-Encoding: chunked\r\nExpect: 100-continue");
    connection.stream.write_all(head.as_bytes()).expect("sent");
    assert_eq!(connection.head().expect("a head").status, 100);
    for part in body.chunks(4) {
        write!(connection.stream, "{:x}\r\n", part.len()).expect("sent");
        connection.stream.write_all(part).expect("sent");
        connection.stream.write_all(b"\r\n").expect("sent");
    }
    connection.stream.write_all(b"0\r\n\r\n").expect("sent");
    assert_eq!(connection.answer().text(), r#"{"mode":"echo"}"#);
    // Too large is said before it is sent.
    let large = text.replace("Content-Length: 0", "Content-Length: 100000001");
    connection.stream.write_all(large.as_bytes()).expect("sent");
    assert_eq!(connection.answer().error(), (400, "ValidationException"));
    let mut connection = Connection::open(&plane);
    connection.stream.write_all(b"\x16\x03\x01\x00\r\n\r\n").expect("sent");
    assert_eq!(connection.answer().status, 400);
}
