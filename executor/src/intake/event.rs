//! `event`: what the handler is given, as the caller wrote it.
//!
//! The text goes through unchanged: digits that a float would lose, repeated keys and key order arrive. Only its depth is
//! bounded, because the parsers of the languages give up on deep nesting in ways that would look like the daemon's fault.

use sandbox::program::Mode;
use serde_json::value::RawValue;

use super::{
    bounds::EVENT_DEPTH,
    problem::{Problem, Problems},
};

/// `event` when given; else the JSON that `stdin` holds; else `{}`: without stdin, or when stdin is something else and the
/// program reads it itself.
pub(super) fn event(
    written: Option<&RawValue>,
    stdin: &str,
    mode: Option<Mode>,
    problems: &mut Problems,
) -> Box<RawValue> {
    if let Some(event) = written {
        report_depth("event", event, "", problems);
        return event.to_owned();
    }
    match serde_json::from_str::<Box<RawValue>>(stdin) {
        // A script has no handler to hand it to, and may well read such a text itself.
        Ok(event) if mode == Some(Mode::Script) && depth(&event) > EVENT_DEPTH => empty(),
        Ok(event) => {
            let why = ", because it is the event when there is no event";
            report_depth("stdin", &event, why, problems);
            event
        }
        Err(_) => empty(),
    }
}

fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("it is JSON")
}

fn report_depth(field: &str, event: &RawValue, why: &str, problems: &mut Problems) {
    let depth = depth(event);
    if depth > EVENT_DEPTH {
        let message = format!("{field} must be nested at most {EVENT_DEPTH} levels deep{why}, not {depth}");
        problems.report(|| Problem::new(field, message));
    }
}

/// How many arrays and objects are open at the deepest place.
fn depth(value: &RawValue) -> usize {
    let (mut open, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in value.get().bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                open += 1;
                deepest = deepest.max(open);
            }
            b']' | b'}' if !in_string => open -= 1,
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        for (text, expected) in
            [("1", 0), ("[]", 1), (r#"{"a":[{}]}"#, 3), (r#"["[[[","\"[[","\\"]"#, 1), ("[[],[],[]]", 2)]
        {
            assert_eq!(depth(&RawValue::from_string(text.to_owned()).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn without_an_event_the_json_of_stdin_is_the_event() {
        for (stdin, expected) in [
            ("", "{}"),
            (" \n", "{}"),
            ("not json", "{}"),
            ("0", "0"),
            (" [1e400] \n", "[1e400]"),
            ("{} {}", "{}"),
        ] {
            let mut problems = Problems::default();
            assert_eq!(event(None, stdin, None, &mut problems).get(), expected, "{stdin}");
            assert!(problems.is_empty());
        }
    }

    #[test]
    fn a_given_event_wins_over_stdin() {
        let null = RawValue::from_string("null".to_owned()).unwrap();
        assert_eq!(event(Some(&null), "[1]", None, &mut Problems::default()).get(), "null");
    }
}
