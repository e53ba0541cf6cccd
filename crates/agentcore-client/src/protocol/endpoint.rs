//! Where a call goes: ARN and options give a base, base and operation a URL.
//! Hosts are built from validated parts only, and a URL from outside is refused
//! unless it is plainly what it seems: signed requests and tokens go there.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::protocol::arn::{RuntimeArn, percent_encode};
use crate::protocol::policy::PolicyAction;
use crate::protocol::{region, shape};

/// Longer than any URL that anybody configures, and short enough for every proxy.
const MAX_URL: usize = 2048;

/// What stands at the other end, since an answer means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TargetKind {
    /// The AWS host, or an `endpoint_url` that speaks the same protocol.
    DataPlane,
    /// A whole URL in front of one runtime, such as a CloudFront domain.
    InvocationUrl,
    /// An agent's own server, without the service in front.
    Local,
}

impl TargetKind {
    /// Whether status and error code are the service's own word.
    pub(crate) const fn is_data_plane(self) -> bool {
        matches!(self, Self::DataPlane)
    }
}

/// What can be asked of a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(dead_code, reason = "URLs and IAM actions of the verbs that are still to come")]
pub(crate) enum Operation {
    Invoke,
    Command,
    StopSession,
    AgentCard,
    WebSocket,
    Shell,
}

impl Operation {
    #[cfg(feature = "internals")]
    pub(crate) const ALL: [Self; 6] = [
        Self::Invoke,
        Self::Command,
        Self::StopSession,
        Self::AgentCard,
        Self::WebSocket,
        Self::Shell,
    ];

    /// The path behind the runtime's own.
    const fn path(self) -> &'static str {
        match self {
            Self::Invoke => "/invocations",
            Self::Command => "/commands",
            Self::StopSession => "/stopruntimesession",
            Self::AgentCard => "/invocations/.well-known/agent-card.json",
            Self::WebSocket => "/ws",
            Self::Shell => "/ws/shells",
        }
    }

    /// The path on an agent's own server, if agents answer this at all.
    const fn local_path(self) -> Option<&'static str> {
        match self {
            Self::Invoke => Some("/invocations"),
            Self::AgentCard => Some("/.well-known/agent-card.json"),
            Self::WebSocket => Some("/ws"),
            Self::Command | Self::StopSession | Self::Shell => None,
        }
    }

    /// Whether it may run twice without harm.
    pub(crate) const fn is_idempotent(self) -> bool {
        matches!(self, Self::StopSession | Self::AgentCard)
    }

    /// The IAM action that allows it.
    pub(crate) const fn iam_action(self) -> &'static str {
        match self {
            Self::Invoke => PolicyAction::InvokeAgentRuntime.as_str(),
            Self::Command => PolicyAction::InvokeAgentRuntimeCommand.as_str(),
            Self::StopSession => PolicyAction::StopRuntimeSession.as_str(),
            Self::AgentCard => PolicyAction::GetAgentCard.as_str(),
            Self::WebSocket => PolicyAction::InvokeAgentRuntimeWithWebSocketStream.as_str(),
            Self::Shell => PolicyAction::InvokeAgentRuntimeCommandShell.as_str(),
        }
    }

    /// The IAM action that a user id needs besides.
    pub(crate) const fn iam_action_for_user(self) -> Option<&'static str> {
        match self {
            Self::Invoke => Some(PolicyAction::InvokeAgentRuntimeForUser.as_str()),
            Self::WebSocket => {
                Some(PolicyAction::InvokeAgentRuntimeWithWebSocketStreamForUser.as_str())
            }
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Command => "run_command",
            Self::StopSession => "stop_session",
            Self::AgentCard => "agent_card",
            Self::WebSocket => "websocket",
            Self::Shell => "open_shell",
        }
    }
}

