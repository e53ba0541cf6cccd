//! Regions and the partitions they belong to. A region becomes part of a host
//! name that gets signed requests, so only names that a partition knows pass.

use crate::error::{Error, Result};
use crate::protocol::shape;

/// A group of regions that shares DNS names and the first part of its ARNs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// The second part of an ARN.
    pub(crate) id: &'static str,
    /// What its regions' names start with, up to the direction: `us`, `us-gov`.
    prefixes: &'static [&'static str],
    /// Suffix of its host names.
    pub(crate) dns_suffix: &'static str,
    /// Suffix of its host names that answer over IPv6, too.
    pub(crate) dual_stack_dns_suffix: &'static str,
}

/// Every partition there is.
pub(crate) static PARTITIONS: [Partition; 8] = [
    Partition {
        id: "aws",
        prefixes: &["us", "eu", "ap", "sa", "ca", "me", "af", "il", "mx"],
        dns_suffix: "amazonaws.com",
        dual_stack_dns_suffix: "api.aws",
    },
    Partition {
        id: "aws-cn",
        prefixes: &["cn"],
        dns_suffix: "amazonaws.com.cn",
        dual_stack_dns_suffix: "api.amazonwebservices.com.cn",
    },
    Partition {
        id: "aws-us-gov",
        prefixes: &["us-gov"],
        dns_suffix: "amazonaws.com",
        dual_stack_dns_suffix: "api.aws",
    },
    Partition {
        id: "aws-eusc",
        prefixes: &["eusc-de"],
        dns_suffix: "amazonaws.eu",
        dual_stack_dns_suffix: "api.amazonwebservices.eu",
    },
    Partition {
        id: "aws-iso",
        prefixes: &["us-iso"],
        dns_suffix: "c2s.ic.gov",
        dual_stack_dns_suffix: "api.aws.ic.gov",
    },
    Partition {
        id: "aws-iso-b",
        prefixes: &["us-isob"],
        dns_suffix: "sc2s.sgov.gov",
        dual_stack_dns_suffix: "api.aws.scloud",
    },
    Partition {
        id: "aws-iso-e",
        prefixes: &["eu-isoe"],
        dns_suffix: "cloud.adc-e.uk",
        dual_stack_dns_suffix: "api.cloud-aws.adc-e.uk",
    },
    Partition {
        id: "aws-iso-f",
        prefixes: &["us-isof"],
        dns_suffix: "csp.hci.ic.gov",
        dual_stack_dns_suffix: "api.aws.hci.ic.gov",
    },
];

const MAX_LEN: usize = 32;

/// Checks a region's spelling, `[a-z]{2,4}(-[a-z]+)+-[0-9]+`, and finds its partition.
///
/// Pseudo regions such as `aws-global` and names that no partition knows are refused: the SDKs
/// build a host name in `aws` for them, which at best does not exist.
pub(crate) fn partition_of(field: &'static str, region: &str) -> Result<&'static Partition> {
    if !well_formed(region) {
        let rule = if region.ends_with("-global") {
            "needs a real region such as us-west-2: a pseudo region has no AgentCore endpoint"
        } else {
            "needs a region such as us-west-2, without whitespace"
        };
        return Err(Error::invalid(field, format_args!("region of {}", shape::of(region)), rule));
    }
    by_name(region).ok_or_else(|| {
        Error::invalid(
            field,
            "a region that belongs to no AWS partition",
            "needs a region such as us-west-2",
        )
    })
}

/// The partition with this id.
pub(crate) fn partition_by_id(id: &str) -> Option<&'static Partition> {
    PARTITIONS.iter().find(|partition| partition.id == id)
}

fn well_formed(region: &str) -> bool {
    let mut parts = region.split('-');
    let (Some(first), Some(last)) = (parts.next(), parts.next_back()) else { return false };
    let mut middle = parts.peekable();
    region.len() <= MAX_LEN
        && (2..=4).contains(&first.len())
        && is_lower(first)
        && middle.peek().is_some()
        && middle.all(is_lower)
        && !last.is_empty()
        && last.bytes().all(|b| b.is_ascii_digit())
}

fn is_lower(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase())
}

/// `{prefix}-{direction}-{number}`, where the direction has no hyphen: `us-gov-west-1` is not in
/// `us`.
fn by_name(region: &str) -> Option<&'static Partition> {
    let (prefix, _direction) = region.rsplit_once('-')?.0.rsplit_once('-')?;
    PARTITIONS.iter().find(|partition| partition.prefixes.contains(&prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../../../tests/vectors/endpoints.json")).unwrap()
    }

    #[test]
    fn the_table_is_the_one_of_the_vectors() {
        let vectors = vectors();
        let expected = vectors["partitions"].as_array().unwrap();
        assert_eq!(expected.len(), PARTITIONS.len());
        for row in expected {
            let partition = partition_by_id(row["id"].as_str().unwrap()).unwrap();
            assert_eq!(partition.dns_suffix, row["dns_suffix"]);
            assert_eq!(partition.dual_stack_dns_suffix, row["dual_stack_dns_suffix"]);
            for region in row["regions"].as_array().unwrap() {
                let region = region.as_str().unwrap();
                match partition_of("region", region) {
                    Ok(found) => assert_eq!(found, partition, "{region}"),
                    // Pseudo regions are in the SDKs' table and refused here on purpose.
                    Err(_) => assert!(region.ends_with("-global"), "{region}"),
                }
            }
        }
    }

    #[test]
    fn what_is_no_region_is_refused() {
        for region in [
            "",
            "-",
            "us",
            "us-1",
            "us-west-",
            "us-west",
            "us--1",
            "US-WEST-2",
            "us-west-2\n",
            " us-west-2",
            "us-west-2/",
            "x@evil.example:443/#",
            "us-west-2@evil.example",
            "us-west-٢",
            "aws-global",
            "aws-us-gov-global",
            "zz-nowhere-1",
            "abcde-west-1",
            "us-westwestwestwestwestwestwest-12345",
        ] {
            let error = partition_of("region", region).unwrap_err();
            assert_eq!(error.field(), Some("region"));
            assert!(!error.to_string().contains("evil"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn only_host_safe_names_pass(region in "[a-z@/#.\\-0-9]{0,40}|us-[a-z]{1,9}-[0-9]{1,3}") {
            if partition_of("region", &region).is_ok() {
                prop_assert!(region.len() <= MAX_LEN);
                let safe = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
                prop_assert!(region.bytes().all(safe));
            }
        }
    }
}
