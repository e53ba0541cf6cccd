//! Compares what a case expects with what was seen. It does no IO, so that the
//! expectations can be changed one by one and judged again: each change has to
//! be noticed.

use serde_json::{Map, Value, json};

use super::case::Expected;

/// What happened in a case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) client_error: Option<Value>,
    pub(crate) calls: Vec<SeenCall>,
    pub(crate) journal: Vec<Value>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SeenCall {
    pub(crate) answer: Option<Value>,
    pub(crate) error: Option<Value>,
    /// The session that the caller named.
    pub(crate) given: Option<String>,
    pub(crate) elapsed_ms: u64,
}

type Members = Map<String, Value>;

/// Everything that is not as expected; nothing where the case passes.
pub(crate) fn judge(case: &Expected, seen: &Seen) -> Vec<String> {
    let mut wrong = Wrong::default();
    match (&case.client_refused, &seen.client_error) {
        (Some(expected), Some(error)) => wrong.refused("client_refused", expected, error),
        (Some(_), None) => wrong.note("client_refused", "the client was made"),
        (None, Some(error)) => wrong.note("client", format!("it was refused: {error}")),
        (None, None) => {}
    }
    if seen.client_error.is_none() {
        for (n, call) in case.calls.iter().enumerate() {
            match seen.calls.get(n) {
                Some(_) => wrong.call(&format!("calls[{n}]"), call, &seen.calls[..=n]),
                None => wrong.note(&format!("calls[{n}]"), "it was not made"),
            }
        }
    }
    let none = json!({"posts": 0});
    match (&case.journal, case.client_refused.is_some()) {
        (Some(expected), _) => wrong.journal(expected, &seen.journal),
        (None, true) => wrong.journal(&none, &seen.journal),
        (None, false) => wrong.note("journal", "a case with calls has to say what was sent"),
    }
    wrong.0
}

