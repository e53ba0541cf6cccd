//! AWS Signature Version 4, in headers or in a URL; the time is an argument. The raw request target
//! is what is signed, so nothing may touch it afterwards. What a client's signatures have in common
//! is cached and everything else is written once into one buffer: a signature costs little more than
//! its three hashes.

use std::fmt;
use std::ops::Range;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::generate_signing_key;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, Uri};
use memchr::{memchr_iter, memchr2_iter};
use ring::{digest, hmac};

use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::protocol::headers::is_signed;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
static DATE: HeaderName = HeaderName::from_static("x-amz-date");
static TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The longest that a presigned URL may be valid: the limit of the service's own SDKs.
pub const MAX_EXPIRES: Duration = Duration::from_secs(300);

/// What a signature is good for.
#[derive(Clone, Copy, Debug)]
pub struct SigningScope<'a> {
    /// Region of the endpoint, such as `us-west-2`.
    pub region: &'a str,
    /// Signing name: `bedrock-agentcore`, `execute-api` or `lambda`.
    pub service: &'a str,
}

/// Signs `request`: sets `x-amz-date`, `x-amz-security-token` (removed if the credentials have no
/// token) and `authorization`. A request may be signed again; what an earlier signature left is
/// replaced.
///
/// `host` is signed as the header says or, without one, as the URL says, less a default port.
/// Trace headers, `baggage`, `user-agent` and hop-by-hop headers are not signed, all others are.
///
/// # Errors
///
/// `InvalidInput` for a target whose signed and sent form would differ (see [`presign`]),
/// `Credentials` for credentials that no header can carry.
pub fn sign(
    request: &mut Request<Bytes>,
    credentials: &Credentials,
    scope: SigningScope<'_>,
    time: SystemTime,
    cache: &KeyCache,
) -> Result<()> {
    let stamp = Stamp::new(time)?;
    let draft = Draft::for_headers(request, credentials, scope, &stamp, cache)?;
    let signature = cache.seal(credentials, scope, time, &stamp, draft.string_to_sign())?;

    let authorization = draft.authorization(credentials, &signature)?;
    let date = HeaderValue::from_bytes(&stamp.text)
        .map_err(|_| Error::new(ErrorKind::Internal, Delivery::NotSent, "malformed date"))?;
    let token = session_token(credentials).map(secret_value).transpose()?;

    let headers = request.headers_mut();
    headers.insert(&DATE, date);
    match token {
        Some(token) => headers.insert(&TOKEN, token),
        None => headers.remove(&TOKEN),
    };
    headers.insert(AUTHORIZATION, authorization);
    Ok(())
}

/// The URL of `request` with a signature in its query, valid for `expires` (1 to 300 s, a fraction
/// is dropped). It is a credential: never log it.
///
/// Whoever opens the URL must send the method, the body and every signed header as they are here,
/// so give the request no headers but `host`. What the query of `request` holds comes first, as it
/// is; for a WebSocket, swap `https` for `wss`.
///
/// # Errors
///
/// `InvalidInput` for a URL that is not absolute, holds user info, a signature, an empty or a dot
/// segment (services remove those before they check a signature), and for a query with a raw `+`
/// (a space to some, a plus to others) or a broken percent-escape.
pub fn presign(
    request: &Request<Bytes>,
    credentials: &Credentials,
    scope: SigningScope<'_>,
    time: SystemTime,
    expires: Duration,
    cache: &KeyCache,
) -> Result<String> {
    if expires < Duration::from_secs(1) || expires > MAX_EXPIRES {
        return Err(Error::invalid("expires", format_args!("{expires:?}"), "needs 1 s to 300 s"));
    }
    let stamp = Stamp::new(time)?;
    let params = Params::new(request, credentials, scope, &stamp, expires)?;
    let draft = Draft::for_query(request, scope, &stamp, &params)?;
    let signature = cache.seal(credentials, scope, time, &stamp, draft.string_to_sign())?;

    let uri = request.uri();
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Error::invalid("url", "no scheme", "needs an absolute URL to presign"));
    };
    let query = uri.query().unwrap_or_default();
    let mut url = Vec::with_capacity(draft.text.len() + 256);
    for part in [scheme, "://", authority.as_str(), uri.path(), "?", query] {
        url.extend_from_slice(part.as_bytes());
    }
    let mut separate = !query.is_empty();
    for (name, value) in params.iter() {
        if separate {
            url.push(b'&');
        }
        separate = true;
        url.extend_from_slice(name.as_bytes());
        url.push(b'=');
        push_encoded(&mut url, value, false);
    }
    url.extend_from_slice(b"&X-Amz-Signature=");
    push_hex(&mut url, signature);
    String::from_utf8(url)
        .map_err(|_| Error::new(ErrorKind::Internal, Delivery::NotSent, "a URL that is not UTF-8"))
}

