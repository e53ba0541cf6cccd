//! The event-stream decoder next to what bounds it (visiting every newline with
//! memchr) and to the crates that do the same job, on the same bytes: 16 MiB of
//! 100-byte events, in chunks of 64 KiB and one event per chunk.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

use agentcore_client::internals::sse::SseDecoder;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use eventsource_stream::Eventsource;
use futures::{FutureExt, StreamExt, stream};

const TOTAL: usize = 16 << 20;
const EVENT: usize = 100;

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

fn ours(chunks: &[Bytes]) -> usize {
    let mut decoder = SseDecoder::new(16 << 20);
    let mut events = 0;
    for chunk in chunks {
        decoder.push(chunk.clone());
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

fn eventsource_stream(chunks: &[Bytes]) -> usize {
    drain(stream::iter(chunks.iter().cloned().map(Ok::<_, Infallible>)).eventsource())
}

fn sse_stream(chunks: &[Bytes]) -> usize {
    let chunks = chunks.iter().cloned().map(Ok::<_, Infallible>);
    drain(sse_stream::SseStream::from_bytes_stream(stream::iter(chunks)))
}

fn decoders(c: &mut Criterion) {
    let body = body();
    for (shape, size) in [("64KiB chunks", 64 << 10), ("one event per chunk", EVENT)] {
        let chunks = chunks(&body, size);
        let events = body.len() / EVENT;
        assert_eq!(ours(&chunks), events);
        assert_eq!(eventsource_stream(&chunks), events);
        assert_eq!(sse_stream(&chunks), events);

        let mut group = c.benchmark_group(format!("sse, {shape}"));
        group.throughput(Throughput::Elements(events as u64));
        group.sample_size(20).measurement_time(Duration::from_secs(2));
        group.bench_function("memchr walk (the floor)", |b| b.iter(|| walk(&chunks)));
        group.bench_function("agentcore-client", |b| b.iter(|| ours(&chunks)));
        group.bench_function("sse-stream", |b| b.iter(|| sse_stream(&chunks)));
        group.bench_function("eventsource-stream", |b| b.iter(|| eventsource_stream(&chunks)));
        group.finish();
    }
}

criterion_group!(benches, decoders);
criterion_main!(benches);
