//! An ARN from outside: no input panics, and what parses shows itself again.
#![no_main]

use agentcore_client::RuntimeArn;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(arn) = RuntimeArn::parse(text) else { return };
    assert!(text.starts_with(arn.as_str()));
    match arn.qualifier() {
        None => assert_eq!(text, arn.as_str()),
        Some(name) => assert_eq!(text, format!("{arn}/runtime-endpoint/{name}")),
    }
    let again = RuntimeArn::from_agent_id(arn.agent_id(), arn.account_id(), arn.region()).unwrap();
    assert_eq!(again.as_str(), arn.as_str());
    assert!(
        arn.region().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    );
});
