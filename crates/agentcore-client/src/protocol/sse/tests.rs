use super::*;
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;

fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<SseEvent>, bool) {
    let mut decoder = SseDecoder::new(LIMIT);
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        while let Some(event) = decoder.next_event().unwrap() {
            events.push(event);
        }
    }
    let dropped = decoder.finish();
    (events, dropped)
}

fn datas(input: &[u8]) -> Vec<String> {
    decode([input]).0.into_iter().map(|event| event.data.to_string()).collect()
}

/// The standard, read line by line and nothing else: the whole input at once,
/// no chunks, no speed. What the decoder is compared with.
fn reference(input: &[u8]) -> Vec<SseEvent> {
    let text = String::from_utf8_lossy(input);
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    // Only lines that ended count.
    let unified = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = unified.split('\n').collect();
    lines.pop();

    let mut events = Vec::new();
    let (mut data, mut name, mut id, mut retry) = (String::new(), String::new(), None, None);
    for line in lines {
        if line.is_empty() {
            if !data.is_empty() {
                data.pop();
                events.push(SseEvent {
                    event: (!name.is_empty()).then(|| name.as_str().into()),
                    id,
                    retry,
                    data: data.as_str().into(),
                });
            }
            (data, name, id, retry) = (String::new(), String::new(), None, None);
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                data.push_str(value);
                data.push('\n');
            }
            "event" => name = value.to_owned(),
            "id" if !value.contains('\0') => id = Some(value.into()),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                retry = Some(value.parse().unwrap_or(u64::MAX));
            }
            _ => {}
        }
    }
    events
}

/// Everything that the grammar knows, and everything that agents send.
const CORPUS: &[&str] = &[
    "data: \"Hello\"\n\ndata: \", world\"\n\n",
    "data: a\"b\ndata: c\n\n",
    "\u{FEFF}data: with a mark\n\n",
    "\u{FEFF}\u{FEFF}data: only one mark is a mark\n\ndata: so the first line was none\n\n",
    ": heartbeat\n\ndata: x\n\n: heartbeat\n\n",
    "event: error\ndata: {\"error\":\"no\"}\n\n",
    "id: 7\nevent: message\nretry: 3000\ndata: {\"text\":\"x\"}\n\n",
    "data: crlf\r\nid: 1\r\n\r\ndata: again\r\n\r\n",
    "data: cr\rid: 2\r\rdata: again\r\r",
    "data: mixed\r\n\ndata: ends\n\r\ndata: here\r\r\n\n\ndata: x\n\n",
    "data: Grüße 日本語 🦀\n\ndata: 👩‍👩‍👧‍👦\r\n\r\n",
    "data\n\ndata\ndata\n\ndata:",
    "data:no space\n\ndata:  two spaces\n\ndata: \n\n",
    "id\ndata: reset\n\nid: a\0b\ndata: kept\n\nretry: 1x\ndata: y\n\n",
    "unknown: x\ndatabase: y\n data: z\n\nevent: named\n\ndata: unnamed\n\n",
    "retry: 99999999999999999999999\ndata: much\n\nevent:\ndata: no name\n\n",
    "data: cut off",
    "data: cut off\n",
    ":only a comment",
    "\n\n\r\r\r\n\r\n",
    "data: :colons: all: over\n\n:: comment\n\n",
];

fn corpus() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = CORPUS.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.push(b"data: broken \xF0\x9F\xA6 utf\xFF-8 \xC3\n\ndata: \xE2\x82\r\n\r\n".to_vec());
    all.push(b"\xEF\xBBdata: not a mark\n\ndata: x\n\n".to_vec());
    all.push(b"\xEFdata: not a mark\n\ndata: x\n\n".to_vec());
    all
}

