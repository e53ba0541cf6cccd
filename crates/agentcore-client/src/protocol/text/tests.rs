use super::super::agent_error::in_stream_error;
use super::super::sse::SseDecoder;
use super::*;
use proptest::prelude::*;
use serde_json::Value;

/// Runs unnamed events through an extractor; what each one gave.
fn each(format: TextFormat, datas: &[&str]) -> Vec<String> {
    let mut extractor = TextExtractor::new(format);
    datas
        .iter()
        .map(|data| extractor.extract(None, &ByteString::from(*data)).unwrap_or_default().into())
        .collect()
}

fn joined(format: TextFormat, datas: &[&str]) -> String {
    each(format, datas).concat()
}

#[track_caller]
fn auto(datas: &[&str], text: &str) {
    assert_eq!(joined(TextFormat::Auto, datas), text, "{datas:?}");
}

#[test]
fn every_stream_vector() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/streams");
    let expected = std::fs::read_to_string(format!("{folder}/expected.json")).unwrap();
    let expected: serde_json::Map<String, Value> = serde_json::from_str(&expected).unwrap();
    let files = std::fs::read_dir(folder)
        .unwrap()
        .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "sse"))
        .count();
    assert_eq!(files, expected.len());

    for (name, expected) in expected {
        let body = std::fs::read(format!("{folder}/{name}.sse")).unwrap();
        for size in [body.len(), 1, 7] {
            let mut decoder = SseDecoder::new(1 << 20);
            let mut extractor = TextExtractor::new(TextFormat::Auto);
            let (mut text, mut events, mut end) = (String::new(), 0, "complete");
            for chunk in body.chunks(size) {
                decoder.push(Bytes::copy_from_slice(chunk));
                while let Some(event) = decoder.next_event().unwrap() {
                    events += 1;
                    let event_name = event.event.as_deref();
                    if let Some(error) = in_stream_error(event_name, &event.data) {
                        assert_eq!(error.message, "model timed out", "{name}");
                        end = "agent_error";
                    }
                    text.extend(extractor.extract(event_name, &event.data).as_deref());
                }
            }
            assert!(!decoder.finish(), "{name}");
            assert_eq!(text, expected["text"], "{name}");
            assert_eq!(events, expected["events"].as_u64().unwrap(), "{name}");
            assert_eq!(decoder.comments(), expected["comments"].as_u64().unwrap(), "{name}");
            assert_eq!(end, expected["end"], "{name}");
            assert_eq!(
                extractor.shape().map(TextFormat::as_str),
                expected["shape"].as_str(),
                "{name}"
            );
        }
    }
}

