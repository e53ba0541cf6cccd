//! Checks Signature Version 4 from its specification: header form and presigned query form.
//! Nothing here is shared with a signer, so that the two can disagree.

use crate::clock;
use crate::encoding::{constant_time_eq, percent_decode, percent_encode, query_pairs, sha256_hex};
use crate::error::ServiceError;
use crate::headers::Headers;
use hmac::{Hmac, Mac};
use sha2::Sha256;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far apart the two clocks may be.
const SKEW_SECONDS: i64 = 5 * 60;
/// The longest life of a presigned URL.
const MAX_EXPIRES: i64 = 7 * 24 * 3_600;

/// The keys that callers of a runtime sign with.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) session_token: Option<String>,
}

/// What the verifier needs to see of a request: exactly as it came off the wire.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    /// The raw request target: path and query, nothing decoded.
    pub(crate) target: &'a str,
    pub(crate) headers: &'a Headers,
    pub(crate) body_sha256: &'a str,
}

/// Whom and what a signature must be for.
pub(crate) struct Scope<'a> {
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    /// The verifier's clock, in seconds since the epoch.
    pub(crate) now: i64,
}

/// How a request claims to be authorised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    None,
    Header,
    Presigned,
    Bearer,
    /// More than one kind at once, or one that nobody knows.
    Unusable,
}

/// Which kind of authorisation the request carries.
pub(crate) fn claim(target: &str, headers: &Headers) -> Claim {
    let presigned = split_target(target)
        .1
        .split('&')
        .any(|p| p.starts_with("X-Amz-Algorithm=") || p.starts_with("X-Amz-Signature="));
    let mut all = headers.get_all("authorization");
    let first = all.next();
    match (first, presigned) {
        (None, false) => Claim::None,
        (None, true) => Claim::Presigned,
        (Some(_), true) => Claim::Unusable,
        (Some(_), _) if all.next().is_some() => Claim::Unusable,
        (Some(v), false) if v.starts_with(ALGORITHM.as_bytes()) => Claim::Header,
        (Some(v), false) if v.len() >= 7 && v[..7].eq_ignore_ascii_case(b"bearer ") => {
            Claim::Bearer
        }
        (Some(_), false) => Claim::Unusable,
    }
}