/// Everything besides the ARN that decides where a call goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndpointOptions {
    /// Only to be checked against the ARN's.
    pub(crate) region: Option<String>,
    pub(crate) use_fips: bool,
    pub(crate) use_dualstack: bool,
    /// A data plane elsewhere; the operation's path is put behind it.
    pub(crate) endpoint_url: Option<String>,
    /// A whole URL; nothing is put behind it.
    pub(crate) invocation_url: Option<String>,
    /// An agent's own server. Beats all of the above.
    pub(crate) local_url: Option<String>,
    /// Hosts that may be spoken to in plain http though they are not loopback.
    pub(crate) allow_http_hosts: Vec<String>,
}

/// Where calls go, checked.
#[derive(Clone)]
pub(crate) struct Endpoint {
    kind: TargetKind,
    base: Base,
    arn: Option<RuntimeArn>,
    host_header: HeaderValue,
}

impl Endpoint {
    /// Finds the endpoint. An ARN is needed for the data plane only; but one that is given must
    /// agree with the region option wherever it counts.
    pub(crate) fn resolve(arn: Option<&RuntimeArn>, options: &EndpointOptions) -> Result<Self> {
        let http = &options.allow_http_hosts;
        let (kind, base) = if let Some(url) = &options.local_url {
            let base = Base::parse("local_url", url, http, Query::Refused)?;
            refuse_operation_path("local_url", &base, "it is put behind this URL")?;
            if !base.loopback && !is_allowed(&base.host, http) {
                return Err(Error::invalid(
                    "local_url",
                    "a host that is not loopback",
                    "needs 127.0.0.1, localhost or [::1], since nothing is signed; AGENTCORE_ALLOW_HTTP_HOSTS names other hosts to trust",
                ));
            }
            (TargetKind::Local, base)
        } else {
            check_region(arn, options.region.as_deref())?;
            let custom = match (&options.endpoint_url, &options.invocation_url) {
                (Some(_), Some(_)) => {
                    return Err(Error::invalid(
                        "invocation_url",
                        "given beside endpoint_url",
                        "one of them decides where calls go: give one",
                    ));
                }
                (Some(url), None) => {
                    let base = Base::parse("endpoint_url", url, http, Query::Refused)?;
                    refuse_operation_path(
                        "endpoint_url",
                        &base,
                        "the operation's path is put behind this URL; a whole URL is an invocation_url",
                    )?;
                    Some((TargetKind::DataPlane, base))
                }
                (None, Some(url)) => Some((
                    TargetKind::InvocationUrl,
                    Base::parse("invocation_url", url, http, Query::Kept)?,
                )),
                (None, None) => None,
            };
            match custom {
                Some(custom) => {
                    for (field, set) in
                        [("use_fips", options.use_fips), ("use_dualstack", options.use_dualstack)]
                    {
                        if set {
                            return Err(Error::invalid(
                                field,
                                "set beside a custom endpoint",
                                "it chooses among AWS hosts only: name the host wanted in the URL and unset it",
                            ));
                        }
                    }
                    custom
                }
                None => {
                    let arn = need_arn(arn)?;
                    (TargetKind::DataPlane, Base::aws(arn, options.use_fips, options.use_dualstack))
                }
            }
        };
        if kind.is_data_plane() {
            need_arn(arn)?;
        }
        let host_header = HeaderValue::from_str(&base.authority).map_err(internal)?;
        let endpoint = Self { kind, base, arn: arn.cloned(), host_header };
        match (endpoint.function_url_region(), &options.region) {
            (Some(of_url), Some(option)) if of_url != option => Err(Error::invalid(
                "region",
                format_args!("{option}, but the function URL's is {of_url}"),
                "leave it out: the URL's region counts",
            )),
            _ => Ok(endpoint),
        }
    }

    pub(crate) fn kind(&self) -> TargetKind {
        self.kind
    }

    /// The runtime, if one was named; a local agent and a whole URL do without.
    pub(crate) fn arn(&self) -> Option<&RuntimeArn> {
        self.arn.as_ref()
    }