/// What the signatures of one client have in common.
#[derive(Default)]
pub struct KeyCache {
    /// The day's signing keys. A key depends on secret, day, region and service only; deriving one
    /// costs as much as a whole signature.
    keys: RwLock<Vec<DayKey>>,
    /// The target that was signed last: a client calls the same one over and over.
    target: RwLock<Option<Target>>,
}

/// A request's target, as it is and as it is signed: encoded path, line end, canonical query.
struct Target {
    raw: PathAndQuery,
    canonical: Box<[u8]>,
}

/// The credentials are kept to compare: a clone shares its memory with the original, so that the
/// secret is in one place, which is wiped when the last clone goes.
struct DayKey {
    credentials: Credentials,
    day: u64,
    region: Box<str>,
    service: Box<str>,
    key: hmac::Key,
}

impl KeyCache {
    /// A client signs for one or two services; before and after midnight, or while credentials
    /// rotate, there are twice as many keys. Each entry keeps a secret alive, so no more than that.
    const CAPACITY: usize = 4;

    /// The signature of a string to sign.
    fn seal(
        &self,
        credentials: &Credentials,
        scope: SigningScope<'_>,
        time: SystemTime,
        stamp: &Stamp,
        string_to_sign: &[u8],
    ) -> Result<hmac::Tag> {
        let known = |entry: &&DayKey| {
            entry.day == stamp.day
                && *entry.region == *scope.region
                && *entry.service == *scope.service
                && entry.credentials.access_key_id() == credentials.access_key_id()
                && entry.credentials.secret_access_key() == credentials.secret_access_key()
        };
        let entries = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.iter().find(known) {
            return Ok(hmac::sign(&entry.key, string_to_sign));
        }
        drop(entries);

        // Checked here only: what is in the cache has passed.
        check_scope(scope)?;
        check_credentials(credentials)?;
        let secret = credentials.secret_access_key();
        let key = generate_signing_key(secret, time, scope.region, scope.service);
        let entry = DayKey {
            credentials: credentials.clone(),
            day: stamp.day,
            region: scope.region.into(),
            service: scope.service.into(),
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
        };
        let signature = hmac::sign(&entry.key, string_to_sign);
        let mut entries = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if entries.iter().find(known).is_none() {
            if entries.len() == Self::CAPACITY {
                entries.remove(0);
            }
            entries.push(entry);
        }
        Ok(signature)
    }

    /// Writes the canonical form of a target.
    fn push_target(&self, out: &mut Vec<u8>, uri: &Uri) -> Result<()> {
        let raw = uri.path_and_query();
        let known = self.target.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = known.as_ref().filter(|known| Some(&known.raw) == raw) {
            out.extend_from_slice(&target.canonical);
            return Ok(());
        }
        drop(known);
        let start = out.len();
        push_target(out, uri, None)?;
        if let Some(raw) = raw {
            let target = Target { raw: raw.clone(), canonical: out[start..].into() };
            *self.target.write().unwrap_or_else(PoisonError::into_inner) = Some(target);
        }
        Ok(())
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache").finish_non_exhaustive()
    }
}

