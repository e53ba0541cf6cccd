//! Bearer tokens: what can be checked about one without its issuer, so that an
//! empty, broken or expired token fails here, by name, and not as a riddle.

use std::error::Error as StdError;
use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use http::HeaderValue;

use crate::error::{Delivery, Error, ErrorKind, Result};

/// Gives a bearer token whenever one is needed.
pub trait ProvideToken: fmt::Debug + Send + Sync {
    /// A token, fresh enough to be used at once.
    fn provide_token(&self) -> BoxFuture<'_, Result<String, Box<dyn StdError + Send + Sync>>>;
}

/// A token that is safe in a header and not expired.
#[derive(Clone)]
pub(super) struct Token {
    header: HeaderValue,
    expires: Option<SystemTime>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

impl Token {
    pub(super) fn parse(token: &str, now: SystemTime) -> Result<Self> {
        let refused = |shape: String| {
            Err(Error::invalid(
                "bearer_token",
                shape,
                "must be the token alone, without \"Bearer\", in visible ASCII without spaces",
            ))
        };
        if token.is_empty() {
            return refused("empty".into());
        }
        if token.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer ")) {
            return refused("starts with \"Bearer \"".into());
        }
        if let Some(at) = token.bytes().position(|byte| !byte.is_ascii_graphic()) {
            return refused(format!("character {} is a space, a control or not ASCII", at + 1));
        }
        // JavaScript's and Python's words for a variable that was never set.
        if matches!(token, "undefined" | "null" | "None") {
            return refused("the word for a missing value".into());
        }
        let mut header = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
            Error::invalid("bearer_token", "not a header value", "must be visible ASCII")
        })?;
        header.set_sensitive(true);
        let token = Self { header, expires: expiry(token) };
        token.check(now)?;
        Ok(token)
    }

    pub(super) fn check(&self, now: SystemTime) -> Result<()> {
        match self.expires.map(|expires| now.duration_since(expires)) {
            Some(Ok(ago)) => Err(Error::invalid(
                "bearer_token",
                format!("a JWT that expired {} s ago", ago.as_secs()),
                "must be valid; use a token provider for tokens that expire",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn header(&self) -> &HeaderValue {
        &self.header
    }
}

pub(super) fn unavailable(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Credentials, Delivery::NotSent, message)
}

/// A provider gave a token that is none. The field tells a web backend that the token is to blame,
/// which is its own caller's where it forwards one, and not the provider.
pub(super) fn refused_of_provider(refused: Error) -> Error {
    unavailable(format!("the bearer token provider: {}", refused.message()))
        .with_field("bearer_token")
}

/// The `exp` claim of a JWT; `None` for anything that is not one.
fn expiry(token: &str) -> Option<SystemTime> {
    #[derive(serde::Deserialize)]
    struct Claims {
        exp: Option<f64>,
    }
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let exp = serde_json::from_slice::<Claims>(&claims).ok()?.exp?;
    // A NumericDate may have a fraction; one that no clock can show counts as none.
    let exp = Duration::try_from_secs_f64(exp.max(0.0)).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(exp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn broken_tokens_are_refused_without_being_shown() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for bad in ["", "undefined", "a b", "a\n", "ü", "Bearer abc", "bearer abc"] {
            let error = Token::parse(bad, now).unwrap_err();
            assert_eq!(error.field(), Some("bearer_token"), "{bad:?}");
            assert!(bad.len() < 3 || bad == "undefined" || !error.to_string().contains("abc"));
        }
        let expired = jwt(r#"{"exp":999999}"#);
        let error = Token::parse(&expired, now).unwrap_err();
        assert!(error.to_string().contains("expired 1 s ago"), "{error}");
        assert!(!error.to_string().contains(&expired));
    }

    #[test]
    fn good_tokens_pass_and_stay_hidden() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for good in [
            "opaque-token".to_owned(),
            jwt(r#"{"exp":1000001}"#),
            jwt(r#"{"exp":1000000.5}"#),
            jwt(r#"{"sub":"x"}"#),
            jwt("not json"),
            jwt(r#"{"exp":1e300}"#),
        ] {
            let token = Token::parse(&good, now).unwrap();
            assert!(!format!("{token:?} {:?}", token.header()).contains(&good));
        }
    }

    #[test]
    fn a_token_that_expires_later_fails_later() {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let token = Token::parse(&jwt(r#"{"exp":1000010}"#), then).unwrap();
        assert!(token.check(then + Duration::from_secs(9)).is_ok());
        assert!(token.check(then + Duration::from_secs(10)).is_err());
    }
}
