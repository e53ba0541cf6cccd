//! A client made of a socket and a signer, so that nothing between the tests and the bytes can help.
//! The plane's clock is set to one fixed moment, and requests are signed for that moment.

use crate::patient::Patient;
use agentcore_local::{Builder, LocalDataPlane};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) const SESSION_HEADER: &str = "X-Amzn-Bedrock-AgentCore-Runtime-Session-Id";
pub(crate) const SESSION: &str = "11111111-2222-4333-8444-555555555555";
pub(crate) const SECONDS: Duration = Duration::from_secs(10);
const DATE: &str = "20260115T123456Z";
const DATE_UNIX: i64 = 1_768_480_496;

pub(crate) fn start(builder: Builder) -> LocalDataPlane {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let offset = DATE_UNIX - i64::try_from(now).expect("a time");
    builder.clock_offset(offset).start_blocking().expect("started")
}

pub(crate) fn plane() -> LocalDataPlane {
    start(LocalDataPlane::builder())
}

/// A request that can be bent before it is sent.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Call {
    pub(crate) fn new(plane: &LocalDataPlane, method: &'static str, target: &str) -> Self {
        let host = plane.address().to_string();
        Self {
            method,
            target: target.to_owned(),
            headers: vec![("Host".into(), host)],
            body: Vec::new(),
        }
    }

    /// An unsigned invocation of the plane's runtime in `SESSION`.
    pub(crate) fn invoke(plane: &LocalDataPlane, body: &str) -> Self {
        let mut call = Self::new(plane, "POST", &format!("{}/invocations", runtime_path(plane)));
        call.body = body.as_bytes().to_vec();
        call.header("Content-Type", "application/json").header(SESSION_HEADER, SESSION)
    }

    pub(crate) fn stop(plane: &LocalDataPlane) -> Self {
        let target = format!("{}/stopruntimesession", runtime_path(plane));
        Self::new(plane, "POST", &target).header(SESSION_HEADER, SESSION)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn sse(self) -> Self {
        self.header("Accept", "application/json, text/event-stream")
    }

    pub(crate) fn signed(self, plane: &LocalDataPlane) -> Self {
        self.signed_with(plane, plane.access_key(), plane.secret_key(), plane.session_token())
    }

    /// Signed for another service than the data plane's.
    pub(crate) fn signed_for(self, plane: &LocalDataPlane, service: &str) -> Self {
        let keys = (plane.access_key(), plane.secret_key(), plane.session_token());
        self.signed_as(plane, service, keys)
    }

    pub(crate) fn signed_with(
        self,
        plane: &LocalDataPlane,
        access: &str,
        secret: &str,
        token: Option<&str>,
    ) -> Self {
        self.signed_as(plane, "bedrock-agentcore", (access, secret, token))
    }

    fn signed_as(
        self,
        plane: &LocalDataPlane,
        service: &str,
        (access, secret, token): (&str, &str, Option<&str>),
    ) -> Self {
        let mut call = self.header("X-Amz-Date", DATE);
        if let Some(token) = token {
            call = call.header("X-Amz-Security-Token", token);
        }
        let mut headers: Vec<(String, String)> = call
            .headers
            .iter()
            .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
            .collect();
        headers.sort();
        let names: Vec<&str> = headers.iter().map(|(n, _)| n.as_str()).collect();
        let lines: String = headers.iter().map(|(n, v)| format!("{n}:{v}\n")).collect();
        let (path, query) = call.target.split_once('?').unwrap_or((&call.target, ""));
        let canonical = format!(
            "{}\n{}\n{query}\n{lines}\n{}\n{}",
            call.method,
            path.replace('%', "%25").replace('@', "%40").replace('=', "%3D").replace(':', "%3A"),
            names.join(";"),
            hex::encode(Sha256::digest(&call.body))
        );
        let scope = format!("{}/{}/{service}/aws4_request", &DATE[..8], plane.region());
        let hash = hex::encode(Sha256::digest(canonical));
        let to_sign = format!("AWS4-HMAC-SHA256\n{DATE}\n{scope}\n{hash}");
        let key =
            scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |k, part| hmac(&k, part));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={}, Signature={}",
            names.join(";"),
            hex::encode(hmac(&key, &to_sign))
        );
        call.header("Authorization", &authorization)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        let mut out = out.into_bytes();
        out.extend_from_slice(&self.body);
        out
    }

    /// Sends it on a new connection and reads the answer.
    pub(crate) fn send(&self, plane: &LocalDataPlane) -> Answer {
        let mut connection = Connection::open(plane);
        connection.send(self);
        connection.answer()
    }
}

