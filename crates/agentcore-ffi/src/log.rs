//! The core's log lines on their way to the foreign language's own logging.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::subscriber::{Interest, Subscriber};
use tracing::{Event, Level, Metadata};

use crate::scope;

/// One line for the log.
#[derive(Clone, Debug)]
pub struct Line {
    /// How grave it is.
    pub level: Level,
    /// What it says, with its members as `name=value`.
    pub message: String,
}

/// Sends the core's log lines to the call that they are about, from now on. Only the first call in
/// a process does anything.
pub fn capture_logs() {
    // Whoever embeds this module in a process of their own may have a subscriber already.
    let _ = tracing::subscriber::set_global_default(Capture);
}

struct Capture;

/// Only what is said in the client's name; its dependencies have much to say and nobody to hear it.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && metadata.target() == "agentcore_client"
}

impl Subscriber for Capture {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_ours(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        scope::log(|| {
            let mut text = Text::default();
            event.record(&mut text);
            Line { level: *event.metadata().level(), message: text.message + &text.members }
        });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    members: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            let _ = write!(self.members, " {}={value}", field.name());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            let _ = write!(self.members, " {}={value:?}", field.name());
        }
    }
}
