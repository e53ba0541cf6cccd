//! TLS with a certificate authority of one's own, and an http proxy in between.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agentcore_client::{Auth, Client, Credentials, Environment};
use agentcore_local::LocalDataPlane;
use agentcore_tests::{keys, seen, start};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto::ring};

/// A data plane behind TLS, the port of that, and the file with its authority.
async fn plane_behind_tls() -> (LocalDataPlane, u16, PathBuf) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let plane = start(LocalDataPlane::builder().allow_host(format!("localhost:{port}")));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file =
        std::env::temp_dir().join(format!("agentcore-ca-{}-{:p}.pem", std::process::id(), &made));
    std::fs::write(&file, made.cert.pem()).unwrap();
    let key =
        tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())
            .unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let behind = plane.address();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that distrusts the certificate ends here.
                let Ok(mut tls) = acceptor.accept(socket).await else { return };
                let mut plain = TcpStream::connect(behind).await.unwrap();
                let _ = copy_bidirectional(&mut tls, &mut plain).await;
            });
        }
    });
    (plane, port, file)
}

/// A CONNECT proxy that leads everything to one port, and counts.
async fn proxy_to(port: u16, wanted_auth: &'static str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let tunnels = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tunnels);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                if !head.starts_with("CONNECT ") || !head.contains(wanted_auth) {
                    let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
                    socket.write_all(refusal).await.unwrap();
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut behind = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = copy_bidirectional(&mut socket, &mut behind).await;
            });
        }
    });
    (own, tunnels)
}

fn client(plane: &LocalDataPlane, url: &str, env: Vec<(&str, String)>) -> Client {
    Client::builder(plane.runtime_arn())
        .endpoint_url(url)
        .auth(Auth::sigv4(keys(plane)))
        .environment(Environment::from_pairs(env.into_iter().map(|(k, v)| (k.to_owned(), v))))
        .build()
        .unwrap()
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_and_others_are_not() {
    let (plane, port, ca) = plane_behind_tls().await;
    let url = format!("https://localhost:{port}");
    let bundle = ("AWS_CA_BUNDLE", ca.display().to_string());
    let trusting = client(&plane, &url, vec![bundle]);
    for _ in 0..3 {
        trusting.invoke(json!({"mode": "json"})).send().await.unwrap();
    }
    assert_eq!(plane.count_posts(), 3);
    let error = client(&plane, &url, vec![]).invoke("x").send().await.unwrap_err();
    assert_eq!(seen(&error), ("Connect", "not_sent", None), "{error}");
    assert_eq!(plane.count_posts(), 3);
    let missing = ("AWS_CA_BUNDLE", "/nowhere.pem".to_owned());
    let error = client(&plane, &url, vec![missing]).invoke("x").send().await.unwrap_err();
    assert!(error.to_string().contains("/nowhere.pem"), "{error}");
    let _ = std::fs::remove_file(ca);
}

#[tokio::test]
async fn https_goes_through_the_proxy_that_the_environment_names() {
    let (plane, tls, ca) = plane_behind_tls().await;
    // dXNlcjpwYXNz is user:pass.
    let (proxy, tunnels) = proxy_to(tls, "dXNlcjpwYXNz").await;
    let bundle = ("AWS_CA_BUNDLE", ca.display().to_string());
    let through = ("https_proxy", format!("http://user:pass@127.0.0.1:{proxy}"));
    let url = format!("https://localhost:{tls}");
    let proxied = client(&plane, &url, vec![bundle.clone(), through.clone()]);
    proxied.invoke(json!({"mode": "json"})).send().await.unwrap();
    assert_eq!(tunnels.load(Ordering::SeqCst), 1);

    let around = ("NO_PROXY", "localhost".to_owned());
    let direct = client(&plane, &url, vec![bundle.clone(), through, around]);
    direct.invoke(json!({"mode": "json"})).send().await.unwrap();
    assert_eq!(tunnels.load(Ordering::SeqCst), 1);

    let refused = ("HTTPS_PROXY", format!("http://127.0.0.1:{proxy}"));
    let error =
        client(&plane, &url, vec![bundle.clone(), refused]).invoke("x").send().await.unwrap_err();
    assert_eq!(seen(&error), ("Connect", "not_sent", None), "{error}");
    assert!(error.to_string().contains(&format!("the proxy 127.0.0.1:{proxy}:")), "{error}");

    // A proxy that isn't there is named as well, and its password is not.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let absent = ("HTTPS_PROXY", format!("http://user:pass@127.0.0.1:{nobody}"));
    let error = client(&plane, &url, vec![bundle, absent]).invoke("x").send().await.unwrap_err();
    assert_eq!(seen(&error), ("Connect", "not_sent", None), "{error}");
    assert!(error.to_string().contains(&format!("the proxy 127.0.0.1:{nobody}:")), "{error}");
    assert!(!format!("{error:?}{error}").contains("pass@"), "{error:?}");
    let _ = std::fs::remove_file(ca);
}

#[tokio::test]
async fn a_connection_that_is_not_made_in_time_is_not_sent() {
    // Listens, but its queue is never served: the TLS handshake waits for ever.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let timeouts =
        agentcore_client::Timeouts::default().connect(std::time::Duration::from_millis(100));
    let client = Client::builder(
        "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-AbCdEf1234",
    )
    .endpoint_url(url)
    .auth(Auth::sigv4(Credentials::new("AKID", "secret", None, None, "test")))
    .environment(Environment::empty())
    .timeouts(timeouts)
    .build()
    .unwrap();
    let error = client.invoke("x").send().await.unwrap_err();
    assert_eq!(seen(&error), ("Timeout", "not_sent", None), "{error}");
    assert_eq!(error.limit(), Some(agentcore_client::Limit::Connect));
    assert_eq!(error.attempts().len(), 4);
}
