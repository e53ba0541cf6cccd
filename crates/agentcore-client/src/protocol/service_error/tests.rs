use super::*;
use proptest::prelude::*;
use serde_json::json;

const ARN: &str = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-AbCdEf1234";

struct Case {
    target: TargetKind,
    operation: Operation,
    qualifier: Option<&'static str>,
    auth: AuthKind,
    user_id: bool,
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

fn case(status: u16, code: &'static str, body: Value) -> Case {
    Case {
        target: TargetKind::DataPlane,
        operation: Operation::Invoke,
        qualifier: None,
        auth: AuthKind::SigV4,
        user_id: false,
        status,
        headers: if code.is_empty() { vec![] } else { vec![("x-amzn-ErrorType", code)] },
        body: if body.is_null() { String::new() } else { body.to_string() },
    }
}

impl Case {
    fn decode(&self) -> Error {
        let arn = RuntimeArn::parse(ARN).unwrap();
        let context = Context {
            target: self.target,
            operation: self.operation,
            arn: Some(&arn),
            qualifier: self.qualifier,
            auth: self.auth,
            user_id: self.user_id,
        };
        let status = StatusCode::from_u16(self.status).unwrap();
        decode(&context, status, &map(&self.headers), self.body.as_bytes())
    }
}

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &'static str)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value))
    };
    pairs.iter().map(pair).collect()
}

#[test]
fn the_table_of_the_data_plane() {
    use Delivery::{Accepted, Rejected, Unknown};
    use ErrorKind::{Agent, Protocol, Service};
    for (status, code, kind, delivery) in [
        (400, "ValidationException", Service, Rejected),
        (401, "UnauthorizedException", Service, Rejected),
        (402, "ServiceQuotaExceededException", Service, Rejected),
        (403, "AccessDeniedException", Service, Rejected),
        (403, "RuntimeClientError", Agent, Accepted),
        (404, "ResourceNotFoundException", Service, Rejected),
        (405, "", Service, Rejected),
        (408, "", Service, Unknown),
        (409, "ConflictException", Service, Rejected),
        (409, "RetryableConflictException", Service, Rejected),
        (413, "", Service, Rejected),
        (424, "RuntimeClientError", Agent, Accepted),
        (424, "", Agent, Accepted),
        (429, "ThrottlingException", Service, Rejected),
        (429, "", Service, Rejected),
        (500, "InternalServerException", Service, Unknown),
        (502, "", Service, Unknown),
        (503, "", Service, Unknown),
        (504, "", Service, Unknown),
        (504, "RuntimeClientError", Agent, Accepted),
        (599, "", Service, Unknown),
        (101, "", Protocol, Unknown),
        (204, "", Protocol, Accepted),
        (301, "", Protocol, Unknown),
        (307, "", Protocol, Unknown),
        (700, "", Protocol, Unknown),
    ] {
        let error = case(status, code, json!({"message": "m"})).decode();
        assert_eq!((error.kind(), error.delivery()), (kind, delivery), "{status} {code}");
        assert_eq!(error.status(), Some(status));
        assert_eq!(error.service_code(), (!code.is_empty()).then_some(code));
    }
}

