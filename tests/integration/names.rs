//! The one table of names that all languages share.

use agentcore_client::{Delivery, ErrorKind, Limit, StreamEnd};
use serde_json::{Value, json};

#[test]
fn names_are_those_of_the_table() {
    let table: Value =
        serde_json::from_str(include_str!("../conformance/names.json")).expect("the table is JSON");
    let kinds: Vec<_> = ErrorKind::ALL
        .iter()
        .map(|kind| json!({"kind": kind.as_str(), "code": kind.code()}))
        .collect();
    assert_eq!(table["error_kinds"], json!(kinds));
    let names = |all: &[&str]| json!(all);
    let deliveries: Vec<_> = Delivery::ALL.iter().map(|d| d.as_str()).collect();
    assert_eq!(table["deliveries"], names(&deliveries));
    let limits: Vec<_> = Limit::ALL.iter().map(|l| l.as_str()).collect();
    assert_eq!(table["limits"], names(&limits));
    let ends: Vec<_> = StreamEnd::ALL.iter().map(|e| e.as_str()).collect();
    assert_eq!(table["stream_ends"], names(&ends));
}
