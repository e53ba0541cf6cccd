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

fn request_id(headers: &HeaderMap) -> Option<String> {
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const ARN: &str =
        "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-AbCdEf1234";

    struct Case {
        target: TargetKind,
        operation: Operation,
        qualifier: Option<&'static str>,
        auth: AuthKind,
        user_id: bool,
        status: u16,
        headers: Vec<(&'static str, &'static str)>,
        body: String,
    }

    fn case(status: u16, code: &'static str, body: Value) -> Case {
        Case {
            target: TargetKind::DataPlane,
            operation: Operation::Invoke,
            qualifier: None,
            auth: AuthKind::SigV4,
            user_id: false,
            status,
            headers: if code.is_empty() { vec![] } else { vec![("x-amzn-ErrorType", code)] },
            body: if body.is_null() { String::new() } else { body.to_string() },
        }
    }

    impl Case {
        fn decode(&self) -> Error {
            let arn = RuntimeArn::parse(ARN).unwrap();
            let context = Context {
                target: self.target,
                operation: self.operation,
                arn: Some(&arn),
                qualifier: self.qualifier,
                auth: self.auth,
                user_id: self.user_id,
            };
            let status = StatusCode::from_u16(self.status).unwrap();
            decode(&context, status, &map(&self.headers), self.body.as_bytes())
        }
    }

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &'static str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_table_of_the_data_plane() {
        use Delivery::{Accepted, Rejected, Unknown};
        use ErrorKind::{Agent, Protocol, Service};
        for (status, code, kind, delivery) in [
            (400, "ValidationException", Service, Rejected),
            (401, "UnauthorizedException", Service, Rejected),
            (402, "ServiceQuotaExceededException", Service, Rejected),
            (403, "AccessDeniedException", Service, Rejected),
            (403, "RuntimeClientError", Agent, Accepted),
            (404, "ResourceNotFoundException", Service, Rejected),
            (405, "", Service, Rejected),
            (408, "", Service, Unknown),
            (409, "ConflictException", Service, Rejected),
            (409, "RetryableConflictException", Service, Rejected),
            (413, "", Service, Rejected),
            (424, "RuntimeClientError", Agent, Accepted),
            (424, "", Agent, Accepted),
            (429, "ThrottlingException", Service, Rejected),
            (429, "", Service, Rejected),
            (500, "InternalServerException", Service, Unknown),
            (502, "", Service, Unknown),
            (503, "", Service, Unknown),
            (504, "", Service, Unknown),
            (504, "RuntimeClientError", Agent, Accepted),
            (599, "", Service, Unknown),
            (101, "", Protocol, Unknown),
            (204, "", Protocol, Accepted),
            (301, "", Protocol, Unknown),
            (307, "", Protocol, Unknown),
            (700, "", Protocol, Unknown),
        ] {
            let error = case(status, code, json!({"message": "m"})).decode();
            assert_eq!((error.kind(), error.delivery()), (kind, delivery), "{status} {code}");
            assert_eq!(error.status(), Some(status));
            assert_eq!(error.service_code(), (!code.is_empty()).then_some(code));
        }
    }

    #[test]
    fn code_and_message_are_found_wherever_they_stand() {
        for (header, body, code, message) in [
            ("A", r#"{"code":"B","__type":"C","message":"m"}"#, Some("A"), Some("m")),
            ("A:http://x/", "", Some("A"), None),
            ("ns.a#A", "{}", Some("A"), None),
            ("ns.a#A:http://x/#y", "null", Some("A"), None),
            ("", r#"{"code":"B","__type":"C","Message":"m"}"#, Some("B"), Some("m")),
            ("", r#"{"code":-32051,"__type":"x#C","errorMessage":"m"}"#, Some("C"), Some("m")),
            ("", r#"{"error":{"code":-32051,"message":"m"},"id":1}"#, None, Some("m")),
            ("", r#"{"error":"text"}"#, None, None),
            ("", "<html>message</html>", None, None),
            ("", "[1", None, None),
            ("bad code", r#"{"code":""}"#, None, None),
        ] {
            let mut headers = HeaderMap::new();
            if !header.is_empty() {
                headers.insert("x-amzn-errortype", HeaderValue::from_static(header));
            }
            let answer = Answer::read(&headers, body.as_bytes());
            assert_eq!(
                (answer.code.as_deref(), answer.message.as_deref()),
                (code, message),
                "{body}"
            );
        }
        let headers = map(&[("x-amzn-errormessage", "m")]);
        assert_eq!(Answer::read(&headers, b"").message.as_deref(), Some("m"));
        let long = vec![b' '; MAX_BODY + 1];
        assert_eq!(Answer::read(&HeaderMap::new(), &long).message, None);
    }

    #[test]
    fn validation_errors_tell_reason_and_fields() {
        let fields: Vec<_> =
            (0..9).map(|i| json!({"name": format!("f{i}"), "message": "bad"})).collect();
        let error = case(
            400,
            "ValidationException",
            json!({"message": "Invalid.", "reason": "FieldValidationFailed", "fieldList": fields}),
        )
        .decode();
        assert_eq!(
            error.message(),
            "the request was refused as invalid: Invalid (reason FieldValidationFailed; f0: bad; f1: bad; f2: bad; f3: bad; f4: bad)"
        );
    }

    #[test]
    fn access_denied_names_the_action_and_both_resources() {
        let mut case =
            case(403, "AccessDeniedException", json!({"message": "User is not authorized"}));
        let message = case.decode().message().to_owned();
        assert!(message.contains("User is not authorized"));
        assert!(
            message.contains("allow bedrock-agentcore:InvokeAgentRuntime on both"),
            "{message}"
        );
        assert!(
            message.contains(&format!("{ARN} and {ARN}/runtime-endpoint/DEFAULT")),
            "{message}"
        );
        case.user_id = true;
        case.qualifier = Some("prod");
        let message = case.decode().message().to_owned();
        assert!(message.contains("bedrock-agentcore:InvokeAgentRuntimeForUser on"), "{message}");
        assert!(message.contains("runtime-endpoint/prod"), "{message}");
        case.operation = Operation::StopSession;
        let message = case.decode().message().to_owned();
        assert!(message.contains("allow bedrock-agentcore:StopRuntimeSession on"), "{message}");
        case.auth = AuthKind::Bearer;
        let message = case.decode().message().to_owned();
        assert!(message.contains("audience") && !message.contains("allow bedrock"), "{message}");
    }

    #[test]
    fn the_wrong_auth_is_named() {
        let mismatch =
            json!({"message": "Authorization method mismatch. The agent is configured…"});
        let mut case = case(403, "AccessDeniedException", mismatch);
        assert!(case.decode().message().starts_with("the runtime expects a JWT bearer token"));
        case.auth = AuthKind::Bearer;
        assert!(case.decode().message().starts_with("the runtime expects a SigV4 signature"));

        let mut case = self::case(401, "", Value::Null);
        case.headers = vec![("www-authenticate", "Bearer resource_metadata=\"https://x/\"")];
        assert!(case.decode().message().starts_with("the runtime expects a JWT bearer token"));
        case.auth = AuthKind::Bearer;
        assert!(case.decode().message().starts_with("the bearer token was refused"));
        case.auth = AuthKind::None;
        assert!(case.decode().message().contains("no credentials"));
    }

    #[test]
    fn messages_say_what_to_do() {
        for (status, code, body, wanted) in [
            (402, "ServiceQuotaExceededException", "x", "quota"),
            (404, "ResourceNotFoundException", "No endpoint or agent found", "whitespace"),
            (404, "ResourceNotFoundException", "x", "qualifier DEFAULT in region us-west-2"),
            (409, "RetryableConflictException", "x", "same session"),
            (409, "ConflictException", "x", "another one"),
            (429, "ThrottlingException", "Rate exceeded", "slow down"),
            (500, "InternalServerException", "An internal error", "may have run"),
            (302, "", "x", "not followed"),
            (403, "ExpiredTokenException", "x", "expired"),
            (403, "UnrecognizedClientException", "x", "access key"),
            (424, "RuntimeClientError", "Received error (400) from runtime. Check", "payload"),
            (424, "RuntimeClientError", "Received error (500) from runtime.", "the agent failed"),
            (424, "RuntimeClientError", "Runtime initialization time exceeded. Please", "in time"),
            (424, "RuntimeClientError", "Received error (x) from runtime", "the agent failed"),
        ] {
            let error = case(status, code, json!({"message": body})).decode();
            assert!(error.message().contains(wanted), "{status}: {error}");
        }
        let mut stop = case(404, "ResourceNotFoundException", Value::Null);
        stop.operation = Operation::StopSession;
        assert!(stop.decode().message().contains("no such session"));
        let mut stop = case(500, "InternalServerException", Value::Null);
        stop.operation = Operation::StopSession;
        assert!(stop.decode().message().contains("safe to repeat"));
    }

    #[test]
    fn nothing_that_was_signed_or_sent_shows() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln";
        for (code, message) in [
            (
                "InvalidSignatureException",
                "The Canonical String was x-amz-security-token:SECRET".into(),
            ),
            ("IncompleteSignature", "SECRET not a valid key=value pair".into()),
            ("AccessDeniedException", "no. The Canonical String for this was SECRET".into()),
            ("AccessDeniedException", format!("token '{token}',{token} bad {token}")),
        ] {
            let error = case(403, code, json!({ "message": message })).decode();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("SECRET") && !shown.contains("c2ln"), "{shown}");
        }
        assert_eq!(one_line(&format!("a '{token}',{token} b")), "a '[token]',[token] b");
        assert_eq!(one_line("eyJ is short"), "eyJ is short");
    }

    #[test]
    fn messages_are_one_clean_bounded_line() {
        assert_eq!(one_line(" a\r\n\tb\0c \u{1b}[31mred \u{202e}x"), "a b c [31mred x");
        let long = one_line(&"ü".repeat(10_000));
        assert_eq!(long.chars().count(), MAX_MESSAGE + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn a_local_agents_words_are_kept_apart() {
        let mut case = case(500, "", json!({"error": "user data"}));
        case.target = TargetKind::Local;
        case.auth = AuthKind::None;
        for (status, wanted) in
            [(500, "log"), (422, "payload"), (404, "/invocations"), (429, "429")]
        {
            case.status = status;
            let error = case.decode();
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::Agent, Delivery::Accepted));
            assert_eq!(error.agent_payload(), Some(r#"{"error":"user data"}"#));
            assert!(error.message().contains(wanted) && !error.message().contains("user data"));
        }
        case.status = 302;
        assert_eq!(case.decode().kind(), ErrorKind::Protocol);
        case.status = 500;
        case.body = "ü".repeat(MAX_AGENT_PAYLOAD);
        assert!(case.decode().agent_payload().unwrap().len() <= MAX_AGENT_PAYLOAD + 3);
    }

    #[test]
    fn behind_an_invocation_url_only_the_services_header_counts() {
        use Delivery::{Accepted, Rejected, Unknown};
        for (status, code, delivery) in [
            (403, "AccessDeniedException", Rejected),
            (429, "ThrottlingException", Rejected),
            (424, "RuntimeClientError", Accepted),
            (500, "InternalServerException", Unknown),
            (403, "", Unknown),
            (424, "", Unknown),
            (429, "", Unknown),
            (503, "", Unknown),
        ] {
            let mut case = case(status, code, json!({"message": "words"}));
            case.target = TargetKind::InvocationUrl;
            case.auth = AuthKind::Bearer;
            let error = case.decode();
            assert_eq!(error.delivery(), delivery, "{status} {code}");
            assert_eq!(error.agent_payload().is_some(), code.is_empty());
            assert_eq!(error.message().contains("words"), !code.is_empty(), "{error}");
        }
    }

    #[test]
    fn request_id_and_pause_are_read() {
        let mut case = case(429, "ThrottlingException", Value::Null);
        case.headers.push(("x-amzn-RequestId", "r-1"));
        assert_eq!(case.decode().request_id(), Some("r-1"));
        for (name, value, expected) in [
            ("retry-after", "3", Some(Duration::from_secs(3))),
            ("retry-after", "0", Some(Duration::ZERO)),
            ("x-amz-retry-after", "1500", Some(Duration::from_millis(1500))),
            ("retry-after", "999999999999", Some(Duration::from_secs(86_400))),
            ("retry-after", "99999999999999999999999", None),
            ("retry-after", "-1", None),
            ("retry-after", "+1", None),
            ("retry-after", "", None),
            ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(retry_after(&map(&[(name, value)])), expected, "{name}: {value}");
        }
        let both = map(&[("retry-after", "9"), ("x-amz-retry-after", "10")]);
        assert_eq!(retry_after(&both), Some(Duration::from_millis(10)));
    }

    #[test]
    fn dates_are_read() {
        for (date, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Tue, 29 Feb 2000 23:59:59 GMT", Some(951_868_799)),
            ("Wed, 01 Mar 2000 00:00:00 GMT", Some(951_868_800)),
            ("Thu, 15 Jan 2026 12:34:56 GMT", Some(1_768_480_496)),
            ("Fri, 01 Mar 2100 00:00:00 GMT", Some(4_107_542_400)),
            ("Wed, 31 Dec 1969 23:59:59 GMT", Some(-1)),
            ("Sun, 06 Nov 1994 08:49:37 UTC", None),
            ("Sun, 06 nov 1994 08:49:37 GMT", None),
            ("Sun, 00 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 24:49:37 GMT", None),
            ("Sun, 6 Nov 1994 08:49:37 GMT", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("", None),
        ] {
            assert_eq!(imf_fixdate(date.as_bytes()), expected, "{date}");
        }
    }

    #[test]
    fn a_refused_signature_with_another_date_is_a_skewed_clock() {
        let date = HeaderValue::from_static("Thu, 15 Jan 2026 12:34:56 GMT");
        let server = UNIX_EPOCH + Duration::from_secs(1_768_480_496);
        let skew = |status: u16, code: Option<&str>, now| {
            clock_skew(StatusCode::from_u16(status).unwrap(), code, Some(&date), now)
        };
        let behind = server - Duration::from_secs(600);
        let ahead = server + Duration::from_secs(600);
        for code in ["InvalidSignatureException", "SignatureDoesNotMatch", "AccessDeniedException"]
        {
            assert_eq!(skew(403, Some(code), behind), Some(600));
            assert_eq!(skew(403, Some(code), ahead), Some(-600));
            assert_eq!(skew(403, Some(code), server + Duration::from_secs(240)), None);
            assert_eq!(skew(403, Some(code), server + Duration::from_secs(241)), Some(-241));
            assert_eq!(skew(429, Some(code), behind), None);
        }
        assert_eq!(skew(400, Some("RequestExpired"), behind), Some(600));
        assert_eq!(skew(400, Some("ValidationException"), behind), None);
        assert_eq!(skew(403, None, behind), None);
        assert_eq!(
            skew(403, Some("RequestExpired"), UNIX_EPOCH - Duration::from_secs(1)),
            Some(1_768_480_497)
        );
        assert_eq!(clock_skew(StatusCode::FORBIDDEN, Some("AccessDenied"), None, behind), None);
    }

    proptest! {
        #[test]
        fn no_answer_panics_and_every_message_is_one_line(
            status in 100_u16..1000,
            header in proptest::collection::vec(any::<u8>(), 0..30),
            body in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                ".{0,40}".prop_map(|text| json!({"message": text, "__type": text, "reason": text, "fieldList": [{"name": text}]}).to_string().into_bytes()),
            ],
            target in prop::sample::select(vec![TargetKind::DataPlane, TargetKind::InvocationUrl, TargetKind::Local]),
            auth in prop::sample::select(vec![AuthKind::SigV4, AuthKind::Bearer, AuthKind::None]),
        ) {
            let context = Context { target, operation: Operation::Invoke, arn: None, qualifier: None, auth, user_id: true };
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&header) {
                for name in ["x-amzn-errortype", "retry-after", "x-amz-retry-after", "x-amzn-requestid", "www-authenticate", "date"] {
                    headers.insert(name, value.clone());
                }
            }
            let error = decode(&context, StatusCode::from_u16(status).unwrap(), &headers, &body);
            let shown = error.to_string();
            prop_assert!(shown.chars().all(|c| !is_unprintable(c)), "{shown:?}");
            prop_assert!(shown.chars().count() < 3000);
            let _ = clock_skew(StatusCode::FORBIDDEN, Some("AccessDenied"), headers.get("date"), UNIX_EPOCH);
        }

        #[test]
        fn no_date_panics(date in "[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT") {
            let _ = imf_fixdate(date.as_bytes());
        }
    }
}
