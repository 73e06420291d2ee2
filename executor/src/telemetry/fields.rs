//! The fields of one event or span, each no longer than [`LONGEST`]: a text from outside cannot flood the log.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};

/// Bytes that are kept of one value. The rest is counted, not built.
pub(super) const LONGEST: usize = 4_096;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Truth(bool),
}

/// In the order they were written.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = (&'static str, Value)> {
        self.0.into_iter()
    }

    /// A later value replaces an earlier one of the same name.
    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        let position =
            self.0.iter().position(|(known, value)| *known == name && matches!(value, Value::Text(_)))?;
        match self.0.remove(position).1 {
            Value::Text(text) => Some(text),
            Value::Signed(_) | Value::Unsigned(_) | Value::Float(_) | Value::Truth(_) => None,
        }
    }

    fn set_text(&mut self, field: &Field, text: fmt::Arguments<'_>) {
        let mut capped = Capped::default();
        capped.add(text);
        self.set(field.name(), Value::Text(capped.finish()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set_text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set_text(field, format_args!("{value}"));
    }

    /// The whole chain, as the place that logs an error is the last to see it.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut capped = Capped::default();
        capped.add(format_args!("{value}"));
        let mut source = value.source();
        while let Some(cause) = source {
            capped.add(format_args!(": {cause}"));
            source = cause.source();
        }
        self.set(field.name(), Value::Text(capped.finish()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), Value::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), Value::Unsigned(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), Value::Float(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), Value::Truth(value));
    }
}

/// Keeps the first [`LONGEST`] bytes and counts the rest.
#[derive(Default)]
struct Capped {
    kept: String,
    total: usize,
}

impl Write for Capped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Once something was left out, nothing is added behind the gap.
        if self.total == self.kept.len() {
            let room = LONGEST - self.kept.len();
            self.kept.push_str(&text[..text.floor_char_boundary(room)]);
        }
        self.total += text.len();
        Ok(())
    }
}

impl Capped {
    fn add(&mut self, text: fmt::Arguments<'_>) {
        if self.write_fmt(text).is_err() {
            // `write_str` above takes everything, so it is the value's own formatting that failed.
            self.kept.push_str("(cannot be shown)");
        }
    }

    fn finish(self) -> String {
        let Self { mut kept, total } = self;
        if total > kept.len() {
            kept.push_str(&format!("... ({total} bytes)"));
        }
        kept
    }
}