/// Path and query of a raw target.
pub(crate) fn split_target(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

struct Parts {
    access_key: String,
    scope_date: String,
    scope: String,
    date: String,
    signed_headers: String,
    signature: String,
    token: Option<String>,
    expires: Option<i64>,
}

/// Verifies the request; the error is what the service would answer.
pub(crate) fn verify(
    request: &Signed<'_>,
    credentials: &Credentials,
    scope: &Scope<'_>,
) -> Result<(), ServiceError> {
    let parts = match claim(request.target, request.headers) {
        Claim::Header => from_header(request.headers)?,
        Claim::Presigned => from_query(request.target)?,
        Claim::None => return Err(missing_authentication()),
        Claim::Bearer => return Err(ServiceError::method_mismatch()),
        Claim::Unusable => return Err(incomplete("Authorization is ambiguous or unknown.")),
    };
    check_scope(&parts, scope)?;
    check_time(&parts, scope.now)?;
    check_keys(&parts, credentials)?;
    check_coverage(&parts, request.headers)?;
    if let Some(claimed) = request.headers.get("x-amz-content-sha256")
        && claimed != request.body_sha256
    {
        return Err(mismatch());
    }

    let canonical = canonical_request(request, &parts);
    let to_sign = format!(
        "{ALGORITHM}\n{}\n{}\n{}",
        parts.date,
        parts.scope,
        sha256_hex(canonical.as_bytes())
    );
    let key = signing_key(&credentials.secret_key, &parts.scope_date, scope.region, scope.service);
    let expected = hex::encode(hmac(&key, to_sign.as_bytes()));
    if constant_time_eq(expected.as_bytes(), parts.signature.as_bytes()) {
        Ok(())
    } else {
        Err(mismatch())
    }
}

pub(crate) fn missing_authentication() -> ServiceError {
    ServiceError::new(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
}

fn incomplete(message: &str) -> ServiceError {
    ServiceError::new(403, "IncompleteSignatureException", message)
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new(403, "InvalidSignatureException", message)
}

fn mismatch() -> ServiceError {
    invalid(
        "The request signature we calculated does not match the signature you provided. Check \
         your AWS Secret Access Key and signing method. Consult the service documentation for \
         details.",
    )
}

fn unknown_key() -> ServiceError {
    ServiceError::new(
        403,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )
}

fn from_header(headers: &Headers) -> Result<Parts, ServiceError> {
    let value = headers
        .get("authorization")
        .and_then(|v| v.strip_prefix(ALGORITHM))
        .ok_or_else(|| incomplete("Authorization header is not readable."))?;
    let field = |name: &str| {
        value
            .split(',')
            .filter_map(|part| part.trim().split_once('='))
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.to_owned())
            .ok_or_else(|| {
                incomplete(&format!("Authorization header requires '{name}' parameter."))
            })
    };
    let date = headers
        .get("x-amz-date")
        .ok_or_else(|| incomplete("Authorization header requires existence of 'X-Amz-Date'."))?;
    parts(
        &field("Credential")?,
        date.trim(),
        field("SignedHeaders")?,
        field("Signature")?,
        headers.get("x-amz-security-token").map(|t| t.trim().to_owned()),
        None,
    )
}

fn from_query(target: &str) -> Result<Parts, ServiceError> {
    let pairs = query_pairs(split_target(target).1);
    let field = |name: &str| {
        let mut all = pairs.iter().filter(|(n, _)| n == name);
        match (all.next(), all.next()) {
            (Some((_, v)), None) => Ok(v.clone()),
            (Some(_), Some(_)) => Err(incomplete(&format!("'{name}' is there more than once."))),
            (None, _) => {
                Err(incomplete(&format!("AWS query-string parameters must include '{name}'.")))
            }
        }
    };
    if field("X-Amz-Algorithm")? != ALGORITHM {
        return Err(incomplete("Unsupported X-Amz-Algorithm."));
    }
    let expires = field("X-Amz-Expires")?
        .parse::<i64>()
        .ok()
        .filter(|e| (1..=MAX_EXPIRES).contains(e))
        .ok_or_else(|| incomplete("X-Amz-Expires must be a number of seconds from 1 to 604800."))?;
    let token = pairs
        .iter()
        .any(|(n, _)| n == "X-Amz-Security-Token")
        .then(|| field("X-Amz-Security-Token"))
        .transpose()?;
    parts(
        &field("X-Amz-Credential")?,
        &field("X-Amz-Date")?,
        field("X-Amz-SignedHeaders")?,
        field("X-Amz-Signature")?,
        token,
        Some(expires),
    )
}

fn parts(
    credential: &str,
    date: &str,
    signed_headers: String,
    signature: String,
    token: Option<String>,
    expires: Option<i64>,
) -> Result<Parts, ServiceError> {
    let (access_key, scope) = credential
        .split_once('/')
        .filter(|(_, scope)| scope.split('/').count() == 4)
        .ok_or_else(|| {
            incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term")
        })?;
    Ok(Parts {
        access_key: access_key.to_owned(),
        scope_date: scope.split('/').next().unwrap_or_default().to_owned(),
        scope: scope.to_owned(),
        date: date.to_owned(),
        signed_headers,
        signature,
        token,
        expires,
    })
}

fn check_scope(parts: &Parts, scope: &Scope<'_>) -> Result<(), ServiceError> {
    let mut claimed = parts.scope.split('/').skip(1);
    if claimed.next() != Some(scope.region) {
        return Err(invalid(format!(
            "Credential should be scoped to a valid region, not '{}'.",
            parts.scope.split('/').nth(1).unwrap_or_default()
        )));
    }
    if claimed.next() != Some(scope.service) {
        return Err(invalid(format!(
            "Credential should be scoped to correct service: '{}'.",
            scope.service
        )));
    }
    if claimed.next() != Some("aws4_request") {
        return Err(invalid(
            "Credential should be scoped with a valid terminator: 'aws4_request'.",
        ));
    }
    Ok(())
}

fn check_time(parts: &Parts, now: i64) -> Result<(), ServiceError> {
    let date = clock::parse_amz_date(&parts.date)
        .ok_or_else(|| incomplete("Date must be in ISO-8601 'basic format'."))?;
    if !parts.date.starts_with(&parts.scope_date) || parts.scope_date.len() != 8 {
        return Err(invalid(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
             HTTP: '{}' != '{}'.",
            parts.scope_date,
            parts.date.get(..8).unwrap_or_default()
        )));
    }
    let stamp = clock::amz_date;
    if date > now + SKEW_SECONDS {
        return Err(invalid(format!(
            "Signature not yet current: {} is still later than {} ({} + 5 min.)",
            stamp(date),
            stamp(now + SKEW_SECONDS),
            stamp(now)
        )));
    }
    let (oldest, allowance) = match parts.expires {
        Some(expires) => (now - expires, format!("{expires} s")),
        None => (now - SKEW_SECONDS, "5 min.".to_owned()),
    };
    if date < oldest {
        return Err(invalid(format!(
            "Signature expired: {} is now earlier than {} ({} - {allowance})",
            stamp(date),
            stamp(oldest),
            stamp(now)
        )));
    }
    Ok(())
}