#[test]
fn examples_of_the_standard() {
    assert_eq!(datas(b"data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
    assert_eq!(datas(b"data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
    assert_eq!(datas(b"data:test\n\ndata: test\n\n"), ["test", "test"]);

    let input =
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n";
    let mut decoder = SseDecoder::new(LIMIT);
    decoder.push(Bytes::from_static(input));
    let first = decoder.next_event().unwrap().unwrap();
    assert_eq!((&*first.data, first.id.as_deref()), ("first event", Some("1")));
    assert_eq!(decoder.last_event_id(), "1");
    let second = decoder.next_event().unwrap().unwrap();
    assert_eq!((&*second.data, second.id.as_deref()), ("second event", Some("")));
    assert_eq!(decoder.last_event_id(), "");
    assert_eq!(decoder.next_event(), Ok(None));
    assert_eq!(decoder.comments(), 1);
    assert!(decoder.finish());
}

#[test]
fn the_id_in_force_outlives_its_event() {
    let mut decoder = SseDecoder::new(LIMIT);
    decoder.push(Bytes::from_static(b"id: 5\n\ndata: x\n\nid: 6\n"));
    let event = decoder.next_event().unwrap().unwrap();
    assert_eq!(event.id, None);
    assert_eq!(decoder.last_event_id(), "5");
    assert_eq!(decoder.next_event(), Ok(None));
    assert_eq!(decoder.last_event_id(), "5", "its event never ended");
}

#[test]
fn the_corpus_is_read_as_the_standard_says() {
    for input in corpus() {
        let (events, _) = decode([&input[..]]);
        assert_eq!(events, reference(&input), "{:?}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn a_cut_anywhere_changes_nothing() {
    for input in corpus() {
        let whole = decode([&input[..]]);
        assert_eq!(decode(input.chunks(1)), whole);
        for first in 0..=input.len() {
            let (head, tail) = input.split_at(first);
            assert_eq!(decode([head, tail]), whole, "cut at {first}");
            for second in 0..=tail.len() {
                let (middle, last) = tail.split_at(second);
                assert_eq!(decode([head, middle, last]), whole, "cut at {first} and {second}");
            }
        }
    }
}

#[test]
fn chunks_may_be_pushed_ahead() {
    for input in corpus() {
        let mut decoder = SseDecoder::new(LIMIT);
        for chunk in input.chunks(3) {
            decoder.push(Bytes::copy_from_slice(chunk));
        }
        assert_eq!(decoder.buffered(), input.len());
        let mut events = Vec::new();
        while let Some(event) = decoder.next_event().unwrap() {
            events.push(event);
        }
        assert_eq!(events, reference(&input));
    }
}

#[test]
fn an_event_leaves_with_its_blank_line() {
    for size in 90..=110 {
        for (line, end) in [("\n", "\n"), ("\r\n", "\r"), ("\r", "\r")] {
            let mut decoder = SseDecoder::new(LIMIT);
            for round in 0..3 {
                let text = "x".repeat(size - 7);
                let event = format!("data: {text}{line}{end}");
                let (last, before) = event.as_bytes().split_last().unwrap();
                for byte in before {
                    decoder.push(Bytes::copy_from_slice(&[*byte]));
                    assert_eq!(decoder.next_event(), Ok(None), "round {round}");
                }
                decoder.push(Bytes::copy_from_slice(&[*last]));
                assert_eq!(decoder.next_event().unwrap().unwrap().data, text);
                // The LF of a CRLF belongs to the line that is over.
                if line == "\r\n" {
                    decoder.push(Bytes::from_static(b"\n"));
                    assert_eq!(decoder.next_event(), Ok(None));
                }
            }
        }
    }
}

#[test]
fn data_is_a_slice_of_the_chunk() {
    let chunk = Bytes::from(b"data: one\n\nevent: e\ndata: two\n\n".to_vec());
    let within = chunk.as_ptr_range();
    let mut decoder = SseDecoder::new(LIMIT);
    decoder.push(chunk.clone());
    while let Some(event) = decoder.next_event().unwrap() {
        assert!(within.contains(&event.data.as_ptr()), "{:?} was copied", event.data);
    }
}

#[test]
fn nothing_is_kept_of_a_chunk_that_is_done() {
    let mut decoder = SseDecoder::new(LIMIT);
    let chunk = Bytes::from(b"id: 1\ndata: x\n\n".to_vec());
    decoder.push(chunk.clone());
    drop(decoder.next_event().unwrap().unwrap());
    assert_eq!(decoder.next_event(), Ok(None));
    assert_eq!(decoder.last_event_id(), "1");
    assert!(chunk.is_unique(), "the decoder holds on to a chunk");
}

#[test]
fn the_limit_holds_however_the_stream_is_cut() {
    let limit = 20;
    // (input, does it fit)
    let cases: &[(&[u8], bool)] = &[
        (b"data: 12345678901234\n\n", true),
        (b"data: 123456789012345\n\n", false),
        (b"data: 123456789012345", false),
        (b"data: 1\ndata: 2\nid: 33\n\n", true),
        (b"data: 1\ndata: 2\nid: 333\n\n", false),
        (b":234567890123456789012", false),
        (b":23456789012345678901\n", false),
        (b":2345678901234567890\n", true),
        // Complete comments take no room, however many there are.
        (b": beat\n: beat\n: beat\n: beat\n: beat\ndata: 1\n\n", true),
        (b"data: 1234567890123\r\n\r\ndata: 1234567890123\r\n\r\n", true),
        (b"12345678901234567890123", false),
    ];
    for (input, fits) in cases {
        for size in 1..=input.len() {
            let mut decoder = SseDecoder::new(limit);
            let mut outcome = Ok(());
            for chunk in input.chunks(size) {
                decoder.push(Bytes::copy_from_slice(chunk));
                loop {
                    match decoder.next_event() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(error) => {
                            outcome = Err(error);
                            break;
                        }
                    }
                }
                assert!(decoder.buffered() <= limit);
            }
            let shown = String::from_utf8_lossy(input);
            assert_eq!(outcome.is_ok(), *fits, "{shown:?} in chunks of {size}");
            if outcome.is_err() {
                decoder.push(Bytes::from_static(b"data: x\n\n"));
                assert_eq!(decoder.next_event(), Err(SseError::TooLarge { limit }));
                assert_eq!(decoder.next_event(), Err(SseError::TooLarge { limit }));
                assert!(!decoder.finish());
            }
        }
    }
}

#[test]
fn a_long_line_byte_by_byte_takes_linear_time() {
    let mut decoder = SseDecoder::new(8 << 20);
    decoder.push(Bytes::from_static(b"data: "));
    for _ in 0..2 << 20 {
        decoder.push(Bytes::from_static(b"x"));
        assert_eq!(decoder.next_event(), Ok(None));
    }
    decoder.push(Bytes::from_static(b"\n\n"));
    assert_eq!(decoder.next_event().unwrap().unwrap().data.len(), 2 << 20);
}

#[test]
fn the_end_says_whether_something_was_lost() {
    let lost: &[&[u8]] =
        &[b"data: x", b"data: x\n", b"da", b"data: x\nid: 1", b"data\n", b"id: 1\ndata"];
    let nothing: &[&[u8]] =
        &[b"", b"data: x\n\n", b"data: x\n\n: beat", b"id: 1\n", b"event: x", b"database"];
    for (inputs, expected) in [(lost, true), (nothing, false)] {
        for input in inputs {
            let shown = String::from_utf8_lossy(input);
            assert_eq!(decode([*input]).1, expected, "{shown:?}");
            assert_eq!(decode(input.chunks(1)).1, expected, "{shown:?}");
        }
    }
}

#[test]
fn debug_shows_no_content() {
    let mut decoder = SseDecoder::new(LIMIT);
    decoder.push(Bytes::from_static(b"data: secret"));
    assert!(!format!("{decoder:?}").contains("secret"));
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"data: ".to_vec()),
        4 => Just(b"\n".to_vec()),
        2 => Just(b"\r".to_vec()),
        2 => Just(b"\r\n".to_vec()),
        2 => Just(b"\n\n".to_vec()),
        1 => Just(b"data".to_vec()),
        1 => Just(b"event: ".to_vec()),
        1 => Just(b"id:".to_vec()),
        1 => Just(b"retry: 12".to_vec()),
        1 => Just(b":".to_vec()),
        1 => Just(b" ".to_vec()),
        1 => Just(b"\0".to_vec()),
        1 => Just("\u{FEFF}".as_bytes().to_vec()),
        1 => Just("é🦀".as_bytes().to_vec()),
        2 => proptest::collection::vec(any::<u8>(), 0..6),
        2 => "[a-z]{1,5}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn agrees_with_the_reference(
        input in pieces(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(input.len());
        let mut start = 0;
        let chunks: Vec<&[u8]> = cuts
            .into_iter()
            .map(|end| &input[std::mem::replace(&mut start, end)..end])
            .collect();
        prop_assert_eq!(decode(chunks).0, reference(&input));
    }
}

#[test]
fn chunks_keep_their_order_however_events_are_taken_in_between() {
    let mut decoder = SseDecoder::new(LIMIT);
    decoder.push(Bytes::from_static(b"data: 1\n\n"));
    decoder.push(Bytes::from_static(b"data: 2\n\n"));
    assert_eq!(&*decoder.next_event().unwrap().unwrap().data, "1");
    decoder.push(Bytes::from_static(b"data: 3\n\n"));
    assert_eq!(&*decoder.next_event().unwrap().unwrap().data, "2");
    assert_eq!(&*decoder.next_event().unwrap().unwrap().data, "3");
    assert_eq!(decoder.next_event().unwrap(), None);
}

#[test]
fn a_chunk_that_was_read_is_let_go_at_once() {
    let chunk = Bytes::from(b"data: 1\n\n".to_vec());
    let mut decoder = SseDecoder::new(LIMIT);
    decoder.push(chunk.clone());
    drop(decoder.next_event().unwrap().unwrap());
    assert!(chunk.is_unique(), "the connection can use its memory again");
}
