//! The ARN of an agent runtime. Region, partition, host and path of every call
//! follow from it, so it is checked once, strictly, before anything is built.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, Result};
use crate::protocol::{region, shape};

const FIELD: &str = "runtime_arn";
const RULE: &str = "needs arn:{partition}:bedrock-agentcore:{region}:{account}:runtime/{id}, optionally with /runtime-endpoint/{name}";
const ENDPOINT_NAME_RULE: &str =
    "an endpoint name is a letter and up to 47 letters, digits or underscores, such as DEFAULT";
const AGENT_ID_RULE: &str = "an agent id is a letter and up to 127 letters, digits, underscores or hyphens, such as my_agent-AbCdEf1234";

/// What RFC 3986 calls unreserved stays as it is; all else becomes `%XX`.
const LABEL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The ARN of an agent runtime, checked and ready for use. Cheap to clone.
///
/// An endpoint's ARN (`…/runtime-endpoint/{name}`) is split: [`as_str`](Self::as_str) shows the
/// runtime's ARN, [`qualifier`](Self::qualifier) the endpoint's name.
///
/// ```
/// # use agentcore_client::RuntimeArn;
/// let arn: RuntimeArn =
///     "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-AbCdEf1234".parse()?;
/// assert_eq!(arn.region(), "us-west-2");
/// # Ok::<(), agentcore_client::Error>(())
/// ```
#[derive(Clone)]
pub struct RuntimeArn(Arc<Inner>);

struct Inner {
    /// The runtime's ARN, without the endpoint.
    arn: String,
    /// `arn`, percent-encoded as one path segment.
    label: String,
    partition: &'static region::Partition,
    region: String,
    account_id: String,
    agent_id: String,
    qualifier: Option<String>,
}

impl RuntimeArn {
    /// Reads an ARN. Whitespace is refused, not trimmed: an ARN that differs from what was
    /// configured is worse than an error.
    pub fn parse(arn: &str) -> Result<Self> {
        let parts: Vec<&str> = arn.splitn(7, ':').collect();
        let [scheme, partition_id, service, region, account_id, resource] = parts[..] else {
            return Err(not_an_arn(arn));
        };
        if scheme != "arn" || arn.contains(char::is_whitespace) {
            return Err(not_an_arn(arn));
        }
        let Some(partition) = region::partition_by_id(partition_id) else {
            return Err(refused("an ARN of an unknown partition"));
        };
        if service != "bedrock-agentcore" {
            return Err(refused("an ARN of another service"));
        }
        let actual = region::partition_of(FIELD, region)?;
        if actual != partition {
            return Err(Error::invalid(
                FIELD,
                format_args!("an ARN of partition {} with a region of {}", partition.id, actual.id),
                "partition and region must belong together",
            ));
        }
        check_account_id(FIELD, account_id)?;

        let Some(rest) = resource.strip_prefix("runtime/") else {
            return Err(refused(if resource.starts_with("harness/") {
                "the ARN of a harness, which is called in another way"
            } else {
                "the ARN of another kind of resource"
            }));
        };
        let (agent_id, qualifier) = match rest.split_once('/') {
            None => (rest, None),
            Some((id, tail)) => match tail.strip_prefix("runtime-endpoint/") {
                Some(name) if is_endpoint_name(name) => (id, Some(name)),
                Some(name) => {
                    return Err(Error::invalid(
                        FIELD,
                        format_args!("an ARN with an endpoint name of {}", shape::of(name)),
                        ENDPOINT_NAME_RULE,
                    ));
                }
                None => return Err(refused("the ARN of something inside a runtime")),
            },
        };
        if !is_agent_id(agent_id) {
            return Err(Error::invalid(
                FIELD,
                format_args!("an ARN with an agent id of {}", shape::of(agent_id)),
                AGENT_ID_RULE,
            ));
        }
        Ok(Self::from_checked(partition, region, account_id, agent_id, qualifier))
    }

    /// An agent id, an account id and a region serve in place of an ARN; the partition follows
    /// from the region.
    pub fn from_agent_id(agent_id: &str, account_id: &str, region: &str) -> Result<Self> {
        if !is_agent_id(agent_id) {
            return Err(Error::invalid("agent_id", shape::of(agent_id), AGENT_ID_RULE));
        }
        check_account_id("account_id", account_id)?;
        let partition = region::partition_of("region", region)?;
        Ok(Self::from_checked(partition, region, account_id, agent_id, None))
    }

