//! The subscriber layer that gathers an event and the spans around it into one line.
//!
//! A line is written with one call, so lines never mix. A line that cannot be written is lost: there is nowhere left to
//! say so, and no run may fail because nobody reads its log.

use std::io::Write;
use std::time::Instant;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::events;
use super::fields::{Fields, Value};
use super::floods::Floods;
use super::render::{Line, Paint};
use crate::config::LogFormat;

/// The crates whose messages are event names. All others are libraries.
pub(super) const OWN: [&str; 5] = ["sandbox_executor", "executor", "sandbox", "linux", "protocol"];

pub(super) struct Lines<W> {
    pub(super) format: LogFormat,
    /// Of text.
    pub(super) paint: Paint,
    pub(super) container_id: String,
    pub(super) writer: W,
    pub(super) floods: Floods,
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                of_span.iter().for_each(|(name, value)| fields.set(name, value.clone()));
            }
        }
        let mut own = Fields::default();
        event.record(&mut own);
        let message = own.take_text("message").unwrap_or_default();
        own.into_iter().for_each(|(name, value)| fields.set(name, value));
        let metadata = event.metadata();
        let event = if is_own(metadata) {
            message.as_str()
        } else {
            fields.set("library", Value::Text(metadata.target().to_owned()));
            fields.set("message", Value::Text(message.clone()));
            events::LIBRARY_MESSAGE
        };
        if !events::is_of_one_run(event) {
            match self.floods.pass(metadata.callsite(), Instant::now()) {
                Some(0) => {}
                Some(held_back) => fields.set("suppressed", Value::Unsigned(held_back)),
                None => return,
            }
        }
        let line = Line {
            timestamp: format!("{:.3}", jiff::Timestamp::now()),
            level: level_name(metadata),
            event,
            container_id: &self.container_id,
            fields: &fields,
        };
        let line = match self.format {
            LogFormat::Json => line.json(),
            LogFormat::Text => line.text(self.paint),
        };
        drop(self.writer.make_writer().write_all(line.as_bytes()));
    }
}

fn is_own(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    OWN.contains(&target.split_once("::").map_or(target, |(name, _)| name))
}

fn level_name(metadata: &Metadata<'_>) -> &'static str {
    match *metadata.level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}
