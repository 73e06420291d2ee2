//! Stage one: bytes → fields by name. Knows JSON and the names, no rule about values.

use serde_json::value::RawValue;

use super::{
    json::{Fields, kind},
    problem::{Problem, Problems},
};

/// In the order of the contract.
pub(super) const FIELDS: [&str; 13] = [
    "code",
    "language",
    "timeout",
    "execution_id",
    "session_id",
    "workspace",
    "on_disconnect",
    "event",
    "stdin",
    "mode",
    "env_vars",
    "files",
    "limits",
];

/// A JSON object: its known fields, not yet looked at, and what is wrong with the names of the others.
#[derive(Debug, Clone)]
pub struct RawRequest<'body> {
    pub(super) fields: Fields<'body>,
    /// Carried on, so that they are told together with the problems of values.
    pub(super) problems: Problems,
}

/// Fails only where no object can be read at all, and then with the one problem that prevents it.
pub fn decode(body: &[u8]) -> Result<RawRequest<'_>, Vec<Problem>> {
    let whole = |message: String| vec![Problem::new("body", message)];
    let text = text_of(body).map_err(whole)?;
    let value: &RawValue = serde_json::from_str(text).map_err(|error| whole(syntax(&error)))?;
    let mut problems = Problems::default();
    match Fields::read(value, &FIELDS, "", &mut problems) {
        Some(fields) => Ok(RawRequest { fields, problems }),
        None => Err(whole(format!("the body must be a JSON object, not {}", kind(value)))),
    }
}

fn text_of(body: &[u8]) -> Result<&str, String> {
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err("the body starts with a byte order mark; send the JSON without it".to_owned());
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err("the body is empty; send a JSON object with at least code and language".to_owned());
    }
    std::str::from_utf8(body).map_err(|error| {
        format!("the body is not UTF-8: the byte at offset {} is wrong", error.valid_up_to())
    })
}

fn syntax(error: &serde_json::Error) -> String {
    // serde_json's sentence ends with "at line L column C".
    format!("the body is not JSON: {error}")
}
