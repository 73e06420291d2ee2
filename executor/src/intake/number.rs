//! One number, with its bounds and its unit in the message.

use serde_json::value::RawValue;

use super::{
    json::kind,
    problem::{Problem, Problems},
};

/// What a field accepts: "a number of seconds from 1 to 3600".
#[derive(Debug, Clone, Copy)]
pub(super) struct Range<'what> {
    /// "a number of seconds", "a whole number of MiB"
    pub(super) what: &'what str,
    pub(super) minimum: f64,
    pub(super) maximum: f64,
    /// Says where the maximum comes from, when it is not the contract: " (the ceiling of this daemon, MAX_MEMORY_MB)".
    pub(super) why: &'what str,
}

pub(super) fn number(
    field: &str,
    value: &RawValue,
    range: Range<'_>,
    problems: &mut Problems,
) -> Option<f64> {
    // The text is a JSON number, checked by `decode`; Rust reads every one of them, and 1e999 as infinity.
    let read = if kind(value) == "a number" { value.get().parse::<f64>().ok() } else { None };
    let found = read.filter(|number| (range.minimum..=range.maximum).contains(number));
    if found.is_none() {
        problems.report(|| must_be(field, value, range));
    }
    found
}

/// A number without a fraction. `256.0` is one, as it is in JSON Schema.
pub(super) fn whole_number(
    field: &str,
    value: &RawValue,
    range: Range<'_>,
    problems: &mut Problems,
) -> Option<u64> {
    let number = number(field, value, range, problems)?;
    if number.fract() != 0.0 {
        problems.report(|| must_be(field, value, range));
        return None;
    }
    // Between a minimum of at least 0 and a ceiling: nothing is lost.
    Some(number as u64)
}

fn must_be(field: &str, value: &RawValue, range: Range<'_>) -> Problem {
    let Range { what, minimum, maximum, why } = range;
    let was = match kind(value) {
        "a number" => value.get().chars().take(40).collect(),
        other => other.to_owned(),
    };
    Problem::new(field, format!("{field} must be {what} from {minimum} to {maximum}{why}, not {was}"))
}