fn hmac(key: &[u8], data: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
    mac.update(data.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn runtime_path(plane: &LocalDataPlane) -> String {
    format!("/runtimes/{}", plane.runtime_arn().replace(':', "%3A").replace('/', "%2F"))
}

/// How an answer ended on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Proper,
    /// FIN before the end.
    Closed,
    Reset,
    /// Bytes that are no chunk.
    Broken,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) ending: Ending,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Status and error type, the pair most tests look at.
    pub(crate) fn error(&self) -> (u16, &str) {
        (self.status, self.header("x-amzn-errortype").unwrap_or_default())
    }
}

pub(crate) struct Connection {
    pub(crate) stream: Patient,
    inbox: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(plane: &LocalDataPlane) -> Self {
        let stream = Patient::connect(plane.address(), SECONDS).expect("connected");
        Self { stream, inbox: Vec::new() }
    }

    pub(crate) fn send(&mut self, call: &Call) {
        self.stream.write_all(&call.bytes()).expect("sent");
    }

    fn more(&mut self) -> Option<Ending> {
        let mut buffer = [0u8; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Some(Ending::Closed),
            Ok(n) => {
                self.inbox.extend_from_slice(&buffer[..n]);
                None
            }
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Some(Ending::Reset),
            Err(e) => panic!("the read failed: {e}"),
        }
    }

    fn line(&mut self) -> Result<String, Ending> {
        loop {
            if let Some(at) = self.inbox.windows(2).position(|w| w == b"\r\n") {
                let line = self.inbox.drain(..at + 2).take(at).collect();
                return Ok(String::from_utf8(line).expect("text"));
            }
            if let Some(end) = self.more() {
                return Err(end);
            }
        }
    }

    /// The head, or how the connection ended before it.
    pub(crate) fn head(&mut self) -> Result<Answer, Ending> {
        let first = self.line()?;
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|r| r.get(..3)?.parse().ok());
        let Some(status) = status else { return Err(Ending::Broken) };
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        Ok(Answer { status, headers, body: Vec::new(), chunks: Vec::new(), ending: Ending::Proper })
    }

    /// One chunk; an empty one is the proper end.
    pub(crate) fn chunk(&mut self) -> Result<Vec<u8>, Ending> {
        let line = self.line()?;
        let size = usize::from_str_radix(&line, 16).map_err(|_| Ending::Broken)?;
        while self.inbox.len() < size + 2 {
            if let Some(end) = self.more() {
                return Err(end);
            }
        }
        let chunk = self.inbox.drain(..size + 2).take(size).collect();
        Ok(chunk)
    }

    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head().expect("a head");
        if answer.status == 100 {
            answer = self.head().expect("a head");
        }
        if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().expect("a number");
            while self.inbox.len() < length {
                if let Some(end) = self.more() {
                    answer.ending = end;
                    return answer;
                }
            }
            answer.body = self.inbox.drain(..length).collect();
        } else if answer.header("transfer-encoding").is_some() {
            loop {
                match self.chunk() {
                    Ok(chunk) if chunk.is_empty() => break,
                    Ok(chunk) => {
                        answer.body.extend_from_slice(&chunk);
                        answer.chunks.push(chunk);
                    }
                    Err(end) => {
                        answer.ending = end;
                        break;
                    }
                }
            }
        }
        answer
    }
}
