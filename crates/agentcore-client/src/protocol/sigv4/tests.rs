//! Two judges: golden vectors made by botocore, and the aws-sigv4 crate on random requests.

use std::borrow::Cow;
use std::collections::BTreeSet;

use aws_sigv4::http_request::{
    PercentEncodingMode, SessionTokenMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode,
};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use base64::Engine as _;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SCOPE: SigningScope<'_> = SigningScope { region: "us-east-1", service: "bedrock-agentcore" };
/// 2026-01-15T12:34:56Z
const NOW: u64 = 1_768_480_496;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn credentials(token: Option<&str>) -> Credentials {
    Credentials::new("AKIDEXAMPLE", SECRET, token.map(str::to_owned), None, "test")
}

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

fn sign_now(request: &mut Request<Bytes>, credentials: &Credentials) -> Result<()> {
    sign(request, credentials, SCOPE, at(NOW), &KeyCache::default())
}

fn presign_now(request: &Request<Bytes>, expires: Duration) -> Result<String> {
    presign(request, &credentials(None), SCOPE, at(NOW), expires, &KeyCache::default())
}

fn header<'a>(request: &'a Request<Bytes>, name: &str) -> &'a str {
    request.headers()[name].to_str().unwrap()
}

fn signed_headers(request: &Request<Bytes>) -> Vec<&str> {
    let (_, rest) = header(request, "authorization").split_once("SignedHeaders=").unwrap();
    rest.split_once(',').unwrap().0.split(';').collect()
}

fn hex(hash: impl AsRef<[u8]>) -> String {
    let mut out = Vec::new();
    push_hex(&mut out, hash);
    String::from_utf8(out).unwrap()
}

fn query_of(url: &str) -> BTreeSet<String> {
    let (_, query) = url.split_once('?').unwrap();
    query.split('&').map(str::to_owned).collect()
}

// Golden vectors.

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/sigv4.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is no text"))
}

struct Case<'a> {
    request: Request<Bytes>,
    credentials: Credentials,
    scope: SigningScope<'a>,
    expires: Duration,
}

impl<'a> Case<'a> {
    fn new(file: &Value, vector: &'a Value) -> Self {
        let input = &vector["input"];
        // All vectors share one time, which is spelled out above.
        assert_eq!(text(input, "timestamp"), "20260115T123456Z");
        let mut request = Request::builder().method(text(input, "method")).uri(text(input, "url"));
        for pair in input["headers"].as_array().unwrap() {
            request = request.header(pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
        }
        let body = input["body_base64"].as_str().unwrap_or_default();
        let body = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
        let keys = &file["credentials"][text(input, "credentials")];
        Self {
            request: request.body(body.into()).unwrap(),
            credentials: Credentials::new(
                text(keys, "access_key_id"),
                text(keys, "secret_access_key"),
                keys["session_token"].as_str().map(str::to_owned),
                None,
                "vectors",
            ),
            scope: SigningScope {
                region: text(input, "region"),
                service: text(input, "signing_name"),
            },
            expires: Duration::from_secs(input["expires_seconds"].as_u64().unwrap_or(1)),
        }
    }

    fn check_draft(&self, id: &str, draft: &Draft, expected: &Value, cache: &KeyCache) {
        let canonical = str::from_utf8(&draft.text[..draft.canonical]).unwrap();
        assert_eq!(canonical, text(expected, "canonical_request"), "{id}");
        let lines: Vec<&str> = canonical.split('\n').collect();
        assert_eq!(lines[1], text(expected, "canonical_uri"), "{id}");
        assert_eq!(lines[2], text(expected, "canonical_query"), "{id}");
        assert_eq!(lines[lines.len() - 2], text(expected, "signed_headers"), "{id}");
        assert_eq!(lines[lines.len() - 1], text(expected, "payload_sha256"), "{id}");
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()));
        assert_eq!(hash, text(expected, "canonical_request_sha256"), "{id}");
        let string_to_sign = draft.string_to_sign();
        assert_eq!(
            str::from_utf8(string_to_sign).unwrap(),
            text(expected, "string_to_sign"),
            "{id}"
        );
        let stamp = Stamp::new(at(NOW)).unwrap();
        let signature =
            cache.seal(&self.credentials, self.scope, at(NOW), &stamp, string_to_sign).unwrap();
        assert_eq!(hex(signature), text(expected, "signature"), "{id}");
    }
}