#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn note(&mut self, place: &str, what: impl std::fmt::Display) {
        self.0.push(format!("{place}: {what}"));
    }

    fn equal(&mut self, place: &str, expected: &Value, seen: &Value) {
        if expected != seen {
            self.note(place, format!("expected {expected}, saw {}", short(seen)));
        }
    }

    fn members<'v>(&mut self, place: &str, value: &'v Value) -> Option<&'v Members> {
        let members = value.as_object();
        if members.is_none() {
            self.note(place, format!("not an object: {value}"));
        }
        members
    }

    /// The last of `calls` is the one that is judged.
    fn call(&mut self, place: &str, expected: &Value, calls: &[SeenCall]) {
        let Some(expected) = self.members(place, expected) else { return };
        let Some((seen, before)) = calls.split_last() else { return };
        for (name, value) in expected {
            let place = format!("{place}.{name}");
            match (name.as_str(), &seen.answer, &seen.error) {
                ("answer", Some(answer), _) => {
                    self.answer(&place, value, answer, seen, before);
                    if seen.error.is_none()
                        && value.get("end").is_none()
                        && answer.get("end").is_some()
                    {
                        self.equal(&format!("{place}.end"), &json!("complete"), &answer["end"]);
                    }
                }
                ("answer", None, Some(error)) => self.note(&place, format!("failed: {error}")),
                ("error", _, Some(error)) => self.error(&place, value, error, seen),
                ("refused", _, Some(error)) => self.refused(&place, value, error),
                ("error" | "refused" | "answer", ..) => self.note(&place, "there was none"),
                ("within_ms", ..) => {
                    if value.as_u64().is_none_or(|limit| seen.elapsed_ms >= limit) {
                        self.note(&place, format!("it took {} ms", seen.elapsed_ms));
                    }
                }
                _ => self.note(&place, "an unknown member"),
            }
        }
        let says = |name| expected.contains_key(name);
        if says("error") && says("refused") {
            self.note(place, "error and refused exclude each other");
        }
        if let (Some(error), false) = (&seen.error, says("error") || says("refused")) {
            self.note(place, format!("failed: {error}"));
        }
        if let (Some(answer), false) = (&seen.answer, says("answer")) {
            self.note(place, format!("answered: {}", short(answer)));
        }
    }

    fn answer(
        &mut self,
        place: &str,
        expected: &Value,
        seen: &Value,
        call: &SeenCall,
        before: &[SeenCall],
    ) {
        let Some(expected) = self.members(place, expected) else { return };
        for (name, value) in expected {
            let place = format!("{place}.{name}");
            match name.as_str() {
                "session" => self.session(&place, value, &seen["session_id"], call, before),
                "headers" => self.headers(&place, value, &seen["headers"]),
                "events" => self.events(&place, value, &seen["events"]),
                "request_id" => self.equal(&place, value, &json!(!seen["request_id"].is_null())),
                "status"
                | "content_type"
                | "session_endpoint_url"
                | "text"
                | "json"
                | "body"
                | "body_bytes"
                | "deltas"
                | "events_seen"
                | "end" => {
                    self.equal(&place, value, &seen[name]);
                }
                _ => self.note(&place, "an unknown member"),
            }
        }
    }

    fn session(
        &mut self,
        place: &str,
        expected: &Value,
        seen: &Value,
        call: &SeenCall,
        before: &[SeenCall],
    ) {
        let of = |call: &SeenCall| call.answer.as_ref().map(|answer| answer["session_id"].clone());
        let fits = match expected.as_str() {
            Some("given") => call.given.as_ref().is_some_and(|given| seen == given),
            Some("new") => {
                call.given.is_none()
                    && seen.as_str().is_some_and(|id| id.len() == 36)
                    && before.iter().all(|call| of(call).as_ref() != Some(seen))
            }
            Some("same") => before.last().is_some_and(|call| of(call).as_ref() == Some(seen)),
            _ => false,
        };
        if !fits {
            self.note(place, format!("expected {expected}, saw {seen}"));
        }
    }

    /// Events are compared whole: a name, an id or a text that nobody expected is wrong, too.
    fn events(&mut self, place: &str, expected: &Value, seen: &Value) {
        let (Some(expected), Some(seen)) = (expected.as_array(), seen.as_array()) else {
            return self.note(place, format!("expected {expected}, saw {seen}"));
        };
        if expected.len() != seen.len() {
            let seen = Value::from(seen.clone());
            self.note(place, format!("expected {} of them, saw {}", expected.len(), short(&seen)));
        }
        for (n, (expected, seen)) in expected.iter().zip(seen).enumerate() {
            let place = format!("{place}[{n}]");
            let Some(expected) = self.members(&place, expected) else { continue };
            for name in ["event", "id", "text"] {
                let expected = expected.get(name).unwrap_or(&Value::Null);
                self.equal(&format!("{place}.{name}"), expected, &seen[name]);
            }
            for (name, value) in expected {
                match name.as_str() {
                    "event" | "id" | "text" => {}
                    "data" | "json" => self.equal(&format!("{place}.{name}"), value, &seen[name]),
                    _ => self.note(&format!("{place}.{name}"), "an unknown member"),
                }
            }
            if !expected.contains_key("data") && !expected.contains_key("json") {
                self.note(&place, "needs data or json");
            }
        }
    }

    /// A string: the value; null: no such header; `{"contains": …}`: part of the value.
    fn headers(&mut self, place: &str, expected: &Value, seen: &Value) {
        let Some(expected) = self.members(place, expected) else { return };
        for (name, value) in expected {
            let place = format!("{place}.{name}");
            let seen = &seen[name.to_ascii_lowercase()];
            match value {
                Value::Object(members) => {
                    let part = members.get("contains").and_then(Value::as_str);
                    let fits = members.len() == 1
                        && part.is_some_and(|part| {
                            seen.as_str().is_some_and(|seen| seen.contains(part))
                        });
                    if !fits {
                        self.note(&place, format!("expected {value}, saw {seen}"));
                    }
                }
                _ => self.equal(&place, value, seen),
            }
        }
    }

    /// What an expected error does not mention, an error must not have.
    fn error(&mut self, place: &str, expected: &Value, seen: &Value, call: &SeenCall) {
        let Some(expected) = self.members(place, expected) else { return };
        for name in ["kind", "delivery"] {
            self.equal(&format!("{place}.{name}"), &json!(expected.get(name)), &seen[name]);
        }
        let optional = [
            ("status", Value::Null),
            ("service_code", Value::Null),
            ("limit", Value::Null),
            ("field", Value::Null),
            ("retry_after_ms", Value::Null),
            ("agent_payload", Value::Null),
            ("events_seen", json!(0)),
        ];
        for (name, default) in &optional {
            let expected = expected.get(*name).unwrap_or(default);
            self.equal(&format!("{place}.{name}"), expected, &seen[*name]);
        }
        if let Some(given) = &call.given {
            // Every error tells where to go on.
            self.equal(&format!("{place}.session_id"), &json!(given), &seen["session_id"]);
        }
        for (name, value) in expected {
            let place = format!("{place}.{name}");
            match name.as_str() {
                "kind" | "delivery" => {}
                _ if optional.iter().any(|(known, _)| known == name) => {}
                "attempts" | "bytes_seen" => self.equal(&place, value, &seen[name]),
                "request_id" => self.equal(&place, value, &json!(!seen["request_id"].is_null())),
                "says" | "hides" => self.words(&place, name, value, &seen["message"]),
                _ => self.note(&place, "an unknown member"),
            }
        }
    }

    /// A refused argument: the field and the shape of what was given, then the rule.
    fn refused(&mut self, place: &str, expected: &Value, seen: &Value) {
        let Some(expected) = self.members(place, expected) else { return };
        self.equal(&format!("{place}.kind"), &json!("InvalidInput"), &seen["kind"]);
        self.equal(&format!("{place}.delivery"), &json!("not_sent"), &seen["delivery"]);
        self.equal(&format!("{place}.attempts"), &json!(0), &seen["attempts"]);
        self.equal(&format!("{place}.field"), &json!(expected.get("field")), &seen["field"]);
        let message = seen["message"].as_str().unwrap_or_default();
        let field = seen["field"].as_str().unwrap_or_default();
        let shaped = message.strip_prefix(field).is_some_and(|rest| rest.starts_with(": "));
        if !shaped || !message.contains("; ") {
            self.note(place, format!("not `field: shape; rule`: {message}"));
        }
        for (name, value) in expected {
            let place = format!("{place}.{name}");
            match name.as_str() {
                "field" => {}
                "says" | "hides" => self.words(&place, name, value, &seen["message"]),
                _ => self.note(&place, "an unknown member"),
            }
        }
    }

    fn words(&mut self, place: &str, name: &str, words: &Value, message: &Value) {
        let Some(words) = words.as_array() else { return self.note(place, "not a list") };
        let message = message.as_str().unwrap_or_default();
        for word in words {
            let found = word.as_str().is_some_and(|word| message.contains(word));
            if found != (name == "says") {
                self.note(place, format!("{word} in: {message}"));
            }
        }
    }

    fn journal(&mut self, expected: &Value, entries: &[Value]) {
        let Some(expected) = self.members("journal", expected) else { return };
        let sent = Sent::new(entries);
        self.equal(
            "journal.posts",
            &json!(expected.get("posts")),
            &json!(sent.count("/invocations")),
        );
        let stops = expected.get("stops").cloned().unwrap_or(json!(0));
        self.equal("journal.stops", &stops, &json!(sent.count("/stopruntimesession")));
        for (name, value) in expected {
            let place = format!("journal.{name}");
            match name.as_str() {
                "posts" | "stops" => {}
                "requests" => self.requests(&place, value, &sent.requests),
                "connections" => self.equal(&place, value, &json!(sent.connections())),
                "auth" => self.equal(
                    &place,
                    value,
                    &json!(of_kind(entries, "auth").map(auth).collect::<Vec<_>>()),
                ),
                "disconnects" => {
                    let phases: Vec<_> =
                        of_kind(entries, "disconnect").map(|e| &e["phase"]).collect();
                    self.equal(&place, value, &json!(phases));
                }
                "stopped" => self.equal(&place, value, &json!(stopped(entries))),
                _ => self.note(&place, "an unknown member"),
            }
        }
    }

    fn requests(&mut self, place: &str, expected: &Value, seen: &[&Value]) {
        let Some(expected) = expected.as_array() else { return self.note(place, "not a list") };
        if expected.len() != seen.len() {
            self.note(place, format!("expected {} of them, saw {}", expected.len(), seen.len()));
        }
        for (n, (expected, seen)) in expected.iter().zip(seen).enumerate() {
            let place = format!("{place}[{n}]");
            let Some(expected) = self.members(&place, expected) else { continue };
            for (name, value) in expected {
                let place = format!("{place}.{name}");
                match name.as_str() {
                    "method" | "target" | "body_bytes" => self.equal(&place, value, &seen[name]),
                    "body" => self.equal(&place, value, &seen["body_text"]),
                    "json" => {
                        let body = seen["body_text"].as_str().unwrap_or_default();
                        self.equal(&place, value, &serde_json::from_str(body).unwrap_or_default());
                    }
                    "headers" => self.headers(&place, value, &headers(&seen["headers"])),
                    _ => self.note(&place, "an unknown member"),
                }
            }
        }
    }
}

