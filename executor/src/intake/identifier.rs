//! Execution and session ids: the only text of a request that ends up in file names, URLs and log lines.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::value::RawValue;

use super::{
    json::quoted,
    problem::{Problem, Problems},
    text::text,
};

const EXECUTION_PREFIX: &str = "exec_";
const LONGEST: usize = 64;

pub(super) fn execution_id(value: &RawValue, problems: &mut Problems) -> Option<String> {
    let field = "execution_id";
    let id = text(field, value, problems)?;
    let legal = is_execution_id(&id);
    accept(field, id, legal, "^exec_[A-Za-z0-9_-]{1,64}$", problems)
}

pub(super) fn session_id(value: &RawValue, problems: &mut Problems) -> Option<String> {
    let field = "session_id";
    let id = text(field, value, problems)?;
    let legal = is_word(&id) && id.starts_with(|first: char| first.is_ascii_alphanumeric());
    accept(field, id, legal, "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", problems)
}

/// Safe as a file name, in a URL and in a log line.
pub fn is_execution_id(text: &str) -> bool {
    text.strip_prefix(EXECUTION_PREFIX).is_some_and(is_word)
}

fn is_word(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(legal)
}

fn accept(field: &str, id: String, legal: bool, pattern: &str, problems: &mut Problems) -> Option<String> {
    if legal {
        return Some(id);
    }
    problems.report(|| Problem::new(field, format!("{field} must match {pattern}, not {}", quoted(&id))));
    None
}

/// `exec_<yyyymmdd>_<8 of a-z0-9>`, the day in UTC. Two in a day collide once in about 1.7 million runs; the registry of
/// executions refuses the second as a duplicate rather than mixing them up.
pub fn new_execution_id() -> String {
    let day = Timestamp::now().to_zoned(TimeZone::UTC).strftime("%Y%m%d").to_string();
    format!("{EXECUTION_PREFIX}{day}_{}", random_word())
}

fn random_word() -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    // 252 is the largest multiple of 36 in a byte: taking only bytes below it gives every letter the same chance.
    let mut word = String::new();
    while word.len() < 8 {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("getrandom(2) cannot fail on a booted Linux");
        let letters = bytes.iter().filter(|byte| **byte < 252);
        word.extend(letters.map(|byte| char::from(LETTERS[usize::from(byte % 36)])).take(8 - word.len()));
    }
    word
}