fn check_scope(scope: SigningScope<'_>) -> Result<()> {
    for (field, value) in [("region", scope.region), ("service", scope.service)] {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if value.is_empty() || !value.bytes().all(plain) {
            let shape = format_args!("{} bytes", value.len());
            return Err(Error::invalid(field, shape, "needs letters, digits and hyphens only"));
        }
    }
    Ok(())
}

fn check_credentials(credentials: &Credentials) -> Result<()> {
    let id = credentials.access_key_id();
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad_credentials(
            "the access key id is empty or holds an unprintable character",
        ));
    }
    if credentials.secret_access_key().is_empty() {
        return Err(bad_credentials("the secret access key is empty"));
    }
    Ok(())
}

fn bad_credentials(message: &str) -> Error {
    Error::new(ErrorKind::Credentials, Delivery::NotSent, message)
}

/// An empty token is what an empty environment variable gives; it means none.
fn session_token(credentials: &Credentials) -> Option<&str> {
    credentials.session_token().filter(|token| !token.is_empty())
}

fn secret_value(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        bad_credentials("the session token holds a character that no header can carry")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The signing time: `20260115T123456Z`, and the day as a number.
struct Stamp {
    text: [u8; 16],
    day: u64,
}

impl Stamp {
    fn new(time: SystemTime) -> Result<Self> {
        // The first second of the year 10000, which has no room in the format.
        const END: u64 = 253_402_300_800;
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs());
        let Some(seconds) = seconds.filter(|seconds| *seconds < END) else {
            return Err(Error::invalid("time", "before 1970 or after 9999", "set the clock"));
        };
        let (day, second) = (seconds / 86_400, seconds % 86_400);

        // Civil date from the count of days, in years that begin in March, so that the leap day
        // is the last of its year; 719,468 days lie between 0000-03-01 and 1970-01-01.
        let days = day + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);

        let mut text = *b"00000000T000000Z";
        let mut put = |at: usize, number: u64| {
            text[at] = b'0' + (number / 10) as u8;
            text[at + 1] = b'0' + (number % 10) as u8;
        };
        put(0, year / 100);
        put(2, year % 100);
        put(4, month);
        put(6, day_of_month);
        put(9, second / 3_600);
        put(11, second / 60 % 60);
        put(13, second % 60);
        Ok(Self { text, day })
    }

    fn date(&self) -> &[u8] {
        &self.text[..8]
    }
}

/// The query parameters that carry a signature, in the order in which botocore writes them.
struct Params {
    values: Vec<(&'static str, Vec<u8>)>,
}

impl Params {
    const NAMES: [&'static str; 7] = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
    ];

    fn new(
        request: &Request<Bytes>,
        credentials: &Credentials,
        scope: SigningScope<'_>,
        stamp: &Stamp,
        expires: Duration,
    ) -> Result<Self> {
        let mut credential = Vec::with_capacity(96);
        credential.extend_from_slice(credentials.access_key_id().as_bytes());
        credential.push(b'/');
        push_scope(&mut credential, scope, stamp);

        let mut headers = Headers::of(request)?;
        headers.sort();
        let mut signed = Vec::with_capacity(64);
        headers.push_names(&mut signed);

        let token = session_token(credentials).map(|token| token.as_bytes().to_vec());
        let values = [
            Some(ALGORITHM.into()),
            Some(credential),
            Some(stamp.text.to_vec()),
            Some(expires.as_secs().to_string().into_bytes()),
            Some(signed),
            token,
        ];
        let values = Self::NAMES.into_iter().zip(values);
        let values = values.filter_map(|(name, value)| Some((name, value?))).collect();
        Ok(Self { values })
    }

    fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.values.iter().map(|(name, value)| (*name, value.as_slice()))
    }
}

/// The headers to sign, as references into the request.
struct Headers<'a> {
    entries: Vec<(&'a str, &'a [u8])>,
    size: usize,
}