    fn from_checked(
        partition: &'static region::Partition,
        region: &str,
        account_id: &str,
        agent_id: &str,
        qualifier: Option<&str>,
    ) -> Self {
        let arn = format!(
            "arn:{}:bedrock-agentcore:{region}:{account_id}:runtime/{agent_id}",
            partition.id
        );
        let label = percent_encode(&arn);
        Self(Arc::new(Inner {
            arn,
            label,
            partition,
            region: region.to_owned(),
            account_id: account_id.to_owned(),
            agent_id: agent_id.to_owned(),
            qualifier: qualifier.map(str::to_owned),
        }))
    }

    /// The runtime's ARN, without an endpoint.
    pub fn as_str(&self) -> &str {
        &self.0.arn
    }

    /// The partition, such as `aws`.
    pub fn partition(&self) -> &str {
        self.0.partition.id
    }

    /// The region, such as `us-west-2`.
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// The account, 12 digits.
    pub fn account_id(&self) -> &str {
        &self.0.account_id
    }

    /// The agent runtime's id, such as `my_agent-AbCdEf1234`.
    pub fn agent_id(&self) -> &str {
        &self.0.agent_id
    }

    /// The endpoint's name, if the ARN was an endpoint's.
    pub fn qualifier(&self) -> Option<&str> {
        self.0.qualifier.as_deref()
    }

    /// The qualifier to send, from the ARN and an option beside it. They may not contradict.
    pub(crate) fn effective_qualifier<'a>(
        &'a self,
        option: Option<&'a str>,
    ) -> Result<Option<&'a str>> {
        if let Some(option) = option {
            validate_qualifier(option)?;
        }
        match (self.qualifier(), option) {
            (Some(of_arn), Some(option)) if of_arn != option => Err(Error::invalid(
                "qualifier",
                "another one than in the endpoint ARN",
                "give the runtime's ARN, or leave the qualifier out",
            )),
            (of_arn, option) => Ok(option.or(of_arn)),
        }
    }

    /// The ARN of an endpoint of this runtime, as policies name it.
    pub(crate) fn endpoint_arn(&self, qualifier: Option<&str>) -> String {
        format!("{}/runtime-endpoint/{}", self.0.arn, qualifier.unwrap_or("DEFAULT"))
    }

    /// The ARN as one path segment, percent-encoded.
    pub(crate) fn label(&self) -> &str {
        &self.0.label
    }

    pub(crate) fn partition_data(&self) -> &'static region::Partition {
        self.0.partition
    }
}

/// Encodes a path segment or a query value as the service's signers do: unreserved characters
/// stay, every other byte becomes `%XX` in upper case.
pub(crate) fn percent_encode(value: &str) -> String {
    utf8_percent_encode(value, LABEL).to_string()
}

/// Checks an endpoint's name.
pub(crate) fn validate_qualifier(qualifier: &str) -> Result<()> {
    if is_endpoint_name(qualifier) {
        return Ok(());
    }
    Err(Error::invalid("qualifier", shape::of(qualifier), ENDPOINT_NAME_RULE))
}

fn is_endpoint_name(name: &str) -> bool {
    name.len() <= 48
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Lenient on purpose: the documented pattern (`{name}-{10 characters}`) is not what all samples
/// and tests use, and the service knows better than we which ids exist.
fn is_agent_id(id: &str) -> bool {
    id.len() <= 128
        && id.starts_with(|c: char| c.is_ascii_alphabetic())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn check_account_id(field: &'static str, id: &str) -> Result<()> {
    if id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        format_args!("an account id of {}", shape::of(id)),
        "an account id has 12 digits (keep it a string: as a number it loses its leading zeros)",
    ))
}

fn refused(shape: &str) -> Error {
    Error::invalid(FIELD, shape, RULE)
}

/// The frequent slips get a message of their own.
fn not_an_arn(value: &str) -> Error {
    if value.contains(char::is_whitespace) {
        Error::invalid(
            FIELD,
            shape::of(value),
            "needs an ARN without whitespace, which is never trimmed (look for a line break from a file or an environment variable)",
        )
    } else if value.starts_with("arn%3A") || value.starts_with("arn%3a") {
        Error::invalid(
            FIELD,
            "a percent-encoded ARN",
            "give the plain one; it is encoded when it is sent",
        )
    } else if value.starts_with("arn:") {
        Error::invalid(
            FIELD,
            format_args!("an ARN with {} colons", value.matches(':').count()),
            RULE,
        )
    } else if is_agent_id(value) {
        Error::invalid(
            FIELD,
            format_args!("{}, no ARN", shape::of(value)),
            "needs a whole ARN; an agent id serves with an account id and a region beside it",
        )
    } else {
        Error::invalid(FIELD, format_args!("{}, no ARN", shape::of(value)), RULE)
    }
}