    /// The region of an AWS Lambda function URL; `None` for everything else. Its host says so in
    /// full: whatever looks alike is somebody else's, and is not signed for Lambda.
    pub(crate) fn function_url_region(&self) -> Option<&str> {
        let Base { tls, authority, host, .. } = &self.base;
        if self.kind != TargetKind::InvocationUrl || !tls || authority != host {
            return None;
        }
        let (id, rest) = host.split_once(".lambda-url.")?;
        let region = rest.strip_suffix(".on.aws")?;
        let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
        (is_id && region::partition_of("invocation_url", region).is_ok()).then_some(region)
    }

    /// The `host` header: with the port unless it is the scheme's own.
    pub(crate) fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    /// Whether the host is this machine by name or address.
    pub(crate) fn is_loopback(&self) -> bool {
        self.base.loopback
    }

    /// Whether calls carry a signature or a token: all but those to a local agent.
    pub(crate) fn requires_auth(&self) -> bool {
        self.kind != TargetKind::Local
    }

    /// The URL of an operation, absolute. Its path and query are what is signed and what must be
    /// sent: nothing may decode or normalise them in between.
    pub(crate) fn uri(&self, operation: Operation, qualifier: Option<&str>) -> Result<Uri> {
        let mut target = self.base.path.clone();
        match (self.kind, operation.local_path(), &self.arn) {
            (TargetKind::DataPlane, _, arn) => {
                target.push_str("/runtimes/");
                target.push_str(need_arn(arn.as_ref())?.label());
                target.push_str(operation.path());
                if let Some(qualifier) = qualifier {
                    target.push_str("?qualifier=");
                    target.push_str(&percent_encode(qualifier));
                }
            }
            (TargetKind::InvocationUrl, ..) if operation == Operation::Invoke => {
                if let Some(query) = &self.base.query {
                    target.push('?');
                    target.push_str(query);
                }
            }
            (TargetKind::InvocationUrl, ..) => {
                return Err(Error::invalid(
                    "invocation_url",
                    format_args!("a URL that serves invoke, and not {}", operation.name()),
                    "needs the runtime's ARN, and endpoint_url for a proxy that forwards every path",
                ));
            }
            (TargetKind::Local, Some(path), _) => target.push_str(path),
            (TargetKind::Local, None, _) => {
                return Err(Error::invalid(
                    "local_url",
                    format_args!("an agent's own server, which has no {}", operation.name()),
                    "needs the service, or endpoint_url with a local data plane in front of the agent",
                ));
            }
        }
        self.base.absolute(target)
    }
}

/// Where another service of AWS is: what a relay needs besides its agent.
#[derive(Clone)]
pub(crate) struct ServiceEndpoint(Base);

impl ServiceEndpoint {
    /// The service's own host, which is made of checked parts.
    pub(crate) fn aws(host: String) -> Self {
        Self(Base::of_host(host))
    }

    /// A URL from outside, under the rules of `endpoint_url`.
    pub(crate) fn parse(field: &'static str, url: &str, allow_http: &[String]) -> Result<Self> {
        Base::parse(field, url, allow_http, Query::Refused).map(Self)
    }

    /// Whether the URL says more than a host.
    pub(crate) fn has_path(&self) -> bool {
        !self.0.path.is_empty()
    }

    /// The `host` header.
    pub(crate) fn host_header(&self) -> Result<HeaderValue> {
        HeaderValue::from_str(&self.0.authority).map_err(internal)
    }

    /// The URL of a path, which begins with a slash and is percent-encoded already.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri> {
        self.0.absolute(format!("{}{path}", self.0.path))
    }
}

impl fmt::Debug for ServiceEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceEndpoint({})", self.0.authority)
    }
}

/// Without the query, which in an `invocation_url` may be a secret.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.base.tls { "https" } else { "http" };
        write!(f, "Endpoint({:?}, {scheme}://{}{})", self.kind, self.base.authority, self.base.path)
    }
}