#[test]
fn code_and_message_are_found_wherever_they_stand() {
    for (header, body, code, message) in [
        ("A", r#"{"code":"B","__type":"C","message":"m"}"#, Some("A"), Some("m")),
        ("A:http://x/", "", Some("A"), None),
        ("ns.a#A", "{}", Some("A"), None),
        ("ns.a#A:http://x/#y", "null", Some("A"), None),
        ("", r#"{"code":"B","__type":"C","Message":"m"}"#, Some("B"), Some("m")),
        ("", r#"{"code":-32051,"__type":"x#C","errorMessage":"m"}"#, Some("C"), Some("m")),
        ("", r#"{"error":{"code":-32051,"message":"m"},"id":1}"#, None, Some("m")),
        ("", r#"{"error":"text"}"#, None, None),
        ("", "<html>message</html>", None, None),
        ("", "[1", None, None),
        ("bad code", r#"{"code":""}"#, None, None),
    ] {
        let mut headers = HeaderMap::new();
        if !header.is_empty() {
            headers.insert("x-amzn-errortype", HeaderValue::from_static(header));
        }
        let answer = Answer::read(&headers, body.as_bytes());
        assert_eq!((answer.code.as_deref(), answer.message.as_deref()), (code, message), "{body}");
    }
    let headers = map(&[("x-amzn-errormessage", "m")]);
    assert_eq!(Answer::read(&headers, b"").message.as_deref(), Some("m"));
    let long = vec![b' '; MAX_BODY + 1];
    assert_eq!(Answer::read(&HeaderMap::new(), &long).message, None);
}

#[test]
fn validation_errors_tell_reason_and_fields() {
    let fields: Vec<_> =
        (0..9).map(|i| json!({"name": format!("f{i}"), "message": "bad"})).collect();
    let error = case(
        400,
        "ValidationException",
        json!({"message": "Invalid.", "reason": "FieldValidationFailed", "fieldList": fields}),
    )
    .decode();
    assert_eq!(
        error.message(),
        "the request was refused as invalid: Invalid (reason FieldValidationFailed; f0: bad; f1: bad; f2: bad; f3: bad; f4: bad)"
    );
}

#[test]
fn access_denied_names_the_action_and_both_resources() {
    let mut case = case(403, "AccessDeniedException", json!({"message": "User is not authorized"}));
    let message = case.decode().message().to_owned();
    assert!(message.contains("User is not authorized"));
    assert!(message.contains("allow bedrock-agentcore:InvokeAgentRuntime on both"), "{message}");
    assert!(message.contains(&format!("{ARN} and {ARN}/runtime-endpoint/DEFAULT")), "{message}");
    case.user_id = true;
    case.qualifier = Some("prod");
    let message = case.decode().message().to_owned();
    assert!(message.contains("bedrock-agentcore:InvokeAgentRuntimeForUser on"), "{message}");
    assert!(message.contains("runtime-endpoint/prod"), "{message}");
    case.operation = Operation::StopSession;
    let message = case.decode().message().to_owned();
    assert!(message.contains("allow bedrock-agentcore:StopRuntimeSession on"), "{message}");
    case.auth = AuthKind::Bearer;
    let message = case.decode().message().to_owned();
    assert!(message.contains("audience") && !message.contains("allow bedrock"), "{message}");
}

#[test]
fn the_wrong_auth_is_named() {
    let mismatch = json!({"message": "Authorization method mismatch. The agent is configured…"});
    let mut case = case(403, "AccessDeniedException", mismatch);
    assert!(case.decode().message().starts_with("the runtime expects a JWT bearer token"));
    case.auth = AuthKind::Bearer;
    assert!(case.decode().message().starts_with("the runtime expects a SigV4 signature"));

    let mut case = self::case(401, "", Value::Null);
    case.headers = vec![("www-authenticate", "Bearer resource_metadata=\"https://x/\"")];
    assert!(case.decode().message().starts_with("the runtime expects a JWT bearer token"));
    case.auth = AuthKind::Bearer;
    assert!(case.decode().message().starts_with("the bearer token was refused"));
    case.auth = AuthKind::None;
    assert!(case.decode().message().contains("no credentials"));
}

#[test]
fn messages_say_what_to_do() {
    for (status, code, body, wanted) in [
        (402, "ServiceQuotaExceededException", "x", "quota"),
        (404, "ResourceNotFoundException", "No endpoint or agent found", "whitespace"),
        (404, "ResourceNotFoundException", "x", "qualifier DEFAULT in region us-west-2"),
        (409, "RetryableConflictException", "x", "same session"),
        (409, "ConflictException", "x", "another one"),
        (429, "ThrottlingException", "Rate exceeded", "slow down"),
        (500, "InternalServerException", "An internal error", "may have run"),
        (302, "", "x", "not followed"),
        (403, "ExpiredTokenException", "x", "expired"),
        (403, "UnrecognizedClientException", "x", "access key"),
        (424, "RuntimeClientError", "Received error (400) from runtime. Check", "payload"),
        (424, "RuntimeClientError", "Received error (500) from runtime.", "the agent failed"),
        (424, "RuntimeClientError", "Runtime initialization time exceeded. Please", "in time"),
        (424, "RuntimeClientError", "Received error (x) from runtime", "the agent failed"),
    ] {
        let error = case(status, code, json!({"message": body})).decode();
        assert!(error.message().contains(wanted), "{status}: {error}");
    }
    let mut stop = case(404, "ResourceNotFoundException", Value::Null);
    stop.operation = Operation::StopSession;
    assert!(stop.decode().message().contains("no such session"));
    let mut stop = case(500, "InternalServerException", Value::Null);
    stop.operation = Operation::StopSession;
    assert!(stop.decode().message().contains("safe to repeat"));
}

#[test]
fn nothing_that_was_signed_or_sent_shows() {
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln";
    for (code, message) in [
        (
            "InvalidSignatureException",
            "The Canonical String was x-amz-security-token:SECRET".into(),
        ),
        ("IncompleteSignature", "SECRET not a valid key=value pair".into()),
        ("AccessDeniedException", "no. The Canonical String for this was SECRET".into()),
        ("AccessDeniedException", format!("token '{token}',{token} bad {token}")),
    ] {
        let error = case(403, code, json!({ "message": message })).decode();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("SECRET") && !shown.contains("c2ln"), "{shown}");
    }
    assert_eq!(one_line(&format!("a '{token}',{token} b")), "a '[token]',[token] b");
    assert_eq!(one_line("eyJ is short"), "eyJ is short");
}

#[test]
fn messages_are_one_clean_bounded_line() {
    assert_eq!(one_line(" a\r\n\tb\0c \u{1b}[31mred \u{202e}x"), "a b c [31mred x");
    let long = one_line(&"ü".repeat(10_000));
    assert_eq!(long.chars().count(), MAX_MESSAGE + 1);
    assert!(long.ends_with('…'));
}

#[test]
fn a_local_agents_words_are_kept_apart() {
    let mut case = case(500, "", json!({"error": "user data"}));
    case.target = TargetKind::Local;
    case.auth = AuthKind::None;
    for (status, wanted) in [(500, "log"), (422, "payload"), (404, "/invocations"), (429, "429")] {
        case.status = status;
        let error = case.decode();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Agent, Delivery::Accepted));
        assert_eq!(error.agent_payload(), Some(r#"{"error":"user data"}"#));
        assert!(error.message().contains(wanted) && !error.message().contains("user data"));
    }
    case.status = 302;
    assert_eq!(case.decode().kind(), ErrorKind::Protocol);
    case.status = 500;
    case.body = "ü".repeat(MAX_AGENT_PAYLOAD);
    assert!(case.decode().agent_payload().unwrap().len() <= MAX_AGENT_PAYLOAD + 3);
}

#[test]
fn behind_an_invocation_url_only_the_services_header_counts() {
    use Delivery::{Accepted, Rejected, Unknown};
    for (status, code, delivery) in [
        (403, "AccessDeniedException", Rejected),
        (429, "ThrottlingException", Rejected),
        (424, "RuntimeClientError", Accepted),
        (500, "InternalServerException", Unknown),
        (403, "", Unknown),
        (424, "", Unknown),
        (429, "", Unknown),
        (503, "", Unknown),
    ] {
        let mut case = case(status, code, json!({"message": "words"}));
        case.target = TargetKind::InvocationUrl;
        case.auth = AuthKind::Bearer;
        let error = case.decode();
        assert_eq!(error.delivery(), delivery, "{status} {code}");
        assert_eq!(error.agent_payload().is_some(), code.is_empty());
        assert_eq!(error.message().contains("words"), !code.is_empty(), "{error}");
    }
}

#[test]
fn request_id_and_pause_are_read() {
    let mut case = case(429, "ThrottlingException", Value::Null);
    case.headers.push(("x-amzn-RequestId", "r-1"));
    assert_eq!(case.decode().request_id(), Some("r-1"));
    for (name, value, expected) in [
        ("retry-after", "3", Some(Duration::from_secs(3))),
        ("retry-after", "0", Some(Duration::ZERO)),
        ("x-amz-retry-after", "1500", Some(Duration::from_millis(1500))),
        ("retry-after", "999999999999", Some(Duration::from_secs(86_400))),
        ("retry-after", "99999999999999999999999", None),
        ("retry-after", "-1", None),
        ("retry-after", "+1", None),
        ("retry-after", "", None),
        ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", None),
    ] {
        assert_eq!(retry_after(&map(&[(name, value)])), expected, "{name}: {value}");
    }
    let both = map(&[("retry-after", "9"), ("x-amz-retry-after", "10")]);
    assert_eq!(retry_after(&both), Some(Duration::from_millis(10)));
}

#[test]
fn dates_are_read() {
    for (date, expected) in [
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
        ("Tue, 29 Feb 2000 23:59:59 GMT", Some(951_868_799)),
        ("Wed, 01 Mar 2000 00:00:00 GMT", Some(951_868_800)),
        ("Thu, 15 Jan 2026 12:34:56 GMT", Some(1_768_480_496)),
        ("Fri, 01 Mar 2100 00:00:00 GMT", Some(4_107_542_400)),
        ("Wed, 31 Dec 1969 23:59:59 GMT", Some(-1)),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 06 nov 1994 08:49:37 GMT", None),
        ("Sun, 00 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:49:37 GMT", None),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None),
        ("", None),
    ] {
        assert_eq!(imf_fixdate(date.as_bytes()), expected, "{date}");
    }
}

#[test]
fn a_refused_signature_with_another_date_is_a_skewed_clock() {
    let date = HeaderValue::from_static("Thu, 15 Jan 2026 12:34:56 GMT");
    let server = UNIX_EPOCH + Duration::from_secs(1_768_480_496);
    let skew = |status: u16, code: Option<&str>, now| {
        clock_skew(StatusCode::from_u16(status).unwrap(), code, Some(&date), now)
    };
    let behind = server - Duration::from_secs(600);
    let ahead = server + Duration::from_secs(600);
    for code in ["InvalidSignatureException", "SignatureDoesNotMatch", "AccessDeniedException"] {
        assert_eq!(skew(403, Some(code), behind), Some(600));
        assert_eq!(skew(403, Some(code), ahead), Some(-600));
        assert_eq!(skew(403, Some(code), server + Duration::from_secs(240)), None);
        assert_eq!(skew(403, Some(code), server + Duration::from_secs(241)), Some(-241));
        assert_eq!(skew(429, Some(code), behind), None);
    }
    assert_eq!(skew(400, Some("RequestExpired"), behind), Some(600));
    assert_eq!(skew(400, Some("ValidationException"), behind), None);
    assert_eq!(skew(403, None, behind), None);
    assert_eq!(
        skew(403, Some("RequestExpired"), UNIX_EPOCH - Duration::from_secs(1)),
        Some(1_768_480_497)
    );
    assert_eq!(clock_skew(StatusCode::FORBIDDEN, Some("AccessDenied"), None, behind), None);
}

proptest! {
    #[test]
    fn no_answer_panics_and_every_message_is_one_line(
        status in 100_u16..1000,
        header in proptest::collection::vec(any::<u8>(), 0..30),
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            ".{0,40}".prop_map(|text| json!({"message": text, "__type": text, "reason": text, "fieldList": [{"name": text}]}).to_string().into_bytes()),
        ],
        target in prop::sample::select(vec![TargetKind::DataPlane, TargetKind::InvocationUrl, TargetKind::Local]),
        auth in prop::sample::select(vec![AuthKind::SigV4, AuthKind::Bearer, AuthKind::None]),
    ) {
        let context = Context { target, operation: Operation::Invoke, arn: None, qualifier: None, auth, user_id: true };
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&header) {
            for name in ["x-amzn-errortype", "retry-after", "x-amz-retry-after", "x-amzn-requestid", "www-authenticate", "date"] {
                headers.insert(name, value.clone());
            }
        }
        let error = decode(&context, StatusCode::from_u16(status).unwrap(), &headers, &body);
        let shown = error.to_string();
        prop_assert!(shown.chars().all(|c| !is_unprintable(c)), "{shown:?}");
        prop_assert!(shown.chars().count() < 3000);
        let _ = clock_skew(StatusCode::FORBIDDEN, Some("AccessDenied"), headers.get("date"), UNIX_EPOCH);
    }

    #[test]
    fn no_date_panics(date in "[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT") {
        let _ = imf_fixdate(date.as_bytes());
    }
}
