//! Errors as the service writes them: status, `x-amzn-ErrorType`, and a JSON body with `message`.

use crate::headers::Headers;
use serde_json::{Value, json};

/// One service-shaped error answer.
#[derive(Clone, Debug)]
pub(crate) struct ServiceError {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) body: Value,
    pub(crate) headers: Headers,
}

impl ServiceError {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            body: json!({ "message": message.into() }),
            headers: Headers::new(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(name, value);
        self
    }

    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        self.body.get("message").and_then(Value::as_str).unwrap_or_default()
    }

    /// A member of the request breaks its constraint.
    pub(crate) fn validation(member: &str, constraint: &str) -> Self {
        let detail =
            format!("Value at '{member}' failed to satisfy constraint: Member must {constraint}");
        let mut error =
            Self::new(400, "ValidationException", format!("1 validation error detected: {detail}"));
        error.body["reason"] = json!("FieldValidationFailed");
        error.body["fieldList"] = json!([{ "name": member, "message": detail }]);
        error
    }

    /// The request could not be read at all.
    pub(crate) fn cannot_parse(message: &str) -> Self {
        let mut error = Self::new(400, "ValidationException", message);
        error.body["reason"] = json!("CannotParse");
        error.body["fieldList"] = json!([]);
        error
    }

    pub(crate) fn no_endpoint(qualifier: &str, agent: &str) -> Self {
        Self::new(
            404,
            "ResourceNotFoundException",
            format!("No endpoint or agent found with qualifier '{qualifier}' for agent '{agent}'"),
        )
    }

    pub(crate) fn session_busy() -> Self {
        Self::new(409, "RetryableConflictException", "Session operation in progress, please retry")
    }

    /// What a caller sees of an agent that failed: only its status, never its body.
    pub(crate) fn runtime_client(status: u16) -> Self {
        Self::new(
            424,
            "RuntimeClientError",
            format!(
                "Received error ({status}) from runtime. Please check your CloudWatch logs for \
                 more information"
            ),
        )
    }

    pub(crate) fn forbidden(message: &str) -> Self {
        Self::new(403, "AccessDeniedException", message)
    }

    pub(crate) fn method_mismatch() -> Self {
        Self::forbidden(
            "Authorization method mismatch. The agent is configured for a different authorization \
             method than what was used in your request. Check the agent's authorization \
             configuration and ensure your request uses the matching method (OAuth or SigV4)",
        )
    }

    pub(crate) fn not_served(what: &str) -> Self {
        Self::new(
            501,
            "NotImplementedException",
            format!("This version of the local data plane does not serve {what}"),
        )
    }
}
