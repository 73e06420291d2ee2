//! What a daemon says, as it may stand on a terminal: one line of bounded length, without control characters.

use protocol::ErrorBody;

/// Of what somebody else said, on the terminal.
const LONGEST_SENTENCE: usize = 1_000;

/// Why it refused, and what to do about it.
pub(super) fn sentence(error: &ErrorBody) -> String {
    let what = error.error_detail.as_deref().unwrap_or(&error.description);
    let [what, solution, code, request_id] =
        [what, &error.solution, &error.error_code, &error.request_id].map(clean);
    let [what, solution] = [&what, &solution].map(|text| text.trim_end_matches('.'));
    let what = if solution.is_empty() { what.to_owned() } else { format!("{what}: {solution}") };
    format!("the daemon refused: {what} ({code}, request_id {request_id})")
}

/// What somebody else said, as it may stand on a terminal.
pub(super) fn clean(text: &str) -> String {
    let text = text.chars().take(LONGEST_SENTENCE);
    text.map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_sentence_with_what_to_do_and_whom_to_name() {
        let error = ErrorBody {
            error_code: "Executor.QueueFull".to_owned(),
            description: "As many wait as may wait; nothing was run.".to_owned(),
            error_detail: None,
            solution: "Send it again after Retry-After.".to_owned(),
            request_id: "abc".to_owned(),
            problems: None,
        };
        assert_eq!(
            sentence(&error),
            "the daemon refused: As many wait as may wait; nothing was run: Send it again after Retry-After \
             (Executor.QueueFull, request_id abc)"
        );
        let hostile = ErrorBody {
            error_detail: Some(format!("\x1b[2J\r\n{}", "x".repeat(100_000))),
            solution: String::new(),
            ..error
        };
        let shown = sentence(&hostile);
        assert!(shown.len() < 1_200 && !shown.contains(char::is_control), "{shown}");
    }
}
