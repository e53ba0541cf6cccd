//! Our signatures and botocore's, byte for byte, over requests at random. A failure prints its
//! request; the seed is fixed, so that it comes again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use agentcore_client::internals::sigv4::{self, KeyCache, SigningScope};
use agentcore_client::{
    Auth, Body, Bytes, Client, Credentials, Environment, HttpService, McpHeaders, SendError,
    SendLimits, SessionId, TraceContext,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use serde_json::{Value, json};

use crate::process::Process;

const SERVICE: &str = "bedrock-agentcore";
const REGIONS: [(&str, &str, &str); 5] = [
    ("us-east-1", "aws", "amazonaws.com"),
    ("eu-central-1", "aws", "amazonaws.com"),
    ("ap-southeast-2", "aws", "amazonaws.com"),
    ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
    ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
];
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const ALPHANUMERIC: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// What a secret or a session token is made of.
const SECRET: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=";
/// Everything that may be in the value of a header, spaces and tabs more than once.
const VALUE: &str = "abcXYZ019   \t\t!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
/// What takes escaping in a URL, and what does not.
const QUERY: &str = "azAZ09-._~ !*'();:@&=+$,/?#[]%\"<>\\^`{|}üß€世🙂";

/// Enough chance for a test, the same each time (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn between(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    /// One time in so many.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn text(&mut self, alphabet: &str, first: usize, last: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..self.between(first, last)).map(|_| self.pick(&alphabet)).collect()
    }

    /// A value that our client lets through: no white space at its ends.
    fn value(&mut self, last: usize) -> String {
        let inner = self.text(VALUE, 0, last).replace('\t', " ");
        format!("{}{inner}{}", self.text(ALPHANUMERIC, 1, 3), self.text(ALPHANUMERIC, 1, 3))
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = match self.below(4) {
            0 => 0,
            1 => self.between(10_000, 100_000),
            _ => self.between(1, 200),
        };
        (0..length).map(|_| self.next() as u8).collect()
    }

    fn arn(&mut self, region: &str, partition: &str) -> String {
        let account = self.text("0123456789", 12, 12);
        let agent = self.text(LETTERS, 1, 1)
            + &self.text("abcXYZ019_", 0, 47)
            + "-"
            + &self.text(ALPHANUMERIC, 10, 10);
        format!("arn:{partition}:bedrock-agentcore:{region}:{account}:runtime/{agent}")
    }

    fn credentials(&mut self) -> Credentials {
        let id = self.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16, 20);
        let token = self.once_in(2).then(|| self.text(SECRET, 1, 1_200));
        Credentials::new(id, self.text(SECRET, 20, 60), token, None, "test")
    }

    /// A second between 1970 and 2099, as a clock and as a signature write it.
    fn time(&mut self) -> (SystemTime, String) {
        let (year, month) = (self.between(1970, 2099), self.between(1, 12));
        let day = self.between(1, days(year, month));
        let (hour, minute, second) = (self.below(24), self.below(60), self.below(60));
        let days = (1970..year).flat_map(|y| (1..=12).map(move |m| days(y, m))).sum::<usize>()
            + (1..month).map(|m| days(year, m)).sum::<usize>()
            + (day - 1);
        let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
        (
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds as u64),
            format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z"),
        )
    }
}