#[test]
fn golden_vectors_signed_in_headers() {
    let file = vectors();
    // One cache for all: keys that differ in any part must not be mixed up.
    let cache = KeyCache::default();
    let mut seen = 0;
    for vector in file["vectors"].as_array().unwrap() {
        let (id, expected) = (text(vector, "id"), &vector["expected"]);
        if text(vector, "kind") != "header" {
            continue;
        }
        let mut case = Case::new(&file, vector);
        let stamp = Stamp::new(at(NOW)).unwrap();
        let draft =
            Draft::for_headers(&case.request, &case.credentials, case.scope, &stamp, &cache)
                .unwrap();
        case.check_draft(id, &draft, expected, &cache);

        let before = case.request.headers().clone();
        sign(&mut case.request, &case.credentials, case.scope, at(NOW), &cache).unwrap();
        assert_eq!(header(&case.request, "authorization"), text(expected, "authorization"), "{id}");
        let added: BTreeSet<(String, String)> = (case.request.headers().iter())
            .filter(|(name, _)| !before.contains_key(*name))
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let wanted: BTreeSet<(String, String)> = (expected["headers_added"].as_object().unwrap())
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(added, wanted, "{id}");
        seen += 1;
    }
    assert!(seen >= 20, "{seen} vectors");
}

#[test]
fn golden_vectors_signed_in_the_url() {
    let file = vectors();
    let cache = KeyCache::default();
    let mut seen = 0;
    for vector in file["vectors"].as_array().unwrap() {
        let (id, expected) = (text(vector, "id"), &vector["expected"]);
        if text(vector, "kind") != "presign" {
            continue;
        }
        let case = Case::new(&file, vector);
        let stamp = Stamp::new(at(NOW)).unwrap();
        let params =
            Params::new(&case.request, &case.credentials, case.scope, &stamp, case.expires)
                .unwrap();
        let draft = Draft::for_query(&case.request, case.scope, &stamp, &params).unwrap();
        case.check_draft(id, &draft, expected, &cache);

        let url =
            presign(&case.request, &case.credentials, case.scope, at(NOW), case.expires, &cache)
                .unwrap();
        assert_eq!(query_of(&url), query_of(text(expected, "url")), "{id}");
        // Not a rule of SigV4, but ours: parameters in botocore's order.
        assert_eq!(url, text(expected, "url"), "{id}");
        assert_eq!(url.replacen("https", "wss", 1), text(expected, "wss_url"), "{id}");
        seen += 1;
    }
    assert!(seen >= 4, "{seen} vectors");
}

// aws-sigv4 on random requests.

/// Headers that HTTP, proxies and tracers own; the judge takes whole names only.
const UNSIGNED: [&str; 20] = [
    "authorization",
    "baggage",
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
];

struct Verdict {
    headers: Vec<(String, String)>,
    params: BTreeSet<String>,
}

fn judge(
    request: &Request<Bytes>,
    credentials: &Credentials,
    scope: SigningScope<'_>,
    time: SystemTime,
    expires: Option<Duration>,
    normalization: UriPathNormalizationMode,
) -> Verdict {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Double;
    settings.uri_path_normalization_mode = normalization;
    settings.session_token_mode = SessionTokenMode::Include;
    settings.excluded_headers = Some(UNSIGNED.iter().map(|name| Cow::Borrowed(*name)).collect());
    settings.expires_in = expires;
    if expires.is_some() {
        settings.signature_location = SignatureLocation::QueryParams;
    }
    let identity = Identity::from(credentials.clone());
    let params = SigningParams::builder()
        .identity(&identity)
        .region(scope.region)
        .name(scope.service)
        .time(time)
        .settings(settings)
        .build()
        .unwrap()
        .into();
    // The judge folds spaces only; botocore and the JavaScript signer, like this one, tabs too.
    let headers: Vec<(&str, String)> = (request.headers().iter())
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap().replace('\t', " ")))
        .collect();
    let signable = SignableRequest::new(
        request.method().as_str(),
        request.uri().to_string(),
        headers.iter().map(|(name, value)| (*name, value.as_str())),
        SignableBody::Bytes(request.body()),
    );
    let output = aws_sigv4::http_request::sign(signable.unwrap(), &params).unwrap();
    let (headers, params) = output.into_parts().0.into_parts();
    let encode = |value: &str| {
        let mut out = Vec::new();
        push_encoded(&mut out, value.as_bytes(), false);
        String::from_utf8(out).unwrap()
    };
    Verdict {
        headers: headers
            .iter()
            .map(|header| (header.name().to_owned(), header.value().to_owned()))
            .collect(),
        params: params.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect(),
    }
}

fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(951_782_399),     // 2000-02-28T23:59:59Z, a leap year after all
        Just(951_868_799),     // 2000-02-29T23:59:59Z
        Just(4_107_542_399),   // 2100-02-28T23:59:59Z, no leap year
        Just(4_107_542_400),   // 2100-03-01T00:00:00Z
        Just(1_830_297_599),   // 2027-12-31T23:59:59Z
        Just(1_835_395_199),   // 2028-02-28T23:59:59Z
        Just(1_861_919_999),   // 2028-12-31T23:59:59Z
        Just(253_402_300_799), // 9999-12-31T23:59:59Z
        0..253_402_300_800_u64,
        (0..9_000_u64, -2..2_i64)
            .prop_map(|(day, edge)| (day * 86_400).saturating_add_signed(edge)),
    ]
}

/// A path piece as it may stand in a URL: plain, escaped in either case, or raw sub-delimiters.
fn any_segment() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_.~-]{1,12}",
        "([a-z]|%[0-9A-F]{2}|%[0-9a-f]{2}|[@=:,;!$&'()*+]|%){1,8}",
        "arn%3Aaws(-cn|-us-gov)?%3Abedrock-agentcore%3A[a-z]{2}-[a-z]{4,9}-[1-9]%3A[0-9]{12}%3Aruntime%2F[a-zA-Z][a-zA-Z0-9_]{0,47}-[a-zA-Z0-9]{10}",
    ]
}

fn any_query() -> impl Strategy<Value = String> {
    let escaped = "[\\PC\\x00-\\x20]{0,6}".prop_map(|raw| {
        let mut out = Vec::new();
        push_encoded(&mut out, raw.as_bytes(), false);
        String::from_utf8(out).unwrap()
    });
    let value = prop_oneof![
        escaped,
        "([A-Za-z0-9~._-]|[@:,;!$'()*/?]|%20|%2B|%2b|%7e|%41|%C3%A9|%c3%a9){0,8}",
    ];
    let name = prop_oneof!["[a-cA-C]{0,2}", "qualifier|accountId|X-Amzn-Custom", "a%(2D|2e)"];
    let pair = (name, value, any::<bool>()).prop_map(|(name, value, bare)| {
        if bare && value.is_empty() { name } else { format!("{name}={value}") }
    });
    prop::collection::vec(pair, 0..6).prop_map(|pairs| pairs.join("&"))
}

fn any_header() -> impl Strategy<Value = (String, String)> {
    let name = prop_oneof![
        4 => prop::sample::select(vec![
            "accept", "accept-encoding", "content-type", "cache-control", "mcp-session-id",
            "x-amzn-bedrock-agentcore-runtime-session-id",
            "x-amzn-bedrock-agentcore-runtime-user-id",
            "x-amzn-bedrock-agentcore-runtime-custom-tenant",
            "x-api-key", "x-amz-bedrock-agentcore-identity-wat",
        ]).prop_map(str::to_owned),
        2 => prop::sample::select(UNSIGNED.to_vec()).prop_map(str::to_owned),
        // Few letters, so that names repeat and are prefixes of each other.
        2 => "x(-[a-b]){1,3}|[!#$&'*+.^_`|~0-9a-z-]{1,8}",
    ];
    let value = prop_oneof!["[!-~]{0,40}", "[ a\t]{0,12}", "[ -~\t]{0,40}", "  acme   corp "];
    (name, value)
}

#[derive(Debug)]
struct Call {
    request: Request<Bytes>,
    token: Option<String>,
    region: &'static str,
    service: &'static str,
    time: u64,
}