/// The requests of operations; the runner's own ones to the control plane are left out.
struct Sent<'e> {
    requests: Vec<&'e Value>,
}

impl<'e> Sent<'e> {
    fn new(entries: &'e [Value]) -> Self {
        let control = |e: &&Value| e["target"].as_str().is_some_and(|t| t.starts_with("/_local/"));
        Self { requests: of_kind(entries, "request").filter(|e| !control(e)).collect() }
    }

    fn count(&self, path: &str) -> usize {
        let fits = |target: &str| target.split('?').next().is_some_and(|p| p.ends_with(path));
        self.requests.iter().filter(|e| e["target"].as_str().is_some_and(fits)).count()
    }

    fn connections(&self) -> usize {
        let mut all: Vec<_> = self.requests.iter().map(|e| e["connection"].as_u64()).collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    }
}

pub(crate) fn of_kind<'e>(
    entries: &'e [Value],
    kind: &'e str,
) -> impl Iterator<Item = &'e Value> + 'e {
    entries.iter().filter(move |entry| entry["kind"] == kind)
}

/// How many sessions were stopped.
pub(crate) fn stopped(entries: &[Value]) -> usize {
    of_kind(entries, "session").filter(|entry| entry["state"] == "stopped").count()
}

/// `sigv4` where it was accepted, `sigv4: CODE` where it was not.
fn auth(entry: &Value) -> String {
    let claim = entry["claim"].as_str().unwrap_or_default();
    match entry["code"].as_str() {
        None => claim.to_owned(),
        Some(code) => format!("{claim}: {code}"),
    }
}

/// Names in lower case; values of a name that came twice joined, so that they equal nothing.
fn headers(pairs: &Value) -> Value {
    let mut map = Map::new();
    for pair in pairs.as_array().into_iter().flatten() {
        let (name, value) = (pair[0].as_str().unwrap_or_default(), pair[1].as_str());
        let name = name.to_ascii_lowercase();
        let value = value.unwrap_or_default();
        let joined = match map.get(&name).and_then(Value::as_str) {
            Some(before) => format!("{before}\n{value}"),
            None => value.to_owned(),
        };
        map.insert(name, joined.into());
    }
    Value::Object(map)
}

/// A failure is read by people.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(2_000) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