impl<'a> Headers<'a> {
    /// The request's own headers and `host`; never those that a signature sets.
    fn of(request: &'a Request<Bytes>) -> Result<Self> {
        let mut headers =
            Self { entries: Vec::with_capacity(request.headers().len() + 3), size: 0 };
        let mut has_host = false;
        for (name, value) in request.headers() {
            if !is_signed(name.as_str()) || *name == DATE || *name == TOKEN {
                continue;
            }
            has_host |= *name == HOST;
            headers.add(name.as_str(), value.as_bytes());
        }
        if !has_host {
            headers.add(HOST.as_str(), host(request.uri())?.as_bytes());
        }
        Ok(headers)
    }

    fn add(&mut self, name: &'a str, value: &'a [u8]) {
        self.size += 2 * name.len() + value.len() + 3;
        self.entries.push((name, value));
    }

    /// By name; the values of one name keep their order.
    fn sort(&mut self) {
        self.entries.sort_by(|one, other| one.0.cmp(other.0));
    }

    /// `name:value` lines, sorted before. The values of one name stand in one line.
    fn push_lines(&self, out: &mut Vec<u8>) {
        let mut last = "";
        for (name, value) in &self.entries {
            if *name == last {
                // Over the line's end.
                out.pop();
                out.push(b',');
            } else {
                out.extend_from_slice(name.as_bytes());
                out.push(b':');
            }
            push_folded(out, value);
            out.push(b'\n');
            last = name;
        }
    }

    fn push_names(&self, out: &mut Vec<u8>) {
        let mut last = "";
        for (name, _) in &self.entries {
            if *name != last {
                if !last.is_empty() {
                    out.push(b';');
                }
                out.extend_from_slice(name.as_bytes());
                last = name;
            }
        }
    }
}

/// What a client sends as `Host` for this URL.
fn host(uri: &Uri) -> Result<&str> {
    let Some(authority) = uri.authority() else {
        return Err(Error::invalid("url", "no host", "needs a host, or a host header"));
    };
    if authority.as_str().contains('@') {
        return Err(Error::invalid("url", "user info before the host", "remove it"));
    }
    let default = match uri.scheme_str() {
        Some("https" | "wss") => Some(443),
        Some("http" | "ws") => Some(80),
        _ => None,
    };
    let port = authority.port_u16();
    Ok(if port.is_some() && port == default { authority.host() } else { authority.as_str() })
}

/// The canonical request and, right behind it, the string to sign, in one buffer.
struct Draft {
    text: Vec<u8>,
    canonical: usize,
    signed_headers: Range<usize>,
    scope: Range<usize>,
}

impl Draft {
    fn for_headers(
        request: &Request<Bytes>,
        credentials: &Credentials,
        scope: SigningScope<'_>,
        stamp: &Stamp,
        cache: &KeyCache,
    ) -> Result<Self> {
        let mut headers = Headers::of(request)?;
        headers.add(DATE.as_str(), &stamp.text);
        if let Some(token) = session_token(credentials) {
            headers.add(TOKEN.as_str(), token.as_bytes());
        }
        Self::new(request, headers, scope, stamp, |out| cache.push_target(out, request.uri()))
    }

    fn for_query(
        request: &Request<Bytes>,
        scope: SigningScope<'_>,
        stamp: &Stamp,
        params: &Params,
    ) -> Result<Self> {
        let headers = Headers::of(request)?;
        Self::new(request, headers, scope, stamp, |out| {
            push_target(out, request.uri(), Some(params))
        })
    }