fn any_call() -> impl Strategy<Value = Call> {
    let path = prop_oneof![
        9 => prop::collection::vec(any_segment(), 0..5).prop_map(|segments| segments.join("/")),
        1 => "[a./]{0,8}",
    ];
    let url = (
        "https?",
        "[a-z0-9-]{1,10}(\\.[a-zA-Z]{2,5}){0,3}|127\\.0\\.0\\.1|\\[::1\\]",
        prop::sample::select(vec!["", ":80", ":443", ":8080"]),
        path,
        prop_oneof![Just(None), any_query().prop_map(Some)],
    )
        .prop_map(|(scheme, host, port, path, query)| {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            format!("{scheme}://{host}{port}/{path}{query}")
        });
    let scope = (
        prop::sample::select(vec!["us-east-1", "eu-central-1", "us-gov-west-1"]),
        prop::sample::select(vec!["bedrock-agentcore", "execute-api", "lambda"]),
    );
    let token = prop_oneof![Just(None), "[A-Za-z0-9+/=]{1,300}".prop_map(Some)];
    (
        prop::sample::select(vec!["GET", "POST", "DELETE"]),
        url,
        prop::collection::vec(any_header(), 0..8),
        prop_oneof![3 => Just(None), 1 => "[a-z]{1,9}(:8443)?".prop_map(Some)],
        prop::collection::vec(any::<u8>(), 0..200),
        token,
        scope,
        any_time(),
    )
        .prop_filter_map(
            "not a URL",
            |(method, url, headers, host, body, token, (region, service), time)| {
                let mut request = Request::builder().method(method).uri(url);
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                if let Some(host) = host {
                    request = request.header("host", host);
                }
                let request = request.body(body.into()).ok()?;
                Some(Call { request, token, region, service, time })
            },
        )
}

/// One cache for all random calls, so that it is hit, missed and overrun.
static SHARED: KeyCache = KeyCache { keys: RwLock::new(Vec::new()), target: RwLock::new(None) };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn aws_sigv4_signs_alike(call in any_call()) {
        let Call { mut request, token, region, service, time } = call;
        let (credentials, time) = (credentials(token.as_deref()), at(time));
        let scope = SigningScope { region, service };
        let verdict = |mode| judge(&request, &credentials, scope, time, None, mode);
        let wanted = verdict(UriPathNormalizationMode::Enabled);
        let raw = verdict(UriPathNormalizationMode::Disabled);

        // Refused exactly where the service would check another path than the one sent.
        let same = raw.headers == wanted.headers;
        let outcome = sign(&mut request, &credentials, scope, time, &SHARED);
        prop_assert_eq!(outcome.is_ok(), same, "{:?}", outcome);
        if same {
            for (name, value) in &wanted.headers {
                prop_assert_eq!(header(&request, name), value);
            }
            prop_assert!(signed_headers(&request).iter().all(|name| !UNSIGNED.contains(name)));
        }
    }

    #[test]
    fn aws_sigv4_presigns_alike(call in any_call(), expires in 1..=300_u64) {
        let Call { request, token, region, service, time } = call;
        let (credentials, time) = (credentials(token.as_deref()), at(time));
        let (scope, expires) = (SigningScope { region, service }, Duration::from_secs(expires));
        let verdict = |mode| judge(&request, &credentials, scope, time, Some(expires), mode);
        let wanted = verdict(UriPathNormalizationMode::Enabled);
        let same = verdict(UriPathNormalizationMode::Disabled).params == wanted.params;

        let url = presign(&request, &credentials, scope, time, expires, &SHARED);
        prop_assert_eq!(url.is_ok(), same, "{:?}", url);
        if let Ok(url) = url {
            // The target as it was, then the parameters.
            let target = request.uri().to_string();
            let rest = url.strip_prefix(&target).unwrap();
            let added = rest.trim_start_matches(['?', '&']);
            let added: BTreeSet<String> = added.split('&').map(str::to_owned).collect();
            prop_assert_eq!(added, wanted.params);
            prop_assert!(url.parse::<Uri>().is_ok());
        }
    }

    #[test]
    fn a_second_signature_replaces_the_first(call in any_call(), token in "[a-z]{0,9}") {
        let Call { mut request, token: first, region, service, time } = call;
        let scope = SigningScope { region, service };
        let mut once = request.clone();
        let second = credentials((!token.is_empty()).then_some(&*token));
        if sign(&mut request, &credentials(first.as_deref()), scope, at(time / 2), &SHARED).is_ok() {
            sign(&mut request, &second, scope, at(time), &SHARED).unwrap();
            sign(&mut once, &second, scope, at(time), &SHARED).unwrap();
            prop_assert_eq!(request.headers(), once.headers());
        }
    }
}

