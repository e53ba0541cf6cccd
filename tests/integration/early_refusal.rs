//! A server that refuses a big upload before it has read it, and closes: what it
//! said reaches the caller, although writing the rest failed. And one that says
//! nothing leaves the truth: nobody knows whether the agent ran.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentcore_client::{Auth, Client, Credentials, Environment, Error, StreamEnd};
use agentcore_tests::seen;

/// More than the sockets between two processes hold.
const UPLOAD: usize = 16 << 20;

/// Reads as much of a request as it is told, says its answer and hangs up; counts the connections.
fn refusing(read: usize, answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = vec![0; read];
            stream.read_exact(&mut request).unwrap();
            // The client's writing has come to a stop, or goes on just then.
            std::thread::sleep(Duration::from_millis(count.load(Ordering::SeqCst) as u64 % 3));
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, seen)
}

fn client(address: SocketAddr) -> Client {
    Client::builder("arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/my_agent-AbCdEf1234")
        .endpoint_url(format!("http://{address}"))
        .auth(Auth::sigv4(Credentials::new("AK", "SK", None, None, "test")))
        .environment(Environment::empty())
        .build()
        .unwrap()
}

async fn refused(read: usize, answer: &'static str) -> Vec<Error> {
    let (address, connections) = refusing(read, answer);
    let client = client(address);
    let mut errors = Vec::new();
    for _ in 0..30 {
        let call = client.invoke(vec![b'x'; UPLOAD]).content_type("application/octet-stream");
        errors.push(call.send().await.unwrap_err());
    }
    assert_eq!(connections.load(Ordering::SeqCst), errors.len(), "each was sent once");
    errors
}

#[tokio::test]
async fn what_the_server_said_reaches_the_caller() {
    for read in [1, 4096, 1 << 20] {
        let answer = "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 27\r\n\r\n{\"message\":\"far too large\"}";
        for error in refused(read, answer).await {
            assert_eq!(seen(&error), ("Service", "rejected", Some(413)), "{error}");
            assert!(error.to_string().contains("far too large"), "{error}");
        }
    }
}

#[tokio::test]
async fn nothing_said_is_unknown() {
    for read in [1, 4096, 1 << 20] {
        for answer in ["", "HTTP/1.1 413 Content"] {
            for error in refused(read, answer).await {
                assert_eq!(seen(&error), ("StreamInterrupted", "unknown", None), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_cut_short_by_the_reset_is_not_complete() {
    let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\nhalf";
    let (address, _) = refusing(4096, answer);
    let call = client(address).invoke(vec![b'x'; UPLOAD]);
    let mut stream = call.content_type("application/octet-stream").stream().await.unwrap();
    while let Ok(Some(_)) = stream.try_next().await {}
    assert_eq!(stream.end(), Some(StreamEnd::Truncated));
}
