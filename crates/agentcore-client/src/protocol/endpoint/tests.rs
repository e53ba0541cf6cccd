use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn arn(region: &str) -> RuntimeArn {
    RuntimeArn::from_agent_id("my_agent-AbCdEf1234", "123456789012", region).unwrap()
}

fn options() -> EndpointOptions {
    EndpointOptions::default()
}

fn endpoint(url: &str) -> Result<Endpoint> {
    let options = EndpointOptions { endpoint_url: Some(url.into()), ..options() };
    Endpoint::resolve(Some(&arn("us-east-1")), &options)
}

fn local(url: &str, allowed: &[&str]) -> Result<Endpoint> {
    let allow_http_hosts = allowed.iter().map(ToString::to_string).collect();
    let options = EndpointOptions { local_url: Some(url.into()), allow_http_hosts, ..options() };
    Endpoint::resolve(None, &options)
}

fn whole(url: &str) -> Result<Endpoint> {
    let options = EndpointOptions { invocation_url: Some(url.into()), ..options() };
    Endpoint::resolve(None, &options)
}

fn vectors(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

const ENDPOINTS: &str = include_str!("../../../../../tests/vectors/endpoints.json");

#[test]
fn hosts_are_those_of_the_vectors() {
    let vectors = vectors(ENDPOINTS);
    let rows = vectors["rows"].as_array().unwrap();
    let mut refused = 0;
    for row in rows {
        let region = row["region"].as_str().unwrap();
        let Ok(arn) = RuntimeArn::from_agent_id("a", "123456789012", region) else {
            // The SDKs make hosts in `aws` of these two; here they are refused on purpose.
            assert!(matches!(region, "aws-global" | "zz-nowhere-1"), "{region}");
            refused += 1;
            continue;
        };
        let options = EndpointOptions {
            use_fips: row["fips"].as_bool().unwrap(),
            use_dualstack: row["dualstack"].as_bool().unwrap(),
            region: Some(region.into()),
            ..options()
        };
        let endpoint = Endpoint::resolve(Some(&arn), &options).unwrap();
        let uri = endpoint.uri(Operation::Invoke, None).unwrap().to_string();
        let expected = row["data_plane"].as_str().unwrap();
        assert_eq!(uri, format!("{expected}/runtimes/{}/invocations", arn.label()));
        assert_eq!(format!("https://{}", endpoint.host_header().to_str().unwrap()), expected);
    }
    assert_eq!((rows.len(), refused), (124, 8));
}

#[test]
fn custom_endpoints_are_as_in_the_vectors() {
    let vectors = vectors(ENDPOINTS);
    for row in vectors["custom_endpoint"].as_array().unwrap() {
        let input = &row["input"];
        // In the rule set the region may be missing; here it comes from the ARN.
        let arn = input["Region"].as_str().map(arn).unwrap_or_else(|| arn("us-east-1"));
        let Some(url) = input["Endpoint"].as_str() else {
            // "Missing Region": for us, a missing ARN.
            assert_eq!(row["error"], "Invalid Configuration: Missing Region");
            let error = Endpoint::resolve(None, &options()).unwrap_err();
            assert_eq!(error.field(), Some("runtime_arn"));
            continue;
        };
        let options = EndpointOptions {
            endpoint_url: Some(url.into()),
            use_fips: input["UseFIPS"].as_bool().unwrap(),
            use_dualstack: input["UseDualStack"].as_bool().unwrap(),
            ..options()
        };
        let found = Endpoint::resolve(Some(&arn), &options);
        match row["url"].as_str() {
            Some(url) => {
                let uri = found.unwrap().uri(Operation::Invoke, None).unwrap().to_string();
                let base = url.trim_end_matches('/');
                assert_eq!(uri, format!("{base}/runtimes/{}/invocations", arn.label()));
            }
            None => {
                let field = if options.use_fips { "use_fips" } else { "use_dualstack" };
                assert_eq!(found.unwrap_err().field(), Some(field));
            }
        }
    }
}

#[test]
fn urls_of_operations_are_those_of_the_vectors() {
    let vectors = vectors(include_str!("../../../../../tests/vectors/sigv4.json"));
    let mut seen = 0;
    for vector in vectors["vectors"].as_array().unwrap() {
        let operation = &vector["input"]["operation"];
        let verb = match operation["name"].as_str() {
            Some("InvokeAgentRuntime") => Operation::Invoke,
            Some("InvokeAgentRuntimeCommand") => Operation::Command,
            Some("StopRuntimeSession") => Operation::StopSession,
            Some("GetAgentCard") => Operation::AgentCard,
            _ => continue,
        };
        let params = &operation["params"];
        let arn = RuntimeArn::parse(params["agentRuntimeArn"].as_str().unwrap()).unwrap();
        let options = EndpointOptions {
            endpoint_url: operation["endpoint"].as_str().map(str::to_owned),
            ..options()
        };
        let endpoint = Endpoint::resolve(Some(&arn), &options).unwrap();
        let uri = endpoint.uri(verb, params["qualifier"].as_str()).unwrap();
        assert_eq!(uri.to_string(), vector["input"]["url"], "{}", vector["id"]);
        seen += 1;
    }
    assert_eq!(seen, 14);
}

#[test]
fn web_socket_and_shell_have_their_paths() {
    let endpoint = Endpoint::resolve(Some(&arn("us-west-2")), &options()).unwrap();
    let path = |operation| {
        endpoint.uri(operation, Some("DEFAULT")).unwrap().path_and_query().unwrap().to_string()
    };
    let label = arn("us-west-2").label().to_owned();
    assert_eq!(path(Operation::WebSocket), format!("/runtimes/{label}/ws?qualifier=DEFAULT"));
    assert_eq!(path(Operation::Shell), format!("/runtimes/{label}/ws/shells?qualifier=DEFAULT"));
}

#[test]
fn a_region_that_contradicts_the_arn_is_an_error() {
    for (region, good) in [
        ("us-east-1", true),
        ("us-west-2", false),
        ("x@evil.example:443/#", false),
        ("us-east-1/", false),
        ("us-east-1#", false),
        ("us-east-1\n", false),
        ("", false),
    ] {
        let options = EndpointOptions { region: Some(region.into()), ..options() };
        let found = Endpoint::resolve(Some(&arn("us-east-1")), &options);
        match found {
            Ok(_) => assert!(good, "{region:?}"),
            Err(error) => {
                assert!(!good, "{region:?}");
                assert_eq!(error.field(), Some("region"));
                assert!(!error.to_string().contains("evil"));
            }
        }
    }
}

#[test]
fn an_endpoint_url_keeps_its_base_path_and_port() {
    let label = arn("us-east-1").label().to_owned();
    for (url, base, host, tls) in [
        ("https://proxy.example.com", "https://proxy.example.com", "proxy.example.com", true),
        ("https://Proxy.Example.com/", "https://proxy.example.com", "proxy.example.com", true),
        ("https://p.example:8443/a/b/", "https://p.example:8443/a/b", "p.example:8443", true),
        ("HTTPS://p.example:443/a%2Fb", "https://p.example/a%2Fb", "p.example", true),
        ("http://localhost:8080", "http://localhost:8080", "localhost:8080", false),
        ("http://127.0.0.1:80/x", "http://127.0.0.1/x", "127.0.0.1", false),
        ("http://127.9.9.9:443", "http://127.9.9.9:443", "127.9.9.9:443", false),
        ("http://[::1]:9000", "http://[::1]:9000", "[::1]:9000", false),
        ("http://[0:0:0:0:0:0:0:1]", "http://[::1]", "[::1]", false),
        ("http://[::ffff:127.0.0.1]", "http://[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]", false),
        (
            "https://[2001:db8::1]:8443/x",
            "https://[2001:db8::1]:8443/x",
            "[2001:db8::1]:8443",
            true,
        ),
    ] {
        let endpoint = endpoint(url).unwrap();
        let uri = endpoint.uri(Operation::Invoke, None).unwrap();
        assert_eq!(uri.to_string(), format!("{base}/runtimes/{label}/invocations"));
        assert_eq!(endpoint.host_header(), host);
        assert_eq!((endpoint.base.tls, endpoint.is_loopback()), (tls, !tls));
        assert!(endpoint.kind().is_data_plane() && endpoint.requires_auth());
    }
}

#[test]
fn what_is_not_plainly_a_url_is_refused() {
    for (url, reason) in [
        ("", "empty"),
        ("proxy.example.com", "no scheme"),
        ("ftp://a.example", "another scheme"),
        ("wss://a.example", "another scheme"),
        ("https://", "a host of empty"),
        ("https:///x", "a host of empty"),
        ("https://a.example\n", "the last one a line break"),
        ("https://a.example /x", "whitespace inside"),
        ("https://ä.example", "punycode"),
        ("https://a.example\\@b.example", "no place in a URL"),
        ("https://user:secretpw@a.example", "user name"),
        ("https://@a.example", "user name"),
        ("https://a.example/#x", "fragment"),
        ("https://a.example#@b", "fragment"),
        ("https://a.example?x=1", "with a query"),
        ("https://a.example/?", "with a query"),
        ("https://a.example:", "a port of empty"),
        ("https://a.example:0", "a port of"),
        ("https://a.example:+1", "a port of"),
        ("https://a.example:65536", "a port of"),
        ("https://a.example:80:80", "a port of"),
        ("https://::1/", "a port of"),
        ("https://[::1", "a port of"),
        ("https://[::1%25eth0]/", "IPv6"),
        ("https://[::1]x/", "IPv6"),
        ("https://a..b", "a host of"),
        ("https://a.example.", "a host of"),
        ("https://a%2eb", "a host of"),
        ("https://*.example", "a host of"),
        ("http://127.1", "a host of"),
        ("http://2130706433", "a host of"),
        ("http://0x7f.0.0.0x1", "a host of"),
        ("https://a.example//x", "path segment"),
        ("https://a.example/x/../y", "path segment"),
        ("https://a.example/x/%2E./y", "path segment"),
        ("https://a.example/.", "path segment"),
        ("https://a.example/runtimes/x/invocations", "ends in /invocations"),
        ("https://a.example/invocations/", "ends in /invocations"),
        ("http://a.example", "plain http"),
        ("http://localhost.evil.example", "plain http"),
        ("http://127.0.0.1.evil.example", "plain http"),
        ("http://localhost-evil", "plain http"),
        ("http://0.0.0.0", "plain http"),
        ("http://169.254.169.254", "plain http"),
        ("http://[::2]", "plain http"),
    ] {
        let error = endpoint(url).unwrap_err();
        assert_eq!(error.field(), Some("endpoint_url"));
        assert!(error.to_string().contains(reason), "{url:?}: {error}");
        assert!(!error.to_string().contains("secretpw"), "{error}");
    }
    assert!(endpoint(&format!("https://a.example/{}", "x".repeat(MAX_URL))).is_err());
}

#[test]
fn plain_http_elsewhere_must_be_allowed_by_name() {
    let options = |url: &str| EndpointOptions {
        endpoint_url: Some(url.into()),
        allow_http_hosts: vec!["Data-Plane".into(), "[fd00::1]".into()],
        ..options()
    };
    let arn = arn("us-east-1");
    for (url, good) in [
        ("http://data-plane:8080", true),
        ("http://DATA-PLANE", true),
        ("http://[fd00::1]:1", true),
        ("http://data-plane.evil.example", false),
        ("http://data", false),
    ] {
        assert_eq!(Endpoint::resolve(Some(&arn), &options(url)).is_ok(), good, "{url}");
    }
}

#[test]
fn a_local_agent_beats_everything_and_needs_no_arn() {
    let options = EndpointOptions {
        region: Some("us-west-2".into()),
        use_fips: true,
        endpoint_url: Some("https://a.example".into()),
        invocation_url: Some("https://b.example".into()),
        local_url: Some("http://127.0.0.1:8080".into()),
        ..options()
    };
    let endpoint = Endpoint::resolve(Some(&arn("us-east-1")), &options).unwrap();
    assert_eq!(endpoint.kind(), TargetKind::Local);
    assert!(!endpoint.requires_auth() && !endpoint.kind().is_data_plane());
    let uri = |operation| endpoint.uri(operation, Some("prod")).map(|uri| uri.to_string());
    assert_eq!(uri(Operation::Invoke).unwrap(), "http://127.0.0.1:8080/invocations");
    assert_eq!(uri(Operation::WebSocket).unwrap(), "http://127.0.0.1:8080/ws");
    for operation in [Operation::StopSession, Operation::Command, Operation::Shell] {
        assert_eq!(uri(operation).unwrap_err().field(), Some("local_url"));
    }
}

#[test]
fn a_local_agent_is_on_this_machine_unless_allowed() {
    assert!(local("http://localhost:8080/", &[]).is_ok());
    assert!(local("https://[::1]:8080/base", &[]).is_ok());
    assert!(local("http://agent:8080", &["agent"]).is_ok());
    assert!(local("https://agent:8080", &["agent"]).is_ok());
    for url in [
        "http://agent:8080",
        "https://agent:8080",
        "https://localhost.evil.example",
        "http://localhost:8080/invocations",
        "http://localhost:8080/?x",
    ] {
        assert_eq!(local(url, &["other"]).unwrap_err().field(), Some("local_url"), "{url}");
    }
}

#[test]
fn an_invocation_url_is_used_as_it_is_and_serves_invoke_only() {
    for (url, expected) in [
        ("https://agents.example.com", "https://agents.example.com/"),
        ("https://agents.example.com/chat/", "https://agents.example.com/chat/"),
        ("https://agents.example.com/chat?k=a%20b&c", "https://agents.example.com/chat?k=a%20b&c"),
        ("https://agents.example.com?k=1", "https://agents.example.com/?k=1"),
        ("https://agents.example.com/x/invocations", "https://agents.example.com/x/invocations"),
    ] {
        let endpoint = whole(url).unwrap();
        assert_eq!(endpoint.uri(Operation::Invoke, Some("prod")).unwrap().to_string(), expected);
        assert_eq!(endpoint.kind(), TargetKind::InvocationUrl);
        let error = endpoint.uri(Operation::StopSession, None).unwrap_err();
        assert!(error.to_string().contains("not stop_session"), "{error}");
    }
    assert!(!format!("{:?}", whole("https://a.example/x?key=hidden").unwrap()).contains("hidden"));
    assert!(whole("http://a.example/x").is_err());
}

#[test]
fn two_custom_urls_are_an_error() {
    let options = EndpointOptions {
        endpoint_url: Some("https://a.example".into()),
        invocation_url: Some("https://b.example".into()),
        ..options()
    };
    let error = Endpoint::resolve(Some(&arn("us-east-1")), &options).unwrap_err();
    assert_eq!(error.field(), Some("invocation_url"));
}

proptest! {
    #[test]
    fn no_url_panics(url in any::<String>()) {
        let _ = (endpoint(&url), local(&url, &[]), whole(&url));
    }

    /// What passes is read by another parser in the same way, and goes where it says.
    #[test]
    fn what_passes_is_a_url_for_others_too(
        url in "https?://[a-z@\\[\\]:.0-9%-]{0,20}(:[0-9]{0,5})?(/[a-zA-Z0-9._%@:/-]{0,12})?(\\?[a-z=&#]{0,5})?"
    ) {
        if let Ok(endpoint) = whole(&url) {
            let ours = endpoint.uri(Operation::Invoke, None).unwrap();
            let theirs: Uri = url.parse().unwrap();
            prop_assert_eq!(ours.scheme_str(), theirs.scheme_str());
            prop_assert_eq!((ours.path(), ours.query()), (theirs.path(), theirs.query()));
            if !url.contains('[') {
                prop_assert_eq!(ours.host(), theirs.host());
            }
            if ours.scheme_str() == Some("http") {
                prop_assert!(endpoint.is_loopback());
            }
        }
    }
}

#[test]
fn a_function_url_names_its_region_and_nothing_that_looks_like_one_does() {
    let region = |url: &str| whole(url).unwrap().function_url_region().map(str::to_owned);
    assert_eq!(region("https://abc123.lambda-url.eu-west-1.on.aws/").unwrap(), "eu-west-1");
    assert_eq!(region("https://ABC.lambda-url.us-east-1.on.aws:443/a?b=c").unwrap(), "us-east-1");
    for other in [
        "https://example.com/",
        "https://abc.lambda-url.eu-west-1.on.aws.example.com/",
        "https://abc.lambda-url.eu-west-1.on.aws:8443/",
        "https://a.b.lambda-url.eu-west-1.on.aws/",
        "https://lambda-url.eu-west-1.on.aws/",
        "https://abc.lambda-url.example.com.on.aws/",
        "https://abc.lambda-url.eu-west-1.lambda-url.eu-west-1.on.aws/",
        "https://example.com/abc.lambda-url.eu-west-1.on.aws/",
        "http://127.0.0.1/abc.lambda-url.eu-west-1.on.aws/",
    ] {
        assert_eq!(region(other), None, "{other}");
    }
    // As a base URL it is a proxy like any other.
    let proxy = endpoint("https://abc.lambda-url.eu-west-1.on.aws").unwrap();
    assert_eq!(proxy.function_url_region(), None);
    let contradicting = EndpointOptions {
        invocation_url: Some("https://abc.lambda-url.eu-west-1.on.aws/".into()),
        region: Some("us-east-1".into()),
        ..options()
    };
    let error = Endpoint::resolve(None, &contradicting).unwrap_err();
    assert_eq!(error.field(), Some("region"));
}