impl fmt::Debug for RuntimeArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("RuntimeArn");
        tuple.field(&self.0.arn);
        if let Some(qualifier) = &self.0.qualifier {
            tuple.field(qualifier);
        }
        tuple.finish()
    }
}

impl fmt::Display for RuntimeArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.arn)
    }
}

impl PartialEq for RuntimeArn {
    fn eq(&self, other: &Self) -> bool {
        self.0.arn == other.0.arn && self.0.qualifier == other.0.qualifier
    }
}

impl Eq for RuntimeArn {}

impl Hash for RuntimeArn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.arn.hash(state);
        self.0.qualifier.hash(state);
    }
}

impl FromStr for RuntimeArn {
    type Err = Error;

    fn from_str(arn: &str) -> Result<Self> {
        Self::parse(arn)
    }
}

impl TryFrom<&str> for RuntimeArn {
    type Error = Error;

    fn try_from(arn: &str) -> Result<Self> {
        Self::parse(arn)
    }
}

impl TryFrom<String> for RuntimeArn {
    type Error = Error;

    fn try_from(arn: String) -> Result<Self> {
        Self::parse(&arn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ARN: &str =
        "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/my_agent-AbCdEf1234";

    #[test]
    fn an_arn_falls_into_its_parts() {
        let arn = RuntimeArn::parse(ARN).unwrap();
        assert_eq!(arn.as_str(), ARN);
        assert_eq!(arn.to_string(), ARN);
        assert_eq!(
            (arn.partition(), arn.region(), arn.account_id(), arn.agent_id(), arn.qualifier()),
            ("aws", "us-east-1", "123456789012", "my_agent-AbCdEf1234", None)
        );
        assert_eq!(
            arn.label(),
            "arn%3Aaws%3Abedrock-agentcore%3Aus-east-1%3A123456789012%3Aruntime%2Fmy_agent-AbCdEf1234"
        );
        assert_eq!(format!("{arn:?}"), format!("RuntimeArn({ARN:?})"));
    }

    #[test]
    fn an_endpoint_arn_is_split() {
        let arn = RuntimeArn::parse(&format!("{ARN}/runtime-endpoint/prod")).unwrap();
        assert_eq!(arn.as_str(), ARN);
        assert_eq!(arn.qualifier(), Some("prod"));
        assert!(!arn.label().contains("endpoint"));
        assert_ne!(arn, RuntimeArn::parse(ARN).unwrap());
        assert_eq!(arn.endpoint_arn(arn.qualifier()), format!("{ARN}/runtime-endpoint/prod"));
        assert_eq!(arn.endpoint_arn(None), format!("{ARN}/runtime-endpoint/DEFAULT"));
    }

    #[test]
    fn qualifiers_of_arn_and_option_may_not_contradict() {
        let plain = RuntimeArn::parse(ARN).unwrap();
        let prod = RuntimeArn::parse(&format!("{ARN}/runtime-endpoint/prod")).unwrap();
        assert_eq!(plain.effective_qualifier(None).unwrap(), None);
        assert_eq!(plain.effective_qualifier(Some("dev")).unwrap(), Some("dev"));
        assert_eq!(prod.effective_qualifier(None).unwrap(), Some("prod"));
        assert_eq!(prod.effective_qualifier(Some("prod")).unwrap(), Some("prod"));
        assert_eq!(prod.effective_qualifier(Some("dev")).unwrap_err().field(), Some("qualifier"));
        assert!(plain.effective_qualifier(Some("")).is_err());
    }

    #[test]
    fn an_id_with_account_and_region_serves_in_place_of_an_arn() {
        let arn =
            RuntimeArn::from_agent_id("my_agent-AbCdEf1234", "123456789012", "us-east-1").unwrap();
        assert_eq!(arn, RuntimeArn::parse(ARN).unwrap());
        for (region, partition) in [
            ("cn-north-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("eusc-de-east-1", "aws-eusc"),
            ("us-isob-east-1", "aws-iso-b"),
        ] {
            let arn = RuntimeArn::from_agent_id("a", "000000000001", region).unwrap();
            assert_eq!(arn.partition(), partition);
            assert_eq!(RuntimeArn::parse(arn.as_str()).unwrap(), arn);
        }
        let field = |id, account, region| {
            RuntimeArn::from_agent_id(id, account, region).unwrap_err().field()
        };
        assert_eq!(field("1a", "123456789012", "us-east-1"), Some("agent_id"));
        assert_eq!(field("a/b", "123456789012", "us-east-1"), Some("agent_id"));
        assert_eq!(field("a", "1234", "us-east-1"), Some("account_id"));
        assert_eq!(field("a", "123456789012", "us-east-1/@"), Some("region"));
    }

    #[test]
    fn what_is_no_runtime_arn_is_refused_with_its_reason() {
        for (value, reason) in [
            (String::new(), "empty"),
            (format!("{ARN}\n"), "line break"),
            (format!("{ARN}\n"), "never trimmed"),
            (format!(" {ARN}"), "the first one whitespace"),
            (ARN.replace("my_agent", "my agent"), "whitespace inside"),
            (ARN.replace(':', "%3A"), "percent-encoded"),
            ("my_agent-AbCdEf1234".into(), "account id and a region beside it"),
            ("https://example.com".into(), "no ARN"),
            (format!("{ARN}:3"), "with 6 colons"),
            ("arn:aws:bedrock-agentcore".into(), "with 2 colons"),
            (ARN.replace("arn:aws:", "arn:aws-moon:"), "unknown partition"),
            (ARN.replace("bedrock-agentcore", "bedrock"), "another service"),
            (ARN.replace("us-east-1", "cn-north-1"), "partition aws with a region of aws-cn"),
            (ARN.replace("us-east-1", "aws-global"), "pseudo region"),
            (ARN.replace("us-east-1", ""), "region of empty"),
            (ARN.replace("us-east-1", "x@evil.example"), "region of 14 characters"),
            (ARN.replace("123456789012", "12345678901"), "12 digits"),
            (ARN.replace("123456789012", "12345678901x"), "12 digits"),
            (ARN.replace("runtime/", "harness/"), "harness"),
            (ARN.replace("runtime/", "gateway/"), "another kind of resource"),
            (ARN.replace("my_agent-AbCdEf1234", ""), "agent id of empty"),
            (ARN.replace("my_agent", "../x"), "inside a runtime"),
            (ARN.replace("my_agent", "-x"), "agent id of"),
            (ARN.replace("my_agent", &"x".repeat(120)), "agent id of 131 characters"),
            (format!("{ARN}/runtime-endpoint/"), "endpoint name of empty"),
            (format!("{ARN}/runtime-endpoint/a-b"), "endpoint name of 3"),
            (format!("{ARN}/runtime-endpoint/a/b"), "endpoint name of 3"),
            (format!("{ARN}/versions/1"), "inside a runtime"),
        ] {
            let error = RuntimeArn::parse(&value).unwrap_err();
            let message = error.to_string();
            assert_eq!(error.field(), Some("runtime_arn"));
            assert!(message.contains(reason), "{value:?} gave: {message}");
            assert!(!message.contains("123456789012") && !message.contains("evil"), "{message}");
        }
    }

    #[test]
    fn qualifiers_are_endpoint_names() {
        for good in ["DEFAULT", "a", "prod_2", &"x".repeat(48)] {
            validate_qualifier(good).unwrap();
        }
        for bad in ["", "1", "a-b", "_a", "a b", "a\n", "é", &"x".repeat(49)] {
            assert_eq!(validate_qualifier(bad).unwrap_err().field(), Some("qualifier"), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(value in any::<String>()) {
            let _ = RuntimeArn::parse(&value);
        }

        #[test]
        fn nearly_right_input_does_not_panic(
            value in "arn:(aws|aws-cn|x)?:bedrock-agentcore:[a-z0-9-]{0,12}:[0-9]{10,13}:runtime/[\\PC]{0,9}(/runtime-endpoint/.{0,4})?"
        ) {
            let _ = RuntimeArn::parse(&value);
        }

        #[test]
        fn what_parses_shows_itself_again(
            partition in prop::sample::select(vec![("aws", "us-west-2"), ("aws-cn", "cn-north-1"), ("aws-iso-f", "us-isof-east-1")]),
            account in "[0-9]{12}",
            id in "[a-zA-Z][a-zA-Z0-9_-]{0,127}",
            name in prop::option::of("[a-zA-Z][a-zA-Z0-9_]{0,47}"),
        ) {
            let runtime = format!("arn:{}:bedrock-agentcore:{}:{account}:runtime/{id}", partition.0, partition.1);
            let whole = match &name {
                Some(name) => format!("{runtime}/runtime-endpoint/{name}"),
                None => runtime.clone(),
            };
            let arn = RuntimeArn::parse(&whole).unwrap();
            prop_assert_eq!(arn.as_str(), runtime.as_str());
            prop_assert_eq!(arn.qualifier(), name.as_deref());
            let decoded = percent_encoding::percent_decode_str(arn.label()).decode_utf8().unwrap();
            prop_assert_eq!(decoded, runtime);
        }
    }
}
