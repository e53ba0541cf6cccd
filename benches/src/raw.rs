//! The limit: plain hyper on a current-thread runtime, unsigned, no retries, no
//! time limits; its connection spawned, as hyper's own examples have it.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Whatever goes wrong ends the bench.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// One connection.
#[derive(Debug)]
pub struct Raw {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Raw {
    /// Connects; must be called within a runtime.
    pub async fn connect(address: &str) -> Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_owned() })
    }

    /// Sends one request and gives the answer's body as it arrives.
    pub async fn call(&mut self, body: String) -> Result<hyper::body::Incoming> {
        let request = http::Request::post("/runtimes/agent/invocations")
            .header("host", self.host.as_str())
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?.into_body())
    }

    /// Sends one request and reads the whole answer.
    pub async fn whole(&mut self, body: String) -> Result<Bytes> {
        Ok(self.call(body).await?.collect().await?.to_bytes())
    }
}
