//! Each second-stage event once, whichever process it comes to: its number is put
//! into a DynamoDB table that must not have it yet.

use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::json;

use super::aws::{Address, Aws, Call, back_off, is_past};
use super::hooks::Refusal;
use crate::error::{Error, Result};
use crate::protocol::endpoint::ServiceEndpoint;
use crate::protocol::shape;

/// How long the table's own clean-up leaves a number; Lambda delivers none that is so old.
const KEPT: Duration = Duration::from_secs(86_400);
const TRIES: u32 = 4;

/// A table whose key is `nonce`, a text, and whose time to live is in `expires`.
pub(super) struct Claims {
    table: String,
    region: String,
    address: Address,
}

impl Claims {
    pub(super) fn new(table: &str, region: &str, endpoint: &ServiceEndpoint) -> Result<Self> {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if !(3..=255).contains(&table.len()) || !table.bytes().all(is_name) {
            let rule = "needs the name of a DynamoDB table";
            return Err(Error::invalid("claims_table", shape::of(table), rule));
        }
        let address = Address::new(endpoint, "/")?;
        Ok(Self { table: table.to_owned(), region: region.to_owned(), address })
    }

    /// Whether this call is the one that put the number there.
    pub(super) async fn claim(
        &self,
        aws: &Aws,
        nonce: &str,
        end: Option<Instant>,
    ) -> Result<bool, Refusal> {
        let mut claimant = [0; 16];
        getrandom::fill(&mut claimant).map_err(|_| Refusal::failed())?;
        let claimant = URL_SAFE_NO_PAD.encode(claimant);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let put = json!({
            "TableName": self.table,
            "Item": {
                "nonce": { "S": nonce },
                "claimant": { "S": claimant },
                "expires": { "N": (now + KEPT).as_secs().to_string() },
            },
            // After a try whose answer was lost, the next one finds its own.
            "ConditionExpression": "attribute_not_exists(nonce) OR claimant = :claimant",
            "ExpressionAttributeValues": { ":claimant": { "S": claimant } },
        });
        let call = Call {
            service: "dynamodb",
            region: &self.region,
            address: &self.address,
            method: Method::POST,
            headers: &[
                ("content-type", "application/x-amz-json-1.0"),
                ("x-amz-target", "DynamoDB_20120810.PutItem"),
            ],
            body: put.to_string().into(),
        };
        let mut failures = 0;
        loop {
            let (why, may_pass) = match aws.call(&call, end).await {
                Ok((status, _)) if status.is_success() => return Ok(true),
                Ok((_, Some(code))) if code == "ConditionalCheckFailedException" => {
                    return Ok(false);
                }
                Ok((status, code)) => {
                    let code = code.unwrap_or_default();
                    let throttled =
                        ["ThrottlingException", "ProvisionedThroughputExceededException"];
                    let may_pass = status.is_server_error() || throttled.contains(&code.as_str());
                    let advice = match code.as_str() {
                        "AccessDeniedException" => {
                            "; allow the function's role dynamodb:PutItem on it"
                        }
                        _ => "",
                    };
                    (format!("the claims table answered {status} {code}{advice}"), may_pass)
                }
                Err(unanswered) => {
                    (format!("the claims table: {}", unanswered.why), unanswered.may_pass)
                }
            };
            failures += 1;
            if !may_pass || failures >= TRIES || is_past(end) {
                tracing::error!(target: "agentcore_client", "{why}");
                return Err(Refusal::failed());
            }
            back_off(failures, end).await;
        }
    }
}
