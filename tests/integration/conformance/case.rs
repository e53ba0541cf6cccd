//! The cases as the files hold them. Every member is read here and nowhere else,
//! and one that is not known is refused: what a runner skips in silence is not
//! tested. The members are explained in `tests/conformance/README.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agentcore_local::Fault;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One case, its placeholders not filled in yet.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// `subject/name`.
    pub(crate) id: String,
    pub(crate) value: Value,
}

/// What placeholders stand for.
pub(crate) type Words = BTreeMap<&'static str, String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "about")]
    _about: String,
    cases: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    #[serde(rename = "id")]
    _id: String,
    /// Why the case exists, where its name does not say it.
    #[serde(default, rename = "about")]
    _about: String,
    /// Read beforehand, by [`plane`].
    #[serde(default, rename = "plane")]
    _plane: Plane,
    #[serde(default)]
    pub(crate) faults: Vec<Fault>,
    #[serde(default)]
    pub(crate) client: ClientOptions,
    #[serde(default)]
    pub(crate) client_refused: Option<Value>,
    #[serde(default)]
    pub(crate) calls: Vec<Call>,
    #[serde(default)]
    pub(crate) journal: Option<Value>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlaneAuth {
    #[default]
    Sigv4,
    Bearer,
    None,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Plane {
    pub(crate) auth: PlaneAuth,
    pub(crate) runtime_arn: Option<String>,
    pub(crate) qualifiers: Vec<String>,
    pub(crate) session_token: Option<String>,
    pub(crate) allow_headers: Vec<String>,
    pub(crate) base_path: Option<String>,
    pub(crate) clock_offset_s: i64,
    pub(crate) provisioning_ms: u64,
    pub(crate) container_paths: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientAuth {
    /// What the data plane takes.
    #[default]
    Plane,
    WrongSecret,
    UnknownKeys,
    LiteralToken,
    MintedToken,
    KeysAndToken,
    RenewingToken,
    FailingTokens,
    SlowTokens,
    FailingKeys,
    Environment,
}

/// Absent, null, or a value: three different things to say.
type Given<T> = Option<Option<T>>;

fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Given<T>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ClientOptions {
    pub(crate) auth: ClientAuth,
    pub(crate) token: Option<String>,
    pub(crate) claims: Option<Value>,
    #[serde(deserialize_with = "given")]
    pub(crate) runtime_arn: Given<String>,
    pub(crate) agent_id: Option<String>,
    pub(crate) account_id: Option<String>,
    pub(crate) region: Option<String>,
    #[serde(deserialize_with = "given")]
    pub(crate) endpoint_url: Given<String>,
    pub(crate) invocation_url: Option<String>,
    pub(crate) local_url: Option<String>,
    pub(crate) allow_http_hosts: Vec<String>,
    pub(crate) use_fips: Option<bool>,
    pub(crate) use_dualstack: Option<bool>,
    pub(crate) proxy: Option<String>,
    pub(crate) user_agent: Option<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) qualifier: Option<String>,
    pub(crate) timeouts: Option<Limits>,
    pub(crate) retry: Option<Retry>,
    pub(crate) limits: Option<Sizes>,
    pub(crate) text_format: Option<String>,
}

/// What a sibling of the client is given other than the client.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sibling {
    pub(crate) qualifier: Option<String>,
    pub(crate) timeouts: Option<Limits>,
    pub(crate) retry: Option<Retry>,
    pub(crate) limits: Option<Sizes>,
    pub(crate) text_format: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) connect_ms: Option<u64>,
    pub(crate) auth_ms: Option<u64>,
    pub(crate) first_byte_ms: Option<u64>,
    #[serde(deserialize_with = "given")]
    pub(crate) idle_ms: Given<u64>,
    #[serde(deserialize_with = "given")]
    pub(crate) total_ms: Given<u64>,
    pub(crate) deadline_in_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sizes {
    pub(crate) event: Option<usize>,
    pub(crate) answer: Option<u64>,
    pub(crate) payload: Option<usize>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Retry {
    Never,
    Default,
    Idempotent,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verb {
    Invoke,
    Stream,
    StopSession,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Read {
    #[default]
    Events,
    Text,
    Bytes,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionKind {
    #[default]
    Strict,
    Existing,
    Local,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Session {
    Text(String),
    OfCall(OfCall),
}

/// The session that an earlier call was answered in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfCall {
    pub(crate) of_call: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Payload {
    Json(Value),
    Text(String),
    Base64(String),
    Zeros(usize),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    pub(crate) verb: Verb,
    pub(crate) payload: Option<Payload>,
    pub(crate) session_id: Option<Session>,
    #[serde(default)]
    pub(crate) session_kind: SessionKind,
    pub(crate) user_id: Option<String>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) content_type: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) x_amzn_trace_id: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) tracestate: Option<String>,
    pub(crate) baggage: Option<String>,
    pub(crate) mcp_session_id: Option<String>,
    pub(crate) mcp_protocol_version: Option<String>,
    pub(crate) mcp_method: Option<String>,
    pub(crate) mcp_name: Option<String>,
    pub(crate) timeouts: Option<Limits>,
    pub(crate) retry: Option<Retry>,
    pub(crate) text_format: Option<String>,
    #[serde(default)]
    pub(crate) stop_on_close: bool,
    #[serde(default)]
    pub(crate) read: Read,
    #[serde(default)]
    pub(crate) pause_ms: u64,
    pub(crate) close_after: Option<usize>,
    pub(crate) with: Option<Sibling>,
    pub(crate) expect: Value,
}

/// What a case expects, apart from how it is played.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) client_refused: Option<Value>,
    pub(crate) calls: Vec<Value>,
    pub(crate) journal: Option<Value>,
}

impl Case {
    pub(crate) fn expected(&self) -> Expected {
        Expected {
            client_refused: self.client_refused.clone(),
            calls: self.calls.iter().map(|call| call.expect.clone()).collect(),
            journal: self.journal.clone(),
        }
    }
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// Every case of every file.
pub(crate) fn load() -> Vec<Source> {
    let mut files: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension().is_some_and(|e| e == "json") && !path.ends_with("names.json")
        })
        .collect();
    files.sort();
    files.iter().flat_map(|path| read_file(path)).collect()
}