fn internal(source: impl Into<http::Error>) -> Error {
    Error::new(ErrorKind::Internal, Delivery::NotSent, "a checked URL was refused")
        .with_source(source.into())
}

fn need_arn(arn: Option<&RuntimeArn>) -> Result<&RuntimeArn> {
    arn.ok_or_else(|| {
        Error::invalid(
            "runtime_arn",
            "missing",
            "give the ARN of the agent runtime, or set AGENT_RUNTIME_ARN",
        )
    })
}

/// The region of the ARN counts; an option that says otherwise is a mistake, for which the
/// service would answer a misleading 404.
fn check_region(arn: Option<&RuntimeArn>, option: Option<&str>) -> Result<()> {
    let Some(option) = option else { return Ok(()) };
    region::partition_of("region", option)?;
    match arn {
        Some(arn) if arn.region() != option => Err(Error::invalid(
            "region",
            format_args!("{option}, but the ARN's is {}", arn.region()),
            "leave it out: the ARN's region counts",
        )),
        _ => Ok(()),
    }
}

fn refuse_operation_path(field: &'static str, base: &Base, rule: &str) -> Result<()> {
    if base.path.ends_with("/invocations") {
        return Err(Error::invalid(field, "a URL that ends in /invocations", rule));
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Query {
    Kept,
    Refused,
}

/// A URL in parts that have been looked at one by one.
#[derive(Clone)]
struct Base {
    tls: bool,
    /// Host and, unless it is the scheme's own, port.
    authority: String,
    /// In lower case; an IPv6 address without its brackets.
    host: String,
    /// Without a slash at its end, except in a URL that is used as it is.
    path: String,
    query: Option<String>,
    loopback: bool,
}

impl Base {
    fn aws(arn: &RuntimeArn, fips: bool, dualstack: bool) -> Self {
        let partition = arn.partition_data();
        let fips = if fips { "-fips" } else { "" };
        let suffix = if dualstack { partition.dual_stack_dns_suffix } else { partition.dns_suffix };
        Self::of_host(format!("bedrock-agentcore{fips}.{}.{suffix}", arn.region()))
    }

    fn of_host(host: String) -> Self {
        Self {
            tls: true,
            authority: host.clone(),
            host,
            path: String::new(),
            query: None,
            loopback: false,
        }
    }

    fn absolute(&self, target: String) -> Result<Uri> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if self.tls { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(Authority::try_from(self.authority.as_str()).map_err(internal)?);
        parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(internal)?);
        Uri::from_parts(parts).map_err(internal)
    }

    /// Reads a URL by hand: parsers that mend what they are given, as URL parsers do, would let
    /// two readers of one URL disagree about its host.
    fn parse(
        field: &'static str,
        url: &str,
        allow_http: &[String],
        query_rule: Query,
    ) -> Result<Self> {
        let refuse = |shape: &str, rule: &str| Err(Error::invalid(field, shape, rule));
        if url.is_empty() || url.len() > MAX_URL {
            return Err(Error::invalid(
                field,
                shape::of(url),
                format_args!("needs a URL of at most {MAX_URL} characters"),
            ));
        }
        if !url.bytes().all(|b| b.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&b)) {
            return Err(Error::invalid(
                field,
                format_args!("{}, some of which have no place in a URL", shape::of(url)),
                "needs visible ASCII characters, others percent-encoded (a host in punycode)",
            ));
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return refuse("no scheme", "needs https://");
        };
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return refuse("another scheme", "needs https, or http to this machine"),
        };
        if rest.contains('#') {
            return refuse("with a fragment", "leave out # and what follows");
        }
        let (authority, target) =
            rest.find(['/', '?']).map_or((rest, ""), |at| (&rest[..at], &rest[at..]));
        if authority.contains('@') {
            return refuse("with a user name", "leave out what stands before the host and its @");
        }
        let (host, port) = split_authority(field, authority)?;
        let host = check_host(field, host)?;
        let loopback = host.is_loopback();

        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        if query.is_some() && query_rule == Query::Refused {
            return refuse(
                "with a query",
                "leave out ? and what follows: paths are put behind this URL",
            );
        }
        let inner = path.strip_suffix('/').unwrap_or(path);
        let mut segments = inner.split('/').skip(1).map(str::to_ascii_lowercase);
        if segments.any(|part| matches!(part.replace("%2e", ".").as_str(), "" | "." | "..")) {
            // Signers remove these, so that what is signed would not be what is sent.
            return refuse("with an empty or dotted path segment", "leave out //, /./ and /../");
        }
        let path = match query_rule {
            Query::Refused => inner,
            Query::Kept if path.is_empty() => "/",
            Query::Kept => path,
        };

        let text = host.text();
        if !tls && !loopback && !is_allowed(&text, allow_http) {
            return refuse(
                "plain http to a host that is not this machine",
                "needs https; http is for localhost, 127.0.0.0/8 and [::1], or a host named in allow_http_hosts (AGENTCORE_ALLOW_HTTP_HOSTS)",
            );
        }
        let bracketed = match host {
            Host::V6(address) => format!("[{address}]"),
            _ => text.clone(),
        };
        let authority = match port {
            Some(port) if port != if tls { 443 } else { 80 } => format!("{bracketed}:{port}"),
            _ => bracketed,
        };
        Ok(Self {
            tls,
            authority,
            host: text,
            path: path.to_owned(),
            query: query.map(str::to_owned),
            loopback,
        })
    }
}

