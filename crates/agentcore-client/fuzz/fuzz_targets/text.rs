//! Any stream in any format: no panic, no empty text, and nothing that is read as
//! both an error and text. The first byte picks the format; then events, as a
//! server would send them.

#![no_main]

use agentcore_client::internals::agent_error::in_stream_error;
use agentcore_client::internals::sse::SseDecoder;
use agentcore_client::internals::text::{TextExtractor, TextFormat, whole_text};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&how, input)) = input.split_first() else { return };
    let format = TextFormat::ALL[usize::from(how) % TextFormat::ALL.len()];
    let body = Bytes::copy_from_slice(input);
    let mut decoder = SseDecoder::new(1 << 20);
    decoder.push(body.clone());
    let mut extractor = TextExtractor::new(format);
    while let Ok(Some(event)) = decoder.next_event() {
        let name = event.event.as_deref();
        let error = in_stream_error(name, &event.data);
        let text = extractor.extract(name, &event.data);
        if let Some(text) = &text {
            assert!(!text.is_empty());
            assert!(error.is_none(), "{:?} is an error and says {text:?}", event.data);
            assert!(format != TextFormat::None);
            assert!(extractor.shape().is_some());
        }
    }
    for media in ["application/json", "text/plain", "text/event-stream"] {
        let text = whole_text(media, &body, format);
        assert!(text.is_none_or(|text| !text.is_empty()));
    }
});
