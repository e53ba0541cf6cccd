//! A browser's side of a connection: one request, and its answer as it arrives, read no further than
//! asked for.

use std::io::{BufRead as _, BufReader, Read as _, Result, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::SOON;

/// An answer that is arriving. Dropping it is a closed tab.
#[derive(Debug)]
pub struct Browser {
    reader: BufReader<TcpStream>,
    /// Of the answer.
    pub status: u16,
    /// Of the answer, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Browser {
    /// Sends a request and does not wait.
    pub fn send(port: u16, body: &[u8]) -> Result<TcpStream> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(SOON))?;
        let length = body.len();
        write!(
            socket,
            "POST /ask HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"
        )?;
        // Who is refused early may not get all of it out.
        let _ = socket.write_all(body);
        Ok(socket)
    }

    /// Sends a request and waits for the head of its answer.
    pub fn ask(port: u16, question: &Value) -> Result<Self> {
        Self::read(Self::send(port, question.to_string().as_bytes())?)
    }

    /// Waits for the head of an answer.
    pub fn read(socket: TcpStream) -> Result<Self> {
        let mut answer = Self { reader: BufReader::new(socket), status: 0, headers: Vec::new() };
        let status = answer.line()?;
        answer.status = status.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default();
        loop {
            let line = answer.line()?;
            let Some((name, value)) = line.split_once(": ") else { return Ok(answer) };
            answer.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    /// A header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// The next chunk; empty at the end of the body.
    pub fn chunk(&mut self) -> Result<Vec<u8>> {
        let size = usize::from_str_radix(&self.line()?, 16).map_err(std::io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok(chunk)
    }

    /// The rest of the body.
    pub fn body(&mut self) -> Result<String> {
        let mut body = Vec::new();
        match self.header("content-length").and_then(|length| length.parse().ok()) {
            Some(length) => {
                body.resize(length, 0);
                self.reader.read_exact(&mut body)?;
            }
            None => loop {
                match self.chunk()? {
                    chunk if chunk.is_empty() => break,
                    chunk => body.extend_from_slice(&chunk),
                }
            },
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

/// The texts of the events whose data is a JSON string.
pub fn texts(body: &str) -> Vec<String> {
    let data = body.split("\n\n").filter_map(|block| block.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}
