//! Raw hyper as a program: the limit that other languages' benches measure
//! themselves against, on the same mock and in the same run.
//!
//! `raw SCENARIO ADDRESS OPTIONS`, the options as JSON, the result as a line of
//! JSON on standard output; only `cold` prints the first event's text instead.
//! Everything is checked, down to the bytes: a failure ends the process.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use agentcore_benches::memory::resident_kib;
use agentcore_benches::mock;
use agentcore_benches::raw::{Raw, Result};
use bytes::Bytes;
use cpu_time::ProcessTime;
use futures::future::try_join_all;
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;

#[derive(serde::Deserialize)]
#[serde(default)]
struct Options {
    /// Calls, or events of a stream.
    units: usize,
    /// The same, before anything is measured.
    warm: usize,
    /// Calls at a time.
    together: usize,
    streams: usize,
    size: usize,
    every_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { units: 1, warm: 1, together: 1, streams: 1, size: 100, every_ms: 5 }
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |what| arguments.next().ok_or(format!("{what} is missing"));
    let (scenario, address) = (argument("SCENARIO")?, argument("ADDRESS")?);
    let options: Options = serde_json::from_str(&argument("OPTIONS")?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let line = runtime.block_on(async {
        match scenario.as_str() {
            "cold" => cold(&address, &options).await,
            "calls" => calls(&address, &options).await,
            "body" => body(&address, &options).await,
            "events" => events(&address, &options).await,
            "paced" => paced(&address, &options).await,
            "streams" => streams(&address, &options).await,
            other => Err(format!("no scenario {other}").into()),
        }
    })?;
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn ensure(condition: bool, what: &str) -> Result<()> {
    if condition { Ok(()) } else { Err(what.into()) }
}

fn spent(started: ProcessTime, units: usize) -> String {
    format!(r#"{{"cpu_ns":{},"units":{units}}}"#, started.elapsed().as_nanos())
}

async fn cold(address: &str, options: &Options) -> Result<String> {
    let mut raw = Raw::connect(address).await?;
    let mut body = raw.call(mock::ask("sse", options.units, 1)).await?;
    let event = next(&mut body).await?;
    Ok(std::str::from_utf8(&event)?.trim_start_matches("data: ").trim().to_owned())
}

async fn one_call(raw: &mut Raw) -> Result<()> {
    let body = raw.whole(mock::ask("json", 0, 1)).await?;
    ensure(body == mock::JSON, "another answer than the mock's")
}

async fn calls(address: &str, options: &Options) -> Result<String> {
    let mut raws = Vec::new();
    for _ in 0..options.together {
        let mut raw = Raw::connect(address).await?;
        for _ in 0..options.warm {
            one_call(&mut raw).await?;
        }
        raws.push(raw);
    }
    let each = options.units / options.together;
    let started = ProcessTime::now();
    if let [raw] = raws.as_mut_slice() {
        for _ in 0..each {
            one_call(raw).await?;
        }
    } else {
        let all = raws.iter_mut().map(async |raw| {
            for _ in 0..each {
                one_call(raw).await?;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        });
        try_join_all(all).await?;
    }
    Ok(spent(started, each * options.together))
}

async fn body(address: &str, options: &Options) -> Result<String> {
    let mut raw = Raw::connect(address).await?;
    let expected = mock::large(options.size);
    for _ in 0..options.warm {
        let body = raw.whole(mock::ask_large(options.size)).await?;
        ensure(body == expected, "another answer than the mock's")?;
    }
    let started = ProcessTime::now();
    for _ in 0..options.units {
        let body = raw.whole(mock::ask_large(options.size)).await?;
        ensure(body.len() == options.size, "not as many bytes as the mock has sent")?;
    }
    Ok(spent(started, options.units))
}

async fn events(address: &str, options: &Options) -> Result<String> {
    let mut raw = Raw::connect(address).await?;
    let warm = raw.whole(mock::ask("sse", options.warm, 1)).await?;
    let expected: String = (0..options.warm).map(mock::event).collect();
    ensure(warm == expected, "other events than the mock's")?;

    let started = ProcessTime::now();
    let mut body = raw.call(mock::ask("sse", options.units, 1)).await?;
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    let line = spent(started, options.units);
    ensure(bytes == options.units * 100, "not as many bytes as the mock has sent")?;
    Ok(line)
}

async fn paced(address: &str, options: &Options) -> Result<String> {
    let mut raw = Raw::connect(address).await?;
    raw.whole(mock::ask_paced("paced", options.warm, options.every_ms, options.size)).await?;
    let ask = mock::ask_paced("paced", options.units, options.every_ms, options.size);
    let started = ProcessTime::now();
    let mut body = raw.call(ask).await?;
    let mut late = Vec::with_capacity(options.units);
    for number in 0..options.units {
        let event = next(&mut body).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        late.push(now.saturating_sub(sent(&event, number, options.size)?));
    }
    ensure(body.frame().await.is_none(), "more events than asked for")?;
    let cpu = started.elapsed().as_nanos();
    let units = late.len();
    let late = serde_json::to_string(&late)?;
    Ok(format!(r#"{{"cpu_ns":{cpu},"late_ns":{late},"units":{units}}}"#))
}

async fn streams(address: &str, options: &Options) -> Result<String> {
    let mut warm = Raw::connect(address).await?;
    one_call(&mut warm).await?;
    warm.whole(mock::ask("sse", options.warm, 1)).await?;

    let before = resident_kib()?;
    let (opened, done) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let ask = mock::ask_paced("gated", options.units, options.every_ms, options.size);
    let (units, size) = (options.units, options.size);
    for _ in 0..options.streams {
        let (opened, done) = (Arc::clone(&opened), Arc::clone(&done));
        let (address, ask) = (address.to_owned(), ask.clone());
        tokio::spawn(async move {
            let stream = async {
                let mut raw = Raw::connect(&address).await?;
                let mut body = raw.call(ask).await?;
                sent(&next(&mut body).await?, 0, size)?;
                opened.add_permits(1);
                for number in 1..=units {
                    sent(&next(&mut body).await?, number, size)?;
                }
                done.add_permits(1);
                // It stays open: closing is not what is measured.
                std::future::pending::<Result<()>>().await
            };
            if let Err(error) = stream.await {
                eprintln!("a stream: {error}");
                std::process::exit(1);
            }
        });
    }
    let all = u32::try_from(options.streams)?;
    let _ = opened.acquire_many(all).await?;
    let resident = resident_kib()?.saturating_sub(before);
    let started = ProcessTime::now();
    warm.whole(r#"{"kind":"go"}"#.into()).await?;
    let _ = done.acquire_many(all).await?;
    let cpu = started.elapsed().as_nanos();
    Ok(format!(
        r#"{{"cpu_ns":{cpu},"units":{},"rss_kib":{resident}}}"#,
        options.units * options.streams
    ))
}

/// The next event; the mock sends each in an HTTP chunk of its own.
async fn next(body: &mut hyper::body::Incoming) -> Result<Bytes> {
    let frame = body.frame().await.ok_or("the stream ended early")??;
    Ok(frame.into_data().map_err(|_| "not data")?)
}

/// When a stamped event was sent.
fn sent(event: &[u8], number: usize, size: usize) -> Result<u128> {
    let text = std::str::from_utf8(event)?;
    ensure(text.len() == size && text.ends_with("\"\n\n"), "not an event")?;
    let stamp = text.strip_prefix(&format!("data: \"token {number:06} ")).ok_or("another event")?;
    Ok(stamp.split(' ').next().unwrap_or_default().parse()?)
}