    fn new(
        request: &Request<Bytes>,
        mut headers: Headers<'_>,
        scope: SigningScope<'_>,
        stamp: &Stamp,
        push_target: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<Self> {
        headers.sort();

        // Close to the true size: allocators are quick up to about 1 KiB, which most requests need.
        let target = request.uri().path_and_query().map_or(1, |target| target.as_str().len());
        let size = target + target / 4 + headers.size + 256;
        let mut text = Vec::with_capacity(size);
        text.extend_from_slice(request.method().as_str().as_bytes());
        text.push(b'\n');
        push_target(&mut text)?;
        text.push(b'\n');
        headers.push_lines(&mut text);
        text.push(b'\n');
        let signed_headers = text.len();
        headers.push_names(&mut text);
        let signed_headers = signed_headers..text.len();
        text.push(b'\n');
        push_hex(&mut text, digest::digest(&digest::SHA256, request.body()));

        let canonical = text.len();
        let hash = digest::digest(&digest::SHA256, &text);
        text.extend_from_slice(ALGORITHM.as_bytes());
        text.push(b'\n');
        text.extend_from_slice(&stamp.text);
        text.push(b'\n');
        let start = text.len();
        push_scope(&mut text, scope, stamp);
        let scope = start..text.len();
        text.push(b'\n');
        push_hex(&mut text, hash);
        Ok(Self { text, canonical, signed_headers, scope })
    }

    fn string_to_sign(&self) -> &[u8] {
        &self.text[self.canonical..]
    }

    fn authorization(
        &self,
        credentials: &Credentials,
        signature: &hmac::Tag,
    ) -> Result<HeaderValue> {
        const PUNCTUATION: usize = " Credential=/, SignedHeaders=, Signature=".len();
        let id = credentials.access_key_id();
        let length = ALGORITHM.len()
            + PUNCTUATION
            + id.len()
            + self.scope.len()
            + self.signed_headers.len()
            + 64;
        let mut out = Vec::with_capacity(length);
        out.extend_from_slice(ALGORITHM.as_bytes());
        out.extend_from_slice(b" Credential=");
        out.extend_from_slice(id.as_bytes());
        out.push(b'/');
        out.extend_from_slice(&self.text[self.scope.clone()]);
        out.extend_from_slice(b", SignedHeaders=");
        out.extend_from_slice(&self.text[self.signed_headers.clone()]);
        out.extend_from_slice(b", Signature=");
        push_hex(&mut out, signature);
        let mut value = HeaderValue::try_from(out).map_err(|_| {
            Error::new(ErrorKind::Internal, Delivery::NotSent, "malformed authorization")
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// `20260115/us-east-1/bedrock-agentcore/aws4_request`
fn push_scope(out: &mut Vec<u8>, scope: SigningScope<'_>, stamp: &Stamp) {
    out.extend_from_slice(stamp.date());
    for part in [scope.region, scope.service, "aws4_request"] {
        out.push(b'/');
        out.extend_from_slice(part.as_bytes());
    }
}

/// A service removes empty and dot segments before it checks the signature, some proxies remove
/// them from the request: the signed and the sent path would differ.
fn check_path(path: &str) -> Result<()> {
    let path = path.as_bytes();
    let bad = memchr_iter(b'/', path).any(|slash| {
        matches!(
            &path[slash + 1..],
            [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..]
        )
    });
    if bad || path.first() != Some(&b'/') {
        return Err(Error::invalid(
            "url",
            "an empty or a dot segment in the path",
            "needs a path without //, /./ and /../",
        ));
    }
    Ok(())
}

/// The canonical path, a line end, and the canonical query.
fn push_target(out: &mut Vec<u8>, uri: &Uri, params: Option<&Params>) -> Result<()> {
    check_path(uri.path())?;
    push_encoded(out, uri.path().as_bytes(), true);
    out.push(b'\n');
    push_query(out, uri.query().unwrap_or_default(), params)
}

/// The canonical query: every pair encoded anew, sorted by name, then value.
fn push_query(out: &mut Vec<u8>, query: &str, params: Option<&Params>) -> Result<()> {
    if query.is_empty() && params.is_none() {
        return Ok(());
    }
    if params.is_none() && !query.contains('&') {
        let (name, value) = query.split_once('=').unwrap_or((query, ""));
        push_reencoded(out, name.as_bytes())?;
        out.push(b'=');
        return push_reencoded(out, value.as_bytes());
    }
    // Pairs are written as they come, then once more in order; the first go is removed.
    let mut pairs: Vec<(Range<usize>, Range<usize>)> = Vec::with_capacity(12);
    let start = out.len();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name_start = out.len();
        push_reencoded(out, name.as_bytes())?;
        let value_start = out.len();
        push_reencoded(out, value.as_bytes())?;
        pairs.push((name_start..value_start, value_start..out.len()));
    }
    if let Some(params) = params {
        for (name, _) in &pairs {
            let name = &out[name.clone()];
            if Params::NAMES.iter().any(|taken| name.eq_ignore_ascii_case(taken.as_bytes())) {
                return Err(Error::invalid(
                    "url",
                    "signed already",
                    "remove the X-Amz-… of a signature",
                ));
            }
        }
        for (name, value) in params.iter() {
            let name_start = out.len();
            out.extend_from_slice(name.as_bytes());
            let value_start = out.len();
            push_encoded(out, value, false);
            pairs.push((name_start..value_start, value_start..out.len()));
        }
    }
    pairs.sort_unstable_by(|one, other| {
        let key = |pair: &(Range<usize>, Range<usize>)| {
            (&out[pair.0.start..pair.0.end], &out[pair.1.start..pair.1.end])
        };
        key(one).cmp(&key(other))
    });
    let end = out.len();
    for (name, value) in pairs {
        if out.len() > end {
            out.push(b'&');
        }
        out.extend_from_within(name);
        out.push(b'=');
        out.extend_from_within(value);
    }
    out.drain(start..end);
    Ok(())
}

/// `A-Z a-z 0-9 - . _ ~`: what stands for itself in a canonical request.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] =
            (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    plain
};

/// Percent-encodes; a path keeps its slashes.
fn push_encoded(out: &mut Vec<u8>, text: &[u8], is_path: bool) {
    let mut rest = text;
    let special = |byte: &u8| !(PLAIN[usize::from(*byte)] || is_path && *byte == b'/');
    while let Some(at) = rest.iter().position(special) {
        out.extend_from_slice(&rest[..at]);
        push_escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Decodes and encodes again, so that `%7e`, `%7E` and `~` are the same, as they are to a service.
fn push_reencoded(out: &mut Vec<u8>, text: &[u8]) -> Result<()> {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| !PLAIN[usize::from(*byte)]) {
        out.extend_from_slice(&rest[..at]);
        rest = match &rest[at..] {
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let byte = 16 * hex_value(*high) + hex_value(*low);
                if PLAIN[usize::from(byte)] {
                    out.push(byte)
                } else {
                    push_escape(out, byte)
                }
                tail
            }
            [b'%', ..] => {
                return Err(Error::invalid(
                    "url",
                    "a broken percent-escape in the query",
                    "write % as %25",
                ));
            }
            [b'+', ..] => {
                return Err(Error::invalid(
                    "url",
                    "a raw + in the query",
                    "write a plus as %2B, a space as %20",
                ));
            }
            [byte, tail @ ..] => {
                push_escape(out, *byte);
                tail
            }
            [] => &[],
        };
    }
    out.extend_from_slice(rest);
    Ok(())
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// A hash in lower-case hexadecimal.
fn push_hex(out: &mut Vec<u8>, hash: impl AsRef<[u8]>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(hash.as_ref()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out.extend_from_slice(&text);
}

/// A header value without white space at its ends, and with one space for each run inside. A tab
/// counts as white space, as in botocore and the JavaScript signer: HTTP strips it at the ends.
fn push_folded(out: &mut Vec<u8>, value: &[u8]) {
    let folds = |at: usize| {
        value[at] == b'\t' || at == 0 || matches!(value.get(at + 1), None | Some(b' ' | b'\t'))
    };
    if !memchr2_iter(b' ', b'\t', value).any(folds) {
        out.extend_from_slice(value);
        return;
    }
    let start = out.len();
    for word in value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()) {
        if out.len() > start {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests;
