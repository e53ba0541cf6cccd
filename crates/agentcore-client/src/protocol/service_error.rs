//! From an answer that is no success to one error: who failed, whether the agent
//! may have run, and what to do about it. The service's own words are shown
//! bounded and cleaned; an agent's words are kept apart, since they are user data.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::error::{Delivery, Error, ErrorKind};
use crate::protocol::arn::RuntimeArn;
use crate::protocol::endpoint::{Operation, TargetKind};
use crate::protocol::headers;

/// Of the service's message, this much is shown.
const MAX_MESSAGE: usize = 500;
/// Of an agent's own answer, this much is kept.
const MAX_AGENT_PAYLOAD: usize = 64 * 1024;
/// A longer body is no service error; it isn't read as JSON.
const MAX_BODY: usize = 1024 * 1024;
/// Of a validation error's fields, this many are shown.
const MAX_FIELDS: usize = 5;

/// How a request proved who it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AuthKind {
    SigV4,
    Bearer,
    None,
}

/// What was asked, of whom and how: messages name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) target: TargetKind,
    pub(crate) operation: Operation,
    pub(crate) arn: Option<&'a RuntimeArn>,
    pub(crate) qualifier: Option<&'a str>,
    pub(crate) auth: AuthKind,
    /// Whether a user id was sent, which needs a permission of its own.
    pub(crate) user_id: bool,
}