#[test]
fn every_day_of_five_centuries_has_its_date() {
    let (mut year, mut month, mut day) = (1970, 1, 1);
    for number in 0..182_622 {
        let stamp = Stamp::new(at(number * 86_400 + 86_399)).unwrap();
        let date = format!("{year:04}{month:02}{day:02}T235959Z");
        assert_eq!(str::from_utf8(&stamp.text).unwrap(), date);
        assert_eq!(stamp.day, number);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 => 28 + u8::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        (day, month, year) = match (day == length, month) {
            (true, 12) => (1, 1, year + 1),
            (true, _) => (1, month + 1, year),
            _ => (day + 1, month, year),
        };
    }
    assert_eq!((year, month, day), (2470, 1, 1));
}

// Rules.

#[test]
fn trace_headers_hop_by_hop_headers_and_the_user_agent_stay_unsigned() {
    let mut request = get("https://example.com/");
    for name in UNSIGNED {
        request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
    }
    for name in ["accept", "accept-encoding", "cache-control", "x-amzn-custom"] {
        request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
    }
    sign_now(&mut request, &credentials(None)).unwrap();
    let signed =
        ["accept", "accept-encoding", "cache-control", "host", "x-amz-date", "x-amzn-custom"];
    assert_eq!(signed_headers(&request), signed);
    // A tracer may change them afterwards.
    let before = request.headers()["authorization"].clone();
    for name in UNSIGNED {
        request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static("w"));
    }
    sign_now(&mut request, &credentials(None)).unwrap();
    assert_eq!(request.headers()["authorization"], before);
}

#[test]
fn many_values_of_one_name_keep_their_order() {
    let mut request = get("https://example.com/");
    let values: Vec<String> = (0..60).map(|number| format!("v{}", number * 37 % 60)).collect();
    for value in &values {
        request.headers_mut().append("x-name", value.parse().unwrap());
        request.headers_mut().append("x-other", "v".parse().unwrap());
    }
    let stamp = Stamp::new(at(NOW)).unwrap();
    let draft =
        Draft::for_headers(&request, &credentials(None), SCOPE, &stamp, &KeyCache::default())
            .unwrap();
    let line = format!("\nx-name:{}\nx-other:v,", values.join(","));
    assert!(str::from_utf8(&draft.text).unwrap().contains(&line));
}

#[test]
fn bytes_beyond_ascii_are_signed_as_they_are() {
    let mut request = get("https://example.com/");
    let value = HeaderValue::from_bytes(b"caf\xc3\xa9 \xff").unwrap();
    request.headers_mut().insert("x-name", value);
    let stamp = Stamp::new(at(NOW)).unwrap();
    let draft =
        Draft::for_headers(&request, &credentials(None), SCOPE, &stamp, &KeyCache::default())
            .unwrap();
    let line = b"\nx-name:caf\xc3\xa9 \xff\n";
    assert!(draft.text.windows(line.len()).any(|window| window == line));
}

#[test]
fn a_default_port_is_no_part_of_the_host() {
    for (url, wanted) in [
        ("https://example.com:443/", "example.com"),
        ("wss://example.com:443/", "example.com"),
        ("http://example.com:80/", "example.com"),
        ("https://example.com:80/", "example.com:80"),
        ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
        ("http://[::1]:80/", "[::1]"),
    ] {
        assert_eq!(host(&url.parse().unwrap()).unwrap(), wanted, "{url}");
    }
}

