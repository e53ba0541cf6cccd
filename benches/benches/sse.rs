//! The event-stream decoder next to what bounds it (visiting every newline with
//! memchr) and to the crates that do the same job, on the same bytes: 16 MiB of
//! 100-byte events, in chunks of 64 KiB and one event per chunk.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use agentcore_client::internals::sse::SseDecoder;
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use eventsource_stream::Eventsource;
use futures::{FutureExt, StreamExt, stream};

const TOTAL: usize = 16 << 20;
const EVENT: usize = 100;
const SHAPES: [(&str, usize); 2] = [("64 KiB chunks", 64 << 10), ("one event per chunk", EVENT)];

fn body() -> Bytes {
    let event = format!("data: {}\n\n", "x".repeat(EVENT - 8));
    Bytes::from(event.repeat(TOTAL / EVENT))
}

fn chunks(body: &Bytes, size: usize) -> Vec<Bytes> {
    (0..body.len()).step_by(size).map(|at| body.slice(at..body.len().min(at + size))).collect()
}

/// The floor: what no decoder can do without.
fn walk(chunks: &[Bytes]) -> usize {
    let mut seen = 0;
    for chunk in chunks {
        for at in memchr::memchr_iter(b'\n', chunk) {
            seen += black_box(at) & 1;
        }
    }
    seen
}

fn ours(chunks: Vec<Bytes>) -> usize {
    let mut decoder = SseDecoder::new(16 << 20);
    let mut events = 0;
    for chunk in chunks {
        decoder.push(chunk);
        while let Some(event) = decoder.next_event().unwrap() {
            black_box(&event);
            events += 1;
        }
    }
    events
}

/// What `next_event` is for the peers: the stream never waits, so neither do we.
fn drain<T>(events: impl futures::Stream<Item = T>) -> usize {
    let count = events.fold(0, |count, event| {
        black_box(&event);
        std::future::ready(count + 1)
    });
    count.now_or_never().unwrap()
}

fn eventsource_stream(chunks: Vec<Bytes>) -> usize {
    drain(stream::iter(chunks.into_iter().map(Ok::<_, Infallible>)).eventsource())
}

fn sse_stream(chunks: Vec<Bytes>) -> usize {
    let chunks = chunks.into_iter().map(Ok::<_, Infallible>);
    drain(sse_stream::SseStream::from_bytes_stream(stream::iter(chunks)))
}

type Decode = fn(Vec<Bytes>) -> usize;

fn decoders(c: &mut Criterion) {
    let body = body();
    for (shape, size) in SHAPES {
        let chunks = chunks(&body, size);
        let events = body.len() / EVENT;
        assert_eq!(ours(chunks.clone()), events);
        assert_eq!(eventsource_stream(chunks.clone()), events);
        assert_eq!(sse_stream(chunks.clone()), events);

        let mut group = c.benchmark_group(format!("sse, {shape}"));
        group.throughput(Throughput::Elements(events as u64));
        group.sample_size(20).measurement_time(Duration::from_secs(2));
        group.bench_function("memchr walk (the floor)", |b| b.iter(|| walk(&chunks)));
        // A decoder is given its chunks, as from a connection: it pays for
        // dropping them, not for the clone that this bench needs.
        let decoders: [(&str, Decode); 3] = [
            ("agentcore-client", ours),
            ("sse-stream", sse_stream),
            ("eventsource-stream", eventsource_stream),
        ];
        for (name, decode) in decoders {
            group.bench_function(name, |b| {
                b.iter_batched(|| chunks.clone(), decode, BatchSize::PerIteration);
            });
        }
        group.finish();
    }
}

/// The number that counts: how often the floor fits into the decoder's time. Rounds
/// alternate and the best of each counts, so that a busy machine troubles it little.
fn ratio(_: &mut Criterion) {
    let body = body();
    for (shape, size) in SHAPES {
        let chunks = chunks(&body, size);
        let (mut floor, mut decoder) = (Duration::MAX, Duration::MAX);
        for _ in 0..40 {
            let start = Instant::now();
            black_box(walk(&chunks));
            floor = floor.min(start.elapsed());
            let owned = chunks.clone();
            let start = Instant::now();
            black_box(ours(owned));
            decoder = decoder.min(start.elapsed());
        }
        let per_event = |time: Duration| time.as_secs_f64() * 1e9 / (body.len() / EVENT) as f64;
        println!(
            "{shape}: {:.1} ns per event, {:.2} times the floor's {:.1} ns",
            per_event(decoder),
            decoder.as_secs_f64() / floor.as_secs_f64(),
            per_event(floor),
        );
    }
}

criterion_group!(benches, ratio, decoders);
criterion_main!(benches);