/// Reads an answer whose status is no success.
pub(crate) fn decode(
    context: &Context<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Error {
    let answer = Answer::read(headers, body);
    let (kind, delivery) = verdict(context.target, status, &answer);
    let by_agent = kind == ErrorKind::Agent && context.target == TargetKind::Local;
    let text = if by_agent {
        agents_own(status)
    } else if context.target == TargetKind::InvocationUrl && !answer.by_service {
        // Whose words the body holds is not known, so none of them is shown.
        let silent = Answer { message: None, ..answer.clone() };
        message(context, status, headers, &silent)
    } else {
        message(context, status, headers, &answer)
    };
    let mut error = Error::new(kind, delivery, text)
        .with_status(status.as_u16())
        .with_request_id(request_id(headers))
        .with_retry_after(retry_after(headers));
    if !by_agent {
        error = error.with_service_code(answer.code);
    }
    if !context.target.is_data_plane() && !answer.by_service && !body.is_empty() {
        let kept = &body[..body.len().min(MAX_AGENT_PAYLOAD)];
        error = error.with_agent_payload(String::from_utf8_lossy(kept));
    }
    error
}

/// The name of the error that a service's answer is, in its header or its body.
pub(crate) fn code_of(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    Answer::read(headers, body).code
}

/// What an answer says, wherever it says it.
#[derive(Clone, Debug, Default)]
struct Answer {
    code: Option<String>,
    message: Option<String>,
    /// `reason` and fields of a ValidationException.
    details: String,
    /// Whether the service's error header was there.
    by_service: bool,
}

impl Answer {
    fn read(headers: &HeaderMap, body: &[u8]) -> Self {
        let of_header = text(headers, &headers::X_AMZN_ERROR_TYPE);
        let mut answer = Self {
            by_service: of_header.is_some(),
            code: of_header.and_then(code),
            ..Self::default()
        };
        let parsed = match body.len() {
            0 => None,
            1..=MAX_BODY => serde_json::from_slice::<Value>(body).ok(),
            _ => None,
        };
        if let Some(Value::Object(map)) = &parsed {
            let string = |key: &str| map.get(key).and_then(Value::as_str);
            if answer.code.is_none() {
                answer.code = ["code", "__type"].iter().find_map(|key| string(key).and_then(code));
            }
            // A2A and MCP runtimes wrap it: {"jsonrpc": …, "error": {"code": …, "message": …}}.
            let wrapped = || map.get("error")?.get("message")?.as_str();
            answer.message = ["message", "Message", "errorMessage"]
                .iter()
                .find_map(|key| string(key))
                .or_else(wrapped)
                .map(one_line);
            answer.details = details(map);
        }
        if answer.message.is_none() {
            answer.message =
                headers.get("x-amzn-errormessage").and_then(|v| v.to_str().ok()).map(one_line);
        }
        answer.message = answer.message.filter(|message| !message.is_empty());
        answer
    }

    fn code_is(&self, names: &[&str]) -> bool {
        self.code.as_deref().is_some_and(|code| names.contains(&code))
    }

    fn says(&self, words: &str) -> bool {
        self.message.as_deref().is_some_and(|message| message.contains(words))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `aws.protocols#ThrottlingException:http://…` is `ThrottlingException`.
fn code(raw: &str) -> Option<String> {
    let raw = raw.split(':').next().unwrap_or_default();
    let name = raw.rsplit('#').next().unwrap_or_default().trim();
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    ((1..=128).contains(&name.len()) && name.bytes().all(allowed)).then(|| name.to_owned())
}

/// ` (reason FieldValidationFailed; payload: too long)`
fn details(map: &serde_json::Map<String, Value>) -> String {
    let mut parts = Vec::new();
    if let Some(reason) = map.get("reason").and_then(Value::as_str) {
        parts.push(format!("reason {}", one_line(reason)));
    }
    let fields = map.get("fieldList").and_then(Value::as_array);
    for field in fields.into_iter().flatten().take(MAX_FIELDS) {
        let string = |key: &str| field.get(key).and_then(Value::as_str).map(one_line);
        match (string("name"), string("message")) {
            (Some(name), Some(message)) => parts.push(format!("{name}: {message}")),
            (Some(only), None) | (None, Some(only)) => parts.push(only),
            (None, None) => {}
        }
    }
    if parts.is_empty() { String::new() } else { format!(" ({})", one_line(&parts.join("; "))) }
}

/// One line of bounded length, without what some error messages repeat: tokens, and the text that
/// was signed, which holds the session token.
pub(crate) fn one_line(message: &str) -> String {
    let end = ["Canonical String", "String-to-Sign", "Authorization header:"]
        .iter()
        .filter_map(|words| message.find(words))
        .min()
        .unwrap_or(message.len());
    let mut line = String::new();
    let mut count = 0;
    for word in message[..end].split(|c: char| c.is_whitespace() || is_unprintable(c)) {
        if word.is_empty() {
            continue;
        }
        if count > 0 {
            line.push(' ');
        }
        let word = without_tokens(word);
        count += 1 + word.chars().count();
        line.push_str(&word);
        if count > MAX_MESSAGE {
            line = line.chars().take(MAX_MESSAGE).collect();
            line.push('…');
            break;
        }
    }
    line
}

/// Control characters, and those that turn the direction of a line in a terminal.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A JWT starts with the base64 of `{"`.
fn without_tokens(word: &str) -> Cow<'_, str> {
    let Some(start) = word.find("eyJ") else { return Cow::Borrowed(word) };
    let inside = |b: &u8| b.is_ascii_alphanumeric() || b"-_.=+/".contains(b);
    let length = word.as_bytes()[start..].iter().take_while(|b| inside(b)).count();
    if length < 16 {
        return Cow::Borrowed(word);
    }
    let rest = without_tokens(&word[start + length..]);
    Cow::Owned(format!("{}[token]{rest}", &word[..start]))
}

/// Who failed, and whether the agent may have run.
fn verdict(target: TargetKind, status: StatusCode, answer: &Answer) -> (ErrorKind, Delivery) {
    let number = status.as_u16();
    match number {
        100..=199 | 300..=399 | 600.. => return (ErrorKind::Protocol, Delivery::Unknown),
        200..=299 => return (ErrorKind::Protocol, Delivery::Accepted),
        _ => {}
    }
    match target {
        TargetKind::Local => (ErrorKind::Agent, Delivery::Accepted),
        // Without the service's header, a proxy or the agent may have made this status.
        TargetKind::InvocationUrl if !answer.by_service => (ErrorKind::Service, Delivery::Unknown),
        TargetKind::DataPlane | TargetKind::InvocationUrl => {
            if number == 424 || answer.code_is(&["RuntimeClientError"]) {
                (ErrorKind::Agent, Delivery::Accepted)
            } else if matches!(number, 408 | 499) || number >= 500 {
                (ErrorKind::Service, Delivery::Unknown)
            } else {
                // An agent's own status arrives as 424, so these are the service's decision.
                (ErrorKind::Service, Delivery::Rejected)
            }
        }
    }
}

const SIGNATURE: &[&str] = &[
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
];
const CLOCK: &[&str] = &["RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"];
const EXPIRED: &[&str] = &["ExpiredToken", "ExpiredTokenException", "RequestExpiredException"];
const UNKNOWN_KEY: &[&str] =
    &["InvalidClientTokenId", "InvalidAccessKeyId", "UnrecognizedClientException"];
const DENIED: &[&str] = &["AccessDenied", "AccessDeniedException"];

/// Whether the service says that these very credentials are no good, so that others must be found.
pub(crate) fn credentials_are_stale(code: Option<&str>) -> bool {
    code.is_some_and(|code| EXPIRED.contains(&code) || UNKNOWN_KEY.contains(&code))
}

/// What happened, the service's words, what to do.
fn message(
    context: &Context<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    answer: &Answer,
) -> String {
    let number = status.as_u16();
    // The service's own words on signatures repeat what was signed: they stay out.
    if answer.code_is(SIGNATURE) || answer.code_is(CLOCK) {
        return "the signature was refused: check this machine's clock, the secret key and the session token, and that nothing on the way changes host, path or headers".into();
    }
    if answer.code_is(EXPIRED) {
        return "the credentials have expired: get new ones (a provider does so by itself)".into();
    }
    if answer.code_is(UNKNOWN_KEY) {
        return "the access key is not known: check that it is active, belongs to this partition, and comes with its session token".into();
    }

    let (what, advice): (&str, Cow<'_, str>) = match number {
        100..=199 => ("an answer that was not asked for", "check what stands at this URL".into()),
        200..=299 => {
            ("a success that says that it is none", "check what stands at this URL".into())
        }
        300..=399 => (
            "a redirect, which is not followed since requests carry credentials",
            "give the final address as endpoint_url or invocation_url".into(),
        ),
        _ if answer.code_is(&["RuntimeClientError"]) || number == 424 => of_agent(answer),
        400 => ("the request was refused as invalid", "".into()),
        401 | 403 => denied(context, status, headers, answer),
        402 => (
            "a quota of the account is used up",
            "see Service Quotas for Bedrock AgentCore; stop_session ends sessions that are done"
                .into(),
        ),
        404 => not_found(context),
        405 => ("the method was refused", "check that the URL leads to a runtime".into()),
        406 => (
            "the answer's type was refused",
            "MCP servers want accept to name application/json and text/event-stream".into(),
        ),
        407 => ("the proxy wants credentials", "put them into the proxy's URL".into()),
        408 | 499 => (
            "the connection was given up on the other side",
            "the agent may have run; try again only if that does no harm".into(),
        ),
        409 if answer.code_is(&["ConflictException"]) => {
            ("the request conflicts with another one", "wait until that one is done".into())
        }
        409 => (
            "the session is being set up, stopped or used by another operation",
            "try again in a few seconds with the same session".into(),
        ),
        413 => ("the payload is too large", "pass large data by reference".into()),
        415 => ("the content type was refused", "agents expect application/json".into()),
        429 => ("too many requests or new sessions", "slow down, or ask for a higher quota".into()),
        500..=599 if matches!(context.operation, Operation::StopSession | Operation::AgentCard) => {
            ("the service failed", "try again: this call is safe to repeat".into())
        }
        500..=599 => (
            "the service failed, and the agent may have run",
            "send it again only if that does no harm; stop_session ends what may be running".into(),
        ),
        600.. => ("a status that HTTP does not know", "check what stands at this URL".into()),
        _ => ("the request was refused", "".into()),
    };
    let mut line = what.to_owned();
    if let Some(message) = &answer.message {
        // Writing to a string does not fail.
        let _ = write!(line, ": {}", message.trim_end_matches('.'));
    }
    line.push_str(&answer.details);
    if !advice.is_empty() {
        let _ = write!(line, "; {advice}");
    }
    line
}

/// Status 424: the agent was called and failed. Its own status stands in the message only.
fn of_agent(answer: &Answer) -> (&'static str, Cow<'static, str>) {
    if answer.says("initialization time exceeded") {
        return (
            "the agent did not start in time",
            "look for a missing module or slow imports in its CloudWatch logs".into(),
        );
    }
    match answer.message.as_deref().and_then(agent_status) {
        Some(400..=499) => (
            "the agent refused the request",
            "check the payload, its content type and accept against what the agent expects".into(),
        ),
        Some(500..=599) => ("the agent failed", "its CloudWatch logs tell why".into()),
        _ => (
            "the agent failed",
            "its CloudWatch logs tell why; the same request would fail again".into(),
        ),
    }
}

/// The agent's status in `Received error (NNN) from runtime`.
fn agent_status(message: &str) -> Option<u16> {
    let rest = &message[message.find("Received error (")? + "Received error (".len()..];
    let (digits, _) = rest.split_once(')')?;
    (digits.len() == 3).then(|| digits.parse().ok()).flatten()
}

fn denied<'a>(
    context: &Context<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    answer: &Answer,
) -> (&'static str, Cow<'a, str>) {
    let wants_token = headers
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer")));
    let mismatch = answer.says("Authorization method mismatch");
    match context.auth {
        AuthKind::SigV4 if mismatch || wants_token => (
            "the runtime expects a JWT bearer token, and got a SigV4 signature",
            "use Auth::bearer (bearer_token, AGENTCORE_BEARER_TOKEN)".into(),
        ),
        AuthKind::Bearer if mismatch => (
            "the runtime expects a SigV4 signature, and got a bearer token",
            "use AWS credentials, or give the runtime a JWT authorizer".into(),
        ),
        AuthKind::None => (
            "the call carried no credentials",
            if wants_token {
                "the runtime expects a JWT bearer token: use Auth::bearer".into()
            } else {
                "use AWS credentials or a bearer token".into()
            },
        ),
        AuthKind::Bearer => (
            "the bearer token was refused",
            "check its expiry, issuer, audience or client id, and scopes against the runtime's JWT authorizer; IAM identity policies do not apply to tokens, and a resource policy must allow principal *".into(),
        ),
        AuthKind::SigV4 if context.target == TargetKind::InvocationUrl => (
            "access denied",
            "for a function URL, allow lambda:InvokeFunctionUrl and lambda:InvokeFunction on the function, and check credentials and clock; any other invocation_url needs a bearer token, since a signature is made for the host that the runtime sees".into(),
        ),
        AuthKind::SigV4 if status == StatusCode::FORBIDDEN => {
            let action = context.operation.iam_action();
            let for_user = context.operation.iam_action_for_user().filter(|_| context.user_id);
            let actions = match for_user {
                Some(for_user) => format!("{action} and, for the user id, {for_user}"),
                None => action.to_owned(),
            };
            let resources = match context.arn {
                Some(arn) => format!("both {arn} and {}", arn.endpoint_arn(context.qualifier)),
                None => "both the runtime's ARN and its endpoint's".into(),
            };
            let last = if answer.code.is_none() || answer.code_is(DENIED) {
                "; if it is allowed, check credentials and clock, and policies of the runtime and of a VPC endpoint"
            } else {
                ""
            };
            ("access denied", format!("allow {actions} on {resources}{last}").into())
        }
        AuthKind::SigV4 => (
            "the request was not authenticated",
            "check the credentials; a runtime with a JWT authorizer expects a bearer token".into(),
        ),
    }
}

fn not_found<'a>(context: &Context<'_>) -> (&'static str, Cow<'a, str>) {
    if context.operation == Operation::StopSession {
        return (
            "no such session is running",
            "it has ended already, or belongs to another runtime or endpoint".into(),
        );
    }
    let place = match context.arn {
        Some(arn) => format!(
            "agent {} with qualifier {} in region {}",
            arn.agent_id(),
            context.qualifier.unwrap_or("DEFAULT"),
            arn.region()
        ),
        None => "what this URL leads to".into(),
    };
    (
        "no runtime or endpoint found",
        format!(
            "{place}: check the id for stray characters or whitespace, the region and the account; a new endpoint takes up to some minutes to be known"
        )
        .into(),
    )
}

