//! `doctor`: what this host can enforce, and the line that mends what it cannot. What it says is what `serve` does.

use conformance::{Daemon, can};

use crate::program::{Program, is_root};

#[test]
fn where_the_daemon_starts_doctor_is_content_and_a_person_can_read_why() {
    let ended = Program::new(&["doctor"]).run();
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stderr, "");
    for expected in
        ["bubblewrap 0.", "is writable", "python 3.", "javascript ", "shell 5.", "\nserve would start here\n"]
    {
        assert!(ended.stdout.contains(expected), "{expected} is missing:\n{}", ended.stdout);
    }
    let findings = ended.stdout.lines().take_while(|line| !line.is_empty());
    for line in findings {
        assert!(line.len() <= 160 && line.starts_with([' ', 'o', 'r', 'm']), "{line}");
    }
    assert!(!ended.stdout.contains("missing  "), "{}", ended.stdout);
}

#[test]
fn beside_a_running_daemon_doctor_is_content() {
    let daemon = Daemon::default_settings();
    let ended = Program::new(&["doctor"]).set("EXECUTOR_PORT", daemon.address().port()).run();
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("serves port"), "{}", ended.stdout);
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = Program::new(&["doctor"])
        .set("EXECUTOR_PORT", taken.local_addr().unwrap().port())
        .set("WORKSPACE_PATH", "/nowhere/to/be/found")
        .run();
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    for expected in ["the port is taken", "/nowhere/to/be/found does not exist", "serve would not start here"]
    {
        assert!(ended.stdout.contains(expected), "{expected} is missing:\n{}", ended.stdout);
    }
    assert_eq!(ended.stdout.matches("missing  ").count(), 2, "{}", ended.stdout);
}

#[test]
fn root_and_an_ordinary_user_are_told_the_same_and_no_file_is_left() {
    if !can(is_root(), "starting as another user takes root") {
        return;
    }
    for program in [Program::new(&["doctor"]), Program::new(&["doctor"]).started_by(1000)] {
        let ended = program.run();
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.left, Vec::<std::path::PathBuf>::new());
    }
}
