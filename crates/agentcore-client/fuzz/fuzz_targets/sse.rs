//! Any bytes, cut anywhere: the same events as from one piece, no panic, and
//! never more held than the limit allows.
//!
//! The first byte says how the rest is cut and how much one event may hold.

#![no_main]

use agentcore_client::internals::sse::{SseDecoder, SseError, SseEvent};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

type Outcome = (Vec<SseEvent>, Result<(), SseError>, bool, u64, String);

fn decode<'a>(limit: usize, chunks: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = SseDecoder::new(limit);
    let mut events = Vec::new();
    let mut outcome = Ok(());
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        outcome = loop {
            match decoder.next_event() {
                Ok(Some(event)) => {
                    // U+FFFD is longer than the byte that it stands for.
                    assert!(event.data.len() <= 3 * limit);
                    events.push(event);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert!(decoder.buffered() <= limit, "{} held", decoder.buffered());
    }
    let (comments, id) = (decoder.comments(), decoder.last_event_id().to_owned());
    (events, outcome, decoder.finish(), comments, id)
}

fuzz_target!(|input: &[u8]| {
    let Some((&how, input)) = input.split_first() else { return };
    let limit = if how & 0x80 == 0 { 1 << 20 } else { 16 };
    let whole = decode(limit, std::iter::once(input));
    assert_eq!(decode(limit, input.chunks(1)), whole);
    let size = usize::from(how & 0x7F) + 1;
    assert_eq!(decode(limit, input.chunks(size)), whole);
});
