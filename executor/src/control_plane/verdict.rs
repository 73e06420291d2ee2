//! What the control plane's answer means for the message. Pure; the table is in `docs/operations.md`.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// A `Retry-After` beyond this is taken for this: nobody means a day, and a wrong clock must not either.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// A complete answer, as far as anybody looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has the message, or has had it before.
    Accepted,
    /// Try again, no earlier than this from now.
    Again { not_before: Duration },
    /// It does not want this message, now or later.
    Refused,
}

/// 2xx and 409 are final. What may pass (408, 425, 429, 5xx, a token that is being rotated, a redirect that somebody
/// will mend) is tried again. Every other 4xx is about the message itself.
pub fn judge(answer: Answer) -> Verdict {
    let again = Verdict::Again { not_before: answer.retry_after.unwrap_or_default() };
    match answer.status {
        200..=299 | 409 => Verdict::Accepted,
        401 | 403 | 408 | 425 | 429 => again,
        400..=499 => Verdict::Refused,
        // 1xx is no answer, 3xx leads elsewhere, 5xx passes, and what is no status of HTTP at all is somebody else's.
        _ => again,
    }
}

/// Seconds, or a date (RFC 9110, 10.2.3). Anything else says nothing.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a long time.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_WAIT));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    let now = Timestamp::try_from(now).ok()?;
    let wait = Duration::try_from(date.duration_since(now)).unwrap_or_default();
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16) -> Verdict {
        judge(Answer { status, retry_after: None })
    }

    #[test]
    fn every_status_has_one_meaning() {
        let again = Verdict::Again { not_before: Duration::ZERO };
        for status in 0..=1000 {
            let wanted = match status {
                200..=299 | 409 => Verdict::Accepted,
                400 | 402 | 404..=407 | 410..=424 | 426..=428 | 430..=499 => Verdict::Refused,
                _ => again,
            };
            assert_eq!(of(status), wanted, "{status}");
        }
    }

    #[test]
    fn retry_after_is_taken_from_whatever_says_to_try_again() {
        let wait = Duration::from_secs(7);
        for status in [429, 503, 500, 401] {
            let verdict = judge(Answer { status, retry_after: Some(wait) });
            assert_eq!(verdict, Verdict::Again { not_before: wait }, "{status}");
        }
        assert_eq!(judge(Answer { status: 200, retry_after: Some(wait) }), Verdict::Accepted);
    }

    #[test]
    fn retry_after_in_seconds_or_as_a_date_is_bounded_and_garbage_is_nothing() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |value| retry_after(value, now).map(|wait| wait.as_secs());
        for (value, wanted) in [
            ("0", Some(0)),
            (" 5 ", Some(5)),
            ("1000000000", Some(600)),
            ("99999999999999999999999999", Some(600)),
            // 784,111,777 s after the epoch is this date (RFC 9110, 5.6.7).
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("Sun, 06 Nov 2044 08:49:37 GMT", Some(600)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(seconds(value), wanted, "{value:?}");
        }
    }
}
