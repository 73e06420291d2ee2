//! Walking raw JSON one level at a time.
//!
//! Everything is a [`RawValue`]: checked for syntax, not yet decoded. `serde_json` skips over a raw value with a loop and
//! a stack of its own on the heap, so nesting of any depth costs one byte per level and never the thread's stack; a test
//! holds it to that. A level is only ever decoded into its own members.

use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    nearest::nearest,
    problem::{Problem, Problems},
};

/// What a value is, for "must be …, not {kind}".
pub(super) fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// `null` where null means "left out".
pub(super) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// How a text from outside is quoted in a message: short, and with control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 40;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// The string that `value` is. `None` when it holds half of a surrogate pair (`"\ud800"`), which is the only thing that
/// can still be wrong with a string whose syntax has been checked: no UTF-8 text can hold it.
pub(super) fn decode_string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// Calls `visit` for each member of an object, in order, repeated names included. False: `value` is no object.
pub(super) fn each_member<'body>(
    value: &'body RawValue,
    visit: impl FnMut(&'body RawValue, &'body RawValue),
) -> bool {
    serde_json::Deserializer::from_str(value.get()).deserialize_map(Members(visit)).is_ok()
}

/// Calls `visit` for each element of an array. False: `value` is no array.
pub(super) fn each_element<'body>(value: &'body RawValue, visit: impl FnMut(&'body RawValue)) -> bool {
    serde_json::Deserializer::from_str(value.get()).deserialize_seq(Elements(visit)).is_ok()
}

struct Members<F>(F);

impl<'body, F: FnMut(&'body RawValue, &'body RawValue)> Visitor<'body> for Members<F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'body>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry()? {
            (self.0)(name, value);
        }
        Ok(())
    }
}

struct Elements<F>(F);

impl<'body, F: FnMut(&'body RawValue)> Visitor<'body> for Elements<F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'body>>(mut self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(element) = sequence.next_element()? {
            (self.0)(element);
        }
        Ok(())
    }
}

/// The members of an object whose names are fixed. As large as the list of names, whatever was sent.
#[derive(Debug, Clone)]
pub(super) struct Fields<'body> {
    names: &'static [&'static str],
    values: Vec<Option<&'body RawValue>>,
}

impl<'body> Fields<'body> {
    /// Reports unknown and repeated names. `None`: `object` is no object, which is for the caller to report. `within` is
    /// the path of the object, empty for the request itself.
    pub(super) fn read(
        object: &'body RawValue,
        names: &'static [&'static str],
        within: &str,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut values = vec![None; names.len()];
        let is_object = each_member(object, |name, value| {
            let name = decode_string(name);
            let place = names.iter().position(|known| name.as_deref() == Some(known));
            match (place, name) {
                (Some(place), _) if values[place].is_some() => problems.report(|| {
                    let field = join(within, names[place]);
                    let message = format!("{field} is given more than once");
                    Problem::new(field, message)
                }),
                (Some(place), _) => values[place] = Some(value),
                (None, Some(name)) => problems.report(|| unknown(within, &name, names)),
                (None, None) => problems.report(|| surrogate(place_of(within), "the name of a field")),
            }
        });
        is_object.then_some(Self { names, values })
    }

    /// The value as written, `null` included.
    pub(super) fn written(&self, name: &str) -> Option<&'body RawValue> {
        let place = self.names.iter().position(|known| *known == name);
        self.values[place.expect("only names of the list are asked for")]
    }

    /// The value, where `null` is the same as leaving it out.
    pub(super) fn given(&self, name: &str) -> Option<&'body RawValue> {
        self.written(name).filter(|value| !is_null(value))
    }
}

pub(super) fn join(within: &str, name: &str) -> String {
    if within.is_empty() { name.to_owned() } else { format!("{within}.{name}") }
}

fn place_of(within: &str) -> &str {
    if within.is_empty() { "body" } else { within }
}

pub(super) fn surrogate(field: &str, what: &str) -> Problem {
    let message = format!("{what} holds half of a surrogate pair (\\ud800 to \\udfff); no text can hold it");
    Problem::new(field, message)
}

fn unknown(within: &str, name: &str, names: &[&'static str]) -> Problem {
    let shown = quoted(name);
    let place = if within.is_empty() { String::new() } else { format!(" in {within}") };
    let message = match nearest(name, names.iter().copied()) {
        Some(near) => format!("unknown field {shown}{place}; did you mean {near:?}?"),
        None => format!("unknown field {shown}{place}; known are {}", names.join(", ")),
    };
    let shortened: String = name.chars().take(64).collect();
    // A field without a name cannot be pointed at, only what holds it.
    let field = if shortened.is_empty() { place_of(within).to_owned() } else { join(within, &shortened) };
    Problem::new(field, message)
}
