//! A value that a program returned by printing it, between two marker lines on stdout.
//!
//! Understood for any language, because any program can print. The last complete pair counts and is cut out of stdout. A
//! handler's own return value comes first; then what was printed is left alone.

use sandbox::channel::well_formed;
use serde_json::value::RawValue;

const BEGIN: &str = "===SANDBOX_RESULT===";
const END: &str = "===SANDBOX_RESULT_END===";

/// Takes the value out of `stdout`. Leaves it untouched when there is no pair, or no JSON in it.
pub fn take(stdout: &mut String) -> Option<Box<RawValue>> {
    let end = stdout.rfind(END)?;
    let begin = stdout[..end].rfind(BEGIN)?;
    let value = stdout[begin + BEGIN.len()..end].trim();
    let value = well_formed(serde_json::from_str(value).ok()?).ok()?;
    let after = end + END.len();
    let newline = usize::from(stdout[after..].starts_with('\n'));
    stdout.replace_range(begin..after + newline, "");
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(stdout: &str) -> (Option<String>, String) {
        let mut stdout = stdout.to_owned();
        let value = take(&mut stdout);
        (value.map(|value| value.get().to_owned()), stdout)
    }

    #[test]
    fn the_last_complete_pair_wins_and_is_cut_out() {
        for (stdout, value, rest) in [
            (
                "a\n===SANDBOX_RESULT===\n{\"x\": 0}\n===SANDBOX_RESULT_END===\nb\n",
                Some("{\"x\": 0}"),
                "a\nb\n",
            ),
            (
                "===SANDBOX_RESULT===1===SANDBOX_RESULT_END===\n===SANDBOX_RESULT===2===SANDBOX_RESULT_END===",
                Some("2"),
                "===SANDBOX_RESULT===1===SANDBOX_RESULT_END===\n",
            ),
            ("===SANDBOX_RESULT===\nfalse\n===SANDBOX_RESULT_END===", Some("false"), ""),
            ("===SANDBOX_RESULT===\n1\n", None, "===SANDBOX_RESULT===\n1\n"),
            ("1\n===SANDBOX_RESULT_END===\n", None, "1\n===SANDBOX_RESULT_END===\n"),
            (
                "===SANDBOX_RESULT===\nnot json\n===SANDBOX_RESULT_END===\n",
                None,
                "===SANDBOX_RESULT===\nnot json\n===SANDBOX_RESULT_END===\n",
            ),
            (
                "===SANDBOX_RESULT===\n1 2\n===SANDBOX_RESULT_END===",
                None,
                "===SANDBOX_RESULT===\n1 2\n===SANDBOX_RESULT_END===",
            ),
            ("plain", None, "plain"),
        ] {
            assert_eq!(taken(stdout), (value.map(str::to_owned), rest.to_owned()), "{stdout:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_output_makes_it_panic(parts in proptest::collection::vec("(===SANDBOX_RESULT===|===SANDBOX_RESULT_END===|[a-z\n1é]{0,3})", 0..8)) {
            let stdout = parts.concat();
            let (value, rest) = taken(&stdout);
            proptest::prop_assert!(value.is_some() || rest == stdout);
        }
    }
}