#[test]
fn json_strings_are_unquoted() {
    auto(&[r#""Hel""#, r#""lo\n""#, "42", "null", r#""""#, r#""{'a': 1}""#], "Hello\n{'a': 1}");
    // What JSON could not hold comes as a Python dict; it isn't said.
    auto(&[r#""{'data': 'x', 'agent': <Agent>}""#, r#"{"data": "x"}"#], "x");
}

#[test]
fn text_is_a_slice_where_it_can_be() {
    for data in ["\"plain ü\"", r#"{"event":{"contentBlockDelta":{"delta":{"text":"ü"}}}}"#, "raw"]
    {
        let data = ByteString::from(data.to_owned());
        let text = TextExtractor::new(TextFormat::Auto).extract(None, &data).unwrap();
        assert!(data.as_bytes().as_ptr_range().contains(&text.as_ptr()), "{data} was copied");
    }
}

#[test]
fn raw_text_is_as_it_is_once_proven() {
    auto(
        &["Hello", " \"world\"", "\"x\"", "42", "null", "{", "{}", "[1]", "[DONE]"],
        "Hello \"world\"\"x\"42null{{}[1]",
    );
    // Ambiguous until the second token.
    assert_eq!(each(TextFormat::Auto, &["42", "true", " is it"]), ["", "", "42true is it"]);
    auto(&["[1]", " says"], "[1] says");
    auto(&["{", "\"a\"", "}"], "{\"a\"}");
    auto(&["\"unfinished", " \""], "\"unfinished \"");
    // It began like JSON strings, and wasn't.
    auto(&["\"Hi\"", " he said", "\"Ho\""], "Hi he said\"Ho\"");
    auto(&["[DONE]"], "");
}

#[test]
fn values_are_not_text() {
    auto(&["42", "null", "[1, 2]", "true", "NaN", "-Infinity"], "");
    auto(&["42", "null", "\"Hi\"", "42"], "Hi");
    auto(&[r#"{"score": NaN}"#, "[NaN]", "\"Hi\"", r#"{"score": Infinity}"#], "Hi");
    auto(&["42", r#"{"data": "x"}"#, "plain"], "x");
    let much = format!("{:>1$}", 1, HELD_MAX);
    auto(&[&much, "2", "text"], &format!("{much}text"));
}

#[test]
fn the_first_shape_is_kept() {
    auto(
        &[r#"{"data": "a"}"#, r#"{"contentBlockDelta": {"delta": {"text": "a"}}}"#, "\"a\"", "a"],
        "a",
    );
    auto(
        &[r#"{"event": {"contentBlockDelta": {"delta": {"text": "a"}}}}"#, r#"{"data": "a"}"#],
        "a",
    );
    auto(&["\"a\"", r#"{"data": "a"}"#, r#"{"result": "a"}"#], "a");
    auto(&[r#"{"result": "a"}"#, r#"{"message": {"role": "assistant", "content": "a"}}"#], "a");
    // An empty token decides nothing.
    auto(&["\"\"", r#"{"data": ""}"#, r#"{"result": "a"}"#], "a");
}

#[test]
fn agents_of_agents() {
    let node = r#"{"multi_agent_node_stream": true, "node_id": "n", "event": {"event": {"contentBlockDelta": {"delta": {"text": "a"}}}}}"#;
    let twin = r#"{"multi_agent_node_stream": true, "node_id": "n", "event": {"data": "a"}}"#;
    auto(&[node, twin], "a");
    auto(&[twin, node], "a");
}

#[test]
fn look_alikes_carry_nothing() {
    for data in [
        r#"{"text": "a"}"#,
        r#"{"delta": {"text": "a"}}"#,
        r#"{"delta": "a"}"#,
        r#"{"type": "TOOL_CALL_ARGS", "delta": "a"}"#,
        r#"{"type": "TEXT_MESSAGE_CHUNK", "role": "user", "delta": "a"}"#,
        r#"{"type": "x", "data": "a"}"#,
        r#"{"type": "modelContentBlockDeltaEvent", "contentBlockIndex": 0, "delta": {"type": "reasoningContentDelta", "text": "a"}}"#,
        r#"{"contentBlockDelta": {"delta": {"reasoningContent": {"text": "a"}}}}"#,
        r#"{"message": "a"}"#,
        r#"{"message": {"role": "user", "content": [{"text": "a"}]}}"#,
        r#"{"message": {"content": [{"text": "a"}]}}"#,
        r#"{"event": "a", "data": {"data": "a"}}"#,
        r#"{"event": [], "contentBlockDelta": 1, "delta": null, "type": {}}"#,
        r#"{"error": "a", "error_type": "b", "message": "c"}"#,
        "{}",
    ] {
        auto(&[data], "");
    }
}

#[test]
fn shapes_of_objects() {
    for data in [
        r#"{"delta": {"text": "a"}, "contentBlockIndex": 0}"#,
        r#"{"event": {"delta": {"text": "a"}, "contentBlockIndex": 0}}"#,
        r#"{"type": "modelContentBlockDeltaEvent", "delta": {"type": "textDelta", "text": "a"}}"#,
        r#"{"role": "assistant", "content": [{"text": "a"}]}"#,
        r#"{"result": {"role": "assistant", "content": [{"type": "text", "text": "a"}]}}"#,
        r#"{"response": "a"}"#,
        r#"{"output": {"message": {"role": "assistant", "content": [{"text": "a"}]}}}"#,
        // Members that aren't what their name says elsewhere are looked past.
        r#"{"event": "token", "message": 1, "contentBlockDelta": [], "data": "a"}"#,
        " {\"data\" : \"a\"} ",
    ] {
        auto(&[data], "a");
    }
}

#[test]
fn named_events() {
    let mut extractor = TextExtractor::new(TextFormat::Auto);
    let mut say = |event, data: &str| extractor.extract(Some(event), &data.into());
    assert_eq!(say("error", r#"{"text":"a"}"#), None);
    assert_eq!(say("progress", "\"Step 1\""), None);
    assert_eq!(say("progress", "Step 1"), None);
    assert_eq!(say("title", r#"{"text":"a"}"#), None);
    assert_eq!(say("message", r#"{"text":"a"}"#), Some("a".into()));
    assert_eq!(say("message", r#"{"type":"reasoning","text":"a"}"#), None);

    let mut extractor = TextExtractor::new(TextFormat::Auto);
    assert_eq!(extractor.extract(None, &"raw".into()), Some("raw".into()));
    assert_eq!(extractor.extract(Some("status"), &"busy".into()), None);
    assert_eq!(extractor.extract(Some("message"), &"raw".into()), Some("raw".into()));
    assert_eq!(extractor.extract(Some("error"), &"raw".into()), None);
    let error = r#"{"error": "a", "error_type": "b", "message": "c"}"#;
    assert_eq!(extractor.extract(None, &error.into()), None);
}

#[test]
fn a_format_that_is_given_is_obeyed() {
    let all = [
        "\"string\"",
        "raw",
        "42",
        r#"{"data": "strands"}"#,
        r#"{"contentBlockDelta": {"delta": {"text": "converse"}}}"#,
        r#"{"type": "TEXT_MESSAGE_CONTENT", "delta": "ag-ui"}"#,
        r#"{"text": "object"}"#,
    ];
    for (format, text) in [
        (TextFormat::JsonString, "string"),
        (TextFormat::Strands, "strands"),
        (TextFormat::Converse, "converse"),
        (TextFormat::AgUi, "ag-ui"),
        (TextFormat::TextObject, "object"),
        (TextFormat::None, ""),
        (TextFormat::Raw, &all.concat()),
    ] {
        assert_eq!(joined(format, &all), text, "{format:?}");
        assert_eq!(TextFormat::from_name(format.as_str()), Some(format));
    }
    assert_eq!(TextFormat::from_name("xml"), None);
}

#[test]
fn half_a_character_does_not_cost_the_event() {
    auto(&[r#""a\ud83e""#, r#""\udd80b""#, r#""\ud83e\udd80""#], "a\u{FFFD}\u{FFFD}b🦀");
    auto(&[r#"{"data": "\ud83e"}"#], "\u{FFFD}");
    // An escaped backslash is no escape.
    auto(&[r#""\\ud83e""#], "\\ud83e");
    assert_eq!(
        without_lone_surrogates(r#"\\\ud83e\u00e9\"#).as_deref(),
        Some(r#"\\\ufffd\u00e9\"#)
    );
    assert_eq!(without_lone_surrogates("\\é\\u12é"), None);
}

#[test]
fn deep_nesting_is_survived() {
    for open in ["[", r#"{"event":"#, r#"{"x":"#, r#"{"content":["#] {
        let deep = open.repeat(100_000);
        auto(&["\"a\"", &deep], &format!("a{deep}"));
    }
}

#[test]
fn whole_answers() {
    let json = "application/json; charset=utf-8";
    let cases = [
        (json, r#""a \"b\"""#, Some("a \"b\"")),
        (json, "raw \"text\"", Some("raw \"text\"")),
        (json, r#"{"result": "a"}"#, Some("a")),
        (
            json,
            r#"{"result": {"role": "assistant", "content": [{"text": "a"}, {"toolUse": {}}, {"text": "b"}]}}"#,
            Some("ab"),
        ),
        (json, r#"{"role": "assistant", "content": [{"text": "a"}]}"#, Some("a")),
        (json, r#"{"message": "a"}"#, Some("a")),
        (json, r#"{"message": {"role": "assistant", "content": "a"}}"#, Some("a")),
        (json, r#"{"response": "a", "status": "ok"}"#, Some("a")),
        (
            json,
            r#"{"output": {"message": {"role": "assistant", "content": [{"text": "a"}]}}, "usage": {}}"#,
            Some("a"),
        ),
        (json, r#"{"message": "a", "error": "b"}"#, None),
        (json, r#"{"answer": "a"}"#, None),
        (json, r#"{"score": NaN}"#, None),
        (json, "42", None),
        (json, "null", None),
        (json, "[\"a\"]", None),
        (json, "\"\"", None),
        (json, "", None),
        ("Application/Problem+JSON", "\"a\"", Some("a")),
        ("text/plain", "\"a\"", Some("\"a\"")),
        ("TEXT/html", "<p>", Some("<p>")),
        ("text/event-stream", "data: a\n\n", None),
        ("application/octet-stream", "a", None),
        ("", "a", None),
    ];
    for (media, body, text) in cases {
        let body = Bytes::copy_from_slice(body.as_bytes());
        assert_eq!(whole_text(media, &body, TextFormat::Auto).as_deref(), text, "{body:?}");
        assert_eq!(whole_text(media, &body, TextFormat::None), None);
    }
    let body = Bytes::from_static(b"\xEF\xBB\xBF\"a\"");
    assert_eq!(whole_text(json, &body, TextFormat::Auto).as_deref(), Some("a"));
    assert_eq!(whole_text(json, &body, TextFormat::Raw).as_deref(), Some("\"a\""));
    let body = Bytes::from_static(b"caf\xC3");
    assert_eq!(whole_text("text/plain", &body, TextFormat::Auto).as_deref(), Some("caf\u{FFFD}"));
}

#[test]
fn debug_shows_no_content() {
    let mut extractor = TextExtractor::new(TextFormat::Auto);
    extractor.extract(None, &"1234567".into());
    assert!(!format!("{extractor:?}").contains("1234567"));
}

proptest! {
    /// Whatever a Python agent yields, what was a string comes back, and only that.
    #[test]
    fn python_strings_come_back(
        tokens in proptest::collection::vec(prop_oneof![
            3 => any::<String>().prop_map(Value::from),
            1 => any::<i32>().prop_map(Value::from),
            1 => Just(Value::Null),
            1 => Just(serde_json::json!({"status": "busy"})),
        ], 0..12),
    ) {
        let said: String = tokens.iter().filter_map(Value::as_str).collect();
        let datas: Vec<String> = tokens.iter().map(Value::to_string).collect();
        let datas: Vec<&str> = datas.iter().map(String::as_str).collect();
        let first = tokens.iter().find_map(|t| t.as_str().filter(|t| !t.is_empty()));
        prop_assume!(!first.is_some_and(is_repr));
        prop_assert_eq!(joined(TextFormat::Auto, &datas), said);
    }

    /// A raw stream loses nothing once it began with what isn't JSON.
    #[test]
    fn raw_tokens_come_back(tokens in proptest::collection::vec("[ -~]{1,6}", 0..12)) {
        let mut datas = vec!["Hello "];
        datas.extend(tokens.iter().map(String::as_str));
        prop_assert_eq!(joined(TextFormat::Auto, &datas), datas.concat());
    }

    #[test]
    fn nothing_panics(
        event in proptest::option::of("message|error|x"),
        datas in proptest::collection::vec(r#"([{}\[\]",:\\ ]|data|event|\\ud83e|delta|type|text|é|[0-9]){0,12}"#, 0..6),
        format in proptest::sample::select(TextFormat::ALL),
    ) {
        let mut extractor = TextExtractor::new(format);
        for data in datas {
            let _ = extractor.extract(event.as_deref(), &data.as_str().into());
            let _ = in_stream_error(event.as_deref(), &data);
            let _ = whole_text("application/json", &Bytes::from(data), format);
        }
    }
}