#[test]
fn a_target_without_its_host_needs_the_header() {
    let mut request = get("/path");
    let error = sign_now(&mut request, &credentials(None)).unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("url")));
    request.headers_mut().insert(HOST, HeaderValue::from_static("example.com"));
    sign_now(&mut request, &credentials(None)).unwrap();
    let mut absolute = get("https://example.com/path");
    sign_now(&mut absolute, &credentials(None)).unwrap();
    assert_eq!(header(&request, "authorization"), header(&absolute, "authorization"));
    assert!(presign_now(&request, MAX_EXPIRES).is_err());
}

#[test]
fn a_target_that_would_be_read_in_two_ways_is_refused() {
    for url in [
        "https://h//",
        "https://h/a//b",
        "https://h/a/./b",
        "https://h/a/../b",
        "https://h/.",
        "https://h/a/..",
        "https://user@h/",
        "https://h/?a=b+c",
        "https://h/?a=%",
        "https://h/?a=%4",
        "https://h/?a=%zz",
    ] {
        let mut request = get(url);
        let before = request.headers().clone();
        let error = sign_now(&mut request, &credentials(None)).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("url")), "{url}");
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert_eq!(request.headers(), &before, "{url}");
        assert!(presign_now(&request, MAX_EXPIRES).is_err(), "{url}");
    }
    for url in ["https://h", "https://h/", "https://h/a/", "https://h/.well-known/..a/.../%2E%2E"] {
        sign_now(&mut get(url), &credentials(None)).unwrap();
    }
}

#[test]
fn escapes_in_the_query_are_compared_by_what_they_mean() {
    let canonical = |query: &str| {
        let mut out = Vec::new();
        push_query(&mut out, query, None).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(canonical("b=%7e%c3%a9&a=2&a=1&&a"), "a=&a=1&a=2&b=~%C3%A9");
    assert_eq!(canonical("n=%FF"), "n=%FF");
    // By name, then value: `-` sorts before the `=` that would follow the shorter name.
    assert_eq!(canonical("a-b=1&a=2"), "a=2&a-b=1");
}

#[test]
fn a_url_lives_for_one_to_three_hundred_seconds() {
    let request = get("https://example.com/ws");
    for expires in [Duration::ZERO, Duration::from_millis(999), Duration::from_millis(300_001)] {
        let error = presign_now(&request, expires).unwrap_err();
        assert_eq!(error.field(), Some("expires"));
    }
    let url = presign_now(&request, Duration::from_millis(1_999)).unwrap();
    assert!(url.contains("&X-Amz-Expires=1&"), "{url}");
    assert!(presign_now(&request, MAX_EXPIRES).is_ok());
}

#[test]
fn a_url_is_presigned_once() {
    let url = presign_now(&get("https://example.com/ws"), MAX_EXPIRES).unwrap();
    let error = presign_now(&get(&url), MAX_EXPIRES).unwrap_err();
    assert_eq!(error.field(), Some("url"));
    assert!(!error.to_string().contains("example.com"));
}

#[test]
fn a_time_that_the_format_cannot_hold_is_refused() {
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    for time in [before, at(253_402_300_800)] {
        let mut request = get("https://example.com/");
        let error =
            sign(&mut request, &credentials(None), SCOPE, time, &KeyCache::default()).unwrap_err();
        assert_eq!(error.field(), Some("time"));
    }
}

#[test]
fn unusable_credentials_are_refused_without_being_repeated() {
    for (id, secret, token) in [
        ("", SECRET, None),
        ("AKID EXAMPLE", SECRET, None),
        ("AKIDEXAMPLE\n", SECRET, None),
        ("AKIDEXAMPLE", "", None),
        ("AKIDEXAMPLE", SECRET, Some("hidden\n")),
    ] {
        let credentials = Credentials::new(id, secret, token.map(str::to_owned), None, "test");
        let mut request = get("https://example.com/");
        let error = sign_now(&mut request, &credentials).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Credentials, Delivery::NotSent));
        assert!(request.headers().is_empty());
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(SECRET) && !shown.contains("hidden") && !shown.contains("AKID"));
    }
}

#[test]
fn an_empty_session_token_means_none() {
    let (mut one, mut other) = (get("https://example.com/"), get("https://example.com/"));
    sign_now(&mut one, &credentials(Some(""))).unwrap();
    sign_now(&mut other, &credentials(None)).unwrap();
    assert_eq!(one.headers(), other.headers());
}