fn read_file(path: &Path) -> Vec<Source> {
    let text = std::fs::read_to_string(path).unwrap();
    let file: File = serde_json::from_str(&text).map_err(|e| format!("{path:?}: {e}")).unwrap();
    let subject = path.file_stem().unwrap().to_str().unwrap();
    let source = |value: Value| {
        // One without is refused when it is read.
        let name = value["id"].as_str().unwrap_or_default();
        Source { id: format!("{subject}/{name}"), value }
    };
    file.cases.into_iter().map(source).collect()
}

/// Reads the part of a case that says which data plane it wants, which comes before the rest:
/// what placeholders stand for is known only once that runs.
pub(crate) fn plane(source: &Source) -> Result<Plane, String> {
    match source.value.get("plane") {
        None => Ok(Plane::default()),
        Some(plane) => {
            Plane::deserialize(plane).map_err(|error| format!("{}: plane: {error}", source.id))
        }
    }
}

/// Fills in the placeholders and reads the case.
pub(crate) fn read(source: &Source, words: &Words) -> Result<Case, String> {
    let mut value = source.value.clone();
    fill(&mut value, words).map_err(|error| format!("{}: {error}", source.id))?;
    Case::deserialize(&value).map_err(|error| format!("{}: {error}", source.id))
}

/// `${name}` within a string, and `{"repeat": "x", "times": 3}` in place of a long one.
fn fill(value: &mut Value, words: &Words) -> Result<(), String> {
    match value {
        Value::String(text) => {
            for (name, word) in words {
                *text = text.replace(&format!("${{{name}}}"), word);
            }
            if text.contains("${") {
                return Err(format!("an unknown placeholder in {text:?}"));
            }
        }
        Value::Array(values) => values.iter_mut().try_for_each(|v| fill(v, words))?,
        Value::Object(members) => {
            if let (2, Some(Value::String(part)), Some(times)) =
                (members.len(), members.get("repeat"), members.get("times"))
            {
                let times = times.as_u64().ok_or("times is not a number")? as usize;
                *value = Value::String(part.repeat(times));
                return Ok(());
            }
            members.values_mut().try_for_each(|v| fill(v, words))?;
        }
        _ => {}
    }
    Ok(())
}
