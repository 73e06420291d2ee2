//! Programs that bring their own runtime: built here, outside, and run in the sandbox.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use conformance::can;
use serde_json::json;

use crate::program::Program;

const RUN_SENT: &str = "chmod +x hello && exec ./hello";
const RUN_PLACED: &str = "exec ./hello";

/// Kept from one run of the tests to the next, because building Go's library takes longer than all the programs.
fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn command(program: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "a compiler, which the test waits for")]
    Command::new(program)
}

/// What a compiler made of this program, or `None` where there is no such compiler.
fn built(compiler: &mut Command, name: &str) -> Option<Vec<u8>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/programs").join(name);
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("hello");
    let made = compiler.arg("-o").arg(&program).arg(source).output();
    if !can(made.is_ok(), &format!("{name}: {compiler:?} cannot be started")) {
        return None;
    }
    let made = made.unwrap();
    assert!(made.status.success(), "{compiler:?}: {}", String::from_utf8_lossy(&made.stderr));
    Some(fs::read(program).unwrap())
}

/// Linked statically: its runtime speaks to the kernel itself.
fn go() -> Option<Vec<u8>> {
    let mut compiler = command("go");
    // One module-free file, and nothing of the user's settings.
    compiler.env("GO111MODULE", "off").env("GOFLAGS", "").env("GOENV", "off").env("CGO_ENABLED", "0");
    compiler.env("GOCACHE", kept("go")).args(["build", "-trimpath", "-ldflags", "-s -w"]);
    built(&mut compiler, "hello.go")
}

const GO_PRINTS: &str = include_str!("programs/go.out");

#[test]
fn a_go_program_that_makes_its_own_system_calls() {
    if let Some(program) = go() {
        Program::new("hello.go", RUN_PLACED).with_executable(program).prints(GO_PRINTS).check();
    }
}

#[test]
fn a_rust_program_that_is_sent_with_the_request() {
    let mut compiler = command("rustc");
    compiler.args(["--edition", "2024", "-C", "strip=symbols"]);
    if let Some(program) = built(&mut compiler, "hello.rs") {
        let file = json!({ "path": "hello", "content": STANDARD.encode(program), "encoding": "base64" });
        let expected = include_str!("programs/rust.out");
        Program::new("hello.rs", RUN_SENT).with_file(file).prints(expected).check();
    }
}
