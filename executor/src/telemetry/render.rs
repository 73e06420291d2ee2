//! One event → one line, as JSON or as text. Pure.
//!
//! Whatever a value holds, a line stays a line: line breaks, escape sequences and characters that turn the reading
//! direction are written as escapes, in both formats.

use std::fmt::Write;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::fields::{Fields, Value};

pub(super) struct Line<'a> {
    /// RFC 3339, UTC, milliseconds.
    pub(super) timestamp: String,
    pub(super) level: &'static str,
    pub(super) event: &'a str,
    pub(super) container_id: &'a str,
    pub(super) fields: &'a Fields,
}

/// These four head every line; a field cannot take their place.
const RESERVED: [&str; 4] = ["timestamp", "level", "event", "container_id"];

/// Of the spans, in a line of text.
const IDS: [&str; 3] = ["execution_id", "request_id", "trace_id"];

impl Line<'_> {
    pub(super) fn json(&self) -> String {
        // Strings and numbers alone always serialise.
        let object = serde_json::to_string(self).expect("a flat object of plain values is always JSON");
        let mut line = String::with_capacity(object.len() + 1);
        for character in object.chars() {
            match is_hostile(character) {
                // Outside of strings JSON is ASCII, so this can only be inside one, where the escape means the same.
                true => escape(&mut line, character),
                false => line.push(character),
            }
        }
        line.push('\n');
        line
    }

    /// What happened comes first; the ids, which are long and for machines, come last.
    pub(super) fn text(&self, paint: Paint) -> String {
        let Colours { level, event, quiet, off } = paint.of(self.level);
        let mut line = format!(
            "{quiet}{}{off} {level}{:5}{off} {event}{}{off}",
            self.timestamp,
            self.level.to_ascii_uppercase(),
            self.event
        );
        let is_id = |name: &str| IDS.contains(&name);
        for (name, value) in self.own_fields().filter(|(name, _)| !is_id(name)) {
            push_field(&mut line, name, value);
        }
        line.push_str(quiet);
        for (name, value) in self.own_fields().filter(|(name, _)| is_id(name)) {
            push_field(&mut line, name, value);
        }
        push_field(&mut line, "container_id", &Value::Text(self.container_id.to_owned()));
        line.push_str(off);
        line.push('\n');
        line
    }

    fn own_fields(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.fields.iter().filter(|(name, _)| !RESERVED.contains(name))
    }
}

/// Whether a line of text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    /// For a terminal (ECMA-48, 8.3.117).
    Coloured,
}

struct Colours {
    level: &'static str,
    event: &'static str,
    quiet: &'static str,
    off: &'static str,
}

impl Paint {
    const fn of(self, level: &str) -> Colours {
        match (self, level.as_bytes()) {
            (Self::Plain, _) => Colours { level: "", event: "", quiet: "", off: "" },
            (Self::Coloured, b"error") => Colours { level: "\x1b[31m", ..COLOURED },
            (Self::Coloured, b"warn") => Colours { level: "\x1b[33m", ..COLOURED },
            (Self::Coloured, _) => COLOURED,
        }
    }
}

const COLOURED: Colours = Colours { level: "", event: "\x1b[1m", quiet: "\x1b[2m", off: "\x1b[0m" };

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &self.timestamp)?;
        map.serialize_entry("level", self.level)?;
        map.serialize_entry("event", self.event)?;
        map.serialize_entry("container_id", self.container_id)?;
        for (name, value) in self.own_fields() {
            match value {
                Value::Text(text) => map.serialize_entry(name, text)?,
                Value::Signed(number) => map.serialize_entry(name, number)?,
                Value::Unsigned(number) => map.serialize_entry(name, number)?,
                Value::Float(number) => map.serialize_entry(name, number)?,
                Value::Truth(truth) => map.serialize_entry(name, truth)?,
            }
        }
        map.end()
    }
}

fn push_field(line: &mut String, name: &str, value: &Value) {
    line.push(' ');
    line.push_str(name);
    line.push('=');
    match value {
        Value::Text(text) => push_text(line, text),
        Value::Signed(number) => line.push_str(&number.to_string()),
        Value::Unsigned(number) => line.push_str(&number.to_string()),
        Value::Float(number) => line.push_str(&number.to_string()),
        Value::Truth(truth) => line.push_str(&truth.to_string()),
    }
}

/// Bare where it is one plain word, else in quotes.
fn push_text(line: &mut String, text: &str) {
    let plain = |character: char| {
        !character.is_whitespace() && !is_hostile(character) && !"\"\\=".contains(character)
    };
    if !text.is_empty() && text.chars().all(plain) {
        line.push_str(text);
        return;
    }
    line.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => line.extend(['\\', character]),
            '\n' => line.push_str("\\n"),
            hostile if is_hostile(hostile) => escape(line, hostile),
            harmless => line.push(harmless),
        }
    }
    line.push('"');
}

/// Controls (C1 too: U+009B starts an escape sequence), line separators, and marks that reorder what is read.
fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
        || ('\u{202a}'..='\u{202e}').contains(&character)
        || ('\u{2066}'..='\u{2069}').contains(&character)
}

fn escape(line: &mut String, character: char) {
    // All hostile characters are in the basic plane, so four digits are enough. Writing to a String cannot fail.
    write!(line, "\\u{:04x}", u32::from(character)).expect("a String takes everything");
}
