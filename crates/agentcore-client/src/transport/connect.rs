//! From a URL to an open connection: proxy, name look-up, TCP, TLS. Trust roots
//! are loaded once, at the first TLS connection, never at start-up.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use tower_service::Service;

use super::io::{Probe, Stream, Tcp};
use super::socket;
use crate::error::{Error, Result};

type BoxError = Box<dyn StdError + Send + Sync>;

/// Quiet connections are kept alive below the 350 s after which NAT gateways and load balancers
/// forget them.
const KEEP_ALIVE: Duration = Duration::from_secs(45);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long sent bytes may stay unacknowledged before the system gives the connection up.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Which certificate authorities are trusted.
#[derive(Clone, Debug, Default)]
pub(crate) enum TrustRoots {
    /// The system's store; `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured.
    #[default]
    System,
    /// A file of PEM certificates, in place of the system's store.
    File(PathBuf),
}

/// The proxy for https targets, and the hosts that do without it.
#[derive(Clone, Debug)]
pub(crate) struct Proxy(Arc<Matcher>);

impl Proxy {
    /// A proxy by URL, such as `http://user:password@proxy:3128`, and a `NO_PROXY` list.
    pub(crate) fn new(url: &str, no_proxy: Option<&str>) -> Result<Self> {
        let rule = "must be http://host:port; https and socks proxies are not supported";
        let with_scheme =
            if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let refused = |shape: &str| Err(Error::invalid("proxy", shape, rule));
        if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return refused("holds white space");
        }
        match with_scheme.parse::<Uri>() {
            Ok(uri) if uri.scheme() != Some(&Scheme::HTTP) => return refused("another scheme"),
            // To the parser, a port that is too large is none.
            Ok(uri) if has_port(&uri) && uri.port_u16().is_none_or(|port| port == 0) => {
                return refused("a port that is not from 1 to 65535");
            }
            Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => {}
            _ => return refused("not a URL with a host"),
        }
        let mut builder = Matcher::builder().https(with_scheme);
        if let Some(list) = no_proxy {
            builder = builder.no(list.to_owned());
        }
        Ok(Self(Arc::new(builder.build())))
    }
}

/// Whether a URL says something behind its host.
fn has_port(uri: &Uri) -> bool {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let place = authority.rsplit('@').next().unwrap_or(authority);
    uri.host().is_some_and(|host| place.len() > host.len())
}

/// Why a proxy, or the way to it, gave no connection: it is the proxy's name that helps then.
#[derive(Debug)]
pub(crate) struct ThroughProxy {
    /// Host and port.
    pub(crate) proxy: String,
    source: BoxError,
}

impl ThroughProxy {
    fn new(proxy: &Uri, source: BoxError) -> Self {
        let host = proxy.host().unwrap_or_default();
        Self { proxy: format!("{host}:{}", proxy.port_u16().unwrap_or(80)), source }
    }
}

impl fmt::Display for ThroughProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no tunnel through the proxy {}", self.proxy)
    }
}

impl StdError for ThroughProxy {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_ref())
    }
}

/// What a connector needs to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectOptions {
    pub(crate) roots: TrustRoots,
    pub(crate) proxy: Option<Proxy>,
}

/// Opens connections.
pub(super) struct Connector {
    http: HttpConnector,
    options: ConnectOptions,
    tls: OnceLock<TlsConnector>,
}

impl Connector {
    pub(super) fn new(options: ConnectOptions) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEP_ALIVE));
        http.set_keepalive_interval(Some(KEEP_ALIVE_INTERVAL));
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        http.set_tcp_user_timeout(Some(USER_TIMEOUT));
        Self { http, options, tls: OnceLock::new() }
    }

    /// Opens a connection to the target's host. The caller judges how long that may take.
    pub(super) async fn connect(&self, target: &Uri) -> Result<(Stream, Probe), BoxError> {
        // Before the name look-up, so that a missing trust store costs no round trip.
        let tls = match target.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => Some(self.tls()?),
            _ => None,
        };
        let proxy = self.options.proxy.as_ref().and_then(|proxy| proxy.0.intercept(target));
        let tcp = match proxy {
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.http.clone());
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                let tunnelled = async {
                    std::future::poll_fn(|cx| tunnel.poll_ready(cx)).await?;
                    tunnel.call(target.clone()).await
                };
                tunnelled.await.map_err(|error| ThroughProxy::new(proxy.uri(), error.into()))?
            }
            None => {
                let mut http = self.http.clone();
                std::future::poll_fn(|cx| http.poll_ready(cx)).await?;
                http.call(target.clone()).await?
            }
        };
        let (tcp, probe) = Tcp::new(socket::adopt(TokioIo::into_inner(tcp))?);
        let Some(tls) = tls else { return Ok((Stream::Plain(tcp), probe)) };
        let host = target.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())?;
        // Boxed: who speaks plain HTTP need not make room for a handshake.
        let stream = Box::pin(tls.connect(name, tcp)).await?;
        Ok((Stream::Tls(Box::new(stream)), probe))
    }

    fn tls(&self) -> Result<TlsConnector, BoxError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let mut roots = RootCertStore::empty();
        match &self.options.roots {
            TrustRoots::System => {
                let found = rustls_native_certs::load_native_certs();
                let (usable, _) = roots.add_parsable_certificates(found.certs);
                if usable == 0 {
                    return Err(found.errors.into_iter().next().map_or_else(
                        || BoxError::from("no trusted certificates found on this system; install ca-certificates or name a file in AWS_CA_BUNDLE"),
                        BoxError::from,
                    ));
                }
            }
            TrustRoots::File(path) => {
                let unreadable = |cause: &dyn fmt::Display| {
                    BoxError::from(format!(
                        "the CA bundle {} can't be used: {cause}",
                        path.display()
                    ))
                };
                let certs = CertificateDer::pem_file_iter(path).map_err(|e| unreadable(&e))?;
                for cert in certs {
                    let cert = cert.map_err(|e| unreadable(&e))?;
                    roots.add(cert).map_err(|e| unreadable(&e))?;
                }
                if roots.is_empty() {
                    return Err(unreadable(&"it holds no certificate"));
                }
            }
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = TlsConnector::from(Arc::new(config));
        Ok(self.tls.get_or_init(|| tls).clone())
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_url_is_checked_and_never_shown_with_its_password() {
        let proxy =
            Proxy::new("http://user:hunter2@proxy.example:3128", Some("localhost")).unwrap();
        assert!(!format!("{proxy:?}").contains("hunter2"));
        let target = Uri::from_static("https://bedrock-agentcore.us-east-1.amazonaws.com/");
        let found = proxy.0.intercept(&target).unwrap();
        assert_eq!(found.uri().host(), Some("proxy.example"));
        assert!(found.basic_auth().is_some());
        assert!(proxy.0.intercept(&Uri::from_static("https://localhost:1/")).is_none());
        assert!(proxy.0.intercept(&Uri::from_static("http://example.com/")).is_none());
        assert!(Proxy::new("proxy.example:3128", None).is_ok());
        for bad in ["", "socks5://x", "https://x:1", "http://", "http://a b", "x:70000", "x:0"] {
            let error = Proxy::new(bad, None).unwrap_err();
            assert_eq!(error.field(), Some("proxy"), "{bad}");
        }
    }
}
