//! From the raw request target to what is meant. The path is cut at `/` before anything is decoded,
//! since the label of a runtime holds `%2F`.

use crate::encoding::percent_decode;
use crate::gateway;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// InvokeAgentRuntime, with the decoded label.
    Invoke(String),
    /// StopRuntimeSession, with the decoded label.
    Stop(String),
    /// The OAuth metadata of a runtime; open to everyone.
    Metadata(String),
    /// `GET /ping`.
    Ping,
    /// `POST /invocations` of the container contract.
    Container,
    /// Below `/_local/`.
    Control(String),
    /// For the gateway in front of a function.
    Gateway(gateway::Route),
    /// Part of the protocol, but not of this version.
    NotServed(&'static str),
    /// Right path, wrong method.
    WrongMethod,
    Unknown,
}

/// Routes by method and raw path.
pub(crate) fn route(method: &str, path: &str) -> Route {
    if let Some(rest) = path.strip_prefix("/_local/") {
        return Route::Control(rest.to_owned());
    }
    match (method, path) {
        ("GET", "/ping") => return Route::Ping,
        ("POST", "/invocations") => return Route::Container,
        ("POST", "/harnesses/invoke") => return Route::NotServed("harnesses"),
        (_, "/ping" | "/invocations" | "/harnesses/invoke") => return Route::WrongMethod,
        _ => {}
    }
    let Some((label, operation)) =
        path.strip_prefix("/runtimes/").and_then(|rest| rest.split_once('/'))
    else {
        return Route::Unknown;
    };
    let Ok(label) = String::from_utf8(percent_decode(label)) else { return Route::Unknown };
    if label.is_empty() {
        return Route::Unknown;
    }
    match (method, operation) {
        ("POST", "invocations") => Route::Invoke(label),
        ("POST", "stopruntimesession") => Route::Stop(label),
        ("GET", "invocations/.well-known/oauth-protected-resource") => Route::Metadata(label),
        ("POST", "commands") => Route::NotServed("commands"),
        ("GET", "invocations/.well-known/agent-card.json") => Route::NotServed("agent cards"),
        ("GET", "ws") => Route::NotServed("WebSocket connections"),
        ("GET", "ws/shells") => Route::NotServed("command shells"),
        (_, "invocations" | "stopruntimesession" | "commands" | "ws" | "ws/shells") => {
            Route::WrongMethod
        }
        _ => Route::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_one_segment() {
        let arn =
            "arn%3Aaws%3Abedrock-agentcore%3Aus-east-1%3A123456789012%3Aruntime%2Fa-0123456789";
        let decoded = "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/a-0123456789";
        let at = |method: &str, rest: &str| route(method, &format!("/runtimes/{arn}/{rest}"));
        assert_eq!(at("POST", "invocations"), Route::Invoke(decoded.into()));
        assert_eq!(at("POST", "stopruntimesession"), Route::Stop(decoded.into()));
        assert_eq!(at("GET", "invocations"), Route::WrongMethod);
        assert_eq!(at("GET", "ws/shells"), Route::NotServed("command shells"));
        assert_eq!(at("POST", "invocations/"), Route::Unknown);
        // A decoded slash is another path.
        let broken = format!("/runtimes/{}/invocations", arn.replace("%2F", "/"));
        assert_eq!(route("POST", &broken), Route::Unknown);
        assert_eq!(route("POST", "/runtimes//invocations"), Route::Unknown);
        assert_eq!(route("DELETE", "/_local/journal"), Route::Control("journal".into()));
    }
}
