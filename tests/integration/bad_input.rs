//! Bad input is refused before a byte is sent, by an error that names the field
//! and the rule and does not repeat the value.

use std::time::Duration;

use agentcore_client::{Auth, Client, ClientBuilder, Credentials, Environment, Error, Payload};
use agentcore_client::{SessionId, Timeouts};
use agentcore_local::LocalDataPlane;
use agentcore_tests::{builder, client, start};

const ARN: &str = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-AbCdEf1234";

fn with(arn: &str) -> ClientBuilder {
    let keys = Credentials::new("AKID", "secret", None, None, "test");
    Client::builder(arn).auth(Auth::sigv4(keys)).environment(Environment::empty())
}

fn refused(field: &str, error: &Error) {
    assert_eq!(error.kind().as_str(), "InvalidInput", "{error}");
    assert_eq!(error.delivery().as_str(), "not_sent");
    assert_eq!(error.field(), Some(field), "{error}");
    assert!(error.to_string().starts_with(field), "{error}");
    assert!(error.to_string().contains("; "), "shape and rule: {error}");
}

#[test]
fn arns() {
    for bad in [
        "",
        " ",
        "not-an-arn",
        &format!(" {ARN}"),
        &format!("{ARN}\n"),
        &ARN.replace("bedrock-agentcore", "lambda"),
        &ARN.replace("arn:aws:", "arn:aws-cn:"),
        &ARN.replace("arn:aws:", "arn:azure:"),
        &ARN.replace("us-west-2", ""),
        &ARN.replace("us-west-2", "evil.example/#"),
        &ARN.replace("123456789012", "123"),
        &ARN.replace("runtime/", "harness/"),
        &format!("{ARN}/runtime-endpoint/no-hyphens"),
    ] {
        refused("runtime_arn", &with(bad).build().unwrap_err());
    }
    let nothing = Client::builder_from_env().environment(Environment::empty());
    refused("runtime_arn", &nothing.build().unwrap_err());
}

#[test]
fn regions_and_qualifiers() {
    for bad in ["us-east-1", "us-west-2@evil.example", "us/west", "us-west-2#", "", "us-west-2\n"] {
        refused("region", &with(ARN).region(bad).build().unwrap_err());
    }
    assert!(with(ARN).region("us-west-2").build().is_ok());
    for bad in ["", "no-hyphen", "1st", "a b", &"x".repeat(49)] {
        refused("qualifier", &with(ARN).qualifier(bad).build().unwrap_err());
    }
    let endpoint = format!("{ARN}/runtime-endpoint/prod");
    refused("qualifier", &with(&endpoint).qualifier("dev").build().unwrap_err());
    assert_eq!(with(&endpoint).build().unwrap().qualifier(), Some("prod"));
}

#[test]
fn session_ids() {
    for bad in ["", "short", &"x".repeat(32), &"x".repeat(101), &format!("-{}", "x".repeat(40))] {
        refused("session_id", &SessionId::new(bad).unwrap_err());
    }
    for bad in ["x".repeat(40) + " ", "ü".repeat(40), "x".repeat(40) + "\r\n"] {
        let error = SessionId::new(&bad).unwrap_err();
        refused("session_id", &error);
        assert!(!error.to_string().contains(&bad));
    }
    refused("secret", &SessionId::derive(b"short", &["tenant"]).unwrap_err());
}

#[test]
fn urls() {
    for bad in [
        "http://example.com",
        "http://localhost.evil.example",
        "ftp://localhost",
        "https://user:password@example.com",
        "https://example.com/?a=b",
        "https://example.com/#x",
        "https://exa mple.com",
        "",
    ] {
        refused("endpoint_url", &with(ARN).endpoint_url(bad).build().unwrap_err());
    }
    refused("local_url", &with(ARN).local_url("http://10.0.0.1:8080").build().unwrap_err());
    refused("local_url", &with(ARN).local_url("https://agent.example").build().unwrap_err());
    let compose = with(ARN).local_url("http://agent:8080").allow_http_host("agent");
    assert!(compose.build().is_ok());
    let custom = with(ARN).endpoint_url("https://proxy.example/base");
    refused("use_fips", &custom.clone().use_fips(true).build().unwrap_err());
    refused("use_dualstack", &custom.use_dualstack(true).build().unwrap_err());
    refused("proxy", &with(ARN).proxy("socks5://proxy:1").build().unwrap_err());
}

#[test]
fn auth() {
    for bad in ["", "undefined", "two words", "line\nbreak", "Bearer abc"] {
        refused(
            "bearer_token",
            &with(ARN).auth(Auth::none()).auth(Auth::bearer(bad)).build().unwrap_err(),
        );
    }
    // {"exp":1} as a JWT.
    let expired = "e30.eyJleHAiOjF9.c2ln";
    let error = Client::builder(ARN).auth(Auth::bearer(expired)).build().unwrap_err();
    refused("bearer_token", &error);
    assert!(error.to_string().contains("expired"));
    refused("auth", &with(ARN).auth(Auth::bearer("token")).build().unwrap_err());
    refused("auth", &with(ARN).auth(Auth::none()).build().unwrap_err());
}