#[test]
fn a_scope_is_letters_digits_and_hyphens() {
    for (region, service, field) in [
        ("", "lambda", "region"),
        ("us/east", "lambda", "region"),
        ("us-east-1", "a\nb", "service"),
    ] {
        let scope = SigningScope { region, service };
        let mut request = get("https://example.com/");
        let error = sign(&mut request, &credentials(None), scope, at(NOW), &KeyCache::default())
            .unwrap_err();
        assert_eq!(error.field(), Some(field));
    }
}

#[test]
fn nothing_secret_shows_in_debug() {
    let cache = KeyCache::default();
    let mut request = get("https://example.com/");
    sign(&mut request, &credentials(Some("TOKEN")), SCOPE, at(NOW), &cache).unwrap();
    assert_eq!(cache.keys.read().unwrap().len(), 1);
    assert_eq!(format!("{cache:?}"), "KeyCache { .. }");
    assert!(request.headers()["authorization"].is_sensitive());
    assert!(request.headers()["x-amz-security-token"].is_sensitive());
    let shown = format!("{request:?}");
    assert!(!shown.contains("TOKEN") && !shown.contains("AKIDEXAMPLE"), "{shown}");
}

#[test]
fn the_cache_tells_keys_apart_and_stays_small() {
    let cache = KeyCache::default();
    let authorization = |secret: &str, scope, time, cache: &KeyCache| {
        let credentials = Credentials::new("AKIDEXAMPLE", secret, None, None, "test");
        let mut request = get("https://example.com/");
        sign(&mut request, &credentials, scope, at(time), cache).unwrap();
        request.headers()["authorization"].clone()
    };
    let mut wanted = Vec::new();
    for secret in ["one", "two"] {
        for region in ["us-east-1", "us-west-2"] {
            for service in ["lambda", "execute-api"] {
                for time in [NOW, NOW + 86_400] {
                    let scope = SigningScope { region, service };
                    wanted.push((secret, scope, time));
                }
            }
        }
    }
    for _ in 0..2 {
        for (secret, scope, time) in &wanted {
            let fresh = authorization(secret, *scope, *time, &KeyCache::default());
            // Missed, then hit.
            assert_eq!(authorization(secret, *scope, *time, &cache), fresh);
            assert_eq!(authorization(secret, *scope, *time, &cache), fresh);
            assert!(cache.keys.read().unwrap().len() <= KeyCache::CAPACITY);
        }
    }
}

#[test]
fn targets_in_turn_are_signed_as_if_each_were_the_first() {
    let cache = KeyCache::default();
    let authorization = |url: &str, cache: &KeyCache| {
        let mut request = get(url);
        sign(&mut request, &credentials(None), SCOPE, at(NOW), cache).unwrap();
        request.headers()["authorization"].clone()
    };
    for path in ["a%3Ab", "a%3Ab", "a%3Ab?q=1", "a%3Ab?q=2", "a%3ab?q=2", "a%3Ab", ""] {
        let url = format!("https://example.com/{path}");
        assert_eq!(authorization(&url, &cache), authorization(&url, &KeyCache::default()));
    }
    let mut bad = get("https://example.com/a//b");
    for _ in 0..2 {
        assert!(sign(&mut bad, &credentials(None), SCOPE, at(NOW), &cache).is_err());
    }
}

#[test]
fn a_rotated_secret_is_no_hit_for_its_access_key_id() {
    let cache = KeyCache::default();
    let mut seen = BTreeSet::new();
    for secret in ["one", "two", "one"] {
        let credentials = Credentials::new("AKIDEXAMPLE", secret, None, None, "test");
        let mut request = get("https://example.com/");
        sign(&mut request, &credentials, SCOPE, at(NOW), &cache).unwrap();
        seen.insert(header(&request, "authorization").to_owned());
    }
    assert_eq!(seen.len(), 2);
    assert_eq!(cache.keys.read().unwrap().len(), 2);
}

#[test]
fn the_cache_crosses_threads() {
    fn check<T: Send + Sync + 'static>() {}
    check::<KeyCache>();
}
