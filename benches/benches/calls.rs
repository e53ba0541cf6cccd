//! Calls and streams against raw hyper: CPU time of the client process, signed
//! calls against unsigned ones, all over plain loopback. See METHOD.md.

use std::hint::black_box;
use std::time::Duration;

use agentcore_benches::memory::resident_kib;
use agentcore_benches::mock::{self, Mock};
use agentcore_benches::pairs::compare;
use agentcore_benches::raw::{Raw, Result};
use agentcore_client::{Auth, Client, Credentials, SessionId};
use cpu_time::ProcessTime;
use criterion::Criterion;
use futures::future::join_all;
use http_body_util::BodyExt as _;
use tokio::runtime::Runtime;

const ARN: &str = "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/my_agent-AbCdEf1234";
const STREAMS: usize = 1_000;

fn main() -> Result<()> {
    match mock::role().as_deref() {
        Some("mock") => return Ok(mock::serve()?),
        Some("streams-raw") => return hold_raw(),
        Some("streams-ours") => return hold_ours(),
        Some(role) if role.starts_with("loop-") => return alone(&role["loop-".len()..]),
        _ => {}
    }
    let mock = Mock::start()?;
    let bench = Bench::new(&mock.address)?;
    println!("CPU time of the client, unit by unit:");
    compare("warm call, one at a time", 15, 1_500, |n| bench.raw_calls(n), |n| bench.calls(n));
    compare("64 calls at a time", 15, 6_400, |n| bench.raw_64(n), |n| bench.calls_64(n));
    compare(
        "event in its own HTTP chunk",
        15,
        200_000,
        |n| bench.raw_events(n, 1),
        |n| bench.events(n, 1),
    );
    compare(
        "event, 160 in an HTTP chunk",
        15,
        200_000,
        |n| bench.raw_events(n, 160),
        |n| bench.events(n, 160),
    );
    memory(&mock.address)?;

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("calls");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    group.bench_function("warm/hyper", |b| b.iter_custom(|n| bench.raw_calls(n)));
    group.bench_function("warm/agentcore", |b| b.iter_custom(|n| bench.calls(n)));
    group.bench_function("64/hyper", |b| b.iter_custom(|n| bench.raw_64(n.max(64))));
    group.bench_function("64/agentcore", |b| b.iter_custom(|n| bench.calls_64(n.max(64))));
    group.bench_function("event/hyper", |b| b.iter_custom(|n| bench.raw_events(n, 1)));
    group.bench_function("event/agentcore", |b| b.iter_custom(|n| bench.events(n, 1)));
    group.finish();
    criterion.final_summary();
    Ok(())
}

struct Bench {
    raw_runtime: Runtime,
    our_runtime: Runtime,
    raw: std::cell::RefCell<Vec<Raw>>,
    client: Client,
    session: SessionId,
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn client(address: &str) -> Result<Client> {
    let keys = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", None, None, "bench");
    Ok(Client::builder(ARN)
        .endpoint_url(format!("http://{address}"))
        .auth(Auth::sigv4(keys))
        .build()?)
}

impl Bench {
    fn new(address: &str) -> Result<Self> {
        let raw_runtime = runtime()?;
        let mut raw = Vec::new();
        for _ in 0..64 {
            raw.push(raw_runtime.block_on(Raw::connect(address))?);
        }
        Ok(Self {
            raw_runtime,
            our_runtime: runtime()?,
            raw: raw.into(),
            client: client(address)?,
            session: SessionId::generate(),
        })
    }

    fn raw_calls(&self, n: u64) -> Duration {
        let raw = &mut self.raw.borrow_mut()[0];
        cpu(&self.raw_runtime, async {
            for _ in 0..n {
                black_box(raw.whole(mock::ask("json", 0, 1)).await?);
            }
            Ok(())
        })
    }

    fn calls(&self, n: u64) -> Duration {
        cpu(&self.our_runtime, async {
            for _ in 0..n {
                black_box(self.whole().await?);
            }
            Ok(())
        })
    }

    async fn whole(&self) -> Result<bytes::Bytes> {
        let call = self.client.invoke(bytes::Bytes::from(mock::ask("json", 0, 1)));
        Ok(call.session(&self.session).send().await?.into_body())
    }