/// The status of an agent's own server; its words are in the payload.
fn agents_own(status: StatusCode) -> String {
    let advice = match status.as_u16() {
        404 | 405 => "check that local_url leads to the agent, which serves POST /invocations",
        406 => "check accept",
        400..=499 => "check the payload and its content type",
        _ => "its log tells why",
    };
    format!("the local agent answered with status {}; {advice}", status.as_u16())
}

pub(crate) fn request_id(headers: &HeaderMap) -> Option<String> {
    ["x-amzn-requestid", "x-amzn-request-id", "x-amz-request-id"]
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
        .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
        .map(str::to_owned)
}

/// How long the other side asks to wait: `x-amz-retry-after` in milliseconds, which is the more
/// exact, or `Retry-After` in seconds. A date there is left aside, since clocks differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    // Nobody waits longer; and it keeps sums of durations from overflowing.
    const MAX: Duration = Duration::from_secs(24 * 60 * 60);
    let number = |name: &HeaderName| -> Option<u64> {
        let text = text(headers, name)?.trim();
        // `parse` would take a plus sign.
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    let wait = number(&headers::X_AMZ_RETRY_AFTER)
        .map(Duration::from_millis)
        .or_else(|| number(&header::RETRY_AFTER).map(Duration::from_secs))?;
    Some(wait.min(MAX))
}