fn split_authority<'a>(field: &'static str, authority: &'a str) -> Result<(&'a str, Option<u16>)> {
    let colon = match authority.rfind(']') {
        Some(bracket) => authority[bracket..].find(':').map(|at| at + bracket),
        None => authority.find(':'),
    };
    let Some(colon) = colon else { return Ok((authority, None)) };
    let (host, port) = (&authority[..colon], &authority[colon + 1..]);
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(number) if digits && number > 0 => Ok((host, Some(number))),
        _ => Err(Error::invalid(
            field,
            format_args!("a port of {}", shape::of(port)),
            "needs a number from 1 to 65535 behind the colon (an IPv6 address in brackets)",
        )),
    }
}

enum Host {
    Name(String),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl Host {
    /// By what it says, not by what a resolver makes of it: `localhost.evil.example` is elsewhere.
    fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost",
            Self::V4(address) => address.is_loopback(),
            Self::V6(address) => address.to_canonical().is_loopback(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::V4(address) => address.to_string(),
            Self::V6(address) => address.to_string(),
        }
    }
}

fn check_host(field: &'static str, host: &str) -> Result<Host> {
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
        return address.map(Host::V6).ok_or_else(|| {
            Error::invalid(
                field,
                "brackets without an IPv6 address",
                "needs such as [::1], without a zone",
            )
        });
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Host::V4(address));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // Resolvers read a name that ends in a number as an IPv4 address in one of its odd spellings,
    // so that 2130706433 or 127.1 would be loopback behind our back, and 10.1 somebody else.
    let last = host.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let numeric = last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if host.len() <= 253 && host.split('.').all(label) && !numeric {
        return Ok(Host::Name(host.to_ascii_lowercase()));
    }
    Err(Error::invalid(
        field,
        format_args!("a host of {}", shape::of(host)),
        "needs a DNS name, an IPv4 address in four parts or an IPv6 address in brackets",
    ))
}

fn is_allowed(host: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|entry| {
        let entry = entry.strip_prefix('[').and_then(|e| e.strip_suffix(']')).unwrap_or(entry);
        entry.eq_ignore_ascii_case(host)
    })
}

#[cfg(test)]
mod tests;