    fn raw_64(&self, n: u64) -> Duration {
        let mut raw = self.raw.borrow_mut();
        cpu(&self.raw_runtime, async {
            let each = join_all(raw.iter_mut().map(|raw| async {
                for _ in 0..n / 64 {
                    black_box(raw.whole(mock::ask("json", 0, 1)).await?);
                }
                Ok(())
            }));
            each.await.into_iter().collect()
        })
    }

    fn calls_64(&self, n: u64) -> Duration {
        cpu(&self.our_runtime, async {
            let each = join_all((0..64).map(|_| async {
                for _ in 0..n / 64 {
                    black_box(self.whole().await?);
                }
                Ok(())
            }));
            each.await.into_iter().collect()
        })
    }

    fn raw_events(&self, n: u64, per_chunk: usize) -> Duration {
        let raw = &mut self.raw.borrow_mut()[0];
        cpu(&self.raw_runtime, async {
            let mut body = raw.call(mock::ask("sse", n as usize, per_chunk)).await?;
            let mut bytes = 0;
            while let Some(frame) = body.frame().await {
                bytes += frame?.data_ref().map_or(0, bytes::Bytes::len);
            }
            assert_eq!(bytes as u64, n * 100);
            Ok(())
        })
    }

    fn events(&self, n: u64, per_chunk: usize) -> Duration {
        cpu(&self.our_runtime, async {
            let ask = bytes::Bytes::from(mock::ask("sse", n as usize, per_chunk));
            let mut stream = self.client.invoke(ask).session(&self.session).stream().await?;
            let mut events = 0;
            while let Some(event) = stream.try_next().await? {
                events += u64::from(event.text().is_some());
            }
            assert_eq!(events, n);
            Ok(())
        })
    }
}

/// CPU time that this process spends on a piece of work.
#[expect(clippy::expect_used, reason = "a bench that fails must say so and stop")]
fn cpu(runtime: &Runtime, work: impl Future<Output = Result<()>>) -> Duration {
    let started = ProcessTime::now();
    runtime.block_on(work).expect("the bench's own calls succeed");
    started.elapsed()
}

/// Resident memory of a fresh process per open stream, for both.
fn memory(address: &str) -> Result<()> {
    for role in ["streams-raw", "streams-ours"] {
        let output = mock::this_program_as(role)?.arg(address).output()?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn address_argument() -> Result<String> {
    Ok(std::env::args().nth(1).ok_or("the mock's address is missing")?)
}

fn report(who: &str, before: u64) -> Result<()> {
    let each = (resident_kib()? - before) as f64 / STREAMS as f64;
    println!("{STREAMS} open streams, {who:<14} {each:>5.1} KiB each");
    Ok(())
}

fn hold_raw() -> Result<()> {
    let address = address_argument()?;
    runtime()?.block_on(async {
        let mut warm = Raw::connect(&address).await?;
        warm.whole(mock::ask("json", 0, 1)).await?;
        let before = resident_kib()?;
        let mut open = Vec::new();
        for _ in 0..STREAMS {
            let mut raw = Raw::connect(&address).await?;
            let mut body = raw.call(mock::ask("hold", 1, 1)).await?;
            black_box(body.frame().await.ok_or("no event")??);
            open.push((raw, body));
        }
        report("raw hyper", before)
    })
}

fn hold_ours() -> Result<()> {
    let client = client(&address_argument()?)?;
    runtime()?.block_on(async {
        client.invoke(bytes::Bytes::from(mock::ask("json", 0, 1))).send().await?;
        let before = resident_kib()?;
        let mut open = Vec::new();
        for _ in 0..STREAMS {
            let ask = bytes::Bytes::from(mock::ask("hold", 1, 1));
            let mut stream = client.invoke(ask).stream().await?;
            black_box(stream.try_next().await?.ok_or("no event")?);
            open.push(stream);
        }
        report("agentcore", before)
    })
}

/// One contestant alone, for a profiler: `loop-ours-64 ADDRESS 100000`.
fn alone(contestant: &str) -> Result<()> {
    let bench = Bench::new(&address_argument()?)?;
    let n: u64 = std::env::args().nth(2).ok_or("how many?")?.parse()?;
    let spent = match contestant {
        "raw" => bench.raw_calls(n),
        "ours" => bench.calls(n),
        "raw-64" => bench.raw_64(n),
        "ours-64" => bench.calls_64(n),
        _ => return Err("which contestant?".into()),
    };
    println!("{contestant} {:.1} us", spent.as_secs_f64() * 1e6 / n as f64);
    Ok(())
}
