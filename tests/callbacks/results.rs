//! Results: delivered once, as the caller saw them, and kept on disk until then.

use std::fs;

use control_plane_mock::{Action, Kind, Rule};

use crate::support::{accepted, attempts, daemon, mock, nothing_wrong, script};

#[test]
fn the_control_plane_hears_what_the_caller_hears() {
    let mock = mock();
    let daemon = daemon(&mock);
    let answer = daemon.execute(&script("exec_same", "echo out; echo err >&2; exit 3")).result();
    let heard = accepted(&mock, "exec_same");
    assert_eq!(*heard.body, answer);
    assert_eq!(answer["callback"], "journalled");
    assert_eq!(attempts(&mock, "exec_same").len(), 1);
    nothing_wrong(&mock);
    daemon.eventually("nothing is left on disk", |daemon| {
        fs::read_dir(daemon.results()).unwrap().next().is_none()
    });
}

#[test]
fn a_retry_says_the_same_under_the_same_key() {
    let mock = mock();
    mock.script(Rule::new(Action::AcceptThenClose).of_kind(Kind::Result).times(1));
    let daemon = daemon(&mock);
    daemon.execute(&script("exec_again", "echo hello")).result();
    let attempts = {
        daemon.eventually("it tries again", |_| attempts(&mock, "exec_again").len() == 2);
        attempts(&mock, "exec_again")
    };
    assert!(attempts[0].accepted && attempts[1].duplicate);
    assert_eq!(attempts[0].idempotency_key, attempts[1].idempotency_key);
    assert_eq!(attempts[0].body_sha256, attempts[1].body_sha256);
    nothing_wrong(&mock);
}
