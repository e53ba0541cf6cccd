//! What a signature costs, over the floor: the three hashes that no signer can do without, on
//! ring. The peer is `aws_sigv4::http_request::sign`, called as the AWS SDK for Rust calls it.

#![allow(clippy::expect_used, reason = "a bench may panic")]
#![allow(missing_docs, reason = "what criterion's macros make is public")]

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use agentcore_client::internals::sigv4::{KeyCache, SigningScope, presign, sign};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::Request;
use ring::{digest, hmac};

const URL: &str = "https://bedrock-agentcore.us-east-1.amazonaws.com/runtimes/arn%3Aaws%3Abedrock-agentcore%3Aus-east-1%3A123456789012%3Aruntime%2Fmy_agent-AbCdEf1234/invocations?qualifier=DEFAULT";
const SCOPE: SigningScope<'_> = SigningScope { region: "us-east-1", service: "bedrock-agentcore" };

/// Few enough that the requests stay in the processor's cache, as one that was just built does.
const BATCH: BatchSize = BatchSize::NumIterations(64);

/// An invocation with 1 KB of payload and the headers that this client sends.
fn invocation() -> Request<Bytes> {
    let mut request = Request::post(URL);
    // With room for the signature, as the client builds it.
    request.headers_mut().expect("valid").reserve(16);
    let request = request
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("accept-encoding", "identity")
        .header("user-agent", "agentcore-client/0.1.0")
        .header(
            "x-amzn-bedrock-agentcore-runtime-session-id",
            "12345678-1234-5678-9abc-1234567890ab",
        );
    request.body(Bytes::from(vec![b'x'; 1024])).expect("valid")
}

fn credentials(token: Option<usize>) -> Credentials {
    Credentials::new(
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        token.map(|length| "t".repeat(length)),
        None,
        "bench",
    )
}

fn peer(request: &mut Request<Bytes>, identity: &Identity, time: SystemTime) {
    let params = SigningParams::builder()
        .identity(identity)
        .region(SCOPE.region)
        .name(SCOPE.service)
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .expect("complete")
        .into();
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().expect("text")));
    let signable = SignableRequest::new(
        request.method().as_str(),
        request.uri().to_string(),
        headers,
        SignableBody::Bytes(request.body()),
    )
    .expect("valid");
    let (instructions, _) =
        aws_sigv4::http_request::sign(signable, &params).expect("signs").into_parts();
    instructions.apply_to_request_http1x(request);
}

fn benches(c: &mut Criterion) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_768_480_496);
    let mut group = c.benchmark_group("sign");

    let payload = vec![b'x'; 1024];
    let canonical = vec![b'c'; 540];
    let string_to_sign = vec![b's'; 135];
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    group.bench_function("floor (ring)", |b| {
        b.iter(|| {
            black_box(digest::digest(&digest::SHA256, black_box(&payload)));
            black_box(digest::digest(&digest::SHA256, black_box(&canonical)));
            black_box(hmac::sign(&key, black_box(&string_to_sign)));
        });
    });

    // A request is signed once in its life, so each iteration gets a new one.
    let plain = credentials(None);
    let cache = KeyCache::default();
    group.bench_function("warm", |b| {
        b.iter_batched_ref(invocation, |request| sign(request, &plain, SCOPE, time, &cache), BATCH);
    });
    let temporary = credentials(Some(900));
    group.bench_function("warm, 900-byte token", |b| {
        b.iter_batched_ref(
            invocation,
            |request| sign(request, &temporary, SCOPE, time, &cache),
            BATCH,
        );
    });
    group.bench_function("cold", |b| {
        b.iter_batched_ref(
            || (invocation(), KeyCache::default()),
            |(request, cache)| sign(request, &plain, SCOPE, time, cache),
            BATCH,
        );
    });
    let socket = Request::get(URL).body(Bytes::new()).expect("valid");
    group.bench_function("presign", |b| {
        b.iter(|| presign(&socket, &plain, SCOPE, time, Duration::from_secs(300), &cache));
    });
    let identity = Identity::from(plain.clone());
    group.bench_function("aws-sigv4", |b| {
        b.iter_batched_ref(invocation, |request| peer(request, &identity, time), BATCH);
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
