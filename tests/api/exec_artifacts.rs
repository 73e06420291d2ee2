//! `sandbox-executor exec --artifacts DIR` against the real daemon: `GET /executions/{id}/artifacts/{path}` from a client's side.

use std::fs;

use conformance::Daemon;

use crate::program::Program;

#[test]
fn every_artifact_of_a_run_is_saved_as_it_was_written() {
    let daemon = Daemon::default_settings();
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("new/dir");
    let url = format!("http://{}", daemon.address());
    let program = Program::new(&["exec", "--url", &url, "--artifacts", dir.to_str().unwrap()]);
    let code = "mkdir -p 'out/a b'; printf hello > 'out/a b/c?.txt'; head -c 3000000 /dev/urandom > big.bin; \
                : > empty; ln -s /etc/passwd link; sha256sum big.bin";
    let path = program.file("a.sh", code);
    let ended = program.arguments(&[path.as_str()]).run();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(fs::read(dir.join("out/a b/c?.txt")).unwrap(), b"hello");
    assert_eq!(fs::read(dir.join("big.bin")).unwrap(), fs::read(daemon.workspace().join("big.bin")).unwrap());
    assert_eq!(fs::read(dir.join("empty")).unwrap(), b"");
    assert!(!dir.join("link").exists());
    assert_eq!(ended.stderr.matches("sandbox-executor: saved ").count(), 3, "{}", ended.stderr);
}

#[test]
fn an_artifact_of_a_failed_run_is_saved_too_and_the_code_is_the_programs() {
    let daemon = Daemon::default_settings();
    let home = tempfile::tempdir().unwrap();
    let url = format!("http://{}", daemon.address());
    let program = Program::new(&["exec", "--url", &url, "--artifacts", home.path().to_str().unwrap()]);
    let path = program.file("a.sh", "echo half > half.txt; exit 3");
    let ended = program.arguments(&[path.as_str()]).run();
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert_eq!(fs::read(home.path().join("half.txt")).unwrap(), b"half\n");
}