#[test]
fn limits() {
    let zero = Timeouts::default().idle(Duration::ZERO);
    refused("timeouts.idle", &with(ARN).timeouts(zero).build().unwrap_err());
    let zero = Timeouts::default().total(Duration::ZERO);
    refused("timeouts.total", &with(ARN).timeouts(zero).build().unwrap_err());
}

#[tokio::test]
async fn calls_are_refused_before_a_byte_is_sent() {
    let plane = start(LocalDataPlane::builder());
    let client = client(&plane);
    let header = |name: &str, value: &str| client.invoke("x").header(name, value);
    for (name, value) in [
        ("X-Note", "a\r\nHost: evil"),
        ("X-Note", "a\0"),
        ("X No", "a"),
        ("Host", "evil.example"),
        ("authorization", "Bearer x"),
        ("Content-Length", "1"),
        ("Transfer-Encoding", "chunked"),
        ("x-amz-date", "20260101T000000Z"),
        ("X-Amzn-Bedrock-AgentCore-Runtime-Session-Id", "x"),
        ("traceparent", "x"),
        ("X-Long", &"x".repeat(4097)),
    ] {
        refused("headers", &header(name, value).send().await.unwrap_err());
    }
    let too_much = client.invoke(Payload::from(vec![0; 100_000_001])).send().await.unwrap_err();
    refused("payload", &too_much);
    refused("user_id", &client.invoke("x").user_id("").send().await.unwrap_err());
    refused("user_id", &client.invoke("x").user_id("x".repeat(1025)).send().await.unwrap_err());
    refused("accept", &client.invoke("x").accept("a\nb").send().await.unwrap_err());
    refused("content_type", &client.invoke("x").content_type("").send().await.unwrap_err());
    let zero = client.invoke("x").timeouts(Timeouts::default().connect(Duration::ZERO));
    refused("timeouts.connect", &zero.send().await.unwrap_err());
    // An id that only a local agent takes.
    let short = SessionId::local("dev").unwrap();
    refused("session_id", &client.invoke("x").session(&short).send().await.unwrap_err());
    refused("session_id", &client.stop_session(&short).send().await.unwrap_err());
    assert!(plane.journal().is_empty(), "{:?}", plane.journal());
}

#[test]
fn the_environment_is_checked_like_arguments() {
    let env = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Client::builder_from_env().environment(Environment::from_pairs(pairs)).build()
    };
    refused("runtime_arn", &env(&[("AGENT_RUNTIME_ARN", "x")]).unwrap_err());
    let token = ("AGENTCORE_BEARER_TOKEN", "a b");
    refused("bearer_token", &env(&[("AGENT_RUNTIME_ARN", ARN), token]).unwrap_err());
    let url = ("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", "http://example.com");
    refused("endpoint_url", &env(&[("AGENT_RUNTIME_ARN", ARN), url]).unwrap_err());
    let ignore = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    assert!(env(&[("AGENT_RUNTIME_ARN", ARN), url, ignore]).is_ok());
    refused("local_url", &env(&[("AGENTCORE_LOCAL_URL", "http://agent:8080")]).unwrap_err());
    let allowed = ("AGENTCORE_ALLOW_HTTP_HOSTS", "other, agent");
    let local = env(&[("AGENTCORE_LOCAL_URL", "http://agent:8080"), allowed, token]);
    assert!(local.is_ok(), "a local agent switches tokens off");
    // A proxy that only https targets use is nothing to a local agent.
    let socks = ("HTTPS_PROXY", "socks5://proxy:1");
    assert!(env(&[("AGENTCORE_LOCAL_URL", "http://127.0.0.1:8080"), socks]).is_ok());
    refused("proxy", &env(&[("AGENT_RUNTIME_ARN", ARN), socks]).unwrap_err());
    // A Lambda always has a region, which never contradicts an ARN.
    assert!(env(&[("AGENT_RUNTIME_ARN", ARN), ("AWS_REGION", "eu-west-1")]).is_ok());
    // A token in the environment gives way to explicit credentials.
    let environment = Environment::from_pairs([token]);
    assert!(with(ARN).environment(environment).build().is_ok());
}

#[tokio::test]
async fn a_token_that_a_provider_gives_is_checked_too() {
    #[derive(Debug)]
    struct Gives(&'static str);
    impl agentcore_client::ProvideToken for Gives {
        fn provide_token(
            &self,
        ) -> futures::future::BoxFuture<'_, Result<String, Box<dyn std::error::Error + Send + Sync>>>
        {
            Box::pin(async { Ok(self.0.to_owned()) })
        }
    }
    let plane = start(LocalDataPlane::builder());
    // The second one is a JWT that expired in 1970.
    for token in ["secret token", "e30.eyJleHAiOjF9.c2VjcmV0"] {
        let client = Client::builder(plane.runtime_arn())
            .endpoint_url(plane.base_url())
            .environment(Environment::empty())
            .auth(Auth::bearer_provider(Gives(token)))
            .build()
            .unwrap();
        let error = client.invoke("x").send().await.unwrap_err();
        assert_eq!(error.kind().as_str(), "Credentials");
        assert!(!error.to_string().contains(token), "{error}");
        // Where the token is the one of a backend's own caller, that one has to log in again.
        assert_eq!((error.field(), error.to_public().status()), (Some("bearer_token"), 401));
    }
    assert!(plane.journal().is_empty());
    let _ = builder(&plane);
}
