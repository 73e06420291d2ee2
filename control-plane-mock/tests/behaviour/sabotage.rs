//! Each act of sabotage, as it is on the wire.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use control_plane_mock::{Action, Call, How, Kind, Rule};

use crate::client::{Answer, all};
use crate::messages::{mock, result};

/// What is on the wire for this action, and what the journal then says.
fn sabotaged(action: Action) -> (std::io::Result<Vec<u8>>, Call) {
    let mock = mock();
    mock.script(Rule::new(action).of_kind(Kind::Result).times(1));
    let wire = result("exec_1").exchange(&mock);
    let call = mock.calls().remove(0);
    assert_eq!(mock.violations(), Vec::<String>::new());
    // The script is used up, and the mock remembers whether the message was accepted.
    assert_eq!(result("exec_1").answer(&mock).status, if call.accepted { 409 } else { 200 });
    (wire, call)
}

#[test]
fn reset_answers_with_rst() {
    let (wire, call) = sabotaged(Action::Reset);
    assert_eq!(wire.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!((call.answer.how, call.answer.status, call.accepted), (How::Scripted("reset"), None, false));
}

#[test]
fn close_before_answer_sends_not_a_byte() {
    let (wire, call) = sabotaged(Action::CloseBeforeAnswer);
    assert_eq!(wire.unwrap(), b"");
    assert!(!call.accepted);
}

#[test]
fn accept_then_close_sends_not_a_byte_and_has_accepted() {
    let (wire, call) = sabotaged(Action::AcceptThenClose);
    assert_eq!(wire.unwrap(), b"");
    assert!(call.accepted);
}

#[test]
fn close_mid_answer_promises_more_than_it_sends() {
    let (wire, call) = sabotaged(Action::CloseMidAnswer);
    let answer = Answer::parse(&wire.unwrap());
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-length: 512"), "{}", answer.head);
    assert!((1..512).contains(&answer.body.len()));
    assert_eq!((call.answer.status, call.accepted), (None, false));
}

#[test]
fn stall_reads_everything_answers_nothing_and_closes_in_its_time() {
    let begin = Instant::now();
    let (wire, call) = sabotaged(Action::Stall { seconds: 0.2 });
    assert_eq!(wire.unwrap(), b"");
    assert!(begin.elapsed() >= Duration::from_millis(200));
    assert!(!call.accepted);
}

#[test]
fn a_stalled_call_is_in_the_journal_while_it_stalls() {
    let mock = mock();
    mock.script(Rule::new(Action::Stall { seconds: 600.0 }));
    let stream = result("exec_1").send(mock.address());
    let how = mock.wait_for(crate::client::PATIENCE, |calls| calls.first().map(|call| call.answer.how));
    assert_eq!(how, Some(How::Scripted("stall")));
    // Dropping the mock ends it.
    drop(mock);
    assert_eq!(all(stream).unwrap_or_default(), b"");
}

#[test]
fn slow_drips_a_whole_answer() {
    let begin = Instant::now();
    let (wire, call) = sabotaged(Action::Slow { bytes_per_second: 400 });
    let answer = Answer::parse(&wire.unwrap());
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{}"[..]));
    let whole = answer.head.len() + 4 + answer.body.len();
    assert!(begin.elapsed() >= Duration::from_millis(whole as u64 * 1000 / 400 - 60), "{whole} bytes");
    assert!(call.accepted);
}

#[test]
fn raw_sends_just_these_bytes() {
    let (wire, call) = sabotaged(Action::Raw { bytes: b"\x00HTTP/9 hello\r\n".to_vec(), accepted: false });
    assert_eq!(wire.unwrap(), b"\x00HTTP/9 hello\r\n");
    assert!(!call.accepted);
    let answer = b"HTTP/1.1 204 x\r\n\r\n".to_vec();
    let (_, call) = sabotaged(Action::Raw { bytes: answer, accepted: true });
    assert!(call.accepted);
}

#[test]
fn huge_sends_a_body_of_the_size_that_was_asked_for() {
    let (wire, call) = sabotaged(Action::Huge { bytes: 3_000_001 });
    assert_eq!(Answer::parse(&wire.unwrap()).body.len(), 3_000_001);
    assert!(call.accepted);
}

#[test]
fn a_huge_answer_ends_when_the_reader_leaves() {
    let mock = mock();
    mock.script(Rule::new(Action::Huge { bytes: u64::MAX }));
    let mut stream = result("exec_1").send(mock.address());
    let mut some = [0; 100_000];
    stream.read_exact(&mut some).unwrap();
    drop(stream);
    // Joins: nothing is left that still writes.
    drop(mock);
}

#[test]
fn redirect_names_its_target_and_does_not_accept() {
    let (wire, call) =
        sabotaged(Action::Redirect { code: 307, location: "http://elsewhere.test/".to_owned() });
    let answer = Answer::parse(&wire.unwrap());
    assert_eq!(answer.status, 307);
    assert!(answer.head.contains("location: http://elsewhere.test/"), "{}", answer.head);
    assert!(!call.accepted);
}

#[test]
fn duplicate_claims_to_have_seen_what_it_never_saw() {
    let (wire, call) = sabotaged(Action::Duplicate);
    assert_eq!(Answer::parse(&wire.unwrap()).status, 409);
    assert!(call.accepted && !call.duplicate);
}

#[test]
fn a_status_comes_with_its_headers_and_body_and_accepts_when_it_means_success() {
    for (code, accepted) in [(200, true), (204, true), (409, true), (304, false), (404, false), (503, false)]
    {
        let headers = [("Retry-After".to_owned(), "7".to_owned())].into();
        let (wire, call) = sabotaged(Action::Status { code, headers, body: String::new() });
        let answer = Answer::parse(&wire.unwrap());
        assert_eq!((answer.status, call.answer.status, call.accepted), (code, Some(code), accepted));
        assert!(answer.head.contains("retry-after: 7"), "{}", answer.head);
    }
}
