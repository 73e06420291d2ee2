//! One string field, and the fields that are one word out of a list.

use serde_json::value::RawValue;

use super::{
    json::{decode_string, kind, quoted, surrogate},
    nearest::nearest,
    problem::{Problem, Problems},
};

pub(super) fn text(field: &str, value: &RawValue, problems: &mut Problems) -> Option<String> {
    if !value.get().starts_with('"') {
        problems.report(|| Problem::new(field, format!("{field} must be a string, not {}", kind(value))));
        return None;
    }
    let text = decode_string(value);
    if text.is_none() {
        problems.report(|| surrogate(field, field));
    }
    text
}

/// `words` are the legal ones, `nicknames` what people write instead.
pub(super) fn word<'words>(
    field: &str,
    value: &RawValue,
    words: &[&'words str],
    nicknames: &[(&str, &'words str)],
    problems: &mut Problems,
) -> Option<&'words str> {
    let written = text(field, value, problems)?;
    let found = words.iter().copied().find(|word| *word == written);
    if found.is_none() {
        problems.report(|| {
            let listed = words.join(", ");
            let lower = written.trim().to_lowercase();
            let meant = nicknames.iter().find(|(nickname, _)| *nickname == lower).map(|(_, word)| *word);
            let hint = match meant.or_else(|| nearest(&written, words.iter().copied())) {
                Some(near) => format!("; did you mean {near:?}?"),
                None => String::new(),
            };
            Problem::new(field, format!("{field} must be one of {listed}, not {}{hint}", quoted(&written)))
        });
    }
    found
}

pub(super) fn code(value: &RawValue, problems: &mut Problems) -> Option<String> {
    use super::bounds::CODE_BYTES;
    let code = text("code", value, problems)?;
    if code.is_empty() || code.len() > CODE_BYTES {
        let message = format!("code must be 1 to {CODE_BYTES} bytes of UTF-8, not {}", code.len());
        problems.report(|| Problem::new("code", message));
        return None;
    }
    Some(code)
}
