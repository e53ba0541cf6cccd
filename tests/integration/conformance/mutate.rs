//! Every expectation of a case, changed one at a time.

use serde_json::{Value, json};

use super::case::Expected;

/// Expected errors must name these where there are any: leaving one out is a change, too.
const STRICT: &[&str] = &[
    "kind",
    "delivery",
    "status",
    "service_code",
    "limit",
    "field",
    "retry_after_ms",
    "agent_payload",
    "events_seen",
];

/// The case with one expectation changed, and the place of the change.
pub(crate) fn changes(case: &Expected) -> Vec<(String, Expected)> {
    let mut all = Vec::new();
    for (place, changed) in case.client_refused.iter().flat_map(of) {
        let changed = Expected { client_refused: Some(changed), ..case.clone() };
        all.push((format!("client_refused{place}"), changed));
    }
    for (n, call) in case.calls.iter().enumerate() {
        for (place, changed) in of(call) {
            let mut copy = case.clone();
            copy.calls[n] = changed;
            all.push((format!("calls[{n}]{place}"), copy));
        }
    }
    for (place, changed) in case.journal.iter().flat_map(of) {
        let changed = Expected { journal: Some(changed), ..case.clone() };
        all.push((format!("journal{place}"), changed));
    }
    all
}

/// The value with one leaf changed, and where.
fn of(value: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    match value {
        Value::Object(members) => {
            let strict = members.contains_key("kind") || members.contains_key("field");
            for (name, member) in members {
                let mut put = |changed: Option<Value>, place: String| {
                    let mut copy = members.clone();
                    match changed {
                        Some(changed) => copy.insert(name.clone(), changed),
                        None => copy.remove(name),
                    };
                    all.push((place, Value::Object(copy)));
                };
                match (name.as_str(), member) {
                    ("within_ms", _) => put(Some(json!(0)), format!(".{name}")),
                    ("session", Value::String(word)) => {
                        let other = if word == "new" { "given" } else { "new" };
                        put(Some(json!(other)), format!(".{name}"));
                    }
                    // Every message contains nothing at all.
                    ("hides", Value::Array(_)) => put(Some(json!([""])), format!(".{name}")),
                    _ => {
                        for (place, changed) in of(member) {
                            put(Some(changed), format!(".{name}{place}"));
                        }
                        let absent = member.is_null() || member == 0;
                        if strict && STRICT.contains(&name.as_str()) && !absent {
                            put(None, format!(".{name} left out"));
                        }
                    }
                }
            }
        }
        Value::Array(values) => {
            for (n, item) in values.iter().enumerate() {
                for (place, changed) in of(item) {
                    let mut copy = values.clone();
                    copy[n] = changed;
                    all.push((format!("[{n}]{place}"), Value::Array(copy)));
                }
            }
            let mut longer = values.clone();
            longer.push(json!("one more than there is"));
            all.push((" longer".into(), Value::Array(longer)));
        }
        Value::String(text) => all.push((String::new(), json!(format!("{text} changed")))),
        Value::Number(number) => {
            let changed = number.as_i64().map_or(json!(0.5), |number| json!(number + 1));
            all.push((String::new(), changed));
        }
        Value::Bool(value) => all.push((String::new(), json!(!value))),
        Value::Null => all.push((String::new(), json!("not null"))),
    }
    all
}