fn days(year: usize, month: usize) -> usize {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// What botocore is asked: the request as it is without what a signature adds.
fn question(
    kind: &str,
    request: &Request<Bytes>,
    credentials: &Credentials,
    region: &str,
    timestamp: &str,
) -> Value {
    let added = ["authorization", "x-amz-date", "x-amz-security-token"];
    let headers: Vec<(&str, &str)> = request
        .headers()
        .iter()
        .filter(|(name, _)| !added.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let mut keys = json!({
        "access_key_id": credentials.access_key_id(),
        "secret_access_key": credentials.secret_access_key(),
    });
    if let Some(token) = credentials.session_token() {
        keys["session_token"] = json!(token);
    }
    json!({
        "kind": kind,
        "method": request.method().as_str(),
        "url": request.uri().to_string(),
        "headers": headers,
        "body_b64": BASE64.encode(request.body()),
        "credentials": keys,
        "timestamp": timestamp,
        "region": region,
        "service": SERVICE,
        "expires_seconds": 300,
    })
}

fn header(request: &Request<Bytes>, name: &str) -> Option<String> {
    request.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

/// A request that nobody would send, to have everything in it.
fn any_request(random: &mut Random, region: (&str, &str, &str)) -> Request<Bytes> {
    const NAMES: [&str; 14] = [
        "content-type",
        "accept",
        "accept-encoding",
        "x-amzn-bedrock-agentcore-runtime-session-id",
        "x-amzn-bedrock-agentcore-runtime-user-id",
        "x-amzn-bedrock-agentcore-runtime-custom-tenant",
        "x-api-key",
        "mcp-session-id",
        "traceparent",
        "tracestate",
        "baggage",
        "x-amzn-trace-id",
        "user-agent",
        "te",
    ];
    let (region, partition, suffix) = region;
    let host = match random.below(4) {
        0 => "localhost:8443".to_owned(),
        1 => format!("{SERVICE}.{region}.{suffix}:443"),
        _ => format!("{SERVICE}.{region}.{suffix}"),
    };
    let arn = percent_encode(&random.arn(region, partition));
    let base = random.pick(&["", "", "/base", "/a~b/c%20d"]);
    let operation = random.pick(&["invocations", "stopruntimesession", "commands", "ws"]);
    let mut url = format!("https://{host}{base}/runtimes/{arn}/{operation}");
    for at in 0..random.below(4) {
        let name = random.pick(&["qualifier", "accountId", "a", "A", "Zz-9"]);
        let value = percent_encode(&random.text(QUERY, 0, 24));
        url.push_str(&format!("{}{name}={value}", if at == 0 { '?' } else { '&' }));
    }
    let mut request = Request::builder()
        .method(random.pick(&["POST", "POST", "GET", "DELETE"]))
        .uri(url)
        .body(Bytes::from(random.bytes()))
        .unwrap();
    for _ in 0..random.below(10) {
        let name = random.pick(&NAMES);
        let value = HeaderValue::try_from(random.text(VALUE, 0, 120)).unwrap();
        request.headers_mut().append(HeaderName::from_static(name), value);
    }
    request
}

#[tokio::test]
async fn any_request_at_any_time() {
    let mut botocore = Process::python("botocore_sign.py", &[]);
    let mut random = Random(1);
    let keys = KeyCache::default();
    for case in 0..200 {
        let region = random.pick(&REGIONS);
        let scope = SigningScope { region: region.0, service: SERVICE };
        let credentials = random.credentials();
        let (time, timestamp) = random.time();
        let mut request = any_request(&mut random, region);
        let question = question("header", &request, &credentials, region.0, &timestamp);
        sigv4::sign(&mut request, &credentials, scope, time, &keys).unwrap();

        let answer = botocore.ask(&question).await;
        assert_eq!(
            header(&request, "authorization").as_deref(),
            answer["authorization"].as_str(),
            "case {case}: {question}\nbotocore: {answer}"
        );
        for name in ["X-Amz-Date", "X-Amz-Security-Token"] {
            let theirs = answer["headers_added"][name].as_str();
            assert_eq!(header(&request, name).as_deref(), theirs, "case {case} {name}");
        }
    }
    assert!(botocore.end().await);
}

#[tokio::test]
async fn any_presigned_url() {
    let mut botocore = Process::python("botocore_sign.py", &[]);
    let mut random = Random(2);
    let keys = KeyCache::default();
    for case in 0..100 {
        let region = random.pick(&REGIONS);
        let scope = SigningScope { region: region.0, service: SERVICE };
        let credentials = random.credentials();
        let (time, timestamp) = random.time();
        let mut request = any_request(&mut random, region);
        // botocore keeps one value of each name of a query that it presigns.
        let names = request.uri().query().unwrap_or_default().split('&');
        let mut names: Vec<_> = names.filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        if names.len() < all {
            continue;
        }
        // Whoever opens a URL sends no body, and only the headers that cannot be left out.
        request.headers_mut().clear();
        *request.method_mut() = Method::GET;
        *request.body_mut() = Bytes::new();
        let question = question("presign", &request, &credentials, region.0, &timestamp);
        let expires = Duration::from_secs(300);
        let url = sigv4::presign(&request, &credentials, scope, time, expires, &keys).unwrap();

        let answer = botocore.ask(&question).await;
        let theirs = answer["signature"].as_str().unwrap_or_default();
        assert!(
            url.ends_with(&format!("&X-Amz-Signature={theirs}")),
            "case {case}: {question}\nours: {url}\nbotocore: {answer}"
        );
        let sorted = |url: &str| {
            let (before, query) = url.split_once('?').unwrap();
            let mut pairs: Vec<_> = query.split('&').map(str::to_owned).collect();
            pairs.sort_unstable();
            (before.to_owned(), pairs)
        };
        assert_eq!(sorted(&url), sorted(answer["url"].as_str().unwrap()), "case {case}");
    }
}

/// Keeps the last request in place of sending it.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Option<Request<Bytes>>>>);

impl HttpService for Kept {
    fn send(
        &self,
        request: Request<Bytes>,
        _: SendLimits,
    ) -> BoxFuture<'static, Result<Response<Body>, SendError>> {
        *self.0.lock().unwrap() = Some(request);
        std::future::ready(Ok(Response::new(Body::empty()))).boxed()
    }
}

#[tokio::test]
async fn every_option_of_our_client() {
    let mut botocore = Process::python("botocore_sign.py", &[]);
    let mut random = Random(3);
    for case in 0..200 {
        let (region, partition, _) = random.pick(&REGIONS);
        let credentials = random.credentials();
        let kept = Kept::default();
        let mut client = Client::builder(random.arn(region, partition))
            .auth(Auth::sigv4(credentials.clone()))
            .transport(kept.clone())
            .user_agent("interop/1")
            .environment(Environment::empty());
        if random.once_in(2) {
            client = client.qualifier(random.text(LETTERS, 1, 1) + &random.text("aZ9_", 0, 40));
        }
        match random.below(6) {
            0 => client = client.endpoint_url("https://gateway.example:8443/base/path"),
            1 => client = client.endpoint_url("http://127.0.0.1:8080"),
            _ => {}
        }
        let client = client.build().unwrap();
        let session = SessionId::generate();
        if random.once_in(4) {
            client.stop_session(&session).send().await.unwrap();
        } else {
            let mut call = client.invoke(Bytes::from(random.bytes())).session(&session);
            if random.once_in(2) {
                call = call.user_id(random.value(60));
            }
            if random.once_in(2) {
                call = call.content_type("application/cbor").accept(random.value(30));
            }
            if random.once_in(2) {
                call = call.mcp(
                    McpHeaders::default()
                        .session_id(random.value(50))
                        .protocol_version("2025-06-18")
                        .method("tools/call")
                        .name(random.value(50)),
                );
            }
            if random.once_in(2) {
                call = call.trace(
                    TraceContext::default()
                        .traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
                        .tracestate(random.value(100))
                        .baggage(random.value(100))
                        .x_amzn_trace_id(random.value(50)),
                );
            }
            for at in 0..random.below(4) {
                let name = random.text(ALPHANUMERIC, 1, 20);
                let prefix = random.pick(&["X-Own-", "X-Amzn-Bedrock-AgentCore-Runtime-Custom-"]);
                call = call.header(format!("{prefix}{at}{name}"), random.value(200));
            }
            call.send().await.unwrap();
        }

        let request = kept.0.lock().unwrap().take().expect("one was sent");
        let timestamp = header(&request, "x-amz-date").unwrap();
        let question = question("header", &request, &credentials, region, &timestamp);
        let answer = botocore.ask(&question).await;
        assert_eq!(
            header(&request, "authorization").as_deref(),
            answer["authorization"].as_str(),
            "case {case}: {question}\nbotocore: {answer}"
        );
        let token = header(&request, "x-amz-security-token");
        assert_eq!(token.as_deref(), credentials.session_token(), "case {case}");
    }
}
