//! The server that the end-to-end benches call: hand-written on tokio, so that
//! its own cost stays small and it can send pre-encoded chunks. It runs in a
//! process of its own; only the client's CPU time is counted. It reads a request
//! as far as its content-length and does not look at paths or signatures, so
//! that any client can call it.

use std::io::{BufRead as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

const ROLE: &str = "AGENTCORE_BENCH_ROLE";

/// The text of a small JSON answer.
pub const JSON: &str = r#"{"result":"The capital of France is Paris.","tokens":12}"#;

/// What a bench process has been started as, when it is not the bench itself.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// This program, started once more in another role.
pub fn this_program_as(role: &str) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ROLE, role);
    Ok(command)
}

/// A mock in a process of its own.
#[derive(Debug)]
pub struct Mock {
    child: Child,
    /// Where it listens.
    pub address: String,
}

impl Mock {
    /// Starts it and waits until it listens.
    pub fn start() -> std::io::Result<Self> {
        let mut child = this_program_as("mock")?.stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        if let Some(stdout) = child.stdout.take() {
            std::io::BufReader::new(stdout).read_line(&mut address)?;
        }
        Ok(Self { child, address: address.trim().to_owned() })
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An event of 100 bytes, its blank line included, as a Python agent frames a string.
pub fn event(number: usize) -> String {
    let mut event = format!("data: \"token {number:06} ");
    while event.len() < 97 {
        event.push('x');
    }
    event.push_str("\"\n\n");
    event
}

/// An event of `size` bytes that says when it was sent: nanoseconds of the wall clock, which
/// every language can read.
pub fn stamped_event(number: usize, size: usize) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let mut event = format!("data: \"token {number:06} {now} ");
    while event.len() + 3 < size {
        event.push('x');
    }
    event.push_str("\"\n\n");
    event
}

/// A large answer in JSON, of exactly `size` bytes.
pub fn large(size: usize) -> String {
    let frame = r#"{"result":""}"#.len();
    format!(r#"{{"result":"{}"}}"#, "x".repeat(size.saturating_sub(frame)))
}

/// What the mock is asked for, in the body of a call.
pub fn ask(kind: &str, events: usize, per_chunk: usize) -> String {
    format!(r#"{{"kind":"{kind}","events":{events},"per_chunk":{per_chunk}}}"#)
}

/// The same for a large answer.
pub fn ask_large(size: usize) -> String {
    format!(r#"{{"kind":"large","size":{size}}}"#)
}

/// The same for stamped events, one each `every_ms`, of `size` bytes.
///
/// `paced` sends `events` of them and ends. `gated` sends one, waits for a call of the kind `go`,
/// sends `events` more and then nothing, until the client leaves: all streams run at once, and
/// the load does not depend on how fast they were opened.
pub fn ask_paced(kind: &str, events: usize, every_ms: u64, size: usize) -> String {
    format!(r#"{{"kind":"{kind}","events":{events},"every_ms":{every_ms},"size":{size}}}"#)
}

#[derive(serde::Deserialize)]
struct Ask {
    kind: String,
    #[serde(default)]
    events: usize,
    #[serde(default)]
    per_chunk: usize,
    #[serde(default)]
    every_ms: u64,
    #[serde(default)]
    size: usize,
}

/// What gated streams wait for.
#[derive(Debug, Default)]
struct Gate {
    open: Notify,
    streams: AtomicU64,
}

impl Gate {
    /// When in its interval the next stream has its turn, so that all of them spread over it.
    fn phase(&self, every_ms: u64) -> Duration {
        // 617 and 1,000 have no common divisor: neighbours are far apart, none coincide.
        let turn = self.streams.fetch_add(1, Ordering::Relaxed) * 617 % 1_000;
        Duration::from_micros(turn * every_ms)
    }
}

/// Serves until it is killed.
pub fn serve() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{}", listener.local_addr()?)?;
        stdout.flush()?;
        let gate = Arc::new(Gate::default());
        loop {
            let (socket, _) = listener.accept().await?;
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                // A client that leaves is no failure of the mock's.
                let _ = connection(socket, &gate).await;
            });
        }
    })
}

async fn connection(mut socket: TcpStream, gate: &Gate) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let json = json_answer(JSON);
    // Made once for each connection: the next one of that size is only sent.
    let mut big = String::new();
    let mut buffer = Vec::with_capacity(8 << 10);
    loop {
        let Some(body) = request(&mut socket, &mut buffer).await? else { return Ok(()) };
        let ask: Ask = serde_json::from_slice(&body).map_err(std::io::Error::other)?;
        match ask.kind.as_str() {
            "json" => socket.write_all(json.as_bytes()).await?,
            "large" => {
                if big.len() < ask.size {
                    big = json_answer(&large(ask.size));
                }
                socket.write_all(big.as_bytes()).await?;
            }
            "sse" => stream(&mut socket, &ask).await?,
            "paced" => {
                socket.write_all(head().as_bytes()).await?;
                pace(&mut socket, &ask, 0).await?;
                socket.write_all(b"0\r\n\r\n").await?;
            }
            "gated" => {
                // Before the first event: whoever has seen that may open the gate.
                let open = gate.open.notified();
                socket.write_all(head().as_bytes()).await?;
                socket.write_all(chunk(&stamped_event(0, ask.size)).as_bytes()).await?;
                open.await;
                tokio::time::sleep(gate.phase(ask.every_ms)).await;
                pace(&mut socket, &ask, 1).await?;
                let _ = socket.read(&mut [0]).await?;
                return Ok(());
            }
            "go" => {
                gate.open.notify_waiters();
                socket.write_all(json.as_bytes()).await?;
            }
            // An open stream that has said one thing and waits.
            "hold" => {
                socket.write_all(head().as_bytes()).await?;
                socket.write_all(chunk(&event(0)).as_bytes()).await?;
                let mut end = [0];
                let _ = socket.read(&mut end).await?;
                return Ok(());
            }
            other => return Err(std::io::Error::other(format!("no kind {other}"))),
        }
    }
}

fn json_answer(json: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
        json.len()
    )
}

fn head() -> String {
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n".into()
}

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

async fn stream(socket: &mut TcpStream, ask: &Ask) -> std::io::Result<()> {
    socket.write_all(head().as_bytes()).await?;
    let mut block = String::new();
    let mut sent = 0;
    while sent < ask.events {
        block.clear();
        // 64 KiB a write or so, whatever the chunks are.
        while block.len() < 64 << 10 && sent < ask.events {
            let events = ask.per_chunk.min(ask.events - sent);
            let data: String = (sent..sent + events).map(event).collect();
            block.push_str(&chunk(&data));
            sent += events;
        }
        socket.write_all(block.as_bytes()).await?;
    }
    socket.write_all(b"0\r\n\r\n").await
}

async fn pace(socket: &mut TcpStream, ask: &Ask, first: usize) -> std::io::Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_millis(ask.every_ms.max(1)));
    // Late is late; two at once would be another load.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in first..first + ask.events {
        ticks.tick().await;
        socket.write_all(chunk(&stamped_event(number, ask.size)).as_bytes()).await?;
    }
    Ok(())
}

/// Reads one request with a content-length; `None` at the end of the connection.
async fn request(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(end) =
            head.parse(buffer).map_err(std::io::Error::other)?
        {
            let length = head
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case("content-length"))
                .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok())
                .unwrap_or(0);
            while buffer.len() < end + length {
                if socket.read_buf(buffer).await? == 0 {
                    return Ok(None);
                }
            }
            let body = buffer[end..end + length].to_vec();
            buffer.drain(..end + length);
            return Ok(Some(body));
        }
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}