fn check_keys(parts: &Parts, credentials: &Credentials) -> Result<(), ServiceError> {
    let known = constant_time_eq(parts.access_key.as_bytes(), credentials.access_key.as_bytes());
    let token = match (&parts.token, &credentials.session_token) {
        (Some(given), Some(wanted)) => constant_time_eq(given.as_bytes(), wanted.as_bytes()),
        (None, None) => true,
        _ => false,
    };
    if known && token { Ok(()) } else { Err(unknown_key()) }
}

/// The headers that must not be changed on the way have to be under the signature.
fn check_coverage(parts: &Parts, headers: &Headers) -> Result<(), ServiceError> {
    let names: Vec<&str> = parts.signed_headers.split(';').collect();
    if names.windows(2).any(|w| w[0] >= w[1])
        || names.iter().any(|n| n.is_empty() || n.bytes().any(|b| b.is_ascii_uppercase()))
    {
        return Err(incomplete("SignedHeaders must be lower case, sorted and without duplicates."));
    }
    let must = |name: &str| {
        names.contains(&name).then_some(()).ok_or_else(|| {
            invalid(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization."))
        })
    };
    must("host")?;
    if parts.expires.is_none() {
        must("x-amz-date")?;
    }
    for (name, _) in headers.iter() {
        let name = name.to_ascii_lowercase();
        if name.starts_with("x-amz-") {
            must(&name)?;
        }
    }
    Ok(())
}

fn canonical_request(request: &Signed<'_>, parts: &Parts) -> String {
    let (path, query) = split_target(request.target);
    let mut out = String::with_capacity(1_024);
    out.push_str(request.method);
    out.push('\n');
    out.push_str(&canonical_path(path));
    out.push('\n');
    out.push_str(&canonical_query(query, parts.expires.is_some()));
    out.push('\n');
    for name in parts.signed_headers.split(';') {
        out.push_str(name);
        out.push(':');
        let values: Vec<String> = request.headers.get_all(name).map(fold).collect();
        out.push_str(&values.join(","));
        out.push('\n');
    }
    out.push('\n');
    out.push_str(&parts.signed_headers);
    out.push('\n');
    out.push_str(request.body_sha256);
    out
}

/// Trims the value and makes one space of several. Bytes that are not UTF-8 are kept apart by
/// their number, so that two different values never look alike.
fn fold(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.split([' ', '\t']).filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" "),
        Err(_) => format!("\u{fffd}{}", hex::encode(value)),
    }
}

/// Dot segments and empty segments go; then what is encoded already is encoded once more.
fn canonical_path(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let mut normal = format!("/{}", kept.join("/"));
    let directory = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    if directory && normal.len() > 1 {
        normal.push('/');
    }
    percent_encode(normal.as_bytes(), true)
}

fn canonical_query(query: &str, presigned: bool) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|p| !p.is_empty())
        .map(|p| p.split_once('=').unwrap_or((p, "")))
        .map(|(n, v)| (recode(n), recode(v)))
        .filter(|(n, _)| !(presigned && n == "X-Amz-Signature"))
        .collect();
    pairs.sort();
    pairs.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&")
}

fn recode(text: &str) -> String {
    percent_encode(&percent_decode(text), false)
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut out = [0u8; 32];
    // A key of any length is a valid HMAC key, so this cannot fail.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) {
        mac.update(data);
        out.copy_from_slice(&mac.finalize().into_bytes());
    }
    out
}

fn signing_key(secret: &str, date: &str, region: &str, service: &str) -> [u8; 32] {
    let start = format!("AWS4{secret}");
    [date, region, service, "aws4_request"]
        .iter()
        .fold(start.into_bytes(), |key, part| hmac(&key, part.as_bytes()).to_vec())
        .try_into()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