/// By how many seconds this machine's clock is behind the service's (negative: ahead), if a
/// signature was refused and the answer's `Date` differs by more than four minutes. Signing once
/// more with the clock so corrected is worth a try: the request was refused unseen.
pub(crate) fn clock_skew(
    status: StatusCode,
    service_code: Option<&str>,
    date: Option<&HeaderValue>,
    now: SystemTime,
) -> Option<i64> {
    const TOLERATED: i64 = 4 * 60;
    let code = service_code?;
    let suspect = match status.as_u16() {
        403 => [SIGNATURE, CLOCK, EXPIRED, DENIED].iter().any(|codes| codes.contains(&code)),
        // Where the clock alone is named, the status does not matter.
        400 | 401 => CLOCK.contains(&code),
        _ => false,
    };
    if !suspect {
        return None;
    }
    let theirs = imf_fixdate(date?.as_bytes())?;
    let ours = match now.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).ok()?,
        Err(before) => i64::try_from(before.duration().as_secs()).ok()?.checked_neg()?,
    };
    let offset = theirs.checked_sub(ours)?;
    (offset.unsigned_abs() > TOLERATED.unsigned_abs()).then_some(offset)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` in seconds since 1970. The weekday is not looked at.
fn imf_fixdate(date: &[u8]) -> Option<i64> {
    const MONTHS: [&[u8; 3]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    let date: &[u8; 29] = date.try_into().ok()?;
    let is = |at: usize, byte: u8| date[at] == byte;
    if !(is(3, b',') && is(4, b' ') && is(7, b' ') && is(11, b' ') && is(16, b' '))
        || !(is(19, b':') && is(22, b':'))
        || &date[25..] != b" GMT"
    {
        return None;
    }
    let number = |from: usize, to: usize| {
        date[from..to].iter().try_fold(0_i64, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let month = MONTHS.iter().position(|name| name[..] == date[8..11])?;
    let month = i64::try_from(month).ok()? + 1;
    let (day, year) = (number(5, 7)?, number(12, 16)?);
    let (hour, minute, second) = (number(17, 19)?, number(20, 22)?, number(23, 25)?);
    // 60 is a leap second.
    if !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970 in the Gregorian calendar, with years that begin in March so that the leap
    // day is the last one.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
            - 719_469;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// For the fuzz target: one answer under every kind of target, auth and operation; every header
/// that is read holds the same bytes. Takes plain types so that the fuzz crate needs no others.
#[cfg(feature = "internals")]
pub fn probe(status: u16, header: &[u8], body: &[u8]) -> Vec<Error> {
    let Ok(status) = StatusCode::from_u16(status) else { return Vec::new() };
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(header) {
        for name in [&headers::X_AMZN_ERROR_TYPE, &headers::X_AMZN_REQUEST_ID]
            .into_iter()
            .chain([&headers::X_AMZ_RETRY_AFTER, &header::RETRY_AFTER])
            .chain([&header::WWW_AUTHENTICATE, &header::DATE])
        {
            headers.insert(name, value.clone());
        }
    }
    let mut errors = Vec::new();
    for target in [TargetKind::DataPlane, TargetKind::InvocationUrl, TargetKind::Local] {
        for auth in [AuthKind::SigV4, AuthKind::Bearer, AuthKind::None] {
            for operation in Operation::ALL {
                let context =
                    Context { target, operation, arn: None, qualifier: None, auth, user_id: true };
                errors.push(decode(&context, status, &headers, body));
            }
        }
    }
    let denied = StatusCode::FORBIDDEN;
    let _ = clock_skew(denied, Some("AccessDenied"), headers.get(header::DATE), UNIX_EPOCH);
    errors
}

#[cfg(test)]
mod tests;
